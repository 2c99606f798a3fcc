//! The wire types of workflows and runs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::actions::ActionClass;
use super::definition::{
    CheckedWorkflow, KnownWorkflow, WorkflowCriterion, WorkflowFinding, WorkflowListing, WorkflowOnConflict,
    WorkflowRisk,
};
use super::run::{
    MissingNeedView, PlannedStepView, REASON_MAX, RunInterruption, RunProgress, StepProgress,
    WorkflowForecast, WorkflowRunError, WorkflowRunState, WorkflowStats, WorkflowStepState, predict_outputs,
};
use super::run_list::{RunBriefView, render_run_brief, table_time};
use crate::operations_log::{self, OperationKind, OperationRow};
use botops_core::durable_deadline::DurableDeadline;
use botops_core::error::NextAction;

/// How many runs are shown with a workflow.
const LAST_RUNS: u32 = 5;

/// The list of all workflows.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowListView {
    /// The workflows, sorted by id.
    pub items: Vec<WorkflowBriefView>,
    /// Always `null`: the list has one page.
    pub next: Option<String>,
    /// Files in the folder that are not read, since it has more than 200; the log names them. The first by name are read.
    pub omitted: u32,
    /// Faults of files that belong to no usable workflow.
    pub findings: Vec<WorkflowFinding>,
}

/// A workflow in the list of all.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowBriefView {
    /// The id to execute it by.
    #[schema(example = "check-health")]
    pub workflow_id: String,
    /// What the workflow does, in a few words.
    pub title: String,
    /// What the workflow does in detail; `null` when its file does not say.
    pub description: Option<String>,
    /// The effect it may have.
    pub risk: WorkflowRisk,
    /// The JSON Schema of `params`.
    #[schema(value_type = Object)]
    pub params: Value,
    /// What happens to a run when another one holds the lock.
    pub on_conflict: WorkflowOnConflict,
    /// How long a run may take, in seconds, without undoing its steps.
    pub timeout_s: u64,
    /// `shipped` with the binary, or `data` for a file in the data folder.
    #[schema(example = "shipped")]
    pub origin: &'static str,
    /// SHA-256 of its file, in hex; a run keeps to the version it began with.
    pub definition_sha256: String,
    /// Whether it can run at this bot, as the bot is now, with its default parameters.
    pub available: bool,
    /// What is missing for it, and, where there are such, the parameters with which it runs all the same; `null` when it is
    /// available.
    pub unavailable_because: Option<String>,
    /// Success ratio and durations of its newest runs.
    #[serde(flatten)]
    pub stats: WorkflowStats,
    /// Faults of a newer version of its file that is not used, and warnings.
    pub findings: Vec<WorkflowFinding>,
}

/// A workflow with its steps and newest runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowView {
    /// The members that the list shows as well.
    #[serde(flatten)]
    pub brief: WorkflowBriefView,
    /// Its steps, in the order in which they run.
    pub steps: Vec<WorkflowStepView>,
    /// Its newest runs, newest first.
    pub last_runs: Vec<RunBriefView>,
}

/// A step of a workflow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowStep)]
pub struct WorkflowStepView {
    /// The step's id, unique within the workflow.
    pub step: String,
    /// The name of its action.
    pub uses: String,
    /// What the action does, in a few words.
    pub says: &'static str,
    /// What kind of effect the action has.
    pub class: ActionClass,
    /// The undo action, `none`, or `null` where there is nothing to undo.
    pub undo: Option<String>,
    /// Whether the step is the pivot: nothing is undone after it.
    pub pivot: bool,
}

/// The state of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorkflowRunView {
    /// The run's id, which grows with time.
    pub run_id: String,
    /// The id of the workflow it runs.
    #[schema(example = "check-health")]
    pub workflow_id: String,
    /// The state of the run.
    pub state: WorkflowRunState,
    /// Whether the state is final: it then never changes.
    pub terminal: bool,
    /// How many of its steps are done.
    pub progress: RunProgressView,
    /// Its steps, in the order in which they run.
    pub steps: Vec<RunStepView>,
    /// The id of the step that made it fail; `null` when none did.
    pub failed_step: Option<String>,
    /// Why it failed, and what to do next; `null` when it did not.
    pub error: Option<WorkflowRunError>,
    /// The outputs its definition names; `null` before it ended.
    #[schema(value_type = Option<Object>)]
    pub outputs: Value,
    /// Milliseconds after which to ask again; `null` when it is over. With `?wait=30s&after_seq=` there is no need to
    /// poll.
    pub next_poll_ms: Option<u64>,
    /// How many facts it has; the cursor for `after_seq`.
    pub seq: u64,
    /// Its parameters, with defaults filled in.
    #[schema(value_type = Object)]
    pub params: Value,
    /// SHA-256 of the definition it runs by, in hex.
    pub definition_sha256: String,
    /// The name of the API key that requested it, or `recovery`.
    pub actor: String,
    /// The id of the request that started it.
    pub request_id: String,
    /// How many runs wait before it; `null` unless it is queued.
    pub queue_position: Option<u32>,
    /// How often it was resumed after a crash.
    pub recoveries: u32,
    /// When botops ended while it was under way. Where it was stopped, that moment; where it was killed, the last sign of life
    /// of the run: botops ended then or later, as `interrupted_because` says. Of several times the newest; left out when it
    /// never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupted_at: Option<DateTime<Utc>>,
    /// When it was taken up again after that; left out before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<DateTime<Utc>>,
    /// Why it was interrupted, in words; left out when it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupted_because: Option<&'static str>,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// When it got its lock and began; `null` before that.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended; `null` before that.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it is stopped at the latest; `null` before it began.
    pub deadline_at: Option<DateTime<Utc>>,
}

/// How many steps of a run are done.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = WorkflowRunProgress)]
pub struct RunProgressView {
    /// Steps that have ended, in whatever way.
    pub done: usize,
    /// All steps of the workflow.
    pub total: usize,
    /// `done` as a percentage of `total`, rounded down.
    pub percent: u32,
    /// The id of the step in progress; `null` when none is.
    pub current_step: Option<String>,
}

/// A step of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = WorkflowRunStep)]
pub struct RunStepView {
    /// The step's id, unique within the workflow.
    pub step: String,
    /// The name of its action.
    pub uses: String,
    /// The state of the step.
    pub state: WorkflowStepState,
    /// How many attempts were begun.
    pub attempts: u32,
    /// When its first attempt began; `null` before that.
    pub started_at: Option<DateTime<Utc>>,
    /// When its newest attempt began; left out while there is but one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_started_at: Option<DateTime<Utc>>,
    /// When it ended; `null` before that.
    pub finished_at: Option<DateTime<Utc>>,
    /// When the next attempt begins; `null` unless one is planned.
    pub retry_at: Option<DateTime<Utc>>,
    /// The input it got, without secrets; `null` before it began.
    #[schema(value_type = Option<Object>)]
    pub input: Option<Value>,
    /// Its output; `null` before it has one. A `diff` that stands in the run's answer already is
    /// `{"same_as": "/outputs/diff"}`: the place where it stands. A long `blocked_by` says that `error` of the run has it.
    #[schema(value_type = Option<Object>)]
    pub output: Option<Value>,
    /// Its conditions, with expected and actual values.
    pub criteria: Vec<WorkflowCriterion>,
    /// Why it failed; `null` when it did not.
    pub error: Option<WorkflowRunError>,
    /// How a command ended whose answer did not come while the step ran; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<String>,
}

/// The prediction of an execution.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowPlanView {
    /// The id of the workflow.
    pub workflow_id: String,
    /// Always true: nothing was changed.
    pub dry_run: bool,
    /// The effect the workflow may have.
    pub risk: WorkflowRisk,
    /// The forecast as things are: `fail` when a step would fail now.
    pub forecast: WorkflowForecast,
    /// What to know before it is run, with what to do: that the bot may not keep its pause over the restart. Empty when
    /// there is nothing.
    pub warnings: Vec<String>,
    /// What is known to make the run impossible: an execution is refused with `BOT_004` or `BOT_020` before anything is
    /// done. Empty when nothing is known to.
    pub impossible: Vec<MissingNeedView>,
    /// The call that says what it would do with parameters of which nothing is known to be missing; left out where the run
    /// is possible, or none such are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next_actions: Vec<NextAction>,
    /// The parameters, with defaults filled in.
    #[schema(value_type = Object)]
    pub params: Value,
    /// The steps with their predicted outputs.
    pub steps: Vec<PlannedStepView>,
    /// The predicted outputs of the run; `null` where they are not known.
    #[schema(value_type = Option<Object>)]
    pub predicted_outputs: Value,
    /// The lock it would take, and who holds it now; empty when it takes none.
    pub locks: Vec<WorkflowLockView>,
    /// Median duration of successful runs, in milliseconds; `null` without one.
    pub duration_p50_ms: Option<u64>,
    /// 95th percentile of the duration of successful runs, in milliseconds; `null` without one.
    pub duration_p95_ms: Option<u64>,
    /// SHA-256 of the definition, in hex.
    pub definition_sha256: String,
}

/// A lock that a run needs.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkflowLockView {
    /// The key of the lock.
    #[schema(example = "bot:paperbot")]
    pub key: String,
    /// Whether the lock is free.
    pub free: bool,
    /// The id of the run or config transaction that holds it; `null` when it is free.
    pub holder: Option<String>,
}

/// When a deadline ends by the clock as it goes now.
fn shown_time(deadline: &DurableDeadline) -> DateTime<Utc> {
    table_time(deadline.shown_ms())
}

/// `lacks` says what the bot lacks for a workflow, by its id.
pub(super) fn render_workflow_list(
    connection: &Connection,
    listing: &WorkflowListing,
    lacks: &BTreeMap<String, String>,
) -> rusqlite::Result<WorkflowListView> {
    let mut items = Vec::new();
    for (id, known) in &listing.known {
        items.push(render_brief(connection, known, lacks.get(id).map(String::as_str))?);
    }
    let omitted = u32::try_from(listing.left_out).unwrap_or(u32::MAX);
    Ok(WorkflowListView { items, next: None, omitted, findings: listing.strays.clone() })
}

fn render_brief(
    connection: &Connection,
    known: &KnownWorkflow,
    lacks: Option<&str>,
) -> rusqlite::Result<WorkflowBriefView> {
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
        available: lacks.is_none(),
        unavailable_because: lacks.map(str::to_owned),
        stats: WorkflowStats::load(connection, &definition.id)?,
        findings: known.findings.clone(),
    })
}

pub(super) fn render_workflow(
    connection: &Connection,
    known: &KnownWorkflow,
    lacks: Option<&str>,
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
        brief: render_brief(connection, known, lacks)?,
        steps: steps.collect(),
        last_runs: last.iter().map(render_run_brief).collect(),
    })
}

/// The state of a run, derived from its facts.
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
    let mut steps: Vec<RunStepView> =
        steps.map(|(step, of_step)| render_run_step(step.uses.name(), of_step)).collect();
    let outputs = progress.outputs.unwrap_or_default();
    say_once(&outputs, &mut steps);
    if let Some(error) = &progress.error {
        steps.iter_mut().for_each(|step| refer_to_error(&error.message, step));
    }
    let interruption = progress.interruption.as_ref();
    let because = |interruption: &RunInterruption| match interruption.was_stopped {
        true => "botops was stopped",
        false => {
            "botops ended without a word at interrupted_at, its last sign of life, or later: it was killed, it crashed, or the machine went down"
        }
    };
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
        outputs,
        next_poll_ms,
        seq: progress.seq,
        params: op.params,
        definition_sha256: op.def_sha,
        actor: op.actor.key_id,
        request_id: op.actor.request_id,
        queue_position,
        recoveries: op.recoveries,
        interrupted_at: interruption.map(|interruption| table_time(interruption.interrupted_ms)),
        resumed_at: interruption.and_then(|interruption| interruption.resumed_ms).map(table_time),
        interrupted_because: interruption.map(because),
        created_at: table_time(op.created_ms),
        started_at: progress.started_ms.map(table_time),
        finished_at: progress.finished_ms.map(table_time),
        deadline_at: progress.deadline.as_ref().map(shown_time),
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

/// The member of an output that lists the differences of a config change; it may be long.
const DIFF: &str = "diff";

/// The member of an output that says in words why a change is refused; it may be long.
const BLOCKED_BY: &str = "blocked_by";

/// A reason that is no longer than this is as short as a reference to it.
const SHORT_REASON: usize = 80;

/// Shows the same differences once: in the outputs of the run, or else in the first step that has them.
fn say_once(outputs: &Value, steps: &mut [RunStepView]) {
    let of_steps = steps.iter_mut().map(|step| step.output.as_mut()).collect();
    show_diff_once((outputs, "outputs"), of_steps, "output");
}

/// `outputs` are those of the run, with the name of their place; `of_steps` those of each step, as its member `member`.
fn show_diff_once((outputs, place): (&Value, &str), of_steps: Vec<Option<&mut Value>>, member: &str) {
    let mut told: Vec<(String, Value)> = Vec::new();
    if outputs[DIFF].is_array() {
        told.push((format!("/{place}/{DIFF}"), outputs[DIFF].clone()));
    }
    for (step, output) in of_steps.into_iter().enumerate() {
        let output = output.and_then(|output| output.get_mut(DIFF));
        let Some(diff) = output.filter(|diff| diff.as_array().is_some_and(|lines| !lines.is_empty())) else {
            continue;
        };
        match told.iter().find(|(_, known)| known == diff) {
            Some((at, _)) => *diff = json!({"same_as": at}),
            None => told.push((format!("/steps/{step}/{member}/{DIFF}"), diff.clone())),
        }
    }
}

/// Of a plan that is refused, the reasons stand in the error of the run in words, and in `errors` one by one. The step and
/// its output say where.
fn refer_to_error(message: &str, step: &mut RunStepView) {
    let Some(error) = step.error.as_mut().filter(|error| message.ends_with(&error.message)) else { return };
    if refer_in_output(&error.message, step.output.as_mut(), "/error/message") {
        error.message = "the change is refused; /error/message says why".to_owned();
    }
}

/// Puts a reference in the place of the reason in an output, where it is this one, cut or whole; false where it is not.
fn refer_in_output(why: &str, output: Option<&mut Value>, place: &str) -> bool {
    let Some(told) = output.and_then(|output| output.get_mut(BLOCKED_BY)) else { return false };
    let is_same = |told: &str| told.len() > SHORT_REASON && botops_core::text::clean(told, REASON_MAX) == why;
    let is_same = told.as_str().is_some_and(is_same);
    if is_same {
        *told = json!(format!("the change is refused; {place} says why, and `errors` has each reason"));
    }
    is_same
}

fn render_run_step(uses: &str, step: &StepProgress) -> RunStepView {
    RunStepView {
        step: step.id.clone(),
        uses: uses.to_owned(),
        state: step.state,
        attempts: step.attempts,
        started_at: step.started_ms.map(table_time),
        attempt_started_at: step.attempt_started_ms.filter(|_| step.attempts > 1).map(table_time),
        finished_at: step.finished_ms.map(table_time),
        retry_at: step.retry.as_ref().or(step.undo_retry.as_ref()).map(shown_time),
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
    mut steps: Vec<PlannedStepView>,
    warnings: Vec<String>,
    next_actions: Vec<NextAction>,
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
    let predicted_outputs = predict_outputs(&known.workflow, params, &steps);
    let of_steps = steps.iter_mut().map(|step| Some(&mut step.predicted_output)).collect();
    show_diff_once((&predicted_outputs, "predicted_outputs"), of_steps, "predicted_output");
    for (place, step) in steps.iter_mut().enumerate() {
        if let Some(error) = &step.error {
            let place = format!("/steps/{place}/error/message");
            refer_in_output(&error.message, Some(&mut step.predicted_output), &place);
        }
    }
    Ok(WorkflowPlanView {
        workflow_id: definition.id.clone(),
        dry_run: true,
        risk: definition.risk,
        forecast,
        warnings,
        impossible: steps.iter().flat_map(|step| step.missing.clone()).collect(),
        next_actions,
        predicted_outputs,
        params: params.clone(),
        steps,
        locks,
        duration_p50_ms,
        duration_p95_ms,
        definition_sha256: known.workflow.sha256.clone(),
    })
}
