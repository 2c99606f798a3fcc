//! System health: checks that confirm before they alarm, alerts that end, recovery that is verified.
//!
//! [`Health`] watches components, derives their status over time, notifies receivers, and tries to recover what is
//! broken. Hidden from users: schedules, debounce, the alert machine, the outbox, budgets and the history. Everything
//! a status answer needs is rendered ahead; no status read touches the disk. Features above register plain closures
//! ([`Health::add_source`], [`Health::set_runner`]).
//!
//! | module | holds |
//! | ---- | ---- |
//! | `model`, `units`, `defects`, `changes`, `limit_rules` | types that all other modules share |
//! | `options`, `progress` | what the program passes in; whether the loops move on |
//! | `checks/` | what is checked and how, in one table |
//! | `status/` | from samples to the status of a component and of the system; the config |
//! | `alerts/`, `recovery/` | keyed by component beside it: who is notified, what is tried |
//! | `history/` | what is kept on disk |
//! | `memory`, `restore`, `render/` | the state in memory, restoring it after a start, the answers made from it |
//! | `metrics` | series for Prometheus |
//! | `inner`, `run/` | the lock and the queues around the memory; the loops |
//! | `handle`, `operator_verbs`, `api/` | reading, changing, and the routes |

mod alerts;
mod api;
mod changes;
mod checks;
mod defects;
mod handle;
mod history;
mod inner;
mod limit_rules;
mod memory;
mod metrics;
mod model;
mod operator_verbs;
mod options;
mod progress;
mod recovery;
mod render;
mod restore;
mod run;
mod status;
mod units;

pub use api::routes;
pub use checks::{AllowedAddress, HealthSource, SourceFact};
pub use handle::Health;
pub use model::{Criticality, HealthLevel, HealthStatus, RecoveryCandidate};
pub use options::HealthOptions;
pub use recovery::{HandlerEnd, PersonMust, RecoveryRun, WorkflowFact, WorkflowRunner};
pub use render::{HealthPart, HealthSummary};
pub use status::StatusCounts;
