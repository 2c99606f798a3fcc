//! Events, with a sequence number and before they have one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use botops_contract::{EventKind, SemanticError, Severity};
use botops_core::error::Error;

/// One thing that happened. Its texts are untrusted when `source` is the bot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The sequence number in the journal: it grows, survives restarts and may have gaps.
    pub seq: u64,
    /// When it happened, by the clock of its source.
    pub at: DateTime<Utc>,
    /// What the event is about.
    pub kind: EventKind,
    /// How urgent it is for an operator.
    pub severity: Severity,
    /// `botops` or `bot:<id>`. From a bot, message, error and data are the bot's own text: cleaned, but untrusted.
    pub source: String,
    /// What happened, in one sentence.
    pub message: String,
    /// The failure with its cause and remedy; absent when the event is not about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SemanticError>,
    /// The number of the event that told the same failure first; absent when this one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u64>,
    /// Details as a JSON object whose members depend on `kind`; absent when there are none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    pub data: Value,
}

impl Event {
    /// The component of the health monitoring that it is about.
    pub(crate) fn component(&self) -> Option<&str> {
        self.data["component_id"].as_str()
    }

    /// The workflow run that it belongs to.
    pub(crate) fn run(&self) -> Option<&str> {
        self.data["run_id"].as_str()
    }

    /// The symbol that it is about.
    pub(crate) fn symbol(&self) -> Option<&str> {
        let of_failure = || self.error.as_ref().and_then(|error| error.context["symbol"].as_str());
        self.data["symbol"].as_str().or_else(of_failure)
    }
}

/// An event that the journal has not numbered yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When it happened, by the clock of its source.
    pub at: DateTime<Utc>,
    /// What the event is about.
    pub kind: EventKind,
    /// How urgent it is for an operator.
    pub severity: Severity,
    /// `botops` or `bot:<id>`.
    pub source: String,
    /// What happened, in one sentence.
    pub message: String,
    /// The failure, when the event is about one.
    pub error: Option<SemanticError>,
    /// Details whose members depend on the kind; `Null` when there are none.
    pub data: Value,
    /// A reader's position in another journal (key and value), stored in the same transaction as the event.
    pub bookmark: Option<(String, String)>,
}

impl NewEvent {
    /// A failure of botops itself, happening now.
    pub fn failure(error: &Error) -> Self {
        let error = error.semantic(Utc::now());
        let event = Self::own(EventKind::Error, error.severity, error.message.clone(), Value::Null);
        Self { error: Some(error), ..event }
    }

    /// An event of botops itself that tells a failure, whatever its kind: it is among the failures, under `message` and
    /// with the catalogue's row of `error`.
    pub fn own_failure(
        kind: EventKind,
        severity: Severity,
        message: impl Into<String>,
        error: &Error,
        data: Value,
    ) -> Self {
        let event = Self::own(kind, severity, message, data);
        let error = SemanticError { severity, message: event.message.clone(), ..error.semantic(event.at) };
        Self { error: Some(error), ..event }
    }

    /// An event of botops itself, happening now.
    pub fn own(kind: EventKind, severity: Severity, message: impl Into<String>, data: Value) -> Self {
        Self {
            at: Utc::now(),
            kind,
            severity,
            source: OWN_SOURCE.to_owned(),
            message: message.into(),
            error: None,
            data,
            bookmark: None,
        }
    }
}

/// The source of what botops itself tells.
pub(crate) const OWN_SOURCE: &str = "botops";

/// The name of a kind on the wire.
pub fn kind_name(kind: EventKind) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => name,
        _ => "other".to_owned(),
    }
}
