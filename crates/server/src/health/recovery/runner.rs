//! How recovery runs workflows. They lie above health, so the feature that owns them registers a runner.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::machine::HandlerEnd;
use crate::health::model::RecoveryCandidate;
use botops_core::error::Code;

type PendingAnswer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The properties of a workflow that recovery needs before it runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowFact {
    /// Whether it ends the bot's process and starts it again.
    pub restarts_bot: bool,
    /// The longest time until it is over, including undoing its steps.
    pub longest: Duration,
    /// Why a run of recovery could not be done, in one sentence: there is no such workflow, it does not take what recovery
    /// sends, or the bot lacks what it needs. No attempt is made then. `None` when nothing is known to be in the way.
    pub hindrance: Option<String>,
    /// The code with which a run is refused for what is missing; `None` where nothing is.
    pub missing_code: Option<Code>,
}

/// A workflow run to start as a recovery attempt.
#[derive(Debug, Clone)]
pub struct RecoveryRun {
    /// The workflow's id.
    pub workflow: String,
    /// The run's idempotency key: the same key stands for the same run.
    pub key: String,
    /// The reason given to the run: its only parameter, `reason`, 8 to 280 characters long.
    pub reason: String,
    /// The operator who asked for it; `None` for an automatic attempt.
    pub asked_by: Option<String>,
}

/// The functions through which recovery uses workflows.
#[derive(Clone)]
pub struct WorkflowRunner {
    /// Returns the properties of a workflow by id; of one that does not exist, that as its hindrance.
    pub describe: Arc<dyn Fn(String) -> PendingAnswer<WorkflowFact> + Send + Sync>,
    /// Returns all workflows, those that recovery cannot run with the reason.
    pub list_candidates: Arc<dyn Fn() -> PendingAnswer<Vec<RecoveryCandidate>> + Send + Sync>,
    /// Starts the run, or finds the run that the key began before, and waits for its end.
    pub run: Arc<dyn Fn(RecoveryRun) -> PendingAnswer<HandlerEnd> + Send + Sync>,
}
