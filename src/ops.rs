//! Every handle, built once in dependency order: what REST, MCP and the command line may call.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::settings::Settings;
use botops_contract::{EventKind, Severity};
use botops_core::error::{Code, Error};
use botops_core::tasks::{OnFailure, Tasks};
use botops_core::telemetry::Metrics;
use botops_server::bots::{BotAddress, BotControl, Bots, BotsOptions, Supervisor};
use botops_server::configs::{Configs, ConfigsOptions, SyncState};
use botops_server::events::{Events, NewEvent};
use botops_server::health::{
    Criticality, Fact, HandlerEnd, Health, HealthOptions, Level, RecoveryRun, WorkflowFact, WorkflowRunner,
};
use botops_server::operations_log::StoredActor;
use botops_server::overview::{ConfigSync, Overview, OverviewOptions};
use botops_server::performance::PerformanceHistory;
use botops_server::store::Store;
use botops_server::workflows::{Started, WorkflowPeers, Workflows, WorkflowsOptions};

/// How often the word of health is passed on, how long one wait for a recovery's run lasts, and how soon a run that
/// cannot be read is looked at again.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
const RUN_WAIT: Duration = Duration::from_secs(30);
const RUN_RETRY: Duration = Duration::from_secs(1);

/// How often the journal is pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// What a warning says while nothing can be recorded.
const NOT_RECORDED: &str = "changes are refused (SRV_002); reads go on.";

/// All handles; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Ops {
    /// The store.
    pub store: Store,
    /// The journal.
    pub events: Events,
    /// The way to the bot.
    pub bots: Bots,
    /// Commands to the bot.
    pub control: BotControl,
    /// Who starts the bot again.
    pub supervisor: Supervisor,
    /// Workflows and their runs.
    pub workflows: Workflows,
    /// Health.
    pub health: Health,
    /// State, summary, metrics and the stream.
    pub overview: Overview,
    /// How trading went.
    pub performance: PerformanceHistory,
    /// The bot's config.
    pub configs: Configs,
}

impl Ops {
    /// Opens the store and builds every feature on it.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn open(settings: &Settings, metrics: &Metrics, tasks: &Tasks) -> Result<Self, Error> {
        let store = Store::open(&settings.data_dir.join("ops.db"))?;
        let events = Events::open(store.clone()).await?;
        let supervisor = Supervisor::new(settings.supervisor.clone(), &settings.data_dir);
        let options = BotsOptions {
            id: settings.bot_id.clone(),
            address: BotAddress::UnixSocket(settings.socket.clone()),
            poll_interval: settings.poll_interval,
            supervisor: supervisor.clone(),
        };
        let bots = Bots::open(options, store.clone(), events.clone(), tasks).await?;
        let options = ConfigsOptions {
            data_dir: settings.data_dir.clone(),
            poll_interval: settings.poll_interval,
            min_trial: settings.config_min_trial,
            supervisor: supervisor.clone(),
        };
        let configs = Configs::open(options, store.clone(), events.clone(), bots.clone(), tasks).await?;
        let health = Health::open(
            health_options(settings),
            store.clone(),
            events.clone(),
            bots.clone(),
            metrics,
            tasks,
        )
        .await?;
        let performance = PerformanceHistory::open(bots.clone(), store.clone(), tasks);
        let control = BotControl::new(bots.clone(), events.clone());
        let options = WorkflowsOptions {
            data_dir: settings.data_dir.clone(),
            log_dir: settings.log_dir.clone(),
            canaries: vec![settings.token.clone()],
        };
        let peers = WorkflowPeers {
            bots: bots.clone(),
            configs: configs.clone(),
            supervisor: supervisor.clone(),
            events: events.clone(),
        };
        let workflows = Workflows::open(options, peers, store.clone(), metrics, tasks).await?;
        let options = OverviewOptions {
            stale_after: settings.cache_ttl,
            stream_interval: settings.stream_interval,
            stream_max_clients: settings.stream_max_clients,
        };
        let overview = Overview::start(options, bots.clone(), events.clone(), tasks)?;
        overview.register_metrics(metrics);
        let ops = Self {
            store,
            events,
            bots,
            control,
            supervisor,
            workflows,
            health,
            configs,
            performance,
            overview,
        };
        ops.prune(tasks);
        ops.tell_of_config(tasks);
        ops.tell_of_health(tasks);
        ops.tell_of_store(tasks);
        ops.let_recovery_run();
        ops.register_health_sources();
        ops.count(metrics);
        Ok(ops)
    }

    fn prune(&self, tasks: &Tasks) {
        let events = self.events.clone();
        let stopping = tasks.stopping();
        tasks.spawn("journal-prune", OnFailure::Log, async move {
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(PRUNE_EVERY) => {}
                }
                if let Err(error) = events.prune().await {
                    tracing::warn!(
                        error.cause = error.cause_for_log(),
                        "the journal could not be pruned: {error}"
                    );
                }
            }
        });
    }

    /// The state and the summary carry the word of system health.
    fn tell_of_health(&self, tasks: &Tasks) {
        let (overview, health) = (self.overview.clone(), self.health.clone());
        let stopping = tasks.stopping();
        tasks.spawn("health-in-overview", OnFailure::Log, async move {
            let mut told = None;
            loop {
                let word = health.overall().word().to_owned();
                if told.as_ref() != Some(&word) {
                    overview.update_extras(|extras| extras.system_health = Some(word.clone()));
                    told = Some(word);
                }
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(HEALTH_EVERY) => {}
                }
            }
        });
    }

    /// Nothing can be recorded, or can again: an event with its semantic error, and a warning as long as it lasts.
    fn tell_of_store(&self, tasks: &Tasks) {
        let (overview, events, mut trouble) =
            (self.overview.clone(), self.events.clone(), self.store.trouble());
        let stopping = tasks.stopping();
        tasks.spawn("store-in-overview", OnFailure::Log, async move {
            let mut told = false;
            loop {
                let now = trouble.borrow_and_update().clone();
                if let Some(what) = &now {
                    let error = Error::new(Code::StoreUnavailable).detail(what.clone());
                    events.publish(NewEvent::failure(&error));
                } else if told {
                    let message = "changes can be recorded again";
                    events.publish(NewEvent::own(EventKind::Lifecycle, Severity::Low, message, json!({})));
                }
                told = now.is_some();
                overview.update_extras(|extras| {
                    extras.warnings.retain(|warning| !warning.ends_with(NOT_RECORDED));
                    extras.warnings.extend(now.map(|what| format!("Since {what}, {NOT_RECORDED}")));
                });
                tokio::select! {
                    () = stopping.cancelled() => return,
                    changed = trouble.changed() => if changed.is_err() { return },
                }
            }
        });
    }

    /// Recovery acts through workflows: one executor, one audit trail.
    fn let_recovery_run(&self) {
        let (to_describe, to_run) = (self.workflows.clone(), self.workflows.clone());
        self.health.set_runner(WorkflowRunner {
            describe: Arc::new(move |id| {
                let workflows = to_describe.clone();
                Box::pin(async move {
                    let (restarts_bot, longest) = workflows.reach(&id).await?;
                    Some(WorkflowFact { restarts_bot, longest })
                })
            }),
            run: Arc::new(move |run| Box::pin(recover(to_run.clone(), run))),
        });
    }

    /// Parts above health answer for themselves, from memory.
    fn register_health_sources(&self) {
        let configs = self.configs.clone();
        let sync = move || {
            let now = configs.current();
            let level = match now.sync {
                SyncState::InSync | SyncState::Trial | SyncState::PendingRestart => Some(Level::Healthy),
                SyncState::Drifted => Some(Level::Critical),
                // The bot's absence is another check's word.
                SyncState::BotOffline | SyncState::Unknown => None,
            };
            Fact { level, reason: now.sync_reason.clone(), numbers: Vec::new() }
        };
        self.health.add_source("config_sync", Criticality::Important, &["bot"], Arc::new(sync));
        let configs = self.configs.clone();
        let audit = move || {
            let level = if configs.current().writable { Level::Healthy } else { Level::Critical };
            let reason = "the audit does not hold, or the config cannot be read: changes are refused";
            Fact { level: Some(level), reason: reason.to_owned(), numbers: Vec::new() }
        };
        self.health.add_source("audit_chain", Criticality::Important, &["store"], Arc::new(audit));
    }

    /// The state and the summary say whether the bot runs what is committed.
    fn tell_of_config(&self, tasks: &Tasks) {
        let (overview, mut config) = (self.overview.clone(), self.configs.watch());
        let stopping = tasks.stopping();
        tasks.spawn("config-in-overview", OnFailure::Log, async move {
            loop {
                let now = config.borrow_and_update().clone();
                let sync =
                    ConfigSync { status: now.sync.as_str().to_owned(), reason: now.sync_reason.clone() };
                overview.update_extras(|extras| extras.config_sync = Some(sync));
                tokio::select! {
                    () = stopping.cancelled() => return,
                    changed = config.changed() => if changed.is_err() { return },
                }
            }
        });
    }

    fn count(&self, metrics: &Metrics) {
        let store = self.store.clone();
        let writable = move || if store.writable() { 1.0 } else { 0.0 };
        metrics.gauge("store_writable", "Whether changes can be recorded (1) or not (0)", writable);
        let store = self.store.clone();
        metrics.gauge("store_backlog", "Writes that wait for the disk", move || count(store.backlog()));
        let events = self.events.clone();
        metrics.gauge("events_latest_seq", "The newest number of the journal", move || wide(events.latest()));
    }
}

fn health_options(settings: &Settings) -> HealthOptions {
    let health = settings.health.clone();
    HealthOptions {
        data_dir: settings.data_dir.clone(),
        allowed: health.allowed,
        secrets: health.secrets,
        webhook: health.webhook,
        webhook_secret: health.webhook_secret,
        alertmanager: health.alertmanager,
        watchdog: health.watchdog,
    }
}

/// A count as a metric's value.
fn count(number: usize) -> f64 {
    wide(number as u64)
}

/// A wide number as a metric's value; beyond 2^53 the last digits are lost, which no graph shows.
fn wide(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a metric's value is a float by the format")]
    let value = number as f64;
    value
}

/// Runs a workflow for a recovery and waits for its end, however long that takes: the run has its own deadline.
async fn recover(workflows: Workflows, recovery: RecoveryRun) -> HandlerEnd {
    let RecoveryRun { workflow: id, key, reason, asked_by } = recovery;
    let actor = match asked_by {
        Some(by) => StoredActor { key_id: by, request_id: key.clone(), client: None },
        None => StoredActor::recovery(key.clone()),
    };
    let started = workflows.execute(&id, json!({"reason": reason}), actor, Some(key)).await;
    let mut run = match started {
        Ok(Started::New(run) | Started::Replayed(run) | Started::Joined(run)) => run,
        // Whatever the reason (a lock that is held, a store that is full), nothing was begun.
        Err(error) => return HandlerEnd::NotTried(error.to_string()),
    };
    while !run.terminal {
        match workflows.wait(&run.run_id, run.seq, RUN_WAIT).await {
            Ok(now) => run = now,
            Err(_) => tokio::time::sleep(RUN_RETRY).await,
        }
    }
    let told = format!("run {} of {id} ended {}", run.run_id, run.state.as_str());
    match &run.error {
        None => HandlerEnd::Done(told),
        Some(error) if error.error_code == Code::RecoveryRefused.row().code => {
            HandlerEnd::NotTried(error.message.clone())
        }
        Some(error) => HandlerEnd::Failed(format!("{told}: {}", error.message)),
    }
}
