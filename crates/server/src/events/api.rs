//! The route `GET events`.
#![expect(unused_qualifications, reason = "utoipa's macro repeats the query types of handlers")]

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::journal::Events;
use super::model::{Event, kind_name};
use botops_contract::{EventKind, SemanticError, Severity};
use botops_core::error::{Code, Error};
use botops_http::{FeatureRoutes, Query, RenderedDocument, routes};

/// Items of a page when the request names no `limit`.
const PAGE: usize = 50;

/// The largest `limit` a request may ask for.
const MAX_PAGE: usize = 500;

/// How long a call may wait for an event; a request has 35 s in all.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

/// What the route needs: the journal, and the signal that ends waiting calls.
#[derive(Debug, Clone)]
pub struct EventReader {
    events: Events,
    stopping: CancellationToken,
}

impl EventReader {
    /// Reads this journal. A waiting call is answered at once when `stopping` is cancelled.
    pub fn new(events: Events, stopping: CancellationToken) -> Self {
        Self { events, stopping }
    }
}

/// A page of the journal, oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct EventPageView {
    /// Events with a number above `after`.
    items: Vec<Event>,
    /// What to send as `after` to read on.
    next: u64,
    /// How many sequence numbers lie between this page and the newest event; 0 when nothing was left out.
    omitted: u64,
    /// The newest sequence number given out so far.
    latest: u64,
}

/// The routes of the journal.
pub fn routes() -> FeatureRoutes<EventReader> {
    FeatureRoutes::new([routes!(list_events.refuses(CursorExpired, StoreUnavailable))])
}

/// Which events to return.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventQuery {
    /// Only events with a number above this. Without it the newest events are returned (with `wait`: the next one).
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
    responses((status = 200, description = "A page", body = EventPageView, example = json!(example_page()))))]
async fn list_events(
    State(reader): State<EventReader>,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let kind = query.kind.as_deref().map(parse_kind).transpose()?;
    let wait = query.wait.as_deref().map(parse_wait).transpose()?;
    let limit = page_limit(query.limit)?;
    let events = &reader.events;
    let after = match (query.after, wait) {
        (Some(after), _) if after > events.latest() => {
            return Err(cursor_of_another_journal(events.latest()));
        }
        (Some(after), _) => after,
        (None, Some(_)) => events.latest(),
        (None, None) => return respond(&newest_page(events, kind, limit).await?, &headers),
    };
    let deadline = tokio::time::Instant::now() + wait.unwrap_or_default();
    let mut page = events.since(after, kind, limit).await?;
    while page.items.is_empty() && wait.is_some() {
        tokio::select! {
            () = events.wait_beyond(page.latest) => {}
            () = tokio::time::sleep_until(deadline) => break,
            () = reader.stopping.cancelled() => break,
        }
        page = events.since(page.next, kind, limit).await?;
    }
    let page = EventPageView {
        omitted: page.latest.saturating_sub(page.next),
        next: page.next,
        latest: page.latest,
        items: page.items.iter().map(|event| Event::clone(event)).collect(),
    };
    respond(&page, &headers)
}

/// Numbers only grow, so a cursor above the newest one comes from another data folder.
fn cursor_of_another_journal(latest: u64) -> Error {
    Error::new(Code::CursorExpired)
        .detail("the cursor is ahead of the journal; it belongs to another data folder")
        .context("oldest", 1)
        .context("latest", latest)
        .next("list_events", "GET", format!("/api/v1/events?after={latest}"), None, Some("read"))
}

/// The newest events, oldest of them first, so that reading on from `next` misses none.
async fn newest_page(events: &Events, kind: Option<EventKind>, limit: usize) -> Result<EventPageView, Error> {
    let page = events.newest(None, kind, limit).await?;
    let items = page.items.iter().rev().map(|event| Event::clone(event)).collect();
    Ok(EventPageView { items, next: page.latest, omitted: 0, latest: page.latest })
}

/// The answer with its `ETag`; a client that has the same page already gets 304.
fn respond(page: &EventPageView, headers: &HeaderMap) -> Result<Response, Error> {
    Ok(RenderedDocument::of_json(page)?.respond(headers, Duration::ZERO))
}

fn parse_kind(text: &str) -> Result<EventKind, Error> {
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

/// How many items a page has, as asked for with `?limit=`.
///
/// # Errors
/// [`Code::ArgumentInvalid`] outside of 1 to 500.
pub(crate) fn page_limit(limit: Option<usize>) -> Result<usize, Error> {
    match limit {
        None => Ok(PAGE),
        Some(limit @ 1..=MAX_PAGE) => Ok(limit),
        Some(limit) => Err(Error::new(Code::ArgumentInvalid)
            .detail("`limit` is out of range")
            .field("?limit", limit, "1 to 500")),
    }
}

fn parse_wait(text: &str) -> Result<Duration, Error> {
    let number = |digits: &str| digits.parse::<u32>().ok();
    let wait = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => number(digits).map(|ms| Duration::from_millis(ms.into())),
        (None, Some(digits)) => number(digits).map(|seconds| Duration::from_secs(seconds.into())),
        (None, None) => number(text).map(|seconds| Duration::from_secs(seconds.into())),
    };
    wait.filter(|wait| *wait <= MAX_WAIT).ok_or_else(|| {
        Error::new(Code::ArgumentInvalid).detail("`wait` cannot be used").field(
            "?wait",
            botops_core::text::clean(text, 40),
            "30s, 500ms or bare seconds, at most 30 s",
        )
    })
}

/// A page of one event, for the API document.
fn example_page() -> EventPageView {
    let error = example_failure();
    let event = Event {
        seq: 1041,
        at: error.timestamp.unwrap_or_default(),
        kind: EventKind::Error,
        severity: Severity::Medium,
        source: "bot:paperbot".to_owned(),
        message: error.message.clone(),
        error: Some(error),
        repeats: None,
        data: Value::Null,
    };
    EventPageView { items: vec![event], next: 1041, omitted: 0, latest: 1041 }
}

/// A made-up failure, for the API document.
pub(crate) fn example_failure() -> SemanticError {
    let failure = json!({
        "error_code": "BRK_010", "error_type": "TradingError", "severity": "medium",
        "message": "the order for 500 NVDA was refused", "cause": "buying power is 71250.40, 92110.00 is needed",
        "impact": "the position was not opened; nothing else changed",
        "remediation": "Lower max_position_size_pct, or wait until a position is closed.",
        "timestamp": "2026-11-23T15:12:09Z",
    });
    serde_json::from_value(failure).expect("the literal is a failure")
}
