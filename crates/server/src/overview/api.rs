//! Routes of the overview: state, summary, metrics and the stream.
#![expect(unused_qualifications, reason = "utoipa's macro repeats the query types of handlers")]

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::example;
use super::handle::Overview;
use super::metrics::MetricsView;
use super::state_view::StateView;
use super::stream::{StreamAdmission, StreamTicketView};
use super::summary_view::SummaryView;
use botops_core::error::{Code, Error};
use botops_http::{Actor, Operations, Query, Ready, Routes, Wire, accepts, json_with_status, routes};

/// The routes of the overview.
pub fn routes() -> Routes<Overview> {
    Routes::new([
        routes!(get_state.refuses(FieldUnknown)),
        routes!(get_summary),
        routes!(get_metrics),
        routes!(create_stream_ticket),
        routes!(open_stream.refuses(AuthTicketInvalid, UpgradeRequired, StreamFull, Stopping)),
    ])
}

/// The reads that are asked most, answered without the router: `operations` with them.
pub fn with_ready(operations: Operations, overview: &Overview) -> Operations {
    let (state, summary) = (overview.clone(), overview.clone());
    operations
        .with_ready("get_state", Ready::new(move |headers| state_as_rendered(&state, headers)))
        .with_ready("get_summary", Ready::new(move |headers| summary_as_rendered(&summary, headers)))
}

/// What to show of the state.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct StateQuery {
    /// Only these parts, by dotted names: `account.buying_power,positions.symbol`.
    #[param(example = "account,positions.symbol")]
    fields: Option<String>,
}

/// The whole state
///
/// Everything that is known of the bot, with its age. Never asks the bot: the data is as old as `data_age_seconds`
/// says, also while the bot is away. `fields=` narrows it; mode and age are always there.
#[utoipa::path(get, path = "/api/v1/state", tag = "state", security(("api_key" = ["read"])), params(StateQuery),
    responses((status = 200, description = "The state", body = StateView, headers(("ETag" = String, description = "Send it back as `If-None-Match`")),
            example = json!(example::state())), (status = 304, description = "Nothing changed since the `ETag` sent as `If-None-Match`")))]
async fn get_state(
    State(overview): State<Overview>,
    Query(query): Query<StateQuery>,
    request: Request,
) -> Result<Response, Error> {
    // The whole request, not a copy of its headers: this is the path that is asked most.
    let headers = request.headers();
    match query.fields {
        None => Ok(state_as_rendered(&overview, headers)),
        Some(fields) => {
            let document = overview.state_fields(&fields).await?;
            Ok(document.respond(headers, overview.inner.rendered.load().max_age()))
        }
    }
}

fn state_as_rendered(overview: &Overview, headers: &HeaderMap) -> Response {
    let rendered = overview.inner.rendered.load();
    rendered.state.respond(headers, rendered.max_age())
}

/// The summary: start here
///
/// What matters most, most important first: mode, health and its reason, breaker, account, the day's profit and loss,
/// the largest positions, at most three errors with remedies, warnings. Always below 10,240 bytes and 1,200 o200k
/// tokens; `omitted` names what was left out and the call that returns it.
#[utoipa::path(get, path = "/api/v1/summary", tag = "state", security(("api_key" = ["read"])),
    responses(
        (status = 200, description = "The summary; Markdown with `Accept: text/markdown`", content(
            (SummaryView = "application/json", example = json!(example::summary_json())),
            (String = "text/markdown", example = json!(example::summary_markdown()))),
            headers(("ETag" = String, description = "Send it back as `If-None-Match`"))),
        (status = 304, description = "Nothing changed since the `ETag` sent as `If-None-Match`")))]
async fn get_summary(State(overview): State<Overview>, request: Request) -> Response {
    summary_as_rendered(&overview, request.headers())
}

fn summary_as_rendered(overview: &Overview, headers: &HeaderMap) -> Response {
    let rendered = overview.inner.rendered.load();
    let markdown = accepts(headers, "text/markdown") && !accepts(headers, "application/json");
    let document = if markdown { &rendered.summary_markdown } else { &rendered.summary };
    let mut response = document.respond(headers, rendered.max_age());
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Numbers that change from moment to moment
///
/// Small and cheap: counts, profit and loss, error count, tick delay, stream clients, polls. The stream pushes the
/// same numbers.
#[utoipa::path(get, path = "/api/v1/metrics", tag = "state", security(("api_key" = ["read"])),
    responses(
        (status = 200, description = "The numbers", body = MetricsView, headers(("ETag" = String, description = "Send it back as `If-None-Match`")),
            example = json!(example::metrics())),
        (status = 304, description = "Nothing changed since the `ETag` sent as `If-None-Match`")))]
async fn get_metrics(State(overview): State<Overview>, request: Request) -> Response {
    let rendered = overview.inner.rendered.load();
    rendered.metrics.respond(request.headers(), rendered.max_age())
}

/// A ticket for the stream
///
/// For browsers, which cannot send the key with a WebSocket: the ticket stands for it once, within 30 seconds.
#[utoipa::path(post, path = "/api/v1/stream/ticket", tag = "state", security(("api_key" = ["read"])),
    responses((status = 201, description = "The ticket", body = StreamTicketView)))]
async fn create_stream_ticket(State(overview): State<Overview>, actor: Actor) -> Result<Response, Error> {
    let ticket = overview.inner.stream.hub().tickets.issue(&actor)?;
    let mut response = json_with_status(StatusCode::CREATED, &ticket);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// How to open the stream.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct StreamQuery {
    /// The `seq` of the last message the client has: what came after it is sent first.
    after: Option<u64>,
    /// Instead of the key: a ticket of `POST stream/ticket`.
    ticket: Option<String>,
}

/// The live stream (WebSocket)
///
/// Messages `{type, seq, sent_at, …}`: `hello`, then `snapshot` (the summary), then `metrics` at a steady interval and
/// `event` as it happens. Come back with `?after=<last seq>` and nothing is missed; `hello.replay.lost` says so when
/// the journal no longer holds it. A client that does not keep up is closed with code 1013 and `API_017`; when botops
/// stops, a `goodbye` comes first and the code is 1001. Messages from the client are ignored.
#[utoipa::path(get, path = "/api/v1/stream", tag = "state",
    security(("api_key" = ["read"]), ("ticket" = [])), params(StreamQuery),
    responses((status = 101, description = "The stream begins")))]
async fn open_stream(
    State(overview): State<Overview>,
    Query(query): Query<StreamQuery>,
    actor: Result<Actor, Error>,
    wire: Option<Extension<Wire>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    let upgrade = upgrade.map_err(|rejection| {
        Error::new(Code::UpgradeRequired).header("upgrade", "websocket").caused_by(rejection)
    })?;
    let admission = match (&query.ticket, actor) {
        (Some(ticket), _) => overview.inner.stream.hub().tickets.redeem(ticket)?,
        (None, actor) => StreamAdmission::from(&actor?),
    };
    let Some(Extension(wire)) = wire else { return Err(Error::new(Code::UpgradeRequired)) };
    overview.inner.stream.open(upgrade, wire, admission, query.after)
}
