//! Resuming the runs of an earlier process, oldest first.

use super::launcher::RunLauncher;
use super::progress::RunProgress;
use super::queue::RunQueue;
use super::state::WorkflowRunState;
use crate::operations_log::{self, OperationKind};
use crate::workflows::definition::WorkflowLibrary;
use botops_core::error::{Code, Error};

use std::sync::Arc;

/// Launches every run that is not over, and writes the log lines that a crash prevented. To be called before any new
/// run can begin.
///
/// # Errors
/// [`Code::StoreUnavailable`].
pub(crate) async fn resume_runs(
    launcher: &Arc<RunLauncher>,
    queue: &RunQueue,
    library: &WorkflowLibrary,
) -> Result<(), Error> {
    let journal = launcher.journal();
    let live = journal
        .store()
        .read(|connection| Ok(operations_log::live(connection, OperationKind::Workflow)?))
        .await?;
    if live.is_empty() {
        return Ok(());
    }
    let logged = journal.log().newest_seqs();
    for op in live {
        let Ok(workflow) = library.pinned_definition(&op.def_sha).await else {
            tracing::error!(run.id = op.op_id, "the definition of run {} is gone; it cannot go on", op.op_id);
            continue;
        };
        let (id, definition) = (op.op_id.clone(), workflow.clone());
        let (op, progress, events) = journal
            .store()
            .write(move |connection| {
                let events = operations_log::events(connection, &id, 0)?;
                let progress = RunProgress::of(&definition, &events);
                if progress.state != WorkflowRunState::Queued && !progress.suspended {
                    operations_log::count_recovery(connection, &id)?;
                }
                let op = operations_log::load(connection, &id)?.ok_or_else(|| Error::new(Code::Internal))?;
                Ok((op, progress, events))
            })
            .await?;
        let seen = logged.get(&op.op_id).copied().unwrap_or_default();
        let mut so_far = RunProgress::new(&workflow);
        for event in &events {
            let Some(fact) = so_far.apply_event(event) else { continue };
            if event.seq > seen {
                journal.log().write_line(&op, event.seq, event.at_ms, &fact, so_far.state);
            }
        }
        if progress.state == WorkflowRunState::Queued {
            queue.add_run();
        } else {
            tracing::info!(run.id = op.op_id, "run {} of {} is taken up again", op.op_id, op.name);
            launcher.launch_run(op, workflow, progress);
        }
    }
    Ok(())
}
