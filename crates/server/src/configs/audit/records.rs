//! The audit file: every transition of the config, in order, so that a later change of the file is found.
//!
//! A record is queued in the same store transaction as the transition that it records, and reaches the file
//! afterwards; what a crash kept from the file is written at the next start. Kept from users: the chain, the outbox,
//! repairing a torn end, and what makes the difference between a torn end and a changed past. Whoever holds the key
//! and the store can still rewrite history: keep the head (`X-Audit-Head`) elsewhere too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use chrono::{SecondsFormat, Utc};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::audit_chain::{self, AuditHead, AuditKey, AuditVerdict, ChainWalk, HEADER_EVENT};
use super::audit_file::{AuditFile, read_records};
use crate::store::Store;
use botops_core::durable_file;
use botops_core::error::{Code, Error};
use botops_core::failpoints;
use botops_core::regular_file::read_regular;

/// Records of one page, at most.
pub(crate) const MOST_RECORDS: u32 = 500;

/// Why the audit cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AuditDamage {
    /// The first line that does not hold.
    pub first_bad_seq: u64,
    /// What is wrong with that line.
    pub reason: String,
}

/// Handle to the audit; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct ConfigAudit {
    inner: Arc<AuditInner>,
}

#[derive(Debug)]
struct AuditInner {
    path: PathBuf,
    key: AuditKey,
    store: Store,
    file: Arc<Mutex<AuditFile>>,
    damage: ArcSwapOption<AuditDamage>,
    /// Why the key or the file could not be opened; nothing is written then, and nothing accepted.
    unusable: Option<String>,
    head: ArcSwap<AuditHead>,
}

impl ConfigAudit {
    /// Opens the file, finishes what a crash interrupted, and verifies what the file holds.
    pub(crate) async fn open(path: &Path, key_file: &Path, store: Store) -> Result<Self, Error> {
        let (head, pending) =
            store.read(|connection| Ok((read_head(connection)?, read_outbox(connection)?))).await?;
        let OpenedAudit { key, file, walk, damage, unusable } = open_files(path, key_file, &head, &pending)?;
        let ahead = walk.head.clone().filter(|found| damage.is_none() && found.seq > head.seq);
        let inner = AuditInner {
            path: path.to_owned(),
            key,
            store,
            file: Arc::new(Mutex::new(file)),
            damage: ArcSwapOption::from_pointee(damage),
            unusable,
            head: ArcSwap::from_pointee(head),
        };
        let audit = Self { inner: Arc::new(inner) };
        if let Some(found) = ahead {
            tracing::warn!(
                "the audit file is ahead of the store, which seems to come from a backup; the file counts"
            );
            audit.adopt(found).await?;
        }
        let written = match audit.head().seq {
            0 if audit.damage().is_none() => audit.write_header(Map::new()).await,
            _ => Ok(()),
        };
        let flushed = match written {
            Ok(()) => audit.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = flushed {
            // It stays queued, and is written with the next change.
            let cause = error.cause_for_log().unwrap_or_default().to_owned();
            let path = path.display();
            tracing::error!(error.cause = cause, "{path} cannot be written ({error}): free space there");
        }
        if let Some(damage) = audit.damage() {
            tracing::error!(
                error.code = "CFG_015",
                "the audit does not hold from line {}: {}; config writes are refused",
                damage.first_bad_seq,
                damage.reason
            );
        }
        Ok(audit)
    }

    /// The last line and its MAC.
    pub(crate) fn head(&self) -> Arc<AuditHead> {
        self.inner.head.load_full()
    }

    /// What is wrong with the past, if something is.
    pub(crate) fn damage(&self) -> Option<Arc<AuditDamage>> {
        self.inner.damage.load_full()
    }

    /// A digest of a secret value.
    pub(crate) fn mask(&self, value: &Value) -> Value {
        self.inner.key.mask(value)
    }

    /// Makes the function that queues a record in a store closure.
    ///
    /// It must run in the store transaction of the transition that it records.
    pub(crate) fn queue(
        &self,
    ) -> impl FnOnce(&Connection, Map<String, Value>) -> rusqlite::Result<()> + Send + use<> {
        let key = self.inner.key.clone();
        move |connection, record| queue_record(connection, &key, record)
    }

    /// Brings what is queued into the file, durable on return.
    ///
    /// # Errors
    /// [`Code::ConfigAuditUnavailable`] when the file cannot be written.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let mut file = self.inner.file.clone().lock_owned().await;
        let (head, pending) = self
            .inner
            .store
            .read(|connection| Ok((read_head(connection)?, read_outbox(connection)?)))
            .await?;
        self.inner.head.store(Arc::new(head));
        if self.damage().is_some() || pending.is_empty() {
            return Ok(());
        }
        let appended = tokio::task::spawn_blocking(move || {
            file.append(&pending)?;
            Ok::<_, io::Error>(file.last_seq())
        });
        let unwritten = |error: io::Error| {
            let path = self.inner.path.display();
            let what = format!(
                "{path} cannot be written ({}); nothing that it does not record is done",
                error.kind()
            );
            Error::new(Code::ConfigAuditUnavailable).detail(what).caused_by(error)
        };
        let written = appended
            .await
            .map_err(|error| Error::new(Code::Internal).caused_by(error))?
            .map_err(unwritten)?;
        failpoints::point("audit.written");
        let upto = as_i64(written);
        self.inner.store.post("the audit's outbox", move |connection| {
            connection.prepare_cached("DELETE FROM audit_outbox WHERE seq <= ?1")?.execute([upto])?;
            Ok(())
        });
        Ok(())
    }

    /// Reads the whole file and says whether it holds. What does not hold puts config writes into read-only.
    pub(crate) async fn verify(&self) -> Result<AuditVerdict, Error> {
        self.require_usable()?;
        self.flush().await?;
        let file = self.inner.file.lock().await;
        let known = self.head();
        let (path, key) = (self.inner.path.clone(), self.inner.key.clone());
        let read = tokio::task::spawn_blocking(move || {
            read_regular(&path).map(|bytes| audit_chain::walk_lines(&key, &bytes))
        })
        .await;
        let walk = read
            .map_err(|error| Error::new(Code::Internal).caused_by(error))?
            .map_err(|error| Error::new(Code::ConfigAuditUnavailable).caused_by(error))?;
        drop(file);
        let verdict = audit_chain::verdict_on(&walk, Some(&known));
        if let (Some(first_bad_seq), Some(reason)) = (verdict.first_bad_seq, &verdict.reason) {
            let damage = AuditDamage { first_bad_seq, reason: reason.clone() };
            if self.damage().as_deref() != Some(&damage) {
                tracing::error!(
                    error.code = "CFG_015",
                    "the audit does not hold from line {first_bad_seq}: {reason}"
                );
                self.inner.damage.store(Some(Arc::new(damage)));
            }
        }
        Ok(verdict)
    }

    /// At most `limit` records with a number above `after`, oldest first, and how many newer ones were left out. Those
    /// behind a damaged line are neither shown nor counted.
    pub(crate) async fn page(&self, after: u64, limit: u32) -> Result<(Vec<Value>, usize), Error> {
        let file = self.inner.file.lock().await;
        let Some(range) = file.lines_after(after, limit as usize) else { return Ok((Vec::new(), 0)) };
        let path = self.inner.path.clone();
        drop(file);
        let read = tokio::task::spawn_blocking(move || read_records(&path, range)).await;
        let records = read
            .map_err(|error| Error::new(Code::Internal).caused_by(error))?
            .map_err(|error| Error::new(Code::ConfigAuditUnavailable).caused_by(error))?;
        Ok((records, range.lines_after))
    }

    /// Puts a damaged file aside and goes on in a new one that names it. The damage stays visible in both.
    pub(crate) async fn accept(&self, record: Map<String, Value>) -> Result<AuditHead, Error> {
        self.require_usable()?;
        let unavailable = |error: io::Error| Error::new(Code::ConfigAuditUnavailable).caused_by(error);
        let mut file = self.inner.file.clone().lock_owned().await;
        let Some(damage) = self.damage() else {
            return Err(
                Error::new(Code::ArgumentInvalid).detail("the audit holds; there is nothing to accept")
            );
        };
        let pending = self.inner.store.read(|connection| Ok(read_outbox(connection)?)).await?;
        let stamp = Utc::now().format("%Y%m%dT%H%M%S%3fZ");
        let aside = self.inner.path.with_file_name(format!("config_history.damaged-{stamp}.jsonl"));
        let name = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (path, last_seq) = (self.inner.path.clone(), self.head().seq);
        let moved = tokio::task::spawn_blocking(move || file.put_aside(&path, &aside, &pending, last_seq));
        moved.await.map_err(|error| Error::new(Code::Internal).caused_by(error))?.map_err(unavailable)?;
        self.inner
            .store
            .write(|connection| {
                connection.execute("DELETE FROM audit_outbox", [])?;
                Ok(())
            })
            .await?;
        self.inner.damage.store(None);
        let mut header = record;
        header.insert("previous_file".to_owned(), json!(name));
        header.insert("accepted".to_owned(), json!(*damage));
        self.write_header(header).await?;
        self.flush().await?;
        Ok(AuditHead::clone(&self.head()))
    }

    fn require_usable(&self) -> Result<(), Error> {
        match &self.inner.unusable {
            Some(reason) => Err(Error::new(Code::ConfigAuditUnavailable).detail(reason.clone())),
            None => Ok(()),
        }
    }

    async fn write_header(&self, more: Map<String, Value>) -> Result<(), Error> {
        let mut record = stamped_record(HEADER_EVENT);
        record.insert("key_id".to_owned(), json!(self.inner.key.id()));
        record.extend(more);
        let queue = self.queue();
        self.inner.store.write(move |connection| Ok(queue(connection, record)?)).await
    }

    async fn adopt(&self, head: AuditHead) -> Result<(), Error> {
        let kept = head.clone();
        self.inner
            .store
            .write(move |connection| {
                connection.execute("DELETE FROM audit_outbox WHERE seq <= ?1", [as_i64(head.seq)])?;
                Ok(put_head(connection, &head)?)
            })
            .await?;
        self.inner.head.store(Arc::new(kept));
        Ok(())
    }
}

/// The audit's key and file at a start.
struct OpenedAudit {
    key: AuditKey,
    file: AuditFile,
    walk: ChainWalk,
    damage: Option<AuditDamage>,
    unusable: Option<String>,
}

/// Opens both files. What cannot be used is damage, never a reason not to start: reads go on, and changes are refused
/// until a person has put it right.
fn open_files(
    path: &Path,
    key_file: &Path,
    head: &AuditHead,
    pending: &[(u64, String)],
) -> Result<OpenedAudit, Error> {
    let unavailable = |error: io::Error| Error::new(Code::ConfigAuditUnavailable).caused_by(error);
    let is_new = !path.exists();
    let unusable = |file: &Path, error: &io::Error| {
        let remedy = "put it back from a backup and restart botops";
        AuditDamage {
            first_bad_seq: 1,
            reason: format!("{} cannot be used ({error}); {remedy}", file.display()),
        }
    };
    let closed = |key: AuditKey, damage: AuditDamage| {
        let file = AuditFile::unusable().map_err(unavailable)?;
        let walk = audit_chain::walk_lines(&key, &[]);
        Ok(OpenedAudit { key, file, walk, unusable: Some(damage.reason.clone()), damage: Some(damage) })
    };
    let key = match read_or_make_key(key_file, is_new) {
        Ok(key) => key,
        // Nothing is sealed with this one.
        Err(error) => return closed(AuditKey::new(vec![0; 32]), unusable(key_file, &error)),
    };
    let (mut file, walk) = match AuditFile::open(path, &key) {
        Ok(opened) => opened,
        Err(error) => return closed(key, unusable(path, &error)),
    };
    let reached = file.last_seq();
    let mut damage = find_damage(&walk, reached, head, pending);
    if damage.is_none() {
        match file.cut_torn_end(walk.good) {
            Ok(true) => tracing::warn!(
                "the end of the audit file was torn; it was cut at line {reached} and is written again"
            ),
            Ok(false) => {}
            Err(error) => damage = Some(unusable(path, &error)),
        }
    }
    Ok(OpenedAudit { key, file, walk, damage, unusable: None })
}

/// Whether a file that does not hold was cut off by a crash (`None`), or somebody changed it.
fn find_damage(
    walk: &ChainWalk,
    reached: u64,
    head: &AuditHead,
    pending: &[(u64, String)],
) -> Option<AuditDamage> {
    let verdict = audit_chain::verdict_on(walk, Some(head));
    let rest_is_queued = (reached + 1..=head.seq).all(|seq| pending.iter().any(|(queued, _)| *queued == seq));
    let follows = pending.iter().find(|(seq, _)| *seq == reached + 1);
    // What was queued and never acknowledged may be cut off; a whole line that is not the queued one may not.
    let is_torn = walk.torn || follows.is_some();
    let is_crash = verdict.valid || (rest_is_queued && (walk.bad.is_none() || is_torn));
    if is_crash {
        return None;
    }
    let reason = verdict.reason.unwrap_or_default();
    Some(AuditDamage { first_bad_seq: verdict.first_bad_seq.unwrap_or(reached + 1), reason })
}

/// A record with its time and event, to be filled.
pub(crate) fn stamped_record(event: &str) -> Map<String, Value> {
    let mut record = Map::new();
    record.insert("ts".to_owned(), json!(Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)));
    record.insert("event".to_owned(), json!(event));
    record
}

/// Verifies a file on its own, for the command line. The head is taken from the store beside it when there is one.
///
/// # Errors
/// Why the file or the key cannot be read.
pub fn verify_audit_file(
    file: &Path,
    key_file: Option<&Path>,
    known: Option<AuditHead>,
) -> Result<AuditVerdict, String> {
    let data_dir = file.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let key_file = key_file.map_or_else(|| data_dir.join("audit.key"), Path::to_owned);
    let readable = |path: &Path, error: io::Error| format!("{} cannot be read ({error})", path.display());
    let key = fs::read(&key_file).map_err(|error| readable(&key_file, error))?;
    let bytes = fs::read(file).map_err(|error| readable(file, error))?;
    let known = known.or_else(|| {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = Connection::open_with_flags(data_dir.join("ops.db"), flags).ok()?;
        read_head(&connection).ok().filter(|head| head.seq > 0)
    });
    Ok(audit_chain::verdict_on(&audit_chain::walk_lines(&AuditKey::new(key), &bytes), known.as_ref()))
}

fn read_or_make_key(path: &Path, may_make: bool) -> io::Result<AuditKey> {
    match read_regular(path) {
        Ok(bytes) if bytes.len() >= 32 => return Ok(AuditKey::new(bytes)),
        Ok(_) => return Err(io::Error::other("the audit key is too short")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {}
        // Without its key the file cannot be verified; a new one would call it forged.
        Err(error) => return Err(error),
    }
    let mut bytes = vec![0_u8; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    durable_file::replace(path, &bytes, durable_file::PRIVATE, "audit.key")?;
    Ok(AuditKey::new(bytes))
}

fn queue_record(connection: &Connection, key: &AuditKey, record: Map<String, Value>) -> rusqlite::Result<()> {
    let (line, head) = audit_chain::seal_record(key, &read_head(connection)?, record);
    connection
        .prepare_cached("INSERT INTO audit_outbox(seq, line) VALUES(?1, ?2)")?
        .execute(params![as_i64(head.seq), line])?;
    put_head(connection, &head)
}

fn read_head(connection: &Connection) -> rusqlite::Result<AuditHead> {
    let stored: Option<String> = connection
        .prepare_cached("SELECT value FROM meta WHERE key = 'audit_head'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn put_head(connection: &Connection, head: &AuditHead) -> rusqlite::Result<()> {
    let text = serde_json::to_string(head).unwrap_or_default();
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value) VALUES('audit_head', ?1)
             ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        )?
        .execute([text])
        .map(|_| ())
}

fn read_outbox(connection: &Connection) -> rusqlite::Result<Vec<(u64, String)>> {
    connection
        .prepare_cached("SELECT seq, line FROM audit_outbox ORDER BY seq")?
        .query_map([], |row| {
            let seq: i64 = row.get(0)?;
            Ok((u64::try_from(seq).unwrap_or_default(), row.get(1)?))
        })?
        .collect()
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
