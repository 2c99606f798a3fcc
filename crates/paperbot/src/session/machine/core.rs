//! The session's state machine, pure: events and a time go in, the next state comes out.
//!
//! It decides which work is due when, and what an outcome means: whether to check again, sign in again, wait, or stop
//! and call a human. It has no clock, socket, file or random number of its own; the jitter is an argument. What it
//! forbids, nothing else in this folder can do.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::model::{CheckKind, HumanWait, SavedSession, SessionReason, SessionWork, time_left};
use super::renewal::TokenRenewal;
use super::sign_in_budget::SignInBudget;
use crate::broker::{BrokerError, ProbeReply};
use crate::clock::Now;
use crate::session::breaker::{CircuitBreaker, ProbeGrantor};
use crate::session::limits::SessionLimits;
use botops_contract::SessionPhase;
use botops_core::error::Code;

/// The session: its phase, its breaker, its evidence, and when it is checked next.
#[derive(Debug, Clone)]
pub(in crate::session) struct SessionMachine {
    pub(super) limits: SessionLimits,
    pub(in crate::session) phase: SessionPhase,
    pub(in crate::session) since: DateTime<Utc>,
    pub(in crate::session) reason: Option<SessionReason>,
    pub(in crate::session) breaker: CircuitBreaker,
    pub(in crate::session) generation: u64,
    pub(in crate::session) last_ok: Option<Now>,
    pub(in crate::session) last_check: Option<Now>,
    pub(in crate::session) last_latency: Option<Duration>,
    pub(in crate::session) restricted: Option<&'static str>,
    pub(in crate::session) awaiting: Option<HumanWait>,
    pub(in crate::session) checks: u64,
    pub(in crate::session) sign_ins: u64,
    pub(in crate::session) failures: u32,
    pub(in crate::session) skew: Option<TimeDelta>,
    pub(in crate::session) broker_market_open: Option<(Duration, bool)>,
    pub(super) next_check: Option<Duration>,
    pub(super) parked_until: Option<Duration>,
    quota_until: Option<Duration>,
    pub(super) sign_in_budget: SignInBudget,
    pub(in crate::session) renewal: TokenRenewal,
    pre_trade_wanted: bool,
    pub(super) last_gate: Option<Duration>,
    next_snapshot: Duration,
    idle_wait: Duration,
    last_activity: Duration,
    interval: Duration,
    last_reading: Now,
}

impl SessionMachine {
    /// Goes on where the stored state stood: a halt and an open breaker outlive a restart.
    pub(in crate::session) fn new(limits: SessionLimits, saved: &SavedSession, now: Now) -> Self {
        let mut machine = Self {
            phase: SessionPhase::Starting,
            since: now.wall,
            reason: None,
            breaker: CircuitBreaker::new(limits.breaker.clone(), &saved.breaker, now),
            generation: 0,
            last_ok: None,
            last_check: None,
            last_latency: None,
            restricted: None,
            awaiting: None,
            checks: 0,
            sign_ins: 0,
            failures: 0,
            skew: None,
            broker_market_open: None,
            next_check: Some(now.mono),
            parked_until: None,
            quota_until: None,
            sign_in_budget: SignInBudget::new(saved.reauths.clone(), saved.passwords.clone()),
            renewal: TokenRenewal::default(),
            pre_trade_wanted: false,
            last_gate: None,
            next_snapshot: now.mono + limits.snapshot_interval,
            idle_wait: limits.breaker.first_wait,
            last_activity: now.mono,
            interval: limits.confirm_interval,
            last_reading: now,
            limits,
        };
        match saved.halted {
            Some(phase) => {
                let reason = saved.reason.clone();
                machine.enter_halt(
                    now,
                    phase,
                    reason.unwrap_or_else(|| SessionReason::new(Code::BrokerBreakerOpen, "halted")),
                );
            }
            None if !machine.breaker.is_closed() => machine.halt_transient(now),
            None => {}
        }
        machine
    }

    pub(in crate::session) fn saved(&self) -> SavedSession {
        let halted = self.is_halted();
        SavedSession {
            breaker: self.breaker.to_saved(),
            halted: halted.then_some(self.phase),
            reason: halted.then(|| self.reason.clone()).flatten(),
            reauths: self.sign_in_budget.attempts.clone(),
            passwords: self.sign_in_budget.passwords.clone(),
        }
    }

    pub(in crate::session) fn is_halted(&self) -> bool {
        use SessionPhase::{HaltedCredential, HaltedOperator, HaltedTransient};
        matches!(self.phase, HaltedTransient | HaltedCredential | HaltedOperator)
    }

    // What is due.

    /// The work of this moment, most urgent first.
    pub(in crate::session) fn due_work(&mut self, now: Now) -> Option<SessionWork> {
        self.end_overdue(now);
        let is_parked = self.parked_until.is_some();
        if let Some(awaiting) = &self.awaiting {
            return (now.mono >= awaiting.next_poll).then_some(SessionWork::Poll);
        }
        if self.phase == SessionPhase::Reauthenticating {
            let is_time = self.sign_in_budget.next_at.is_some_and(|at| now.mono >= at);
            return (is_time && !is_parked).then_some(SessionWork::SignIn);
        }
        if now.mono >= self.next_snapshot {
            self.next_snapshot = now.mono + self.limits.snapshot_interval;
            return Some(SessionWork::Snapshot);
        }
        if is_parked {
            return None;
        }
        if self.phase == SessionPhase::Healthy {
            let is_stale = self.evidence_age(now).is_none_or(|age| age > self.limits.evidence_max_age);
            if std::mem::take(&mut self.pre_trade_wanted) && is_stale {
                return Some(SessionWork::Check(CheckKind::PreTrade));
            }
            if self.renewal.due_at.is_some_and(|at| now.mono >= at) {
                return Some(SessionWork::Renew);
            }
            if self.next_warm_check(now).is_some_and(|at| now.mono >= at) {
                return Some(SessionWork::Check(CheckKind::Warm));
            }
        }
        if self.next_check.is_none_or(|at| now.mono < at) {
            return None;
        }
        let context = match self.phase {
            SessionPhase::Starting | SessionPhase::Unknown => CheckKind::Startup,
            SessionPhase::Degraded => CheckKind::Confirm,
            SessionPhase::HaltedTransient if self.breaker.is_half_open() => CheckKind::HalfOpen,
            SessionPhase::HaltedTransient if self.breaker.permit_probe(now, ProbeGrantor::Time) => {
                CheckKind::HalfOpen
            }
            SessionPhase::HaltedTransient | SessionPhase::HaltedOperator => CheckKind::Confirm,
            SessionPhase::Healthy => CheckKind::Periodic,
            SessionPhase::Reauthenticating | SessionPhase::HaltedCredential => return None,
        };
        Some(SessionWork::Check(context))
    }

    /// When `due` is worth asking again.
    pub(in crate::session) fn next_wakeup(&self, now: Now) -> Duration {
        let mut next = self.next_snapshot;
        let mut consider = |at: Option<Duration>| next = at.map_or(next, |at| next.min(at));
        consider(self.parked_until);
        consider(self.awaiting.map(|awaiting| awaiting.next_poll.min(awaiting.deadline)));
        if self.phase == SessionPhase::Reauthenticating {
            consider(self.sign_in_budget.next_at);
        } else if self.parked_until.is_none() {
            consider(self.next_check);
            if self.phase == SessionPhase::Healthy {
                consider(self.renewal.due_at);
                consider(self.next_warm_check(now));
            }
        }
        next
    }

    pub(in crate::session) fn next_check_at(&self, now: Now) -> Option<DateTime<Utc>> {
        let at = self.parked_until.or(self.next_check)?;
        Some(now.wall + TimeDelta::from_std(time_left(at, now)).unwrap_or_default())
    }

    /// While orders are being decided, a check comes before the evidence is too old.
    fn next_warm_check(&self, now: Now) -> Option<Duration> {
        let asked = self.last_gate?;
        let is_wanted = now.mono.saturating_sub(asked) < self.limits.warm_for;
        let has_quota = self.quota_until.is_none_or(|until| until <= now.mono);
        let last = self.last_ok?.mono.max(self.last_check.map_or(Duration::ZERO, |check| check.mono));
        (is_wanted && has_quota).then(|| last + self.limits.warm_after)
    }

    /// Ends what has run out of time.
    fn end_overdue(&mut self, now: Now) {
        if self.parked_until.is_some_and(|until| until <= now.mono) {
            self.parked_until = None;
            self.last_activity = now.mono;
        }
        if self.awaiting.is_some_and(|awaiting| awaiting.deadline <= now.mono) {
            let text = "nobody approved the sign-in in time";
            self.halt_credential(now, SessionReason::new(Code::BrokerApprovalNeeded, text));
        }
        if self.breaker.expire_probe_permit(now) && self.phase == SessionPhase::HaltedTransient {
            self.next_check = self.breaker.retry_at();
        }
    }

    /// Compares the two clocks; true when the machine slept or somebody set the clock.
    pub(in crate::session) fn detect_clock_jump(&mut self, now: Now) -> Option<TimeDelta> {
        let mono = TimeDelta::from_std(now.mono.saturating_sub(self.last_reading.mono)).unwrap_or_default();
        let jump = (now.wall - self.last_reading.wall) - mono;
        self.last_reading = now;
        if jump.abs() <= self.limits.clock_jump {
            return None;
        }
        self.last_ok = None;
        self.last_activity = now.mono;
        if self.next_check.is_some() {
            self.next_check = Some(now.mono);
        }
        Some(jump)
    }

    // The evidence.

    /// How old the last success is. After a suspend the wall is right and the monotonic time is not.
    pub(in crate::session) fn evidence_age(&self, now: Now) -> Option<Duration> {
        let last = self.last_ok?;
        let mono = now.mono.saturating_sub(last.mono);
        let wall = (now.wall - last.wall).to_std().unwrap_or_default();
        let slept = wall > mono + Duration::from_secs(2);
        Some(if slept { wall } else { mono })
    }

    /// The keeper has finished nothing for so long that it must be stuck.
    pub(in crate::session) fn is_unattended(&self, now: Now) -> bool {
        let silence = now.mono.saturating_sub(self.last_activity);
        let expects_work =
            !matches!(self.phase, SessionPhase::HaltedCredential) && self.parked_until.is_none();
        expects_work && silence > self.interval * 2 + self.limits.stale_grace
    }

    /// An order asked the gate; `wants_check` says that a check may change the answer.
    pub(in crate::session) fn record_gate_question(&mut self, now: Now, wants_check: bool) {
        self.last_gate = Some(now.mono);
        self.pre_trade_wanted |= wants_check;
    }

    // Outcomes of checks.

    /// A check that began at `started` succeeded with a token of `generation`.
    pub(in crate::session) fn check_passed(&mut self, now: Now, started: Duration, found: &ProbeReply) {
        self.record_check_end(now, started);
        self.accept_session(now, started, found);
    }

    /// The broker knows the session.
    fn accept_session(&mut self, now: Now, started: Duration, found: &ProbeReply) {
        self.restricted = found.restricted;
        self.skew = found.skew.or(self.skew);
        self.quota_until = found.quota_wait.map(|wait| now.mono + wait);
        self.generation = self.generation.max(found.generation);
        self.last_ok = Some(now);
        self.failures = 0;
        let closed = self.breaker.record_success(now);
        match self.phase {
            SessionPhase::HaltedTransient | SessionPhase::HaltedCredential | SessionPhase::HaltedOperator => {
                if closed {
                    self.become_healthy(now);
                } else {
                    self.idle_wait = self.limits.breaker.first_wait;
                }
            }
            SessionPhase::Reauthenticating if found.generation < self.generation => {}
            _ => self.become_healthy(now),
        }
        self.schedule_check(now, started);
    }

    /// A check failed for good.
    pub(in crate::session) fn check_failed(&mut self, now: Now, started: Duration, error: &BrokerError) {
        self.record_check_end(now, started);
        match error {
            BrokerError::Forbidden => {
                let found = ProbeReply { generation: self.generation, ..ProbeReply::default() };
                self.accept_session(now, started, &found);
                self.restricted = Some("the session may not trade");
                return;
            }
            BrokerError::RateLimited { wait } => self.park(now, *wait),
            BrokerError::SessionInvalid { generation } => {
                self.failures += 1;
                if self.is_halted() && self.phase != SessionPhase::HaltedTransient {
                    self.breaker.record_failure(now, Code::BrokerSessionInvalid.row().code);
                } else {
                    self.token_refused(now, *generation);
                }
            }
            BrokerError::Transient { .. } | BrokerError::Protocol { .. } | BrokerError::Tls { .. } => {
                self.failures += 1;
                self.last_ok = None;
                let code = error.code().row().code;
                self.breaker.record_failure(now, code);
                if self.breaker.is_closed() {
                    self.enter_phase(now, SessionPhase::Degraded, Some(SessionReason::of_error(error)));
                } else if !self.is_halted() {
                    self.halt_transient(now);
                } else if self.phase == SessionPhase::HaltedTransient {
                    self.require_operator_after_resumes(now);
                }
            }
            BrokerError::ChallengeRequired(_)
            | BrokerError::CredentialsRejected { .. }
            | BrokerError::RefreshSpent
            | BrokerError::LoginLocked
            | BrokerError::TokenStore
            | BrokerError::Config { .. } => {
                self.failures += 1;
                self.halt_credential(now, SessionReason::of_error(error));
            }
        }
        self.schedule_check(now, started);
    }

    /// The broker refused a token.
    fn token_refused(&mut self, now: Now, generation: u64) {
        let is_old = generation < self.generation;
        let may_sign_in = matches!(
            self.phase,
            SessionPhase::Starting
                | SessionPhase::Healthy
                | SessionPhase::Degraded
                | SessionPhase::HaltedTransient
        );
        if is_old || !may_sign_in {
            return;
        }
        self.last_ok = None;
        self.sign_in_budget.start_incident(now);
        let text = "the broker no longer accepts the session; a new sign-in is under way";
        self.enter_phase(
            now,
            SessionPhase::Reauthenticating,
            Some(SessionReason::new(Code::BrokerSessionInvalid, text)),
        );
    }

    /// No call before `wait` is over.
    pub(super) fn park(&mut self, now: Now, wait: Duration) {
        let until = now.mono + wait;
        self.parked_until = Some(self.parked_until.map_or(until, |parked| parked.max(until)));
        self.last_ok = None;
        if matches!(self.phase, SessionPhase::Starting | SessionPhase::Healthy | SessionPhase::Degraded) {
            let text = "the broker asked us to wait";
            self.enter_phase(
                now,
                SessionPhase::Degraded,
                Some(SessionReason::new(Code::BrokerRateLimited, text)),
            );
            self.next_check = Some(until);
        }
    }

    pub(in crate::session) fn parked_for(&self, now: Now) -> Option<Duration> {
        self.parked_until.filter(|until| *until > now.mono).map(|until| time_left(until, now))
    }

    // The operator.

    /// Stops trading until an operator resets the breaker.
    pub(in crate::session) fn operator_halt(&mut self, now: Now, text: &str) {
        let reason = SessionReason::new(Code::BrokerBreakerOpen, text);
        self.breaker.trip(now, "operator", text, &reason.code);
        self.awaiting = None;
        self.enter_halt(now, SessionPhase::HaltedOperator, reason);
        self.schedule_check(now, now.mono);
    }

    /// Lets one check decide whether trading goes on.
    pub(in crate::session) fn operator_reset(&mut self, now: Now) -> bool {
        self.breaker.permit_probe(now, ProbeGrantor::Operator)
    }

    /// The check of a reset failed, or never came: open again.
    pub(in crate::session) fn reset_failed(&mut self, now: Now, code: &str) {
        if self.breaker.is_half_open() {
            self.breaker.record_failure(now, code);
        }
    }

    // Transitions.

    pub(super) fn record_check_end(&mut self, now: Now, started: Duration) {
        self.checks += 1;
        self.last_activity = now.mono;
        self.last_check = Some(now);
        self.last_latency = Some(now.mono.saturating_sub(started));
    }

    fn become_healthy(&mut self, now: Now) {
        self.sign_in_budget.end_incident();
        self.awaiting = None;
        self.idle_wait = self.limits.breaker.first_wait;
        self.enter_phase(now, SessionPhase::Healthy, None);
    }

    pub(super) fn enter_phase(&mut self, now: Now, phase: SessionPhase, reason: Option<SessionReason>) {
        if self.phase != phase {
            self.since = now.wall;
        }
        self.phase = phase;
        self.reason = reason;
    }

    /// The broker refused, or a human is needed: nothing is tried again without an operator.
    pub(in crate::session) fn halt_credential(&mut self, now: Now, reason: SessionReason) {
        self.breaker.trip(now, "session", &reason.text, &reason.code);
        self.awaiting = None;
        self.enter_halt(now, SessionPhase::HaltedCredential, reason);
        self.next_check = None;
    }

    pub(super) fn halt_transient(&mut self, now: Now) {
        let trip = self.breaker.open_trip();
        let text = trip.map_or_else(|| "halted".to_owned(), |trip| trip.reason.clone());
        let reason = SessionReason { code: Code::BrokerBreakerOpen.row().code.to_owned(), text };
        self.enter_halt(now, SessionPhase::HaltedTransient, reason);
        self.require_operator_after_resumes(now);
    }

    /// After the last automatic resume of a day only an operator may go on.
    fn require_operator_after_resumes(&mut self, now: Now) {
        let is_over = self.limits.breaker.resumes_per_day > 0 && self.breaker.needs_operator();
        if is_over {
            let text = "the automatic resumes of 24 hours are used up";
            self.enter_halt(
                now,
                SessionPhase::HaltedOperator,
                SessionReason::new(Code::BrokerBreakerOpen, text),
            );
        }
    }

    pub(super) fn enter_halt(&mut self, now: Now, phase: SessionPhase, reason: SessionReason) {
        self.last_ok = None;
        self.sign_in_budget.end_incident();
        if self.breaker.is_closed() {
            self.breaker.trip(now, "session", &reason.text, &reason.code);
        }
        self.enter_phase(now, phase, Some(reason));
        self.next_check = match phase {
            SessionPhase::HaltedTransient => self.breaker.retry_at().or(Some(now.mono + self.idle_wait)),
            SessionPhase::HaltedOperator => Some(now.mono + self.limits.interval_in_window),
            _ => None,
        };
    }

    /// When the next check is due, after one that began at `started`.
    pub(super) fn schedule_check(&mut self, now: Now, started: Duration) {
        let confirm =
            (started + self.limits.confirm_interval).max(now.mono + self.limits.confirm_interval / 10);
        self.next_check = match self.phase {
            SessionPhase::Healthy => {
                self.interval = self.limits.interval_at(now.wall);
                let at = now.mono + self.interval;
                Some(self.quota_until.map_or(at, |until| until.max(at)))
            }
            SessionPhase::Starting | SessionPhase::Degraded | SessionPhase::Unknown => {
                self.interval = self.limits.confirm_interval;
                Some(self.parked_until.map_or(confirm, |until| until.max(confirm)))
            }
            SessionPhase::HaltedTransient => {
                self.interval = self.limits.breaker.longest_wait;
                Some(self.breaker.retry_at().unwrap_or_else(|| {
                    let at = now.mono + self.idle_wait;
                    self.idle_wait = (self.idle_wait * 2).min(self.limits.breaker.longest_wait);
                    at
                }))
            }
            SessionPhase::HaltedOperator => {
                self.interval = self.limits.interval_in_window;
                Some(now.mono + self.limits.interval_in_window)
            }
            SessionPhase::Reauthenticating | SessionPhase::HaltedCredential => None,
        };
    }

    /// Moves the next periodic check a little, so that many bots do not call at once.
    pub(in crate::session) fn apply_jitter(&mut self, now: Now, part: f64) {
        if self.phase != SessionPhase::Healthy {
            return;
        }
        if let Some(at) = &mut self.next_check {
            let wait = at.saturating_sub(now.mono);
            let moved = now.mono + wait.mul_f64(1.0 + part.clamp(-0.1, 0.1));
            *at = self.quota_until.map_or(moved, |until| moved.max(until));
        }
    }

    /// The breaker as the contract names it.
    pub(in crate::session) fn breaker_state(&self, now: Now) -> botops_contract::BreakerState {
        self.breaker.view(now).state
    }
}
