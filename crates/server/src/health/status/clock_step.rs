//! Steps of the wall clock that were seen while botops ran.

use botops_core::durable_deadline::DurableDeadline;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use std::time::Duration;

use crate::health::changes::HealthRow;
use crate::health::model::ClockReading;
use crate::health::units::{seconds, time};

/// Milliseconds for which a step is shown: a day, so that whoever looks once a day sees it.
const SHOWN: i64 = 86_400_000;

const SHOWN_TIME: Duration = Duration::from_millis(SHOWN.unsigned_abs());

/// The kind of its row in the store.
pub(crate) const STORED_AS: &str = "clock_step";

/// The steps of the last day, the newest of them with its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockStep {
    jump: i64,
    total: i64,
    steps: u32,
    seen: ClockReading,
}

/// The same as it is stored, for the next start.
#[derive(Serialize, Deserialize)]
struct StoredStep {
    jump_ms: i64,
    total_ms: i64,
    steps: u32,
    /// Until when it is shown, whatever is done to the wall clock.
    shown_until: DurableDeadline,
}

impl ClockStep {
    /// A step of this size, after what is shown of earlier ones.
    pub(crate) fn after(earlier: Option<Self>, jump: i64, now: ClockReading) -> Self {
        let earlier = earlier.filter(|step| step.is_shown(now));
        let (total, steps) = earlier.map_or((0, 0), |step| (step.total, step.steps));
        Self { jump, total: total.saturating_add(jump), steps: steps.saturating_add(1), seen: now }
    }

    /// The row that the next start of botops takes it from.
    pub(crate) fn row(self) -> HealthRow {
        let stored = StoredStep {
            jump_ms: self.jump,
            total_ms: self.total,
            steps: self.steps,
            shown_until: DurableDeadline::after(SHOWN_TIME),
        };
        HealthRow::Thing {
            kind: STORED_AS,
            id: "newest".to_owned(),
            body: serde_json::to_string(&stored).ok(),
        }
    }

    /// The steps that an earlier run saw, as far as they are shown still; after a reboot the wall clock says how long ago that
    /// was, and where it went back since, their day begins anew.
    pub(crate) fn restore(body: &str, now: ClockReading) -> Option<Self> {
        let stored: StoredStep = serde_json::from_str(body).ok()?;
        let left = i64::try_from(stored.shown_until.left_at_most().as_millis()).ok()?;
        let mono = now.mono.saturating_sub(SHOWN.saturating_sub(left));
        let seen = ClockReading { mono, wall: mono.saturating_add(now.offset()) };
        let step = Self { jump: stored.jump_ms, total: stored.total_ms, steps: stored.steps, seen };
        step.is_shown(now).then_some(step)
    }

    fn is_shown(self, now: ClockReading) -> bool {
        now.mono.saturating_sub(self.seen.mono) < SHOWN
    }

    /// What is shown of it; `None` once its time is over.
    pub(crate) fn view(self, now: ClockReading) -> Option<ClockStepView> {
        // By the clock as it goes now: a later step of less than an event moves both.
        let at = self.seen.mono.saturating_add(now.offset());
        let set = if self.jump < 0 { "back" } else { "ahead" };
        let size = seconds(self.jump.saturating_abs());
        let message = format!(
            "the wall clock was set {set} by {size:.1} s while botops ran: times of before and after it do not compare; \
             docs/running.md says what goes by which clock"
        );
        self.is_shown(now).then(|| ClockStepView {
            jump_ms: self.jump,
            total_ms: self.total,
            steps: self.steps,
            at: time(at),
            shown_until: time(at.saturating_add(SHOWN)),
            message,
        })
    }
}

/// A step of the wall clock that was seen while botops ran. It is shown for a day, also by a later start of botops.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ClockStepView {
    /// By how many milliseconds the newest step set the clock; negative for a step back.
    pub(crate) jump_ms: i64,
    /// What the steps that are shown add up to: near 0 when the clock was set back to what it was.
    pub(crate) total_ms: i64,
    /// How many steps are shown.
    pub(crate) steps: u32,
    /// When the newest was seen, by the clock as it goes since.
    pub(crate) at: DateTime<Utc>,
    /// Until when this is shown.
    pub(crate) shown_until: DateTime<Utc>,
    /// What it means, as a sentence.
    pub(crate) message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up_and_are_shown_for_a_day_by_a_clock_that_nobody_sets() {
        let at = |mono: i64, off: i64| ClockReading { mono, wall: 1_000_000_000_000 + mono + off };
        let forth = ClockStep::after(None, 7_000, at(10, 7_000));
        let view = forth.view(at(20, 7_000)).unwrap();
        assert_eq!((view.jump_ms, view.total_ms, view.steps), (7_000, 7_000, 1));
        assert_eq!((view.shown_until - view.at).num_hours(), 24);
        let back = ClockStep::after(Some(forth), -7_000, at(30, 0));
        let view = back.view(at(40, 0)).unwrap();
        assert_eq!((view.jump_ms, view.total_ms, view.steps), (-7_000, 0, 2));
        assert!(view.message.contains("set back by 7.0 s"), "{}", view.message);
        assert_eq!(back.view(at(30 + SHOWN, 99_000_000)), None);
        let later = ClockStep::after(Some(back), 5_000, at(30 + SHOWN, 5_000));
        assert_eq!(later.view(at(30 + SHOWN, 5_000)).unwrap().steps, 1);
    }

    #[test]
    fn a_step_of_an_earlier_run_is_shown_for_what_is_left_of_its_day() {
        let now = ClockReading { mono: SHOWN + 500, wall: Utc::now().timestamp_millis() };
        let step = ClockStep::after(None, -7_000, now);
        let HealthRow::Thing { body: Some(body), .. } = step.row() else { panic!("it is stored") };
        let restored = ClockStep::restore(&body, now).unwrap();
        let view = restored.view(now).unwrap();
        assert_eq!((view.jump_ms, view.total_ms, view.steps), (-7_000, -7_000, 1));
        assert!(((view.shown_until - Utc::now()).num_seconds() - SHOWN / 1_000).abs() < 60, "{view:?}");
        // Stored by an earlier boot of the machine, an hour before its day is over, and after that.
        for (left_ms, is_shown) in [(3_600_000, true), (-1, false)] {
            let until = DurableDeadline::by_wall_clock(now.wall + left_ms, now.wall + left_ms - SHOWN);
            let stored = StoredStep { jump_ms: 1, total_ms: 1, steps: 1, shown_until: until };
            let restored = ClockStep::restore(&serde_json::to_string(&stored).unwrap(), now);
            assert_eq!(restored.is_some(), is_shown, "{left_ms}");
        }
        assert_eq!(ClockStep::restore("{}", now), None);
    }
}
