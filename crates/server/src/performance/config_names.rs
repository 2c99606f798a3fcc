//! The config version that a trade was opened under, by the document's hash.

use std::collections::BTreeMap;

use rusqlite::Connection;

/// Numbers of config versions by the SHA-256 of their document. Where several have one content, as after a rollback, the
/// newest of them counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ConfigNames(BTreeMap<String, u64>);

impl ConfigNames {
    /// Reads them from the table of the config versions, which has a row for each version that is kept.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement =
            connection.prepare_cached("SELECT sha256, version FROM config_versions ORDER BY version")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
        let named = rows.map(|row| row.map(|(sha256, version)| (sha256, version.unsigned_abs())));
        named.collect::<rusqlite::Result<_>>().map(Self)
    }

    /// The version with this content.
    pub(super) fn version_of(&self, sha256: &str) -> Option<u64> {
        self.0.get(sha256).copied()
    }

    /// The content that `v15`, `15` or a SHA-256 names; `None` when no version is kept under that number.
    pub(super) fn content_of(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Some(name.to_ascii_lowercase()));
        }
        let Ok(number) = name.trim_start_matches(['v', 'V']).parse::<i64>() else { return Ok(None) };
        let mut statement =
            connection.prepare_cached("SELECT sha256 FROM config_versions WHERE version = ?1")?;
        let mut rows = statement.query([number])?;
        rows.next()?.map(|row| row.get(0)).transpose()
    }
}
