//! The bot's side of its socket: what the server of the contract asks, the requests to the trading loop, and the snapshot and
//! journal that reads are answered from.

pub(crate) mod contract_source;
mod daily_log;
pub(crate) mod earlier_events;
pub(crate) mod inbox;
pub(crate) mod journal;
pub(crate) mod line_event;
pub(crate) mod outbox;
mod recent_errors;
pub(crate) mod report;
pub(crate) mod session_commands;
pub(crate) mod snapshot;
pub(crate) mod trade_log;
pub(crate) mod trading_status;
