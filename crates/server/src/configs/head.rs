//! `HEAD`: which version is committed, and its document.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::document::{ConfigDocument, WrittenValue, short_hash};
use botops_contract::VersionRef;

/// The content of `HEAD`: the version the bot boots from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionHead {
    pub version: u64,
    pub sha256: String,
    /// The path of the version's file, relative to the config folder.
    pub file: String,
    /// The id of the transaction that committed it.
    pub txn: String,
    pub at: DateTime<Utc>,
}

impl VersionHead {
    /// `HEAD` as it would name this version from now on.
    pub(crate) fn naming(version: &VersionRef, txn: &str) -> Self {
        Self {
            version: version.version,
            sha256: version.sha256.clone(),
            file: version_file_name(version.version, &version.sha256),
            txn: txn.to_owned(),
            at: Utc::now(),
        }
    }

    /// The reference of the version that it names.
    pub(crate) fn version_ref(&self) -> VersionRef {
        VersionRef { version: self.version, sha256: self.sha256.clone() }
    }
}

/// What `HEAD` names, with its document.
#[derive(Debug, Clone)]
pub(crate) struct CommittedConfig {
    pub head: VersionHead,
    pub document: ConfigDocument,
    /// The document as it is shown: what is secret by the bot's schema is masked.
    pub shown: WrittenValue,
    /// How much the bot's schema finds wrong with it; `None` while there is no schema.
    pub findings: Option<usize>,
}

/// The name of a version's file below the config folder: `versions/000017-3fa9c1d2.json`.
pub(crate) fn version_file_name(version: u64, sha256: &str) -> String {
    format!("versions/{version:06}-{}.json", short_hash(sha256))
}
