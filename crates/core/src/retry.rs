//! Waits between attempts: exponential backoff up to a longest wait, with jitter so that many clients of one peer do
//! not retry at the same moment.

use std::time::Duration;

/// How the waits grow from failure to failure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The factor by which each further failure lengthens the wait.
    pub factor: f64,
    /// The wait beyond which they do not grow.
    pub longest: Duration,
}

/// How much of a wait is random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// All of it: the wait is between zero and the whole.
    Full,
    /// The second half: the wait is between half and the whole.
    Half,
}

impl Backoff {
    /// The wait after this many failures in a row, counted from 1.
    ///
    /// `share`, from 0 to 1, is the random number that the jitter uses: see [`random_share`].
    pub fn wait(&self, failures: u32, jitter: Jitter, share: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX).min(60);
        let longest = self.longest.as_secs_f64();
        let whole = (self.first.as_secs_f64() * self.factor.powi(exponent)).min(longest);
        let share = share.clamp(0.0, 1.0);
        let seconds = match jitter {
            Jitter::Full => whole * share,
            Jitter::Half => whole / 2.0 + whole / 2.0 * share,
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(self.longest)
    }
}

/// A random number, uniform from 0 to 1. Is 1, the longest wait, when the system has no randomness.
pub fn random_share() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(200), factor: 2.0, longest: Duration::from_secs(3) };

    #[track_caller]
    fn check(failures: u32, jitter: Jitter, share: f64, milliseconds: u64) {
        let wait = BACKOFF.wait(failures, jitter, share).as_secs_f64() * 1_000.0;
        assert!((wait - f64::from(u32::try_from(milliseconds).unwrap())).abs() < 0.001, "{wait}");
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        check(1, Jitter::Full, 1.0, 200);
        check(2, Jitter::Full, 1.0, 400);
        check(5, Jitter::Full, 1.0, 3_000);
        check(u32::MAX, Jitter::Full, 1.0, 3_000);
    }

    #[test]
    fn chance_takes_all_of_a_wait_or_half_of_it() {
        check(2, Jitter::Full, 0.0, 0);
        check(2, Jitter::Half, 0.0, 200);
        check(2, Jitter::Half, 0.5, 300);
        check(2, Jitter::Half, 7.0, 400);
    }
}
