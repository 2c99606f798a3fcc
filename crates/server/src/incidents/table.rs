//! The rows of incidents in the store.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::book::BookMemory;
use super::model::{Incident, IncidentState, TimelineEntry};
use crate::store::{get_value, put_value, retention_ms};
use serde::{Deserialize, Serialize};

/// Where the position in the journal is kept.
const POSITION: &str = "incidents";

/// Incidents that are kept at most, and for how long.
const KEEP_ROWS: i64 = 10_000;
const KEEP_MS: i64 = 90 * 86_400_000;

/// How far the journal was read, and what the rules remember.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Position {
    /// The number of the last event that was taken.
    pub(super) seq: u64,
    pub(super) memory: BookMemory,
}

/// Which incidents a reader wants.
#[derive(Debug, Clone, Default)]
pub(super) struct IncidentFilter {
    /// Only those that are over, or only those that are not.
    pub(super) is_over: Option<bool>,
    /// Only those that began below this number.
    pub(super) before: Option<u64>,
    /// Only those that had not ended at this time, in milliseconds.
    pub(super) since_ms: Option<i64>,
    /// Only those about this component.
    pub(super) component: Option<String>,
}

/// Stores incidents and how far the journal was read, together.
pub(super) fn store(
    connection: &Connection,
    incidents: &[Incident],
    position: &Position,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO incidents(first_seq, began_ms, is_over, ended_ms, body, timeline) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT(first_seq) DO UPDATE SET is_over = excluded.is_over, ended_ms = excluded.ended_ms,
            body = excluded.body, timeline = excluded.timeline",
    )?;
    for incident in incidents {
        let body = json_text(&incident.brief());
        let timeline = json_text(&incident.timeline);
        insert.execute(params![
            i64::try_from(incident.first_seq()).unwrap_or(i64::MAX),
            incident.began_at.timestamp_millis(),
            incident.state == IncidentState::Over,
            incident.ended_at.map(|at| at.timestamp_millis()),
            body,
            timeline,
        ])?;
    }
    if !incidents.is_empty() {
        let oldest = retention_ms(connection)? - KEEP_MS;
        connection
            .prepare_cached(
                "DELETE FROM incidents WHERE is_over = 1 AND (ended_ms < ?1 OR first_seq <=
                    (SELECT first_seq FROM incidents ORDER BY first_seq DESC LIMIT 1 OFFSET ?2))",
            )?
            .execute([oldest, KEEP_ROWS])?;
    }
    put_value(connection, POSITION, &json_text(position))
}

fn json_text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// How far the journal was read.
pub(super) fn position(connection: &Connection) -> rusqlite::Result<Position> {
    let text = get_value(connection, POSITION)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// The incidents that are not over, oldest first, with their timelines.
pub(super) fn open(connection: &Connection) -> rusqlite::Result<Vec<Incident>> {
    let mut select =
        connection.prepare("SELECT body, timeline FROM incidents WHERE is_over = 0 ORDER BY first_seq")?;
    let rows = select.query_map([], whole)?;
    rows.filter_map(Result::transpose).collect()
}

/// One incident with its timeline.
pub(super) fn one(connection: &Connection, first_seq: u64) -> rusqlite::Result<Option<Incident>> {
    let number = i64::try_from(first_seq).unwrap_or(i64::MAX);
    let row = connection
        .query_row("SELECT body, timeline FROM incidents WHERE first_seq = ?1", [number], whole)
        .optional()?;
    Ok(row.flatten())
}

/// Incidents, newest first, without their timelines.
pub(super) fn page(
    connection: &Connection,
    wanted: &IncidentFilter,
    limit: usize,
) -> rusqlite::Result<Vec<Incident>> {
    let mut select = connection.prepare_cached(
        "SELECT body, NULL FROM incidents
         WHERE first_seq < ?1 AND (?2 IS NULL OR is_over = ?2) AND (?3 IS NULL OR ended_ms IS NULL OR ended_ms >= ?3)
            AND (?4 IS NULL OR body -> '$.components' ->> ?4 IS NOT NULL)
         ORDER BY first_seq DESC LIMIT ?5",
    )?;
    let before = wanted.before.map_or(i64::MAX, |seq| i64::try_from(seq).unwrap_or(i64::MAX));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let component = wanted.component.as_ref().map(|name| format!("$.\"{}\"", name.replace('"', "")));
    let rows = select.query_map(params![before, wanted.is_over, wanted.since_ms, component, limit], whole)?;
    rows.filter_map(Result::transpose).collect()
}

/// An incident of a row; `None` for one that cannot be read any more.
fn whole(row: &Row<'_>) -> rusqlite::Result<Option<Incident>> {
    let (body, timeline): (String, Option<String>) = (row.get(0)?, row.get(1)?);
    let Ok(mut incident) = serde_json::from_str::<Incident>(&body) else { return Ok(None) };
    incident.timeline =
        timeline.and_then(|text| serde_json::from_str::<Vec<TimelineEntry>>(&text).ok()).unwrap_or_default();
    Ok(Some(incident))
}
