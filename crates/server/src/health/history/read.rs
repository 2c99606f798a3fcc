//! Reading the history: charts, changes of status, availability. On read connections, never for a status answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::Store;
use botops_core::durable_deadline::DurableDeadline;
use botops_core::error::{Code, Error};

use super::histogram::LatencyHistogram;
use super::objectives::{
    AvailabilityView, OBJECTIVE_WINDOW, ObjectiveView, WINDOWS, availability_view, objective_view,
};
use crate::health::changes::OutboxRow;
use crate::health::model::{HealthLevel, HealthStatus, StatusSpan};
use crate::health::status::StoredComponent;
use crate::health::units::{tidy, time};

/// Changes of status that are read for one component: one every 40 s for 90 days.
const SPANS: i64 = 200_000;

/// How many lines one chart may have.
const LINES: i64 = 200;

/// A point of a chart.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct PointView {
    /// Start of the point's interval; all points of a line have intervals of the same length.
    pub(crate) t: DateTime<Utc>,
    /// The mean of the values in the interval.
    pub(crate) avg: f64,
    /// The smallest value in the interval.
    pub(crate) min: f64,
    /// The largest value in the interval.
    pub(crate) max: f64,
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct SeriesView {
    /// The component the line belongs to.
    pub(crate) component_id: String,
    /// The metric; `status_level` is 0 (HEALTHY) to 3 (DOWN), `check_latency` is how long checks took.
    pub(crate) metric: String,
    /// The unit of the values.
    pub(crate) unit: String,
    /// Oldest first; an interval without values has no point.
    pub(crate) points: Vec<PointView>,
}

/// A change of status.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct TransitionView {
    /// Its sequence number; grows.
    pub(crate) seq: i64,
    /// When the status changed.
    pub(crate) timestamp: DateTime<Utc>,
    /// The component, or `system`.
    pub(crate) component_id: String,
    /// The status that began then.
    pub(crate) status: HealthStatus,
    /// Whether a maintenance window was open from then on.
    pub(crate) in_maintenance: bool,
    /// The reason for the status, in one sentence; `null` when there is none.
    pub(crate) reason: Option<String>,
}

/// Rendered charts of all components, kept until they are outdated.
type ChartCache = moka::future::Cache<ChartKey, Bytes>;

/// Metric, window, and the number of the time interval in which it was drawn.
type ChartKey = (String, ChartWindow, i64);

/// Bytes that rendered charts may take in memory: dozens of usual ones.
const CHARTS_BYTES: u64 = 16 * 1024 * 1024;

fn chart_cache() -> ChartCache {
    moka::future::Cache::builder()
        .max_capacity(CHARTS_BYTES)
        .weigher(|_, chart: &Bytes| u32::try_from(chart.len()).unwrap_or(u32::MAX))
        .time_to_live(Duration::from_secs(60))
        .build()
}

/// Reads the history from the store; cloning is cheap.
#[derive(Clone)]
pub(crate) struct HistoryReader {
    store: Store,
    charts: ChartCache,
}

impl std::fmt::Debug for HistoryReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistoryReader").finish_non_exhaustive()
    }
}

/// Which part of the history a chart shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ChartWindow {
    /// How far back it reaches, in milliseconds.
    pub(crate) window_ms: i64,
    /// How many points each line has.
    pub(crate) points: i64,
}

impl HistoryReader {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, charts: chart_cache() }
    }

    /// Reads the state that an earlier run stored.
    pub(crate) async fn load_earlier_run(&self, now: i64) -> Result<EarlierRun, Error> {
        self.store.read(move |connection| Ok(load_earlier_run(connection, now)?)).await
    }

    /// One metric of every component, as a rendered list of lines.
    ///
    /// Drawing reads thousands of rows, so a chart is shared by all readers and drawn again when one more point is
    /// due: after 1 to 30 seconds.
    pub(crate) async fn chart(&self, metric: String, window: ChartWindow, now: i64) -> Result<Bytes, Error> {
        let hold = (window.window_ms / window.points.max(1)).clamp(1_000, 30_000);
        let of = (metric.clone(), window, now / hold);
        let draw = async {
            let lines = self.series(None, Some(metric), window, now).await?;
            let drawn =
                serde_json::to_vec(&lines).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
            Ok::<_, Error>(Bytes::from(drawn))
        };
        let chart = self.charts.try_get_with(of, draw).await;
        chart.map_err(|error| Error::new(error.code()).caused_by(error))
    }

    /// The lines of a chart: of one component or of all, one metric or all, at most [`LINES`].
    pub(crate) async fn series(
        &self,
        component: Option<String>,
        metric: Option<String>,
        window: ChartWindow,
        now: i64,
    ) -> Result<Vec<SeriesView>, Error> {
        self.store
            .read(move |connection| {
                let mut lines = connection.prepare_cached(
                    "SELECT id, component, metric, unit FROM health_keys
                     WHERE (?1 IS NULL OR component = ?1) AND (?2 IS NULL OR metric = ?2)
                     ORDER BY component, metric LIMIT ?3",
                )?;
                let lines = lines
                    .query_map(params![component, metric, LINES], |row| {
                        let line: (i64, String, String, String) =
                            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                        Ok(line)
                    })?
                    .collect::<Result<Vec<_>, _>>()?;
                let mut series = Vec::with_capacity(lines.len());
                for (key, component_id, metric, unit) in lines {
                    let points = read_line(connection, key, now, window)?;
                    series.push(SeriesView { component_id, metric, unit, points });
                }
                Ok(series)
            })
            .await
    }

    /// Changes of status, newest first.
    pub(crate) async fn transitions(
        &self,
        component: Option<String>,
        from: i64,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<TransitionView>, Error> {
        self.store
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT seq, at_ms, component, level, maintenance, reason FROM health_transitions
                     WHERE (?1 IS NULL OR component = ?1) AND at_ms >= ?2 AND (?3 IS NULL OR seq < ?3)
                     ORDER BY seq DESC LIMIT ?4",
                )?;
                let rows = statement.query_map(params![component, from, before, limit], |row| {
                    Ok(TransitionView {
                        seq: row.get(0)?,
                        timestamp: time(row.get(1)?),
                        component_id: row.get(2)?,
                        status: level_from(row.get(3)?).map_or(HealthStatus::Unknown, HealthStatus::from),
                        in_maintenance: row.get::<_, i64>(4)? != 0,
                        reason: row.get(5)?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Availability, coverage and latencies by window.
    pub(crate) async fn availability(
        &self,
        component: Option<String>,
        now: i64,
    ) -> Result<Vec<AvailabilityView>, Error> {
        let longest = WINDOWS.iter().map(|(_, window)| *window).max().unwrap_or(0);
        let spans = self.spans(component.clone(), now - longest).await?;
        let since = WINDOWS.iter().map(|(_, window)| (now - window).div_euclid(3_600_000) * 3_600).collect();
        let mut latencies = self.latencies(component, since).await?;
        let view = |(id, spans): (String, Vec<StatusSpan>)| {
            let latencies = latencies.remove(&id).unwrap_or_default();
            availability_view(id, &spans, &latencies, now)
        };
        Ok(spans.into_iter().map(view).collect())
    }

    /// How fast error budgets burn.
    pub(crate) async fn objectives(
        &self,
        component: Option<String>,
        objective_pct: f64,
        now: i64,
    ) -> Result<Vec<ObjectiveView>, Error> {
        let spans = self.spans(component, now - OBJECTIVE_WINDOW).await?;
        let view = |(id, spans): (String, Vec<StatusSpan>)| objective_view(id, &spans, objective_pct, now);
        Ok(spans.into_iter().map(view).collect())
    }

    /// The status spans of each component that overlap the window, oldest first.
    async fn spans(
        &self,
        component: Option<String>,
        from: i64,
    ) -> Result<BTreeMap<String, Vec<StatusSpan>>, Error> {
        self.store.read(move |connection| Ok(read_spans(connection, component.as_deref(), from)?)).await
    }

    /// Latencies of successful checks since each of these moments, by component; the moments in seconds.
    async fn latencies(
        &self,
        component: Option<String>,
        since: Vec<i64>,
    ) -> Result<BTreeMap<String, Vec<LatencyHistogram>>, Error> {
        self.store
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT component, at_s, buckets FROM health_latencies
                     WHERE (?1 IS NULL OR component = ?1) AND at_s >= ?2",
                )?;
                let first = since.iter().min().copied().unwrap_or(i64::MAX);
                let mut merged: BTreeMap<String, Vec<LatencyHistogram>> = BTreeMap::new();
                let mut rows = statement.query(params![component, first])?;
                while let Some(row) = rows.next()? {
                    let at: i64 = row.get(1)?;
                    let hour = LatencyHistogram::from_bytes(&row.get::<_, Vec<u8>>(2)?);
                    let empty = || vec![LatencyHistogram::default(); since.len()];
                    let windows = merged.entry(row.get(0)?).or_insert_with(empty);
                    for (window, since) in windows.iter_mut().zip(&since) {
                        if at >= *since {
                            window.merge(&hour);
                        }
                    }
                }
                Ok(merged)
            })
            .await
    }
}

/// Each component's spans, from the last change before the window on.
///
/// It reads backwards from the newest row and stops there, so rows from before the window cost nothing.
fn read_spans(
    connection: &Connection,
    component: Option<&str>,
    from: i64,
) -> rusqlite::Result<BTreeMap<String, Vec<StatusSpan>>> {
    let mut all = BTreeMap::new();
    let mut next: Option<String> = match component {
        Some(component) => Some(component.to_owned()),
        None => component_after(connection, "")?,
    };
    let mut statement = connection.prepare_cached(
        "SELECT at_ms, level, maintenance FROM health_transitions WHERE component = ?1 ORDER BY seq DESC LIMIT ?2",
    )?;
    while let Some(id) = next {
        let mut found = Vec::new();
        let mut rows = statement.query(params![id, SPANS])?;
        while let Some(row) = rows.next()? {
            let at: i64 = row.get(0)?;
            let in_maintenance = row.get::<_, i64>(2)? != 0;
            found.push(StatusSpan { from: at, level: level_from(row.get(1)?), in_maintenance });
            if at <= from {
                break;
            }
        }
        found.reverse();
        next = if component.is_some() { None } else { component_after(connection, &id)? };
        if !found.is_empty() {
            all.insert(id, found);
        }
    }
    Ok(all)
}

fn component_after(connection: &Connection, id: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT min(component) FROM health_transitions WHERE component > ?1")?
        .query_row([id], |row| row.get(0))
}

fn read_line(
    connection: &Connection,
    key: i64,
    now: i64,
    of: ChartWindow,
) -> rusqlite::Result<Vec<PointView>> {
    let window = of.window_ms;
    let from = now - window;
    let width = (window / of.points.max(1)).max(1);
    const RAW: &str =
        "SELECT (at_ms - ?2) / ?3 AS place, avg(value), min(value), max(value) FROM health_points
         WHERE key = ?1 AND at_ms >= ?2 GROUP BY place ORDER BY place";
    const ROLLED: &str = "SELECT (at_s * 1000 - ?2) / ?3 AS place, sum(sum) / sum(count), min(min), max(max)
         FROM health_rollups WHERE key = ?1 AND span = ?4 AND at_s * 1000 >= ?2 AND at_s >= ?2 / 1000
         GROUP BY place ORDER BY place";
    let view = |row: &rusqlite::Row<'_>| {
        let place: i64 = row.get(0)?;
        Ok(PointView {
            t: time(from + place * width),
            avg: tidy(row.get(1)?),
            min: tidy(row.get(2)?),
            max: tidy(row.get(3)?),
        })
    };
    let hour = 3_600_000;
    if window <= 6 * hour {
        let mut statement = connection.prepare_cached(RAW)?;
        return statement.query_map(params![key, from, width], view)?.collect();
    }
    let span = if window <= 48 * hour {
        60
    } else if window <= 90 * 24 * hour {
        3_600
    } else {
        86_400
    };
    let mut statement = connection.prepare_cached(ROLLED)?;
    statement.query_map(params![key, from, width, span], view)?.collect()
}

fn level_from(number: Option<i64>) -> Option<HealthLevel> {
    let place = usize::try_from(number?).ok()?;
    HealthLevel::ALL.get(place).copied()
}

/// The state that an earlier run stored.
#[derive(Debug, Default)]
pub(crate) struct EarlierRun {
    pub(crate) specs: Vec<(String, String)>,
    pub(crate) states: BTreeMap<String, StoredComponent>,
    pub(crate) alerts: Vec<String>,
    pub(crate) resolved: Vec<String>,
    pub(crate) things: Vec<(String, String, String)>,
    /// Notices that wait for their receivers.
    pub(crate) outbox: Vec<OutboxRow>,
    /// Keys of notices that their receivers took.
    pub(crate) delivered: BTreeSet<String>,
    /// The last day's transitions by component, oldest first.
    pub(crate) spans: BTreeMap<String, Vec<StatusSpan>>,
    /// When the earlier run last stored that it was running, in wall milliseconds; `None` on the first start.
    pub(crate) alive: Option<i64>,
}

impl EarlierRun {
    /// The values of one kind, by id.
    pub(crate) fn things(&self, kind: &str) -> impl Iterator<Item = (&str, &str)> {
        let of_kind = self.things.iter().filter(move |(of, _, _)| of == kind);
        of_kind.map(|(_, id, body)| (id.as_str(), body.as_str()))
    }
}

fn load_earlier_run(connection: &Connection, now: i64) -> rusqlite::Result<EarlierRun> {
    let mut left = EarlierRun::default();
    let mut statement = connection.prepare("SELECT id, spec, state FROM health_components")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?))
    })?;
    for row in rows {
        let (id, spec, state) = row?;
        if let Some(state) = state.and_then(|state| serde_json::from_str(&state).ok()) {
            left.states.insert(id.clone(), state);
        }
        left.specs.extend(spec.map(|spec| (id, spec)));
    }
    let texts = |sql: &str| -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(sql)?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    left.alerts = texts("SELECT body FROM health_alerts WHERE closed_ms IS NULL")?;
    left.resolved = texts(
        "SELECT body FROM health_alerts WHERE closed_ms IS NOT NULL ORDER BY closed_ms DESC LIMIT 200",
    )?;
    let mut statement = connection.prepare("SELECT kind, id, body FROM health_things")?;
    let things = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    left.things = things.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare(
        "SELECT key, receiver, created_ms, body FROM health_outbox
         WHERE delivered_ms IS NULL AND dead_ms IS NULL ORDER BY seq",
    )?;
    let rows = statement.query_map([], |row| {
        let body: serde_json::Value = serde_json::from_str(&row.get::<_, String>(3)?).unwrap_or_default();
        let created: i64 = row.get(2)?;
        // Versions of before stored when it was made alone.
        let stored = serde_json::from_value::<DurableDeadline>(body["given_up"].clone());
        let life = i64::try_from(OutboxRow::LIFE.as_millis()).unwrap_or(i64::MAX);
        let by_date = || DurableDeadline::by_wall_clock(created.saturating_add(life), created);
        Ok(OutboxRow {
            key: row.get(0)?,
            receiver: row.get(1)?,
            created,
            given_up: stored.unwrap_or_else(|_| by_date()).anchored(),
            group: body["group"].as_str().unwrap_or_default().to_owned(),
            body: body["body"].clone(),
        })
    })?;
    left.outbox = rows.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare("SELECT key FROM health_outbox WHERE delivered_ms IS NOT NULL")?;
    left.delivered = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    left.spans = read_spans(connection, None, now - 86_400_000)?;
    let alive: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = 'health_alive'", [], |row| row.get(0))
        .optional()?;
    left.alive = alive.and_then(|text| text.parse().ok());
    Ok(left)
}
