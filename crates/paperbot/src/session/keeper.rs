//! The keeper: the one task that checks the session, signs in again and hears the operator.
//!
//! It asks the machine what is due, does it, and reports what came of it; nothing else talks to the broker about the
//! session, so a check or a sign-in is never under way twice. A stop cuts a check at once and lets a sign-in finish
//! for a moment, since a token pair that was handed out and not stored is lost. Deliberately absent: decisions.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::machine::{Context, Found, Work};
use super::{Command, CommandKind, CommandOutcome, Inner};
use crate::broker::{BrokerError, ChallengeState, ProbeOk, Reply, SessionInfo, Step, Transient};
use crate::calendar::{Calendar, MarketPhase};
use botops_contract::{BreakerState, EventKind, SessionPhase, Severity};
use botops_core::error::Code;

/// The longest sleep: a suspend is noticed within this after the machine woke up.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a sign-in may go on after the stop.
const GRACE: Duration = Duration::from_millis(4_500);

pub(super) async fn keep(inner: Arc<Inner>) {
    let mut inbox = inner.inbox.lock().await;
    let stopping = inner.tasks.stopping();
    if Calendar::is_unverified(inner.clock.wall()) {
        tracing::warn!("the market calendar was not checked for this year");
    }
    loop {
        if stopping.is_cancelled() {
            return;
        }
        inner.note_jump();
        let work = inner.update(|machine, now| machine.due(now));
        if let Some(work) = work {
            inner.clone().run(work).await;
            continue;
        }
        let now = inner.clock.now();
        let wait = inner.machine().next_at(now).saturating_sub(now.mono).min(HEARTBEAT);
        tokio::select! {
            () = stopping.cancelled() => return,
            () = inner.kick.notified() => {}
            () = sleep(wait) => {}
            Some(command) = inbox.recv() => inner.obey(command).await,
        }
    }
}

impl Inner {
    async fn run(&self, work: Work) {
        let stopping = self.tasks.stopping();
        match work {
            Work::Check(context) => {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    _ = self.check(context) => {}
                }
            }
            Work::Reauth => self.with_grace(self.reauth(false, None)).await,
            Work::Renew => self.with_grace(self.renew()).await,
            Work::Poll => self.with_grace(self.poll()).await,
            Work::Snapshot => self.snapshot(),
        }
    }

    /// Lets work that may have been handed a token finish, but not for long.
    async fn with_grace(&self, work: impl Future<Output = ()>) {
        tokio::pin!(work);
        let stopping = self.tasks.stopping();
        tokio::select! {
            () = &mut work => {}
            () = stopping.cancelled() => {
                // What is not done by then is as if the process had been killed: the store is whole either way.
                let _ = timeout(GRACE, work).await;
            }
        }
    }

    async fn obey(&self, command: Command) {
        let stopping = self.tasks.stopping();
        let outcome = match command.kind {
            CommandKind::Probe => tokio::select! {
                () = stopping.cancelled() => refused("stopping", "the bot is stopping"),
                outcome = self.operator_probe() => outcome,
            },
            CommandKind::Reset => tokio::select! {
                () = stopping.cancelled() => refused("stopping", "the bot is stopping"),
                outcome = self.operator_reset() => outcome,
            },
            CommandKind::Reauth(code) => {
                let mut outcome = refused("stopping", "the bot is stopping");
                self.with_grace(async { outcome = self.operator_reauth(code).await }).await;
                outcome
            }
        };
        // Whoever asked may be gone; the command was carried out all the same.
        let _ = command.reply.send(outcome);
    }

    // Checks.

    /// One check, with retries where its kind has them. Reports to the machine and to the log.
    async fn check(&self, context: Context) -> Result<Found, BrokerError> {
        let started = self.clock.mono();
        let (result, attempts) = self.attempts(context).await;
        let found = result.map(|reply| self.found(&reply));
        self.update(|machine, now| {
            match &found {
                Ok(found) => machine.passed(now, started, found),
                Err(error) => machine.failed(now, started, error),
            }
            machine.jitter(now, random_part());
        });
        self.record_check(context, attempts, &found);
        if found.is_ok() && self.settings.market_hours_only && context.is_full() {
            self.compare_market().await;
        }
        found
    }

    async fn attempts(&self, context: Context) -> (Result<Reply<ProbeOk>, BrokerError>, usize) {
        let limits = &self.settings.limits;
        let started = tokio::time::Instant::now();
        let budget = if context == Context::PreTrade { limits.gate } else { limits.check };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let left = budget.saturating_sub(started.elapsed());
            let limit = left.min(limits.attempt);
            // The broker keeps the limit by itself; this is the belt to its braces.
            let late = Err(BrokerError::Transient { kind: Transient::Timeout, status: None });
            let result = timeout(limit, self.broker.probe(limit)).await.unwrap_or(late);
            let Err(error) = &result else { return (result, attempt) };
            let planned = limits.retry_waits.get(attempt - 1).copied();
            let wait = match (error, planned) {
                (BrokerError::Transient { .. }, Some(planned)) => planned.mul_f64(1.0 + random_part()),
                (BrokerError::RateLimited { wait }, Some(_)) if *wait <= limits.short_wait => *wait,
                _ => return (result, attempt),
            };
            let fits = started.elapsed() + wait < budget;
            if !context.is_full() || !fits {
                return (result, attempt);
            }
            let fields = [
                ("attempt", json!(attempt)),
                ("max_attempts", json!(limits.retry_waits.len() + 1)),
                ("delay_ms", json!(milliseconds(wait))),
                ("error_type", json!(error.kind())),
            ];
            self.event("retry.attempt", context, &fields);
            sleep(wait).await;
        }
    }

    fn found(&self, reply: &Reply<ProbeOk>) -> Found {
        let limit = self.settings.limits.skew;
        let skew = reply.meta.skew;
        let was_off = self.machine().skew.is_some_and(|skew| skew.abs() > limit);
        if let Some(skew) = skew.filter(|skew| skew.abs() > limit && !was_off) {
            let text = format!("the broker's clock and ours differ by {} s", skew.num_seconds());
            self.warn(Code::BrokerClockSkew, &text, json!({"clock_skew_seconds": skew.as_seconds_f64()}));
        }
        Found {
            generation: reply.meta.generation,
            restricted: reply.value.restricted,
            skew,
            quota_wait: reply.meta.quota_wait,
        }
    }

    fn record_check(&self, context: Context, attempts: usize, found: &Result<Found, BrokerError>) {
        // Measured when the check ended: storing what it led to is no part of the broker's latency.
        let (latency, checks, failures, phase) = {
            let machine = self.machine();
            (machine.last_latency, machine.checks, machine.failures, machine.phase)
        };
        let latency = milliseconds(latency.unwrap_or_default());
        let will_sign_in = phase == SessionPhase::Reauthenticating && found.is_err();
        let fields = [
            ("latency_ms", json!(latency)),
            ("success", json!(found.is_ok())),
            ("attempts", json!(attempts)),
            ("cached", json!(false)),
            ("reauth_triggered", json!(will_sign_in)),
        ];
        self.event("health_check.executed", context, &fields);
        match found {
            Ok(_) => {
                let uptime = self.clock.mono().saturating_sub(self.started.mono).as_secs();
                let mut fields = [
                    ("session_uptime_seconds", json!(uptime)),
                    ("session_valid", json!(true)),
                    ("health_check_count", json!(checks)),
                ];
                // What a reader of the text log looks for comes first: how long it holds, or that an order may go.
                if matches!(context, Context::PreTrade | Context::Warm) {
                    fields.swap(0, 1);
                }
                self.event("health_check.passed", context, &fields);
            }
            Err(error) => {
                let fields = [
                    ("error_type", json!(error.kind())),
                    ("error_code", json!(error.code().row().code)),
                    ("latency_ms", json!(latency)),
                    ("consecutive_failures", json!(failures)),
                ];
                self.event("health_check.failed", context, &fields);
            }
        }
    }

    /// The calendar against the broker's own clock; the stricter of the two holds.
    async fn compare_market(&self) {
        let Ok(Some(open)) = self.broker.market_open().await else { return };
        let now = self.clock.now();
        let expected = self.settings.limits.calendar.phase_at(now.wall) == MarketPhase::Core;
        if open != expected {
            tracing::warn!(
                market.open = open,
                "the broker says market open: {open}; the calendar says {expected}"
            );
        }
        self.machine().broker_market_open = Some((now.mono, open));
    }

    fn snapshot(&self) {
        let fields = {
            let machine = self.machine();
            let uptime = self.clock.mono().saturating_sub(self.started.mono).as_secs();
            [
                ("is_healthy", json!(machine.phase == SessionPhase::Healthy)),
                ("session_uptime_seconds", json!(uptime)),
                ("health_check_count", json!(machine.checks)),
                ("reauth_count", json!(machine.signed_in)),
                ("consecutive_failures", json!(machine.failures)),
            ]
        };
        self.event("session.metrics_snapshot", Context::Periodic, &fields);
    }

    fn note_jump(&self) {
        let jump = self.update(|machine, now| machine.tick(now));
        if let Some(jump) = jump {
            let text = format!(
                "the clock jumped by {} s; the machine slept, or somebody set it",
                jump.num_seconds()
            );
            self.event("clock.jump", Context::Periodic, &[("seconds", json!(jump.num_seconds()))]);
            self.warn(Code::BrokerClockSkew, &text, json!({"jump_seconds": jump.num_seconds()}));
        }
    }

    // Signing in.

    /// Attempts to sign in until one step settles it. The machine says which, and whether at all.
    async fn reauth(&self, operator: bool, code: Option<&str>) {
        loop {
            let can = |step| self.broker.can(step);
            let step = self.update(|machine, now| machine.next_step(now, operator, can));
            let step = match step {
                Ok(step) => step,
                Err(reason) => {
                    self.reauth_failed(&reason.code, &reason.text, true);
                    self.update(|machine, now| machine.give_up(now, reason));
                    return;
                }
            };
            if !self.sign_in(step, operator, code).await {
                return;
            }
        }
    }

    /// One attempt and its proof. True when another step may follow at once.
    async fn sign_in(&self, step: Step, operator: bool, code: Option<&str>) -> bool {
        let attempt = self.update(|machine, now| machine.attempt(now, step, operator));
        if !self.store() {
            // A budget that is not on disk would be forgotten by a crash loop, and the account locked.
            let error = BrokerError::TokenStore;
            self.reauth_failed(error.code().row().code, "the sign-in budget could not be stored", true);
            self.update(|machine, now| machine.attempt_failed(now, &error, step));
            return false;
        }
        let fields = [("attempt", json!(attempt)), ("method", json!(step.as_str()))];
        self.event("health_check.reauth_triggered", Context::Verify, &fields);
        let started = self.clock.mono();
        let result = self.ask_for_token(step, operator, code).await;
        match result {
            Ok(info) => {
                self.prove(&info, started, operator).await;
                false
            }
            Err(BrokerError::ChallengeRequired(challenge)) => {
                let needs = challenge.kind.needs();
                let deadline = self.clock.wall() + chrono_wait(self.settings.limits.challenge);
                let fields = [("kind", json!(challenge.kind.as_str())), ("deadline", json!(deadline))];
                *self.challenge() = Some(challenge);
                self.update(|machine, now| machine.challenged(now, needs, step));
                self.event("health_check.challenge_required", Context::Verify, &fields);
                false
            }
            Err(error) => {
                let again = self.update(|machine, now| machine.attempt_failed(now, &error, step));
                let is_over = self.machine().is_halted();
                self.reauth_failed(error.code().row().code, &error.to_string(), is_over);
                again
            }
        }
    }

    async fn ask_for_token(
        &self,
        step: Step,
        operator: bool,
        code: Option<&str>,
    ) -> Result<SessionInfo, BrokerError> {
        let limit = self.settings.limits.reauth;
        let late = Err(BrokerError::Transient { kind: Transient::Timeout, status: None });
        timeout(limit, self.broker.reauth(step, operator, code)).await.unwrap_or(late)
    }

    /// A token is believed when a check with it passed.
    async fn prove(&self, info: &SessionInfo, started: Duration, operator: bool) -> bool {
        let lifetime = self.broker.lifetime();
        self.update(|machine, now| {
            machine.signed_in(info.generation);
            machine.set_lifetime(now, lifetime);
        });
        let check_started = self.clock.mono();
        let (result, attempts) = self.attempts(Context::Verify).await;
        let found = result.map(|reply| self.found(&reply));
        self.update(|machine, now| match &found {
            Ok(found) => machine.verified(now, check_started, found, operator),
            Err(error) => machine.unverified(now, check_started, error),
        });
        match &found {
            Ok(_) => {
                let latency = milliseconds(self.clock.mono().saturating_sub(started));
                let fields = [
                    ("reauth_latency_ms", json!(latency)),
                    ("method", json!(info.method)),
                    ("expires_at", json!(lifetime.map(|lifetime| lifetime.expires_at))),
                ];
                self.event("health_check.reauth_success", Context::Verify, &fields);
            }
            Err(error) => {
                let is_over = self.machine().is_halted();
                self.reauth_failed(error.code().row().code, &error.to_string(), is_over);
            }
        }
        self.record_check(Context::Verify, attempts, &found);
        found.is_ok()
    }

    /// A new token before the old one ends. The old one still holds, so a failure stops nothing.
    async fn renew(&self) {
        let fields = [("attempt", json!(1)), ("method", json!("renewal"))];
        self.event("health_check.reauth_triggered", Context::Periodic, &fields);
        let started = self.clock.mono();
        match self.ask_for_token(Step::Refresh, false, None).await {
            Ok(info) => {
                self.prove(&info, started, false).await;
            }
            Err(error) => {
                self.update(|machine, now| machine.renew_failed(now, &error));
                let is_over = self.machine().is_halted();
                self.reauth_failed(error.code().row().code, &error.to_string(), is_over);
            }
        }
    }

    /// Has a human answered?
    async fn poll(&self) {
        let Some(mut challenge) = self.challenge().clone() else { return };
        let late = Err(BrokerError::Transient { kind: Transient::Timeout, status: None });
        let limit = self.settings.limits.attempt;
        let state = timeout(limit, self.broker.poll(&mut challenge)).await.unwrap_or(late);
        let needs = challenge.kind.needs();
        *self.challenge() = Some(challenge);
        match state {
            Ok(ChallengeState::Approved) => self.approved(None).await,
            Ok(ChallengeState::Denied) => self.denied(),
            Ok(ChallengeState::Pending) => self.update(|machine, now| machine.polled(now, needs, false)),
            Err(error) => {
                let slower = matches!(error, BrokerError::RateLimited { .. });
                self.update(|machine, now| machine.polled(now, needs, slower));
            }
        }
    }

    /// The challenge is over; the token comes with one more request.
    async fn approved(&self, code: Option<&str>) {
        let step = self.machine().awaiting.map_or(Step::Refresh, |awaiting| awaiting.step);
        *self.challenge() = None;
        self.event("health_check.challenge_resolved", Context::Verify, &[]);
        self.update(|machine, now| machine.approved(now));
        let started = self.clock.mono();
        match self.ask_for_token(step, true, code).await {
            Ok(info) => {
                self.prove(&info, started, true).await;
            }
            Err(error) => {
                self.update(|machine, now| machine.attempt_failed(now, &error, step));
                let is_over = self.machine().is_halted();
                self.reauth_failed(error.code().row().code, &error.to_string(), is_over);
            }
        }
    }

    fn denied(&self) {
        *self.challenge() = None;
        let reason = super::machine::reason_of(Code::BrokerApprovalNeeded, "the sign-in was not approved");
        self.reauth_failed(&reason.code, &reason.text, true);
        self.update(|machine, now| machine.give_up(now, reason));
    }

    // The operator.

    async fn operator_probe(&self) -> CommandOutcome {
        if let Some(refusal) = self.parked() {
            return refusal;
        }
        if self.machine().phase == SessionPhase::Reauthenticating {
            return refused("reauthenticating", "a new sign-in is under way");
        }
        match self.check(Context::Manual).await {
            Ok(_) => done("the session answers"),
            Err(error) => refused("check_failed", &error.to_string()),
        }
    }

    async fn operator_reset(&self) -> CommandOutcome {
        let state = self.machine().view(self.clock.now());
        if state == BreakerState::Closed {
            return refused("breaker_closed", "the circuit breaker is closed");
        }
        if let Some(refusal) = self.parked() {
            return refusal;
        }
        if self.machine().phase == SessionPhase::Reauthenticating {
            return refused("reauthenticating", "a new sign-in is under way");
        }
        self.update(|machine, now| machine.operator_reset(now));
        let result = self.check(Context::Startup).await;
        let code = Code::BrokerBreakerOpen.row().code;
        self.update(|machine, now| machine.reset_failed(now, code));
        match result {
            Ok(_) => done("the check passed and the circuit breaker is closed"),
            Err(error) => refused("check_failed", &format!("{error}; the circuit breaker stays open")),
        }
    }

    async fn operator_reauth(&self, code: Option<String>) -> CommandOutcome {
        if let Some(refusal) = self.parked() {
            return refusal;
        }
        let open = self.machine().awaiting.is_some().then(|| self.challenge().clone()).flatten();
        match (open, code) {
            (Some(challenge), Some(code)) => match self.broker.answer(&challenge, &code).await {
                Ok(ChallengeState::Approved) => self.approved(Some(&code)).await,
                Ok(ChallengeState::Pending) => {
                    return refused("code_rejected", "the broker did not take the code");
                }
                Ok(ChallengeState::Denied) => self.denied(),
                Err(error) => return refused("code_rejected", &error.to_string()),
            },
            (Some(_), None) => self.poll().await,
            (None, code) => {
                self.update(|machine, _| machine.operator_signs_in());
                self.reauth(true, code.as_deref()).await;
            }
        }
        let machine = self.machine();
        let text = machine.reason.as_ref().map_or("signed in", |reason| reason.text.as_str());
        match machine.phase {
            SessionPhase::Healthy => done("signed in; a check passed"),
            SessionPhase::HaltedOperator => {
                done("signed in; trading stays halted until the breaker is reset")
            }
            _ if machine.awaiting.is_some() => refused("awaiting_human", text),
            _ => refused("reauth_failed", text),
        }
    }

    fn parked(&self) -> Option<CommandOutcome> {
        let wait = self.machine().parked(self.clock.now())?;
        Some(refused("rate_limited", &format!("the broker asked us to wait {} s more", wait.as_secs() + 1)))
    }

    // Records.

    fn event(&self, event: &str, context: Context, fields: &[(&str, Value)]) {
        let generation = self.machine().generation;
        self.log.event(self.clock.wall(), event, generation, context.as_str(), fields);
    }

    fn reauth_failed(&self, code: &str, text: &str, is_over: bool) {
        let fields = [
            ("error_code", json!(code)),
            ("error_message", json!(text)),
            ("circuit_breaker_tripped", json!(is_over)),
        ];
        self.event("health_check.reauth_failed", Context::Verify, &fields);
    }

    /// Something worth a warning that changes no state.
    fn warn(&self, code: Code, text: &str, context: Value) {
        let at = self.clock.wall();
        let reason = super::machine::reason_of(code, text);
        let error = super::news::semantic(at, &reason, &context);
        let note = super::Note {
            kind: EventKind::Error,
            severity: Severity::Medium,
            message: text.to_owned(),
            error,
            data: context,
            at,
        };
        (self.sink)(note);
    }

    fn challenge(&self) -> std::sync::MutexGuard<'_, Option<crate::broker::Challenge>> {
        self.challenge.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn done(message: &str) -> CommandOutcome {
    CommandOutcome { done: true, reason_code: None, message: message.to_owned() }
}

fn refused(code: &'static str, message: &str) -> CommandOutcome {
    CommandOutcome { done: false, reason_code: Some(code), message: message.to_owned() }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn chrono_wait(wait: Duration) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(wait).unwrap_or_default()
}

/// Between −0.1 and 0.1. Without a source of randomness all bots call at once, which is no reason to fail.
fn random_part() -> f64 {
    let word = getrandom::u64().unwrap_or(u64::MAX / 2);
    let part = f64::from(u32::try_from(word >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    (part - 0.5) * 0.2
}
