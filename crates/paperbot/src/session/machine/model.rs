//! The values of the session's state machine.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::broker::{BrokerError, SignInMethod};
use crate::clock::Now;
use crate::session::breaker::SavedBreaker;
use botops_contract::{GateReason, SessionPhase};
use botops_core::error::Code;

/// Which kind of check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum CheckKind {
    Startup,
    Periodic,
    /// After a failed check, every few seconds.
    Confirm,
    /// The one probe of a half-open breaker.
    HalfOpen,
    PreTrade,
    /// Keeps the evidence fresh while orders are being decided.
    Warm,
    Manual,
    /// After a sign-in.
    Verify,
}

impl CheckKind {
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

    /// Retried inside the check.
    pub(in crate::session) fn is_retried(self) -> bool {
        matches!(self, Self::Startup | Self::Periodic | Self::Verify)
    }
}

/// What the keeper has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum SessionWork {
    Check(CheckKind),
    /// Sign in again after a refusal.
    SignIn,
    /// Renew the token before it ends.
    Renew,
    /// Ask whether a human answered.
    Poll,
    /// Write the periodic snapshot.
    Snapshot,
}

/// Why the session is not healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::session) struct SessionReason {
    pub(in crate::session) code: String,
    pub(in crate::session) text: String,
}

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::session) struct SavedSession {
    #[serde(default)]
    pub(in crate::session) breaker: SavedBreaker,
    /// Which halt, when there is one.
    #[serde(default)]
    pub(in crate::session) halted: Option<SessionPhase>,
    #[serde(default)]
    pub(in crate::session) reason: Option<SessionReason>,
    /// Sign-in attempts of the last day.
    #[serde(default)]
    pub(in crate::session) reauths: Vec<DateTime<Utc>>,
    /// Those with a password.
    #[serde(default)]
    pub(in crate::session) passwords: Vec<DateTime<Utc>>,
}

/// What the gate says, before it has an id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::session) struct GateVerdict {
    pub(in crate::session) allowed: bool,
    pub(in crate::session) reason: GateReason,
    pub(in crate::session) retry_after: Option<Duration>,
    /// A check may change the answer, so one should be made now.
    pub(in crate::session) wants_check: bool,
}

/// A human is asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) struct HumanWait {
    pub(in crate::session) needs: &'static str,
    pub(in crate::session) deadline: Duration,
    pub(super) next_poll: Duration,
    pub(super) interval: Duration,
    /// The way that gets the token once it is approved.
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

/// From `now` until `at`; nothing when that is over.
pub(super) fn time_left(at: Duration, now: Now) -> Duration {
    at.saturating_sub(now.mono)
}
