//! Counts the orders that were refused in the last hour.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// The highest count, which bounds the memory.
const COUNTED_TIMES: usize = 20_000;

/// The times of refused orders, oldest first.
#[derive(Debug, Default)]
pub(super) struct OrderRejects {
    times: VecDeque<DateTime<Utc>>,
}

impl OrderRejects {
    pub(crate) fn add(&mut self, at: DateTime<Utc>) {
        self.times.push_back(at);
    }

    pub(crate) fn prune(&mut self, now: DateTime<Utc>) {
        let hour_ago = now - TimeDelta::hours(1);
        while self.times.len() > COUNTED_TIMES || self.times.front().is_some_and(|at| *at < hour_ago) {
            self.times.pop_front();
        }
    }

    /// Refused orders of the last hour, as of the last [`OrderRejects::prune`].
    pub(crate) fn count_last_hour(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap_or(u32::MAX)
    }
}
