//! `config.apply`: begins a config trial.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::WorkflowAction;
use super::config_trial::{ConfigTrialOutput, ReplacedRole, change_at, trial_options};
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::{ActionFailure, StepFailureClass};
use super::needs::ActionNeed;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use botops_core::error::Code;

pub(crate) struct ApplyConfig;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyConfigInput {
    /// The `base` that `config.plan` put out.
    base: String,
    /// The part of the config that is replaced, as a JSON pointer; or `role`.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/[a-z_]+(/[a-z0-9_]+)*$"))]
    path: Option<String>,
    /// The role of the field that is replaced, by the bot's schema.
    #[serde(default)]
    role: Option<ReplacedRole>,
    /// Its new value.
    replace: Value,
    #[serde(default)]
    reason: Option<String>,
    /// Seconds after which the bot reverts the trial by itself unless it is confirmed.
    #[schemars(range(min = 1, max = 900))]
    confirm_within_s: u64,
    /// The run confirms the trial itself; there is no other value.
    #[serde(default)]
    #[expect(dead_code, reason = "it is written so that a reader of the file sees it")]
    confirm: ConfirmedByRun,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ConfirmedByRun {
    #[default]
    Manual,
}

impl WorkflowAction for ApplyConfig {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 30,
        needs: &[ActionNeed::Config],
        summary: "begin a config trial",
        ..ActionSpec::new("config.apply", ActionClass::Mutate, ActionRepeat::Keyed)
    };
    type Input = ApplyConfigInput;
    type Output = ConfigTrialOutput;

    async fn perform(
        world: &ActionServices,
        input: ApplyConfigInput,
        call: &ActionCall,
    ) -> Result<ConfigTrialOutput, ActionFailure> {
        let confirm_within = Duration::from_secs(input.confirm_within_s);
        let options = trial_options(input.base, input.reason, confirm_within, call);
        let change = change_at(world, input.path.as_deref(), input.role, &input.replace).await?;
        let view = world.configs.apply(change, call.actor.clone(), options).await?;
        Ok(ConfigTrialOutput::of(&view))
    }

    async fn predict(
        world: &ActionServices,
        input: ApplyConfigInput,
        _call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<ConfigTrialOutput, ActionFailure> {
        let current = world.configs.current();
        if current.etag.as_ref() != Some(&input.base) {
            let message = "something else is committed by now";
            return Err(ActionFailure::new(StepFailureClass::Rejected, Code::ConfigStale, message));
        }
        let txn = Some("a new transaction".to_owned());
        Ok(ConfigTrialOutput {
            txn,
            state: "trial".to_owned(),
            version: current.version.map(|version| version + 1),
            etag: None,
        })
    }
}
