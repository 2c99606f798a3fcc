//! One command on its way to its answer.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use botops_contract::{CommandRequest, CommandResult, Verb};
use chrono::{DateTime, Utc};
use tokio::sync::watch;

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// A command with its first answer. It is begun once, or withdrawn, never both.
#[derive(Debug)]
pub(crate) struct CommandTask {
    pub verb: Verb,
    pub command_id: String,
    /// End of `valid_for_ms`, and of `expires_at`: it is not begun after either.
    until: Option<Instant>,
    expires_at: Option<DateTime<Utc>>,
    progress: AtomicU8,
    answer: watch::Sender<Option<CommandResult>>,
}

impl CommandTask {
    /// A command that arrives now.
    pub(crate) fn new(verb: Verb, request: &CommandRequest) -> Self {
        let until = request.valid_for_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        Self {
            verb,
            command_id: request.command_id.clone(),
            until,
            expires_at: request.expires_at,
            progress: AtomicU8::new(WAITING),
            answer: watch::Sender::new(None),
        }
    }

    /// A command of an earlier start, with what became of it.
    pub(crate) fn answered(verb: Verb, result: CommandResult) -> Self {
        Self {
            verb,
            command_id: result.command_id.clone(),
            until: None,
            expires_at: None,
            progress: AtomicU8::new(BEGUN),
            answer: watch::Sender::new(Some(result)),
        }
    }

    /// Whether its sender wants it no more.
    pub(crate) fn is_expired(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
            || self.expires_at.is_some_and(|at| Utc::now() >= at)
    }

    /// Claims it for its handler; false when it was withdrawn.
    pub(crate) fn begin(&self) -> bool {
        self.advance(BEGUN)
    }

    /// Takes it back; false when it was begun, so that it may act.
    pub(crate) fn withdraw(&self) -> bool {
        self.advance(WITHDRAWN)
    }

    fn advance(&self, to: u8) -> bool {
        self.progress.compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives the answer. The first one stays.
    pub(crate) fn finish(&self, result: CommandResult) {
        self.answer.send_if_modified(|answer| {
            let is_first = answer.is_none();
            if is_first {
                *answer = Some(result);
            }
            is_first
        });
    }

    /// The answer, if there is one.
    pub(crate) fn result(&self) -> Option<CommandResult> {
        self.answer.borrow().clone()
    }

    /// Waits for the answer, at most so long.
    pub(crate) async fn wait(&self, limit: Duration) -> Option<CommandResult> {
        let mut answer = self.answer.subscribe();
        let answered = tokio::time::timeout(limit, answer.wait_for(Option::is_some)).await;
        answered.ok()?.ok()?.clone()
    }
}
