//! Small values by key, in the table `meta`, such as the position of a reader or the last report of a bot.

use rusqlite::{Connection, OptionalExtension};

/// Writes the value, in place of an earlier one.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub(crate) fn put_value(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        )?
        .execute([key, value])?;
    Ok(())
}

/// The value, if there is one.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub(crate) fn get_value(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}
