//! Which events a reader wants, and the pages it gets them in.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::model::Event;
use botops_contract::EventKind;

/// Which events a reader wants: those for which everything named here holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only these kinds; all of them when empty.
    pub kinds: Vec<EventKind>,
    /// Only events about this component of the health monitoring, `data.component_id`.
    pub component: Option<String>,
    /// Only events of this workflow run, `data.run_id`.
    pub run: Option<String>,
    /// Only events about this symbol, `data.symbol` or the failure's `context.symbol`.
    pub symbol: Option<String>,
    /// Only events that happened at this time or later, by the clock of their source.
    pub since: Option<DateTime<Utc>>,
    /// Only events of any kind that carry a failure which no event carried before.
    pub(super) only_failures: bool,
}

impl EventFilter {
    /// Only events of this kind.
    pub fn kind(kind: EventKind) -> Self {
        Self { kinds: vec![kind], ..Self::default() }
    }

    /// Only events of these kinds.
    pub fn kinds(kinds: Vec<EventKind>) -> Self {
        Self { kinds, ..Self::default() }
    }

    pub(super) fn failures() -> Self {
        Self { only_failures: true, ..Self::default() }
    }

    pub(super) fn includes(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.since.is_none_or(|since| event.at >= since)
            && self.component.as_ref().is_none_or(|wanted| event.component() == Some(wanted))
            && self.run.as_ref().is_none_or(|wanted| event.run() == Some(wanted))
            && self.symbol.as_ref().is_none_or(|wanted| event.symbol() == Some(wanted))
            && (!self.only_failures || (event.error.is_some() && event.repeats.is_none()))
    }
}

/// A page of the journal, oldest first.
#[derive(Debug, Clone)]
pub struct JournalPage {
    /// Events with a number above `after`, oldest first.
    pub items: Vec<Arc<Event>>,
    /// The newest number given out so far.
    pub latest: u64,
    /// The cursor of the next page: the last item's number, or the number up to which nothing matched.
    pub next: u64,
    /// True when more events match beyond this page.
    pub more: bool,
}

/// A page of the journal, newest first.
#[derive(Debug, Clone)]
pub struct JournalPageBackwards {
    /// Events, newest first.
    pub items: Vec<Arc<Event>>,
    /// The cursor of the next older page; `None` at the end.
    pub next: Option<u64>,
    /// How many older events match beyond this page, counted up to 100.
    pub omitted: usize,
    /// The newest number given out so far.
    pub latest: u64,
}

impl JournalPage {
    /// Makes a page of these events; the caller reads one more than `limit`, which shows whether there is a next
    /// page.
    pub(super) fn of(mut items: Vec<Arc<Event>>, limit: usize, latest: u64) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map_or(latest, |event| event.seq) } else { latest };
        Self { items, latest, next, more }
    }
}
