//! The journal of a run: facts, in order, and the state they add up to.
//!
//! What a run is stands nowhere but in its facts: [`Folded`] is computed from them, while the run goes on and again
//! after a crash, by the same code. Each fact is also one line of `workflow_execution_log.jsonl` and one event.
//! Deliberately absent: a fact that is written after the effect it announces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::definition::{FailureClass, Workflow};
use super::values::Criterion;
use crate::operations_log::{self, OperationEvent};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WorkflowRunState)]
pub enum RunState {
    /// It waits for the lock.
    Queued,
    /// A step is under way.
    Running,
    /// A step waits: for its next try, or for a condition.
    Waiting,
    /// It was told to stop and ends its step.
    Cancelling,
    /// What was done is taken back.
    Undoing,
    /// Done.
    Succeeded,
    /// It failed and had nothing to take back.
    Failed,
    /// It failed and everything was taken back.
    RolledBack,
    /// It failed past its pivot; the safe posture was reached.
    FailedAfterPivot,
    /// It was told to stop; everything was taken back.
    Cancelled,
    /// What happened cannot be told, or could not be taken back: a person has to look.
    NeedsAttention,
}

impl RunState {
    /// Every state a run ends in.
    pub const TERMINAL: [Self; 6] = [
        Self::Succeeded,
        Self::Failed,
        Self::RolledBack,
        Self::FailedAfterPivot,
        Self::Cancelled,
        Self::NeedsAttention,
    ];

    /// The word on the wire and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Cancelling => "cancelling",
            Self::Undoing => "undoing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::FailedAfterPivot => "failed_after_pivot",
            Self::Cancelled => "cancelled",
            Self::NeedsAttention => "needs_attention",
        }
    }

    /// The state of a row.
    pub(super) fn of(word: &str) -> Option<Self> {
        let live = [Self::Queued, Self::Running, Self::Waiting, Self::Cancelling, Self::Undoing];
        live.into_iter().chain(Self::TERMINAL).find(|state| state.as_str() == word)
    }

    /// Whether the run is over.
    pub fn is_terminal(self) -> bool {
        Self::TERMINAL.contains(&self)
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WorkflowStepState)]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Its condition did not hold.
    Skipped,
    /// An attempt is under way.
    Running,
    /// It waits for its next attempt.
    Retrying,
    /// Done, and as expected.
    Succeeded,
    /// Not done, or not as expected.
    Failed,
    /// Whether it happened cannot be told.
    Unknown,
    /// It is being taken back.
    Undoing,
    /// It was taken back.
    Undone,
    /// It could not be taken back.
    UndoFailed,
}

/// Why something failed, as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = WorkflowRunError)]
pub struct RunError {
    /// What the failure means for another try.
    pub class: FailureClass,
    /// The catalogue's code.
    #[schema(example = "BOT_001")]
    pub error_code: String,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub remediation: String,
}

/// What can happen to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum Fact {
    Admitted {
        state: RunState,
    },
    Started {
        deadline_ms: i64,
    },
    Recovered {
        recoveries: u32,
    },
    Suspended,
    StepStarted {
        step: String,
        attempt: u32,
        action: String,
        revision: u32,
        key: String,
        input: Value,
    },
    AttemptFailed {
        step: String,
        attempt: u32,
        error: RunError,
        in_doubt: bool,
        retry_at_ms: i64,
    },
    UntilBegun {
        step: String,
        until_ms: i64,
    },
    StepFinished {
        step: String,
        state: StepState,
        #[serde(default)]
        output: Option<Value>,
        #[serde(default)]
        criteria: Vec<Criterion>,
        #[serde(default)]
        error: Option<RunError>,
    },
    CancelRequested {
        by: String,
    },
    Undoing {
        why: Why,
    },
    UndoStarted {
        step: String,
        attempt: u32,
        action: String,
        key: String,
        input: Value,
    },
    UndoAttemptFailed {
        step: String,
        attempt: u32,
        error: RunError,
        retry_at_ms: i64,
    },
    UndoFinished {
        step: String,
        state: StepState,
        #[serde(default)]
        error: Option<RunError>,
    },
    /// How a command ended whose answer did not come while its step ran. May follow the run's end.
    CommandEnded {
        step: String,
        outcome: String,
        says: String,
    },
    PostureReached {
        leave: String,
        #[serde(default)]
        error: Option<RunError>,
    },
    Finished {
        state: RunState,
        #[serde(default)]
        outputs: Option<Value>,
        #[serde(default)]
        error: Option<RunError>,
    },
}

/// Why a run turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    Failed,
    Cancelled,
    Deadline,
}

impl Fact {
    /// The word and the data, as the table keeps them.
    pub fn parts(&self) -> (String, Value) {
        let mut data = serde_json::to_value(self).expect("a fact is JSON");
        let word = data.as_object_mut().and_then(|members| members.remove("is")).unwrap_or_default();
        (word.as_str().unwrap_or_default().to_owned(), data)
    }

    /// A fact as it was kept; `None` for one of a newer botops.
    pub fn of(event: &OperationEvent) -> Option<Self> {
        let mut data = event.data.clone();
        if data.is_null() {
            data = json!({});
        }
        data.as_object_mut()?.insert("is".to_owned(), Value::String(event.kind.clone()));
        serde_json::from_value(data).ok()
    }

    /// The state of the run's row after this fact; `None` leaves it.
    pub fn state(&self) -> Option<RunState> {
        match self {
            Self::Admitted { state } | Self::Finished { state, .. } => Some(*state),
            Self::Started { .. } | Self::StepStarted { .. } => Some(RunState::Running),
            Self::AttemptFailed { .. } | Self::UntilBegun { .. } => Some(RunState::Waiting),
            Self::CancelRequested { .. } => Some(RunState::Cancelling),
            Self::Undoing { .. } | Self::UndoStarted { .. } => Some(RunState::Undoing),
            Self::Recovered { .. }
            | Self::Suspended
            | Self::StepFinished { .. }
            | Self::UndoAttemptFailed { .. }
            | Self::UndoFinished { .. }
            | Self::CommandEnded { .. }
            | Self::PostureReached { .. } => None,
        }
    }

    /// The step it is about.
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::StepStarted { step, .. }
            | Self::AttemptFailed { step, .. }
            | Self::UntilBegun { step, .. }
            | Self::StepFinished { step, .. }
            | Self::UndoStarted { step, .. }
            | Self::UndoAttemptFailed { step, .. }
            | Self::UndoFinished { step, .. }
            | Self::CommandEnded { step, .. } => Some(step),
            _ => None,
        }
    }

    /// The failure it tells of.
    pub fn error(&self) -> Option<&RunError> {
        match self {
            Self::AttemptFailed { error, .. } | Self::UndoAttemptFailed { error, .. } => Some(error),
            Self::StepFinished { error, .. }
            | Self::UndoFinished { error, .. }
            | Self::PostureReached { error, .. }
            | Self::Finished { error, .. } => error.as_ref(),
            _ => None,
        }
    }

    /// One sentence.
    pub fn says(&self, workflow: &str) -> String {
        let word = |state: &StepState| json!(state).as_str().unwrap_or_default().to_owned();
        match self {
            Self::Admitted { state } => format!("{workflow}: admitted, {}", state.as_str()),
            Self::Started { .. } => format!("{workflow}: started"),
            Self::Recovered { recoveries } => {
                format!("{workflow}: taken up again after a restart ({recoveries})")
            }
            Self::Suspended => format!("{workflow}: suspended, botops stops"),
            Self::StepStarted { step, attempt, action, .. } => {
                format!("{workflow}: step {step} started ({action}, attempt {attempt})")
            }
            Self::AttemptFailed { step, error, .. } => {
                format!("{workflow}: step {step} is tried again: {}", error.message)
            }
            Self::UntilBegun { step, .. } => format!("{workflow}: step {step} waits for its condition"),
            Self::StepFinished { step, state, error, .. } => {
                let why = error.as_ref().map_or_else(String::new, |error| format!(": {}", error.message));
                format!("{workflow}: step {step} {}{why}", word(state))
            }
            Self::CancelRequested { by } => format!("{workflow}: cancel requested by {by}"),
            Self::Undoing { .. } => format!("{workflow}: turning back"),
            Self::UndoStarted { step, .. } => format!("{workflow}: step {step} is taken back"),
            Self::UndoAttemptFailed { step, error, .. } => {
                format!("{workflow}: taking back step {step} is tried again: {}", error.message)
            }
            Self::UndoFinished { step, state, .. } => format!("{workflow}: step {step} {}", word(state)),
            Self::CommandEnded { step, outcome, says } => {
                format!("{workflow}: the command of step {step} ended {}: {says}", outcome.replace('_', " "))
            }
            Self::PostureReached { leave, error: None } => {
                format!("{workflow}: left in the safe posture {leave}")
            }
            Self::PostureReached { leave, error: Some(error) } => {
                format!("{workflow}: the safe posture {leave} was not reached: {}", error.message)
            }
            Self::Finished { state, .. } => format!("{workflow}: {}", state.as_str().replace('_', " ")),
        }
    }
}

/// What is known of one step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StepFold {
    pub id: String,
    pub state: StepState,
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
    pub criteria: Vec<Criterion>,
    pub error: Option<RunError>,
    /// What was learnt later of a command whose answer did not come.
    pub later: Option<String>,
    pub undo_attempts: u32,
    pub undo_retry_at_ms: Option<i64>,
    pub undo_settled: bool,
    pub started_ms: Option<i64>,
    pub finished_ms: Option<i64>,
}

/// What the facts of a run add up to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Folded {
    pub state: RunState,
    pub steps: Vec<StepFold>,
    pub started_ms: Option<i64>,
    pub finished_ms: Option<i64>,
    pub deadline_ms: Option<i64>,
    pub cancel_by: Option<String>,
    pub turned_back: Option<Why>,
    pub posture: Option<Result<(), RunError>>,
    pub outputs: Option<Value>,
    pub error: Option<RunError>,
    pub suspended: bool,
    pub seq: u64,
}

impl Folded {
    pub fn new(workflow: &Workflow) -> Self {
        let steps = workflow.definition.steps.iter().map(|step| StepFold {
            id: step.id.clone(),
            state: StepState::Pending,
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
            undo_settled: false,
            started_ms: None,
            finished_ms: None,
        });
        Self {
            state: RunState::Queued,
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

    pub fn of(workflow: &Workflow, events: &[OperationEvent]) -> Self {
        let mut folded = Self::new(workflow);
        for event in events {
            folded.seq = event.seq;
            if let Some(fact) = Fact::of(event) {
                folded.apply(&fact, event.at_ms);
            }
        }
        folded
    }

    /// Adds a fact.
    pub fn apply(&mut self, fact: &Fact, at_ms: i64) {
        self.state = fact.state().unwrap_or(self.state);
        self.suspended = matches!(fact, Fact::Suspended);
        if let Some(step) = fact.step().and_then(|id| self.steps.iter_mut().find(|step| step.id == id)) {
            step.apply(fact, at_ms);
        }
        match fact {
            Fact::Started { deadline_ms } => {
                self.started_ms = Some(at_ms);
                self.deadline_ms = Some(*deadline_ms);
            }
            Fact::CancelRequested { by } => self.cancel_by = Some(by.clone()),
            Fact::Undoing { why } => self.turned_back = Some(*why),
            Fact::PostureReached { error, .. } => self.posture = Some(error.clone().map_or(Ok(()), Err)),
            Fact::Finished { outputs, error, .. } => {
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

    /// The step that made the run fail.
    pub fn failed_step(&self) -> Option<&StepFold> {
        self.steps.iter().find(|step| step.error.is_some() && step.state != StepState::Succeeded)
    }
}

impl StepFold {
    fn apply(&mut self, fact: &Fact, at_ms: i64) {
        match fact {
            Fact::StepStarted { attempt, revision, input, .. } => {
                self.state = StepState::Running;
                self.attempts = *attempt;
                self.in_flight = Some(*revision);
                self.retry_at_ms = None;
                self.input = Some(input.clone());
                self.started_ms = self.started_ms.or(Some(at_ms));
            }
            Fact::AttemptFailed { in_doubt, retry_at_ms, error, .. } => {
                self.state = StepState::Retrying;
                self.failures += 1;
                self.in_flight = None;
                self.in_doubt |= in_doubt;
                self.retry_at_ms = Some(*retry_at_ms);
                self.error = Some(error.clone());
            }
            Fact::UntilBegun { until_ms, .. } => self.until_ms = Some(*until_ms),
            Fact::StepFinished { state, output, criteria, error, .. } => {
                self.state = *state;
                self.in_flight = None;
                self.output.clone_from(output);
                self.criteria.clone_from(criteria);
                self.error.clone_from(error);
                self.finished_ms = Some(at_ms);
            }
            Fact::UndoStarted { attempt, .. } => {
                self.state = StepState::Undoing;
                self.undo_attempts = *attempt;
                self.undo_retry_at_ms = None;
            }
            Fact::UndoAttemptFailed { retry_at_ms, .. } => self.undo_retry_at_ms = Some(*retry_at_ms),
            Fact::CommandEnded { says, .. } => self.later = Some(says.clone()),
            Fact::UndoFinished { state, error, .. } => {
                self.undo_settled = true;
                if *state != StepState::Skipped {
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
        self.output.is_some() || self.state == StepState::Unknown
    }
}

/// What a write left: the events since the last look, the fact's own last, and the row's state.
pub(super) struct Written {
    pub events: Vec<OperationEvent>,
    pub state: RunState,
}

/// Writes a fact into a run's row and journal, and returns every event after `seen`; `None` when the run is over.
pub(super) fn write_fact(
    connection: &rusqlite::Connection,
    op_id: &str,
    seen: u64,
    fact: &Fact,
) -> rusqlite::Result<Option<Written>> {
    let (word, data) = fact.parts();
    let state = match fact.state() {
        Some(state) => state,
        // A cancel may have moved the row meanwhile.
        None => {
            let known = operations_log::load(connection, op_id)?.and_then(|op| RunState::of(&op.state));
            known.unwrap_or(RunState::Running)
        }
    };
    let deadline_ms = if let Fact::Started { deadline_ms } = fact { Some(*deadline_ms) } else { None };
    let to = operations_log::OperationChange {
        state: state.as_str().to_owned(),
        live: !state.is_terminal(),
        result: None,
        deadline_ms,
    };
    if !operations_log::advance(connection, op_id, &to, &word, &data)? {
        return Ok(None);
    }
    let events = operations_log::events(connection, op_id, seen)?;
    Ok(Some(Written { events, state }))
}
