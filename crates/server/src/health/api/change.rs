//! Changing what health does.

use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::read::{MaintenanceView, SilenceView};
use crate::health::Health;
use crate::health::aggregate::aggregate;
use crate::health::silence::{Maintenance, Matcher, Silence};
use crate::health::spec::{CheckerRequest, MonitoringConfig};
use crate::health::views::{AlertView, ComponentView, RecoveryView};
use botops_core::error::{Error, Problem};
use botops_http::{Actor, Json, Path, Route, json, json_with_status, routes};

pub(super) fn routes() -> Vec<Route<Health>> {
    vec![
        routes!(check_health),
        routes!(test_health),
        routes!(add_health_checker),
        routes!(remove_health_checker),
        routes!(start_health_monitoring),
        routes!(stop_health_monitoring),
        routes!(configure_health_monitoring),
        routes!(acknowledge_health_alert),
        routes!(list_health_silences, add_health_silence),
        routes!(end_health_silence),
        routes!(list_health_maintenance, add_health_maintenance),
        routes!(remove_health_maintenance),
        routes!(recover_health_component),
    ]
}

/// What to look at.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct CheckRequest {
    /// One component alone; all when absent.
    component_id: Option<String>,
}

/// What to try.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct TestRequest {
    /// Also send a test notice to every receiver.
    notify: bool,
}

/// One test of monitoring itself.
#[derive(Debug, Serialize, ToSchema)]
struct TestView {
    /// What was tried.
    name: &'static str,
    /// Whether it worked.
    passed: bool,
    /// What was seen.
    detail: String,
    /// How long it took.
    duration_ms: f64,
}

/// What came of all tests.
#[derive(Debug, Serialize, ToSchema)]
struct TestsView {
    /// Whether all worked.
    success: bool,
    /// Each one.
    tests: Vec<TestView>,
    /// When.
    timestamp: DateTime<Utc>,
}

/// A few words.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct AcknowledgeRequest {
    /// Why, or what is being done.
    note: Option<String>,
}

/// A silence to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SilenceRequest {
    /// All must match; 1 to 20.
    matchers: Vec<Matcher>,
    /// Why.
    comment: String,
    /// From when; now when absent.
    #[serde(default)]
    starts_at: Option<DateTime<Utc>>,
    /// Until when; at most 30 days after the start.
    ends_at: DateTime<Utc>,
}

/// A maintenance window to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MaintenanceRequest {
    /// Which components; empty means all.
    #[serde(default)]
    components: Vec<String>,
    /// The zone its hours are meant in.
    #[schema(example = "America/New_York")]
    zone: String,
    /// Local start, `HH:MM`.
    #[schema(example = "17:30")]
    start: String,
    /// How long, in minutes.
    duration_minutes: u32,
    /// On which days it starts: `mon` to `sun`; empty means every day.
    #[serde(default)]
    days: Vec<String>,
    /// The first local day.
    #[serde(default)]
    from: Option<NaiveDate>,
    /// The last local day it starts on.
    #[serde(default)]
    until: Option<NaiveDate>,
    /// Why.
    comment: String,
}

/// What to do about a component's recovery.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RecoveryAct {
    /// Try now, past waits and the attempts of this incident.
    Run,
    /// No automatic attempts until `release`.
    Hold,
    /// Automatic attempts again.
    Release,
    /// Forget all attempts and rests.
    Reset,
}

/// What to do about a component's recovery.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RecoveryRequest {
    /// What to do.
    action: RecoveryAct,
}

/// Look now
///
/// Waits for the checks (a running one is joined; one a second old is taken) and answers with the new status.
#[utoipa::path(post, path = "/api/v1/health/check", tag = "health", security(("api_key" = ["operate"])),
    request_body = CheckRequest,
    responses((status = 200, description = "Seen", content_type = "application/json", body = Object,
        example = json!({"success": true, "overall_status": "HEALTHY", "components": []})),
        (status = 404, description = "Refused: HLT_001", body = Problem),
        (status = 409, description = "Refused: HLT_011", body = Problem)))]
async fn check_health(
    State(health): State<Health>,
    Json(request): Json<CheckRequest>,
) -> Result<Response, Error> {
    health.check_now(request.component_id.as_deref()).await?;
    let snapshot = health.shared.snapshot.load();
    let wanted = |id: &String| request.component_id.as_ref().is_none_or(|wanted| wanted == id);
    let components: Vec<&ComponentView> =
        snapshot.by_id.iter().filter(|(id, _)| wanted(id)).map(|(_, view)| view).collect();
    Ok(json(&json!({"success": true, "overall_status": snapshot.current_status, "components": components})))
}

/// Test monitoring itself
///
/// Whether the scheduler moves on, the store keeps what it is given, the whole follows from its parts, and receivers
/// take notices. With `notify` every receiver is sent one test notice.
#[utoipa::path(post, path = "/api/v1/health/test", tag = "health", security(("api_key" = ["operate"])),
    request_body = TestRequest,
    responses((status = 200, description = "What came of it", body = TestsView)))]
async fn test_health(
    State(health): State<Health>,
    Json(request): Json<TestRequest>,
) -> Result<Response, Error> {
    let mut tests = Vec::new();
    let mut add = |name, started: Instant, passed, detail: String| {
        let duration_ms = crate::health::views::tidy(started.elapsed().as_secs_f64() * 1000.0);
        tests.push(TestView { name, passed, detail, duration_ms });
    };
    let started = Instant::now();
    let moves = health.makes_progress();
    add("scheduler_and_writer_move_on", started, moves, format!("moves on: {moves}"));
    let started = Instant::now();
    let kept = health
        .shared
        .store
        .write(|connection| {
            connection.execute(
                "INSERT INTO meta(key, value) VALUES('health_test', '1') ON CONFLICT(key) DO UPDATE SET value = '1'",
                [],
            )?;
            Ok(())
        })
        .await;
    add(
        "store_keeps_what_it_is_given",
        started,
        kept.is_ok(),
        kept.err().map_or("written".to_owned(), |error| error.to_string()),
    );
    let started = Instant::now();
    let (same, count) = {
        let now = health.shared.clock.now();
        let engine = health.lock();
        let parts: Vec<_> =
            engine.components.values().map(|component| component.part(&engine.config, now)).collect();
        let fresh = aggregate(&parts);
        let stored = engine.whole.as_ref().map(|whole| whole.status);
        (stored == Some(fresh.status) || !engine.config.enable_monitoring, parts.len())
    };
    add("the_whole_follows_from_its_parts", started, same, format!("{count} components"));
    let started = Instant::now();
    if request.notify {
        health.send_test_notices();
    }
    let limit = std::time::Duration::from_secs(if request.notify { 10 } else { 0 });
    while health.shared.outbox.read().waiting > 0 && started.elapsed() < limit {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let waiting = health.shared.outbox.read().waiting;
    add("receivers_take_notices", started, waiting == 0, format!("{waiting} notices wait"));
    let success = tests.iter().all(|test| test.passed);
    Ok(json(&TestsView { success, tests, timestamp: Utc::now() }))
}

/// Watch one more component
///
/// The checker is stored and begins at once. Addresses are guarded: public ones and those of `BOT_CHECK_ALLOW`, no
/// redirects, never a cloud's metadata service. A key is given by the name of a variable `BOT_CHECK_SECRET_*`.
#[utoipa::path(post, path = "/api/v1/health/checkers", tag = "health", security(("api_key" = ["admin"])),
    request_body(content = CheckerRequest, example = json!({"checker_type": "external_api",
        "component_id": "market_data", "config": {"api_url": "https://api.example.com/health"},
        "criticality": "important", "interval": 30})),
    responses((status = 201, description = "It is watched", body = ComponentView),
        (status = 409, description = "Refused: HLT_004", body = Problem),
        (status = 422, description = "Refused: HLT_002, HLT_003", body = Problem)))]
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
        example = json!({"success": true, "component_id": "market_data"})),
        (status = 404, description = "Refused: HLT_001", body = Problem),
        (status = 409, description = "Refused: HLT_005, HLT_006", body = Problem)))]
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
    health.switch(true, &actor.key_id).await?;
    Ok(json(&json!({"success": true, "monitoring_active": true})))
}

/// Stop all checks
///
/// The system's status is UNKNOWN from then on; open alerts stay open: absence of data is not recovery.
#[utoipa::path(post, path = "/api/v1/health/monitoring/stop", tag = "health", security(("api_key" = ["admin"])),
    responses((status = 200, description = "No check runs", body = Object,
        example = json!({"success": true, "monitoring_active": false}))))]
async fn stop_health_monitoring(State(health): State<Health>, actor: Actor) -> Result<Response, Error> {
    health.switch(false, &actor.key_id).await?;
    Ok(json(&json!({"success": true, "monitoring_active": false})))
}

/// Set how everything is watched
///
/// Replaces the whole config: what is left out has its default. `GET monitoring/status` shows the present one.
#[utoipa::path(put, path = "/api/v1/health/monitoring/config", tag = "health", security(("api_key" = ["admin"])),
    request_body(content = MonitoringConfig, example = json!({"check_interval": 30, "enable_monitoring": true})),
    responses((status = 200, description = "It holds now", body = Object,
        example = json!({"success": true, "config": {"check_interval": 30.0, "enable_monitoring": true}})),
        (status = 422, description = "Refused: HLT_010", body = Problem)))]
async fn configure_health_monitoring(
    State(health): State<Health>,
    actor: Actor,
    Json(config): Json<MonitoringConfig>,
) -> Result<Response, Error> {
    let config = health.configure(config, &actor.key_id).await?;
    Ok(json(&json!({"success": true, "config": config})))
}

/// Take note of an alert
///
/// Reminders stop. A rise and the end are still told.
#[utoipa::path(post, path = "/api/v1/health/alerts/{id}/ack", tag = "health", security(("api_key" = ["operate"])),
    params(("id" = String, Path, description = "`alert_id`")), request_body = AcknowledgeRequest,
    responses((status = 200, description = "Noted", body = AlertView),
        (status = 404, description = "Refused: HLT_007", body = Problem)))]
async fn acknowledge_health_alert(
    State(health): State<Health>,
    actor: Actor,
    Path(id): Path<String>,
    Json(request): Json<AcknowledgeRequest>,
) -> Result<Response, Error> {
    Ok(json(&health.acknowledge(&id, &actor.key_id, request.note).await?))
}

/// Silences, also those that are over since a week or less
#[utoipa::path(get, path = "/api/v1/health/silences", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "The silences", body = Object,
        example = json!({"items": [], "next": null, "omitted": 0}))))]
async fn list_health_silences(State(health): State<Health>) -> Response {
    let now = Utc::now();
    let silences: Vec<Silence> = health.lock().silences.values().cloned().collect();
    let items: Vec<SilenceView> =
        silences.into_iter().map(|silence| SilenceView { state: silence.state(now), silence }).collect();
    json(&json!({"items": items, "next": null, "omitted": 0}))
}

/// Keep quiet about some alerts for a while
///
/// First notices and reminders are held back. What was told of before is told of to its end all the same.
#[utoipa::path(post, path = "/api/v1/health/silences", tag = "health", security(("api_key" = ["operate"])),
    request_body = SilenceRequest,
    responses((status = 201, description = "It holds", body = SilenceView),
        (status = 422, description = "Refused: HLT_008", body = Problem)))]
async fn add_health_silence(
    State(health): State<Health>,
    actor: Actor,
    Json(request): Json<SilenceRequest>,
) -> Result<Response, Error> {
    // To the millisecond, as the engine counts: one that begins now has begun.
    let now = crate::health::views::time(Utc::now().timestamp_millis());
    let silence = Silence {
        id: uuid::Uuid::now_v7().to_string(),
        matchers: request.matchers,
        created_by: actor.key_id.to_string(),
        comment: botops_core::text::clean(&request.comment, 501),
        starts_at: request.starts_at.unwrap_or(now),
        ends_at: request.ends_at,
    };
    let silence = health.silence(silence).await?;
    Ok(json_with_status(StatusCode::CREATED, &SilenceView { state: silence.state(Utc::now()), silence }))
}

/// End a silence now
#[utoipa::path(delete, path = "/api/v1/health/silences/{id}", tag = "health", security(("api_key" = ["operate"])),
    params(("id" = String, Path, description = "The silence")),
    responses((status = 200, description = "It is over", body = SilenceView),
        (status = 404, description = "Refused: HLT_009", body = Problem)))]
async fn end_health_silence(
    State(health): State<Health>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let silence = health.end_silence(&id, &actor.key_id).await?;
    Ok(json(&SilenceView { state: silence.state(Utc::now()), silence }))
}

/// Maintenance windows
#[utoipa::path(get, path = "/api/v1/health/maintenance", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "The windows", body = Object,
        example = json!({"items": [], "next": null, "omitted": 0}))))]
async fn list_health_maintenance(State(health): State<Health>) -> Response {
    let now = Utc::now();
    let windows: Vec<Maintenance> = health.lock().maintenance.values().cloned().collect();
    let items: Vec<MaintenanceView> =
        windows.into_iter().map(|window| MaintenanceView { open: window.is_open(now), window }).collect();
    json(&json!({"items": items, "next": null, "omitted": 0}))
}

/// Expect components to be in work at certain hours
///
/// They are still looked at and recorded, and left out of the whole, of availability and of first notices.
#[utoipa::path(post, path = "/api/v1/health/maintenance", tag = "health", security(("api_key" = ["operate"])),
    request_body = MaintenanceRequest,
    responses((status = 201, description = "It holds", body = MaintenanceView),
        (status = 422, description = "Refused: HLT_008", body = Problem)))]
async fn add_health_maintenance(
    State(health): State<Health>,
    actor: Actor,
    Json(request): Json<MaintenanceRequest>,
) -> Result<Response, Error> {
    let window = Maintenance {
        id: uuid::Uuid::now_v7().to_string(),
        components: request.components,
        zone: request.zone,
        start: request.start,
        duration_minutes: request.duration_minutes,
        days: request.days,
        from: request.from,
        until: request.until,
        comment: botops_core::text::clean(&request.comment, 501),
        created_by: actor.key_id.to_string(),
    };
    let window = health.maintain(window).await?;
    Ok(json_with_status(StatusCode::CREATED, &MaintenanceView { open: window.is_open(Utc::now()), window }))
}

/// Remove a maintenance window
#[utoipa::path(delete, path = "/api/v1/health/maintenance/{id}", tag = "health", security(("api_key" = ["operate"])),
    params(("id" = String, Path, description = "The window")),
    responses((status = 200, description = "It is gone", body = Object, example = json!({"success": true})),
        (status = 404, description = "Refused: HLT_009", body = Problem)))]
async fn remove_health_maintenance(
    State(health): State<Health>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    health.end_maintenance(&id, &actor.key_id).await?;
    Ok(json(&json!({"success": true})))
}

/// Run, hold, release or reset the recovery of a component
#[utoipa::path(post, path = "/api/v1/health/recovery/{component}", tag = "health",
    security(("api_key" = ["operate"])),
    params(("component" = String, Path, description = "The component", example = "bot")),
    request_body(content = RecoveryRequest, example = json!({"action": "hold"})),
    responses((status = 200, description = "How it stands now", body = RecoveryView),
        (status = 404, description = "Refused: HLT_001", body = Problem),
        (status = 409, description = "Refused: HLT_012", body = Problem)))]
async fn recover_health_component(
    State(health): State<Health>,
    actor: Actor,
    Path(component): Path<String>,
    Json(request): Json<RecoveryRequest>,
) -> Result<Response, Error> {
    let act = match request.action {
        RecoveryAct::Run => "run",
        RecoveryAct::Hold => "hold",
        RecoveryAct::Release => "release",
        RecoveryAct::Reset => "reset",
    };
    Ok(json(&health.act_on_recovery(&component, act, &actor.key_id).await?))
}
