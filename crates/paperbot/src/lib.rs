//! paperbot: a real, small trading process, the reference peer of botops.
//!
//! A market (simulated or replayed), a strategy, a ledger that is on disk before it counts, a paper exchange, limits
//! that bind, and the bot contract on a Unix socket. The trading loop owns the account on a thread of its own and
//! waits for nobody. Deliberately absent: any import of the server's modules, and real money.

mod book;
mod boot_once;
pub mod broker;
pub mod calendar;
pub mod clock;
pub mod command_line;
mod commands;
mod desk;
mod document;
mod durable;
mod engine;
mod exchange;
mod journal;
mod ledger;
mod life;
mod mailbox;
mod market;
mod performance;
mod priority;
mod private_file;
mod publish;
mod replay;
mod report;
mod serve;
pub mod session;
mod standing;
mod strategy;
mod trading;
mod yaml_records;

pub use life::{Options, main, run};
