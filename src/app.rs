//! Bind, start, serve, stop, in order.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::handles::FeatureHandles;
use crate::settings::{BOT_API_PORT, BOT_DATA_DIR, Settings};
use crate::{routes, wiring};
use botops_contract::{EventKind, Severity};
use botops_core::error::Error;
use botops_core::failpoints;
use botops_core::tasks::{OnFailure, Tasks};
use botops_core::telemetry::{HttpMetrics, Metrics};
use botops_http::{self, Cors, Guard, GuardOptions, Keys, Operations};
use botops_server::events::NewEvent;
use botops_server::health::Health;
use botops_server::{bots, overview};

/// How long everything may take to end.
const DRAIN: Duration = Duration::from_secs(9);

/// File descriptors kept back from connections: store, log, bot, probes.
const RESERVED_FILES: u64 = 256;

/// Why botops does not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used as things are.
    #[error("{setting}: {problem}. {remedy}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A part of botops failed.
    #[error("{0}")]
    Part(#[from] Error),
}

/// A running botops.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    handles: FeatureHandles,
    tasks: Tasks,
    // Held until the end: one botops per data folder.
    _lock: File,
}

impl App {
    /// Takes the data folder and the address, opens everything and begins to serve.
    ///
    /// # Errors
    /// [`StartError`], before anything was changed.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        if let Some(point) = &settings.kill_at {
            failpoints::arm(point);
        }
        if let Some(folder) = &settings.fail_in {
            failpoints::fail_in(folder);
        }
        bots::install_tls_provider();
        let lock = take_data_dir(&settings.data_dir)?;
        let listening = botops_http::bind(settings.address).map_err(|error| StartError::Setting {
            setting: BOT_API_PORT.name,
            problem: format!("{} cannot be bound ({error})", settings.address),
            remedy: "Stop whatever holds the port, or choose another one.".to_owned(),
        })?;
        let address = listening.address();
        let tasks = Tasks::new();
        let metrics = Metrics::new();
        let handles = FeatureHandles::open(&settings, &metrics, &tasks).await?;
        wiring::connect(&handles, &metrics, &tasks);
        let (router, operations) = routes::build(
            &handles,
            routes::McpAccess {
                hosts: settings.allowed_hosts.clone(),
                origins: settings
                    .cors_origins
                    .iter()
                    .filter_map(|origin| Some(origin.to_str().ok()?.to_owned()))
                    .collect(),
                stopping: tasks.stopping(),
            },
        )?;
        let operations = Operations::new(&operations, &HttpMetrics::new(&metrics));
        let options = GuardOptions {
            keys: Keys::new(settings.token.clone(), &settings.keys, settings.rate_limit),
            operations: overview::with_ready(operations, &handles.overview),
            cors: Cors::new(settings.cors_origins.clone()),
        };
        let guard = Arc::new(Guard::new(router, options));
        spawn_guard_pruning(guard.clone(), &tasks);
        let serving = botops_http::serve(listening, guard, tasks.clone(), connection_limit());
        tasks.spawn("listener", OnFailure::Stop, serving);
        handles.health.watch_api(address);
        log_start(&settings, address, &handles);
        notify_systemd(&tasks, handles.health.clone());
        Ok(Self { address, handles, tasks, _lock: lock })
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the process can do, for callers inside it.
    pub fn handles(&self) -> &FeatureHandles {
        &self.handles
    }

    /// Resolves when a part without which botops cannot work has failed.
    pub async fn failed(&self) {
        self.tasks.stopping().cancelled().await;
    }

    /// Lets running requests finish, closes streams with a reason, and makes everything durable.
    pub async fn stop(self) {
        // Without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.handles.events.publish(NewEvent::own(
            EventKind::Lifecycle,
            Severity::Low,
            "botops stops",
            json!({"version": env!("CARGO_PKG_VERSION")}),
        ));
        if !self.tasks.finish(DRAIN).await {
            tracing::warn!("some work did not end within {DRAIN:?}");
        }
        self.handles.store.flush().await;
        tracing::info!("botops has stopped");
    }
}

fn log_start(settings: &Settings, address: SocketAddr, handles: &FeatureHandles) {
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    tracing::info!(net.address = %address, "botops serves on {address}");
    handles.events.publish(NewEvent::own(
        EventKind::Lifecycle,
        Severity::Low,
        format!("botops serves on {address}"),
        json!({"version": env!("CARGO_PKG_VERSION"), "address": address.to_string()}),
    ));
}

fn spawn_guard_pruning(guard: Arc<Guard>, tasks: &Tasks) {
    let stopping = tasks.stopping();
    tasks.spawn("guard-housekeeping", OnFailure::Log, async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(60)) => guard.forget_quiet(),
            }
        }
    });
}

/// READY once, WATCHDOG at half the interval systemd asks for, while scheduler and writer of health move on. The ping
/// comes from the same runtime that serves.
fn notify_systemd(tasks: &Tasks, health: Health) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let stopping = tasks.stopping();
    tasks.spawn("watchdog", OnFailure::Log, async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(interval / 2) => {
                    if !health.makes_progress() {
                        continue;
                    }
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
            }
        }
    });
}

/// As many connections as files allow, so that the bot's socket and the store always find one.
fn connection_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let files = limit.current.unwrap_or(65_536).min(65_536);
    usize::try_from(files.saturating_sub(RESERVED_FILES).max(64)).unwrap_or(64)
}

/// Makes the data folder (0700) and takes it for this process alone.
fn take_data_dir(folder: &Path) -> Result<File, StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let unusable = |problem: String| StartError::Setting {
        setting: BOT_DATA_DIR.name,
        problem: format!("the folder cannot be used ({problem})"),
        remedy: "Name a folder that this user can write.".to_owned(),
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| unusable(error.to_string()))?;
    let lock = File::create(folder.join("botops.lock")).map_err(|error| unusable(error.to_string()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::Setting {
            setting: BOT_DATA_DIR.name,
            problem: "another botops uses this folder".to_owned(),
            remedy: "Stop it, or give this one its own folder.".to_owned(),
        }),
        Err(std::fs::TryLockError::Error(error)) => Err(unusable(error.to_string())),
    }
}
