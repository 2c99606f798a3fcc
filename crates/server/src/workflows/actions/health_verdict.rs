//! `health.verdict`: sums up what was found in one verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::WorkflowAction;
use super::bot_status::BotStatusOutput;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::health_facts::{HealthFact, HealthGrade};
use super::health_probe::ProbeHealthOutput;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};

pub(super) struct HealthVerdict;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthVerdictInput {
    /// The output of `bot.status`; absent when it could not be read.
    #[serde(default)]
    bot: Option<BotStatusOutput>,
    /// The output of `health.probe`.
    #[serde(default)]
    probes: Option<ProbeHealthOutput>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OverallHealth {
    Healthy,
    Degraded,
    Offline,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct HealthVerdictOutput {
    status: OverallHealth,
    /// Why the verdict is not healthy, worst first.
    reasons: Vec<String>,
}

impl WorkflowAction for HealthVerdict {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 5,
        summary: "one word for what was found",
        ..ActionSpec::new("health.verdict", ActionClass::Compute, ActionRepeat::Pure)
    };
    type Input = HealthVerdictInput;
    type Output = HealthVerdictOutput;

    async fn perform(
        _world: &ActionServices,
        input: HealthVerdictInput,
        _call: &ActionCall,
    ) -> Result<HealthVerdictOutput, ActionFailure> {
        Ok(HealthVerdictOutput::of(input))
    }

    async fn predict(
        world: &ActionServices,
        input: HealthVerdictInput,
        call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<HealthVerdictOutput, ActionFailure> {
        Self::perform(world, input, call).await
    }
}

impl HealthVerdictOutput {
    fn of(input: HealthVerdictInput) -> Self {
        let mut reasons = Vec::new();
        let mut checks: Vec<(String, HealthFact)> =
            input.probes.into_iter().flat_map(|probes| probes.checks).collect();
        checks.sort_by_key(|(_, fact)| std::cmp::Reverse(fact.status));
        for (name, fact) in checks.iter().filter(|(_, fact)| fact.status != HealthGrade::Ok) {
            reasons.push(format!("{name}: {}", fact.detail));
        }
        let Some(bot) = input.bot else {
            reasons.insert(0, "the bot does not answer".to_owned());
            return Self { status: OverallHealth::Offline, reasons };
        };
        if bot.phase != "running" {
            let why = bot.phase_reason.unwrap_or_else(|| "no reason given".to_owned());
            reasons.insert(0, format!("the bot is {}: {why}", bot.phase));
        }
        let status = if reasons.is_empty() { OverallHealth::Healthy } else { OverallHealth::Degraded };
        Self { status, reasons }
    }
}
