//! The features of botops, and the store under them. Each keeps its rows, its verbs and its routes to itself, and gets
//! plain values and handles from above.
//!
//! The map of the whole house, and which module may use which, stands in the crate `botops`, which shows these modules
//! under its own name. Deliberately absent: settings, and whatever joins the features into one program.

pub mod bots;
pub mod configs;
pub mod events;
pub mod health;
pub mod ops_log;
pub mod overview;
pub mod performance;
pub mod store;
pub mod workflows;

use botops_ground::{contract, error, kill, redact, tasks, telemetry, text, web};
