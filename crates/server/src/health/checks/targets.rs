//! Everything a check may read or connect to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use botops_core::error::{Code, Error};
use secrecy::SecretString;

use super::address_guard::AddressGuard;
use super::check_threads::CheckThreads;
use super::sample::HealthSource;
use super::soundness::StoreSoundness;
use super::system::MachineReadings;
use crate::bots::Bots;
use crate::store::Store;

/// How many notices wait, how long the oldest one has waited, and how many were given up in the last day.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OutboxBacklog {
    pub(crate) waiting: usize,
    pub(crate) oldest_waiting: Duration,
    pub(crate) dead: usize,
}

/// Reads the outbox; a closure, because the outbox belongs to `alerts/`, which imports the checks.
type ReadOutboxBacklog = Box<dyn Fn() -> OutboxBacklog + Send + Sync>;

/// Everything a check may read or connect to.
pub(crate) struct CheckTargets {
    pub(crate) store: Store,
    pub(crate) bots: Bots,
    pub(crate) guard: AddressGuard,
    /// Values of `BOT_CHECK_SECRET_*`, by name.
    pub(crate) secrets: BTreeMap<String, SecretString>,
    pub(crate) own_address: OnceLock<SocketAddr>,
    sources: Mutex<BTreeMap<String, HealthSource>>,
    pub(crate) outbox_backlog: ReadOutboxBacklog,
    /// The HTTP client for URLs of checkers: it reaches only addresses that the guard allows.
    pub(crate) http: reqwest::Client,
    /// The HTTP client for botops' own API.
    pub(crate) own_http: reqwest::Client,
    /// The threads for calls of added checkers that may hang: files and their file systems.
    pub(crate) threads: CheckThreads,
    /// The same for the checks of the store and of the machine.
    pub(crate) own_threads: CheckThreads,
    pub(crate) machine: Arc<Mutex<Option<MachineReadings>>>,
    pub(crate) soundness: Arc<Mutex<StoreSoundness>>,
}

impl CheckTargets {
    pub(crate) fn new(
        store: Store,
        bots: Bots,
        guard: AddressGuard,
        secrets: BTreeMap<String, SecretString>,
        outbox_backlog: ReadOutboxBacklog,
    ) -> Result<Self, Error> {
        crate::bots::install_tls_provider();
        let client = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .pool_max_idle_per_host(0)
                .connect_timeout(Duration::from_secs(10))
                .timeout(Duration::from_secs(60))
                .user_agent(concat!("botops/", env!("CARGO_PKG_VERSION")))
                .tls_info(true)
        };
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| Error::new(Code::Internal).caused_by(error))
        };
        let http = built(client().dns_resolver(Arc::new(guard.clone())))?;
        let own_http = built(client())?;
        Ok(Self {
            store,
            bots,
            guard,
            secrets,
            own_address: OnceLock::new(),
            sources: Mutex::default(),
            outbox_backlog,
            http,
            own_http,
            threads: CheckThreads::for_files(),
            own_threads: CheckThreads::for_own_checks(),
            machine: Arc::default(),
            soundness: Arc::default(),
        })
    }
    /// Registers a part of botops that reports its own health under this name.
    pub(crate) fn add_source(&self, name: &str, source: HealthSource) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), source);
    }

    /// The part of botops registered under this name.
    pub(crate) fn source(&self, name: &str) -> Option<HealthSource> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The folder of the store's file.
    pub(crate) fn data_folder(&self) -> PathBuf {
        self.store.path().parent().map(Path::to_owned).unwrap_or_default()
    }
}
