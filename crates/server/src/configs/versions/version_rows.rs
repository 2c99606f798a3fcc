//! The table `config_versions`: what each version was, who made it and why.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::operations_log::now_ms;
use botops_contract::VersionRef;

/// Versions that are kept whatever their age.
const KEEP: u32 = 100;

/// How long more than that are kept.
const KEEP_MS: i64 = 90 * 24 * 3_600 * 1_000;

/// How long a document that the bot died over is not tried again by itself.
const CRASH_MS: i64 = 24 * 3_600 * 1_000;

/// A row of `config_versions`.
#[derive(Debug, Clone)]
pub(super) struct VersionRow {
    pub reference: VersionRef,
    pub txn: String,
    pub reason: String,
    pub actor: String,
    pub restored_from: Option<u64>,
    pub lines: u64,
    pub created_ms: i64,
    pub committed_ms: Option<i64>,
}

/// A version that is about to get its row.
#[derive(Debug, Clone)]
pub(crate) struct NewVersionRow {
    pub reference: VersionRef,
    /// The path of the version's file, relative to the config folder.
    pub file: String,
    pub txn: String,
    pub reason: String,
    /// The name of the key that asked for it.
    pub actor: String,
    pub restored_from: Option<u64>,
    /// How many lines differ from the version before.
    pub lines: usize,
}

/// Writes a version's row; one that is there already stays as it is.
pub(crate) fn insert_version(connection: &Connection, new: &NewVersionRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO config_versions(version, sha256, file, op_id, reason, actor_key, restored_from,
                                                   lines, created_ms)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            as_i64(new.reference.version),
            new.reference.sha256,
            new.file,
            new.txn,
            new.reason,
            new.actor,
            new.restored_from.map(as_i64),
            i64::try_from(new.lines).unwrap_or(i64::MAX),
            now_ms()
        ])
        .map(|_| ())
}

/// Records when `HEAD` first named a version.
pub(crate) fn mark_committed(connection: &Connection, version: u64, at_ms: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE config_versions SET committed_ms = ?2 WHERE version = ?1 AND committed_ms IS NULL",
        )?
        .execute(params![as_i64(version), at_ms])
        .map(|_| ())
}

const COLUMNS: &str =
    "version, sha256, op_id, reason, actor_key, restored_from, lines, created_ms, committed_ms";

fn read_row(row: &Row<'_>) -> rusqlite::Result<VersionRow> {
    let version: i64 = row.get(0)?;
    let (restored_from, lines): (Option<i64>, i64) = (row.get(5)?, row.get(6)?);
    Ok(VersionRow {
        reference: VersionRef { version: as_u64(version), sha256: row.get(1)? },
        txn: row.get(2)?,
        reason: row.get(3)?,
        actor: row.get(4)?,
        restored_from: restored_from.map(as_u64),
        lines: as_u64(lines),
        created_ms: row.get(7)?,
        committed_ms: row.get(8)?,
    })
}

/// The version that was committed last.
pub(super) fn last_committed(connection: &Connection) -> rusqlite::Result<Option<VersionRow>> {
    let query = format!(
        "SELECT {COLUMNS} FROM config_versions WHERE committed_ms IS NOT NULL
         ORDER BY committed_ms DESC, version DESC LIMIT 1"
    );
    connection.query_row(&query, [], read_row).optional()
}

/// The version that was committed before this one.
pub(super) fn committed_before(connection: &Connection, current: u64) -> rusqlite::Result<Option<u64>> {
    let query = "SELECT max(version) FROM config_versions WHERE committed_ms IS NOT NULL AND version < ?1";
    let found: Option<i64> = connection.query_row(query, [as_i64(current)], |row| row.get(0))?;
    Ok(found.map(as_u64))
}

pub(super) fn row_by_number(connection: &Connection, number: u64) -> rusqlite::Result<Option<VersionRow>> {
    let query = format!("SELECT {COLUMNS} FROM config_versions WHERE version = ?1");
    connection.query_row(&query, [as_i64(number)], read_row).optional()
}

/// The newest version with this content.
pub(super) fn row_by_hash(connection: &Connection, sha256: &str) -> rusqlite::Result<Option<VersionRow>> {
    let query =
        format!("SELECT {COLUMNS} FROM config_versions WHERE sha256 = ?1 ORDER BY version DESC LIMIT 1");
    connection.query_row(&query, [sha256], read_row).optional()
}

/// The trials that ended less than a day ago because the bot died, newest first, with what they tried.
pub(super) fn crashed_lately(connection: &Connection) -> rusqlite::Result<Vec<(String, VersionRef)>> {
    let query = "SELECT op_id, def_sha, json_extract(params_json, '$.candidate.version') FROM ops
         WHERE kind = 'config' AND live = 0 AND updated_ms > ?1
           AND json_extract(result_json, '$.by') = 'bot_crash' ORDER BY updated_ms DESC";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map([now_ms() - CRASH_MS], |row| {
        let version: i64 = row.get(2)?;
        Ok((row.get(0)?, VersionRef { version: as_u64(version), sha256: row.get(1)? }))
    })?;
    rows.collect()
}

/// At most `limit` versions below `below`, newest first, and how many older ones there are.
pub(super) fn page_of_rows(
    connection: &Connection,
    below: u64,
    limit: u32,
) -> rusqlite::Result<(Vec<VersionRow>, u64)> {
    let below = as_i64(below);
    let query =
        format!("SELECT {COLUMNS} FROM config_versions WHERE version < ?1 ORDER BY version DESC LIMIT ?2");
    let rows: Vec<VersionRow> = connection
        .prepare_cached(&query)?
        .query_map(params![below, limit], read_row)?
        .collect::<rusqlite::Result<_>>()?;
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM config_versions WHERE version < ?1")?
        .query_row([below], |row| row.get(0))?;
    let omitted = as_u64(count).saturating_sub(rows.len() as u64);
    Ok((rows, omitted))
}

/// The highest number a row was ever made for; 0 without one.
pub(super) fn highest_number(connection: &Connection) -> rusqlite::Result<u64> {
    let query = "SELECT coalesce(max(version), 0) FROM config_versions";
    connection.query_row(query, [], |row| row.get(0)).map(as_u64)
}

pub(super) fn all_numbers(connection: &Connection) -> rusqlite::Result<Vec<u64>> {
    let mut statement = connection.prepare("SELECT version FROM config_versions")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.map(|row: rusqlite::Result<i64>| row.map(as_u64)).collect()
}

/// Versions that are old at `now_ms`, and not among the newest.
pub(super) fn outlived_versions(connection: &Connection, now_ms: i64) -> rusqlite::Result<Vec<VersionRef>> {
    let mut statement = connection.prepare(
        "SELECT version, sha256 FROM config_versions WHERE created_ms < ?1
           AND version NOT IN (SELECT version FROM config_versions ORDER BY version DESC LIMIT ?2)",
    )?;
    let rows = statement.query_map(params![now_ms.saturating_sub(KEEP_MS), KEEP], |row| {
        let version: i64 = row.get(0)?;
        Ok(VersionRef { version: as_u64(version), sha256: row.get(1)? })
    })?;
    rows.collect()
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn as_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
