//! A config document with the one text that is stored and sent, and the hash and names that stand for it.

use botops_core::text::sha256_hex;
use serde_json::Value;

use super::written_value::WrittenValue;
use botops_contract::VersionRef;

/// A document may have this many bytes; paperbot's has about 1 KiB.
pub(crate) const MOST_DOCUMENT_BYTES: usize = 256 * 1024;

/// A document with the exact text that is stored and sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConfigDocument {
    /// The parsed text, with numbers that programs compute with.
    pub value: Value,
    /// The parsed text, with its numbers as they were written.
    pub written: WrittenValue,
    /// The exact bytes that are stored and sent.
    pub text: String,
    /// SHA-256 of the text, lower-case hex.
    pub sha256: String,
}

impl ConfigDocument {
    /// The document for a value, in the form that is stored.
    pub(crate) fn of(written: WrittenValue) -> Self {
        let mut text = serde_json::to_string_pretty(&written).expect("a JSON value is JSON");
        text.push('\n');
        let sha256 = sha256_hex(text.as_bytes());
        Self { value: written.plain(), written, text, sha256 }
    }

    /// Reads a stored text.
    pub(crate) fn read(text: String) -> Result<Self, String> {
        let written: WrittenValue = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let sha256 = sha256_hex(text.as_bytes());
        Ok(Self { value: written.plain(), written, text, sha256 })
    }

    /// The reference of this document as a version.
    pub(crate) fn as_version(&self, version: u64) -> VersionRef {
        VersionRef { version, sha256: self.sha256.clone() }
    }
}

/// The first eight digits of a hash, as names of files and `ETag`s have them.
pub(crate) fn short_hash(sha256: &str) -> &str {
    sha256.get(..8).unwrap_or(sha256)
}

/// `"v17-3fa9c1d2"`: the number makes it immune to a change back and forth, the hash names the content.
pub(crate) fn version_etag(version: &VersionRef) -> String {
    format!("\"v{}-{}\"", version.version, short_hash(&version.sha256))
}
