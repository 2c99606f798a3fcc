//! The link to one bot: polls its state, judges whether it is there, keeps the last good report.
//!
//! One task asks once per interval, whatever the number of readers. A question that is not answered stays open for
//! 5 s; after the first 2 s the bot is asked each second who it is, which costs it nothing, so that a bot that comes
//! back is seen at once, one that needs 3 s is still understood, and one that struggles is not buried in questions. Deliberately absent: reactions. Presence changes are events; others act on them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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

use super::presence::{self, Facts, ON_TIME, Presence, Process, SILENCE};
use super::process::{ProcessId, look_at, process_of};
use super::seen::{Dropped, Seen};
use super::transport::{self, Answer, Connection, Failure};
use super::{BotsOptions, CallError, Stats, sanitise};
use crate::contract::{self, BotReport, EventKind, Hello, Severity};
use crate::error::Error;
use crate::events::{Events, NewEvent};
use crate::store::Store;

/// While the bot is away, and while a question is open, it is asked this often, so that its return is seen soon.
const RETRY: Duration = Duration::from_secs(1);

/// A small report is stored at most this often; a larger one accordingly less.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// The size of report that is stored each [`SAVE_EVERY`].
const SAVE_BYTES: usize = 64 * 1024;

/// A bot at the edge of slowness is reported once in this time.
const SLOW_EVENT_EVERY: Duration = Duration::from_secs(60);

/// What the handle, the poller and the event follower share.
#[derive(Debug)]
pub(super) struct Link {
    pub options: BotsOptions,
    pub store: Store,
    pub events: Events,
    pub seen: ArcSwap<Seen>,
    pub changes: watch::Sender<Arc<Seen>>,
    pub counters: Counters,
    /// To the peer that gave the last good answer.
    pub connection: ArcSwapOption<Connection>,
    /// How many questions for the whole state may be open: the usual one, and one more in case that was lost.
    state_questions: Semaphore,
    restart_until: Mutex<Option<Instant>>,
    /// The process that answered last.
    process: Mutex<Option<ProcessId>>,
}

/// See [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
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
struct Kept {
    hello: Hello,
    report: BotReport,
    received_at: DateTime<Utc>,
    process: Option<ProcessId>,
}

/// What a poll brought.
struct Heard {
    connection: Arc<Connection>,
    hello: Arc<Hello>,
    /// `None`: nothing changed since the last answer.
    news: Option<News>,
    latency: Duration,
}

struct News {
    report: Arc<BotReport>,
    dropped: Dropped,
    etag: Option<String>,
    bytes: usize,
}

type Poll = Pin<Box<dyn Future<Output = Result<Heard, Failure>> + Send>>;

impl Link {
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
        let kept: Option<Kept> = kept.and_then(|text| serde_json::from_str(&text).ok());
        let seen = Arc::new(first_sight(&options, kept.as_ref()));
        Ok(Self {
            options,
            store,
            events,
            changes: watch::Sender::new(seen.clone()),
            seen: ArcSwap::new(seen),
            counters: Counters::default(),
            connection: ArcSwapOption::empty(),
            state_questions: Semaphore::new(2),
            restart_until: Mutex::new(None),
            process: Mutex::new(kept.and_then(|kept| kept.process)),
        })
    }

    /// A way to the bot for a call that wants `capability`, or why there is none.
    pub fn connection_for_call(&self, capability: &str) -> Result<Arc<Connection>, CallError> {
        let seen = self.seen.load();
        let away = |reason: &str| CallError::NotDelivered(format!("the bot is {}: {reason}", seen.presence));
        // A command that waits in the socket of a hung bot would act at a time nobody chose.
        let connection = self.connection.load_full().filter(|_| seen.presence.answers());
        let (Some(connection), Some(hello)) = (connection, &seen.hello) else {
            return Err(away(&seen.presence_reason));
        };
        if !hello.capabilities.iter().any(|known| known == capability) {
            return Err(CallError::NotCapable(capability.to_owned()));
        }
        match transport::look(&self.options.socket) {
            Ok(file) if file == connection.file => Ok(connection),
            Ok(_) => Err(CallError::NotDelivered("its socket was replaced a moment ago".to_owned())),
            Err(Failure::Away(reason)) => Err(CallError::NotDelivered(reason)),
            Err(_) => Err(CallError::NotDelivered("its socket cannot be used".to_owned())),
        }
    }

    pub fn expect_restart(&self, until: Instant) {
        *lock(&self.restart_until) = Some(until);
    }

    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
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

    fn show(&self, seen: Seen) {
        let seen = Arc::new(seen);
        self.seen.store(seen.clone());
        self.changes.send_replace(seen);
    }
}

/// Asks the bot for its state, once per interval, until the stop.
pub(super) async fn poll(link: Arc<Link>, stopping: CancellationToken) {
    let mut poller = Poller::new(link);
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            () = tokio::time::sleep_until(poller.next_poll.into()) => poller.ask(),
            Some(outcome) = poller.open.next(), if !poller.open.is_empty() => poller.digest(outcome),
        }
        poller.judge();
    }
    poller.save(true);
}

/// The poller's own memory. It starts afresh after a panic; what readers see does not.
struct Poller {
    link: Arc<Link>,
    open: FuturesUnordered<Poll>,
    next_poll: Instant,
    ticked_at: Instant,
    newest_poll: Option<Instant>,
    /// Since when there has been a question without an answer.
    asking_since: Option<Instant>,
    answered_at: Option<Instant>,
    latency: Option<Duration>,
    failed: Option<String>,
    connection: Option<Arc<Connection>>,
    hello: Option<Arc<Hello>>,
    etag: Option<String>,
    bytes: usize,
    saved_at: Option<Instant>,
    unsaved: bool,
    slow_told_at: Option<Instant>,
    shown_at: Instant,
    heard_something: bool,
    /// It answered this run of botops once, and then went away.
    lost: bool,
}

impl Poller {
    fn new(link: Arc<Link>) -> Self {
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
            connection: None,
            hello: None,
            etag: None,
            bytes: 0,
            saved_at: None,
            unsaved: false,
            slow_told_at: None,
            shown_at: now,
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
            self.link.seen.load().presence == Presence::Hung && self.process() == Process::Stopped;
        if waits && (early || pointless) {
            return;
        }
        self.newest_poll = Some(now);
        self.asking_since.get_or_insert(now);
        self.link.counters.polls.fetch_add(1, Ordering::Relaxed);
        let etag = self.etag.clone().filter(|_| self.link.seen.load().report.is_some());
        // A bot that owes an answer is asked the cheap question first: who it is.
        let known = self.connection.clone().zip(self.hello.clone()).filter(|_| !waits);
        let question = ask(self.link.clone(), known, etag);
        // A hung bot that is stopped gets one question that waits for it, however long.
        let limit = if pointless { Duration::from_secs(3600) } else { SILENCE };
        self.open.push(Box::pin(async move {
            tokio::time::timeout(limit, question).await.unwrap_or(Err(Failure::Late))
        }));
    }

    fn digest(&mut self, outcome: Result<Heard, Failure>) {
        self.heard_something = true;
        match outcome {
            Ok(heard) => self.take(heard),
            Err(failure) => self.fail(failure),
        }
    }

    fn take(&mut self, heard: Heard) {
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
            *lock(&self.link.process) = process_of(&heard.hello, &heard.connection);
            *lock(&self.link.restart_until) = None;
            self.tell_of_new_life(&heard.hello);
        }
        self.hello = Some(heard.hello.clone());
        self.connection = Some(heard.connection.clone());
        self.link.connection.store(Some(heard.connection));
        let mut seen = Seen::clone(&self.link.seen.load());
        match heard.news {
            Some(news) => {
                seen.report = Some(news.report);
                seen.dropped = news.dropped;
                self.etag = news.etag;
                self.bytes = news.bytes;
            }
            None => {
                self.link.counters.polls_unchanged.fetch_add(1, Ordering::Relaxed);
            }
        }
        seen.hello = Some(heard.hello);
        seen.received = Some(now);
        seen.received_at = Some(Utc::now());
        seen.poll_latency = Some(heard.latency);
        // Shown by `judge`, which follows at once.
        self.link.seen.store(Arc::new(seen));
        self.unsaved = true;
        self.save(false);
    }

    fn fail(&mut self, failure: Failure) {
        self.link.counters.poll_failures.fetch_add(1, Ordering::Relaxed);
        let reason = match failure {
            // Still waiting, as far as anybody can tell.
            Failure::Late => return,
            Failure::Away(reason) => reason,
            Failure::Cut => "it closed the connection without an answer".to_owned(),
            Failure::Nonsense(reason) => {
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
        let before = self.link.seen.load_full();
        let remark = self.hello.as_ref().and_then(|hello| remark_on(hello));
        let (presence, presence_reason) = presence::judge(&Facts {
            ever_seen: before.hello.is_some(),
            answered: self.latency.map(|latency| (latency, remark.as_deref())),
            failed: self.failed.as_deref(),
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
        let mut seen = Seen::clone(&before);
        seen.presence = presence;
        seen.presence_reason = presence_reason;
        seen.next_poll = self.next_poll;
        seen.polls = self.link.counters.polls.load(Ordering::Relaxed);
        if changed {
            seen.since = Utc::now();
            self.tell_of_presence(&before, &seen);
        }
        let left = changed && before.presence.answers() && !presence.answers();
        self.link.show(seen);
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
    fn process_if_away(&self) -> Process {
        let doubt = self.failed.is_some()
            || self.asking_since.is_some_and(|since| since.elapsed() >= ON_TIME)
            || self.latency.is_none();
        if doubt { self.process() } else { Process::Alive }
    }

    fn process(&self) -> Process {
        match *lock(&self.link.process) {
            Some(known) => look_at(known),
            None => Process::Unknown,
        }
    }

    fn tell_of_new_life(&self, hello: &Hello) {
        let before = self.link.seen.load();
        let Some(known) = before.hello.as_ref().filter(|known| known.boot_epoch != hello.boot_epoch) else {
            return;
        };
        let message =
            format!("bot {} started again: a new life, process {}", self.link.options.id, hello.pid);
        self.publish(
            Severity::Medium,
            message,
            json!({
                "bot_id": self.link.options.id,
                "boot_epoch": hello.boot_epoch,
                "previous_boot_epoch": known.boot_epoch,
                "pid": hello.pid,
                "version": hello.version,
                "mode": hello.mode,
            }),
        );
    }

    fn tell_of_presence(&mut self, before: &Seen, now: &Seen) {
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
            Presence::Slow => Severity::Medium,
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
        let seen = self.link.seen.load();
        let (Some(hello), Some(report), Some(received_at)) = (&seen.hello, &seen.report, seen.received_at)
        else {
            return;
        };
        let kept = Kept {
            hello: Hello::clone(hello),
            report: BotReport::clone(report),
            received_at,
            process: *lock(&self.link.process),
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
    link: Arc<Link>,
    known: Option<(Arc<Connection>, Arc<Hello>)>,
    etag: Option<String>,
) -> Result<Heard, Failure> {
    let started = Instant::now();
    let file = transport::look(&link.options.socket)?;
    let (connection, hello, etag) = match known.filter(|(connection, _)| connection.file == file) {
        Some((connection, hello)) => (connection, hello, etag),
        None => {
            let connection = Arc::new(transport::connect(&link.options.socket, file).await?);
            let hello = introduce(&link, &connection).await?;
            (connection, hello, None)
        }
    };
    let Ok(_permit) = link.state_questions.acquire().await else { return Err(Failure::Late) };
    let mut request = connection.poll("state");
    if let Some(etag) = &etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let answer = transport::read_whole(request).await?;
    if answer.status == StatusCode::NOT_MODIFIED && etag.is_some() {
        return Ok(Heard { connection, hello, news: None, latency: started.elapsed() });
    }
    let latency = started.elapsed();
    let mut report: BotReport = parse(&answer)?;
    let dropped = sanitise::report(&mut report);
    let hello =
        if report.boot_epoch == hello.boot_epoch { hello } else { introduce(&link, &connection).await? };
    if report.boot_epoch != hello.boot_epoch {
        return Err(Failure::Nonsense("state and hello name different lives".to_owned()));
    }
    let news = News { report: Arc::new(report), dropped, etag: answer.etag, bytes: answer.body.len() };
    Ok(Heard { connection, hello, news: Some(news), latency })
}

async fn introduce(link: &Link, connection: &Connection) -> Result<Arc<Hello>, Failure> {
    let answer = transport::read_whole(connection.poll("hello")).await?;
    let mut hello: Hello = parse(&answer)?;
    sanitise::hello(&mut hello);
    if hello.bot_id != link.options.id {
        let (found, wanted) = (&hello.bot_id, &link.options.id);
        return Err(Failure::Away(format!(
            "bot `{found}` answers on the socket of bot `{wanted}`; it is not used"
        )));
    }
    Ok(Arc::new(hello))
}

fn parse<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    if answer.status != StatusCode::OK {
        return Err(Failure::Nonsense(format!("status {}", answer.status.as_u16())));
    }
    serde_json::from_slice(&answer.body).map_err(|error| Failure::Nonsense(transport::not_json(&error)))
}

/// What is remarkable about a bot that answers well.
fn remark_on(hello: &Hello) -> Option<String> {
    let (theirs, ours) = (hello.contract, contract::VERSION);
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

fn first_sight(options: &BotsOptions, kept: Option<&Kept>) -> Seen {
    let now = Instant::now();
    let age = kept.and_then(|kept| (Utc::now() - kept.received_at).to_std().ok());
    Seen {
        id: options.id.clone(),
        hello: kept.map(|kept| Arc::new(kept.hello.clone())),
        report: kept.map(|kept| Arc::new(kept.report.clone())),
        dropped: Dropped::default(),
        presence: if kept.is_some() { Presence::Unreachable } else { Presence::NeverSeen },
        presence_reason: "botops has only just started and has not asked it yet".to_owned(),
        since: Utc::now(),
        received: age.and_then(|age| now.checked_sub(age)),
        received_at: kept.map(|kept| kept.received_at),
        next_poll: now,
        poll_latency: None,
        polls: 0,
    }
}

fn kept_key(options: &BotsOptions) -> String {
    format!("bot_seen:{}", options.id)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
