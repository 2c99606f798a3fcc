//! Which start of freqtrade answers. freqtrade has no call that says so: its log does, once a minute.
//!
//! Its `bot_start` and `bot_startup` are no start of a process: the first is a trade's date, the second changes with a
//! reload. The heartbeat line names the process; where that process can be seen here, its start time makes the epoch.
//! Elsewhere (a container) the epoch stands for one ring of log lines, which lives as long as the process does.

use botops_core::text::sha256_hex;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::process_table::{find_freqtrade, machine_boot};
use crate::upstream::LogLine;

/// How many lines freqtrade keeps in memory.
pub(super) const RING: usize = 1_000;

/// One start of freqtrade, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BotLife {
    /// The process, where it was seen to be a freqtrade; a number from inside a container means nothing here.
    pub pid: Option<u32>,
    /// Differs from start to start; `None` until a heartbeat was read.
    pub boot_epoch: Option<String>,
    /// When that process was started.
    pub started_at: Option<DateTime<Utc>>,
    /// The process number as freqtrade itself says it.
    named: Option<u32>,
    /// A line of the log by which the same ring is known again.
    mark: Option<DateTime<Utc>>,
}

/// Whether more lines are needed to say which start answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LifeReading {
    /// It is known.
    Known(BotLife),
    /// The lines do not reach back to what was seen before: the whole ring has to be read.
    NeedsWholeRing,
}

impl BotLife {
    /// Nothing is known of it.
    pub(crate) fn unknown() -> Self {
        Self { pid: None, boot_epoch: None, started_at: None, named: None, mark: None }
    }

    /// The newest line of the log that was seen.
    pub(crate) fn mark(&self) -> Option<DateTime<Utc>> {
        self.mark
    }

    /// The same start, without what changes with every line.
    pub(crate) fn without_mark(&self) -> Self {
        Self { mark: None, ..self.clone() }
    }

    /// Which start these lines are of, given the one before. `is_ring` says that they are all that freqtrade has.
    pub(super) fn after(before: Option<&Self>, lines: &[LogLine], is_ring: bool) -> LifeReading {
        let newest = lines.last().map(|line| line.at);
        let is_marked =
            before.and_then(|life| life.mark).map(|mark| lines.iter().any(|line| line.at == mark));
        let heartbeat = lines.iter().rev().find_map(heartbeat_pid);
        let said_at = newest.unwrap_or_default();
        if !is_ring
            && (is_marked == Some(false)
                || heartbeat.is_none() && before.is_none_or(|life| life.named.is_none()))
        {
            return LifeReading::NeedsWholeRing;
        }
        let ring_was_lost = is_ring && is_marked == Some(false) && lines.len() < RING;
        let before = before.filter(|_| !ring_was_lost);
        let Some(named) = heartbeat.or_else(|| before.and_then(|life| life.named)) else {
            return LifeReading::Known(Self { mark: newest, ..Self::unknown() });
        };
        if let Some(process) = find_freqtrade(named, said_at) {
            let epoch = sha256_hex(format!("{}|{named}|{}", machine_boot(), process.start_ticks));
            let boot_epoch = Some(epoch.chars().take(32).collect());
            let started_at = process.started_at;
            return LifeReading::Known(Self {
                pid: Some(named),
                boot_epoch,
                started_at,
                named: Some(named),
                mark: newest,
            });
        }
        let same = before.filter(|life| life.named == Some(named) && life.boot_epoch.is_some());
        let boot_epoch = same.and_then(|life| life.boot_epoch.clone()).or_else(|| {
            let first = lines.first()?.at.timestamp_millis();
            Some(sha256_hex(format!("ring|{named}|{first}")).chars().take(32).collect())
        });
        // A process that was seen here and is no longer is not this number's next owner.
        let gone = before.is_some_and(|life| life.pid == Some(named));
        let boot_epoch = if gone { before.and_then(|life| life.boot_epoch.clone()) } else { boot_epoch };
        LifeReading::Known(Self {
            pid: before.and_then(|life| life.pid).filter(|_| gone),
            boot_epoch,
            started_at: before.and_then(|life| life.started_at).filter(|_| gone),
            named: Some(named),
            mark: newest,
        })
    }
}

/// The process number in a heartbeat line.
fn heartbeat_pid(line: &LogLine) -> Option<u32> {
    if !line.message.contains("heartbeat") {
        return None;
    }
    let (_, after) = line.message.split_once("PID=")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No process of this machine has this number: it is above every limit of Linux.
    const ELSEWHERE: u32 = 4_194_999;

    fn line(at: i64, message: &str) -> LogLine {
        let at = DateTime::from_timestamp(at, 0).unwrap();
        LogLine {
            at,
            logger: "freqtrade.worker".to_owned(),
            level: "INFO".to_owned(),
            message: message.to_owned(),
        }
    }

    fn heartbeat(at: i64, pid: u32) -> LogLine {
        line(at, &format!("Bot heartbeat. PID={pid}, version='2026.1', state='RUNNING'"))
    }

    #[track_caller]
    fn known(before: Option<&BotLife>, lines: &[LogLine], is_ring: bool) -> BotLife {
        match BotLife::after(before, lines, is_ring) {
            LifeReading::Known(life) => life,
            LifeReading::NeedsWholeRing => panic!("it asks for more lines"),
        }
    }

    #[test]
    fn a_heartbeat_from_elsewhere_gives_an_epoch_and_no_number() {
        let life = known(None, &[line(1, "starting"), heartbeat(2, ELSEWHERE)], true);
        assert_eq!((life.pid, life.started_at, life.boot_epoch.is_some()), (None, None, true));
        let later = known(Some(&life), &[heartbeat(2, ELSEWHERE), heartbeat(62, ELSEWHERE)], false);
        assert_eq!(later.boot_epoch, life.boot_epoch);
    }

    #[test]
    fn a_ring_that_begins_anew_is_another_start_even_under_the_same_number() {
        let life = known(None, &[line(1, "starting"), heartbeat(2, ELSEWHERE)], true);
        let young = [line(100, "starting"), heartbeat(101, ELSEWHERE)];
        assert_eq!(BotLife::after(Some(&life), &young, false), LifeReading::NeedsWholeRing);
        assert_ne!(known(Some(&life), &young, true).boot_epoch, life.boot_epoch);
        // A ring that was overwritten says nothing: the number does.
        let full: Vec<LogLine> = (0..1_000).map(|at| heartbeat(1_000 + at, ELSEWHERE)).collect();
        assert_eq!(known(Some(&life), &full, true).boot_epoch, life.boot_epoch);
        let other: Vec<LogLine> = (0..1_000).map(|at| heartbeat(1_000 + at, ELSEWHERE + 1)).collect();
        assert_ne!(known(Some(&life), &other, true).boot_epoch, life.boot_epoch);
    }

    #[test]
    fn without_a_heartbeat_nothing_is_known() {
        assert_eq!(BotLife::after(None, &[line(1, "x")], false), LifeReading::NeedsWholeRing);
        let life = known(None, &[line(1, "x")], true);
        assert_eq!((life.pid, life.boot_epoch.as_deref()), (None, None));
    }
}
