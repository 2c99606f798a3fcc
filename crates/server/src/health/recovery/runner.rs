//! How recovery runs workflows. They lie above health, so the feature that owns them registers a runner.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::machine::HandlerEnd;

type PendingAnswer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The properties of a workflow that recovery needs before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkflowFact {
    /// Whether it ends the bot's process and starts it again.
    pub restarts_bot: bool,
    /// The longest time until it is over, including undoing its steps.
    pub longest: Duration,
}

/// A workflow run to start as a recovery attempt.
#[derive(Debug, Clone)]
pub struct RecoveryRun {
    /// The workflow's id.
    pub workflow: String,
    /// The run's idempotency key: the same key stands for the same run.
    pub key: String,
    /// The reason given to the run.
    pub reason: String,
    /// The operator who asked for it; `None` for an automatic attempt.
    pub asked_by: Option<String>,
}

/// The two functions through which recovery uses workflows.
#[derive(Clone)]
pub struct WorkflowRunner {
    /// Returns the properties of a workflow by id; `None` when there is no such workflow.
    pub describe: Arc<dyn Fn(String) -> PendingAnswer<Option<WorkflowFact>> + Send + Sync>,
    /// Starts the run, or finds the run that the key began before, and waits for its end.
    pub run: Arc<dyn Fn(RecoveryRun) -> PendingAnswer<HandlerEnd> + Send + Sync>,
}
