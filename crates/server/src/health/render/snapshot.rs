//! All answers to readers, rendered once per change.
//!
//! Each answer is a finished document; a read clones it. Nothing here reads the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use crate::events::Event;
use botops_contract::Severity;
use botops_core::error::Error;
use botops_http::RenderedDocument;

use super::limits::{LIMIT_RULES, METRIC_LIMITS};
use super::views::{
    ComponentMetricsView, ComponentView, CurrentHealthView, DashboardComponentView, HealthDashboardView,
    HealthPart, HealthStatisticsView, HealthStatusView, HealthSummary, MetricView, MetricsSummaryView,
    MonitoringView, RecoveryView, TroubleView, TroubledMetricView, describe_status,
};
use crate::health::alerts::{AlertState, AlertView, ReceiverView, alert_view};
use crate::health::history::add_up;
use crate::health::memory::HealthMemory;
use crate::health::model::{ClockReading, HealthStatus, RecoveryHandler};
use crate::health::recovery::{ComponentRecovery, PersonMust, RecoveryBook, RecoveryPhase};
use crate::health::status::{MEMORY, MeasuredMetric, MonitoringConfig, StatusEngine, WatchedComponent};
use crate::health::units::{percent, seconds, tidy, time};

/// Metrics shown per component on the dashboard.
const KEY_METRICS: usize = 3;

/// Firing alerts shown on the dashboard.
const DASHBOARD_ALERTS: usize = 50;

/// The components that judge the bot itself.
const OF_THE_BOT: [&str; 3] = ["bot", "trading", "broker_session"];

/// Events shown on the dashboard.
const RECENT: usize = 10;

/// All answers, rendered at one moment.
#[derive(Debug)]
pub(crate) struct HealthSnapshot {
    pub(crate) status: RenderedDocument,
    pub(crate) current: RenderedDocument,
    pub(crate) current_status: HealthStatus,
    pub(crate) short: RenderedDocument,
    pub(crate) statistics: RenderedDocument,
    pub(crate) dashboard: RenderedDocument,
    pub(crate) components: RenderedDocument,
    pub(crate) metrics_summary: RenderedDocument,
    pub(crate) monitoring: RenderedDocument,
    pub(crate) by_id: BTreeMap<String, ComponentView>,
    pub(crate) recovery: BTreeMap<String, RecoveryView>,
    pub(crate) alerts: Vec<AlertView>,
    pub(crate) summary: Arc<HealthSummary>,
    pub(crate) made: std::time::Instant,
}

/// What the answers need beyond the memory of health.
pub(crate) struct SnapshotContext {
    pub(crate) recent_events: Vec<Arc<Event>>,
    pub(crate) makes_progress: bool,
    pub(crate) receivers: Vec<ReceiverView>,
    /// Names of the receivers that did not take their last message.
    pub(crate) failing: BTreeSet<&'static str>,
}

impl HealthSnapshot {
    pub(crate) fn render(
        memory: &HealthMemory,
        context: SnapshotContext,
        now: ClockReading,
    ) -> Result<Self, Error> {
        let status = status_view(memory, now);
        let alerts = alert_views(memory, &context.failing);
        let firing: Vec<AlertView> =
            alerts.iter().filter(|alert| alert.state == AlertState::Firing).cloned().collect();
        let statistics = statistics_view(memory, &status, &context.recent_events, now);
        let monitoring = monitoring_view(memory, &statistics, &context, now);
        let firing_count = firing.len();
        let hindered = memory.recovery.hindered();
        let dashboard =
            dashboard_view(memory, &status, statistics.clone(), firing, context.recent_events, now);
        let components = memory.status.components.values();
        let recovery = components.map(|component| {
            let id = component.spec.id.clone();
            let view = recovery_view(component, &memory.recovery, &memory.status.config, now);
            (id, view)
        });
        let recovery: BTreeMap<String, RecoveryView> = recovery.collect();
        let parts =
            status.components.iter().map(|one| health_part(one, recovery.get(&one.component_id), &alerts));
        let summary = summary_of(&status, firing_count, hindered, parts.collect(), now);
        Ok(Self {
            status: RenderedDocument::of_json(&status)?,
            current: RenderedDocument::of_json(&current_view(&status))?,
            current_status: status.overall_status,
            short: short_document(&status),
            statistics: RenderedDocument::of_json(&statistics)?,
            dashboard: RenderedDocument::of_json(&dashboard)?,
            components: RenderedDocument::of_json(&component_list(&status))?,
            metrics_summary: RenderedDocument::of_json(&metrics_summary(&status))?,
            monitoring: RenderedDocument::of_json(&monitoring)?,
            recovery,
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

fn monitoring_view(
    memory: &HealthMemory,
    statistics: &HealthStatisticsView,
    context: &SnapshotContext,
    now: ClockReading,
) -> MonitoringView {
    let StatusEngine { config, components, .. } = &memory.status;
    MonitoringView {
        monitoring_active: config.enable_monitoring,
        check_interval: config.check_interval,
        components: components.len(),
        checks_run: statistics.checks_run,
        checks_skipped: statistics.checks_skipped,
        checks_in_flight: components.values().filter(|component| component.in_flight).count(),
        makes_progress: context.makes_progress,
        receivers: memory.alerts.receivers.clone(),
        receiver_states: context.receivers.clone(),
        metric_limits: METRIC_LIMITS.as_slice(),
        rules: LIMIT_RULES.as_slice(),
        config: config.clone(),
        timestamp: time(now.wall),
    }
}

fn dashboard_view(
    memory: &HealthMemory,
    status: &HealthStatusView,
    statistics: HealthStatisticsView,
    mut firing_alerts: Vec<AlertView>,
    recent_events: Vec<Arc<Event>>,
    now: ClockReading,
) -> HealthDashboardView {
    firing_alerts.truncate(DASHBOARD_ALERTS);
    HealthDashboardView {
        overall_status: status.overall_status,
        caused_by: status.caused_by.clone(),
        components: dashboard_components(memory, status, now),
        recent_events: recent_events.into_iter().take(RECENT).collect(),
        firing_alerts,
        monitoring_active: status.monitoring_active,
        timestamp: time(now.wall),
        statistics,
    }
}

fn summary_of(
    status: &HealthStatusView,
    firing_alerts: usize,
    hindered_recoveries: Vec<PersonMust>,
    parts: Vec<HealthPart>,
    now: ClockReading,
) -> HealthSummary {
    let by_id = |id: &String| status.components.iter().find(|component| component.component_id == *id);
    let cause = |one: &ComponentView| (one.component_id.clone(), one.status, one.reason.clone());
    HealthSummary {
        status: status.overall_status,
        reason: status.reason,
        caused_by: status.caused_by.iter().filter_map(by_id).map(cause).collect(),
        counts: status.counts,
        firing_alerts,
        hindered_recoveries,
        bot_trouble: bot_trouble(status),
        parts,
        since: status.since,
        as_of: time(now.wall),
    }
}

/// One component, for features above.
fn health_part(
    component: &ComponentView,
    recovery: Option<&RecoveryView>,
    alerts: &[AlertView],
) -> HealthPart {
    let id = &component.component_id;
    let about_it = |alert: &&AlertView| alert.state == AlertState::Firing && alert.component_id == *id;
    let alert = alerts.iter().filter(about_it).max_by_key(|alert| alert.severity);
    HealthPart {
        component_id: id.clone(),
        status: component.status,
        reason: component.reason.clone(),
        since: component.since,
        suspended: component.suspended,
        beyond_limit: component.beyond_limit.clone(),
        alert_id: alert.map(|alert| alert.alert_id.clone()),
        recovery_handler: recovery.and_then(|recovery| recovery.handler.clone()),
        recovery_state: recovery.map(|recovery| recovery.state.clone()).unwrap_or_default(),
        left_to_person: recovery.and_then(|recovery| recovery.left_to_person.clone()),
        next_actions: recovery.map(|recovery| recovery.next_actions.clone()).unwrap_or_default(),
    }
}

/// The first component of the bot itself that is CRITICAL or DOWN.
fn bot_trouble(status: &HealthStatusView) -> Option<String> {
    let of_bot =
        OF_THE_BOT.iter().filter_map(|id| status.components.iter().find(|one| one.component_id == *id));
    let bad = |one: &&ComponentView| matches!(one.status, HealthStatus::Critical | HealthStatus::Down);
    let found = of_bot.into_iter().find(bad)?;
    Some(describe_status(&found.component_id, found.status, found.reason.as_deref()))
}

/// The short form of the answer, `application/health+json`.
fn short_document(status: &HealthStatusView) -> RenderedDocument {
    let short = json!({
        "status": short_status(status.overall_status),
        "version": "1",
        "releaseId": env!("CARGO_PKG_VERSION"),
        "serviceId": "botops",
        "output": status.caused_by.join(", "),
        "checks": short_checks(status),
    });
    RenderedDocument::new(serde_json::to_vec(&short).unwrap_or_default(), "application/health+json")
}

fn component_list(status: &HealthStatusView) -> serde_json::Value {
    let short = |component: &ComponentView| {
        json!({
            "component_id": component.component_id,
            "component_type": component.component_type,
            "status": component.status,
            "criticality": component.criticality,
            "reason": component.reason,
            "last_check": component.last_check,
            "built_in": component.built_in,
        })
    };
    let items: Vec<_> = status.components.iter().map(short).collect();
    json!({"items": items, "next": null, "omitted": 0})
}

/// A status as `application/health+json` names it.
fn short_status(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Healthy => "pass",
        HealthStatus::Warning => "warn",
        HealthStatus::Critical | HealthStatus::Down | HealthStatus::Unknown => "fail",
    }
}

fn short_checks(status: &HealthStatusView) -> serde_json::Value {
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

fn status_view(memory: &HealthMemory, now: ClockReading) -> HealthStatusView {
    let engine = &memory.status;
    let components = engine.components.values().map(|component| component_view(component, memory, now));
    let system = engine.system.as_ref();
    HealthStatusView {
        overall_status: system.map_or(HealthStatus::Unknown, |system| system.status),
        reason: system.map_or(Some("starting"), |system| system.reason),
        caused_by: system.map(|system| system.caused_by.clone()).unwrap_or_default(),
        since: time(engine.system_since),
        worst_raw_status: system.map_or(HealthStatus::Unknown, |system| system.worst_raw),
        counts: system.map(|system| system.counts).unwrap_or_default(),
        components: components.collect(),
        suspended: system.map(|system| system.suspended.clone()).unwrap_or_default(),
        active_silences: memory.alerts.active_silences(now),
        firing_alerts: memory.alerts.open_alerts().filter(|alert| alert.is_firing()).count(),
        monitoring_active: engine.config.enable_monitoring,
        clock_step: engine.clock_step.and_then(|step| step.view(now)),
        timestamp: time(now.wall),
    }
}

fn current_view(status: &HealthStatusView) -> CurrentHealthView {
    let troubled = status.components.iter().filter(|component| component.status != HealthStatus::Healthy);
    CurrentHealthView {
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
        clock_step: status.clock_step.clone(),
        timestamp: status.timestamp,
    }
}

fn component_view(component: &WatchedComponent, memory: &HealthMemory, now: ClockReading) -> ComponentView {
    let config = &memory.status.config;
    let confirmed = component.confirmed_status(config, now);
    let recovery = memory.recovery.of(&component.spec.id);
    let reason = match (confirmed.reason(), component.reason_of(confirmed)) {
        (Some(unknown), Some(note)) => Some(format!("{unknown}: {note}")),
        (unknown, note) => unknown.or(note).map(str::to_owned),
    };
    let wait = component.current_wait(now);
    ComponentView {
        until_met: None,
        component_id: component.spec.id.clone(),
        component_type: component.spec.check.component_type(),
        status: confirmed.status(),
        raw_status: component.tracker.raw().map_or(HealthStatus::Unknown, HealthStatus::from),
        reason,
        beyond_limit: component
            .beyond_limit(confirmed)
            .map(|beyond| (beyond.metric.clone(), beyond.value, beyond.limit, beyond.unit.clone())),
        raw_reason: component.note.clone(),
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
        recovery_attempts: recovery.map_or(0, |recovery| recovery.machine.attempts),
        flapping: component.tracker.is_flapping(),
        suspended: component.in_maintenance || !config.enable_monitoring,
        depends_on: component.spec.depends_on.clone(),
        group: component.spec.group.clone(),
        interval_seconds: seconds(component.spec.interval_ms(config)),
        next_check_seconds: seconds((component.due_at() - now.mono).max(0)),
        waits_until: wait.map(|wait| time(wait.until + now.offset())),
        waits_because: wait.map(|wait| wait.cause.as_str()),
        skipped: component.skipped,
        built_in: component.spec.built_in,
    }
}

fn metric_view(metric: &MeasuredMetric) -> MetricView {
    MetricView {
        name: metric.name.to_owned(),
        value: metric.value.is_finite().then(|| tidy(metric.value)),
        unit: metric.unit.to_owned(),
        status: metric.level.map_or(HealthStatus::Unknown, HealthStatus::from),
        threshold_warning: metric.limits.warning,
        threshold_critical: metric.limits.critical,
        direction: metric.limits.direction,
        timestamp: time(metric.at),
    }
}

/// The state of a component's recovery.
pub(crate) fn recovery_view(
    component: &WatchedComponent,
    book: &RecoveryBook,
    config: &MonitoringConfig,
    now: ClockReading,
) -> RecoveryView {
    let nothing = ComponentRecovery::default();
    let recovery = book.of(&component.spec.id).unwrap_or(&nothing);
    let ComponentRecovery { machine, left_to_person, next_actions, .. } = recovery;
    let is_bad = machine.bad_since.is_some();
    let is_held = machine.held_by.is_some() && !matches!(machine.at, RecoveryPhase::Running { .. });
    RecoveryView {
        component_id: component.spec.id.clone(),
        state: if is_held { "held".to_owned() } else { machine.at.as_str().to_owned() },
        handler: component.spec.recovery.as_ref().map(RecoveryHandler::name),
        attempts: machine.attempts,
        attempts_last_hour: machine.recent.len(),
        until: machine.at.ends().map(|mono| time(mono + now.offset())),
        held_by: machine.held_by.clone(),
        last_outcome: machine.last_outcome.clone(),
        left_to_person: left_to_person.as_ref().filter(|_| is_bad).map(ToString::to_string),
        next_actions: if is_bad { next_actions.clone() } else { Vec::new() },
        if_it_failed_now: book.outlook(component, config),
    }
}

/// Open alerts, then ended ones, the newest first.
fn alert_views(memory: &HealthMemory, failing: &BTreeSet<&'static str>) -> Vec<AlertView> {
    let all = memory.alerts.open_alerts().chain(memory.alerts.resolved_alerts());
    all.map(|alert| alert_view(alert, failing)).collect()
}

fn statistics_view(
    memory: &HealthMemory,
    status: &HealthStatusView,
    events: &[Arc<Event>],
    now: ClockReading,
) -> HealthStatisticsView {
    let engine = &memory.status;
    let spans: Vec<_> = engine.system_spans.iter().copied().collect();
    let day = add_up(&spans, now.wall - MEMORY, now.wall);
    let recent = time(now.wall - MEMORY);
    let critical = events.iter().filter(|event| event.severity == Severity::Critical && event.at >= recent);
    let counts = status.counts;
    HealthStatisticsView {
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

fn dashboard_components(
    memory: &HealthMemory,
    status: &HealthStatusView,
    now: ClockReading,
) -> Vec<DashboardComponentView> {
    let mut views: Vec<DashboardComponentView> = status
        .components
        .iter()
        .map(|component| {
            let mut metrics = component.metrics.clone();
            metrics.sort_by_key(|metric| std::cmp::Reverse(rank(metric.status)));
            metrics.truncate(KEY_METRICS);
            let spans =
                memory.status.components.get(&component.component_id).map(|component| &component.spans);
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

fn metrics_summary(status: &HealthStatusView) -> MetricsSummaryView {
    let mut by_status: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut troubled = Vec::new();
    for component in &status.components {
        for metric in &component.metrics {
            *by_status.entry(metric.status.as_str()).or_default() += 1;
            if metric.status != HealthStatus::Healthy {
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

/// Sorts statuses by badness: worse is higher, and UNKNOWN lies between WARNING and CRITICAL.
fn rank(status: HealthStatus) -> u8 {
    match status {
        HealthStatus::Healthy => 0,
        HealthStatus::Warning => 1,
        HealthStatus::Unknown => 2,
        HealthStatus::Critical => 3,
        HealthStatus::Down => 4,
    }
}
