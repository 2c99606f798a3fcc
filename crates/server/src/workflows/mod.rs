//! Workflows: named, reviewed procedures whose runs survive a kill of botops and of the bot.
//!
//! [`Workflows`] lists workflows, starts runs, shows their progress, and stops them. A run begins because a client
//! with the scope asked for it, or because automatic recovery did: there are no approvals and no schedules.
//!
//! | part | what it holds |
//! |---|---|
//! | `api`, `views`, `run_list` | routes and wire types; lists of runs |
//! | `handle` | the verbs, and how the parts are put together |
//! | `run` | the journal of a run's facts, the loop that drives it, admission, queue, dry runs |
//! | `definition` | files, strict YAML, checks, references, the catalogue |
//! | `actions` | what a step can do, one file each |
//! | `artifacts` | files that a run leaves behind |
//!
//! A module imports only from modules below it in this table.

mod actions;
mod api;
mod artifacts;
mod definition;
mod handle;
mod run;
mod run_list;
mod views;

pub use api::routes;
#[cfg(any(test, fuzzing))]
pub use definition::check_workflow_file;
pub use handle::{RunOutlook, StartedRun, WorkflowPeers, Workflows, WorkflowsOptions};
pub use views::{WorkflowListView, WorkflowPlanView, WorkflowRunView, WorkflowView};
