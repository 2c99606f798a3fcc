//! The time by which what is old is deleted: no step of the wall clock ends a retention.

use chrono::Utc;
use serde::{Deserialize, Serialize};

use crate::durable_deadline::{BOOT_ID, uptime_ms};

/// By so much the wall clock may be ahead and is believed at once: clocks are set right by minutes every day.
const BELIEVED_MS: i64 = 3_600_000;

/// A wall clock that is further ahead is believed when it has been so for this long: whoever set it wrong has noticed by then.
const STANDS_MS: u64 = 86_400_000;

/// A clock that goes by the time that really passes, and never ahead of the wall clock.
///
/// Within one boot of the machine its uptime counts. A wall clock that goes back is followed at once, since nothing is deleted
/// too early then; one that goes ahead only when it stays there for a day, or by less than an hour. The same holds over a
/// reboot, where nothing tells a clock that was set from a machine that was off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionClock {
    /// Milliseconds since 1970.
    now_ms: i64,
    uptime_ms: u64,
    boot_id: String,
    /// Since when, by the uptime, the wall clock has been too far ahead.
    ahead_since: Option<u64>,
}

impl RetentionClock {
    /// One that begins with what the wall clock says.
    pub fn begin() -> Self {
        let now_ms = Utc::now().timestamp_millis();
        Self { now_ms, uptime_ms: uptime_ms(), boot_id: BOOT_ID.clone(), ahead_since: None }
    }

    /// The clock as it is now.
    #[must_use]
    pub fn advanced(self) -> Self {
        self.advanced_to(Utc::now().timestamp_millis(), uptime_ms(), &BOOT_ID)
    }

    /// Milliseconds since 1970, when it was last advanced.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn advanced_to(self, wall_ms: i64, uptime_ms: u64, boot_id: &str) -> Self {
        let is_same_boot = self.boot_id == boot_id;
        let passed = if is_same_boot { uptime_ms.saturating_sub(self.uptime_ms) } else { 0 };
        let by_uptime = self.now_ms.saturating_add_unsigned(passed);
        let since = self.ahead_since.filter(|_| is_same_boot).unwrap_or(uptime_ms);
        let is_ahead = wall_ms.saturating_sub(by_uptime) > BELIEVED_MS;
        let is_believed = !is_ahead || uptime_ms.saturating_sub(since) >= STANDS_MS;
        Self {
            now_ms: if is_believed { wall_ms } else { by_uptime },
            uptime_ms,
            boot_id: boot_id.to_owned(),
            ahead_since: (!is_believed).then_some(since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;

    /// A clock at 1,000 days that was asked at these hours, with the wall clock so far off; returns how far off it is itself.
    #[track_caller]
    fn check(asked: &[(i64, i64)], off: i64) {
        let clock =
            RetentionClock { now_ms: 1_000 * DAY, uptime_ms: 0, boot_id: "a".to_owned(), ahead_since: None };
        let right = |hours: i64| 1_000 * DAY + hours * HOUR;
        let end = asked.iter().fold(clock, |clock, (hours, wall_off)| {
            clock.advanced_to(right(*hours) + wall_off, u64::try_from(hours * HOUR).unwrap(), "a")
        });
        let (hours, _) = asked.last().unwrap();
        assert_eq!(end.now_ms() - right(*hours), off);
    }

    #[test]
    fn a_step_forth_and_back_moves_nothing() {
        check(&[(1, 0), (2, 100 * DAY), (3, 100 * DAY), (4, 0)], 0);
        check(&[(1, 100 * DAY)], 0);
        check(&[(1, -100 * DAY), (2, 0)], -100 * DAY);
        check(&[(1, 100 * DAY), (20, 0), (21, 100 * DAY), (40, 100 * DAY)], 0);
    }

    #[test]
    fn a_clock_that_stays_where_it_was_set_is_believed_after_a_day_and_one_that_goes_back_at_once() {
        check(&[(1, 100 * DAY), (24, 100 * DAY)], 0);
        check(&[(1, 100 * DAY), (25, 100 * DAY)], 100 * DAY);
        check(&[(1, HOUR / 2)], HOUR / 2);
        check(&[(1, -3 * DAY)], -3 * DAY);
        check(&[(1, -3 * DAY), (2, 0), (26, 0)], 0);
    }

    #[test]
    fn after_a_reboot_a_clock_that_is_far_ahead_is_believed_after_a_day() {
        let clock = RetentionClock {
            now_ms: 1_000 * DAY,
            uptime_ms: 7,
            boot_id: "a".to_owned(),
            ahead_since: Some(3),
        };
        let at_once = clock.clone().advanced_to(1_000 * DAY + HOUR, 50, "b");
        assert_eq!(at_once.now_ms(), 1_000 * DAY + HOUR);
        let ahead = clock.advanced_to(1_100 * DAY, 50, "b");
        assert_eq!(ahead.now_ms(), 1_000 * DAY);
        let later = ahead.advanced_to(1_101 * DAY, 50 + STANDS_MS, "b");
        assert_eq!(later.now_ms(), 1_101 * DAY);
    }

    #[test]
    fn no_number_of_a_file_is_too_large() {
        for extreme in [i64::MIN, -1, 0, i64::MAX] {
            for uptime in [0, u64::MAX] {
                let boot_id = BOOT_ID.clone();
                let clock =
                    RetentionClock { now_ms: extreme, uptime_ms: uptime, boot_id, ahead_since: Some(uptime) };
                let _ = clock.advanced().advanced().now_ms();
            }
        }
    }
}
