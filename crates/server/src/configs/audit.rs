//! The audit file: every transition of the config, in order, such that nobody changes the past unnoticed.
//!
//! A record is queued in the same store transaction as the transition it tells of, and reaches the file afterwards;
//! what a crash kept from the file is written at the next start. Kept from users: the chain, the outbox, repairing a
//! torn end, and what makes the difference between a torn end and a changed past. Whoever holds the key and the
//! store can still rewrite history: note the head (`X-Audit-Head`) elsewhere. Deliberately absent: deleting.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use chrono::{SecondsFormat, Utc};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::chain::{self, AuditHead, AuditVerdict, HEADER, Key};
use crate::store::Store;
use botops_core::error::{Code, Error};
use botops_core::failpoints;

/// Records of one page, at most.
pub(super) const PAGE: usize = 500;

/// Why the audit cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Damage {
    /// The first line that does not hold.
    pub first_bad_seq: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Handle to the audit; cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Audit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    key: Key,
    store: Store,
    log: Arc<Mutex<Log>>,
    damage: ArcSwapOption<Damage>,
    head: ArcSwap<AuditHead>,
}

/// The open file.
#[derive(Debug)]
struct Log {
    file: File,
    length: u64,
    /// The number of the last line in the file.
    written: u64,
    first_seq: u64,
    offsets: Vec<u64>,
}

impl Audit {
    /// Opens the file, finishes what a crash interrupted, and looks whether the past is as it was written.
    pub async fn open(path: &Path, key_file: &Path, store: Store) -> Result<Self, Error> {
        let unavailable = |error: io::Error| Error::new(Code::ConfigAuditUnavailable).caused_by(error);
        let is_new = !path.exists();
        let key = read_or_make_key(key_file, is_new).map_err(unavailable)?;
        let (head, pending) =
            store.read(|connection| Ok((read_head(connection)?, outbox(connection)?))).await?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(unavailable)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unavailable)?;
        let walk = chain::walk(&key, &bytes);
        let reached = walk.head.as_ref().map_or(walk.first_seq - 1, |head| head.seq);
        let damage = damage(&walk, reached, &head, &pending);
        let mut log = Log {
            file,
            length: bytes.len() as u64,
            written: reached,
            first_seq: walk.first_seq,
            offsets: walk.offsets.clone(),
        };
        if damage.is_none() && walk.good < log.length {
            log.cut(walk.good).map_err(unavailable)?;
            tracing::warn!(
                "the end of the audit file was torn; it was cut at line {reached} and is written again"
            );
        }
        let ahead = walk.head.clone().filter(|found| damage.is_none() && found.seq > head.seq);
        let inner = Inner {
            path: path.to_owned(),
            key,
            store,
            log: Arc::new(Mutex::new(log)),
            damage: ArcSwapOption::from_pointee(damage),
            head: ArcSwap::from_pointee(head),
        };
        let audit = Self { inner: Arc::new(inner) };
        if let Some(found) = ahead {
            tracing::warn!(
                "the audit file is ahead of the store, which seems to come from a backup; the file counts"
            );
            audit.adopt(found).await?;
        }
        if audit.head().seq == 0 {
            audit.write_header(Map::new()).await?;
        }
        audit.flush().await?;
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

    /// Where the chain ends.
    pub fn head(&self) -> Arc<AuditHead> {
        self.inner.head.load_full()
    }

    /// What is wrong with the past, if something is.
    pub fn damage(&self) -> Option<Arc<Damage>> {
        self.inner.damage.load_full()
    }

    /// A digest of a secret value.
    pub fn mask(&self, value: &Value) -> Value {
        self.inner.key.mask(value)
    }

    /// Makes the queueing function for a store closure: it must run in the transaction of what it tells of.
    pub fn queue(
        &self,
    ) -> impl FnOnce(&Connection, Map<String, Value>) -> rusqlite::Result<()> + Send + use<> {
        let key = self.inner.key.clone();
        move |connection, record| queue(connection, &key, record)
    }

    /// Brings what is queued into the file, durable on return.
    ///
    /// # Errors
    /// [`Code::ConfigAuditUnavailable`] when the file cannot be written.
    pub async fn flush(&self) -> Result<(), Error> {
        let mut log = self.inner.log.clone().lock_owned().await;
        let (head, pending) =
            self.inner.store.read(|connection| Ok((read_head(connection)?, outbox(connection)?))).await?;
        self.inner.head.store(Arc::new(head));
        if self.damage().is_some() || pending.is_empty() {
            return Ok(());
        }
        let appended = tokio::task::spawn_blocking(move || {
            log.append(&pending)?;
            Ok::<_, io::Error>(log.written)
        });
        let written = appended
            .await
            .map_err(|error| Error::new(Code::Internal).caused_by(error))?
            .map_err(|error| Error::new(Code::ConfigAuditUnavailable).caused_by(error))?;
        failpoints::point("audit.written");
        let upto = as_i64(written);
        self.inner.store.post("the audit's outbox", move |connection| {
            connection.prepare_cached("DELETE FROM audit_outbox WHERE seq <= ?1")?.execute([upto])?;
            Ok(())
        });
        Ok(())
    }

    /// Reads the whole file and says whether it holds. What does not hold puts config writes into read-only.
    pub async fn verify(&self) -> Result<AuditVerdict, Error> {
        self.flush().await?;
        let log = self.inner.log.lock().await;
        let known = self.head();
        let (path, key) = (self.inner.path.clone(), self.inner.key.clone());
        let read =
            tokio::task::spawn_blocking(move || fs::read(path).map(|bytes| chain::walk(&key, &bytes))).await;
        let walk = read
            .map_err(|error| Error::new(Code::Internal).caused_by(error))?
            .map_err(|error| Error::new(Code::ConfigAuditUnavailable).caused_by(error))?;
        drop(log);
        let verdict = chain::judge(&walk, Some(&known));
        if let (Some(first_bad_seq), Some(reason)) = (verdict.first_bad_seq, &verdict.reason) {
            let damage = Damage { first_bad_seq, reason: reason.clone() };
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

    /// Records with a number above `after`, oldest first. Those behind a damaged line are not shown.
    pub async fn page(&self, after: u64, limit: usize) -> Result<(Vec<Value>, bool), Error> {
        let log = self.inner.log.lock().await;
        let skip = after.saturating_add(1).saturating_sub(log.first_seq);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(log.offsets.len());
        let until = (skip + limit.min(PAGE)).min(log.offsets.len());
        let (Some(from), Some(to)) = (log.offsets.get(skip).copied(), log.end_of(until)) else {
            return Ok((Vec::new(), false));
        };
        let more = until < log.offsets.len();
        let path = self.inner.path.clone();
        drop(log);
        let read = tokio::task::spawn_blocking(move || read_range(&path, from, to)).await;
        let bytes = read
            .map_err(|error| Error::new(Code::Internal).caused_by(error))?
            .map_err(|error| Error::new(Code::ConfigAuditUnavailable).caused_by(error))?;
        let records =
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        Ok((records, more))
    }

    /// Puts a damaged file aside and goes on in a new one that names it. The damage stays visible in both.
    pub async fn accept(&self, record: Map<String, Value>) -> Result<AuditHead, Error> {
        let unavailable = |error: io::Error| Error::new(Code::ConfigAuditUnavailable).caused_by(error);
        let mut log = self.inner.log.clone().lock_owned().await;
        let Some(damage) = self.damage() else {
            return Err(
                Error::new(Code::ArgumentInvalid).detail("the audit holds; there is nothing to accept")
            );
        };
        let pending = self.inner.store.read(|connection| Ok(outbox(connection)?)).await?;
        let stamp = Utc::now().format("%Y%m%dT%H%M%S%3fZ");
        let aside = self.inner.path.with_file_name(format!("config_history.damaged-{stamp}.jsonl"));
        let name = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (path, written) = (self.inner.path.clone(), self.head().seq);
        let moved = tokio::task::spawn_blocking(move || {
            for (_, line) in &pending {
                log.file.write_all(line.as_bytes())?;
            }
            log.file.sync_data()?;
            fs::rename(&path, &aside)?;
            let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
            if let Some(folder) = path.parent() {
                File::open(folder)?.sync_all()?;
            }
            *log = Log { file, length: 0, written, first_seq: written + 1, offsets: Vec::new() };
            Ok(())
        });
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

    async fn write_header(&self, more: Map<String, Value>) -> Result<(), Error> {
        let mut record = stamped(HEADER);
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

/// Whether a file that does not hold was cut off by a crash (`None`), or somebody changed it.
fn damage(walk: &chain::Walk, reached: u64, head: &AuditHead, pending: &[(u64, String)]) -> Option<Damage> {
    let verdict = chain::judge(walk, Some(head));
    let rest_is_queued = (reached + 1..=head.seq).all(|seq| pending.iter().any(|(queued, _)| *queued == seq));
    let follows = pending.iter().find(|(seq, _)| *seq == reached + 1);
    // What was queued and never acknowledged may be cut off; a whole line that is not the queued one may not.
    let is_torn = walk.torn || follows.is_some();
    let is_crash = verdict.valid || (rest_is_queued && (walk.bad.is_none() || is_torn));
    if is_crash {
        return None;
    }
    let reason = verdict.reason.unwrap_or_default();
    Some(Damage { first_bad_seq: verdict.first_bad_seq.unwrap_or(reached + 1), reason })
}

impl Log {
    fn append(&mut self, pending: &[(u64, String)]) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut offsets = Vec::new();
        let mut last = self.written;
        for (seq, line) in pending.iter().filter(|(seq, _)| *seq > self.written) {
            offsets.push(self.length + bytes.len() as u64);
            bytes.extend_from_slice(line.as_bytes());
            last = *seq;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let half = bytes.len() / 2;
        let (first, second) = bytes.split_at(half);
        let written = self.file.write_all(first).and_then(|()| {
            failpoints::point("audit.half");
            failpoints::write("audit.write")?;
            self.file.write_all(second)?;
            failpoints::write("audit.sync")?;
            self.file.sync_data()
        });
        if let Err(error) = written {
            // The next append, or the next start, finds a whole file again.
            let _ = self.cut(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.written = last;
        self.offsets.extend(offsets);
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_data()?;
        self.length = length;
        Ok(())
    }

    fn end_of(&self, count: usize) -> Option<u64> {
        if count == self.offsets.len() { Some(self.length) } else { self.offsets.get(count).copied() }
    }
}

/// A record with its time and event, to be filled.
pub(super) fn stamped(event: &str) -> Map<String, Value> {
    let mut record = Map::new();
    record.insert("ts".to_owned(), json!(Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)));
    record.insert("event".to_owned(), json!(event));
    record
}

/// Verifies a file on its own, for the command line. The head is taken from the store beside it when there is one.
///
/// # Errors
/// Why the file or the key cannot be read.
pub fn verify_file(
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
    Ok(chain::judge(&chain::walk(&Key::new(key), &bytes), known.as_ref()))
}

fn read_or_make_key(path: &Path, may_make: bool) -> io::Result<Key> {
    match fs::read(path) {
        Ok(bytes) if bytes.len() >= 32 => return Ok(Key::new(bytes)),
        Ok(_) => return Err(io::Error::other("the audit key is too short")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {}
        // Without its key the file cannot be verified; a new one would call it forged.
        Err(error) => return Err(error),
    }
    let mut bytes = vec![0_u8; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    super::disk::replace(path, &bytes, 0o600, "audit.key")?;
    Ok(Key::new(bytes))
}

fn queue(connection: &Connection, key: &Key, record: Map<String, Value>) -> rusqlite::Result<()> {
    let (line, head) = chain::seal(key, &read_head(connection)?, record);
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

fn outbox(connection: &Connection) -> rusqlite::Result<Vec<(u64, String)>> {
    connection
        .prepare_cached("SELECT seq, line FROM audit_outbox ORDER BY seq")?
        .query_map([], |row| {
            let seq: i64 = row.get(0)?;
            Ok((u64::try_from(seq).unwrap_or_default(), row.get(1)?))
        })?
        .collect()
}

fn read_range(path: &Path, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(to.saturating_sub(from)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
