//! What every part of botops stands on, the reference bot included: failures and their catalogue, text from outside made
//! harmless, secrets taken out, tasks, signals, the log and the metrics, and the failpoints of the tests.
//!
//! Nothing here knows a feature or a setting. `ARCHITECTURE.md` says how the crates stand to each other.

pub mod durable_file;
pub mod duration;
pub mod env_file;
pub mod error;
pub mod failpoints;
pub mod redact;
pub mod retry;
pub mod signals;
pub mod tasks;
pub mod telemetry;
pub mod text;
