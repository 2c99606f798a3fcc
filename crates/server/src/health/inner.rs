//! What the handle and the loops share: the memory under its lock, what is rendered from it, and the queues to the
//! loops.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, watch};

use crate::bots::Bots;
use crate::events::Events;
use crate::store::Store;
use botops_core::error::{Code, Effect, Error};
use botops_core::telemetry::Metrics;

use super::alerts::{NoticeOutbox, ReceiverLog};
use super::changes::{HealthRow, NoticeEnd, OutboxRow};
use super::checks::{AddressGuard, CheckTargets};
use super::history::{HistoryReader, HistoryWriter};
use super::memory::HealthMemory;
use super::model::{ClockReading, HealthClock};
use super::options::HealthOptions;
use super::progress::LoopProgress;
use super::recovery::{RecoveryAttempt, WorkflowRunner};
use super::render::{HealthSnapshot, SnapshotContext};
use super::restore::restore_memory;

/// How late measurements may reach readers. Statuses and alerts are rendered at once.
const RENDER_EVERY: Duration = Duration::from_millis(250);

/// How long a change waits until it is stored. That the store cannot be written is reported by its own check.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// The shared state of health.
pub(crate) struct HealthInner {
    pub(crate) store: Store,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) targets: Arc<CheckTargets>,
    pub(crate) reader: HistoryReader,
    pub(crate) writer: HistoryWriter,
    pub(crate) outbox: Arc<NoticeOutbox>,
    memory: Mutex<HealthMemory>,
    clock: HealthClock,
    snapshot: ArcSwap<HealthSnapshot>,
    /// Sets of rows for the writer loop, which stores them in order; `handed_over` counts them.
    rows: mpsc::UnboundedSender<Vec<HealthRow>>,
    handed_over: AtomicU64,
    /// How many of these sets are stored.
    pub(crate) stored: watch::Sender<u64>,
    pub(crate) runner: watch::Sender<Option<WorkflowRunner>>,
    attempts: mpsc::UnboundedSender<RecoveryAttempt>,
    /// Wakes the scheduler, because something is due earlier than it knew.
    pub(crate) wake: Notify,
    /// Counts finished checks, for callers that wait for one.
    pub(crate) finished: watch::Sender<u64>,
    /// Signals that an alert changed.
    pub(crate) alerted: Arc<Notify>,
    pub(crate) progress: LoopProgress,
}

/// The receiving ends of the queues, for the loops.
pub(crate) struct HealthInboxes {
    pub(crate) rows: mpsc::UnboundedReceiver<Vec<HealthRow>>,
    pub(crate) attempts: mpsc::UnboundedReceiver<RecoveryAttempt>,
}

impl std::fmt::Debug for HealthInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl HealthInner {
    /// Restores the state of an earlier run. No loop runs yet.
    ///
    /// # Errors
    /// When the store cannot be read or an HTTP client cannot be built.
    pub(crate) async fn open(
        options: &HealthOptions,
        store: Store,
        events: Events,
        bots: Bots,
        metrics: &Metrics,
    ) -> Result<(Self, HealthInboxes), Error> {
        let clock = HealthClock::start();
        let now = clock.read();
        let reader = HistoryReader::new(store.clone());
        let receivers = options.receivers().iter().map(|receiver| receiver.name().to_owned()).collect();
        let left = reader.load_earlier_run(now.wall).await?;
        let (memory, waiting) = restore_memory(left, receivers, now);
        let outbox = Arc::new(NoticeOutbox::new(ReceiverLog::new(options.receiver_names())));
        outbox.add(waiting);
        let backlog = outbox.clone();
        let targets = CheckTargets::new(
            store.clone(),
            bots,
            AddressGuard::new(options.allowed.clone()),
            options.secrets.clone(),
            Box::new(move || backlog.backlog()),
        )?;
        let context = SnapshotContext {
            recent_events: Vec::new(),
            makes_progress: true,
            receivers: outbox.receiver_views(),
            failing: outbox.receivers.failing(),
        };
        let snapshot = HealthSnapshot::render(&memory, context, now)?;
        let (rows, rows_inbox) = mpsc::unbounded_channel();
        let (attempts, attempts_inbox) = mpsc::unbounded_channel();
        let inner = Self {
            writer: HistoryWriter::new(store.clone()),
            store,
            events,
            metrics: metrics.clone(),
            targets: Arc::new(targets),
            reader,
            outbox,
            memory: Mutex::new(memory),
            clock,
            snapshot: ArcSwap::from_pointee(snapshot),
            rows,
            handed_over: AtomicU64::new(0),
            stored: watch::Sender::new(0),
            runner: watch::Sender::new(None),
            attempts,
            wake: Notify::new(),
            finished: watch::Sender::new(0),
            alerted: Arc::default(),
            progress: LoopProgress::begun_at(now.mono),
        };
        inner.publish_changes(&mut inner.lock());
        Ok((inner, HealthInboxes { rows: rows_inbox, attempts: attempts_inbox }))
    }

    /// The present moment on both clocks.
    pub(crate) fn now(&self) -> ClockReading {
        self.clock.read()
    }

    /// Locks the memory. The guard is never held over an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HealthMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answers to readers.
    pub(crate) fn snapshot(&self) -> Arc<HealthSnapshot> {
        self.snapshot.load_full()
    }

    /// Changes the memory, passes on what must be stored, published and started, and returns when it is stored.
    ///
    /// # Errors
    /// The error of the change, which then must have changed nothing; [`Code::StoreUnavailable`] with the effect `applied` when
    /// it holds and is not stored yet.
    pub(crate) async fn change<T>(
        &self,
        change: impl FnOnce(&mut HealthMemory, ClockReading) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let now = self.now();
        let (value, ticket) = {
            let mut memory = self.lock();
            let value = change(&mut memory, now)?;
            (value, self.publish_changes(&mut memory))
        };
        self.wake.notify_one();
        if self.wait_until_stored(ticket).await {
            Ok(value)
        } else {
            Err(unstored_change(self.store.is_durable()))
        }
    }

    /// Passes on what must be stored, published and started, and renders the answers anew.
    ///
    /// Returns the number to wait for until the rows are stored.
    pub(crate) fn publish_changes(&self, memory: &mut HealthMemory) -> u64 {
        let changes = std::mem::take(&mut memory.changes);
        let has_alerts = changes.rows.iter().any(|row| matches!(row, HealthRow::Alert(_)));
        for event in changes.events {
            self.events.publish(event);
        }
        for attempt in std::mem::take(&mut memory.recovery.attempts) {
            // Sending fails only at the stop, when the receiving loop has ended and no attempt should start.
            let _ = self.attempts.send(attempt);
        }
        let mut ticket = self.handed_over.load(Ordering::Relaxed);
        if !changes.rows.is_empty() {
            ticket = self.handed_over.fetch_add(1, Ordering::Relaxed) + 1;
            let _ = self.rows.send(changes.rows);
        }
        self.render(memory);
        if has_alerts {
            self.alerted.notify_one();
        }
        ticket
    }

    /// Records with their alerts that these notices were taken or given up.
    pub(crate) fn record_notices(&self, rows: &[OutboxRow], end: NoticeEnd) {
        let now = self.now();
        // At a stop, the loop that stores rows may have ended before this last one; its receiver would be told again.
        self.writer.post_notice_ends(rows, end, now);
        let mut memory = self.lock();
        let HealthMemory { alerts, changes, .. } = &mut *memory;
        alerts.record_notices(rows, end, now, changes);
        self.publish_changes(&mut memory);
    }

    /// Like [`Self::publish_changes`], but skipped while nothing is urgent and the last rendering is fresh, so that
    /// many checks that end together are rendered once.
    pub(crate) fn publish_if_due(&self, memory: &mut HealthMemory) {
        if memory.has_changes() || self.snapshot.load().made.elapsed() >= RENDER_EVERY {
            self.publish_changes(memory);
        }
    }

    fn render(&self, memory: &HealthMemory) {
        let context = SnapshotContext {
            recent_events: self.events.recent(botops_contract::EventKind::Health, 200),
            makes_progress: self.makes_progress(),
            receivers: self.outbox.receiver_views(),
            failing: self.outbox.receivers.failing(),
        };
        match HealthSnapshot::render(memory, context, self.now()) {
            Ok(snapshot) => self.snapshot.store(Arc::new(snapshot)),
            Err(error) => tracing::error!("health could not be rendered: {error}"),
        }
    }

    /// Waits until all sets of rows up to `ticket` are stored; false when they are not yet.
    async fn wait_until_stored(&self, ticket: u64) -> bool {
        let mut stored = self.stored.subscribe();
        // Cannot fail: `self` owns the sender.
        let waited = stored.wait_for(|done| *done >= ticket);
        tokio::time::timeout(STORED_WITHIN, waited).await.is_ok()
    }

    /// Whether scheduler and writer have made progress lately; a watchdog is notified only while they do.
    pub(crate) fn makes_progress(&self) -> bool {
        self.progress.moves_on(self.now().mono)
    }
}

/// The failure of a change that holds in memory alone so far; without a durable store it always will.
fn unstored_change(is_durable: bool) -> Error {
    let remedy = if is_durable {
        "Free space in or repair BOT_DATA_DIR; botops stores it then by itself, so do not send it again."
    } else {
        "Make the store usable, as the summary's warning says, restart botops and send it again: it is lost with the restart."
    };
    Error::new(Code::StoreUnavailable)
        .detail(format!(
            "it holds from now on, but could not be stored within {} s: it is lost if botops ends before the disk can be \
             written again",
            STORED_WITHIN.as_secs()
        ))
        .remedy(remedy)
        .effect(Effect::Applied)
}
