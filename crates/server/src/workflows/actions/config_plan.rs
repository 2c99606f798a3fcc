//! `config.plan`: predicts what a config change would do.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::action::WorkflowAction;
use super::bot_status::wire_name;
use super::config_trial::{ReplacedRole, change_at, trial_options};
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::needs::ActionNeed;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use crate::configs::{ApplyOptions, ConfigFinding};

pub(super) struct PlanConfig;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanConfigInput {
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
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct PlanConfigOutput {
    /// The base of the change. `config.apply` takes it, and refuses when another version was committed meanwhile.
    base: String,
    /// Whether schema, rules and bot accept the change.
    valid: bool,
    /// The bot's own verdict.
    #[schemars(extend("enum" = ["accepted", "rejected", "not_asked"]))]
    bot_verdict: String,
    /// Whether a part of the change takes effect only at the bot's next start. False for a change that is not valid.
    requires_restart: bool,
    /// Which way the change moves risk; `null` for a change that is not valid.
    #[schemars(extend("enum" = ["neutral", "decreases", "unclear", "increases", null]))]
    risk_direction: Option<String>,
    /// How many values differ; 0 for a change that is not valid.
    changes: u32,
    /// All differences, with old and new value; empty for a change that is not valid.
    diff: Value,
    /// The defects of the change; empty when it is valid.
    errors: Value,
    /// Why the change could not be applied now, every reason of `errors` in words; `null` when it could.
    blocked_by: Option<String>,
}

/// Every finding of a change: where, what was sent, what is expected, or what the bot complains of.
fn describe_findings(errors: &[ConfigFinding]) -> String {
    let told = errors.iter().map(|finding| {
        let place = if finding.pointer.is_empty() { "the document" } else { &finding.pointer };
        match &finding.reason {
            Some(reason) => format!("{place}: the bot says: {}", reason.trim_end_matches('.')),
            None => {
                format!("{place}: {} sent, {} expected", finding.got, finding.expected.trim_end_matches(','))
            }
        }
    });
    format!("the change is refused: {}", told.collect::<Vec<_>>().join("; "))
}

impl WorkflowAction for PlanConfig {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 15,
        needs: &[ActionNeed::Config],
        summary: "what a config change would do",
        ..ActionSpec::new("config.plan", ActionClass::Read, ActionRepeat::Pure)
    };
    type Input = PlanConfigInput;
    type Output = PlanConfigOutput;

    async fn perform(
        world: &ActionServices,
        input: PlanConfigInput,
        call: &ActionCall,
    ) -> Result<PlanConfigOutput, ActionFailure> {
        world.configs.require_config().await?;
        let base = world.configs.current().etag.clone().unwrap_or_default();
        let options = ApplyOptions {
            begun_by: None,
            parent_op: None,
            ..trial_options(base, input.reason, Duration::from_secs(60), call)
        };
        let change = change_at(world, input.path.as_deref(), input.role, &input.replace).await?;
        let plan = world.configs.plan(&change, &options).await?;
        let bot_verdict = match plan.verdict.bot.ok {
            Some(true) => "accepted",
            Some(false) => "rejected",
            None => "not_asked",
        };
        Ok(PlanConfigOutput {
            base: plan.base,
            valid: plan.verdict.valid,
            bot_verdict: bot_verdict.to_owned(),
            requires_restart: plan.effects.is_some_and(|effects| !effects.restart.is_empty()),
            risk_direction: plan.risk.map(|risk| wire_name(&risk.direction)),
            changes: u32::try_from(plan.diff.len()).unwrap_or(u32::MAX),
            diff: json!(plan.diff),
            errors: json!(plan.verdict.errors),
            blocked_by: match plan.verdict.errors.as_slice() {
                [] => plan.blocked_by,
                errors => Some(describe_findings(errors)),
            },
        })
    }

    async fn predict(
        world: &ActionServices,
        input: PlanConfigInput,
        call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<PlanConfigOutput, ActionFailure> {
        Self::perform(world, input, call).await
    }
}
