//! botops: the operations API that stands beside a trading bot.
mod text;
pub mod contract;
pub mod error;
