//! The state of a config transaction, how it was asked for, and on whose account it ended.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The state of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// Written down; the bot has not heard of it.
    Prepared,
    /// The bot would take it.
    Checked,
    /// Sent to the bot; its answer is awaited.
    Activating,
    /// The bot runs it, until the deadline.
    Trial,
    /// It proved good and is being made permanent.
    Confirming,
    /// It did not prove good and is being undone.
    Reverting,
    /// Permanent. Terminal.
    Committed,
    /// Refused before the bot ran it. Terminal.
    Rejected,
    /// Undone; `by` says on whose account. Terminal.
    RolledBack,
    /// It cannot be told what the bot runs. Terminal.
    FailedAttention,
}

impl TransactionState {
    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Committed | Self::Rejected | Self::RolledBack | Self::FailedAttention)
    }

    /// Its name on the wire and in the table.
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

/// On whose account a trial was undone or a change refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Somebody cancelled it.
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

/// Apply a change, or an earlier version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfigAction {
    /// `PUT config/apply`.
    Apply,
    /// `PUT config/rollback`.
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
