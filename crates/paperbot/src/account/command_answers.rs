//! The first answer to each command, so that a repeated command gets the same answer and does not act again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use botops_contract::{CommandResult, Verb};

/// A command that is repeated after this many others is no longer recognised, and is carried out again.
const KEPT_ANSWERS: usize = 1_000;

/// Verb and first answer by command id.
pub(crate) type AnswersById = HashMap<String, (Verb, CommandResult)>;

/// The newest answers; the oldest one leaves when there are too many.
#[derive(Debug, Default)]
pub(crate) struct CommandAnswers {
    /// Shared with published snapshots: it is copied on write, never changed under a reader.
    by_id: Arc<AnswersById>,
    oldest_first: VecDeque<String>,
}

impl CommandAnswers {
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

    /// The first answer to a command and the verb that it was for; `None` when it was not given or is forgotten.
    pub(crate) fn get(&self, command_id: &str) -> Option<&(Verb, CommandResult)> {
        self.by_id.get(command_id)
    }

    /// The answers as they are now; later ones do not appear in the returned map.
    pub(crate) fn snapshot(&self) -> Arc<AnswersById> {
        self.by_id.clone()
    }
}
