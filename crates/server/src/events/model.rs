//! One event, with its number and before it has one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use botops_contract::{EventKind, SemanticError, Severity};
use botops_core::error::Error;

/// One thing that happened. Its texts are untrusted when `source` is the bot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The place in the journal: grows, survives restarts, may have holes.
    pub seq: u64,
    /// When it happened, by its source's clock.
    pub at: DateTime<Utc>,
    /// What it is about.
    pub kind: EventKind,
    /// How much attention it wants.
    pub severity: Severity,
    /// `botops`, or `bot:<id>`: then message, error and data are the bot's words, cleaned but untrusted.
    pub source: String,
    /// One sentence for people.
    pub message: String,
    /// The failure, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SemanticError>,
    /// The facts, by kind.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    pub data: Value,
}

/// An event before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What it is about.
    pub kind: EventKind,
    /// How much attention it wants.
    pub severity: Severity,
    /// `botops`, or `bot:<id>`.
    pub source: String,
    /// One sentence for people.
    pub message: String,
    /// The failure, when there is one.
    pub error: Option<SemanticError>,
    /// The facts, by kind.
    pub data: Value,
    /// A reader's place in another journal, stored together with the event: key and value.
    pub bookmark: Option<(String, String)>,
}

impl NewEvent {
    /// A failure of botops itself, happening now.
    pub fn failure(error: &Error) -> Self {
        let error = error.semantic(Utc::now());
        let event = Self::own(EventKind::Error, error.severity, error.message.clone(), Value::Null);
        Self { error: Some(error), ..event }
    }

    /// An event of botops itself, happening now.
    pub fn own(kind: EventKind, severity: Severity, message: impl Into<String>, data: Value) -> Self {
        Self {
            at: Utc::now(),
            kind,
            severity,
            source: "botops".to_owned(),
            message: message.into(),
            error: None,
            data,
            bookmark: None,
        }
    }
}

/// The name of a kind on the wire.
pub fn kind_name(kind: EventKind) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => name,
        _ => "other".to_owned(),
    }
}
