//! A log with one file for each UTC day.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, Utc};
use serde_json::Value;

use botops_core::telemetry::LogFile;

/// A log of JSON lines; its files are named by the UTC date, and old ones are not removed here.
#[derive(Debug)]
pub(super) struct DailyLogFile {
    folder: PathBuf,
    name: &'static str,
    open: Option<(NaiveDate, LogFile)>,
}

impl DailyLogFile {
    /// A log in `folder` whose file names begin with `name`.
    pub(crate) fn new(folder: &Path, name: &'static str) -> Self {
        Self { folder: folder.to_owned(), name, open: None }
    }

    /// Appends a line to today's file, opening a new one when the date has changed.
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
