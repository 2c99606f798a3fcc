//! The safe posture: past the pivot nothing is undone; the bot is left as safe as possible, and an event is raised.

use std::time::Duration;

use serde_json::json;

use super::context::{RunContext, RunHalt};
use super::facts::RunFact;
use super::failure::to_run_error;
use super::retry::RetrySchedule;
use super::state::WorkflowRunError;
use crate::events::NewEvent;
use crate::workflows::actions::{PauseTrading, StepAction};
use crate::workflows::definition::{RaiseRule, SafePosture};
use botops_contract::EventKind;

/// Brings the bot into the posture that the definition names, raises its event, and records both.
pub(crate) async fn apply_safe_posture(run: &mut RunContext) -> Result<(), RunHalt> {
    let workflow = run.workflow.clone();
    let Some(after) = &workflow.definition.on_failure_after_pivot else { return Ok(()) };
    let (leave, error) = match after.leave {
        SafePosture::TradingPaused => ("trading_paused", pause_trading(run).await?),
        SafePosture::Nothing => ("nothing", None),
    };
    if let Some(raise) = &after.raise {
        publish_raised(run, raise, leave, error.is_none());
    }
    run.record_fact(RunFact::PostureReached { leave: leave.to_owned(), error }).await
}

/// Pauses trading, with retries; returns the last failure when all attempts failed.
async fn pause_trading(run: &RunContext) -> Result<Option<WorkflowRunError>, RunHalt> {
    const PAUSE: StepAction = StepAction::of::<PauseTrading>();
    let schedule = RetrySchedule::new(PAUSE, None, true);
    let mut failures = 0;
    loop {
        let limit = Duration::from_secs(PAUSE.spec().timeout_s);
        let call = run.action_call("posture", format!("{}/posture", run.op.op_id), limit);
        let Err(failure) = PAUSE.perform(&run.world, &json!({}), &call).await else { return Ok(None) };
        failures += 1;
        let Some(wait) = schedule.next_wait(failures, failure.class) else {
            return Ok(Some(to_run_error(&failure)));
        };
        run.sleep_or_stop(wait).await?;
    }
}

fn publish_raised(run: &RunContext, raise: &RaiseRule, leave: &str, reached: bool) {
    let why = run.progress.failed_step().and_then(|step| step.error.as_ref());
    let why = why.map_or("a step failed", |error| error.message.as_str());
    let message = format!("workflow {} failed past its pivot ({}): {why}", run.op.name, raise.code);
    let data = json!({
        "topic": "workflow.raise", "code": raise.code, "run_id": run.op.op_id, "workflow_id": run.op.name,
        "left": leave, "reached": reached,
    });
    run.world.events.publish(NewEvent::own(EventKind::Workflow, raise.severity, message, data));
}
