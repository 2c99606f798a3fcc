//! The failures in freqtrade's log: lines of the levels ERROR and CRITICAL, newest last.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::upstream::LogLine;

/// Lines that are kept; more than a report shows.
const KEPT_LINES: usize = 200;

/// The highest count of the last hour, which bounds the memory.
const COUNTED_TIMES: usize = 20_000;

/// The newest failures of the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct ErrorLines {
    lines: VecDeque<LogLine>,
    /// When each failure of the last hour happened, oldest first.
    times: VecDeque<DateTime<Utc>>,
    /// When the log was read last.
    pub read_at: Option<DateTime<Utc>>,
}

impl ErrorLines {
    /// Takes in what is new among these lines, which are oldest first.
    pub(super) fn add_lines(&mut self, lines: &[LogLine], read_at: DateTime<Utc>) {
        let failures = lines.iter().filter(|line| line.is_failure());
        for line in failures {
            let known =
                self.lines.iter().rev().take_while(|known| known.at >= line.at).any(|known| known == line);
            let is_older = self.lines.back().is_some_and(|newest| newest.at > line.at);
            if !known && !is_older {
                self.lines.push_back(line.clone());
                self.times.push_back(line.at);
            }
        }
        while self.lines.len() > KEPT_LINES {
            self.lines.pop_front();
        }
        let hour_ago = read_at - TimeDelta::hours(1);
        while self.times.len() > COUNTED_TIMES || self.times.front().is_some_and(|at| *at < hour_ago) {
            self.times.pop_front();
        }
        self.read_at = Some(read_at);
    }

    /// Failures since this moment, as of the last reading; at most those of an hour.
    pub(crate) fn count_since(&self, since: DateTime<Utc>) -> usize {
        self.times.len() - self.times.partition_point(|at| *at < since)
    }

    /// The lines, oldest first.
    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = &LogLine> {
        self.lines.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: i64, level: &str, message: &str) -> LogLine {
        let at = DateTime::from_timestamp(at, 0).unwrap();
        LogLine { at, logger: "freqtrade".to_owned(), level: level.to_owned(), message: message.to_owned() }
    }

    #[test]
    fn a_line_that_is_read_twice_counts_once() {
        let mut errors = ErrorLines::default();
        let lines =
            [line(1, "ERROR", "a"), line(1, "ERROR", "b"), line(2, "INFO", "c"), line(3, "CRITICAL", "d")];
        errors.add_lines(&lines, Utc::now());
        errors.add_lines(&lines, Utc::now());
        let kept: Vec<&str> = errors.lines().map(|line| line.message.as_str()).collect();
        assert_eq!(kept, ["a", "b", "d"]);
    }
}
