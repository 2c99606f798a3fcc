//! The store: one SQLite file, one writer thread, a few read connections.
//!
//! Features pass closures and own their SQL. Hidden from users: the connection settings (WAL, `synchronous=FULL`,
//! foreign keys), the group commit (closures that wait together share one commit), migrations, and the reaction to a
//! full disk or a file that is damaged or gone.
//!
//! A write returns after it is durable. There is no pool for writing, since SQLite has one writer, and `summary`,
//! `state` and `metrics` are answered without a query.

mod abort;
mod disk_space;
mod file;
mod inner;
mod meta;
mod retention;
mod salvage;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

pub use abort::StoreAbort;
pub(crate) use meta::{get_value, put_value};
pub(crate) use retention::retention_ms;

use abort::unavailable;
use inner::StoreInner;
use writer::WriterRequest;

use botops_core::error::{Code, Error};

/// Waiting writes beyond which new ones are refused: the disk is too slow to keep up.
const BACKLOG: usize = 20_000;

/// Handle to the store; cloning is cheap. The writer thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct Store {
    requests: mpsc::Sender<WriterRequest>,
    inner: Arc<StoreInner>,
}

impl Store {
    /// Opens or makes `path`, brings it to the newest schema and starts the writer thread.
    ///
    /// A damaged file is renamed to `<name>.damaged-<time>`, and a new one is started with the rows that can still be
    /// read from it, so that botops keeps answering.
    ///
    /// A file that cannot be used at all is left as it is: what can be read of it is read from memory, and changes are
    /// refused ([`Store::seal_if_unusable`]) until the next start.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when another process has locked the file, or when there is no memory either.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (connection, reader_path, fault) = match file::open(path) {
            Ok(connection) => (connection, path.to_owned(), None),
            // To go on from memory would refuse changes until the next start, for a lock that is gone in a moment.
            Err(file::OpenFailure::Locked(error)) => return Err(error),
            Err(file::OpenFailure::Unusable(error)) => {
                let fault = file::fault_of(path, &error);
                tracing::error!(error.code = "SRV_002", "{fault}");
                let (connection, name) = file::open_in_memory(path)?;
                (connection, name, Some(fault))
            }
        };
        let (requests, inbox) = mpsc::channel();
        let inner = Arc::new(StoreInner {
            path: path.to_owned(),
            reader_path,
            fault,
            is_sealed: AtomicBool::new(false),
            readers: Mutex::default(),
            replaced: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            writes: AtomicBool::new(true),
            trouble: watch::Sender::new(None),
            suspect: AtomicBool::new(false),
        });
        let for_thread = inner.clone();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer::write_loop(connection, &inbox, &for_thread))
            .map_err(|error| unavailable(&error))?;
        Ok(Self { requests, inner })
    }

    /// Runs `work` in a transaction and returns after it is durable. The changes of a closure that fails are undone.
    ///
    /// # Errors
    /// What `work` refused with, or [`Code::StoreUnavailable`].
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreAbort> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(work, move |result| drop(reply.send(result)))?;
        answer.await.map_err(|_| Error::new(Code::StoreUnavailable).caused_by("the writer thread is gone"))?
    }

    /// Queues `work` without waiting; a failure is only logged. Meant for the journal, which serves from memory
    /// meanwhile.
    pub fn post<F>(&self, what: &'static str, work: F)
    where
        F: FnOnce(&Connection) -> Result<(), StoreAbort> + Send + 'static,
    {
        self.post_and_tell(what, work, |_| ());
    }

    /// The same; `tell` learns on the writer's thread whether the work is durable, and must not wait.
    pub fn post_and_tell<F, R>(&self, what: &'static str, work: F, tell: R)
    where
        F: FnOnce(&Connection) -> Result<(), StoreAbort> + Send + 'static,
        R: FnOnce(bool) + Send + 'static,
    {
        let queued = self.submit(work, move |result| {
            tell(result.is_ok());
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

    /// Runs `work` on a read-only connection, on a thread for blocking work.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the file cannot be read.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreAbort> + Send + 'static,
    {
        let inner = self.inner.clone();
        let joined = tokio::task::spawn_blocking(move || inner.read(work)).await;
        joined.map_err(|error| Error::new(Code::Internal).caused_by(error))?
    }

    /// Refuses writes from now on when the file could not be used at the start: they would be lost with the process.
    ///
    /// Called once every part has opened: what they write meanwhile prepares them for reads and need not last.
    pub fn seal_if_unusable(&self) {
        if self.inner.fault.is_some() {
            self.inner.is_sealed.store(true, Ordering::Release);
            self.inner.trouble.send_replace(self.inner.fault.clone());
        }
    }

    /// Whether what is written lasts: not where memory stands in for a file that could not be used at the start.
    pub fn is_durable(&self) -> bool {
        self.inner.fault.is_none()
    }

    /// Whether changes can be recorded: the last write succeeded, and the folder takes new files.
    pub fn writable(&self) -> bool {
        self.inner.trouble.borrow().is_none()
    }

    /// Why changes cannot be recorded, as a watched value; `None` while they can.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.inner.trouble.subscribe()
    }

    /// How many writes wait for the disk.
    pub fn backlog(&self) -> usize {
        self.inner.waiting.load(Ordering::Relaxed)
    }

    /// Whether a read or write reported damage since [`Store::read_whole`] was last called.
    pub fn is_suspect(&self) -> bool {
        self.inner.suspect.load(Ordering::Relaxed)
    }

    /// Checks the whole file for damage, blocking this thread: false when there is some, `None` when it cannot be
    /// read now.
    pub fn read_whole(&self) -> Option<bool> {
        self.inner.suspect.store(false, Ordering::Relaxed);
        // A new connection: the page caches of others say nothing about the file.
        match file::connect_reader(&self.inner.reader_path).and_then(|connection| file::check(&connection)) {
            Ok(()) => Some(true),
            Err(error) if file::is_damage(&error) => Some(false),
            Err(_) => None,
        }
    }

    /// The path of the SQLite file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Returns when everything queued before is durable.
    pub async fn flush(&self) {
        // The writer works in order, so an empty closure returns after those before it.
        if let Err(error) = self.write(|_| Ok(())).await {
            tracing::error!("the store could not be flushed: {error}");
        }
    }

    /// Folds the log into the file, and returns a sentence on what was done.
    ///
    /// When the file was deleted or replaced, it is written anew from the connection that the writer still has open.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the disk cannot be written.
    pub async fn checkpoint(&self) -> Result<&'static str, Error> {
        let gone = || Error::new(Code::StoreUnavailable).caused_by("the writer thread is gone");
        if let Some(unusable) = self.unusable() {
            return Err(unusable);
        }
        let (reply, answer) = oneshot::channel();
        self.requests.send(WriterRequest::Checkpoint(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// A damaged store that was renamed and still lies beside this one.
    pub fn aside(&self) -> Option<PathBuf> {
        let prefix = format!("{}.damaged-", self.inner.path.file_stem()?.to_str()?);
        let beside = std::fs::read_dir(self.inner.path.parent()?).ok()?;
        let names = beside.filter_map(Result::ok).map(|entry| entry.path());
        names
            .filter(|path| {
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                    name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")
                })
            })
            .max()
    }

    /// The refusal of a change where the file could not be used at the start. Nothing but another start ends that.
    fn unusable(&self) -> Option<Error> {
        let fault = self.inner.fault.clone()?;
        let remedy = "Make the file that `cause` names usable, as it says there, then restart botops: until then changes are refused.";
        Some(Error::new(Code::StoreUnavailable).detail(fault).remedy(remedy))
    }

    fn submit<T, F, R>(&self, work: F, reply: R) -> Result<(), Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreAbort> + Send + 'static,
        R: FnOnce(Result<T, Error>) + Send + 'static,
    {
        if self.inner.is_sealed.load(Ordering::Acquire) {
            return Err(self.unusable().unwrap_or_else(|| Error::new(Code::StoreUnavailable)));
        }
        if self.backlog() >= BACKLOG {
            return Err(Error::new(Code::StoreUnavailable).detail("too many writes wait for the disk"));
        }
        let job = writer::job(self.inner.clone(), work, reply);
        self.inner.waiting.fetch_add(1, Ordering::Relaxed);
        self.requests.send(WriterRequest::Write(job)).map_err(|_| {
            self.inner.waiting.fetch_sub(1, Ordering::Relaxed);
            Error::new(Code::StoreUnavailable).caused_by("the writer thread is gone")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_could_not_be_used_at_the_start_asks_for_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        // A folder in its place: no later write succeeds, whatever becomes of the disk.
        std::fs::create_dir(folder.path().join("ops.db")).unwrap();
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        store.seal_if_unusable();
        let refused = store.write(|_| Ok(())).await.unwrap_err().problem("test", chrono::Utc::now());
        assert_eq!(refused.error_code, "SRV_002");
        assert!(refused.remediation.contains("restart botops"), "{}", refused.remediation);
    }

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
        assert_eq!(store.checkpoint().await.unwrap(), "the log was folded into the file");
        std::fs::remove_file(&path).unwrap();
        put("b").await.unwrap();
        assert_eq!(store.checkpoint().await.unwrap(), "the file was gone and is written anew");
        put("c").await.unwrap();
        assert_eq!(count(&store).await, 3);
        drop(store);
        // Whether or not the writer thread has folded its log in by now, another process sees all rows.
        let store = Store::open(&path).unwrap();
        assert_eq!(count(&store).await, 3);
        assert!(store.aside().is_none());
    }
}
