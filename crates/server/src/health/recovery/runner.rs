//! How recovery runs workflows, which lie above health: whoever owns them plugs a runner in.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::machine::HandlerEnd;

type PendingAnswer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What recovery must know of a workflow before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkflowFact {
    /// It ends the bot's process and starts it again.
    pub restarts_bot: bool,
    /// It is over within this time, what it takes back included.
    pub longest: Duration,
}

/// A workflow run that is an attempt to recover a component.
#[derive(Debug, Clone)]
pub struct RecoveryRun {
    /// The workflow's id.
    pub workflow: String,
    /// The run's idempotency key: the same key is the same run.
    pub key: String,
    /// Why.
    pub reason: String,
    /// The operator who asked for it; `None`: nobody did.
    pub asked_by: Option<String>,
}

/// How recovery runs workflows.
#[derive(Clone)]
pub struct WorkflowRunner {
    /// What there is to know of a workflow by id; `None` where there is none.
    pub describe: Arc<dyn Fn(String) -> PendingAnswer<Option<WorkflowFact>> + Send + Sync>,
    /// Runs it, or finds the run that the key began, and waits for its end.
    pub run: Arc<dyn Fn(RecoveryRun) -> PendingAnswer<HandlerEnd> + Send + Sync>,
}
