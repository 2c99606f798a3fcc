//! Retries: after which failures a step is tried again, how often, and after what wait.

use std::time::Duration;

use botops_core::retry::{Backoff, Jitter, random_share};

use crate::workflows::actions::{ActionRepeat, StepAction, StepFailureClass};
use crate::workflows::definition::RetryRule;

/// How often and after what waits an action is tried again.
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
        // A retry is safe for every action: each is pure, has an idempotency key, or checks first.
        let max = match (is_undo, action.spec().repeat) {
            (true, _) => 6,
            (false, ActionRepeat::CompareAndSet) => 2,
            (false, ActionRepeat::Pure | ActionRepeat::Keyed) => 4,
        };
        Self { max, base_ms: 200, factor: 2.0, cap_ms: 3_000, on: vec![Transport, Timeout, Busy, Io] }
    }

    /// How long to wait after this many failures, with full jitter; `None` when there is no further attempt.
    pub(crate) fn next_wait(&self, failures: u32, class: StepFailureClass) -> Option<Duration> {
        if failures > self.max || !self.on.contains(&class) {
            return None;
        }
        let milliseconds = Duration::from_millis;
        let backoff = Backoff {
            first: milliseconds(self.base_ms),
            factor: self.factor,
            longest: milliseconds(self.cap_ms),
        };
        Some(backoff.wait(failures, Jitter::Full, random_share()))
    }
}
