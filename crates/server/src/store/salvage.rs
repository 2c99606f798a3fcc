//! Saving what can still be read of a damaged store into the new one that takes its place.
//!
//! Damage is usually a few pages: every table is read from its beginning up to the first damaged page, and from its
//! end back to the last one. Rows between are lost, and so are rows that refer to a lost one. Nothing here changes the
//! damaged file, and nothing is reconstructed from free pages or from pages that belong to no table.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

/// Statements that delete rows whose parent was lost, or clear their reference to it.
const ORPHANS: &[&str] = &[
    "DELETE FROM op_events WHERE op_id NOT IN (SELECT op_id FROM ops)",
    "DELETE FROM timers WHERE op_id NOT IN (SELECT op_id FROM ops)",
    "UPDATE ops SET parent_op = NULL WHERE parent_op NOT IN (SELECT op_id FROM ops)",
];

/// How much of the damaged store was saved.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SalvagedRows {
    pub rows: usize,
    /// Tables of which a part or everything is lost.
    pub torn: Vec<String>,
}

/// Copies what can be read from the damaged file into this store, in one transaction.
pub(super) fn salvage(connection: &Connection, damaged: &Path) -> rusqlite::Result<SalvagedRows> {
    let old = connect_for_reading(damaged)?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let saved = copy_tables(connection, &old).and_then(|saved| {
        for sql in ORPHANS {
            connection.execute(sql, [])?;
        }
        Ok(saved)
    });
    connection.execute_batch(if saved.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    saved
}

/// Opens the file with its log or, where the log cannot be read (on a full disk its index cannot be made), without it.
fn connect_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let with_log = || {
        let old = Connection::open_with_flags(path, flags)?;
        // The log beside the damaged file is read with it; closing the connection must not fold it in.
        old.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        old.pragma_update(None, "query_only", "ON")?;
        old.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
        Ok(old)
    };
    let without_log = |_: rusqlite::Error| {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(format!("file:{}?immutable=1", path.display()), flags)
    };
    with_log().or_else(without_log)
}

fn copy_tables(new: &Connection, old: &Connection) -> rusqlite::Result<SalvagedRows> {
    let mut names =
        new.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let tables = names.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let mut saved = SalvagedRows::default();
    for table in tables {
        let columns = common_columns(new, old, &table)?;
        if columns.is_empty() {
            saved.torn.push(table);
            continue;
        }
        let forward = copy_rows(new, old, &table, &columns, "ASC")?;
        saved.rows += forward.rows;
        if !forward.is_whole {
            saved.rows += copy_rows(new, old, &table, &columns, "DESC")?.rows;
            saved.torn.push(table);
        }
    }
    Ok(saved)
}

struct CopiedRows {
    rows: usize,
    is_whole: bool,
}

/// Reads in one direction until the end or the first damage. Rows that are there already are kept.
fn copy_rows(
    new: &Connection,
    old: &Connection,
    table: &str,
    columns: &[SalvageColumn],
    way: &str,
) -> rusqlite::Result<CopiedRows> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let places = vec!["?"; names.len()].join(", ");
    let names = names.join(", ");
    let mut keys: Vec<&SalvageColumn> = columns.iter().filter(|column| column.key > 0).collect();
    keys.sort_by_key(|column| column.key);
    let order: Vec<String> = keys.iter().map(|key| format!("{} {way}", key.name)).collect();
    let order = if order.is_empty() { format!("rowid {way}") } else { order.join(", ") };
    let mut insert = new.prepare(&format!("INSERT OR IGNORE INTO {table}({names}) VALUES({places})"))?;
    let mut copied = CopiedRows { rows: 0, is_whole: false };
    // From here on an error of the damaged file is no failure: it marks where the damage begins.
    let Ok(mut select) = old.prepare(&format!("SELECT {names} FROM {table} NOT INDEXED ORDER BY {order}"))
    else {
        return Ok(copied);
    };
    let Ok(mut rows) = select.query([]) else { return Ok(copied) };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => {
                copied.is_whole = true;
                return Ok(copied);
            }
            Err(_) => return Ok(copied),
        };
        let read: Result<Vec<Value>, _> = (0..columns.len()).map(|index| row.get(index)).collect();
        let Ok(values) = read else { return Ok(copied) };
        // A row that violates a constraint of its table is a product of the damage: it is left out.
        copied.rows += insert.execute(params_from_iter(values)).unwrap_or(0);
    }
}

#[derive(Debug, Clone, PartialEq)]
struct SalvageColumn {
    name: String,
    /// The column's position in the primary key, from 1; 0 when it is not part of it.
    key: i64,
}

/// The columns that both files have: the damaged one may have an earlier schema.
fn common_columns(new: &Connection, old: &Connection, table: &str) -> rusqlite::Result<Vec<SalvageColumn>> {
    let read = |connection: &Connection| {
        let mut statement = connection.prepare("SELECT name, pk FROM pragma_table_info(?1)")?;
        let columns =
            statement.query_map([table], |row| Ok(SalvageColumn { name: row.get(0)?, key: row.get(1)? }))?;
        columns.collect::<Result<Vec<_>, rusqlite::Error>>()
    };
    let columns = read(new)?;
    let there = read(old).unwrap_or_default();
    // What is read, and in which order, is that of the damaged file.
    let common = columns.iter().filter_map(|column| there.iter().find(|old| old.name == column.name));
    Ok(common.cloned().collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use crate::store::Store;

    #[tokio::test]
    async fn what_lies_before_and_behind_the_damage_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        let store = Store::open(&path).unwrap();
        let filled = store.write(|connection| {
            for seq in 1..=3_000 {
                let body = "x".repeat(200);
                connection.execute(
                    "INSERT INTO events(seq, at_us, kind, severity, body) VALUES(?1, 1, 'system', 'low', ?2)",
                    rusqlite::params![seq, body],
                )?;
            }
            Ok(())
        });
        filled.await.unwrap();
        store.checkpoint().await.unwrap();
        assert_eq!(store.read_whole(), Some(true));
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let middle = file.metadata().unwrap().len() / 4096 / 2;
        for page in middle..middle + 5 {
            file.write_all_at(&[0xA5; 4096], page * 4096).unwrap();
        }
        assert_eq!(store.read_whole(), Some(false));
        drop(store);
        // Closing the last connection removes the log.
        while path.with_extension("db-wal").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }

        let store = Store::open(&path).unwrap();
        let (count, first, last) = store
            .read(|connection| {
                let row =
                    connection.query_row("SELECT count(*), min(seq), max(seq) FROM events", [], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                    })?;
                Ok(row)
            })
            .await
            .unwrap();
        assert_eq!((first, last), (1, 3_000));
        assert!((2_500..3_000).contains(&count), "{count} of 3000 rows, five pages of which were damaged");
        assert!(store.aside().is_some());
        assert_eq!(store.read_whole(), Some(true));
    }
}
