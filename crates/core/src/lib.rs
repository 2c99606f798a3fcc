//! What botops and the reference bot share below their features.
//!
//! Failures and their catalogue, text from outside made harmless, secrets taken out, deadlines that survive a restart, a clock for retention that no step of the wall clock moves, files replaced
//! durably and opened without waiting, files of
//! settings and of set-ups, data folders and sockets for one process alone, durations, numbers compared digit for digit, JSON read
//! by the names of members alone, waits between
//! attempts, tasks, signals, the log and the metrics, and the failpoints of the tests. Nothing here depends on a feature or a setting. `ARCHITECTURE.md` has the map of all crates.

pub mod data_folder;
pub mod durable_deadline;
pub mod durable_file;
pub mod duration;
pub mod env_file;
pub mod error;
pub mod exact_number;
pub mod failpoints;
pub mod object_reader;
pub mod reason;
pub mod redact;
pub mod regular_file;
pub mod retention_clock;
pub mod retry;
pub mod setup_files;
pub mod signals;
pub mod socket_file;
pub mod tasks;
pub mod telemetry;
pub mod text;
