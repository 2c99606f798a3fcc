//! What readers see: the wire types of health, and the words and units they share.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::aggregate::{Counts, Criticality};
use super::alerts::{Alert, AlertState, Change, Notice, Overlay};
use super::checks::Outcome;

use super::spec::MonitoringConfig;
use super::status::{Direction, Level, Status};
use botops_contract::{EventKind, Severity};

use crate::events::{Event, NewEvent};

/// A metric's last value.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MetricView {
    /// Its name.
    pub name: String,
    /// What was measured; `null` when it was no number.
    pub value: Option<f64>,
    /// In what.
    pub unit: String,
    /// How that is.
    pub status: Status,
    /// From here on WARNING.
    pub threshold_warning: Option<f64>,
    /// From here on CRITICAL.
    pub threshold_critical: Option<f64>,
    /// Which way is worse.
    pub direction: Direction,
    /// When it was measured.
    pub timestamp: DateTime<Utc>,
}

/// Recovery of one component.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RecoveryView {
    /// The component.
    pub component_id: String,
    /// `idle`, `waiting`, `running`, `verifying`, `exhausted`; `held` while an operator holds it.
    pub state: String,
    /// What runs: `workflow:<id>` or `checkpoint_store`; `null`: nothing mends this component.
    pub handler: Option<String>,
    /// Attempts in this incident, of at most 3.
    pub attempts: u32,
    /// Attempts in the last hour, of at most 5.
    pub attempts_last_hour: usize,
    /// When the state ends by itself.
    pub until: Option<DateTime<Utc>>,
    /// Who holds it.
    pub held_by: Option<String>,
    /// What the last attempt came to.
    pub last_outcome: Option<String>,
    /// Why botops does not act by itself, and what a person must do; `null` while it may act, or nothing is wrong.
    pub left_to_person: Option<String>,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ComponentView {
    /// Its id.
    pub component_id: String,
    /// `STORE`, `DATABASE`, `API_SERVER`, `SYSTEM_RESOURCES`, `EXTERNAL_API`, `BOT`, `BROKER_SESSION`, `CONFIG_SYNC`, …
    pub component_type: &'static str,
    /// Confirmed status.
    pub status: Status,
    /// What the last sample alone said.
    pub raw_status: Status,
    /// Why it is not HEALTHY.
    pub reason: Option<String>,
    /// Since when it has this status.
    pub since: DateTime<Utc>,
    /// How far its trouble reaches.
    pub criticality: Criticality,
    /// Its metrics.
    pub metrics: Vec<MetricView>,
    /// When it was last looked at.
    pub last_check: Option<DateTime<Utc>>,
    /// Seconds since then, when this was written.
    pub age_seconds: Option<f64>,
    /// What the probe came to.
    pub outcome: Option<Outcome>,
    /// How long it took.
    pub latency_ms: Option<f64>,
    /// Seconds it has been HEALTHY or WARNING without a break.
    pub uptime_seconds: f64,
    /// Checks that were not HEALTHY since botops started.
    pub error_count: u64,
    /// The same without a break.
    pub consecutive_failures: u32,
    /// What was wrong last.
    pub last_error: Option<String>,
    /// Attempts to mend it in this incident.
    pub recovery_attempts: u32,
    /// Changes too often to be believed.
    pub flapping: bool,
    /// Left out of the whole: in maintenance, or monitoring is stopped.
    pub suspended: bool,
    /// What it needs.
    pub depends_on: Vec<String>,
    /// Its redundancy group.
    pub group: Option<String>,
    /// Seconds between its checks.
    pub interval_seconds: f64,
    /// Seconds until the next one, when this was written.
    pub next_check_seconds: f64,
    /// Checks left out because one was still running.
    pub skipped: u64,
    /// Part of botops: cannot be removed.
    pub built_in: bool,
}

/// The whole with all its components: the latest confirmed status of each.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StatusView {
    /// The system's status.
    pub overall_status: Status,
    /// Why it is UNKNOWN, when it is: `starting`, `no_components`, `all_suspended`, `monitoring_stopped`.
    pub reason: Option<&'static str>,
    /// The components that decide it, roots of the dependencies first; empty when HEALTHY.
    pub caused_by: Vec<String>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The worst status of any component, before caps.
    pub worst_raw_status: Status,
    /// Components by status.
    pub counts: Counts,
    /// All components.
    pub components: Vec<ComponentView>,
    /// Components left out of the whole.
    pub suspended: Vec<String>,
    /// Silences in force.
    pub active_silences: usize,
    /// Alerts that fire.
    pub firing_alerts: usize,
    /// Whether checks run.
    pub monitoring_active: bool,
    /// When this was written.
    pub timestamp: DateTime<Utc>,
}

/// The system's answer alone, with one line for each component that is not HEALTHY.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CurrentView {
    /// The system's status.
    pub overall_status: Status,
    /// Why it is UNKNOWN, when it is.
    pub reason: Option<&'static str>,
    /// The components that decide it.
    pub caused_by: Vec<String>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Components by status.
    pub counts: Counts,
    /// What is not HEALTHY.
    pub troubled: Vec<TroubleView>,
    /// Alerts that fire.
    pub firing_alerts: usize,
    /// Whether checks run.
    pub monitoring_active: bool,
    /// When this was written.
    pub timestamp: DateTime<Utc>,
}

/// A component that is not HEALTHY.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TroubleView {
    /// Its id.
    pub component_id: String,
    /// Its status.
    pub status: Status,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// Numbers about the system.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StatisticsView {
    /// All components.
    pub total_components: usize,
    /// HEALTHY ones.
    pub healthy_components: usize,
    /// WARNING ones.
    pub warning_components: usize,
    /// CRITICAL ones.
    pub critical_components: usize,
    /// DOWN ones.
    pub down_components: usize,
    /// UNKNOWN ones.
    pub unknown_components: usize,
    /// Time the system was HEALTHY or WARNING in the last 24 hours ÷ time its status was known; `null` when it never was.
    pub uptime_percentage_24h: Option<f64>,
    /// Time its status was known ÷ 24 hours (or since botops first ran).
    pub coverage_percentage_24h: Option<f64>,
    /// Critical events in memory of the last 24 hours.
    pub recent_critical_events: usize,
    /// Checks run since start.
    pub checks_run: u64,
    /// Checks left out because the one before still ran.
    pub checks_skipped: u64,
    /// When a component was last looked at.
    pub last_check: Option<DateTime<Utc>>,
    /// When this was written.
    pub timestamp: DateTime<Utc>,
}

/// A component on the dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DashboardComponentView {
    /// Its id.
    pub component_id: String,
    /// Its type.
    pub component_type: &'static str,
    /// Its status.
    pub status: Status,
    /// Why it is not HEALTHY.
    pub reason: Option<String>,
    /// Its three most telling metrics: bad ones first.
    pub key_metrics: Vec<MetricView>,
    /// When it was last looked at.
    pub last_check: Option<DateTime<Utc>>,
    /// Its availability in the last 24 hours; `null` when nothing is known.
    pub uptime_percentage_24h: Option<f64>,
}

/// The dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DashboardView {
    /// The system's status.
    pub overall_status: Status,
    /// The components that decide it.
    pub caused_by: Vec<String>,
    /// Numbers about the system.
    pub statistics: StatisticsView,
    /// Components, worst first.
    pub components: Vec<DashboardComponentView>,
    /// The newest events of health, newest first.
    #[schema(value_type = Vec<Event>)]
    pub recent_events: Vec<Arc<Event>>,
    /// Alerts that fire.
    pub firing_alerts: Vec<AlertView>,
    /// Whether checks run.
    pub monitoring_active: bool,
    /// When this was written.
    pub timestamp: DateTime<Utc>,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlertView {
    /// Its id.
    pub alert_id: String,
    /// Hash of its labels: the same for each alert about the same thing.
    pub fingerprint: String,
    /// What identifies it.
    pub labels: BTreeMap<String, String>,
    /// The component.
    pub component_id: String,
    /// `pending`, `firing` or `resolved`.
    pub state: AlertState,
    /// How much attention it wants.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub summary: String,
    /// Since when the condition holds.
    pub starts_at: DateTime<Utc>,
    /// When it ended.
    pub ends_at: Option<DateTime<Utc>>,
    /// `cleared` or `removed`.
    pub end_reason: Option<String>,
    /// The condition cannot be told at the moment.
    pub stale: bool,
    /// What holds notices back now.
    pub overlays: Vec<Overlay>,
    /// Receivers that were told, and will be told of the end.
    pub notified: Vec<String>,
    /// Who took note of it.
    pub acknowledged_by: Option<String>,
    /// When.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// With which words.
    pub acknowledgement: Option<String>,
    /// The alert before this one about the same thing.
    pub previous: Option<String>,
}

/// Numbers over all metrics.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MetricsSummaryView {
    /// Metrics measured.
    pub total_metrics: usize,
    /// By their own status.
    pub by_status: BTreeMap<&'static str, usize>,
    /// Metrics that are not HEALTHY, worst first; at most 50.
    pub troubled: Vec<TroubledMetricView>,
    /// By component: how many metrics, and the last latency.
    pub components: BTreeMap<String, ComponentMetricsView>,
    /// When this was written.
    pub timestamp: DateTime<Utc>,
}

/// A metric that is not HEALTHY.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TroubledMetricView {
    /// Its component.
    pub component_id: String,
    /// The metric.
    #[serde(flatten)]
    pub metric: MetricView,
}

/// A component's metrics in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ComponentMetricsView {
    /// How many.
    pub metrics: usize,
    /// How long its last check took.
    pub latency_ms: Option<f64>,
}

/// How monitoring itself does.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MonitoringView {
    /// Whether checks run.
    pub monitoring_active: bool,
    /// Seconds between checks.
    pub check_interval: f64,
    /// Components watched.
    pub components: usize,
    /// Checks run since start.
    pub checks_run: u64,
    /// Checks left out because the one before still ran.
    pub checks_skipped: u64,
    /// Checks that run now.
    pub checks_in_flight: usize,
    /// Whether scheduler, writer and notices move on.
    pub makes_progress: bool,
    /// Who is told of alerts.
    pub receivers: Vec<String>,
    /// Everything that can be set.
    pub config: MonitoringConfig,
    /// When this was written.
    pub timestamp: DateTime<Utc>,
}

/// The system's health in short, for those inside the process. No I/O is behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthSummary {
    /// The system's status.
    pub status: Status,
    /// Why it is UNKNOWN, when it is.
    pub reason: Option<&'static str>,
    /// The components that decide it, with their reasons.
    pub caused_by: Vec<(String, Status, Option<String>)>,
    /// Components by status.
    pub counts: Counts,
    /// Alerts that fire.
    pub firing_alerts: usize,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When this was made.
    pub as_of: DateTime<Utc>,
}

impl HealthSummary {
    /// `healthy`, `degraded` or `offline`, as the bot's state says it. The bot's own presence is judged apart.
    pub fn word(&self) -> &'static str {
        match self.status {
            Status::Healthy => "healthy",
            Status::Warning | Status::Critical | Status::Unknown => "degraded",
            Status::Down => "offline",
        }
    }
}

/// An alert as readers see it.
pub(super) fn alert_view(alert: &Alert) -> AlertView {
    AlertView {
        alert_id: alert.id.clone(),
        fingerprint: alert.fingerprint.clone(),
        labels: alert.labels.clone(),
        component_id: alert.labels.get("component").cloned().unwrap_or_default(),
        state: alert.state,
        severity: severity(alert.level),
        summary: alert.summary.clone(),
        starts_at: time(alert.starts_at),
        ends_at: alert.ends_at.map(time),
        end_reason: alert.end_reason.clone(),
        stale: alert.is_stale,
        overlays: alert.overlays.clone(),
        notified: alert.told_to.clone(),
        acknowledged_by: alert.acked_by.clone(),
        acknowledged_at: alert.acked_at.map(time),
        acknowledgement: alert.ack_note.clone(),
        previous: alert.previous.clone(),
    }
}

/// What a receiver is sent about one alert.
pub(super) fn notice_body(alert: &Alert, notice: Notice) -> serde_json::Value {
    let mut body = serde_json::to_value(alert_view(alert)).unwrap_or_default();
    let status = if notice == Notice::Resolved { "resolved" } else { "firing" };
    body["status"] = json!(status);
    body["notice"] = json!(notice);
    body["held_seconds"] = json!(seconds(alert.held_ms));
    body
}

/// The event a change of an alert is worth, if it is.
pub(super) fn alert_event(alert: &Alert, change: Change) -> Option<NewEvent> {
    let (kind, words) = match change {
        Change::Fired => ("alert.firing", "fires"),
        Change::Resolved => ("alert.resolved", "is resolved"),
        Change::Notice(Notice::Rise) => ("alert.rise", "got worse"),
        Change::Pending | Change::Cancelled | Change::Notice(_) | Change::Touched => return None,
    };
    let name = alert.labels.get("alertname").map_or("an alert", String::as_str);
    let severity = if change == Change::Resolved { Severity::Low } else { severity(alert.level) };
    let message = format!("{name} {words}: {}", alert.summary);
    let data = json!({"event_type": kind, "component_id": alert.labels.get("component"), "alert_id": alert.id,
        "fingerprint": alert.fingerprint, "overlays": alert.overlays});
    Some(NewEvent::own(EventKind::Health, severity, message, data))
}

/// How much attention a level wants.
pub(super) fn severity(level: Level) -> Severity {
    match level {
        Level::Healthy => Severity::Low,
        Level::Warning => Severity::Medium,
        Level::Critical => Severity::High,
        Level::Down => Severity::Critical,
    }
}

/// A severity's name on the wire.
pub(super) fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// The level of a status that is known.
pub(super) fn level_of(status: Status) -> Option<Level> {
    Level::ALL.into_iter().find(|level| Status::from(*level) == status)
}

/// Wall milliseconds as a time.
pub(super) fn time(wall: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(wall).unwrap_or_default()
}

/// Milliseconds as seconds.
pub(super) fn seconds(milliseconds: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few years are exact")]
    let seconds = milliseconds as f64 / 1000.0;
    seconds
}

/// A ratio as per cent with four digits.
pub(super) fn percent(ratio: f64) -> f64 {
    (ratio * 1_000_000.0).round() / 10_000.0
}

/// Three digits after the point are enough for a reader.
pub(super) fn tidy(value: f64) -> f64 {
    if value.abs() < 1e9 { (value * 1000.0).round() / 1000.0 } else { value }
}
