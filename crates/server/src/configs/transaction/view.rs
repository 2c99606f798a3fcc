//! A config transaction as users see it.

use botops_core::duration::milliseconds;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config_transaction::{ConfigTransaction, StoredError, time_of};
use super::criteria::{SAMPLES_NEEDED, TrialCriterion};
use super::state::{ConfigAction, ConfirmMode, EndedBy, TransactionState};
use crate::configs::document::{ChangeRisk, DiffLine, version_etag};
use crate::operations_log::StoredActor;
use botops_contract::VersionRef;

/// When the differences take effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeEffects {
    /// JSON pointers that take effect at once.
    pub hot: Vec<String>,
    /// JSON pointers that wait for the bot's next start.
    pub restart: Vec<String>,
}

/// A config change: what was asked for, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TransactionView {
    /// The id of the transaction, as `config/txns/{txn}` takes it.
    pub txn: String,
    /// How far the change is.
    pub state: TransactionState,
    /// True when the state is final.
    pub terminal: bool,
    /// Whether a change or an earlier version was asked for.
    pub action: ConfigAction,
    /// Who or what undid or refused it; `null` for a change that is under way or committed.
    pub by: Option<EndedBy>,
    /// How it ended or why it is in doubt, in one sentence; `null` while there is nothing to say.
    pub outcome: Option<String>,
    /// The reason that the caller gave.
    pub reason: String,
    /// The key that asked for it.
    pub actor: StoredActor,
    /// The key that confirmed or cancelled it; `null` when none did.
    pub settled_by: Option<StoredActor>,
    /// The workflow run that asked for it; `null` for a call of a key.
    pub run_id: Option<String>,
    /// The version that was committed when it was admitted.
    pub base: VersionRef,
    /// The version that it would make permanent.
    pub candidate: VersionRef,
    /// The candidate's version number.
    pub version: u64,
    /// The candidate's ETag, good for `If-Match` once it is committed.
    pub etag: String,
    /// The earlier version that a rollback brings back; `null` for other changes.
    pub restored_from: Option<u64>,
    /// Every difference between `base` and `candidate`.
    pub diff: Vec<DiffLine>,
    /// What the differences do to risk.
    pub risk: ChangeRisk,
    /// When the differences take effect.
    pub effects: ChangeEffects,
    /// True when the bot is started again to try it: it boots the candidate once, and after that what is committed.
    pub boot_once: bool,
    /// Who makes it permanent: `auto` when all criteria held, `manual` with confirm.
    pub confirm: ConfirmMode,
    /// How long the trial may take, in seconds.
    pub confirm_within_s: f64,
    /// When the trial is undone unless it is confirmed (UTC); `null` until the bot is asked to run it.
    pub confirm_by: Option<DateTime<Utc>>,
    /// Milliseconds until then; `null` except in the state `trial`.
    pub confirm_left_ms: Option<u64>,
    /// From when on it is made permanent by itself (UTC), if every criterion has held until then; `null` where a person has to
    /// confirm, and except in the state `trial`.
    pub commits_at: Option<DateTime<Utc>>,
    /// Good samples in a row so far.
    pub samples: u32,
    /// Good samples that an automatic confirmation needs at least.
    pub samples_needed: u32,
    /// What the trial is watched for, as last evaluated; empty before the trial.
    pub watch: Vec<TrialCriterion>,
    /// Why it was refused or undone, with a code of the error catalogue; `null` when it was not.
    pub error: Option<StoredError>,
    /// When it was admitted (UTC).
    pub created_at: DateTime<Utc>,
    /// When it last changed (UTC).
    pub updated_at: DateTime<Utc>,
    /// Milliseconds to wait before asking again; `null` once the state is final.
    pub next_poll_ms: Option<u64>,
}

impl TransactionView {
    /// The view of a transaction at this moment.
    pub(crate) fn of(txn: &ConfigTransaction) -> Self {
        let progress = &txn.progress;
        let in_trial = txn.state == TransactionState::Trial;
        let hot = txn.plan.diff.iter().map(|line| &line.path);
        let hot = hot.filter(|path| !txn.plan.restart.contains(path)).cloned().collect();
        let half = TimeDelta::milliseconds(i64::try_from(txn.plan.confirm_within_ms / 2).unwrap_or(0));
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
            commits_at: confirm_by
                .filter(|_| in_trial && txn.plan.confirm == ConfirmMode::Auto)
                .and_then(|by| by.checked_sub_signed(half)),
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
