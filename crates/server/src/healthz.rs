//! `GET health/healthz`: does the API answer? Depends on neither the bot nor the store.

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use botops_http::{FeatureRoutes, json, routes};

/// Whether the API answers.
#[derive(Debug, Serialize, ToSchema)]
struct HealthzView {
    /// Always `healthy`: a server that is not does not answer. The bot's health stands in the summary.
    #[schema(example = "healthy")]
    status: &'static str,
    /// The time of the answer (UTC).
    timestamp: DateTime<Utc>,
}

/// The route `GET health/healthz`.
pub fn routes() -> FeatureRoutes<()> {
    FeatureRoutes::new([routes!(get_healthz)])
}

/// Does the API answer?
///
/// Open, and says nothing but that and the time. Depends on neither the bot nor the store.
#[utoipa::path(get, path = "/api/v1/health/healthz", tag = "health", security(()),
    responses((status = 200, description = "It does", body = HealthzView)))]
async fn get_healthz() -> Response {
    json(&HealthzView { status: "healthy", timestamp: Utc::now() })
}
