//! paperbot: a real, small trading process, the reference peer of botops.
//!
//! A market (simulated or replayed), a strategy, a ledger that is on disk before it counts, a paper exchange, limits
//! that bind, and the bot contract on a Unix socket. The trading loop owns the account on a thread of its own and
//! waits for nobody. Orders are always simulated; a broker's session only decides whether they would pass. Nothing of
//! the server is used here.

mod account;
pub mod broker;
mod calendar;
pub mod clock;
pub mod command_line;
mod config;
mod data_folder;
mod engine;
mod identity;
mod ipc;
mod loop_priority;
mod market;
mod options;
mod private_file;
mod process;
pub mod session;
mod session_gate;
mod yaml_records;

pub use options::PaperbotOptions;
pub use process::main;
