//! The tasks of runs: each run in progress has exactly one.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::context::{RunContext, RunHalt};
use super::journal::RunJournal;
use super::progress::RunProgress;
use super::run_loop::{abandon_run, drive_run, recover_run};
use crate::operations_log::OperationRow;
use crate::workflows::actions::ActionServices;
use crate::workflows::definition::CheckedWorkflow;
use botops_core::tasks::{OnFailure, Tasks};

/// How long a run waits for the bot's first answer after a start of botops.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// Starts the tasks of runs and cancels them.
#[derive(Debug)]
pub(crate) struct RunLauncher {
    journal: Arc<RunJournal>,
    world: ActionServices,
    tasks: Tasks,
    stopping: CancellationToken,
    /// Runs that have a task, by id, each with the token that cancels it.
    active: Mutex<HashMap<String, CancellationToken>>,
    /// Notified when a run has ended, since its lock is then free.
    ended: Notify,
}

impl RunLauncher {
    pub(crate) fn new(journal: Arc<RunJournal>, world: ActionServices, tasks: Tasks) -> Self {
        let stopping = tasks.stopping();
        Self { journal, world, tasks, stopping, active: Mutex::default(), ended: Notify::new() }
    }

    pub(crate) fn journal(&self) -> &Arc<RunJournal> {
        &self.journal
    }

    pub(crate) fn world(&self) -> &ActionServices {
        &self.world
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Resolves when a run has ended since the last call.
    pub(crate) async fn run_ended(&self) {
        self.ended.notified().await;
    }

    /// Starts the task of a run, unless it has one.
    pub(crate) fn launch_run(
        self: &Arc<Self>,
        op: OperationRow,
        workflow: Arc<CheckedWorkflow>,
        progress: RunProgress,
    ) {
        let cancel = CancellationToken::new();
        if progress.cancel_by.is_some() {
            cancel.cancel();
        }
        if self.active().insert(op.op_id.clone(), cancel.clone()).is_some() {
            return;
        }
        let (journal, world, stopping) = (self.journal.clone(), self.world.clone(), self.stopping.clone());
        let run = RunContext { journal, world, op, workflow, progress, cancel, stopping };
        let launcher = self.clone();
        self.tasks.spawn("workflow-run", OnFailure::Log, async move { launcher.run_to_end(run).await });
    }

    /// Cancels a run's task; the cancel is in the journal already.
    pub(crate) fn cancel_run(&self, op_id: &str) {
        if let Some(token) = self.active().get(op_id) {
            token.cancel();
        }
    }

    fn active(&self) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run_to_end(&self, mut run: RunContext) {
        let (id, name) = (run.op.op_id.clone(), run.op.name.clone());
        let driven = AssertUnwindSafe(self.recover_and_drive(&mut run)).catch_unwind().await;
        if driven.is_err() {
            tracing::error!(run.id = id, "run {id} panicked");
            abandon_run(&mut run).await;
        }
        self.active().remove(&id);
        if !matches!(driven, Ok(RunHalt::Stopping)) {
            self.ended.notify_one();
            self.journal.refresh_success_ratio(name).await;
        }
    }

    async fn recover_and_drive(&self, run: &mut RunContext) -> RunHalt {
        self.wait_for_first_answer().await;
        match recover_run(run).await {
            Ok(()) => drive_run(run).await,
            Err(halt) => halt,
        }
    }

    /// Waits until the bot has been polled after a start of botops, since a step before that would fail without need.
    ///
    /// Without an answer in time the step runs anyway, and reports the failure itself.
    async fn wait_for_first_answer(&self) {
        let bots = &self.world.bots;
        let mut changes = bots.watch();
        let looked = async {
            while bots.snapshot().polls < 2 && !bots.snapshot().presence.answers() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FIRST_ANSWER, looked).await;
    }
}
