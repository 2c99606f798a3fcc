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

/// The process with this number, if it is a freqtrade: in another namespace (a container) the number means another
/// process, or none.
pub(super) fn find_freqtrade(pid: u32) -> Option<VisibleProcess> {
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let is_freqtrade = command.split(|byte| *byte == 0).any(|word| {
        let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        name.starts_with(b"freqtrade")
    });
    if !is_freqtrade {
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
    Some(VisibleProcess { start_ticks, started_at: time_of(start_ticks) })
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

    #[test]
    fn a_process_that_is_no_freqtrade_is_not_taken_for_one() {
        assert_eq!(find_freqtrade(1), None, "the first process of the machine");
        assert_eq!(
            find_freqtrade(std::process::id()).is_some(),
            std::env::args()
                .any(|word| { word.rsplit('/').next().is_some_and(|name| name.starts_with("freqtrade")) })
        );
    }
}
