//! What a run needs and does not have: found before its first effect, so that nothing is done in vain.
//!
//! Steps are followed as far as their conditions can be told: from the parameters, from outputs that are known, and of
//! looks at the bot from what is known of it now. A step whose condition only the run can decide needs nothing yet.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::workflows::actions::{ActionClass, ActionNeed, ActionServices, StepAction, read_known_status};
use crate::workflows::definition::{
    CheckedWorkflow, ConditionOutlook, RunValues, StepOnError, UndoRule, WorkflowStep, foresee_conditions,
};
use botops_core::error::{Code, Error};

/// Something that a step needs and that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WorkflowMissingNeed)]
pub struct MissingNeedView {
    /// The id of the step that needs it; empty when the workflow as a whole does (`needs`).
    pub step: String,
    /// The action that needs it: the step's own, or the one that takes it back; empty for the workflow as a whole.
    pub uses: String,
    /// A capability that the bot does not offer, such as `cancel-orders` or `config`; a role that no field of its config
    /// has, such as `targets`; `boot_epoch` when the bot does not name its starts, so that no restart can be confirmed;
    /// `supervisor` when nobody can start it again.
    pub missing: &'static str,
    /// Whether it is needed only to take the step back.
    pub for_undo: bool,
    #[serde(skip)]
    need: ActionNeed,
}

/// Everything that the steps from `first` on are known to need and that is missing. `values` holds the parameters and
/// the outputs so far.
pub(crate) fn find_missing_needs(
    workflow: &CheckedWorkflow,
    first: usize,
    mut values: RunValues,
    world: &ActionServices,
) -> Vec<MissingNeedView> {
    let mut missing = missing_of_whole(workflow, world);
    let mut has_changed = false;
    for step in workflow.definition.steps.iter().skip(first) {
        let outlook = foresee_conditions(&step.when, &values);
        if outlook == ConditionOutlook::Fails {
            // A step that is skipped has no output.
            values.outputs.insert(step.id.clone(), Value::Null);
            continue;
        }
        if outlook == ConditionOutlook::Holds {
            missing.extend(missing_needs_of(step, &values, world));
        }
        // After a change, what is known of the bot now says nothing about what a look will show.
        if !has_changed
            && step.uses.shows_bot()
            && let Some(status) = read_known_status(world)
        {
            values.outputs.insert(step.id.clone(), status);
        }
        has_changed |= step.uses.spec().class == ActionClass::Mutate;
    }
    missing
}

/// What one step, which runs, needs and does not have; its undo included.
pub(crate) fn missing_needs_of(
    step: &WorkflowStep,
    values: &RunValues,
    world: &ActionServices,
) -> Vec<MissingNeedView> {
    if step.on_error == StepOnError::Continue {
        // Its failure is an answer too.
        return Vec::new();
    }
    let mut missing = missing_of_action(step, step.uses, false, world);
    if let Some(UndoRule::With(undo)) = &step.undo
        && foresee_conditions(&undo.when, values) == ConditionOutlook::Holds
    {
        missing.extend(missing_of_action(step, undo.uses, true, world));
    }
    missing
}

/// What the workflow says that it needs and that is not there.
fn missing_of_whole(workflow: &CheckedWorkflow, world: &ActionServices) -> Vec<MissingNeedView> {
    let needs = workflow.definition.needs.each().filter(|need| need.is_missing(world));
    let view = |need: ActionNeed| MissingNeedView {
        step: String::new(),
        uses: String::new(),
        missing: need.name(),
        for_undo: false,
        need,
    };
    needs.map(view).collect()
}

fn missing_of_action(
    step: &WorkflowStep,
    uses: StepAction,
    for_undo: bool,
    world: &ActionServices,
) -> Vec<MissingNeedView> {
    let needs = uses.spec().needs.iter().copied().filter(|need| need.is_missing(world));
    let view = |need: ActionNeed| MissingNeedView {
        step: step.id.clone(),
        uses: uses.name().to_owned(),
        missing: need.name(),
        for_undo,
        need,
    };
    needs.map(view).collect()
}

/// Why a workflow cannot run, in one sentence with everything that is missing.
pub(crate) fn describe_missing_needs(workflow: &str, missing: &[MissingNeedView]) -> String {
    let each = missing.iter().map(|one| {
        if one.step.is_empty() {
            return one.need.describe_missing();
        }
        let purpose = if one.for_undo { "to take back step" } else { "step" };
        format!("{} ({purpose} `{}`)", one.need.describe_missing(), one.step)
    });
    format!("`{workflow}` cannot run: {}", each.collect::<Vec<_>>().join("; "))
}

/// The code of a refusal for what is missing.
pub(crate) fn code_of_missing(missing: &[MissingNeedView]) -> Code {
    let only_supervisor = missing.iter().all(|one| one.need == ActionNeed::Supervisor);
    if only_supervisor { Code::SupervisorMissing } else { Code::BotNotCapable }
}

/// The refusal of a run for what is missing; nothing was done.
pub(crate) fn refuse_missing_needs(workflow: &str, missing: &[MissingNeedView]) -> Error {
    Error::new(code_of_missing(missing))
        .detail(describe_missing_needs(workflow, missing))
        .context("workflow_id", workflow)
        .context("missing", serde_json::to_value(missing).unwrap_or_default())
}
