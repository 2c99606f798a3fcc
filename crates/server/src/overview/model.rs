//! What the overview gets from the settings at start, and from other features later.

use std::time::Duration;

use botops_contract::VersionRef;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::warning::Warning;
use botops_core::error::NextAction;

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
    /// Components of the health monitoring that are not HEALTHY, worst first.
    pub not_green: Vec<NotGreen>,
    /// Incidents that go on, newest first, then those that ended within the last hour.
    pub incidents: Vec<IncidentBrief>,
    /// Calls that may end an incident that goes on, ready to be sent once a person decided for it.
    pub incident_actions: Vec<NextAction>,
}

/// A component of the health monitoring that is not HEALTHY.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct NotGreen {
    /// The id of the component.
    pub component_id: String,
    /// `WARNING`, `CRITICAL` or `DOWN`.
    pub status: String,
    /// Since when it has this status (UTC).
    pub since: DateTime<Utc>,
    /// Why, in one sentence; `null` where nothing is said.
    pub reason: Option<String>,
    /// The metric that is beyond its limit; left out where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beyond_limit: Option<BeyondLimit>,
    /// The alert that fires about it; left out where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_id: Option<String>,
    /// What recovery does about it: `waiting`, `running`, `verifying`, `exhausted` or `held`; left out where it does
    /// nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<String>,
}

/// A metric that is beyond its limit.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BeyondLimit {
    /// The metric.
    pub metric: String,
    /// Its last value.
    pub value: f64,
    /// The limit that it is beyond.
    pub limit: f64,
    /// The unit of both.
    pub unit: String,
}

/// An incident in short; `GET incidents/{incident_id}` has its timeline.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct IncidentBrief {
    /// The id of the incident.
    pub incident_id: String,
    /// `open`, `quiet` (it works again for less than two minutes) or `over`.
    pub state: &'static str,
    /// When it began (UTC).
    pub began_at: DateTime<Utc>,
    /// When everything worked again (UTC); left out while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// What began it, in one sentence.
    pub cause: String,
    /// What was tried last, by whom, and how that ended; left out where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<String>,
    /// `nobody`, `recovery` or `person`.
    pub who_must_act: &'static str,
    /// What a person must do; left out where nobody must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person_must: Option<String>,
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
