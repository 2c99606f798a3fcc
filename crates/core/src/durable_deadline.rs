//! When something ends, such that neither a restart of the program nor a step of the wall clock moves it.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::Utc;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::duration::milliseconds;

/// By so many milliseconds two clocks may drift apart before a time is shown by the newer reading.
const DRIFT_MS: i64 = 2_000;

/// When something ends, on clocks that survive a restart of the program.
///
/// Within one boot of the machine its uptime counts, which no step of the wall clock moves. After a reboot there is only
/// the wall clock, by which it was stored as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableDeadline {
    /// When it ends, in milliseconds since 1970, by the wall clock as it was when it was set.
    pub wall_ms: i64,
    boot_ms: u64,
    /// Which boot of the machine `boot_ms` is of; empty when it was stored by the wall clock alone.
    boot_id: String,
    /// When it was set, by the wall clock.
    set_ms: i64,
}

impl DurableDeadline {
    /// One that ends after this time.
    pub fn after(time: Duration) -> Self {
        let (now, time_ms) = (Utc::now().timestamp_millis(), milliseconds(time));
        Self {
            wall_ms: now.saturating_add_unsigned(time_ms),
            boot_ms: uptime_ms().saturating_add(time_ms),
            boot_id: BOOT_ID.clone(),
            set_ms: now,
        }
    }

    /// One of which only the wall clock's times were stored, in milliseconds since 1970: when it ends, and when it was set.
    pub fn by_wall_clock(wall_ms: i64, set_ms: i64) -> Self {
        Self { wall_ms, boot_ms: 0, boot_id: String::new(), set_ms }
    }

    /// How much time is left; zero when it is over, and `None` when that is not known because the clock went back.
    pub fn left(&self) -> Option<Duration> {
        self.left_at(Utc::now().timestamp_millis(), uptime_ms(), &BOOT_ID)
    }

    /// How much time is left, and where that is not known all that there was at first.
    pub fn left_at_most(&self) -> Duration {
        let whole = || Duration::from_millis(non_negative(self.wall_ms.saturating_sub(self.set_ms)));
        self.left().unwrap_or_else(whole)
    }

    /// The same deadline by the uptime of this boot, so that from now on no step of the wall clock moves it.
    #[must_use]
    pub fn anchored(self) -> Self {
        if self.boot_id == *BOOT_ID {
            return self;
        }
        let boot_ms = uptime_ms().saturating_add(milliseconds(self.left_at_most()));
        Self { boot_ms, boot_id: BOOT_ID.clone(), ..self }
    }

    /// When it ends by the wall clock as it goes now, in milliseconds since 1970: another time than the stored one once the
    /// clock was set.
    pub fn shown_ms(&self) -> i64 {
        let Some(left) = self.left().filter(|left| !left.is_zero()) else { return self.wall_ms };
        let ends = Utc::now().timestamp_millis().saturating_add_unsigned(milliseconds(left));
        if ends.saturating_sub(self.wall_ms).saturating_abs() <= DRIFT_MS { self.wall_ms } else { ends }
    }

    fn left_at(&self, now_ms: i64, uptime_ms: u64, boot_id: &str) -> Option<Duration> {
        if self.boot_id == boot_id {
            return Some(Duration::from_millis(self.boot_ms.saturating_sub(uptime_ms)));
        }
        (now_ms >= self.set_ms)
            .then(|| Duration::from_millis(non_negative(self.wall_ms.saturating_sub(now_ms))))
    }
}

/// Which boot of the machine this is.
pub(crate) static BOOT_ID: LazyLock<String> = LazyLock::new(|| {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
});

/// Milliseconds since the machine was booted, its sleep included.
pub(crate) fn uptime_ms() -> u64 {
    let uptime = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(uptime.tv_sec).unwrap_or(0);
    let rest = u64::try_from(uptime.tv_nsec / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(rest)
}

fn non_negative(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deadline of 60 s, set at 1,000,000 ms by the wall and 50,000 ms after the machine's start.
    fn deadline() -> DurableDeadline {
        DurableDeadline { wall_ms: 1_060_000, boot_ms: 110_000, boot_id: "a".to_owned(), set_ms: 1_000_000 }
    }

    /// What is left of it after 20 s by the machine's clock, in seconds.
    #[track_caller]
    fn check(wall_step_s: i64, rebooted: bool, left_s: Option<u64>) {
        let now = 1_020_000 + wall_step_s * 1_000;
        let left = deadline().left_at(now, 70_000, if rebooted { "b" } else { "a" });
        assert_eq!(left.map(|left| left.as_secs()), left_s);
    }

    #[test]
    fn a_step_of_the_wall_clock_does_not_move_a_deadline() {
        check(0, false, Some(40));
        check(3_600, false, Some(40));
        check(-3_600, false, Some(40));
    }

    #[test]
    fn after_a_reboot_the_wall_clock_counts_and_one_that_went_back_is_not_known() {
        check(0, true, Some(40));
        check(10, true, Some(30));
        check(3_600, true, Some(0));
        check(-21, true, None);
        check(-3_600, true, None);
    }

    #[test]
    fn one_of_another_boot_lasts_no_longer_than_it_was_meant_to() {
        // It was set in the future, as it looks now: nobody knows how much of its 5 s is over.
        let ahead = Utc::now().timestamp_millis() + 3_600_000;
        let deadline = DurableDeadline::by_wall_clock(ahead + 5_000, ahead);
        assert_eq!((deadline.left(), deadline.left_at_most()), (None, Duration::from_secs(5)));
        let anchored = deadline.anchored();
        assert!(anchored.left().is_some_and(|left| left <= Duration::from_secs(5)));
        assert!(anchored.shown_ms() < ahead, "as the clock goes now");
        let again = anchored.clone().anchored();
        assert_eq!(again, anchored);
    }

    #[test]
    fn no_number_of_a_file_is_too_large() {
        for extreme in [i64::MIN, -1, 0, i64::MAX] {
            for set in [i64::MIN, 0, i64::MAX] {
                let deadline = DurableDeadline::by_wall_clock(extreme, set);
                let anchored = deadline.clone().anchored();
                let _ = (deadline.left(), anchored.left_at_most(), anchored.shown_ms(), deadline.shown_ms());
            }
        }
        let long = DurableDeadline::after(Duration::MAX);
        assert!(long.left().is_some_and(|left| left > Duration::from_secs(1 << 40)));
    }
}
