//! Routes of health.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Health;
use crate::web::json_with_status;

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
    /// Why not, when it is not.
    reason: Option<&'static str>,
    /// Now.
    timestamp: DateTime<Utc>,
}

/// The routes of health.
pub fn routes() -> OpenApiRouter<Health> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(get_prometheus))
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
    json_with_status(status, &ReadyView { status: word, store_writable, reason, timestamp: Utc::now() })
}

/// Prometheus metrics
#[utoipa::path(get, path = "/metrics", tag = "health", security(("api_key" = ["read"])),
    responses((status = 200, description = "Prometheus text, version 0.0.4", content_type = "text/plain")))]
async fn get_prometheus(State(health): State<Health>) -> Response {
    let text = health.shared.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
