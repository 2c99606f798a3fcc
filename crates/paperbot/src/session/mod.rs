//! The broker session: a trading process that knows when it may trade.
//!
//! [`SessionMonitor`] is the handle: orders ask its gate, everything else reads its facts or gives it commands. One
//! keeper task does all checks and sign-ins, so there is never more than one of them at a time. The gate answers
//! from memory while the last success is fresh; otherwise it waits a moment for the one shared check or says no.
//! What must survive a restart (an open breaker, a halt, the sign-in budget) is durable before it has effect.
//! Deliberately absent: signing out. A stop leaves token and store as they are.

mod keeper;
mod limits;
mod machine;
mod news;
mod orders;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::broker::Broker;
use crate::calendar::MarketPhase;
use crate::clock::{Clock, Now};
use crate::health_log::HealthLog;
use crate::tokens::{read_private, replace_durably};
use botops_contract::{self, EventKind, GateReason, SemanticError, SessionPhase, Severity};
use botops_core::error::Code;
use botops_core::tasks::Tasks;

pub use limits::{Limits, SessionSettings};
pub use orders::SubmitError;

use machine::{Machine, Saved, Verdict};
use news::{Picture, needs_human};

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
    challenge: Mutex<Option<crate::broker::Challenge>>,
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
        tasks: &Tasks,
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
    pub fn facts(&self) -> botops_contract::Session {
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
        botops_contract::Session {
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
    pub fn breaker(&self) -> botops_contract::Breaker {
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
    pub fn evidence_error(&self, error: &crate::broker::BrokerError) {
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
    pub fn halt(&self, reason: &str) -> CommandOutcome {
        let reason = botops_core::text::clean(reason, 200);
        self.inner.update(|machine, now| machine.operator_halt(now, &reason));
        self.inner.kick.notify_one();
        CommandOutcome {
            done: true,
            reason_code: None,
            message:
                "no order passes, exits included, until the circuit breaker is reset; resting orders stay"
                    .to_owned(),
        }
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
        broker_closed || self.settings.limits.calendar.phase_at(now.wall) != MarketPhase::Core
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
                ("symbol", json!(botops_core::text::clean(intent.symbol, 40))),
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
