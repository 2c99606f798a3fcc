//! From a request to a trial: admitted (D1), checked by the bot (D2), sent to it (D3), run by it (D4).
//!
//! The table of these steps is in `mod.rs`.
//!
//! Until the bot was told, every failure ends as `rejected` with nothing changed; from then on, the bot is asked
//! about what is not known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use botops_core::duration::milliseconds;
use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use super::live::{BOT_GRACE, LiveTrial};
use super::restart::BOOT_LIMIT;
use super::services::TrialServices;
use crate::bots::CallError;
use crate::configs::admission::{ApplyOptions, ChangeRequest, PreparedChange, bot_busy};
use crate::configs::transaction::{
    ConfigTransaction, LossLimits, TransactionPlan, TransactionProgress, TransactionState, TransactionView,
    TrialBaseline,
};
use crate::configs::versions::{NewVersionRow, insert_version};
use crate::operations_log::{
    self, NewOperation, OperationAdmission, OperationKind, OperationRow, StoredActor,
};
use botops_contract::{ActivateConfigRequest, ConfigAck, ConfigState, EXPIRED};
use botops_core::durable_deadline::DurableDeadline;
use botops_core::error::{Code, Effect, Error, FieldError};
use botops_core::failpoints;

/// What became of a request that was not refused at once.
#[derive(Debug)]
pub(super) enum TrialStart {
    /// It had begun before: the answer it got then.
    Repeated(Box<TransactionView>),
    /// The bot runs it, may run it, or is to be started with it; and the answer to whoever asked.
    Live(Box<LiveTrial>, Result<Box<TransactionView>, Error>),
    /// It was admitted, and the bot never ran it.
    Rejected(Box<LiveTrial>, Error),
}

impl TrialStart {
    fn rejected(live: LiveTrial, error: impl Into<Error>) -> Self {
        Self::Rejected(Box::new(live), error.into())
    }

    fn live(live: LiveTrial) -> Self {
        let view = TransactionView::of(&live.txn);
        Self::Live(Box::new(live), Ok(Box::new(view)))
    }
}

/// Takes changes from a request to a trial.
#[derive(Debug)]
pub(super) struct TrialStarter {
    services: Arc<TrialServices>,
}

impl TrialStarter {
    pub(crate) fn new(services: Arc<TrialServices>) -> Self {
        Self { services }
    }

    /// From a request to a trial, if no other transaction is live.
    pub(crate) async fn start(&self, request: ChangeRequest) -> Result<TrialStart, Error> {
        let admission = &self.services.admission;
        let prepared = admission.prepare(&request).await?;
        let txn = match self.admit(request, &prepared).await? {
            Ok(txn) => txn,
            Err(earlier) => {
                let view = admission.answer_again(&earlier)?;
                return Ok(TrialStart::Repeated(Box::new(view)));
            }
        };
        failpoints::point("config.d1");
        let mut live = LiveTrial::new(txn, false);
        if let Err(error) = self.check_by_bot(&mut live, &prepared).await {
            return Ok(TrialStart::rejected(live, error));
        }
        failpoints::point("config.d2");
        Ok(self.activate(live, &prepared).await)
    }

    /// D1: the version's file, then the row with the lock.
    async fn admit(
        &self,
        request: ChangeRequest,
        prepared: &PreparedChange,
    ) -> Result<Result<ConfigTransaction, Box<OperationRow>>, Error> {
        let services = &self.services;
        let version = services.versions.next_version().await?;
        failpoints::point("config.before_d1");
        let (files, document) = (services.versions.files().clone(), prepared.document.clone());
        let stored = tokio::task::spawn_blocking(move || files.store(version, &document)).await;
        let file = stored
            .map_err(|error| Error::new(Code::Internal).caused_by(error))?
            .map_err(|error| Error::new(Code::StoreUnavailable).caused_by(error))?;
        let plan = self.plan_of(&request.options, prepared, version, file);
        let txn = new_transaction(plan, request.actor, request.options.parent_op.clone());
        let lock = operations_log::bot_lock(services.bots.id());
        let (new, version_row) = (new_op(&txn, request.options, lock), new_version_row(&txn));
        let (queue, record) = (services.audit.queue(), txn.record());
        let admission = services
            .store
            .write(move |connection| {
                let admission = operations_log::admit(connection, &new)?;
                if admission == OperationAdmission::Admitted {
                    insert_version(connection, &version_row)?;
                    queue(connection, record)?;
                }
                Ok(admission)
            })
            .await?;
        match admission {
            OperationAdmission::Admitted => {
                services.current.show_live(&txn);
                Ok(Ok(txn))
            }
            OperationAdmission::Replay(earlier) => {
                self.remove_file(&txn);
                Ok(Err(earlier))
            }
            OperationAdmission::Held(holder) => {
                self.remove_file(&txn);
                Err(bot_busy(holder.kind.as_str(), &holder.op_id, &holder.actor, &holder.state))
            }
        }
    }

    fn plan_of(
        &self,
        options: &ApplyOptions,
        prepared: &PreparedChange,
        version: u64,
        file: String,
    ) -> TransactionPlan {
        TransactionPlan {
            action: options.action,
            reason: options.reason.clone(),
            confirm: options.confirm,
            confirm_within_ms: milliseconds(options.confirm_within),
            base: prepared.base.head.version_ref(),
            candidate: prepared.document.as_version(version),
            file,
            restored_from: prepared.restored_from,
            diff: prepared.diff.clone(),
            risk: prepared.risk.clone(),
            restart: prepared.restart.clone(),
            schema_sha256: prepared.schema.sha256.clone(),
            boot_once: !prepared.restart.is_empty() && self.services.restart.can_boot_once(),
        }
    }

    /// Removes the file of a candidate that was not admitted.
    fn remove_file(&self, txn: &ConfigTransaction) {
        if let Err(error) = self.services.versions.files().remove(&txn.plan.candidate) {
            tracing::warn!("a candidate's file could not be removed: {error}");
        }
    }

    /// D2: asks the bot whether it would accept the document.
    async fn check_by_bot(&self, live: &mut LiveTrial, prepared: &PreparedChange) -> Result<(), Error> {
        let started = Instant::now();
        let asked = self.services.admission.ask_bot(&prepared.document).await;
        let verdict = asked.map_err(CallError::of_a_read)?;
        live.txn.progress.check_ms = u64::try_from(started.elapsed().as_millis()).ok();
        if !verdict.ok {
            let finding = |violation| prepared.schema.finding_of_bot(violation, &prepared.document.value);
            let findings = verdict.violations.into_iter().map(finding);
            return Err(Error::new(Code::ConfigBotRejected).fields(findings.map(FieldError::from).collect()));
        }
        self.services.recorder.record(live, TransactionState::Checked).await
    }

    /// D3: tells the bot; from here on it may run the candidate.
    async fn activate(&self, mut live: LiveTrial, prepared: &PreparedChange) -> TrialStart {
        let services = &self.services;
        let state = match services.bots.config_state().await {
            Ok(state) => state,
            Err(error) => return TrialStart::rejected(live, error.of_a_read()),
        };
        services.recorder.exceed_generation(state.generation);
        self.set_deadline(&mut live, prepared, &state);
        // Fail closed: nothing is sent that is not in the audit file.
        let recorded = services.recorder.record_and_flush(&mut live, TransactionState::Activating).await;
        if let Err(error) = recorded {
            return TrialStart::rejected(live, error.effect(Effect::None));
        }
        failpoints::point("config.d3");
        let window = Duration::from_millis(live.txn.plan.confirm_within_ms);
        let message = ActivateConfigRequest {
            txn: live.txn.id.clone(),
            generation: services.recorder.generation(),
            base: state.running,
            candidate: live.txn.plan.candidate.clone(),
            document: prepared.document.text.clone(),
            ttl_ms: milliseconds(window + BOT_GRACE),
            boot_once: live.txn.plan.boot_once,
        };
        let answer = services.bots.config_activate(&message).await;
        failpoints::point("config.activated");
        self.take_answer(live, answer).await
    }

    fn set_deadline(&self, live: &mut LiveTrial, prepared: &PreparedChange, state: &ConfigState) {
        let window = Duration::from_millis(live.txn.plan.confirm_within_ms);
        let report = self.services.bots.snapshot().report.clone();
        live.txn.progress.baseline = report.as_deref().map(|report| {
            let documents = [&prepared.base.document.value, &prepared.document.value];
            TrialBaseline::take(report, LossLimits::of(&prepared.schema, documents))
        });
        // A bot that is started again for it has time for that beside the trial's.
        let time = if live.txn.plan.boot_once { window + BOOT_LIMIT } else { window };
        live.txn.progress.deadline = Some(DurableDeadline::after(time));
        live.txn.progress.boot_epoch = Some(state.boot_epoch.clone());
        live.ends_at = Instant::now() + time;
    }

    /// D4, when the bot says that it runs the candidate.
    async fn take_answer(&self, mut live: LiveTrial, answer: Result<ConfigAck, CallError>) -> TrialStart {
        match answer {
            Ok(ack) if live.txn.plan.boot_once && ack.txn == live.txn.id => {
                live.boots = true;
                live.retry_at = Instant::now();
                TrialStart::live(live)
            }
            Ok(ack) if ack.txn == live.txn.id && ack.running.sha256 == live.txn.plan.candidate.sha256 => {
                self.services.current.record_acknowledged(&ack.running, &ack.boot_epoch);
                live.txn.progress.boot_epoch = Some(ack.boot_epoch);
                live.began = Instant::now();
                let recorded = self.services.recorder.record(&mut live, TransactionState::Trial).await;
                failpoints::point("config.d4");
                if let Err(error) = recorded {
                    self.services.recorder.watch_unrecorded(&mut live, &error);
                }
                TrialStart::live(live)
            }
            Err(error @ (CallError::NotDelivered(_) | CallError::NotSent(..) | CallError::NotCapable(_))) => {
                TrialStart::rejected(live, error)
            }
            Err(CallError::Refused(refusal)) => {
                // Some reasons are not about the document: the same again may pass.
                let at_fault = !matches!(refusal.code.as_str(), EXPIRED | "busy" | "stopping");
                let code = if at_fault { Code::ConfigBotRejected } else { Code::BotRefused };
                let error = Error::new(code)
                    .detail(format!("the bot refused to run it: {}", refusal.message))
                    .context("reason_code", refusal.code)
                    .context("bot_context", refusal.context);
                TrialStart::rejected(live, error)
            }
            Ok(ack) => {
                let what =
                    format!("the bot acknowledged transaction {}, running {}", ack.txn, ack.running.sha256);
                self.mark_activation_unproven(live, what).await
            }
            Err(error @ (CallError::TimedOut | CallError::Invalid(_) | CallError::Unproven(_))) => {
                let what = Error::from(error).problem("", Utc::now()).cause;
                self.mark_activation_unproven(live, what).await
            }
        }
    }

    /// The bot may run it, or may come to run it: it is not over, and is watched or undone once that is known.
    async fn mark_activation_unproven(&self, mut live: LiveTrial, what: String) -> TrialStart {
        live.mark_unproven_now();
        let what = botops_core::text::clean(&what, 400);
        live.txn.progress.outcome = Some(format!("unknown whether the bot took it: {what}"));
        if let Err(error) = self.services.recorder.record(&mut live, TransactionState::Activating).await {
            tracing::error!(
                "that it is unknown whether the bot took a config change is not recorded: {error}"
            );
            self.services.recorder.go_on_unrecorded(&mut live, TransactionState::Activating);
        }
        let id = live.txn.id.clone();
        let path = format!("/api/v1/config/txns/{id}");
        let error = Error::new(Code::ConfigOutcomeUnknown)
            .detail(format!("the change was sent, and it is not known whether the bot took it: {what}"))
            .context("txn", id)
            .next("get_config_txn", "GET", path, None, Some("read"));
        TrialStart::Live(Box::new(live), Err(error))
    }
}

fn new_transaction(
    plan: TransactionPlan,
    actor: StoredActor,
    parent_op: Option<String>,
) -> ConfigTransaction {
    let now = operations_log::now_ms();
    ConfigTransaction {
        id: Uuid::now_v7().to_string(),
        state: TransactionState::Prepared,
        plan,
        progress: TransactionProgress::default(),
        actor,
        parent_op,
        created_ms: now,
        updated_ms: now,
    }
}

fn new_op(txn: &ConfigTransaction, options: ApplyOptions, lock: String) -> NewOperation {
    NewOperation {
        op_id: txn.id.clone(),
        kind: OperationKind::Config,
        name: txn.plan.action.as_str().to_owned(),
        def_sha: txn.plan.candidate.sha256.clone(),
        params: json!(txn.plan),
        state: txn.state.as_str().to_owned(),
        lock_key: options.parent_op.is_none().then_some(lock),
        parent_op: options.parent_op,
        actor: txn.actor.clone(),
        begun_by: options.begun_by,
        deadline_ms: None,
    }
}

fn new_version_row(txn: &ConfigTransaction) -> NewVersionRow {
    NewVersionRow {
        reference: txn.plan.candidate.clone(),
        file: txn.plan.file.clone(),
        txn: txn.id.clone(),
        reason: txn.plan.reason.clone(),
        actor: txn.actor.key_id.clone(),
        restored_from: txn.plan.restored_from,
        lines: txn.plan.diff.len(),
    }
}
