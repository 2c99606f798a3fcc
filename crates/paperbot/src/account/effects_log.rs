//! `effects.jsonl`: what the bot really did, for whoever compares that with what botops says.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chrono::Utc;
use serde_json::{Value, json};

/// The open file. Lines are written at once and not synced: the ledger is what must not be lost.
#[derive(Debug)]
pub(crate) struct EffectsLog {
    file: File,
    boot_epoch: String,
}

impl EffectsLog {
    /// Opens or creates the file.
    pub(crate) fn open(path: &Path, boot_epoch: &str) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { file, boot_epoch: boot_epoch.to_owned() })
    }

    /// Writes one line. A failure is logged and changes nothing else.
    pub(crate) fn record(&mut self, effect: &str, mut facts: Value) {
        if let Some(facts) = facts.as_object_mut() {
            facts.insert("effect".to_owned(), json!(effect));
            facts.insert("at".to_owned(), json!(Utc::now()));
            facts.insert("boot_epoch".to_owned(), json!(self.boot_epoch));
        }
        if let Err(error) = self.file.write_all(format!("{facts}\n").as_bytes()) {
            tracing::warn!("an effect was not noted: {error}");
        }
    }
}
