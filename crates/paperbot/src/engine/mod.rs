//! The trading loop, and the pure parts that it decides with: plans, limits, gates, counts.

mod command_plan;
mod entry_gates;
mod order_issuer;
mod order_planner;
mod order_rejects;
mod planned_line;
mod requests;
mod risk_limits;
mod tick_timing;
mod trading_loop;

pub(crate) use trading_loop::{EngineParts, TradingEngine};
