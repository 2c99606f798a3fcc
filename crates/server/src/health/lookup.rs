//! Reading what is kept: charts, changes of status, availability. On read connections, never for a status answer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::histogram::Histogram;
use super::history::History;
use super::slo::Span;
use super::status::{Level, Status};
use super::views::{tidy, time};
use botops_core::error::{Code, Error};

/// Transitions of one component that are looked at: one each 40 s for 90 days.
const SPANS: i64 = 200_000;

/// A point of a chart.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PointView {
    /// Start of the point's span.
    pub t: DateTime<Utc>,
    /// Mean.
    pub avg: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SeriesView {
    /// The component.
    pub component_id: String,
    /// The metric; `status_level` is 0 (HEALTHY) to 3 (DOWN), `check_latency` how long checks took.
    pub metric: String,
    /// In what.
    pub unit: String,
    /// Oldest first; a gap is a gap.
    pub points: Vec<PointView>,
}

/// A change of status.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TransitionView {
    /// Its place; grows.
    pub seq: i64,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// The component, or `system`.
    pub component_id: String,
    /// The status from then on.
    pub status: Status,
    /// In maintenance from then on.
    pub in_maintenance: bool,
    /// Why.
    pub reason: Option<String>,
}

/// Charts of all components that were asked for lately, rendered.
pub(super) type Charts = moka::future::Cache<ChartOf, Bytes>;

/// Metric, window, points, and the stretch of time it was drawn in.
pub(super) type ChartOf = (String, i64, i64, i64);

/// Memory that rendered charts may take: dozens of usual ones.
const CHARTS_BYTES: u64 = 16 * 1024 * 1024;

pub(super) fn charts() -> Charts {
    moka::future::Cache::builder()
        .max_capacity(CHARTS_BYTES)
        .weigher(|_, chart: &Bytes| u32::try_from(chart.len()).unwrap_or(u32::MAX))
        .time_to_live(Duration::from_secs(60))
        .build()
}

impl History {
    /// One metric of every component as a rendered list of lines. It costs a read of thousands of rows, so it is drawn
    /// once for everybody, and anew when a point further has passed: after 1 to 30 seconds.
    pub(super) async fn chart(
        &self,
        metric: String,
        window_ms: i64,
        points: i64,
        now: i64,
        limit: i64,
    ) -> Result<Bytes, Error> {
        let hold = (window_ms / points.max(1)).clamp(1_000, 30_000);
        let of = (metric.clone(), window_ms, points, now / hold);
        let draw = async {
            let lines = self.series(None, Some(metric), window_ms, points, now, limit).await?;
            let drawn =
                serde_json::to_vec(&lines).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
            Ok::<_, Error>(Bytes::from(drawn))
        };
        let chart = self.charts.try_get_with(of, draw).await;
        chart.map_err(|error| Error::new(error.code()).caused_by(error))
    }

    /// The lines of a chart: of one component or of all, one metric or all, at most `limit` lines.
    pub(super) async fn series(
        &self,
        component: Option<String>,
        metric: Option<String>,
        window_ms: i64,
        points: i64,
        now: i64,
        limit: i64,
    ) -> Result<Vec<SeriesView>, Error> {
        self.store
            .read(move |connection| {
                let mut lines = connection.prepare_cached(
                    "SELECT id, component, metric, unit FROM health_keys
                     WHERE (?1 IS NULL OR component = ?1) AND (?2 IS NULL OR metric = ?2)
                     ORDER BY component, metric LIMIT ?3",
                )?;
                let lines = lines
                    .query_map(params![component, metric, limit], |row| {
                        let line: (i64, String, String, String) =
                            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                        Ok(line)
                    })?
                    .collect::<Result<Vec<_>, _>>()?;
                let mut series = Vec::with_capacity(lines.len());
                for (key, component_id, metric, unit) in lines {
                    let points = line(connection, key, now - window_ms, window_ms, points)?;
                    series.push(SeriesView { component_id, metric, unit, points });
                }
                Ok(series)
            })
            .await
    }

    /// Changes of status, newest first.
    pub(super) async fn transitions(
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
                        status: level_from(row.get(3)?).map_or(Status::Unknown, Status::from),
                        in_maintenance: row.get::<_, i64>(4)? != 0,
                        reason: row.get(5)?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// The spans of each component that touch the window, oldest first.
    pub(super) async fn spans(
        &self,
        component: Option<String>,
        from: i64,
    ) -> Result<BTreeMap<String, Vec<Span>>, Error> {
        self.store.read(move |connection| Ok(spans(connection, component.as_deref(), from)?)).await
    }

    /// Latencies of successful checks since each of these moments, by component; the moments in seconds.
    pub(super) async fn latencies(
        &self,
        component: Option<String>,
        since: Vec<i64>,
    ) -> Result<BTreeMap<String, Vec<Histogram>>, Error> {
        self.store
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT component, at_s, buckets FROM health_latencies
                     WHERE (?1 IS NULL OR component = ?1) AND at_s >= ?2",
                )?;
                let first = since.iter().min().copied().unwrap_or(i64::MAX);
                let mut merged: BTreeMap<String, Vec<Histogram>> = BTreeMap::new();
                let mut rows = statement.query(params![component, first])?;
                while let Some(row) = rows.next()? {
                    let at: i64 = row.get(1)?;
                    let hour = Histogram::from_bytes(&row.get::<_, Vec<u8>>(2)?);
                    let empty = || vec![Histogram::default(); since.len()];
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

/// Each component's spans from the last transition before the window on. Walks back from the newest row and no
/// further: what lies before the window costs nothing.
pub(super) fn spans(
    connection: &Connection,
    component: Option<&str>,
    from: i64,
) -> rusqlite::Result<BTreeMap<String, Vec<Span>>> {
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
            found.push(Span { from: at, level: level_from(row.get(1)?), in_maintenance });
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

fn line(
    connection: &Connection,
    key: i64,
    from: i64,
    window: i64,
    points: i64,
) -> rusqlite::Result<Vec<PointView>> {
    let width = (window / points.max(1)).max(1);
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

fn level_from(number: Option<i64>) -> Option<Level> {
    let place = usize::try_from(number?).ok()?;
    Level::ALL.get(place).copied()
}
