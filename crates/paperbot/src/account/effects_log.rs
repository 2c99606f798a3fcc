//! `effects.jsonl`: what the bot really did, so that tests can compare it with what botops says.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use botops_core::regular_file::open_regular;
use chrono::Utc;
use serde_json::{Value, json};

/// The open file. Lines are written at once and not synced: a power failure may lose some, unlike the ledger's.
#[derive(Debug)]
pub(crate) struct EffectsLog {
    /// `None` when it cannot be used.
    file: Option<File>,
    boot_epoch: String,
}

impl EffectsLog {
    /// Opens or creates the file. One that cannot be used is said once, and nothing is noted.
    pub(crate) fn open(path: &Path, boot_epoch: &str) -> Self {
        let file = open_regular(path, OpenOptions::new().append(true).create(true).mode(0o600));
        let file = file.inspect_err(|error| {
            let path = path.display();
            tracing::warn!(
                "{path} cannot be used ({error}), so effects are not noted; remove what is in its place"
            );
        });
        Self { file: file.ok(), boot_epoch: boot_epoch.to_owned() }
    }

    /// Writes one line. A failure is logged and changes nothing else: trading does not depend on this file.
    pub(crate) fn record(&mut self, effect: &str, mut facts: Value) {
        if let Some(facts) = facts.as_object_mut() {
            facts.insert("effect".to_owned(), json!(effect));
            facts.insert("at".to_owned(), json!(Utc::now()));
            facts.insert("boot_epoch".to_owned(), json!(self.boot_epoch));
        }
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(format!("{facts}\n").as_bytes()) {
            tracing::warn!("an effect was not noted: {error}");
        }
    }
}
