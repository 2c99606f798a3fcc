//! The handle of every feature, built once in dependency order: what REST, MCP and the command line may call.

use crate::settings::Settings;
use botops_core::error::Error;
use botops_core::tasks::Tasks;
use botops_core::telemetry::Metrics;
use botops_server::bots::{BotAddress, BotControl, Bots, BotsOptions, Supervisor};
use botops_server::configs::{Configs, ConfigsOptions};
use botops_server::events::Events;
use botops_server::health::{Health, HealthOptions};
use botops_server::overview::{Overview, OverviewOptions};
use botops_server::performance::PerformanceHistory;
use botops_server::store::Store;
use botops_server::workflows::{WorkflowPeers, Workflows, WorkflowsOptions};

/// All handles; cloning is cheap.
#[derive(Debug, Clone)]
pub struct FeatureHandles {
    /// The store.
    pub store: Store,
    /// The journal of events.
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

impl FeatureHandles {
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
        let peers = WorkflowPeers {
            bots: bots.clone(),
            configs: configs.clone(),
            supervisor: supervisor.clone(),
            events: events.clone(),
        };
        let workflows =
            Workflows::open(workflows_options(settings), peers, store.clone(), metrics, tasks).await?;
        let overview = Overview::start(overview_options(settings), bots.clone(), events.clone(), tasks)?;
        overview.register_metrics(metrics);
        Ok(Self {
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
