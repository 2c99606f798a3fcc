//! Workflow runs as MCP tasks: the run's id is the task's id, and a task is read from the run's journal in the store.
//!
//! A task therefore survives a restart of botops, and a client without support for tasks follows the same run with
//! `list_workflows`.

use axum::http::Method;
use rmcp::ErrorData;
use rmcp::model::{CreateTaskResult, DetailedTask, GetTaskResult, JsonObject, Task, TaskPayload, TaskStatus};
use serde_json::{Value, json};

use super::results::{completed_result, rpc_error};
use botops_http::{Actor, InternalCall, InternalCaller};

/// The task for the run in this answer; `None` when the answer is not a run.
pub(super) fn begun_task(answer: &Value) -> Option<CreateTaskResult> {
    Some(CreateTaskResult::new(task_of(answer)?))
}

fn task_of(run: &Value) -> Option<Task> {
    let id = run["run_id"].as_str()?;
    let time = |names: &[&str]| {
        let found = names.iter().find_map(|name| run[*name].as_str());
        found.map_or_else(|| chrono::Utc::now().to_rfc3339(), str::to_owned)
    };
    let begun = time(&["created_at", "started_at"]);
    let steps = run["steps"].as_array().into_iter().flatten();
    let of_steps =
        steps.flat_map(|step| [&step["started_at"], &step["finished_at"]]).filter_map(Value::as_str);
    let moved = match run["finished_at"].as_str().or_else(|| of_steps.max()) {
        Some(moved) => moved.to_owned(),
        None => time(&["started_at", "created_at"]),
    };
    let mut task = Task::new(id, TaskStatus::Working, begun, moved);
    if let Some(state) = run["state"].as_str() {
        task = task.with_status_message(state);
    }
    Some(task.with_poll_interval_ms(run["next_poll_ms"].as_u64().unwrap_or(1_000)))
}

/// Budget of a finished task's result, in tokens. Kept small since a result is sent twice, as text and as structure;
/// what is left out is named with the call that returns it.
const RESULT_TOKENS: usize = 1_000;

/// Reads a run and returns it as a task.
pub(super) async fn read_task(
    inside: &InternalCaller,
    actor: &Actor,
    id: &str,
) -> Result<GetTaskResult, ErrorData> {
    let path = format!("{}?budget_tokens={RESULT_TOKENS}", run_path(id)?);
    let run = inside.call(actor, InternalCall::get(path)).await.map_err(|problem| rpc_error(&problem))?.body;
    let Some(task) = task_of(&run) else {
        return Err(ErrorData::internal_error("the run cannot be read", None));
    };
    Ok(GetTaskResult::new(DetailedTask::new(task, task_payload(&run))))
}

/// The task's payload. A run that failed becomes a completed task whose result is an error, so that the agent sees why.
fn task_payload(run: &Value) -> TaskPayload {
    if run["terminal"] != Value::Bool(true) {
        return TaskPayload::Working;
    }
    if run["state"] == json!("cancelled") {
        return TaskPayload::Cancelled;
    }
    let mut result = completed_result(run.clone());
    result.is_error = Some(run["state"] != json!("succeeded"));
    let result = match serde_json::to_value(result) {
        Ok(Value::Object(result)) => result,
        _ => JsonObject::new(),
    };
    TaskPayload::Completed { result }
}

/// Asks for the run to be cancelled.
pub(super) async fn cancel_task(inside: &InternalCaller, actor: &Actor, id: &str) -> Result<(), ErrorData> {
    let path = format!("{}/cancel", run_path(id)?);
    let call = InternalCall::with_body(Method::POST, path, None);
    inside.call(actor, call).await.map(|_| ()).map_err(|problem| rpc_error(&problem))
}

/// The REST path of a run. An id with other than plain characters is refused as unknown.
fn run_path(id: &str) -> Result<String, ErrorData> {
    let is_plain = !id.is_empty()
        && id.len() <= 64
        && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if is_plain {
        Ok(format!("/api/v1/workflows/runs/{id}"))
    } else {
        Err(ErrorData::invalid_params("there is no such task", None))
    }
}
