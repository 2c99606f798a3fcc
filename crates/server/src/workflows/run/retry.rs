//! How attempts follow each other: which failures are tried again, how often, and after what wait.

use crate::operations_log::now_ms;
use crate::workflows::actions::{ActionRepeat, StepAction, StepFailureClass};
use crate::workflows::definition::RetryRule;

/// How attempts follow each other.
#[derive(Debug, Clone)]
pub(crate) struct RetrySchedule {
    max: u32,
    base_ms: u64,
    factor: f64,
    cap_ms: u64,
    on: Vec<StepFailureClass>,
}

impl RetrySchedule {
    pub(crate) fn new(action: StepAction, retry: Option<&RetryRule>, is_undo: bool) -> Self {
        use StepFailureClass::{Busy, Io, Timeout, Transport};
        if let Some(retry) = retry {
            let (max, base_ms, factor, cap_ms) = (retry.max, retry.base_ms, retry.factor, retry.cap_ms);
            return Self { max, base_ms, factor, cap_ms, on: retry.on.clone() };
        }
        // Repeating is safe for every action there is: pure, keyed, or looking first.
        let max = match (is_undo, action.spec().repeat) {
            (true, _) => 6,
            (false, ActionRepeat::CompareAndSet) => 2,
            (false, ActionRepeat::Pure | ActionRepeat::Keyed) => 4,
        };
        Self { max, base_ms: 200, factor: 2.0, cap_ms: 3_000, on: vec![Transport, Timeout, Busy, Io] }
    }

    /// When to try again after so many failures, with full jitter; `None` when this was the last try.
    pub(crate) fn next_at_ms(&self, failures: u32, class: StepFailureClass) -> Option<i64> {
        if failures > self.max || !self.on.contains(&class) {
            return None;
        }
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX).min(30);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a wait")]
        let bound = (self.base_ms as f64 * self.factor.powi(exponent)).min(self.cap_ms as f64);
        #[expect(clippy::cast_possible_truncation, reason = "bounded by cap_ms")]
        Some(now_ms() + (bound * random_share()) as i64)
    }
}

/// Evenly from 0 to 1.
fn random_share() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness, no jitter.
    if getrandom::fill(&mut bytes).is_err() {
        return 1.0;
    }
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
