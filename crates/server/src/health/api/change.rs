//! Routes that change health or make it act.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use botops_core::error::{Code, Error};
use botops_http::{Actor, FeatureRoute, Json, Path, Query, json, json_with_status, routes};

use crate::health::alerts::{AlertView, Silence, SilenceMatcher, SilenceReach};
use crate::health::handle::Health;
use crate::health::operator_verbs::SelfTestView;
use crate::health::recovery::RecoveryAction;
use crate::health::render::{ComponentView, RecoveryView};
use crate::health::status::{CheckerRequest, MaintenanceWindow, MonitoringConfig};
use crate::health::units::time;

pub(crate) fn routes() -> Vec<FeatureRoute<Health>> {
    vec![
        routes!(check_health.refuses(ComponentUnknown, MonitoringStopped)),
        routes!(test_health),
        routes!(add_health_checker.refuses(
            CheckerExists,
            CheckerInvalid,
            CheckerAddressClosed,
            StoreUnavailable
        )),
        routes!(remove_health_checker.refuses(
            ComponentUnknown,
            CheckerBuiltIn,
            CheckerNeeded,
            StoreUnavailable
        )),
        routes!(start_health_monitoring.refuses(StoreUnavailable)),
        routes!(stop_health_monitoring.refuses(StoreUnavailable)),
        routes!(configure_health_monitoring.refuses(MonitoringConfigInvalid, StoreUnavailable)),
        routes!(acknowledge_health_alert.refuses(AlertUnknown, StoreUnavailable)),
        routes!(list_health_silences, add_health_silence.refuses(SilenceInvalid, StoreUnavailable)),
        routes!(end_health_silence.refuses(SilenceUnknown, StoreUnavailable)),
        routes!(list_health_maintenance, add_health_maintenance.refuses(SilenceInvalid, StoreUnavailable)),
        routes!(remove_health_maintenance.refuses(SilenceUnknown, StoreUnavailable)),
        routes!(recover_health_component.refuses(
            ComponentUnknown,
            RecoveryRefused,
            StoreUnavailable,
            SupervisorMissing
        )),
    ]
}

/// Which components to check.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct CheckHealthRequest {
    /// The only component to check; all are checked when absent.
    component_id: Option<String>,
}

/// Options of the self-test.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct TestHealthRequest {
    /// Also send a test notice to every receiver.
    notify: bool,
}

/// The outcome of the self-test.
#[derive(Debug, Serialize, ToSchema)]
struct SelfTestsView {
    /// Whether all tests passed.
    success: bool,
    /// The tests with what each of them saw.
    tests: Vec<SelfTestView>,
    /// When the tests ended.
    timestamp: DateTime<Utc>,
}

/// A note that goes with a change.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct AcknowledgeAlertRequest {
    /// The reason, or what is being done about it; shown to other operators.
    reason: Option<String>,
    /// The earlier name of `reason`.
    note: Option<String>,
}

/// A silence to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SilenceRequest {
    /// Matchers on labels, 1 to 20; an alert is silenced when all of them match.
    matchers: Vec<SilenceMatcher>,
    /// Why, for other operators. Required.
    #[serde(default)]
    reason: Option<String>,
    /// The earlier name of `reason`.
    #[serde(default)]
    comment: Option<String>,
    /// When it begins; now when absent.
    #[serde(default)]
    starts_at: Option<DateTime<Utc>>,
    /// When it ends; at most 30 days after the start. Either this or `minutes`.
    #[serde(default)]
    ends_at: Option<DateTime<Utc>>,
    /// How long it holds, in minutes from its beginning, 1 to 43,200.
    #[serde(default)]
    minutes: Option<u32>,
}

impl SilenceRequest {
    /// When it ends, from the one of the two ways to say it that is there.
    ///
    /// # Errors
    /// [`Code::JsonInvalid`] when both or neither are there.
    fn end_after(&self, start: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
        match (self.ends_at, self.minutes) {
            (Some(at), None) => Ok(at),
            (None, Some(minutes)) => Ok(start + chrono::Duration::minutes(i64::from(minutes))),
            (both, _) => {
                let said = if both.is_some() {
                    "`ends_at` and `minutes` are both there"
                } else {
                    "missing field `ends_at`"
                };
                Err(Error::new(Code::JsonInvalid).detail(said).field(
                    "/ends_at",
                    serde_json::Value::Null,
                    "a UTC time, or instead of it `minutes`, 1 to 43200",
                ))
            }
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct SilenceQuery {
    /// Say which open alerts it would match, add nothing.
    #[serde(default)]
    dry_run: bool,
}

/// A maintenance window to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MaintenanceRequest {
    /// Ids of the components it covers; empty means all.
    #[serde(default)]
    components: Vec<String>,
    /// The IANA time zone of `start` and of the days.
    #[schema(example = "America/New_York")]
    zone: String,
    /// Local time at which each window starts, `HH:MM`.
    #[schema(example = "17:30")]
    start: String,
    /// Length of each window, in minutes.
    duration_minutes: u32,
    /// Days on which a window starts: `mon` to `sun`; empty means every day.
    #[serde(default)]
    days: Vec<String>,
    /// The first local day on which a window may start, `YYYY-MM-DD`; no limit when absent.
    #[serde(default)]
    from: Option<NaiveDate>,
    /// The last local day on which a window may start, `YYYY-MM-DD`; no limit when absent.
    #[serde(default)]
    until: Option<NaiveDate>,
    /// Why, for other operators. Required.
    #[serde(default)]
    reason: Option<String>,
    /// The earlier name of `reason`.
    #[serde(default)]
    comment: Option<String>,
}

/// The reason of a change, under its name or the one it had before.
///
/// # Errors
/// [`Code::JsonInvalid`] when it is missing, or given twice and not the same.
fn one_reason(reason: Option<String>, earlier: Option<String>, earlier_name: &str) -> Result<String, Error> {
    match (reason, earlier) {
        (Some(reason), Some(earlier)) if reason != earlier => Err(Error::new(Code::JsonInvalid)
            .detail(format!("`reason` and `{earlier_name}` are two names of the same, and differ"))
            .field(
                format!("/{earlier_name}"),
                botops_core::text::clean(&earlier, 80),
                "left out: `reason` is its name now",
            )),
        (Some(reason), _) | (None, Some(reason)) => Ok(reason),
        (None, None) => Err(Error::new(Code::JsonInvalid).detail("missing field `reason`").field(
            "/reason",
            serde_json::Value::Null,
            "why, 1 to 500 characters",
        )),
    }
}

/// An operator's action on a component's recovery.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RecoveryRequest {
    /// The action to take.
    action: RecoveryAction,
}

/// A silence with its present state.
#[derive(Debug, Serialize, ToSchema)]
struct SilenceView {
    /// The silence as it was created.
    #[serde(flatten)]
    silence: Silence,
    /// Why it was added; also as `comment`, its earlier name.
    reason: String,
    /// `pending`, `active` or `expired`.
    state: &'static str,
    /// `true` in the answer to a dry run: it was not added; left out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
    /// The open alerts that its matchers match now, whether it has begun or not.
    matches_now: SilenceReach,
    /// What may not be meant, such as a component that is not watched; empty otherwise.
    warnings: Vec<String>,
}

impl SilenceView {
    fn of(health: &Health, silence: Silence) -> Self {
        let (matches_now, warnings) = health.silence_reach(&silence);
        let reason = silence.comment.clone();
        Self { state: silence.state(Utc::now()), silence, reason, dry_run: None, matches_now, warnings }
    }
}

/// A maintenance window, and whether it is open.
#[derive(Debug, Serialize, ToSchema)]
struct MaintenanceView {
    /// The window as it was created.
    #[serde(flatten)]
    window: MaintenanceWindow,
    /// Why it was added; also as `comment`, its earlier name.
    reason: String,
    /// Whether one of its windows is open now.
    open: bool,
}

impl MaintenanceView {
    fn of(window: MaintenanceWindow, now: DateTime<Utc>) -> Self {
        Self { open: window.is_open(now), reason: window.comment.clone(), window }
    }
}

/// Check now
///
/// Waits for the checks (a running one is joined; one a second old is taken) and answers with the new status.
#[utoipa::path(post, path = "/api/v1/health/check", tag = "health", security(("api_key" = ["operate"])),
    request_body = CheckHealthRequest,
    responses((status = 200, description = "BotSnapshot", content_type = "application/json", body = Object,
        example = json!({"success": true, "overall_status": "HEALTHY", "components": []}))))]
async fn check_health(
    State(health): State<Health>,
    Json(request): Json<CheckHealthRequest>,
) -> Result<Response, Error> {
    health.check_now(request.component_id.as_deref()).await?;
    let snapshot = health.snapshot();
    let wanted = |id: &String| request.component_id.as_ref().is_none_or(|wanted| wanted == id);
    let components: Vec<&ComponentView> =
        snapshot.by_id.iter().filter(|(id, _)| wanted(id)).map(|(_, view)| view).collect();
    Ok(json(&json!({"success": true, "overall_status": snapshot.current_status, "components": components})))
}

/// Test monitoring itself
///
/// Whether the scheduler makes progress, the store keeps what is written, the system's status follows from the
/// components, and receivers take notices. With `notify` every receiver is sent one test notice.
#[utoipa::path(post, path = "/api/v1/health/test", tag = "health", security(("api_key" = ["operate"])),
    request_body = TestHealthRequest,
    responses((status = 200, description = "What came of it", body = SelfTestsView)))]
async fn test_health(
    State(health): State<Health>,
    Json(request): Json<TestHealthRequest>,
) -> Result<Response, Error> {
    let tests = health.test_monitoring(request.notify).await;
    let success = tests.iter().all(|test| test.passed);
    Ok(json(&SelfTestsView { success, tests, timestamp: Utc::now() }))
}

/// Watch one more component
///
/// The checker is stored and begins at once. Addresses are restricted: public ones and those of `BOT_CHECK_ALLOW`, no
/// redirects, never a cloud's metadata service. A key is given by the name of a variable `BOT_CHECK_SECRET_*`.
#[utoipa::path(post, path = "/api/v1/health/checkers", tag = "health", security(("api_key" = ["admin"])),
    request_body(content = CheckerRequest, example = json!({"checker_type": "external_api",
        "component_id": "market_data", "config": {"api_url": "https://api.example.com/health"},
        "criticality": "important", "interval": 30})),
    responses((status = 201, description = "It is watched", body = ComponentView)))]
async fn add_health_checker(
    State(health): State<Health>,
    actor: Actor,
    Json(request): Json<CheckerRequest>,
) -> Result<Response, Error> {
    let component = health.add_checker(&request, &actor.key_id).await?;
    Ok(json_with_status(StatusCode::CREATED, &component))
}

/// Stop watching a component
///
/// Its open alerts are resolved as `removed`. Built-in components stay.
#[utoipa::path(delete, path = "/api/v1/health/checkers/{id}", tag = "health", security(("api_key" = ["admin"])),
    params(("id" = String, Path, description = "The component")),
    responses((status = 200, description = "It is no longer watched", body = Object,
        example = json!({"success": true, "component_id": "market_data"}))))]
async fn remove_health_checker(
    State(health): State<Health>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    health.remove_checker(&id, &actor.key_id).await?;
    Ok(json(&json!({"success": true, "component_id": id})))
}

/// Run checks
#[utoipa::path(post, path = "/api/v1/health/monitoring/start", tag = "health", security(("api_key" = ["admin"])),
    responses((status = 200, description = "Checks run", body = Object,
        example = json!({"success": true, "monitoring_active": true}))))]
async fn start_health_monitoring(State(health): State<Health>, actor: Actor) -> Result<Response, Error> {
    health.switch_monitoring(true, &actor.key_id).await?;
    Ok(json(&json!({"success": true, "monitoring_active": true})))
}

/// Stop all checks
///
/// The system's status is UNKNOWN from then on; open alerts stay open: absence of data is not recovery.
#[utoipa::path(post, path = "/api/v1/health/monitoring/stop", tag = "health", security(("api_key" = ["admin"])),
    responses((status = 200, description = "No check runs", body = Object,
        example = json!({"success": true, "monitoring_active": false}))))]
async fn stop_health_monitoring(State(health): State<Health>, actor: Actor) -> Result<Response, Error> {
    health.switch_monitoring(false, &actor.key_id).await?;
    Ok(json(&json!({"success": true, "monitoring_active": false})))
}

/// Set how components are watched
///
/// Replaces the whole config: what is left out has its default. `GET monitoring/status` shows the present one.
#[utoipa::path(put, path = "/api/v1/health/monitoring/config", tag = "health", security(("api_key" = ["admin"])),
    request_body(content = MonitoringConfig, example = json!({"check_interval": 30, "enable_monitoring": true})),
    responses((status = 200, description = "It holds now", body = Object,
        example = json!({"success": true, "config": {"check_interval": 30.0, "enable_monitoring": true}}))))]
async fn configure_health_monitoring(
    State(health): State<Health>,
    actor: Actor,
    Json(config): Json<MonitoringConfig>,
) -> Result<Response, Error> {
    let config = health.configure(config, &actor.key_id).await?;
    Ok(json(&json!({"success": true, "config": config})))
}

/// Acknowledge an alert
///
/// Reminders stop. A rise in level and the end are still notified.
#[utoipa::path(post, path = "/api/v1/health/alerts/{id}/ack", tag = "health", security(("api_key" = ["operate"])),
    params(("id" = String, Path, description = "`alert_id`")), request_body = AcknowledgeAlertRequest,
    responses((status = 200, description = "Noted", body = AlertView)))]
async fn acknowledge_health_alert(
    State(health): State<Health>,
    actor: Actor,
    Path(id): Path<String>,
    Json(request): Json<AcknowledgeAlertRequest>,
) -> Result<Response, Error> {
    let reason = match (request.reason, request.note) {
        (None, None) => None,
        (reason, note) => Some(one_reason(reason, note, "note")?),
    };
    Ok(json(&health.acknowledge_alert(&id, &actor.key_id, reason).await?))
}

/// List silences, including those that ended within a week
#[utoipa::path(get, path = "/api/v1/health/silences", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "The silences", body = Object,
        example = json!({"items": [], "next": null, "omitted": 0}))))]
async fn list_health_silences(State(health): State<Health>) -> Response {
    let silences = health.silences().into_iter();
    let items: Vec<SilenceView> = silences.map(|silence| SilenceView::of(&health, silence)).collect();
    json(&json!({"items": items, "next": null, "omitted": 0}))
}

/// Silence some alerts for a while
///
/// First notices and reminders are held back. The end of an alert that was notified before is notified all the same.
/// Labels are `alertname`, `component`, `component_type` and `severity`; others, and values that cannot occur, are refused
/// with the known ones. `matches_now` says which open alerts it matches.
#[utoipa::path(post, path = "/api/v1/health/silences", tag = "health", security(("api_key" = ["operate"])),
    params(SilenceQuery), request_body = SilenceRequest,
    responses((status = 201, description = "It holds", body = SilenceView),
        (status = 200, description = "A dry run: it would hold", body = SilenceView)))]
async fn add_health_silence(
    State(health): State<Health>,
    actor: Actor,
    Query(query): Query<SilenceQuery>,
    Json(request): Json<SilenceRequest>,
) -> Result<Response, Error> {
    // Cut to the millisecond, as the engine counts; otherwise a silence that begins now would still be pending.
    let now = time(Utc::now().timestamp_millis());
    let starts_at = request.starts_at.unwrap_or(now);
    let ends_at = request.end_after(starts_at)?;
    let reason = one_reason(request.reason, request.comment, "comment")?;
    let silence = Silence {
        id: uuid::Uuid::now_v7().to_string(),
        matchers: request.matchers,
        created_by: actor.key_id.to_string(),
        comment: botops_core::text::clean(&reason, 501),
        starts_at,
        ends_at,
    };
    if query.dry_run {
        health.check_silence(&silence)?;
        return Ok(json(&SilenceView { dry_run: Some(true), ..SilenceView::of(&health, silence) }));
    }
    let silence = health.add_silence(silence).await?;
    Ok(json_with_status(StatusCode::CREATED, &SilenceView::of(&health, silence)))
}

/// End a silence now
#[utoipa::path(delete, path = "/api/v1/health/silences/{id}", tag = "health", security(("api_key" = ["operate"])),
    params(("id" = String, Path, description = "The silence")),
    responses((status = 200, description = "It is over", body = SilenceView)))]
async fn end_health_silence(
    State(health): State<Health>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let silence = health.end_silence(&id, &actor.key_id).await?;
    Ok(json(&SilenceView::of(&health, silence)))
}

/// Maintenance windows
#[utoipa::path(get, path = "/api/v1/health/maintenance", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "The windows", body = Object,
        example = json!({"items": [], "next": null, "omitted": 0}))))]
async fn list_health_maintenance(State(health): State<Health>) -> Response {
    let now = Utc::now();
    let items: Vec<MaintenanceView> =
        health.maintenance_windows().into_iter().map(|window| MaintenanceView::of(window, now)).collect();
    json(&json!({"items": items, "next": null, "omitted": 0}))
}

/// Add a maintenance window
///
/// The components are still checked and recorded, but left out of the system's status, of availability and of first
/// notices.
#[utoipa::path(post, path = "/api/v1/health/maintenance", tag = "health", security(("api_key" = ["operate"])),
    request_body = MaintenanceRequest,
    responses((status = 201, description = "It holds", body = MaintenanceView)))]
async fn add_health_maintenance(
    State(health): State<Health>,
    actor: Actor,
    Json(request): Json<MaintenanceRequest>,
) -> Result<Response, Error> {
    let reason = one_reason(request.reason, request.comment, "comment")?;
    let window = MaintenanceWindow {
        id: uuid::Uuid::now_v7().to_string(),
        components: request.components,
        zone: request.zone,
        start: request.start,
        duration_minutes: request.duration_minutes,
        days: request.days,
        from: request.from,
        until: request.until,
        comment: botops_core::text::clean(&reason, 501),
        created_by: actor.key_id.to_string(),
    };
    let window = health.add_maintenance(window).await?;
    Ok(json_with_status(StatusCode::CREATED, &MaintenanceView::of(window, Utc::now())))
}

/// Remove a maintenance window
#[utoipa::path(delete, path = "/api/v1/health/maintenance/{id}", tag = "health", security(("api_key" = ["operate"])),
    params(("id" = String, Path, description = "The window")),
    responses((status = 200, description = "It is gone", body = Object, example = json!({"success": true}))))]
async fn remove_health_maintenance(
    State(health): State<Health>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    health.remove_maintenance(&id, &actor.key_id).await?;
    Ok(json(&json!({"success": true})))
}

/// Run, hold, release or reset the recovery of a component
#[utoipa::path(post, path = "/api/v1/health/recovery/{component}", tag = "health",
    security(("api_key" = ["operate"])),
    params(("component" = String, Path, description = "The component", example = "bot")),
    request_body(content = RecoveryRequest, example = json!({"action": "hold"})),
    responses((status = 200, description = "How it stands now", body = RecoveryView)))]
async fn recover_health_component(
    State(health): State<Health>,
    actor: Actor,
    Path(component): Path<String>,
    Json(request): Json<RecoveryRequest>,
) -> Result<Response, Error> {
    Ok(json(&health.act_on_recovery(&component, request.action, &actor.key_id).await?))
}
