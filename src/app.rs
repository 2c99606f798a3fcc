//! The running server: takes the data folder and the address, starts every part, serves, and stops in order.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::handles::FeatureHandles;
use crate::memory::give_back_memory;
use crate::settings::{BOT_API_AUTH_TOKEN, BOT_API_PORT, BOT_DATA_DIR, Settings};
use crate::{routes, wiring};
use botops_contract::{EventKind, Severity};
use botops_core::error::Error;
use botops_core::failpoints;
use botops_core::regular_file::open_regular;
use botops_core::tasks::{OnFailure, Tasks};
use botops_core::telemetry::{HttpMetrics, Metrics};
use botops_http::{self, ApiKeys, CorsPolicy, GuardOptions, OperationIndex, RequestGuard};
use botops_server::events::NewEvent;
use botops_server::health::Health;
use botops_server::{bots, configs, overview};

/// How long running work may take to end after a stop is asked for.
const DRAIN: Duration = Duration::from_secs(9);

/// File descriptors reserved for the store, the log, the bot and health checks; connections get the rest.
const RESERVED_FILES: u64 = 256;

/// Why botops does not start; shown to the operator as one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is valid, but cannot be used on this machine as it is.
    #[error("{setting}: {problem}. {remedy}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong, without a full stop.
        problem: String,
        /// What to do, as a sentence.
        remedy: String,
    },
    /// A part of botops failed to start.
    #[error("{0}")]
    Part(#[from] Error),
}

/// A running server.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    /// Where it listens, beside which bot, and where its key is.
    greeting: String,
    handles: FeatureHandles,
    tasks: Tasks,
    // Held until the process ends, so that only one botops uses the data folder.
    _locks: Vec<File>,
}

impl App {
    /// Takes the data folder and the address, opens every part and begins to serve. `faults` are sentences on what is
    /// wrong already, shown as warnings.
    ///
    /// # Errors
    /// When a setting cannot be used or a part fails; nothing is served then.
    pub async fn start(settings: Settings, faults: Vec<String>) -> Result<Self, StartError> {
        if let Some(point) = &settings.kill_at {
            failpoints::arm(point);
        }
        if let Some(folder) = &settings.fail_in {
            failpoints::fail_in(folder);
        }
        bots::install_tls_provider();
        let mut faults = faults;
        let locks = take_data_dir(&settings.data_dir, &mut faults)?;
        let listening = botops_http::bind(settings.address).map_err(|error| StartError::Setting {
            setting: BOT_API_PORT.name,
            problem: format!("{} cannot be bound ({error})", settings.address),
            remedy: "Stop whatever holds the port, or choose another one.".to_owned(),
        })?;
        let address = listening.address();
        let tasks = Tasks::new();
        let metrics = Metrics::new();
        metrics.add_log_losses();
        let lost = lost_store_warning(&settings.data_dir);
        let handles = FeatureHandles::open(&settings, &metrics, &tasks).await?;
        handles.store.seal_if_unusable();
        wiring::connect(&handles, &metrics, &tasks);
        give_back_memory(&tasks);
        handles.overview.update_extras(|extras| {
            extras.warnings.extend(faults.into_iter().chain(lost).map(overview::Warning::from));
        });
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
        let operations = OperationIndex::new(&operations, &HttpMetrics::new(&metrics));
        let options = GuardOptions {
            keys: ApiKeys::new(settings.token.clone(), &settings.keys, settings.rate_limit),
            operations: configs::with_refusals(
                overview::with_ready(operations, &handles.overview),
                &handles.configs,
            ),
            cors: CorsPolicy::new(settings.cors_origins.clone()),
            keyed: handles.change_keys.keyed_changes(),
        };
        let guard = Arc::new(RequestGuard::new(router, options));
        spawn_guard_pruning(guard.clone(), &tasks);
        let serving = botops_http::serve(listening, guard, tasks.clone(), connection_limit());
        tasks.spawn("listener", OnFailure::Stop, serving);
        handles.health.watch_api(address);
        let greeting = greeting(&settings, address);
        log_start(&settings, address, &greeting, &handles);
        notify_systemd(&tasks, handles.health.clone());
        Ok(Self { address, greeting, handles, tasks, _locks: locks })
    }

    /// The address the API listens on, with the real port when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One line for people: where it listens, beside which bot, and where its key is. It is in the log as well.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// The handles of all features, for callers in this process.
    pub fn handles(&self) -> &FeatureHandles {
        &self.handles
    }

    /// Resolves when a part has failed without which botops cannot work.
    pub async fn failed(&self) {
        self.tasks.stopping().cancelled().await;
    }

    /// Lets running requests finish, closes streams with a reason, and makes everything that is recorded durable.
    pub async fn stop(self) {
        // Does nothing without systemd; whether it succeeds makes no difference here.
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

/// Names the key's place, never the key.
fn greeting(settings: &Settings, address: SocketAddr) -> String {
    format!(
        "botops serves on {address} beside bot {} at {}; its key is {} of {}",
        settings.bot_id, settings.bot_address, BOT_API_AUTH_TOKEN.name, settings.key_origin
    )
}

fn log_start(settings: &Settings, address: SocketAddr, greeting: &str, handles: &FeatureHandles) {
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    tracing::info!(net.address = %address, "{greeting}");
    handles.events.publish(NewEvent::own(
        EventKind::Lifecycle,
        Severity::Low,
        format!("botops serves on {address}"),
        json!({"version": env!("CARGO_PKG_VERSION"), "address": address.to_string()}),
    ));
}

fn spawn_guard_pruning(guard: Arc<RequestGuard>, tasks: &Tasks) {
    let stopping = tasks.stopping();
    tasks.spawn("guard-housekeeping", OnFailure::Log, async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return guard.sum_up_refusals(),
                () = tokio::time::sleep(Duration::from_secs(60)) => guard.sum_up_refusals(),
            }
        }
    });
}

/// Tells systemd READY once, and WATCHDOG at half the interval it asks for as long as health's scheduler and writer
/// make progress.
///
/// The ping runs on the runtime that serves requests, so it also stops when that one hangs.
fn notify_systemd(tasks: &Tasks, health: Health) {
    // Does nothing without systemd; whether it succeeds makes no difference here.
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

/// The number of connections that the limit on open files allows, less [`RESERVED_FILES`]. Raises the soft limit first.
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

/// Creates the data folder with mode 0700 and locks it for this process: the folder itself, which is always there, and the
/// lock file, which earlier versions look at.
fn take_data_dir(folder: &Path, faults: &mut Vec<String>) -> Result<Vec<File>, StartError> {
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
    let mut locks = vec![File::open(folder).map_err(|error| unusable(error.to_string()))?];
    let lock_file = folder.join("botops.lock");
    match open_regular(&lock_file, std::fs::OpenOptions::new().write(true).create(true).truncate(false)) {
        Ok(lock) => locks.push(lock),
        Err(error) => {
            let path = lock_file.display();
            faults.push(format!(
                "{path} cannot be used ({error}); the folder itself is locked. Remove what is in its place."
            ));
        }
    }
    for lock in &locks {
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(StartError::Setting {
                    setting: BOT_DATA_DIR.name,
                    problem: "another botops uses this folder".to_owned(),
                    remedy: "Stop it, or give this one its own folder.".to_owned(),
                });
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(unusable(error.to_string())),
        }
    }
    Ok(locks)
}

/// A warning when there is no store in a folder that was used before: then the history is gone, and nothing else says so.
fn lost_store_warning(folder: &Path) -> Option<String> {
    let store = folder.join("ops.db");
    let is_gone = std::fs::metadata(&store).map_or_else(
        |error| error.kind() == std::io::ErrorKind::NotFound,
        |there| there.is_file() && there.len() == 0,
    );
    let used_before = ["config/config_history.jsonl", "audit.key", "config/HEAD"];
    let was_used = used_before.iter().any(|file| folder.join(file).exists());
    (is_gone && was_used).then(|| {
        format!(
            "{} was missing or empty at this start, although the folder was used before: events, trades, runs and the history of \
             health are gone. Stop botops and put the file back from a backup, or go on without them.",
            store.display()
        )
    })
}
