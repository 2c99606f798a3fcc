//! The file of how config transactions ended, so that a repeated message gets the first answer.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use botops_core::durable_file;
use botops_core::regular_file::read_regular;
use serde::{Deserialize, Serialize};

/// Endings that are kept; a message of an older transaction is treated as new.
const KEPT_ENDINGS: usize = 256;

/// The endings and the highest generation, in memory and in their file.
#[derive(Debug)]
pub(super) struct TrialOutcomes {
    path: PathBuf,
    content: OutcomesFile,
    /// Whether the file lacks something, because a write failed.
    unsaved: bool,
    /// Why the file could not be used at the start, with what to do.
    fault: Option<String>,
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct OutcomesFile {
    #[serde(rename = "gen")]
    generation: u64,
    /// Transaction and how it ended (`committed`, `reverted`, `trial_expired`), oldest first.
    endings: VecDeque<(String, String)>,
}

impl OutcomesFile {
    fn with(&self, generation: u64, ending: Option<(&str, &str)>) -> Self {
        let mut endings = self.endings.clone();
        endings.extend(ending.map(|(txn, what)| (txn.to_owned(), what.to_owned())));
        while endings.len() > KEPT_ENDINGS {
            endings.pop_front();
        }
        Self { generation: generation.max(self.generation), endings }
    }
}

impl TrialOutcomes {
    /// Reads the file. While one does not hold, nothing is recorded, so every config change is refused with the reason:
    /// an ending that was forgotten could begin anew.
    pub(crate) fn load(path: &Path) -> Self {
        let found = match read_regular(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(OutcomesFile::default()),
            Err(error) => Err(error.to_string()),
        };
        let fault = found.as_ref().err().map(|problem| {
            let path = path.display();
            format!("config changes are refused: {path} cannot be used ({problem}); move it away while no trial runs, and restart the bot")
        });
        Self { path: path.to_owned(), content: found.unwrap_or_default(), unsaved: false, fault }
    }

    /// Why nothing can be recorded, with what to do; `None` when the file held at the start.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.content.generation
    }

    pub(crate) fn last(&self) -> Option<(String, String)> {
        self.content.endings.back().cloned()
    }

    /// How a transaction ended; `None` while it has not, or when it was forgotten.
    pub(crate) fn ending(&self, txn: &str) -> Option<&str> {
        let mut newest_first = self.content.endings.iter().rev();
        newest_first.find(|(of, _)| of == txn).map(|(_, ending)| ending.as_str())
    }

    /// Records a generation and an ending; after an error neither takes effect.
    pub(crate) fn record(&mut self, generation: u64, ending: Option<(&str, &str)>) -> io::Result<()> {
        if let Some(fault) = &self.fault {
            return Err(io::Error::other(fault.clone()));
        }
        if ending.is_none() && generation == self.content.generation && !self.unsaved {
            return Ok(());
        }
        let next = self.content.with(generation, ending);
        self.write(&next)?;
        self.content = next;
        self.unsaved = false;
        Ok(())
    }

    /// Records an ending that has happened already. When the write fails, [`TrialOutcomes::save`] repeats it later.
    pub(crate) fn record_anyway(&mut self, generation: u64, txn: &str, what: &str) {
        self.content = self.content.with(generation, Some((txn, what)));
        self.unsaved = true;
        if let Err(error) = self.save() {
            tracing::warn!("config transaction {txn} ended as {what}, not recorded yet: {error}");
        }
    }

    /// Writes what could not be written when it was recorded.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        if self.unsaved && self.fault.is_none() {
            self.write(&self.content)?;
            self.unsaved = false;
        }
        Ok(())
    }

    fn write(&self, content: &OutcomesFile) -> io::Result<()> {
        durable_file::replace(&self.path, &serde_json::to_vec(content)?, durable_file::PRIVATE, "paperbot")
    }
}
