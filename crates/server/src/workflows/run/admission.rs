//! Admission: whether a run begins, waits or is refused, and whether a run can be stopped.
//!
//! Each decision is made inside one transaction of the store's only writer, so no two decisions overlap.

use rusqlite::Connection;

use super::facts::RunFact;
use super::journal::{WrittenFact, insert_fact};
use super::progress::RunProgress;
use super::state::WorkflowRunState;
use crate::operations_log::{
    self, NewOperation, OperationAdmission, OperationEvent, OperationKind, OperationRow,
};
use crate::store::StoreAbort;
use crate::workflows::definition::{CheckedWorkflow, WorkflowOnConflict, pin_definition};
use botops_core::error::{Code, Error};

/// The decision about a request to execute.
pub(crate) enum RunAdmission {
    /// The row, and the events that it was stored with.
    New(OperationRow, Vec<OperationEvent>),
    Replayed(OperationRow),
    Joined(OperationRow),
}

/// Decides about a request inside one transaction, so no two decisions overlap.
pub(crate) fn admit_run(
    connection: &Connection,
    mut new: NewOperation,
    workflow: &CheckedWorkflow,
) -> Result<RunAdmission, StoreAbort> {
    if let Some(begun_by) = &new.begun_by
        && let Some(op) = operations_log::begun_operation(connection, &new.actor.key_id, begun_by)?
    {
        return Ok(RunAdmission::Replayed(op));
    }
    let policy = &workflow.definition.policy;
    let live = operations_log::live(connection, OperationKind::Workflow)?;
    let siblings: Vec<&OperationRow> = live.iter().filter(|op| op.name == new.name).collect();
    if policy.on_conflict == WorkflowOnConflict::Join
        && let Some(same) = siblings.iter().find(|op| op.params == new.params && op.def_sha == new.def_sha)
    {
        return Ok(RunAdmission::Joined((*same).clone()));
    }
    if new.lock_key.is_none() && siblings.len() >= policy.max_parallel as usize {
        let detail = format!("{} runs of `{}` are under way, as many as it allows", siblings.len(), new.name);
        return Err(Error::new(Code::WorkflowQueueFull).detail(detail).into());
    }
    let queued = siblings.iter().filter(|op| op.state == WorkflowRunState::Queued.as_str()).count();
    let wanted = new.lock_key.clone();
    let holder = match &wanted {
        Some(lock) => operations_log::holder(connection, lock)?,
        None => None,
    };
    if policy.on_conflict == WorkflowOnConflict::Queue && (holder.is_some() || queued > 0) {
        if queued >= policy.queue_max as usize {
            let detail = format!("{queued} runs of `{}` wait already", new.name);
            return Err(Error::new(Code::WorkflowQueueFull).detail(detail).into());
        }
        new.lock_key = None;
        WorkflowRunState::Queued.as_str().clone_into(&mut new.state);
    }
    pin_definition(connection, "", workflow)?;
    match operations_log::admit(connection, &new)? {
        OperationAdmission::Replay(op) => Ok(RunAdmission::Replayed(*op)),
        OperationAdmission::Held(holder) => Err(lock_held(&holder).into()),
        OperationAdmission::Admitted => {
            if new.state == WorkflowRunState::Running.as_str() {
                start_clock(connection, &new.op_id, workflow)?;
            }
            let op =
                operations_log::load(connection, &new.op_id)?.ok_or_else(|| Error::new(Code::Internal))?;
            Ok(RunAdmission::New(op, operations_log::events(connection, &new.op_id, 0)?))
        }
    }
}

/// Sets the run's deadline, which counts from the moment it gets its lock.
fn start_clock(connection: &Connection, op_id: &str, workflow: &CheckedWorkflow) -> rusqlite::Result<()> {
    insert_fact(connection, op_id, 0, &RunFact::started(workflow.time_limit())).map(|_| ())
}

fn lock_held(holder: &OperationRow) -> Error {
    let error = Error::new(Code::WorkflowConflict)
        .detail(format!("`{}` ({}) holds the bot and is {}", holder.name, holder.op_id, holder.state))
        .context("holder", holder.op_id.clone())
        .context("holder_kind", holder.kind.as_str())
        .context("holder_name", holder.name.clone())
        .context("holder_state", holder.state.clone())
        .context(
            "holder_since",
            chrono::DateTime::from_timestamp_millis(holder.created_ms).unwrap_or_default().to_rfc3339(),
        );
    match holder.kind {
        OperationKind::Workflow => {
            let path = format!("/api/v1/workflows/runs/{}?wait=30s", holder.op_id);
            error.next("get_workflow_run", "GET", path, None, Some("read"))
        }
        OperationKind::Config => {
            let path = format!("/api/v1/config/txns/{}", holder.op_id);
            error.next("get_config_txn", "GET", path, None, Some("read"))
        }
    }
}

/// Records that a run should stop, and returns the written facts, to be published; none when it was told before.
/// Refuses for a run that is over or past its pivot.
pub(crate) fn request_cancel(
    connection: &Connection,
    op_id: &str,
    workflow: &CheckedWorkflow,
    by: String,
) -> Result<Vec<(OperationEvent, RunFact, WorkflowRunState)>, StoreAbort> {
    let events = operations_log::events(connection, op_id, 0)?;
    let progress = RunProgress::of(workflow, &events);
    let over = |state: WorkflowRunState| Error::new(Code::WorkflowRunOver).context("state", state.as_str());
    if progress.state.is_terminal() {
        return Err(over(progress.state).context("run_id", op_id).into());
    }
    if progress.cancel_by.is_some() || progress.turned_back.is_some() {
        return Ok(Vec::new());
    }
    if progress.is_past_pivot(workflow) {
        return Err(Error::new(Code::WorkflowPastPivot).context("run_id", op_id).into());
    }
    let mut facts = vec![RunFact::CancelRequested { by }];
    if progress.state == WorkflowRunState::Queued {
        let error = None;
        facts.push(RunFact::Finished { state: WorkflowRunState::Cancelled, outputs: None, error });
    }
    let mut all = Vec::new();
    for fact in facts {
        let written = insert_fact(connection, op_id, progress.seq, &fact)?;
        if let Some(WrittenFact { mut events, state }) = written
            && let Some(own) = events.pop()
        {
            all.push((own, fact, state));
        }
    }
    Ok(all)
}
