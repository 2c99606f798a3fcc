//! The values that the session gives to the rest of the bot.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::calendar::MarketPhase;
use botops_contract::{EventKind, GateReason, SemanticError, Severity};

/// A report of the session, which the trading loop publishes as an event.
#[derive(Debug, Clone)]
pub struct SessionNote {
    /// `session` or `breaker`; `error` for a failure that changes neither.
    pub kind: EventKind,
    /// Severity of the event.
    pub severity: Severity,
    /// The event as one sentence for people.
    pub message: String,
    /// The failure that it is about; `None` when it is about none.
    pub error: Option<SemanticError>,
    /// The facts of the event, a JSON object.
    pub data: Value,
    /// When it happened, by the wall clock.
    pub at: DateTime<Utc>,
}

/// Receives the notes. Called outside the session's lock, on the task that made the change; must not block.
pub type NoteSink = Arc<dyn Fn(SessionNote) + Send + Sync>;

/// The facts of an order that the gate needs.
#[derive(Debug, Clone, Copy)]
pub struct GateQuestion<'a> {
    /// The order makes a position smaller and cannot reverse it.
    pub reducing: bool,
    /// The order's symbol, for the log.
    pub symbol: &'a str,
}

/// The gate's decision about an order.
#[derive(Debug, Clone, PartialEq)]
pub struct GateDecision {
    /// Whether the order may be sent now.
    pub allowed: bool,
    /// Why, from a closed list; also set when the order is allowed.
    pub reason: GateReason,
    /// Age of the last successful check in milliseconds; `None` before the first one.
    pub evidence_age_ms: Option<u64>,
    /// Seconds after which asking again makes sense; `None` when waiting does not help.
    pub retry_after_s: Option<f64>,
    /// Id of this decision in the log.
    pub decision_id: Uuid,
}

/// The regular trading sessions, as a session sees them that refuses new positions outside of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketHours {
    /// Whether new positions may be opened now, by the calendar and by the broker.
    pub is_open: bool,
    /// The phase of the day by the calendar; closed when the broker says so.
    pub phase: MarketPhase,
    /// Start of the next regular session; `None` when it is not known.
    pub next_open: Option<DateTime<Utc>>,
    /// End of the present regular session, or else of the next one; `None` when it is not known.
    pub next_close: Option<DateTime<Utc>>,
}

/// The outcome of an operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCommandOutcome {
    /// Whether it was carried out.
    pub done: bool,
    /// Stable reason why it was not; `None` when it was.
    pub reason_code: Option<&'static str>,
    /// The outcome as one sentence for people.
    pub message: String,
}

impl SessionCommandOutcome {
    pub(super) fn done(message: &str) -> Self {
        Self { done: true, reason_code: None, message: message.to_owned() }
    }

    pub(super) fn refused(code: &'static str, message: &str) -> Self {
        Self { done: false, reason_code: Some(code), message: message.to_owned() }
    }

    /// The answer of a bot that has no session.
    pub(crate) fn without_session() -> Self {
        Self::refused("not_capable", "this bot replays the past and has no broker session")
    }

    pub(super) fn stopping() -> Self {
        Self::refused("stopping", "the bot is stopping")
    }
}
