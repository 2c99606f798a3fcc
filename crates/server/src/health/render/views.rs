//! The wire types of health, and the summary for features above.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::events::Event;
use crate::health::alerts::{AlertView, ReceiverView};
use crate::health::checks::{CheckOutcome, MetricLimitView};
use crate::health::limit_rules::LimitRuleView;
use crate::health::model::{Criticality, HealthStatus, ThresholdDirection};
use crate::health::recovery::PersonMust;
use crate::health::status::{ClockStepView, MonitoringConfig, StatusCounts};
use botops_core::error::NextAction;

/// A metric's last value.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MetricView {
    /// The metric's name, unique within the component.
    pub(crate) name: String,
    /// The measured value; `null` when it was NaN or infinite.
    pub(crate) value: Option<f64>,
    /// The unit of the value and of the limits.
    pub(crate) unit: String,
    /// The metric's own status, from its limits.
    pub(crate) status: HealthStatus,
    /// From this value on the metric is WARNING; `null` when there is no such limit.
    pub(crate) threshold_warning: Option<f64>,
    /// From this value on the metric is CRITICAL; `null` when there is no such limit.
    pub(crate) threshold_critical: Option<f64>,
    /// Whether higher or lower values are worse.
    pub(crate) direction: ThresholdDirection,
    /// When it was measured.
    pub(crate) timestamp: DateTime<Utc>,
}

/// Recovery of one component.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct RecoveryView {
    /// The component that is recovered.
    pub(crate) component_id: String,
    /// `idle`, `waiting`, `running`, `verifying`, `exhausted`; `held` while an operator holds it.
    pub(crate) state: String,
    /// What recovers it: `workflow:<id>` or `checkpoint_store`; `null` when nothing does.
    pub(crate) handler: Option<String>,
    /// Attempts in this incident, of at most 3.
    pub(crate) attempts: u32,
    /// Attempts in the last hour, of at most 5.
    pub(crate) attempts_last_hour: usize,
    /// When the state ends without an event, such as the start of the next attempt; `null` when it has no such end.
    pub(crate) until: Option<DateTime<Utc>>,
    /// Who holds recovery, so that no automatic attempt starts; `null` when nobody does.
    pub(crate) held_by: Option<String>,
    /// How the last attempt ended; `null` before the first one.
    pub(crate) last_outcome: Option<String>,
    /// Why botops does not act by itself, and what a person must do; `null` while it may act, or nothing is wrong.
    pub(crate) left_to_person: Option<String>,
    /// Calls with which a person does it, ready to be sent; left out where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) next_actions: Vec<NextAction>,
    /// What would be done if it failed now: who starts it again, when and how often, or why nobody does.
    pub(crate) if_it_failed_now: String,
}

/// A component with its status, metrics and schedule.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ComponentView {
    /// The id, unique within the system.
    pub(crate) component_id: String,
    /// Whether what `wait` waited for came about; left out without `wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until_met: Option<bool>,
    /// The kind of component: `STORE`, `DATABASE`, `API_SERVER`, `SYSTEM_RESOURCES`, `EXTERNAL_API`, `BOT`,
    /// `BROKER_SESSION`, `CONFIG_SYNC`, …
    pub(crate) component_type: &'static str,
    /// The confirmed status: changes only after enough samples agree.
    pub(crate) status: HealthStatus,
    /// The status of the last sample alone.
    pub(crate) raw_status: HealthStatus,
    /// Why its confirmed status is not HEALTHY, in one sentence: the reason of the samples that decided it; `null` when it
    /// is HEALTHY.
    pub(crate) reason: Option<String>,
    /// The metric that `reason` speaks of, for the summary: name, value, limit and unit.
    #[serde(skip)]
    pub(crate) beyond_limit: Option<(String, f64, f64, String)>,
    /// Why the last sample alone is not HEALTHY; `null` when it is.
    pub(crate) raw_reason: Option<String>,
    /// When the confirmed status began.
    pub(crate) since: DateTime<Utc>,
    /// How much its status counts for the system's status.
    pub(crate) criticality: Criticality,
    /// The last value of each metric.
    pub(crate) metrics: Vec<MetricView>,
    /// When its last check ended; `null` before the first one.
    pub(crate) last_check: Option<DateTime<Utc>>,
    /// Seconds from `last_check` until this was written.
    pub(crate) age_seconds: Option<f64>,
    /// How the exchange with the target ended in the last check.
    pub(crate) outcome: Option<CheckOutcome>,
    /// How long the last check took, in milliseconds.
    pub(crate) latency_ms: Option<f64>,
    /// Seconds for which it has been HEALTHY or WARNING without a break; 0 while it is not.
    pub(crate) uptime_seconds: f64,
    /// Checks that were not HEALTHY since botops started.
    pub(crate) error_count: u64,
    /// How many of the latest checks in a row were not HEALTHY.
    pub(crate) consecutive_failures: u32,
    /// What was wrong at the last check that was not HEALTHY; kept while it works again.
    pub(crate) last_error: Option<String>,
    /// Attempts to recover it in the present incident.
    pub(crate) recovery_attempts: u32,
    /// Whether it changes too often to be trusted; its status may then rise but not fall.
    pub(crate) flapping: bool,
    /// Whether it is left out of the system's status: in maintenance, or monitoring is stopped.
    pub(crate) suspended: bool,
    /// Ids of the components it needs.
    pub(crate) depends_on: Vec<String>,
    /// The redundancy group it belongs to; `null` for none.
    pub(crate) group: Option<String>,
    /// Seconds between its checks.
    pub(crate) interval_seconds: f64,
    /// Seconds from when this was written until the next check.
    pub(crate) next_check_seconds: f64,
    /// No check is made before this, not on demand either, because the target answered 429 or 503; `null` when it does
    /// not ask to wait.
    pub(crate) waits_until: Option<DateTime<Utc>>,
    /// `retry_after` when the target named the time, `back_off` when it named none and the waits double; `null` when no
    /// wait is in force.
    pub(crate) waits_because: Option<&'static str>,
    /// Checks left out since botops started, because the one before was still running.
    pub(crate) skipped: u64,
    /// Whether it is a part of botops, which cannot be removed.
    pub(crate) built_in: bool,
}

/// The system's status with all its components.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct HealthStatusView {
    /// The system's confirmed status.
    pub(crate) overall_status: HealthStatus,
    /// Why it is UNKNOWN, when it is: `starting`, `no_components`, `all_suspended`, `monitoring_stopped`.
    pub(crate) reason: Option<&'static str>,
    /// Ids of the components that decide it, those that others depend on first; empty when HEALTHY.
    pub(crate) caused_by: Vec<String>,
    /// When the system's status began.
    pub(crate) since: DateTime<Utc>,
    /// The worst confirmed status of any component, before criticality limits its influence.
    pub(crate) worst_raw_status: HealthStatus,
    /// How many components have each status.
    pub(crate) counts: StatusCounts,
    /// All components, with the latest confirmed status of each.
    pub(crate) components: Vec<ComponentView>,
    /// Ids of components left out of the system's status.
    pub(crate) suspended: Vec<String>,
    /// How many silences are in force.
    pub(crate) active_silences: usize,
    /// How many alerts fire.
    pub(crate) firing_alerts: usize,
    /// Whether checks run; an operator can stop them.
    pub(crate) monitoring_active: bool,
    /// The newest step of the wall clock that was seen while botops ran, for a day; `null` when there was none.
    pub(crate) clock_step: Option<ClockStepView>,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// The system's status alone, with one line for each component that is not HEALTHY.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct CurrentHealthView {
    /// The system's confirmed status.
    pub(crate) overall_status: HealthStatus,
    /// Why it is UNKNOWN: `starting`, `no_components`, `all_suspended` or `monitoring_stopped`; otherwise `null`.
    pub(crate) reason: Option<&'static str>,
    /// Ids of the components that decide it, those that others depend on first; empty when HEALTHY.
    pub(crate) caused_by: Vec<String>,
    /// When the system's status began.
    pub(crate) since: DateTime<Utc>,
    /// How many components have each status.
    pub(crate) counts: StatusCounts,
    /// The components that are not HEALTHY.
    pub(crate) troubled: Vec<TroubleView>,
    /// How many alerts fire.
    pub(crate) firing_alerts: usize,
    /// Whether checks run; an operator can stop them.
    pub(crate) monitoring_active: bool,
    /// The newest step of the wall clock that was seen while botops ran, for a day; `null` when there was none.
    pub(crate) clock_step: Option<ClockStepView>,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// A component that is not HEALTHY, in one line.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct TroubleView {
    /// The id of the component.
    pub(crate) component_id: String,
    /// Its confirmed status.
    pub(crate) status: HealthStatus,
    /// Why it is not HEALTHY, in one sentence.
    pub(crate) reason: Option<String>,
    /// When its confirmed status began.
    pub(crate) since: DateTime<Utc>,
}

/// The system in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct HealthStatisticsView {
    /// How many components are watched.
    pub(crate) total_components: usize,
    /// How many of them are HEALTHY.
    pub(crate) healthy_components: usize,
    /// How many of them are WARNING.
    pub(crate) warning_components: usize,
    /// How many of them are CRITICAL.
    pub(crate) critical_components: usize,
    /// How many of them are DOWN.
    pub(crate) down_components: usize,
    /// How many of them are UNKNOWN.
    pub(crate) unknown_components: usize,
    /// Time the system was HEALTHY or WARNING in the last 24 hours ÷ time its status was known, in per cent; `null`
    /// when it never was.
    pub(crate) uptime_percentage_24h: Option<f64>,
    /// Time the system's status was known ÷ 24 hours (or the time since botops first ran), in per cent.
    pub(crate) coverage_percentage_24h: Option<f64>,
    /// Critical events of the last 24 hours, as far as they are held in memory.
    pub(crate) recent_critical_events: usize,
    /// Checks run since botops started.
    pub(crate) checks_run: u64,
    /// Checks left out since botops started, because the one before was still running.
    pub(crate) checks_skipped: u64,
    /// When the last check of any component ended; `null` before the first one.
    pub(crate) last_check: Option<DateTime<Utc>>,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// A component on the dashboard, with its most important metrics.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct DashboardComponentView {
    /// The id of the component.
    pub(crate) component_id: String,
    /// The kind of component.
    pub(crate) component_type: &'static str,
    /// Its confirmed status.
    pub(crate) status: HealthStatus,
    /// Why it is not HEALTHY, in one sentence; `null` when it is.
    pub(crate) reason: Option<String>,
    /// Up to three metrics, the worst first.
    pub(crate) key_metrics: Vec<MetricView>,
    /// When its last check ended; `null` before the first one.
    pub(crate) last_check: Option<DateTime<Utc>>,
    /// Its availability in the last 24 hours, in per cent; `null` when nothing is known.
    pub(crate) uptime_percentage_24h: Option<f64>,
}

/// Everything a dashboard shows, in one answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct HealthDashboardView {
    /// The system's confirmed status.
    pub(crate) overall_status: HealthStatus,
    /// Ids of the components that decide it, those that others depend on first; empty when HEALTHY.
    pub(crate) caused_by: Vec<String>,
    /// The system in numbers.
    pub(crate) statistics: HealthStatisticsView,
    /// The components, worst first.
    pub(crate) components: Vec<DashboardComponentView>,
    /// The latest events of health, newest first.
    #[schema(value_type = Vec<Event>)]
    pub(crate) recent_events: Vec<Arc<Event>>,
    /// The alerts that fire; at most 50.
    pub(crate) firing_alerts: Vec<AlertView>,
    /// Whether checks run; an operator can stop them.
    pub(crate) monitoring_active: bool,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// The metrics of all components in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MetricsSummaryView {
    /// How many metrics are measured.
    pub(crate) total_metrics: usize,
    /// How many metrics have each status.
    pub(crate) by_status: BTreeMap<&'static str, usize>,
    /// Metrics that are not HEALTHY, worst first; at most 50.
    pub(crate) troubled: Vec<TroubledMetricView>,
    /// The number of metrics and the last latency of each component, by id.
    pub(crate) components: BTreeMap<String, ComponentMetricsView>,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// A metric that is not HEALTHY, with its component.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct TroubledMetricView {
    /// The component the metric belongs to.
    pub(crate) component_id: String,
    /// The last value of the metric.
    #[serde(flatten)]
    pub(crate) metric: MetricView,
}

/// The metrics of one component in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ComponentMetricsView {
    /// How many metrics the component has.
    pub(crate) metrics: usize,
    /// How long its last check took, in milliseconds; `null` before the first one.
    pub(crate) latency_ms: Option<f64>,
}

/// The state of monitoring itself.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MonitoringView {
    /// Whether checks run; an operator can stop them.
    pub(crate) monitoring_active: bool,
    /// The usual number of seconds between two checks of a component.
    pub(crate) check_interval: f64,
    /// How many components are watched.
    pub(crate) components: usize,
    /// Checks run since botops started.
    pub(crate) checks_run: u64,
    /// Checks left out since botops started, because the one before was still running.
    pub(crate) checks_skipped: u64,
    /// How many checks run now.
    pub(crate) checks_in_flight: usize,
    /// Whether scheduler, writer and delivery have made progress lately.
    pub(crate) makes_progress: bool,
    /// The receivers that are notified of alerts.
    pub(crate) receivers: Vec<String>,
    /// What each receiver took and refused since botops started; Alertmanager is among them when it is set.
    pub(crate) receiver_states: Vec<ReceiverView>,
    /// The limits by which metrics are judged; `thresholds` of an added checker replace its own.
    #[schema(value_type = Vec<MetricLimitView>)]
    pub(crate) metric_limits: &'static [MetricLimitView],
    /// The other limits that decide something and cannot be set; those that can be set are in `config`.
    #[schema(value_type = Vec<LimitRuleView>)]
    pub(crate) rules: &'static [LimitRuleView],
    /// All settings of monitoring, as `PUT monitoring/config` takes them.
    pub(crate) config: MonitoringConfig,
    /// When this was written.
    pub(crate) timestamp: DateTime<Utc>,
}

/// The system's health in short, for other features of the process. Reading it does no I/O.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthSummary {
    /// The system's confirmed status.
    pub status: HealthStatus,
    /// Why it is UNKNOWN; `None` when it is not.
    pub reason: Option<&'static str>,
    /// The components that decide it: id, status and reason.
    pub caused_by: Vec<(String, HealthStatus, Option<String>)>,
    /// How many components have each status.
    pub counts: StatusCounts,
    /// How many alerts fire.
    pub firing_alerts: usize,
    /// What a person must do about components whose recovery is known not to run, or has made all its attempts.
    pub hindered_recoveries: Vec<PersonMust>,
    /// The first component of the bot itself that is CRITICAL or DOWN, with status and reason; `None` while none is.
    pub bot_trouble: Option<String>,
    /// Every component, in the order of the ids.
    pub parts: Vec<HealthPart>,
    /// When the system's status began.
    pub since: DateTime<Utc>,
    /// When this was rendered.
    pub as_of: DateTime<Utc>,
}

/// One component, for features above.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthPart {
    /// The id of the component.
    pub component_id: String,
    /// Its confirmed status.
    pub status: HealthStatus,
    /// Why it is not HEALTHY, in one sentence.
    pub reason: Option<String>,
    /// When its confirmed status began.
    pub since: DateTime<Utc>,
    /// Whether it is left out of the system's status.
    pub suspended: bool,
    /// The metric that `reason` speaks of, with the value that it had then: name, value, limit and unit.
    pub beyond_limit: Option<(String, f64, f64, String)>,
    /// The alert that fires about it.
    pub alert_id: Option<String>,
    /// What recovers it: `workflow:<id>` or `checkpoint_store`; `None` when nothing does.
    pub recovery_handler: Option<String>,
    /// `idle`, `waiting`, `running`, `verifying`, `exhausted` or `held`.
    pub recovery_state: String,
    /// Why botops does not act by itself, and what a person must do.
    pub left_to_person: Option<String>,
    /// Calls with which a person does it.
    pub next_actions: Vec<NextAction>,
}

/// A component with its status and reason, as a part of a sentence.
pub(super) fn describe_status(id: &str, status: HealthStatus, reason: Option<&str>) -> String {
    let why = reason.map(|why| format!(" ({})", why.trim().trim_end_matches('.')));
    format!("{id} is {}{}", status.as_str(), why.unwrap_or_default())
}

impl HealthSummary {
    /// The components that decide it, the first ones with status and reason; `None` while it is healthy.
    pub fn describe_causes(&self) -> Option<String> {
        if self.status == HealthStatus::Healthy {
            return None;
        }
        // Those that come first are the roots; two fit the summary.
        let (named, more) = self.caused_by.split_at(self.caused_by.len().min(2));
        let named = named.iter().map(|(id, status, reason)| describe_status(id, *status, reason.as_deref()));
        let mut said: Vec<String> = named.chain(self.reason.map(str::to_owned)).collect();
        let more = more.len();
        said.extend((more > 0).then(|| format!("{more} more in GET /api/v1/health/status")));
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// `healthy`, `degraded` or `offline`, for the bot's state. The bot's own presence is shown separately there.
    pub fn as_str(&self) -> &'static str {
        match self.status {
            HealthStatus::Healthy => "healthy",
            HealthStatus::Warning | HealthStatus::Critical | HealthStatus::Unknown => "degraded",
            HealthStatus::Down => "offline",
        }
    }
}
