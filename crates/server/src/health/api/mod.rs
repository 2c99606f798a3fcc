//! Routes of health: each under `/api/v1/health` and, for clients written against the older address, the same handler
//! under `/api/trading-engine/health`.
//!
//! Reads answer with what was rendered at the last change; history, charts and availability are the only ones that
//! read the disk. Handlers are thin: `read.rs` reads, `change.rs` changes.

mod change;
mod read;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use botops_http::{Route, Routes, json_with_status, routes};

use super::handle::Health;

/// Where the routes are.
const BASE: &str = "/api/v1/health";

/// Where they are as well.
const ALIAS: &str = "/api/trading-engine/health";

/// What the operation ids of the second address end in.
const ALIAS_ID: &str = "_at_trading_engine";

/// Whether the process lives.
#[derive(Debug, Serialize, ToSchema)]
struct LiveView {
    /// Always `alive`: a dead process does not answer.
    #[schema(example = "alive")]
    status: &'static str,
    /// Now.
    timestamp: DateTime<Utc>,
}

/// Whether the process can do its work.
#[derive(Debug, Serialize, ToSchema)]
struct ReadyView {
    /// `ready` or `not_ready`.
    #[schema(example = "ready")]
    status: &'static str,
    /// Whether changes can be recorded.
    store_writable: bool,
    /// Whether open alerts and the monitoring config of the last run are loaded.
    health_loaded: bool,
    /// Why not, when it is not.
    reason: Option<&'static str>,
    /// Now.
    timestamp: DateTime<Utc>,
}

/// The routes of health.
pub fn routes() -> Routes<Health> {
    let open = [routes!(livez), routes!(readyz), routes!(get_prometheus)];
    let at_both = read::routes().into_iter().chain(change::routes()).map(at_both);
    Routes::new(open.into_iter().chain(at_both))
}

/// The same handlers at both addresses; the second one's operation ids say so.
fn at_both(route: Route<Health>) -> Route<Health> {
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
    // The handle exists only after everything of the last run was read.
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
