//! What a bot reports as it happens.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How much attention something wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth recording.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
    /// Money or the account is at risk.
    Critical,
}

/// What an event is about. One word each, also the `kind=` filter of `GET events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Something failed; the event carries a semantic error.
    Error,
    /// An order was filled, wholly or in part.
    Fill,
    /// An order was accepted, cancelled or refused.
    Order,
    /// The broker session changed its state.
    Session,
    /// The circuit breaker opened, was reset or closed.
    Breaker,
    /// A config transition: checked, activated, committed, reverted, drift.
    Config,
    /// Start, stop, pause, resume, presence.
    Lifecycle,
    /// A workflow run moved on.
    Workflow,
    /// A health component or an alert changed.
    Health,
    /// Somebody called a control verb.
    Control,
    /// Kinds that a newer bot knows and this botops does not.
    #[serde(other)]
    Other,
}

/// A failure that explains itself. Written by the bot, kept and served by botops as untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SemanticError {
    /// `AREA_NNN`, such as `BRK_008`.
    pub error_code: String,
    /// `TradingError`, `ValidationError`, `NetworkError`, `AuthenticationError` or `ServerError`.
    pub error_type: String,
    /// How much attention it wants.
    pub severity: Severity,
    /// What happened, in one sentence.
    pub message: String,
    /// Why it happened.
    #[serde(default)]
    pub cause: String,
    /// What it means for trading.
    #[serde(default)]
    pub impact: String,
    /// What to do next.
    #[serde(default)]
    pub remediation: String,
    /// Ids and values that place the failure: order id, symbol, …
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub context: serde_json::Value,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
}

/// One item of `GET events`, the bot's server-sent event stream.
///
/// The stream's `id:` is `<boot_epoch>/<seq>`; a client that comes back with `Last-Event-ID` gets what followed,
/// or, after a restart of the bot, everything the new life still holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BotEvent {
    /// Grows by one per event within one life of the bot.
    pub seq: u64,
    /// The life the event belongs to.
    pub boot_epoch: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What it is about.
    pub kind: EventKind,
    /// How much attention it wants.
    pub severity: Severity,
    /// One sentence for people.
    pub message: String,
    /// The failure behind it, whatever its kind; a `kind` of `error` always has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SemanticError>,
    /// The facts, by kind: order, fill, session, …
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}
