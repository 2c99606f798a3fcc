//! The first answer to each command, for whoever repeats it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use botops_contract::{CommandResult, Verb};

/// Answers kept for repeated commands.
const KEPT_ANSWERS: usize = 1_000;

/// Answers by command id.
pub(crate) type AnswersById = HashMap<String, (Verb, CommandResult)>;

/// The newest answers; the oldest one leaves when there are too many.
#[derive(Debug, Default)]
pub(crate) struct CommandAnswers {
    /// Shared with the snapshots that readers hold.
    by_id: Arc<AnswersById>,
    oldest_first: VecDeque<String>,
}

impl CommandAnswers {
    /// Keeps the answer to a command.
    pub(crate) fn keep(&mut self, verb: Verb, result: CommandResult) {
        self.oldest_first.push_back(result.command_id.clone());
        let by_id = Arc::make_mut(&mut self.by_id);
        by_id.insert(result.command_id.clone(), (verb, result));
        if self.oldest_first.len() > KEPT_ANSWERS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            by_id.remove(&oldest);
        }
    }

    /// The first answer to a command, if it was given before.
    pub(crate) fn get(&self, command_id: &str) -> Option<&(Verb, CommandResult)> {
        self.by_id.get(command_id)
    }

    /// All of them, as they are now.
    pub(crate) fn snapshot(&self) -> Arc<AnswersById> {
        self.by_id.clone()
    }
}
