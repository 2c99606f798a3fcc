//! The lower floors of botops: the vocabulary between a bot and botops, failures and their catalogue, tasks, the log and
//! the metrics, and everything between a socket and a handler.
//!
//! A crate of its own for what every request passes: it alone is compiled for speed. The map of the whole house, and
//! which module may use which, stands in the crate `botops`, which shows these modules under its own name. Deliberately
//! absent: anything that knows a feature, and settings.

pub mod contract;
pub mod env_file;
pub mod error;
pub mod kill;
pub mod redact;
pub mod signals;
pub mod tasks;
pub mod telemetry;
pub mod text;
pub mod web;
