//! When botops first saw a failure of the bot's state that has no time of its own.
//!
//! Such a failure would count in no period and come last in every list. It is taken as of the moment in which it was
//! first seen, and the answers say so. The moments are of this run of botops: after a start they begin anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use botops_contract::SemanticError;

/// Code and message, which are all that tells such failures apart, with one sighting for each that is listed.
type FirstSightings = HashMap<(String, String), Vec<FirstSighting>>;

/// When a failure without a time was first seen.
#[derive(Debug, Clone, Copy)]
struct FirstSighting {
    at: DateTime<Utc>,
    /// When the bot's list was last read without it; `None` when no list was known before.
    not_before: Option<DateTime<Utc>>,
}

/// Remembers when failures without a time were first seen; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct UndatedErrors {
    log: Arc<Mutex<SightingLog>>,
}

#[derive(Debug, Default)]
struct SightingLog {
    first_seen: FirstSightings,
    /// When the newest list was read from the bot.
    read_at: Option<DateTime<Utc>>,
}

/// A failure of the bot's state, with when botops first saw it where the bot gives no time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReportedError<'a> {
    pub(crate) error: &'a SemanticError,
    /// `None` for a failure with a time of its own.
    pub(crate) first_seen_at: Option<DateTime<Utc>>,
    /// When the bot did not list it yet; `None` where that is not known, and for a failure with a time of its own.
    pub(crate) not_before: Option<DateTime<Utc>>,
    /// Whether botops found it: its words are not the bot's.
    pub(crate) is_own: bool,
}

impl<'a> ReportedError<'a> {
    /// A failure of which nothing is known but what it says itself, and when it was told.
    pub(crate) fn told_at(error: &'a SemanticError, at: DateTime<Utc>) -> Self {
        let first_seen_at = error.timestamp.is_none().then_some(at);
        Self { error, first_seen_at, not_before: None, is_own: false }
    }

    /// When it happened, or was first seen.
    pub(crate) fn at(&self) -> Option<DateTime<Utc>> {
        self.error.timestamp.or(self.first_seen_at)
    }
}

impl UndatedErrors {
    /// The failures of the bot's present list, each with when it was first seen; `now` for those that are new. `read_at`
    /// is when the list was read from the bot; `None` when there is none.
    ///
    /// A failure that the list no longer holds is forgotten.
    pub(crate) fn date<'a>(
        &self,
        listed: &'a [SemanticError],
        read_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Vec<ReportedError<'a>> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let not_before = log.read_at;
        log.read_at = read_at.or(not_before);
        let dated = |error| ReportedError { error, first_seen_at: None, not_before: None, is_own: false };
        if log.first_seen.is_empty() && !listed.iter().any(|error| error.timestamp.is_none()) {
            return listed.iter().map(dated).collect();
        }
        let mut dates: FirstSightings = HashMap::new();
        // The list is newest first: of several alike, the oldest is met first from its end.
        let mut reported: Vec<ReportedError<'a>> = listed
            .iter()
            .rev()
            .map(|error| {
                if error.timestamp.is_some() {
                    return dated(error);
                }
                let key = (error.error_code.clone(), error.message.clone());
                let before = log.first_seen.get(&key);
                let alike = dates.entry(key).or_default();
                let before = before.and_then(|before| before.get(alike.len())).copied();
                let FirstSighting { at, not_before } =
                    before.unwrap_or(FirstSighting { at: now, not_before });
                alike.push(FirstSighting { at, not_before });
                ReportedError { error, first_seen_at: Some(at), not_before, is_own: false }
            })
            .collect();
        reported.reverse();
        log.first_seen = dates;
        reported
    }
}
