//! The events of a bot, as it sends them: something failed, an order was filled, the session changed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::words::closed_words;

closed_words! {
    /// How soon a person should attend to something. Ordered from `low` to `critical`.
    #[derive(PartialOrd, Ord, Default)]
    pub enum Severity {
        /// For the record; needs no attention.
        Low = "low",
        /// A word that is not in this list; it stands in `severity_raw`. A person should look what it means.
        #[default]
        Other = "other",
        /// A person should attend to it the same day.
        Medium = "medium",
        /// A person should attend to it now.
        High = "high",
        /// Money or the account is at risk.
        Critical = "critical",
    }
}

closed_words! {
    /// What an event is about. The names are also the values of the filter `kind=` of `GET events`.
    #[derive(Default)]
    pub enum EventKind {
        /// Something failed; the event carries a semantic error.
        Error = "error",
        /// An order was filled, wholly or in part.
        Fill = "fill",
        /// An order was accepted, cancelled or refused.
        Order = "order",
        /// The broker session changed its state.
        Session = "session",
        /// The circuit breaker opened, was reset or closed.
        Breaker = "breaker",
        /// The config changed or was checked: checked, activated, committed, reverted, or drift was found.
        Config = "config",
        /// The bot was started, stopped, paused or resumed, or became reachable or unreachable.
        Lifecycle = "lifecycle",
        /// A workflow run began, ended or took a step.
        Workflow = "workflow",
        /// A health component or an alert changed.
        Health = "health",
        /// A control verb was called.
        Control = "control",
        /// A kind that is not in this list; it stands in `kind_raw`.
        #[default]
        Other = "other",
    }
}

/// A failure with its cause, impact and remedy. Written by the bot; botops keeps and serves it as untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SemanticError {
    /// The failure's stable code, `AREA_NNN`, such as `BRK_008`.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub error_code: String,
    /// The class of failure: `TradingError`, `ValidationError`, `NetworkError`, `AuthenticationError` or `ServerError`.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub error_type: String,
    /// How soon a person should attend to it.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub severity: Severity,
    /// The bot's own word for the severity, where `severity` is `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity_raw: Option<String>,
    /// What happened, in one sentence.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub message: String,
    /// Why it happened; empty when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub cause: String,
    /// What it means for trading; empty when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub impact: String,
    /// What to do next; empty when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub remediation: String,
    /// Ids and values that identify what failed, such as an order id or a symbol.
    #[serde(
        default,
        deserialize_with = "crate::verbatim::exact_json",
        skip_serializing_if = "serde_json::Value::is_null"
    )]
    pub context: serde_json::Value,
    /// When it happened, by the bot's clock; `null` when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub timestamp: Option<DateTime<Utc>>,
}

/// One item of `GET events`, the bot's server-sent event stream.
///
/// The stream's `id:` is `<boot_epoch>/<seq>`. A client that reconnects with `Last-Event-ID` gets the events after it,
/// or, when the bot was restarted since, every event that the new process still holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BotEvent {
    /// Grows by one per event; begins anew with each start of the bot's process.
    #[serde(deserialize_with = "crate::tolerance::whole_number")]
    pub seq: u64,
    /// Identifies the process that sent the event; `seq` counts within it. Empty when the bot does not tell its starts
    /// apart.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub boot_epoch: String,
    /// When it happened, by the bot's clock; `null` when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub at: Option<DateTime<Utc>>,
    /// What it is about.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub kind: EventKind,
    /// The bot's own word for the kind, where `kind` is `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind_raw: Option<String>,
    /// How soon a person should attend to it.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub severity: Severity,
    /// The bot's own word for the severity, where `severity` is `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity_raw: Option<String>,
    /// What happened, in one sentence for people.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub message: String,
    /// The failure behind the event, if there is one. Always present when `kind` is `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SemanticError>,
    /// Details whose form depends on `kind`, such as the order, the fill or the session; absent when there are none.
    #[serde(
        default,
        deserialize_with = "crate::verbatim::exact_json",
        skip_serializing_if = "serde_json::Value::is_null"
    )]
    pub data: serde_json::Value,
}
