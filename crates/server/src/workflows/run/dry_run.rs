//! Dry runs: what an execution would do, step by step, with nothing done.
//!
//! Reads really look; changes ask the bot for its own prediction; what a change would put out is assumed by the steps
//! after it. A forecast is `unknown` where only the real thing can tell.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::failure::to_run_error;
use super::state::WorkflowRunError;
use crate::operations_log::StoredActor;
use crate::workflows::actions::{ActionCall, ActionClass, ActionRepeat, ActionServices, AssumedChanges};
use crate::workflows::definition::{
    CheckedWorkflow, RunValues, StepCondition, WorkflowCriterion, WorkflowStep, all_met, evaluate_conditions,
};

/// What one look of a dry run may take; the whole answer comes inside the request's time.
const LOOK: Duration = Duration::from_secs(4);

/// How a condition is likely to turn out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowForecast {
    /// It holds as things are.
    Pass,
    /// It does not.
    Fail,
    /// Only the real run can tell.
    Unknown,
}

/// One step of a dry run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlannedStepView {
    /// The step's id.
    pub step: String,
    /// Its action.
    pub uses: String,
    /// What it touches.
    pub class: ActionClass,
    /// How it may be repeated.
    pub repeat: ActionRepeat,
    /// Whether it would run at all.
    pub runs: bool,
    /// What it would be given.
    #[schema(value_type = Object)]
    pub input: Value,
    /// What it would put out, as far as can be told.
    #[schema(value_type = Object)]
    pub predicted_output: Value,
    /// How its conditions look now.
    pub forecast: WorkflowForecast,
    /// The conditions one by one.
    pub criteria: Vec<WorkflowCriterion>,
    /// Past the point of no return from here on.
    pub pivot: bool,
    /// The action that would take it back, or `none`.
    pub undo: Option<String>,
    /// Why it would fail.
    pub error: Option<WorkflowRunError>,
}

/// Goes through all steps without doing anything.
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
    for step in &workflow.definition.steps {
        let one = plan_step(workflow, step, world, run, &mut values, &mut assumed, changed).await;
        changed |= one.runs && step.uses.spec().class == ActionClass::Mutate;
        planned.push(one);
    }
    planned
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
    let spec = step.uses.spec();
    let input = values.resolve_input(&step.with);
    let runs = all_met(&evaluate_conditions(&step.when, values, &Value::Null));
    let mut planned = PlannedStepView {
        step: step.id.clone(),
        uses: spec.name.to_owned(),
        class: spec.class,
        repeat: spec.repeat,
        runs,
        input: input.clone(),
        predicted_output: Value::Null,
        forecast: WorkflowForecast::Pass,
        criteria: Vec::new(),
        pivot: step.pivot,
        undo: step.undo_name(),
        error: None,
    };
    if !runs {
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
            let wanted: Vec<StepCondition> = step
                .expect
                .iter()
                .chain(step.until.iter().flat_map(|until| &until.expect))
                .cloned()
                .collect();
            planned.criteria = evaluate_conditions(&wanted, values, &output);
            planned.forecast = match all_met(&planned.criteria) {
                true => WorkflowForecast::Pass,
                // What is waited for may still come; what follows a change cannot be seen before it.
                false if step.until.is_some() || changed || spec.class == ActionClass::Mutate => {
                    WorkflowForecast::Unknown
                }
                false => WorkflowForecast::Fail,
            };
            values.outputs.insert(step.id.clone(), output.clone());
            planned.predicted_output = output;
        }
        Err(failure) => {
            planned.forecast = if changed { WorkflowForecast::Unknown } else { WorkflowForecast::Fail };
            planned.error = Some(to_run_error(&failure));
        }
    }
    planned
}

/// The outputs of a dry run, for the answer.
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
