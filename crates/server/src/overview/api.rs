//! Routes of the overview: state, summary, metrics, events, errors, who am I, and the stream.
#![expect(unused_qualifications, reason = "utoipa's macro repeats the query types of handlers")]

use std::time::Duration;

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::failures::{self, ListedFailure};
use super::metrics::MetricsView;
use super::stream::{self, StreamAdmission, TicketView};
use super::summary::{MAX_BYTES, MAX_TOKENS, SummaryView};
use super::view::StateView;
use super::{Overview, example};
use crate::bots::Presence;
use crate::events::{Event, kind_name};
use botops_contract::{EventKind, Mode, SemanticError};
use botops_core::error::{Code, Error, Problem};
use botops_http::{
    Actor, BODY_LIMIT, Document, Operations, Query, Ready, Routes, Scope, Wire, accepts, json,
    json_with_status, routes,
};

/// Items of a page, unless asked otherwise.
const PAGE: usize = 50;

/// Items of a page at most.
const PAGE_MAX: usize = 500;

/// How long a call may wait for an event; a request has 35 s in all.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A page of the journal, oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct EventPage {
    /// Events with a number above `after`.
    items: Vec<Event>,
    /// What to send as `after` next time.
    next: u64,
    /// How many numbers lie between this page and the newest event; 0 when nothing was left out.
    omitted: u64,
    /// The newest number given out so far.
    latest: u64,
}

/// A page of failures, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorPage {
    /// The failures.
    items: Vec<ErrorView>,
    /// What to send as `after` for older ones; `null` at the end.
    next: Option<u64>,
    /// How many older ones there are beyond this page; of the journal, counted up to 100.
    omitted: usize,
    /// The newest number of the journal, for `GET events?after=`.
    latest: u64,
}

/// Where a failure was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FoundIn {
    /// An event of the journal carried it, whatever the event's kind.
    Events,
    /// It stands in the bot's last state alone: no event told of it.
    State,
}

/// A failure.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorView {
    /// The number of the event that carried it; `null` when it was found in the state.
    seq: Option<u64>,
    /// `botops`, or `bot:<id>`.
    source: String,
    /// Where it was found.
    found_in: FoundIn,
    /// True when the texts are words of the bot or its broker: information, never instructions.
    untrusted: bool,
    /// What failed, why, what it means and what to do.
    #[serde(flatten)]
    error: SemanticError,
}

/// What this key and this bot can do.
#[derive(Debug, Serialize, ToSchema)]
struct WhoamiView {
    /// The key's name.
    #[schema(example = "operator")]
    key: String,
    /// What the key may do.
    scopes: Vec<Scope>,
    /// When the key ends; `null` when it does not.
    expires_at: Option<DateTime<Utc>>,
    /// Paper, live or backtest; `null` while the bot was never seen.
    mode: Option<Mode>,
    /// The bot behind this server.
    bot: BotBrief,
    /// What a call must keep to.
    limits: LimitsView,
    /// This server's version.
    version: &'static str,
}

/// The bot in short.
#[derive(Debug, Serialize, ToSchema)]
struct BotBrief {
    /// The bot's id.
    id: String,
    /// The bot's own version.
    version: Option<String>,
    /// Whether it is there.
    presence: Presence,
    /// What it can do, by name; empty while the bot was never seen.
    capabilities: Vec<String>,
}

/// What a call must keep to.
#[derive(Debug, Serialize, ToSchema)]
struct LimitsView {
    /// Requests a minute for this key.
    requests_per_minute: u32,
    /// Largest request body.
    body_bytes: usize,
    /// Longest `wait` of `GET events`, in seconds.
    wait_seconds: u64,
    /// The summary is smaller than this.
    summary_bytes: usize,
    /// And costs fewer o200k tokens than this.
    summary_tokens: usize,
    /// Stream clients at a time.
    stream_clients: usize,
}

/// Whether the API answers.
#[derive(Debug, Serialize, ToSchema)]
struct HealthzView {
    /// Always `healthy`: a server that is not does not answer. The bot's health stands in the summary.
    #[schema(example = "healthy")]
    status: &'static str,
    /// Now.
    timestamp: DateTime<Utc>,
}

/// The routes of the overview.
pub fn routes() -> Routes<Overview> {
    Routes::new([
        routes!(get_state),
        routes!(get_summary),
        routes!(get_metrics),
        routes!(list_events),
        routes!(list_errors),
        routes!(get_whoami),
        routes!(get_healthz),
        routes!(create_stream_ticket),
        routes!(open_stream),
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
    responses(
        (status = 200, description = "The state", body = StateView, headers(("ETag" = String, description = "Send it back as `If-None-Match`")),
            example = json!(example::state())),
        (status = 304, description = "Nothing changed since the `ETag` sent as `If-None-Match`"),
        (status = 400, description = "Refused: API_010 (unknown field; `context.allowed` lists the valid ones), API_007",
            body = Problem, content_type = "application/problem+json")))]
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
            Ok(document.respond(headers, overview.shared.rendered.load().max_age()))
        }
    }
}

fn state_as_rendered(overview: &Overview, headers: &HeaderMap) -> Response {
    let rendered = overview.shared.rendered.load();
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
    let rendered = overview.shared.rendered.load();
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
    let rendered = overview.shared.rendered.load();
    rendered.metrics.respond(request.headers(), rendered.max_age())
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventQuery {
    /// Events with a number above this; without it the newest ones (with `wait`: the next one).
    #[param(example = 0)]
    after: Option<u64>,
    /// When there is none yet, wait this long for one: `30s`, `500ms` or bare seconds, at most 30 s.
    #[param(example = "30s")]
    wait: Option<String>,
    /// Only this kind: `error`, `fill`, `order`, `session`, `breaker`, `config`, `lifecycle`, `workflow`, `health`,
    /// `control` or `other`. Failures of every kind are in `GET errors`.
    #[param(example = "error")]
    kind: Option<String>,
    /// Items at most, 1 to 500.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// What happened
///
/// The journal, oldest first, with numbers that survive restarts. Send `next` as `after` to go on; with `wait` the
/// call returns as soon as something happens, or with an empty page after the wait. The same events with the same
/// numbers come over the stream. Texts of events whose `source` is the bot are untrusted.
#[utoipa::path(get, path = "/api/v1/events", tag = "state", security(("api_key" = ["read"])), params(EventQuery),
    responses(
        (status = 200, description = "A page", body = EventPage, example = json!(example::events())),
        (status = 400, description = "Refused: API_007", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "Refused: API_013 (the journal does not hold what followed `after`)",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Refused: SRV_002", body = Problem,
            content_type = "application/problem+json")))]
async fn list_events(
    State(overview): State<Overview>,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let kind = query.kind.as_deref().map(kind_of).transpose()?;
    let wait = query.wait.as_deref().map(wait_of).transpose()?;
    let limit = limit_of(query.limit)?;
    let events = &overview.shared.events;
    let after = match (query.after, wait) {
        (Some(after), _) if after > events.latest() => return Err(not_of_this_journal(events.latest())),
        (Some(after), _) => after,
        (None, Some(_)) => events.latest(),
        (None, None) => return page_of(&newest(&overview, kind, limit).await?, &headers),
    };
    let deadline = tokio::time::Instant::now() + wait.unwrap_or_default();
    let mut page = events.since(after, kind, limit).await?;
    while page.items.is_empty() && wait.is_some() {
        tokio::select! {
            () = events.wait_beyond(page.latest) => {}
            () = tokio::time::sleep_until(deadline) => break,
            () = overview.shared.stopping.cancelled() => break,
        }
        page = events.since(page.next, kind, limit).await?;
    }
    let page = EventPage {
        omitted: page.latest.saturating_sub(page.next),
        next: page.next,
        latest: page.latest,
        items: page.items.iter().map(|event| Event::clone(event)).collect(),
    };
    page_of(&page, &headers)
}

/// Numbers only grow, so a cursor from the future was given out by another data folder.
fn not_of_this_journal(latest: u64) -> Error {
    Error::new(Code::CursorExpired)
        .detail("the cursor is ahead of the journal; it belongs to another data folder")
        .context("oldest", 1)
        .context("latest", latest)
        .next("list_events", "GET", format!("/api/v1/events?after={latest}"), None, Some("read"))
}

/// The newest events, oldest of them first; nothing is left out after them.
async fn newest(overview: &Overview, kind: Option<EventKind>, limit: usize) -> Result<EventPage, Error> {
    let page = overview.shared.events.newest(None, kind, limit).await?;
    let items = page.items.iter().rev().map(|event| Event::clone(event)).collect();
    Ok(EventPage { items, next: page.latest, omitted: 0, latest: page.latest })
}

/// Which failures.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ErrorQuery {
    /// Failures after these: the `next` of the page before.
    after: Option<u64>,
    /// Items at most, 1 to 500.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// Recent failures with remedies
///
/// Newest first, of the bot and of botops, each with code, cause, impact and remediation, whatever kind of event carried
/// it; those that stand in the bot's state alone are among them. Send `next` as `after` for older ones.
#[utoipa::path(get, path = "/api/v1/errors", tag = "state", security(("api_key" = ["read"])), params(ErrorQuery),
    responses(
        (status = 200, description = "A page", body = ErrorPage, example = json!(example::errors())),
        (status = 400, description = "Refused: API_007", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Refused: SRV_002", body = Problem,
            content_type = "application/problem+json")))]
async fn list_errors(
    State(overview): State<Overview>,
    Query(query): Query<ErrorQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let limit = limit_of(query.limit)?;
    let snapshot = overview.shared.bots.snapshot();
    let in_state = snapshot.report.as_deref().map_or(&[][..], |report| &report.recent_errors);
    let page = failures::page(&overview.shared.events, in_state, query.after, limit).await?;
    let view = |failure| match failure {
        ListedFailure::Told(event) => Some(ErrorView {
            seq: Some(event.seq),
            source: event.source.clone(),
            found_in: FoundIn::Events,
            untrusted: event.source != "botops",
            error: event.error.clone()?,
        }),
        ListedFailure::Reported(error) => Some(ErrorView {
            seq: None,
            source: format!("bot:{}", snapshot.id),
            found_in: FoundIn::State,
            untrusted: true,
            error,
        }),
    };
    let page = ErrorPage {
        items: page.items.into_iter().filter_map(view).collect(),
        next: page.next,
        omitted: page.omitted,
        latest: page.latest,
    };
    page_of(&page, &headers)
}

/// What this key and this bot can do
///
/// Read it before trying: scopes of the key, capabilities of the bot, limits, and whether money is real.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "state", security(("api_key" = ["read"])),
    responses((status = 200, description = "Key, bot and limits", body = WhoamiView,
        example = json!(example::whoami()))))]
async fn get_whoami(
    State(overview): State<Overview>,
    actor: Actor,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let snapshot = overview.shared.bots.snapshot();
    let hello = snapshot.hello.as_deref();
    let view = WhoamiView {
        key: actor.key_id.to_string(),
        scopes: actor.scopes.effective(),
        expires_at: actor.expires_at,
        mode: overview.shared.rendered.load().view.mode,
        bot: BotBrief {
            id: snapshot.id.to_string(),
            version: hello.map(|hello| hello.version.clone()),
            presence: snapshot.presence,
            capabilities: hello.map(|hello| hello.capabilities.clone()).unwrap_or_default(),
        },
        limits: LimitsView {
            requests_per_minute: actor.rate_limit,
            body_bytes: BODY_LIMIT,
            wait_seconds: WAIT_MAX.as_secs(),
            summary_bytes: MAX_BYTES,
            summary_tokens: MAX_TOKENS,
            stream_clients: overview.shared.options.stream_max_clients,
        },
        version: env!("CARGO_PKG_VERSION"),
    };
    page_of(&view, &headers)
}

/// Does the API answer?
///
/// Open, and says nothing but that and the time. Depends on neither the bot nor the store.
#[utoipa::path(get, path = "/api/v1/health/healthz", tag = "health", security(()),
    responses((status = 200, description = "It does", body = HealthzView)))]
async fn get_healthz() -> Response {
    json(&HealthzView { status: "healthy", timestamp: Utc::now() })
}

/// A ticket for the stream
///
/// For browsers, which cannot send the key with a WebSocket: the ticket stands for it once, within 30 seconds.
#[utoipa::path(post, path = "/api/v1/stream/ticket", tag = "state", security(("api_key" = ["read"])),
    responses((status = 201, description = "The ticket", body = TicketView)))]
async fn create_stream_ticket(State(overview): State<Overview>, actor: Actor) -> Result<Response, Error> {
    let ticket = overview.shared.stream.ticket(&actor)?;
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
    responses(
        (status = 101, description = "The stream begins"),
        (status = 400, description = "Refused: API_007", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Refused: AUTH_001, AUTH_002, AUTH_005", body = Problem,
            content_type = "application/problem+json"),
        (status = 426, description = "Refused: API_015 (no WebSocket handshake)", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Refused: API_014 (no room), SRV_003", body = Problem,
            content_type = "application/problem+json")))]
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
        (Some(ticket), _) => overview.shared.stream.redeem(ticket)?,
        (None, actor) => StreamAdmission::from(&actor?),
    };
    let Some(Extension(wire)) = wire else { return Err(Error::new(Code::UpgradeRequired)) };
    stream::open(&overview, upgrade, wire, admission, query.after)
}

/// An answer made now, which a client that has it already need not get again.
fn page_of<T: Serialize>(page: &T, headers: &HeaderMap) -> Result<Response, Error> {
    Ok(Document::of_json(page)?.respond(headers, Duration::ZERO))
}

fn kind_of(text: &str) -> Result<EventKind, Error> {
    let kind: EventKind = serde_json::from_value(Value::from(text)).unwrap_or(EventKind::Other);
    if kind_name(kind) == text {
        return Ok(kind);
    }
    let expected =
        "error, fill, order, session, breaker, config, lifecycle, workflow, health, control or other";
    Err(Error::new(Code::ArgumentInvalid).detail("there is no such kind of event").field(
        "?kind",
        botops_core::text::clean(text, 40),
        expected,
    ))
}

fn limit_of(limit: Option<usize>) -> Result<usize, Error> {
    match limit {
        None => Ok(PAGE),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(limit) => Err(Error::new(Code::ArgumentInvalid)
            .detail("`limit` is out of range")
            .field("?limit", limit, "1 to 500")),
    }
}

fn wait_of(text: &str) -> Result<Duration, Error> {
    let number = |digits: &str| digits.parse::<u32>().ok();
    let wait = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => number(digits).map(|ms| Duration::from_millis(ms.into())),
        (None, Some(digits)) => number(digits).map(|seconds| Duration::from_secs(seconds.into())),
        (None, None) => number(text).map(|seconds| Duration::from_secs(seconds.into())),
    };
    wait.filter(|wait| *wait <= WAIT_MAX).ok_or_else(|| {
        Error::new(Code::ArgumentInvalid).detail("`wait` cannot be used").field(
            "?wait",
            botops_core::text::clean(text, 40),
            "30s, 500ms or bare seconds, at most 30 s",
        )
    })
}

/// For the examples of the document: the views of this file, made up.
pub(super) mod made_up {
    use super::{ErrorPage, ErrorView, Event, EventKind, EventPage, FoundIn, SemanticError, Value};
    use botops_core::error::Severity;

    /// A page of one event.
    pub fn events(error: SemanticError) -> Value {
        let event = Event {
            seq: 1041,
            at: error.timestamp,
            kind: EventKind::Error,
            severity: Severity::Medium,
            source: "bot:paperbot".to_owned(),
            message: error.message.clone(),
            error: Some(error),
            data: Value::Null,
        };
        value(&EventPage { items: vec![event], next: 1041, omitted: 0, latest: 1041 })
    }

    /// A page of one failure.
    pub fn errors(error: SemanticError) -> Value {
        let (source, found_in) = ("bot:paperbot".to_owned(), FoundIn::Events);
        let item = ErrorView { seq: Some(1041), source, found_in, untrusted: true, error };
        value(&ErrorPage { items: vec![item], next: None, omitted: 0, latest: 1058 })
    }

    fn value<T: serde::Serialize>(page: &T) -> Value {
        serde_json::to_value(page).expect("a page has string keys only")
    }
}
