//! A command that was sent and is not answered yet.

use std::sync::Arc;

use chrono::Utc;
use serde_json::Value;

use super::ending::{CommandEnding, reason_code_of};
use super::model::{CommandAsker, OpenCommand};
use super::open_commands::OpenCommands;
use crate::bots::operator_pause::BotStart;
use crate::bots::snapshot::BotSnapshot;
use botops_contract::{CommandRequest, CommandResult, Verb};
use botops_core::error::{Effect, Error};

/// A command that was sent and is not answered yet.
///
/// When its future is dropped before the answer, the command is followed, so that its effect becomes known.
pub(in crate::bots) struct PendingCommand {
    open: Arc<OpenCommands>,
    command: Option<OpenCommand>,
    /// The life of the bot that it is given to.
    start: Option<BotStart>,
}

impl PendingCommand {
    pub(crate) fn new(
        open: Arc<OpenCommands>,
        verb: Verb,
        request: &CommandRequest,
        asker: CommandAsker,
        snapshot: &BotSnapshot,
    ) -> Self {
        let given_at = Utc::now();
        let command = OpenCommand {
            verb,
            sent_id: request.command_id.clone(),
            asker,
            reason: request.reason.clone(),
            given_at,
            expires_at: request.expires_at.unwrap_or(given_at),
            until: request.args.get("until").and_then(Value::as_str).and_then(|text| text.parse().ok()),
            is_durable: request.args.get("durable") == Some(&Value::Bool(true)),
            mode: snapshot.mode(),
            boot_epoch: snapshot.hello.as_ref().and_then(|hello| hello.boot_epoch.clone()),
            was_answered: false,
        };
        // A dry run leaves nothing behind that could be followed.
        let command = (!request.dry_run).then_some(command);
        if let Some(command) = &command {
            open.begin(command.clone());
        }
        Self { open, command, start: snapshot.hello.as_deref().and_then(BotStart::of) }
    }

    /// What this try did is known.
    ///
    /// It ends an earlier one of the same command when the bot's answer covers that: by what it did, or by the answer
    /// that it kept. Otherwise the effect of the earlier one stays unknown.
    pub(crate) fn record_answer(
        mut self,
        answer: Result<CommandResult, Error>,
    ) -> Result<CommandResult, Error> {
        let Some(command) = self.command.take() else { return answer };
        self.open.forget(&command.sent_id);
        let error = match answer {
            Ok(result) => {
                if result.replayed {
                    // Of whichever life: whether the bot keeps it now is not what it answers.
                    self.open.record_replay(&command);
                } else {
                    self.open.record_done(&command, self.start.take(), &result);
                }
                let ending = if result.replayed { CommandEnding::Done } else { CommandEnding::DoneNow };
                self.open.end(&command.sent_id, &ending(Box::new(result.clone())));
                return Ok(result);
            }
            Err(error) => error,
        };
        let problem = error.problem("", Utc::now());
        if problem.context.get("replayed") == Some(&Value::Bool(true)) {
            self.open.end(&command.sent_id, &CommandEnding::Refused(reason_code_of(&problem), problem.cause));
            return Err(error);
        }
        if !self.open.has(&command.sent_id) {
            return Err(error);
        }
        let detail = format!(
            "{}. This says nothing of an earlier try of the same command, which may still have acted",
            problem.cause.trim_end_matches('.')
        );
        Err(error.detail(detail).effect(Effect::Unknown))
    }

    /// What it did is not known, although the bot may have answered it.
    pub(crate) fn record_doubt(mut self, was_answered: bool) {
        if let Some(command) = self.command.take() {
            self.open.follow(OpenCommand { was_answered, ..command });
        }
    }
}

impl Drop for PendingCommand {
    fn drop(&mut self) {
        if let Some(command) = self.command.take() {
            self.open.publish_abandoned(&command);
            self.open.follow(command);
        }
    }
}
