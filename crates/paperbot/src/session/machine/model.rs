//! The value types of the session's state machine.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::broker::{BrokerError, SignInMethod};
use crate::clock::Now;
use crate::session::breaker::SavedBreaker;
use botops_contract::{GateReason, SessionPhase};
use botops_core::error::Code;

/// Why a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum SessionCheckKind {
    Startup,
    Periodic,
    /// Repeats a failed check, every few seconds.
    Confirm,
    /// The probe that a half-open breaker permits.
    HalfOpen,
    PreTrade,
    /// Keeps the evidence fresh while orders are being decided.
    Warm,
    Manual,
    /// Proves the token of a sign-in.
    Verify,
}

impl SessionCheckKind {
    pub(in crate::session) fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Periodic => "periodic",
            Self::Confirm => "confirm",
            Self::HalfOpen => "half_open",
            Self::PreTrade | Self::Warm => "pre_trade",
            Self::Manual => "manual",
            Self::Verify => "verify",
        }
    }

    /// Whether a failed attempt is retried inside the check.
    pub(in crate::session) fn is_retried(self) -> bool {
        matches!(self, Self::Startup | Self::Periodic | Self::Verify)
    }
}

/// Work for the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum SessionWork {
    Check(SessionCheckKind),
    /// Sign in again after a refusal.
    SignIn,
    /// Renew the token before it ends.
    Renew,
    /// Ask the broker whether a human has answered the challenge.
    Poll,
    /// Write the periodic snapshot to the health log.
    Snapshot,
}

/// Why the session is not healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::session) struct SessionReason {
    pub(in crate::session) code: String,
    pub(in crate::session) text: String,
}

/// The session's stored state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::session) struct SavedSession {
    #[serde(default)]
    pub(in crate::session) breaker: SavedBreaker,
    /// The phase of a halt; `None` when the session is not halted.
    #[serde(default)]
    pub(in crate::session) halted: Option<SessionPhase>,
    #[serde(default)]
    pub(in crate::session) reason: Option<SessionReason>,
    /// Times of the sign-in attempts of the last 24 hours.
    #[serde(default)]
    pub(in crate::session) reauths: Vec<DateTime<Utc>>,
    /// Times of the attempts with a password among them.
    #[serde(default)]
    pub(in crate::session) passwords: Vec<DateTime<Utc>>,
    /// Until when the broker asked for no calls; they would make its limit longer.
    #[serde(default)]
    pub(in crate::session) parked_until: Option<DateTime<Utc>>,
    /// What a person was asked for and did not give in time.
    #[serde(default)]
    pub(in crate::session) unanswered: Option<String>,
    /// When a call last succeeded before the halt.
    #[serde(default)]
    pub(in crate::session) last_ok: Option<DateTime<Utc>>,
}

/// The gate's decision before it gets an id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::session) struct GateVerdict {
    pub(in crate::session) allowed: bool,
    pub(in crate::session) reason: GateReason,
    pub(in crate::session) retry_after: Option<Duration>,
    /// A check may change the answer, so one should be made now.
    pub(in crate::session) wants_check: bool,
}

/// An open challenge that a human has to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) struct HumanWait {
    pub(in crate::session) needs: &'static str,
    pub(in crate::session) deadline: Duration,
    pub(super) next_poll: Duration,
    pub(super) interval: Duration,
    /// The method that gets the token once the challenge is answered.
    pub(in crate::session) method: SignInMethod,
}

impl SessionReason {
    pub(in crate::session) fn new(code: Code, text: &str) -> Self {
        Self { code: code.row().code.to_owned(), text: text.to_owned() }
    }

    pub(in crate::session) fn of_error(error: &BrokerError) -> Self {
        Self::new(error.code(), &error.to_string())
    }
}

/// A wait that the broker asked for, as a sentence: by the time of its end, which stays true while it is read.
pub(in crate::session) fn wait_text(until: DateTime<Utc>) -> String {
    format!("the broker asked us to wait until {}", until.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The time from `now` until `at`; zero when `at` is past.
pub(super) fn time_left(at: Duration, now: Now) -> Duration {
    at.saturating_sub(now.mono)
}
