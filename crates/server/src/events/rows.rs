//! The journal's rows in the store.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::model::{Event, kind_name};
use super::page::EventFilter;
use crate::store::{StoreAbort, get_value, put_value};

/// Events kept in memory, so that a usual poll does not read the disk.
pub(super) const RING: usize = 2_048;

/// Failures kept in memory beside them: a bot lists at most 200, and a bad hour has some hundreds.
pub(super) const FAILURES_HELD: usize = 2_048;

/// Sequence numbers reserved in the store at a time.
pub(super) const BLOCK: u64 = 1_000;

/// Where the journal continues after a start.
pub(super) struct JournalStart {
    /// The first number to give out.
    pub next: u64,
    /// The lowest number that the store may still hold.
    /// Numbers up to this one may be told.
    pub reserved: u64,
    pub oldest: u64,
    pub recent: Vec<Arc<Event>>,
    /// The newest failures, each once, oldest first.
    pub failures: Vec<Arc<Event>>,
}

/// Reads where the journal ended and reserves the next block of numbers, in a store that lasts.
pub(super) fn resume(connection: &Connection, is_durable: bool) -> rusqlite::Result<JournalStart> {
    let newest: Option<i64> = connection.query_row("SELECT max(seq) FROM events", [], |row| row.get(0))?;
    let newest = newest.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0);
    let number = |key: &str| -> rusqlite::Result<u64> {
        Ok(get_value(connection, key)?.and_then(|text| text.parse().ok()).unwrap_or(0))
    };
    let next = number("events_reserved")?.max(newest) + 1;
    let oldest = number("events_oldest")?.max(1);
    let reserved = next - 1 + if is_durable { BLOCK } else { 0 };
    put_value(connection, "events_reserved", &reserved.to_string())?;
    let from = newest.saturating_sub(RING as u64);
    let recent = select(connection, from, newest, None, RING)?;
    let failures = select_backwards(connection, next, EventFilter::Failures, FAILURES_HELD)?;
    Ok(JournalStart {
        next,
        reserved,
        oldest,
        recent: recent.into_iter().map(Arc::new).collect(),
        failures: failures.into_iter().rev().map(Arc::new).collect(),
    })
}

/// An event in the form in which it is stored.
#[derive(Debug)]
pub(super) struct EventRow {
    seq: i64,
    at_us: i64,
    kind: String,
    severity: String,
    body: String,
}

impl EventRow {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            seq: i64::try_from(event.seq).unwrap_or(i64::MAX),
            at_us: event.at.timestamp_micros(),
            kind: kind_name(event.kind),
            severity: format!("{:?}", event.severity).to_lowercase(),
            // Texts and JSON values: this cannot fail.
            body: serde_json::to_string(event).unwrap_or_default(),
        }
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.body.len() as u64
    }

    pub(super) fn insert(&self, connection: &Connection) -> Result<(), StoreAbort> {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO events(seq, at_us, kind, severity, body) VALUES(?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![self.seq, self.at_us, self.kind, self.severity, self.body])?;
        Ok(())
    }
}

/// The number from which on the stored events have together at most so many bytes; `None` when all have.
pub(super) fn first_within(connection: &Connection, most_bytes: i64) -> rusqlite::Result<Option<i64>> {
    connection.query_row(
        "SELECT max(seq) + 1 FROM (SELECT seq, sum(octet_length(body)) OVER (ORDER BY seq DESC) AS bytes FROM events)
         WHERE bytes > ?1",
        [most_bytes],
        |row| row.get(0),
    )
}

/// The number of the newest event but `keep` others; `None` when there are fewer. Numbers have gaps: each start skips some.
pub(super) fn first_of_newest(connection: &Connection, keep: u64) -> rusqlite::Result<Option<i64>> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let query = "SELECT seq + 1 FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?1";
    connection.query_row(query, [keep], |row| row.get(0)).optional()
}

/// At most `limit` events with a number above `after` and up to `until`, oldest first.
pub(super) fn select(
    connection: &Connection,
    after: u64,
    until: u64,
    kind: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<Event>> {
    let mut statement = connection.prepare_cached(
        "SELECT body FROM events WHERE seq > ?1 AND seq <= ?4 AND (?2 IS NULL OR kind = ?2) ORDER BY seq LIMIT ?3",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let until = i64::try_from(until).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    readable(statement.query_map(params![after, kind, limit, until], |row| row.get::<_, String>(0))?)
}

pub(super) fn select_backwards(
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
        // A row written by a newer version that this one cannot parse is left out; it must not fail the whole page.
        if let Ok(event) = serde_json::from_str(&body?) {
            events.push(event);
        }
    }
    Ok(events)
}

/// Deletes up to a thousand of the oldest events that are older than `horizon` or below `keep_from`; returns how many,
/// and the lowest number that is left.
pub(super) fn delete_oldest(
    connection: &Connection,
    horizon: i64,
    keep_from: i64,
) -> rusqlite::Result<(usize, Option<i64>)> {
    let deleted = connection.execute(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events
         WHERE at_us < ?1 OR seq < ?2 ORDER BY seq LIMIT 1000)",
        params![horizon, keep_from],
    )?;
    let oldest: Option<i64> = connection.query_row("SELECT min(seq) FROM events", [], |row| row.get(0))?;
    if deleted > 0
        && let Some(oldest) = oldest
    {
        put_value(connection, "events_oldest", &oldest.to_string())?;
    }
    Ok((deleted, oldest))
}
