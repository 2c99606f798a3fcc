//! The file of the session's durable state.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::machine::{SavedSession, SessionReason};
use crate::private_file::read_private;
use botops_contract::SessionPhase;
use botops_core::durable_file;
use botops_core::error::Code;

/// The state file and its content.
#[derive(Debug)]
pub(super) struct SessionStateFile {
    path: PathBuf,
    /// The content of the file. The lock is held while the file is written, so that states are written in order.
    stored: Mutex<StoredSession>,
}

#[derive(Debug)]
struct StoredSession {
    content: SavedSession,
    /// A write that failed is logged once.
    failed: bool,
}

impl SessionStateFile {
    /// Reads the file. One that cannot be read might have held an open breaker: the state is a halt then, until an
    /// operator decides.
    pub(super) fn open(path: &Path) -> (Self, SavedSession) {
        let unreadable = |what: String| {
            tracing::error!(file.path = %path.display(), "the session's stored state cannot be used: {what}");
            let text = format!(
                "{} cannot be read ({what}) and may have held a halt, so no order passes: reset the breaker once trading may go on",
                path.display()
            );
            SavedSession {
                halted: Some(SessionPhase::HaltedOperator),
                reason: Some(SessionReason::new(Code::BrokerBreakerOpen, &text)),
                ..SavedSession::default()
            }
        };
        let saved = match read_private(path) {
            Ok(None) => SavedSession::default(),
            Ok(Some(bytes)) => serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| unreadable(format!("line {}", error.line()))),
            Err(error) => unreadable(error.kind().to_string()),
        };
        let stored = Mutex::new(StoredSession { content: saved.clone(), failed: false });
        (Self { path: path.to_owned(), stored }, saved)
    }

    /// Writes the state that `current` returns if it differs from the stored one. False when that failed; the next call tries
    /// again.
    pub(super) fn store(&self, current: impl FnOnce() -> SavedSession) -> bool {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = current();
        if stored.content == wanted {
            return true;
        }
        let bytes = serde_json::to_vec_pretty(&wanted).expect("names and times serialize");
        match durable_file::replace(&self.path, &bytes, durable_file::PRIVATE, "session") {
            Ok(()) => {
                *stored = StoredSession { content: wanted, failed: false };
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut stored.failed, true) {
                    tracing::error!(
                        "the session's state could not be stored: {} cannot be written ({error}), so a halt of now is lost if the \
                         bot ends before it can be; free space there, or remove what is in its place",
                        self.path.display()
                    );
                }
                false
            }
        }
    }
}
