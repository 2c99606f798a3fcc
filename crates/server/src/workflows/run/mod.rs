//! Runs: the journal of their facts, the loop that drives each one, locks and queue, and resuming them after a
//! restart.

mod admission;
mod context;
mod dry_run;
mod ended_commands;
mod execution_log;
mod facts;
mod failure;
mod journal;
mod launcher;
mod lost_pause;
mod missing_needs;
mod next_move;
mod posture;
mod progress;
mod queue;
mod resume;
mod retry;
mod run_loop;
mod state;
mod statistics;
mod step;
mod undo;
mod until;

pub(crate) use admission::{RunAdmission, admit_run, request_cancel};
pub(crate) use dry_run::{PlannedStepView, WorkflowForecast, plan_steps, predict_outputs};
pub(crate) use ended_commands::record_ended_commands;
pub(crate) use execution_log::ExecutionLog;
pub(crate) use failure::REASON_MAX;
pub(crate) use journal::RunJournal;
pub(crate) use launcher::RunLauncher;
pub(crate) use lost_pause::warn_of_lost_pause;
pub(crate) use missing_needs::{
    MissingNeedView, call_that_works, code_of_missing, describe_default_lack, describe_missing_needs,
    find_missing_needs, find_workable_params, refuse_missing_needs,
};
pub(crate) use progress::{RunInterruption, RunProgress, StepProgress};
pub(crate) use queue::RunQueue;
pub(crate) use resume::resume_runs;
pub(crate) use state::{WorkflowRunError, WorkflowRunState, WorkflowStepState};
pub(crate) use statistics::{RunMetrics, WorkflowStats};
