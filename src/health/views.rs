//! What readers see: the wire types of health, and everything rendered once per change as a [`Snapshot`].

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::aggregate::{Counts, Criticality};
use super::alerts::{Alert, AlertState, Change, Notice, Overlay};
use super::checks::Outcome;
use super::component::{Component, MEMORY, Metric};
use super::engine::Engine;
use super::recovery::Recovering;
use super::slo::add_up;
use super::spec::MonitoringConfig;
use super::status::{Direction, Level, Now, Status};
use crate::contract::{EventKind, Severity};
use crate::error::Error;
use crate::events::{Event, NewEvent};
use crate::web::Document;

/// Metrics shown per component on the dashboard.
const KEY_METRICS: usize = 3;

/// Events shown on the dashboard.
const RECENT: usize = 10;

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

/// Everything rendered, at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub status: Document,
    pub current: Document,
    pub current_status: Status,
    pub short: Document,
    pub statistics: Document,
    pub dashboard: Document,
    pub components: Document,
    pub metrics_summary: Document,
    pub monitoring: Document,
    pub by_id: BTreeMap<String, ComponentView>,
    pub recovery: BTreeMap<String, RecoveryView>,
    pub alerts: Vec<AlertView>,
    pub summary: Arc<HealthSummary>,
    pub made: std::time::Instant,
}

/// What the engine does not know itself.
pub(super) struct Beside {
    pub recent_events: Vec<Arc<Event>>,
    pub makes_progress: bool,
}

impl Snapshot {
    pub(super) fn render(engine: &Engine, beside: Beside, now: Now) -> Result<Self, Error> {
        let status = status_view(engine, now);
        let alerts = alerts(engine);
        let firing: Vec<AlertView> =
            alerts.iter().filter(|alert| alert.state == AlertState::Firing).cloned().collect();
        let statistics = statistics(engine, &status, &beside.recent_events, now);
        let current = current_view(&status);
        let short = json!({
            "status": short_status(status.overall_status),
            "version": "1",
            "releaseId": env!("CARGO_PKG_VERSION"),
            "serviceId": "botops",
            "output": status.caused_by.join(", "),
            "checks": health_json_checks(&status),
        });
        let monitoring = MonitoringView {
            monitoring_active: engine.config.enable_monitoring,
            check_interval: engine.config.check_interval,
            components: engine.components.len(),
            checks_run: statistics.checks_run,
            checks_skipped: statistics.checks_skipped,
            checks_in_flight: engine.components.values().filter(|component| component.in_flight).count(),
            makes_progress: beside.makes_progress,
            receivers: engine.receivers.clone(),
            config: engine.config.clone(),
            timestamp: time(now.wall),
        };
        let dashboard = DashboardView {
            overall_status: status.overall_status,
            caused_by: status.caused_by.clone(),
            components: dashboard_components(engine, &status, now),
            recent_events: beside.recent_events.into_iter().take(RECENT).collect(),
            firing_alerts: firing.iter().take(50).cloned().collect(),
            monitoring_active: engine.config.enable_monitoring,
            timestamp: time(now.wall),
            statistics: statistics.clone(),
        };
        let whole = engine.whole.as_ref();
        let summary = HealthSummary {
            status: status.overall_status,
            reason: status.reason,
            caused_by: status
                .caused_by
                .iter()
                .filter_map(|id| status.components.iter().find(|component| component.component_id == *id))
                .map(|component| (component.component_id.clone(), component.status, component.reason.clone()))
                .collect(),
            counts: whole.map(|whole| whole.counts).unwrap_or_default(),
            firing_alerts: firing.len(),
            since: status.since,
            as_of: time(now.wall),
        };
        let components = json!({
            "items": status.components.iter().map(|component| json!({
                "component_id": component.component_id,
                "component_type": component.component_type,
                "status": component.status,
                "criticality": component.criticality,
                "reason": component.reason,
                "last_check": component.last_check,
                "built_in": component.built_in,
            })).collect::<Vec<_>>(),
            "next": null,
            "omitted": 0,
        });
        let recovery = engine
            .components
            .values()
            .map(|component| (component.spec.id.clone(), recovery_view(component, now)));
        Ok(Self {
            status: Document::of_json(&status)?,
            current: Document::of_json(&current)?,
            current_status: status.overall_status,
            short: Document::new(serde_json::to_vec(&short).unwrap_or_default(), "application/health+json"),
            statistics: Document::of_json(&statistics)?,
            dashboard: Document::of_json(&dashboard)?,
            components: Document::of_json(&components)?,
            metrics_summary: Document::of_json(&metrics_summary(&status))?,
            monitoring: Document::of_json(&monitoring)?,
            recovery: recovery.collect(),
            alerts,
            summary: Arc::new(summary),
            made: std::time::Instant::now(),
            by_id: status
                .components
                .into_iter()
                .map(|component| (component.component_id.clone(), component))
                .collect(),
        })
    }
}

/// The word of `application/health+json`.
fn short_status(status: Status) -> &'static str {
    match status {
        Status::Healthy => "pass",
        Status::Warning => "warn",
        Status::Critical | Status::Down | Status::Unknown => "fail",
    }
}

fn health_json_checks(status: &StatusView) -> serde_json::Value {
    let checks = status.components.iter().map(|component| {
        let check = json!([{
            "componentId": component.component_id,
            "componentType": component.component_type.to_lowercase(),
            "status": short_status(component.status),
            "time": component.last_check,
            "output": component.reason,
        }]);
        (format!("{}:status", component.component_id), check)
    });
    serde_json::Value::Object(checks.collect())
}

fn status_view(engine: &Engine, now: Now) -> StatusView {
    let components: Vec<ComponentView> =
        engine.components.values().map(|component| component_view(component, engine, now)).collect();
    let firing =
        engine.components.values().flat_map(Component::open_alerts).filter(|alert| alert.is_firing()).count();
    let whole = engine.whole.as_ref();
    StatusView {
        overall_status: whole.map_or(Status::Unknown, |whole| whole.status),
        reason: whole.map_or(Some("starting"), |whole| whole.reason),
        caused_by: whole.map(|whole| whole.caused_by.clone()).unwrap_or_default(),
        since: time(engine.whole_since),
        worst_raw_status: whole.map_or(Status::Unknown, |whole| whole.worst_raw),
        counts: whole.map(|whole| whole.counts).unwrap_or_default(),
        components,
        suspended: whole.map(|whole| whole.suspended.clone()).unwrap_or_default(),
        active_silences: engine.active_silences(now),
        firing_alerts: firing,
        monitoring_active: engine.config.enable_monitoring,
        timestamp: time(now.wall),
    }
}

fn current_view(status: &StatusView) -> CurrentView {
    let troubled = status.components.iter().filter(|component| component.status != Status::Healthy);
    CurrentView {
        overall_status: status.overall_status,
        reason: status.reason,
        caused_by: status.caused_by.clone(),
        since: status.since,
        counts: status.counts,
        troubled: troubled
            .map(|component| TroubleView {
                component_id: component.component_id.clone(),
                status: component.status,
                reason: component.reason.clone(),
                since: component.since,
            })
            .collect(),
        firing_alerts: status.firing_alerts,
        monitoring_active: status.monitoring_active,
        timestamp: status.timestamp,
    }
}

fn component_view(component: &Component, engine: &Engine, now: Now) -> ComponentView {
    let standing = component.standing(&engine.config, now);
    let interval = component.spec.interval_ms(&engine.config);
    let why = standing.reason().map(|reason| match component.reason() {
        Some(note) => format!("{reason}: {note}"),
        None => reason.to_owned(),
    });
    ComponentView {
        component_id: component.spec.id.clone(),
        component_type: component.spec.probe.component_type(),
        status: standing.status(),
        raw_status: component.tracker.raw().map_or(Status::Unknown, Status::from),
        reason: why.or_else(|| {
            component.reason().filter(|_| standing.level() != Some(Level::Healthy)).map(str::to_owned)
        }),
        since: time(component.status_since),
        criticality: component.spec.criticality,
        metrics: component.metrics.iter().map(metric_view).collect(),
        last_check: component.last_check.map(time),
        age_seconds: component.last_check.map(|at| seconds(now.wall - at).max(0.0)),
        outcome: component.outcome,
        latency_ms: component.latency_ms.map(tidy),
        uptime_seconds: component.up_since.map_or(0.0, |since| seconds(now.mono - since)),
        error_count: component.errors,
        consecutive_failures: component.errors_in_a_row,
        last_error: component.last_error.clone(),
        recovery_attempts: component.recovery.attempts,
        flapping: component.tracker.is_flapping(),
        suspended: component.in_maintenance || !engine.config.enable_monitoring,
        depends_on: component.spec.depends_on.clone(),
        group: component.spec.group.clone(),
        interval_seconds: seconds(interval),
        next_check_seconds: seconds((component.next_due - now.mono).max(0)),
        skipped: component.skipped,
        built_in: component.spec.built_in,
    }
}

fn metric_view(metric: &Metric) -> MetricView {
    MetricView {
        name: metric.name.to_owned(),
        value: metric.value.is_finite().then(|| tidy(metric.value)),
        unit: metric.unit.to_owned(),
        status: metric.level.map_or(Status::Unknown, Status::from),
        threshold_warning: metric.limits.warning,
        threshold_critical: metric.limits.critical,
        direction: metric.limits.direction,
        timestamp: time(metric.at),
    }
}

pub(super) fn recovery_view(component: &Component, now: Now) -> RecoveryView {
    let recovery = &component.recovery;
    let is_held = recovery.held_by.is_some() && !matches!(recovery.at, Recovering::Running { .. });
    RecoveryView {
        component_id: component.spec.id.clone(),
        state: if is_held { "held".to_owned() } else { recovery.at.as_str().to_owned() },
        handler: component.spec.recovery.as_ref().map(super::spec::Handler::name),
        attempts: recovery.attempts,
        attempts_last_hour: recovery.recent.len(),
        until: recovery.at.ends().map(|mono| time(mono + now.offset())),
        held_by: recovery.held_by.clone(),
        last_outcome: recovery.last_outcome.clone(),
    }
}

fn alerts(engine: &Engine) -> Vec<AlertView> {
    let open = engine.components.values().flat_map(Component::open_alerts).map(alert_view);
    open.chain(engine.resolved.iter().rev().map(alert_view)).collect()
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

fn statistics(engine: &Engine, status: &StatusView, events: &[Arc<Event>], now: Now) -> StatisticsView {
    let spans: Vec<_> = engine.whole_spans.iter().copied().collect();
    let day = add_up(&spans, now.wall - MEMORY, now.wall);
    let recent = time(now.wall - MEMORY);
    let critical = events.iter().filter(|event| event.severity == Severity::Critical && event.at >= recent);
    let counts = status.counts;
    StatisticsView {
        total_components: counts.total,
        healthy_components: counts.healthy,
        warning_components: counts.warning,
        critical_components: counts.critical,
        down_components: counts.down,
        unknown_components: counts.unknown,
        uptime_percentage_24h: day.availability().map(percent),
        coverage_percentage_24h: day.coverage().map(percent),
        recent_critical_events: critical.count(),
        checks_run: engine.components.values().map(|component| component.runs).sum(),
        checks_skipped: engine.components.values().map(|component| component.skipped).sum(),
        last_check: status.components.iter().filter_map(|component| component.last_check).max(),
        timestamp: time(now.wall),
    }
}

fn dashboard_components(engine: &Engine, status: &StatusView, now: Now) -> Vec<DashboardComponentView> {
    let mut views: Vec<DashboardComponentView> = status
        .components
        .iter()
        .map(|component| {
            let mut metrics = component.metrics.clone();
            metrics.sort_by_key(|metric| std::cmp::Reverse(rank(metric.status)));
            metrics.truncate(KEY_METRICS);
            let spans = engine.components.get(&component.component_id).map(|component| &component.spans);
            let spans: Vec<_> = spans.into_iter().flatten().copied().collect();
            let day = add_up(&spans, now.wall - MEMORY, now.wall);
            DashboardComponentView {
                component_id: component.component_id.clone(),
                component_type: component.component_type,
                status: component.status,
                reason: component.reason.clone(),
                key_metrics: metrics,
                last_check: component.last_check,
                uptime_percentage_24h: day.availability().map(percent),
            }
        })
        .collect();
    views.sort_by_key(|view| std::cmp::Reverse(rank(view.status)));
    views
}

fn metrics_summary(status: &StatusView) -> MetricsSummaryView {
    let mut by_status: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut troubled = Vec::new();
    for component in &status.components {
        for metric in &component.metrics {
            *by_status.entry(metric.status.as_str()).or_default() += 1;
            if metric.status != Status::Healthy {
                let component_id = component.component_id.clone();
                troubled.push(TroubledMetricView { component_id, metric: metric.clone() });
            }
        }
    }
    troubled.sort_by_key(|troubled| std::cmp::Reverse(rank(troubled.metric.status)));
    troubled.truncate(50);
    let components = status.components.iter().map(|component| {
        let view =
            ComponentMetricsView { metrics: component.metrics.len(), latency_ms: component.latency_ms };
        (component.component_id.clone(), view)
    });
    MetricsSummaryView {
        total_metrics: by_status.values().sum(),
        by_status,
        troubled,
        components: components.collect(),
        timestamp: status.timestamp,
    }
}

/// Worse is higher; unknown stands between WARNING and CRITICAL.
fn rank(status: Status) -> u8 {
    match status {
        Status::Healthy => 0,
        Status::Warning => 1,
        Status::Unknown => 2,
        Status::Critical => 3,
        Status::Down => 4,
    }
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
