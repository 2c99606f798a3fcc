//! What the handle and the writer thread share, and the connections that read.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::watch;

use super::abort::{StoreAbort, unavailable};
use super::file;
use botops_core::error::Error;

/// Read connections kept open.
const READERS: usize = 4;

#[derive(Debug)]
pub(super) struct StoreInner {
    /// Where the file lies.
    pub path: PathBuf,
    pub readers: Mutex<Vec<Connection>>,
    /// Counts how often the file was replaced: a reader of an older one is not kept.
    pub replaced: AtomicUsize,
    /// Writes that wait for the disk.
    pub waiting: AtomicUsize,
    /// Whether the last write, or the last try to write, went through.
    pub writes: AtomicBool,
    /// Why nothing can be recorded now.
    pub trouble: watch::Sender<Option<String>>,
    /// Somebody met damage since the file was last read whole.
    pub suspect: AtomicBool,
}

impl StoreInner {
    /// Runs `work` on a kept connection, or on a new one.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreAbort>,
    ) -> Result<T, Error> {
        let replaced = self.replaced.load(Ordering::Acquire);
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => file::connect_reader(&self.path).map_err(|error| unavailable(&error))?,
        };
        let result = work(&connection).inspect_err(|abort| self.record_damage(abort)).map_err(Error::from);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS && self.replaced.load(Ordering::Acquire) == replaced {
            readers.push(connection);
        }
        result
    }

    /// Remembers that the file may be damaged, when this failure says so.
    pub(super) fn record_damage(&self, abort: &StoreAbort) {
        if matches!(abort, StoreAbort::Sql(error) if file::is_damage(error)) {
            self.suspect.store(true, Ordering::Relaxed);
        }
    }
}
