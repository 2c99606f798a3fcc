//! What the facts of a run add up to.
//!
//! What a run is stands nowhere but in its facts: [`RunProgress`] is computed from them, while the run goes on and
//! again after a crash, by the same code.

use std::collections::BTreeMap;

use serde_json::Value;

use super::facts::RunFact;
use super::state::{TurnBackReason, WorkflowRunError, WorkflowRunState, WorkflowStepState};
use crate::ops_log::OpEvent;
use crate::workflows::definition::{CheckedWorkflow, WorkflowCriterion};

/// What is known of one step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepProgress {
    pub id: String,
    pub state: WorkflowStepState,
    pub attempts: u32,
    /// Attempts that failed; those that a crash cut off do not count.
    pub failures: u32,
    /// An attempt was begun and has no outcome; its revision of the action.
    pub in_flight: Option<u32>,
    /// Some attempt may have had an effect although it failed.
    pub in_doubt: bool,
    pub retry_at_ms: Option<i64>,
    pub until_ms: Option<i64>,
    pub input: Option<Value>,
    pub output: Option<Value>,
    pub criteria: Vec<WorkflowCriterion>,
    pub error: Option<WorkflowRunError>,
    /// What was learnt later of a command whose answer did not come.
    pub later: Option<String>,
    pub undo_attempts: u32,
    pub undo_retry_at_ms: Option<i64>,
    pub undo_ended: bool,
    pub started_ms: Option<i64>,
    pub finished_ms: Option<i64>,
}

/// What the facts of a run add up to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunProgress {
    pub state: WorkflowRunState,
    pub steps: Vec<StepProgress>,
    pub started_ms: Option<i64>,
    pub finished_ms: Option<i64>,
    pub deadline_ms: Option<i64>,
    pub cancel_by: Option<String>,
    pub turned_back: Option<TurnBackReason>,
    pub posture: Option<Result<(), WorkflowRunError>>,
    pub outputs: Option<Value>,
    pub error: Option<WorkflowRunError>,
    pub suspended: bool,
    pub seq: u64,
}

impl RunProgress {
    pub fn new(workflow: &CheckedWorkflow) -> Self {
        let steps = workflow.definition.steps.iter().map(|step| StepProgress {
            id: step.id.clone(),
            state: WorkflowStepState::Pending,
            attempts: 0,
            failures: 0,
            in_flight: None,
            in_doubt: false,
            retry_at_ms: None,
            until_ms: None,
            input: None,
            output: None,
            criteria: Vec::new(),
            error: None,
            later: None,
            undo_attempts: 0,
            undo_retry_at_ms: None,
            undo_ended: false,
            started_ms: None,
            finished_ms: None,
        });
        Self {
            state: WorkflowRunState::Queued,
            steps: steps.collect(),
            started_ms: None,
            finished_ms: None,
            deadline_ms: None,
            cancel_by: None,
            turned_back: None,
            posture: None,
            outputs: None,
            error: None,
            suspended: false,
            seq: 0,
        }
    }

    pub fn of(workflow: &CheckedWorkflow, events: &[OpEvent]) -> Self {
        let mut progress = Self::new(workflow);
        for event in events {
            progress.apply_event(event);
        }
        progress
    }

    /// Adds an event of the run's journal; returns its fact, unless a newer botops wrote it.
    pub fn apply_event(&mut self, event: &OpEvent) -> Option<RunFact> {
        self.seq = event.seq;
        let fact = RunFact::from_row(event)?;
        self.apply(&fact, event.at_ms);
        Some(fact)
    }

    fn apply(&mut self, fact: &RunFact, at_ms: i64) {
        self.state = fact.run_state().unwrap_or(self.state);
        self.suspended = matches!(fact, RunFact::Suspended);
        if let Some(step) = fact.step().and_then(|id| self.steps.iter_mut().find(|step| step.id == id)) {
            step.apply(fact, at_ms);
        }
        match fact {
            RunFact::Started { deadline_ms } => {
                self.started_ms = Some(at_ms);
                self.deadline_ms = Some(*deadline_ms);
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

    /// The outputs of finished steps, by id.
    pub fn step_outputs(&self) -> BTreeMap<String, Value> {
        let with = self.steps.iter().filter_map(|step| Some((step.id.clone(), step.output.clone()?)));
        with.collect()
    }

    /// Whether the point of no return is, or may be, behind.
    pub fn is_past_pivot(&self, workflow: &CheckedWorkflow) -> bool {
        let pivot = workflow.pivot().and_then(|index| self.steps.get(index));
        pivot.is_some_and(|step| step.acted() || step.in_doubt || step.in_flight.is_some())
    }

    /// The step that made the run fail.
    pub fn failed_step(&self) -> Option<&StepProgress> {
        self.steps.iter().find(|step| step.error.is_some() && step.state != WorkflowStepState::Succeeded)
    }
}

impl StepProgress {
    fn apply(&mut self, fact: &RunFact, at_ms: i64) {
        match fact {
            RunFact::StepStarted { attempt, revision, input, .. } => {
                self.state = WorkflowStepState::Running;
                self.attempts = *attempt;
                self.in_flight = Some(*revision);
                self.retry_at_ms = None;
                self.input = Some(input.clone());
                self.started_ms = self.started_ms.or(Some(at_ms));
            }
            RunFact::AttemptFailed { in_doubt, retry_at_ms, error, .. } => {
                self.state = WorkflowStepState::Retrying;
                self.failures += 1;
                self.in_flight = None;
                self.in_doubt |= in_doubt;
                self.retry_at_ms = Some(*retry_at_ms);
                self.error = Some(error.clone());
            }
            RunFact::UntilBegun { until_ms, .. } => self.until_ms = Some(*until_ms),
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
                self.undo_retry_at_ms = None;
            }
            RunFact::UndoAttemptFailed { retry_at_ms, .. } => self.undo_retry_at_ms = Some(*retry_at_ms),
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

    /// Whether it did, or may have done, something.
    pub fn acted(&self) -> bool {
        self.output.is_some() || self.state == WorkflowStepState::Unknown
    }
}
