//! The newest failures and the count of those of the last hour, for the state.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use botops_contract::{SemanticError, Severity};

/// Failures that the state lists.
const KEPT_ERRORS: usize = 50;
/// The highest count of the last hour, which bounds the memory.
const COUNTED_TIMES: usize = 20_000;

/// The newest failures, and the times of those of the last hour.
#[derive(Debug, Default)]
pub(crate) struct RecentErrors {
    newest_first: VecDeque<SemanticError>,
    last_hour: VecDeque<(DateTime<Utc>, Severity)>,
}

impl RecentErrors {
    pub(crate) fn add(&mut self, error: SemanticError) {
        self.last_hour.push_back((Utc::now(), error.severity));
        self.newest_first.push_front(error);
        self.newest_first.truncate(KEPT_ERRORS);
    }

    /// Drops times older than an hour; the list of failures stays.
    pub(crate) fn prune(&mut self, now: DateTime<Utc>) {
        let hour_ago = now - TimeDelta::hours(1);
        while self.last_hour.len() > COUNTED_TIMES
            || self.last_hour.front().is_some_and(|(at, _)| *at < hour_ago)
        {
            self.last_hour.pop_front();
        }
    }

    pub(crate) fn newest(&self) -> Vec<SemanticError> {
        self.newest_first.iter().cloned().collect()
    }

    /// Failures of the last hour, as of the last [`RecentErrors::prune`].
    pub(crate) fn count_last_hour(&self) -> u32 {
        u32::try_from(self.last_hour.len()).unwrap_or(u32::MAX)
    }

    /// The highest severity of the last hour; `None` without a failure.
    pub(crate) fn worst_last_hour(&self) -> Option<Severity> {
        self.last_hour.iter().map(|(_, severity)| *severity).max()
    }
}
