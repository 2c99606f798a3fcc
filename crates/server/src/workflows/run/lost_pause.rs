//! What a plan has to say of a pause that a restart in it may end.

use super::dry_run::{PlannedStepView, WorkflowForecast};
use crate::bots::BotSnapshot;
use crate::workflows::definition::{CheckedWorkflow, WorkflowStep};

/// What a person has to know before a run restarts a paused bot: whether it comes back paused, and what to do about it.
///
/// Empty where the bot promises to keep the pause, and where a later step pauses or resumes it, whatever it kept.
pub(crate) fn warn_of_lost_pause(
    workflow: &CheckedWorkflow,
    planned: &[PlannedStepView],
    seen: &BotSnapshot,
) -> Vec<String> {
    let steps: Vec<(&WorkflowStep, &PlannedStepView)> =
        workflow.definition.steps.iter().zip(planned).filter(|(_, plan)| may_run(plan)).collect();
    let Some(restart) = steps.iter().rposition(|(step, _)| step.uses.spec().restarts_bot) else {
        return Vec::new();
    };
    let (before, after) = steps.split_at(restart);
    if after.iter().any(|(step, _)| step.uses.switches_trading()) || seen.keeps_pause_over_restart() {
        return Vec::new();
    }
    let switch = before.iter().rfind(|(step, _)| step.uses.switches_trading());
    match (seen.pause_in_doubt(), switch) {
        (_, Some((step, _))) if !step.uses.pauses_trading() => Vec::new(),
        (Some(warning), _) => vec![warning],
        (None, Some((step, _))) => vec![format!(
            "NOT PAUSED is how the bot may come back: step `{}` pauses it before the restart, no step after that does \
             (`bot.pause_trading`), and {}",
            step.id,
            seen.describe_missing_promise()
        )],
        (None, None) => Vec::new(),
    }
}

/// Whether a step runs, as far as that can be told.
fn may_run(plan: &PlannedStepView) -> bool {
    plan.runs || plan.forecast == WorkflowForecast::Unknown
}
