//! Definitions in the store: by hash for the runs that began with them, by file for the last good versions.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::checked::CheckedWorkflow;
use crate::operations_log::now_ms;

/// Stores a definition, so that its runs can be resumed after its file has changed or is gone.
pub(crate) fn pin_definition(
    connection: &Connection,
    file: &str,
    workflow: &CheckedWorkflow,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO definitions(sha256, id, file, json, kept_ms) VALUES(?1, ?2, ?3, ?4, ?5)
             ON CONFLICT(sha256) DO UPDATE SET kept_ms = excluded.kept_ms",
        )?
        .execute(params![
            workflow.sha256,
            workflow.definition.id,
            file,
            workflow.document.to_string(),
            now_ms()
        ])
        .map(|_| ())
}

/// The stored definition with this hash.
pub(crate) fn load_pinned(
    connection: &Connection,
    sha256: &str,
) -> rusqlite::Result<Option<CheckedWorkflow>> {
    let json: Option<String> = connection
        .prepare_cached("SELECT json FROM definitions WHERE sha256 = ?1")?
        .query_row([sha256], |row| row.get(0))
        .optional()?;
    let document = json.and_then(|json| serde_json::from_str::<Value>(&json).ok());
    Ok(document.and_then(|document| CheckedWorkflow::from_pinned(document, sha256.to_owned()).ok()))
}

/// The newest stored definition of each file.
pub(crate) fn load_last_good(connection: &Connection) -> rusqlite::Result<Vec<(String, CheckedWorkflow)>> {
    let mut statement = connection
        .prepare("SELECT file, json, sha256, max(kept_ms) FROM definitions WHERE file <> '' GROUP BY file")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (file, json, sha256) = row?;
        let document = serde_json::from_str::<Value>(&json).unwrap_or_default();
        if let Ok(workflow) = CheckedWorkflow::from_pinned(document, sha256) {
            found.push((file, workflow));
        }
    }
    Ok(found)
}
