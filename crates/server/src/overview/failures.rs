//! The list of failures: those that events carried and those that stand in the bot's state alone, newest first.
//!
//! A bot with an event stream tells of each failure as an event, of whatever kind, and lists the newest in its state
//! again; one without has the list alone. Keeps from its users how the two are told apart and merged into pages. The
//! list of the state is the last report's: what it no longer holds, and no event told, is gone.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::events::{Event, Events};
use botops_contract::SemanticError;
use botops_core::error::Error;

/// The newest failures of the journal among which those of the state are looked for: a bot lists at most 200.
const LOOKED_THROUGH: usize = 2_000;

/// A cursor holds a number of the journal and, above this bit, how many failures of the state came before. A million
/// million events fit below it, and the whole stays an integer that JavaScript can hold.
const STATE_BITS: u32 = 40;

/// One failure of a page.
#[derive(Debug, Clone)]
pub(super) enum ListedFailure {
    /// An event carried it.
    Told(Arc<Event>),
    /// It stands in the bot's state, and no event told of it.
    Reported(SemanticError),
}

/// A page of failures, newest first.
#[derive(Debug)]
pub(super) struct FailurePage {
    /// The failures.
    pub items: Vec<ListedFailure>,
    /// The cursor of the next older page; `None` at the end.
    pub next: Option<u64>,
    /// How many older ones there are beyond this page; those of the journal are counted up to 100.
    pub omitted: usize,
    /// The newest number of the journal.
    pub latest: u64,
}

/// The page after `cursor` (without it: the first).
pub(super) async fn page(
    events: &Events,
    in_state: &[SemanticError],
    cursor: Option<u64>,
    limit: usize,
) -> Result<FailurePage, Error> {
    let (before, skipped) = cursor.map_or((None, 0), split);
    let mut reported = Vec::new();
    if !in_state.is_empty() {
        let told = events.failures(None, LOOKED_THROUGH).await?;
        let told = told.items.iter().filter_map(|event| event.error.as_ref());
        reported = reported_only(in_state, told).into_iter().skip(skipped).cloned().collect();
    }
    let journal = events.failures(before, limit).await?;
    let mut told = journal.items.iter().peekable();
    let mut rest = reported.iter().peekable();
    let mut items = Vec::new();
    let (mut last_seq, mut taken) = (before, skipped);
    while items.len() < limit {
        let is_reported = match (rest.peek(), told.peek()) {
            (None, None) => break,
            (Some(error), Some(event)) => error.timestamp >= happened(event),
            (error, _) => error.is_some(),
        };
        if is_reported {
            taken += 1;
            items.extend(rest.next().cloned().map(ListedFailure::Reported));
        } else if let Some(event) = told.next() {
            last_seq = Some(event.seq);
            items.push(ListedFailure::Told(event.clone()));
        }
    }
    let omitted = journal.omitted + told.count() + rest.count();
    let next = (omitted > 0).then(|| join(last_seq, taken));
    Ok(FailurePage { items, next, omitted, latest: journal.latest })
}

/// The failures of a state that no event told of, newest first. Two are the same when code and time are: the words
/// may differ. Where several of one code came in one moment, as many are left as were not told.
pub(super) fn reported_only<'a>(
    in_state: &'a [SemanticError],
    told: impl Iterator<Item = &'a SemanticError>,
) -> Vec<&'a SemanticError> {
    let mut messages_told: HashMap<(&str, DateTime<Utc>), Vec<&str>> = HashMap::new();
    for error in told {
        messages_told.entry((&error.error_code, error.timestamp)).or_default().push(&error.message);
    }
    let mut take = |error: &'a SemanticError, exactly: bool| {
        let messages = messages_told.get_mut(&(error.error_code.as_str(), error.timestamp));
        let Some(messages) = messages else { return false };
        let place = messages.iter().position(|message| !exactly || *message == error.message);
        place.is_some_and(|place| {
            messages.swap_remove(place);
            true
        })
    };
    // The same words first: they say which of several it is.
    let mut left: Vec<&'a SemanticError> = in_state.iter().filter(|error| !take(error, true)).collect();
    left.retain(|error| !take(error, false));
    left.sort_by_key(|error| Reverse(error.timestamp));
    left
}

fn happened(event: &Event) -> DateTime<Utc> {
    event.error.as_ref().map_or(event.at, |error| error.timestamp)
}

fn split(cursor: u64) -> (Option<u64>, usize) {
    let seq = cursor & ((1 << STATE_BITS) - 1);
    let skipped = usize::try_from(cursor >> STATE_BITS).unwrap_or(usize::MAX);
    // No event has the number 0: with some of the state before it, it is the beginning of the journal's part.
    (Some(seq).filter(|seq| *seq > 0 || skipped == 0), skipped)
}

fn join(seq: Option<u64>, skipped: usize) -> u64 {
    seq.unwrap_or(0) | (u64::try_from(skipped).unwrap_or(u64::MAX) << STATE_BITS)
}
