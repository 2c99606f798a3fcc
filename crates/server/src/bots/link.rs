//! The link to one bot: polls its state, judges whether it is there, keeps the last good report.
//!
//! One task asks once per interval, whatever the number of readers. A question that is not answered stays open for
//! 5 s; after the first 2 s the bot is asked each second who it is, which costs it nothing, so that a bot that comes
//! back is seen at once, one that needs 3 s is still understood, and one that struggles is not buried in questions. Deliberately absent: reactions. Presence changes are events; others act on them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::{StatusCode, header};
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::presence::{self, ON_TIME, Presence, PresenceFacts, ProcessState, SILENCE};
use super::process::{BotProcesses, ProcessId};
use super::restart_proof::{DeathEvidence, HUNG_AFTER, LogActivity};
use super::snapshot::{BotSnapshot, DroppedItems, FirstSeen};
use super::transport::{self, BotConnection, HttpAnswer, TransportFailure};
use super::{BotLinkStats, BotsOptions, CallError, UnaskedRestart, sanitise};
use crate::events::{Events, NewEvent};
use crate::store::Store;
use botops_contract::{self, BotReport, EventKind, Hello, Severity};
use botops_core::error::Error;

/// While the bot is away, and while a question is open, it is asked this often, so that its return is seen soon.
const RETRY: Duration = Duration::from_secs(1);

/// A small report is stored at most this often; a larger one accordingly less.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// The size of report that is stored each [`SAVE_EVERY`].
const SAVE_BYTES: usize = 64 * 1024;

/// A bot at the edge of slowness is reported once in this time.
const SLOW_EVENT_EVERY: Duration = Duration::from_secs(60);

/// How often the log folder and the supervisor are looked at while the bot is silent.
const LOOK_OUTSIDE_EVERY: Duration = Duration::from_secs(2);

/// Files of a log folder that are looked at; a folder with more has its newest ones among any so many.
const LOG_FILES_MAX: usize = 2_000;

/// What the handle, the poller and the event follower share.
#[derive(Debug)]
pub(super) struct BotLink {
    pub options: BotsOptions,
    pub store: Store,
    pub events: Events,
    pub snapshot: ArcSwap<BotSnapshot>,
    pub changes: watch::Sender<Arc<BotSnapshot>>,
    pub counters: BotLinkCounters,
    /// To the peer that gave the last good answer.
    pub connection: ArcSwapOption<BotConnection>,
    /// How many questions for the whole state may be open: the usual one, and one more in case that was lost.
    state_questions: Semaphore,
    restart_until: Mutex<Option<Instant>>,
    /// The processes of the life that answered last.
    processes: Mutex<BotProcesses>,
    /// The process that listens on the socket, as the kernel said at the last connection.
    listener: Mutex<Option<ProcessId>>,
    /// When anything last came from the bot: an answer of whatever kind, or a byte of its event stream.
    last_sign: Mutex<Option<Instant>>,
}

/// See [`BotLinkStats`].
#[derive(Debug, Default)]
pub(super) struct BotLinkCounters {
    pub polls: AtomicU64,
    pub poll_failures: AtomicU64,
    pub polls_unchanged: AtomicU64,
    pub poll_latency_us: AtomicU64,
    pub recoveries: AtomicU64,
    pub calls: AtomicU64,
    pub events: AtomicU64,
    pub events_lost: AtomicU64,
}

/// The last good report as it is stored between runs of botops.
#[derive(Debug, Serialize, Deserialize)]
struct SavedBotState {
    hello: Hello,
    report: BotReport,
    received_at: DateTime<Utc>,
    /// As an older botops wrote it: the one process that it knew.
    #[serde(default, skip_serializing)]
    process: Option<ProcessId>,
    #[serde(default)]
    processes: BotProcesses,
}

/// What only the machine around the bot can tell.
#[derive(Debug, Clone, Copy)]
struct OutsideEvidence {
    at: Instant,
    supervisor_says_stopped: Option<bool>,
    newest_log: Option<SystemTime>,
}

/// What a poll brought.
struct PollAnswer {
    connection: Arc<BotConnection>,
    hello: Arc<Hello>,
    /// `None`: nothing changed since the last answer.
    news: Option<FreshReport>,
    latency: Duration,
}

struct FreshReport {
    report: Arc<BotReport>,
    dropped: DroppedItems,
    etag: Option<String>,
    bytes: usize,
}

type PendingPoll = Pin<Box<dyn Future<Output = Result<PollAnswer, TransportFailure>> + Send>>;

/// CPU time (kernel ticks) of the bot's processes, since when it has not moved, and whether it did before.
#[derive(Debug, Clone, Copy)]
struct CpuWatch {
    ticks: u64,
    since: Instant,
    moved: bool,
}

type PendingEvidence = Pin<Box<dyn Future<Output = OutsideEvidence> + Send>>;

impl BotLink {
    /// Reads what an earlier run of botops knew.
    pub async fn open(options: BotsOptions, store: Store, events: Events) -> Result<Self, Error> {
        let key = kept_key(&options);
        let kept: Option<String> = store
            .read(move |connection| {
                let query = "SELECT value FROM meta WHERE key = ?1";
                Ok(connection.query_row(query, [key], |row| row.get(0)).optional()?)
            })
            .await?;
        // What an older botops wrote and this one cannot read is as good as nothing.
        let kept: Option<SavedBotState> = kept.and_then(|text| serde_json::from_str(&text).ok());
        let snapshot = Arc::new(first_sight(&options, kept.as_ref()));
        Ok(Self {
            options,
            store,
            events,
            changes: watch::Sender::new(snapshot.clone()),
            snapshot: ArcSwap::new(snapshot),
            counters: BotLinkCounters::default(),
            connection: ArcSwapOption::empty(),
            state_questions: Semaphore::new(2),
            restart_until: Mutex::new(None),
            processes: Mutex::new(kept.map(|kept| kept.known_processes()).unwrap_or_default()),
            listener: Mutex::default(),
            last_sign: Mutex::default(),
        })
    }

    /// A way to the bot for a call that wants `capability`, or why there is none.
    pub fn connection_for_call(&self, capability: &str) -> Result<Arc<BotConnection>, CallError> {
        let snapshot = self.snapshot.load();
        let away =
            |reason: &str| CallError::NotDelivered(format!("the bot is {}: {reason}", snapshot.presence));
        // A command that waits in the socket of a hung bot would act at a time nobody chose.
        let connection = self.connection.load_full().filter(|_| snapshot.presence.answers());
        let (Some(connection), Some(hello)) = (connection, &snapshot.hello) else {
            return Err(away(&snapshot.presence_reason));
        };
        if !hello.offers(capability) {
            return Err(CallError::NotCapable(capability.to_owned()));
        }
        match transport::look(&self.options.socket) {
            Ok(file) if file == connection.file => Ok(connection),
            Ok(_) => Err(CallError::NotDelivered("its socket was replaced a moment ago".to_owned())),
            Err(TransportFailure::Away(reason)) => Err(CallError::NotDelivered(reason)),
            Err(_) => Err(CallError::NotDelivered("its socket cannot be used".to_owned())),
        }
    }

    /// The processes of the life that answered last.
    pub fn processes(&self) -> BotProcesses {
        lock(&self.processes).clone()
    }

    /// The process that listens on the socket, whether it has answered or not.
    pub fn listener(&self) -> Option<ProcessId> {
        lock(&self.listener).filter(|listener| listener.lives())
    }

    /// Something came from the bot.
    pub fn note_sign_of_life(&self) {
        *lock(&self.last_sign) = Some(Instant::now());
    }

    pub fn expect_restart(&self, until: Instant) {
        *lock(&self.restart_until) = Some(until);
    }

    pub fn stats(&self) -> BotLinkStats {
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BotLinkStats {
            polls: read(&counters.polls),
            poll_failures: read(&counters.poll_failures),
            polls_unchanged: read(&counters.polls_unchanged),
            poll_latency_us_sum: read(&counters.poll_latency_us),
            recoveries: read(&counters.recoveries),
            calls: read(&counters.calls),
            events: read(&counters.events),
            events_lost: read(&counters.events_lost),
        }
    }

    fn restart_left(&self) -> Option<Duration> {
        let until = (*lock(&self.restart_until))?;
        until.checked_duration_since(Instant::now())
    }

    fn show(&self, snapshot: BotSnapshot) {
        let snapshot = Arc::new(snapshot);
        self.snapshot.store(snapshot.clone());
        self.changes.send_replace(snapshot);
    }
}

/// Asks the bot for its state, once per interval, until the stop.
pub(super) async fn poll(link: Arc<BotLink>, stopping: CancellationToken) {
    let mut poller = StatePoller::new(link);
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            () = tokio::time::sleep_until(poller.next_poll.into()) => poller.ask(),
            Some(outcome) = poller.open.next(), if !poller.open.is_empty() => poller.digest(outcome),
            look = next_look(&mut poller.looking), if poller.looking.is_some() => {
                poller.looking = None;
                poller.looked = Some(look);
            }
        }
        poller.judge();
    }
    poller.save(true);
}

async fn next_look(pending: &mut Option<PendingEvidence>) -> OutsideEvidence {
    match pending {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}

/// The poller's own memory. It starts afresh after a panic; what readers see does not.
struct StatePoller {
    link: Arc<BotLink>,
    open: FuturesUnordered<PendingPoll>,
    next_poll: Instant,
    ticked_at: Instant,
    newest_poll: Option<Instant>,
    /// Since when there has been a question without an answer.
    asking_since: Option<Instant>,
    answered_at: Option<Instant>,
    latency: Option<Duration>,
    failed: Option<String>,
    /// The poll that failed was answered all the same, with something else than this bot's contract.
    failed_but_answered: Option<TransportFailure>,
    /// Of the bot's processes, while it is away.
    cpu: Option<CpuWatch>,
    looking: Option<PendingEvidence>,
    looked: Option<OutsideEvidence>,
    connection: Option<Arc<BotConnection>>,
    hello: Option<Arc<Hello>>,
    etag: Option<String>,
    bytes: usize,
    saved_at: Option<Instant>,
    unsaved: bool,
    slow_told_at: Option<Instant>,
    shown_at: Instant,
    /// Silence before the first answer counts from here.
    started_at: Instant,
    heard_something: bool,
    /// It answered this run of botops once, and then went away.
    lost: bool,
}

impl StatePoller {
    fn new(link: Arc<BotLink>) -> Self {
        let now = Instant::now();
        Self {
            link,
            open: FuturesUnordered::new(),
            next_poll: now,
            ticked_at: now,
            newest_poll: None,
            asking_since: None,
            answered_at: None,
            latency: None,
            failed: None,
            failed_but_answered: None,
            cpu: None,
            looking: None,
            looked: None,
            connection: None,
            hello: None,
            etag: None,
            bytes: 0,
            saved_at: None,
            unsaved: false,
            slow_told_at: None,
            shown_at: now,
            started_at: now,
            heard_something: false,
            lost: false,
        }
    }

    /// Starts a poll, unless one is open and still young, or the process is known to be stopped.
    fn ask(&mut self) {
        let now = Instant::now();
        self.ticked_at = now;
        let waits = !self.open.is_empty();
        let early = self.asking_since.is_some_and(|since| now - since < ON_TIME)
            || self.newest_poll.is_some_and(|started| now - started < RETRY);
        // Each try would leave one more dead connection in the queue of a process that cannot accept.
        let pointless =
            self.link.snapshot.load().presence == Presence::Hung && self.process() == ProcessState::Stopped;
        if waits && (early || pointless) {
            return;
        }
        self.newest_poll = Some(now);
        self.asking_since.get_or_insert(now);
        self.link.counters.polls.fetch_add(1, Ordering::Relaxed);
        let etag = self.etag.clone().filter(|_| self.link.snapshot.load().report.is_some());
        // A bot that owes an answer is asked the cheap question first: who it is.
        let known = self.connection.clone().zip(self.hello.clone()).filter(|_| !waits);
        let question = ask(self.link.clone(), known, etag);
        // A hung bot that is stopped gets one question that waits for it, however long.
        let limit = if pointless { Duration::from_secs(3600) } else { SILENCE };
        self.open.push(Box::pin(async move {
            tokio::time::timeout(limit, question).await.unwrap_or(Err(TransportFailure::Late))
        }));
    }

    fn digest(&mut self, outcome: Result<PollAnswer, TransportFailure>) {
        self.heard_something = true;
        self.failed_but_answered = None;
        if matches!(outcome, Ok(_) | Err(TransportFailure::Nonsense(_) | TransportFailure::AnotherBot(_))) {
            self.link.note_sign_of_life();
        }
        match outcome {
            Ok(heard) => self.take(heard),
            Err(failure) => self.fail(failure),
        }
    }

    fn take(&mut self, heard: PollAnswer) {
        let now = Instant::now();
        // Older questions have nothing to add.
        self.open.clear();
        self.asking_since = None;
        self.failed = None;
        self.answered_at = Some(now);
        self.latency = Some(heard.latency);
        let latency_us = u64::try_from(heard.latency.as_micros()).unwrap_or(u64::MAX);
        self.link.counters.poll_latency_us.fetch_add(latency_us, Ordering::Relaxed);
        let new_life = self.hello.as_ref().is_none_or(|known| known.boot_epoch != heard.hello.boot_epoch);
        if new_life {
            *lock(&self.link.processes) =
                BotProcesses::behind(&heard.hello, &heard.connection, &self.link.options.socket);
            *lock(&self.link.restart_until) = None;
            self.tell_of_new_life(&heard.hello);
        }
        self.hello = Some(heard.hello.clone());
        self.connection = Some(heard.connection.clone());
        self.link.connection.store(Some(heard.connection));
        let mut snapshot = BotSnapshot::clone(&self.link.snapshot.load());
        match heard.news {
            Some(news) => {
                let before = snapshot.report.replace(news.report.clone());
                let as_of = before.as_ref().map(|old| old.as_of).zip(snapshot.as_of_seen);
                snapshot.as_of_seen = Some(FirstSeen::after(as_of, news.report.as_of));
                let tick = before.and_then(|old| old.loop_stats.last_tick_at).zip(snapshot.tick_seen);
                snapshot.tick_seen = news.report.loop_stats.last_tick_at.map(|at| FirstSeen::after(tick, at));
                snapshot.dropped = news.dropped;
                self.etag = news.etag;
                self.bytes = news.bytes;
            }
            None => {
                self.link.counters.polls_unchanged.fetch_add(1, Ordering::Relaxed);
            }
        }
        snapshot.hello = Some(heard.hello);
        snapshot.received = Some(now);
        snapshot.received_at = Some(Utc::now());
        snapshot.poll_latency = Some(heard.latency);
        // Shown by `judge`, which follows at once.
        self.link.snapshot.store(Arc::new(snapshot));
        self.unsaved = true;
        self.save(false);
    }

    fn fail(&mut self, failure: TransportFailure) {
        self.link.counters.poll_failures.fetch_add(1, Ordering::Relaxed);
        let answered = matches!(failure, TransportFailure::Nonsense(_) | TransportFailure::AnotherBot(_));
        self.failed_but_answered = answered.then(|| failure.clone());
        let reason = match failure {
            // Still waiting, as far as anybody can tell.
            TransportFailure::Late => return,
            TransportFailure::Away(reason) | TransportFailure::AnotherBot(reason) => reason,
            TransportFailure::Cut => "it closed the connection without an answer".to_owned(),
            TransportFailure::Nonsense(reason) => {
                format!("something answers, but not with the bot contract: {reason}")
            }
        };
        self.failed = Some(reason);
        if self.open.is_empty() {
            self.asking_since = None;
        }
        // Whoever answers next has to say who it is.
        self.hello = None;
        self.connection = None;
        self.etag = None;
    }

    /// Decides what presence is now, shows it, and tells of a change.
    fn judge(&mut self) {
        let now = Instant::now();
        let before = self.link.snapshot.load_full();
        let remark = self.hello.as_ref().and_then(|hello| remark_on(hello, &lock(&self.link.processes)));
        let (presence, presence_reason) = presence::judge(&PresenceFacts {
            ever_seen: before.hello.is_some(),
            answered: self.latency.map(|latency| (latency, remark.as_deref())),
            failed: self.failed.as_deref(),
            failed_unreadable: matches!(self.failed_but_answered, Some(TransportFailure::Nonsense(_))),
            silent_for: self.silent_for(now),
            process: self.process_if_away(),
            restart_left: self.link.restart_left(),
        });
        self.schedule(presence);
        let changed = presence != before.presence;
        let due = self.heard_something || (!presence.answers() && now - self.shown_at >= RETRY);
        if !changed && !due {
            return;
        }
        self.heard_something = false;
        self.shown_at = now;
        let mut snapshot = BotSnapshot::clone(&before);
        snapshot.presence = presence;
        snapshot.presence_reason = presence_reason;
        snapshot.next_poll = self.next_poll;
        snapshot.polls = self.link.counters.polls.load(Ordering::Relaxed);
        snapshot.unasked_restart = Arc::new(self.judge_unasked_restart(presence, snapshot.hello.as_deref()));
        if changed {
            snapshot.since = Utc::now();
            self.tell_of_presence(&before, &snapshot);
        }
        let left = changed && before.presence.answers() && !presence.answers();
        self.link.show(snapshot);
        if left {
            self.lost = true;
            self.save(true);
        }
        if presence.answers() && std::mem::take(&mut self.lost) {
            self.link.counters.recoveries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The next tick: one interval after the last, or sooner while there is a doubt.
    fn schedule(&mut self, presence: Presence) {
        let interval = self.link.options.poll_interval;
        let doubt = !presence.answers() || !self.open.is_empty();
        self.next_poll = self.ticked_at + if doubt { interval.min(RETRY) } else { interval };
    }

    /// How long an answer has been missing. The time between the last answer and the question counts too, up to
    /// one interval, so that silence is measured from when the bot was last heard.
    fn silent_for(&self, now: Instant) -> Option<Duration> {
        let asking_since = self.asking_since?;
        let gap = self.answered_at.filter(|_| self.failed.is_none()).map(|at| asking_since - at);
        Some(now - asking_since + gap.unwrap_or_default().min(RETRY))
    }

    /// The process table is read only when there is a doubt.
    fn process_if_away(&self) -> ProcessState {
        let doubt = self.failed.is_some()
            || self.asking_since.is_some_and(|since| since.elapsed() >= ON_TIME)
            || self.latency.is_none();
        if doubt { self.process() } else { ProcessState::Alive }
    }

    fn process(&self) -> ProcessState {
        self.link.processes().with_listener(self.link.listener()).state()
    }

    /// Collects what is known of a bot that does not answer, and judges whether it is proven dead.
    fn judge_unasked_restart(&mut self, presence: Presence, hello: Option<&Hello>) -> UnaskedRestart {
        let answers = presence.answers() || self.failed_but_answered.is_some();
        if answers {
            (self.cpu, self.looking, self.looked) = (None, None, None);
        }
        let processes = self.link.processes().with_listener(self.link.listener());
        let process = if answers { ProcessState::Alive } else { processes.state() };
        let lives = !answers && matches!(process, ProcessState::Alive | ProcessState::Stopped);
        let (idle_for, cpu_moved) =
            if lives { self.watch_cpu(processes.cpu_ticks()) } else { (Duration::ZERO, false) };
        let silent_for = lock(&self.link.last_sign).unwrap_or(self.started_at).elapsed();
        if !answers {
            self.look_outside(hello, process, silent_for);
        }
        let supervisor = &self.link.options.supervisor;
        let log = match self.looked {
            None => LogActivity::NotLooked,
            Some(OutsideEvidence { newest_log: None, .. }) => LogActivity::Invisible,
            Some(OutsideEvidence { newest_log: Some(at), .. }) => {
                LogActivity::Wrote(at.elapsed().unwrap_or_default())
            }
        };
        let evidence = DeathEvidence {
            answers,
            ever_seen: hello.is_some(),
            is_restarting: presence == Presence::Reloading,
            driver: supervisor.driver(),
            can_start: supervisor.can_start(),
            process,
            pid: processes.known.first().map(|process| process.pid),
            claimed: processes.claimed_living().map(|process| process.pid),
            supervisor_says_stopped: self.looked.and_then(|looked| looked.supervisor_says_stopped),
            silent_for,
            idle_for,
            cpu_moved,
            log,
            address: &self.link.options.socket.to_string_lossy(),
        };
        evidence.judge()
    }

    /// Since when the CPU time of the bot's processes has not moved, and whether it ever did while it was watched.
    fn watch_cpu(&mut self, ticks: u64) -> (Duration, bool) {
        let watch = self.cpu.get_or_insert(CpuWatch { ticks, since: Instant::now(), moved: false });
        if watch.ticks != ticks {
            *watch = CpuWatch { ticks, since: Instant::now(), moved: true };
        }
        (watch.since.elapsed(), watch.moved)
    }

    /// Begins a look at the log folder and at the supervisor where the answer can matter. A folder on a disk that hangs
    /// keeps this look, not the poll.
    fn look_outside(&mut self, hello: Option<&Hello>, process: ProcessState, silent_for: Duration) {
        let is_recent = self.looked.is_some_and(|looked| looked.at.elapsed() < LOOK_OUTSIDE_EVERY);
        let unseen = process == ProcessState::Unknown;
        let may_be_hung = process != ProcessState::Gone && silent_for + LOOK_OUTSIDE_EVERY * 2 >= HUNG_AFTER;
        if self.looking.is_some() || is_recent || !(unseen || may_be_hung) {
            return;
        }
        let supervisor = self.link.options.supervisor.clone();
        let folder = hello.and_then(|hello| hello.log_dir.clone());
        self.looking = Some(Box::pin(async move {
            let newest_log = match folder {
                Some(folder) => tokio::task::spawn_blocking(move || newest_log(&folder)).await.ok().flatten(),
                None => None,
            };
            let supervisor_says_stopped = if unseen { supervisor.says_stopped().await } else { None };
            OutsideEvidence { at: Instant::now(), supervisor_says_stopped, newest_log }
        }));
    }

    fn tell_of_new_life(&self, hello: &Hello) {
        let before = self.link.snapshot.load();
        let Some(known) = before.hello.as_ref().filter(|known| known.boot_epoch != hello.boot_epoch) else {
            return;
        };
        let pid = self.link.processes().known.first().map(|process| process.pid);
        let process = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
        let message = format!("bot {} started again: a new life{process}", self.link.options.id);
        self.publish(
            Severity::Medium,
            message,
            json!({
                "bot_id": self.link.options.id,
                "boot_epoch": hello.boot_epoch,
                "previous_boot_epoch": known.boot_epoch,
                "pid": pid,
                "version": hello.version,
                "mode": hello.mode,
            }),
        );
    }

    fn tell_of_presence(&mut self, before: &BotSnapshot, now: &BotSnapshot) {
        let id = &self.link.options.id;
        let (presence, reason) = (now.presence, &now.presence_reason);
        let between_slow_and_connected = presence.answers() && before.presence.answers();
        if between_slow_and_connected {
            if self.slow_told_at.is_some_and(|at| at.elapsed() < SLOW_EVENT_EVERY) {
                return;
            }
            self.slow_told_at = Some(Instant::now());
        }
        let severity = match presence {
            Presence::Connected | Presence::Reloading => Severity::Low,
            Presence::Slow | Presence::Incompatible => Severity::Medium,
            Presence::Hung | Presence::Exited | Presence::Unreachable | Presence::NeverSeen => Severity::High,
        };
        if presence.is_offline() {
            tracing::warn!(bot.id = %id, bot.presence = %presence, "bot {id} is {presence}: {reason}");
        } else {
            tracing::info!(bot.id = %id, bot.presence = %presence, "bot {id} is {presence}: {reason}");
        }
        self.publish(
            severity,
            format!("bot {id} is {presence}: {reason}"),
            json!({
                "bot_id": id,
                "presence": presence,
                "previous": before.presence,
                "reason": reason,
            }),
        );
    }

    fn publish(&self, severity: Severity, message: String, data: serde_json::Value) {
        self.link.events.publish(NewEvent::own(EventKind::Lifecycle, severity, message, data));
    }

    /// Stores the last good report, so that a later run of botops knows it when the bot is dead by then.
    fn save(&mut self, at_once: bool) {
        let times = u32::try_from(self.bytes / SAVE_BYTES + 1).unwrap_or(u32::MAX);
        let due = self.saved_at.is_none_or(|at| at.elapsed() >= SAVE_EVERY.saturating_mul(times));
        if !self.unsaved || !(due || at_once) {
            return;
        }
        let snapshot = self.link.snapshot.load();
        let (Some(hello), Some(report), Some(received_at)) =
            (&snapshot.hello, &snapshot.report, snapshot.received_at)
        else {
            return;
        };
        let kept = SavedBotState {
            hello: Hello::clone(hello),
            report: BotReport::clone(report),
            received_at,
            process: None,
            processes: self.link.processes(),
        };
        let Ok(text) = serde_json::to_string(&kept) else { return };
        self.unsaved = false;
        self.saved_at = Some(Instant::now());
        let key = kept_key(&self.link.options);
        self.link.store.post("the bot's last state", move |connection| {
            connection.prepare_cached(
                "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            )?.execute([key, text])?;
            Ok(())
        });
    }
}

/// One poll: check the socket, learn who is there if that is not known, read the state.
async fn ask(
    link: Arc<BotLink>,
    known: Option<(Arc<BotConnection>, Arc<Hello>)>,
    etag: Option<String>,
) -> Result<PollAnswer, TransportFailure> {
    let started = Instant::now();
    let file = transport::look(&link.options.socket)?;
    let (connection, hello, etag) = match known.filter(|(connection, _)| connection.file == file) {
        Some((connection, hello)) => (connection, hello, etag),
        None => {
            let connection = Arc::new(transport::connect(&link.options.socket, file).await?);
            *lock(&link.listener) = ProcessId::listening(&connection, &link.options.socket);
            let hello = introduce(&link, &connection).await?;
            (connection, hello, None)
        }
    };
    let Ok(_permit) = link.state_questions.acquire().await else { return Err(TransportFailure::Late) };
    let mut request = connection.poll("state");
    if let Some(etag) = &etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let answer = transport::read_whole(request).await?;
    if answer.status == StatusCode::NOT_MODIFIED && etag.is_some() {
        return Ok(PollAnswer { connection, hello, news: None, latency: started.elapsed() });
    }
    let latency = started.elapsed();
    let mut report: BotReport = parse(&answer)?;
    let dropped = sanitise::report(&mut report);
    let hello =
        if report.boot_epoch == hello.boot_epoch { hello } else { introduce(&link, &connection).await? };
    if report.boot_epoch != hello.boot_epoch {
        return Err(TransportFailure::Nonsense("state and hello name different lives".to_owned()));
    }
    let news = FreshReport { report: Arc::new(report), dropped, etag: answer.etag, bytes: answer.body.len() };
    Ok(PollAnswer { connection, hello, news: Some(news), latency })
}

async fn introduce(link: &BotLink, connection: &BotConnection) -> Result<Arc<Hello>, TransportFailure> {
    let answer = transport::read_whole(connection.poll("hello")).await?;
    let mut hello: Hello = parse(&answer)?;
    sanitise::hello(&mut hello);
    if hello.bot_id != link.options.id {
        let (found, wanted) = (&hello.bot_id, &link.options.id);
        return Err(TransportFailure::AnotherBot(format!(
            "bot `{found}` answers on the socket of bot `{wanted}`; it is not used"
        )));
    }
    Ok(Arc::new(hello))
}

fn parse<T: serde::de::DeserializeOwned>(answer: &HttpAnswer) -> Result<T, TransportFailure> {
    if answer.status != StatusCode::OK {
        return Err(TransportFailure::Nonsense(format!("status {}", answer.status.as_u16())));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| TransportFailure::Nonsense(transport::not_json(&error)))
}

/// What is remarkable about a bot that answers well.
fn remark_on(hello: &Hello, processes: &BotProcesses) -> Option<String> {
    if let Some(claimed) = processes.claimed {
        return Some(format!(
            "it answers on time; it names process {} as its own, which is not the one that listens on its socket",
            claimed.pid
        ));
    }
    let (theirs, ours) = (hello.contract, botops_contract::VERSION);
    match theirs.cmp(&ours) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(format!(
            "it answers on time, with the older contract {theirs} (botops speaks {ours}): newer fields are missing"
        )),
        std::cmp::Ordering::Greater => Some(format!(
            "it answers on time, with the newer contract {theirs} (botops speaks {ours}): newer fields are not shown"
        )),
    }
}

fn first_sight(options: &BotsOptions, kept: Option<&SavedBotState>) -> BotSnapshot {
    let now = Instant::now();
    let age = kept.and_then(|kept| (Utc::now() - kept.received_at).to_std().ok());
    BotSnapshot {
        id: options.id.clone(),
        hello: kept.map(|kept| Arc::new(kept.hello.clone())),
        report: kept.map(|kept| Arc::new(kept.report.clone())),
        dropped: DroppedItems::default(),
        presence: if kept.is_some() { Presence::Unreachable } else { Presence::NeverSeen },
        presence_reason: "botops has only just started and has not asked it yet".to_owned(),
        since: Utc::now(),
        received: age.and_then(|age| now.checked_sub(age)),
        received_at: kept.map(|kept| kept.received_at),
        as_of_seen: None,
        tick_seen: None,
        next_poll: now,
        poll_latency: None,
        polls: 0,
        unasked_restart: Arc::new(UnaskedRestart::not_asked_yet()),
    }
}

impl SavedBotState {
    fn known_processes(&self) -> BotProcesses {
        let mut processes = self.processes.clone();
        // It may be the bot's word alone, so it is never touched.
        processes.claimed = processes.claimed.or(self.process);
        processes
    }
}

/// Files that botops writes: in a folder that both log to they are no sign of the bot.
const OWN_LOGS: &[&str] = &["botops", "workflow_execution_log"];

/// When the newest file of the bot's log folder was written.
fn newest_log(folder: &str) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).take(LOG_FILES_MAX);
    let is_own = |name: &str| OWN_LOGS.iter().any(|own| name.starts_with(own));
    let of_the_bot = entries.filter(|entry| !is_own(&entry.file_name().to_string_lossy()));
    let files = of_the_bot.filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file);
    files.filter_map(|file| file.modified().ok()).max()
}

fn kept_key(options: &BotsOptions) -> String {
    format!("bot_seen:{}", options.id)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
