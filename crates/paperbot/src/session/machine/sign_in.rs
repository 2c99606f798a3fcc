//! Signing in again: which step, how often, what a refusal ends, and renewing a token ahead of its end.
//!
//! A refused credential is never repeated by itself, attempts keep their distance, and a budget outlives restarts.
//! Deliberately absent: the requests themselves.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Awaiting, Found, Incident, Machine, Reason, reason_from, reason_of};
use crate::breaker::By;
use crate::broker::{BrokerError, Lifetime, Step};
use crate::clock::Now;
use botops_contract::SessionPhase;
use botops_core::error::Code;

impl Machine {
    /// A human asks for a sign-in: what was refused before may be asked once more.
    pub(in crate::session) fn operator_signs_in(&mut self) {
        self.incident = Incident::default();
        self.refresh_refused = false;
    }

    /// The next attempt's step, or why there is none.
    pub(in crate::session) fn next_step(
        &mut self,
        now: Now,
        operator: bool,
        can: impl Fn(Step) -> bool,
    ) -> Result<Step, Reason> {
        let day_ago = now.wall - TimeDelta::days(1);
        self.reauths.retain(|at| *at > day_ago);
        self.passwords.retain(|at| *at > day_ago);
        // A human may go on where the bot has to stop, but not for ever: brokers lock accounts.
        let budget = if operator { self.limits.reauths_per_day * 2 } else { self.limits.reauths_per_day };
        if self.reauths.len() >= budget {
            let text = format!("the budget of {budget} sign-in attempts in 24 hours is used up");
            return Err(reason_of(Code::BrokerCredentialsRejected, &text));
        }
        if !operator && self.incident.attempts >= self.limits.reauth_waits.len() {
            let text = format!("{} sign-in attempts in a row failed", self.incident.attempts);
            return Err(reason_of(Code::BrokerSessionInvalid, &text));
        }
        if can(Step::Refresh) && !self.refresh_refused {
            return Ok(Step::Refresh);
        }
        if !can(Step::Password) {
            let text = if self.refresh_refused {
                "the refresh was refused and the password sign-in is not switched on"
            } else {
                "there is no token to refresh and the password sign-in is not switched on"
            };
            return Err(reason_of(Code::BrokerCredentialsRejected, text));
        }
        let gap = TimeDelta::from_std(self.limits.password_gap).unwrap_or(TimeDelta::MAX);
        let too_soon = self.passwords.last().is_some_and(|last| now.wall - *last < gap);
        if too_soon || self.passwords.len() >= self.limits.passwords_per_day {
            let text = "password sign-ins are limited, so that the broker does not lock the account";
            return Err(reason_of(Code::BrokerCredentialsRejected, text));
        }
        Ok(Step::Password)
    }

    /// An attempt begins; it counts before it is made. Returns its number.
    pub(in crate::session) fn attempt(&mut self, now: Now, step: Step, operator: bool) -> usize {
        self.reauths.push(now.wall);
        if step == Step::Password {
            self.passwords.push(now.wall);
        }
        self.awaiting = None;
        self.incident.attempts += 1;
        // Should the keeper die in the attempt, the next one keeps its distance.
        self.incident.next_at = Some(now.mono + self.distance());
        if !self.is_halted() || operator {
            let text = "a new sign-in is under way";
            self.enter(
                now,
                SessionPhase::Reauthenticating,
                Some(reason_of(Code::BrokerSessionInvalid, text)),
            );
        }
        self.incident.attempts
    }

    fn distance(&self) -> Duration {
        self.limits.reauth_waits.get(self.incident.attempts).copied().unwrap_or(self.limits.confirm)
    }

    /// The broker gave a token; the check that proves it comes next.
    pub(in crate::session) fn signed_in(&mut self, generation: u64) {
        self.generation = generation;
        self.refresh_refused = false;
    }

    /// The token was proved by a check.
    pub(in crate::session) fn verified(
        &mut self,
        now: Now,
        started: Duration,
        found: &Found,
        operator: bool,
    ) {
        self.signed_in += 1;
        self.incident = Incident::default();
        self.awaiting = None;
        // A sign-in mends the session; what an operator halted, an operator resets.
        let trip = self.breaker.trip_reason();
        let operator_halt = trip.filter(|trip| trip.source == "operator").map(|trip| trip.reason.clone());
        if operator && operator_halt.is_none() && trip.is_some() {
            self.breaker.half_open(now, By::Operator);
        }
        self.phase = SessionPhase::Reauthenticating;
        self.passed(now, started, found);
        match operator_halt {
            Some(text) => {
                let reason = reason_of(Code::BrokerBreakerOpen, &text);
                self.halt(now, SessionPhase::HaltedOperator, reason);
            }
            None if !self.breaker.is_closed() => self.halt_transient(now),
            None => return,
        }
        self.schedule(now, started);
    }

    /// The token was given, and the check that should prove it failed.
    pub(in crate::session) fn unverified(&mut self, now: Now, started: Duration, error: &BrokerError) {
        let is_refused =
            matches!(error, BrokerError::SessionInvalid { .. } | BrokerError::CredentialsRejected { .. });
        if is_refused {
            self.checked(now, started);
            self.failures += 1;
            let text = "the broker gave a new token and refuses it";
            self.reject(now, reason_of(Code::BrokerCredentialsRejected, text));
            return;
        }
        self.incident = Incident::default();
        self.phase = SessionPhase::Degraded;
        self.failed(now, started, error);
        if !self.breaker.is_closed() && !self.is_halted() {
            self.halt_transient(now);
        }
    }

    /// An attempt failed. True when the next step may follow at once.
    pub(in crate::session) fn attempt_failed(&mut self, now: Now, error: &BrokerError, step: Step) -> bool {
        match error {
            BrokerError::RefreshSpent if step == Step::Refresh => {
                self.refresh_refused = true;
                self.incident.next_at = Some(now.mono);
                true
            }
            BrokerError::RateLimited { wait } => {
                self.park(now, *wait);
                self.incident.next_at = Some(now.mono + *wait);
                false
            }
            BrokerError::Transient { .. } | BrokerError::Protocol { .. } | BrokerError::Tls { .. } => {
                self.incident.next_at = Some(now.mono + self.distance());
                if self.incident.attempts >= self.limits.reauth_waits.len() {
                    let text = format!("{} sign-in attempts in a row failed", self.incident.attempts);
                    self.reject(now, reason_of(error.code(), &text));
                }
                false
            }
            _ => {
                self.reject(now, reason_from(error));
                false
            }
        }
    }

    /// No attempt is possible any more.
    pub(in crate::session) fn give_up(&mut self, now: Now, reason: Reason) {
        self.reject(now, reason);
    }

    /// The broker wants a human.
    pub(in crate::session) fn challenged(&mut self, now: Now, needs: &'static str, step: Step) {
        self.awaiting = Some(Awaiting {
            needs,
            deadline: now.mono + self.limits.challenge,
            next_poll: now.mono,
            interval: self.limits.challenge_poll,
            step,
        });
        self.incident.next_at = None;
        let text = "a human must approve the sign-in";
        self.enter(now, SessionPhase::Reauthenticating, Some(reason_of(Code::BrokerApprovalNeeded, text)));
    }

    /// Nobody has answered yet; `slower` after the broker complained about the polling.
    pub(in crate::session) fn polled(&mut self, now: Now, needs: &'static str, slower: bool) {
        if let Some(awaiting) = &mut self.awaiting {
            if slower {
                awaiting.interval *= 2;
            }
            awaiting.needs = needs;
            awaiting.next_poll = now.mono + awaiting.interval;
        }
    }

    /// The challenge was answered; the token comes with one more request, at once and outside the waits.
    pub(in crate::session) fn approved(&mut self, now: Now) {
        self.awaiting = None;
        self.incident.next_at = Some(now.mono + self.limits.confirm);
    }

    // Renewing ahead of the end.

    /// What is known about the token in use.
    pub(in crate::session) fn set_lifetime(&mut self, now: Now, lifetime: Option<Lifetime>) {
        self.token_end = lifetime.map(|lifetime| lifetime.expires_at);
        self.renew_failures = 0;
        self.renew_at = lifetime.map(|lifetime| {
            let whole = (lifetime.expires_at - lifetime.issued_at).to_std().unwrap_or_default();
            let margin = (whole / 5).min(Duration::from_secs(24 * 3600));
            let rest = (lifetime.expires_at - now.wall).to_std().unwrap_or_default();
            now.mono + rest.saturating_sub(margin)
        });
    }

    /// The token could not be renewed ahead of its end; it still holds, so trading goes on.
    pub(in crate::session) fn renew_failed(&mut self, now: Now, error: &BrokerError) {
        self.renew_failures += 1;
        let may_repeat = matches!(error, BrokerError::Transient { .. } | BrokerError::RateLimited { .. });
        if matches!(error, BrokerError::RefreshSpent) {
            self.refresh_refused = true;
        }
        self.renew_at = match self.limits.reauth_waits.get(self.renew_failures) {
            Some(wait) if may_repeat => Some(now.mono + *wait),
            _ => None,
        };
        match error {
            BrokerError::TokenStore => self.reject(now, reason_from(error)),
            BrokerError::RateLimited { wait } => self.park(now, *wait),
            _ => {}
        }
    }

    pub(in crate::session) fn budget_left(&self, now: Now) -> u32 {
        let day_ago = now.wall - TimeDelta::days(1);
        let used = self.reauths.iter().filter(|at| **at > day_ago).count();
        u32::try_from(self.limits.reauths_per_day.saturating_sub(used)).unwrap_or(u32::MAX)
    }
}
