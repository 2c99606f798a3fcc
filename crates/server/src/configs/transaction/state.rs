//! The state of a config transaction, how it was asked for, and who or what ended it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a config transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// Admitted and recorded; the bot was not told yet.
    Prepared,
    /// The bot would accept it.
    Checked,
    /// Sent to the bot; its answer is awaited.
    Activating,
    /// The bot runs it, until the deadline.
    Trial,
    /// It proved good and is being made permanent.
    Confirming,
    /// It did not prove good and is being undone.
    Reverting,
    /// The candidate is permanent. Terminal.
    Committed,
    /// Refused before the bot ran it. Terminal.
    Rejected,
    /// Undone; `by` says by whom or what. Terminal.
    RolledBack,
    /// It is not known what the bot runs, so a person has to look. Terminal.
    FailedAttention,
}

impl TransactionState {
    /// Whether the state is final.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Committed | Self::Rejected | Self::RolledBack | Self::FailedAttention)
    }

    /// Its name in the API and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Checked => "checked",
            Self::Activating => "activating",
            Self::Trial => "trial",
            Self::Confirming => "confirming",
            Self::Reverting => "reverting",
            Self::Committed => "committed",
            Self::Rejected => "rejected",
            Self::RolledBack => "rolled_back",
            Self::FailedAttention => "failed_attention",
        }
    }
}

/// Who or what undid a trial or refused a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The caller or another key cancelled it.
    Operator,
    /// Nobody confirmed it in time.
    Deadline,
    /// A criterion was breached.
    Criteria,
    /// The bot went back by its own timer.
    BotTimer,
    /// The bot died and started from the committed config.
    BotCrash,
    /// botops was restarted in the middle.
    Recovery,
    /// The bot refused it.
    Bot,
    /// botops could not record it.
    Server,
}

/// What a transaction was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfigAction {
    /// A change of the document: `PUT config/apply`.
    Apply,
    /// Back to an earlier version: `PUT config/rollback`.
    Rollback,
}

impl ConfigAction {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Rollback => "rollback",
        }
    }
}

/// Who makes a trial permanent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfirmMode {
    /// botops, when all criteria held over the first half of the trial.
    #[default]
    Auto,
    /// The caller, with `POST config/txns/{id}/confirm`.
    Manual,
}
