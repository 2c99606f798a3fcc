//! A config transaction as users see it.

use botops_core::duration::milliseconds;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config_transaction::{ConfigTransaction, StoredError, time_of};
use super::criteria::{SAMPLES_NEEDED, TrialCriterion};
use super::state::{ConfigAction, ConfirmMode, EndedBy, TransactionState};
use crate::configs::document::{ChangeRisk, DiffLine, version_etag};
use crate::operations_log::StoredActor;
use botops_contract::VersionRef;

/// When the lines of a change take effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeEffects {
    /// Pointers that take effect at once.
    pub hot: Vec<String>,
    /// Pointers that wait for the bot's next start.
    pub restart: Vec<String>,
}

/// A config change: what was asked for, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TransactionView {
    /// Its id.
    pub txn: String,
    /// Its state.
    pub state: TransactionState,
    /// Whether nothing follows.
    pub terminal: bool,
    /// Apply or rollback.
    pub action: ConfigAction,
    /// On whose account it was undone or refused.
    pub by: Option<EndedBy>,
    /// How it ended, in one sentence.
    pub outcome: Option<String>,
    /// Why it was asked for.
    pub reason: String,
    /// Who asked for it.
    pub actor: StoredActor,
    /// Who confirmed or cancelled it.
    pub settled_by: Option<StoredActor>,
    /// The workflow run that asked for it.
    pub run_id: Option<String>,
    /// What was committed when it began.
    pub base: VersionRef,
    /// What it would make permanent.
    pub candidate: VersionRef,
    /// The candidate's version number.
    pub version: u64,
    /// The candidate's ETag, good for `If-Match` once it is committed.
    pub etag: String,
    /// The earlier version that a rollback brings back.
    pub restored_from: Option<u64>,
    /// Every difference.
    pub diff: Vec<DiffLine>,
    /// What the differences do to risk.
    pub risk: ChangeRisk,
    /// When the differences take effect.
    pub effects: ChangeEffects,
    /// True when the bot is started again to try it: it boots the candidate once, and after that what is committed.
    pub boot_once: bool,
    /// Who makes it permanent.
    pub confirm: ConfirmMode,
    /// How long the trial may take.
    pub confirm_within_s: f64,
    /// When the trial is undone unless it is confirmed.
    pub confirm_by: Option<DateTime<Utc>>,
    /// What is left of it.
    pub confirm_left_ms: Option<u64>,
    /// Good samples in a row.
    pub samples: u32,
    /// Good samples that an automatic confirmation needs at least.
    pub samples_needed: u32,
    /// What the trial is watched for, as last seen.
    pub watch: Vec<TrialCriterion>,
    /// Why it was refused or undone.
    pub error: Option<StoredError>,
    /// When it was admitted.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When to ask again; `null` at the end.
    pub next_poll_ms: Option<u64>,
}

impl TransactionView {
    /// A transaction as users see it.
    pub(crate) fn of(txn: &ConfigTransaction) -> Self {
        let progress = &txn.progress;
        let in_trial = txn.state == TransactionState::Trial;
        let hot = txn.plan.diff.iter().map(|line| &line.path);
        let hot = hot.filter(|path| !txn.plan.restart.contains(path)).cloned().collect();
        let confirm_by = progress.deadline.as_ref().and_then(|deadline| time_of(deadline.wall_ms));
        Self {
            txn: txn.id.clone(),
            state: txn.state,
            terminal: txn.state.is_terminal(),
            action: txn.plan.action,
            by: progress.by,
            outcome: progress.outcome.clone(),
            reason: txn.plan.reason.clone(),
            actor: txn.actor.clone(),
            settled_by: progress.settled_by.clone(),
            run_id: txn.parent_op.clone(),
            base: txn.plan.base.clone(),
            candidate: txn.plan.candidate.clone(),
            version: txn.plan.candidate.version,
            etag: version_etag(&txn.plan.candidate),
            restored_from: txn.plan.restored_from,
            diff: txn.plan.diff.clone(),
            risk: txn.plan.risk.clone(),
            effects: ChangeEffects { hot, restart: txn.plan.restart.clone() },
            boot_once: txn.plan.boot_once,
            confirm: txn.plan.confirm,
            #[expect(clippy::cast_precision_loss, reason = "at most 900,000")]
            confirm_within_s: txn.plan.confirm_within_ms as f64 / 1_000.0,
            confirm_by,
            confirm_left_ms: in_trial.then(|| milliseconds(txn.left())),
            samples: progress.samples,
            samples_needed: SAMPLES_NEEDED,
            watch: progress.watch.clone(),
            error: progress.error.clone(),
            created_at: time_of(txn.created_ms).unwrap_or_default(),
            updated_at: time_of(txn.updated_ms).unwrap_or_default(),
            next_poll_ms: (!txn.state.is_terminal()).then_some(1_000),
        }
    }
}
