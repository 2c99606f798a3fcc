//! The handle to the journal: numbers, memory, subscribers and the store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, broadcast, watch};

use super::model::{Event, NewEvent};
use super::newest_events::NewestEvents;
use super::page::{EventFilter, JournalPage, JournalPageBackwards};
use super::rows::{
    EventRow, FAILURES_HELD, Order, RING, delete_oldest, first_of_newest, first_within, resume, select,
};
use super::waiting::{JournalWrite, UnwrittenBytes, WaitingEvent, WaitingEvents};
use crate::store::{Store, get_value, retention_ms};
use botops_contract::{EventKind, SemanticError, Severity};
use botops_core::error::{Code, Error};

/// Events a subscriber may be behind before the oldest ones are dropped for it; it is told how many.
const SUBSCRIBER_QUEUE: usize = 1_024;

/// Older events beyond a backward page are counted up to this number, so that the count stays cheap.
const COUNT_LEFT_OUT: usize = 100;

/// Events the store keeps at most.
const KEEP_ROWS: u64 = 200_000;

/// Bytes of events that the store keeps at most: a bot that sends large ones must not fill the disk.
const KEEP_BYTES: u64 = 128 * 1024 * 1024;

/// Bytes after which pruning does not wait for its time: so much more than [`KEEP_BYTES`] may be there for a moment.
const PRUNE_AFTER_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of the newest events that are kept in memory, beside their number.
const RING_BYTES: u64 = 32 * 1024 * 1024;

/// The same for failures.
const FAILURES_BYTES: u64 = 8 * 1024 * 1024;

/// How many days the store keeps an event.
const KEEP_DAYS: i64 = 90;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Handle to the journal: sequence numbers, the newest events in memory, subscribers, the store. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Events {
    inner: Arc<JournalInner>,
}

#[derive(Debug)]
struct JournalInner {
    store: Store,
    journal: Mutex<JournalState>,
    live: broadcast::Sender<Arc<Event>>,
    latest: watch::Sender<u64>,
    keep_bytes: u64,
    /// Bytes published since the journal was last pruned.
    unpruned: AtomicU64,
    prune_wanted: Notify,
    /// Bytes published and not written yet.
    unwritten: Arc<AtomicU64>,
}

#[derive(Debug)]
struct JournalState {
    ring: NewestEvents,
    /// The newest failures, each once, oldest first: they stay when much else happens.
    failures: NewestEvents,
    next: u64,
    waiting: WaitingEvents,
    /// The lowest number that the store may still hold.
    oldest: u64,
}

impl Events {
    /// Reads where the journal ended and reserves the next block of numbers.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the store cannot be written.
    pub async fn open(store: Store) -> Result<Self, Error> {
        Self::open_within(store, KEEP_BYTES).await
    }

    async fn open_within(store: Store, keep_bytes: u64) -> Result<Self, Error> {
        let is_durable = store.is_durable();
        let start = store.write(move |connection| Ok(resume(connection, is_durable)?)).await?;
        let latest = start.next - 1;
        let journal = JournalState {
            ring: NewestEvents::of(start.recent, RING, RING_BYTES),
            failures: NewestEvents::of(start.failures, FAILURES_HELD, FAILURES_BYTES),
            next: start.next,
            waiting: WaitingEvents::new(latest, start.reserved),
            oldest: start.oldest,
        };
        let inner = JournalInner {
            store,
            journal: Mutex::new(journal),
            live: broadcast::Sender::new(SUBSCRIBER_QUEUE),
            latest: watch::Sender::new(latest),
            keep_bytes,
            unpruned: AtomicU64::new(0),
            prune_wanted: Notify::new(),
            unwritten: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Puts an event into the journal and returns its number. Never waits.
    pub fn publish(&self, new: NewEvent) -> u64 {
        let NewEvent { at, kind, severity, source, message, error, data, bookmark } = new;
        // A bot that reports a failure without its cause is listed among the failures as well.
        let error =
            error.or_else(|| (kind == EventKind::Error).then(|| bare_failure(at, severity, &message)));
        let mut journal = self.lock();
        let seq = journal.next;
        journal.next += 1;
        let repeats =
            error.as_ref().and_then(|error| first_telling(journal.failures.events(), &source, error));
        let event = Arc::new(Event { seq, at, kind, severity, source, message, error, repeats, data });
        let row = EventRow::of(&event);
        journal.ring.push(event.clone(), row.bytes());
        if EventFilter::failures().includes(&event) {
            journal.failures.push(event.clone(), row.bytes());
        }
        let bytes = self.count_bytes(row.bytes());
        if !self.inner.store.is_durable() {
            // Told to nobody: the next start would give its number again. Failures are in the summary all the same.
            return seq;
        }
        let told = journal.waiting.push(WaitingEvent::new(seq, row, bookmark, bytes), event);
        // Still under the lock, so that the store and every subscriber get the events in the order of their numbers.
        self.write_waiting();
        if let Some(event) = told {
            self.tell(event);
        }
        drop(journal);
        seq
    }

    /// Queues a write of all that waits; it finds nothing when an earlier one has taken that along.
    fn write_waiting(&self) {
        let taken = Arc::new(Mutex::new(JournalWrite::default()));
        let (writer, ended, written) = (self.clone(), self.clone(), taken.clone());
        self.inner.store.post_and_tell(
            "events",
            move |connection| {
                let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                *taken = writer.lock().waiting.take();
                taken.write(connection)
            },
            move |is_durable| {
                let write = std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner));
                let mut journal = ended.lock();
                for event in journal.waiting.settle(write, is_durable) {
                    ended.tell(event);
                }
            },
        );
    }

    /// Tells of an event; under the lock, in the order of the numbers.
    fn tell(&self, event: Arc<Event>) {
        // Before anyone has the event: whoever asks on from its number must not be told that it is ahead of the journal.
        self.inner.latest.send_replace(event.seq);
        // Sending fails only when there is no subscriber.
        let _ = self.inner.live.send(event);
    }

    /// Writes again what could not be written. Each event that is published does so too.
    pub fn write_again(&self) {
        if !self.lock().waiting.is_empty() {
            self.write_waiting();
        }
    }

    /// Events as they happen. A subscriber that lags is told how many it lost and reads them with [`Events::since`].
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.inner.live.subscribe()
    }

    /// The newest number that was told.
    pub fn latest(&self) -> u64 {
        *self.inner.latest.borrow()
    }

    /// Resolves when a number above `after` has been given out.
    pub async fn wait_beyond(&self, after: u64) {
        let mut latest = self.inner.latest.subscribe();
        // This cannot fail: `self` owns the sender.
        let _ = latest.wait_for(|latest| *latest > after).await;
    }

    /// At most `limit` events with a number above `after` that the reader wants, oldest first.
    ///
    /// # Errors
    /// [`Code::CursorExpired`] when events right after `after` have been deleted; [`Code::StoreUnavailable`].
    pub async fn since(&self, after: u64, wanted: &EventFilter, limit: usize) -> Result<JournalPage, Error> {
        let (written, latest, unwritten) = {
            let journal = self.lock();
            let latest = self.latest();
            if after + 1 < journal.oldest {
                return Err(Error::new(Code::CursorExpired)
                    .context("oldest", journal.oldest)
                    .context("latest", latest));
            }
            let ring = journal.ring.events();
            let told = ring.iter().filter(|event| event.seq <= latest);
            let matching = told.filter(|event| wanted.includes(event));
            let held_from = ring.front().map_or(journal.next, |event| event.seq);
            if held_from <= after + 1 || after >= latest {
                let behind = matching.filter(|event| event.seq > after).cloned();
                return Ok(JournalPage::of(behind.take(limit + 1).collect(), limit, latest));
            }
            let written = journal.waiting.written().min(latest);
            let unwritten: Vec<_> =
                matching.filter(|event| event.seq > written.max(after)).cloned().collect();
            // What neither memory nor the store has is on its way to the store: the page ends before it.
            let latest = if held_from <= written + 1 { latest } else { written.max(after) };
            (written, latest, unwritten)
        };
        let wanted = wanted.clone();
        let stored = self.inner.store.read(move |connection| {
            Ok(select(connection, (after, written), &wanted, Order::OldestFirst, limit + 1)?)
        });
        let mut items: Vec<_> = stored.await?.into_iter().map(Arc::new).collect();
        items.extend(unwritten.into_iter().filter(|event| event.seq <= latest));
        items.truncate(limit + 1);
        Ok(JournalPage::of(items, limit, latest))
    }

    /// At most `limit` events with a number below `before` (without it: all) that the reader wants, newest first.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn newest(
        &self,
        before: Option<u64>,
        wanted: &EventFilter,
        limit: usize,
    ) -> Result<JournalPageBackwards, Error> {
        // Numbers that are told to nobody yet come later.
        let before = before.unwrap_or(u64::MAX).min(self.latest() + 1);
        let count = limit + COUNT_LEFT_OUT;
        let (mut items, below) = {
            let journal = self.lock();
            let ring = journal.ring.events();
            let matching = ring.iter().rev().filter(|event| event.seq < before);
            let matching = matching.filter(|event| wanted.includes(event));
            let items: Vec<_> = matching.take(count).cloned().collect();
            let held_from = ring.front().map_or(journal.next, |event| event.seq);
            (items, held_from.min(before))
        };
        if items.len() < count && below > 1 {
            let missing = count - items.len();
            let wanted = wanted.clone();
            let older = self.inner.store.read(move |connection| {
                Ok(select(connection, (0, below - 1), &wanted, Order::NewestFirst, missing)?)
            });
            items.extend(older.await?.into_iter().map(Arc::new));
        }
        let omitted = items.len().saturating_sub(limit);
        items.truncate(limit);
        let next = items.last().map(|event| event.seq).filter(|_| omitted > 0);
        Ok(JournalPageBackwards { items, next, omitted, latest: self.latest() })
    }

    /// The same for events that carry a failure, whatever their kind. A failure that several events carry is the first
    /// one's.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn failures(&self, before: Option<u64>, limit: usize) -> Result<JournalPageBackwards, Error> {
        self.newest(before, &EventFilter::failures(), limit).await
    }

    /// The lowest number that the store may still hold.
    pub fn oldest(&self) -> u64 {
        self.lock().oldest
    }

    /// The newest events of one kind held in memory, newest first.
    pub fn recent(&self, kind: EventKind, limit: usize) -> Vec<Arc<Event>> {
        let journal = self.lock();
        journal.ring.events().iter().rev().filter(|event| event.kind == kind).take(limit).cloned().collect()
    }

    /// The failures held in memory, each once, newest first: all since `since`, and `at_least` in any case.
    pub fn recent_failures(&self, since: DateTime<Utc>, at_least: usize) -> Vec<Arc<Event>> {
        let journal = self.lock();
        let failures = journal.failures.events().iter().rev();
        let wanted = failures.enumerate().take_while(|(index, event)| *index < at_least || event.at >= since);
        wanted.map(|(_, event)| event.clone()).collect()
    }

    /// A reader's position in another journal, written earlier with [`NewEvent::bookmark`].
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn bookmark(&self, key: &str) -> Result<Option<String>, Error> {
        let key = key.to_owned();
        self.inner.store.read(move |connection| Ok(get_value(connection, &key)?)).await
    }

    /// Resolves when so much was published that pruning should not wait for its time.
    pub async fn prune_wanted(&self) {
        self.inner.prune_wanted.notified().await;
    }

    /// Bytes of events that wait for the disk. Memory holds more than a reader of the bot's events should let wait, so
    /// that no event is in neither.
    pub(crate) fn unwritten_bytes(&self) -> u64 {
        self.inner.unwritten.load(Ordering::Relaxed)
    }

    fn count_bytes(&self, bytes: u64) -> UnwrittenBytes {
        let before = self.inner.unpruned.fetch_add(bytes, Ordering::Relaxed);
        if before < PRUNE_AFTER_BYTES && before + bytes >= PRUNE_AFTER_BYTES {
            self.inner.prune_wanted.notify_one();
        }
        UnwrittenBytes::new(bytes, self.inner.unwritten.clone())
    }

    /// Deletes what is beyond the retention (days, number, bytes), oldest first, in small batches so that other writes
    /// are not held up.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn prune(&self) -> Result<(), Error> {
        self.inner.unpruned.store(0, Ordering::Relaxed);
        let now = self.inner.store.write(|connection| Ok(retention_ms(connection)?)).await?;
        let horizon = now.saturating_sub(KEEP_DAYS * DAY_MS).saturating_mul(1_000);
        let keep_bytes = i64::try_from(self.inner.keep_bytes).unwrap_or(i64::MAX);
        let kept = self.inner.store.read(move |connection| {
            let (by_bytes, by_number) =
                (first_within(connection, keep_bytes)?, first_of_newest(connection, KEEP_ROWS)?);
            Ok(by_bytes.max(by_number))
        });
        let keep_from = kept.await?.unwrap_or(0);
        loop {
            let (deleted, oldest) = self
                .inner
                .store
                .write(move |connection| Ok(delete_oldest(connection, horizon, keep_from)?))
                .await?;
            if deleted == 0 {
                return Ok(());
            }
            if let Some(oldest) = oldest.and_then(|oldest| u64::try_from(oldest).ok()) {
                self.lock().oldest = oldest;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, JournalState> {
        self.inner.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure recorded for an event that came without its cause.
fn bare_failure(at: DateTime<Utc>, severity: Severity, message: &str) -> SemanticError {
    let unexplained = Error::new(Code::BotFailureUnexplained).semantic(at);
    SemanticError { severity, message: message.to_owned(), ..unexplained }
}

/// The event that told this very failure before: a bot may tell it as what it is about, and once more as an error.
fn first_telling(told: &VecDeque<Arc<Event>>, source: &str, error: &SemanticError) -> Option<u64> {
    let is_same = |event: &&Arc<Event>| {
        event.source == source
            && event.error.as_ref().is_some_and(|told| {
                told.timestamp == error.timestamp
                    && told.error_code == error.error_code
                    && told.message == error.message
            })
    };
    told.iter().rev().find(is_same).map(|event| event.seq)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::rows::{BLOCK, plan_of};
    use super::*;

    fn lifecycle(message: &str) -> NewEvent {
        NewEvent::own(EventKind::Lifecycle, Severity::Low, message, Value::Null)
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_restart_and_never_repeat() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        let first = {
            let store = Store::open(&path).unwrap();
            let events = Events::open(store.clone()).await.unwrap();
            events.publish(lifecycle("one"));
            let last = events.publish(lifecycle("two"));
            store.flush().await;
            last
        };
        let events = Events::open(Store::open(&path).unwrap()).await.unwrap();
        let page = events.since(0, &EventFilter::default(), 10).await.unwrap();
        assert_eq!(page.items.len(), 2);
        let next = events.publish(lifecycle("three"));
        assert!(next > first);
        assert_eq!(events.since(first, &EventFilter::default(), 10).await.unwrap().items[0].message, "three");
    }

    #[tokio::test]
    async fn memory_in_place_of_the_file_gives_out_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        // A folder in its place cannot be a store.
        std::fs::create_dir(&path).unwrap();
        let store = Store::open(&path).unwrap();
        let events = Events::open(store.clone()).await.unwrap();
        let told = events.subscribe();
        events.publish(lifecycle("one"));
        store.seal_if_unusable();
        events.publish(lifecycle("two"));
        events.write_again();
        store.flush().await;
        assert!(told.is_empty() && events.latest() == 0, "the next start would give the numbers again");
        assert!(events.since(0, &EventFilter::default(), 10).await.unwrap().items.is_empty());
    }

    #[tokio::test]
    async fn a_store_that_another_process_holds_is_no_reason_to_go_on_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        drop(Store::open(&path).unwrap());
        let other = rusqlite::Connection::open(&path).unwrap();
        other.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        assert!(Store::open(&path).is_err(), "the next try finds it free");
        other.execute_batch("ROLLBACK").unwrap();
        drop(other);
        assert!(Store::open(&path).unwrap().is_durable());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn an_event_that_was_handed_out_is_never_ahead_of_the_journal() {
        const EACH: usize = 5_000;
        let folder = tempfile::tempdir().unwrap();
        let events = Events::open(Store::open(&folder.path().join("ops.db")).unwrap()).await.unwrap();
        let followers: Vec<_> = (0..3)
            .map(|_| {
                let (events, mut live) = (events.clone(), events.subscribe());
                tokio::spawn(async move {
                    let mut last = 0;
                    while last < EACH as u64 * 2 {
                        let Ok(event) = live.recv().await else { continue };
                        assert!(events.latest() >= event.seq, "{} after {}", event.seq, events.latest());
                        assert!(event.seq > last, "{} after {last}", event.seq);
                        last = event.seq;
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let events = events.clone();
                std::thread::spawn(move || {
                    for n in 0..EACH {
                        events.publish(lifecycle(&n.to_string()));
                    }
                })
            })
            .collect();
        for follower in followers {
            follower.await.unwrap();
        }
        for writer in writers {
            writer.join().unwrap();
        }
    }

    /// A process that holds the store, as a backup or a person with a shell does.
    fn lock(path: &std::path::Path) -> rusqlite::Connection {
        let other = rusqlite::Connection::open(path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lock_that_outlasts_a_write_loses_no_event() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        let store = Store::open(&path).unwrap();
        let events = Events::open(store.clone()).await.unwrap();
        let before = events.latest();
        let other = lock(&path);
        events.publish(lifecycle("one"));
        store.flush().await;
        assert!(store.trouble().borrow().is_some(), "the write failed");
        events.publish(NewEvent { bookmark: Some(("place".to_owned(), "2".to_owned())), ..lifecycle("two") });
        drop(other);
        events.write_again();
        store.flush().await;
        let stored = store
            .read(move |connection| {
                Ok(select(connection, (before, u64::MAX), &EventFilter::default(), Order::OldestFirst, 10)?)
            })
            .await
            .unwrap();
        let messages: Vec<_> = stored.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(messages, ["one", "two"]);
        assert_eq!(events.bookmark("place").await.unwrap().as_deref(), Some("2"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_number_is_told_that_a_start_after_a_kill_could_give_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        let store = Store::open(&path).unwrap();
        let events = Events::open(store.clone()).await.unwrap();
        let mut live = events.subscribe();
        let other = lock(&path);
        let published = 2 * BLOCK + 100;
        for n in 0..published {
            events.publish(lifecycle(&n.to_string()));
        }
        let told = events.latest();
        assert_eq!(events.since(told - 1, &EventFilter::default(), 10).await.unwrap().latest, told);
        assert!(
            events
                .newest(None, &EventFilter::default(), 5)
                .await
                .unwrap()
                .items
                .iter()
                .all(|event| event.seq <= told)
        );
        // What a kill now would leave on the disk.
        let killed = tempfile::tempdir().unwrap();
        for name in ["ops.db", "ops.db-wal"] {
            std::fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
        }
        let again = Events::open(Store::open(&killed.path().join("ops.db")).unwrap()).await.unwrap();
        let first = again.publish(lifecycle("after the kill"));
        assert!(first > told, "{first} was told before as well, up to {told}");
        // Without a kill all of it is told in its order, and nothing is passed over meanwhile.
        let early = events.since(0, &EventFilter::default(), 10).await.unwrap();
        assert!(early.next == 0 || !early.items.is_empty(), "{early:?}");
        drop(other);
        let mut last = 0;
        let mut seen = 0;
        while seen < published {
            match live.recv().await {
                Ok(event) => {
                    assert!(event.seq > last);
                    (last, seen) = (event.seq, seen + 1);
                }
                Err(broadcast::error::RecvError::Lagged(by)) => seen += by,
                Err(broadcast::error::RecvError::Closed) => panic!("the journal is open"),
            }
            events.write_again();
        }
        assert_eq!(events.latest(), last);
        let (mut after, mut got) = (0, Vec::new());
        while after < last {
            let page = events.since(after, &EventFilter::default(), 500).await.unwrap();
            got.extend(page.items.iter().map(|event| event.seq));
            assert!(page.next > after);
            after = page.next;
        }
        assert!(got.is_sorted() && got.len() as u64 == published, "{} of {published}", got.len());
    }

    #[tokio::test]
    async fn many_starts_drop_no_event() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        for n in 0..KEEP_ROWS / BLOCK + 20 {
            let store = Store::open(&path).unwrap();
            let events = Events::open(store.clone()).await.unwrap();
            events.publish(lifecycle(&n.to_string()));
            store.flush().await;
            if n % 50 == 0 {
                events.prune().await.unwrap();
            }
        }
        let events = Events::open(Store::open(&path).unwrap()).await.unwrap();
        events.prune().await.unwrap();
        assert_eq!(events.oldest(), 1);
        assert_eq!(events.since(0, &EventFilter::default(), 1).await.unwrap().items[0].message, "0");
    }

    #[tokio::test]
    async fn newest_first_goes_on_below_what_memory_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        {
            let store = Store::open(&path).unwrap();
            let events = Events::open(store.clone()).await.unwrap();
            for n in 0..RING + 10 {
                events.publish(lifecycle(&n.to_string()));
            }
            store.flush().await;
        }
        let events = Events::open(Store::open(&path).unwrap()).await.unwrap();
        let lifecycle_events = EventFilter::kind(EventKind::Lifecycle);
        let first = events.newest(None, &lifecycle_events, RING + 3).await.unwrap();
        assert_eq!(first.items.len(), RING + 3);
        assert_eq!((first.items[0].message.as_str(), first.omitted), ("2057", 7));
        let rest = events.newest(first.next, &lifecycle_events, 50).await.unwrap();
        let messages: Vec<_> = rest.items.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(messages, ["6", "5", "4", "3", "2", "1", "0"]);
        assert_eq!((rest.next, rest.omitted), (None, 0));
        assert!(events.newest(None, &EventFilter::kind(EventKind::Fill), 5).await.unwrap().items.is_empty());
    }

    #[tokio::test]
    async fn failures_of_a_full_store_are_found_through_their_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        let events = Events::open(store.clone()).await.unwrap();
        for (n, kind) in [EventKind::Session, EventKind::Error, EventKind::Breaker].into_iter().enumerate() {
            let error = bare_failure(Utc::now(), Severity::Low, "it failed");
            events.publish(NewEvent {
                kind,
                error: (n != 1).then_some(error),
                data: serde_json::json!({"error": {}}),
                ..lifecycle("it failed")
            });
        }
        for n in 0..RING {
            let data = serde_json::json!({"error": {"of": "another kind"}});
            events.publish(NewEvent { data, ..lifecycle(&n.to_string()) });
        }
        store.flush().await;
        let kinds = async |before, limit| {
            let page = events.failures(before, limit).await.unwrap();
            (page.items.iter().map(|event| event.kind).collect::<Vec<_>>(), page.next, page.omitted)
        };
        let (first, next, omitted) = kinds(None, 2).await;
        assert_eq!((first, omitted), (vec![EventKind::Breaker, EventKind::Error], 1));
        assert_eq!(kinds(next, 2).await, (vec![EventKind::Session], None, 0));
        let plan =
            store.read(|connection| Ok(plan_of(connection, &EventFilter::failures(), Order::NewestFirst)?));
        let plan = plan.await.unwrap();
        assert!(plan.contains("events_with_failure") && !plan.contains("TEMP B-TREE"), "{plan}");
    }

    #[tokio::test]
    async fn the_store_and_the_memory_are_bounded_by_bytes_and_the_newest_events_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        let events = Events::open_within(store.clone(), 1_000_000).await.unwrap();
        let large = serde_json::json!({"text": "x".repeat(100_000)});
        for n in 0..400 {
            events.publish(NewEvent { data: large.clone(), ..lifecycle(&n.to_string()) });
        }
        tokio::time::timeout(std::time::Duration::from_secs(60), events.prune_wanted()).await.unwrap();
        assert!(events.lock().ring.events().len() < 340, "40 MB are not held in memory");
        store.flush().await;
        events.prune().await.unwrap();
        let stored = store.read(|connection| {
            let query = "SELECT count(*), sum(octet_length(body)) FROM events";
            let row =
                connection.query_row(query, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
            Ok(row?)
        });
        let (rows, bytes) = stored.await.unwrap();
        assert!(rows == 9 && bytes <= 1_000_000, "{rows} rows, {bytes} bytes");
        assert_eq!(events.oldest(), events.latest() - 8, "the journal says what it no longer has");
        let expired = events.since(events.latest() - 200, &EventFilter::default(), 10).await;
        assert_eq!(expired.unwrap_err().code(), Code::CursorExpired);
        assert_eq!(
            events.since(events.latest() - 5, &EventFilter::default(), 10).await.unwrap().items.len(),
            5
        );
    }

    #[tokio::test]
    async fn a_page_that_is_not_the_last_says_where_to_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::open(Store::open(&folder.path().join("ops.db")).unwrap()).await.unwrap();
        for n in 0..5 {
            events.publish(lifecycle(&n.to_string()));
        }
        let start = events.latest() - 5;
        let first = events.since(start, &EventFilter::default(), 2).await.unwrap();
        assert!(first.more);
        let rest = events.since(first.next, &EventFilter::default(), 10).await.unwrap();
        assert_eq!(rest.items.len(), 3);
        assert!(!rest.more);
    }

    /// What is left of events of these ages in days, after the wall clock was set ahead by so many.
    async fn left_after_a_step(ahead: i64, ages: &[i64]) -> Vec<i64> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        let events = Events::open(store.clone()).await.unwrap();
        for age in ages {
            let at = Utc::now() - chrono::Duration::days(*age);
            events.publish(NewEvent { at, ..lifecycle(&age.to_string()) });
        }
        store.flush().await;
        let stepped = store.write(move |connection| {
            retention_ms(connection)?;
            let text = get_value(connection, "retention_clock")?.unwrap();
            let mut clock: serde_json::Value = serde_json::from_str(&text).unwrap();
            clock["now_ms"] = (clock["now_ms"].as_i64().unwrap() - ahead * DAY_MS).into();
            Ok(crate::store::put_value(connection, "retention_clock", &clock.to_string())?)
        });
        stepped.await.unwrap();
        events.prune().await.unwrap();
        let first = events.latest() - u64::try_from(ages.len()).unwrap() + 1;
        let left = store.read(|connection| {
            let mut statement = connection.prepare("SELECT seq FROM events ORDER BY seq")?;
            let numbers = statement.query_map([], |row| row.get::<_, i64>(0))?;
            Ok(numbers.collect::<rusqlite::Result<Vec<i64>>>()?)
        });
        let age = |seq: i64| ages[usize::try_from(u64::try_from(seq).unwrap() - first).unwrap()];
        left.await.unwrap().into_iter().map(age).collect()
    }

    #[tokio::test]
    async fn a_step_of_the_wall_clock_makes_nothing_old_and_what_is_in_the_future_stays() {
        let ages = [200, 120, 80, 0, -80];
        assert_eq!(left_after_a_step(0, &ages).await, [80, 0, -80]);
        assert_eq!(left_after_a_step(100, &ages).await, [120, 80, 0, -80]);
        assert_eq!(left_after_a_step(-100, &ages).await, [80, 0, -80], "never by more than the clock says");
    }
}
