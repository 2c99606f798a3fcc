//! The failures of the last while, for the state and its counts.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use botops_contract::{SemanticError, Severity};

/// Failures kept for the state.
const KEPT_ERRORS: usize = 50;
/// Times kept for the counts of the last hour; more than these are not counted.
const COUNTED_TIMES: usize = 20_000;

/// The newest failures, and when the ones of the last hour happened.
#[derive(Debug, Default)]
pub(crate) struct RecentErrors {
    newest_first: VecDeque<SemanticError>,
    last_hour: VecDeque<(DateTime<Utc>, Severity)>,
}

impl RecentErrors {
    /// Keeps a failure that happened now.
    pub(crate) fn add(&mut self, error: SemanticError) {
        self.last_hour.push_back((Utc::now(), error.severity));
        self.newest_first.push_front(error);
        self.newest_first.truncate(KEPT_ERRORS);
    }

    /// Forgets what is older than an hour.
    pub(crate) fn prune(&mut self, now: DateTime<Utc>) {
        let hour_ago = now - TimeDelta::hours(1);
        while self.last_hour.len() > COUNTED_TIMES
            || self.last_hour.front().is_some_and(|(at, _)| *at < hour_ago)
        {
            self.last_hour.pop_front();
        }
    }

    /// The newest failures, newest first.
    pub(crate) fn newest(&self) -> Vec<SemanticError> {
        self.newest_first.iter().cloned().collect()
    }

    /// How many there were in the last hour.
    pub(crate) fn count_last_hour(&self) -> u32 {
        u32::try_from(self.last_hour.len()).unwrap_or(u32::MAX)
    }

    /// How bad the worst one of the last hour was.
    pub(crate) fn worst_last_hour(&self) -> Option<Severity> {
        self.last_hour.iter().map(|(_, severity)| *severity).max()
    }
}
