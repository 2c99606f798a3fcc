//! `ledger-mark.json`: how far the ledger had come, by which a ledger that was cut short or is gone is noticed.
//!
//! A chain of sums cannot show that its end is missing. The mark is written behind the ledger, about once a second, so
//! it never names a line that the ledger does not have; it may name an older one. One that is missing or cannot be read
//! claims nothing.

use std::io;
use std::path::{Path, PathBuf};

use botops_core::durable_file;
use botops_core::regular_file::read_regular;
use serde::{Deserialize, Serialize};

/// The number of a line that was in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LedgerMark {
    /// Lines that the ledger had at least.
    pub lines: u64,
}

/// The file of the mark.
#[derive(Debug)]
pub(super) struct LedgerMarkFile {
    path: PathBuf,
    stored: LedgerMark,
}

impl LedgerMarkFile {
    /// The mark beside this ledger, and what it says.
    pub(super) fn open(ledger: &Path) -> (Self, LedgerMark) {
        let path = ledger.with_file_name("ledger-mark.json");
        let stored = match read_regular(&path).map(|bytes| serde_json::from_slice::<LedgerMark>(&bytes)) {
            Ok(Ok(mark)) => mark,
            Err(error) if error.kind() == io::ErrorKind::NotFound => LedgerMark { lines: 0 },
            found => {
                let what = found.map_or_else(|error| error.to_string(), |_| "it cannot be parsed".to_owned());
                let path = path.display();
                tracing::warn!("{path} says nothing of the ledger ({what}); remove it, it is written anew");
                LedgerMark { lines: 0 }
            }
        };
        (Self { path, stored }, stored)
    }

    /// Writes that the ledger has this many lines, if the file does not say so already.
    pub(super) fn store(&mut self, lines: u64) -> io::Result<()> {
        let mark = LedgerMark { lines };
        if mark == self.stored {
            return Ok(());
        }
        durable_file::replace(&self.path, &serde_json::to_vec(&mark)?, durable_file::PRIVATE, "ledger_mark")?;
        self.stored = mark;
        Ok(())
    }
}
