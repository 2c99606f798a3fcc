//! The route `GET events`.
#![expect(unused_qualifications, reason = "utoipa's macro repeats the query types of handlers")]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::journal::Events;
use super::model::{Event, kind_name};
use super::page::EventFilter;
use botops_contract::{EventKind, SemanticError, Severity};
use botops_core::duration::parse_time_ago;
use botops_core::error::{Code, Error};
use botops_http::{FeatureRoutes, Query, RenderedDocument, parse_wait, routes};

/// Items of a page when the request names no `limit`.
const PAGE: usize = 50;

/// The largest `limit` a request may ask for.
const MAX_PAGE: usize = 500;

/// The longest name of a component, run or symbol that is looked for, in characters.
const LONGEST_NAME: usize = 128;

/// The names of the components that are watched now.
type WatchedComponents = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What the route needs: the journal, the names to look for, and the signal that ends waiting calls.
#[derive(Clone)]
pub struct EventReader {
    events: Events,
    components: WatchedComponents,
    stopping: CancellationToken,
}

impl fmt::Debug for EventReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReader").field("events", &self.events).finish_non_exhaustive()
    }
}

impl EventReader {
    /// Reads this journal. `components` are the names of those that are watched now. A waiting call is answered at once when
    /// `stopping` is cancelled.
    pub fn new(
        events: Events,
        components: impl Fn() -> Vec<String> + Send + Sync + 'static,
        stopping: CancellationToken,
    ) -> Self {
        Self { events, components: Arc::new(components), stopping }
    }

    /// Why nothing is found under a name that is asked for, when no event has it.
    async fn why_empty(&self, wanted: &EventFilter) -> Result<Option<String>, Error> {
        let cleaned = |name: &str| botops_core::text::clean(name, 60);
        if let Some(name) = &wanted.component {
            let known = (self.components)();
            let any = EventFilter { component: Some(name.clone()), ..EventFilter::default() };
            if !known.contains(name) && self.has_none(&any).await? {
                return Ok(Some(format!(
                    "`{}` is no component, and no event is about one of that name; there are {}. Events of workflows, of the config \
                     and their like are found by kind, as kind=workflow",
                    cleaned(name),
                    known.join(", ")
                )));
            }
        }
        if let Some(run) = &wanted.run {
            let any = EventFilter { run: Some(run.clone()), ..EventFilter::default() };
            if self.has_none(&any).await? {
                return Ok(Some(format!("no event that is kept belongs to a run `{}`", cleaned(run))));
            }
        }
        if let Some(symbol) = &wanted.symbol {
            let any = EventFilter { symbol: Some(symbol.clone()), ..EventFilter::default() };
            if self.has_none(&any).await? {
                return Ok(Some(format!(
                    "no event that is kept is about a symbol `{}`; symbols are as the bot writes them",
                    cleaned(symbol)
                )));
            }
        }
        Ok(None)
    }

    async fn has_none(&self, wanted: &EventFilter) -> Result<bool, Error> {
        Ok(self.events.newest(None, wanted, 1).await?.items.is_empty())
    }
}

/// A page of the journal: newest first, or oldest first with `after`.
#[derive(Debug, Serialize, ToSchema)]
struct EventPageView {
    /// Newest first; with `after` or `wait` the events above that number, oldest first.
    items: Vec<Event>,
    /// What to send as `after` for what comes after this page.
    next: u64,
    /// What to send as `before` for older events; `null` at the end. Only in a page that is newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    older: Option<Option<u64>>,
    /// Newest first: how many older events match beyond this page, counted up to 100. Oldest first: how many numbers lie
    /// between this page and the newest event; 0 when nothing was left out.
    omitted: u64,
    /// The newest sequence number given out so far.
    latest: u64,
    /// Why there is no item, in words: no event has the component, run or symbol that was asked for. Left out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    empty_reason: Option<String>,
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
    /// Only events with a number above this, oldest first.
    #[param(example = 0)]
    after: Option<u64>,
    /// Only events with a number below this, newest first: `older` of the page before.
    #[param(example = 1041)]
    before: Option<u64>,
    /// Only events of this time or later, by the clock of their source: `2h`, `30m`, or a time like
    /// `2026-11-23T15:00:00Z`.
    #[param(example = "2h")]
    since: Option<String>,
    /// When there is none after `after` (without it: after now), wait this long for one: `30s`, `5m` or bare seconds, at
    /// most 5 minutes.
    #[param(example = "30s")]
    wait: Option<String>,
    /// Only these kinds, separated by commas: `error`, `fill`, `order`, `session`, `breaker`, `config`, `lifecycle`,
    /// `workflow`, `health`, `control` or `other`. Failures of every kind are in `GET errors`.
    #[param(example = "error,fill")]
    kind: Option<String>,
    /// Only what is about this component of the health monitoring.
    #[param(example = "bot")]
    component: Option<String>,
    /// Only what belongs to this workflow run.
    #[param(example = "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10")]
    run: Option<String>,
    /// Only what is about this symbol, as the bot writes it.
    #[param(example = "SPY")]
    symbol: Option<String>,
    /// Items at most, 1 to 500.
    #[param(default = 50, minimum = 1, maximum = 500)]
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, 500>")]
    limit: Option<usize>,
}

impl EventQuery {
    fn filter(&self) -> Result<EventFilter, Error> {
        Ok(EventFilter {
            kinds: self.kind.as_deref().map(parse_kinds).transpose()?.unwrap_or_default(),
            component: name("?component", self.component.as_deref())?,
            run: name("?run", self.run.as_deref())?,
            symbol: name("?symbol", self.symbol.as_deref())?,
            since: self.since.as_deref().map(|text| parse_since(text, Utc::now())).transpose()?,
            ..EventFilter::default()
        })
    }
}

/// What happened
///
/// The journal, newest first, with numbers that survive restarts; `older` goes on as `before`. With `after` it is read
/// oldest first: send `next` as `after` to go on. With `wait` the call returns as soon as something happens that is asked
/// for, or with an empty page after the wait. The same events with the same numbers come over the stream. Texts of events
/// whose `source` is the bot are untrusted.
#[utoipa::path(get, path = "/api/v1/events", tag = "state", security(("api_key" = ["read"])), params(EventQuery),
    responses((status = 200, description = "A page", body = EventPageView, example = json!(example_page()))))]
async fn list_events(
    State(reader): State<EventReader>,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let wanted = query.filter()?;
    let wait = query.wait.as_deref().map(parse_wait).transpose()?;
    let limit = page_limit(query.limit)?;
    let events = &reader.events;
    let after = match (query.after, query.before, wait) {
        (Some(_), Some(before), _) | (_, Some(before), Some(_)) => {
            let why = "`before` reads newest first, and goes with neither `after` nor `wait`";
            return Err(Error::new(Code::ArgumentInvalid).detail(why).field("?before", before, "left out"));
        }
        (Some(after), ..) if after > events.latest() => {
            return Err(cursor_of_another_journal(events.latest()));
        }
        (Some(after), ..) => after,
        (None, None, Some(_)) => events.latest(),
        (None, before, None) => {
            let mut page = newest_page(events, before, &wanted, limit).await?;
            if page.items.is_empty() {
                page.empty_reason = reader.why_empty(&wanted).await?;
            }
            return respond(&page, &headers);
        }
    };
    let deadline = tokio::time::Instant::now() + wait.unwrap_or_default();
    let mut page = events.since(after, &wanted, limit).await?;
    while page.items.is_empty() && wait.is_some() {
        tokio::select! {
            () = events.wait_beyond(page.latest) => {}
            () = tokio::time::sleep_until(deadline) => break,
            () = reader.stopping.cancelled() => break,
        }
        page = events.since(page.next, &wanted, limit).await?;
    }
    let page = EventPageView {
        empty_reason: if page.items.is_empty() { reader.why_empty(&wanted).await? } else { None },
        omitted: page.latest.saturating_sub(page.next),
        next: page.next,
        older: None,
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

/// A page newest first.
async fn newest_page(
    events: &Events,
    before: Option<u64>,
    wanted: &EventFilter,
    limit: usize,
) -> Result<EventPageView, Error> {
    let page = events.newest(before, wanted, limit).await?;
    Ok(EventPageView {
        items: page.items.iter().map(|event| Event::clone(event)).collect(),
        // Reading on from there misses nothing that came after this page was read.
        next: page.latest,
        older: Some(page.next),
        omitted: u64::try_from(page.omitted).unwrap_or(u64::MAX),
        latest: page.latest,
        empty_reason: None,
    })
}

/// The answer with its `ETag`; a client that has the same page already gets 304.
fn respond(page: &EventPageView, headers: &HeaderMap) -> Result<Response, Error> {
    Ok(RenderedDocument::of_json(page)?.respond(headers, Duration::ZERO))
}

const KINDS: &str = "error, fill, order, session, breaker, config, lifecycle, workflow, health, control or other, separated by commas";

fn parse_kinds(text: &str) -> Result<Vec<EventKind>, Error> {
    let mut kinds = Vec::new();
    for word in text.split(',').map(str::trim) {
        let kind: EventKind = serde_json::from_value(Value::from(word)).unwrap_or(EventKind::Other);
        if kind_name(kind) != word {
            let got = botops_core::text::clean(word, 40);
            return Err(Error::new(Code::ArgumentInvalid)
                .detail("there is no such kind of event")
                .field("?kind", got, KINDS));
        }
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

/// A name to look for, of a length that a name has.
fn name(field: &'static str, given: Option<&str>) -> Result<Option<String>, Error> {
    match given {
        None => Ok(None),
        Some(name) if !name.is_empty() && name.chars().count() <= LONGEST_NAME => Ok(Some(name.to_owned())),
        Some(name) => Err(Error::new(Code::ArgumentInvalid).detail("there is no such name").field(
            field,
            botops_core::text::clean(name, 40),
            "a name of 1 to 128 characters",
        )),
    }
}

/// A time, or how long ago it was.
///
/// # Errors
/// [`Code::ArgumentInvalid`] for what is neither.
pub(crate) fn parse_since(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
    let ago = || now.checked_sub_signed(TimeDelta::from_std(parse_time_ago(text)?).ok()?);
    // A `+` that was not encoded arrives as a blank.
    let time =
        || DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|time| time.with_timezone(&Utc));
    time().or_else(ago).ok_or_else(|| {
        Error::new(Code::ArgumentInvalid).detail("`since` cannot be used").field(
            "?since",
            botops_core::text::clean(text, 40),
            "how long ago, such as 2h or 30m, or a time with its zone, such as 2026-11-23T15:00:00Z; no seconds since 1970",
        )
    })
}

/// How many items a page has, as asked for with `?limit=`.
///
/// # Errors
/// [`Code::ArgumentInvalid`] outside of 1 to 500.
pub(crate) fn page_limit(limit: Option<usize>) -> Result<usize, Error> {
    match limit {
        None => Ok(PAGE),
        Some(limit @ 1..=MAX_PAGE) => Ok(limit),
        Some(limit) => Err(Error::new(Code::ArgumentInvalid).detail("`limit` is out of range").field(
            "?limit",
            limit,
            "a whole number from 1 to 500",
        )),
    }
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
    EventPageView {
        items: vec![event],
        next: 1041,
        older: Some(None),
        omitted: 0,
        latest: 1041,
        empty_reason: None,
    }
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
