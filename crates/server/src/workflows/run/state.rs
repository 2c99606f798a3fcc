//! States of runs and steps, and failures, as they are stored and shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::workflows::actions::StepFailureClass;

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowRunState {
    /// It waits for the lock.
    Queued,
    /// A step is in progress.
    Running,
    /// A step waits, for its next attempt or for a condition.
    Waiting,
    /// It was told to stop and ends its step.
    Cancelling,
    /// Its steps are being undone.
    Undoing,
    /// All steps ended as expected.
    Succeeded,
    /// It failed, and there was nothing to undo.
    Failed,
    /// It failed, and everything was undone.
    RolledBack,
    /// It failed past its pivot; the safe posture was reached.
    FailedAfterPivot,
    /// It was told to stop, and everything was undone.
    Cancelled,
    /// An effect is not known or could not be undone: a person has to check.
    NeedsAttention,
}

impl WorkflowRunState {
    /// Every state a run ends in.
    pub const TERMINAL: [Self; 6] = [
        Self::Succeeded,
        Self::Failed,
        Self::RolledBack,
        Self::FailedAfterPivot,
        Self::Cancelled,
        Self::NeedsAttention,
    ];

    /// The name on the wire and in the table.
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

    /// The state with this name; `None` for a name from another version.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::all().find(|state| state.as_str() == name)
    }

    /// Every state, those of a run that goes on first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let live = [Self::Queued, Self::Running, Self::Waiting, Self::Cancelling, Self::Undoing];
        live.into_iter().chain(Self::TERMINAL)
    }

    /// Whether the run is over.
    pub fn is_terminal(self) -> bool {
        Self::TERMINAL.contains(&self)
    }
}

/// The state of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowStepState {
    /// It has not begun.
    Pending,
    /// Its `when` conditions did not hold.
    Skipped,
    /// An attempt is in progress.
    Running,
    /// It waits for its next attempt.
    Retrying,
    /// Its action was performed, and its expectations are met.
    Succeeded,
    /// Its action failed, or an expectation is not met.
    Failed,
    /// It is not known whether its action took effect.
    Unknown,
    /// It is being undone.
    Undoing,
    /// It was undone.
    Undone,
    /// Its undo failed.
    UndoFailed,
}

/// Why a run or a step failed, as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowRunError {
    /// The kind of failure, which says whether another attempt makes sense.
    pub class: StepFailureClass,
    /// The code in the error catalogue.
    #[schema(example = "BOT_001")]
    pub error_code: String,
    /// What happened, in one sentence.
    pub message: String,
    /// What a person or client should do next.
    pub remediation: String,
}

/// Why a run stopped going forward and undoes its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnBackReason {
    Failed,
    Cancelled,
    Deadline,
}
