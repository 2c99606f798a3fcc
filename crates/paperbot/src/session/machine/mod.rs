//! The session's state machine, pure: events and a time go in, the next state comes out.
//!
//! It decides whether an order may pass, which work is due when, and what an outcome means: whether to check again,
//! sign in again, wait, or stop and call a human. Deliberately absent: clocks, sockets, files, tasks and random
//! numbers; the jitter is an argument. What it forbids, nothing else in this folder can do.

mod gate;
mod sign_in;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Limits;
use crate::breaker::{self, Breaker, By};
use crate::broker::{BrokerError, Step};
use crate::clock::Now;
use botops_contract::{self, GateReason, SessionPhase};
use botops_core::error::Code;

/// Which kind of check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    Startup,
    Periodic,
    /// After a failed check, every few seconds.
    Confirm,
    /// The one probe of a half-open breaker.
    HalfOpen,
    PreTrade,
    /// Keeps the evidence fresh while orders are being decided.
    Warm,
    Manual,
    /// After a sign-in.
    Verify,
}

impl Context {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Periodic => "periodic",
            Self::Confirm => "confirm",
            Self::HalfOpen => "half_open",
            Self::PreTrade | Self::Warm => "pre_trade",
            Self::Manual => "manual",
            Self::Verify => "verify",
        }
    }

    /// Retried inside the check.
    pub(super) fn is_full(self) -> bool {
        matches!(self, Self::Startup | Self::Periodic | Self::Verify)
    }
}

/// What the keeper has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Check(Context),
    /// Sign in again after a refusal.
    Reauth,
    /// Renew the token before it ends.
    Renew,
    /// See whether a human answered.
    Poll,
    /// Write the periodic snapshot.
    Snapshot,
}

/// Why the session is not healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reason {
    pub(super) code: String,
    pub(super) text: String,
}

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    #[serde(default)]
    pub(super) breaker: breaker::Saved,
    /// Which halt, when there is one.
    #[serde(default)]
    pub(super) halted: Option<SessionPhase>,
    #[serde(default)]
    pub(super) reason: Option<Reason>,
    /// Sign-in attempts of the last day.
    #[serde(default)]
    pub(super) reauths: Vec<DateTime<Utc>>,
    /// Those with a password.
    #[serde(default)]
    pub(super) passwords: Vec<DateTime<Utc>>,
}

/// What the gate says, before it has an id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    pub(super) reason: GateReason,
    pub(super) retry_after: Option<Duration>,
    /// A check that ends soon may change the answer.
    pub(super) worth_waiting: bool,
}

/// A human is asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Awaiting {
    pub(super) needs: &'static str,
    pub(super) deadline: Duration,
    next_poll: Duration,
    interval: Duration,
    /// The step that gets the token once it is approved.
    pub(super) step: Step,
}

/// One run of sign-in attempts.
#[derive(Debug, Clone, Copy, Default)]
struct Incident {
    attempts: usize,
    next_at: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(super) struct Machine {
    limits: Limits,
    pub(super) phase: SessionPhase,
    pub(super) since: DateTime<Utc>,
    pub(super) reason: Option<Reason>,
    pub(super) breaker: Breaker,
    pub(super) generation: u64,
    pub(super) last_ok: Option<Now>,
    pub(super) last_check: Option<Now>,
    pub(super) last_latency: Option<Duration>,
    pub(super) restricted: Option<&'static str>,
    pub(super) awaiting: Option<Awaiting>,
    pub(super) checks: u64,
    pub(super) signed_in: u64,
    pub(super) failures: u32,
    pub(super) skew: Option<TimeDelta>,
    pub(super) token_end: Option<DateTime<Utc>>,
    pub(super) broker_market_open: Option<(Duration, bool)>,
    next_check: Option<Duration>,
    parked_until: Option<Duration>,
    quota_until: Option<Duration>,
    incident: Incident,
    reauths: Vec<DateTime<Utc>>,
    passwords: Vec<DateTime<Utc>>,
    refresh_refused: bool,
    renew_at: Option<Duration>,
    renew_failures: usize,
    pre_trade_wanted: bool,
    last_gate: Option<Duration>,
    next_snapshot: Duration,
    idle_wait: Duration,
    finished: Duration,
    interval: Duration,
    seen: Now,
}

impl Machine {
    /// Goes on where the stored state stood: a halt and an open breaker outlive a restart.
    pub(super) fn new(limits: Limits, saved: &Saved, now: Now) -> Self {
        let mut machine = Self {
            phase: SessionPhase::Starting,
            since: now.wall,
            reason: None,
            breaker: Breaker::new(limits.breaker.clone(), &saved.breaker, now),
            generation: 0,
            last_ok: None,
            last_check: None,
            last_latency: None,
            restricted: None,
            awaiting: None,
            checks: 0,
            signed_in: 0,
            failures: 0,
            skew: None,
            token_end: None,
            broker_market_open: None,
            next_check: Some(now.mono),
            parked_until: None,
            quota_until: None,
            incident: Incident::default(),
            reauths: saved.reauths.clone(),
            passwords: saved.passwords.clone(),
            refresh_refused: false,
            renew_at: None,
            renew_failures: 0,
            pre_trade_wanted: false,
            last_gate: None,
            next_snapshot: now.mono + limits.snapshot,
            idle_wait: limits.breaker.first_wait,
            finished: now.mono,
            interval: limits.confirm,
            seen: now,
            limits,
        };
        match saved.halted {
            Some(phase) => {
                let reason = saved.reason.clone();
                machine.halt(
                    now,
                    phase,
                    reason.unwrap_or_else(|| reason_of(Code::BrokerBreakerOpen, "halted")),
                );
            }
            None if !machine.breaker.is_closed() => machine.halt_transient(now),
            None => {}
        }
        machine
    }

    pub(super) fn saved(&self) -> Saved {
        let halted = self.is_halted();
        Saved {
            breaker: self.breaker.saved(),
            halted: halted.then_some(self.phase),
            reason: halted.then(|| self.reason.clone()).flatten(),
            reauths: self.reauths.clone(),
            passwords: self.passwords.clone(),
        }
    }

    pub(super) fn is_halted(&self) -> bool {
        use SessionPhase::{HaltedCredential, HaltedOperator, HaltedTransient};
        matches!(self.phase, HaltedTransient | HaltedCredential | HaltedOperator)
    }

    // What is due.

    /// The work of this moment, most urgent first.
    pub(super) fn due(&mut self, now: Now) -> Option<Work> {
        self.expire(now);
        let is_parked = self.parked_until.is_some();
        if let Some(awaiting) = &self.awaiting {
            return (now.mono >= awaiting.next_poll).then_some(Work::Poll);
        }
        if self.phase == SessionPhase::Reauthenticating {
            let is_time = self.incident.next_at.is_some_and(|at| now.mono >= at);
            return (is_time && !is_parked).then_some(Work::Reauth);
        }
        if now.mono >= self.next_snapshot {
            self.next_snapshot = now.mono + self.limits.snapshot;
            return Some(Work::Snapshot);
        }
        if is_parked {
            return None;
        }
        if self.phase == SessionPhase::Healthy {
            let is_stale = self.evidence_age(now).is_none_or(|age| age > self.limits.fresh);
            if std::mem::take(&mut self.pre_trade_wanted) && is_stale {
                return Some(Work::Check(Context::PreTrade));
            }
            if self.renew_at.is_some_and(|at| now.mono >= at) {
                return Some(Work::Renew);
            }
            if self.warm_at(now).is_some_and(|at| now.mono >= at) {
                return Some(Work::Check(Context::Warm));
            }
        }
        if self.next_check.is_none_or(|at| now.mono < at) {
            return None;
        }
        let context = match self.phase {
            SessionPhase::Starting | SessionPhase::Unknown => Context::Startup,
            SessionPhase::Degraded => Context::Confirm,
            SessionPhase::HaltedTransient if self.breaker.is_half_open() => Context::HalfOpen,
            SessionPhase::HaltedTransient if self.breaker.half_open(now, By::Time) => Context::HalfOpen,
            SessionPhase::HaltedTransient | SessionPhase::HaltedOperator => Context::Confirm,
            SessionPhase::Healthy => Context::Periodic,
            SessionPhase::Reauthenticating | SessionPhase::HaltedCredential => return None,
        };
        Some(Work::Check(context))
    }

    /// When `due` is worth asking again.
    pub(super) fn next_at(&self, now: Now) -> Duration {
        let mut next = self.next_snapshot;
        let mut consider = |at: Option<Duration>| next = at.map_or(next, |at| next.min(at));
        consider(self.parked_until);
        consider(self.awaiting.map(|awaiting| awaiting.next_poll.min(awaiting.deadline)));
        if self.phase == SessionPhase::Reauthenticating {
            consider(self.incident.next_at);
        } else if self.parked_until.is_none() {
            consider(self.next_check);
            if self.phase == SessionPhase::Healthy {
                consider(self.renew_at);
                consider(self.warm_at(now));
            }
        }
        next
    }

    pub(super) fn next_check_at(&self, now: Now) -> Option<DateTime<Utc>> {
        let at = self.parked_until.or(self.next_check)?;
        Some(now.wall + TimeDelta::from_std(left(at, now)).unwrap_or_default())
    }

    /// While orders are being decided, a check comes before the evidence is too old.
    fn warm_at(&self, now: Now) -> Option<Duration> {
        let asked = self.last_gate?;
        let is_wanted = now.mono.saturating_sub(asked) < self.limits.warm_for;
        let has_quota = self.quota_until.is_none_or(|until| until <= now.mono);
        let last = self.last_ok?.mono.max(self.last_check.map_or(Duration::ZERO, |check| check.mono));
        (is_wanted && has_quota).then(|| last + self.limits.warm_after)
    }

    /// Ends what has run out of time.
    fn expire(&mut self, now: Now) {
        if self.parked_until.is_some_and(|until| until <= now.mono) {
            self.parked_until = None;
            self.finished = now.mono;
        }
        if self.awaiting.is_some_and(|awaiting| awaiting.deadline <= now.mono) {
            let text = "nobody approved the sign-in in time";
            self.reject(now, reason_of(Code::BrokerApprovalNeeded, text));
        }
        if self.breaker.expire_permit(now) && self.phase == SessionPhase::HaltedTransient {
            self.next_check = self.breaker.retry_at();
        }
    }

    /// Compares the two clocks; true when the machine slept or somebody set the clock.
    pub(super) fn tick(&mut self, now: Now) -> Option<TimeDelta> {
        let mono = TimeDelta::from_std(now.mono.saturating_sub(self.seen.mono)).unwrap_or_default();
        let jump = (now.wall - self.seen.wall) - mono;
        self.seen = now;
        if jump.abs() <= self.limits.jump {
            return None;
        }
        self.last_ok = None;
        self.finished = now.mono;
        if self.next_check.is_some() {
            self.next_check = Some(now.mono);
        }
        Some(jump)
    }

    // Outcomes of checks.

    /// A check that began at `started` succeeded with a token of `generation`.
    pub(super) fn passed(&mut self, now: Now, started: Duration, found: &Found) {
        self.checked(now, started);
        self.accept(now, started, found);
    }

    /// The broker knows the session.
    fn accept(&mut self, now: Now, started: Duration, found: &Found) {
        self.restricted = found.restricted;
        self.skew = found.skew.or(self.skew);
        self.quota_until = found.quota_wait.map(|wait| now.mono + wait);
        self.generation = self.generation.max(found.generation);
        self.last_ok = Some(now);
        self.failures = 0;
        let closed = self.breaker.success(now);
        match self.phase {
            SessionPhase::HaltedTransient | SessionPhase::HaltedCredential | SessionPhase::HaltedOperator => {
                if closed {
                    self.recover(now);
                } else {
                    self.idle_wait = self.limits.breaker.first_wait;
                }
            }
            SessionPhase::Reauthenticating if found.generation < self.generation => {}
            _ => self.recover(now),
        }
        self.schedule(now, started);
    }

    /// A check failed for good.
    pub(super) fn failed(&mut self, now: Now, started: Duration, error: &BrokerError) {
        self.checked(now, started);
        match error {
            BrokerError::Forbidden => {
                let found = Found { generation: self.generation, ..Found::default() };
                self.accept(now, started, &found);
                self.restricted = Some("the session may not trade");
                return;
            }
            BrokerError::RateLimited { wait } => self.park(now, *wait),
            BrokerError::SessionInvalid { generation } => {
                self.failures += 1;
                if self.is_halted() && self.phase != SessionPhase::HaltedTransient {
                    self.breaker.failure(now, Code::BrokerSessionInvalid.row().code);
                } else {
                    self.auth_error(now, *generation);
                }
            }
            BrokerError::Transient { .. }
            | BrokerError::Protocol { .. }
            | BrokerError::Tls { .. }
            | BrokerError::NotOffered { .. } => {
                self.failures += 1;
                self.last_ok = None;
                let code = error.code().row().code;
                self.breaker.failure(now, code);
                if self.breaker.is_closed() {
                    self.enter(now, SessionPhase::Degraded, Some(reason_from(error)));
                } else if !self.is_halted() {
                    self.halt_transient(now);
                } else if self.phase == SessionPhase::HaltedTransient {
                    self.give_up_resuming(now);
                }
            }
            BrokerError::ChallengeRequired(_)
            | BrokerError::CredentialsRejected { .. }
            | BrokerError::RefreshSpent
            | BrokerError::LoginLocked
            | BrokerError::Refused { .. }
            | BrokerError::TokenStore
            | BrokerError::Config { .. } => {
                self.failures += 1;
                self.reject(now, reason_from(error));
            }
        }
        self.schedule(now, started);
    }

    /// An ordinary authenticated call succeeded.
    pub(super) fn evidence(&mut self, now: Now, generation: u64) {
        if generation < self.generation || self.parked_until.is_some() {
            return;
        }
        match self.phase {
            SessionPhase::Healthy | SessionPhase::Degraded => {
                self.last_ok = Some(now);
                self.failures = 0;
                self.breaker.success(now);
                if self.phase == SessionPhase::Degraded {
                    self.recover(now);
                    self.schedule(now, now.mono);
                }
            }
            _ => {}
        }
    }

    /// An ordinary call failed in a way that says something about the session.
    pub(super) fn counter_evidence(&mut self, now: Now, error: &BrokerError) {
        match error {
            BrokerError::SessionInvalid { generation } => self.auth_error(now, *generation),
            BrokerError::RateLimited { wait } => self.park(now, *wait),
            // One failed call is no verdict; a check comes at once and gives one.
            BrokerError::Transient { .. } | BrokerError::Protocol { .. } | BrokerError::Tls { .. }
                if self.phase == SessionPhase::Healthy =>
            {
                self.next_check = Some(now.mono);
            }
            BrokerError::CredentialsRejected { .. } => self.reject(now, reason_from(error)),
            _ => {}
        }
    }

    /// The broker refused a token.
    fn auth_error(&mut self, now: Now, generation: u64) {
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
        self.incident = Incident { attempts: 0, next_at: Some(now.mono) };
        let text = "the broker no longer accepts the session; a new sign-in is under way";
        self.enter(now, SessionPhase::Reauthenticating, Some(reason_of(Code::BrokerSessionInvalid, text)));
    }

    /// No call before `wait` is over.
    fn park(&mut self, now: Now, wait: Duration) {
        let until = now.mono + wait;
        self.parked_until = Some(self.parked_until.map_or(until, |parked| parked.max(until)));
        self.last_ok = None;
        if matches!(self.phase, SessionPhase::Starting | SessionPhase::Healthy | SessionPhase::Degraded) {
            let text = "the broker asked us to wait";
            self.enter(now, SessionPhase::Degraded, Some(reason_of(Code::BrokerRateLimited, text)));
            self.next_check = Some(until);
        }
    }

    pub(super) fn parked(&self, now: Now) -> Option<Duration> {
        self.parked_until.filter(|until| *until > now.mono).map(|until| left(until, now))
    }

    // The operator.

    /// Stops trading until an operator resets the breaker.
    pub(super) fn operator_halt(&mut self, now: Now, text: &str) {
        let reason = reason_of(Code::BrokerBreakerOpen, text);
        self.breaker.trip(now, "operator", text, &reason.code);
        self.awaiting = None;
        self.halt(now, SessionPhase::HaltedOperator, reason);
        self.schedule(now, now.mono);
    }

    /// Lets one check decide whether trading goes on.
    pub(super) fn operator_reset(&mut self, now: Now) -> bool {
        self.breaker.half_open(now, By::Operator)
    }

    /// The check of a reset failed, or never came: open again.
    pub(super) fn reset_failed(&mut self, now: Now, code: &str) {
        if self.breaker.is_half_open() {
            self.breaker.failure(now, code);
        }
    }

    // Inner moves.

    fn checked(&mut self, now: Now, started: Duration) {
        self.checks += 1;
        self.finished = now.mono;
        self.last_check = Some(now);
        self.last_latency = Some(now.mono.saturating_sub(started));
    }

    fn recover(&mut self, now: Now) {
        self.incident = Incident::default();
        self.awaiting = None;
        self.idle_wait = self.limits.breaker.first_wait;
        self.enter(now, SessionPhase::Healthy, None);
    }

    fn enter(&mut self, now: Now, phase: SessionPhase, reason: Option<Reason>) {
        if self.phase != phase {
            self.since = now.wall;
        }
        self.phase = phase;
        self.reason = reason;
    }

    /// The broker refused, or a human is needed: nothing is tried again without an operator.
    fn reject(&mut self, now: Now, reason: Reason) {
        self.breaker.trip(now, "session", &reason.text, &reason.code);
        self.awaiting = None;
        self.halt(now, SessionPhase::HaltedCredential, reason);
        self.next_check = None;
    }

    fn halt_transient(&mut self, now: Now) {
        let trip = self.breaker.trip_reason();
        let text = trip.map_or_else(|| "halted".to_owned(), |trip| trip.reason.clone());
        let reason = Reason { code: Code::BrokerBreakerOpen.row().code.to_owned(), text };
        self.halt(now, SessionPhase::HaltedTransient, reason);
        self.give_up_resuming(now);
    }

    /// After the last automatic resume of a day only an operator may go on.
    fn give_up_resuming(&mut self, now: Now) {
        let is_over = self.limits.breaker.resumes_per_day > 0 && self.breaker.needs_operator();
        if is_over {
            let text = "the automatic resumes of 24 hours are used up";
            self.halt(now, SessionPhase::HaltedOperator, reason_of(Code::BrokerBreakerOpen, text));
        }
    }

    fn halt(&mut self, now: Now, phase: SessionPhase, reason: Reason) {
        self.last_ok = None;
        self.incident = Incident::default();
        if self.breaker.is_closed() {
            self.breaker.trip(now, "session", &reason.text, &reason.code);
        }
        self.enter(now, phase, Some(reason));
        self.next_check = match phase {
            SessionPhase::HaltedTransient => self.breaker.retry_at().or(Some(now.mono + self.idle_wait)),
            SessionPhase::HaltedOperator => Some(now.mono + self.limits.in_window),
            _ => None,
        };
    }

    /// When the next check is due, after one that began at `started`.
    fn schedule(&mut self, now: Now, started: Duration) {
        let confirm = (started + self.limits.confirm).max(now.mono + self.limits.confirm / 10);
        self.next_check = match self.phase {
            SessionPhase::Healthy => {
                self.interval = self.limits.interval_at(now.wall);
                let at = now.mono + self.interval;
                Some(self.quota_until.map_or(at, |until| until.max(at)))
            }
            SessionPhase::Starting | SessionPhase::Degraded | SessionPhase::Unknown => {
                self.interval = self.limits.confirm;
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
                self.interval = self.limits.in_window;
                Some(now.mono + self.limits.in_window)
            }
            SessionPhase::Reauthenticating | SessionPhase::HaltedCredential => None,
        };
    }

    /// Moves the next periodic check a little, so that many bots do not call at once.
    pub(super) fn jitter(&mut self, now: Now, part: f64) {
        if self.phase != SessionPhase::Healthy {
            return;
        }
        if let Some(at) = &mut self.next_check {
            let wait = at.saturating_sub(now.mono);
            let moved = now.mono + wait.mul_f64(1.0 + part.clamp(-0.1, 0.1));
            *at = self.quota_until.map_or(moved, |until| moved.max(until));
        }
    }

    /// The contract's view.
    pub(super) fn view(&self, now: Now) -> botops_contract::BreakerState {
        self.breaker.view(now).state
    }
}

/// What a successful check learned.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) generation: u64,
    pub(super) restricted: Option<&'static str>,
    pub(super) skew: Option<TimeDelta>,
    pub(super) quota_wait: Option<Duration>,
}

pub(super) fn reason_of(code: Code, text: &str) -> Reason {
    Reason { code: code.row().code.to_owned(), text: text.to_owned() }
}

pub(super) fn reason_from(error: &BrokerError) -> Reason {
    reason_of(error.code(), &error.to_string())
}

fn left(at: Duration, now: Now) -> Duration {
    at.saturating_sub(now.mono)
}

#[cfg(test)]
mod tests;
