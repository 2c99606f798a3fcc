//! The events of a bot, as it sends them: something failed, an order was filled, the session changed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How soon a person should attend to something. Ordered from `low` to `critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record; needs no attention.
    Low,
    /// A person should attend to it the same day.
    Medium,
    /// A person should attend to it now.
    High,
    /// Money or the account is at risk.
    Critical,
}

/// What an event is about. The names are also the values of the filter `kind=` of `GET events`.
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
    /// The config changed or was checked: checked, activated, committed, reverted, or drift was found.
    Config,
    /// The bot was started, stopped, paused or resumed, or became reachable or unreachable.
    Lifecycle,
    /// A workflow run began, ended or took a step.
    Workflow,
    /// A health component or an alert changed.
    Health,
    /// A control verb was called.
    Control,
    /// A kind that this version of botops does not know, from a newer bot.
    #[serde(other)]
    Other,
}

/// A failure with its cause, impact and remedy. Written by the bot; botops keeps and serves it as untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SemanticError {
    /// The failure's stable code, `AREA_NNN`, such as `BRK_008`.
    pub error_code: String,
    /// The class of failure: `TradingError`, `ValidationError`, `NetworkError`, `AuthenticationError` or `ServerError`.
    pub error_type: String,
    /// How soon a person should attend to it.
    pub severity: Severity,
    /// What happened, in one sentence.
    pub message: String,
    /// Why it happened; empty when the bot does not say.
    #[serde(default)]
    pub cause: String,
    /// What it means for trading; empty when the bot does not say.
    #[serde(default)]
    pub impact: String,
    /// What to do next; empty when the bot does not say.
    #[serde(default)]
    pub remediation: String,
    /// Ids and values that identify what failed, such as an order id or a symbol.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub context: serde_json::Value,
    /// When it happened, by the bot's clock.
    pub timestamp: DateTime<Utc>,
}

/// One item of `GET events`, the bot's server-sent event stream.
///
/// The stream's `id:` is `<boot_epoch>/<seq>`. A client that reconnects with `Last-Event-ID` gets the events after it,
/// or, when the bot was restarted since, every event that the new process still holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BotEvent {
    /// Grows by one per event; begins anew with each start of the bot's process.
    pub seq: u64,
    /// Identifies the process that sent the event; `seq` counts within it.
    pub boot_epoch: String,
    /// When it happened, by the bot's clock.
    pub at: DateTime<Utc>,
    /// What it is about.
    pub kind: EventKind,
    /// How soon a person should attend to it.
    pub severity: Severity,
    /// What happened, in one sentence for people.
    pub message: String,
    /// The failure behind the event, if there is one. Always present when `kind` is `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SemanticError>,
    /// Details whose form depends on `kind`, such as the order, the fill or the session; absent when there are none.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}
