//! Undoing the steps of a run that stopped going forward.

use std::time::Duration;

use serde_json::Value;

use super::context::{RunContext, RunHalt};
use super::facts::RunFact;
use super::failure::{journal_input, to_run_error};
use super::retry::RetrySchedule;
use super::state::WorkflowStepState;
use crate::workflows::actions::ActionFailure;
use crate::workflows::definition::{StepUndo, UndoRule, all_met, evaluate_conditions};
use botops_core::durable_deadline::DurableDeadline;
use botops_core::failpoints;

/// Makes one attempt to undo the step at `index`.
pub(crate) async fn undo_step(run: &mut RunContext, index: usize) -> Result<(), RunHalt> {
    let workflow = run.workflow.clone();
    let step = &workflow.definition.steps[index];
    let Some(UndoRule::With(undo)) = &step.undo else { return Ok(()) };
    if run.progress.steps[index].undo_attempts == 0 {
        let criteria = evaluate_conditions(&undo.when, &run.values(), &Value::Null);
        if !all_met(&criteria) {
            let (step, state) = (step.id.clone(), WorkflowStepState::Skipped);
            return run.record_fact(RunFact::UndoFinished { step, state, error: None }).await;
        }
    }
    if let Some(due) = &run.progress.steps[index].undo_retry {
        run.sleep_or_stop(due.left_at_most()).await?;
    }
    attempt_undo(run, index, &step.id, undo).await
}

async fn attempt_undo(run: &mut RunContext, index: usize, id: &str, undo: &StepUndo) -> Result<(), RunHalt> {
    let spec = undo.uses.spec();
    let input = run.values().resolve_input(&undo.with);
    let key = format!("{}/{id}/undo", run.op.op_id);
    let attempt = run.progress.steps[index].undo_attempts + 1;
    let (step, action) = (id.to_owned(), spec.name.to_owned());
    let started =
        RunFact::UndoStarted { step, attempt, action, key: key.clone(), input: journal_input(&input) };
    run.record_fact(started).await?;
    failpoints::point("wf:undo_started");
    let limit = Duration::from_secs(undo.timeout_s.unwrap_or(spec.timeout_s));
    let call = run.action_call(id, key, limit);
    let work = undo.uses.perform(&run.world, &input, &call);
    // A cancel does not interrupt an undo; only the stop of botops does.
    let acted = tokio::select! {
        acted = tokio::time::timeout(limit, work) => acted,
        () = run.stopping_late() => return Err(RunHalt::Stopping),
    };
    failpoints::point("wf:undo_acted");
    let acted = acted.unwrap_or_else(|_| Err(ActionFailure::timeout("the undo took too long", true)));
    let step = id.to_owned();
    let fact = match acted {
        Ok(_) => RunFact::UndoFinished { step, state: WorkflowStepState::Undone, error: None },
        Err(failure) => {
            let schedule = RetrySchedule::new(undo.uses, undo.retry.as_ref(), true);
            let error = to_run_error(&failure);
            match schedule.next_wait(attempt, failure.class).map(DurableDeadline::after) {
                Some(due) => {
                    let (retry_at_ms, retry) = (due.wall_ms, Some(due));
                    RunFact::UndoAttemptFailed { step, attempt, error, retry_at_ms, retry }
                }
                None => {
                    let state = WorkflowStepState::UndoFailed;
                    RunFact::UndoFinished { step, state, error: Some(error) }
                }
            }
        }
    };
    run.record_fact(fact).await?;
    failpoints::point("wf:undo_finished");
    Ok(())
}
