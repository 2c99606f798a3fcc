//! What a run needs and does not have: found before its first effect, so that nothing is done in vain.
//!
//! Steps are followed as far as their conditions can be told: from the parameters, from outputs that are known, and of
//! looks at the bot from what is known of it now. A step whose condition only the run can decide needs nothing yet.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::workflows::actions::{ActionClass, ActionNeed, ActionServices, StepAction, read_known_status};
use crate::workflows::definition::{
    CheckedWorkflow, ConditionOutlook, RunValues, StepOnError, UndoRule, WorkflowStep, foresee_conditions,
};
use botops_core::error::{Code, Error, NextAction};

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

/// The fewest parameters, one or two of those that take few values, with which nothing is known to be missing instead of
/// what `params` lack. `None` when there are none such.
pub(crate) fn find_workable_params(
    workflow: &CheckedWorkflow,
    params: &Value,
    world: &ActionServices,
) -> Option<Map<String, Value>> {
    let given = params.as_object()?;
    let choices = workflow.param_choices().into_iter().flat_map(|(name, values)| {
        let other = values.into_iter().filter(|value| given.get(&name) != Some(value)).collect::<Vec<_>>();
        other.into_iter().map(move |value| (name.clone(), value))
    });
    let choices: Vec<(String, Value)> = choices.collect();
    let works = |changes: &Map<String, Value>| {
        let mut changed = given.clone();
        changed.extend(changes.clone());
        let values = RunValues { params: Value::Object(changed), ..RunValues::default() };
        find_missing_needs(workflow, 0, values, world).is_empty()
    };
    let single = choices.iter().map(|(name, value)| Map::from_iter([(name.clone(), value.clone())]));
    let pairs = choices.iter().flat_map(|(name, value)| {
        let others = choices.iter().filter(move |(other, _)| other > name);
        others.map(move |other| Map::from_iter([(name.clone(), value.clone()), other.clone()]))
    });
    single.chain(pairs).find(works)
}

/// Why a workflow cannot run with its default parameters at this bot as it is now, and with which it can; `None` when
/// nothing is known to be in the way.
pub(crate) fn describe_default_lack(workflow: &CheckedWorkflow, world: &ActionServices) -> Option<String> {
    let params = workflow.default_params();
    let values = RunValues { params: params.clone(), ..RunValues::default() };
    let missing = find_missing_needs(workflow, 0, values, world);
    if missing.is_empty() {
        return None;
    }
    let each: Vec<String> = missing.iter().map(MissingNeedView::describe).collect();
    let remedy = find_workable_params(workflow, &params, world).map(|changes| describe_remedy(&changes));
    Some(format!("{}{}", each.join("; "), remedy.unwrap_or_default()))
}

/// With what it can run, as the end of the sentence that says why it cannot.
fn describe_remedy(changes: &Map<String, Value>) -> String {
    format!("; with the parameters {} it can", Value::Object(changes.clone()))
}

impl MissingNeedView {
    /// That it is missing and for what, as a part of a sentence.
    fn describe(&self) -> String {
        if self.step.is_empty() {
            return self.need.describe_missing();
        }
        let purpose = if self.for_undo { "to take back step" } else { "step" };
        format!("{} ({purpose} `{}`)", self.need.describe_missing(), self.step)
    }
}

/// Why a workflow cannot run, in one sentence with everything that is missing.
pub(crate) fn describe_missing_needs(workflow: &str, missing: &[MissingNeedView]) -> String {
    let each: Vec<String> = missing.iter().map(MissingNeedView::describe).collect();
    format!("`{workflow}` cannot run: {}", each.join("; "))
}

/// The code of a refusal for what is missing.
pub(crate) fn code_of_missing(missing: &[MissingNeedView]) -> Code {
    let only_supervisor = missing.iter().all(|one| one.need == ActionNeed::Supervisor);
    if only_supervisor { Code::SupervisorMissing } else { Code::BotNotCapable }
}

/// The refusal of a run for what is missing; nothing was done. It names the parameters with which the run can be, and the
/// call that says what it would do with them.
pub(crate) fn refuse_missing_needs(
    workflow: &CheckedWorkflow,
    missing: &[MissingNeedView],
    params: &Value,
    world: &ActionServices,
) -> Error {
    let id = &workflow.definition.id;
    let detail = describe_missing_needs(id, missing);
    let code = code_of_missing(missing);
    let error = if code == Code::SupervisorMissing { world.bots.nobody_restarts() } else { Error::new(code) };
    let error = error
        .context("workflow_id", id.clone())
        .context("missing", serde_json::to_value(missing).unwrap_or_default());
    let needs_supervisor = missing.iter().any(|one| one.need == ActionNeed::Supervisor);
    let Some(changes) = find_workable_params(workflow, params, world) else {
        let error = error.detail(detail);
        return match code {
            // Neither remedy alone would do.
            Code::BotNotCapable if needs_supervisor => error.remedy(
                "The bot's author adds what it does not offer (docs/your-own-bot.md), and a person sets BOT_SUPERVISOR (spawn, \
                 systemd:<unit> or command:[…]; docs/settings.md) and restarts botops. Until then a person does by hand what \
                 the workflow would do.",
            ),
            _ => error,
        };
    };
    let NextAction { operation, method, path, body, scope } = call_that_works(id, params, &changes);
    error
        .remedy(format!(
            "Run it with the parameters {}: the call of `next_actions` says what it would do then. Or the bot's author adds \
             what is missing (docs/your-own-bot.md).",
            Value::Object(changes.clone())
        ))
        .detail(format!("{detail}{}", describe_remedy(&changes)))
        .context("works_with", Value::Object(changes))
        .next(&operation, &method, path, body, scope.as_deref())
}

/// The call that says what a run with these changes of its parameters would do.
pub(crate) fn call_that_works(id: &str, params: &Value, changes: &Map<String, Value>) -> NextAction {
    let mut workable = params.as_object().cloned().unwrap_or_default();
    workable.extend(changes.clone());
    NextAction {
        operation: "execute_workflow".to_owned(),
        method: "POST".to_owned(),
        path: format!("/api/v1/workflows/{id}/execute?dry_run=true"),
        body: Some(json!({"params": workable})),
        scope: Some("operate".to_owned()),
    }
}
