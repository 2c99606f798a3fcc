//! The handle to workflows: its verbs, and how the modules below it are connected.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use secrecy::SecretString;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::actions::ActionServices;
use super::artifacts::ArtifactStore;
use super::definition::{CheckedWorkflow, RunValues, WorkflowLibrary};
use super::run::{
    ExecutionLog, MissingNeedView, RunAdmission, RunJournal, RunLauncher, RunMetrics, RunQueue,
    WorkflowRunState, admit_run, call_that_works, code_of_missing, describe_default_lack,
    describe_missing_needs, find_missing_needs, find_workable_params, plan_steps, record_ended_commands,
    refuse_missing_needs, request_cancel, resume_runs, warn_of_lost_pause,
};
use super::run_list::{RunFilter, RunPageView, load_run_page};
use super::views::{self, WorkflowListView, WorkflowPlanView, WorkflowRunView, WorkflowView};
use crate::bots::{Bots, Supervisor};
use crate::configs::Configs;
use crate::events::Events;
use crate::operations_log::{self, NewOperation, OperationKind, OperationRow, StoredActor};
use crate::store::Store;
use botops_core::error::{Code, Effect, Error};
use botops_core::failpoints;
use botops_core::tasks::Tasks;
use botops_core::telemetry::Metrics;

/// The settings of workflows, as plain values.
#[derive(Debug, Clone)]
pub struct WorkflowsOptions {
    /// The data folder, which contains `workflows` and `artifacts`.
    pub data_dir: PathBuf,
    /// botops' own log folder.
    pub log_dir: PathBuf,
    /// Texts that must never appear in a log bundle.
    pub canaries: Vec<SecretString>,
}

/// The other features that workflows use.
#[derive(Debug, Clone)]
pub struct WorkflowPeers {
    /// The connection to the bot.
    pub bots: Bots,
    /// The bot's config.
    pub configs: Configs,
    /// What starts the bot's process again.
    pub supervisor: Supervisor,
    /// The event journal.
    pub events: Events,
}

/// How long a run may go on beyond its own deadline to undo its steps.
const UNDO_ALLOWANCE: Duration = Duration::from_secs(600);

/// Handle to the workflows; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Workflows {
    store: Store,
    library: Arc<WorkflowLibrary>,
    journal: Arc<RunJournal>,
    launcher: Arc<RunLauncher>,
    queue: Arc<RunQueue>,
    stopping: CancellationToken,
}

/// What a run would come to, as far as that is known beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOutlook {
    /// Whether it ends the bot's process and starts it again.
    pub restarts_bot: bool,
    /// The longest time until it is over once it has its lock, including undoing its steps.
    pub longest: Duration,
    /// Why it cannot run, in one sentence; `None` when nothing is known to be in the way.
    pub hindrance: Option<String>,
    /// The code with which a run is refused for what is missing; `None` where nothing is.
    pub missing_code: Option<Code>,
}

/// The result of a request to execute a workflow.
#[derive(Debug)]
pub enum StartedRun {
    /// A new run was started.
    New(WorkflowRunView),
    /// The same request came before; its run.
    Replayed(WorkflowRunView),
    /// A run of the same workflow with the same parameters is in progress.
    Joined(WorkflowRunView),
}

impl Workflows {
    /// Loads the workflows and resumes the runs of an earlier process.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn open(
        options: WorkflowsOptions,
        peers: WorkflowPeers,
        store: Store,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        let WorkflowsOptions { data_dir, log_dir, canaries } = options;
        let WorkflowPeers { bots, configs, supervisor, events } = peers;
        let own_logs = vec![log_dir, data_dir.join("logs")];
        let artifacts = ArtifactStore::new(data_dir.join("artifacts"), own_logs, canaries);
        let library = Arc::new(WorkflowLibrary::open(data_dir.join("workflows"), store.clone()).await?);
        let log = ExecutionLog::open(&data_dir.join("logs").join("workflow_execution_log.jsonl"));
        let metrics = RunMetrics::new(metrics);
        let journal = Arc::new(RunJournal::new(store.clone(), log, events.clone(), metrics));
        let world = ActionServices { bots, configs, supervisor, events: events.clone(), artifacts, data_dir };
        let launcher = Arc::new(RunLauncher::new(journal.clone(), world, tasks.clone()));
        let queue = Arc::new(RunQueue::new(launcher.clone(), library.clone()));
        let stopping = tasks.stopping();
        let known = library.list_workflows().await.known;
        resume_runs(&launcher, &queue, &library).await?;
        for id in known.into_keys() {
            journal.refresh_success_ratio(id).await;
        }
        let to_serve = queue.clone();
        tasks.supervise("workflow-queue", move || to_serve.clone().serve_queue());
        let (to_add, stop) = (journal.clone(), stopping.clone());
        tasks.supervise("workflow-commands", move || {
            record_ended_commands(to_add.clone(), events.clone(), stop.clone())
        });
        Ok(Self { store, library, journal, launcher, queue, stopping })
    }

    /// All workflows that can be executed, and the faults of files that cannot.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn list_workflows(&self) -> Result<WorkflowListView, Error> {
        let listing = self.library.list_workflows().await;
        let lacks: BTreeMap<String, String> = listing
            .known
            .iter()
            .filter_map(|(id, known)| Some((id.clone(), self.describe_lack(&known.workflow)?)))
            .collect();
        let render =
            move |connection: &Connection| Ok(views::render_workflow_list(connection, &listing, &lacks)?);
        self.store.read(render).await
    }

    /// One workflow with its steps and its newest runs.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`].
    pub async fn get_workflow(&self, id: &str) -> Result<WorkflowView, Error> {
        let known = self.library.find_workflow(id).await?;
        let lacks = self.describe_lack(&known.workflow);
        let render =
            move |connection: &Connection| Ok(views::render_workflow(connection, &known, lacks.as_deref())?);
        self.store.read(render).await
    }

    /// What is known to be missing for a workflow as a whole, or for a run with its default parameters; `None` when nothing
    /// is.
    fn describe_lack(&self, workflow: &CheckedWorkflow) -> Option<String> {
        let world = self.launcher.world();
        let no_config = world.configs.not_offered().filter(|_| workflow.needs_config());
        let missing = || workflow.definition.needs.each().find(|need| need.is_missing(world));
        no_config
            .map(|error| error.to_string())
            .or_else(|| missing().map(|need| need.describe_missing()))
            .or_else(|| describe_default_lack(workflow, world))
    }

    /// What a run with these parameters would come to, as far as that is known beforehand.
    ///
    /// `None` when there is no such workflow.
    pub async fn foresee_run(&self, id: &str, params: &Value) -> Option<RunOutlook> {
        let known = self.library.find_workflow(id).await.ok()?;
        let limit = Duration::from_secs(known.workflow.definition.policy.timeout_s);
        let (hindrance, missing_code) = match known.workflow.accept_params(params.clone()) {
            Err(error) => (Some(describe_unfit_params(id, &error)), None),
            Ok(params) => {
                let missing = self.missing_needs(&known.workflow, params);
                let is_missing = !missing.is_empty();
                (
                    is_missing.then(|| describe_missing_needs(id, &missing)),
                    is_missing.then(|| code_of_missing(&missing)),
                )
            }
        };
        let restarts_bot = known.workflow.restarts_bot();
        Some(RunOutlook { restarts_bot, longest: limit + UNDO_ALLOWANCE, hindrance, missing_code })
    }

    /// All workflows by id, each with the reason why it does not take any one of these parameters; `None` for one that
    /// takes all of them.
    pub async fn list_takers(&self, samples: &[Value]) -> Vec<(String, Option<String>)> {
        let known = self.library.list_workflows().await.known;
        let takers = known.into_iter().map(|(id, known)| {
            let mut refusals =
                samples.iter().filter_map(|params| known.workflow.accept_params(params.clone()).err());
            let refusal = refusals.next().map(|error| describe_unfit_params(&id, &error));
            (id, refusal)
        });
        takers.collect()
    }

    /// What a run is known to need and that is missing now.
    fn missing_needs(&self, workflow: &CheckedWorkflow, params: Value) -> Vec<MissingNeedView> {
        let values = RunValues { params, ..RunValues::default() };
        find_missing_needs(workflow, 0, values, self.launcher.world())
    }

    /// Starts a run. The run is durable when this returns, and goes on in the background.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`], [`Code::WorkflowParamsInvalid`], [`Code::WorkflowConflict`],
    /// [`Code::WorkflowQueueFull`], [`Code::Stopping`]; [`Code::BotNotCapable`] and
    /// [`Code::SupervisorMissing`] when a step is known to need what is not there.
    pub async fn execute_workflow(
        &self,
        id: &str,
        params: Value,
        actor: StoredActor,
        begun_by: Option<String>,
    ) -> Result<StartedRun, Error> {
        if self.stopping.is_cancelled() {
            return Err(Error::new(Code::Stopping));
        }
        let known = self.library.find_workflow(id).await?;
        let params = known.workflow.accept_params(params)?;
        let missing = self.missing_needs(&known.workflow, params.clone());
        if !missing.is_empty() && !self.is_replay(&actor, begun_by.clone()).await? {
            return Err(refuse_missing_needs(&known.workflow, &missing, &params, self.launcher.world()));
        }
        let lock_key = known.workflow.lock_key(self.launcher.world().bots.id());
        let new = NewOperation {
            op_id: Uuid::now_v7().to_string(),
            kind: OperationKind::Workflow,
            name: id.to_owned(),
            def_sha: known.workflow.sha256.clone(),
            params,
            state: WorkflowRunState::Running.as_str().to_owned(),
            lock_key,
            parent_op: None,
            actor,
            begun_by,
            deadline_ms: None,
        };
        let workflow = known.workflow.clone();
        failpoints::point("wf:before_admit");
        let admitted = self.store.write(move |connection| admit_run(connection, new, &workflow)).await?;
        failpoints::point("wf:admitted");
        match admitted {
            RunAdmission::Replayed(op) => self.view_run(op, &known.workflow).await.map(StartedRun::Replayed),
            RunAdmission::Joined(op) => self.view_run(op, &known.workflow).await.map(StartedRun::Joined),
            RunAdmission::New(op, events) => {
                let progress = self.journal.publish_admission(&op, &events, &known.workflow);
                if progress.state == WorkflowRunState::Queued {
                    self.queue.add_run();
                } else {
                    self.launcher.launch_run(op.clone(), known.workflow.clone(), progress);
                }
                let run_id = op.op_id.clone();
                let view = self.view_run(op, &known.workflow).await;
                view.map(StartedRun::New).map_err(|error| begun_unread(&error, run_id))
            }
        }
    }

    /// Predicts an execution step by step. Changes nothing.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`], [`Code::WorkflowParamsInvalid`].
    pub async fn plan_run(&self, id: &str, params: Value) -> Result<WorkflowPlanView, Error> {
        let known = self.library.find_workflow(id).await?;
        let params = known.workflow.accept_params(params)?;
        let run = Uuid::now_v7().to_string();
        let world = self.launcher.world();
        let steps = plan_steps(&known.workflow, world, &params, &run).await;
        let warnings = warn_of_lost_pause(&known.workflow, &steps, &world.bots.snapshot());
        let is_impossible = steps.iter().any(|step| !step.missing.is_empty());
        let workable = is_impossible.then(|| find_workable_params(&known.workflow, &params, world)).flatten();
        let next = workable.iter().map(|changes| call_that_works(id, &params, changes)).collect();
        let lock = known.workflow.lock_key(self.launcher.world().bots.id());
        self.store
            .read(move |connection| {
                Ok(views::render_plan(connection, &known, &params, lock, steps, warnings, next)?)
            })
            .await
    }

    /// The state of a run.
    ///
    /// # Errors
    /// [`Code::WorkflowRunUnknown`].
    pub async fn get_run(&self, run: &str) -> Result<WorkflowRunView, Error> {
        let op = self.find_run(run).await?;
        let workflow = self.library.pinned_definition(&op.def_sha).await?;
        self.view_run(op, &workflow).await
    }

    /// The state of a run as soon as it has a fact beyond `after` or is over, at the latest after `wait`.
    ///
    /// # Errors
    /// [`Code::WorkflowRunUnknown`].
    pub async fn wait_for_run(
        &self,
        run: &str,
        after: u64,
        wait: Duration,
    ) -> Result<WorkflowRunView, Error> {
        let end = Instant::now() + wait;
        let mut changes = self.journal.subscribe();
        loop {
            changes.mark_unchanged();
            let view = self.get_run(run).await?;
            let left = end.saturating_duration_since(Instant::now());
            if view.terminal || view.seq > after || left.is_zero() {
                return Ok(view);
            }
            tokio::select! {
                changed = tokio::time::timeout(left, changes.changed()) => {
                    if changed.is_err() {
                        return self.get_run(run).await;
                    }
                }
                () = self.stopping.cancelled() => return Ok(view),
            }
        }
    }

    /// The newest run of a workflow.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`]; [`Code::WorkflowRunUnknown`] when it never ran.
    pub async fn latest_run(&self, id: &str) -> Result<WorkflowRunView, Error> {
        let known = self.library.find_workflow(id).await?;
        let Some(op) = self.newest_of(id).await? else {
            return Err(Error::new(Code::WorkflowRunUnknown).detail(format!("`{id}` has not run yet")));
        };
        let workflow = self.library.pinned_definition(&op.def_sha).await.unwrap_or(known.workflow);
        self.view_run(op, &workflow).await
    }

    /// The newest runs of a workflow, newest first.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`].
    pub async fn list_runs(&self, id: &str, after: Option<String>, limit: u32) -> Result<RunPageView, Error> {
        self.library.find_workflow(id).await?;
        let wanted = RunFilter { workflow: Some(id.to_owned()), states: Vec::new() };
        self.read_runs(wanted, after, limit).await
    }

    /// The newest runs of all workflows that are wanted, newest first; also of a workflow whose file is gone.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`] for a name that neither a workflow nor a run has.
    pub(super) async fn list_all_runs(
        &self,
        wanted: RunFilter,
        after: Option<String>,
        limit: u32,
    ) -> Result<RunPageView, Error> {
        let name = wanted.workflow.clone();
        let page = self.read_runs(wanted, after, limit).await?;
        if let Some(name) = name.filter(|_| page.items.is_empty())
            && self.newest_of(&name).await?.is_none()
        {
            self.library.find_workflow(&name).await?;
        }
        Ok(page)
    }

    async fn read_runs(
        &self,
        wanted: RunFilter,
        after: Option<String>,
        limit: u32,
    ) -> Result<RunPageView, Error> {
        self.store
            .read(move |connection| Ok(load_run_page(connection, &wanted, after.as_deref(), limit)?))
            .await
    }

    /// The newest run of this name.
    async fn newest_of(&self, name: &str) -> Result<Option<OperationRow>, Error> {
        let name = name.to_owned();
        let read = move |connection: &Connection| {
            Ok(operations_log::newest(connection, OperationKind::Workflow, Some(&name), 1)?)
        };
        Ok(self.store.read(read).await?.into_iter().next())
    }

    /// Tells a run to stop: it ends its step, undoes what it did, and is cancelled. A second call changes nothing.
    ///
    /// # Errors
    /// [`Code::WorkflowRunUnknown`], [`Code::WorkflowRunOver`], [`Code::WorkflowPastPivot`].
    pub async fn cancel_run(&self, run: &str, actor: &StoredActor) -> Result<WorkflowRunView, Error> {
        let op = self.find_run(run).await?;
        let workflow = self.library.pinned_definition(&op.def_sha).await?;
        let by = actor.key_id.clone();
        let (id, definition) = (op.op_id.clone(), workflow.clone());
        let asked =
            self.store.write(move |connection| request_cancel(connection, &id, &definition, by)).await?;
        for (event, fact, state) in &asked {
            self.journal.publish_fact(&op, &workflow, event.seq, event.at_ms, fact, *state);
        }
        self.launcher.cancel_run(&op.op_id);
        self.get_run(run).await
    }

    /// Opens a file that a run left behind, and returns its length.
    ///
    /// # Errors
    /// [`Code::ArtifactUnknown`].
    pub fn open_artifact(&self, id: &str) -> Result<(std::fs::File, u64), Error> {
        self.launcher.world().artifacts.open_artifact(id).ok_or_else(|| Error::new(Code::ArtifactUnknown))
    }

    /// Whether this request came before, so that it only finds its run.
    async fn is_replay(&self, actor: &StoredActor, begun_by: Option<String>) -> Result<bool, Error> {
        let Some(begun_by) = begun_by else { return Ok(false) };
        let actor_key = actor.key_id.clone();
        let found = self.store.read(move |connection| {
            Ok(operations_log::begun_operation(connection, &actor_key, &begun_by)?.is_some())
        });
        found.await
    }

    async fn find_run(&self, run: &str) -> Result<OperationRow, Error> {
        let id = run.to_owned();
        let found = if Uuid::try_parse(run).is_ok() {
            self.store.read(move |connection| Ok(operations_log::load(connection, &id)?)).await?
        } else {
            None
        };
        found.filter(|op| op.kind == OperationKind::Workflow).ok_or_else(|| {
            Error::new(Code::WorkflowRunUnknown).context("run_id", botops_core::text::clean(run, 60))
        })
    }

    async fn view_run(
        &self,
        op: OperationRow,
        workflow: &Arc<CheckedWorkflow>,
    ) -> Result<WorkflowRunView, Error> {
        let workflow = workflow.clone();
        self.store
            .read(move |connection| Ok(views::load_run_view(connection, &op.op_id, &workflow)?))
            .await?
            .ok_or_else(|| Error::new(Code::WorkflowRunUnknown))
    }
}

/// The failure to show a run that has begun all the same.
fn begun_unread(error: &Error, run_id: String) -> Error {
    let path = format!("/api/v1/workflows/runs/{run_id}");
    Error::new(error.code())
        .detail("the run has begun and goes on, and its record could not be read")
        .effect(Effect::Applied)
        .caused_by(error.cause_for_log().unwrap_or_default())
        .context("run_id", run_id)
        .next("get_workflow_run", "GET", path, None, Some("read"))
}

/// Why a workflow does not take some parameters, in one sentence.
fn describe_unfit_params(id: &str, error: &Error) -> String {
    let problem = error.problem("", chrono::Utc::now());
    let fields = problem.errors.iter().map(|field| format!("{}: {}", field.pointer, field.expected));
    format!("`{id}` does not take these parameters ({})", fields.collect::<Vec<_>>().join("; "))
}
