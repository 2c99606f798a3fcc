//! The loop that follows the journal, and reading.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::book::IncidentBook;
use super::model::{Incident, NowKnown};
use super::table::{self, IncidentFilter, Position};
use crate::events::{EventFilter, Events};
use crate::store::Store;
use botops_contract::EventKind;
use botops_core::error::{Code, Error};
use botops_core::tasks::{OnFailure, Tasks};

/// How often what is known now is looked at.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// How often the position alone is stored. What was read since an incident changed last is read again by the next start,
/// with the same result: a bot that trades must not cost a write for each of its events.
const POSITION_EVERY: Duration = Duration::from_secs(60);

/// Events that are taken at a time.
const BATCH: usize = 500;

/// Incidents that ended so recently are shown with those that go on.
const SHOWN: TimeDelta = TimeDelta::hours(1);

/// Incidents that are shown at most.
const SHOWN_MOST: usize = 20;

/// Events before a start that may belong to the next incident.
const BEFORE: usize = 64;

/// What an incident is made of.
const KINDS: [EventKind; 8] = [
    EventKind::Lifecycle,
    EventKind::Health,
    EventKind::Workflow,
    EventKind::Config,
    EventKind::Control,
    EventKind::Session,
    EventKind::Breaker,
    EventKind::Error,
];

/// Handle to the incidents; cloning is cheap.
#[derive(Clone)]
pub struct Incidents {
    inner: Arc<IncidentsInner>,
}

struct IncidentsInner {
    store: Store,
    events: Events,
    /// Incidents that go on, newest first, then those that ended within the last hour.
    shown: watch::Sender<Arc<Vec<Incident>>>,
    known: Mutex<NowKnown>,
}

impl std::fmt::Debug for Incidents {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Incidents").finish_non_exhaustive()
    }
}

/// What the loop holds between two writes.
struct Follower {
    book: IncidentBook,
    /// The number of the last event that was taken.
    cursor: u64,
    /// Changed incidents that are not stored yet.
    unstored: Vec<Incident>,
    /// Incidents that ended within the last hour, newest first.
    recent: Vec<Incident>,
    /// The number that is stored, and when that was.
    stored: (u64, Instant),
}

impl Incidents {
    /// Reads what is stored and follows the journal from there until `tasks` stop.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn open(store: Store, events: Events, tasks: &Tasks) -> Result<Self, Error> {
        let shown_since = (Utc::now() - SHOWN).timestamp_millis();
        let (position, open, recent) = store
            .read(move |connection| {
                let wanted = IncidentFilter {
                    is_over: Some(true),
                    since_ms: Some(shown_since),
                    ..IncidentFilter::default()
                };
                let recent = table::page(connection, &wanted, SHOWN_MOST)?;
                Ok((table::position(connection)?, table::open(connection)?, recent))
            })
            .await?;
        let wanted = EventFilter::kinds(KINDS.to_vec());
        let before = events.newest(Some(position.seq.saturating_add(1)), &wanted, BEFORE).await?;
        let before = before.items.into_iter().rev();
        let follower = Follower {
            book: IncidentBook::restored(open, position.memory, before),
            cursor: position.seq,
            unstored: Vec::new(),
            recent,
            stored: (position.seq, Instant::now()),
        };
        let inner = Arc::new(IncidentsInner {
            store,
            events,
            shown: watch::Sender::new(Arc::new(follower.shown())),
            known: Mutex::default(),
        });
        let (following, stopping) = (inner.clone(), tasks.stopping());
        tasks.spawn("incidents", OnFailure::Log, async move { follower.follow(&following, &stopping).await });
        Ok(Self { inner })
    }

    /// Incidents that go on, newest first, then those that ended within the last hour; at most twenty, without their
    /// timelines.
    pub fn watch_recent(&self) -> watch::Receiver<Arc<Vec<Incident>>> {
        self.inner.shown.subscribe()
    }

    /// Tells what other features know now.
    pub fn tell_known(&self, known: NowKnown) {
        *self.inner.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// One incident with its timeline.
    ///
    /// # Errors
    /// [`Code::IncidentUnknown`], [`Code::StoreUnavailable`].
    pub(super) async fn one(&self, id: &str) -> Result<Incident, Error> {
        let unknown =
            || Error::new(Code::IncidentUnknown).context("incident_id", botops_core::text::clean(id, 40));
        let seq: u64 = id.strip_prefix("inc-").and_then(|seq| seq.parse().ok()).ok_or_else(unknown)?;
        let found = self.inner.store.read(move |connection| Ok(table::one(connection, seq)?)).await?;
        found.ok_or_else(unknown)
    }

    /// Incidents, newest first, and whether there are older ones.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub(super) async fn page(
        &self,
        wanted: IncidentFilter,
        limit: usize,
    ) -> Result<(Vec<Incident>, bool), Error> {
        let read = self.inner.store.read(move |connection| Ok(table::page(connection, &wanted, limit + 1)?));
        let mut items = read.await?;
        let has_older = items.len() > limit;
        items.truncate(limit);
        Ok((items, has_older))
    }
}

impl Follower {
    async fn follow(mut self, inner: &IncidentsInner, stopping: &CancellationToken) {
        loop {
            let is_behind = self.take_batch(inner).await;
            if !is_behind {
                let known = inner.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
                self.book.tick(Utc::now(), &known);
            }
            self.keep(inner).await;
            if is_behind {
                continue;
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = inner.events.wait_beyond(self.cursor) => {}
                () = tokio::time::sleep(LOOKS_EVERY) => {}
            }
        }
    }

    /// Takes the next events; true when there may be more at once.
    async fn take_batch(&mut self, inner: &IncidentsInner) -> bool {
        let wanted = EventFilter::kinds(KINDS.to_vec());
        let page = match inner.events.since(self.cursor, &wanted, BATCH).await {
            Ok(page) => page,
            Err(error) if error.code() == Code::CursorExpired => {
                // What was deleted meanwhile is lost for the incidents.
                self.cursor = inner.events.oldest().saturating_sub(1).max(self.cursor);
                return true;
            }
            Err(_) => return false,
        };
        for event in &page.items {
            self.book.take(event);
        }
        self.cursor = page.next;
        !page.items.is_empty() && page.next < page.latest
    }

    /// Stores and shows what changed. What cannot be stored is tried again with the next look.
    async fn keep(&mut self, inner: &IncidentsInner) {
        let changed = self.book.take_changed();
        let is_news = !changed.is_empty();
        let ids: BTreeSet<&str> = changed.iter().map(|incident| incident.incident_id.as_str()).collect();
        self.unstored.retain(|incident| !ids.contains(incident.incident_id.as_str()));
        self.recent.retain(|incident| !ids.contains(incident.incident_id.as_str()));
        let over = changed.iter().filter(|incident| incident.state == super::IncidentState::Over);
        self.recent.extend(over.map(Incident::brief));
        self.unstored.extend(changed);
        let before = self.recent.len();
        let oldest = Utc::now() - SHOWN;
        self.recent.retain(|incident| incident.ended_at.is_some_and(|ended| ended >= oldest));
        if is_news || self.recent.len() != before {
            inner.shown.send_replace(Arc::new(self.shown()));
        }
        let (stored_seq, stored_at) = self.stored;
        let is_position_due = stored_seq != self.cursor && stored_at.elapsed() >= POSITION_EVERY;
        if self.unstored.is_empty() && !is_position_due {
            return;
        }
        let incidents = std::mem::take(&mut self.unstored);
        let position = Position { seq: self.cursor, memory: self.book.memory().clone() };
        let rows = incidents.clone();
        let stored =
            inner.store.write(move |connection| Ok(table::store(connection, &rows, &position)?)).await;
        match stored {
            Ok(()) => self.stored = (self.cursor, Instant::now()),
            Err(_) => self.unstored = incidents,
        }
    }

    fn shown(&self) -> Vec<Incident> {
        let open = self.book.open().iter().rev().map(Incident::brief);
        let mut recent: Vec<&Incident> = self.recent.iter().collect();
        recent.sort_by_key(|incident| std::cmp::Reverse(incident.first_seq()));
        open.chain(recent.into_iter().cloned()).take(SHOWN_MOST).collect()
    }
}
