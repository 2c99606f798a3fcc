//! What the session says to the rest of the bot.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use botops_contract::{EventKind, GateReason, SemanticError, Severity};

/// Something the session reports; the bot's journal numbers and keeps it.
#[derive(Debug, Clone)]
pub struct SessionNote {
    /// `session` or `breaker`, or `error` for a failure alone.
    pub kind: EventKind,
    /// How much attention it wants.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// The failure behind it.
    pub error: Option<SemanticError>,
    /// The facts.
    pub data: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// Where notes go. Called outside the session's lock, on the task that made the change; must not block.
pub type NoteSink = Arc<dyn Fn(SessionNote) + Send + Sync>;

/// What an order wants to do, as far as the gate cares.
#[derive(Debug, Clone, Copy)]
pub struct GateQuestion<'a> {
    /// The order makes a position smaller and cannot turn it round.
    pub reducing: bool,
    /// The instrument.
    pub symbol: &'a str,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct GateDecision {
    /// The order may be sent now.
    pub allowed: bool,
    /// Why, from the closed list.
    pub reason: GateReason,
    /// Age of the last authenticated success.
    pub evidence_age_ms: Option<u64>,
    /// When asking again makes sense.
    pub retry_after_s: Option<f64>,
    /// Names this decision in the log.
    pub decision_id: Uuid,
}

/// What became of an operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// It was carried out.
    pub done: bool,
    /// A stable reason when it was not.
    pub reason_code: Option<&'static str>,
    /// One sentence.
    pub message: String,
}

impl CommandOutcome {
    pub(super) fn done(message: &str) -> Self {
        Self { done: true, reason_code: None, message: message.to_owned() }
    }

    pub(super) fn refused(code: &'static str, message: &str) -> Self {
        Self { done: false, reason_code: Some(code), message: message.to_owned() }
    }

    pub(super) fn stopping() -> Self {
        Self::refused("stopping", "the bot is stopping")
    }
}
