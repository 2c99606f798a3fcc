//! The config calls of a bot that keeps its config itself.

use std::sync::Arc;

use botops_contract::{
    ActivateConfigRequest, CheckConfigRequest, CheckVerdict, ConfigAck, ConfigState, ContractRefusal,
    EndTrialRequest, RunningDocument,
};
use botops_core::tasks::Tasks;
use serde_json::Value;

use super::guarded_calls::{GuardedCalls, LateAnswer};
use super::refusals::refusal;
use super::source::{ConfigSource, ContractAnswer, ShownConfig};

/// What a bot does whose config botops may change, see the contract's config calls, and that keeps its trials itself;
/// [`ManagedConfig`](super::ManagedConfig) does that for a bot.
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
    calls: GuardedCalls,
}

impl GuardedConfig {
    pub(crate) fn new(handlers: Arc<dyn ConfigHandlers>, tasks: Tasks) -> Self {
        Self { handlers, calls: GuardedCalls::new(tasks) }
    }

    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn ConfigHandlers) -> Result<T, ContractRefusal> + Send + 'static,
    ) -> ContractAnswer<T> {
        let handlers = self.handlers.clone();
        let late = || {
            LateAnswer::Refuse(refusal(
                "no_answer",
                "the bot's config handler did not answer in time; it may still act",
            ))
        };
        self.calls.run(move || work(&*handlers), late)
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
