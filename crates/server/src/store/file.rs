//! The store's file: opening it, migrating its schema, checking it, and renaming it when it is damaged.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::abort::unavailable;
use super::salvage;
use botops_core::error::Error;

/// What each schema version adds, in order. `PRAGMA user_version` counts them; a published entry never changes.
///
/// Nothing uses the table `timers` of the second entry any more. It stays, because an earlier release deletes from it
/// whenever an operation ends: without it, nobody could go back to that release.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001_events.sql"),
    include_str!("migrations/002_ops.sql"),
    include_str!("migrations/003_performance.sql"),
    include_str!("migrations/004_configs.sql"),
    include_str!("migrations/005_definitions.sql"),
    include_str!("migrations/006_health.sql"),
    include_str!("migrations/007_failures.sql"),
    include_str!("migrations/008_trade_accounts.sql"),
    include_str!("migrations/009_change_keys.sql"),
    include_str!("migrations/010_event_places.sql"),
    include_str!("migrations/011_incidents.sql"),
    include_str!("migrations/012_trade_lists.sql"),
    include_str!("migrations/013_trade_lists_from_indexes.sql"),
];

/// Why the file could not be opened.
#[derive(Debug)]
pub(super) enum OpenFailure {
    /// Another process holds it: that ends, and nothing may be decided without it meanwhile.
    Locked(Error),
    /// It cannot be used as it is.
    Unusable(Error),
}

impl From<rusqlite::Error> for OpenFailure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(unavailable(&error)),
            _ => Self::Unusable(unavailable(&error)),
        }
    }
}

/// Opens or creates the store at its newest schema. A damaged file is renamed, and a new one begins with the rows
/// that can still be read from it.
pub(super) fn open(path: &Path) -> Result<Connection, OpenFailure> {
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(OpenFailure::Unusable(unavailable(&"it is not a regular file")));
    }
    let connection = match connect(path).and_then(|connection| check(&connection).map(|()| connection)) {
        Ok(connection) => connection,
        Err(error) if is_damage(&error) => {
            let aside = put_aside(path).map_err(|error| OpenFailure::Unusable(unavailable(&error)))?;
            tracing::error!(store.aside = %aside.display(),
                "the store was damaged and put aside as {}; a new one is started", aside.display());
            let connection = connect(path)?;
            migrate(&connection)?;
            log_salvage(salvage::salvage(&connection, &aside));
            connection
        }
        Err(error) => return Err(error.into()),
    };
    migrate(&connection)?;
    Ok(connection)
}

/// Why a file cannot be used and what to do, as the beginning of a sentence about what follows.
pub(super) fn fault_of(path: &Path, error: &Error) -> String {
    let path = path.display();
    let why = error.cause_for_log().unwrap_or_default();
    format!(
        "the store {path} cannot be used at the start ({why}; free space there and make it and the files beside it writable, or \
         move them away and lose the history, then restart botops)"
    )
}

/// A store in memory with what can be read of the file, and the name by which others connect to it.
pub(super) fn open_in_memory(path: &Path) -> Result<(Connection, PathBuf), Error> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("file:botops-store-{number}?mode=memory&cache=shared");
    let connection = Connection::open(&name).map_err(|error| unavailable(&error))?;
    migrate(&connection).map_err(|error| unavailable(&error))?;
    if std::fs::metadata(path).is_ok_and(|there| there.is_file()) {
        log_salvage(salvage::salvage(&connection, path));
    }
    Ok((connection, PathBuf::from(name)))
}

/// Device and inode of the file. A deleted file keeps its inode while it is open, so a path that leads to another
/// inode, or to none, shows that the file was deleted or replaced.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// A connection that may write, with the settings every writer needs.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A read-only connection.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    Ok(connection)
}

/// Reads the whole file; an error means that it is damaged.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<()> {
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

/// True when SQLite's error means that the file's contents are broken, rather than that it cannot be opened or
/// written.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Renames the file and its log to `<name>.damaged-<time>` and returns the new path.
pub(super) fn put_aside(path: &Path) -> std::io::Result<PathBuf> {
    let stamp = chrono::Utc::now().format("%Y%m%dT%H%M%SZ");
    let aside = path.with_extension(format!("damaged-{stamp}"));
    std::fs::rename(path, &aside)?;
    // The newest writes are in the log, so it must keep the name of its file.
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

/// Removes the log and the shared-memory index of a file that is no longer there.
pub(super) fn remove_beside(path: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn log_salvage(saved: rusqlite::Result<salvage::SalvagedRows>) {
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
