//! What clients see of workflows and runs.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::actions::Class;
use super::catalogue::{Known, Listing};
use super::definition::{Finding, OnConflict, Risk, UndoRule, Workflow};
use super::journal::{Folded, RunError, RunState, StepFold, StepState};
use super::plan::{self, Forecast, PlannedStep};
use super::stats::{self, Stats};
use super::values::Criterion;
use crate::operations_log::{self, OperationKind, OperationRow};

/// Runs shown with a workflow.
const LAST_RUNS: u32 = 5;

/// All workflows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowListView)]
pub struct ListView {
    /// By id.
    pub items: Vec<WorkflowBrief>,
    /// Always `null`: the list is whole.
    pub next: Option<String>,
    /// Always 0.
    pub omitted: u32,
    /// Faults of files that name no usable workflow.
    pub findings: Vec<Finding>,
}

/// A workflow in the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowBrief {
    /// The id to execute it by.
    #[schema(example = "check-health")]
    pub workflow_id: String,
    /// What it does.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// What it may do to the world.
    pub risk: Risk,
    /// The JSON Schema of `params`.
    #[schema(value_type = Object)]
    pub params: Value,
    /// What happens when it meets another run.
    pub on_conflict: OnConflict,
    /// How long a run may take.
    pub timeout_s: u64,
    /// `shipped`, or `data` for the operator's own.
    #[schema(example = "shipped")]
    pub origin: &'static str,
    /// Hash of its file; a run keeps to the one it began with.
    pub definition_sha256: String,
    /// How well it does.
    #[serde(flatten)]
    pub stats: Stats,
    /// What its author should know: faults of a newer file that is not used, and warnings.
    pub findings: Vec<Finding>,
}

/// A workflow with its steps.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowView {
    /// As in the list.
    #[serde(flatten)]
    pub brief: WorkflowBrief,
    /// What it does, in order.
    pub steps: Vec<StepBrief>,
    /// Its newest runs, newest first.
    pub last_runs: Vec<RunBrief>,
}

/// A step of a workflow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowStep)]
pub struct StepBrief {
    /// Its id.
    pub step: String,
    /// Its action.
    pub uses: String,
    /// What the action does.
    pub says: &'static str,
    /// What it touches.
    pub class: Class,
    /// The action that takes it back, `none`, or `null` where there is nothing to take back.
    pub undo: Option<String>,
    /// The point of no return.
    pub pivot: bool,
}

/// A run in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowRunBrief)]
pub struct RunBrief {
    /// The run's id.
    pub run_id: String,
    /// The workflow's id.
    pub workflow_id: String,
    /// Where it stands.
    pub state: RunState,
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
pub struct RunPage {
    /// The runs.
    pub items: Vec<RunBrief>,
    /// What to send as `after` for older ones; `null` at the end.
    pub next: Option<String>,
    /// How many older ones there are beyond this page.
    pub omitted: u32,
}

/// How a run stands.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = WorkflowRunView)]
pub struct RunView {
    /// The run's id.
    pub run_id: String,
    /// The workflow's id.
    #[schema(example = "check-health")]
    pub workflow_id: String,
    /// Where it stands.
    pub state: RunState,
    /// Whether it is over: a terminal state never changes.
    pub terminal: bool,
    /// How far it is.
    pub progress: Progress,
    /// Its steps, in order.
    pub steps: Vec<StepView>,
    /// The step that made it fail.
    pub failed_step: Option<String>,
    /// Why it failed, and what to do.
    pub error: Option<RunError>,
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
pub struct Progress {
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
pub struct StepView {
    /// Its id.
    pub step: String,
    /// Its action.
    pub uses: String,
    /// Where it stands.
    pub state: StepState,
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
    pub criteria: Vec<Criterion>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// What was learnt later of a command whose answer did not come while the step ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<String>,
}

/// What an execution would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowPlanView)]
pub struct PlanView {
    /// The workflow's id.
    pub workflow_id: String,
    /// Always true: nothing was done.
    pub dry_run: bool,
    /// What it may do to the world.
    pub risk: Risk,
    /// How it would turn out as things are: `fail` when some step fails already now.
    pub forecast: Forecast,
    /// Its parameters, with defaults filled in.
    #[schema(value_type = Object)]
    pub params: Value,
    /// Step by step.
    pub steps: Vec<PlannedStep>,
    /// What it would put out, as far as can be told.
    #[schema(value_type = Object)]
    pub predicted_outputs: Value,
    /// The lock it takes, and who holds it now.
    pub locks: Vec<LockView>,
    /// How long runs took so far.
    pub duration_p50_ms: Option<u64>,
    /// And nearly all of them.
    pub duration_p95_ms: Option<u64>,
    /// Hash of the definition.
    pub definition_sha256: String,
}

/// A lock.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowLockView)]
pub struct LockView {
    /// Its name.
    #[schema(example = "bot:paperbot")]
    pub key: String,
    /// Whether nobody holds it.
    pub free: bool,
    /// The run or config transaction that does.
    pub holder: Option<String>,
}

/// A time of the table.
pub(super) fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

pub(super) fn list(connection: &Connection, listing: &Listing) -> rusqlite::Result<ListView> {
    let mut items = Vec::new();
    for known in listing.known.values() {
        items.push(brief(connection, known)?);
    }
    Ok(ListView { items, next: None, omitted: 0, findings: listing.strays.clone() })
}

fn brief(connection: &Connection, known: &Known) -> rusqlite::Result<WorkflowBrief> {
    let definition = &known.workflow.definition;
    Ok(WorkflowBrief {
        workflow_id: definition.id.clone(),
        title: definition.title.clone(),
        description: definition.description.clone(),
        risk: definition.risk,
        params: definition.params.clone(),
        on_conflict: definition.policy.on_conflict,
        timeout_s: definition.policy.timeout_s,
        origin: known.origin,
        definition_sha256: known.workflow.sha256.clone(),
        stats: stats::of(connection, &definition.id)?,
        findings: known.findings.clone(),
    })
}

pub(super) fn detail(connection: &Connection, known: &Known) -> rusqlite::Result<WorkflowView> {
    let steps = known.workflow.definition.steps.iter().map(|step| StepBrief {
        step: step.id.clone(),
        uses: step.uses.name().to_owned(),
        says: step.uses.spec().says,
        class: step.uses.spec().class,
        undo: step.undo.as_ref().map(|undo| match undo {
            UndoRule::With(undo) => undo.uses.name().to_owned(),
            UndoRule::Not(_) => "none".to_owned(),
        }),
        pivot: step.pivot,
    });
    let id = &known.workflow.definition.id;
    let last = operations_log::newest(connection, OperationKind::Workflow, Some(id), LAST_RUNS)?;
    Ok(WorkflowView {
        brief: brief(connection, known)?,
        steps: steps.collect(),
        last_runs: last.iter().map(run_brief).collect(),
    })
}

fn run_brief(op: &OperationRow) -> RunBrief {
    let state = RunState::of(&op.state).unwrap_or(RunState::NeedsAttention);
    RunBrief {
        run_id: op.op_id.clone(),
        workflow_id: op.name.clone(),
        state,
        terminal: state.is_terminal(),
        created_at: time(op.created_ms),
        updated_at: time(op.updated_ms),
        actor: op.actor.key_id.clone(),
    }
}

/// Run ids grow with time, so an id is a cursor.
pub(super) fn runs(
    connection: &Connection,
    name: &str,
    after: Option<&str>,
    limit: u32,
) -> rusqlite::Result<RunPage> {
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
        items.extend(operations_log::load(connection, id)?.as_ref().map(run_brief));
    }
    let next = ids.last().filter(|_| more).cloned();
    let omitted = match &next {
        None => 0,
        Some(next) => connection
            .prepare_cached("SELECT count(*) FROM ops WHERE kind = 'workflow' AND name = ?1 AND op_id < ?2")?
            .query_row(params![name, next], |row| row.get(0))?,
    };
    Ok(RunPage { items, next, omitted })
}

/// A run as its facts tell it.
pub(super) fn run(
    connection: &Connection,
    op_id: &str,
    workflow: &Workflow,
) -> rusqlite::Result<Option<RunView>> {
    let Some(op) = operations_log::load(connection, op_id)? else { return Ok(None) };
    let events = operations_log::events(connection, op_id, 0)?;
    let folded = Folded::of(workflow, &events);
    let state = folded.state;
    let queue_position = if state == RunState::Queued { Some(position(connection, &op)?) } else { None };
    let open = [StepState::Pending, StepState::Running, StepState::Retrying, StepState::Undoing];
    let done = folded.steps.iter().filter(|step| !open.contains(&step.state)).count();
    let total = folded.steps.len();
    let under_way = [StepState::Running, StepState::Retrying, StepState::Undoing];
    let current = folded.steps.iter().find(|step| under_way.contains(&step.state));
    let failed_step =
        folded.failed_step().filter(|_| state != RunState::Succeeded).map(|step| step.id.clone());
    let next_poll_ms = match state {
        state if state.is_terminal() => None,
        RunState::Queued | RunState::Waiting => Some(1_000),
        _ => Some(500),
    };
    let steps = workflow.definition.steps.iter().zip(&folded.steps);
    let steps = steps.map(|(step, fold)| step_view(step.uses.name(), fold)).collect();
    Ok(Some(RunView {
        run_id: op.op_id,
        workflow_id: op.name,
        state,
        terminal: state.is_terminal(),
        progress: Progress {
            done,
            total,
            percent: u32::try_from(done * 100 / total.max(1)).unwrap_or(100),
            current_step: current.filter(|_| !state.is_terminal()).map(|step| step.id.clone()),
        },
        steps,
        failed_step,
        error: folded.error,
        outputs: folded.outputs.unwrap_or_default(),
        next_poll_ms,
        seq: folded.seq,
        params: op.params,
        definition_sha256: op.def_sha,
        actor: op.actor.key_id,
        request_id: op.actor.request_id,
        queue_position,
        recoveries: op.recoveries,
        created_at: time(op.created_ms),
        started_at: folded.started_ms.map(time),
        finished_at: folded.finished_ms.map(time),
        deadline_at: folded.deadline_ms.map(time),
    }))
}

fn position(connection: &Connection, op: &OperationRow) -> rusqlite::Result<u32> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM ops WHERE kind = 'workflow' AND live = 1 AND state = 'queued'
             AND (created_ms, op_id) < (?1, ?2)",
        )?
        .query_row(params![op.created_ms, op.op_id], |row| row.get(0))
}

fn step_view(uses: &str, fold: &StepFold) -> StepView {
    StepView {
        step: fold.id.clone(),
        uses: uses.to_owned(),
        state: fold.state,
        attempts: fold.attempts,
        started_at: fold.started_ms.map(time),
        finished_at: fold.finished_ms.map(time),
        retry_at: fold.retry_at_ms.or(fold.undo_retry_at_ms).map(time),
        input: fold.input.clone(),
        output: fold.output.clone(),
        criteria: fold.criteria.clone(),
        error: fold.error.clone(),
        later: fold.later.clone(),
    }
}

pub(super) fn planned(
    connection: &Connection,
    known: &Known,
    params: &Value,
    lock: Option<String>,
    steps: Vec<PlannedStep>,
) -> rusqlite::Result<PlanView> {
    let definition = &known.workflow.definition;
    let mut locks = Vec::new();
    if let Some(key) = lock {
        let holder = operations_log::holder(connection, &key)?.map(|op| op.op_id);
        locks.push(LockView { key, free: holder.is_none(), holder });
    }
    let Stats { duration_p50_ms, duration_p95_ms, .. } = stats::of(connection, &definition.id)?;
    let any = |forecast| steps.iter().any(|step| step.forecast == forecast);
    let forecast = match (any(Forecast::Fail), any(Forecast::Unknown)) {
        (true, _) => Forecast::Fail,
        (false, true) => Forecast::Unknown,
        (false, false) => Forecast::Pass,
    };
    Ok(PlanView {
        workflow_id: definition.id.clone(),
        dry_run: true,
        risk: definition.risk,
        forecast,
        predicted_outputs: plan::outputs(&known.workflow, params, &steps),
        params: params.clone(),
        steps,
        locks,
        duration_p50_ms,
        duration_p95_ms,
        definition_sha256: known.workflow.sha256.clone(),
    })
}
