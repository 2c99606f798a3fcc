//! One run in progress: its progress, writing its facts, and everything that can interrupt it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::facts::RunFact;
use super::journal::{RunJournal, WrittenFact};
use super::progress::RunProgress;
use crate::operations_log::OperationRow;
use crate::workflows::actions::{ActionCall, ActionFailure, ActionServices, StepFailureClass};
use crate::workflows::definition::{CheckedWorkflow, RunValues};
use botops_core::durable_deadline::DurableDeadline;
use botops_core::error::Code;

/// How long an action that changes something may go on after a cancel.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// How long it may go on when botops stops, also in an undo; less than the process as a whole has for its stop.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// How long to wait before a store that cannot be written is tried again.
const STORE_WAIT: Duration = Duration::from_millis(500);

/// What is left of the time of a run that has not begun; its steps have limits of their own.
const NO_DEADLINE: Duration = Duration::from_secs(365 * 86_400);

/// Why the task of a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunHalt {
    /// botops stops; the run is resumed at its next start.
    Stopping,
    /// The run is over.
    Over,
}

/// What interrupted a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepInterrupt {
    Cancelled,
    Deadline,
    Stopping,
}

/// One run in progress. It holds no state that a crash could lose.
pub(crate) struct RunContext {
    pub(crate) journal: Arc<RunJournal>,
    pub(crate) world: ActionServices,
    pub(crate) op: OperationRow,
    pub(crate) workflow: Arc<CheckedWorkflow>,
    pub(crate) progress: RunProgress,
    pub(crate) cancel: CancellationToken,
    pub(crate) stopping: CancellationToken,
}

impl RunContext {
    /// Makes a fact durable, and takes in facts that others wrote meanwhile (a cancel).
    pub(crate) async fn record_fact(&mut self, fact: RunFact) -> Result<(), RunHalt> {
        loop {
            match self.journal.write_fact(&self.op.op_id, self.progress.seq, &fact).await {
                Ok(None) => return Err(RunHalt::Over),
                Ok(Some(WrittenFact { events, state })) => {
                    for event in &events {
                        self.progress.apply_event(event);
                    }
                    let Some(own) = events.last() else { return Ok(()) };
                    self.journal.publish_fact(&self.op, &self.workflow, own.seq, own.at_ms, &fact, state);
                    return if state.is_terminal() { Err(RunHalt::Over) } else { Ok(()) };
                }
                Err(error) => {
                    tracing::error!(
                        run.id = self.op.op_id,
                        error.cause = error.cause_for_log(),
                        "run {} waits for the store: {error}",
                        self.op.op_id
                    );
                    tokio::select! {
                        () = tokio::time::sleep(STORE_WAIT) => {}
                        () = self.stopping.cancelled() => return Err(RunHalt::Stopping),
                    }
                }
            }
        }
    }

    /// Records that botops stops, so that resuming the run does not count as recovery from a crash.
    pub(crate) async fn record_suspended(&mut self) {
        let written = self.journal.write_fact(&self.op.op_id, self.progress.seq, &RunFact::Suspended).await;
        if let Ok(Some(WrittenFact { events, state })) = written
            && let Some(own) = events.last()
        {
            self.journal.publish_fact(
                &self.op,
                &self.workflow,
                own.seq,
                own.at_ms,
                &RunFact::Suspended,
                state,
            );
        }
    }

    /// The values that references of the definition stand for now.
    pub(crate) fn values(&self) -> RunValues {
        RunValues { params: self.op.params.clone(), outputs: self.progress.step_outputs() }
    }

    /// Whether the run is past its pivot, or may be.
    pub(crate) fn is_past_pivot(&self) -> bool {
        self.progress.is_past_pivot(&self.workflow)
    }

    /// Time until the run's deadline.
    pub(crate) fn time_left(&self) -> Duration {
        self.progress.deadline.as_ref().map_or(NO_DEADLINE, DurableDeadline::left_at_most)
    }

    /// The circumstances of an attempt at `step` under `key`.
    pub(crate) fn action_call(&self, step: &str, key: String, limit: Duration) -> ActionCall {
        let said = self.op.params.get("reason").and_then(Value::as_str);
        let name = &self.op.name;
        let reason =
            said.map_or_else(|| format!("workflow {name}"), |said| format!("workflow {name}: {said}"));
        ActionCall {
            run: self.op.op_id.clone(),
            workflow: name.clone(),
            step: step.to_owned(),
            key,
            reason: botops_core::text::clean(&reason, 280),
            actor: self.op.actor.clone(),
            deadline: Instant::now() + limit,
        }
    }

    /// Runs `work` within its limit. On a cancel or deadline, an action that changes something may still come to its
    /// end.
    pub(crate) async fn run_limited(
        &self,
        work: impl Future<Output = Result<Value, ActionFailure>>,
        limit: Duration,
        changes: bool,
    ) -> Result<Result<Value, ActionFailure>, StepInterrupt> {
        tokio::pin!(work);
        let interrupt = tokio::select! {
            done = tokio::time::timeout(limit, &mut work) => {
                let late = || ActionFailure::timeout(format!("no outcome within {} s", limit.as_secs()), changes);
                return Ok(done.unwrap_or_else(|_| Err(late())));
            }
            interrupt = self.wait_for_interrupt() => interrupt,
        };
        if !changes {
            return Err(interrupt);
        }
        let patience = if interrupt == StepInterrupt::Stopping { STOP_PATIENCE } else { CANCEL_PATIENCE };
        match tokio::time::timeout(patience, work).await {
            Ok(done) => Ok(done),
            // The attempt has no outcome; after the restart the step finds out what became of it.
            Err(_) if interrupt == StepInterrupt::Stopping => Err(interrupt),
            Err(_) => {
                let message = "the step was cut off while it acted";
                let code = Code::WorkflowNeedsAttention;
                Ok(Err(ActionFailure::new(StepFailureClass::Unknown, code, message)))
            }
        }
    }

    async fn wait_for_interrupt(&self) -> StepInterrupt {
        tokio::select! {
            () = self.stopping.cancelled() => StepInterrupt::Stopping,
            () = self.cancel.cancelled() => StepInterrupt::Cancelled,
            () = tokio::time::sleep(self.time_left()) => StepInterrupt::Deadline,
        }
    }

    /// Sleeps for a time, unless the run is interrupted.
    pub(crate) async fn sleep_for(&self, time: Duration) -> Result<(), StepInterrupt> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            interrupt = self.wait_for_interrupt() => Err(interrupt),
        }
    }

    /// Sleeps like [`Self::sleep_for`], but only the stop of botops interrupts it.
    pub(crate) async fn sleep_or_stop(&self, time: Duration) -> Result<(), RunHalt> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.stopping.cancelled() => Err(RunHalt::Stopping),
        }
    }

    /// Resolves when botops stops and an undo has had its time to end.
    pub(crate) async fn stopping_late(&self) {
        self.stopping.cancelled().await;
        tokio::time::sleep(STOP_PATIENCE).await;
    }
}
