//! Routes of workflows and artifacts.
#![expect(unused_qualifications, reason = "utoipa's macro repeats the query types of handlers")]

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use utoipa::{IntoParams, ToSchema};

use super::handle::{StartedRun, Workflows};
use super::run::WorkflowRunState;
use super::run_list::{RunFilter, RunPageView};
use super::views::{WorkflowListView, WorkflowPlanView, WorkflowRunView, WorkflowView};
use crate::operations_log::StoredActor;
use botops_core::error::{Code, Error};
use botops_http::{self, Actor, FeatureRoutes, IdempotencyKey, Json, Path, Query, json_with_status, routes};

/// Runs of a page when the request names no `limit`.
const PAGE: u32 = 50;
const PAGE_MAX: u32 = 200;

/// The body of an execution.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExecuteWorkflowRequest {
    /// Parameters that fit the workflow's schema; the defaults when absent.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"samples": 1}))]
    params: Value,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ExecuteWorkflowQuery {
    /// Return what would happen, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct RunWaitQuery {
    /// Answer as soon as something has happened, at the latest after this time, such as `30s`; at most 5 minutes.
    wait: Option<String>,
    /// Wait for an event with a number above this `seq`; for any new one when absent.
    after_seq: Option<u64>,
    /// `ended`: answer when the run has ended, and not at each of its steps. Only with `wait`, in place of `after_seq`.
    #[param(inline)]
    until: Option<RunUntil>,
}

/// What a request for a run waits for, where it is not the next event.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RunUntil {
    /// Its state is final.
    Ended,
}

impl RunWaitQuery {
    /// The number above which an event is waited for; `None` for any new one.
    fn awaited_seq(&self) -> Result<Option<u64>, Error> {
        match (self.until, self.after_seq, &self.wait) {
            (None, after, _) => Ok(after),
            // No event has a number above that one: what is left to wait for is the end.
            (Some(RunUntil::Ended), None, Some(_)) => Ok(Some(u64::MAX)),
            (Some(RunUntil::Ended), Some(after), _) => Err(Error::new(Code::ArgumentInvalid)
                .detail("`until=ended` waits for the end, and does not go with `after_seq`")
                .field("?after_seq", after, "left out")),
            (Some(RunUntil::Ended), None, None) => Err(Error::new(Code::ArgumentInvalid)
                .detail("`until` says what `wait` waits for")
                .field("?wait", Value::Null, "how long to wait, such as 30s or 5m")),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct WorkflowRunsQuery {
    /// Return runs older than this one: `next` of the page before.
    after: Option<String>,
    /// Runs of a page at most; 50 when absent.
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, PAGE_MAX>")]
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct AllRunsQuery {
    /// Only runs in these states, separated by commas: `queued`, `running`, `waiting`, `cancelling`, `undoing`,
    /// `succeeded`, `failed`, `rolled_back`, `failed_after_pivot`, `cancelled` or `needs_attention`.
    #[param(example = "failed,needs_attention")]
    state: Option<String>,
    /// Only runs of this workflow.
    #[param(example = "restart-bot")]
    workflow: Option<String>,
    /// Return runs older than this one: `next` of the page before.
    after: Option<String>,
    /// Runs of a page at most; 50 when absent.
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, PAGE_MAX>")]
    limit: Option<u32>,
}

/// A run that was started or found.
#[derive(Debug, Serialize, ToSchema)]
struct ExecutedRunView {
    /// The state of the run.
    #[serde(flatten)]
    run: WorkflowRunView,
    /// Whether the same request came before; the run is the one it started.
    replayed: bool,
    /// Whether a run with the same parameters was in progress, which is this one.
    joined: bool,
}

/// The routes of workflows and artifacts.
pub fn routes() -> FeatureRoutes<Workflows> {
    FeatureRoutes::new([
        routes!(list_workflows.refuses(StoreUnavailable)),
        routes!(list_all_workflow_runs.refuses(WorkflowUnknown, StoreUnavailable)),
        routes!(get_workflow.refuses(WorkflowUnknown, StoreUnavailable)),
        routes!(execute_workflow.refuses(
            WorkflowUnknown,
            WorkflowConflict,
            WorkflowParamsInvalid,
            WorkflowQueueFull,
            BotNotCapable,
            SupervisorMissing,
            StoreUnavailable,
            Stopping
        )),
        routes!(get_workflow_status.refuses(WorkflowUnknown, WorkflowRunUnknown, StoreUnavailable)),
        routes!(list_workflow_runs.refuses(WorkflowUnknown, StoreUnavailable)),
        routes!(get_workflow_run.refuses(WorkflowRunUnknown, StoreUnavailable)),
        routes!(cancel_workflow_run.refuses(
            WorkflowRunUnknown,
            WorkflowRunOver,
            WorkflowPastPivot,
            StoreUnavailable
        )),
        routes!(get_artifact.refuses(ArtifactUnknown)),
    ])
}

/// All workflows: what they do, their parameters, their success ratio
#[utoipa::path(get, path = "/api/v1/workflows", tag = "workflows", security(("api_key" = ["read"])),
    responses((status = 200, description = "The list, with faults of files that cannot be used", body = WorkflowListView,
        example = json!({"items": [{"workflow_id": "check-health", "title": "Full health check with a verdict",
            "description": null, "risk": "read", "params": {"type": "object", "additionalProperties": false,
            "properties": {"samples": {"type": "integer", "minimum": 1, "maximum": 30, "default": 3}}},
            "on_conflict": "join", "timeout_s": 60, "origin": "shipped", "definition_sha256": "3fa9…",
            "success_rate": 1.0, "counted": 12, "succeeded": 12, "cancelled": 0, "duration_p50_ms": 2100,
            "duration_p95_ms": 2400, "findings": []}], "next": null, "omitted": 0, "findings": []}))))]
async fn list_workflows(State(workflows): State<Workflows>) -> Result<Response, Error> {
    Ok(botops_http::json(&workflows.list_workflows().await?))
}

/// One workflow with its steps, its parameters and its newest runs
#[utoipa::path(get, path = "/api/v1/workflows/{id}", tag = "workflows", security(("api_key" = ["read"])),
    params(("id" = String, Path, description = "The workflow's id", example = "check-health")),
    responses((status = 200, description = "The workflow", body = WorkflowView,
        example = json!({"workflow_id": "restart-bot", "title": "Restart the bot without losing orders or config",
            "risk": "disruptive", "params": {"type": "object"}, "steps": [{"step": "pause",
            "uses": "bot.pause_trading", "says": "no new positions", "class": "mutate",
            "undo": "bot.resume_trading", "pivot": false}], "last_runs": []}))))]
async fn get_workflow(State(workflows): State<Workflows>, Path(id): Path<String>) -> Result<Response, Error> {
    Ok(botops_http::json(&workflows.get_workflow(&id).await?))
}

/// Run a workflow
///
/// Answers as soon as the run is durable; it goes on by itself, also after a restart of botops. `Location` names the
/// run. The same `Idempotency-Key` again returns the same run. What a step is known to need and is not there (a verb that
/// the bot does not offer, a supervisor) is refused here, before anything is done. With `?dry_run=true` nothing is done and
/// each step's output is predicted; `impossible` then names what would be refused.
#[utoipa::path(post, path = "/api/v1/workflows/{id}/execute", tag = "workflows",
    security(("api_key" = ["operate"])),
    params(("id" = String, Path, description = "The workflow's id", example = "check-health"), ExecuteWorkflowQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "The same key again returns the same run (24 h)")),
    request_body = ExecuteWorkflowRequest,
    responses((status = 202, description = "The run has begun, or waits its turn", body = ExecutedRunView,
            headers(("Location" = String, description = "The run's own path")),
            example = json!({"run_id": "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10", "workflow_id": "check-health",
                "state": "running", "terminal": false, "progress": {"done": 0, "total": 3, "percent": 0,
                "current_step": null}, "steps": [], "failed_step": null, "error": null, "outputs": null,
                "next_poll_ms": 500, "seq": 2, "replayed": false, "joined": false})), (status = 200, description = "A dry run (`WorkflowPlanView`), or the run under way that was joined", body = WorkflowPlanView,
            example = json!({"workflow_id": "check-health", "dry_run": true, "risk": "read", "forecast": "pass",
                "steps": [], "predicted_outputs": {"status": "healthy", "reasons": []}, "locks": []}))))]
async fn execute_workflow(
    State(workflows): State<Workflows>,
    actor: Actor,
    Path(id): Path<String>,
    Query(query): Query<ExecuteWorkflowQuery>,
    IdempotencyKey(claim): IdempotencyKey,
    Json(request): Json<Option<ExecuteWorkflowRequest>>,
) -> Result<Response, Error> {
    let params = request.unwrap_or_default().params;
    if query.dry_run {
        return Ok(botops_http::json(&workflows.plan_run(&id, params).await?));
    }
    let started = workflows
        .execute_workflow(&id, params, StoredActor::from(&actor), claim.map(|claim| claim.id))
        .await?;
    let (status, run, replayed, joined) = match started {
        StartedRun::New(run) => (StatusCode::ACCEPTED, run, false, false),
        StartedRun::Replayed(run) => (StatusCode::ACCEPTED, run, true, false),
        StartedRun::Joined(run) => (StatusCode::OK, run, false, true),
    };
    let location = format!("/api/v1/workflows/runs/{}", run.run_id);
    let mut response = json_with_status(status, &ExecutedRunView { run, replayed, joined });
    let location =
        HeaderValue::from_str(&location).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The state of a workflow's newest run
#[utoipa::path(get, path = "/api/v1/workflows/{id}/status", tag = "workflows", security(("api_key" = ["read"])),
    params(("id" = String, Path, description = "The workflow's id", example = "check-health")),
    responses((status = 200, description = "Its newest run", body = WorkflowRunView, example = json!(finished_run_example()))))]
async fn get_workflow_status(
    State(workflows): State<Workflows>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    Ok(botops_http::json(&workflows.latest_run(&id).await?))
}

/// Runs of a workflow, newest first
#[utoipa::path(get, path = "/api/v1/workflows/{id}/runs", tag = "workflows", security(("api_key" = ["read"])),
    params(("id" = String, Path, description = "The workflow's id", example = "check-health"), WorkflowRunsQuery),
    responses((status = 200, description = "A page of runs", body = RunPageView,
        example = json!({"items": [{"run_id": "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10", "workflow_id": "check-health",
            "state": "succeeded", "terminal": true, "created_at": "2026-03-02T15:00:00Z",
            "updated_at": "2026-03-02T15:00:02Z", "actor": "operator"}], "next": null, "omitted": 0}))))]
async fn list_workflow_runs(
    State(workflows): State<Workflows>,
    Path(id): Path<String>,
    Query(query): Query<WorkflowRunsQuery>,
) -> Result<Response, Error> {
    let limit = page_limit(query.limit)?;
    Ok(botops_http::json(&workflows.list_runs(&id, query.after, limit).await?))
}

/// How many runs a page has, as asked for.
fn page_limit(limit: Option<u32>) -> Result<u32, Error> {
    match limit {
        None => Ok(PAGE),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(limit) => Err(Error::new(Code::ArgumentInvalid).detail("`limit` is out of range").field(
            "?limit",
            limit,
            format!("a whole number from 1 to {PAGE_MAX}"),
        )),
    }
}

/// Runs of all workflows, newest first
#[utoipa::path(get, path = "/api/v1/workflows/runs", tag = "workflows", security(("api_key" = ["read"])),
    params(AllRunsQuery),
    responses((status = 200, description = "A page of runs", body = RunPageView,
        example = json!({"items": [{"run_id": "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10", "workflow_id": "update-targets",
            "state": "failed", "terminal": true, "created_at": "2026-03-02T15:00:00Z",
            "updated_at": "2026-03-02T15:00:02Z", "actor": "operator"}], "next": null, "omitted": 0}))))]
async fn list_all_workflow_runs(
    State(workflows): State<Workflows>,
    Query(query): Query<AllRunsQuery>,
) -> Result<Response, Error> {
    let limit = page_limit(query.limit)?;
    let states = query.state.as_deref().map(parse_states).transpose()?.unwrap_or_default();
    let wanted = RunFilter { workflow: query.workflow, states };
    Ok(botops_http::json(&workflows.list_all_runs(wanted, query.after, limit).await?))
}

/// States of runs by their names, separated by commas.
fn parse_states(text: &str) -> Result<Vec<WorkflowRunState>, Error> {
    let known = |word: &str| {
        WorkflowRunState::parse(word).ok_or_else(|| {
            let names: Vec<&str> = WorkflowRunState::all().map(WorkflowRunState::as_str).collect();
            Error::new(Code::ArgumentInvalid).detail("there is no such state of a run").field(
                "?state",
                botops_core::text::clean(word, 40),
                format!("of {}, separated by commas", names.join(", ")),
            )
        })
    };
    text.split(',').map(str::trim).map(known).collect()
}

/// The state of a run, now or as soon as something has happened
#[utoipa::path(get, path = "/api/v1/workflows/runs/{run}", tag = "workflows", security(("api_key" = ["read"])),
    params(("run" = String, Path, description = "The run's id", example = "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10"),
        RunWaitQuery),
    responses((status = 200, description = "The run", body = WorkflowRunView, example = json!(finished_run_example()))))]
async fn get_workflow_run(
    State(workflows): State<Workflows>,
    Path(run): Path<String>,
    Query(query): Query<RunWaitQuery>,
) -> Result<Response, Error> {
    let awaited = query.awaited_seq()?;
    let Some(wait) = query.wait else { return Ok(botops_http::json(&workflows.get_run(&run).await?)) };
    let wait = botops_http::parse_wait(&wait)?;
    let after = match awaited {
        Some(after) => after,
        None => workflows.get_run(&run).await?.seq,
    };
    Ok(botops_http::json(&workflows.wait_for_run(&run, after, wait).await?))
}

/// Cancel a run
///
/// The run ends its step, undoes what it did, and is then `cancelled`. Past its pivot a run only goes forward.
#[utoipa::path(post, path = "/api/v1/workflows/runs/{run}/cancel", tag = "workflows",
    security(("api_key" = ["operate"])),
    params(("run" = String, Path, description = "The run's id", example = "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10")),
    responses((status = 202, description = "It will stop", body = WorkflowRunView,
            example = json!({"run_id": "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10", "workflow_id": "restart-bot",
                "state": "cancelling", "terminal": false, "next_poll_ms": 500}))))]
async fn cancel_workflow_run(
    State(workflows): State<Workflows>,
    actor: Actor,
    Path(run): Path<String>,
) -> Result<Response, Error> {
    let view = workflows.cancel_run(&run, &StoredActor::from(&actor)).await?;
    Ok(json_with_status(StatusCode::ACCEPTED, &view))
}

/// A file that a run left behind, such as a log bundle
#[utoipa::path(get, path = "/api/v1/artifacts/{id}", tag = "workflows", security(("api_key" = ["read"])),
    params(("id" = String, Path, description = "The artifact's id, as the run put it out",
        example = "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10-collect")),
    responses((status = 200, description = "The file: tar, compressed with zstd", content_type = "application/zstd")))]
async fn get_artifact(State(workflows): State<Workflows>, Path(id): Path<String>) -> Result<Response, Error> {
    let (file, length) = workflows.open_artifact(&id)?;
    let chunks = stream::unfold(tokio::fs::File::from_std(file), |mut file| async move {
        let mut chunk = vec![0; 64 * 1024];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok(Bytes::from(chunk)), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zstd"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // The name was checked: it consists of letters, digits and `-`, so it needs no escaping.
    let disposition = format!("attachment; filename=\"{id}.tar.zst\"");
    let disposition =
        HeaderValue::from_str(&disposition).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}

/// A finished run, as an example in the API document.
fn finished_run_example() -> Value {
    json!({
        "run_id": "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10", "workflow_id": "check-health", "state": "succeeded",
        "terminal": true, "progress": {"done": 3, "total": 3, "percent": 100, "current_step": null},
        "steps": [{"step": "bot", "uses": "bot.status", "state": "succeeded", "attempts": 1}],
        "failed_step": null, "error": null, "outputs": {"status": "healthy", "reasons": []}, "next_poll_ms": null,
        "seq": 9, "params": {"samples": 3}, "actor": "operator",
    })
}
