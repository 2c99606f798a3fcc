//! The broker session: a trading process that knows when it may trade.
//!
//! [`SessionMonitor`] is the handle: orders ask its gate, everything else reads its facts or gives it commands. One
//! keeper task does all checks and sign-ins, so there is never more than one of them at a time. The gate answers
//! from memory while the last success is fresh; otherwise it waits a moment for the one shared check or says no.
//! What must survive a restart (an open breaker, a halt, the sign-in budget) is durable before it has effect.
//! Deliberately absent: signing out. A stop leaves token and store as they are.

mod keeper;
mod machine;
mod orders;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::contract::{self, BreakerState, EventKind, GateReason, SemanticError, SessionPhase, Severity};
use crate::error::Code;
use crate::paperbot::breaker;
use crate::paperbot::broker::Broker;
use crate::paperbot::calendar::{Calendar, Phase};
use crate::paperbot::clock::{Clock, Now};
use crate::paperbot::health_log::HealthLog;
use crate::paperbot::tokens::{read_private, replace_durably};
use crate::tasks::Tasks;

pub use orders::SubmitError;

use machine::{Machine, Reason, Saved, Verdict};

/// Every limit of the session, in one place.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The breaker's own limits.
    pub breaker: breaker::Limits,
    /// Evidence up to this age lets an order pass.
    pub fresh: Duration,
    /// How long an order waits for a fresh check.
    pub gate: Duration,
    /// Of one attempt of a check.
    pub attempt: Duration,
    /// Of a whole check with its retries.
    pub check: Duration,
    /// Waits between the attempts of a check.
    pub retry_waits: Vec<Duration>,
    /// A broker's wait up to this is waited for inside a check.
    pub short_wait: Duration,
    /// Between checks in the trading window.
    pub in_window: Duration,
    /// Between checks outside it.
    pub outside: Duration,
    /// Between checks after a failed one.
    pub confirm: Duration,
    /// Added to two intervals before the keeper counts as stuck.
    pub stale_grace: Duration,
    /// A check comes when evidence is this old, while orders are being decided.
    pub warm_after: Duration,
    /// Orders count as being decided this long after the last question.
    pub warm_for: Duration,
    /// Of one sign-in request.
    pub reauth: Duration,
    /// Waits before the attempts of one incident; as many attempts as entries.
    pub reauth_waits: Vec<Duration>,
    /// Sign-in attempts in 24 hours, over restarts.
    pub reauths_per_day: usize,
    /// Between two sign-ins with a password.
    pub password_gap: Duration,
    /// Sign-ins with a password in 24 hours.
    pub passwords_per_day: usize,
    /// How long a human has to approve.
    pub challenge: Duration,
    /// Between two looks whether a human approved.
    pub challenge_poll: Duration,
    /// Between two snapshots in the health log.
    pub snapshot: Duration,
    /// A difference between the clocks above this is a suspend or a set clock.
    pub jump: TimeDelta,
    /// A broker's clock this far off is worth a warning.
    pub skew: TimeDelta,
    /// When the bot trades, New York time; checks are more frequent then.
    pub window: (NaiveTime, NaiveTime),
    /// The calendar for the window.
    pub calendar: Calendar,
}

impl Limits {
    /// The limits of the design. A live account never resumes by itself.
    pub fn new(live: bool) -> Self {
        let seconds = Duration::from_secs;
        let hour = |hour| NaiveTime::from_hms_opt(hour, 0, 0).expect("an hour of the day");
        Self {
            breaker: breaker::Limits {
                threshold: 5,
                window: seconds(60),
                first_wait: seconds(60),
                longest_wait: seconds(600),
                permit: seconds(30),
                gap: seconds(10),
                resumes_per_day: if live { 0 } else { 3 },
            },
            fresh: seconds(10),
            gate: seconds(2),
            attempt: seconds(10),
            check: seconds(20),
            retry_waits: vec![seconds(1), seconds(2), seconds(4)],
            short_wait: seconds(5),
            in_window: seconds(300),
            outside: seconds(900),
            confirm: seconds(10),
            stale_grace: seconds(20),
            warm_after: Duration::from_millis(7_500),
            warm_for: seconds(60),
            reauth: seconds(30),
            reauth_waits: vec![Duration::ZERO, seconds(30), seconds(120)],
            reauths_per_day: 6,
            password_gap: seconds(300),
            passwords_per_day: 3,
            challenge: seconds(120),
            challenge_poll: seconds(8),
            snapshot: seconds(900),
            jump: TimeDelta::seconds(60),
            skew: TimeDelta::seconds(30),
            window: (hour(7), hour(10)),
            calendar: Calendar::new(),
        }
    }

    /// The same rules with shorter waits, for demonstrations: every duration is multiplied by `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let breaker = &mut self.breaker;
        for duration in [
            &mut breaker.window,
            &mut breaker.first_wait,
            &mut breaker.longest_wait,
            &mut breaker.permit,
            &mut breaker.gap,
            &mut self.fresh,
            &mut self.gate,
            &mut self.attempt,
            &mut self.check,
            &mut self.short_wait,
            &mut self.in_window,
            &mut self.outside,
            &mut self.confirm,
            &mut self.stale_grace,
            &mut self.warm_after,
            &mut self.warm_for,
            &mut self.reauth,
            &mut self.password_gap,
            &mut self.challenge,
            &mut self.challenge_poll,
            &mut self.snapshot,
        ]
        .into_iter()
        .chain(&mut self.retry_waits)
        .chain(&mut self.reauth_waits)
        {
            *duration = duration.mul_f64(factor);
        }
        self
    }

    fn interval_at(&self, wall: DateTime<Utc>) -> Duration {
        let (from, to) = self.window;
        if self.calendar.in_window(wall, from, to) { self.in_window } else { self.outside }
    }
}

/// What a session needs to run.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Every limit.
    pub limits: Limits,
    /// The small durable state; 0600.
    pub state_file: PathBuf,
    /// Folder of the health log.
    pub log_dir: PathBuf,
    /// Refuse new positions outside the regular session.
    pub market_hours_only: bool,
}

impl SessionSettings {
    /// The usual settings for a data and a log folder.
    pub fn new(data_dir: &Path, log_dir: &Path, live: bool) -> Self {
        Self {
            limits: Limits::new(live),
            state_file: data_dir.join("session.json"),
            log_dir: log_dir.to_owned(),
            market_hours_only: live,
        }
    }
}

/// Something the session wants the world to know; the bot's journal numbers and keeps it.
#[derive(Debug, Clone)]
pub struct Note {
    /// `session` or `breaker`, or `error` for a failure alone.
    pub kind: EventKind,
    /// How much attention it wants.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// The failure behind it.
    pub error: Option<SemanticError>,
    /// The facts.
    pub data: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// Where notes go. Called outside the session's lock, on the task that made the change; must not block.
pub type Sink = Arc<dyn Fn(Note) + Send + Sync>;

/// What an order wants to do, as far as the gate cares.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// The order makes a position smaller and cannot turn it round.
    pub reducing: bool,
    /// The instrument.
    pub symbol: &'a str,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The order may be sent now.
    pub allowed: bool,
    /// Why, from the closed list.
    pub reason: GateReason,
    /// Age of the last authenticated success.
    pub evidence_age_ms: Option<u64>,
    /// When asking again makes sense.
    pub retry_after_s: Option<f64>,
    /// Names this decision in the log.
    pub decision_id: Uuid,
    /// `memory` or `probe`.
    pub source: &'static str,
}

/// What became of an operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// It was carried out.
    pub done: bool,
    /// A stable reason when it was not.
    pub reason_code: Option<&'static str>,
    /// One sentence.
    pub message: String,
}

/// Handle to the session; cloning is cheap.
#[derive(Clone)]
pub struct SessionMonitor {
    inner: Arc<Inner>,
}

struct Inner {
    broker: Broker,
    settings: SessionSettings,
    clock: Clock,
    tasks: Tasks,
    sink: Sink,
    log: HealthLog,
    machine: Mutex<Machine>,
    /// What is in the state file, and the order of writing it.
    stored: Mutex<Saved>,
    /// Grows with each change of the machine.
    version: watch::Sender<u64>,
    kick: Notify,
    commands: mpsc::Sender<Command>,
    inbox: tokio::sync::Mutex<mpsc::Receiver<Command>>,
    challenge: Mutex<Option<crate::paperbot::broker::Challenge>>,
    started: Now,
    /// The denial logged last: its reason, when, and how many like it were left out.
    last_denial: Mutex<Option<(GateReason, Duration, u64)>>,
}

enum CommandKind {
    Probe,
    Reauth(Option<String>),
    Reset,
}

struct Command {
    kind: CommandKind,
    reply: oneshot::Sender<CommandOutcome>,
}

impl std::fmt::Debug for SessionMonitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionMonitor").field("broker", &self.inner.broker.name()).finish_non_exhaustive()
    }
}

impl SessionMonitor {
    /// Reads the stored state, opens the log and starts the keeper. The first check begins at once.
    pub fn start(
        broker: Broker,
        settings: SessionSettings,
        clock: Clock,
        tasks: Tasks,
        sink: Sink,
    ) -> std::io::Result<Self> {
        let now = clock.now();
        let session_id = Uuid::now_v7().to_string();
        let log = HealthLog::open(&settings.log_dir, broker.name(), &session_id)?;
        let saved = load_state(&settings.state_file);
        let mut machine = Machine::new(settings.limits.clone(), &saved, now);
        machine.signed_in(broker.generation());
        machine.set_lifetime(now, broker.lifetime());
        let (commands, inbox) = mpsc::channel(16);
        let inner = Arc::new(Inner {
            broker,
            settings,
            clock,
            tasks: tasks.clone(),
            sink,
            log,
            machine: Mutex::new(machine),
            stored: Mutex::new(saved),
            version: watch::Sender::new(0),
            kick: Notify::new(),
            commands,
            inbox: tokio::sync::Mutex::new(inbox),
            challenge: Mutex::new(None),
            started: now,
            last_denial: Mutex::new(None),
        });
        let monitor = Self { inner };
        let keeper = monitor.inner.clone();
        tasks.supervise("session", move || keeper::keep(keeper.clone()));
        Ok(monitor)
    }

    /// May this order be sent? From memory, or after at most two seconds with one shared check.
    pub async fn gate(&self, intent: Intent<'_>) -> Decision {
        let inner = &self.inner;
        let deadline = tokio::time::Instant::now() + inner.settings.limits.gate;
        let mut changed = inner.version.subscribe();
        let mut source = "memory";
        loop {
            let (verdict, now) = inner.ask_gate(intent.reducing);
            let is_late = tokio::time::Instant::now() >= deadline;
            if !verdict.worth_waiting || is_late {
                return inner.decide(intent, verdict, now, source);
            }
            source = "probe";
            inner.kick.notify_one();
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// The same, and never waits: when it takes a check, the answer is no for now and the check is on its way.
    pub fn gate_now(&self, intent: Intent<'_>) -> Decision {
        let (verdict, now) = self.inner.ask_gate(intent.reducing);
        if verdict.worth_waiting {
            self.inner.kick.notify_one();
        }
        self.inner.decide(intent, verdict, now, "memory")
    }

    /// Whether an order would pass now, without a record. When that takes a check, it is on its way.
    pub fn is_open(&self, reducing: bool) -> bool {
        let (verdict, _) = self.inner.ask_gate(reducing);
        if verdict.worth_waiting {
            self.inner.kick.notify_one();
        }
        verdict.allowed
    }

    /// The session as the contract shows it.
    pub fn facts(&self) -> contract::Session {
        let inner = &self.inner;
        let now = inner.clock.now();
        let market_closed = inner.market_closed(now);
        let machine = inner.machine();
        let verdict = machine.gate(now, false, market_closed);
        let uptime = now.mono.saturating_sub(inner.started.mono);
        let in_order = machine.phase == SessionPhase::Healthy && machine.restricted.is_none();
        let unattended = machine.is_unattended(now);
        // Stale evidence in a healthy session is renewed by the next order's own check.
        let gate = match verdict.reason {
            GateReason::EvidenceStale => GateReason::Ok,
            reason => reason,
        };
        let reason = machine.reason.as_ref().map(|reason| reason.text.clone());
        let restricted = machine.restricted.map(|text| format!("{text}; no new positions"));
        let stuck = unattended.then(|| "the session's keeper stopped reporting".to_owned());
        let code = machine.reason.as_ref().map(|reason| reason.code.clone());
        let restricted_code = machine.restricted.map(|_| Code::BrokerAccountRestricted.row().code.to_owned());
        contract::Session {
            broker: inner.broker.name().to_owned(),
            state: machine.phase,
            reason: reason.or(restricted).or(stuck),
            error_code: code.or(restricted_code),
            is_healthy: in_order && machine.breaker.is_closed() && !unattended,
            since: machine.since,
            gate,
            retry_after_s: if gate == GateReason::Ok { None } else { verdict.retry_after.map(shown_wait) },
            session_start_time: inner.started.wall,
            session_uptime_seconds: uptime.as_secs_f64(),
            last_health_check: machine.last_check.map(|check| check.wall),
            last_ok: machine.last_ok.map(|ok| ok.wall),
            last_latency_ms: machine.last_latency.map(|latency| latency.as_secs_f64() * 1_000.0),
            health_check_count: machine.checks,
            reauth_count: machine.signed_in,
            consecutive_failures: machine.failures,
            reauth_budget_left: Some(machine.budget_left(now)),
            token_expires_at: machine.token_end,
            next_check_at: machine.next_check_at(now),
            clock_skew_seconds: machine.skew.map(|skew| skew.as_seconds_f64()),
            needs_human: needs_human(&machine),
        }
    }

    /// The session's breaker as the contract shows it.
    pub fn breaker(&self) -> contract::Breaker {
        let now = self.inner.clock.now();
        self.inner.machine().breaker.view(now)
    }

    /// What the broker is called.
    pub fn broker_name(&self) -> &'static str {
        self.inner.broker.name()
    }

    /// The log of this session.
    pub fn log(&self) -> &HealthLog {
        &self.inner.log
    }

    /// An authenticated call outside the monitor succeeded with a token of this generation.
    pub fn evidence_ok(&self, generation: u64) {
        self.inner.update(|machine, now| machine.evidence(now, generation));
    }

    /// An authenticated call outside the monitor failed.
    pub fn evidence_error(&self, error: &crate::paperbot::broker::BrokerError) {
        self.inner.update(|machine, now| machine.counter_evidence(now, error));
        self.inner.kick.notify_one();
    }

    /// Checks the session now.
    pub async fn probe(&self) -> CommandOutcome {
        self.command(CommandKind::Probe).await
    }

    /// Signs in again, or hands in the code a human got.
    pub async fn reauth(&self, code: Option<String>) -> CommandOutcome {
        self.command(CommandKind::Reauth(code)).await
    }

    /// Lets one check decide whether an open breaker closes.
    pub async fn reset_breaker(&self) -> CommandOutcome {
        self.command(CommandKind::Reset).await
    }

    /// Stops trading until `reset_breaker`. Durable before it returns.
    pub fn halt(&self, reason: &str) {
        let reason = crate::text::clean(reason, 200);
        self.inner.update(|machine, now| machine.operator_halt(now, &reason));
        self.inner.kick.notify_one();
    }

    async fn command(&self, kind: CommandKind) -> CommandOutcome {
        let stopping = CommandOutcome {
            done: false,
            reason_code: Some("stopping"),
            message: "the bot is stopping".to_owned(),
        };
        let (reply, answer) = oneshot::channel();
        let is_sent = tokio::select! {
            sent = self.inner.commands.send(Command { kind, reply }) => sent.is_ok(),
            () = self.inner.tasks.stopping().cancelled_owned() => false,
        };
        if !is_sent {
            return stopping;
        }
        tokio::select! {
            outcome = answer => outcome.unwrap_or(stopping),
            () = self.inner.tasks.stopping().cancelled_owned() => stopping,
        }
    }
}

impl Inner {
    fn machine(&self) -> std::sync::MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_gate(&self, reducing: bool) -> (Verdict, Now) {
        let now = self.clock.now();
        let market_closed = self.market_closed(now);
        let mut machine = self.machine();
        let verdict = machine.gate(now, reducing, market_closed);
        machine.gate_asked(now, verdict.worth_waiting);
        (verdict, now)
    }

    /// A closed answer from either side counts; the broker's is worth a quarter of an hour.
    fn market_closed(&self, now: Now) -> bool {
        if !self.settings.market_hours_only {
            return false;
        }
        let broker_says = self.machine().broker_market_open;
        let broker_closed = broker_says
            .is_some_and(|(at, open)| !open && now.mono.saturating_sub(at) < Duration::from_secs(900));
        broker_closed || self.settings.limits.calendar.phase_at(now.wall) != Phase::Core
    }

    fn decide(&self, intent: Intent<'_>, verdict: Verdict, now: Now, source: &'static str) -> Decision {
        let (age, generation, phase) = {
            let machine = self.machine();
            (machine.evidence_age(now), machine.generation, machine.phase)
        };
        let decision = Decision {
            allowed: verdict.allowed,
            reason: verdict.reason,
            evidence_age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            retry_after_s: verdict.retry_after.map(shown_wait),
            decision_id: Uuid::now_v7(),
            source,
        };
        let left_out = self.denials_left_out(&decision, now);
        if let Some(left_out) = left_out {
            let mut fields = vec![
                ("allowed", json!(decision.allowed)),
                ("reason", json!(decision.reason)),
                ("state", json!(phase)),
                ("cached", json!(source == "memory")),
                ("evidence_age_ms", json!(decision.evidence_age_ms)),
                ("retry_after_s", json!(decision.retry_after_s)),
                ("decision_id", json!(decision.decision_id)),
                ("reducing", json!(intent.reducing)),
                ("symbol", json!(crate::text::clean(intent.symbol, 40))),
                ("session_valid", json!(phase == SessionPhase::Healthy)),
            ];
            if left_out > 0 {
                fields.push(("left_out", json!(left_out)));
            }
            self.log.event(now.wall, "trade_gate.decided", generation, "pre_trade", &fields);
        }
        decision
    }

    /// A loop that asks at every tick gets a line a second, with the number of those left out.
    fn denials_left_out(&self, decision: &Decision, now: Now) -> Option<u64> {
        let mut last = self.last_denial.lock().unwrap_or_else(PoisonError::into_inner);
        if decision.allowed {
            *last = None;
            return Some(0);
        }
        match &mut *last {
            Some((reason, at, count)) if *reason == decision.reason => {
                if now.mono.saturating_sub(*at) < Duration::from_secs(1) {
                    *count += 1;
                    return None;
                }
                *at = now.mono;
                Some(std::mem::take(count))
            }
            other => {
                *other = Some((decision.reason, now.mono, 0));
                Some(0)
            }
        }
    }

    /// Every change of the machine goes through here: it is made durable, told to those who wait, and recorded.
    fn update<R>(&self, change: impl FnOnce(&mut Machine, Now) -> R) -> R {
        let now = self.clock.now();
        let (result, before, after) = {
            let mut machine = self.machine();
            let before = Picture::of(&machine, now);
            let result = change(&mut machine, now);
            (result, before, Picture::of(&machine, now))
        };
        if !self.store() {
            let text = "the session's state could not be stored";
            tracing::error!(file.path = %self.settings.state_file.display(), "{text}");
        }
        self.version.send_modify(|version| *version += 1);
        self.tell(now, &before, &after);
        result
    }

    /// Writes the durable state when it differs from the stored one. False when that failed.
    fn store(&self) -> bool {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.machine().saved();
        if *stored == wanted {
            return true;
        }
        let bytes = serde_json::to_vec_pretty(&wanted).expect("names and times serialize");
        let is_written = replace_durably(&self.settings.state_file, &bytes).is_ok();
        if is_written {
            *stored = wanted;
        }
        is_written
    }

    fn tell(&self, now: Now, before: &Picture, after: &Picture) {
        if before.breaker != after.breaker {
            self.tell_breaker(now, after);
        }
        let same = before.phase == after.phase
            && before.reason == after.reason
            && before.restricted == after.restricted
            && before.needs == after.needs;
        if same {
            return;
        }
        let fields = [
            ("state", json!(after.phase)),
            ("was", json!(before.phase)),
            ("error_code", json!(after.reason.as_ref().map(|reason| &reason.code))),
            ("needs_human", json!(after.needs)),
            ("consecutive_failures", json!(after.failures)),
        ];
        self.log.event(now.wall, "session.state_changed", after.generation, "", &fields);
        let error = after.reason.as_ref().and_then(|reason| {
            semantic(
                now.wall,
                reason,
                &json!({
                    "broker": self.broker.name(), "state": after.phase, "needs_human": after.needs,
                }),
            )
        });
        let restricted = after.restricted.map(|text| machine::reason_of(Code::BrokerAccountRestricted, text));
        let error = error.or_else(|| semantic(now.wall, restricted.as_ref()?, &json!({})));
        let word = phase_word(after.phase);
        let message = match (&after.reason, after.restricted) {
            (Some(reason), _) => format!("broker session {word}: {}", reason.text),
            (None, Some(text)) => format!("broker session {word}: {text}"),
            (None, None) => format!("broker session {word}"),
        };
        let severity = error.as_ref().map_or(Severity::Low, |error| error.severity);
        let data = json!({
            "state": after.phase, "was": before.phase, "needs_human": after.needs,
            "generation": after.generation,
        });
        (self.sink)(Note { kind: EventKind::Session, severity, message, error, data, at: now.wall });
    }

    fn tell_breaker(&self, now: Now, after: &Picture) {
        let trip = after.trip.as_ref();
        let (event, severity, message) = match after.breaker {
            BreakerState::Open => {
                let text = trip.map_or("", |trip| trip.reason.as_str());
                ("circuit_breaker.opened", Severity::Critical, format!("circuit breaker opened: {text}"))
            }
            BreakerState::HalfOpen => (
                "circuit_breaker.reset",
                Severity::Medium,
                "circuit breaker lets one check decide".to_owned(),
            ),
            BreakerState::Closed => {
                ("circuit_breaker.closed", Severity::Low, "circuit breaker closed".to_owned())
            }
        };
        let fields = [
            ("reason", json!(trip.map(|trip| &trip.reason))),
            ("failure_count", json!(trip.map_or(0, |trip| trip.failures))),
            ("error_code", json!(trip.map(|trip| &trip.code))),
        ];
        self.log.event(now.wall, event, after.generation, "", &fields);
        let error = trip.filter(|_| after.breaker == BreakerState::Open).and_then(|trip| {
            let reason = machine::reason_of(Code::BrokerBreakerOpen, &trip.reason);
            semantic(now.wall, &reason, &json!({"source": trip.source, "because": trip.code}))
        });
        let data = json!({
            "state": after.breaker, "source": trip.map(|trip| &trip.source), "because": trip.map(|trip| &trip.code),
        });
        (self.sink)(Note { kind: EventKind::Breaker, severity, message, error, data, at: now.wall });
    }
}

/// The parts of the machine whose change is news.
struct Picture {
    phase: SessionPhase,
    reason: Option<Reason>,
    restricted: Option<&'static str>,
    needs: Option<String>,
    breaker: BreakerState,
    trip: Option<breaker::Trip>,
    generation: u64,
    failures: u32,
}

impl Picture {
    fn of(machine: &Machine, now: Now) -> Self {
        Self {
            phase: machine.phase,
            reason: machine.reason.clone(),
            restricted: machine.restricted,
            needs: needs_human(machine),
            breaker: machine.breaker.view(now).state,
            trip: machine.breaker.trip_reason().cloned(),
            generation: machine.generation,
            failures: machine.failures,
        }
    }
}

fn needs_human(machine: &Machine) -> Option<String> {
    if let Some(awaiting) = &machine.awaiting {
        return Some(awaiting.needs.to_owned());
    }
    if machine.phase != SessionPhase::HaltedCredential {
        return None;
    }
    let code = machine.reason.as_ref().map(|reason| reason.code.as_str());
    let word = match code {
        Some(code) if code == Code::BrokerTokenStore.row().code => "repair_token_store",
        Some(code) if code == Code::BrokerApprovalNeeded.row().code => "approve_device",
        _ => "renew_credentials",
    };
    Some(word.to_owned())
}

/// A failure that explains itself, from the catalogue.
fn semantic(at: DateTime<Utc>, reason: &Reason, context: &Value) -> Option<SemanticError> {
    let code = Code::ALL.iter().find(|code| code.row().code == reason.code)?;
    let row = code.row();
    Some(SemanticError {
        error_code: row.code.to_owned(),
        error_type: serde_json::to_value(row.kind).ok()?.as_str()?.to_owned(),
        severity: row.severity,
        message: reason.text.clone(),
        cause: row.cause.to_owned(),
        impact: row.impact.to_owned(),
        remediation: row.remediation.to_owned(),
        context: context.clone(),
        timestamp: at,
    })
}

fn phase_word(phase: SessionPhase) -> &'static str {
    match phase {
        SessionPhase::Starting => "starting",
        SessionPhase::Healthy => "healthy",
        SessionPhase::Degraded => "degraded",
        SessionPhase::Reauthenticating => "reauthenticating",
        SessionPhase::HaltedTransient => "halted after failures",
        SessionPhase::HaltedCredential => "halted: a human is needed",
        SessionPhase::HaltedOperator => "halted by an operator",
        SessionPhase::Unknown => "unknown",
    }
}

/// A wait as people plan with it: whoever waits longer than 15 minutes looks again after them.
fn shown_wait(wait: Duration) -> f64 {
    wait.min(Duration::from_secs(900)).as_secs_f64()
}

/// A state that cannot be read might hold an open breaker: trading stays halted until an operator looked.
fn load_state(path: &Path) -> Saved {
    let unreadable = |what: String| {
        tracing::error!(file.path = %path.display(), "the session's stored state cannot be used: {what}");
        let text = "the stored session state cannot be read";
        Saved {
            halted: Some(SessionPhase::HaltedOperator),
            reason: Some(machine::reason_of(Code::BrokerBreakerOpen, text)),
            ..Saved::default()
        }
    };
    match read_private(path) {
        Ok(None) => Saved::default(),
        Ok(Some(bytes)) => serde_json::from_slice(&bytes)
            .unwrap_or_else(|error| unreadable(format!("line {}", error.line()))),
        Err(error) => unreadable(error.kind().to_string()),
    }
}
