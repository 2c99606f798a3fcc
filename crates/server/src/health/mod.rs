//! System health: checks that do not cry wolf, alerts that end, recovery that proves itself.
//!
//! [`Health`] watches components, decides over time how they are, tells receivers, and tries to recover what is broken.
//! Hidden from users: schedules, debounce, the alert machine, the outbox, budgets and the history. Everything a status
//! answer needs is rendered ahead; no status read touches the disk. Features above plug in as plain closures
//! ([`Health::add_source`], [`Health::set_runner`]).
//!
//! | module | holds |
//! | ---- | ---- |
//! | `model`, `units`, `defects`, `changes` | what all others speak about |
//! | `checks/` | what is looked at, in one table |
//! | `status/` | from samples to the status of a component and of the system; the config |
//! | `alerts/`, `recovery/` | beside it, keyed by component: who is told, what is tried |
//! | `history/` | what is kept on disk |
//! | `memory`, `restore`, `render/` | all of it in memory, as it was before a restart, as readers get it |
//! | `inner`, `run/` | the lock and the ways out of it; the loops |
//! | `handle`, `operator_verbs`, `api/` | what others can do with it |

mod alerts;
mod api;
mod changes;
mod checks;
mod defects;
mod handle;
mod history;
mod inner;
mod memory;
mod metrics;
mod model;
mod operator_verbs;
mod options;
mod recovery;
mod render;
mod restore;
mod run;
mod status;
mod units;

pub use api::routes;
pub use checks::{AllowedAddress, HealthSource, SourceFact};
pub use handle::Health;
pub use model::{Criticality, HealthLevel, HealthStatus};
pub use options::HealthOptions;
pub use recovery::{HandlerEnd, RecoveryRun, WorkflowFact, WorkflowRunner};
pub use render::HealthSummary;
pub use status::StatusCounts;
