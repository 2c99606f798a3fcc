//! Facts: the events of a run, in the form in which they are stored.
//!
//! A fact that announces an effect is stored before the effect.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::state::{TurnBackReason, WorkflowRunError, WorkflowRunState, WorkflowStepState};
use crate::operations_log::OperationEvent;
use crate::workflows::definition::WorkflowCriterion;
use botops_core::durable_deadline::DurableDeadline;
use botops_core::error::{Code, Error};

/// An event of a run.
///
/// A time that something waits for is stored by the wall clock (`…_ms`) and as a deadline that no step of it moves; facts of
/// older versions have the first alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum RunFact {
    Admitted {
        state: WorkflowRunState,
    },
    Started {
        deadline_ms: i64,
        #[serde(default)]
        deadline: Option<DurableDeadline>,
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
        error: WorkflowRunError,
        in_doubt: bool,
        retry_at_ms: i64,
        #[serde(default)]
        retry: Option<DurableDeadline>,
    },
    UntilBegun {
        step: String,
        until_ms: i64,
        #[serde(default)]
        until: Option<DurableDeadline>,
    },
    StepFinished {
        step: String,
        state: WorkflowStepState,
        #[serde(default)]
        output: Option<Value>,
        #[serde(default)]
        criteria: Vec<WorkflowCriterion>,
        #[serde(default)]
        error: Option<WorkflowRunError>,
    },
    CancelRequested {
        by: String,
    },
    Undoing {
        why: TurnBackReason,
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
        error: WorkflowRunError,
        retry_at_ms: i64,
        #[serde(default)]
        retry: Option<DurableDeadline>,
    },
    UndoFinished {
        step: String,
        state: WorkflowStepState,
        #[serde(default)]
        error: Option<WorkflowRunError>,
    },
    /// How a command ended whose answer did not come while its step ran. It may follow the end of the run.
    CommandEnded {
        step: String,
        outcome: String,
        says: String,
    },
    PostureReached {
        leave: String,
        #[serde(default)]
        error: Option<WorkflowRunError>,
    },
    Finished {
        state: WorkflowRunState,
        #[serde(default)]
        outputs: Option<Value>,
        #[serde(default)]
        error: Option<WorkflowRunError>,
    },
}

impl RunFact {
    /// The start of a run that may last so long.
    pub(crate) fn started(limit: Duration) -> Self {
        let deadline = DurableDeadline::after(limit);
        Self::Started { deadline_ms: deadline.wall_ms, deadline: Some(deadline) }
    }

    /// Its name and its data, for the table of events.
    pub(crate) fn to_row(&self) -> (String, Value) {
        let mut data = serde_json::to_value(self).expect("a fact is JSON");
        let kind = data.as_object_mut().and_then(|members| members.remove("is")).unwrap_or_default();
        (kind.as_str().unwrap_or_default().to_owned(), data)
    }

    /// Reads a fact from the table; `None` for one that a newer version wrote.
    pub(crate) fn from_row(event: &OperationEvent) -> Option<Self> {
        let mut data = event.data.clone();
        if data.is_null() {
            data = json!({});
        }
        data.as_object_mut()?.insert("is".to_owned(), Value::String(event.kind.clone()));
        serde_json::from_value(data).ok()
    }

    /// The state of the run's row after this fact; `None` leaves it as it is.
    pub(crate) fn run_state(&self) -> Option<WorkflowRunState> {
        match self {
            Self::Admitted { state } | Self::Finished { state, .. } => Some(*state),
            Self::Started { .. } | Self::StepStarted { .. } => Some(WorkflowRunState::Running),
            Self::AttemptFailed { .. } | Self::UntilBegun { .. } => Some(WorkflowRunState::Waiting),
            Self::CancelRequested { .. } => Some(WorkflowRunState::Cancelling),
            Self::Undoing { .. } | Self::UndoStarted { .. } => Some(WorkflowRunState::Undoing),
            Self::Recovered { .. }
            | Self::Suspended
            | Self::StepFinished { .. }
            | Self::UndoAttemptFailed { .. }
            | Self::UndoFinished { .. }
            | Self::CommandEnded { .. }
            | Self::PostureReached { .. } => None,
        }
    }

    /// The failure that the end of a run tells; `None` for an end that was wanted, and for anything before the end.
    pub(crate) fn failure(&self, run_id: &str) -> Option<Error> {
        let Self::Finished { state, error: Some(error), .. } = self else { return None };
        let is_failure = matches!(
            state,
            WorkflowRunState::Failed
                | WorkflowRunState::FailedAfterPivot
                | WorkflowRunState::RolledBack
                | WorkflowRunState::NeedsAttention
        );
        let code = Code::named(&error.error_code).unwrap_or(Code::WorkflowStepFailed);
        is_failure.then(|| Error::new(code).detail(error.message.as_str()).context("run_id", run_id))
    }

    /// The id of the step it is about, if any.
    pub(crate) fn step(&self) -> Option<&str> {
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

    /// The failure it contains, if any.
    pub(crate) fn error(&self) -> Option<&WorkflowRunError> {
        match self {
            Self::AttemptFailed { error, .. } | Self::UndoAttemptFailed { error, .. } => Some(error),
            Self::StepFinished { error, .. }
            | Self::UndoFinished { error, .. }
            | Self::PostureReached { error, .. }
            | Self::Finished { error, .. } => error.as_ref(),
            _ => None,
        }
    }

    /// The fact as one sentence, for the event journal and the log.
    pub(crate) fn sentence(&self, workflow: &str) -> String {
        let name = |state: &WorkflowStepState| json!(state).as_str().unwrap_or_default().to_owned();
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
                format!("{workflow}: step {step} {}{why}", name(state))
            }
            Self::CancelRequested { by } => format!("{workflow}: cancel requested by {by}"),
            Self::Undoing { .. } => format!("{workflow}: turning back"),
            Self::UndoStarted { step, .. } => format!("{workflow}: step {step} is taken back"),
            Self::UndoAttemptFailed { step, error, .. } => {
                format!("{workflow}: taking back step {step} is tried again: {}", error.message)
            }
            Self::UndoFinished { step, state, .. } => format!("{workflow}: step {step} {}", name(state)),
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
