//! What the overview gets from the settings at start, and from other features later.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the overview gets from the settings.
#[derive(Debug, Clone, Copy)]
pub struct OverviewOptions {
    /// Age beyond which data is reported as stale.
    pub stale_after: Duration,
    /// How often metrics go to stream clients.
    pub stream_interval: Duration,
    /// Most stream clients at a time.
    pub stream_max_clients: usize,
}

/// What other features know and the overview shows. All of it may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OverviewExtras {
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
    /// The id of the workflow.
    pub workflow_id: String,
    /// The id of the run.
    pub run_id: String,
    /// The state of the run.
    pub state: String,
    /// The step that the run is at; `null` when it is at none.
    pub step: Option<String>,
}

/// Whether the bot runs what botops has committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigSync {
    /// `in_sync`, `trial`, `pending_restart`, `drifted`, `bot_offline` or `unknown`.
    pub status: String,
    /// Why `status` is what it is, in one sentence.
    pub reason: String,
}
