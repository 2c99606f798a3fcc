//! Signing in: attempts, the check of a new token, renewals, and challenges that a human answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::checker::SessionChecker;
use super::context::SessionContext;
use super::machine::{SessionCheckKind, SessionReason};
use crate::broker::{
    BrokerError, ChallengeState, NewSession, SignInChallenge, SignInMethod, TransientFailure,
};
use botops_core::duration::milliseconds;
use botops_core::error::Code;

/// Gets new sessions. It is shared, so that an open challenge survives a restart of the keeper's task.
pub(super) struct SignInFlow {
    context: Arc<SessionContext>,
    checker: Arc<SessionChecker>,
    challenge: Mutex<Option<SignInChallenge>>,
}

impl SignInFlow {
    pub(super) fn new(context: Arc<SessionContext>, checker: Arc<SessionChecker>) -> Self {
        Self { context, checker, challenge: Mutex::new(None) }
    }

    /// The challenge that a human is asked to answer.
    pub(super) fn open_challenge(&self) -> Option<SignInChallenge> {
        let is_waiting = self.context.machine().awaiting.is_some();
        is_waiting.then(|| self.challenge().clone()).flatten()
    }

    /// Attempts to sign in until there is a session or none is possible. The machine decides which method is next.
    pub(super) async fn run_attempts(&self, operator: bool, code: Option<&str>) {
        loop {
            let offers = |method| self.context.broker.offers(method);
            let next = self.context.update(|machine, now| machine.next_sign_in_method(now, operator, offers));
            let method = match next {
                Ok(method) => method,
                Err(reason) => {
                    self.log_failure(&reason.code, &reason.text, true);
                    self.context.update(|machine, now| machine.halt_credential(now, reason));
                    return;
                }
            };
            if !self.attempt(method, operator, code).await {
                return;
            }
        }
    }

    /// One attempt and the check of its token. True when another attempt may follow at once.
    async fn attempt(&self, method: SignInMethod, operator: bool, code: Option<&str>) -> bool {
        let attempt = self.context.update(|machine, now| machine.begin_attempt(now, method, operator));
        if !self.context.store_state() {
            // In a crash loop, attempts that are not stored would not count, and the broker would lock the account.
            let error = BrokerError::TokenStore;
            self.log_failure(error.code().row().code, "the sign-in budget could not be stored", true);
            self.context.update(|machine, now| machine.attempt_failed(now, &error, method));
            return false;
        }
        let fields = [("attempt", json!(attempt)), ("method", json!(method.as_str()))];
        self.context.log_event("health_check.reauth_triggered", SessionCheckKind::Verify, &fields);
        let started = self.context.clock.mono();
        let result = self.ask_for_token(method, operator, code).await;
        match result {
            Ok(info) => {
                self.verify(&info, started, operator).await;
                false
            }
            Err(BrokerError::ChallengeRequired(challenge)) => {
                let needs = challenge.kind.needs();
                let deadline =
                    self.context.clock.wall() + chrono_wait(self.context.settings.limits.challenge_deadline);
                let fields = [("kind", json!(challenge.kind.as_str())), ("deadline", json!(deadline))];
                *self.challenge() = Some(challenge);
                self.context.update(|machine, now| machine.challenge_opened(now, needs, method));
                self.context.log_event("health_check.challenge_required", SessionCheckKind::Verify, &fields);
                false
            }
            Err(error) => {
                let again = self.context.update(|machine, now| machine.attempt_failed(now, &error, method));
                let is_over = self.context.machine().is_halted();
                self.log_failure(error.code().row().code, &error.to_string(), is_over);
                again
            }
        }
    }

    async fn ask_for_token(
        &self,
        method: SignInMethod,
        operator: bool,
        code: Option<&str>,
    ) -> Result<NewSession, BrokerError> {
        let limit = self.context.settings.limits.sign_in_timeout;
        let late = Err(BrokerError::Transient { kind: TransientFailure::Timeout, status: None });
        timeout(limit, self.context.broker.sign_in(method, operator, code)).await.unwrap_or(late)
    }

    /// Checks a new token; it counts as a session only when the check succeeds.
    async fn verify(&self, info: &NewSession, started: Duration, operator: bool) {
        let lifetime = self.context.broker.token_lifetime();
        self.context.update(|machine, now| {
            machine.token_received(info.generation);
            machine.set_token_lifetime(now, lifetime);
        });
        let check_started = self.context.clock.mono();
        let (result, attempts) = self.checker.probe_with_retries(SessionCheckKind::Verify).await;
        let found = result.inspect(|reply| self.checker.warn_of_skew(reply));
        self.context.update(|machine, now| match &found {
            Ok(found) => machine.token_verified(now, check_started, found, operator),
            Err(error) => machine.token_unverified(now, check_started, error),
        });
        match &found {
            Ok(_) => {
                let latency = milliseconds(self.context.clock.mono().saturating_sub(started));
                let fields = [
                    ("reauth_latency_ms", json!(latency)),
                    ("method", json!(info.method)),
                    ("expires_at", json!(lifetime.map(|lifetime| lifetime.expires_at))),
                ];
                self.context.log_event("health_check.reauth_success", SessionCheckKind::Verify, &fields);
            }
            Err(error) => {
                let is_over = self.context.machine().is_halted();
                self.log_failure(error.code().row().code, &error.to_string(), is_over);
            }
        }
        self.checker.record_check(SessionCheckKind::Verify, attempts, &found);
    }

    /// Gets a new token before the one in use expires. That one is still valid, so a failure stops nothing.
    pub(super) async fn renew(&self) {
        let fields = [("attempt", json!(1)), ("method", json!("renewal"))];
        self.context.log_event("health_check.reauth_triggered", SessionCheckKind::Periodic, &fields);
        let started = self.context.clock.mono();
        match self.ask_for_token(SignInMethod::Refresh, false, None).await {
            Ok(info) => self.verify(&info, started, false).await,
            Err(error) => {
                self.context.update(|machine, now| machine.renew_failed(now, &error));
                let is_over = self.context.machine().is_halted();
                self.log_failure(error.code().row().code, &error.to_string(), is_over);
            }
        }
    }

    /// Asks the broker whether a human has answered, and completes the sign-in if so.
    pub(super) async fn poll(&self) {
        let Some(mut challenge) = self.challenge().clone() else { return };
        let late = Err(BrokerError::Transient { kind: TransientFailure::Timeout, status: None });
        let limit = self.context.settings.limits.attempt_timeout;
        let state = timeout(limit, self.context.broker.poll_challenge(&mut challenge)).await.unwrap_or(late);
        let needs = challenge.kind.needs();
        *self.challenge() = Some(challenge);
        match state {
            Ok(ChallengeState::Approved) => self.complete_challenge(None).await,
            Ok(ChallengeState::Denied) => self.deny_challenge(),
            Ok(ChallengeState::Pending) => {
                self.context.update(|machine, now| machine.challenge_pending(now, needs, false));
            }
            Err(error) => {
                let slower = matches!(error, BrokerError::RateLimited { .. });
                self.context.update(|machine, now| machine.challenge_pending(now, needs, slower));
            }
        }
    }

    /// Completes an answered challenge: one more request gets the token.
    pub(super) async fn complete_challenge(&self, code: Option<&str>) {
        let method =
            self.context.machine().awaiting.map_or(SignInMethod::Refresh, |awaiting| awaiting.method);
        *self.challenge() = None;
        self.context.log_event("health_check.challenge_resolved", SessionCheckKind::Verify, &[]);
        self.context.update(|machine, now| machine.challenge_approved(now));
        let started = self.context.clock.mono();
        match self.ask_for_token(method, true, code).await {
            Ok(info) => self.verify(&info, started, true).await,
            Err(error) => {
                self.context.update(|machine, now| machine.attempt_failed(now, &error, method));
                let is_over = self.context.machine().is_halted();
                self.log_failure(error.code().row().code, &error.to_string(), is_over);
            }
        }
    }

    /// Ends a challenge that was refused or withdrawn.
    pub(super) fn deny_challenge(&self) {
        *self.challenge() = None;
        let reason = SessionReason::new(Code::BrokerApprovalNeeded, "the sign-in was not approved");
        self.log_failure(&reason.code, &reason.text, true);
        self.context.update(|machine, now| machine.halt_credential(now, reason));
    }

    fn log_failure(&self, code: &str, text: &str, is_over: bool) {
        let fields = [
            ("error_code", json!(code)),
            ("error_message", json!(text)),
            ("circuit_breaker_tripped", json!(is_over)),
        ];
        self.context.log_event("health_check.reauth_failed", SessionCheckKind::Verify, &fields);
    }

    fn challenge(&self) -> MutexGuard<'_, Option<SignInChallenge>> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chrono_wait(wait: Duration) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(wait).unwrap_or_default()
}
