//! A config transaction as it is kept: what it changes and what came of it.
//!
//! What was asked for is fixed when the row is admitted ([`TransactionPlan`]); what came of it grows
//! ([`TransactionProgress`]). Both are columns of the operations log, so that a restart finds everything it needs.

use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::criteria::{TrialBaseline, TrialCriterion};
use super::state::{ConfigAction, ConfirmMode, EndedBy, TransactionState};
use crate::configs::audit::stamped_record;
use crate::configs::document::{ChangeRisk, DiffLine};
use crate::operations_log::{OperationChange, OperationRow, StoredActor};
use botops_contract::VersionRef;
use botops_core::durable_deadline::DurableDeadline;
use botops_core::error::{Code, Error, FieldError};

/// What was asked for, fixed at admission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TransactionPlan {
    pub action: ConfigAction,
    pub reason: String,
    pub confirm: ConfirmMode,
    pub confirm_within_ms: u64,
    /// What `HEAD` named when it was admitted.
    pub base: VersionRef,
    pub candidate: VersionRef,
    pub file: String,
    pub restored_from: Option<u64>,
    pub diff: Vec<DiffLine>,
    pub risk: ChangeRisk,
    /// JSON pointers that wait for a restart of the bot.
    pub restart: Vec<String>,
    pub schema_sha256: String,
    /// True when the bot is started again to try it.
    #[serde(default)]
    pub boot_once: bool,
}

/// What came of it so far, up to the last recorded transition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TransactionProgress {
    pub by: Option<EndedBy>,
    pub outcome: Option<String>,
    pub error: Option<StoredError>,
    pub deadline: Option<DurableDeadline>,
    pub baseline: Option<TrialBaseline>,
    /// The process start of the bot that runs the trial.
    pub boot_epoch: Option<String>,
    /// How long the bot took to check it, in milliseconds.
    pub check_ms: Option<u64>,
    pub samples: u32,
    #[serde(default)]
    pub watch: Vec<TrialCriterion>,
    pub settled_by: Option<StoredActor>,
    /// The `boot_epoch` of the bot that was asked to end, so that its next start reads the config. Starting it again
    /// is the task of botops.
    #[serde(default, alias = "ends_life")]
    pub ending_boot_epoch: Option<String>,
}

/// A failure as it is kept, so that a repeated request gets the same answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoredError {
    /// The code of the error catalogue, such as `CFG_019`.
    pub error_code: String,
    /// What caused it in this case, in one sentence.
    pub cause: String,
    /// The fields of the request that were wrong; left out when none were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl StoredError {
    pub(crate) fn to_error(&self) -> Error {
        Error::new(Code::named(&self.error_code).unwrap_or(Code::Internal))
            .detail(&self.cause)
            .fields(self.errors.clone())
    }
}

/// A config transaction: what was asked for, by whom, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConfigTransaction {
    pub id: String,
    pub state: TransactionState,
    pub plan: TransactionPlan,
    pub progress: TransactionProgress,
    pub actor: StoredActor,
    pub parent_op: Option<String>,
    pub created_ms: i64,
    pub updated_ms: i64,
}

impl ConfigTransaction {
    /// Reads a transaction from its row in the operations log.
    pub(crate) fn of(op: &OperationRow) -> Result<Self, serde_json::Error> {
        Ok(Self {
            id: op.op_id.clone(),
            state: serde_json::from_value(Value::String(op.state.clone()))?,
            plan: serde_json::from_value(op.params.clone())?,
            progress: serde_json::from_value(op.result.clone()).unwrap_or_default(),
            actor: op.actor.clone(),
            parent_op: op.parent_op.clone(),
            created_ms: op.created_ms,
            updated_ms: op.updated_ms,
        })
    }

    /// The failure that its state tells; `None` for an end that somebody wanted, and for a refusal, which is the answer to
    /// whoever asked.
    pub(crate) fn failure(&self) -> Option<Error> {
        let code = match (self.state, self.progress.by) {
            (TransactionState::FailedAttention, _) => Code::ConfigNeedsAttention,
            (TransactionState::RolledBack, Some(EndedBy::Operator)) => return None,
            // Nobody got the refusal of a change that botops found unfinished at its start.
            (TransactionState::RolledBack, _) | (TransactionState::Rejected, Some(EndedBy::Recovery)) => {
                Code::ConfigTrialUndone
            }
            _ => return None,
        };
        let version = self.plan.candidate.version;
        let outcome = self.progress.outcome.as_deref().unwrap_or("the reason is not recorded");
        let mut error = Error::new(code).detail(format!("version {version}: {outcome}"));
        if self.progress.by == Some(EndedBy::Deadline) {
            let within = self.plan.confirm_within_ms / 1_000;
            error = error.remedy(format!(
                "Nothing was wrong with it: nobody confirmed it. Apply it again, and confirm it within {within} s by \
                 `POST /api/v1/config/txns/<txn>/confirm` (the `txn` of the new answer), or send `confirm: auto`."
            ));
        }
        Some(error.context("txn", self.id.as_str()).context("by", json!(self.progress.by)))
    }

    /// The change of its row that records what it is now.
    pub(crate) fn as_move(&self) -> OperationChange {
        OperationChange {
            state: self.state.as_str().to_owned(),
            live: !self.state.is_terminal(),
            result: Some(json!(self.progress)),
            deadline_ms: self.progress.deadline.as_ref().map(|deadline| deadline.wall_ms),
        }
    }

    /// How much of the trial is left; nothing when that is not known, because the clock went back over a reboot.
    pub(crate) fn left(&self) -> Duration {
        self.progress.deadline.as_ref().and_then(DurableDeadline::left).unwrap_or_default()
    }

    /// What the audit keeps of this transition. The diff is in its first and its last record only.
    pub(crate) fn record(&self) -> Map<String, Value> {
        let mut record = stamped_record(self.state.as_str());
        let mut put = |key: &str, value: Value| {
            if !value.is_null() {
                record.insert(key.to_owned(), value);
            }
        };
        put("txn", json!(self.id));
        put("action", json!(self.plan.action));
        put("actor", json!(self.progress.settled_by.as_ref().unwrap_or(&self.actor)));
        put("reason", json!(self.plan.reason));
        put("base", json!(self.plan.base));
        put("new", json!(self.plan.candidate));
        put("restored_from", json!(self.plan.restored_from));
        put("run_id", json!(self.parent_op));
        if self.state == TransactionState::Prepared || self.state.is_terminal() {
            put("diff", json!(self.plan.diff));
            put("risk", json!(self.plan.risk));
            put("schema_sha256", json!(self.plan.schema_sha256));
        }
        if self.state == TransactionState::Checked {
            put("verdict", json!({"ok": true, "ms": self.progress.check_ms}));
        }
        let deadline = self.progress.deadline.as_ref().and_then(|deadline| time_of(deadline.wall_ms));
        put("confirm", json!({"mode": self.plan.confirm, "deadline": deadline}));
        put("bot_epoch", json!(self.progress.boot_epoch));
        put("by", json!(self.progress.by));
        put("outcome", json!(self.progress.outcome));
        put("error", json!(self.progress.error));
        put("server", json!(env!("CARGO_PKG_VERSION")));
        record
    }
}

/// A time from epoch milliseconds; `None` outside of the calendar.
pub(super) fn time_of(ms: i64) -> Option<DateTime<Utc>> {
    Utc.timestamp_millis_opt(ms).single()
}
