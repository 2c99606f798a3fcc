//! Signing in again: how attempts, new tokens, challenges and renewals change the state.
//!
//! A refused credential is never sent again without an operator.

use std::time::Duration;

use super::core::SessionMachine;
use super::model::{HumanWait, SessionReason};
use super::renewal::TokenRenewal;
use crate::broker::{BrokerError, ProbeReply, SignInMethod, TokenLifetime};
use crate::clock::Now;
use crate::session::breaker::ProbeGrantor;
use botops_contract::SessionPhase;
use botops_core::error::Code;

impl SessionMachine {
    /// An operator asks for a sign-in: a credential that was refused may be sent once more.
    pub(in crate::session) fn operator_sign_in(&mut self) {
        self.sign_in_budget.end_incident();
        self.sign_in_budget.refresh_refused = false;
    }

    /// The method of the next attempt, or why none may be made.
    pub(in crate::session) fn next_sign_in_method(
        &mut self,
        now: Now,
        operator: bool,
        offers: impl Fn(SignInMethod) -> bool,
    ) -> Result<SignInMethod, SessionReason> {
        self.sign_in_budget.next_method(&self.limits, now, operator, offers)
    }

    /// Counts an attempt before it is made. Returns its number in the incident.
    pub(in crate::session) fn begin_attempt(
        &mut self,
        now: Now,
        method: SignInMethod,
        operator: bool,
    ) -> usize {
        self.awaiting = None;
        let number = self.sign_in_budget.record_attempt(&self.limits, now, method);
        if !self.is_halted() || operator {
            let reason = SessionReason::new(Code::BrokerSessionInvalid, "a new sign-in is under way");
            self.enter_phase(now, SessionPhase::Reauthenticating, Some(reason));
        }
        number
    }

    /// The broker issued a token; the check that proves it comes next.
    pub(in crate::session) fn token_received(&mut self, generation: u64) {
        (self.generation, self.refused_token, self.credentials_refused) = (generation, None, false);
        self.sign_in_budget.refresh_refused = false;
    }

    /// A check succeeded with the new token.
    pub(in crate::session) fn token_verified(
        &mut self,
        now: Now,
        started: Duration,
        found: &ProbeReply,
        operator: bool,
    ) {
        self.sign_ins += 1;
        self.sign_in_budget.end_incident();
        self.awaiting = None;
        // An operator's sign-in may close a breaker that the session opened; one that an operator opened needs a reset.
        let trip = self.breaker.open_trip();
        let operator_halt = trip.filter(|trip| trip.source == "operator").map(|trip| trip.reason.clone());
        if operator && operator_halt.is_none() && trip.is_some() {
            self.breaker.permit_probe(now, ProbeGrantor::Operator);
        }
        self.phase = SessionPhase::Reauthenticating;
        self.check_passed(now, started, found);
        match operator_halt {
            Some(text) => {
                let reason = SessionReason::new(Code::BrokerBreakerOpen, &text);
                self.enter_halt(now, SessionPhase::HaltedOperator, reason);
            }
            None if !self.breaker.is_closed() => self.halt_transient(now),
            None => return,
        }
        self.schedule_check(now, started);
    }

    /// The check that should prove the new token failed.
    pub(in crate::session) fn token_unverified(&mut self, now: Now, started: Duration, error: &BrokerError) {
        let is_refused =
            matches!(error, BrokerError::SessionInvalid { .. } | BrokerError::CredentialsRejected { .. });
        if is_refused {
            self.record_check_end(now, started);
            self.failures += 1;
            self.credentials_refused |= error.refuses_credentials();
            let text = "the broker gave a new token and refuses it";
            self.halt_credential(now, SessionReason::new(Code::BrokerCredentialsRejected, text));
            return;
        }
        self.sign_in_budget.end_incident();
        self.phase = SessionPhase::Degraded;
        self.check_failed(now, started, error);
        if !self.breaker.is_closed() && !self.is_halted() {
            self.halt_transient(now);
        }
    }

    /// Records a failed attempt. True when another attempt may follow at once.
    pub(in crate::session) fn attempt_failed(
        &mut self,
        now: Now,
        error: &BrokerError,
        method: SignInMethod,
    ) -> bool {
        self.credentials_refused |= error.refuses_credentials();
        match error {
            BrokerError::RefreshSpent if method == SignInMethod::Refresh => {
                self.sign_in_budget.refresh_refused = true;
                self.sign_in_budget.next_at = Some(now.mono);
                true
            }
            BrokerError::RateLimited { wait } => {
                self.park(now, *wait);
                self.sign_in_budget.next_at = Some(now.mono + *wait);
                false
            }
            BrokerError::Transient { .. } | BrokerError::Protocol { .. } | BrokerError::Tls { .. } => {
                self.sign_in_budget.next_at =
                    Some(now.mono + self.sign_in_budget.wait_before_next(&self.limits));
                if self.sign_in_budget.is_incident_used_up(&self.limits) {
                    let text =
                        format!("{} sign-in attempts in a row failed", self.sign_in_budget.attempts_in_a_row);
                    self.halt_credential(now, SessionReason::new(error.code(), &text));
                }
                false
            }
            _ => {
                self.halt_credential(now, SessionReason::of_error(error));
                if let BrokerError::ChallengeRequired(challenge) = error {
                    self.unanswered = Some(challenge.kind.needs().to_owned());
                }
                false
            }
        }
    }

    /// The broker asks for a human's confirmation.
    pub(in crate::session) fn challenge_opened(
        &mut self,
        now: Now,
        needs: &'static str,
        method: SignInMethod,
    ) {
        self.awaiting = Some(HumanWait {
            needs,
            deadline: now.mono + self.limits.challenge_deadline,
            next_poll: now.mono,
            interval: self.limits.challenge_poll_interval,
            method,
        });
        self.sign_in_budget.next_at = None;
        let text = if needs == "enter_code" {
            "a human must enter the code that the broker sent"
        } else {
            "a human must approve the sign-in"
        };
        self.enter_phase(
            now,
            SessionPhase::Reauthenticating,
            Some(SessionReason::new(Code::BrokerApprovalNeeded, text)),
        );
    }

    /// The challenge is not answered yet; `slower` when the broker refused the poll because of its rate.
    pub(in crate::session) fn challenge_pending(&mut self, now: Now, needs: &'static str, slower: bool) {
        if let Some(awaiting) = &mut self.awaiting {
            if slower {
                awaiting.interval *= 2;
            }
            awaiting.needs = needs;
            awaiting.next_poll = now.mono + awaiting.interval;
        }
    }

    /// The challenge was answered; one more request gets the token, at once and without the waits between attempts.
    pub(in crate::session) fn challenge_approved(&mut self, now: Now) {
        self.awaiting = None;
        self.sign_in_budget.next_at = Some(now.mono + self.limits.confirm_interval);
    }

    // Renewal before the token expires.

    /// Plans the renewal by the lifetime of the token in use.
    pub(in crate::session) fn set_token_lifetime(&mut self, now: Now, lifetime: Option<TokenLifetime>) {
        self.renewal = TokenRenewal::of_token(now, lifetime);
    }

    /// Records a failed renewal. The token in use is still valid, so trading goes on.
    pub(in crate::session) fn renew_failed(&mut self, now: Now, error: &BrokerError) {
        let may_repeat = matches!(error, BrokerError::Transient { .. } | BrokerError::RateLimited { .. });
        if matches!(error, BrokerError::RefreshSpent) {
            self.sign_in_budget.refresh_refused = true;
        }
        self.renewal.record_failure(&self.limits, now, may_repeat);
        match error {
            BrokerError::TokenStore => self.halt_credential(now, SessionReason::of_error(error)),
            BrokerError::RateLimited { wait } => self.park(now, *wait),
            _ => {}
        }
    }

    pub(in crate::session) fn sign_ins_left(&self, now: Now) -> u32 {
        self.sign_in_budget.left(&self.limits, now)
    }
}
