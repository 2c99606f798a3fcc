//! What the actions on the bot's config have in common: the change, its options, and a transaction as a run sees it.
//!
//! A trial that a run begins belongs to the run: the run holds the bot's lock for it, and its keys make each verb
//! happen once however often it is sent.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::context::{ActionCall, ActionServices};
use super::failure::{ActionFailure, StepFailureClass};
use crate::configs::{
    ApplyOptions, ConfigAction, ConfigChange, ConfirmMode, TransactionState, TransactionView,
};
use botops_core::error::{Code, Error};

/// Which trial is to be ended.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndTrialInput {
    /// The transaction; left out (a step that was cut off put nothing out), the run's own.
    #[serde(default)]
    pub(super) txn: Option<String>,
}

impl EndTrialInput {
    /// The transaction meant: the one named, or the live one that this run began.
    pub(super) fn find_txn(self, world: &ActionServices, call: &ActionCall) -> Option<String> {
        self.txn.or_else(|| {
            let current = world.configs.current();
            let own = current.trial.as_ref().filter(|trial| trial.run_id.as_deref() == Some(&call.run));
            own.map(|trial| trial.txn.clone())
        })
    }
}

/// A transaction as a run sees it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ConfigTrialOutput {
    pub(super) txn: Option<String>,
    #[schemars(extend("enum" = ["prepared", "checked", "activating", "trial", "confirming", "reverting", "committed",
        "rejected", "rolled_back", "failed_attention", "none"]))]
    pub(super) state: String,
    /// The version it is about.
    pub(super) version: Option<u64>,
    /// Its ETag.
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

    /// What ending a trial would come to.
    pub(super) fn predict_end(world: &ActionServices, input: EndTrialInput, state: TransactionState) -> Self {
        let version = Some(world.configs.current().version + 1);
        Self { txn: input.txn, state: state.as_str().to_owned(), version, etag: None }
    }

    /// What a refusal to end a trial means: one that is over already, the way that was wanted, is no failure.
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

/// The change that puts `replace` at `path`.
pub(super) fn change_at(path: &str, replace: &Value) -> ConfigChange {
    ConfigChange::JsonPatch(json!([{"op": "add", "path": path, "value": replace}]))
}

/// The options of a change that a run asks for and confirms itself.
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
        // The key is the run's and the step's own, so it stands for one request only.
        idempotency: Some((call.key.clone(), call.key.clone())),
        parent_op: Some(call.run.clone()),
    }
}
