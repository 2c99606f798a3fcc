//! The contract between a bot and botops: the requests, answers and events that cross the bot's socket.
//!
//! HTTP/1.1 and JSON under `/ipc/v1` on a Unix socket, with the bot as the server. This crate has types only: nothing
//! in it opens a socket or reads a clock. Both sides use these types, so they agree on every field. A bot promises
//! that what it has acknowledged shows in its next answer to any read.
//!
//! Evolution: fields are added, never renamed, and a meaning never changes. Everything that is not part of the
//! first version carries `#[serde(default)]`, so an older bot is understood by a newer botops and the other way
//! round. Credentials never cross the socket, and neither do log files: a bot names the folder of its logs.

mod commands;
mod config;
mod events;
mod state;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use commands::{
    COMMAND_STATUS, CommandOutcome, CommandProgress, CommandRequest, CommandResult, CommandStatus, EXPIRED,
    Exposure, Verb,
};
pub use config::{
    ActivateConfigRequest, BOOT_ONCE, CheckConfigRequest, CheckVerdict, ConfigAck, ConfigState,
    ConfigViolation, EndTrialRequest, TrialState, VersionRef,
};
pub use events::{BotEvent, EventKind, SemanticError, Severity};
pub use state::{
    Account, BotPhase, BotReport, Breaker, BreakerState, ConfigSummary, GateReason, LoopStats, MarketState,
    MarketStatus, Order, OrderStatus, OrderType, Performance, Position, RunningConfig, Session, SessionPhase,
    Side, StreakType, Trade, TradeOutcome, TradePage,
};

/// The contract version of this crate. botops serves a bot with a lower version; what that bot does not report is
/// missing.
pub const VERSION: u32 = 1;

/// The path under which all paths of the contract are, such as `/ipc/v1/hello`.
pub const BASE: &str = "/ipc/v1";

/// A bot's name in paths, lock keys and tables: 1 to 64 characters of `a-z A-Z 0-9 - _`, not starting with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "paperbot"))]
pub struct BotId(String);

impl BotId {
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

/// Whether orders move real money. Every answer of botops names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TradingMode {
    /// Current prices, simulated orders: no money is at risk.
    Paper,
    /// Orders reach a broker and cost money.
    Live,
    /// Past prices, simulated orders.
    Backtest,
}

impl fmt::Display for TradingMode {
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
    /// The bot's name for people; any text, not unique.
    pub name: String,
    /// Version of the bot's program, in the bot's own numbering.
    pub version: String,
    /// Id of the process that answers, as its operating system numbers it.
    pub pid: u32,
    /// Identifies one start of the process: a new value at each start, so two answers with the same value come from the
    /// same process.
    pub boot_epoch: String,
    /// When the process that answers was started.
    pub started_at: DateTime<Utc>,
    /// Whether the bot's orders move real money; fixed while the process runs.
    pub mode: TradingMode,
    /// What the bot can do, by name: the command verbs, `command-status`, `config`, `config-boot-once`, `session`,
    /// `events`, `trades`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Folder of the bot's JSONL logs, as a path on the bot's machine; `null` when the bot does not tell.
    #[serde(default)]
    pub log_dir: Option<String>,
}

impl Hello {
    /// Whether the bot lists this capability.
    pub fn offers(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|offered| offered == capability)
    }
}

/// A refusal by the bot, on any call: HTTP status 4xx with this body says that nothing was done.
///
/// A bot that cannot promise that nothing was done answers with a status of 5xx, or with a code that leaves the effect
/// open: `no_answer`, `in_progress`, `internal`, any code that contains `timeout` or begins with `upstream_`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractRefusal {
    /// A stable reason: `not_capable`, `not_in_trial`, `older_generation`, `trial_live`, `base_mismatch`, …
    pub code: String,
    /// One sentence for people. botops treats it as untrusted text.
    pub message: String,
    /// What the reason is about, such as the hash that still runs.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub context: serde_json::Value,
}
