//! Routes that read health.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::events::Event;
use botops_contract::Severity;
use botops_core::error::{Code, Error};
use botops_http::{FeatureRoute, Path, Query, RenderedDocument, accepts, json, parse_wait, routes};

use super::wait::{ComponentWaitQuery, until_alerts_change};

use crate::health::alerts::{AlertState, AlertView, ReceiverView};
use crate::health::handle::{AlertFilter, Health, HealthEventFilter, TransitionFilter};
use crate::health::history::{AvailabilityView, ChartWindow, ObjectiveView, SeriesView, TransitionView};
use crate::health::model::HealthStatus;
use crate::health::render::{
    ComponentView, CurrentHealthView, HealthDashboardView, HealthSnapshot, HealthStatisticsView,
    HealthStatusView, MetricView, MetricsSummaryView, MonitoringView, RecoveryView,
};

/// How long an answer counts as fresh: answers change at most this often.
const FRESH: Duration = Duration::from_secs(1);

const HEALTH_JSON: &str = "application/health+json";

pub(crate) fn routes() -> Vec<FeatureRoute<Health>> {
    vec![
        routes!(get_health_status),
        routes!(get_health_current),
        routes!(get_health_statistics),
        routes!(get_health_dashboard),
        routes!(list_health_components),
        routes!(get_health_component.refuses(ComponentUnknown, StoreUnavailable)),
        routes!(get_health_component_metrics.refuses(ComponentUnknown, StoreUnavailable)),
        routes!(list_health_history.refuses(StoreUnavailable)),
        routes!(list_health_events.refuses(StoreUnavailable)),
        routes!(list_health_alerts),
        routes!(get_health_metrics_summary),
        routes!(get_health_monitoring),
        routes!(get_health_availability.refuses(StoreUnavailable)),
        routes!(get_health_slo.refuses(StoreUnavailable)),
        routes!(list_health_recovery),
        routes!(get_health_recovery.refuses(ComponentUnknown)),
    ]
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
struct HealthListView<T> {
    /// The items that matched.
    items: Vec<T>,
    /// The cursor of the next page; `null` at the end.
    next: Option<i64>,
    /// How many matches lie beyond this page, where they are counted; otherwise 0.
    omitted: usize,
}

/// A page of alerts, with the receivers of their notices.
#[derive(Debug, Serialize, ToSchema)]
struct AlertListView {
    /// The alerts that matched.
    items: Vec<AlertView>,
    /// Always `null`: there are no further pages.
    next: Option<i64>,
    /// How many matches lie beyond this page.
    omitted: usize,
    /// The receivers, with what each took and refused since botops started.
    receivers: Vec<ReceiverView>,
}

/// The span of a chart.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct SeriesQuery {
    /// How far back: `30m`, `6h`, `7d`, at most `730d`. With it the answer has `series`.
    #[param(example = "24h")]
    window: Option<String>,
    /// Points per line, 2 to 1000; 120 when absent.
    points: Option<i64>,
    /// The only metric to return. Every component has `status_level` (0 HEALTHY to 3 DOWN) and `check_latency`.
    metric: Option<String>,
}

/// Which changes of status to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct HealthHistoryQuery {
    /// How many hours back; 24 when absent, at most 2160.
    hours: Option<f64>,
    /// The only component to return, or `system`.
    component_id: Option<String>,
    /// `next` of the page before: only older changes are returned.
    after: Option<i64>,
    /// Items at most, 1 to 1000; 100 when absent.
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, 1000>")]
    limit: Option<i64>,
}

/// Which events to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct HealthEventsQuery {
    /// How many hours back; 24 when absent, at most 2160.
    hours: Option<f64>,
    /// The only component to return.
    component_id: Option<String>,
    /// Events of this severity and of more urgent ones.
    severity: Option<Severity>,
    /// Items at most, 1 to 1000; 100 when absent.
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, 1000>")]
    limit: Option<usize>,
}

/// Which alerts to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct AlertsQuery {
    /// Alerts in this state: `pending`, `firing` or `resolved`.
    state: Option<AlertState>,
    /// The only component to return.
    component_id: Option<String>,
    /// Alerts of this severity and of more urgent ones.
    severity: Option<Severity>,
    /// Items at most, 1 to 500; 100 when absent.
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, 500>")]
    limit: Option<usize>,
    /// Wait this long until one of them begins, ends or changes its state: `30s`, `5m` or bare seconds, at most 5 minutes.
    #[param(example = "30s")]
    wait: Option<String>,
}

/// Which component to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ComponentQuery {
    /// The only component to return, or `system`; all when absent.
    component_id: Option<String>,
}

/// A component's metrics, now and over time.
#[derive(Debug, Serialize, ToSchema)]
struct ComponentMetricsPage {
    /// The component the metrics belong to.
    component_id: String,
    /// Its confirmed status.
    status: HealthStatus,
    /// The last value of each metric.
    metrics: Vec<MetricView>,
    /// When its last check ended; `null` before the first one.
    last_check: Option<DateTime<Utc>>,
    /// Its metrics over time; absent unless `window` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Vec<SeriesView>>,
}

/// Answers with the document and its age; in the short form with 503 when the status is `fail`, for load balancers.
fn respond_with_age(snapshot: &HealthSnapshot, document: &RenderedDocument, headers: &HeaderMap) -> Response {
    let mut response = if accepts(headers, HEALTH_JSON) {
        let mut response = snapshot.short.respond(headers, FRESH);
        let is_bad = !matches!(snapshot.current_status, HealthStatus::Healthy | HealthStatus::Warning);
        if is_bad && response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    } else {
        document.respond(headers, FRESH)
    };
    response.headers_mut().insert(header::AGE, HeaderValue::from(snapshot.made.elapsed().as_secs()));
    response
}

/// Health of the system and of every component
///
/// The latest **confirmed** status of each component with its metrics. `current` is the system's answer alone. Neither
/// runs a check: checks run on their own schedule, `POST check` runs them now. With `Accept: application/health+json`
/// a short form whose HTTP status a load balancer understands: 200 for pass and warn, 503 for fail.
#[utoipa::path(get, path = "/api/v1/health/status", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "What is known", content(
        (HealthStatusView = "application/json"), (Object = "application/health+json"))),
        (status = 503, description = "The short form says `fail`", content_type = "application/health+json")))]
async fn get_health_status(State(health): State<Health>, headers: HeaderMap) -> Response {
    let snapshot = health.snapshot();
    respond_with_age(&snapshot, &snapshot.status, &headers)
}

/// Health of the system alone
///
/// The system's status as last rendered: what decides it, counts, and one line for each component that is not
/// HEALTHY.
#[utoipa::path(get, path = "/api/v1/health/current", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "What is known", content(
        (CurrentHealthView = "application/json"), (Object = "application/health+json"))),
        (status = 503, description = "The short form says `fail`", content_type = "application/health+json")))]
async fn get_health_current(State(health): State<Health>, headers: HeaderMap) -> Response {
    let snapshot = health.snapshot();
    respond_with_age(&snapshot, &snapshot.current, &headers)
}

/// Health in numbers
#[utoipa::path(get, path = "/api/v1/health/statistics", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "The numbers", body = HealthStatisticsView)))]
async fn get_health_statistics(State(health): State<Health>, headers: HeaderMap) -> Response {
    health.snapshot().statistics.respond(&headers, FRESH)
}

/// Everything a dashboard shows
///
/// With `window` also `series`, ready to draw: `check_latency` of every component unless `metric` names another.
#[utoipa::path(get, path = "/api/v1/health/dashboard", tag = "health", security(("api_key" = ["read"])),
    params(SeriesQuery),
    responses((status = 200, description = "The dashboard", body = HealthDashboardView)))]
async fn get_health_dashboard(
    State(health): State<Health>,
    Query(query): Query<SeriesQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let document = health.snapshot().dashboard.clone();
    let Some(window) = &query.window else { return Ok(document.respond(&headers, FRESH)) };
    let metric = query.metric.clone().unwrap_or_else(|| "check_latency".to_owned());
    let series = health.chart(metric, parse_chart(window, query.points)?).await?;
    // Both parts are rendered already, so the list is appended as the object's last member.
    let object = document.bytes().strip_suffix(b"}").ok_or_else(|| Error::new(Code::Internal))?;
    let whole = [object, b",\"series\":", &series, b"}"].concat();
    Ok(RenderedDocument::new(whole, "application/json").respond(&headers, FRESH))
}

/// Components that are watched
#[utoipa::path(get, path = "/api/v1/health/components", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "All of them, in short", content_type = "application/json",
        body = Object, example = json!({"items": [{"component_id": "bot", "component_type": "BOT", "status": "HEALTHY",
            "criticality": "required", "reason": null, "last_check": "2026-01-05T10:00:00Z", "built_in": true}],
            "next": null, "omitted": 0}))))]
async fn list_health_components(State(health): State<Health>, headers: HeaderMap) -> Response {
    health.snapshot().components.respond(&headers, FRESH)
}

/// One component
///
/// With `wait` and `until=up` the call returns as soon as it works again.
#[utoipa::path(get, path = "/api/v1/health/components/{id}", tag = "health", security(("api_key" = ["read"])),
    params(("id" = String, Path, description = "The component", example = "bot"), ComponentWaitQuery),
    responses((status = 200, description = "The component", body = ComponentView)))]
async fn get_health_component(
    State(health): State<Health>,
    Path(id): Path<String>,
    Query(query): Query<ComponentWaitQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let component = query.component(&health, &id).await?;
    Ok(RenderedDocument::of_json(&component)?.respond(&headers, FRESH))
}

/// A component's metrics, now and over time
#[utoipa::path(get, path = "/api/v1/health/components/{id}/metrics", tag = "health",
    security(("api_key" = ["read"])),
    params(("id" = String, Path, description = "The component", example = "bot"), SeriesQuery),
    responses((status = 200, description = "The metrics", body = ComponentMetricsPage)))]
async fn get_health_component_metrics(
    State(health): State<Health>,
    Path(id): Path<String>,
    Query(query): Query<SeriesQuery>,
) -> Result<Response, Error> {
    let component = health.component(&id)?;
    let mut metrics = component.metrics;
    if let Some(name) = &query.metric {
        metrics.retain(|metric| metric.name == *name);
    }
    let series = match &query.window {
        Some(window) => {
            Some(health.series(id, query.metric.clone(), parse_chart(window, query.points)?).await?)
        }
        None => None,
    };
    Ok(json(&ComponentMetricsPage {
        component_id: component.component_id,
        status: component.status,
        metrics,
        last_check: component.last_check,
        series,
    }))
}

/// The window of a chart and the number of points, checked.
fn parse_chart(window: &str, points: Option<i64>) -> Result<ChartWindow, Error> {
    let window_ms = parse_window(window).ok_or_else(|| {
        let got = botops_core::text::clean(window, 40);
        Error::new(Code::ArgumentInvalid).field("?window", got, "a time such as 30m, 6h or 7d, at most 730d")
    })?;
    let points = points.unwrap_or(120);
    if !(2..=1_000).contains(&points) {
        return Err(Error::new(Code::ArgumentInvalid).field("?points", points, "2 to 1000"));
    }
    Ok(ChartWindow { window_ms, points })
}

/// Parses `30m`, `6h` or `7d` into milliseconds.
fn parse_window(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let window = number.parse::<i64>().ok()?.checked_mul(unit)?;
    (60_000..=730 * 86_400_000).contains(&window).then_some(window)
}

/// The largest number of items: 1 to `most`, 100 when absent.
fn parse_limit<N>(limit: Option<N>, most: usize) -> Result<usize, Error>
where
    N: Copy + TryInto<usize> + Into<serde_json::Value>,
{
    let Some(asked) = limit else { return Ok(100) };
    asked.try_into().ok().filter(|limit| (1..=most).contains(limit)).ok_or_else(|| {
        Error::new(Code::ArgumentInvalid).field("?limit", asked, format!("a whole number from 1 to {most}"))
    })
}

/// Hours back, checked and converted to milliseconds.
fn parse_hours(hours: Option<f64>) -> Result<i64, Error> {
    let hours = hours.unwrap_or(24.0);
    if !(hours.is_finite() && hours > 0.0 && hours <= 2_160.0) {
        let got = if hours.is_finite() { json!(hours) } else { json!(null) };
        return Err(Error::new(Code::ArgumentInvalid).field("?hours", got, "more than 0, at most 2160"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 2160 hours")]
    let back_ms = (hours * 3_600_000.0) as i64;
    Ok(back_ms)
}

/// Changes of status, newest first
#[utoipa::path(get, path = "/api/v1/health/history", tag = "health", security(("api_key" = ["read"])),
    params(HealthHistoryQuery),
    responses((status = 200, description = "The changes", body = HealthListView<TransitionView>)))]
async fn list_health_history(
    State(health): State<Health>,
    Query(query): Query<HealthHistoryQuery>,
) -> Result<Response, Error> {
    let back_ms = parse_hours(query.hours)?;
    let limit = parse_limit(query.limit, 1_000)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (component, before) = (query.component_id, query.after);
    let filter = TransitionFilter { component, before, back_ms, limit: limit + 1 };
    let mut items = health.transitions(filter).await?;
    let has_more = i64::try_from(items.len()).unwrap_or(0) > limit;
    if has_more {
        items.pop();
    }
    let next = if has_more { items.last().map(|item| item.seq) } else { None };
    Ok(json(&HealthListView { items, next, omitted: usize::from(has_more) }))
}

/// Events of health, newest first
///
/// The newest ones the journal holds in memory; `GET /api/v1/events?kind=health&after=` reads on from a number.
#[utoipa::path(get, path = "/api/v1/health/events", tag = "health", security(("api_key" = ["read"])),
    params(HealthEventsQuery),
    responses((status = 200, description = "The events", body = HealthListView<Event>)))]
async fn list_health_events(
    State(health): State<Health>,
    Query(query): Query<HealthEventsQuery>,
) -> Result<Response, Error> {
    let (items, omitted) = health.events(&HealthEventFilter {
        back_ms: parse_hours(query.hours)?,
        limit: parse_limit(query.limit, 1_000)?,
        component: query.component_id,
        severity: query.severity,
    });
    Ok(json(&json!({"items": items, "next": null, "omitted": omitted})))
}

/// Alerts: open ones first, then what was resolved, newest first
#[utoipa::path(get, path = "/api/v1/health/alerts", tag = "health", security(("api_key" = ["read"])),
    params(AlertsQuery),
    responses((status = 200, description = "The alerts", body = AlertListView)))]
async fn list_health_alerts(
    State(health): State<Health>,
    Query(query): Query<AlertsQuery>,
) -> Result<Response, Error> {
    let filter = AlertFilter {
        state: query.state,
        component: query.component_id,
        severity: query.severity,
        limit: parse_limit(query.limit, 500)?,
    };
    if let Some(wait) = query.wait.as_deref().map(parse_wait).transpose()? {
        until_alerts_change(&health, &filter, wait).await;
    }
    let (items, omitted) = health.alerts(&filter);
    Ok(json(&AlertListView { items, next: None, omitted, receivers: health.receivers() }))
}

/// All metrics in numbers
#[utoipa::path(get, path = "/api/v1/health/metrics/summary", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "The numbers", body = MetricsSummaryView)))]
async fn get_health_metrics_summary(State(health): State<Health>, headers: HeaderMap) -> Response {
    health.snapshot().metrics_summary.respond(&headers, FRESH)
}

/// How monitoring itself works, and everything that can be set
#[utoipa::path(get, path = "/api/v1/health/monitoring/status", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "The monitoring", body = MonitoringView)))]
async fn get_health_monitoring(State(health): State<Health>, headers: HeaderMap) -> Response {
    health.snapshot().monitoring.respond(&headers, FRESH)
}

/// Availability, coverage and latencies by window
///
/// From transitions, exact to the millisecond. HEALTHY and WARNING are up. What is not known is neither up nor down.
#[utoipa::path(get, path = "/api/v1/health/availability", tag = "health", security(("api_key" = ["read"])),
    params(ComponentQuery),
    responses((status = 200, description = "By component", body = HealthListView<AvailabilityView>)))]
async fn get_health_availability(
    State(health): State<Health>,
    Query(query): Query<ComponentQuery>,
) -> Result<Response, Error> {
    let items = health.availability(query.component_id).await?;
    Ok(json(&HealthListView { items, next: None, omitted: 0 }))
}

/// Objectives and how fast their error budgets burn
///
/// Burns are judged over two windows at once and need two separate outages, so one blip never counts.
#[utoipa::path(get, path = "/api/v1/health/slo", tag = "health", security(("api_key" = ["read"])),
    params(ComponentQuery),
    responses((status = 200, description = "By component", body = HealthListView<ObjectiveView>)))]
async fn get_health_slo(
    State(health): State<Health>,
    Query(query): Query<ComponentQuery>,
) -> Result<Response, Error> {
    let items = health.objectives(query.component_id).await?;
    Ok(json(&HealthListView { items, next: None, omitted: 0 }))
}

/// Recovery of every component
#[utoipa::path(get, path = "/api/v1/health/recovery", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "By component", body = HealthListView<RecoveryView>)))]
async fn list_health_recovery(State(health): State<Health>) -> Response {
    let snapshot = health.snapshot();
    let items: Vec<RecoveryView> = snapshot.recovery.values().cloned().collect();
    json(&HealthListView { items, next: None, omitted: 0 })
}

/// Recovery of one component
#[utoipa::path(get, path = "/api/v1/health/recovery/{component}", tag = "health", security(("api_key" = ["read"])),
    params(("component" = String, Path, description = "The component", example = "bot")),
    responses((status = 200, description = "How it stands", body = RecoveryView)))]
async fn get_health_recovery(
    State(health): State<Health>,
    Path(component): Path<String>,
) -> Result<Response, Error> {
    Ok(json(&health.recovery(&component)?))
}
