//! Polls the bot's state and decides whether the bot is there.
//!
//! One task asks once per interval, whatever the number of readers. A question that is not answered stays open for
//! 5 s; after the first 2 s the bot is asked each second for its `hello`, which costs it nothing. So a bot that comes
//! back is seen at once, one that needs 3 s is still understood, and one that is overloaded is not sent more work.
//! Changes of presence are published as events; others act on them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::bot_link::BotLink;
use super::death_watch::DeathWatch;
use super::poll_question::{HELLO_CALL, PollAnswer, STATE_CALL, ask_state};
use super::saved_state::ReportSaver;
use crate::bots::absence::{AbsenceAdvice, AbsenceFacts};
use crate::bots::contradiction_watch::ContradictionWatch;
use crate::bots::earlier_processes::OtherProcesses;
use crate::bots::exchange::TransportFailure;
use crate::bots::presence::{self, ON_TIME, Presence, PresenceFacts, ProcessState, SILENCE};
use crate::bots::process::BotProcesses;
use crate::bots::snapshot::{BotSnapshot, FirstSeen};
use crate::bots::transport::BotConnection;
use crate::events::NewEvent;
use botops_contract::{EventKind, Hello, Severity};

/// While the bot is away, and while a question is open, it is asked this often, so that its return is seen soon.
const RETRY: Duration = Duration::from_secs(1);

/// A bot whose answers are late now and then is reported by an event at most once in this time.
const SLOW_EVENT_EVERY: Duration = Duration::from_secs(60);

/// A process that is stopped gets one question, which waits this long for it to go on.
const STOPPED_WAIT: Duration = Duration::from_secs(3600);

type PendingPoll = Pin<Box<dyn Future<Output = Result<PollAnswer, TransportFailure>> + Send>>;

/// Asks the bot for its state, once per interval, until the stop.
pub(in crate::bots) async fn poll(link: Arc<BotLink>, stopping: CancellationToken) {
    let mut poller = StatePoller::new(link.clone());
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            () = tokio::time::sleep_until(poller.next_poll.into()) => poller.ask(),
            () = link.news_expected() => poller.ask(),
            Some(outcome) = poller.open.next(), if !poller.open.is_empty() => poller.handle_outcome(outcome),
            () = poller.death_watch.wait_for_evidence() => {}
        }
        poller.update_presence();
    }
    poller.save(true);
}

/// What only the poller's task needs. It starts afresh after a panic; what readers see does not.
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
    /// The poll that failed was answered, but not with this bot's contract.
    failed_but_answered: Option<TransportFailure>,
    death_watch: DeathWatch,
    contradictions: ContradictionWatch,
    connection: Option<Arc<BotConnection>>,
    hello: Option<Arc<Hello>>,
    /// The last hello that named a start of the bot.
    named_start: Option<Arc<Hello>>,
    etag: Option<String>,
    saver: ReportSaver,
    slow_published_at: Option<Instant>,
    shown_at: Instant,
    has_outcome: bool,
    /// True when it answered this run of botops once, and went away since.
    lost: bool,
}

impl StatePoller {
    fn new(link: Arc<BotLink>) -> Self {
        let now = Instant::now();
        Self {
            death_watch: DeathWatch::new(link.clone()),
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
            contradictions: ContradictionWatch::default(),
            connection: None,
            hello: None,
            named_start: None,
            etag: None,
            saver: ReportSaver::default(),
            slow_published_at: None,
            shown_at: now,
            has_outcome: false,
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
        let pointless = self.link.snapshot.load().presence == Presence::Hung
            && self.link.current_processes().state() == ProcessState::Stopped;
        if waits && (early || pointless) {
            return;
        }
        self.newest_poll = Some(now);
        self.asking_since.get_or_insert(now);
        self.link.counters.polls.fetch_add(1, Ordering::Relaxed);
        let etag = self.etag.clone().filter(|_| self.link.snapshot.load().report.is_some());
        // A bot that owes an answer is asked the cheap question first: who it is.
        let known = self.connection.clone().zip(self.hello.clone()).filter(|_| !waits);
        let question = ask_state(self.link.clone(), known, etag);
        // A hung bot that is stopped gets one question that waits for it, however long.
        let limit = if pointless { STOPPED_WAIT } else { SILENCE };
        self.open.push(Box::pin(async move {
            tokio::time::timeout(limit, question).await.unwrap_or(Err(TransportFailure::Late))
        }));
    }

    fn handle_outcome(&mut self, outcome: Result<PollAnswer, TransportFailure>) {
        self.has_outcome = true;
        self.failed_but_answered = None;
        if outcome.as_ref().map_or_else(TransportFailure::was_answered, |_| true) {
            self.link.record_contact();
        }
        match outcome {
            Ok(answer) => self.accept(answer),
            Err(failure) => self.fail(failure),
        }
    }

    fn accept(&mut self, answer: PollAnswer) {
        let now = Instant::now();
        // Older questions have nothing to add.
        self.open.clear();
        self.asking_since = None;
        self.failed = None;
        self.answered_at = Some(now);
        self.link.options.supervisor.note_answer();
        self.latency = Some(answer.latency);
        let latency_us = u64::try_from(answer.latency.as_micros()).unwrap_or(u64::MAX);
        self.link.counters.poll_latency_us.fetch_add(latency_us, Ordering::Relaxed);
        let is_new_boot = self.hello.as_ref().is_none_or(|known| !known.is_same_start(&answer.hello));
        if is_new_boot {
            self.link.begin_boot(BotProcesses::behind(&answer.hello, answer.connection.peer()));
            self.publish_new_boot(&answer.hello);
        }
        self.hello = Some(answer.hello.clone());
        if let Some(parts) = answer.hello_unreadable {
            self.link.replace_unreadable(HELLO_CALL, parts);
        }
        self.connection = Some(answer.connection.clone());
        self.link.connection.store(Some(answer.connection));
        let mut snapshot = BotSnapshot::clone(&self.link.snapshot.load());
        match answer.fresh {
            Some(fresh) => {
                self.contradictions.note_account(&snapshot, &fresh.report);
                let before = snapshot.report.replace(fresh.report.clone());
                let as_of = before.as_ref().and_then(|old| old.as_of).zip(snapshot.as_of_seen);
                snapshot.as_of_seen = fresh.report.as_of.map(|at| FirstSeen::after(as_of, at));
                let tick = before.and_then(|old| old.loop_stats.last_tick_at).zip(snapshot.tick_seen);
                snapshot.tick_seen =
                    fresh.report.loop_stats.last_tick_at.map(|at| FirstSeen::after(tick, at));
                snapshot.dropped = fresh.dropped;
                self.link.replace_unreadable(STATE_CALL, fresh.unreadable);
                snapshot.unreadable_more = fresh.unreadable_more;
                self.etag = fresh.etag;
                self.saver.record_change(Some(fresh.bytes));
            }
            None => {
                self.link.counters.polls_unchanged.fetch_add(1, Ordering::Relaxed);
                self.saver.record_change(None);
            }
        }
        let unreadable = self.link.unreadable_parts();
        if *snapshot.unreadable != unreadable {
            snapshot.unreadable = Arc::new(unreadable);
        }
        snapshot.hello = Some(answer.hello);
        snapshot.received = Some(now);
        snapshot.received_at = Some(Utc::now());
        snapshot.poll_latency = Some(answer.latency);
        // Shown by `update_presence`, which follows at once.
        self.link.snapshot.store(Arc::new(snapshot));
        self.save(false);
    }

    fn fail(&mut self, failure: TransportFailure) {
        self.link.counters.poll_failures.fetch_add(1, Ordering::Relaxed);
        self.failed_but_answered = failure.was_answered().then(|| failure.clone());
        let reason = match failure {
            // Late, but an answer may still come.
            TransportFailure::Late => return,
            TransportFailure::Away(reason)
            | TransportFailure::AnotherBot(reason)
            | TransportFailure::Upstream(_, reason) => reason,
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

    /// Decides what presence is now, shows it to readers, and publishes a change.
    fn update_presence(&mut self) {
        let now = Instant::now();
        let before = self.link.snapshot.load_full();
        let remark = self.hello.as_ref().and_then(|hello| contract_remark(hello, &self.link.processes()));
        let (presence, presence_reason) = presence::decide_presence(&PresenceFacts {
            ever_seen: before.hello.is_some(),
            answered: self.latency.map(|latency| (latency, remark.as_deref())),
            failed: self.failed.as_deref(),
            failed_unreadable: matches!(self.failed_but_answered, Some(TransportFailure::Nonsense(_))),
            upstream: match &self.failed_but_answered {
                Some(TransportFailure::Upstream(fault, _)) => Some(*fault),
                _ => None,
            },
            silent_for: self.silent_for(now),
            says_hello: self.link.says_hello(),
            process: self.process_if_away(),
            restart_left: self.link.restart_left(),
        });
        self.schedule(presence);
        let changed = presence != before.presence;
        let due = self.has_outcome || (!presence.answers() && now - self.shown_at >= RETRY);
        if !changed && !due {
            return;
        }
        self.has_outcome = false;
        self.shown_at = now;
        let mut snapshot = BotSnapshot::clone(&before);
        snapshot.presence = presence;
        snapshot.presence_reason = presence_reason;
        snapshot.next_poll = self.next_poll;
        snapshot.polls = self.link.counters.polls.load(Ordering::Relaxed);
        // One that says who it is answers, although a question for its state is open.
        let says_hello = self.failed.is_none() && self.link.says_hello();
        let answers = presence.answers() || self.failed_but_answered.is_some() || says_hello;
        snapshot.unasked_restart = Arc::new(self.death_watch.decide(&snapshot, answers));
        snapshot.operator = self.link.operator.observe(&snapshot);
        let options = &self.link.options;
        snapshot.contradictions =
            self.contradictions.observe(&snapshot, options.poll_interval, &self.link.events);
        snapshot.other_processes = self.find_other_processes(&snapshot);
        snapshot.absence = self.advise_on_absence(&snapshot).map(Arc::new);
        if changed {
            snapshot.since = Utc::now();
            self.publish_presence(&before, &snapshot);
        }
        let left = changed && before.presence.answers() && !presence.answers();
        self.link.publish_snapshot(snapshot);
        if left {
            self.lost = true;
            self.save(true);
        }
        if presence.answers() && std::mem::take(&mut self.lost) {
            self.link.counters.recoveries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Processes of the bot that run on beside the one that answers; the event tells of them once, and of their end.
    fn find_other_processes(&self, snapshot: &BotSnapshot) -> Option<Arc<OtherProcesses>> {
        if !snapshot.presence.answers() {
            return None;
        }
        let found = self.link.find_other_processes();
        let before = snapshot.other_processes.as_deref();
        if found.as_ref() == before {
            return snapshot.other_processes.clone();
        }
        let id = &self.link.options.id;
        match (&found, before) {
            (Some(found), _) => {
                let (sentence, remedy) = (found.sentence(), found.remedy());
                tracing::error!(bot.id = %id, "bot {id}: {sentence}");
                let data = json!({"bot_id": id, "pid": found.answering, "other_pids": found.earlier});
                self.publish(Severity::Critical, format!("bot {id}: {sentence} {remedy}"), data);
            }
            (None, Some(before)) => {
                let message = format!("bot {id}: no earlier process of it runs beside the one that answers");
                self.publish(Severity::Low, message, json!({"bot_id": id, "ended_pids": before.earlier}));
            }
            (None, None) => {}
        }
        found.map(Arc::new)
    }

    /// What a person is told while the bot does not answer.
    fn advise_on_absence(&self, snapshot: &BotSnapshot) -> Option<AbsenceAdvice> {
        if !snapshot.presence.is_offline() {
            return None;
        }
        let (pid, process) = self.link.current_processes().named_process();
        let supervisor = &self.link.options.supervisor;
        let facts = AbsenceFacts {
            presence: snapshot.presence,
            hello: snapshot.hello.as_deref(),
            another_answers: matches!(self.failed_but_answered, Some(TransportFailure::AnotherBot(_))),
            adapter_answers: matches!(self.failed_but_answered, Some(TransportFailure::Upstream(..))),
            process,
            pid,
            driver: supervisor.driver(),
            can_start: supervisor.can_start(),
            deaths: self.death_watch.start_deaths(),
            positions: snapshot.position_count(),
            as_of: snapshot.report.as_ref().and_then(|report| report.as_of),
        };
        facts.advise()
    }

    /// The next tick: one interval after the last, or sooner while there is a doubt.
    fn schedule(&mut self, presence: Presence) {
        let interval = self.link.options.poll_interval;
        let doubt = !presence.answers() || !self.open.is_empty();
        self.next_poll = self.ticked_at + if doubt { interval.min(RETRY) } else { interval };
    }

    /// How long an answer has been missing. The time between the last answer and the question counts too, up to one
    /// interval, so that silence is measured from the moment the bot last answered.
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
        if doubt { self.link.current_processes().state() } else { ProcessState::Alive }
    }

    /// Tells of another start. A bot that cannot say yet which one answers is told of once it can, and against the last
    /// start that it named.
    fn publish_new_boot(&mut self, hello: &Arc<Hello>) {
        if !hello.names_its_start() {
            return;
        }
        let before = self.named_start.replace(hello.clone());
        let before = before.or_else(|| self.link.snapshot.load().hello.clone());
        let Some(known) = before.filter(|known| known.names_its_start() && !known.is_same_start(hello))
        else {
            return;
        };
        let pid = self.link.processes().known.first().map(|process| process.pid);
        let process = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
        let message = format!("bot {} started again: a new boot{process}", self.link.options.id);
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

    fn publish_presence(&mut self, before: &BotSnapshot, now: &BotSnapshot) {
        let id = &self.link.options.id;
        let (presence, reason) = (now.presence, &now.presence_reason);
        let between_slow_and_connected = presence.answers() && before.presence.answers();
        if between_slow_and_connected {
            if self.slow_published_at.is_some_and(|at| at.elapsed() < SLOW_EVENT_EVERY) {
                return;
            }
            self.slow_published_at = Some(Instant::now());
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

    fn save(&mut self, at_once: bool) {
        let snapshot = self.link.snapshot.load();
        let (processes, earlier) = (self.link.processes(), self.link.earlier_processes());
        self.saver.save(&snapshot, processes, earlier, &self.link.store, at_once);
    }
}

/// What a reader should know about a bot although it answers on time: a process that is not its own, or another
/// contract.
fn contract_remark(hello: &Hello, processes: &BotProcesses) -> Option<String> {
    // Of an adapter that is nothing to remark: the process that listens is never its bot.
    if let Some(claimed) = processes.claimed.filter(|_| hello.adapter.is_none()) {
        return Some(format!(
            "it answers on time; it names process {} as its own, which is not the one that listens on its socket",
            claimed.pid
        ));
    }
    let ours = botops_contract::VERSION;
    let Some(theirs) = hello.contract else {
        return Some(format!("it answers on time, and says no contract version (botops speaks {ours})"));
    };
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
