//! When a trial ends, such that neither a restart of botops nor a step of the wall clock moves it.

use std::time::Duration;

use botops_core::duration::milliseconds;
use chrono::Utc;
use serde::{Deserialize, Serialize};

/// When a trial ends, on clocks that survive a restart of botops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrialDeadline {
    pub wall_ms: i64,
    /// Milliseconds of the machine's uptime: a step of the wall clock does not move it.
    pub boot_ms: u64,
    /// Which boot of the machine that is.
    pub boot_id: String,
    /// When it was set, by the wall clock.
    pub set_ms: i64,
}

impl TrialDeadline {
    pub(crate) fn after(window: Duration) -> Self {
        let window_ms = milliseconds(window);
        let now = Utc::now().timestamp_millis();
        Self {
            wall_ms: now.saturating_add_unsigned(window_ms),
            boot_ms: uptime_ms().saturating_add(window_ms),
            boot_id: boot_id(),
            set_ms: now,
        }
    }

    /// How much time is left; zero when it is over, and when that is not known because the clock went back.
    pub(crate) fn left(&self) -> Duration {
        self.left_at(Utc::now().timestamp_millis(), uptime_ms(), &boot_id())
    }

    fn left_at(&self, now_ms: i64, uptime_ms: u64, boot_id: &str) -> Duration {
        if self.boot_id == boot_id {
            return Duration::from_millis(self.boot_ms.saturating_sub(uptime_ms));
        }
        if now_ms < self.set_ms {
            return Duration::ZERO;
        }
        Duration::from_millis(u64::try_from(self.wall_ms - now_ms).unwrap_or(0))
    }
}

fn uptime_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_ascii_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default();
    milliseconds(uptime)
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deadline of 60 s, set at 1,000,000 ms by the wall and 50,000 ms after the machine's start; what is left of it
    /// after 20 s by the machine's clock, in seconds.
    #[track_caller]
    fn check(wall_step_s: i64, rebooted: bool, left_s: u64) {
        let deadline = TrialDeadline {
            wall_ms: 1_060_000,
            boot_ms: 110_000,
            boot_id: "a".to_owned(),
            set_ms: 1_000_000,
        };
        let now = 1_020_000 + wall_step_s * 1_000;
        let left = deadline.left_at(now, 70_000, if rebooted { "b" } else { "a" });
        assert_eq!(left.as_secs(), left_s);
    }

    #[test]
    fn a_step_of_the_wall_clock_does_not_move_a_deadline() {
        check(0, false, 40);
        check(3_600, false, 40);
        check(-3_600, false, 40);
    }

    #[test]
    fn after_a_reboot_the_wall_clock_counts_and_one_that_went_back_ends_the_trial() {
        check(0, true, 40);
        check(10, true, 30);
        check(3_600, true, 0);
        check(-21, true, 0);
        check(-3_600, true, 0);
    }
}
