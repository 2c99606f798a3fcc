//! `last-config.json` in the bot's own folder: the committed config that it last loaded.
//!
//! With it the bot knows, at a start without `HEAD`, that there was one: it does not take the built-in limits for the
//! operator's. Until `HEAD` can be loaded again it opens nothing, and closes its positions by what this file has.

use std::io;
use std::path::{Path, PathBuf};

use botops_core::durable_file;
use botops_core::regular_file::read_regular;
use serde::{Deserialize, Serialize};

use super::head::LoadedConfig;

/// The file and the version that it holds.
#[derive(Debug)]
pub(super) struct LastConfigFile {
    path: PathBuf,
    stored: Option<String>,
    /// A write that failed is logged once.
    failed: bool,
}

/// What the bot ran from `HEAD` last.
#[derive(Debug)]
pub(super) struct LastConfig {
    pub config: LoadedConfig,
    /// The folder that it was loaded from.
    pub folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredConfig {
    version: u64,
    sha256: String,
    folder: PathBuf,
    document: String,
}

impl LastConfigFile {
    /// Reads the file. One that does not hold is the same as none: it is written anew with the next `HEAD`.
    pub(super) fn open(path: &Path) -> (Self, Option<LastConfig>) {
        let found = match read_regular(path) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let last = found.unwrap_or_else(|problem| {
            let path = path.display();
            tracing::warn!("{path} cannot be used ({problem}); remove it, it is written anew");
            None
        });
        let stored = last.as_ref().map(|last| last.config.version.sha256.clone());
        (Self { path: path.to_owned(), stored, failed: false }, last)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Stores what was loaded from `HEAD`, if it is not stored already. A failure is logged, and repeated later.
    pub(super) fn store(&mut self, config: &LoadedConfig, folder: &Path) {
        if self.stored.as_ref() == Some(&config.version.sha256) {
            return;
        }
        let content = StoredConfig {
            version: config.version.version,
            sha256: config.version.sha256.clone(),
            folder: folder.to_owned(),
            document: config.text.to_string(),
        };
        let bytes = serde_json::to_vec(&content).map_err(io::Error::from);
        let written = bytes.and_then(|bytes| {
            durable_file::replace(&self.path, &bytes, durable_file::PRIVATE, "last_config")
        });
        match written {
            Ok(()) => (self.stored, self.failed) = (Some(content.sha256), false),
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    let path = self.path.display();
                    tracing::warn!(
                        "{path} cannot be written ({error}); free space or make the folder writable"
                    );
                }
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<LastConfig>, String> {
    let stored: StoredConfig = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let config = LoadedConfig::new(stored.version, &stored.document)?;
    if config.version.sha256 != stored.sha256 {
        return Err("it does not have its hash".to_owned());
    }
    Ok(Some(LastConfig { config, folder: stored.folder }))
}
