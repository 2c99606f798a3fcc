//! The door: who may begin a run, who waits, who is told to come back, and who may stop one.
//!
//! Each decision is made inside one transaction of the store's only writer, so nobody else decides at the same time.

use data_encoding::HEXLOWER;
use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::definition::{OnConflict, Workflow};
use super::journal::{Fact, Folded, RunState, Written, write_fact};
use super::run::is_past_pivot;
use super::{catalogue, view};
use crate::operations_log::{self, NewOperation, OperationAdmission, OperationKind, OperationRow, now_ms};
use crate::store::StoreAbort;
use botops_core::error::{Code, Error};

/// What the store said to a request to execute.
pub(super) enum Admitted {
    New(OperationRow),
    Replayed(OperationRow),
    Joined(OperationRow),
}

/// Decides about a request inside one transaction: nobody else decides at the same time.
pub(super) fn admit(
    connection: &Connection,
    mut new: NewOperation,
    workflow: &Workflow,
) -> Result<Admitted, StoreAbort> {
    if let Some((key, digest)) = &new.idempotency
        && let Some(op) = operations_log::replay(connection, &new.actor.key_id, key, digest)?
    {
        return Ok(Admitted::Replayed(op));
    }
    let policy = &workflow.definition.policy;
    let live = operations_log::live(connection, OperationKind::Workflow)?;
    let siblings: Vec<&OperationRow> = live.iter().filter(|op| op.name == new.name).collect();
    if policy.on_conflict == OnConflict::Join
        && let Some(same) = siblings.iter().find(|op| op.params == new.params && op.def_sha == new.def_sha)
    {
        return Ok(Admitted::Joined((*same).clone()));
    }
    if new.lock_key.is_none() && siblings.len() >= policy.max_parallel as usize {
        let detail = format!("{} runs of `{}` are under way, as many as it allows", siblings.len(), new.name);
        return Err(Error::new(Code::WorkflowQueueFull).detail(detail).into());
    }
    let queued = siblings.iter().filter(|op| op.state == RunState::Queued.as_str()).count();
    let wanted = new.lock_key.clone();
    let holder = match &wanted {
        Some(lock) => operations_log::holder(connection, lock)?,
        None => None,
    };
    if policy.on_conflict == OnConflict::Queue && (holder.is_some() || queued > 0) {
        if queued >= policy.queue_max as usize {
            let detail = format!("{queued} runs of `{}` wait already", new.name);
            return Err(Error::new(Code::WorkflowQueueFull).detail(detail).into());
        }
        new.lock_key = None;
        RunState::Queued.as_str().clone_into(&mut new.state);
    }
    catalogue::pin(connection, "", workflow)?;
    match operations_log::admit(connection, &new)? {
        OperationAdmission::Replay(op) => Ok(Admitted::Replayed(*op)),
        OperationAdmission::Held(holder) => Err(held(&holder).into()),
        OperationAdmission::Admitted => {
            if new.state == RunState::Running.as_str() {
                begin(connection, &new.op_id, workflow)?;
            }
            let op =
                operations_log::load(connection, &new.op_id)?.ok_or_else(|| Error::new(Code::Internal))?;
            Ok(Admitted::New(op))
        }
    }
}

/// The run's clock starts.
fn begin(connection: &Connection, op_id: &str, workflow: &Workflow) -> rusqlite::Result<()> {
    let limit = i64::try_from(workflow.definition.policy.timeout_s).unwrap_or(3_600) * 1_000;
    write_fact(connection, op_id, 0, &Fact::Started { deadline_ms: now_ms() + limit }).map(|_| ())
}

fn held(holder: &OperationRow) -> Error {
    let error = Error::new(Code::WorkflowConflict)
        .detail(format!("`{}` ({}) holds the bot and is {}", holder.name, holder.op_id, holder.state))
        .context("holder", holder.op_id.clone())
        .context("holder_kind", holder.kind.as_str())
        .context("holder_name", holder.name.clone())
        .context("holder_state", holder.state.clone())
        .context("holder_since", view::time(holder.created_ms).to_rfc3339());
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

/// What was written, for those who are told.
pub(super) type Told = Vec<(operations_log::OperationEvent, Fact, RunState)>;

/// Puts the wish to stop into the journal, if there is anything left to stop.
pub(super) fn ask_to_stop(
    connection: &Connection,
    op_id: &str,
    workflow: &Workflow,
    by: String,
) -> Result<Told, StoreAbort> {
    let events = operations_log::events(connection, op_id, 0)?;
    let folded = Folded::of(workflow, &events);
    let over = |state: RunState| Error::new(Code::WorkflowRunOver).context("state", state.as_str());
    if folded.state.is_terminal() {
        return Err(over(folded.state).context("run_id", op_id).into());
    }
    if folded.cancel_by.is_some() || folded.turned_back.is_some() {
        return Ok(Vec::new());
    }
    if is_past_pivot(workflow, &folded) {
        return Err(Error::new(Code::WorkflowPastPivot).context("run_id", op_id).into());
    }
    let mut facts = vec![Fact::CancelRequested { by }];
    if folded.state == RunState::Queued {
        let error = None;
        facts.push(Fact::Finished { state: RunState::Cancelled, outputs: None, error });
    }
    let mut told = Vec::new();
    for fact in facts {
        let written = write_fact(connection, op_id, folded.seq, &fact)?;
        if let Some(Written { mut events, state }) = written
            && let Some(own) = events.pop()
        {
            told.push((own, fact, state));
        }
    }
    Ok(told)
}

/// A digest that does not depend on the order of members.
pub(super) fn digest(value: &Value) -> String {
    fn canonical(value: &Value, into: &mut String) {
        match value {
            Value::Object(members) => {
                let sorted: std::collections::BTreeMap<_, _> = members.iter().collect();
                into.push('{');
                for (name, member) in sorted {
                    into.push_str(&Value::String(name.clone()).to_string());
                    into.push(':');
                    canonical(member, into);
                    into.push(',');
                }
                into.push('}');
            }
            Value::Array(items) => {
                into.push('[');
                for item in items {
                    canonical(item, into);
                    into.push(',');
                }
                into.push(']');
            }
            plain => into.push_str(&plain.to_string()),
        }
    }
    let mut text = String::new();
    canonical(value, &mut text);
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    HEXLOWER.encode(&digest)
}
