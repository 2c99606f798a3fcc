//! Everything between a socket and a handler, the same for every feature.
//!
//! A request passes one guard (`guard.rs`): request id, key, scope, rate, size, deadline, panics, counters, log, and
//! the form of failures. Handlers use extractors that refuse with botops' own errors, and answer with
//! [`RenderedDocument`]s that were rendered before the request, or with [`json`]. What a request needs (its scope, its
//! media types, its query parameters) is read from the table of operations, which is made from the API document, so
//! what is documented is what is enforced.

mod answer_budget;
pub mod answer_shape;
mod answer_table;
mod auth;
mod document;
mod extract;
mod failed_request;
mod guard;
mod internal_call;
mod keyed_change;
mod limits;
mod operations;
mod read_method;
mod refusal_log;
mod routing;
mod serve;
mod socket;
mod unfinished_input;
mod waiting;

pub use crate::feature_routes as routes;
pub use auth::{Actor, ApiKeys, KeyFile, KeyRecord, KeyScope, KeyScopes, new_key};
#[doc(hidden)]
pub use botops_core::error::Code;
pub use document::{RenderedDocument, accepts, is_known, json, json_with_status};
pub use extract::{Json, Path, Query, limit_up_to, time_words, why_not_plain_json};
pub use guard::{GuardOptions, RequestGuard};
pub use internal_call::{InternalAnswer, InternalCall, InternalCaller};
pub use keyed_change::{
    AbandonKey, ChangeClaim, ChangeOutcome, DecideKey, EndKey, IdempotencyKey, KeptAnswer, KeyDecision,
    KeyedChange, KeyedChanges,
};
pub use limits::CorsPolicy;
pub use operations::{ApiOperation, MethodRefusal, OperationIndex, OperationTable, ReadyAnswer};
pub use routing::{FeatureRoute, FeatureRoutes};
pub use serve::{BoundListener, bind, serve};
pub use socket::SocketWriter;
pub use waiting::{LONGEST_WAIT, parse_wait};

/// Largest request body that is read, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;
