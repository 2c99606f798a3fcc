//! From a wish to a trial: admitted, checked by the bot, put before it.
//!
//! D1 to D4 of the protocol. Until the bot was told, every failure ends as `rejected` with nothing changed; from then on
//! what is not known is asked of the bot. Deliberately absent: what becomes of the trial.

use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use super::boot_once::BOOT_LIMIT;
use super::criteria::Baseline;
use super::door::{Prepared, Wish};
use super::trial::{BOT_GRACE, Desk, Live, SAMPLES, busy};
use super::txn::{By, Deadline, Plan, Progress, StoredError, Txn, TxnState, TxnView};
use super::versions;
use crate::bots::CallError;
use crate::operations_log::{self, NewOperation, OperationAdmission, OperationKind, OperationRow};
use botops_contract::{Activate, EXPIRED};
use botops_core::error::{Code, Effect, Error, FieldError};
use botops_core::failpoints;

impl Desk {
    /// From a wish to a trial.
    pub(super) async fn begin(&mut self, wish: Wish) -> Result<TxnView, Error> {
        if let Some(earlier) = self.shared.replay(&wish.actor, &wish.options).await? {
            return self.shared.answer_again(&earlier);
        }
        // A change that names no base is refused for that, whatever else goes on.
        if let Some(live) = self.live.as_ref().filter(|_| wish.options.if_match.is_some()) {
            return Err(busy("config", &live.txn.id, &live.txn.actor, live.txn.state.as_str()));
        }
        let prepared = self.shared.prepare(&wish).await?;
        let txn = match self.admit(wish, &prepared).await? {
            Ok(txn) => txn,
            Err(earlier) => return self.shared.answer_again(&earlier),
        };
        failpoints::point("config.d1");
        let mut live = Live::new(txn, false);
        if let Err(error) = self.check(&mut live, &prepared).await {
            return Err(self.reject(live, error).await);
        }
        failpoints::point("config.d2");
        self.activate(live, &prepared).await
    }

    /// D1: the version's file, then the row with the lock.
    async fn admit(&self, wish: Wish, prepared: &Prepared) -> Result<Result<Txn, Box<OperationRow>>, Error> {
        let shared = &self.shared;
        let version = shared.next_version().await?;
        failpoints::point("config.before_d1");
        let (history, document) = (shared.history.clone(), prepared.document.clone());
        let stored = tokio::task::spawn_blocking(move || history.store(version, &document)).await;
        let file = stored
            .map_err(|error| Error::new(Code::Internal).caused_by(error))?
            .map_err(|error| Error::new(Code::StoreUnavailable).caused_by(error))?;
        let options = wish.options;
        let plan = Plan {
            action: options.action,
            reason: options.reason,
            confirm: options.confirm,
            confirm_within_ms: u64::try_from(options.confirm_within.as_millis()).unwrap_or(u64::MAX),
            base: prepared.base.head.as_ref(),
            candidate: prepared.document.as_version(version),
            file,
            restored_from: prepared.restored_from,
            diff: prepared.diff.clone(),
            risk: prepared.risk.clone(),
            restart: prepared.restart.clone(),
            schema_sha256: shared.schema.sha256.clone(),
            boot_once: !prepared.restart.is_empty() && shared.can_boot_once(),
        };
        let now = operations_log::now_ms();
        let txn = Txn {
            id: Uuid::now_v7().to_string(),
            state: TxnState::Prepared,
            plan,
            progress: Progress::default(),
            actor: wish.actor,
            parent_op: options.parent_op.clone(),
            created_ms: now,
            updated_ms: now,
        };
        let lock = operations_log::bot_lock(shared.bots.id());
        let new = NewOperation {
            op_id: txn.id.clone(),
            kind: OperationKind::Config,
            name: txn.plan.action.as_str().to_owned(),
            def_sha: txn.plan.candidate.sha256.clone(),
            params: json!(txn.plan),
            state: txn.state.as_str().to_owned(),
            lock_key: options.parent_op.is_none().then_some(lock),
            parent_op: options.parent_op,
            actor: txn.actor.clone(),
            idempotency: options.idempotency,
            deadline_ms: None,
        };
        let (queue, record, row) = (shared.audit.queue(), txn.record(), txn.clone());
        let admission = shared
            .store
            .write(move |connection| {
                let admission = operations_log::admit(connection, &new)?;
                if admission == OperationAdmission::Admitted {
                    versions::insert_candidate(connection, &row.id, &row.plan, &row.actor)?;
                    queue(connection, record)?;
                }
                Ok(admission)
            })
            .await?;
        match admission {
            OperationAdmission::Admitted => {
                self.show(&txn);
                Ok(Ok(txn))
            }
            OperationAdmission::Replay(earlier) => {
                self.forget_file(&txn);
                Ok(Err(earlier))
            }
            OperationAdmission::Held(holder) => {
                self.forget_file(&txn);
                Err(busy(holder.kind.as_str(), &holder.op_id, &holder.actor, &holder.state))
            }
        }
    }

    fn forget_file(&self, txn: &Txn) {
        if let Err(error) = self.shared.history.remove(&txn.plan.candidate) {
            tracing::warn!("a candidate's file could not be removed: {error}");
        }
    }

    /// D2: the bot would take it.
    async fn check(&self, live: &mut Live, prepared: &Prepared) -> Result<(), Error> {
        let started = Instant::now();
        let verdict = self.shared.ask_bot(&prepared.document).await.map_err(CallError::of_a_read)?;
        live.txn.progress.check_ms = u64::try_from(started.elapsed().as_millis()).ok();
        if !verdict.ok {
            let findings = verdict.violations.into_iter().map(super::schema::of_violation);
            return Err(Error::new(Code::ConfigBotRejected).fields(findings.map(FieldError::from).collect()));
        }
        self.record(live, TxnState::Checked).await
    }

    /// D3: from here on the bot may run it. D4: it does.
    async fn activate(&mut self, mut live: Live, prepared: &Prepared) -> Result<TxnView, Error> {
        let state = match self.shared.bots.config_state().await {
            Ok(state) => state,
            Err(error) => return Err(self.reject(live, error.of_a_read()).await),
        };
        self.outrun(state.generation);
        let window = Duration::from_millis(live.txn.plan.confirm_within_ms);
        let report = self.shared.bots.snapshot().report.clone();
        live.txn.progress.baseline = report
            .as_deref()
            .map(|report| Baseline::take(report, &prepared.base.document.value, &prepared.document.value));
        // A bot that is started again for it has time for that beside the trial's.
        let time = if live.txn.plan.boot_once { window + BOOT_LIMIT } else { window };
        live.txn.progress.deadline = Some(Deadline::after(time));
        live.txn.progress.boot_epoch = Some(state.boot_epoch.clone());
        live.ends_at = Instant::now() + time;
        // Fail closed: nothing is sent that is not in the audit file.
        let noted = match self.record(&mut live, TxnState::Activating).await {
            Ok(()) => self.shared.audit.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            return Err(self.reject(live, error.effect(Effect::None)).await);
        }
        failpoints::point("config.d3");
        let message = Activate {
            txn: live.txn.id.clone(),
            generation: self.generation(),
            base: state.running,
            candidate: live.txn.plan.candidate.clone(),
            document: prepared.document.text.clone(),
            ttl_ms: u64::try_from((window + BOT_GRACE).as_millis()).unwrap_or(u64::MAX),
            boot_once: live.txn.plan.boot_once,
        };
        let acknowledged = self.shared.bots.config_activate(&message).await;
        failpoints::point("config.activated");
        match acknowledged {
            Ok(ack) if live.txn.plan.boot_once && ack.txn == live.txn.id => {
                live.boots = true;
                live.retry_at = Instant::now();
                let view = live.txn.view(SAMPLES);
                self.live = Some(live);
                Ok(view)
            }
            Ok(ack) if ack.txn == live.txn.id && ack.running.sha256 == live.txn.plan.candidate.sha256 => {
                self.shared.note_running(&ack.running, &ack.boot_epoch);
                live.txn.progress.boot_epoch = Some(ack.boot_epoch);
                live.began = Instant::now();
                let noted = self.record(&mut live, TxnState::Trial).await;
                failpoints::point("config.d4");
                // Unrecorded, it is a trial all the same; the row is looked into until it says so.
                live.in_doubt = noted.is_err();
                let view = live.txn.view(SAMPLES);
                self.live = Some(live);
                Ok(view)
            }
            Err(CallError::NotDelivered(reason)) => {
                Err(self.reject(live, Error::new(Code::BotOffline).detail(reason)).await)
            }
            Err(CallError::NotCapable(what)) => {
                Err(self.reject(live, CallError::NotCapable(what).into()).await)
            }
            Err(CallError::Refused(refusal)) => {
                // Some reasons are not about the document: the same again may pass.
                let at_fault = !matches!(refusal.code.as_str(), EXPIRED | "busy" | "stopping");
                let code = if at_fault { Code::ConfigBotRejected } else { Code::BotRefused };
                let error = Error::new(code)
                    .detail(format!("the bot refused to run it: {}", refusal.message))
                    .context("reason_code", refusal.code)
                    .context("bot_context", refusal.context);
                Err(self.reject(live, error).await)
            }
            Ok(ack) => {
                let what =
                    format!("the bot acknowledged transaction {}, running {}", ack.txn, ack.running.sha256);
                Err(self.doubt_activation(live, what).await)
            }
            Err(error @ (CallError::TimedOut | CallError::Invalid(_) | CallError::Unproven(_))) => {
                let what = Error::from(error).problem("", Utc::now()).cause;
                Err(self.doubt_activation(live, what).await)
            }
        }
    }

    /// The bot may run it, or may come to run it: it is not over, and is watched or undone once that is known.
    async fn doubt_activation(&mut self, mut live: Live, what: String) -> Error {
        live.in_doubt = true;
        live.retry_at = Instant::now();
        let what = botops_core::text::clean(&what, 400);
        live.txn.progress.outcome = Some(format!("unknown whether the bot took it: {what}"));
        if let Err(error) = self.record(&mut live, TxnState::Activating).await {
            tracing::error!(
                "that it is unknown whether the bot took a config change is not recorded: {error}"
            );
        }
        let id = live.txn.id.clone();
        self.live = Some(live);
        let path = format!("/api/v1/config/txns/{id}");
        Error::new(Code::ConfigOutcomeUnknown)
            .detail(format!("the change was sent, and it is not known whether the bot took it: {what}"))
            .context("txn", id)
            .next("get_config_txn", "GET", path, None, Some("read"))
    }

    /// The end of a change that the bot never ran. Returns the error for whoever asked.
    async fn reject(&mut self, mut live: Live, error: Error) -> Error {
        let problem = error.problem("", Utc::now());
        live.txn.progress.error = Some(StoredError {
            error_code: problem.error_code,
            cause: problem.cause,
            errors: problem.errors,
        });
        let by = match error.code() {
            Code::ConfigBotRejected
            | Code::BotRefused
            | Code::BotOffline
            | Code::BotTimeout
            | Code::BotNotCapable => By::Bot,
            _ => By::Server,
        };
        let id = live.txn.id.clone();
        self.live = Some(live);
        self.end(TxnState::Rejected, by, &error.to_string()).await;
        error.context("txn", id)
    }
}
