//! Dry runs: what an execution would do, step by step, without doing it.
//!
//! Reads are performed. Changes ask the bot for its own prediction, and later steps assume the predicted output. A
//! forecast is `unknown` where only the real run can show the result.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::failure::{own_run_error, refusal_of, to_run_error, what_is_not_well};
use super::missing_needs::{MissingNeedView, code_of_missing, describe_missing_needs, missing_needs_of};
use super::state::WorkflowRunError;
use crate::operations_log::StoredActor;
use crate::workflows::actions::{
    ActionCall, ActionClass, ActionRepeat, ActionServices, AssumedChanges, StepFailureClass,
};
use botops_core::error::Code;

use crate::workflows::definition::{
    CheckedWorkflow, ConditionOutlook, RunValues, StepCondition, WorkflowCriterion, WorkflowStep, all_met,
    evaluate_conditions, foresee_conditions,
};

/// How long one step of a dry run may take: the whole answer must come within the request's time.
const LOOK: Duration = Duration::from_secs(4);

/// How a condition is expected to turn out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowForecast {
    /// It holds as things are.
    Pass,
    /// It does not hold as things are.
    Fail,
    /// Only the real run can show it.
    Unknown,
}

/// One step of a dry run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlannedStepView {
    /// The step's id, unique within the workflow.
    pub step: String,
    /// The name of its action.
    pub uses: String,
    /// What kind of effect the action has.
    pub class: ActionClass,
    /// How an attempt that was cut off may be repeated.
    pub repeat: ActionRepeat,
    /// Whether the step would run: its `when` conditions hold.
    pub runs: bool,
    /// The input it would get, with references replaced by their values.
    #[schema(value_type = Object)]
    pub input: Value,
    /// The predicted output; `null` when it is not known.
    #[schema(value_type = Option<Object>)]
    pub predicted_output: Value,
    /// The forecast for its conditions as a whole.
    pub forecast: WorkflowForecast,
    /// Why the forecast is open although nothing speaks against the step; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast_reason: Option<String>,
    /// The conditions one by one, with the predicted values.
    pub criteria: Vec<WorkflowCriterion>,
    /// Whether the step is the pivot: nothing is undone after it.
    pub pivot: bool,
    /// The undo action, or `none`; `null` where there is nothing to undo.
    pub undo: Option<String>,
    /// The step before it that would fail, so that this one is not forecast to pass: of one that only reads, what it would
    /// see is shown all the same. Left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_failure_of: Option<String>,
    /// Why the step would fail; `null` when it would not.
    pub error: Option<WorkflowRunError>,
    /// What the step is known to need and is not there; an execution is refused then.
    pub missing: Vec<MissingNeedView>,
}

/// Goes through all steps without changing anything.
pub(crate) async fn plan_steps(
    workflow: &CheckedWorkflow,
    world: &ActionServices,
    params: &Value,
    run: &str,
) -> Vec<PlannedStepView> {
    let mut values = RunValues { params: params.clone(), ..RunValues::default() };
    let mut assumed = AssumedChanges::default();
    let mut planned = Vec::new();
    let mut changed = false;
    let mut failed: Option<String> = None;
    for step in &workflow.definition.steps {
        let is_read = step.uses.spec().class == ActionClass::Read;
        if let Some(failed) = failed.as_ref().filter(|_| !is_read) {
            planned.push(not_forecast(workflow, step, world, &values, failed));
            continue;
        }
        let mut one = plan_step(workflow, step, world, run, &mut values, &mut assumed, changed).await;
        one.behind_failure_of.clone_from(&failed);
        if failed.is_some() && one.forecast == WorkflowForecast::Pass {
            // What it would see is shown; whether it comes to it is not known.
            one.forecast = WorkflowForecast::Unknown;
        }
        if failed.is_none() && one.forecast == WorkflowForecast::Fail {
            failed = Some(step.id.clone());
        }
        changed |= one.runs && step.uses.spec().class == ActionClass::Mutate;
        planned.push(one);
    }
    planned
}

/// A step behind one that would fail: what it is known to lack is told, and nothing else is forecast.
fn not_forecast(
    workflow: &CheckedWorkflow,
    step: &WorkflowStep,
    world: &ActionServices,
    values: &RunValues,
    failed: &str,
) -> PlannedStepView {
    let may_run = foresee_conditions(&step.when, values) != ConditionOutlook::Fails;
    let missing = if may_run { missing_needs_of(step, values, world) } else { Vec::new() };
    let error = (!missing.is_empty()).then(|| {
        let message = describe_missing_needs(&workflow.definition.id, &missing);
        own_run_error(StepFailureClass::Precondition, code_of_missing(&missing), message)
    });
    PlannedStepView {
        forecast: if error.is_some() { WorkflowForecast::Fail } else { WorkflowForecast::Unknown },
        behind_failure_of: Some(failed.to_owned()),
        error,
        missing,
        ..blank_plan(step, Value::Null, false)
    }
}

fn blank_plan(step: &WorkflowStep, input: Value, runs: bool) -> PlannedStepView {
    let spec = step.uses.spec();
    PlannedStepView {
        step: step.id.clone(),
        uses: spec.name.to_owned(),
        class: spec.class,
        repeat: spec.repeat,
        runs,
        input,
        predicted_output: Value::Null,
        forecast: WorkflowForecast::Pass,
        forecast_reason: None,
        criteria: Vec::new(),
        pivot: step.pivot,
        undo: step.undo_name(),
        behind_failure_of: None,
        error: None,
        missing: Vec::new(),
    }
}

async fn plan_step(
    workflow: &CheckedWorkflow,
    step: &WorkflowStep,
    world: &ActionServices,
    run: &str,
    values: &mut RunValues,
    assumed: &mut AssumedChanges,
    changed: bool,
) -> PlannedStepView {
    let input = values.resolve_input(&step.with);
    let outlook = foresee_conditions(&step.when, values);
    let runs = outlook == ConditionOutlook::Holds;
    let mut planned = blank_plan(step, input.clone(), runs);
    match outlook {
        ConditionOutlook::Holds => {}
        ConditionOutlook::Fails => {
            // A step that is skipped has no output.
            values.outputs.insert(step.id.clone(), Value::Null);
            return planned;
        }
        ConditionOutlook::Open => {
            planned.forecast = WorkflowForecast::Unknown;
            let open: Vec<String> =
                step.when.iter().map(|condition| format!("`{}`", condition.that)).collect();
            planned.forecast_reason = Some(format!(
                "whether it runs is decided by {}, which only the run knows",
                open.join(" and ")
            ));
            return planned;
        }
    }
    planned.missing = missing_needs_of(step, values, world);
    if !planned.missing.is_empty() {
        // This is known, whatever the steps before change: the bot is not even asked.
        let message = describe_missing_needs(&workflow.definition.id, &planned.missing);
        let code = code_of_missing(&planned.missing);
        planned.error = Some(own_run_error(StepFailureClass::Precondition, code, message));
        planned.forecast = WorkflowForecast::Fail;
        return planned;
    }
    let call = ActionCall {
        run: run.to_owned(),
        workflow: workflow.definition.id.clone(),
        step: step.id.clone(),
        key: format!("{run}/{}", step.id),
        reason: format!("dry run of the workflow {}", workflow.definition.id),
        actor: StoredActor { key_id: "dry-run".to_owned(), request_id: run.to_owned(), client: None },
        deadline: std::time::Instant::now() + LOOK,
    };
    match step.uses.predict(world, &input, &call, assumed).await {
        Ok(output) => {
            let in_doubt = assumed.is_pause_in_doubt() && step.uses.shows_bot();
            foresee_output(&mut planned, step, values, output, in_doubt, changed);
        }
        // A member that the prediction of an earlier step leaves out is not there yet, and will be.
        Err(failure) if failure.class == StepFailureClass::Invalid && !knows_input(step, values) => {
            planned.forecast = WorkflowForecast::Unknown;
            planned.forecast_reason = Some("its input has a value that only the run knows".to_owned());
        }
        Err(failure) => {
            planned.forecast = if changed { WorkflowForecast::Unknown } else { WorkflowForecast::Fail };
            planned.error = Some(to_run_error(&failure));
        }
    }
    planned
}

/// Whether everything that the input of a step refers to is known beforehand.
fn knows_input(step: &WorkflowStep, values: &RunValues) -> bool {
    step.with.values().all(|template| values.knows(template))
}

/// The conditions on members that a prediction leaves out, since only the run knows them.
fn conditions_on_unforeseen<'a>(wanted: &'a [StepCondition], output: &Value) -> Vec<&'a str> {
    let is_left_out = |that: &str| {
        let member = that.strip_prefix('/').and_then(|path| path.split('/').next());
        member.zip(output.as_object()).is_some_and(|(member, members)| !members.contains_key(member))
    };
    wanted.iter().map(|condition| condition.that.as_str()).filter(|that| is_left_out(that)).collect()
}

/// Takes a predicted output into the plan, with what it means for the step's conditions.
fn foresee_output(
    planned: &mut PlannedStepView,
    step: &WorkflowStep,
    values: &mut RunValues,
    mut output: Value,
    is_pause_in_doubt: bool,
    changed: bool,
) {
    let unforeseen = if is_pause_in_doubt { take_out_pause(&mut output) } else { Vec::new() };
    let of_wait = step.until.iter().flat_map(|until| &until.expect);
    let wanted: Vec<StepCondition> = step.expect.iter().chain(of_wait).cloned().collect();
    planned.criteria = evaluate_conditions(&wanted, values, &output);
    let open = conditions_on_unforeseen(&wanted, &output);
    let is_open = |criterion: &WorkflowCriterion| open.contains(&criterion.that.as_str());
    let known: Vec<WorkflowCriterion> =
        planned.criteria.iter().filter(|criterion| !is_open(criterion)).cloned().collect();
    planned.forecast = match all_met(&planned.criteria) {
        true => WorkflowForecast::Pass,
        // A value that the step waits for may still come, and the effect of an earlier change is not visible yet.
        false if step.until.is_some() || changed || planned.class == ActionClass::Mutate => {
            WorkflowForecast::Unknown
        }
        false if all_met(&known) => {
            planned.forecast_reason = Some(format!("only the run knows `{}`", open.join("` and `")));
            WorkflowForecast::Unknown
        }
        false => WorkflowForecast::Fail,
    };
    if planned.forecast == WorkflowForecast::Fail {
        let failed = |why| own_run_error(StepFailureClass::Precondition, Code::WorkflowStepFailed, why);
        planned.error = refusal_of(&output).or_else(|| what_is_not_well(&output)).map(failed);
    }
    // Conditions of later steps on what is left out here stay open.
    values.outputs.insert(step.id.clone(), output.clone());
    if let Some(members) = output.as_object_mut() {
        members.extend(unforeseen.into_iter().map(|name| (name, Value::Null)));
    }
    planned.predicted_output = output;
}

/// Takes out of a look at the bot what depends on whether it kept its pause over a restart, and returns the names of
/// that. A phase that is none of a pause stays.
fn take_out_pause(output: &mut Value) -> Vec<String> {
    let Some(members) = output.as_object_mut() else { return Vec::new() };
    let is_paused = members.get("phase").is_some_and(|phase| phase == "paused");
    let names = ["trading_enabled"].into_iter().chain(is_paused.then_some("phase"));
    names.filter_map(|name| members.remove_entry(name)).map(|(name, _)| name).collect()
}

/// The predicted outputs of the run.
pub(crate) fn predict_outputs(
    workflow: &CheckedWorkflow,
    params: &Value,
    steps: &[PlannedStepView],
) -> Value {
    let outputs = steps.iter().filter(|step| !step.predicted_output.is_null());
    let outputs = outputs.map(|step| (step.step.clone(), step.predicted_output.clone())).collect();
    let values = RunValues { params: params.clone(), outputs };
    let named = workflow.definition.outputs.iter();
    json!(
        named
            .map(|(name, template)| (name.clone(), values.resolve(template)))
            .collect::<std::collections::BTreeMap<_, _>>()
    )
}
