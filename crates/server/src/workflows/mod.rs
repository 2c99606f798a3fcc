//! Workflows: named, reviewed procedures whose runs survive a kill of either process.
//!
//! [`Workflows`] lists what there is, starts runs, tells how they stand, and stops them. Hidden from its users: files
//! and their checks, the journal, the loop that drives a run, locks and queues, and how runs are taken up after a
//! restart. Deliberately absent: approvals and schedules. A run begins because somebody with the scope asked for it.

mod actions;
mod api;
mod artifacts;
mod catalogue;
mod check;
mod definition;
mod door;
mod ended_commands;
mod journal;
mod log;
mod outcome;
mod plan;
mod queue;
mod run;
mod stats;
mod tries;
mod types;
mod values;
mod view;
mod yaml;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bots::{Bots, Supervisor};
use crate::configs::Configs;
use crate::events::{Events, NewEvent};
use crate::operations_log::{self, NewOperation, OperationKind, OperationRow, StoredActor, now_ms};
use crate::store::Store;
use botops_contract::{EventKind, Severity};
use botops_core::error::{Code, Error};
use botops_core::failpoints;
use botops_core::tasks::{OnFailure, Tasks};
use botops_core::telemetry::Metrics;

pub use api::routes;
pub use view::{ListView, PlanView, RunView, WorkflowView};

use actions::World;
use artifacts::Artifacts;
use catalogue::{Catalogue, Known};
use definition::Workflow;
use door::{Admitted, admit, ask_to_stop, digest};
use ended_commands::note_ended_commands;
use journal::{Fact, Folded, RunState, Written, write_fact};
use log::ExecutionLog;
use queue::serve_queue;
use run::{Halt, Run};
use stats::Counters;

/// How long a stop lets an undo that is under way come to its end.
const STOP_LATE: Duration = Duration::from_secs(4);

/// How long runs of an earlier life wait for the link's first word on the bot.
const FIRST_WORD: Duration = Duration::from_secs(3);

/// What workflows need to know.
#[derive(Debug, Clone)]
pub struct WorkflowsOptions {
    /// The data folder: `workflows` and `artifacts` lie in it.
    pub data_dir: PathBuf,
    /// botops' own log folder.
    pub log_dir: PathBuf,
    /// Texts that must never turn up in a log bundle.
    pub canaries: Vec<SecretString>,
}

/// Whom workflows work with.
#[derive(Debug, Clone)]
pub struct WorkflowPeers {
    /// The way to the bot.
    pub bots: Bots,
    /// Its config.
    pub configs: Configs,
    /// Who starts it again.
    pub supervisor: Supervisor,
    /// The journal.
    pub events: Events,
}

/// What a run may take beyond its own deadline to take back what it did.
const UNDO_ALLOWANCE: Duration = Duration::from_secs(600);

/// Handle to the workflows; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Workflows {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    world: World,
    catalogue: Catalogue,
    log: ExecutionLog,
    counters: Counters,
    tasks: Tasks,
    stopping: CancellationToken,
    /// Runs that have a task, with what cancels them.
    active: Mutex<HashMap<String, CancellationToken>>,
    /// Definitions of runs that were looked at lately, by hash.
    pinned: Mutex<HashMap<String, Arc<Workflow>>>,
    waiting: AtomicUsize,
    queue: Notify,
    /// Changes with each fact of any run.
    changed: watch::Sender<u64>,
}

/// What became of a request to execute.
#[derive(Debug)]
pub enum Started {
    /// A new run.
    New(RunView),
    /// The same request came before; this is its run.
    Replayed(RunView),
    /// The same work is under way already.
    Joined(RunView),
}

impl Workflows {
    /// Loads what there is and takes up the runs of an earlier life.
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
        let artifacts = Artifacts::new(data_dir.join("artifacts"), own_logs, canaries);
        let catalogue = Catalogue::new(data_dir.join("workflows"));
        for (file, workflow) in store.read(|connection| Ok(catalogue::last_good(connection)?)).await? {
            catalogue.remember(file, workflow);
        }
        let shared = Shared {
            log: ExecutionLog::open(&data_dir.join("logs").join("workflow_execution_log.jsonl")),
            counters: Counters::new(metrics),
            world: World { bots, configs, supervisor, events, artifacts, data_dir },
            catalogue,
            store,
            stopping: tasks.stopping(),
            tasks: tasks.clone(),
            active: Mutex::default(),
            pinned: Mutex::default(),
            waiting: AtomicUsize::new(0),
            queue: Notify::new(),
            changed: watch::Sender::new(0),
        };
        let workflows = Self { shared: Arc::new(shared) };
        workflows.look().await;
        workflows.recover().await?;
        workflows.count().await?;
        let queue = workflows.shared.clone();
        tasks.supervise("workflow-queue", move || serve_queue(queue.clone()));
        let journal = workflows.shared.clone();
        tasks.supervise("workflow-commands", move || note_ended_commands(journal.clone()));
        Ok(workflows)
    }

    /// Everything that can be executed, and files that cannot.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub async fn list(&self) -> Result<ListView, Error> {
        let listing = self.look().await;
        self.shared.store.read(move |connection| Ok(view::list(connection, &listing)?)).await
    }

    /// One workflow with its steps and its newest runs.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`].
    pub async fn workflow(&self, id: &str) -> Result<WorkflowView, Error> {
        let known = self.known(id).await?;
        self.shared.store.read(move |connection| Ok(view::detail(connection, &known)?)).await
    }

    /// Whether a workflow restarts the bot, and within what time it is over, what it takes back included; `None` when
    /// there is no such workflow.
    pub async fn reach(&self, id: &str) -> Option<(bool, Duration)> {
        let known = self.known(id).await.ok()?;
        let limit = Duration::from_secs(known.workflow.definition.policy.timeout_s);
        Some((known.workflow.restarts_bot(), limit + UNDO_ALLOWANCE))
    }

    /// Begins a run. Durable when this returns; the run goes on by itself.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`], [`Code::WorkflowParamsInvalid`], [`Code::WorkflowConflict`],
    /// [`Code::WorkflowQueueFull`], [`Code::IdempotencyMismatch`], [`Code::Stopping`].
    pub async fn execute(
        &self,
        id: &str,
        params: Value,
        actor: StoredActor,
        idempotency: Option<String>,
    ) -> Result<Started, Error> {
        if self.shared.stopping.is_cancelled() {
            return Err(Error::new(Code::Stopping));
        }
        let known = self.known(id).await?;
        let params = known.workflow.accept(params)?;
        let digest = digest(&json!({"workflow": id, "params": params}));
        let lock_key = plan::lock_key(&known.workflow, self.shared.world.bots.id());
        let new = NewOperation {
            op_id: Uuid::now_v7().to_string(),
            kind: OperationKind::Workflow,
            name: id.to_owned(),
            def_sha: known.workflow.sha256.clone(),
            params,
            state: RunState::Running.as_str().to_owned(),
            lock_key,
            parent_op: None,
            actor,
            idempotency: idempotency.map(|key| (key, digest)),
            deadline_ms: None,
        };
        let workflow = known.workflow.clone();
        failpoints::point("wf:before_admit");
        let admitted = self.shared.store.write(move |connection| admit(connection, new, &workflow)).await?;
        failpoints::point("wf:admitted");
        match admitted {
            Admitted::Replayed(op) => self.view(op, &known.workflow).await.map(Started::Replayed),
            Admitted::Joined(op) => self.view(op, &known.workflow).await.map(Started::Joined),
            Admitted::New(op) => {
                let folded = self.shared.announce(&op, &known.workflow).await?;
                if folded.state == RunState::Queued {
                    self.shared.waiting.fetch_add(1, Ordering::Relaxed);
                    self.shared.queue.notify_one();
                } else {
                    self.shared.launch(op.clone(), known.workflow.clone(), folded);
                }
                self.view(op, &known.workflow).await.map(Started::New)
            }
        }
    }

    /// What an execution would do. Nothing is done.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`], [`Code::WorkflowParamsInvalid`].
    pub async fn plan(&self, id: &str, params: Value) -> Result<PlanView, Error> {
        let known = self.known(id).await?;
        let params = known.workflow.accept(params)?;
        let run = Uuid::now_v7().to_string();
        let steps = plan::steps(&known.workflow, &self.shared.world, &params, &run).await;
        let lock = plan::lock_key(&known.workflow, self.shared.world.bots.id());
        self.shared
            .store
            .read(move |connection| Ok(view::planned(connection, &known, &params, lock, steps)?))
            .await
    }

    /// How a run stands.
    ///
    /// # Errors
    /// [`Code::WorkflowRunUnknown`].
    pub async fn run(&self, run: &str) -> Result<RunView, Error> {
        let op = self.op(run).await?;
        let workflow = self.shared.definition(&op).await?;
        self.view(op, &workflow).await
    }

    /// The same, as soon as it has a fact beyond `after` or is over, at the latest after `wait`.
    ///
    /// # Errors
    /// [`Code::WorkflowRunUnknown`].
    pub async fn wait(&self, run: &str, after: u64, wait: Duration) -> Result<RunView, Error> {
        let end = Instant::now() + wait;
        let mut changes = self.shared.changed.subscribe();
        loop {
            changes.mark_unchanged();
            let view = self.run(run).await?;
            let left = end.saturating_duration_since(Instant::now());
            if view.terminal || view.seq > after || left.is_zero() {
                return Ok(view);
            }
            tokio::select! {
                changed = tokio::time::timeout(left, changes.changed()) => {
                    if changed.is_err() {
                        return self.run(run).await;
                    }
                }
                () = self.shared.stopping.cancelled() => return Ok(view),
            }
        }
    }

    /// The newest run of a workflow.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`]; [`Code::WorkflowRunUnknown`] when it never ran.
    pub async fn latest(&self, id: &str) -> Result<RunView, Error> {
        let known = self.known(id).await?;
        let name = id.to_owned();
        let newest = self
            .shared
            .store
            .read(move |connection| {
                Ok(operations_log::newest(connection, OperationKind::Workflow, Some(&name), 1)?)
            })
            .await?;
        let Some(op) = newest.into_iter().next() else {
            return Err(Error::new(Code::WorkflowRunUnknown).detail(format!("`{id}` has not run yet")));
        };
        let workflow = self.shared.definition(&op).await.unwrap_or(known.workflow);
        self.view(op, &workflow).await
    }

    /// The newest runs of a workflow, newest first.
    ///
    /// # Errors
    /// [`Code::WorkflowUnknown`].
    pub async fn runs(&self, id: &str, after: Option<String>, limit: u32) -> Result<view::RunPage, Error> {
        self.known(id).await?;
        let name = id.to_owned();
        self.shared
            .store
            .read(move |connection| Ok(view::runs(connection, &name, after.as_deref(), limit)?))
            .await
    }

    /// Tells a run to stop: it ends its step, takes back what it did, and is cancelled. Again changes nothing.
    ///
    /// # Errors
    /// [`Code::WorkflowRunUnknown`], [`Code::WorkflowRunOver`], [`Code::WorkflowPastPivot`].
    pub async fn cancel(&self, run: &str, actor: &StoredActor) -> Result<RunView, Error> {
        let op = self.op(run).await?;
        let workflow = self.shared.definition(&op).await?;
        let by = actor.key_id.clone();
        let (id, definition) = (op.op_id.clone(), workflow.clone());
        let asked =
            self.shared.store.write(move |connection| ask_to_stop(connection, &id, &definition, by)).await?;
        for (event, fact, state) in &asked {
            self.shared.tell(&op, event.seq, event.at_ms, fact, *state);
        }
        if let Some(token) = self.shared.active().get(&op.op_id) {
            token.cancel();
        }
        self.run(run).await
    }

    /// A file a run left behind.
    ///
    /// # Errors
    /// [`Code::ArtifactUnknown`].
    pub fn artifact(&self, id: &str) -> Result<(std::fs::File, u64), Error> {
        self.shared.world.artifacts.open(id).ok_or_else(|| Error::new(Code::ArtifactUnknown))
    }

    /// Looks through the folder and keeps what is new.
    async fn look(&self) -> catalogue::Listing {
        let listing = self.shared.catalogue.look();
        if !listing.fresh.is_empty() {
            let fresh = listing.fresh.clone();
            let kept = self.shared.store.write(move |connection| {
                for (file, workflow) in &fresh {
                    catalogue::pin(connection, file, workflow)?;
                }
                Ok(())
            });
            if let Err(error) = kept.await {
                tracing::warn!("new workflow definitions were not kept: {error}");
            }
        }
        listing
    }

    async fn known(&self, id: &str) -> Result<Known, Error> {
        let listing = self.look().await;
        if let Some(known) = listing.known.get(id) {
            return Ok(known.clone());
        }
        let ids: Vec<&str> = listing.known.keys().map(String::as_str).collect();
        let asked = botops_core::text::clean(id, 60);
        Err(Error::new(Code::WorkflowUnknown)
            .detail(format!("`{asked}` is no workflow; known: {}", ids.join(", ")))
            .context("known", ids))
    }

    async fn op(&self, run: &str) -> Result<OperationRow, Error> {
        let id = run.to_owned();
        let found = if Uuid::try_parse(run).is_ok() {
            self.shared.store.read(move |connection| Ok(operations_log::load(connection, &id)?)).await?
        } else {
            None
        };
        found.filter(|op| op.kind == OperationKind::Workflow).ok_or_else(|| {
            Error::new(Code::WorkflowRunUnknown).context("run_id", botops_core::text::clean(run, 60))
        })
    }

    async fn view(&self, op: OperationRow, workflow: &Arc<Workflow>) -> Result<RunView, Error> {
        let workflow = workflow.clone();
        self.shared
            .store
            .read(move |connection| Ok(view::run(connection, &op.op_id, &workflow)?))
            .await?
            .ok_or_else(|| Error::new(Code::WorkflowRunUnknown))
    }

    /// Takes up the runs of an earlier life, oldest first, before anybody can begin a new one.
    async fn recover(&self) -> Result<(), Error> {
        let live = self
            .shared
            .store
            .read(|connection| Ok(operations_log::live(connection, OperationKind::Workflow)?))
            .await?;
        if live.is_empty() {
            return Ok(());
        }
        let logged = self.shared.log.newest();
        for op in live {
            let Ok(workflow) = self.shared.definition(&op).await else {
                tracing::error!(
                    run.id = op.op_id,
                    "the definition of run {} is gone; it cannot go on",
                    op.op_id
                );
                continue;
            };
            let (id, definition) = (op.op_id.clone(), workflow.clone());
            let (op, folded, events) = self
                .shared
                .store
                .write(move |connection| {
                    let events = operations_log::events(connection, &id, 0)?;
                    let folded = Folded::of(&definition, &events);
                    if folded.state != RunState::Queued && !folded.suspended {
                        operations_log::count_recovery(connection, &id)?;
                    }
                    let op =
                        operations_log::load(connection, &id)?.ok_or_else(|| Error::new(Code::Internal))?;
                    Ok((op, folded, events))
                })
                .await?;
            // Lines that a crash kept out of the log.
            let seen = logged.get(&op.op_id).copied().unwrap_or_default();
            let mut so_far = Folded::new(&workflow);
            for event in &events {
                let Some(fact) = Fact::of(event) else { continue };
                so_far.apply(&fact, event.at_ms);
                if event.seq > seen {
                    self.shared.log.write(&op, event.seq, event.at_ms, &fact, so_far.state);
                }
            }
            if folded.state == RunState::Queued {
                self.shared.waiting.fetch_add(1, Ordering::Relaxed);
            } else {
                tracing::info!(run.id = op.op_id, "run {} of {} is taken up again", op.op_id, op.name);
                self.shared.launch(op, workflow, folded);
            }
        }
        Ok(())
    }

    /// Fills the success ratios from history.
    async fn count(&self) -> Result<(), Error> {
        let ids: Vec<String> = self.look().await.known.into_keys().collect();
        for id in ids {
            self.shared.refresh_ratio(id).await;
        }
        Ok(())
    }
}

impl Shared {
    fn active(&self) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a run a task. It has at most one.
    fn launch(self: &Arc<Self>, op: OperationRow, workflow: Arc<Workflow>, folded: Folded) {
        let cancel = CancellationToken::new();
        if folded.cancel_by.is_some() {
            cancel.cancel();
        }
        if self.active().insert(op.op_id.clone(), cancel.clone()).is_some() {
            return;
        }
        let shared = self.clone();
        self.tasks.spawn("workflow-run", OnFailure::Log, async move {
            let id = op.op_id.clone();
            let name = op.name.clone();
            let mut run = Run::new(shared.clone(), op, workflow, folded, cancel);
            let driven = AssertUnwindSafe(shared.go_on(&mut run)).catch_unwind().await;
            if driven.is_err() {
                tracing::error!(run.id = id, "run {id} panicked");
                run.abandon().await;
            }
            shared.active().remove(&id);
            if !matches!(driven, Ok(Halt::Stopping)) {
                shared.queue.notify_one();
                shared.refresh_ratio(name).await;
            }
        });
    }

    async fn go_on(&self, run: &mut Run) -> Halt {
        // After a start, the link has not looked at the bot yet; a step would fail for nothing.
        let mut changes = self.world.bots.watch();
        let looked = async {
            while self.world.bots.snapshot().polls < 2 && !self.world.bots.snapshot().presence.answers() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // Without a word, the steps say so themselves.
        let _ = tokio::time::timeout(FIRST_WORD, looked).await;
        match run.recover().await {
            Ok(()) => run.drive().await,
            Err(halt) => halt,
        }
    }

    /// Makes a fact durable; `None` when the run is over already.
    async fn advance(&self, op_id: &str, seen: u64, fact: &Fact) -> Result<Option<Written>, Error> {
        let (op_id, fact) = (op_id.to_owned(), fact.clone());
        self.store.write(move |connection| Ok(write_fact(connection, &op_id, seen, &fact)?)).await
    }

    /// Tells everybody of a fact that is in the store.
    fn tell(&self, op: &OperationRow, seq: u64, at_ms: i64, fact: &Fact, state: RunState) {
        self.log.write(op, seq, at_ms, fact, state);
        let (word, _) = fact.parts();
        let severity = match fact {
            Fact::Finished { state: RunState::NeedsAttention, .. } => Severity::Critical,
            Fact::Finished { state: RunState::FailedAfterPivot, .. } => Severity::High,
            Fact::Finished { state: RunState::Failed | RunState::RolledBack, .. } => Severity::Medium,
            _ => Severity::Low,
        };
        let data = json!({
            "topic": "workflow.run", "run_id": op.op_id, "workflow_id": op.name, "event": word, "state": state,
            "terminal": state.is_terminal(), "seq": seq, "actor": op.actor.key_id,
        });
        let event = NewEvent::own(EventKind::Workflow, severity, fact.says(&op.name), data);
        self.world.events.publish(event);
        if state.is_terminal() {
            self.counters.ended(&op.name, state);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Adds a fact to a run's journal, also after its end; what the run itself came to stays.
    async fn add(&self, op_id: &str, fact: &Fact) -> Result<(), Error> {
        let (id, (word, data)) = (op_id.to_owned(), fact.parts());
        let written = self.store.write(move |connection| {
            let Some(op) = operations_log::load(connection, &id)? else { return Ok(None) };
            let seq = operations_log::append(connection, &id, &word, &data)?;
            Ok(Some((op, seq)))
        });
        if let Some((op, seq)) = written.await? {
            let state = RunState::of(&op.state).unwrap_or(RunState::NeedsAttention);
            self.log.write(&op, seq, now_ms(), fact, state);
            self.changed.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// The facts written when a run was admitted.
    async fn announce(&self, op: &OperationRow, workflow: &Workflow) -> Result<Folded, Error> {
        let id = op.op_id.clone();
        let events =
            self.store.read(move |connection| Ok(operations_log::events(connection, &id, 0)?)).await?;
        let mut folded = Folded::new(workflow);
        for event in &events {
            folded.seq = event.seq;
            if let Some(fact) = Fact::of(event) {
                folded.apply(&fact, event.at_ms);
                self.tell(op, event.seq, event.at_ms, &fact, folded.state);
            }
        }
        Ok(folded)
    }

    /// The definition a run was begun with.
    async fn definition(&self, op: &OperationRow) -> Result<Arc<Workflow>, Error> {
        if let Some(known) = self.pinned.lock().unwrap_or_else(PoisonError::into_inner).get(&op.def_sha) {
            return Ok(known.clone());
        }
        let sha = op.def_sha.clone();
        let found = self.store.read(move |connection| Ok(catalogue::pinned(connection, &sha)?)).await?;
        let workflow = Arc::new(found.ok_or_else(|| {
            Error::new(Code::Internal).caused_by(format!("the definition {} is not kept", op.def_sha))
        })?);
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if pinned.len() >= 64 {
            pinned.clear();
        }
        pinned.insert(op.def_sha.clone(), workflow.clone());
        Ok(workflow)
    }

    /// Resolves when a stop has waited long enough for an undo.
    async fn stopping_late(&self) {
        self.stopping.cancelled().await;
        tokio::time::sleep(STOP_LATE).await;
    }

    async fn refresh_ratio(&self, name: String) {
        let id = name.clone();
        let read = self.store.read(move |connection| Ok(stats::of(connection, &id)?)).await;
        match read {
            Ok(stats) => self.counters.ratio(&name, stats.success_rate),
            Err(error) => tracing::warn!("the success ratio of {name} could not be read: {error}"),
        }
    }
}
