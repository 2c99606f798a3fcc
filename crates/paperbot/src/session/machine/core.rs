//! The session's state machine, pure: it gets events and a time, and its state changes.
//!
//! It decides which work is due when, and what an outcome leads to: another check, another sign-in, a wait, or a halt
//! until a human acts. It has no clock, socket, file or random number of its own; the jitter is an argument. The other
//! parts of the session act only as it decides.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::model::{
    HumanWait, SavedSession, SessionCheckKind, SessionReason, SessionWork, time_left, wait_text,
};
use super::renewal::TokenRenewal;
use super::sign_in_budget::SignInBudget;
use crate::broker::{BrokerError, ProbeReply};
use crate::clock::Now;
use crate::session::breaker::{CircuitBreaker, ProbeGrantor};
use crate::session::limits::SessionLimits;
use botops_contract::SessionPhase;
use botops_core::error::Code;

/// No wait of a broker is longer, whatever it says, nor one that an earlier process stored.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Wall clock and monotonic clock may be this far apart before published instants are computed anew.
const LARGEST_DRIFT: TimeDelta = TimeDelta::seconds(1);

/// The session's state: its phase, its breaker, the last successful check, and when it is checked next.
#[derive(Debug, Clone)]
pub(in crate::session) struct SessionMachine {
    pub(super) limits: SessionLimits,
    pub(in crate::session) phase: SessionPhase,
    pub(in crate::session) since: DateTime<Utc>,
    pub(in crate::session) reason: Option<SessionReason>,
    pub(in crate::session) breaker: CircuitBreaker,
    pub(in crate::session) generation: u64,
    /// The success that still proves the session; a failure takes it back.
    pub(in crate::session) evidence: Option<Now>,
    /// The last success, whatever came after it.
    pub(in crate::session) last_ok: Option<DateTime<Utc>>,
    pub(in crate::session) last_check: Option<Now>,
    pub(in crate::session) last_latency: Option<Duration>,
    pub(in crate::session) restricted: Option<&'static str>,
    pub(in crate::session) awaiting: Option<HumanWait>,
    /// What the last challenge asked a person for, when nobody answered it in time.
    pub(super) unanswered: Option<String>,
    /// The generation of a token that the broker has refused and that no newer one has replaced.
    pub(in crate::session) refused_token: Option<u64>,
    /// Whether the broker refused the credentials of this process, and accepted none since.
    pub(in crate::session) credentials_refused: bool,
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
    /// A reading of both clocks by which all published instants are computed, so that none of them moves.
    anchor: Now,
}

impl SessionMachine {
    /// Restores the stored state: a halt and an open breaker survive a restart.
    pub(in crate::session) fn new(limits: SessionLimits, saved: &SavedSession, now: Now) -> Self {
        let mut machine = Self {
            phase: SessionPhase::Starting,
            since: now.wall,
            reason: None,
            breaker: CircuitBreaker::new(limits.breaker.clone(), &saved.breaker, now),
            generation: 0,
            evidence: None,
            last_ok: saved.last_ok,
            last_check: None,
            last_latency: None,
            restricted: None,
            awaiting: None,
            unanswered: saved.unanswered.clone(),
            refused_token: None,
            credentials_refused: false,
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
            anchor: now,
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
        let asked_wait = saved.parked_until.and_then(|until| (until - now.wall).to_std().ok());
        if let Some(wait) = asked_wait.filter(|wait| !wait.is_zero()) {
            machine.park(now, wait.min(LONGEST_WAIT));
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
            parked_until: self.parked_until.map(|until| self.wall_time(until)),
            unanswered: self.unanswered.clone(),
            // Stored where it stands still: a write for each success would wear out the disk.
            last_ok: self.last_ok.filter(|_| halted),
        }
    }

    pub(in crate::session) fn is_halted(&self) -> bool {
        use SessionPhase::{HaltedCredential, HaltedOperator, HaltedTransient};
        matches!(self.phase, HaltedTransient | HaltedCredential | HaltedOperator)
    }

    // What is due.

    /// The most urgent work that is due now; `None` when nothing is.
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
                return Some(SessionWork::Check(SessionCheckKind::PreTrade));
            }
            if self.renewal.due_at.is_some_and(|at| now.mono >= at) {
                return Some(SessionWork::Renew);
            }
            if self.next_warm_check(now).is_some_and(|at| now.mono >= at) {
                return Some(SessionWork::Check(SessionCheckKind::Warm));
            }
        }
        if self.next_check.is_none_or(|at| now.mono < at) {
            return None;
        }
        let context = match self.phase {
            SessionPhase::Starting | SessionPhase::Unknown => SessionCheckKind::Startup,
            SessionPhase::Degraded => SessionCheckKind::Confirm,
            SessionPhase::HaltedTransient if self.breaker.is_half_open() => SessionCheckKind::HalfOpen,
            SessionPhase::HaltedTransient if self.breaker.permit_probe(now, ProbeGrantor::Time) => {
                SessionCheckKind::HalfOpen
            }
            SessionPhase::HaltedTransient | SessionPhase::HaltedOperator => SessionCheckKind::Confirm,
            SessionPhase::Healthy => SessionCheckKind::Periodic,
            SessionPhase::Reauthenticating | SessionPhase::HaltedCredential => return None,
        };
        Some(SessionWork::Check(context))
    }

    /// When [`SessionMachine::due_work`] is to be called next, by the monotonic clock.
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

    /// An instant of the monotonic clock as wall clock time. The same instant always gives the same time, until the
    /// clocks are seen to have moved against each other.
    pub(super) fn wall_time(&self, at: Duration) -> DateTime<Utc> {
        let ahead = TimeDelta::from_std(at.saturating_sub(self.anchor.mono)).unwrap_or_default();
        let behind = TimeDelta::from_std(self.anchor.mono.saturating_sub(at)).unwrap_or_default();
        (self.anchor.wall + ahead - behind).trunc_subsecs(3)
    }

    /// When the next check is due to keep the evidence fresh; `None` while no orders are being decided.
    fn next_warm_check(&self, now: Now) -> Option<Duration> {
        let asked = self.last_gate?;
        let is_wanted = now.mono.saturating_sub(asked) < self.limits.warm_for;
        let has_quota = self.quota_until.is_none_or(|until| until <= now.mono);
        let last = self.evidence?.mono.max(self.last_check.map_or(Duration::ZERO, |check| check.mono));
        (is_wanted && has_quota).then(|| last + self.limits.warm_after)
    }

    /// Ends a pause of calls, a challenge or a breaker's permit whose time is over.
    fn end_overdue(&mut self, now: Now) {
        if self.parked_until.is_some_and(|until| until <= now.mono) {
            self.parked_until = None;
            self.last_activity = now.mono;
        }
        if let Some(awaiting) = self.awaiting.filter(|awaiting| awaiting.deadline <= now.mono) {
            let text = if awaiting.needs == "enter_code" {
                "nobody entered the code of the sign-in in time"
            } else {
                "nobody approved the sign-in in time"
            };
            self.halt_credential(now, SessionReason::new(Code::BrokerApprovalNeeded, text));
        }
        if self.breaker.expire_probe_permit(now) && self.phase == SessionPhase::HaltedTransient {
            self.next_check = self.breaker.retry_at();
        }
    }

    /// Compares the two clocks: the jump when the computer was suspended or its clock was set, else `None`.
    pub(in crate::session) fn detect_clock_jump(&mut self, now: Now) -> Option<TimeDelta> {
        let mono = TimeDelta::from_std(now.mono.saturating_sub(self.last_reading.mono)).unwrap_or_default();
        let jump = (now.wall - self.last_reading.wall) - mono;
        self.last_reading = now;
        let drift = now.wall - self.wall_time(now.mono);
        if drift.abs() >= LARGEST_DRIFT {
            self.anchor = now;
        }
        if jump.abs() <= self.limits.clock_jump {
            return None;
        }
        self.evidence = None;
        self.last_activity = now.mono;
        if self.next_check.is_some() {
            self.next_check = Some(now.mono);
        }
        Some(jump)
    }

    // The evidence: the last successful check.

    /// Age of the last successful check, by the monotonic clock, or after a suspend by the wall clock.
    pub(in crate::session) fn evidence_age(&self, now: Now) -> Option<Duration> {
        let last = self.evidence?;
        let mono = now.mono.saturating_sub(last.mono);
        let wall = (now.wall - last.wall).to_std().unwrap_or_default();
        let slept = wall > mono + Duration::from_secs(2);
        Some(if slept { wall } else { mono })
    }

    /// Whether the keeper has finished nothing for so long that it must be stuck.
    pub(in crate::session) fn is_unattended(&self, now: Now) -> bool {
        let silence = now.mono.saturating_sub(self.last_activity);
        let expects_work =
            !matches!(self.phase, SessionPhase::HaltedCredential) && self.parked_until.is_none();
        expects_work && silence > self.interval * 2 + self.limits.stale_grace
    }

    /// Records that an order asked the gate; `wants_check` says that a check may change the answer.
    pub(in crate::session) fn record_gate_question(&mut self, now: Now, wants_check: bool) {
        self.last_gate = Some(now.mono);
        self.pre_trade_wanted |= wants_check;
    }

    // Outcomes of checks.

    /// Records a check that began at `started` and succeeded.
    pub(in crate::session) fn check_passed(&mut self, now: Now, started: Duration, found: &ProbeReply) {
        self.record_check_end(now, started);
        self.accept_session(now, started, found);
    }

    /// The broker accepted the session's token.
    fn accept_session(&mut self, now: Now, started: Duration, found: &ProbeReply) {
        self.restricted = found.restricted;
        self.skew = found.skew.or(self.skew);
        self.quota_until = found.quota_wait.map(|wait| now.mono + wait);
        self.generation = self.generation.max(found.generation);
        (self.evidence, self.last_ok) = (Some(now), Some(now.wall));
        (self.failures, self.refused_token, self.credentials_refused) = (0, None, false);
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

    /// Records a check that failed, after its retries.
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
                if *generation >= self.generation {
                    self.refused_token = Some(self.generation);
                }
                if self.is_halted() && self.phase != SessionPhase::HaltedTransient {
                    self.breaker.record_failure(now, Code::BrokerSessionInvalid.row().code);
                } else {
                    self.token_refused(now, *generation);
                }
            }
            BrokerError::Transient { .. } | BrokerError::Protocol { .. } | BrokerError::Tls { .. } => {
                self.failures += 1;
                self.evidence = None;
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
                self.credentials_refused |= error.refuses_credentials();
                self.halt_credential(now, SessionReason::of_error(error));
            }
        }
        self.schedule_check(now, started);
    }

    /// The broker refused the token of this generation.
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
        self.evidence = None;
        self.sign_in_budget.start_incident(now);
        let text = "the broker no longer accepts the session; a new sign-in is under way";
        self.enter_phase(
            now,
            SessionPhase::Reauthenticating,
            Some(SessionReason::new(Code::BrokerSessionInvalid, text)),
        );
    }

    /// Allows no call to the broker before `wait` is over.
    pub(super) fn park(&mut self, now: Now, wait: Duration) {
        let until = now.mono + wait;
        let until = self.parked_until.map_or(until, |parked| parked.max(until));
        self.parked_until = Some(until);
        self.evidence = None;
        self.breaker.postpone_probe(until);
        let reason = SessionReason::new(Code::BrokerRateLimited, &wait_text(self.wall_time(until)));
        match self.phase {
            SessionPhase::Starting | SessionPhase::Healthy | SessionPhase::Degraded => {
                self.enter_phase(now, SessionPhase::Degraded, Some(reason));
                self.next_check = Some(until);
            }
            SessionPhase::Reauthenticating => {
                self.enter_phase(now, SessionPhase::Reauthenticating, Some(reason));
            }
            SessionPhase::HaltedTransient => self.next_check = self.breaker.retry_at().or(Some(until)),
            _ => {}
        }
    }

    pub(in crate::session) fn parked_for(&self, now: Now) -> Option<Duration> {
        self.parked_until.filter(|until| *until > now.mono).map(|until| time_left(until, now))
    }

    /// When the wait that the broker asked for ends; `None` when there is none.
    pub(in crate::session) fn parked_until_wall(&self, now: Now) -> Option<DateTime<Utc>> {
        self.parked_until.filter(|until| *until > now.mono).map(|until| self.wall_time(until))
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

    /// The check of a reset failed or was not made in time: the breaker is open again.
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
        (self.awaiting, self.unanswered) = (None, None);
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

    /// Halts because credentials were refused or a human is needed: nothing is tried again without an operator.
    pub(in crate::session) fn halt_credential(&mut self, now: Now, reason: SessionReason) {
        self.breaker.trip(now, "session", &reason.text, &reason.code);
        self.unanswered = self.awaiting.take().map(|awaiting| awaiting.needs.to_owned());
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

    /// Halts when the automatic closings of the breaker are used up, so that only an operator resumes trading.
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
        self.evidence = None;
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

    /// Plans the next check, after one that began at `started`.
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

    /// Shifts the next periodic check by a part of the interval, so that many bots do not call at the same moment.
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
}
