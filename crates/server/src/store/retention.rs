//! The time by which every feature deletes what is old, kept in the table `meta`.

use botops_core::retention_clock::RetentionClock;
use rusqlite::Connection;

use super::meta::{get_value, put_value};

const KEY: &str = "retention_clock";

/// Milliseconds since 1970, by a clock that no step of the wall clock moves: what was written in the future, as it looks after a
/// step back, is kept, and a step forth makes nothing old.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub(crate) fn retention_ms(connection: &Connection) -> rusqlite::Result<i64> {
    let known =
        get_value(connection, KEY)?.and_then(|text| serde_json::from_str::<RetentionClock>(&text).ok());
    let clock = known.map_or_else(RetentionClock::begin, RetentionClock::advanced);
    if let Ok(text) = serde_json::to_string(&clock) {
        put_value(connection, KEY, &text)?;
    }
    Ok(clock.now_ms())
}
