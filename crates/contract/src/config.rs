//! The config verbs: check, activate as a trial, commit, revert.
//!
//! Every verb is idempotent per transaction. `gen` only grows: a bot refuses a message with an older one, so a
//! server that was replaced cannot act. The bot writes nothing a restart would load; it boots from `HEAD` alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A config version and the SHA-256 (hex) of its exact stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionRef {
    /// The version number; 0 when the bot runs its built-in defaults.
    pub version: u64,
    /// SHA-256 of the document's bytes, lower-case hex.
    pub sha256: String,
}

/// A trial that runs in the bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrialState {
    /// The transaction.
    pub txn: String,
    /// What runs.
    pub candidate: VersionRef,
    /// How long until the bot goes back to `HEAD` by itself.
    pub ttl_left_ms: u64,
}

/// `GET config`: what the bot runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigState {
    /// The life of the bot that answers.
    pub boot_epoch: String,
    /// What is in force now.
    pub running: VersionRef,
    /// What the bot would boot from.
    pub committed: VersionRef,
    /// The live trial, if one runs.
    #[serde(default)]
    pub trial: Option<TrialState>,
    /// Fields that wait for a restart, as JSON pointers.
    #[serde(default)]
    pub pending_restart: Vec<String>,
    /// How the last trial ended, by transaction: `committed`, `reverted`, `trial_expired`.
    #[serde(default)]
    pub last_outcome: Option<(String, String)>,
    /// The highest generation seen.
    #[serde(default, rename = "gen")]
    pub generation: u64,
}

/// `POST config/check`: would the bot take this document? Pure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckConfigRequest {
    /// The whole candidate document.
    pub config: Value,
}

/// One reason why the bot would refuse a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigViolation {
    /// JSON pointer into the candidate.
    pub path: String,
    /// A stable reason.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// What would be accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// The bot's answer to a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckVerdict {
    /// True when there are no violations.
    pub ok: bool,
    /// Everything that is wrong, at once.
    #[serde(default)]
    pub violations: Vec<ConfigViolation>,
    /// Pointers that would take effect at once.
    #[serde(default)]
    pub hot: Vec<String>,
    /// Pointers that need a restart.
    #[serde(default)]
    pub restart: Vec<String>,
}

/// `POST config/activate`: run this document as a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActivateConfigRequest {
    /// The transaction; the same one again repeats the first answer.
    pub txn: String,
    /// The sender's generation.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// What must be running now, or the bot refuses with `base_mismatch`.
    pub base: VersionRef,
    /// What to run; `candidate.sha256` is the hash of `document`.
    pub candidate: VersionRef,
    /// The exact bytes of the candidate, as text.
    pub document: String,
    /// The bot goes back to `HEAD` by itself after this.
    pub ttl_ms: u64,
    /// Do not run it now: boot it at the next start, once, and count `ttl_ms` from then. A bot that can says
    /// [`BOOT_ONCE`] among its capabilities.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub boot_once: bool,
}

/// The capability of a bot that boots a candidate once.
pub const BOOT_ONCE: &str = "config-boot-once";

/// `POST config/commit` and `POST config/revert`: end a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndTrialRequest {
    /// The transaction.
    pub txn: String,
    /// The sender's generation.
    #[serde(rename = "gen")]
    pub generation: u64,
}

/// The bot's acknowledgement of `activate`, `commit` and `revert`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigAck {
    /// The transaction.
    pub txn: String,
    /// What runs now.
    pub running: VersionRef,
    /// The life of the bot that answers.
    pub boot_epoch: String,
}
