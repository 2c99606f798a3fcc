//! Calls into the bot's own code, each on a thread of its own: one that panics or hangs costs an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use botops_contract::ContractRefusal;
use botops_core::tasks::{OnFailure, Tasks};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, oneshot};

use super::command_runner::ANSWER_WITHIN;
use super::panic_message::panic_message;
use super::refusals::refusal;
use super::source::ContractAnswer;

/// Calls that run at a time; further ones are refused as busy.
const MOST_CALLS: usize = 4;

/// Runs calls of a bot's config; cloning is cheap.
#[derive(Clone)]
pub(crate) struct GuardedCalls {
    tasks: Tasks,
    room: Arc<Semaphore>,
    answer_within: Duration,
}

/// What a caller is told whose call has not ended in time.
pub(crate) enum LateAnswer {
    /// This; the call may go on.
    Refuse(ContractRefusal),
    /// Nothing yet: it has had its effect, so its answer comes at once.
    WaitOn,
}

impl GuardedCalls {
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self { tasks, room: Arc::new(Semaphore::new(MOST_CALLS)), answer_within: ANSWER_WITHIN }
    }

    /// Runs one call; `late` is asked once when it has not ended in time.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ContractRefusal> + Send + 'static,
        late: impl FnOnce() -> LateAnswer + Send + 'static,
    ) -> ContractAnswer<T> {
        let (tasks, limit) = (self.tasks.clone(), self.answer_within);
        let room = self.room.clone().try_acquire_owned();
        async move {
            let Ok(room) = room else { return Err(refusal("busy", "earlier config calls have not ended")) };
            let (reply, mut answer) = oneshot::channel();
            tasks.spawn_thread("config handler", OnFailure::Log, move || {
                let room = room;
                let answer = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
                    let said = panic_message(&*panic);
                    tracing::error!("the bot's config handler panicked ({said}); it may have acted");
                    let what = format!("the bot's config handler raised a panic: {said}; it may have acted");
                    Err(refusal("internal", &what))
                });
                // Fails when the client has gone.
                let _ = reply.send(answer);
                drop(room);
            });
            let failed = |_| Err(refusal("internal", "the bot's config handler failed; it may have acted"));
            if let Ok(answer) = tokio::time::timeout(limit, &mut answer).await {
                return answer.unwrap_or_else(failed);
            }
            match late() {
                LateAnswer::Refuse(refused) => Err(refused),
                LateAnswer::WaitOn => answer.await.unwrap_or_else(failed),
            }
        }
        .boxed()
    }
}
