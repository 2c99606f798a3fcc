//! botops: the operations API that stands beside a trading bot.
pub mod bots;
pub mod contract;
pub mod error;
pub mod events;
#[doc(hidden)]
pub mod paperbot;
mod redact;
pub mod store;
pub mod tasks;
pub mod telemetry;
mod text;
pub mod web;
