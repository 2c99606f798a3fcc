//! How long a target is left alone that asks to wait, or that limits requests without saying for how long.

use serde::{Deserialize, Serialize};

use crate::health::checks::NextRequest;
use crate::health::limit_rules::LimitRuleView;
use crate::health::model::ClockReading;

/// The longest wait that a target is granted, in milliseconds: beyond a day nobody would know how it is.
const LONGEST_ASKED_WAIT: i64 = 86_400_000;

/// The longest wait that botops chooses itself, in milliseconds, where the interval is not longer.
const LONGEST_BACK_OFF: i64 = 900_000;

/// The limits of this file.
pub(crate) fn wait_rules() -> Vec<LimitRuleView> {
    vec![
        LimitRuleView::fixed_ms(
            "longest_asked_wait",
            LONGEST_ASKED_WAIT,
            "how long a Retry-After is followed at most",
        ),
        LimitRuleView::fixed_ms(
            "longest_back_off",
            LONGEST_BACK_OFF,
            "how long a 429 or 503 without Retry-After holds a check back at most",
        ),
    ]
}

/// Why a target is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaitCause {
    /// It named a time.
    RetryAfter,
    /// It limits requests and named none.
    BackOff,
}

impl WaitCause {
    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RetryAfter => "retry_after",
            Self::BackOff => "back_off",
        }
    }
}

/// A wait before the next check of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetWait {
    /// No check before this, in monotonic milliseconds.
    pub(crate) until: i64,
    /// How long it is, in milliseconds.
    pub(crate) length: i64,
    pub(crate) cause: WaitCause,
    /// Answers in a row that limited without a time; each doubles the wait.
    in_a_row: u32,
}

impl TargetWait {
    /// The wait that an answer causes; `None` for one that asks for none.
    pub(crate) fn after(
        next: NextRequest,
        before: Option<Self>,
        interval_ms: i64,
        now: ClockReading,
    ) -> Option<Self> {
        let in_a_row = before.map_or(0, |before| before.in_a_row);
        let (length, cause, in_a_row) = match next {
            NextRequest::AsUsual => return None,
            NextRequest::NotBefore(wait) => {
                // Rounded up: a part of a millisecond too early is too early.
                let asked = i64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(i64::MAX);
                (asked.min(LONGEST_ASKED_WAIT), WaitCause::RetryAfter, in_a_row)
            }
            NextRequest::BackOff => {
                let in_a_row = (in_a_row + 1).min(16);
                let longest = LONGEST_BACK_OFF.max(2 * interval_ms);
                (interval_ms.saturating_mul(1 << in_a_row).min(longest), WaitCause::BackOff, in_a_row)
            }
        };
        Some(Self { until: now.mono + length, length, cause, in_a_row })
    }

    /// The wait as another run stored it, whose monotonic clock was `by` milliseconds off; `None` when it is over.
    pub(crate) fn resumed(self, by: i64, now: ClockReading) -> Option<Self> {
        // A wall clock that was set meanwhile makes no wait longer than it was.
        let until = (self.until + by).min(now.mono + self.length);
        (until > now.mono).then_some(Self { until, ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: ClockReading = ClockReading { mono: 1_000, wall: 1_700_000_000_000 };

    #[test]
    fn a_wait_is_the_one_asked_for_and_bounded() {
        let asked = |seconds| {
            let next = NextRequest::NotBefore(Duration::from_secs(seconds));
            TargetWait::after(next, None, 30_000, NOW).unwrap().length
        };
        assert_eq!(asked(5_400), 5_400_000);
        assert_eq!(asked(u64::MAX / 1_000), LONGEST_ASKED_WAIT);
        assert_eq!(TargetWait::after(NextRequest::AsUsual, None, 30_000, NOW), None);
    }

    #[test]
    fn without_a_time_each_wait_is_longer_than_usual_and_bounded() {
        let mut lengths = Vec::new();
        let mut wait = None;
        for _ in 0..8 {
            wait = TargetWait::after(NextRequest::BackOff, wait, 30_000, NOW);
            lengths.push(wait.unwrap().length / 1_000);
        }
        assert_eq!(lengths, [60, 120, 240, 480, 900, 900, 900, 900]);
        let rare = TargetWait::after(NextRequest::BackOff, None, 3_600_000, NOW).unwrap();
        assert_eq!(rare.length, 7_200_000);
    }

    #[test]
    fn a_stored_wait_goes_on_and_never_grows() {
        let wait = TargetWait::after(NextRequest::BackOff, None, 30_000, NOW).unwrap();
        let resumed = wait.resumed(-500, NOW).unwrap();
        assert_eq!(resumed.until, NOW.mono + 59_500);
        assert_eq!(wait.resumed(1_000_000, NOW).unwrap().until, NOW.mono + 60_000);
        assert_eq!(wait.resumed(-60_000, NOW), None);
    }
}
