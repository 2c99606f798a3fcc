//! Commands of an operator to a bot, and their outcomes.
//!
//! The sender of a command must learn what it did. A refusal therefore promises that nothing was done; a bot that
//! cannot promise it answers `unconfirmed`, `no_answer` or a status of 5xx, and the sender takes the effect as
//! unknown. A command carries the time for which it is valid, so that it is never carried out long after its sender
//! gave up. A bot with the capability [`COMMAND_STATUS`] reports the outcome afterwards, so it can be learned without
//! sending again.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::refusal::ContractRefusal;
use crate::state::BotPhase;

/// The verbs of `POST commands/{verb}`. The list is closed; no verb opens a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Open no new positions; exits go on.
    Pause,
    /// Allow new positions again, after `pause`.
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

    /// The verb as written in paths and in [`Hello::capabilities`](crate::Hello::capabilities).
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandRequest {
    /// The idempotency key: the same id again returns the first answer and acts no second time.
    pub command_id: String,
    /// Why the command is sent; one sentence that botops keeps in its records.
    pub reason: String,
    /// Arguments by verb, such as `{"symbols": ["SPY"]}` for `cancel-orders`.
    #[serde(default)]
    pub args: serde_json::Value,
    /// With `true` the bot says what would happen and does nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// How long the command is valid, counted from its arrival: a bot that has not begun it by then answers `refused`
    /// with the reason [`EXPIRED`] and does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_ms: Option<u64>,
    /// The end of `valid_for_ms` by the sender's clock, for a bot on the same machine.
    ///
    /// Needed since a request that waited in the socket while the bot's process was suspended counts as having arrived
    /// only when the process continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// The `reason_code` of a command that was not begun before it expired.
pub const EXPIRED: &str = "expired";

/// Whether a command was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CommandOutcome {
    /// It was carried out, or what it asks for held already.
    Done,
    /// It was not done; `reason_code` says why.
    Refused,
    /// A dry run: nothing was done.
    Predicted,
    /// It was passed on, and the bot could not confirm that it took effect.
    Unconfirmed,
}

/// What a command does, or did, to orders and positions. `null` is what the bot does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Exposure {
    /// Number of resting orders that were, or would be, cancelled.
    pub orders_cancelled: Option<u32>,
    /// Number of closing orders that were, or would be, sent.
    pub orders_submitted: Option<u32>,
    /// Symbols of the positions that are being closed.
    pub positions_closing: Option<Vec<String>>,
    /// Market value of the positions that are being closed, in account currency; 0 when none is.
    pub notional: Option<Amount>,
    /// Number of open positions once the closing orders are filled.
    pub positions_left: Option<u32>,
    /// Number of resting orders after the command.
    pub orders_left: Option<u32>,
}

/// The bot's answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandResult {
    /// The id that the request carried.
    #[serde(deserialize_with = "crate::tolerance::text_or_digits_given")]
    pub command_id: String,
    /// Whether the command was carried out.
    pub outcome: CommandOutcome,
    /// A stable reason, given with a refusal: `not_capable`, `already`, `breaker_closed`, `expired`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// One sentence for people: what was done, or why not.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub message: String,
    /// The bot's phase after the command; `null` when the bot does not say.
    #[serde(default)]
    pub phase: Option<BotPhase>,
    /// The bot's own word for the phase, where `phase` is `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_raw: Option<String>,
    /// Whether new positions may be opened after the command; `null` when the bot does not say.
    #[serde(default)]
    pub trading_enabled: Option<bool>,
    /// The effect on orders and positions; `null` when the bot does not say.
    #[serde(default)]
    pub exposure: Option<Exposure>,
    /// When the bot carried it out, or decided not to; `null` when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub at: Option<DateTime<Utc>>,
    /// True when this is the stored answer to an earlier call with the same id.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub replayed: bool,
}

/// The capability of a bot that reports the outcome of a command (`GET commands/{command_id}`) and begins no command
/// that has expired.
pub const COMMAND_STATUS: &str = "command-status";

/// The capability of a bot whose `pause` takes `args.durable`: a pause that holds over a reload of its config and a
/// restart of its process, until it is resumed or until `args.until`.
pub const DURABLE_PAUSE: &str = "durable-pause";

/// How far a bot has got with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CommandProgress {
    /// It is finished: `result` or `refusal` has the answer.
    Answered,
    /// It waits or is being carried out.
    Pending,
    /// The bot has not received it. If it has expired as well, it can have no effect any more.
    Unknown,
}

/// `GET commands/{command_id}`, the id percent-encoded: the outcome of a command. Reading it changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandStatus {
    /// The id of the path, decoded.
    #[serde(deserialize_with = "crate::tolerance::text_or_digits_given")]
    pub command_id: String,
    /// How far the bot has got with it.
    #[serde(rename = "standing")]
    pub progress: CommandProgress,
    /// The answer, also when the sender was gone by then; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<CommandResult>,
    /// The refusal that was given instead of a `result`; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<ContractRefusal>,
}
