//! Failures of the journal and of the bot's state, merged into pages.
//!
//! A bot with an event stream reports each failure as an event, of whatever kind, and lists the newest in its state
//! again; one without has the list alone. The list of the state is the last report's: a failure that it no longer
//! holds, and that no event carried, is gone.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::undated::{ReportedError, UndatedErrors};
use crate::bots::Bots;
use crate::events::{Event, Events};
use botops_contract::SemanticError;
use botops_core::error::Error;

/// The newest failures of the journal among which those of the state are looked for: a bot lists at most 200.
const COMPARED: usize = 2_000;

/// A cursor holds a number of the journal and, above this bit, how many failures of the state came before. A million
/// million events fit below it, and the whole stays an integer that JavaScript can hold.
const STATE_BITS: u32 = 40;

/// One failure of a page, with where it was found.
#[derive(Debug, Clone)]
pub(super) enum ListedError {
    /// An event carried it.
    Told(Arc<Event>),
    /// It stands in the bot's state, and no event carried it. With when botops first saw it, where it has no time.
    Reported(Box<SemanticError>, Option<DateTime<Utc>>),
}

/// A page of failures, newest first.
#[derive(Debug)]
pub(super) struct ErrorListPage {
    /// At most `limit` of them, newest first.
    pub items: Vec<ListedError>,
    /// The cursor of the next older page; `None` at the end.
    pub next: Option<u64>,
    /// How many older ones there are beyond this page; those of the journal are counted up to 100.
    pub omitted: usize,
    /// The number of the journal's newest event.
    pub latest: u64,
}

/// The failures of a bot and of botops; cloning is cheap.
#[derive(Debug, Clone)]
pub struct ErrorList {
    bots: Bots,
    events: Events,
    undated: UndatedErrors,
}

impl ErrorList {
    /// Lists the failures that this journal and this bot's state hold.
    pub fn new(bots: Bots, events: Events) -> Self {
        Self { bots, events, undated: UndatedErrors::default() }
    }

    /// When failures without a time of their own were first seen.
    pub(crate) fn undated(&self) -> &UndatedErrors {
        &self.undated
    }

    /// The page after `cursor` (without it: the first).
    pub(super) async fn page(&self, cursor: Option<u64>, limit: usize) -> Result<ErrorListPage, Error> {
        let snapshot = self.bots.snapshot();
        let in_state = snapshot.report.as_deref().map_or(&[][..], |report| report.error_list());
        let in_state = self.undated.date(in_state, Utc::now());
        merge(&self.events, &in_state, cursor, limit).await
    }

    /// Why failures of the bot may be missing altogether; `None` when the bot reports them in some way.
    pub(super) fn why_unknown(&self) -> Option<String> {
        let snapshot = self.bots.snapshot();
        let Some(hello) = snapshot.hello.as_deref() else {
            return Some("the bot was never seen, so nothing is known of its failures".to_owned());
        };
        if snapshot.report.is_none() && !hello.offers("events") {
            return Some("the bot's state was not read yet, so its failures are not known".to_owned());
        }
        let lists = snapshot.report.as_ref().is_some_and(|report| report.recent_errors.is_some());
        let is_silent = !hello.offers("events") && !lists;
        is_silent.then(|| {
            "the bot does not report its failures (neither capability `events` nor `recent_errors`)"
                .to_owned()
        })
    }

    /// The bot's name as a source of failures: `bot:<id>`.
    pub(super) fn bot_source(&self) -> String {
        format!("bot:{}", self.bots.id())
    }
}

async fn merge(
    events: &Events,
    in_state: &[ReportedError<'_>],
    cursor: Option<u64>,
    limit: usize,
) -> Result<ErrorListPage, Error> {
    let (before, skipped) = cursor.map_or((None, 0), split_cursor);
    let mut reported = Vec::new();
    if !in_state.is_empty() {
        let told = events.failures(None, COMPARED).await?;
        let told = told.items.iter().filter_map(|event| event.error.as_ref());
        reported = reported_only(in_state, told).into_iter().skip(skipped).collect();
    }
    let journal = events.failures(before, limit).await?;
    let mut told = journal.items.iter().peekable();
    let mut rest = reported.iter().peekable();
    let mut items = Vec::new();
    let (mut last_seq, mut taken) = (before, skipped);
    while items.len() < limit {
        let is_reported = match (rest.peek(), told.peek()) {
            (None, None) => break,
            (Some(error), Some(event)) => error.at().is_none_or(|at| at >= failed_at(event)),
            (error, _) => error.is_some(),
        };
        if is_reported {
            taken += 1;
            let item = |one: &ReportedError<'_>| {
                ListedError::Reported(Box::new(one.error.clone()), one.first_seen_at)
            };
            items.extend(rest.next().map(item));
        } else if let Some(event) = told.next() {
            last_seq = Some(event.seq);
            items.push(ListedError::Told(event.clone()));
        }
    }
    let omitted = journal.omitted + told.count() + rest.count();
    let next = (omitted > 0).then(|| join_cursor(last_seq, taken));
    Ok(ErrorListPage { items, next, omitted, latest: journal.latest })
}

/// The failures of a state that no event carried, newest first. Two are the same when code and time are.
///
/// Their texts may differ. Where several of one code came in one moment, as many are left as no event carried.
pub(crate) fn reported_only<'a, 'b>(
    in_state: &[ReportedError<'a>],
    told: impl Iterator<Item = &'b SemanticError>,
) -> Vec<ReportedError<'a>> {
    let mut messages_told = MessagesTold::<'b>::new();
    for error in told {
        let of_code = messages_told.entry(&error.error_code).or_default();
        of_code.entry(error.timestamp).or_default().push(&error.message);
    }
    // Equal texts are matched first: they say which of several it is.
    let mut left: Vec<ReportedError<'a>> = in_state.to_vec();
    left.retain(|one| !take_told(&mut messages_told, one.error, true));
    left.retain(|one| !take_told(&mut messages_told, one.error, false));
    left.sort_by_key(|one| Reverse(one.at()));
    left
}

/// The messages of failures that events carried, by code and time.
type MessagesTold<'a> = HashMap<&'a str, HashMap<Option<DateTime<Utc>>, Vec<&'a str>>>;

/// Takes out the message of an event that carried this failure, if there is one.
fn take_told(told: &mut MessagesTold<'_>, error: &SemanticError, exactly: bool) -> bool {
    let of_code = told.get_mut(error.error_code.as_str());
    let Some(messages) = of_code.and_then(|of_code| of_code.get_mut(&error.timestamp)) else { return false };
    let index = messages.iter().position(|message| !exactly || *message == error.message);
    index.is_some_and(|index| {
        messages.swap_remove(index);
        true
    })
}

fn failed_at(event: &Event) -> DateTime<Utc> {
    event.error.as_ref().and_then(|error| error.timestamp).unwrap_or(event.at)
}

fn split_cursor(cursor: u64) -> (Option<u64>, usize) {
    let seq = cursor & ((1 << STATE_BITS) - 1);
    let skipped = usize::try_from(cursor >> STATE_BITS).unwrap_or(usize::MAX);
    // No event has the number 0: with some of the state before it, it is the beginning of the journal's part.
    (Some(seq).filter(|seq| *seq > 0 || skipped == 0), skipped)
}

fn join_cursor(seq: Option<u64>, skipped: usize) -> u64 {
    seq.unwrap_or(0) | (u64::try_from(skipped).unwrap_or(u64::MAX) << STATE_BITS)
}
