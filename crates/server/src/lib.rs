//! The features of botops, and the store under them. Each keeps its rows, its verbs and its routes to itself, and gets
//! plain values and handles from above.
//!
//! `ARCHITECTURE.md` says which module may use which. Settings, and what joins the features into one program, are in
//! the crate `botops`.

pub mod bots;
pub mod change_keys;
pub mod configs;
pub mod errors;
pub mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod health;
pub mod healthz;
pub mod incidents;
pub mod operations_log;
pub mod overview;
pub mod performance;
pub mod store;
pub mod whoami;
pub mod workflows;
