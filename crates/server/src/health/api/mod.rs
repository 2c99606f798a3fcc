//! Routes of health: each under `/api/v1/health` and, for clients written against the older address, the same handler
//! under `/api/trading-engine/health`.
//!
//! Most reads answer with what was rendered at the last change; history, charts and availability are the only ones
//! that read the disk. Handlers are thin: `read.rs` reads, `change.rs` changes.

mod change;
mod read;
mod wait;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use botops_http::{FeatureRoute, FeatureRoutes, json_with_status, routes};

use super::handle::Health;

/// The path of all routes of health.
const BASE: &str = "/api/v1/health";

/// The older path, at which the same handlers answer.
const ALIAS: &str = "/api/trading-engine/health";

/// What the operation ids at the older path end in, since an id must be unique in the API document.
const ALIAS_ID: &str = "_at_trading_engine";

/// The answer of `livez`.
#[derive(Debug, Serialize, ToSchema)]
struct LiveView {
    /// Always `alive`: a dead process does not answer.
    #[schema(example = "alive")]
    status: &'static str,
    /// When this was written.
    timestamp: DateTime<Utc>,
}

/// The answer of `readyz`.
#[derive(Debug, Serialize, ToSchema)]
struct ReadyView {
    /// `ready` or `not_ready`.
    #[schema(example = "ready")]
    status: &'static str,
    /// Whether changes can be recorded in the data folder.
    store_writable: bool,
    /// Whether open alerts and the monitoring config of the last run are loaded.
    health_loaded: bool,
    /// Why botops is not ready; `null` when it is.
    reason: Option<&'static str>,
    /// When this was written.
    timestamp: DateTime<Utc>,
}

/// The routes of health.
pub fn routes() -> FeatureRoutes<Health> {
    let open = [routes!(livez), routes!(readyz), routes!(get_prometheus)];
    let at_both = read::routes().into_iter().chain(change::routes()).map(at_both);
    FeatureRoutes::new(open.into_iter().chain(at_both))
}

/// Mounts a route at both paths; the second operation id has the suffix [`ALIAS_ID`].
fn at_both(route: FeatureRoute<Health>) -> FeatureRoute<Health> {
    match route.path().strip_prefix(BASE).map(|rest| format!("{ALIAS}{rest}")) {
        Some(second) => route.also_at(second, ALIAS_ID),
        None => route,
    }
}

/// Is the process alive?
///
/// Depends on nothing but the process: an orchestrator restarts botops when this fails.
#[utoipa::path(get, path = "/livez", tag = "health", security(()),
    responses((status = 200, description = "It is", body = LiveView)))]
async fn livez() -> Response {
    json_with_status(StatusCode::OK, &LiveView { status: "alive", timestamp: Utc::now() })
}

/// Can the process do its work?
///
/// 503 while the data folder cannot be written: reads go on, changes are refused. Never depends on the bot.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "It can", body = ReadyView),
              (status = 503, description = "It cannot; `reason` says why", body = ReadyView)))]
async fn readyz(State(health): State<Health>) -> Response {
    let store_writable = health.store_writable();
    let (status, word) = if store_writable {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    let reason = (!store_writable).then_some("the data folder cannot be written (SRV_002)");
    // `health_loaded` is always true: the handle exists only after the state of the last run was read.
    json_with_status(
        status,
        &ReadyView { status: word, store_writable, health_loaded: true, reason, timestamp: Utc::now() },
    )
}

/// Prometheus metrics
#[utoipa::path(get, path = "/metrics", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "Prometheus text, version 0.0.4", content_type = "text/plain")))]
async fn get_prometheus(State(health): State<Health>) -> Response {
    let text = health.prometheus_text();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
