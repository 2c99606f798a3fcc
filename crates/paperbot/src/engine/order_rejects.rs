//! How many orders were refused in the last hour.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// Times kept for the count; more than these are not counted.
const COUNTED_TIMES: usize = 20_000;

/// When orders were refused.
#[derive(Debug, Default)]
pub(super) struct OrderRejects {
    times: VecDeque<DateTime<Utc>>,
}

impl OrderRejects {
    /// Counts a refused order.
    pub(crate) fn add(&mut self, at: DateTime<Utc>) {
        self.times.push_back(at);
    }

    /// Forgets what is older than an hour.
    pub(crate) fn prune(&mut self, now: DateTime<Utc>) {
        let hour_ago = now - TimeDelta::hours(1);
        while self.times.len() > COUNTED_TIMES || self.times.front().is_some_and(|at| *at < hour_ago) {
            self.times.pop_front();
        }
    }

    /// How many there were in the last hour.
    pub(crate) fn count_last_hour(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap_or(u32::MAX)
    }
}
