//! Reads `HEAD` and the document that it names. botops writes both; the bot never does.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};
use std::sync::Arc;

use botops_core::regular_file::{read_regular, read_regular_text};
use botops_core::text::sha256_hex;
use serde::Deserialize;
use serde_json::Value;

use super::document::{BUILT_IN, BotConfig};
use botops_contract::VersionRef;

/// A document whose hash was verified.
#[derive(Debug, Clone)]
pub(crate) struct LoadedConfig {
    /// Version number and hash; number 0 is the built-in document.
    pub version: VersionRef,
    /// The parsed values.
    pub settings: BotConfig,
    /// The document as JSON, for comparing it with others.
    pub value: Arc<Value>,
    /// The exact bytes of the document.
    pub text: Arc<str>,
}

impl LoadedConfig {
    /// Parses a document's text; the hash is of exactly these bytes.
    pub(super) fn new(version: u64, text: &str) -> Result<Self, String> {
        let settings = BotConfig::parse(text).map_err(|violation| violation.message)?;
        let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let version = VersionRef { version, sha256: sha256_hex(text) };
        Ok(Self { version, settings, value: Arc::new(value), text: Arc::from(text) })
    }

    pub(super) fn built_in() -> Self {
        Self::new(0, BUILT_IN).expect("a test reads the built-in document")
    }

    /// The document that `HEAD` names, verified; `None` without a `HEAD`.
    pub(super) fn from_head(folder: &Path) -> Result<Option<Self>, String> {
        let path = folder.join("HEAD");
        let bytes = match read_regular(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let head: HeadFile =
            serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let named = Path::new(&head.file);
        if !named.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("{} names a file outside its folder", path.display()));
        }
        let has_folder = named.components().count() > 1;
        let file = if has_folder { folder.join(named) } else { folder.join("versions").join(named) };
        let text = read_regular_text(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let loaded =
            Self::new(head.version, &text).map_err(|error| format!("{}: {error}", file.display()))?;
        if loaded.version.sha256 != head.sha256.to_ascii_lowercase() {
            return Err(format!("{} does not have the hash that HEAD says", file.display()));
        }
        Ok(Some(loaded))
    }
}

/// Whether a folder holds config versions, so that a `HEAD` must have been there. One that cannot be listed may.
pub(super) fn holds_versions(folder: &Path) -> bool {
    match fs::read_dir(folder.join("versions")) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

#[derive(Debug, Deserialize)]
struct HeadFile {
    version: u64,
    sha256: String,
    file: String,
}

/// File attributes that change when `HEAD` is replaced, so that it need not be read every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadStamp {
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl HeadStamp {
    /// The stamp of the file now; `None` without a `HEAD`.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let head = fs::metadata(folder.join("HEAD")).ok()?;
        Some(Self { inode: head.ino(), modified: (head.mtime(), head.mtime_nsec()), size: head.size() })
    }
}
