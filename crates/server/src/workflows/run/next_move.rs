//! The next move of a run, derived from its facts.
//!
//! Pure: the same facts at the same time give the same answer, after a crash as well.

use std::time::Duration;

use super::progress::{RunProgress, StepProgress};
use super::state::{TurnBackReason, WorkflowRunState, WorkflowStepState};
use crate::workflows::definition::{CheckedWorkflow, StepOnError, UndoRule};

/// What a run has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextMove {
    /// Begin or continue the step at this index.
    Step(usize),
    /// Stop going forward and undo, for this reason.
    TurnBack(TurnBackReason),
    /// Undo the step at this index.
    Undo(usize),
    /// The run failed past its pivot: bring the bot into the safe posture.
    Posture,
    /// End the run in this state.
    Finish(WorkflowRunState),
}

impl NextMove {
    /// The next move of a run with these facts and this much time left.
    pub(crate) fn of(workflow: &CheckedWorkflow, progress: &RunProgress, time_left: Duration) -> Self {
        let steps = &workflow.definition.steps;
        if progress.turned_back.is_some() {
            let last = (0..steps.len()).rev().find(|index| needs_undo(workflow, progress, *index));
            return last.map_or_else(|| Self::Finish(state_after_undo(workflow, progress)), Self::Undo);
        }
        let open = [WorkflowStepState::Pending, WorkflowStepState::Running, WorkflowStepState::Retrying];
        let next = progress.steps.iter().position(|step| open.contains(&step.state));
        let failed = steps.iter().zip(&progress.steps).any(|(step, of_step)| match of_step.state {
            WorkflowStepState::Failed => step.on_error == StepOnError::Stop,
            WorkflowStepState::Unknown => true,
            _ => false,
        });
        let Some(next) = next.filter(|_| !failed) else {
            if !failed {
                return Self::Finish(WorkflowRunState::Succeeded);
            }
            return Self::after_failure(workflow, progress, TurnBackReason::Failed);
        };
        // A step whose action may be taking effect comes to its end before anything else happens.
        let none_in_flight = progress.steps.get(next).is_some_and(|step| step.in_flight.is_none());
        if none_in_flight && progress.cancel_by.is_some() && !progress.is_past_pivot(workflow) {
            return Self::after_failure(workflow, progress, TurnBackReason::Cancelled);
        }
        if none_in_flight && time_left.is_zero() {
            return Self::after_failure(workflow, progress, TurnBackReason::Deadline);
        }
        Self::Step(next)
    }

    fn after_failure(workflow: &CheckedWorkflow, progress: &RunProgress, reason: TurnBackReason) -> Self {
        if !progress.is_past_pivot(workflow) {
            let cancelled = progress.cancel_by.is_some();
            return Self::TurnBack(if cancelled { TurnBackReason::Cancelled } else { reason });
        }
        let posture = workflow.definition.on_failure_after_pivot.as_ref();
        if posture.is_some() && progress.posture.is_none() {
            return Self::Posture;
        }
        let in_doubt = unknown_change(workflow, progress).is_some();
        let unsure = in_doubt || matches!(progress.posture, Some(Err(_)));
        Self::Finish(if unsure {
            WorkflowRunState::NeedsAttention
        } else {
            WorkflowRunState::FailedAfterPivot
        })
    }
}

fn needs_undo(workflow: &CheckedWorkflow, progress: &RunProgress, index: usize) -> bool {
    let (Some(step), Some(of_step)) = (workflow.definition.steps.get(index), progress.steps.get(index))
    else {
        return false;
    };
    let has_undo = matches!(step.undo, Some(UndoRule::With(_)));
    has_undo && (of_step.acted() || of_step.in_doubt) && !of_step.undo_ended
}

/// A changing step that has no undo and whose effect is not known.
fn unknown_change<'a>(workflow: &CheckedWorkflow, progress: &'a RunProgress) -> Option<&'a StepProgress> {
    let mut steps = workflow.definition.steps.iter().zip(&progress.steps);
    let unknown = steps
        .find(|(step, of_step)| step.uses.spec().changes() && of_step.state == WorkflowStepState::Unknown);
    unknown.map(|(_, of_step)| of_step)
}

fn state_after_undo(workflow: &CheckedWorkflow, progress: &RunProgress) -> WorkflowRunState {
    let any = |state: WorkflowStepState| progress.steps.iter().any(|step| step.state == state);
    let in_doubt = unknown_change(workflow, progress).is_some_and(|step| !step.undo_ended);
    if any(WorkflowStepState::UndoFailed) || in_doubt {
        return WorkflowRunState::NeedsAttention;
    }
    if progress.turned_back == Some(TurnBackReason::Cancelled) {
        return WorkflowRunState::Cancelled;
    }
    if any(WorkflowStepState::Undone) { WorkflowRunState::RolledBack } else { WorkflowRunState::Failed }
}
