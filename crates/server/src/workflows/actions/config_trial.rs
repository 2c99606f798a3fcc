//! What the actions on the bot's config share: the change, its options, and a transaction as an output.
//!
//! A trial that a run begins belongs to the run: the run holds the bot's lock for it, and the keys of its steps make
//! each verb take effect once, however often it is sent.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::context::{ActionCall, ActionServices};
use super::failure::{ActionFailure, StepFailureClass};
use crate::configs::{
    ApplyOptions, ConfigAction, ConfigChange, ConfirmMode, TransactionState, TransactionView,
};
use botops_contract::FieldRole;
use botops_core::error::{Code, Error};

/// The input of actions that end a trial.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndTrialInput {
    /// The transaction to end. The run's own when it is absent, as after a step that was cut off.
    #[serde(default)]
    pub(super) txn: Option<String>,
}

impl EndTrialInput {
    /// The transaction to end: the one named, or the live one that this run began.
    pub(super) fn find_txn(self, world: &ActionServices, call: &ActionCall) -> Option<String> {
        self.txn.or_else(|| {
            let current = world.configs.current();
            let own = current.trial.as_ref().filter(|trial| trial.run_id.as_deref() == Some(&call.run));
            own.map(|trial| trial.txn.clone())
        })
    }
}

/// The output of actions on a trial: the transaction.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ConfigTrialOutput {
    pub(super) txn: Option<String>,
    #[schemars(extend("enum" = ["prepared", "checked", "activating", "trial", "confirming", "reverting", "committed",
        "rejected", "rolled_back", "failed_attention", "none"]))]
    pub(super) state: String,
    /// The number of the version under trial.
    pub(super) version: Option<u64>,
    /// The `ETag` of that version.
    pub(super) etag: Option<String>,
}

impl ConfigTrialOutput {
    pub(super) fn of(view: &TransactionView) -> Self {
        Self {
            txn: Some(view.txn.clone()),
            state: view.state.as_str().to_owned(),
            version: Some(view.version),
            etag: Some(view.etag.clone()),
        }
    }

    /// The predicted output of ending a trial.
    pub(super) fn predict_end(world: &ActionServices, input: EndTrialInput, state: TransactionState) -> Self {
        let version = world.configs.current().version.map(|version| version + 1);
        Self { txn: input.txn, state: state.as_str().to_owned(), version, etag: None }
    }

    /// Handles a refusal to end a trial: it is no failure when the trial has already ended in the desired way.
    pub(super) async fn accept_ended(
        world: &ActionServices,
        txn: &str,
        wanted: TransactionState,
        error: Error,
    ) -> Result<Self, ActionFailure> {
        if error.code() != Code::ConfigTxnOver {
            return Err(error.into());
        }
        let view = world.configs.txn(txn).await?;
        let as_wanted = view.state == wanted
            || (wanted == TransactionState::RolledBack && view.state == TransactionState::Rejected);
        if as_wanted {
            return Ok(Self::of(&view));
        }
        let message = format!("the config transaction is {} already", view.state.as_str());
        Err(ActionFailure::new(StepFailureClass::Rejected, error.code(), message))
    }
}

/// A role of a field, as the input of an action names it.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(super) enum ReplacedRole {
    #[serde(rename = "targets")]
    Targets,
    #[serde(rename = "daily_loss_limit")]
    DailyLossLimit,
    #[serde(rename = "equity_loss_limit")]
    EquityLossLimit,
}

/// The change that replaces the value at `path`, or that of the field with `role`, by `replace`.
pub(super) async fn change_at(
    world: &ActionServices,
    path: Option<&str>,
    role: Option<ReplacedRole>,
    replace: &Value,
) -> Result<ConfigChange, ActionFailure> {
    let role = match (path, role) {
        (Some(path), None) => {
            return Ok(ConfigChange::json_patch(&json!([{"op": "add", "path": path, "value": replace}])));
        }
        (None, Some(ReplacedRole::Targets)) => FieldRole::Targets,
        (None, Some(ReplacedRole::DailyLossLimit)) => FieldRole::DailyLossLimit,
        (None, Some(ReplacedRole::EquityLossLimit)) => FieldRole::EquityLossLimit,
        _ => {
            let message = "one of `path` and `role` says what is replaced";
            return Err(ActionFailure::new(StepFailureClass::Precondition, Code::ArgumentInvalid, message));
        }
    };
    Ok(world.configs.change_of_role(role, replace).await?)
}

/// The options of a change that a run begins and confirms itself.
pub(super) fn trial_options(
    base: String,
    reason: Option<String>,
    confirm_within: Duration,
    call: &ActionCall,
) -> ApplyOptions {
    ApplyOptions {
        action: ConfigAction::Apply,
        reason: reason.unwrap_or_else(|| call.reason.clone()),
        confirm: ConfirmMode::Manual,
        confirm_within,
        restart: false,
        acknowledge: None,
        if_match: Some(base),
        begun_by: Some(call.key.clone()),
        parent_op: Some(call.run.clone()),
    }
}
