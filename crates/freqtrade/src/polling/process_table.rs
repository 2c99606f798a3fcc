//! The process that freqtrade names in its log, as the kernel shows it here.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};

/// Kernel ticks in a second, by which `/proc` counts. It is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: i64 = 100;

/// A process that can be seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VisibleProcess {
    /// Start time in kernel ticks since the machine's boot: with the number, it names one process.
    pub start_ticks: u64,
    /// The same as a time of day.
    pub started_at: Option<DateTime<Utc>>,
}

/// What freqtrade is started with comes this soon: `python -X dev -m freqtrade`.
const FIRST_WORDS: usize = 5;

/// The process with this number, if it is a freqtrade that ran when it said so: in another namespace (a container) the
/// number means another process, or none. The adapter itself, which has the word in its command line too, is none.
pub(super) fn find_freqtrade(pid: u32, said_at: DateTime<Utc>) -> Option<VisibleProcess> {
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if pid == std::process::id() || !is_freqtrade(&command) {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 22, counted after the last `)`: the name before it may hold spaces and brackets.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    let start_ticks: u64 = fields.nth(18)?.parse().ok()?;
    let started_at = time_of(start_ticks);
    // `/proc` rounds; a second is enough.
    let is_later = started_at.is_some_and(|at| at > said_at + TimeDelta::seconds(1));
    (!is_later).then_some(VisibleProcess { start_ticks, started_at })
}

/// Whether the words of a command line, each ended by a zero, start a freqtrade.
fn is_freqtrade(command: &[u8]) -> bool {
    let names = command
        .split(|byte| *byte == 0)
        .map(|word| word.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
    let mut names = names.take(FIRST_WORDS).peekable();
    let is_python = names.peek().is_some_and(|first| first.starts_with(b"python") || *first == b"freqtrade");
    is_python && names.any(|name| name == b"freqtrade")
}

/// Tells one boot of the machine from the next; empty where the kernel does not say.
pub(super) fn machine_boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

fn time_of(start_ticks: u64) -> Option<DateTime<Utc>> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot = DateTime::from_timestamp(boot.trim().parse().ok()?, 0)?;
    let ticks = i64::try_from(start_ticks).ok()?;
    boot.checked_add_signed(TimeDelta::milliseconds(ticks.checked_mul(1_000 / TICKS_PER_SECOND)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(command: &str, expected: bool) {
        assert_eq!(is_freqtrade(command.replace(' ', "\0").as_bytes()), expected, "{command}");
    }

    #[test]
    fn only_what_starts_a_freqtrade_is_one() {
        check("/opt/venv/bin/python3 /opt/venv/bin/freqtrade trade -c config.json", true);
        check("freqtrade trade", true);
        check("python -X dev -m freqtrade trade", true);
        check("botops freqtrade --url http://127.0.0.1:8080", false);
        check("/usr/bin/vim freqtrade", false);
        check("python3 other.py a b c d freqtrade", false);
        check("", false);
    }

    #[test]
    fn a_process_of_this_machine_that_is_another_program_is_not_taken_for_it() {
        assert_eq!(find_freqtrade(1, Utc::now()), None);
        assert_eq!(find_freqtrade(std::process::id(), Utc::now()), None);
    }
}
