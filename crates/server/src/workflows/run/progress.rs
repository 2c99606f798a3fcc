//! The progress of a run, derived from its facts.
//!
//! Only the facts determine how far a run is: [`RunProgress`] is computed from them by the same code while the run
//! goes on and after a crash.

use std::collections::BTreeMap;

use serde_json::Value;

use super::facts::RunFact;
use super::state::{TurnBackReason, WorkflowRunError, WorkflowRunState, WorkflowStepState};
use crate::operations_log::OperationEvent;
use crate::workflows::definition::{CheckedWorkflow, WorkflowCriterion};
use botops_core::durable_deadline::DurableDeadline;

/// The progress of one step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepProgress {
    pub(crate) id: String,
    pub(crate) state: WorkflowStepState,
    pub(crate) attempts: u32,
    /// Attempts that failed; attempts that a crash cut off do not count.
    pub(crate) failures: u32,
    /// The action's revision of an attempt that has begun and has no outcome yet.
    pub(crate) in_flight: Option<u32>,
    /// Whether an attempt may have taken effect although it failed.
    pub(crate) in_doubt: bool,
    pub(crate) retry: Option<DurableDeadline>,
    pub(crate) until: Option<DurableDeadline>,
    pub(crate) input: Option<Value>,
    pub(crate) output: Option<Value>,
    pub(crate) criteria: Vec<WorkflowCriterion>,
    pub(crate) error: Option<WorkflowRunError>,
    /// How a command ended whose answer did not come while the step ran.
    pub(crate) later: Option<String>,
    pub(crate) undo_attempts: u32,
    pub(crate) undo_retry: Option<DurableDeadline>,
    pub(crate) undo_ended: bool,
    pub(crate) started_ms: Option<i64>,
    /// When its newest attempt began.
    pub(crate) attempt_started_ms: Option<i64>,
    pub(crate) finished_ms: Option<i64>,
}

/// A break in a run because botops ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunInterruption {
    /// When botops stopped, or the last sign of life before it was gone.
    pub(crate) interrupted_ms: i64,
    /// When the run was taken up again; `None` before that.
    pub(crate) resumed_ms: Option<i64>,
    /// Whether botops was stopped in order.
    pub(crate) was_stopped: bool,
}

/// The progress of a run, derived from its facts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunProgress {
    pub(crate) state: WorkflowRunState,
    pub(crate) steps: Vec<StepProgress>,
    pub(crate) started_ms: Option<i64>,
    pub(crate) finished_ms: Option<i64>,
    pub(crate) deadline: Option<DurableDeadline>,
    pub(crate) cancel_by: Option<String>,
    pub(crate) turned_back: Option<TurnBackReason>,
    pub(crate) posture: Option<Result<(), WorkflowRunError>>,
    pub(crate) outputs: Option<Value>,
    pub(crate) error: Option<WorkflowRunError>,
    pub(crate) suspended: bool,
    /// The newest break in it.
    pub(crate) interruption: Option<RunInterruption>,
    /// When the newest fact was recorded.
    last_ms: Option<i64>,
    pub(crate) seq: u64,
}

impl RunProgress {
    pub(crate) fn new(workflow: &CheckedWorkflow) -> Self {
        let steps = workflow.definition.steps.iter().map(|step| StepProgress {
            id: step.id.clone(),
            state: WorkflowStepState::Pending,
            attempts: 0,
            failures: 0,
            in_flight: None,
            in_doubt: false,
            retry: None,
            until: None,
            input: None,
            output: None,
            criteria: Vec::new(),
            error: None,
            later: None,
            undo_attempts: 0,
            undo_retry: None,
            undo_ended: false,
            started_ms: None,
            attempt_started_ms: None,
            finished_ms: None,
        });
        Self {
            state: WorkflowRunState::Queued,
            steps: steps.collect(),
            started_ms: None,
            finished_ms: None,
            deadline: None,
            cancel_by: None,
            turned_back: None,
            posture: None,
            outputs: None,
            error: None,
            suspended: false,
            interruption: None,
            last_ms: None,
            seq: 0,
        }
    }

    pub(crate) fn of(workflow: &CheckedWorkflow, events: &[OperationEvent]) -> Self {
        let mut progress = Self::new(workflow);
        for event in events {
            progress.apply_event(event);
        }
        progress
    }

    /// Adds an event of the run's journal and returns its fact; `None` when a newer version wrote it.
    pub(crate) fn apply_event(&mut self, event: &OperationEvent) -> Option<RunFact> {
        self.seq = event.seq;
        let fact = RunFact::from_row(event)?;
        self.apply(&fact, event.at_ms);
        Some(fact)
    }

    fn apply(&mut self, fact: &RunFact, at_ms: i64) {
        self.state = fact.run_state().unwrap_or(self.state);
        self.note_interruption(fact, at_ms);
        self.suspended = matches!(fact, RunFact::Suspended);
        if let Some(step) = fact.step().and_then(|id| self.steps.iter_mut().find(|step| step.id == id)) {
            step.apply(fact, at_ms);
        }
        match fact {
            RunFact::Started { deadline_ms, deadline } => {
                self.started_ms = Some(at_ms);
                self.deadline = Some(deadline_of(deadline.as_ref(), *deadline_ms, at_ms));
            }
            RunFact::CancelRequested { by } => self.cancel_by = Some(by.clone()),
            RunFact::Undoing { why } => self.turned_back = Some(*why),
            RunFact::PostureReached { error, .. } => self.posture = Some(error.clone().map_or(Ok(()), Err)),
            RunFact::Finished { outputs, error, .. } => {
                self.finished_ms = Some(at_ms);
                self.outputs.clone_from(outputs);
                self.error.clone_from(error);
            }
            _ => {}
        }
    }

    fn note_interruption(&mut self, fact: &RunFact, at_ms: i64) {
        let last = self.last_ms.replace(at_ms).unwrap_or(at_ms);
        let (interrupted_ms, resumed_ms, was_stopped) = match fact {
            RunFact::Suspended => (at_ms, None, true),
            RunFact::Recovered { .. } => (last, Some(at_ms), false),
            // What ends a command may be recorded by the next process before the run goes on.
            RunFact::CommandEnded { .. } => return,
            _ if self.suspended => (last, Some(at_ms), true),
            _ => return,
        };
        self.interruption = Some(RunInterruption { interrupted_ms, resumed_ms, was_stopped });
    }

    /// The outputs of finished steps, by step id.
    pub(crate) fn step_outputs(&self) -> BTreeMap<String, Value> {
        let with = self.steps.iter().filter_map(|step| Some((step.id.clone(), step.output.clone()?)));
        with.collect()
    }

    /// Whether the run is past its pivot, or may be.
    pub(crate) fn is_past_pivot(&self, workflow: &CheckedWorkflow) -> bool {
        let pivot = workflow.pivot_index().and_then(|index| self.steps.get(index));
        pivot.is_some_and(|step| step.acted() || step.in_doubt || step.in_flight.is_some())
    }

    /// The step that made the run fail, if any.
    pub(crate) fn failed_step(&self) -> Option<&StepProgress> {
        self.steps.iter().find(|step| step.error.is_some() && step.state != WorkflowStepState::Succeeded)
    }
}

/// The deadline that a fact stored, such that no step of the wall clock moves it from now on.
fn deadline_of(stored: Option<&DurableDeadline>, wall_ms: i64, at_ms: i64) -> DurableDeadline {
    let by_wall_clock = || DurableDeadline::by_wall_clock(wall_ms, at_ms);
    stored.cloned().unwrap_or_else(by_wall_clock).anchored()
}

impl StepProgress {
    fn apply(&mut self, fact: &RunFact, at_ms: i64) {
        match fact {
            RunFact::StepStarted { attempt, revision, input, .. } => {
                self.state = WorkflowStepState::Running;
                self.attempts = *attempt;
                self.in_flight = Some(*revision);
                self.retry = None;
                self.input = Some(input.clone());
                self.started_ms = self.started_ms.or(Some(at_ms));
                self.attempt_started_ms = Some(at_ms);
            }
            RunFact::AttemptFailed { in_doubt, retry_at_ms, retry, error, .. } => {
                self.state = WorkflowStepState::Retrying;
                self.failures += 1;
                self.in_flight = None;
                self.in_doubt |= in_doubt;
                self.retry = Some(deadline_of(retry.as_ref(), *retry_at_ms, at_ms));
                self.error = Some(error.clone());
            }
            RunFact::UntilBegun { until_ms, until, .. } => {
                self.until = Some(deadline_of(until.as_ref(), *until_ms, at_ms));
            }
            RunFact::StepFinished { state, output, criteria, error, .. } => {
                self.state = *state;
                self.in_flight = None;
                self.output.clone_from(output);
                self.criteria.clone_from(criteria);
                self.error.clone_from(error);
                self.finished_ms = Some(at_ms);
            }
            RunFact::UndoStarted { attempt, .. } => {
                self.state = WorkflowStepState::Undoing;
                self.undo_attempts = *attempt;
                self.undo_retry = None;
            }
            RunFact::UndoAttemptFailed { retry_at_ms, retry, .. } => {
                self.undo_retry = Some(deadline_of(retry.as_ref(), *retry_at_ms, at_ms));
            }
            RunFact::CommandEnded { says, .. } => self.later = Some(says.clone()),
            RunFact::UndoFinished { state, error, .. } => {
                self.undo_ended = true;
                if *state != WorkflowStepState::Skipped {
                    self.state = *state;
                }
                if error.is_some() {
                    self.error.clone_from(error);
                }
            }
            _ => {}
        }
    }

    /// Whether the step took effect, or may have.
    pub(crate) fn acted(&self) -> bool {
        self.output.is_some() || self.state == WorkflowStepState::Unknown
    }
}
