//! States of runs and steps, and why something failed, as they are kept and shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::workflows::actions::StepFailureClass;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowRunState {
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

    /// The state of a row of the table.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let live = [Self::Queued, Self::Running, Self::Waiting, Self::Cancelling, Self::Undoing];
        live.into_iter().chain(Self::TERMINAL).find(|state| state.as_str() == name)
    }

    /// Whether the run is over.
    pub fn is_terminal(self) -> bool {
        Self::TERMINAL.contains(&self)
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowStepState {
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
pub struct WorkflowRunError {
    /// What the failure means for another try.
    pub class: StepFailureClass,
    /// The catalogue's code.
    #[schema(example = "BOT_001")]
    pub error_code: String,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub remediation: String,
}

/// Why a run turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnBackReason {
    Failed,
    Cancelled,
    Deadline,
}
