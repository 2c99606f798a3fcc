//! State, summary and metrics of the bot: rendered once per snapshot, served as bytes.
mod example;
mod markdown;
mod summary;
#[cfg(test)]
mod tests;
mod tokens;
mod view;

use serde::Serialize;
use utoipa::ToSchema;
pub use view::ConfigSync;

/// What other features know and the overview shows. All of it may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extras {
    /// Whether the bot runs what botops has committed.
    pub config_sync: Option<ConfigSync>,
    /// Overall status of the system health checks.
    pub system_health: Option<String>,
    /// The workflow run in progress.
    pub workflow: Option<RunningWorkflow>,
    /// Warnings of other features, worst first.
    pub warnings: Vec<String>,
}

/// A workflow run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RunningWorkflow {
    /// Which workflow.
    pub workflow_id: String,
    /// Which run of it.
    pub run_id: String,
    /// Where it stands.
    pub state: String,
    /// The step it is at.
    pub step: Option<String>,
}
