//! Reading and writing the rows and their events.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::model::{OperationChange, OperationEvent, OperationKind, OperationRow, StoredActor, now_ms};

/// The live row that holds a lock.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub fn holder(connection: &Connection, lock_key: &str) -> rusqlite::Result<Option<OperationRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM ops WHERE lock_key = ?1 AND live = 1"))?
        .query_row([lock_key], read_row)
        .optional()
}

/// Changes a live row and appends the event that explains it; false, and nothing changed, when it is no longer live.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub fn advance(
    connection: &Connection,
    op_id: &str,
    to: &OperationChange,
    event: &str,
    data: &Value,
) -> rusqlite::Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE ops SET state = ?2, live = ?3, result_json = coalesce(?4, result_json),
                            deadline_ms = coalesce(?5, deadline_ms), updated_ms = ?6
             WHERE op_id = ?1 AND live = 1",
        )?
        .execute(params![
            op_id,
            to.state,
            to.live,
            to.result.as_ref().map(Value::to_string),
            to.deadline_ms,
            now_ms()
        ])?;
    if changed == 0 {
        return Ok(false);
    }
    append(connection, op_id, event, data)?;
    Ok(true)
}

/// Counts one more resumption after a restart and returns how many there were, this one included.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub fn count_recovery(connection: &Connection, op_id: &str) -> rusqlite::Result<u32> {
    connection
        .prepare_cached("UPDATE ops SET recoveries = recoveries + 1 WHERE op_id = ?1 RETURNING recoveries")?
        .query_row([op_id], |row| row.get(0))
}

/// Appends an event and returns its number, which counts from 1 within the operation.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub fn append(connection: &Connection, op_id: &str, event: &str, data: &Value) -> rusqlite::Result<u64> {
    let seq: i64 = connection
        .prepare_cached(
            "INSERT INTO op_events(op_id, seq, at_ms, type, json)
             SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4 FROM op_events WHERE op_id = ?1 RETURNING seq",
        )?
        .query_row(params![op_id, now_ms(), event, data.to_string()], |row| row.get(0))?;
    Ok(u64::try_from(seq).unwrap_or_default())
}

/// The events of an operation with a number above `after`, oldest first.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub fn events(connection: &Connection, op_id: &str, after: u64) -> rusqlite::Result<Vec<OperationEvent>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT seq, at_ms, type, json FROM op_events WHERE op_id = ?1 AND seq > ?2 ORDER BY seq",
        )?
        .query_map(params![op_id, after], |row| {
            let (seq, json): (i64, String) = (row.get(0)?, row.get(3)?);
            let seq = u64::try_from(seq).unwrap_or_default();
            Ok(OperationEvent { seq, at_ms: row.get(1)?, kind: row.get(2)?, data: value(&json) })
        })?
        .collect()
}

/// The row with this id, if there is one.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub fn load(connection: &Connection, op_id: &str) -> rusqlite::Result<Option<OperationRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM ops WHERE op_id = ?1"))?
        .query_row([op_id], read_row)
        .optional()
}

/// The rows of a kind that are live, oldest first.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub fn live(connection: &Connection, kind: OperationKind) -> rusqlite::Result<Vec<OperationRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM ops WHERE live = 1 AND kind = ?1 ORDER BY created_ms, op_id"
        ))?
        .query_map([kind.as_str()], read_row)?
        .collect()
}

/// The newest rows of a kind, newest first; with a name, only those of that name.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub fn newest(
    connection: &Connection,
    kind: OperationKind,
    name: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Vec<OperationRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM ops WHERE kind = ?1 AND (?2 IS NULL OR name = ?2)
             ORDER BY created_ms DESC, op_id DESC LIMIT ?3"
        ))?
        .query_map(params![kind.as_str(), name, limit], read_row)?
        .collect()
}

const COLUMNS: &str = "op_id, kind, name, def_sha, params_json, state, live, lock_key, parent_op, actor_key,
    actor_json, request_id, deadline_ms, recoveries, created_ms, updated_ms, result_json";

fn read_row(row: &Row<'_>) -> rusqlite::Result<OperationRow> {
    let kind: String = row.get(1)?;
    let (params, actor, result): (String, String, String) = (row.get(4)?, row.get(10)?, row.get(16)?);
    let actor = serde_json::from_str(&actor).unwrap_or(StoredActor {
        key_id: row.get(9)?,
        request_id: row.get(11)?,
        client: None,
    });
    Ok(OperationRow {
        op_id: row.get(0)?,
        kind: if kind == "config" { OperationKind::Config } else { OperationKind::Workflow },
        name: row.get(2)?,
        def_sha: row.get(3)?,
        params: value(&params),
        state: row.get(5)?,
        live: row.get(6)?,
        lock_key: row.get(7)?,
        parent_op: row.get(8)?,
        actor,
        deadline_ms: row.get(12)?,
        recoveries: row.get(13)?,
        created_ms: row.get(14)?,
        updated_ms: row.get(15)?,
        result: value(&result),
    })
}

/// A stored JSON value. A text that does not parse was not written by this code and reads as `Null`.
fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

/// The actor as JSON, for the column `actor`.
pub(super) fn actor_json(actor: &StoredActor) -> String {
    serde_json::to_string(actor).expect("three strings are JSON")
}
