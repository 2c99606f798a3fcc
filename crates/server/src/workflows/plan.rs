//! Dry runs: what an execution would do, step by step, with nothing done.
//!
//! Reads really look; changes ask the bot for its own prediction; what a change would put out is assumed by the steps
//! after it. A forecast is `unknown` where only the real thing can tell.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::actions::{Assumed, Call, Class, Repeat, World};
use super::definition::{Lock, Predicate, Step, UndoRule, Workflow};
use super::journal::RunError;
use super::outcome::kept;
use super::values::{Criterion, Values, all_met};
use crate::operations_log::StoredActor;

/// What one look of a dry run may take; the whole answer comes inside the request's time.
const LOOK: Duration = Duration::from_secs(4);

/// How a condition is likely to turn out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WorkflowForecast)]
pub enum Forecast {
    /// It holds as things are.
    Pass,
    /// It does not.
    Fail,
    /// Only the real run can tell.
    Unknown,
}

/// One step of a dry run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlannedStep {
    /// The step's id.
    pub step: String,
    /// Its action.
    pub uses: String,
    /// What it touches.
    pub class: Class,
    /// How it may be repeated.
    pub repeat: Repeat,
    /// Whether it would run at all.
    pub runs: bool,
    /// What it would be given.
    #[schema(value_type = Object)]
    pub input: Value,
    /// What it would put out, as far as can be told.
    #[schema(value_type = Object)]
    pub predicted_output: Value,
    /// How its conditions look now.
    pub forecast: Forecast,
    /// The conditions one by one.
    pub criteria: Vec<Criterion>,
    /// Past the point of no return from here on.
    pub pivot: bool,
    /// The action that would take it back, or `none`.
    pub undo: Option<String>,
    /// Why it would fail.
    pub error: Option<RunError>,
}

/// Goes through all steps without doing anything.
pub(super) async fn steps(workflow: &Workflow, world: &World, params: &Value, run: &str) -> Vec<PlannedStep> {
    let mut values = Values { params: params.clone(), ..Values::default() };
    let mut assumed = Assumed::default();
    let mut planned = Vec::new();
    let mut changed = false;
    for step in &workflow.definition.steps {
        let one = plan(workflow, step, world, run, &mut values, &mut assumed, changed).await;
        changed |= one.runs && step.uses.spec().class == Class::Mutate;
        planned.push(one);
    }
    planned
}

async fn plan(
    workflow: &Workflow,
    step: &Step,
    world: &World,
    run: &str,
    values: &mut Values,
    assumed: &mut Assumed,
    changed: bool,
) -> PlannedStep {
    let spec = step.uses.spec();
    let input = values.input(&step.with);
    let runs = all_met(&values.judge(&step.when, &Value::Null));
    let mut planned = PlannedStep {
        step: step.id.clone(),
        uses: spec.name.to_owned(),
        class: spec.class,
        repeat: spec.repeat,
        runs,
        input: input.clone(),
        predicted_output: Value::Null,
        forecast: Forecast::Pass,
        criteria: Vec::new(),
        pivot: step.pivot,
        undo: step.undo.as_ref().map(|undo| match undo {
            UndoRule::With(undo) => undo.uses.name().to_owned(),
            UndoRule::Not(_) => "none".to_owned(),
        }),
        error: None,
    };
    if !runs {
        return planned;
    }
    let call = Call {
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
            let wanted: Vec<Predicate> = step
                .expect
                .iter()
                .chain(step.until.iter().flat_map(|until| &until.expect))
                .cloned()
                .collect();
            planned.criteria = values.judge(&wanted, &output);
            planned.forecast = match all_met(&planned.criteria) {
                true => Forecast::Pass,
                // What is waited for may still come; what follows a change cannot be seen before it.
                false if step.until.is_some() || changed || spec.class == Class::Mutate => Forecast::Unknown,
                false => Forecast::Fail,
            };
            values.outputs.insert(step.id.clone(), output.clone());
            planned.predicted_output = output;
        }
        Err(failure) => {
            planned.forecast = if changed { Forecast::Unknown } else { Forecast::Fail };
            planned.error = Some(kept(&failure));
        }
    }
    planned
}

/// The lock a workflow takes, by its key.
pub(super) fn lock_key(workflow: &Workflow, bot: &botops_contract::BotId) -> Option<String> {
    let Lock::Bot = workflow.definition.policy.locks.first()?;
    Some(crate::operations_log::bot_lock(bot))
}

/// The outputs of a dry run, for the answer.
pub(super) fn outputs(workflow: &Workflow, params: &Value, steps: &[PlannedStep]) -> Value {
    let outputs = steps.iter().filter(|step| !step.predicted_output.is_null());
    let outputs = outputs.map(|step| (step.step.clone(), step.predicted_output.clone())).collect();
    let values = Values { params: params.clone(), outputs };
    let named = workflow.definition.outputs.iter();
    json!(
        named
            .map(|(name, template)| (name.clone(), values.resolve(template)))
            .collect::<std::collections::BTreeMap<_, _>>()
    )
}
