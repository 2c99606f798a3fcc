//! botops: the operations API that stands beside a trading bot.
pub mod contract;
pub mod error;
pub mod events;
pub mod store;
pub mod tasks;
mod text;
