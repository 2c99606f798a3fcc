//! Everything that readers are answered with, rendered once per change.
//!
//! Each answer is a finished document; a read clones it. Deliberately absent: anything that reads the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::alerts::AlertState;
use super::component::{Component, MEMORY, Metric};
use super::engine::Engine;
use super::recovery::Recovering;
use super::slo::add_up;
use super::spec;
use super::status::{Level, Now, Status};
use super::views::{
    AlertView, ComponentMetricsView, ComponentView, CurrentView, DashboardComponentView, DashboardView,
    HealthSummary, MetricView, MetricsSummaryView, MonitoringView, RecoveryView, StatisticsView, StatusView,
    TroubleView, TroubledMetricView, alert_view, percent, seconds, tidy, time,
};
use crate::events::Event;
use botops_contract::Severity;
use botops_core::error::Error;
use botops_http::Document;

/// Metrics shown per component on the dashboard.
const KEY_METRICS: usize = 3;

/// Events shown on the dashboard.
const RECENT: usize = 10;

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
        handler: component.spec.recovery.as_ref().map(spec::Handler::name),
        attempts: recovery.attempts,
        attempts_last_hour: recovery.recent.len(),
        until: recovery.at.ends().map(|mono| time(mono + now.offset())),
        held_by: recovery.held_by.clone(),
        last_outcome: recovery.last_outcome.clone(),
        left_to_person: component.left_to_person.clone().filter(|_| recovery.bad_since.is_some()),
    }
}

fn alerts(engine: &Engine) -> Vec<AlertView> {
    let open = engine.components.values().flat_map(Component::open_alerts).map(alert_view);
    open.chain(engine.resolved.iter().rev().map(alert_view)).collect()
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
