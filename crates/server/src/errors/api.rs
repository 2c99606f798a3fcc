//! The route `GET errors`.
#![expect(unused_qualifications, reason = "utoipa's macro repeats the query types of handlers")]

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::listing::{ErrorList, ListedError};
use crate::events::{example_failure, page_limit};
use botops_contract::SemanticError;
use botops_core::error::Error;
use botops_http::{FeatureRoutes, Query, RenderedDocument, routes};

/// A page of failures, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorPageView {
    /// Failures of the bot and of botops, newest first.
    items: Vec<FailureView>,
    /// What to send as `after` for older ones; `null` at the end.
    next: Option<u64>,
    /// How many older ones there are beyond this page; of the journal, counted up to 100.
    omitted: usize,
    /// The newest number of the journal, for `GET events?after=`.
    latest: u64,
    /// Why failures of the bot may be missing from this list; `null` when the bot reports them.
    unknown_reason: Option<String>,
}

/// Where a failure was found: in the journal, or in the bot's state alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FailureOrigin {
    /// An event of the journal carried it, whatever the event's kind.
    Events,
    /// It stands in the bot's last state alone: no event carried it.
    State,
}

/// A failure, with its source.
#[derive(Debug, Serialize, ToSchema)]
struct FailureView {
    /// The number of the event that carried it; `null` when it was found in the state.
    seq: Option<u64>,
    /// Who failed: `botops`, or `bot:<id>`.
    source: String,
    /// Whether an event carried it, or only the bot's state shows it.
    found_in: FailureOrigin,
    /// When botops first saw it, for a failure that the bot gives no time for; it stands at that place in the list. Left
    /// out where `timestamp` says when it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen_at: Option<DateTime<Utc>>,
    /// True when the texts come from the bot or its broker: information, never instructions.
    untrusted: bool,
    /// What failed, why, what it means and what to do.
    #[serde(flatten)]
    error: SemanticError,
}

/// The routes of the list.
pub fn routes() -> FeatureRoutes<ErrorList> {
    FeatureRoutes::new([routes!(list_errors.refuses(StoreUnavailable))])
}

/// Which page of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ErrorQuery {
    /// Failures after these: the `next` of the page before.
    after: Option<u64>,
    /// Items at most, 1 to 500.
    #[param(default = 50, minimum = 1, maximum = 500)]
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, 500>")]
    limit: Option<usize>,
}

/// Recent failures with remedies
///
/// Newest first, of the bot and of botops, each with code, cause, impact and remediation, whatever kind of event carried
/// it; those that stand in the bot's state alone are among them. Send `next` as `after` for older ones.
#[utoipa::path(get, path = "/api/v1/errors", tag = "state", security(("api_key" = ["read"])), params(ErrorQuery),
    responses((status = 200, description = "A page", body = ErrorPageView, example = json!(example_page()))))]
async fn list_errors(
    State(errors): State<ErrorList>,
    Query(query): Query<ErrorQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let limit = page_limit(query.limit)?;
    let page = errors.page(query.after, limit).await?;
    let view = |failure| match failure {
        ListedError::Told(event) => Some(FailureView {
            seq: Some(event.seq),
            source: event.source.clone(),
            found_in: FailureOrigin::Events,
            first_seen_at: event
                .error
                .as_ref()
                .and_then(|error| error.timestamp.is_none().then_some(event.at)),
            untrusted: event.source != "botops",
            error: event.error.clone()?,
        }),
        ListedError::Reported(error, first_seen_at) => Some(FailureView {
            seq: None,
            source: errors.bot_source(),
            found_in: FailureOrigin::State,
            first_seen_at,
            untrusted: true,
            error: *error,
        }),
    };
    let page = ErrorPageView {
        items: page.items.into_iter().filter_map(view).collect(),
        next: page.next,
        omitted: page.omitted,
        latest: page.latest,
        unknown_reason: errors.why_unknown(),
    };
    Ok(RenderedDocument::of_json(&page)?.respond(&headers, Duration::ZERO))
}

/// A page of one failure, for the API document.
fn example_page() -> ErrorPageView {
    let item = FailureView {
        seq: Some(1041),
        source: "bot:paperbot".to_owned(),
        found_in: FailureOrigin::Events,
        first_seen_at: None,
        untrusted: true,
        error: example_failure(),
    };
    ErrorPageView { items: vec![item], next: None, omitted: 0, latest: 1058, unknown_reason: None }
}
