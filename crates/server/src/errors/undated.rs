//! When botops first saw a failure of the bot's state that has no time of its own.
//!
//! Such a failure would count in no period and come last in every list. It is taken as of the moment in which it was
//! first seen, and the answers say so. The moments are of this run of botops: after a start they begin anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use botops_contract::SemanticError;

/// Code and message, which are all that tells such failures apart, with one moment for each that is listed.
type FirstSightings = HashMap<(String, String), Vec<DateTime<Utc>>>;

/// Remembers when failures without a time were first seen; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct UndatedErrors {
    first_seen: Arc<Mutex<FirstSightings>>,
}

/// A failure of the bot's state, with when botops first saw it where the bot gives no time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReportedError<'a> {
    pub(crate) error: &'a SemanticError,
    /// `None` for a failure with a time of its own.
    pub(crate) first_seen_at: Option<DateTime<Utc>>,
}

impl ReportedError<'_> {
    /// When it happened, or was first seen.
    pub(crate) fn at(&self) -> Option<DateTime<Utc>> {
        self.error.timestamp.or(self.first_seen_at)
    }
}

impl UndatedErrors {
    /// The failures of the bot's present list, each with when it was first seen; `now` for those that are new.
    ///
    /// A failure that the list no longer holds is forgotten.
    pub(crate) fn date<'a>(&self, listed: &'a [SemanticError], now: DateTime<Utc>) -> Vec<ReportedError<'a>> {
        let mut first_seen = self.first_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if first_seen.is_empty() && !listed.iter().any(|error| error.timestamp.is_none()) {
            return listed.iter().map(|error| ReportedError { error, first_seen_at: None }).collect();
        }
        let mut dates: FirstSightings = HashMap::new();
        // The list is newest first: of several alike, the oldest is met first from its end.
        let mut reported: Vec<ReportedError<'a>> = listed
            .iter()
            .rev()
            .map(|error| {
                if error.timestamp.is_some() {
                    return ReportedError { error, first_seen_at: None };
                }
                let key = (error.error_code.clone(), error.message.clone());
                let before = first_seen.get(&key);
                let alike = dates.entry(key).or_default();
                let at = before.and_then(|before| before.get(alike.len())).copied().unwrap_or(now);
                alike.push(at);
                ReportedError { error, first_seen_at: Some(at) }
            })
            .collect();
        reported.reverse();
        *first_seen = dates;
        reported
    }
}
