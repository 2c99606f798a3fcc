//! What clients see of workflows and runs.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::actions::ActionClass;
use super::definition::{
    CheckedWorkflow, KnownWorkflow, WorkflowCriterion, WorkflowFinding, WorkflowListing, WorkflowOnConflict,
    WorkflowRisk,
};
use super::run::{
    PlannedStepView, RunProgress, StepProgress, WorkflowForecast, WorkflowRunError, WorkflowRunState,
    WorkflowStats, WorkflowStepState, predict_outputs,
};
use crate::operations_log::{self, OperationKind, OperationRow};

/// Runs shown with a workflow.
const LAST_RUNS: u32 = 5;

/// All workflows.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowListView {
    /// By id.
    pub items: Vec<WorkflowBriefView>,
    /// Always `null`: the list is whole.
    pub next: Option<String>,
    /// Always 0.
    pub omitted: u32,
    /// Faults of files that name no usable workflow.
    pub findings: Vec<WorkflowFinding>,
}

/// A workflow in the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowBriefView {
    /// The id to execute it by.
    #[schema(example = "check-health")]
    pub workflow_id: String,
    /// What it does.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// What it may do to the world.
    pub risk: WorkflowRisk,
    /// The JSON Schema of `params`.
    #[schema(value_type = Object)]
    pub params: Value,
    /// What happens when it meets another run.
    pub on_conflict: WorkflowOnConflict,
    /// How long a run may take.
    pub timeout_s: u64,
    /// `shipped`, or `data` for the operator's own.
    #[schema(example = "shipped")]
    pub origin: &'static str,
    /// Hash of its file; a run keeps to the one it began with.
    pub definition_sha256: String,
    /// How well it does.
    #[serde(flatten)]
    pub stats: WorkflowStats,
    /// What its author should know: faults of a newer file that is not used, and warnings.
    pub findings: Vec<WorkflowFinding>,
}

/// A workflow with its steps.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowView {
    /// As in the list.
    #[serde(flatten)]
    pub brief: WorkflowBriefView,
    /// What it does, in order.
    pub steps: Vec<WorkflowStepView>,
    /// Its newest runs, newest first.
    pub last_runs: Vec<RunBriefView>,
}

/// A step of a workflow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowStep)]
pub struct WorkflowStepView {
    /// Its id.
    pub step: String,
    /// Its action.
    pub uses: String,
    /// What the action does.
    pub says: &'static str,
    /// What it touches.
    pub class: ActionClass,
    /// The action that takes it back, `none`, or `null` where there is nothing to take back.
    pub undo: Option<String>,
    /// The point of no return.
    pub pivot: bool,
}

/// A run in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowRunBrief)]
pub struct RunBriefView {
    /// The run's id.
    pub run_id: String,
    /// The workflow's id.
    pub workflow_id: String,
    /// Where it stands.
    pub state: WorkflowRunState,
    /// Whether it is over.
    pub terminal: bool,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Who asked.
    pub actor: String,
}

/// A page of runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowRunPage)]
pub struct RunPageView {
    /// The runs.
    pub items: Vec<RunBriefView>,
    /// What to send as `after` for older ones; `null` at the end.
    pub next: Option<String>,
    /// How many older ones there are beyond this page.
    pub omitted: u32,
}

/// How a run stands.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorkflowRunView {
    /// The run's id.
    pub run_id: String,
    /// The workflow's id.
    #[schema(example = "check-health")]
    pub workflow_id: String,
    /// Where it stands.
    pub state: WorkflowRunState,
    /// Whether it is over: a terminal state never changes.
    pub terminal: bool,
    /// How far it is.
    pub progress: RunProgressView,
    /// Its steps, in order.
    pub steps: Vec<RunStepView>,
    /// The step that made it fail.
    pub failed_step: Option<String>,
    /// Why it failed, and what to do.
    pub error: Option<WorkflowRunError>,
    /// What it put out.
    #[schema(value_type = Object)]
    pub outputs: Value,
    /// When it is worth asking again; `null` when it is over. `?wait=30s&after_seq=` saves asking.
    pub next_poll_ms: Option<u64>,
    /// Facts so far; the cursor for `after_seq`.
    pub seq: u64,
    /// Its parameters, with defaults filled in.
    #[schema(value_type = Object)]
    pub params: Value,
    /// Hash of the definition it runs by.
    pub definition_sha256: String,
    /// Who asked for it.
    pub actor: String,
    /// The request it came with.
    pub request_id: String,
    /// How many runs wait before it, while it is queued.
    pub queue_position: Option<u32>,
    /// How often it was taken up after a crash.
    pub recoveries: u32,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it is stopped at the latest.
    pub deadline_at: Option<DateTime<Utc>>,
}

/// How far a run is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = WorkflowRunProgress)]
pub struct RunProgressView {
    /// Steps that are settled.
    pub done: usize,
    /// All steps.
    pub total: usize,
    /// The same as a percentage.
    pub percent: u32,
    /// The step under way.
    pub current_step: Option<String>,
}

/// A step of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = WorkflowRunStep)]
pub struct RunStepView {
    /// Its id.
    pub step: String,
    /// Its action.
    pub uses: String,
    /// Where it stands.
    pub state: WorkflowStepState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it is tried again.
    pub retry_at: Option<DateTime<Utc>>,
    /// What it was given.
    #[schema(value_type = Object)]
    pub input: Option<Value>,
    /// What it put out.
    #[schema(value_type = Object)]
    pub output: Option<Value>,
    /// What was expected and what was there.
    pub criteria: Vec<WorkflowCriterion>,
    /// Why it failed.
    pub error: Option<WorkflowRunError>,
    /// What was learnt later of a command whose answer did not come while the step ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<String>,
}

/// What an execution would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowPlanView {
    /// The workflow's id.
    pub workflow_id: String,
    /// Always true: nothing was done.
    pub dry_run: bool,
    /// What it may do to the world.
    pub risk: WorkflowRisk,
    /// How it would turn out as things are: `fail` when some step fails already now.
    pub forecast: WorkflowForecast,
    /// Its parameters, with defaults filled in.
    #[schema(value_type = Object)]
    pub params: Value,
    /// Step by step.
    pub steps: Vec<PlannedStepView>,
    /// What it would put out, as far as can be told.
    #[schema(value_type = Object)]
    pub predicted_outputs: Value,
    /// The lock it takes, and who holds it now.
    pub locks: Vec<WorkflowLockView>,
    /// How long runs took so far.
    pub duration_p50_ms: Option<u64>,
    /// And nearly all of them.
    pub duration_p95_ms: Option<u64>,
    /// Hash of the definition.
    pub definition_sha256: String,
}

/// A lock.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowLockView {
    /// Its name.
    #[schema(example = "bot:paperbot")]
    pub key: String,
    /// Whether nobody holds it.
    pub free: bool,
    /// The run or config transaction that does.
    pub holder: Option<String>,
}

/// A time of the operations table.
fn table_time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

pub(super) fn render_workflow_list(
    connection: &Connection,
    listing: &WorkflowListing,
) -> rusqlite::Result<WorkflowListView> {
    let mut items = Vec::new();
    for known in listing.known.values() {
        items.push(render_brief(connection, known)?);
    }
    Ok(WorkflowListView { items, next: None, omitted: 0, findings: listing.strays.clone() })
}

fn render_brief(connection: &Connection, known: &KnownWorkflow) -> rusqlite::Result<WorkflowBriefView> {
    let definition = &known.workflow.definition;
    Ok(WorkflowBriefView {
        workflow_id: definition.id.clone(),
        title: definition.title.clone(),
        description: definition.description.clone(),
        risk: definition.risk,
        params: definition.params.clone(),
        on_conflict: definition.policy.on_conflict,
        timeout_s: definition.policy.timeout_s,
        origin: known.origin,
        definition_sha256: known.workflow.sha256.clone(),
        stats: WorkflowStats::load(connection, &definition.id)?,
        findings: known.findings.clone(),
    })
}

pub(super) fn render_workflow(
    connection: &Connection,
    known: &KnownWorkflow,
) -> rusqlite::Result<WorkflowView> {
    let steps = known.workflow.definition.steps.iter().map(|step| WorkflowStepView {
        step: step.id.clone(),
        uses: step.uses.name().to_owned(),
        says: step.uses.spec().summary,
        class: step.uses.spec().class,
        undo: step.undo_name(),
        pivot: step.pivot,
    });
    let id = &known.workflow.definition.id;
    let last = operations_log::newest(connection, OperationKind::Workflow, Some(id), LAST_RUNS)?;
    Ok(WorkflowView {
        brief: render_brief(connection, known)?,
        steps: steps.collect(),
        last_runs: last.iter().map(render_run_brief).collect(),
    })
}

fn render_run_brief(op: &OperationRow) -> RunBriefView {
    let state = WorkflowRunState::parse(&op.state).unwrap_or(WorkflowRunState::NeedsAttention);
    RunBriefView {
        run_id: op.op_id.clone(),
        workflow_id: op.name.clone(),
        state,
        terminal: state.is_terminal(),
        created_at: table_time(op.created_ms),
        updated_at: table_time(op.updated_ms),
        actor: op.actor.key_id.clone(),
    }
}

/// Run ids grow with time, so an id is a cursor.
pub(super) fn load_run_page(
    connection: &Connection,
    name: &str,
    after: Option<&str>,
    limit: u32,
) -> rusqlite::Result<RunPageView> {
    let mut ids: Vec<String> = connection
        .prepare_cached(
            "SELECT op_id FROM ops WHERE kind = 'workflow' AND name = ?1 AND (?2 IS NULL OR op_id < ?2)
             ORDER BY op_id DESC LIMIT ?3",
        )?
        .query_map(params![name, after, limit + 1], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let more = ids.len() > limit as usize;
    ids.truncate(limit as usize);
    let mut items = Vec::new();
    for id in &ids {
        items.extend(operations_log::load(connection, id)?.as_ref().map(render_run_brief));
    }
    let next = ids.last().filter(|_| more).cloned();
    let omitted = match &next {
        None => 0,
        Some(next) => connection
            .prepare_cached("SELECT count(*) FROM ops WHERE kind = 'workflow' AND name = ?1 AND op_id < ?2")?
            .query_row(params![name, next], |row| row.get(0))?,
    };
    Ok(RunPageView { items, next, omitted })
}

/// A run as its facts tell it.
pub(super) fn load_run_view(
    connection: &Connection,
    op_id: &str,
    workflow: &CheckedWorkflow,
) -> rusqlite::Result<Option<WorkflowRunView>> {
    let Some(op) = operations_log::load(connection, op_id)? else { return Ok(None) };
    let events = operations_log::events(connection, op_id, 0)?;
    let progress = RunProgress::of(workflow, &events);
    let state = progress.state;
    let queue_position =
        if state == WorkflowRunState::Queued { Some(count_runs_before(connection, &op)?) } else { None };
    let open = [
        WorkflowStepState::Pending,
        WorkflowStepState::Running,
        WorkflowStepState::Retrying,
        WorkflowStepState::Undoing,
    ];
    let done = progress.steps.iter().filter(|step| !open.contains(&step.state)).count();
    let total = progress.steps.len();
    let under_way = [WorkflowStepState::Running, WorkflowStepState::Retrying, WorkflowStepState::Undoing];
    let current = progress.steps.iter().find(|step| under_way.contains(&step.state));
    let failed_step =
        progress.failed_step().filter(|_| state != WorkflowRunState::Succeeded).map(|step| step.id.clone());
    let next_poll_ms = match state {
        state if state.is_terminal() => None,
        WorkflowRunState::Queued | WorkflowRunState::Waiting => Some(1_000),
        _ => Some(500),
    };
    let steps = workflow.definition.steps.iter().zip(&progress.steps);
    let steps = steps.map(|(step, of_step)| render_run_step(step.uses.name(), of_step)).collect();
    Ok(Some(WorkflowRunView {
        run_id: op.op_id,
        workflow_id: op.name,
        state,
        terminal: state.is_terminal(),
        progress: RunProgressView {
            done,
            total,
            percent: u32::try_from(done * 100 / total.max(1)).unwrap_or(100),
            current_step: current.filter(|_| !state.is_terminal()).map(|step| step.id.clone()),
        },
        steps,
        failed_step,
        error: progress.error,
        outputs: progress.outputs.unwrap_or_default(),
        next_poll_ms,
        seq: progress.seq,
        params: op.params,
        definition_sha256: op.def_sha,
        actor: op.actor.key_id,
        request_id: op.actor.request_id,
        queue_position,
        recoveries: op.recoveries,
        created_at: table_time(op.created_ms),
        started_at: progress.started_ms.map(table_time),
        finished_at: progress.finished_ms.map(table_time),
        deadline_at: progress.deadline_ms.map(table_time),
    }))
}

fn count_runs_before(connection: &Connection, op: &OperationRow) -> rusqlite::Result<u32> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM ops WHERE kind = 'workflow' AND live = 1 AND state = 'queued'
             AND (created_ms, op_id) < (?1, ?2)",
        )?
        .query_row(params![op.created_ms, op.op_id], |row| row.get(0))
}

fn render_run_step(uses: &str, step: &StepProgress) -> RunStepView {
    RunStepView {
        step: step.id.clone(),
        uses: uses.to_owned(),
        state: step.state,
        attempts: step.attempts,
        started_at: step.started_ms.map(table_time),
        finished_at: step.finished_ms.map(table_time),
        retry_at: step.retry_at_ms.or(step.undo_retry_at_ms).map(table_time),
        input: step.input.clone(),
        output: step.output.clone(),
        criteria: step.criteria.clone(),
        error: step.error.clone(),
        later: step.later.clone(),
    }
}

pub(super) fn render_plan(
    connection: &Connection,
    known: &KnownWorkflow,
    params: &Value,
    lock: Option<String>,
    steps: Vec<PlannedStepView>,
) -> rusqlite::Result<WorkflowPlanView> {
    let definition = &known.workflow.definition;
    let mut locks = Vec::new();
    if let Some(key) = lock {
        let holder = operations_log::holder(connection, &key)?.map(|op| op.op_id);
        locks.push(WorkflowLockView { key, free: holder.is_none(), holder });
    }
    let WorkflowStats { duration_p50_ms, duration_p95_ms, .. } =
        WorkflowStats::load(connection, &definition.id)?;
    let any = |forecast| steps.iter().any(|step| step.forecast == forecast);
    let forecast = match (any(WorkflowForecast::Fail), any(WorkflowForecast::Unknown)) {
        (true, _) => WorkflowForecast::Fail,
        (false, true) => WorkflowForecast::Unknown,
        (false, false) => WorkflowForecast::Pass,
    };
    Ok(WorkflowPlanView {
        workflow_id: definition.id.clone(),
        dry_run: true,
        risk: definition.risk,
        forecast,
        predicted_outputs: predict_outputs(&known.workflow, params, &steps),
        params: params.clone(),
        steps,
        locks,
        duration_p50_ms,
        duration_p95_ms,
        definition_sha256: known.workflow.sha256.clone(),
    })
}
