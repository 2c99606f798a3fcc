//! Serves the contract between a bot and botops for a bot that is written in Rust.
//!
//! The smallest bot says who it is, takes two commands and publishes its state once in each round of its loop:
//!
//! ```no_run
//! use botops_bot_server::{BotServer, CommandReply};
//! use botops_contract::{BotReport, TradingMode, Verb};
//!
//! # fn main() -> Result<(), String> {
//! let served = BotServer::new("my-bot".parse()?, TradingMode::Paper, "1.0")
//!     .on_command(Verb::Pause, |_| async { CommandReply::done("no new positions are opened") })
//!     .on_command(Verb::Resume, |_| async { CommandReply::done("new positions may be opened again") })
//!     .serve("my-bot/bot.sock".as_ref())?;
//! let bot = served.bot();
//! while !bot.is_stopping() {
//!     // The strategy goes here; it opens nothing while `bot.trading_enabled()` is false.
//!     bot.publish(BotReport { positions: Some(Vec::new()), ..BotReport::default() });
//!     std::thread::sleep(std::time::Duration::from_millis(500));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it promises:
//!
//! - **The bot comes first.** It is served on threads of their own, so a loop that is busy keeps no state from being read and
//!   no reader delays the loop. [`BotHandle`] waits for no connection and no disk. A handler that panics or hangs costs one
//!   answer; at most one handler of each verb runs at a time, and a further command is refused as `busy`.
//! - **An answer is proven or says that it is not.** A refusal says that nothing was done. A handler that panics, or has not
//!   returned in time, is `unconfirmed`. The same command id again gets the first answer; with [`BotServer::data_dir`] also
//!   after a restart.
//! - **A config is changed in trials whose clock is here** ([`ManagedConfig`]): one that nobody commits is taken back by the
//!   bot itself, whatever becomes of botops.
//! - **What is not offered is not listed**: `capabilities` has the verbs with a handler, and the parts that were given.
//!
//! Below that, [`ContractSource`] is the contract for a bot that keeps its own journals and answers: [`serve_contract`]
//! serves it. paperbot and the adapter for freqtrade are such bots.

mod bot_handle;
mod bot_server;
mod command_book;
mod command_runner;
mod command_task;
mod config;
mod config_handlers;
mod event_ring;
mod event_stream;
mod guarded_calls;
mod json_lines;
mod listener;
mod operator_command;
mod panic_message;
mod refusals;
mod rendered_report;
mod renewable_socket;
mod routes;
mod sdk_problem;
mod source;
mod token_file;
mod trade_journal;

pub use bot_handle::BotHandle;
pub use bot_server::{BotServer, ServedBot};
pub use config::{ConfigFinding, ConfigValues, ManagedConfig};
pub use config_handlers::ConfigHandlers;
pub use event_ring::EventRing;
pub use listener::{ContractListener, serve_contract};
pub use operator_command::{CommandReply, OperatorCommand};
pub use refusals::refusal;
pub use rendered_report::RenderedReport;
pub use renewable_socket::RenewableSocket;
pub use source::{
    ConfigSource, ContractAnswer, ContractSource, EventHistory, ShownConfig, TradePageRange, answer_now,
};
pub use token_file::ContractToken;
