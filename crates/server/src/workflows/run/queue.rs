//! The queue: runs that wait for a lock get it in the order in which they were requested.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Notify;

use super::facts::RunFact;
use super::journal::{WrittenFact, insert_fact};
use super::launcher::RunLauncher;
use super::progress::RunProgress;
use super::state::WorkflowRunState;
use crate::operations_log::{self, OperationKind, OperationRow, now_ms};
use crate::store::StoreAbort;
use crate::workflows::definition::{CheckedWorkflow, WorkflowLibrary};
use botops_core::error::Error;

/// How often a queue that is not empty checks for a free lock; a config transaction frees it without a notification.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a run may wait in a queue, in milliseconds.
const WAIT_MAX_MS: i64 = 3_600_000;

/// The runs that wait for a lock.
#[derive(Debug)]
pub(crate) struct RunQueue {
    launcher: Arc<RunLauncher>,
    library: Arc<WorkflowLibrary>,
    waiting: AtomicUsize,
    added: Notify,
}

impl RunQueue {
    pub(crate) fn new(launcher: Arc<RunLauncher>, library: Arc<WorkflowLibrary>) -> Self {
        Self { launcher, library, waiting: AtomicUsize::new(0), added: Notify::new() }
    }

    /// To be called when a run with the state `queued` was stored.
    pub(crate) fn add_run(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.added.notify_one();
    }

    /// Gives free locks to waiting runs, first come, first served, until the stop.
    pub(crate) async fn serve_queue(self: Arc<Self>) {
        loop {
            let idle = self.waiting.load(Ordering::Relaxed) == 0;
            tokio::select! {
                () = self.launcher.stopping().cancelled() => return,
                () = self.added.notified() => {}
                () = self.launcher.run_ended() => {}
                () = tokio::time::sleep(LOOK_EVERY), if !idle => {}
            }
            if let Err(error) = self.admit_waiting().await {
                tracing::warn!(
                    error.cause = error.cause_for_log(),
                    "the queue of runs waits for the store: {error}"
                );
            }
        }
    }

    async fn admit_waiting(&self) -> Result<(), Error> {
        let store = self.launcher.journal().store();
        let live =
            store.read(|connection| Ok(operations_log::live(connection, OperationKind::Workflow)?)).await?;
        let is_queued = |op: &OperationRow| op.state == WorkflowRunState::Queued.as_str();
        let queued: Vec<OperationRow> = live.into_iter().filter(is_queued).collect();
        self.waiting.store(queued.len(), Ordering::Relaxed);
        for op in queued {
            let workflow = self.library.pinned_definition(&op.def_sha).await?;
            let Some(lock) = workflow.lock_key(self.launcher.world().bots.id()) else { continue };
            let (waiting, definition) = (op.clone(), workflow.clone());
            let begun = store
                .write(move |connection| begin_or_expire(connection, &waiting, &definition, &lock))
                .await?;
            let Some((WrittenFact { events, state }, fact)) = begun else { continue };
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            if let Some(own) = events.last() {
                self.launcher.journal().publish_fact(&op, own.seq, own.at_ms, &fact, state);
            }
            if !state.is_terminal() {
                let progress = RunProgress::of(&workflow, &events);
                self.launcher.launch_run(op, workflow, progress);
            }
        }
        Ok(())
    }
}

/// Takes the lock and sets the run's deadline, or ends a run that has waited too long; `None` while the lock is held.
fn begin_or_expire(
    connection: &Connection,
    op: &OperationRow,
    workflow: &CheckedWorkflow,
    lock: &str,
) -> Result<Option<(WrittenFact, RunFact)>, StoreAbort> {
    let is_too_old = now_ms() - op.created_ms > WAIT_MAX_MS;
    let fact = if is_too_old {
        RunFact::Finished { state: WorkflowRunState::Cancelled, outputs: None, error: None }
    } else if operations_log::take_lock(connection, &op.op_id, lock)?.is_some() {
        return Ok(None);
    } else {
        RunFact::Started { deadline_ms: now_ms() + workflow.time_limit_ms() }
    };
    Ok(insert_fact(connection, &op.op_id, 0, &fact)?.map(|written| (written, fact)))
}
