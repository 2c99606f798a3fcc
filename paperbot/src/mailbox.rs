//! Letters to the loop: what a server may ask of it, and the way the answer comes back.
//!
//! The box is bounded and never waited for: when it is full, the sender is told so. The loop reads between ticks.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::session::CommandOutcome;
use botops_ground::contract::{Activate, CommandRequest, CommandResult, ConfigAck, Refusal, Settle, Verb};

/// Letters that may wait at once.
pub(super) const ROOM: usize = 64;
/// The loop answers between two ticks; later than this something is wrong.
const DEADLINE: Duration = Duration::from_secs(5);

/// A letter with its return address.
#[derive(Debug)]
pub(super) enum Letter {
    /// A command of an operator.
    Command(Verb, CommandRequest, oneshot::Sender<Result<CommandResult, Refusal>>),
    /// A command of the broker session: look it up (no outcome yet), or record what came of it.
    Session(
        Verb,
        Box<CommandRequest>,
        Option<CommandOutcome>,
        oneshot::Sender<Result<Option<CommandResult>, Refusal>>,
    ),
    /// Run a document as a trial.
    Activate(Box<Activate>, oneshot::Sender<Result<ConfigAck, Refusal>>),
    /// End a trial for good.
    Commit(Settle, oneshot::Sender<Result<ConfigAck, Refusal>>),
    /// End a trial and go back.
    Revert(Settle, oneshot::Sender<Result<ConfigAck, Refusal>>),
}

/// The sending side; cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Mailbox(pub SyncSender<Letter>);

impl Mailbox {
    /// Posts what `write` makes of a return address, and waits for the answer.
    pub async fn ask<T>(
        &self,
        write: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Letter,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        match self.0.try_send(write(reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(refusal("busy", "too many commands wait already")),
            Err(TrySendError::Disconnected(_)) => return Err(refusal("stopping", "the bot is stopping")),
        }
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(refusal("stopping", "the bot stopped before it answered")),
            Err(_) => Err(refusal("no_answer", "the trading loop did not answer in time; it may still act")),
        }
    }
}

fn refusal(code: &str, message: &str) -> Refusal {
    Refusal { code: code.to_owned(), message: message.to_owned(), context: Value::Null }
}
