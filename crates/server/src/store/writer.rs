//! The writer thread: closures that wait together share one commit, and each is undone alone when it fails.
//!
//! While nothing can be written the thread tries again by itself. It alone replaces the file.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::abort::{StoreAbort, unavailable};
use super::inner::StoreInner;
use super::{disk_space, file};
use botops_core::error::{Code, Error};
use botops_core::failpoints;

/// How often writing is tried again while it fails, and how often the file and its folder are checked.
const RETRY: Duration = Duration::from_secs(2);

/// Closures that share one commit at most.
const BATCH: usize = 64;

type Reply = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// Called without a connection when the transaction could not begin: the job then only passes the failure on.
pub(super) type WriteJob = Box<dyn FnOnce(Option<&Connection>) -> Reply + Send>;

/// What the writer thread can be asked to do.
pub(super) enum WriterRequest {
    Write(WriteJob),
    /// See [`Store::checkpoint`].
    Checkpoint(oneshot::Sender<Result<&'static str, Error>>),
}

/// A write in the form the writer thread takes: its outcome goes to `reply` once it is durable.
pub(super) fn job<T, F, R>(inner: Arc<StoreInner>, work: F, reply: R) -> WriteJob
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, StoreAbort> + Send + 'static,
    R: FnOnce(Result<T, Error>) + Send + 'static,
{
    Box::new(move |connection| {
        let Some(connection) = connection else {
            return Box::new(move |begun| {
                let failure = Error::new(Code::StoreUnavailable);
                reply(Err(begun.err().unwrap_or(failure)));
            });
        };
        match in_savepoint(connection, work) {
            Ok(value) => Box::new(move |committed| reply(committed.map(|()| value))),
            Err(abort) => {
                inner.record_damage(&abort);
                let error = Error::from(abort);
                Box::new(move |_| reply(Err(error)))
            }
        }
    })
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreAbort>,
) -> Result<T, StoreAbort> {
    let lost = || unavailable(&"a failure before it ended the transaction");
    // Outside of the transaction a savepoint would commit by itself.
    if connection.is_autocommit() {
        return Err(lost().into());
    }
    connection.execute_batch("SAVEPOINT job")?;
    let result = work(connection);
    // A full disk or damage may end the whole transaction, and the savepoint with it.
    if connection.is_autocommit() {
        return result.and(Err(lost().into()));
    }
    let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    connection.execute_batch(end)?;
    result
}

/// Runs until the last handle is gone.
pub(super) fn write_loop(
    mut connection: Connection,
    inbox: &mpsc::Receiver<WriterRequest>,
    inner: &StoreInner,
) {
    let mut opened = file::identity(&inner.path);
    let mut left_over = None;
    let mut checked_at = Instant::now();
    loop {
        if checked_at.elapsed() >= RETRY {
            checked_at = Instant::now();
            disk_space::publish_trouble(inner, None);
        }
        let order = match left_over.take() {
            Some(order) => Ok(order),
            None => inbox.recv_timeout(RETRY),
        };
        let first = match order {
            Ok(WriterRequest::Write(job)) => job,
            Ok(WriterRequest::Checkpoint(reply)) => {
                let is_ours = opened.is_some() && opened == file::identity(&inner.path);
                let done = if is_ours {
                    connection
                        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                        .map(|()| "the log was folded into the file")
                        .map_err(|error| unavailable(&error))
                } else {
                    rewrite_store(&mut connection, inner).map(|()| "the file was gone and is written anew")
                };
                opened = if done.is_ok() { file::identity(&inner.path) } else { opened };
                // The caller may have stopped waiting.
                let _ = reply.send(done);
                continue;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if !inner.writes.load(Ordering::Relaxed) {
                    probe(&connection, inner);
                }
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        };
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match inbox.try_recv() {
                Ok(WriterRequest::Write(job)) => batch.push(job),
                Ok(other) => {
                    left_over = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        run_batch(&connection, batch, inner);
    }
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!("the store's log was not folded in at the end: {error}");
    }
}

/// Writes the store into a new file under the same name, from the open connection, which still holds every commit.
///
/// A foreign file found under that name is renamed, not deleted.
fn rewrite_store(connection: &mut Connection, inner: &StoreInner) -> Result<(), Error> {
    let path = &inner.path;
    let copy = path.with_extension("restored");
    match std::fs::remove_file(&copy) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unavailable(&error)),
        _ => {}
    }
    let name = copy.to_str().ok_or_else(|| unavailable(&"the data folder's name is not UTF-8"))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| unavailable(&error))?;
    std::fs::File::open(&copy).and_then(|file| file.sync_all()).map_err(|error| unavailable(&error))?;
    if path.exists() {
        file::put_aside(path).map_err(|error| unavailable(&error))?;
    }
    file::remove_beside(path).map_err(|error| unavailable(&error))?;
    std::fs::rename(&copy, path).map_err(|error| unavailable(&error))?;
    // The old connection is the only holder of the data until the new file is open.
    *connection = file::connect(path).map_err(|error| unavailable(&error))?;
    inner.replaced.fetch_add(1, Ordering::Release);
    inner.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    record_writability(inner, None);
    tracing::warn!("the store's file was gone; it is written anew, with everything in it");
    Ok(())
}

/// One transaction for the whole batch; each job is undone alone when it fails.
fn run_batch(connection: &Connection, batch: Vec<WriteJob>, inner: &StoreInner) {
    let count = batch.len();
    let before = connection.total_changes();
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    let inside = begun.is_ok().then_some(connection);
    let replies: Vec<Reply> = batch.into_iter().map(|job| job(inside)).collect();
    let may_commit = || {
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        failpoints::write("store.commit").map_err(|_| rusqlite::Error::SqliteFailure(full, None))
    };
    let committed = begun.and_then(|()| may_commit()).and_then(|()| connection.execute_batch("COMMIT"));
    if committed.is_err() && !connection.is_autocommit() {
        drop(connection.execute_batch("ROLLBACK"));
    }
    // An empty commit writes nothing, so it does not prove that the disk can be written again.
    if committed.is_err() || connection.total_changes() != before {
        record_writability(inner, committed.as_ref().err());
    }
    inner.waiting.fetch_sub(count, Ordering::Relaxed);
    for reply in replies {
        reply(committed.as_ref().map_err(|error| unavailable(error)).copied());
    }
}

fn probe(connection: &Connection, inner: &StoreInner) {
    let tried = connection.execute_batch(
        "BEGIN IMMEDIATE; INSERT INTO meta(key, value) VALUES('probe', strftime('%s','now'))
         ON CONFLICT(key) DO UPDATE SET value = excluded.value; COMMIT",
    );
    if tried.is_err() && !connection.is_autocommit() {
        drop(connection.execute_batch("ROLLBACK"));
    }
    record_writability(inner, tried.as_ref().err());
}

fn record_writability(inner: &StoreInner, failure: Option<&rusqlite::Error>) {
    inner.writes.store(failure.is_none(), Ordering::Relaxed);
    if failure.is_some_and(file::is_damage) {
        inner.suspect.store(true, Ordering::Relaxed);
    }
    // A write that succeeded says nothing about the folder: SQLite's log may still have room when the disk is full.
    let changed = inner.trouble.borrow().is_some() || failure.is_some();
    if changed {
        disk_space::publish_trouble(inner, failure);
    }
}
