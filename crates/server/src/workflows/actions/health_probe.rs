//! `health.probe`: reads named facts with their values and limits.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::WorkflowAction;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::health_facts::{HealthFact, HealthFactName, HealthGrade, read_fact};
use super::spec::{ActionClass, ActionRepeat, ActionSpec};

/// Time between two samples: about one poll of the bot.
const BETWEEN: Duration = Duration::from_secs(1);

pub(super) struct ProbeHealth;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProbeHealthInput {
    /// The facts to read.
    #[schemars(length(min = 1, max = 8))]
    checks: Vec<HealthFactName>,
    /// How many samples to take; the worst of each fact counts.
    #[serde(default = "one_sample")]
    #[schemars(range(min = 1, max = 30))]
    samples: u32,
}

fn one_sample() -> u32 {
    1
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct ProbeHealthOutput {
    /// The worst grade of all facts.
    pub(super) worst: HealthGrade,
    pub(super) checks: BTreeMap<String, HealthFact>,
    pub(super) samples: u32,
    /// Which checks are not `ok` and why, the worst first; `null` when all are.
    #[serde(default)]
    pub(super) not_ok: Option<String>,
}

/// What is not `ok` of the checks, in words.
fn describe_not_ok(checks: &BTreeMap<String, HealthFact>) -> Option<String> {
    let mut named: Vec<(&String, &HealthFact)> =
        checks.iter().filter(|(_, fact)| fact.status != HealthGrade::Ok).collect();
    named.sort_by_key(|(_, fact)| std::cmp::Reverse(fact.status));
    let each: Vec<String> = named.iter().map(|(name, fact)| format!("{name}: {}", fact.detail)).collect();
    (!each.is_empty()).then(|| each.join("; "))
}

impl WorkflowAction for ProbeHealth {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 45,
        summary: "named checks with values and limits",
        ..ActionSpec::new("health.probe", ActionClass::Read, ActionRepeat::Pure)
    };
    type Input = ProbeHealthInput;
    type Output = ProbeHealthOutput;

    async fn perform(
        world: &ActionServices,
        input: ProbeHealthInput,
        call: &ActionCall,
    ) -> Result<ProbeHealthOutput, ActionFailure> {
        let mut checks: BTreeMap<String, HealthFact> = BTreeMap::new();
        for sample in 0..input.samples.max(1) {
            if sample > 0 {
                if call.time_left() <= BETWEEN {
                    return Err(ActionFailure::timeout("the samples take longer than the step may", false));
                }
                tokio::time::sleep(BETWEEN).await;
            }
            let seen = world.bots.snapshot();
            for name in &input.checks {
                let fact = read_fact(world, &seen, *name);
                let known = checks.get(name.as_str());
                if known.is_none_or(|known| fact.status >= known.status) {
                    checks.insert(name.as_str().to_owned(), fact);
                }
            }
        }
        let worst = checks.values().map(|fact| fact.status).max().unwrap_or(HealthGrade::Unknown);
        let not_ok = describe_not_ok(&checks);
        Ok(ProbeHealthOutput { worst, checks, samples: input.samples, not_ok })
    }

    /// A dry run takes one sample, whatever `samples` says.
    async fn predict(
        world: &ActionServices,
        input: ProbeHealthInput,
        call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<ProbeHealthOutput, ActionFailure> {
        Self::perform(world, ProbeHealthInput { samples: 1, ..input }, call).await
    }
}
