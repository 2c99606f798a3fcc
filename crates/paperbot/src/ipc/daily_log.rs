//! A log file for each day.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, Utc};
use serde_json::Value;

use botops_core::telemetry::LogFile;

/// A JSONL file a day, named by the UTC date.
#[derive(Debug)]
pub(super) struct DailyLogFile {
    folder: PathBuf,
    name: &'static str,
    open: Option<(NaiveDate, LogFile)>,
}

impl DailyLogFile {
    /// A log in this folder; its files begin with this name.
    pub(crate) fn new(folder: &Path, name: &'static str) -> Self {
        Self { folder: folder.to_owned(), name, open: None }
    }

    /// Writes a line into the file of today.
    pub(crate) fn write(&mut self, line: &Value) -> io::Result<()> {
        let today = Utc::now().date_naive();
        if self.open.as_ref().is_none_or(|(day, _)| *day != today) {
            let path = self.folder.join(format!("{}-{today}.jsonl", self.name));
            self.open = Some((today, LogFile::open(path)?));
        }
        let Some((_, file)) = &mut self.open else { return Ok(()) };
        file.append(format!("{line}\n").as_bytes())
    }
}
