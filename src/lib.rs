//! botops: the operations API that stands beside a trading bot.
pub mod app;
mod ask;
pub mod bots;
pub mod cli;
pub mod configs;
pub mod contract;
mod demo;
pub mod error;
pub mod events;
pub mod health;
pub mod kill;
mod manual;
pub mod ops;
pub mod ops_log;
pub mod overview;
#[doc(hidden)]
pub mod paperbot;
pub mod performance;
mod process;
mod redact;
pub mod routes;
pub mod settings;
pub mod store;
pub mod tasks;
pub mod telemetry;
mod text;
pub mod web;
pub mod workflows;
