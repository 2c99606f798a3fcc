//! The journal's rows in the store.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

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
    /// Numbers up to this one may be told.
    pub reserved: u64,
    /// The lowest number that the store may still hold.
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
    let recent = select(connection, (from, newest), &EventFilter::default(), Order::OldestFirst, RING)?;
    let failures =
        select(connection, (0, newest), &EventFilter::failures(), Order::NewestFirst, FAILURES_HELD)?;
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

/// Which way a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

/// From this many events since a time on, they are looked for among all from the page's end, and not by their time.
const MOST_BY_TIME: i64 = 2_000;

/// At most `limit` events with a number above `after` and up to `until` that the reader wants.
pub(super) fn select(
    connection: &Connection,
    (after, until): (u64, u64),
    wanted: &EventFilter,
    order: Order,
    limit: usize,
) -> rusqlite::Result<Vec<Event>> {
    let is_rare = match wanted.since {
        Some(since) => events_since(connection, since.timestamp_micros())? <= MOST_BY_TIME,
        None => false,
    };
    let (query, texts) = page_query(wanted, order, is_rare);
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let since = wanted.since.map_or(i64::MIN, |since| since.timestamp_micros());
    let mut values: Vec<Value> = [number(after), number(until), limit, since].map(Value::from).into();
    values.extend(texts.into_iter().map(Value::from));
    let mut statement = connection.prepare_cached(&query)?;
    readable(statement.query_map(params_from_iter(values), |row| row.get::<_, String>(0))?)
}

/// How many events happened since then, counted up to one more than [`MOST_BY_TIME`].
fn events_since(connection: &Connection, since: i64) -> rusqlite::Result<i64> {
    let query = "SELECT count(*) FROM (SELECT 1 FROM events WHERE at_us >= ?1 LIMIT ?2)";
    connection.prepare_cached(query)?.query_row([since, MOST_BY_TIME + 1], |row| row.get(0))
}

/// The query of a page, with the texts for its parameters from `?5` on.
///
/// Each filter has its own conditions, which repeat the expressions of the indexes, so that rare events are found through
/// theirs. Several kinds are a page each, of which the first rows are taken.
fn page_query(wanted: &EventFilter, order: Order, is_rare: bool) -> (String, Vec<String>) {
    let mut texts = Vec::new();
    let mut conditions = String::from("seq > ?1 AND seq <= ?2");
    if wanted.only_failures {
        conditions += FAILURES;
    }
    for (expression, text) in [(RUN, &wanted.run), (COMPONENT, &wanted.component), (SYMBOL, &wanted.symbol)] {
        if let Some(text) = text {
            texts.push(text.clone());
            conditions += &format!(" AND {expression} = ?{} AND {expression} IS NOT NULL", 4 + texts.len());
        }
    }
    if wanted.since.is_some() {
        conditions += if is_rare {
            " AND at_us >= ?4 AND seq IN (SELECT seq FROM events INDEXED BY events_by_time WHERE at_us >= ?4)"
        } else {
            " AND at_us >= ?4"
        };
    }
    let direction = if order == Order::OldestFirst { "ASC" } else { "DESC" };
    let has_place = !texts.is_empty() || is_rare;
    let mut of_kinds = Vec::new();
    for kind in &wanted.kinds {
        texts.push(kind_name(*kind));
        of_kinds.push(4 + texts.len());
    }
    // The parameter of the time is always there, so that all queries have the same ones.
    let page = |condition: &str| {
        format!(
            "SELECT seq, body FROM events WHERE {conditions}{condition} AND ?4 <= ?4 ORDER BY seq {direction} LIMIT ?3"
        )
    };
    let query = match of_kinds.as_slice() {
        [] => page(""),
        kinds if has_place || wanted.only_failures => {
            let kinds: Vec<_> = kinds.iter().map(|number| format!("?{number}")).collect();
            // The plus keeps the kind from being looked up: the place is the rarer one.
            page(&format!(" AND +kind IN ({})", kinds.join(",")))
        }
        kinds => {
            let pages: Vec<_> = kinds
                .iter()
                .map(|number| format!("SELECT * FROM ({})", page(&format!(" AND kind = ?{number}"))))
                .collect();
            pages.join(" UNION ALL ")
        }
    };
    (format!("SELECT body FROM ({query}) ORDER BY seq {direction} LIMIT ?3"), texts)
}

// Must repeat the expressions of the indexes, or SQLite does not use them.
const COMPONENT: &str = "CASE WHEN json_valid(body) THEN body ->> '$.data.component_id' END";
const RUN: &str = "CASE WHEN json_valid(body) THEN body ->> '$.data.run_id' END";
const SYMBOL: &str = "CASE WHEN json_valid(body) THEN coalesce(body ->> '$.data.symbol', body ->> '$.error.context.symbol') END";
const FAILURES: &str = " AND CASE WHEN json_valid(body) THEN json_type(body, '$.error') END = 'object'
    AND CASE WHEN json_valid(body) THEN json_type(body, '$.repeats') END IS NULL";

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

/// How SQLite would read a page, for tests.
#[cfg(test)]
pub(super) fn plan_of(
    connection: &Connection,
    wanted: &EventFilter,
    order: Order,
) -> rusqlite::Result<String> {
    let (query, texts) = page_query(wanted, order, false);
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
    let numbers = [0, i64::MAX, 9, 0].map(Value::from);
    let values: Vec<Value> = numbers.into_iter().chain(texts.into_iter().map(Value::from)).collect();
    let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3))?;
    Ok(steps.collect::<Result<Vec<_>, _>>()?.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::model::NewEvent;
    use super::*;
    use crate::events::Events;
    use crate::store::Store;
    use botops_contract::{EventKind, Severity};

    const KINDS: [EventKind; 4] =
        [EventKind::Fill, EventKind::Health, EventKind::Workflow, EventKind::Config];

    /// Some thousand events of all places in turn, of which memory holds the newest alone.
    async fn filled(folder: &std::path::Path) -> (Store, Events) {
        let store = Store::open(&folder.join("ops.db")).unwrap();
        let events = Events::open(store.clone()).await.unwrap();
        let begun = chrono::Utc::now() - chrono::Duration::days(1);
        for n in 0..RING + 1_500 {
            let data = match n % 5 {
                0 => json!({"symbol": format!("S{}", n % 7)}),
                1 => json!({"component_id": format!("c{}", n % 3)}),
                2 => json!({"run_id": format!("r{}", n % 11), "component_id": "c1"}),
                3 => json!({"symbol": 7}),
                _ => json!(null),
            };
            let kind = KINDS[n % KINDS.len()];
            let event = NewEvent::own(kind, Severity::Low, n.to_string(), data);
            events.publish(NewEvent { at: begun + chrono::Duration::seconds(n as i64 * 7 % 9_000), ..event });
        }
        store.flush().await;
        (store, events)
    }

    fn filters() -> Vec<EventFilter> {
        let text = |text: &str| Some(text.to_owned());
        let since =
            |hours| Some(chrono::Utc::now() - chrono::Duration::hours(24) + chrono::Duration::minutes(hours));
        vec![
            EventFilter::default(),
            EventFilter::kind(EventKind::Fill),
            EventFilter { kinds: vec![EventKind::Fill, EventKind::Config], ..EventFilter::default() },
            EventFilter { component: text("c1"), ..EventFilter::default() },
            EventFilter {
                run: text("r4"),
                kinds: vec![EventKind::Workflow, EventKind::Fill],
                ..EventFilter::default()
            },
            EventFilter { symbol: text("S3"), since: since(30), ..EventFilter::default() },
            EventFilter { symbol: text("7"), ..EventFilter::default() },
            EventFilter { since: since(149), ..EventFilter::default() },
            EventFilter { since: since(20), kinds: vec![EventKind::Health], ..EventFilter::default() },
            EventFilter {
                since: since(148),
                kinds: vec![EventKind::Health, EventKind::Fill],
                ..EventFilter::default()
            },
        ]
    }

    #[tokio::test]
    async fn what_memory_and_the_store_hold_is_filtered_alike_and_pages_join_without_gap() {
        let folder = tempfile::tempdir().unwrap();
        let (store, events) = filled(folder.path()).await;
        let all = store.read(|connection| {
            Ok(select(connection, (0, u64::MAX), &EventFilter::default(), Order::OldestFirst, 100_000)?)
        });
        let all = all.await.unwrap();
        for wanted in filters() {
            let expected: Vec<u64> =
                all.iter().filter(|event| wanted.includes(event)).map(|event| event.seq).collect();
            let (mut forward, mut after) = (Vec::new(), 0);
            loop {
                let page = events.since(after, &wanted, 97).await.unwrap();
                forward.extend(page.items.iter().map(|event| event.seq));
                after = page.next;
                if !page.more {
                    break;
                }
            }
            assert_eq!(forward, expected, "{wanted:?}");
            let (mut backward, mut before) = (Vec::new(), None);
            loop {
                let page = events.newest(before, &wanted, 97).await.unwrap();
                backward.extend(page.items.iter().map(|event| event.seq));
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            backward.reverse();
            assert_eq!(backward, expected, "{wanted:?}");
            assert!(wanted.symbol.as_deref() == Some("7") || !expected.is_empty(), "{wanted:?}");
        }
    }

    #[tokio::test]
    async fn every_page_is_found_through_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _events) = filled(folder.path()).await;
        for (wanted, index) in [
            (
                EventFilter { component: Some("c1".to_owned()), ..EventFilter::default() },
                "events_by_component",
            ),
            (EventFilter { run: Some("r4".to_owned()), ..EventFilter::default() }, "events_by_run"),
            (EventFilter { symbol: Some("S3".to_owned()), ..EventFilter::default() }, "events_by_symbol"),
            (EventFilter { kinds: KINDS.to_vec(), ..EventFilter::default() }, "events_by_kind"),
            (
                EventFilter { symbol: Some("S3".to_owned()), ..EventFilter::kind(EventKind::Order) },
                "events_by_symbol",
            ),
        ] {
            let (asked, plans) = (wanted.clone(), [Order::OldestFirst, Order::NewestFirst]);
            let plans = store
                .read(move |connection| Ok(plans.map(|order| plan_of(connection, &asked, order).unwrap())));
            for plan in plans.await.unwrap() {
                assert!(plan.contains(index) && !plan.contains("SCAN events"), "{wanted:?}: {plan}");
            }
        }
    }
}
