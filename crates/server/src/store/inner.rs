//! What the handle and the writer thread share, and the connections that read.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::watch;

use super::abort::{StoreAbort, unavailable};
use super::file;
use botops_core::error::Error;
use botops_core::failpoints;

/// Read connections kept open for the next read; more are opened when needed and closed afterwards.
const READERS: usize = 4;

#[derive(Debug)]
pub(super) struct StoreInner {
    /// The path of the SQLite file.
    pub path: PathBuf,
    /// What read connections open: the file, or the memory that stands in for it.
    pub reader_path: PathBuf,
    /// Why the file could not be used at the start, with what to do; `None` when it could.
    pub fault: Option<String>,
    /// Whether writes are refused because of that.
    pub is_sealed: AtomicBool,
    pub readers: Mutex<Vec<Connection>>,
    /// How often the file was replaced. A read connection opened before the last replacement is not reused.
    pub replaced: AtomicUsize,
    /// Writes that wait for the disk.
    pub waiting: AtomicUsize,
    /// Whether the last write, or the last attempt to write, succeeded.
    pub writes: AtomicBool,
    /// Why nothing can be recorded now; `None` while writes succeed and the disk has room.
    pub trouble: watch::Sender<Option<String>>,
    /// A read or write reported damage since the whole file was last checked.
    pub suspect: AtomicBool,
}

impl StoreInner {
    /// Runs `work` on a kept connection, or on a new one when none is free.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreAbort>,
    ) -> Result<T, Error> {
        failpoints::write("store.read").map_err(|error| unavailable(&error))?;
        let replaced = self.replaced.load(Ordering::Acquire);
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => file::connect_reader(&self.reader_path).map_err(|error| unavailable(&error))?,
        };
        let result = work(&connection).inspect_err(|abort| self.record_damage(abort)).map_err(Error::from);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS && self.replaced.load(Ordering::Acquire) == replaced {
            readers.push(connection);
        }
        result
    }

    /// Notes that the file may be damaged, when the failure means that.
    pub(super) fn record_damage(&self, abort: &StoreAbort) {
        if matches!(abort, StoreAbort::Sql(error) if file::is_damage(error)) {
            self.suspect.store(true, Ordering::Relaxed);
        }
    }
}
