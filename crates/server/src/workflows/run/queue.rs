//! The queue: runs that wait for a lock get it in the order in which they were requested.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Notify;

use super::facts::RunFact;
use super::journal::{WrittenFact, insert_fact};
use super::launcher::RunLauncher;
use super::progress::RunProgress;
use super::state::WorkflowRunState;
use crate::operations_log::{self, OperationKind, OperationRow};
use crate::store::StoreAbort;
use crate::workflows::definition::{CheckedWorkflow, WorkflowLibrary};
use botops_core::durable_deadline::DurableDeadline;
use botops_core::error::Error;

/// How often a queue that is not empty checks for a free lock; a config transaction frees it without a notification.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a run may wait in a queue.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// The runs that wait for a lock.
#[derive(Debug)]
pub(crate) struct RunQueue {
    launcher: Arc<RunLauncher>,
    library: Arc<WorkflowLibrary>,
    waiting: AtomicUsize,
    added: Notify,
    /// Until when each queued run waits, by its id.
    patience: Mutex<BTreeMap<String, DurableDeadline>>,
}

impl RunQueue {
    pub(crate) fn new(launcher: Arc<RunLauncher>, library: Arc<WorkflowLibrary>) -> Self {
        let (waiting, added, patience) = (AtomicUsize::new(0), Notify::new(), Mutex::default());
        Self { launcher, library, waiting, added, patience }
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

    /// Whether a queued run has waited as long as one may. No step of the wall clock counts while this process knows of it.
    fn waited_too_long(&self, op: &OperationRow) -> bool {
        let mut patience = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        patience.entry(op.op_id.clone()).or_insert_with(|| patience_of(op)).left_at_most().is_zero()
    }

    /// Forgets runs that are queued no more.
    fn forget_all_but(&self, queued: &[OperationRow]) {
        let mut patience = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        patience.retain(|id, _| queued.iter().any(|op| op.op_id == *id));
    }

    async fn admit_waiting(&self) -> Result<(), Error> {
        let store = self.launcher.journal().store();
        let live =
            store.read(|connection| Ok(operations_log::live(connection, OperationKind::Workflow)?)).await?;
        let is_queued = |op: &OperationRow| op.state == WorkflowRunState::Queued.as_str();
        let queued: Vec<OperationRow> = live.into_iter().filter(is_queued).collect();
        self.waiting.store(queued.len(), Ordering::Relaxed);
        self.forget_all_but(&queued);
        for op in queued {
            let workflow = self.library.pinned_definition(&op.def_sha).await?;
            let Some(lock) = workflow.lock_key(self.launcher.world().bots.id()) else { continue };
            let (waiting, definition) = (op.clone(), workflow.clone());
            let is_too_old = self.waited_too_long(&op);
            let begun = store
                .write(move |connection| {
                    begin_or_expire(connection, &waiting, &definition, &lock, is_too_old)
                })
                .await?;
            let Some((WrittenFact { events, state }, fact)) = begun else { continue };
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            if let Some(own) = events.last() {
                self.launcher.journal().publish_fact(&op, &workflow, own.seq, own.at_ms, &fact, state);
            }
            if !state.is_terminal() {
                let progress = RunProgress::of(&workflow, &events);
                self.launcher.launch_run(op, workflow, progress);
            }
        }
        Ok(())
    }
}

/// Until when a run waits that was queued at this time of the wall clock.
fn patience_of(op: &OperationRow) -> DurableDeadline {
    let longest = i64::try_from(LONGEST_WAIT.as_millis()).unwrap_or(i64::MAX);
    DurableDeadline::by_wall_clock(op.created_ms.saturating_add(longest), op.created_ms).anchored()
}

/// Takes the lock and sets the run's deadline, or ends a run that has waited too long; `None` while the lock is held.
fn begin_or_expire(
    connection: &Connection,
    op: &OperationRow,
    workflow: &CheckedWorkflow,
    lock: &str,
    is_too_old: bool,
) -> Result<Option<(WrittenFact, RunFact)>, StoreAbort> {
    let fact = if is_too_old {
        RunFact::Finished { state: WorkflowRunState::Cancelled, outputs: None, error: None }
    } else if operations_log::take_lock(connection, &op.op_id, lock)?.is_some() {
        return Ok(None);
    } else {
        RunFact::started(workflow.time_limit())
    };
    Ok(insert_fact(connection, &op.op_id, 0, &fact)?.map(|written| (written, fact)))
}
