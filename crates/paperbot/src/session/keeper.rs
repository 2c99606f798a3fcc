//! The keeper: the one task that checks the session, signs in again and carries out the operator's commands.
//!
//! It asks the machine what is due, does it, and reports the outcome. Nothing else calls the broker about the session,
//! so there is never more than one check or sign-in at a time. A stop ends a check at once and gives a sign-in a few
//! seconds to finish, since a token pair that was issued and not stored is lost. The machine makes all decisions.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{sleep, timeout};

use super::checker::SessionChecker;
use super::command::{SessionCommand, SessionCommandKind, refusal_before_call};
use super::context::SessionContext;
use super::machine::{SessionCheckKind, SessionWork, wait_text};
use super::model::SessionCommandOutcome;
use super::sign_in::SignInFlow;
use crate::broker::{BrokerError, ChallengeState};
use crate::calendar::Calendar;
use botops_contract::SessionPhase;
use botops_core::error::Code;

/// The longest sleep, so that a suspend is noticed within this time after the computer wakes up.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a sign-in may go on after a stop; shorter than the process waits for its tasks.
const STOP_GRACE: Duration = Duration::from_millis(4_500);

/// The keeper's task. It is restarted after a panic, so its state is behind a shared reference.
pub(super) struct SessionKeeper {
    context: Arc<SessionContext>,
    checker: Arc<SessionChecker>,
    sign_in: SignInFlow,
    commands: Mutex<mpsc::Receiver<SessionCommand>>,
}

impl SessionKeeper {
    pub(super) fn new(context: Arc<SessionContext>, commands: mpsc::Receiver<SessionCommand>) -> Self {
        let checker = Arc::new(SessionChecker::new(context.clone()));
        let sign_in = SignInFlow::new(context.clone(), checker.clone());
        Self { context, checker, sign_in, commands: Mutex::new(commands) }
    }

    /// Does what is due until the bot stops.
    pub(super) async fn run(self: Arc<Self>) {
        let mut commands = self.commands.lock().await;
        let context = &self.context;
        let stopping = context.tasks.stopping();
        if Calendar::is_unverified(context.clock.wall()) {
            tracing::warn!("the market calendar was not checked for this year");
        }
        loop {
            if stopping.is_cancelled() {
                return;
            }
            self.detect_clock_jump();
            let work = context.update(|machine, now| machine.due_work(now));
            if let Some(work) = work {
                self.do_work(work).await;
                continue;
            }
            let now = context.clock.now();
            let wait = context.machine().next_wakeup(now).saturating_sub(now.mono).min(HEARTBEAT);
            tokio::select! {
                () = stopping.cancelled() => return,
                () = context.wake.notified() => {}
                () = sleep(wait) => {}
                Some(command) = commands.recv() => self.carry_out(command).await,
            }
        }
    }

    async fn do_work(&self, work: SessionWork) {
        let stopping = self.context.tasks.stopping();
        match work {
            SessionWork::Check(kind) => {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    _ = self.checker.check(kind) => {}
                }
            }
            SessionWork::SignIn => self.with_grace(self.sign_in.run_attempts(false, None)).await,
            SessionWork::Renew => self.with_grace(self.sign_in.renew()).await,
            SessionWork::Poll => self.with_grace(self.sign_in.poll()).await,
            SessionWork::Snapshot => self.log_snapshot(),
        }
    }

    /// Runs work that may get a token, and after a stop lets it go on for [`STOP_GRACE`].
    async fn with_grace(&self, work: impl Future<Output = ()>) {
        tokio::pin!(work);
        let stopping = self.context.tasks.stopping();
        tokio::select! {
            () = &mut work => {}
            () = stopping.cancelled() => {
                // Work that is not done by then is dropped, as by a kill: the token store stays intact.
                let _ = timeout(STOP_GRACE, work).await;
            }
        }
    }

    async fn carry_out(&self, command: SessionCommand) {
        let stopping = self.context.tasks.stopping();
        if let Some(refusal) = self.refusal(&command.kind) {
            // Fails when the sender has gone.
            let _ = command.reply.send(refusal);
            return;
        }
        let outcome = match command.kind {
            SessionCommandKind::Probe => tokio::select! {
                () = stopping.cancelled() => SessionCommandOutcome::stopping(),
                outcome = self.operator_probe() => outcome,
            },
            SessionCommandKind::ResetBreaker => tokio::select! {
                () = stopping.cancelled() => SessionCommandOutcome::stopping(),
                outcome = self.operator_reset() => outcome,
            },
            SessionCommandKind::SignIn(code) => {
                let mut outcome = SessionCommandOutcome::stopping();
                self.with_grace(async { outcome = self.operator_reauth(code).await }).await;
                outcome
            }
        };
        // Fails when the sender has gone; the command was carried out.
        let _ = command.reply.send(outcome);
    }

    fn log_snapshot(&self) {
        let fields = {
            let machine = self.context.machine();
            let uptime = self.context.clock.mono().saturating_sub(self.context.started.mono).as_secs();
            [
                ("is_healthy", json!(machine.phase == SessionPhase::Healthy)),
                ("session_uptime_seconds", json!(uptime)),
                ("health_check_count", json!(machine.checks)),
                ("reauth_count", json!(machine.sign_ins)),
                ("consecutive_failures", json!(machine.failures)),
            ]
        };
        self.context.log_event("session.metrics_snapshot", SessionCheckKind::Periodic, &fields);
    }

    fn detect_clock_jump(&self) {
        let jump = self.context.update(|machine, now| machine.detect_clock_jump(now));
        if let Some(jump) = jump {
            let text = format!(
                "the clock jumped by {} s; the machine slept, or somebody set it",
                jump.num_seconds()
            );
            self.context.log_event(
                "clock.jump",
                SessionCheckKind::Periodic,
                &[("seconds", json!(jump.num_seconds()))],
            );
            let facts = json!({"jump_seconds": jump.num_seconds()});
            let at = self.context.clock.wall();
            self.context.publisher.publish_warning(at, Code::BrokerClockSkew, &text, facts);
        }
    }

    // The operator.

    /// Why a command is refused without a call to the broker.
    fn refusal(&self, kind: &SessionCommandKind) -> Option<SessionCommandOutcome> {
        refusal_before_call(&self.context.machine(), self.context.clock.now(), kind)
    }

    async fn operator_probe(&self) -> SessionCommandOutcome {
        match self.checker.check(SessionCheckKind::Manual).await {
            Ok(_) => SessionCommandOutcome::done(match self.context.machine().restricted {
                Some(_) => {
                    "the session answers, and the broker still restricts the account: a person must clear that with the broker"
                }
                None => "the session answers",
            }),
            Err(BrokerError::RateLimited { .. }) => self.rate_limited(),
            Err(error) => SessionCommandOutcome::refused("check_failed", &error.to_string()),
        }
    }

    async fn operator_reset(&self) -> SessionCommandOutcome {
        self.context.update(|machine, now| machine.operator_reset(now));
        let result = self.checker.check(SessionCheckKind::Startup).await;
        let code = Code::BrokerBreakerOpen.row().code;
        self.context.update(|machine, now| machine.reset_failed(now, code));
        match result {
            Ok(_) => SessionCommandOutcome::done("the check passed and the circuit breaker is closed"),
            Err(BrokerError::RateLimited { .. }) => self.rate_limited(),
            Err(error) => SessionCommandOutcome::refused(
                "check_failed",
                &format!("{error}; the circuit breaker stays open"),
            ),
        }
    }

    async fn operator_reauth(&self, code: Option<String>) -> SessionCommandOutcome {
        let open = self.sign_in.open_challenge();
        match (open, code) {
            (Some(challenge), Some(code)) => {
                match self.context.broker.answer_challenge(&challenge, &code).await {
                    Ok(ChallengeState::Approved) => self.sign_in.complete_challenge(Some(&code)).await,
                    Ok(ChallengeState::Pending) => {
                        return SessionCommandOutcome::refused(
                            "code_rejected",
                            "the broker did not take the code",
                        );
                    }
                    Ok(ChallengeState::Denied) => self.sign_in.deny_challenge(),
                    Err(error) => return SessionCommandOutcome::refused("code_rejected", &error.to_string()),
                }
            }
            (Some(_), None) => self.sign_in.poll().await,
            (None, code) => {
                self.context.update(|machine, _| machine.operator_sign_in());
                self.sign_in.run_attempts(true, code.as_deref()).await;
            }
        }
        if self.context.machine().parked_for(self.context.clock.now()).is_some() {
            return self.rate_limited();
        }
        let machine = self.context.machine();
        let text = machine.reason.as_ref().map_or("signed in", |reason| reason.text.as_str());
        match machine.phase {
            SessionPhase::Healthy => SessionCommandOutcome::done("signed in; a check passed"),
            SessionPhase::HaltedOperator => {
                SessionCommandOutcome::done("signed in; trading stays halted until the breaker is reset")
            }
            _ if machine.awaiting.is_some() => SessionCommandOutcome::refused("awaiting_human", text),
            _ => SessionCommandOutcome::refused("reauth_failed", text),
        }
    }

    /// The broker asked for a wait in the middle of the command.
    fn rate_limited(&self) -> SessionCommandOutcome {
        let until = self.context.machine().parked_until_wall(self.context.clock.now());
        let text = until.map_or_else(|| "the broker asked us to wait".to_owned(), wait_text);
        SessionCommandOutcome::refused("rate_limited", &text)
    }
}
