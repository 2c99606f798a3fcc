//! The handle to the session: the gate, the facts, and the operator's commands.

use std::sync::Arc;
use std::time::Duration;

use botops_core::duration::milliseconds;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::command::{SessionCommand, SessionCommandKind, forecast_command};
use super::context::SessionContext;
use super::gate_log::DenialThrottle;
use super::health_log::HealthLog;
use super::keeper::SessionKeeper;
use super::limits::SessionSettings;
use super::machine::{
    GateVerdict, SessionOutlook, breaker_view, closed_gates, evaluate_gate, next_check_at, session_outlook,
};
use super::model::{GateDecision, GateQuestion, MarketHours, NoteSink, SessionCommandOutcome};
use super::publisher::SessionPublisher;
use crate::broker::BrokerAdapter;
use crate::clock::{Clock, Now};
use botops_contract::{GateReason, SessionPhase};
use botops_core::error::Code;
use botops_core::tasks::Tasks;

/// Commands queued for the keeper; the sender of a further one waits for room.
const QUEUED_COMMANDS: usize = 16;

/// Handle to the session; cloning is cheap.
#[derive(Clone)]
pub struct SessionMonitor {
    context: Arc<SessionContext>,
    commands: mpsc::Sender<SessionCommand>,
    denials: Arc<DenialThrottle>,
}

impl std::fmt::Debug for SessionMonitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionMonitor").field("broker", &self.context.broker.name()).finish_non_exhaustive()
    }
}

impl SessionMonitor {
    /// Reads the stored state, opens the log and starts the keeper. The first check begins at once.
    pub fn start(
        broker: Box<dyn BrokerAdapter>,
        settings: SessionSettings,
        clock: Clock,
        tasks: &Tasks,
        sink: NoteSink,
    ) -> Self {
        let session_id = Uuid::now_v7().to_string();
        let log = HealthLog::open(&settings.log_dir, broker.name(), &session_id);
        let publisher = SessionPublisher { log, sink, broker: broker.name() };
        let context = Arc::new(SessionContext::new(broker, settings, clock, tasks.clone(), publisher));
        let (commands, inbox) = mpsc::channel(QUEUED_COMMANDS);
        let keeper = Arc::new(SessionKeeper::new(context.clone(), inbox));
        tasks.supervise("session", move || keeper.clone().run());
        Self { context, commands, denials: Arc::default() }
    }

    /// Decides from memory whether an order may be sent; never waits.
    ///
    /// When a check is needed first, the order is refused and the check started. Every decision is recorded.
    pub fn ask_gate(&self, question: GateQuestion<'_>) -> GateDecision {
        let (verdict, now) = self.evaluate_gate(question.reducing);
        let (age, generation, phase) = {
            let machine = self.context.machine();
            (machine.evidence_age(now), machine.generation, machine.phase)
        };
        let decision = GateDecision {
            allowed: verdict.allowed,
            reason: verdict.reason,
            evidence_age_ms: age.map(milliseconds),
            retry_after_s: verdict.retry_after.map(seconds_of),
            decision_id: Uuid::now_v7(),
        };
        if let Some(left_out) = self.denials.admit(&decision, now) {
            let mut fields = vec![
                ("allowed", json!(decision.allowed)),
                ("reason", json!(decision.reason)),
                ("state", json!(phase)),
                ("cached", json!(true)),
                ("evidence_age_ms", json!(decision.evidence_age_ms)),
                ("retry_after_s", json!(decision.retry_after_s)),
                ("decision_id", json!(decision.decision_id)),
                ("reducing", json!(question.reducing)),
                ("symbol", json!(botops_core::text::clean(question.symbol, 40))),
                ("session_valid", json!(phase == SessionPhase::Healthy)),
            ];
            if left_out > 0 {
                fields.push(("left_out", json!(left_out)));
            }
            self.log().event(now.wall, "trade_gate.decided", generation, "pre_trade", &fields);
        }
        decision
    }

    /// Whether an order would pass now; not recorded. When a check is needed first, it is started.
    pub fn is_open(&self, reducing: bool) -> bool {
        self.evaluate_gate(reducing).0.allowed
    }

    /// The session in the form of the contract.
    pub fn facts(&self) -> botops_contract::Session {
        let context = &self.context;
        let now = context.clock.now();
        let market = context.market_hours(now);
        let machine = context.machine();
        let verdict = evaluate_gate(&machine, now, false, market.is_some_and(|market| !market.is_open));
        let uptime = now.mono.saturating_sub(context.started.mono);
        let in_order = machine.phase == SessionPhase::Healthy && machine.restricted.is_none();
        let unattended = machine.is_unattended(now);
        // Stale evidence in a healthy session is not reported as a refusal: the next order's question has it renewed.
        let gate = match verdict.reason {
            GateReason::EvidenceStale => GateReason::Ok,
            reason => reason,
        };
        let outlook = match gate {
            GateReason::Ok => None,
            GateReason::MarketClosed => {
                market.and_then(|market| market.next_open).map(SessionOutlook::ResumesAt)
            }
            _ => session_outlook(&machine, now),
        };
        let (resumes_at, needs_human) = SessionOutlook::members(outlook);
        let reason = machine.reason.as_ref().map(|reason| reason.text.clone());
        let restricted = machine.restricted.map(|text| format!("{text}; no new positions"));
        let stuck = unattended.then(|| "the session's keeper stopped reporting".to_owned());
        let code = machine.reason.as_ref().map(|reason| reason.code.clone());
        let restricted_code = machine.restricted.map(|_| Code::BrokerAccountRestricted.row().code.to_owned());
        botops_contract::Session {
            broker: context.broker.name().to_owned(),
            state: machine.phase,
            state_raw: None,
            reason: reason.or(restricted).or(stuck),
            error_code: code.or(restricted_code),
            is_healthy: Some(in_order && machine.breaker.is_closed() && !unattended),
            since: Some(machine.since),
            gate: Some(gate),
            gate_raw: None,
            resumes_at,
            retry_after_s: resumes_at.map(|at| seconds_of((at - now.wall).to_std().unwrap_or_default())),
            session_start_time: Some(context.started.wall),
            session_uptime_seconds: Some(seconds_of(uptime)),
            last_health_check: machine.last_check.map(|check| check.wall),
            last_ok: machine.last_ok,
            last_latency_ms: machine
                .last_latency
                .map(|latency| to_three_decimals(latency.as_secs_f64() * 1e3)),
            health_check_count: Some(machine.checks),
            reauth_count: Some(machine.sign_ins),
            consecutive_failures: Some(machine.failures),
            reauth_budget_left: Some(machine.sign_ins_left(now)),
            token_expires_at: machine.renewal.token_end,
            next_check_at: next_check_at(&machine),
            clock_skew_seconds: machine.skew.map(|skew| to_three_decimals(skew.as_seconds_f64())),
            needs_human,
        }
    }

    /// The session's breaker in the form of the contract.
    pub fn breaker(&self) -> botops_contract::Breaker {
        let now = self.context.clock.now();
        breaker_view(&self.context.machine(), now)
    }

    /// Why new positions are refused now: every reason, the one that the gate gives first.
    pub fn closed_gates(&self) -> Vec<GateReason> {
        let now = self.context.clock.now();
        let market_closed = self.context.is_market_closed(now);
        closed_gates(&self.context.machine(), now, market_closed)
    }

    /// The trading hours that new positions keep to; `None` when they keep to none.
    pub fn market_hours(&self) -> Option<MarketHours> {
        self.context.market_hours(self.context.clock.now())
    }

    pub fn log(&self) -> &HealthLog {
        &self.context.publisher.log
    }

    /// Checks the session now, and waits for the outcome.
    pub async fn probe(&self) -> SessionCommandOutcome {
        self.command(SessionCommandKind::Probe).await
    }

    /// Signs in again, or sends the confirmation code that a human got.
    pub async fn reauth(&self, code: Option<String>) -> SessionCommandOutcome {
        self.command(SessionCommandKind::SignIn(code)).await
    }

    /// Closes an open breaker if one check succeeds.
    pub async fn reset_breaker(&self) -> SessionCommandOutcome {
        self.command(SessionCommandKind::ResetBreaker).await
    }

    /// Stops trading until `reset_breaker`. It is stored before this returns; where it cannot be, the answer says so.
    pub fn halt(&self, reason: &str) -> SessionCommandOutcome {
        let reason = botops_core::text::clean(reason, 200);
        self.context.update(|machine, now| machine.operator_halt(now, &reason));
        self.context.wake.notify_one();
        let done = "no order passes, exits included, until the circuit breaker is reset; resting orders stay";
        if self.context.store_state() {
            return SessionCommandOutcome::done(done);
        }
        SessionCommandOutcome::done(&format!(
            "{done}; session.json cannot be written, so this is in memory alone until it can, and lost if the bot ends before"
        ))
    }

    /// What [`SessionMonitor::probe`] would answer now. Calls no broker and changes nothing, like all forecasts.
    pub fn forecast_probe(&self) -> SessionCommandOutcome {
        self.forecast(&SessionCommandKind::Probe)
    }

    /// What [`SessionMonitor::reauth`] would answer now.
    pub fn forecast_reauth(&self, code: Option<String>) -> SessionCommandOutcome {
        self.forecast(&SessionCommandKind::SignIn(code))
    }

    /// What [`SessionMonitor::reset_breaker`] would answer now.
    pub fn forecast_reset(&self) -> SessionCommandOutcome {
        self.forecast(&SessionCommandKind::ResetBreaker)
    }

    fn forecast(&self, kind: &SessionCommandKind) -> SessionCommandOutcome {
        if self.context.tasks.stopping().is_cancelled() {
            return SessionCommandOutcome::stopping();
        }
        let same_credentials = self.context.has_refused_credentials();
        let (machine, now) = (self.context.machine().clone(), self.context.clock.now());
        let offers = |method| self.context.broker.offers(method);
        forecast_command(&machine, now, kind, offers, same_credentials)
    }

    async fn command(&self, kind: SessionCommandKind) -> SessionCommandOutcome {
        let (reply, answer) = oneshot::channel();
        let is_sent = tokio::select! {
            sent = self.commands.send(SessionCommand { kind, reply }) => sent.is_ok(),
            () = self.context.tasks.stopping().cancelled_owned() => false,
        };
        if !is_sent {
            return SessionCommandOutcome::stopping();
        }
        tokio::select! {
            outcome = answer => outcome.unwrap_or_else(|_| SessionCommandOutcome::stopping()),
            () = self.context.tasks.stopping().cancelled_owned() => SessionCommandOutcome::stopping(),
        }
    }

    /// The gate's decision from memory; wakes the keeper when a check is wanted.
    fn evaluate_gate(&self, reducing: bool) -> (GateVerdict, Now) {
        let now = self.context.clock.now();
        let market_closed = self.context.is_market_closed(now);
        let verdict = {
            let mut machine = self.context.machine();
            let verdict = evaluate_gate(&machine, now, reducing, market_closed);
            machine.record_gate_question(now, verdict.wants_check);
            verdict
        };
        if verdict.wants_check {
            self.context.wake.notify_one();
        }
        (verdict, now)
    }
}

/// A duration in seconds, to the millisecond.
fn seconds_of(duration: Duration) -> f64 {
    to_three_decimals(duration.as_secs_f64())
}

fn to_three_decimals(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
