//! What the overview gets from the settings at start, and from other features later.

use std::time::Duration;

use botops_contract::VersionRef;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::warning::Warning;

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
    /// The version that is committed: what a bot runs by its own number is it, where the hash is the same.
    pub committed_config: Option<VersionRef>,
    /// Overall status of the system health checks.
    pub system_health: Option<String>,
    /// The components that decide it, with their reasons; `None` while it is healthy.
    pub system_health_reason: Option<String>,
    /// What health says of the bot itself, where that is CRITICAL or DOWN: the summary says nothing else of it.
    pub bot_trouble: Option<String>,
    /// When the newest closed trade of the record was closed; `None` while none is known.
    pub last_closed_trade: Option<DateTime<Utc>>,
    /// Whether changes cannot be recorded at the moment.
    pub is_not_recording: bool,
    /// The workflow run in progress.
    pub workflow: Option<RunningWorkflow>,
    /// Warnings of other features, worst first.
    pub warnings: Vec<Warning>,
}

impl OverviewExtras {
    /// A version that the bot named, with the number that it has here.
    pub(super) fn numbered(&self, said: &VersionRef) -> VersionRef {
        self.committed_config
            .as_ref()
            .filter(|committed| committed.sha256 == said.sha256)
            .unwrap_or(said)
            .clone()
    }
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
