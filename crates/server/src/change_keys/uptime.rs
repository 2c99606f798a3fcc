//! The age of a key by a clock that nobody sets.

use rustix::time::{ClockId, clock_gettime};

/// The time since the machine started, sleep included, and which start that was.
#[derive(Debug)]
pub(super) struct MachineClock {
    /// Empty where the system does not say; then only the wall clock tells how old a key of an earlier run is.
    pub boot_id: String,
}

impl MachineClock {
    pub(super) fn read() -> Self {
        let said = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Self { boot_id: said.map(|text| text.trim().to_owned()).unwrap_or_default() }
    }

    /// Milliseconds since the machine started.
    pub(super) fn now(&self) -> i64 {
        let time = clock_gettime(ClockId::Boottime);
        time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
    }

    /// How old a stored key is, in milliseconds: by the machine's own clock if the machine has not started again since,
    /// else by the wall clock. Negative when that was set back.
    pub(super) fn age_of(&self, boot_id: &str, uptime_ms: i64, begun_ms: i64) -> i64 {
        if !boot_id.is_empty() && boot_id == self.boot_id {
            return (self.now() - uptime_ms).max(0);
        }
        chrono::Utc::now().timestamp_millis() - begun_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_makes_no_key_older_or_younger() {
        let clock = MachineClock { boot_id: "this".to_owned() };
        let wall = chrono::Utc::now().timestamp_millis();
        for set_by in [-1_000_000_000, 0, 1_000_000_000] {
            let age = clock.age_of("this", clock.now() - 5_000, wall + set_by);
            assert!((5_000..60_000).contains(&age), "{age}");
        }
        assert!(clock.age_of("an earlier start", clock.now(), wall - 90_000_000) >= 90_000_000);
        assert!(clock.age_of("an earlier start", clock.now(), wall + 90_000_000) < 0);
    }
}
