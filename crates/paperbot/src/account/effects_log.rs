//! `effects.jsonl`: what the bot really did, so that tests can compare it with what botops says.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chrono::Utc;
use serde_json::{Value, json};

/// The open file. Lines are written at once and not synced: a power failure may lose some, unlike the ledger's.
#[derive(Debug)]
pub(crate) struct EffectsLog {
    file: File,
    boot_epoch: String,
}

impl EffectsLog {
    pub(crate) fn open(path: &Path, boot_epoch: &str) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { file, boot_epoch: boot_epoch.to_owned() })
    }

    /// Writes one line. A failure is logged and changes nothing else: trading does not depend on this file.
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
