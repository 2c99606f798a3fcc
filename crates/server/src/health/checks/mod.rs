//! The checks: what is checked, how, and against which limits.
//!
//! One row per check in `table.rs` and one file per kind of target. A check returns a [`CheckSample`]: its outcome at
//! that moment and what it measured. It never decides over time (`status/` does), never sends a notice, never changes
//! its target, and reads no more of an answer than it needs. Text from a peer is not kept.

mod address_guard;
mod bot;
mod certificate;
mod check_run;
mod check_threads;
mod database;
mod http;
mod metric_limits;
mod outbox;
mod retry_after;
mod review;
mod sample;
mod soundness;
mod source;
mod store;
mod system;
mod table;
mod targets;
mod trading;

pub use address_guard::AllowedAddress;
pub use sample::{HealthSource, SourceFact};

pub(crate) use address_guard::AddressGuard;
pub(crate) use bot::bot_rules;
pub(crate) use check_run::CheckRun;
pub(crate) use check_threads::check_thread_rules;
#[cfg(test)]
pub(crate) use metric_limits::CheckMeasure;
pub(crate) use metric_limits::{MetricLimitView, metric_limit_views};
pub(crate) use retry_after::NextRequest;
pub(crate) use review::{CheckerReview, FileLook};
pub(crate) use sample::{CheckOutcome, CheckSample};
pub(crate) use soundness::soundness_rules;
pub(crate) use table::{CheckKind, CheckerType, built_in_health_checks, component_types, run_health_check};
pub(crate) use targets::{CheckTargets, OutboxBacklog};
