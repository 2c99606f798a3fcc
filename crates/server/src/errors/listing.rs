//! Failures of the journal and of the bot's state, merged into pages.
//!
//! A bot with an event stream reports each failure as an event, of whatever kind, and lists the newest in its state
//! again; one without has the list alone. The list of the state is the last report's: a failure that it no longer
//! holds, and that no event carried, is gone.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

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

/// A failure happens, is listed and is told at moments that are no further apart than this where nothing stands between: a
/// bot is read once an interval, and its clock may be another machine's.
const ONE_MOMENT: TimeDelta = TimeDelta::seconds(60);

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
        let in_state = self.undated.date(in_state, snapshot.received_at, Utc::now());
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
        reported = reported_only(in_state, &told.items).into_iter().skip(skipped).collect();
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

/// The failures of a state that no event carried, newest first. Two are the same when code and time are; where one of them
/// has no time, when code and words are and their moments allow it.
///
/// Texts of one time may differ. Where several of one code came in one moment, as many are left as no event carried.
pub(crate) fn reported_only<'a>(
    in_state: &[ReportedError<'a>],
    told: &[Arc<Event>],
) -> Vec<ReportedError<'a>> {
    let mut failures_told = FailuresTold::default();
    for event in told {
        let Some(error) = &event.error else { continue };
        let of_code = failures_told.by_code.entry(&error.error_code).or_default();
        let of_time = of_code.entry(error.timestamp).or_default();
        of_time.push(FailureTold { message: &error.message, at: event.at });
    }
    // Equal texts are matched first: they say which of several it is.
    let mut left: Vec<ReportedError<'a>> = in_state.to_vec();
    left.retain(|one| !failures_told.take_of_time(one.error, true));
    left.retain(|one| !failures_told.take_of_time(one.error, false));
    // The newest has the first choice: an event that is told today is not that of the day before.
    left.sort_by_key(|one| Reverse(one.at()));
    left.retain(|one| !failures_told.take_of_words(one));
    left
}

/// What is compared of a failure that an event carried.
#[derive(Debug)]
struct FailureTold<'a> {
    message: &'a str,
    /// When the event happened, or came.
    at: DateTime<Utc>,
}

/// The failures that events carried, by code and time.
#[derive(Debug, Default)]
struct FailuresTold<'a> {
    by_code: HashMap<&'a str, HashMap<Option<DateTime<Utc>>, Vec<FailureTold<'a>>>>,
}

impl FailuresTold<'_> {
    /// Takes out an event that carried a failure of this code and time, if there is one.
    fn take_of_time(&mut self, error: &SemanticError, exactly: bool) -> bool {
        let of_code = self.by_code.get_mut(error.error_code.as_str());
        // What neither side gives is no time that two have in common.
        let Some(time) = error.timestamp else { return false };
        let Some(told) = of_code.and_then(|of_code| of_code.get_mut(&Some(time))) else { return false };
        let index = told.iter().position(|one| !exactly || one.message == error.message);
        index.is_some_and(|index| {
            told.swap_remove(index);
            true
        })
    }

    /// Takes out the event that carried a failure of this code and these words, where a side gives no time; of several the
    /// one that is nearest.
    fn take_of_words(&mut self, one: &ReportedError<'_>) -> bool {
        let Some(of_code) = self.by_code.get_mut(one.error.error_code.as_str()) else { return false };
        let mut nearest: Option<(TimeDelta, Option<DateTime<Utc>>, usize)> = None;
        for (time, told) in of_code.iter() {
            for (index, event) in told.iter().enumerate() {
                if event.message != one.error.message || !may_be_one(one, *time, event.at) {
                    continue;
                }
                let apart = one.at().map_or(TimeDelta::MAX, |at| (at - time.unwrap_or(event.at)).abs());
                if nearest.is_none_or(|(least, ..)| apart < least) {
                    nearest = Some((apart, *time, index));
                }
            }
        }
        let Some((_, time, index)) = nearest else { return false };
        of_code.get_mut(&time).is_some_and(|told| {
            told.swap_remove(index);
            true
        })
    }
}

/// Whether a failure of the state and one that an event carried, of which one at least has no time, can be the same.
fn may_be_one(one: &ReportedError<'_>, told_time: Option<DateTime<Utc>>, event_at: DateTime<Utc>) -> bool {
    let is_listed_since =
        |moment: DateTime<Utc>| one.not_before.is_none_or(|before| moment >= before - ONE_MOMENT);
    match (one.error.timestamp, told_time) {
        (Some(_), Some(_)) => false,
        // It cannot be told before it happened; how much later is open, since events may come late.
        (Some(happened), None) => happened <= event_at + ONE_MOMENT,
        (None, None) => is_listed_since(event_at),
        (None, Some(happened)) => {
            let first_seen = one.first_seen_at.unwrap_or(DateTime::<Utc>::MAX_UTC - ONE_MOMENT);
            is_listed_since(happened) && happened <= first_seen + ONE_MOMENT
        }
    }
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
