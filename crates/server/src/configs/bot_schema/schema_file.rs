//! The file of the schema, so that reads know what is secret and what fits while the bot is away.

use std::io;
use std::path::{Path, PathBuf};

use botops_core::durable_file;
use botops_core::regular_file::read_regular;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What is kept of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SchemaRecord {
    /// SHA-256 of `schema`, lower-case hex.
    pub sha256: String,
    /// When the bot first gave it.
    pub read_at: DateTime<Utc>,
    /// The version and the start of the bot that gave it.
    pub bot_version: Option<String>,
    pub boot_epoch: Option<String>,
    /// The hash of the schema that it took the place of; `None` for the first one.
    pub replaced: Option<String>,
    /// The exact text.
    pub schema: String,
}

/// `schema.json` in the config folder.
#[derive(Debug)]
pub(super) struct SchemaFile {
    path: PathBuf,
}

impl SchemaFile {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("schema.json") }
    }

    /// What was kept. `Ok(None)` where none ever was.
    pub(super) fn load(&self) -> io::Result<Option<SchemaRecord>> {
        match read_regular(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a schema; durable on return.
    pub(super) fn store(&self, record: &SchemaRecord) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
        durable_file::replace(&self.path, &bytes, 0o640, "config.schema")
    }
}
