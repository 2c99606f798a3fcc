//! The config verbs: check, activate as a trial, commit, revert.
//!
//! Every verb is idempotent per transaction. The generation (`gen`) only grows, and a bot refuses a message with a
//! lower one, so a server that was replaced can change nothing. A bot stores a candidate only for
//! [`ActivateConfigRequest::boot_once`]; any other start loads the version that `HEAD` names.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::words::closed_words;

/// A config version and the SHA-256 (hex) of its exact stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionRef {
    /// The version number; 0 when the bot runs its built-in defaults.
    pub version: u64,
    /// SHA-256 of the document's bytes, lower-case hex.
    pub sha256: String,
}

/// A config trial that runs in the bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrialState {
    /// Id of the config transaction that the trial belongs to.
    #[serde(deserialize_with = "crate::tolerance::text_or_digits_given")]
    pub txn: String,
    /// The version under trial.
    pub candidate: VersionRef,
    /// Milliseconds until the bot goes back to `HEAD` by itself, unless the trial is committed before.
    pub ttl_left_ms: u64,
}

/// `GET config`: what the bot runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigState {
    /// Identifies the process that answers; a new value at each start.
    #[serde(deserialize_with = "crate::tolerance::text_or_digits_given")]
    pub boot_epoch: String,
    /// The version in force now: the candidate during a trial.
    pub running: VersionRef,
    /// The version a restart would load.
    pub committed: VersionRef,
    /// The trial that runs; `null` when none does.
    #[serde(default)]
    pub trial: Option<TrialState>,
    /// JSON pointers to fields whose new value takes effect only after a restart.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub pending_restart: Vec<String>,
    /// The newest trial that ended, as transaction id and ending: `committed`, `reverted` or `trial_expired`. `null`
    /// when none has ended yet.
    #[serde(default)]
    pub last_outcome: Option<(String, String)>,
    /// The highest generation the bot has seen; it refuses messages with a lower one.
    #[serde(default, rename = "gen")]
    pub generation: u64,
}

/// The capability of a bot whose config botops may change: `GET config/schema` and `GET config/document`.
///
/// `GET config/schema` is a JSON Schema 2020-12 document of the bot's own config, at most 256 KiB. What it says of a
/// field beside that:
///
/// | keyword | |
/// |---|---|
/// | `x-apply` | `hot` (usual), `restart` or `never`: when a new value takes effect |
/// | `x-risk` | `{direction: up \| down \| both \| none, class: low \| high}`: which way a higher value moves risk |
/// | `x-distance` | `stop` or `target`: how far the price may go until a position is closed |
/// | `x-secret` | true: its value is never shown |
/// | `x-list-key` | the member by which the items of a list are matched |
/// | `x-unit`, `x-help` | for people |
/// | `x-warn-above`, `x-warn-below` | allowed beyond it, and yet perhaps a mistake |
/// | `x-role` | what the field means to botops, see [`FieldRole`] |
///
/// Rules between fields are not in it: the bot's answer to `config/check` has them.
pub const CONFIG_SCHEMA: &str = "config-schema";

closed_words! {
    /// What a field of the bot's config means to botops (`x-role` of the schema).
    pub enum FieldRole {
        /// The result of the day, in account currency, at which the bot stops; as a loss or as its size.
        DailyLossLimit = "daily_loss_limit",
        /// The loss at which the bot stops as a part of the equity, or in percent where `x-unit` is `%`.
        EquityLossLimit = "equity_loss_limit",
        /// The list of what the bot trades, each item with a symbol and a weight.
        Targets = "targets",
    }
}

/// `GET config/document`: the document that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunningDocument {
    /// The version that runs; `sha256` is the hash of `document`.
    pub running: VersionRef,
    /// The exact bytes of the document as text.
    pub document: String,
}

/// `POST config/check`: would the bot take this document? Changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckConfigRequest {
    /// The candidate, as a whole document.
    pub config: Value,
}

/// One reason why the bot would refuse a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigViolation {
    /// JSON pointer to the field in the candidate.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub path: String,
    /// A stable reason, for programs.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub code: String,
    /// What is wrong, in one sentence for people.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub message: String,
    /// A value or range that the bot would accept; absent when the bot has no suggestion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// The bot's answer to a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckVerdict {
    /// True when the bot would take the document: `violations` is empty.
    pub ok: bool,
    /// Every reason against the document, not just the first.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub violations: Vec<ConfigViolation>,
    /// What the bot would take and that may yet be a mistake.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub warnings: Vec<ConfigViolation>,
    /// JSON pointers to changed fields that would take effect at once.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub hot: Vec<String>,
    /// JSON pointers to changed fields that need a restart of the bot.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub restart: Vec<String>,
}

/// `POST config/activate`: run this document as a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActivateConfigRequest {
    /// Id of the config transaction; sending the same one again repeats the first answer. One that ended starts no second
    /// time, and one that was reverted before it arrived does not start at all: both are refused with `txn_over`.
    pub txn: String,
    /// The sender's generation; the bot refuses one that is lower than any it has seen.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// The version that must be running now; otherwise the bot refuses with `base_mismatch`.
    pub base: VersionRef,
    /// The version to run; `candidate.sha256` is the hash of `document`.
    pub candidate: VersionRef,
    /// The candidate's exact bytes as text, so that both sides compute the same hash.
    pub document: String,
    /// Milliseconds after which the bot goes back to `HEAD` by itself, unless the trial is committed before.
    pub ttl_ms: u64,
    /// True to leave the running config alone and load the candidate at the next start, once; `ttl_ms` counts from that
    /// start. Only for a bot with the capability [`BOOT_ONCE`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub boot_once: bool,
}

/// The capability of a bot that can load a candidate at its next start, once (see
/// [`ActivateConfigRequest::boot_once`]).
pub const BOOT_ONCE: &str = "config-boot-once";

/// `POST config/commit` and `POST config/revert`: end a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EndTrialRequest {
    /// Id of the config transaction whose trial ends.
    pub txn: String,
    /// The sender's generation; the bot refuses one that is lower than any it has seen.
    #[serde(rename = "gen")]
    pub generation: u64,
}

/// The bot's acknowledgement of `activate`, `commit` and `revert`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigAck {
    /// Id of the config transaction that is acknowledged.
    #[serde(deserialize_with = "crate::tolerance::text_or_digits_given")]
    pub txn: String,
    /// The version in force after the request.
    pub running: VersionRef,
    /// Identifies the process that answers; a new value at each start.
    #[serde(deserialize_with = "crate::tolerance::text_or_digits_given")]
    pub boot_epoch: String,
}
