//! A bot's config calls, each on a thread of its own: one that panics or hangs costs an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use botops_contract::{
    ActivateConfigRequest, CheckConfigRequest, CheckVerdict, ConfigAck, ConfigState, ContractRefusal,
    EndTrialRequest, RunningDocument,
};
use botops_core::tasks::{OnFailure, Tasks};
use futures_util::FutureExt;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::command_runner::ANSWER_WITHIN;
use super::panic_message::panic_message;
use super::refusals::refusal;
use super::source::{ConfigSource, ContractAnswer, ShownConfig};

/// Config calls that run at a time; further ones are refused as busy.
const MOST_CALLS: usize = 4;

/// What a bot does whose config botops may change, see the contract's config calls.
///
/// Each is called on a thread of its own and may wait. The trial and its clock are the bot's: one that is not committed
/// within `ttl_ms` ends by itself, whatever becomes of botops.
pub trait ConfigHandlers: Send + Sync + 'static {
    /// `GET config`: what runs, what is committed, and what is on trial.
    fn state(&self) -> ConfigState;

    /// `GET config/schema`: the bot's JSON Schema.
    fn schema(&self) -> String;

    /// `GET config/document`: the exact text of what runs.
    fn document(&self) -> RunningDocument;

    /// `POST config/check`: would this document be taken? Changes nothing.
    fn check(&self, candidate: &Value) -> CheckVerdict;

    /// `POST config/activate`: runs a document as a trial.
    ///
    /// # Errors
    /// A refusal: nothing was changed.
    fn activate(&self, request: &ActivateConfigRequest) -> Result<ConfigAck, ContractRefusal>;

    /// `POST config/commit`: keeps what is on trial.
    ///
    /// # Errors
    /// A refusal: nothing was changed.
    fn commit(&self, request: &EndTrialRequest) -> Result<ConfigAck, ContractRefusal>;

    /// `POST config/revert`: goes back to what is committed.
    ///
    /// # Errors
    /// A refusal: nothing was changed.
    fn revert(&self, request: &EndTrialRequest) -> Result<ConfigAck, ContractRefusal>;
}

/// The handlers as the server asks them.
pub(crate) struct GuardedConfig {
    handlers: Arc<dyn ConfigHandlers>,
    tasks: Tasks,
    room: Arc<Semaphore>,
    answer_within: Duration,
}

impl GuardedConfig {
    pub(crate) fn new(handlers: Arc<dyn ConfigHandlers>, tasks: Tasks) -> Self {
        Self { handlers, tasks, room: Arc::new(Semaphore::new(MOST_CALLS)), answer_within: ANSWER_WITHIN }
    }

    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn ConfigHandlers) -> Result<T, ContractRefusal> + Send + 'static,
    ) -> ContractAnswer<T> {
        let (tasks, handlers, limit) = (self.tasks.clone(), self.handlers.clone(), self.answer_within);
        let room = self.room.clone().try_acquire_owned();
        async move {
            let Ok(room) = room else { return Err(refusal("busy", "earlier config calls have not ended")) };
            let (reply, answer) = oneshot::channel();
            tasks.spawn_thread("config handler", OnFailure::Log, move || {
                let room = room;
                let answer = catch_unwind(AssertUnwindSafe(|| work(&*handlers))).unwrap_or_else(|panic| {
                    let said = panic_message(&*panic);
                    tracing::error!("the bot's config handler panicked ({said}); it may have acted");
                    let what = format!("the bot's config handler raised a panic: {said}; it may have acted");
                    Err(refusal("internal", &what))
                });
                // Fails when the client has gone.
                let _ = reply.send(answer);
                drop(room);
            });
            match tokio::time::timeout(limit, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(refusal("internal", "the bot's config handler failed; it may have acted")),
                Err(_) => Err(refusal(
                    "no_answer",
                    "the bot's config handler did not answer in time; it may still act",
                )),
            }
        }
        .boxed()
    }
}

impl ConfigSource for GuardedConfig {
    fn shown(&self) -> ContractAnswer<ShownConfig> {
        self.call(|handlers| Ok(ShownConfig::Managed(handlers.state())))
    }

    fn schema(&self) -> ContractAnswer<String> {
        self.call(|handlers| Ok(handlers.schema()))
    }

    fn document(&self) -> ContractAnswer<RunningDocument> {
        self.call(|handlers| Ok(handlers.document()))
    }

    fn check(&self, request: CheckConfigRequest) -> ContractAnswer<CheckVerdict> {
        self.call(move |handlers| Ok(handlers.check(&request.config)))
    }

    fn activate(&self, request: ActivateConfigRequest) -> ContractAnswer<ConfigAck> {
        self.call(move |handlers| handlers.activate(&request))
    }

    fn commit(&self, request: EndTrialRequest) -> ContractAnswer<ConfigAck> {
        self.call(move |handlers| handlers.commit(&request))
    }

    fn revert(&self, request: EndTrialRequest) -> ContractAnswer<ConfigAck> {
        self.call(move |handlers| handlers.revert(&request))
    }
}
