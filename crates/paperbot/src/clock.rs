//! Time in the trading process: one clock that is passed to every part that needs one.
//!
//! Durations, windows and ages use [`Clock::mono`]; [`Clock::wall`] is only for stored timestamps, calendar windows
//! and comparison with other machines. A simulated clock lets a test move the wall clock against the monotonic one,
//! as a suspended laptop does. Nothing here sleeps; code that waits uses `tokio::time`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// A clock; cloning is cheap, and clones give the same times.
#[derive(Debug, Clone)]
pub struct Clock {
    origin: Instant,
    wall: WallClock,
}

#[derive(Debug, Clone)]
enum WallClock {
    System,
    Simulated { base: DateTime<Utc>, offset_ms: Arc<AtomicI64> },
}

/// One reading of both times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since the clock was made. It never goes back, and does not count while the machine is suspended.
    pub mono: Duration,
    /// Wall clock time; it jumps when the clock is set or after a suspend.
    pub wall: DateTime<Utc>,
}

impl Clock {
    /// A clock that reads the system's clocks.
    pub fn system() -> Self {
        Self { origin: Instant::now(), wall: WallClock::System }
    }

    /// A wall clock that starts at `base` and follows the monotonic time until [`Clock::jump`] moves it.
    pub fn simulated(base: DateTime<Utc>) -> Self {
        Self { origin: Instant::now(), wall: WallClock::Simulated { base, offset_ms: Arc::default() } }
    }

    /// Time since the clock was made.
    pub fn mono(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Wall clock time; it jumps when the clock is set or after a suspend.
    pub fn wall(&self) -> DateTime<Utc> {
        self.now().wall
    }

    /// Reads both clocks at one moment.
    pub fn now(&self) -> Now {
        let mono = self.mono();
        let wall = match &self.wall {
            WallClock::System => Utc::now(),
            WallClock::Simulated { base, offset_ms } => {
                let elapsed = TimeDelta::from_std(mono).unwrap_or(TimeDelta::MAX);
                *base + elapsed + TimeDelta::milliseconds(offset_ms.load(Ordering::Relaxed))
            }
        };
        Now { mono, wall }
    }

    /// Moves a simulated wall clock against the monotonic one; without effect on the system's clock.
    pub fn jump(&self, by: TimeDelta) {
        if let WallClock::Simulated { offset_ms, .. } = &self.wall {
            offset_ms.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_moves_the_wall_alone() {
        let clock = Clock::simulated(DateTime::UNIX_EPOCH);
        let other = clock.clone();
        clock.jump(TimeDelta::hours(3));
        let now = other.now();
        assert!(now.wall >= DateTime::UNIX_EPOCH + TimeDelta::hours(3));
        assert!(now.mono < Duration::from_secs(60));
    }
}
