//! The versions by name and number: what each was, who made it and why, and whether it could come back.

use std::sync::Arc;

use chrono::{DateTime, TimeZone, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::document::{Change, Document, patched};
use super::history::{DEFAULT, Head};
use super::snapshot::Committed;
use super::txn::{Plan, etag};
use super::{Shared, audit};
use crate::operations_log::{StoredActor, now_ms};
use crate::store::StoreAbort;
use botops_contract::VersionRef;
use botops_core::error::{Code, Error};

/// Versions that are kept whatever their age.
const KEEP: u32 = 100;

/// How long more than that are kept.
const KEEP_MS: i64 = 90 * 24 * 3_600 * 1_000;

/// How long a document that the bot died over is not tried again by itself.
const CRASH_MS: i64 = 24 * 3_600 * 1_000;

/// A version without its document.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct VersionView {
    /// Its number.
    pub version: u64,
    /// Its ETag.
    pub etag: String,
    /// SHA-256 of its exact bytes.
    pub sha256: String,
    /// The transaction that made it.
    pub txn: String,
    /// Why.
    pub reason: String,
    /// The key that asked for it.
    pub actor: String,
    /// The earlier version it brought back.
    pub restored_from: Option<u64>,
    /// How many lines differ from the version before.
    pub lines: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was committed; `null` for a candidate that was not.
    pub committed_at: Option<DateTime<Utc>>,
    /// Whether it is the committed one now.
    pub is_committed: bool,
    /// Whether a rollback to it would pass schema and rules now.
    pub rollbackable: bool,
    /// Why not.
    pub not_rollbackable_because: Option<String>,
}

/// A row of the table.
#[derive(Debug, Clone)]
struct Kept {
    reference: VersionRef,
    txn: String,
    reason: String,
    actor: String,
    restored_from: Option<u64>,
    lines: u64,
    created_ms: i64,
    committed_ms: Option<i64>,
}

impl Shared {
    /// Finds what is committed: `HEAD`, or what the store knows was `HEAD`, or version 1 from the default document.
    pub(super) async fn open_head(&self) -> Result<(), Error> {
        let kept = self.store.read(|connection| Ok(last_committed(connection)?)).await?;
        match (self.history.head(), kept) {
            (Ok(Some((head, document))), _) => {
                self.show_head(head.clone(), document);
                self.note_commit(head).await?;
            }
            (Ok(None), None) => self.make_first().await?,
            (found, Some(kept)) => self.restore_head(found.err(), &kept).await?,
            (Err(problem), None) => {
                tracing::error!(error.code = "CFG_018", "the committed config cannot be read: {problem}");
            }
        }
        self.keep_house().await
    }

    /// `HEAD` is gone or does not hold, and the store knows what it named.
    async fn restore_head(&self, problem: Option<String>, kept: &Kept) -> Result<(), Error> {
        let problem = problem.unwrap_or_else(|| "HEAD is missing".to_owned());
        let document = match self.history.load(&kept.reference) {
            Ok(document) => document,
            Err(also) => {
                tracing::error!(
                    error.code = "CFG_018",
                    "the committed config cannot be read: {problem}; {also}"
                );
                return Ok(());
            }
        };
        let head = self.head_of(&kept.reference, &kept.txn);
        self.history
            .commit(&head, &document)
            .map_err(|error| Error::new(Code::StoreUnavailable).caused_by(error))?;
        tracing::warn!("{problem}; it names version {} again, as the store knows", head.version);
        let mut record = audit::stamped("head_restored");
        record.insert("new".to_owned(), serde_json::json!(kept.reference));
        record.insert("outcome".to_owned(), serde_json::json!(problem));
        let queue = self.audit.queue();
        self.store.write(move |connection| Ok(queue(connection, record)?)).await?;
        self.show_head(head, document);
        Ok(())
    }

    /// Version 1 from the default document, byte for byte: a bot that runs its built-in default is in sync with it.
    async fn make_first(&self) -> Result<(), Error> {
        let unavailable = |error: std::io::Error| Error::new(Code::StoreUnavailable).caused_by(error);
        let document = Document::read(DEFAULT.to_owned())
            .map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        let version = self.history.highest().map_err(unavailable)? + 1;
        let reference = document.as_version(version);
        self.history.store(version, &document).map_err(unavailable)?;
        let head = self.head_of(&reference, "first-start");
        self.history.commit(&head, &document).map_err(unavailable)?;
        let mut record = audit::stamped("first_version");
        record.insert("new".to_owned(), serde_json::json!(reference));
        record.insert("reason".to_owned(), serde_json::json!("the default document, at the first start"));
        let queue = self.audit.queue();
        self.store.write(move |connection| Ok(queue(connection, record)?)).await?;
        self.show_head(head.clone(), document);
        self.note_commit(head).await?;
        self.audit.flush().await
    }

    /// `HEAD` as it would name a version.
    pub(super) fn head_of(&self, version: &VersionRef, txn: &str) -> Head {
        let file = format!("versions/{:06}-{}.json", version.version, super::history::short(&version.sha256));
        Head {
            version: version.version,
            sha256: version.sha256.clone(),
            file,
            txn: txn.to_owned(),
            at: Utc::now(),
        }
    }

    pub(super) fn show_head(&self, head: Head, document: Document) {
        let findings = self.schema.findings(&document.value, None, &super::schema::Facts::default()).len();
        if findings > 0 {
            tracing::warn!(
                "the committed config does not fit the schema of this botops in {findings} places"
            );
        }
        self.head.store(Some(Arc::new(Committed { head, document, findings })));
    }

    /// Makes sure the store knows what `HEAD` names.
    async fn note_commit(&self, head: Head) -> Result<(), Error> {
        self.store
            .write(move |connection| {
                insert(connection, &head.as_ref(), &head.file, &head.txn, "", "botops", None, 0)?;
                Ok(mark_committed(connection, head.version, head.at.timestamp_millis())?)
            })
            .await
    }

    /// Removes files without a row, and versions that are old and many.
    async fn keep_house(&self) -> Result<(), Error> {
        let (known, old) =
            self.store.read(|connection| Ok((all_numbers(connection)?, outlived(connection)?))).await?;
        let committed = self.head.load().as_ref().map(|committed| committed.head.version);
        let mut known = known;
        known.extend(committed);
        let collected = self.history.collect_orphans(&known);
        let removed: std::io::Result<()> = old
            .iter()
            .filter(|version| Some(version.version) != committed)
            .try_for_each(|version| self.history.remove(version));
        if let Err(error) = collected.map(drop).and(removed) {
            tracing::warn!("old config versions could not be removed: {error}");
        }
        Ok(())
    }

    /// The next version number.
    pub(super) async fn next_version(&self) -> Result<u64, Error> {
        let highest: i64 = self
            .store
            .read(|connection| {
                let query = "SELECT coalesce(max(version), 0) FROM config_versions";
                Ok(connection.query_row(query, [], |row| row.get(0))?)
            })
            .await?;
        let files =
            self.history.highest().map_err(|error| Error::new(Code::StoreUnavailable).caused_by(error))?;
        Ok(files.max(u64::try_from(highest).unwrap_or_default()) + 1)
    }

    /// A document by name: `running`, `committed`, `trial`, `previous` or `v17`.
    pub(super) async fn resolve(&self, name: &str) -> Result<Document, Error> {
        let unknown = |detail: &str| {
            let name = botops_core::text::clean(name, 40);
            Error::new(Code::ConfigVersionUnknown).detail(detail.to_owned()).context("version", name)
        };
        match name {
            "committed" => Ok(self.committed()?.document.clone()),
            "running" => {
                let running = self.running().ok_or_else(|| unknown("the bot has not said what it runs"))?;
                let committed = self.head.load_full();
                if let Some(committed) = committed.filter(|head| head.head.sha256 == running.sha256) {
                    return Ok(committed.document.clone());
                }
                let sha256 = running.sha256;
                let kept = self.store.read(move |connection| Ok(by_hash(connection, &sha256)?)).await?;
                let kept =
                    kept.ok_or_else(|| unknown("what the bot runs is not among the versions kept here"))?;
                self.history.load(&kept.reference).map_err(|problem| unknown(&problem))
            }
            "trial" => {
                let live = self.live.load_full().ok_or_else(|| unknown("no trial runs"))?;
                self.history.load(&live.candidate).map_err(|problem| unknown(&problem))
            }
            _ => {
                let number = self.number(name).await?;
                self.load_version(number).await
            }
        }
    }

    /// The number behind `v17`, `17`, `committed` or `previous`.
    pub(super) async fn number(&self, name: &str) -> Result<u64, Error> {
        match name {
            "committed" => Ok(self.committed()?.head.version),
            "previous" => {
                let current = self.committed()?.head.version;
                let previous = self.store.read(move |connection| Ok(before(connection, current)?)).await?;
                previous.ok_or_else(|| {
                    Error::new(Code::ConfigVersionUnknown).detail("nothing was committed before")
                })
            }
            _ => name.strip_prefix('v').unwrap_or(name).parse().map_err(|_| {
                Error::new(Code::ConfigVersionUnknown)
                    .detail("no such version")
                    .context("version", botops_core::text::clean(name, 40))
            }),
        }
    }

    /// A version's document.
    pub(super) async fn load_version(&self, number: u64) -> Result<Document, Error> {
        let unknown = || Error::new(Code::ConfigVersionUnknown).context("version", number);
        let kept = self.store.read(move |connection| Ok(by_number(connection, number)?)).await?;
        let kept = kept.ok_or_else(unknown)?;
        self.history.load(&kept.reference).map_err(|problem| unknown().detail(problem))
    }

    /// The document a change makes of another.
    pub(super) async fn candidate(
        &self,
        base: &serde_json::Value,
        change: &Change,
    ) -> Result<Document, Error> {
        match change {
            Change::Version(number) => self.load_version(*number).await,
            change => Ok(Document::of(patched(base, change)?)),
        }
    }

    /// Versions below `below`, newest first.
    pub(super) async fn versions(&self, below: u64, limit: u32) -> Result<(Vec<VersionView>, bool), Error> {
        let mut kept = self.store.read(move |connection| page(connection, below, limit + 1)).await?;
        let more = kept.len() > limit as usize;
        kept.truncate(limit as usize);
        Ok((kept.iter().map(|kept| self.version_view(kept)).collect(), more))
    }

    /// One version with its document.
    pub(super) async fn version(&self, number: u64) -> Result<(VersionView, Document), Error> {
        let unknown = || Error::new(Code::ConfigVersionUnknown).context("version", number);
        let kept = self.store.read(move |connection| Ok(by_number(connection, number)?)).await?;
        let kept = kept.ok_or_else(unknown)?;
        let document = self.history.load(&kept.reference).map_err(|problem| unknown().detail(problem))?;
        Ok((self.version_view(&kept), document))
    }

    fn version_view(&self, kept: &Kept) -> VersionView {
        let committed = self.head.load_full();
        let base = committed.as_ref().map(|committed| &committed.document.value);
        let is_committed =
            committed.as_ref().is_some_and(|committed| committed.head.version == kept.reference.version);
        let problem = match self.history.load(&kept.reference) {
            Err(problem) => Some(problem),
            Ok(document) => {
                let findings = self.schema.findings(&document.value, base, &self.facts());
                findings.first().map(|finding| format!("{}: {}", finding.pointer, finding.expected))
            }
        };
        let problem = if is_committed { Some("it is the committed one".to_owned()) } else { problem };
        VersionView {
            version: kept.reference.version,
            etag: etag(&kept.reference),
            sha256: kept.reference.sha256.clone(),
            txn: kept.txn.clone(),
            reason: kept.reason.clone(),
            actor: kept.actor.clone(),
            restored_from: kept.restored_from,
            lines: kept.lines,
            created_at: time(kept.created_ms),
            committed_at: kept.committed_ms.map(time),
            is_committed,
            rollbackable: problem.is_none(),
            not_rollbackable_because: problem,
        }
    }
}

/// Writes a candidate's row; a version that is there already stays as it is.
pub(super) fn insert_candidate(
    connection: &Connection,
    txn: &str,
    plan: &Plan,
    actor: &StoredActor,
) -> rusqlite::Result<()> {
    let lines = plan.diff.len();
    let (reference, file) = (&plan.candidate, &plan.file);
    insert(connection, reference, file, txn, &plan.reason, &actor.key_id, plan.restored_from, lines)
}

#[expect(clippy::too_many_arguments, reason = "a row has this many columns")]
fn insert(
    connection: &Connection,
    reference: &VersionRef,
    file: &str,
    txn: &str,
    reason: &str,
    actor: &str,
    restored_from: Option<u64>,
    lines: usize,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO config_versions(version, sha256, file, op_id, reason, actor_key, restored_from,
                                                   lines, created_ms)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            as_i64(reference.version),
            reference.sha256,
            file,
            txn,
            reason,
            actor,
            restored_from.map(as_i64),
            i64::try_from(lines).unwrap_or(i64::MAX),
            now_ms()
        ])
        .map(|_| ())
}

/// Notes when `HEAD` first named a version.
pub(super) fn mark_committed(connection: &Connection, version: u64, at_ms: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE config_versions SET committed_ms = ?2 WHERE version = ?1 AND committed_ms IS NULL",
        )?
        .execute(params![as_i64(version), at_ms])
        .map(|_| ())
}

const COLUMNS: &str =
    "version, sha256, op_id, reason, actor_key, restored_from, lines, created_ms, committed_ms";

fn read(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let version: i64 = row.get(0)?;
    let (restored_from, lines): (Option<i64>, i64) = (row.get(5)?, row.get(6)?);
    Ok(Kept {
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

fn last_committed(connection: &Connection) -> rusqlite::Result<Option<Kept>> {
    let query = format!(
        "SELECT {COLUMNS} FROM config_versions WHERE committed_ms IS NOT NULL
         ORDER BY committed_ms DESC, version DESC LIMIT 1"
    );
    connection.query_row(&query, [], read).optional()
}

fn before(connection: &Connection, current: u64) -> rusqlite::Result<Option<u64>> {
    let query = "SELECT max(version) FROM config_versions WHERE committed_ms IS NOT NULL AND version < ?1";
    let found: Option<i64> = connection.query_row(query, [as_i64(current)], |row| row.get(0))?;
    Ok(found.map(as_u64))
}

fn by_number(connection: &Connection, number: u64) -> rusqlite::Result<Option<Kept>> {
    let query = format!("SELECT {COLUMNS} FROM config_versions WHERE version = ?1");
    connection.query_row(&query, [as_i64(number)], read).optional()
}

fn by_hash(connection: &Connection, sha256: &str) -> rusqlite::Result<Option<Kept>> {
    let query =
        format!("SELECT {COLUMNS} FROM config_versions WHERE sha256 = ?1 ORDER BY version DESC LIMIT 1");
    connection.query_row(&query, [sha256], read).optional()
}

/// The last trial of this document that ended because the bot died, if that was less than a day ago.
pub(super) fn crashed_lately(connection: &Connection, sha256: &str) -> rusqlite::Result<Option<String>> {
    let query =
        "SELECT op_id FROM ops WHERE kind = 'config' AND live = 0 AND def_sha = ?1 AND updated_ms > ?2
                   AND json_extract(result_json, '$.by') = 'bot_crash' ORDER BY updated_ms DESC LIMIT 1";
    connection.query_row(query, params![sha256, now_ms() - CRASH_MS], |row| row.get(0)).optional()
}

fn page(connection: &Connection, below: u64, limit: u32) -> Result<Vec<Kept>, StoreAbort> {
    let query =
        format!("SELECT {COLUMNS} FROM config_versions WHERE version < ?1 ORDER BY version DESC LIMIT ?2");
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map(params![as_i64(below), limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn all_numbers(connection: &Connection) -> rusqlite::Result<Vec<u64>> {
    let mut statement = connection.prepare("SELECT version FROM config_versions")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.map(|row: rusqlite::Result<i64>| row.map(as_u64)).collect()
}

fn outlived(connection: &Connection) -> rusqlite::Result<Vec<VersionRef>> {
    let mut statement = connection.prepare(
        "SELECT version, sha256 FROM config_versions WHERE created_ms < ?1
           AND version NOT IN (SELECT version FROM config_versions ORDER BY version DESC LIMIT ?2)",
    )?;
    let rows = statement.query_map(params![now_ms() - KEEP_MS, KEEP], |row| {
        let version: i64 = row.get(0)?;
        Ok(VersionRef { version: as_u64(version), sha256: row.get(1)? })
    })?;
    rows.collect()
}

fn time(ms: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(ms).single().unwrap_or_default()
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn as_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
