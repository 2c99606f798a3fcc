//! Actions on the bot's config: plan, apply as a trial, confirm, revert.
//!
//! A trial that a run begins belongs to the run: the run holds the bot's lock for it, and its keys make each verb
//! happen once however often it is sent.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Failure, World};
use crate::configs::{
    ApplyOptions, ConfigAction, ConfigChange, ConfirmMode, TransactionState, TransactionView,
};
use crate::workflows::definition::FailureClass;
use botops_core::error::{Code, Error};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// The part of the config that is replaced, as a JSON pointer.
    #[schemars(regex(pattern = r"^/[a-z_]+(/[a-z0-9_]+)*$"))]
    path: String,
    /// By this.
    replace: Value,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Planned {
    /// What the change is based on: `config.apply` takes it, and refuses when something else is committed by then.
    pub base: String,
    /// Whether schema, rules and bot have nothing against it.
    pub valid: bool,
    /// What the bot itself says.
    #[schemars(extend("enum" = ["accepted", "rejected", "not_asked"]))]
    pub bot_verdict: String,
    /// Whether a part of it waits for the bot's next start.
    pub requires_restart: bool,
    #[schemars(extend("enum" = ["neutral", "decreases", "increases"]))]
    pub risk_direction: String,
    /// How many differences there are.
    pub changes: u32,
    /// Every difference.
    pub diff: Value,
    /// What is wrong with it.
    pub errors: Value,
    /// Why it could not be applied now.
    pub blocked_by: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    /// What `config.plan` put out as `base`.
    base: String,
    /// The part of the config that is replaced, as a JSON pointer.
    #[schemars(regex(pattern = r"^/[a-z_]+(/[a-z0-9_]+)*$"))]
    path: String,
    /// By this.
    replace: Value,
    #[serde(default)]
    reason: Option<String>,
    /// The bot goes back by itself when nobody confirms for so long.
    #[schemars(range(min = 1, max = 900))]
    confirm_within_s: u64,
    /// A run confirms itself, when it has seen enough.
    #[serde(default)]
    #[expect(dead_code, reason = "it is written so that a reader of the file sees it")]
    confirm: ByRun,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ByRun {
    #[default]
    Manual,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settle {
    /// The transaction; left out (a step that was cut off put nothing out), the run's own.
    #[serde(default)]
    txn: Option<String>,
}

/// A transaction as a run sees it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Trial {
    pub txn: Option<String>,
    #[schemars(extend("enum" = ["prepared", "checked", "activating", "trial", "confirming", "reverting", "committed",
        "rejected", "rolled_back", "failed_attention", "none"]))]
    pub state: String,
    /// The version it is about.
    pub version: Option<u64>,
    /// Its ETag.
    pub etag: Option<String>,
}

fn change(path: &str, replace: &Value) -> ConfigChange {
    ConfigChange::JsonPatch(json!([{"op": "add", "path": path, "value": replace}]))
}

fn options(base: Option<String>, reason: Option<String>, within_s: u64, call: &Call) -> ApplyOptions {
    ApplyOptions {
        action: ConfigAction::Apply,
        reason: reason.unwrap_or_else(|| call.reason.clone()),
        confirm: ConfirmMode::Manual,
        confirm_within: Duration::from_secs(within_s),
        restart: false,
        acknowledge: None,
        if_match: base,
        // The key is the run's and the step's own, so it stands for one request only.
        idempotency: Some((call.key.clone(), call.key.clone())),
        parent_op: Some(call.run.clone()),
    }
}

fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Trial {
    fn of(view: &TransactionView) -> Self {
        Self {
            txn: Some(view.txn.clone()),
            state: view.state.as_str().to_owned(),
            version: Some(view.version),
            etag: Some(view.etag.clone()),
        }
    }
}

pub(super) async fn plan(world: &World, input: Plan, call: &Call) -> Result<Planned, Failure> {
    let base = world.configs.current().etag.clone();
    let options =
        ApplyOptions { idempotency: None, parent_op: None, ..options(Some(base), input.reason, 60, call) };
    let plan = world.configs.plan(&change(&input.path, &input.replace), &options).await?;
    let bot_verdict = match plan.verdict.bot.ok {
        Some(true) => "accepted",
        Some(false) => "rejected",
        None => "not_asked",
    };
    Ok(Planned {
        base: plan.base,
        valid: plan.verdict.valid,
        bot_verdict: bot_verdict.to_owned(),
        requires_restart: !plan.effects.restart.is_empty(),
        risk_direction: word(&plan.risk.direction),
        changes: u32::try_from(plan.diff.len()).unwrap_or(u32::MAX),
        diff: json!(plan.diff),
        errors: json!(plan.verdict.errors),
        blocked_by: plan.blocked_by,
    })
}

pub(super) async fn apply(world: &World, input: Apply, call: &Call) -> Result<Trial, Failure> {
    let options = options(Some(input.base), input.reason, input.confirm_within_s, call);
    let change = change(&input.path, &input.replace);
    let view = world.configs.apply(change, call.actor.clone(), options).await?;
    Ok(Trial::of(&view))
}

/// The transaction meant: the one named, or the live one that this run began.
fn meant(world: &World, input: Settle, call: &Call) -> Option<String> {
    input.txn.or_else(|| {
        let snapshot = world.configs.current();
        let own = snapshot.trial.as_ref().filter(|trial| trial.run_id.as_deref() == Some(&call.run));
        own.map(|trial| trial.txn.clone())
    })
}

pub(super) async fn confirm(world: &World, input: Settle, call: &Call) -> Result<Trial, Failure> {
    let Some(txn) = meant(world, input, call) else {
        return Err(Failure::precondition("this run has no trial to confirm"));
    };
    match world.configs.confirm(&txn, call.actor.clone()).await {
        Ok(view) => Ok(Trial::of(&view)),
        Err(error) => settled(world, &txn, TransactionState::Committed, error).await,
    }
}

pub(super) async fn revert(world: &World, input: Settle, call: &Call) -> Result<Trial, Failure> {
    let Some(txn) = meant(world, input, call) else {
        // The step was cut off before there was anything to revert.
        return Ok(Trial { txn: None, state: "none".to_owned(), version: None, etag: None });
    };
    match world.configs.cancel(&txn, call.actor.clone()).await {
        Ok(view) => Ok(Trial::of(&view)),
        Err(error) => settled(world, &txn, TransactionState::RolledBack, error).await,
    }
}

/// A transaction that is over already, the way that was wanted, is no failure.
async fn settled(world: &World, txn: &str, wanted: TransactionState, error: Error) -> Result<Trial, Failure> {
    if error.code() != Code::ConfigTxnOver {
        return Err(error.into());
    }
    let view = world.configs.txn(txn).await?;
    let as_wanted = view.state == wanted
        || (wanted == TransactionState::RolledBack && view.state == TransactionState::Rejected);
    if as_wanted {
        return Ok(Trial::of(&view));
    }
    let message = format!("the config transaction is {} already", view.state.as_str());
    Err(Failure::new(FailureClass::Rejected, error.code(), message))
}

pub(super) fn predict_apply(world: &World, input: &Apply) -> Result<Trial, Failure> {
    let current = world.configs.current();
    if current.etag != input.base {
        return Err(Failure::new(
            FailureClass::Rejected,
            Code::ConfigStale,
            "something else is committed by now",
        ));
    }
    let txn = Some("a new transaction".to_owned());
    Ok(Trial { txn, state: "trial".to_owned(), version: Some(current.version + 1), etag: None })
}

pub(super) fn predict_settled(world: &World, input: Settle, state: &str) -> Trial {
    let version = Some(world.configs.current().version + 1);
    Trial { txn: input.txn, state: state.to_owned(), version, etag: None }
}
