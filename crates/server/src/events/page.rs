//! Which events a reader wants, and the pages it gets them in.

use std::sync::Arc;

use super::model::{Event, kind_name};
use botops_contract::EventKind;

/// Which events a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventFilter {
    All,
    Kind(EventKind),
    /// Events of any kind that carry a failure which no event carried before.
    Failures,
}

impl EventFilter {
    pub(super) fn of(kind: Option<EventKind>) -> Self {
        kind.map_or(Self::All, Self::Kind)
    }

    pub(super) fn includes(self, event: &Event) -> bool {
        match self {
            Self::All => true,
            Self::Kind(kind) => event.kind == kind,
            Self::Failures => event.error.is_some() && event.repeats.is_none(),
        }
    }

    /// The SQL condition. Each filter has its own, so that rare events are found through their index.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::All => "?2 = ''",
            Self::Kind(_) => "kind = ?2",
            // Must repeat the condition of the partial index, or SQLite does not use it.
            Self::Failures => {
                "?2 = '' AND CASE WHEN json_valid(body) THEN json_type(body, '$.error') END = 'object'
                 AND CASE WHEN json_valid(body) THEN json_type(body, '$.repeats') END IS NULL"
            }
        }
    }

    pub(super) fn kind_name(self) -> String {
        if let Self::Kind(kind) = self { kind_name(kind) } else { String::new() }
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
