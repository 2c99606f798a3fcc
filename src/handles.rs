//! The handle of every feature, built once in dependency order; REST, MCP and the command line call these.

use crate::settings::Settings;
use botops_core::error::Error;
use botops_core::tasks::Tasks;
use botops_core::telemetry::Metrics;
use botops_server::bots::{BotControl, Bots, BotsOptions, Supervisor};
use botops_server::change_keys::ChangeKeys;
use botops_server::configs::{Configs, ConfigsOptions};
use botops_server::errors::ErrorList;
use botops_server::events::Events;
use botops_server::health::{Health, HealthOptions};
use botops_server::incidents::Incidents;
use botops_server::overview::{Overview, OverviewOptions};
use botops_server::performance::PerformanceHistory;
use botops_server::store::Store;
use botops_server::workflows::{WorkflowPeers, Workflows, WorkflowsOptions};

/// The handles of all features; cloning is cheap.
#[derive(Debug, Clone)]
pub struct FeatureHandles {
    /// The SQLite file in which the features keep what must last.
    pub store: Store,
    /// The idempotency keys of all changes.
    pub change_keys: ChangeKeys,
    /// The journal of events, numbered across restarts.
    pub events: Events,
    /// The connection to the bot: its latest state, its presence, requests to it.
    pub bots: Bots,
    /// Commands to the bot, with what became of them.
    pub control: BotControl,
    /// Restarts the bot's process, as the settings say how.
    pub supervisor: Supervisor,
    pub workflows: Workflows,
    /// Health checks, alerts and recovery.
    pub health: Health,
    /// What broke, and what was done about it.
    pub incidents: Incidents,
    /// The failures of the bot and of botops.
    pub errors: ErrorList,
    /// State, summary, metrics and the stream, rendered ahead.
    pub overview: Overview,
    /// The closed trades and figures made from them.
    pub performance: PerformanceHistory,
    /// The bot's config: versions, trials and their audit.
    pub configs: Configs,
}

impl FeatureHandles {
    /// Opens the store and builds every feature on it.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn open(settings: &Settings, metrics: &Metrics, tasks: &Tasks) -> Result<Self, Error> {
        let store = Store::open(&settings.data_dir.join("ops.db"))?;
        let change_keys = ChangeKeys::open(store.clone()).await?;
        let events = Events::open(store.clone()).await?;
        let supervisor = Supervisor::new(
            settings.supervisor.clone(),
            &settings.data_dir,
            settings.bot_environment.clone(),
        );
        let options = BotsOptions {
            id: settings.bot_id.clone(),
            address: settings.bot_address.clone(),
            poll_interval: settings.poll_interval,
            supervisor: supervisor.clone(),
        };
        let bots = Bots::open(options, store.clone(), events.clone(), change_keys.clone(), tasks).await?;
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
        let incidents = Incidents::open(store.clone(), events.clone(), tasks).await?;
        let performance = PerformanceHistory::open(bots.clone(), store.clone(), tasks);
        let control = BotControl::new(bots.clone(), events.clone());
        let peers = WorkflowPeers {
            bots: bots.clone(),
            configs: configs.clone(),
            supervisor: supervisor.clone(),
            events: events.clone(),
        };
        let workflows =
            Workflows::open(workflows_options(settings), peers, store.clone(), metrics, tasks).await?;
        let errors = ErrorList::new(bots.clone(), events.clone());
        let options = overview_options(settings);
        let overview = Overview::start(options, bots.clone(), events.clone(), errors.clone(), tasks)?;
        overview.register_metrics(metrics);
        Ok(Self {
            store,
            change_keys,
            events,
            bots,
            control,
            supervisor,
            workflows,
            health,
            incidents,
            configs,
            performance,
            errors,
            overview,
        })
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

fn workflows_options(settings: &Settings) -> WorkflowsOptions {
    WorkflowsOptions {
        data_dir: settings.data_dir.clone(),
        log_dir: settings.log_dir.clone(),
        canaries: vec![settings.token.clone()],
    }
}

fn overview_options(settings: &Settings) -> OverviewOptions {
    OverviewOptions {
        stale_after: settings.cache_ttl,
        stream_interval: settings.stream_interval,
        stream_max_clients: settings.stream_max_clients,
    }
}
