//! Starts of the bot that came to nothing: how many in a row, and what the last one wrote.
//!
//! Counted in this run of botops. A bot that is told to end, or that answers long enough, did not die at its start.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use botops_core::redact;
use botops_core::regular_file::open_regular;
use botops_core::text::clean;

/// A bot that answers so long after its start has not died at it.
const PROVEN_AFTER: Duration = Duration::from_secs(30);

/// How much of the end of an output file is read for its last line.
const OUTPUT_TAIL: u64 = 4_096;

/// A longer last line is cut.
const LAST_LINE: usize = 160;

/// The starts since one of them came to something.
#[derive(Debug, Default)]
pub(super) struct UnprovenStarts {
    starts: Mutex<StartsInARow>,
}

#[derive(Debug, Default, Clone, Copy)]
struct StartsInARow {
    count: u32,
    last: Option<Instant>,
}

/// Starts after which the bot ended again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StartDeaths {
    /// How many in a row.
    pub count: u32,
    /// Where what the bot wrote can be read, for people; `None` where it goes nowhere.
    pub output: Option<String>,
    /// The last line of that, without secrets.
    pub last_line: Option<String>,
}

impl UnprovenStarts {
    /// Notes a start.
    pub(super) fn count_start(&self) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        *starts = StartsInARow { count: starts.count.saturating_add(1), last: Some(Instant::now()) };
    }

    /// Notes that the bot answers now.
    pub(super) fn note_answer(&self) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.last.is_some_and(|at| at.elapsed() >= PROVEN_AFTER) {
            *starts = StartsInARow::default();
        }
    }

    /// Notes that what was started did not end by itself.
    pub(super) fn forget(&self) {
        *self.starts.lock().unwrap_or_else(PoisonError::into_inner) = StartsInARow::default();
    }

    /// How many starts in a row nothing is proven of; the last one may still come to something.
    pub(super) fn count(&self) -> u32 {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).count
    }
}

/// The last line with a sign in it that a file ends with, without secrets; `None` where there is none. Reads the disk.
pub(super) fn last_line(path: &Path) -> Option<String> {
    let text = read_end(path).ok()?;
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(clean(&redact::line(line), LAST_LINE)).filter(|line| !line.is_empty())
}

fn read_end(path: &Path) -> io::Result<String> {
    let mut file = open_regular(path, std::fs::OpenOptions::new().read(true))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_TAIL)))?;
    let mut end = Vec::new();
    file.take(OUTPUT_TAIL).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_bounded_and_has_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot-output.txt");
        assert_eq!(last_line(&path), None);
        let check = |text: &str, expected: Option<&str>| {
            std::fs::write(&path, text).unwrap();
            assert_eq!(last_line(&path).as_deref(), expected, "{text:?}");
        };
        check("", None);
        check("\n \n", None);
        check("Traceback\nKeyError: 'EXCHANGE_KEY'\n\n", Some("KeyError: 'EXCHANGE_KEY'"));
        check("no password=hunter2-hunter2 here", Some("no password=***** here"));
        std::fs::write(&path, format!("{}\n{}", "x".repeat(9_000), "y".repeat(9_000))).unwrap();
        assert!(last_line(&path).unwrap().chars().count() <= LAST_LINE + 1);
    }

    #[test]
    fn what_is_told_to_end_did_not_die_at_its_start() {
        let starts = UnprovenStarts::default();
        starts.count_start();
        starts.count_start();
        starts.note_answer();
        assert_eq!(starts.count(), 2, "an answer right after the start proves nothing");
        starts.forget();
        assert_eq!(starts.count(), 0);
    }
}
