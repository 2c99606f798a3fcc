//! Writing the history: measurements as narrow rows, their rollups by minute, hour and day, changes of status,
//! latencies.
//!
//! Writing is batched and never waits. When the disk is too slow, measurements are dropped and counted; changes of
//! status never are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{Store, StoreAbort, retention_ms};
use botops_core::error::Error;

use super::histogram::LatencyHistogram;
use crate::health::changes::{HealthRow, NoticeEnd, OutboxRow};
use crate::health::model::{ClockReading, HealthLevel};
use crate::health::status::{StoredComponent, WatchedComponent};

/// Measurements that may wait to be written; more are dropped.
const WAITING: usize = 50_000;

/// Interval of a rollup and how long its rows are kept, in seconds: minutes two days, hours 90, days two years.
const KEEP: [(i64, i64); 3] = [(60, 2 * 86_400), (3_600, 90 * 86_400), (86_400, 730 * 86_400)];

const KEEP_POINTS_MS: i64 = 86_400_000;

/// How long changes of status, resolved alerts and delivered notices are kept: 90 days.
const KEEP_ROWS_MS: i64 = 90 * 86_400_000;

/// Rows deleted at a time, so that no delete blocks the writer thread for long.
const DELETED_AT_ONCE: i64 = 1_000;

/// Name and unit of the two series that every component has besides its metrics.
const LEVEL: (&str, &str) = ("status_level", "level");
const LATENCY: (&str, &str) = ("check_latency", "ms");

struct HistoryPoint {
    component: String,
    metric: &'static str,
    unit: &'static str,
    at: i64,
    value: f64,
}

#[derive(Default)]
struct HistoryBatch {
    points: Vec<HistoryPoint>,
    latencies: Vec<(String, i64, f64)>,
    states: HashMap<String, StoredComponent>,
    minutes: HashMap<(String, &'static str), (i64, RollupSum)>,
    dropped: u64,
}

#[derive(Clone, Copy)]
struct RollupSum {
    count: i64,
    sum: f64,
    min: f64,
    max: f64,
}

/// Writes the history to the store; cloning is cheap.
#[derive(Clone)]
pub(crate) struct HistoryWriter {
    store: Store,
    waiting: Arc<Mutex<HistoryBatch>>,
}

impl std::fmt::Debug for HistoryWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistoryWriter").finish_non_exhaustive()
    }
}

impl HistoryWriter {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, waiting: Arc::default() }
    }

    /// Adds the results of a finished check to the next batch.
    pub(crate) fn record_check(&self, component: &WatchedComponent, now: ClockReading) {
        let raw = component.last_sample;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let id = &component.spec.id;
        waiting.states.insert(id.clone(), component.stored(now));
        let metrics = component.metrics.iter().map(|metric| (metric.name, metric.unit, metric.value));
        let level = raw.map(|level| (LEVEL.0, LEVEL.1, f64::from(u8::try_from(level.number()).unwrap_or(0))));
        let latency = component.latency_ms.map(|latency| (LATENCY.0, LATENCY.1, latency));
        if raw.is_some_and(HealthLevel::is_up)
            && let Some(latency) = component.latency_ms
        {
            waiting.latencies.push((id.clone(), now.wall, latency));
        }
        for (metric, unit, value) in metrics.chain(level).chain(latency) {
            if !value.is_finite() {
                continue;
            }
            if waiting.points.len() >= WAITING {
                waiting.dropped += 1;
                continue;
            }
            waiting.points.push(HistoryPoint { component: id.clone(), metric, unit, at: now.wall, value });
        }
    }

    /// How many measurements were dropped because the disk was too slow.
    pub(crate) fn dropped(&self) -> u64 {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }

    /// Writes the batch; to be called once a second.
    pub(crate) async fn flush(&self, now: ClockReading) -> Result<(), Error> {
        let (points, latencies, states, sums) = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let points = std::mem::take(&mut waiting.points);
            let latencies = std::mem::take(&mut waiting.latencies);
            let states = std::mem::take(&mut waiting.states);
            let sums = waiting.add_up(&points, now);
            (points, latencies, states, sums)
        };
        self.store
            .write(move |connection| {
                write_meta(connection, "health_alive", &now.wall.to_string())?;
                let mut keys = HashMap::new();
                for point in &points {
                    let key = key_of(connection, &mut keys, &point.component, point.metric, point.unit)?;
                    connection
                        .prepare_cached(
                            "INSERT OR REPLACE INTO health_points(key, at_ms, value) VALUES(?1, ?2, ?3)",
                        )?
                        .execute(params![key, point.at, point.value])?;
                }
                for (component, metric, minute, sum) in &sums {
                    let key = key_of(connection, &mut keys, component, metric, "")?;
                    for (span, _) in KEEP {
                        add_rollup(connection, key, span, minute - minute.rem_euclid(span), *sum)?;
                    }
                }
                write_latencies(connection, &latencies)?;
                for (id, state) in &states {
                    let body = serde_json::to_string(state).unwrap_or_default();
                    connection
                        .prepare_cached(
                            "INSERT INTO health_components(id, state) VALUES(?1, ?2)
                             ON CONFLICT(id) DO UPDATE SET state = excluded.state",
                        )?
                        .execute(params![id, body])?;
                }
                Ok(())
            })
            .await
    }

    /// Writes rows that must not be lost, in one transaction.
    pub(crate) async fn write_rows(&self, rows: Vec<HealthRow>) -> Result<(), Error> {
        self.store
            .write(move |connection| {
                for row in &rows {
                    write_row(connection, row)?;
                }
                Ok(())
            })
            .await
    }

    /// Marks notices as delivered or given up, at once and without waiting.
    pub(crate) fn post_notice_ends(&self, rows: &[OutboxRow], end: NoticeEnd, now: ClockReading) {
        let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
        self.store.post("a notice's end", move |connection| {
            for key in &keys {
                mark_notice(connection, key, end, now.wall)?;
            }
            Ok(())
        });
    }

    /// Deletes what is older than its retention, in small batches.
    pub(crate) async fn prune(&self) -> Result<(), Error> {
        let now = self.store.write(|connection| Ok(retention_ms(connection)?)).await?;
        const DELETES: [(&str, i64); 8] = [
            ("DELETE FROM health_points WHERE (key, at_ms) IN
              (SELECT p.key, p.at_ms FROM health_keys k JOIN health_points p ON p.key = k.id AND p.at_ms < ?1 LIMIT ?2)",
             KEEP_POINTS_MS),
            ("DELETE FROM health_rollups WHERE (key, span, at_s) IN
              (SELECT r.key, r.span, r.at_s FROM health_keys k
               JOIN health_rollups r ON r.key = k.id AND r.span = 60 AND r.at_s < ?1 / 1000 LIMIT ?2)",
             KEEP[0].1 * 1000),
            ("DELETE FROM health_rollups WHERE (key, span, at_s) IN
              (SELECT r.key, r.span, r.at_s FROM health_keys k
               JOIN health_rollups r ON r.key = k.id AND r.span = 3600 AND r.at_s < ?1 / 1000 LIMIT ?2)",
             KEEP[1].1 * 1000),
            ("DELETE FROM health_rollups WHERE (key, span, at_s) IN
              (SELECT r.key, r.span, r.at_s FROM health_keys k
               JOIN health_rollups r ON r.key = k.id AND r.span = 86400 AND r.at_s < ?1 / 1000 LIMIT ?2)",
             KEEP[2].1 * 1000),
            ("DELETE FROM health_latencies WHERE (component, at_s) IN
              (SELECT component, at_s FROM health_latencies WHERE at_s < ?1 / 1000 LIMIT ?2)",
             KEEP_ROWS_MS),
            // The last change before the horizon stays: it says which status held at the horizon.
            ("DELETE FROM health_transitions WHERE seq IN
              (SELECT t.seq FROM health_transitions t WHERE t.at_ms < ?1 AND EXISTS
               (SELECT 1 FROM health_transitions n WHERE n.component = t.component AND n.seq > t.seq AND n.at_ms < ?1)
               LIMIT ?2)",
             KEEP_ROWS_MS),
            ("DELETE FROM health_alerts WHERE id IN (SELECT id FROM health_alerts WHERE closed_ms < ?1 LIMIT ?2)",
             KEEP_ROWS_MS),
            ("DELETE FROM health_outbox WHERE seq IN
              (SELECT seq FROM health_outbox WHERE coalesce(delivered_ms, dead_ms) < ?1 LIMIT ?2)",
             KEEP_ROWS_MS),
        ];
        for (sql, keep) in DELETES {
            loop {
                let horizon = now.saturating_sub(keep);
                let deleted = self
                    .store
                    .write(move |connection| Ok(connection.execute(sql, params![horizon, DELETED_AT_ONCE])?))
                    .await?;
                if i64::try_from(deleted).unwrap_or(0) < DELETED_AT_ONCE {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }
}

impl HistoryBatch {
    /// Adds measurements to the rollups of their minutes and returns the minutes that are over.
    fn add_up(
        &mut self,
        points: &[HistoryPoint],
        now: ClockReading,
    ) -> Vec<(String, &'static str, i64, RollupSum)> {
        let mut done = Vec::new();
        for point in points {
            let minute = point.at.div_euclid(60_000) * 60;
            let one = RollupSum { count: 1, sum: point.value, min: point.value, max: point.value };
            let entry = self
                .minutes
                .entry((point.component.clone(), point.metric))
                .or_insert((minute, RollupSum { count: 0, ..one }));
            if entry.0 != minute {
                done.push((point.component.clone(), point.metric, entry.0, entry.1));
                *entry = (minute, RollupSum { count: 0, ..one });
            }
            entry.1.add(one);
        }
        let current = now.wall.div_euclid(60_000) * 60;
        self.minutes.retain(|(component, metric), (minute, sum)| {
            let is_over = *minute < current;
            if is_over {
                done.push((component.clone(), *metric, *minute, *sum));
            }
            !is_over
        });
        done
    }
}

impl RollupSum {
    fn add(&mut self, other: Self) {
        self.sum = if self.count == 0 { other.sum } else { self.sum + other.sum };
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

fn write_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        )?
        .execute([key, value])?;
    Ok(())
}

fn key_of(
    connection: &Connection,
    known: &mut HashMap<(String, String), i64>,
    component: &str,
    metric: &str,
    unit: &str,
) -> rusqlite::Result<i64> {
    let name = (component.to_owned(), metric.to_owned());
    if let Some(key) = known.get(&name) {
        return Ok(*key);
    }
    let found: Option<i64> = connection
        .prepare_cached("SELECT id FROM health_keys WHERE component = ?1 AND metric = ?2")?
        .query_row([component, metric], |row| row.get(0))
        .optional()?;
    let key = match found {
        Some(key) => key,
        None => {
            connection
                .prepare_cached("INSERT INTO health_keys(component, metric, unit) VALUES(?1, ?2, ?3)")?
                .execute([component, metric, unit])?;
            connection.last_insert_rowid()
        }
    };
    known.insert(name, key);
    Ok(key)
}

fn add_rollup(
    connection: &Connection,
    key: i64,
    span: i64,
    at_s: i64,
    sum: RollupSum,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO health_rollups(key, span, at_s, count, sum, min, max) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT(key, span, at_s) DO UPDATE SET count = count + excluded.count, sum = sum + excluded.sum,
             min = min(min, excluded.min), max = max(max, excluded.max)",
        )?
        .execute(params![key, span, at_s, sum.count, sum.sum, sum.min, sum.max])?;
    Ok(())
}

fn write_latencies(connection: &Connection, latencies: &[(String, i64, f64)]) -> rusqlite::Result<()> {
    let mut hours: BTreeMap<(&str, i64), LatencyHistogram> = BTreeMap::new();
    for (component, at, latency) in latencies {
        hours.entry((component, at.div_euclid(3_600_000) * 3_600)).or_default().add(*latency);
    }
    for ((component, hour), mut histogram) in hours {
        let stored: Option<Vec<u8>> = connection
            .prepare_cached("SELECT buckets FROM health_latencies WHERE component = ?1 AND at_s = ?2")?
            .query_row(params![component, hour], |row| row.get(0))
            .optional()?;
        if let Some(bytes) = stored {
            histogram.merge(&LatencyHistogram::from_bytes(&bytes));
        }
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO health_latencies(component, at_s, buckets) VALUES(?1, ?2, ?3)",
            )?
            .execute(params![component, hour, histogram.to_bytes()])?;
    }
    Ok(())
}

fn mark_notice(connection: &Connection, key: &str, end: NoticeEnd, at: i64) -> rusqlite::Result<()> {
    let sql = match end {
        NoticeEnd::Delivered => "UPDATE health_outbox SET delivered_ms = ?2 WHERE key = ?1",
        NoticeEnd::GivenUp => "UPDATE health_outbox SET dead_ms = ?2 WHERE key = ?1",
    };
    connection.prepare_cached(sql)?.execute(params![key, at]).map(drop)
}

fn write_row(connection: &Connection, row: &HealthRow) -> Result<(), StoreAbort> {
    match row {
        HealthRow::Transition { component, at, level, maintenance, reason } => {
            connection
                .prepare_cached(
                    "INSERT INTO health_transitions(component, at_ms, level, maintenance, reason)
                     VALUES(?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    component,
                    at,
                    level.map(HealthLevel::number),
                    i64::from(*maintenance),
                    reason
                ])?;
        }
        HealthRow::Alert(alert) => {
            connection
                .prepare_cached(
                    "INSERT INTO health_alerts(id, fingerprint, opened_ms, closed_ms, body) VALUES(?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT(id) DO UPDATE SET closed_ms = excluded.closed_ms, body = excluded.body",
                )?
                .execute(params![alert.id, alert.fingerprint, alert.opened, alert.closed, alert.body])?;
        }
        HealthRow::Forgotten { alert } => {
            connection.prepare_cached("DELETE FROM health_alerts WHERE id = ?1")?.execute([alert])?;
        }
        HealthRow::Outbox(row) => {
            let body = serde_json::json!({"group": row.group, "body": row.body, "given_up": row.given_up})
                .to_string();
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO health_outbox(key, receiver, created_ms, body) VALUES(?1, ?2, ?3, ?4)",
                )?
                .execute(params![row.key, row.receiver, row.created, body])?;
        }
        HealthRow::NoticeEnded { key, at, end } => mark_notice(connection, key, *end, *at)?,
        HealthRow::Thing { kind, id, body: Some(body) } => {
            connection
                .prepare_cached(
                    "INSERT INTO health_things(kind, id, body) VALUES(?1, ?2, ?3)
                     ON CONFLICT(kind, id) DO UPDATE SET body = excluded.body",
                )?
                .execute(params![kind, id, body])?;
        }
        HealthRow::Thing { kind, id, body: None } => {
            connection
                .prepare_cached("DELETE FROM health_things WHERE kind = ?1 AND id = ?2")?
                .execute(params![kind, id])?;
        }
        HealthRow::Checker { id, spec: Some(spec) } => {
            connection
                .prepare_cached(
                    "INSERT INTO health_components(id, spec) VALUES(?1, ?2)
                     ON CONFLICT(id) DO UPDATE SET spec = excluded.spec, state = NULL",
                )?
                .execute(params![id, spec])?;
        }
        HealthRow::Checker { id, spec: None } => {
            connection.prepare_cached("DELETE FROM health_components WHERE id = ?1")?.execute([id])?;
        }
    }
    Ok(())
}
