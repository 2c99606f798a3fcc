//! Commands: what an operator may tell a bot to do, and what became of it.
//!
//! Whoever gives a command must be able to tell what it did. A refusal therefore says that nothing was done; a bot that
//! cannot say so answers `unconfirmed`, `no_answer` or a status of 5xx, and the caller counts the effect as unknown. A
//! command names how long it is wanted, so that it is never carried out long after its caller gave up; and a bot with
//! the capability [`COMMAND_STATUS`] says afterwards what became of it, so that nobody has to send it again to learn.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{Phase, Refusal};

/// The verbs of `POST commands/{verb}`. The closed list: there is no verb that opens a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Open no new positions; exits go on.
    Pause,
    /// Allow new positions again.
    Resume,
    /// Cancel resting orders (`args.symbols` narrows it).
    CancelOrders,
    /// Close every position at the market and open none.
    Flatten,
    /// Check the broker session now.
    ProbeSession,
    /// Sign in to the broker again.
    Reauth,
    /// Let the circuit breaker try again.
    ResetBreaker,
    /// Let no order pass, exits included, until the circuit breaker is reset.
    Halt,
    /// Stop the process cleanly; positions and orders stay.
    Shutdown,
}

impl Verb {
    /// Every verb, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Pause,
        Self::Resume,
        Self::CancelOrders,
        Self::Flatten,
        Self::ProbeSession,
        Self::Reauth,
        Self::ResetBreaker,
        Self::Halt,
        Self::Shutdown,
    ];

    /// The verb as it stands in paths and capabilities.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::CancelOrders => "cancel-orders",
            Self::Flatten => "flatten",
            Self::ProbeSession => "probe-session",
            Self::Reauth => "reauth",
            Self::ResetBreaker => "reset-breaker",
            Self::Halt => "halt",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or(())
    }
}

/// The body of `POST commands/{verb}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandRequest {
    /// The idempotency key: the same id again returns the first answer and acts no second time.
    pub command_id: String,
    /// Why, for the record.
    pub reason: String,
    /// Arguments by verb, such as `{"symbols": ["SPY"]}` for `cancel-orders`.
    #[serde(default)]
    pub args: serde_json::Value,
    /// With `true` the bot says what would happen and does nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// How long it is wanted, counted from its arrival: a bot that has not begun by then answers `refused` with the
    /// reason [`EXPIRED`] and does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_ms: Option<u64>,
    /// The same by the sender's clock, for a bot on the same machine: what waited in the socket of a process that was
    /// stopped has just arrived when that process goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// The reason of a command that was not begun while it was wanted.
pub const EXPIRED: &str = "expired";

/// Whether a command was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done (or was so already).
    Done,
    /// It was not done; `reason_code` says why.
    Refused,
    /// A dry run: nothing was done.
    Predicted,
    /// It was taken, and whether it took effect was not seen.
    Unconfirmed,
}

/// What a command does, or did, to orders and positions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Exposure {
    /// Resting orders cancelled.
    #[serde(default)]
    pub orders_cancelled: u32,
    /// Closing orders sent.
    #[serde(default)]
    pub orders_submitted: u32,
    /// Positions that will be closed, by symbol.
    #[serde(default)]
    pub positions_closing: Vec<String>,
    /// Market value of what is closed, in account currency.
    #[serde(default)]
    pub notional: Decimal,
    /// Open positions after the command.
    #[serde(default)]
    pub positions_left: u32,
    /// Resting orders after the command.
    #[serde(default)]
    pub orders_left: u32,
}

/// The bot's answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandResult {
    /// The id of the request.
    pub command_id: String,
    /// Done, refused or predicted.
    pub outcome: Outcome,
    /// A stable reason when refused: `not_capable`, `already`, `breaker_closed`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// One sentence for people.
    pub message: String,
    /// The bot's phase after the command.
    pub phase: Phase,
    /// Whether new positions may be opened after the command.
    pub trading_enabled: bool,
    /// The effect on orders and positions.
    #[serde(default)]
    pub exposure: Exposure,
    /// When the bot carried it out.
    pub at: DateTime<Utc>,
    /// True when this is the stored answer to an earlier call with the same id.
    #[serde(default)]
    pub replayed: bool,
}

/// The capability of a bot that says what became of a command (`GET commands/{command_id}`), and that begins none after
/// it expired.
pub const COMMAND_STATUS: &str = "command-status";

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandProgress {
    /// It has its answer: `result` or `refusal`.
    Answered,
    /// It waits, or is being carried out.
    Pending,
    /// The bot has not got it. Once it expired it can have no effect any more.
    Unknown,
}

/// `GET commands/{command_id}`, the id percent-encoded: what became of a command. Asking changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandStatus {
    /// The id asked about.
    pub command_id: String,
    /// How far it is.
    #[serde(rename = "standing")]
    pub progress: CommandProgress,
    /// The answer it got, or would have got had the caller waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<CommandResult>,
    /// The refusal it got in place of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}
