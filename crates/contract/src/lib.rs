//! The contract between a bot and botops: the vocabulary that travels over the bot's socket.
//!
//! HTTP/1.1 and JSON under `/ipc/v1` on a Unix socket. Types only: nothing here opens a socket, reads a clock or
//! decides. Both sides use these types, so a field that one side writes is a field the other side reads. What a bot has
//! acknowledged, its next answer to any read shows.
//!
//! Evolution: fields are added, never renamed, and a meaning never changes. Everything that is not part of the
//! first version carries `#[serde(default)]`, so an older bot is understood by a newer botops and the other way
//! round. Deliberately absent: credentials (they never cross the socket) and files (a bot names its log folder).

mod commands;
mod config;
mod events;
mod state;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use commands::{
    COMMAND_STATUS, CommandProgress, CommandRequest, CommandResult, CommandStatus, EXPIRED, Exposure,
    Outcome, Verb,
};
pub use config::{
    Activate, BOOT_ONCE, Check, CheckVerdict, ConfigAck, ConfigState, Settle, TrialState, VersionRef,
    Violation,
};
pub use events::{BotEvent, EventKind, SemanticError, Severity};
pub use state::{
    Account, BotReport, Breaker, BreakerState, ConfigSummary, GateReason, LoopStats, MarketState,
    MarketStatus, Order, OrderStatus, OrderType, Performance, Phase, Position, RunningConfig, Session,
    SessionPhase, Side, StreakType, Trade, TradeOutcome, TradePage,
};

/// The contract version this crate speaks. A bot with a lower one is served with what it has.
pub const VERSION: u32 = 1;

/// Where the contract lives on the socket.
pub const BASE: &str = "/ipc/v1";

/// A bot's name in paths, lock keys and tables: 1 to 64 characters of `a-z A-Z 0-9 - _`, not starting with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "paperbot"))]
pub struct BotId(String);

impl BotId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BotId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if text.is_empty() || text.len() > 64 || !plain || text.starts_with('-') {
            return Err("a bot id is 1 to 64 letters, digits, `-` or `_`".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for BotId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BotId> for String {
    fn from(id: BotId) -> Self {
        id.0
    }
}

/// Whether money is real. Every answer that leaves botops names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Orders are simulated.
    Paper,
    /// Orders reach a broker and cost money.
    Live,
    /// Prices come from the past.
    Backtest,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::Live => "live",
            Self::Backtest => "backtest",
        })
    }
}

/// `GET hello`: who answers on this socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The contract version the bot speaks.
    pub contract: u32,
    /// The bot's id; botops refuses a socket that answers with another bot's id.
    pub bot_id: BotId,
    /// A name for people.
    pub name: String,
    /// The bot's own version.
    pub version: String,
    /// The process that answers.
    pub pid: u32,
    /// New at each start of the process; two answers with the same value come from the same life.
    pub boot_epoch: String,
    /// When this life began.
    pub started_at: DateTime<Utc>,
    /// Paper, live or backtest.
    pub mode: Mode,
    /// What the bot can do, by name: command verbs, `command-status`, `config`, `config-boot-once`, `session`, `events`,
    /// `trades`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Where the bot writes its JSONL logs, if it says so.
    #[serde(default)]
    pub log_dir: Option<String>,
}

impl Hello {
    /// Whether the bot can do this, by its own word.
    pub fn offers(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|offered| offered == capability)
    }
}

/// A refusal by the bot, on any call: HTTP status 4xx with this body says that nothing was done.
///
/// A bot that cannot say so answers with a status of 5xx, or with a code that says what it does not know: `no_answer`,
/// `in_progress`, `internal`, anything with `timeout`, and whatever begins with `upstream_`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable reason: `not_capable`, `not_in_trial`, `older_generation`, `trial_live`, `base_mismatch`, …
    pub code: String,
    /// One sentence for people. Untrusted text for botops.
    pub message: String,
    /// What the reason is about, such as the hash that still runs.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub context: serde_json::Value,
}
