//! The event journal: what happened, in order, with sequence numbers that survive restarts.
//!
//! [`Events::publish`] gives an event its number, keeps it in memory, tells subscribers and queues it for the store;
//! [`Events::since`] reads on from a number. A number is never used twice, even after a kill: numbers are reserved
//! in the store in blocks ahead of use, so a number whose event was lost stays a hole. Deliberately absent: topics
//! and acknowledgements. A reader keeps its own place.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use utoipa::ToSchema;

use crate::store::{Store, StoreAbort};
use botops_contract::{EventKind, SemanticError, Severity};
use botops_core::error::{Code, Error};

/// Events kept in memory, so that a usual poll does not touch the disk.
const RING: usize = 2_048;

/// Events a subscriber may be behind before it is told that it lost some.
const SUBSCRIBER_QUEUE: usize = 1_024;

/// How far events that a backward page leaves out are counted.
const COUNT_LEFT_OUT: usize = 100;

/// Numbers reserved at a time.
const BLOCK: u64 = 1_000;

/// Events the store keeps.
const KEEP_ROWS: u64 = 200_000;

/// How long the store keeps them.
const KEEP_DAYS: i64 = 90;

/// One thing that happened. Its texts are untrusted when `source` is the bot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The place in the journal: grows, survives restarts, may have holes.
    pub seq: u64,
    /// When it happened, by its source's clock.
    pub at: DateTime<Utc>,
    /// What it is about.
    pub kind: EventKind,
    /// How much attention it wants.
    pub severity: Severity,
    /// `botops`, or `bot:<id>`: then message, error and data are the bot's words, cleaned but untrusted.
    pub source: String,
    /// One sentence for people.
    pub message: String,
    /// The failure, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SemanticError>,
    /// The facts, by kind.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    pub data: Value,
}

/// An event before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What it is about.
    pub kind: EventKind,
    /// How much attention it wants.
    pub severity: Severity,
    /// `botops`, or `bot:<id>`.
    pub source: String,
    /// One sentence for people.
    pub message: String,
    /// The failure, when there is one.
    pub error: Option<SemanticError>,
    /// The facts, by kind.
    pub data: Value,
    /// A reader's place in another journal, stored together with the event: key and value.
    pub bookmark: Option<(String, String)>,
}

impl NewEvent {
    /// A failure of botops itself, happening now.
    pub fn failure(error: &Error) -> Self {
        let error = error.semantic(Utc::now());
        let event = Self::own(EventKind::Error, error.severity, error.message.clone(), Value::Null);
        Self { error: Some(error), ..event }
    }

    /// An event of botops itself, happening now.
    pub fn own(kind: EventKind, severity: Severity, message: impl Into<String>, data: Value) -> Self {
        Self {
            at: Utc::now(),
            kind,
            severity,
            source: "botops".to_owned(),
            message: message.into(),
            error: None,
            data,
            bookmark: None,
        }
    }
}

/// Which events a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventFilter {
    All,
    Kind(EventKind),
    /// Of any kind, when a failure stands behind it.
    Failures,
}

impl EventFilter {
    fn of(kind: Option<EventKind>) -> Self {
        kind.map_or(Self::All, Self::Kind)
    }

    fn includes(self, event: &Event) -> bool {
        match self {
            Self::All => true,
            Self::Kind(kind) => event.kind == kind,
            Self::Failures => event.error.is_some(),
        }
    }

    /// Each with its own condition, so that what is rare is found through its index.
    fn condition(self) -> &'static str {
        match self {
            Self::All => "?2 = ''",
            Self::Kind(_) => "kind = ?2",
            // Word for word the condition of the index.
            Self::Failures => {
                "?2 = '' AND CASE WHEN json_valid(body) THEN json_type(body, '$.error') END = 'object'"
            }
        }
    }

    fn kind_name(self) -> String {
        if let Self::Kind(kind) = self { kind_name(kind) } else { String::new() }
    }
}

/// A page of the journal.
#[derive(Debug, Clone)]
pub struct JournalPage {
    /// Events with a number above `after`, oldest first.
    pub items: Vec<Arc<Event>>,
    /// The newest number given out so far.
    pub latest: u64,
    /// The cursor of the next page: the last item's number, or the number up to which nothing matched.
    pub next: u64,
    /// True when more events match beyond this page.
    pub more: bool,
}

/// A page of the journal, newest first.
#[derive(Debug, Clone)]
pub struct JournalPageBackwards {
    /// The events.
    pub items: Vec<Arc<Event>>,
    /// The cursor of the next older page; `None` at the end.
    pub next: Option<u64>,
    /// How many older events match beyond this page, counted up to 100.
    pub omitted: usize,
    /// The newest number given out so far.
    pub latest: u64,
}

/// Handle to the journal; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Events {
    shared: Arc<JournalInner>,
}

#[derive(Debug)]
struct JournalInner {
    store: Store,
    journal: Mutex<JournalState>,
    live: broadcast::Sender<Arc<Event>>,
    latest: watch::Sender<u64>,
}

#[derive(Debug)]
struct JournalState {
    ring: VecDeque<Arc<Event>>,
    next: u64,
    reserved: u64,
    /// The lowest number that the store may still hold.
    oldest: u64,
}

impl Events {
    /// Reads where the journal stands and reserves the next block of numbers.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the store cannot be written.
    pub async fn open(store: Store) -> Result<Self, Error> {
        let (next, oldest, recent) = store.write(|connection| Ok(resume(connection)?)).await?;
        let latest = next - 1;
        let journal = JournalState { ring: recent.into(), next, reserved: latest + BLOCK, oldest };
        let shared = JournalInner {
            store,
            journal: Mutex::new(journal),
            live: broadcast::Sender::new(SUBSCRIBER_QUEUE),
            latest: watch::Sender::new(latest),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Puts an event into the journal and returns its number. Never waits.
    pub fn publish(&self, new: NewEvent) -> u64 {
        let NewEvent { at, kind, severity, source, message, error, data, bookmark } = new;
        // A bot that says no more than that something failed is among the failures all the same.
        let error =
            error.or_else(|| (kind == EventKind::Error).then(|| bare_failure(at, severity, &message)));
        let mut journal = self.lock();
        let seq = journal.next;
        journal.next += 1;
        let reserve = (seq + BLOCK / 2 > journal.reserved).then_some(seq + BLOCK);
        if let Some(reserved) = reserve {
            journal.reserved = reserved;
        }
        let event = Arc::new(Event { seq, at, kind, severity, source, message, error, data });
        journal.ring.push_back(event.clone());
        if journal.ring.len() > RING {
            journal.ring.pop_front();
        }
        // Still under the lock, so that the store and every subscriber see the order of the numbers.
        let row = event.clone();
        self.shared.store.post("an event", move |connection| {
            insert(connection, &row)?;
            if let Some(reserved) = reserve {
                put_meta(connection, "events_reserved", &reserved.to_string())?;
            }
            if let Some((key, value)) = bookmark {
                put_meta(connection, &key, &value)?;
            }
            Ok(())
        });
        // Nobody listening is fine.
        let _ = self.shared.live.send(event);
        drop(journal);
        self.shared.latest.send_if_modified(|latest| {
            let newer = seq > *latest;
            *latest = seq.max(*latest);
            newer
        });
        seq
    }

    /// Events as they happen. A subscriber that lags is told how many it lost and reads them with [`Events::since`].
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shared.live.subscribe()
    }

    /// The newest number given out.
    pub fn latest(&self) -> u64 {
        *self.shared.latest.borrow()
    }

    /// Resolves when a number above `after` has been given out.
    pub async fn wait_beyond(&self, after: u64) {
        let mut latest = self.shared.latest.subscribe();
        // The sender lives as long as `self`.
        let _ = latest.wait_for(|latest| *latest > after).await;
    }

    /// At most `limit` events with a number above `after`, of one kind or of all, oldest first.
    ///
    /// # Errors
    /// [`Code::CursorExpired`] when events right after `after` have been deleted; [`Code::StoreUnavailable`].
    pub async fn since(
        &self,
        after: u64,
        kind: Option<EventKind>,
        limit: usize,
    ) -> Result<JournalPage, Error> {
        {
            let journal = self.lock();
            let latest = journal.next - 1;
            if after + 1 < journal.oldest {
                return Err(Error::new(Code::CursorExpired)
                    .context("oldest", journal.oldest)
                    .context("latest", latest));
            }
            let in_memory =
                journal.ring.front().is_none_or(|event| event.seq <= after + 1) || after >= latest;
            if in_memory {
                let behind = journal.ring.iter().filter(|event| event.seq > after);
                let matching = behind.filter(|event| kind.is_none_or(|kind| event.kind == kind)).cloned();
                return Ok(page(matching.take(limit + 1).collect(), limit, latest));
            }
        }
        let latest = self.latest();
        let kind_name = kind.map(kind_name);
        let items = self
            .shared
            .store
            .read(move |connection| Ok(select(connection, after, kind_name.as_deref(), limit + 1)?))
            .await?;
        Ok(page(items.into_iter().map(Arc::new).collect(), limit, latest))
    }

    /// At most `limit` events with a number below `before` (without it: all), of one kind or of all, newest first.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn newest(
        &self,
        before: Option<u64>,
        kind: Option<EventKind>,
        limit: usize,
    ) -> Result<JournalPageBackwards, Error> {
        self.backwards(before, EventFilter::of(kind), limit).await
    }

    /// The same of the events that carry a failure, of whatever kind they are.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn failures(&self, before: Option<u64>, limit: usize) -> Result<JournalPageBackwards, Error> {
        self.backwards(before, EventFilter::Failures, limit).await
    }

    async fn backwards(
        &self,
        before: Option<u64>,
        wanted: EventFilter,
        limit: usize,
    ) -> Result<JournalPageBackwards, Error> {
        let before = before.unwrap_or(u64::MAX);
        let count = limit + COUNT_LEFT_OUT;
        let (mut items, below) = {
            let journal = self.lock();
            let matching = journal.ring.iter().rev().filter(|event| event.seq < before);
            let matching = matching.filter(|event| wanted.includes(event));
            let items: Vec<_> = matching.take(count).cloned().collect();
            let held_from = journal.ring.front().map_or(journal.next, |event| event.seq);
            (items, held_from.min(before))
        };
        if items.len() < count && below > 1 {
            let missing = count - items.len();
            let older = self
                .shared
                .store
                .read(move |connection| Ok(select_backwards(connection, below, wanted, missing)?));
            items.extend(older.await?.into_iter().map(Arc::new));
        }
        let omitted = items.len().saturating_sub(limit);
        items.truncate(limit);
        let next = items.last().map(|event| event.seq).filter(|_| omitted > 0);
        Ok(JournalPageBackwards { items, next, omitted, latest: self.latest() })
    }

    /// The lowest number that may still be read.
    pub fn oldest(&self) -> u64 {
        self.lock().oldest
    }

    /// The newest events of one kind held in memory, newest first.
    pub fn recent(&self, kind: EventKind, limit: usize) -> Vec<Arc<Event>> {
        let journal = self.lock();
        journal.ring.iter().rev().filter(|event| event.kind == kind).take(limit).cloned().collect()
    }

    /// The events held in memory that carry a failure, newest first: all since `since`, and `at_least` in any case.
    pub fn recent_failures(&self, since: DateTime<Utc>, at_least: usize) -> Vec<Arc<Event>> {
        let journal = self.lock();
        let failures = journal.ring.iter().rev().filter(|event| event.error.is_some());
        let wanted = failures.enumerate().take_while(|(index, event)| *index < at_least || event.at >= since);
        wanted.map(|(_, event)| event.clone()).collect()
    }

    /// A reader's stored place, written earlier with [`NewEvent::bookmark`].
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn bookmark(&self, key: &str) -> Result<Option<String>, Error> {
        let key = key.to_owned();
        self.shared.store.read(move |connection| Ok(get_meta(connection, &key)?)).await
    }

    /// Deletes what is older than the retention, in small bites.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn prune(&self) -> Result<(), Error> {
        let horizon = (Utc::now() - chrono::Duration::days(KEEP_DAYS)).timestamp_micros();
        let keep_from = i64::try_from(self.latest().saturating_sub(KEEP_ROWS)).unwrap_or(i64::MAX);
        loop {
            let (deleted, oldest) = self
                .shared
                .store
                .write(move |connection| {
                    let deleted = connection.execute(
                        "DELETE FROM events WHERE seq IN (SELECT seq FROM events
                         WHERE at_us < ?1 OR seq < ?2 ORDER BY seq LIMIT 1000)",
                        params![horizon, keep_from],
                    )?;
                    let oldest: Option<i64> =
                        connection.query_row("SELECT min(seq) FROM events", [], |row| row.get(0))?;
                    if deleted > 0
                        && let Some(oldest) = oldest
                    {
                        put_meta(connection, "events_oldest", &oldest.to_string())?;
                    }
                    Ok((deleted, oldest))
                })
                .await?;
            if deleted == 0 {
                return Ok(());
            }
            if let Some(oldest) = oldest.and_then(|oldest| u64::try_from(oldest).ok()) {
                self.lock().oldest = oldest;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, JournalState> {
        self.shared.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a failure that came without its cause. `OTHER` is the word for what has no name of its own.
fn bare_failure(at: DateTime<Utc>, severity: Severity, message: &str) -> SemanticError {
    SemanticError {
        error_code: "OTHER".to_owned(),
        error_type: "OTHER".to_owned(),
        severity,
        message: message.to_owned(),
        cause: "the bot did not say why".to_owned(),
        impact: String::new(),
        remediation: "Look into the bot's own log around this time.".to_owned(),
        context: Value::Null,
        timestamp: at,
    }
}

/// The name of a kind on the wire.
pub fn kind_name(kind: EventKind) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => name,
        _ => "other".to_owned(),
    }
}

fn page(mut items: Vec<Arc<Event>>, limit: usize, latest: u64) -> JournalPage {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map_or(latest, |event| event.seq) } else { latest };
    JournalPage { items, latest, next, more }
}

fn resume(connection: &Connection) -> rusqlite::Result<(u64, u64, Vec<Arc<Event>>)> {
    let newest: Option<i64> = connection.query_row("SELECT max(seq) FROM events", [], |row| row.get(0))?;
    let newest = newest.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0);
    let number = |key: &str| -> rusqlite::Result<u64> {
        Ok(get_meta(connection, key)?.and_then(|text| text.parse().ok()).unwrap_or(0))
    };
    let next = number("events_reserved")?.max(newest) + 1;
    let oldest = number("events_oldest")?.max(1);
    put_meta(connection, "events_reserved", &(next - 1 + BLOCK).to_string())?;
    let from = newest.saturating_sub(RING as u64);
    let recent = select(connection, from, None, RING)?;
    Ok((next, oldest, recent.into_iter().map(Arc::new).collect()))
}

fn insert(connection: &Connection, event: &Event) -> Result<(), StoreAbort> {
    let body = serde_json::to_string(event)
        .map_err(|error| StoreAbort::Refused(Error::new(Code::Internal).caused_by(error)))?;
    let severity = format!("{:?}", event.severity).to_lowercase();
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO events(seq, at_us, kind, severity, body) VALUES(?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            i64::try_from(event.seq).unwrap_or(i64::MAX),
            event.at.timestamp_micros(),
            kind_name(event.kind),
            severity,
            body
        ])?;
    Ok(())
}

fn select(
    connection: &Connection,
    after: u64,
    kind: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<Event>> {
    let mut statement = connection.prepare_cached(
        "SELECT body FROM events WHERE seq > ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY seq LIMIT ?3",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    readable(statement.query_map(params![after, kind, limit], |row| row.get::<_, String>(0))?)
}

fn select_backwards(
    connection: &Connection,
    before: u64,
    wanted: EventFilter,
    limit: usize,
) -> rusqlite::Result<Vec<Event>> {
    let condition = wanted.condition();
    let query = format!("SELECT body FROM events WHERE seq < ?1 AND {condition} ORDER BY seq DESC LIMIT ?3");
    let mut statement = connection.prepare_cached(&query)?;
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows =
        statement.query_map(params![before, wanted.kind_name(), limit], |row| row.get::<_, String>(0))?;
    readable(rows)
}

fn readable(bodies: impl Iterator<Item = rusqlite::Result<String>>) -> rusqlite::Result<Vec<Event>> {
    let mut events = Vec::new();
    for body in bodies {
        // A row from a newer version that this one cannot read is left out, not fatal.
        if let Ok(event) = serde_json::from_str(&body?) {
            events.push(event);
        }
    }
    Ok(events)
}

fn put_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        )?
        .execute([key, value])?;
    Ok(())
}

fn get_meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(message: &str) -> NewEvent {
        NewEvent::own(EventKind::Lifecycle, Severity::Low, message, Value::Null)
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_restart_and_never_repeat() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        let first = {
            let store = Store::open(&path).unwrap();
            let events = Events::open(store.clone()).await.unwrap();
            events.publish(note("one"));
            let last = events.publish(note("two"));
            store.flush().await;
            last
        };
        let events = Events::open(Store::open(&path).unwrap()).await.unwrap();
        let page = events.since(0, None, 10).await.unwrap();
        assert_eq!(page.items.len(), 2);
        let next = events.publish(note("three"));
        assert!(next > first);
        assert_eq!(events.since(first, None, 10).await.unwrap().items[0].message, "three");
    }

    #[tokio::test]
    async fn newest_first_goes_on_below_what_memory_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        {
            let store = Store::open(&path).unwrap();
            let events = Events::open(store.clone()).await.unwrap();
            for n in 0..RING + 10 {
                events.publish(note(&n.to_string()));
            }
            store.flush().await;
        }
        let events = Events::open(Store::open(&path).unwrap()).await.unwrap();
        let first = events.newest(None, Some(EventKind::Lifecycle), RING + 3).await.unwrap();
        assert_eq!(first.items.len(), RING + 3);
        assert_eq!((first.items[0].message.as_str(), first.omitted), ("2057", 7));
        let rest = events.newest(first.next, Some(EventKind::Lifecycle), 50).await.unwrap();
        let messages: Vec<_> = rest.items.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(messages, ["6", "5", "4", "3", "2", "1", "0"]);
        assert_eq!((rest.next, rest.omitted), (None, 0));
        assert!(events.newest(None, Some(EventKind::Fill), 5).await.unwrap().items.is_empty());
    }

    #[tokio::test]
    async fn failures_of_a_full_store_are_found_through_their_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        let events = Events::open(store.clone()).await.unwrap();
        for (n, kind) in [EventKind::Session, EventKind::Error, EventKind::Breaker].into_iter().enumerate() {
            let error = bare_failure(Utc::now(), Severity::Low, "it failed");
            events.publish(NewEvent {
                kind,
                error: (n != 1).then_some(error),
                data: serde_json::json!({"error": {}}),
                ..note("it failed")
            });
        }
        for n in 0..RING {
            let data = serde_json::json!({"error": {"of": "another kind"}});
            events.publish(NewEvent { data, ..note(&n.to_string()) });
        }
        store.flush().await;
        let kinds = async |before, limit| {
            let page = events.failures(before, limit).await.unwrap();
            (page.items.iter().map(|event| event.kind).collect::<Vec<_>>(), page.next, page.omitted)
        };
        let (first, next, omitted) = kinds(None, 2).await;
        assert_eq!((first, omitted), (vec![EventKind::Breaker, EventKind::Error], 1));
        assert_eq!(kinds(next, 2).await, (vec![EventKind::Session], None, 0));
        let plan = store.read(|connection| {
            let condition = EventFilter::Failures.condition();
            let query = format!(
                "EXPLAIN QUERY PLAN SELECT body FROM events WHERE seq < ?1 AND {condition} ORDER BY seq DESC LIMIT ?3"
            );
            let plan = connection.query_row(&query, params![9, "", 9], |row| row.get::<_, String>(3))?;
            Ok(plan)
        });
        let plan = plan.await.unwrap();
        assert!(plan.contains("events_with_failure"), "{plan}");
    }

    #[tokio::test]
    async fn a_page_that_is_not_the_last_says_where_to_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::open(Store::open(&folder.path().join("ops.db")).unwrap()).await.unwrap();
        for n in 0..5 {
            events.publish(note(&n.to_string()));
        }
        let start = events.latest() - 5;
        let first = events.since(start, None, 2).await.unwrap();
        assert!(first.more);
        let rest = events.since(first.next, None, 10).await.unwrap();
        assert_eq!(rest.items.len(), 3);
        assert!(!rest.more);
    }
}
