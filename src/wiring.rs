//! Connects features that do not depend on each other: loops that pass values from one to another, and the functions
//! that health calls in features above it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::handles::FeatureHandles;
use crate::incident_wiring::{not_green, spawn_incident_publishing};
use botops_contract::{EventKind, Severity};
use botops_core::error::{Code, Effect, Error};
use botops_core::tasks::{OnFailure, Tasks};
use botops_core::telemetry::Metrics;
use botops_server::configs::{CommittedConfigView, SyncState};
use botops_server::events::NewEvent;
use botops_server::health::{
    Criticality, HandlerEnd, HealthLevel, RecoveryCandidate, RecoveryRun, SourceFact, WorkflowFact,
    WorkflowRunner,
};
use botops_server::operations_log::StoredActor;
use botops_server::overview::{ConfigSync, OverviewExtras, Warning};
use botops_server::workflows::{RunOutlook, StartedRun, Workflows};

/// How often the level of health is passed to the overview.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// How long one request waits for the run of a recovery to end; it is repeated until the run ends.
const RUN_WAIT: Duration = Duration::from_secs(30);

/// How long a run of a recovery may wait in the queue of its workflow.
const QUEUE_PATIENCE: Duration = Duration::from_secs(60);

/// Wait before a run that could not be read is read again.
const RUN_RETRY: Duration = Duration::from_secs(1);

/// The component that says whether the bot runs what is committed.
const CONFIG_SYNC: &str = "config_sync";

/// The health component of the broker session.
const BROKER_SESSION: &str = "broker_session";

/// How often the journal is pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// How often events that could not be written are written again.
const WRITE_AGAIN_EVERY: Duration = Duration::from_secs(2);

/// End of the warning that is shown while nothing can be recorded.
const NOT_RECORDED: &str = "changes are refused (SRV_002); reads go on.";

/// Connects the features to each other and to the metrics; the loops end when `tasks` stop.
pub(crate) fn connect(handles: &FeatureHandles, metrics: &Metrics, tasks: &Tasks) {
    spawn_journal_upkeep(handles, tasks);
    spawn_config_publishing(handles, tasks);
    spawn_session_watch(handles, tasks);
    spawn_health_publishing(handles, tasks);
    spawn_incident_publishing(handles, tasks);
    spawn_store_publishing(handles, tasks);
    spawn_trade_publishing(handles, tasks);
    spawn_shortfall_publishing(handles, tasks);
    register_recovery_runner(handles);
    register_health_sources(handles);
    register_metrics(handles, metrics);
}

fn spawn_journal_upkeep(handles: &FeatureHandles, tasks: &Tasks) {
    let events = handles.events.clone();
    let stopping = tasks.stopping();
    tasks.spawn("journal-upkeep", OnFailure::Log, async move {
        let mut pruned = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(WRITE_AGAIN_EVERY) => {
                    events.write_again();
                    if pruned.elapsed() < PRUNE_EVERY {
                        continue;
                    }
                }
                () = events.prune_wanted() => {}
            }
            pruned = tokio::time::Instant::now();
            if let Err(error) = events.prune().await {
                tracing::warn!(
                    error.cause = error.cause_for_log(),
                    "the journal could not be pruned: {error}"
                );
            }
        }
    });
}

/// Calls `pass` with the value that a feature shows, now and after each change, until the stop.
fn pass_each<T: Clone + Send + Sync + 'static>(
    tasks: &Tasks,
    name: &'static str,
    mut shown: watch::Receiver<T>,
    mut pass: impl FnMut(T) + Send + 'static,
) {
    let stopping = tasks.stopping();
    tasks.spawn(name, OnFailure::Log, async move {
        loop {
            let now = shown.borrow_and_update().clone();
            pass(now);
            tokio::select! {
                () = stopping.cancelled() => return,
                changed = shown.changed() => if changed.is_err() { return },
            }
        }
    });
}

/// The warnings that one feature shows in the overview.
#[derive(Default)]
struct ShownWarnings(Vec<Warning>);

impl ShownWarnings {
    /// Shows these instead of those before.
    fn replace(&mut self, extras: &mut OverviewExtras, now: impl IntoIterator<Item = Warning>) {
        extras.warnings.retain(|warning| !self.0.contains(warning));
        self.0 = now.into_iter().collect();
        extras.warnings.extend(self.0.iter().cloned());
    }
}

/// Passes to the overview the level of system health and what recovery leaves to a person, for the state and the
/// summary.
fn spawn_health_publishing(handles: &FeatureHandles, tasks: &Tasks) {
    let (overview, health) = (handles.overview.clone(), handles.health.clone());
    let stopping = tasks.stopping();
    tasks.spawn("health-in-overview", OnFailure::Log, async move {
        let mut warnings = ShownWarnings::default();
        loop {
            let now = health.overall();
            overview.update_extras(|extras| {
                extras.system_health = Some(now.as_str().to_owned());
                extras.system_health_reason = now.describe_causes();
                extras.bot_trouble = now.bot_trouble.clone();
                let causes: Vec<String> = now.caused_by.iter().map(|(id, ..)| id.clone()).collect();
                extras.not_green = not_green(&now.parts, &causes);
                let left = now.hindered_recoveries.iter();
                warnings.replace(extras, left.map(|left| Warning::with_remedy(&left.why, &left.remedy)));
            });
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(HEALTH_EVERY) => {}
            }
        }
    });
}

/// Reports when nothing can be recorded, and when it can again: as an event, and as a warning while it lasts.
fn spawn_store_publishing(handles: &FeatureHandles, tasks: &Tasks) {
    let (overview, events) = (handles.overview.clone(), handles.events.clone());
    let (mut was_in_trouble, mut warnings) = (false, ShownWarnings::default());
    pass_each(tasks, "store-in-overview", handles.store.trouble(), move |now| {
        if let Some(what) = &now {
            let error = Error::new(Code::StoreUnavailable).detail(what.clone());
            events.publish(NewEvent::failure(&error));
        } else if was_in_trouble {
            let message = "changes can be recorded again";
            events.publish(NewEvent::own(EventKind::Lifecycle, Severity::Low, message, json!({})));
        }
        was_in_trouble = now.is_some();
        overview.update_extras(|extras| {
            extras.is_not_recording = now.is_some();
            let warning = now.map(|what| Warning::from(format!("Since {what}, {NOT_RECORDED}")));
            warnings.replace(extras, warning);
        });
    });
}

/// Passes to the overview when the newest trade of the record closed.
fn spawn_trade_publishing(handles: &FeatureHandles, tasks: &Tasks) {
    let overview = handles.overview.clone();
    pass_each(tasks, "trades-in-overview", handles.performance.watch_newest_close(), move |now| {
        overview.update_extras(|extras| extras.last_closed_trade = now);
    });
}

/// Passes to the overview that the bot remembers fewer trades than before.
fn spawn_shortfall_publishing(handles: &FeatureHandles, tasks: &Tasks) {
    let overview = handles.overview.clone();
    let mut warnings = ShownWarnings::default();
    pass_each(tasks, "shortfall-in-overview", handles.performance.watch_shortfall(), move |now| {
        overview.update_extras(|extras| warnings.replace(extras, now.map(Warning::from)));
    });
}

/// Lets recovery act through workflows, so that there is one executor and one audit trail.
fn register_recovery_runner(handles: &FeatureHandles) {
    let (to_describe, to_list, to_run) =
        (handles.workflows.clone(), handles.workflows.clone(), handles.workflows.clone());
    handles.health.set_runner(WorkflowRunner {
        describe: Arc::new(move |id| {
            let workflows = to_describe.clone();
            Box::pin(async move { describe_for_recovery(&workflows, &id).await })
        }),
        list_candidates: Arc::new(move || {
            let workflows = to_list.clone();
            Box::pin(async move {
                let known = workflows.list_takers(&recovery_samples()).await.into_iter();
                known.map(|(id, refusal)| RecoveryCandidate { id, refusal }).collect()
            })
        }),
        run: Arc::new(move |run| Box::pin(run_recovery(to_run.clone(), run))),
    });
}

/// The parameters that recovery gives a workflow.
fn recovery_params(reason: &str) -> Value {
    json!({"reason": reason})
}

/// The shortest and the longest reason that recovery gives: what takes both takes every one.
fn recovery_samples() -> [Value; 2] {
    [8, 280].map(|length| recovery_params(&"x".repeat(length)))
}

async fn describe_for_recovery(workflows: &Workflows, id: &str) -> WorkflowFact {
    match workflows.foresee_run(id, &recovery_params("recovery of a component")).await {
        Some(RunOutlook { restarts_bot, longest, hindrance, missing_code }) => {
            WorkflowFact { restarts_bot, longest, hindrance, missing_code }
        }
        None => {
            let hindrance = Some(format!("there is no workflow `{id}`"));
            WorkflowFact { restarts_bot: false, longest: Duration::ZERO, hindrance, missing_code: None }
        }
    }
}

/// Registers features above health as health sources; each reports its own level from memory.
fn register_health_sources(handles: &FeatureHandles) {
    if handles.configs.sync() != SyncState::NotApplicable {
        watch_config_sync(handles);
    }
    let configs = handles.configs.clone();
    let audit = move || {
        let fault = configs.record_fault();
        let level = if fault.is_none() { HealthLevel::Healthy } else { HealthLevel::Critical };
        let reason = fault.map(|fault| format!("{fault}: changes are refused")).unwrap_or_default();
        SourceFact { level: Some(level), reason, numbers: Vec::new() }
    };
    handles.health.add_source("audit_chain", Criticality::Important, &["store"], Arc::new(audit));
}

/// Watches whether the bot runs what is committed.
fn watch_config_sync(handles: &FeatureHandles) {
    let configs = handles.configs.clone();
    let sync = move || {
        let now = configs.current();
        let level = match now.sync {
            SyncState::InSync | SyncState::Trial | SyncState::PendingRestart => Some(HealthLevel::Healthy),
            SyncState::Drifted => Some(HealthLevel::Critical),
            // That the bot is absent is reported by another check; what has no config is not watched.
            SyncState::BotOffline | SyncState::Unknown | SyncState::NotApplicable => None,
        };
        SourceFact { level, reason: now.sync_reason.clone(), numbers: Vec::new() }
    };
    handles.health.add_source(CONFIG_SYNC, Criticality::Important, &["bot"], Arc::new(sync));
}

/// Tells health whether there is a broker session to watch: not every bot has one.
fn spawn_session_watch(handles: &FeatureHandles, tasks: &Tasks) {
    let health = handles.health.clone();
    pass_each(tasks, "session-in-health", handles.bots.watch(), move |seen| {
        // The last report of an absent bot is no evidence.
        if let Some(report) = seen.report.as_ref().filter(|_| seen.presence.answers()) {
            let is_there = report.session.is_some() || seen.is_unreadable("/session");
            health.watch_built_in(BROKER_SESSION, is_there);
        }
    });
}

/// Passes to the overview whether the bot runs the committed config, for the state and the summary; and to health
/// whether there is a config to watch.
fn spawn_config_publishing(handles: &FeatureHandles, tasks: &Tasks) {
    let (shown, handles) = (handles.configs.watch(), handles.clone());
    let mut warnings = ShownWarnings::default();
    pass_each(tasks, "config-in-overview", shown, move |now| {
        let has_config = now.sync != SyncState::NotApplicable;
        if has_config {
            watch_config_sync(&handles);
        } else {
            handles.health.remove_source(CONFIG_SYNC);
        }
        let status = now.sync.as_str().to_owned();
        let sync = has_config.then(|| ConfigSync { status, reason: now.sync_reason.clone() });
        let committed = now.committed.as_ref().filter(|_| has_config).map(CommittedConfigView::version_ref);
        let fault = handles.configs.record_fault();
        let fault = fault.map(|fault| Warning::from(format!("Config changes are refused: {fault}.")));
        handles.overview.update_extras(|extras| {
            (extras.config_sync, extras.committed_config) = (sync, committed);
            warnings.replace(extras, fault);
        });
    });
}

fn register_metrics(handles: &FeatureHandles, metrics: &Metrics) {
    let store = handles.store.clone();
    let writable = move || if store.writable() { 1.0 } else { 0.0 };
    metrics.gauge("store_writable", "Whether changes can be recorded (1) or not (0)", writable);
    let store = handles.store.clone();
    metrics
        .gauge("store_backlog", "Writes that wait for the disk", move || gauge_value(store.backlog() as u64));
    let events = handles.events.clone();
    metrics
        .gauge("events_latest_seq", "The newest number of the journal", move || gauge_value(events.latest()));
}

/// A count as a metric's value; above 2^53 the last digits are lost, which does not matter in a graph.
fn gauge_value(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a metric's value is a float by the format")]
    let value = number as f64;
    value
}

/// Runs a workflow for a recovery and waits until it ends. Has no deadline of its own, since the run has one.
async fn run_recovery(workflows: Workflows, recovery: RecoveryRun) -> HandlerEnd {
    let RecoveryRun { workflow: id, key, reason, asked_by } = recovery;
    let actor = match asked_by {
        Some(by) => StoredActor { key_id: by, request_id: key.clone(), client: None },
        None => StoredActor::recovery(key.clone()),
    };
    let started = workflows.execute_workflow(&id, recovery_params(&reason), actor.clone(), Some(key)).await;
    let is_own = !matches!(started, Ok(StartedRun::Joined(_)));
    let mut run = match started {
        Ok(StartedRun::New(run) | StartedRun::Replayed(run) | StartedRun::Joined(run)) => run,
        Err(error) => return end_without_run(&error),
    };
    let began = Instant::now();
    while !run.terminal {
        if is_own && run.started_at.is_none() && began.elapsed() > QUEUE_PATIENCE {
            // Its turn has not come, and its own deadline does not run yet. It is taken back, as it has done nothing.
            let _ = workflows.cancel_run(&run.run_id, &actor).await;
        }
        match workflows.wait_for_run(&run.run_id, run.seq, RUN_WAIT).await {
            Ok(now) => run = now,
            Err(_) => tokio::time::sleep(RUN_RETRY).await,
        }
    }
    let summary = format!("run {} of {id} ended {}", run.run_id, run.state.as_str());
    let never_began = run.started_at.is_none();
    // Of a run that ends so, nothing had to be taken back.
    let had_no_effect = run.state.as_str() == "failed";
    match &run.error {
        _ if never_began => {
            HandlerEnd::NotTried(format!("{summary}: something else held the bot for {QUEUE_PATIENCE:?}"))
        }
        None => HandlerEnd::Done(summary),
        Some(error) if had_no_effect && is_known_impossible(&error.error_code) => {
            HandlerEnd::NotTried(error.message.clone())
        }
        Some(error) if error.error_code == Code::RecoveryRefused.row().code => {
            HandlerEnd::NotTried(error.message.clone())
        }
        Some(error) => HandlerEnd::Failed(format!("{summary}: {}", error.message)),
    }
}

/// A run that did not begin, whatever the reason (a lock that is held, a store that is full), is no attempt. One that may
/// have begun is.
fn end_without_run(error: &Error) -> HandlerEnd {
    match error.problem("", chrono::Utc::now()).effect {
        Effect::None => HandlerEnd::NotTried(error.to_string()),
        _ => HandlerEnd::Failed(error.to_string()),
    }
}

/// Whether a run that failed before its first effect with this code could not have been done: that is no attempt.
fn is_known_impossible(error_code: &str) -> bool {
    [Code::BotNotCapable, Code::SupervisorMissing].iter().any(|code| code.row().code == error_code)
}
