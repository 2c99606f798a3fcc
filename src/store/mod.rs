//! The store: one SQLite file, one writer thread, a few read connections.
//!
//! Features hand in closures and hold their own SQL; this module keeps from them: the connection settings (WAL,
//! `synchronous=FULL`, foreign keys), the group commit (closures that wait together share one commit), migrations,
//! and what to do when the disk is full or the file is damaged or gone. A write returns after it is durable. Deliberately
//! absent: a pool for writing (SQLite has one writer) and a query on the path of `summary`, `state` and `metrics`.

mod salvage;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{oneshot, watch};

use crate::error::{Code, Error};
use crate::kill;

/// What each schema version adds, in order. `PRAGMA user_version` counts them; a published entry never changes.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001_events.sql"),
    include_str!("migrations/002_ops.sql"),
    include_str!("migrations/003_performance.sql"),
    include_str!("migrations/004_configs.sql"),
    include_str!("migrations/005_definitions.sql"),
    include_str!("migrations/006_health.sql"),
];

/// Closures that share one commit at most.
const BATCH: usize = 64;

/// Waiting writes beyond which new ones are refused: the disk does not follow.
const BACKLOG: usize = 20_000;

/// Read connections kept open.
const READERS: usize = 4;

/// How often an unwritable store is tried again, and how often the folder is looked at.
const RETRY: Duration = Duration::from_secs(2);

/// Bytes that a change may need: its document, the copy, the record and the log. With less, the disk counts as full.
const ROOM: u64 = 1024 * 1024;

/// Why a write closure gives up; its changes are undone.
#[derive(Debug)]
pub enum Abort {
    /// SQLite failed.
    Sql(rusqlite::Error),
    /// The feature refused.
    Refused(Error),
}

impl From<rusqlite::Error> for Abort {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Abort {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Abort> for Error {
    fn from(abort: Abort) -> Self {
        match abort {
            Abort::Sql(error) => sql_error(&error),
            Abort::Refused(error) => error,
        }
    }
}

type Reply = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// Given no connection, a job only takes the refusal: the transaction could not begin.
type Job = Box<dyn FnOnce(Option<&Connection>) -> Reply + Send>;

/// What the writer thread is asked for.
enum Order {
    Write(Job),
    /// See [`Store::mend`].
    Mend(oneshot::Sender<Result<&'static str, Error>>),
}

/// Handle to the store; cloning is cheap. The writer thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    readers: Mutex<Vec<Connection>>,
    /// Counts how often the file was replaced: a reader of an older one is not kept.
    replaced: AtomicUsize,
    waiting: AtomicUsize,
    /// Whether the last write, or the last try to write, went through.
    writes: AtomicBool,
    /// Why nothing can be recorded now.
    trouble: watch::Sender<Option<String>>,
    /// Somebody met damage since the file was last read whole.
    suspect: AtomicBool,
}

impl Store {
    /// Opens or makes `path`, brings it to the newest schema and starts the writer thread.
    ///
    /// A damaged file is put aside as `<name>.damaged-<time>` and a new one is started with what could still be read of
    /// it: answers go on.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the folder cannot be written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = match connect(path).and_then(|connection| check(&connection).map(|()| connection)) {
            Ok(connection) => connection,
            Err(error) if is_damage(&error) => {
                let aside = put_aside(path).map_err(|error| unavailable(&error))?;
                tracing::error!(store.aside = %aside.display(),
                    "the store was damaged and put aside as {}; a new one is started", aside.display());
                let connection = connect(path).map_err(|error| unavailable(&error))?;
                migrate(&connection).map_err(|error| unavailable(&error))?;
                tell_saved(salvage::salvage(&connection, &aside));
                connection
            }
            Err(error) => return Err(unavailable(&error)),
        };
        migrate(&connection).map_err(|error| unavailable(&error))?;
        let (jobs, inbox) = mpsc::channel();
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            readers: Mutex::default(),
            replaced: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            writes: AtomicBool::new(true),
            trouble: watch::Sender::new(None),
            suspect: AtomicBool::new(false),
        });
        let for_thread = shared.clone();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_loop(connection, &inbox, &for_thread))
            .map_err(|error| unavailable(&error))?;
        Ok(Self { jobs, shared })
    }

    /// Runs `work` in a transaction and returns after it is durable. Nothing of a failed closure stays.
    ///
    /// # Errors
    /// What `work` refused with, or [`Code::StoreUnavailable`].
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Abort> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(work, move |result| drop(reply.send(result)))?;
        answer.await.map_err(|_| Error::new(Code::StoreUnavailable).caused_by("the writer thread is gone"))?
    }

    /// Queues `work` without waiting; a failure is logged. For the journal, where the memory copy serves meanwhile.
    pub fn post<F>(&self, what: &'static str, work: F)
    where
        F: FnOnce(&Connection) -> Result<(), Abort> + Send + 'static,
    {
        let queued = self.submit(work, move |result| {
            if let Err(error) = result {
                tracing::error!(
                    store.what = what,
                    error.cause = error.cause_for_log(),
                    "{what} could not be stored: {error}"
                );
            }
        });
        if let Err(error) = queued {
            tracing::error!(store.what = what, "{what} could not be queued for the store: {error}");
        }
    }

    /// Runs `work` on a read-only connection, away from the async threads.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the file cannot be read.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Abort> + Send + 'static,
    {
        let shared = self.shared.clone();
        let joined = tokio::task::spawn_blocking(move || shared.read(work)).await;
        joined.map_err(|error| Error::new(Code::Internal).caused_by(error))?
    }

    /// Whether changes can be recorded: the last write went through, and the folder takes new files.
    pub fn writable(&self) -> bool {
        self.shared.trouble.borrow().is_none()
    }

    /// Why changes cannot be recorded, as it changes; `None` while they can.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.shared.trouble.subscribe()
    }

    /// Writes that wait for the disk.
    pub fn backlog(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Whether somebody met damage since [`Store::read_whole`] was last called.
    pub fn is_suspect(&self) -> bool {
        self.shared.suspect.load(Ordering::Relaxed)
    }

    /// Reads the whole file for damage, on this thread: false when there is some, nothing when it cannot be read now.
    pub fn read_whole(&self) -> Option<bool> {
        self.shared.suspect.store(false, Ordering::Relaxed);
        // A connection of its own: what others hold in memory says nothing about the file.
        match connect_reader(&self.shared.path).and_then(|connection| check(&connection)) {
            Ok(()) => Some(true),
            Err(error) if is_damage(&error) => Some(false),
            Err(_) => None,
        }
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Returns when everything queued before is durable.
    pub async fn flush(&self) {
        // A closure that changes nothing waits for those before it.
        if let Err(error) = self.write(|_| Ok(())).await {
            tracing::error!("the store could not be flushed: {error}");
        }
    }

    /// Folds the log into the file; writes the file anew from what the writer still holds open when somebody deleted
    /// or replaced it. Says what was done.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the disk does not let it.
    pub async fn mend(&self) -> Result<&'static str, Error> {
        let gone = || Error::new(Code::StoreUnavailable).caused_by("the writer thread is gone");
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Order::Mend(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// A store that was damaged and put aside, and still lies there.
    pub fn aside(&self) -> Option<PathBuf> {
        let prefix = format!("{}.damaged-", self.shared.path.file_stem()?.to_str()?);
        let beside = std::fs::read_dir(self.shared.path.parent()?).ok()?;
        let names = beside.filter_map(Result::ok).map(|entry| entry.path());
        names
            .filter(|path| {
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                    name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")
                })
            })
            .max()
    }

    fn submit<T, F, R>(&self, work: F, reply: R) -> Result<(), Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Abort> + Send + 'static,
        R: FnOnce(Result<T, Error>) + Send + 'static,
    {
        if self.backlog() >= BACKLOG {
            return Err(Error::new(Code::StoreUnavailable).detail("too many writes wait for the disk"));
        }
        let shared = self.shared.clone();
        let job: Job = Box::new(move |connection| {
            let Some(connection) = connection else {
                return Box::new(move |begun| {
                    let failure = Error::new(Code::StoreUnavailable);
                    reply(Err(begun.err().unwrap_or(failure)));
                });
            };
            match in_savepoint(connection, work) {
                Ok(value) => Box::new(move |committed| reply(committed.map(|()| value))),
                Err(abort) => {
                    shared.note_damage(&abort);
                    let error = Error::from(abort);
                    Box::new(move |_| reply(Err(error)))
                }
            }
        });
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.send(Order::Write(job)).map_err(|_| {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            Error::new(Code::StoreUnavailable).caused_by("the writer thread is gone")
        })
    }
}

impl Shared {
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Abort>) -> Result<T, Error> {
        let replaced = self.replaced.load(Ordering::Acquire);
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connect_reader(&self.path).map_err(|error| unavailable(&error))?,
        };
        let result = work(&connection).inspect_err(|abort| self.note_damage(abort)).map_err(Error::from);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS && self.replaced.load(Ordering::Acquire) == replaced {
            readers.push(connection);
        }
        result
    }

    fn note_damage(&self, abort: &Abort) {
        if matches!(abort, Abort::Sql(error) if is_damage(error)) {
            self.suspect.store(true, Ordering::Relaxed);
        }
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Abort>,
) -> Result<T, Abort> {
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

fn write_loop(mut connection: Connection, inbox: &mpsc::Receiver<Order>, shared: &Shared) {
    let mut opened = identity(&shared.path);
    let mut left_over = None;
    let mut looked = Instant::now();
    loop {
        if looked.elapsed() >= RETRY {
            looked = Instant::now();
            tell_trouble(shared, None);
        }
        let order = match left_over.take() {
            Some(order) => Ok(order),
            None => inbox.recv_timeout(RETRY),
        };
        let first = match order {
            Ok(Order::Write(job)) => job,
            Ok(Order::Mend(reply)) => {
                let is_ours = opened.is_some() && opened == identity(&shared.path);
                let done = if is_ours {
                    connection
                        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                        .map(|()| "the log was folded into the file")
                        .map_err(|error| unavailable(&error))
                } else {
                    write_anew(&mut connection, shared).map(|()| "the file was gone and is written anew")
                };
                opened = if done.is_ok() { identity(&shared.path) } else { opened };
                // Whoever asked may have given up waiting.
                let _ = reply.send(done);
                continue;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if !shared.writes.load(Ordering::Relaxed) {
                    probe(&connection, shared);
                }
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        };
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match inbox.try_recv() {
                Ok(Order::Write(job)) => batch.push(job),
                Ok(other) => {
                    left_over = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        run_batch(&connection, batch, shared);
    }
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!("the store's log was not folded in at the end: {error}");
    }
}

/// Which file this is, whatever its name: a deleted file lives on under nobody's name while it is open.
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// The open connection still holds everything that was ever committed: it goes into a new file under the old name.
/// A stranger under that name is put aside.
fn write_anew(connection: &mut Connection, shared: &Shared) -> Result<(), Error> {
    let path = &shared.path;
    let copy = path.with_extension("restored");
    match std::fs::remove_file(&copy) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unavailable(&error)),
        _ => {}
    }
    let name = copy.to_str().ok_or_else(|| unavailable(&"the data folder's name is not UTF-8"))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| unavailable(&error))?;
    std::fs::File::open(&copy).and_then(|file| file.sync_all()).map_err(|error| unavailable(&error))?;
    if path.exists() {
        put_aside(path).map_err(|error| unavailable(&error))?;
    }
    remove_beside(path).map_err(|error| unavailable(&error))?;
    std::fs::rename(&copy, path).map_err(|error| unavailable(&error))?;
    // Until the new file is open, the old connection stays: it alone holds everything.
    *connection = connect(path).map_err(|error| unavailable(&error))?;
    shared.replaced.fetch_add(1, Ordering::Release);
    shared.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    note_writable(shared, None);
    tracing::warn!("the store's file was gone; it is written anew, with everything in it");
    Ok(())
}

/// One transaction for the whole batch; each job is undone alone when it fails.
fn run_batch(connection: &Connection, batch: Vec<Job>, shared: &Shared) {
    let count = batch.len();
    let before = connection.total_changes();
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    let inside = begun.is_ok().then_some(connection);
    let replies: Vec<Reply> = batch.into_iter().map(|job| job(inside)).collect();
    let may_commit = || {
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        kill::write("store.commit").map_err(|_| rusqlite::Error::SqliteFailure(full, None))
    };
    let committed = begun.and_then(|()| may_commit()).and_then(|()| connection.execute_batch("COMMIT"));
    if committed.is_err() && !connection.is_autocommit() {
        drop(connection.execute_batch("ROLLBACK"));
    }
    // An empty commit writes nothing, so it does not show that the disk can be written again.
    if committed.is_err() || connection.total_changes() != before {
        note_writable(shared, committed.as_ref().err());
    }
    shared.waiting.fetch_sub(count, Ordering::Relaxed);
    for reply in replies {
        reply(committed.as_ref().map_err(|error| unavailable(error)).copied());
    }
}

fn probe(connection: &Connection, shared: &Shared) {
    let tried = connection.execute_batch(
        "BEGIN IMMEDIATE; INSERT INTO meta(key, value) VALUES('probe', strftime('%s','now'))
         ON CONFLICT(key) DO UPDATE SET value = excluded.value; COMMIT",
    );
    if tried.is_err() && !connection.is_autocommit() {
        drop(connection.execute_batch("ROLLBACK"));
    }
    note_writable(shared, tried.as_ref().err());
}

fn note_writable(shared: &Shared, failure: Option<&rusqlite::Error>) {
    shared.writes.store(failure.is_none(), Ordering::Relaxed);
    if failure.is_some_and(is_damage) {
        shared.suspect.store(true, Ordering::Relaxed);
    }
    // A write that went through says nothing of the folder: the log has room of its own.
    let changed = shared.trouble.borrow().is_some() || failure.is_some();
    if changed {
        tell_trouble(shared, failure);
    }
}

/// Looks whether anything can be recorded, and tells when that has changed.
fn tell_trouble(shared: &Shared, failure: Option<&rusqlite::Error>) {
    let writes = shared.writes.load(Ordering::Relaxed);
    let folder = folder_trouble(&shared.path);
    let now = folder.or_else(|| (!writes).then(|| "the store cannot be written".to_owned()));
    shared.trouble.send_if_modified(|told| {
        let changed = told.is_some() != now.is_some();
        match (&now, failure) {
            (Some(trouble), Some(error)) if changed => {
                tracing::error!(error.code = "SRV_002", "nothing can be recorded: {trouble}: {error}");
            }
            (Some(trouble), None) if changed => {
                tracing::error!(error.code = "SRV_002", "nothing can be recorded: {trouble}");
            }
            (None, _) if changed => tracing::info!("changes can be recorded again"),
            _ => {}
        }
        *told = now;
        changed
    });
}

/// Why no file can be made beside the store. A full disk does not show in its writes at once: the log takes them as
/// long as there is room in it.
fn folder_trouble(path: &Path) -> Option<String> {
    let disk = rustix::fs::statvfs(path.parent()?).ok()?;
    if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Some("the disk of the data folder is read-only".to_owned());
    }
    // What a disk keeps for root is room for nobody else.
    let is_root = rustix::process::geteuid().is_root();
    let blocks = if is_root { disk.f_bfree } else { disk.f_bavail };
    let files = if is_root { disk.f_ffree } else { disk.f_favail };
    // A file system without a fixed number of blocks or files says 0 of 0.
    let no_room = disk.f_blocks > 0 && blocks.saturating_mul(disk.f_frsize) < ROOM;
    let no_files = disk.f_files > 0 && files == 0;
    (no_room || no_files).then(|| "the disk of the data folder is full".to_owned())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    Ok(connection)
}

fn check(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(damage, Some(verdict)))
}

fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let done: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        let version = index + 1;
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {sql}; PRAGMA user_version = {version}; COMMIT"))?;
    }
    Ok(())
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn put_aside(path: &Path) -> std::io::Result<PathBuf> {
    let stamp = chrono::Utc::now().format("%Y%m%dT%H%M%SZ");
    let aside = path.with_extension(format!("damaged-{stamp}"));
    std::fs::rename(path, &aside)?;
    // What was written last is in the log, which goes with its file.
    match std::fs::rename(beside(path, "-wal"), beside(&aside, "-wal")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    remove_beside(path)?;
    Ok(aside)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes the log and the index of a file that is no longer there.
fn remove_beside(path: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn tell_saved(saved: rusqlite::Result<salvage::Saved>) {
    match saved {
        Ok(saved) if saved.torn.is_empty() => {
            tracing::warn!("all {} rows of the damaged store were saved", saved.rows);
        }
        Ok(saved) => {
            let torn = saved.torn.join(", ");
            tracing::error!(
                store.torn = torn,
                "{} rows of the damaged store were saved; a part is lost of: {torn}",
                saved.rows
            );
        }
        Err(error) => tracing::error!("nothing of the damaged store could be saved: {error}"),
    }
}

fn unavailable(cause: &dyn std::fmt::Display) -> Error {
    Error::new(Code::StoreUnavailable).caused_by(cause)
}

fn sql_error(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::PermissionDenied,
        ) => unavailable(error),
        _ => Error::new(Code::Internal).effect(crate::error::Effect::None).caused_by(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_closure_leaves_nothing_and_its_neighbours_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        let put = |key: &'static str, fail: bool| {
            store.write(move |connection| {
                connection.execute("INSERT INTO meta(key, value) VALUES(?1, 'x')", [key])?;
                if fail { Err(Error::new(Code::BotRefused).into()) } else { Ok(()) }
            })
        };
        let (a, b, c) = tokio::join!(put("a", false), put("b", true), put("c", false));
        assert!(a.is_ok() && c.is_ok());
        assert_eq!(b.unwrap_err().code(), Code::BotRefused);
        let keys: Vec<String> = store
            .read(|connection| {
                let mut statement =
                    connection.prepare("SELECT key FROM meta WHERE value = 'x' ORDER BY key")?;
                let keys = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
                Ok(keys)
            })
            .await
            .unwrap();
        assert_eq!(keys, ["a", "c"]);
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_answers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        std::fs::write(&path, b"this is no database, not even close to one, but long enough to look at")
            .unwrap();
        let store = Store::open(&path).unwrap();
        assert!(store.writable());
        let aside = std::fs::read_dir(folder.path())
            .unwrap()
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().contains("damaged"));
        assert!(aside);
        assert!(store.aside().is_some());
    }

    #[tokio::test]
    async fn a_deleted_file_is_written_anew_with_everything_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        let store = Store::open(&path).unwrap();
        let put = |key: &'static str| {
            store.write(move |connection| {
                connection.execute("INSERT INTO meta(key, value) VALUES(?1, 'x')", [key])?;
                Ok(())
            })
        };
        let count = async |store: &Store| {
            let count = store.read(|connection| {
                let count: i64 =
                    connection
                        .query_row("SELECT count(*) FROM meta WHERE value = 'x'", [], |row| row.get(0))?;
                Ok(count)
            });
            count.await.unwrap()
        };
        put("a").await.unwrap();
        assert_eq!(count(&store).await, 1);
        assert_eq!(store.mend().await.unwrap(), "the log was folded into the file");
        std::fs::remove_file(&path).unwrap();
        put("b").await.unwrap();
        assert_eq!(store.mend().await.unwrap(), "the file was gone and is written anew");
        put("c").await.unwrap();
        assert_eq!(count(&store).await, 3);
        drop(store);
        // The writer thread folds its log in at the end; another process sees all of it either way.
        let store = Store::open(&path).unwrap();
        assert_eq!(count(&store).await, 3);
        assert!(store.aside().is_none());
    }
}
