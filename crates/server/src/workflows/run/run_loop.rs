//! The loop of one run: from its first fact to its last.
//!
//! The loop derives the next move from the facts (a step, an undo, a safe posture, the end) and makes it. It holds no
//! state that a crash could lose, so a run is resumed by the same loop on the same facts. Steps run one after the
//! other, never concurrently.

use serde_json::Value;

use super::context::{RunContext, RunHalt};
use super::facts::RunFact;
use super::failure::{needs_attention, own_run_error};
use super::next_move::NextMove;
use super::posture::apply_safe_posture;
use super::state::{TurnBackReason, WorkflowRunError, WorkflowRunState, WorkflowStepState};
use super::step::StepRun;
use super::undo::undo_step;
use crate::workflows::actions::StepFailureClass;
use crate::workflows::definition::WorkflowOnCrash;
use botops_core::error::Code;
use botops_core::failpoints;

/// A run that was resumed this often is not resumed again: something in it probably kills the process.
const RECOVERIES_MAX: u32 = 3;

/// Drives the run until it is over or botops stops.
pub(crate) async fn drive_run(run: &mut RunContext) -> RunHalt {
    loop {
        let done = match NextMove::of(&run.workflow, &run.progress, run.time_left()) {
            NextMove::Step(index) => {
                let workflow = run.workflow.clone();
                StepRun { step: &workflow.definition.steps[index], index, run }.run_step().await
            }
            NextMove::TurnBack(why) => run.record_fact(RunFact::Undoing { why }).await,
            NextMove::Undo(index) => undo_step(run, index).await,
            NextMove::Posture => apply_safe_posture(run).await,
            NextMove::Finish(state) => finish_run(run, state).await,
        };
        if let Err(halt) = done {
            if halt == RunHalt::Stopping {
                run.record_suspended().await;
            }
            return halt;
        }
    }
}

/// Decides about an attempt that a crash cut off: when its action has another revision now, its effect is not known.
pub(crate) async fn recover_run(run: &mut RunContext) -> Result<(), RunHalt> {
    let recoveries = run.op.recoveries;
    if recoveries > RECOVERIES_MAX {
        let message = format!("the run was taken up {RECOVERIES_MAX} times and stopped botops each time");
        return finish_in_doubt(run, in_doubt(message)).await;
    }
    if recoveries > 0 && !run.progress.suspended {
        run.record_fact(RunFact::Recovered { recoveries }).await?;
    }
    let mut steps = run.workflow.definition.steps.iter().zip(&run.progress.steps);
    let changed = steps.find(|(step, of_step)| {
        of_step.in_flight.is_some_and(|revision| revision != step.uses.spec().revision)
    });
    let Some((step, _)) = changed else { return Ok(()) };
    let unknown = in_doubt("the step was cut off under another revision of its action");
    let fact = RunFact::StepFinished {
        step: step.id.clone(),
        state: WorkflowStepState::Unknown,
        output: None,
        criteria: Vec::new(),
        error: Some(unknown.clone()),
    };
    run.record_fact(fact).await?;
    if run.workflow.definition.policy.on_crash == WorkflowOnCrash::Halt {
        return finish_in_doubt(run, unknown).await;
    }
    Ok(())
}

/// Records the end of a run whose task panicked.
pub(crate) async fn abandon_run(run: &mut RunContext) {
    let defect = in_doubt("a defect in botops stopped the run; the log has it");
    // The run is over even when this cannot be stored.
    let _ = finish_in_doubt(run, defect).await;
}

fn in_doubt(message: impl Into<String>) -> WorkflowRunError {
    own_run_error(StepFailureClass::Unknown, Code::WorkflowNeedsAttention, message)
}

async fn finish_in_doubt(run: &mut RunContext, error: WorkflowRunError) -> Result<(), RunHalt> {
    let state = WorkflowRunState::NeedsAttention;
    run.record_fact(RunFact::Finished { state, outputs: None, error: Some(error) }).await
}

async fn finish_run(run: &mut RunContext, state: WorkflowRunState) -> Result<(), RunHalt> {
    failpoints::point("wf:finishing");
    let templates = run.workflow.definition.outputs.iter();
    let values = run.values();
    let outputs = templates.map(|(name, template)| (name.clone(), values.resolve(template)));
    let outputs: serde_json::Map<String, Value> = outputs.collect();
    let error = (state != WorkflowRunState::Succeeded).then(|| explain_end(run, state));
    run.record_fact(RunFact::Finished { state, outputs: Some(Value::Object(outputs)), error }).await?;
    Err(RunHalt::Over)
}

/// Why the run did not succeed, as its final error.
fn explain_end(run: &RunContext, state: WorkflowRunState) -> WorkflowRunError {
    let progress = &run.progress;
    if let Some(step) = progress.steps.iter().find(|step| step.state == WorkflowStepState::UndoFailed)
        && let Some(error) = &step.error
    {
        let message = format!("step `{}` could not be taken back: {}", step.id, error.message);
        return WorkflowRunError { message, ..needs_attention(error) };
    }
    let failure = progress.failed_step().and_then(|step| Some((step.id.clone(), step.error.clone()?)));
    match (progress.turned_back, failure) {
        (Some(TurnBackReason::Cancelled), _) => {
            let by = progress.cancel_by.clone().unwrap_or_default();
            let message = format!("cancelled by {by}");
            own_run_error(StepFailureClass::Precondition, Code::WorkflowCancelled, message)
        }
        (Some(TurnBackReason::Deadline), _) => {
            let message = format!("not done within {} s", run.workflow.definition.policy.timeout_s);
            own_run_error(StepFailureClass::Timeout, Code::WorkflowStepFailed, message)
        }
        (_, Some((_, failure))) if state == WorkflowRunState::NeedsAttention => needs_attention(&failure),
        (_, Some((id, failure))) => {
            WorkflowRunError { message: format!("step `{id}`: {}", failure.message), ..failure }
        }
        (_, None) => {
            own_run_error(StepFailureClass::Timeout, Code::WorkflowStepFailed, "the run's time is over")
        }
    }
}
