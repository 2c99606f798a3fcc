//! Everything between a socket and a handler, the same for every feature.
//!
//! A request passes one guard (`guard.rs`): request id, key, scope, rate, size, time, panic, counters, log, and the
//! one form of every failure. Handlers see extractors that already speak our errors, and answer with [`Document`]s
//! that were rendered before anybody asked, or with [`json`]. What a request needs (its scope, its media types) is
//! read from the API document, so what is documented is what is enforced. Deliberately absent: stacked middleware.

mod auth;
pub mod budget;
mod document;
mod extract;
mod guard;
mod inside;
mod limits;
mod operations;
mod routing;
mod serve;
mod socket;

pub use crate::feature_routes as routes;
pub use auth::{Actor, KeyFile, KeyRecord, Keys, Scope, Scopes, new_key};
#[doc(hidden)]
pub use botops_core::error::Code;
pub use document::{Document, accepts, json, json_with_status};
pub use extract::{Idempotency, Json, Path, Query};
pub use guard::{Guard, GuardOptions};
pub use inside::{Answer, Call, Inside};
pub use limits::Cors;
pub use operations::{Operation, Operations, Ready, Table};
pub use routing::{Route, Routes};
pub use serve::{Listening, bind, serve};
pub use socket::Wire;

/// Largest request body that is read.
pub const BODY_LIMIT: usize = 256 * 1024;
