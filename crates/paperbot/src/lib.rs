//! paperbot: a small but complete trading process, the reference bot of botops.
//!
//! It has a market (simulated or replayed), a strategy, a ledger that is on disk before its lines take effect, a paper
//! exchange, limits on orders and losses, and the bot contract on a Unix socket. The trading loop owns the account on a
//! thread of its own and never waits for a reader. Orders are always simulated; a broker's session only decides whether
//! they would pass. The crate uses `botops-contract` and `botops-core`, nothing of the server.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "every amount that comes in is bounded (`account::amount_bounds`), such that no operation leaves a decimal"
)]

mod account;
pub mod broker;
mod calendar;
pub mod clock;
pub mod command_line;
mod config;
mod engine;
mod identity;
mod ipc;
mod loop_priority;
mod market;
mod options;
mod pid_file;
mod private_file;
mod process;
pub mod session;
mod session_gate;
mod yaml_records;

pub use options::PaperbotOptions;
pub use process::main;
