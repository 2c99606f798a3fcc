//! Whether a workflow's times fit together: its steps into its limit, observing and confirming into a trial.

use serde_json::Value;

use super::file::{WorkflowDefinition, WorkflowStep};
use super::marked_document::{DefinitionFault, MarkedDocument};
use super::references::ValueReference;
use super::schema_types;
use crate::workflows::actions::{ActionClass, ApplyConfig, ConfirmConfig};

/// Warns when the worst case exceeds the limit, so that the run's deadline would cut it off.
pub(crate) fn find_tight_limit(
    marked: &MarkedDocument,
    definition: &WorkflowDefinition,
) -> Option<DefinitionFault> {
    let worst: u64 = definition.steps.iter().map(worst_case_s).sum();
    let budget = definition.policy.timeout_s;
    (worst > budget).then(|| {
        let message = format!("in the worst case the steps take {worst} s, more than timeout_s ({budget} s)");
        marked.fault_at("/policy/timeout_s", message)
    })
}

/// Reports a trial that would end before the steps that observe and confirm it.
pub(crate) fn find_short_trial(
    marked: &MarkedDocument,
    definition: &WorkflowDefinition,
) -> Option<DefinitionFault> {
    let steps = &definition.steps;
    let index = steps.iter().position(|step| step.uses.is::<ApplyConfig>())?;
    let window = steps[index].with.get("confirm_within_s");
    let shortest = match window.and_then(Value::as_str).and_then(ValueReference::parse) {
        Some(Ok(ValueReference::Params(path))) => schema_types::type_at(&definition.params, &path)
            .ok()
            .and_then(|found| found.schema["minimum"].as_u64()),
        _ => window.and_then(Value::as_u64),
    }?;
    let last = steps.iter().position(|step| step.uses.is::<ConfirmConfig>()).unwrap_or(index);
    let needed: u64 = steps.iter().take(last + 1).skip(index + 1).map(worst_case_s).sum();
    (needed >= shortest).then(|| {
        let message = format!("observing and confirming may take {needed} s, the trial only {shortest} s");
        marked.fault_at(&format!("/steps/{index}/with/confirm_within_s"), message)
    })
}

/// How many seconds a step takes at most, all attempts and waits included.
fn worst_case_s(step: &WorkflowStep) -> u64 {
    if let Some(until) = step.until.as_ref().filter(|_| step.uses.spec().class == ActionClass::Read) {
        // The samples of a read are part of the wait.
        return until.for_s;
    }
    let attempt = step.timeout_s.unwrap_or(step.uses.spec().timeout_s);
    let retries = step.retry.as_ref().map_or(0, |retry| u64::from(retry.max));
    let waits = step.retry.as_ref().map_or(0, |retry| retry.cap_ms * u64::from(retry.max) / 1_000);
    attempt * (retries + 1) + waits + step.until.as_ref().map_or(0, |until| until.for_s)
}
