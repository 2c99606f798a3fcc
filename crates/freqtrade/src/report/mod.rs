//! From freqtrade's answers to the words of the contract. Nothing here does I/O or reads a clock.

mod account;
mod breaker;
mod builder;
mod config_echo;
mod failures;
mod hello;
mod performance;
mod phase;
mod positions;
mod unknown_fields;

pub(crate) use breaker::{global_lock, holding_locks};
pub(crate) use builder::{ReportInputs, build_report, day_began};
pub(crate) use config_echo::NOT_MANAGED;
pub(crate) use failures::failure_in;
pub(crate) use hello::{HelloInputs, build_hello};
