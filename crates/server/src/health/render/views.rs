//! What readers see: the wire types of health, and what features above are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::events::Event;
use crate::health::alerts::AlertView;
use crate::health::checks::CheckOutcome;
use crate::health::model::{Criticality, HealthStatus, ThresholdDirection};
use crate::health::status::{MonitoringConfig, StatusCounts};

/// A metric's last value.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MetricView {
    /// Its name.
    pub(crate) name: String,
    /// What was measured; `null` when it was no number.
    pub(crate) value: Option<f64>,
    /// In what.
    pub(crate) unit: String,
    /// How that is.
    pub(crate) status: HealthStatus,
    /// From here on WARNING.
    pub(crate) threshold_warning: Option<f64>,
    /// From here on CRITICAL.
    pub(crate) threshold_critical: Option<f64>,
    /// Which way is worse.
    pub(crate) direction: ThresholdDirection,
    /// When it was measured.
    pub(crate) timestamp: DateTime<Utc>,
}

/// Recovery of one component.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct RecoveryView {
    /// The component.
    pub(crate) component_id: String,
    /// `idle`, `waiting`, `running`, `verifying`, `exhausted`; `held` while an operator holds it.
    pub(crate) state: String,
    /// What runs: `workflow:<id>` or `checkpoint_store`; `null`: nothing recovers this component.
    pub(crate) handler: Option<String>,
    /// Attempts in this incident, of at most 3.
    pub(crate) attempts: u32,
    /// Attempts in the last hour, of at most 5.
    pub(crate) attempts_last_hour: usize,
    /// When the state ends by itself.
    pub(crate) until: Option<DateTime<Utc>>,
    /// Who holds it.
    pub(crate) held_by: Option<String>,
    /// What the last attempt came to.
    pub(crate) last_outcome: Option<String>,
    /// Why botops does not act by itself, and what a person must do; `null` while it may act, or nothing is wrong.
    pub(crate) left_to_person: Option<String>,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ComponentView {
    /// Its id.
    pub(crate) component_id: String,
    /// `STORE`, `DATABASE`, `API_SERVER`, `SYSTEM_RESOURCES`, `EXTERNAL_API`, `BOT`, `BROKER_SESSION`, `CONFIG_SYNC`, …
    pub(crate) component_type: &'static str,
    /// Confirmed status.
    pub(crate) status: HealthStatus,
    /// What the last sample alone said.
    pub(crate) raw_status: HealthStatus,
    /// Why it is not HEALTHY.
    pub(crate) reason: Option<String>,
    /// Since when it has this status.
    pub(crate) since: DateTime<Utc>,
    /// How far its trouble reaches.
    pub(crate) criticality: Criticality,
    /// Its metrics.
    pub(crate) metrics: Vec<MetricView>,
    /// When it was last looked at.
    pub(crate) last_check: Option<DateTime<Utc>>,
    /// Seconds since then, when this was written.
    pub(crate) age_seconds: Option<f64>,
    /// What the probe came to.
    pub(crate) outcome: Option<CheckOutcome>,
    /// How long it took.
    pub(crate) latency_ms: Option<f64>,
    /// Seconds it has been HEALTHY or WARNING without a break.
    pub(crate) uptime_seconds: f64,
    /// Checks that were not HEALTHY since botops started.
    pub(crate) error_count: u64,
    /// The same without a break.
    pub(crate) consecutive_failures: u32,
    /// What was wrong last.
    pub(crate) last_error: Option<String>,
    /// Attempts to recover it in this incident.
    pub(crate) recovery_attempts: u32,
    /// Changes too often to be believed.
    pub(crate) flapping: bool,
    /// Left out of the whole: in maintenance, or monitoring is stopped.
    pub(crate) suspended: bool,
    /// What it needs.
    pub(crate) depends_on: Vec<String>,
    /// Its redundancy group.
    pub(crate) group: Option<String>,
    /// Seconds between its checks.
    pub(crate) interval_seconds: f64,
    /// Seconds until the next one, when this was written.
    pub(crate) next_check_seconds: f64,
    /// Checks left out because one was still running.
    pub(crate) skipped: u64,
    /// Part of botops: cannot be removed.
    pub(crate) built_in: bool,
}

/// The whole with all its components: the latest confirmed status of each.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct HealthStatusView {
    /// The system's status.
    pub(crate) overall_status: HealthStatus,
    /// Why it is UNKNOWN, when it is: `starting`, `no_components`, `all_suspended`, `monitoring_stopped`.
    pub(crate) reason: Option<&'static str>,
    /// The components that decide it, roots of the dependencies first; empty when HEALTHY.
    pub(crate) caused_by: Vec<String>,
    /// Since when.
    pub(crate) since: DateTime<Utc>,
    /// The worst status of any component, before caps.
    pub(crate) worst_raw_status: HealthStatus,
    /// Components by status.
    pub(crate) counts: StatusCounts,
    /// All components.
    pub(crate) components: Vec<ComponentView>,
    /// Components left out of the whole.
    pub(crate) suspended: Vec<String>,
    /// Silences in force.
    pub(crate) active_silences: usize,
    /// Alerts that fire.
    pub(crate) firing_alerts: usize,
    /// Whether checks run.
    pub(crate) monitoring_active: bool,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// The system's answer alone, with one line for each component that is not HEALTHY.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct CurrentHealthView {
    /// The system's status.
    pub(crate) overall_status: HealthStatus,
    /// Why it is UNKNOWN, when it is.
    pub(crate) reason: Option<&'static str>,
    /// The components that decide it.
    pub(crate) caused_by: Vec<String>,
    /// Since when.
    pub(crate) since: DateTime<Utc>,
    /// Components by status.
    pub(crate) counts: StatusCounts,
    /// What is not HEALTHY.
    pub(crate) troubled: Vec<TroubleView>,
    /// Alerts that fire.
    pub(crate) firing_alerts: usize,
    /// Whether checks run.
    pub(crate) monitoring_active: bool,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// A component that is not HEALTHY.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct TroubleView {
    /// Its id.
    pub(crate) component_id: String,
    /// Its status.
    pub(crate) status: HealthStatus,
    /// Why.
    pub(crate) reason: Option<String>,
    /// Since when.
    pub(crate) since: DateTime<Utc>,
}

/// Numbers about the system.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct HealthStatisticsView {
    /// All components.
    pub(crate) total_components: usize,
    /// HEALTHY ones.
    pub(crate) healthy_components: usize,
    /// WARNING ones.
    pub(crate) warning_components: usize,
    /// CRITICAL ones.
    pub(crate) critical_components: usize,
    /// DOWN ones.
    pub(crate) down_components: usize,
    /// UNKNOWN ones.
    pub(crate) unknown_components: usize,
    /// Time the system was HEALTHY or WARNING in the last 24 hours ÷ time its status was known; `null` when it never was.
    pub(crate) uptime_percentage_24h: Option<f64>,
    /// Time its status was known ÷ 24 hours (or since botops first ran).
    pub(crate) coverage_percentage_24h: Option<f64>,
    /// Critical events in memory of the last 24 hours.
    pub(crate) recent_critical_events: usize,
    /// Checks run since start.
    pub(crate) checks_run: u64,
    /// Checks left out because the one before still ran.
    pub(crate) checks_skipped: u64,
    /// When a component was last looked at.
    pub(crate) last_check: Option<DateTime<Utc>>,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// A component on the dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct DashboardComponentView {
    /// Its id.
    pub(crate) component_id: String,
    /// Its type.
    pub(crate) component_type: &'static str,
    /// Its status.
    pub(crate) status: HealthStatus,
    /// Why it is not HEALTHY.
    pub(crate) reason: Option<String>,
    /// Its three most telling metrics: bad ones first.
    pub(crate) key_metrics: Vec<MetricView>,
    /// When it was last looked at.
    pub(crate) last_check: Option<DateTime<Utc>>,
    /// Its availability in the last 24 hours; `null` when nothing is known.
    pub(crate) uptime_percentage_24h: Option<f64>,
}

/// The dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct HealthDashboardView {
    /// The system's status.
    pub(crate) overall_status: HealthStatus,
    /// The components that decide it.
    pub(crate) caused_by: Vec<String>,
    /// Numbers about the system.
    pub(crate) statistics: HealthStatisticsView,
    /// Components, worst first.
    pub(crate) components: Vec<DashboardComponentView>,
    /// The newest events of health, newest first.
    #[schema(value_type = Vec<Event>)]
    pub(crate) recent_events: Vec<Arc<Event>>,
    /// Alerts that fire.
    pub(crate) firing_alerts: Vec<AlertView>,
    /// Whether checks run.
    pub(crate) monitoring_active: bool,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// Numbers over all metrics.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MetricsSummaryView {
    /// Metrics measured.
    pub(crate) total_metrics: usize,
    /// By their own status.
    pub(crate) by_status: BTreeMap<&'static str, usize>,
    /// Metrics that are not HEALTHY, worst first; at most 50.
    pub(crate) troubled: Vec<TroubledMetricView>,
    /// By component: how many metrics, and the last latency.
    pub(crate) components: BTreeMap<String, ComponentMetricsView>,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// A metric that is not HEALTHY.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct TroubledMetricView {
    /// Its component.
    pub(crate) component_id: String,
    /// The metric.
    #[serde(flatten)]
    pub(crate) metric: MetricView,
}

/// A component's metrics in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ComponentMetricsView {
    /// How many.
    pub(crate) metrics: usize,
    /// How long its last check took.
    pub(crate) latency_ms: Option<f64>,
}

/// How monitoring itself does.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MonitoringView {
    /// Whether checks run.
    pub(crate) monitoring_active: bool,
    /// Seconds between checks.
    pub(crate) check_interval: f64,
    /// Components watched.
    pub(crate) components: usize,
    /// Checks run since start.
    pub(crate) checks_run: u64,
    /// Checks left out because the one before still ran.
    pub(crate) checks_skipped: u64,
    /// Checks that run now.
    pub(crate) checks_in_flight: usize,
    /// Whether scheduler, writer and notices move on.
    pub(crate) makes_progress: bool,
    /// Who is told of alerts.
    pub(crate) receivers: Vec<String>,
    /// Everything that can be set.
    pub(crate) config: MonitoringConfig,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// The system's health in short, for those inside the process. No I/O is behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthSummary {
    /// The system's status.
    pub status: HealthStatus,
    /// Why it is UNKNOWN, when it is.
    pub reason: Option<&'static str>,
    /// The components that decide it, with their reasons.
    pub caused_by: Vec<(String, HealthStatus, Option<String>)>,
    /// Components by status.
    pub counts: StatusCounts,
    /// Alerts that fire.
    pub firing_alerts: usize,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When this was made.
    pub as_of: DateTime<Utc>,
}

impl HealthSummary {
    /// `healthy`, `degraded` or `offline`, as the bot's state says it. The bot's own presence is judged apart.
    pub fn as_str(&self) -> &'static str {
        match self.status {
            HealthStatus::Healthy => "healthy",
            HealthStatus::Warning | HealthStatus::Critical | HealthStatus::Unknown => "degraded",
            HealthStatus::Down => "offline",
        }
    }
}
