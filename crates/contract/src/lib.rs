//! The contract between a bot and botops: the requests, answers and events that cross the bot's socket.
//!
//! HTTP/1.1 and JSON under `/ipc/v1` on a Unix socket, with the bot as the server. This crate has types only: nothing
//! in it opens a socket or reads a clock. Both sides use these types, so they agree on every field. A bot promises
//! that what it has acknowledged shows in its next answer to any read.
//!
//! A small core is required (see [`Hello`] and [`BotReport`]); what a bot does not know it leaves out or gives as
//! `null`, and never as a number that stands for nothing. Numbers that mean money are [`Amount`]s. Closed sets have a
//! word for what is outside of them, and the bot's own word stands beside it in `<field>_raw`.
//!
//! Evolution: fields are added, never renamed, and a meaning never changes. A bot of contract 1 is read as before.
//! Credentials never cross the socket, and neither do log files: a bot names the folder of its logs.

mod amount;
mod commands;
mod config;
#[cfg(feature = "openapi")]
mod document;
mod events;
#[cfg(all(test, feature = "openapi"))]
mod frozen;
mod identity;
mod refusal;
mod state;
mod tolerance;
mod trading;
mod verbatim;
mod words;

pub use amount::{Amount, NotAnAmount, add_exactly, amount_value, multiply_exactly, subtract_exactly};
pub use commands::{
    COMMAND_STATUS, CommandOutcome, CommandProgress, CommandRequest, CommandResult, CommandStatus,
    DURABLE_PAUSE, EXPIRED, Exposure, Verb,
};
pub use config::{
    ActivateConfigRequest, BOOT_ONCE, CONFIG_SCHEMA, CheckConfigRequest, CheckVerdict, ConfigAck,
    ConfigState, ConfigViolation, EndTrialRequest, FieldRole, RunningDocument, TrialState, VersionRef,
};
#[cfg(feature = "openapi")]
pub use document::contract_document;
pub use events::{BotEvent, EventKind, SemanticError, Severity};
pub use identity::{AdapterIdentity, BotId, Capability, CapabilityGuarantee, Hello, TradingMode};
pub use refusal::{
    ContractRefusal, UPSTREAM_HUNG, UPSTREAM_STARTING, UPSTREAM_UNAUTHORIZED, UPSTREAM_UNREACHABLE,
};
pub use state::{
    BotPhase, BotReport, BotTradingDay, Breaker, BreakerState, ConfigSummary, EchoedConfig, EntryLock,
    GateReason, LoopStats, MarketState, MarketStatus, RunningConfig, Session, SessionPhase, UnknownField,
    UnknownWhy,
};
pub use tolerance::LARGEST_SEQ;
pub use trading::{
    Account, Order, OrderStatus, OrderType, Performance, Position, Side, StreakType, Trade, TradeOutcome,
    TradePage,
};
pub use verbatim::{VerbatimJson, read_exact_json};

/// The contract version of this crate. botops serves a bot with a lower version; what that bot does not report is
/// missing.
pub const VERSION: u32 = 2;

/// The path under which all paths of the contract are, such as `/ipc/v1/hello`.
pub const BASE: &str = "/ipc/v1";
