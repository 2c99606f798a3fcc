//! The checks: what is looked at, how, and within which limits.
//!
//! One row per check in [`Probe`] and one function per kind in this folder. A check answers with a [`Sample`]: what
//! the probe itself saw and the metrics it measured. It never judges over time (that is `status.rs`), never tells
//! anybody, never changes what it looks at, and reads no more of an answer than it needs. Text from a peer is not kept.

mod bot;
mod database;
mod http;
mod store;
mod system;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::notify::OutboxState;
use super::ssrf::AddressGuard;
use super::status::{Level, Limits};
use crate::bots::Bots;
use crate::store::Store;
use botops_core::error::{Code, Error};

pub use database::DatabaseConfig;
pub use http::{ApiConfig, ExternalConfig};

/// What the probe itself came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CheckOutcome)]
pub enum Outcome {
    /// It answered.
    Ok,
    /// It did not answer in time.
    Timeout,
    /// Nothing listens.
    Refused,
    /// There is no way to it.
    Unreachable,
    /// Its name does not resolve.
    Dns,
    /// Its certificate or the handshake failed.
    Tls,
    /// It answered with a status that was not expected.
    HttpStatus,
    /// It refused the credentials.
    Auth,
    /// It asked to wait.
    RateLimited,
    /// Its answer makes no sense.
    Protocol,
    /// The check itself failed: says nothing about the target.
    Internal,
}

impl Outcome {
    /// The level the probe's outcome stands for; `None` says nothing.
    pub fn level(self) -> Option<Level> {
        match self {
            Self::Ok => Some(Level::Healthy),
            Self::RateLimited => Some(Level::Warning),
            Self::HttpStatus | Self::Auth => Some(Level::Critical),
            Self::Timeout | Self::Refused | Self::Unreachable | Self::Dns | Self::Tls | Self::Protocol => {
                Some(Level::Down)
            }
            Self::Internal => None,
        }
    }
}

/// One measured number.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Its name, the same on every run.
    pub name: &'static str,
    /// What was measured.
    pub value: f64,
    /// In what.
    pub unit: &'static str,
    /// From where on it is bad, unless the component says otherwise.
    pub limits: Limits,
}

/// What one run of a check saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What the probe came to.
    pub outcome: Outcome,
    /// The probe's own judgement, where the outcome alone does not say it.
    pub verdict: Option<Level>,
    /// One sentence on what is wrong, in our words.
    pub note: Option<String>,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// How long it took; set by the scheduler when the check does not say.
    pub latency: Option<Duration>,
    /// How long the target asked us to wait.
    pub retry_after: Option<Duration>,
}

impl Sample {
    /// It answered, with these numbers.
    pub fn ok(measures: Vec<Measure>) -> Self {
        Self { outcome: Outcome::Ok, verdict: None, note: None, measures, latency: None, retry_after: None }
    }

    /// The probe failed.
    pub fn failed(outcome: Outcome, note: impl Into<String>) -> Self {
        Self { outcome, note: Some(note.into()), ..Self::ok(Vec::new()) }
    }

    /// It answered, and says itself how it is.
    #[must_use]
    pub fn says(mut self, level: Level, note: impl Into<String>) -> Self {
        self.verdict = Some(level);
        self.note = Some(note.into());
        self
    }
}

/// What a part of botops above health says about itself when asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// How it is; `None` when it cannot say.
    pub level: Option<Level>,
    /// One sentence, in our words.
    pub reason: String,
    /// Numbers worth showing: name, value, unit.
    pub numbers: Vec<(&'static str, f64, &'static str)>,
}

/// Asks a part of botops how it is. Must answer from memory.
pub type Source = Arc<dyn Fn() -> Fact + Send + Sync>;

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "checker_type", content = "config", rename_all = "snake_case")]
pub enum Probe {
    /// botops' own store.
    Store,
    /// A database of the bot or beside it.
    Database(DatabaseConfig),
    /// botops' own API.
    OwnApi,
    /// An API of ours: a base URL and its endpoints.
    ApiServer(ApiConfig),
    /// The machine.
    SystemResources,
    /// An API of somebody else.
    ExternalApi(ExternalConfig),
    /// The bot.
    Bot,
    /// The bot's broker session.
    BrokerSession,
    /// Notices that wait for their receivers.
    Outbox,
    /// A part of botops that answers from memory, by its name.
    Source(String),
}

impl Probe {
    /// The type on the wire.
    pub fn component_type(&self) -> &'static str {
        match self {
            Self::Store => "STORE",
            Self::Database(_) => "DATABASE",
            Self::OwnApi | Self::ApiServer(_) => "API_SERVER",
            Self::SystemResources => "SYSTEM_RESOURCES",
            Self::ExternalApi(_) => "EXTERNAL_API",
            Self::Bot => "BOT",
            Self::BrokerSession => "BROKER_SESSION",
            Self::Outbox => "OUTBOX",
            Self::Source(name) if name == "config_sync" => "CONFIG_SYNC",
            Self::Source(name) if name == "audit_chain" => "AUDIT_CHAIN",
            Self::Source(_) => "INTERNAL",
        }
    }

    /// Whether it answers from memory: no need to be sparing.
    pub fn is_cheap(&self) -> bool {
        matches!(self, Self::Bot | Self::BrokerSession | Self::Outbox | Self::Source(_))
    }
}

/// Everything a check may touch.
pub(super) struct Reach {
    pub store: Store,
    pub bots: Bots,
    pub guard: AddressGuard,
    /// Values of `BOT_CHECK_SECRET_*`, by name.
    pub secrets: BTreeMap<String, SecretString>,
    pub own_address: OnceLock<SocketAddr>,
    pub sources: Mutex<BTreeMap<String, Source>>,
    pub outbox: Arc<OutboxState>,
    /// Asks guarded addresses.
    pub http: reqwest::Client,
    /// Asks botops itself.
    pub own_http: reqwest::Client,
    pub machine: Arc<Mutex<Option<system::Machine>>>,
    pub sound: Arc<Mutex<store::Sound>>,
}

impl Reach {
    pub(super) fn new(
        store: Store,
        bots: Bots,
        guard: AddressGuard,
        secrets: BTreeMap<String, SecretString>,
        outbox: Arc<OutboxState>,
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
            outbox,
            http,
            own_http,
            machine: Arc::default(),
            sound: Arc::default(),
        })
    }
}

type Running = Pin<Box<dyn Future<Output = Sample> + Send>>;

/// Runs one check. The caller sets the limit of time and catches panics.
pub(super) fn run(probe: Probe, reach: Arc<Reach>, timeout: Duration) -> Running {
    match probe {
        Probe::Store => Box::pin(async move { store::check(&reach, timeout).await }),
        Probe::Database(config) => Box::pin(async move { database::check(&config, &reach, timeout).await }),
        Probe::OwnApi => Box::pin(async move { http::check_own(&reach).await }),
        Probe::ApiServer(config) => Box::pin(async move { http::check_api(&config, &reach).await }),
        Probe::SystemResources => Box::pin(async move { system::check(&reach).await }),
        Probe::ExternalApi(config) => Box::pin(async move { http::check_external(&config, &reach).await }),
        Probe::Bot => Box::pin(async move { bot::check(&reach.bots.snapshot()) }),
        Probe::BrokerSession => Box::pin(async move { bot::check_session(&reach.bots.snapshot()) }),
        Probe::Outbox => Box::pin(async move { outbox(&reach.outbox) }),
        Probe::Source(name) => Box::pin(async move { source(&reach, &name) }),
    }
}

fn source(reach: &Reach, name: &str) -> Sample {
    let known = reach.sources.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(name).cloned();
    let Some(source) = known else {
        return Sample::failed(Outcome::Internal, "nobody answers for this part");
    };
    let fact = source();
    let measure = |(name, value, unit): (&'static str, f64, &'static str)| Measure {
        name,
        value,
        unit,
        limits: Limits::NONE,
    };
    let measures = fact.numbers.into_iter().map(measure).collect();
    match fact.level {
        None => Sample { measures, ..Sample::failed(Outcome::Internal, fact.reason) },
        Some(Level::Healthy) => Sample::ok(measures),
        Some(level) => Sample::ok(measures).says(level, fact.reason),
    }
}

fn outbox(state: &OutboxState) -> Sample {
    let seen = state.read();
    let measures = vec![
        Measure { name: "waiting", value: count(seen.waiting), unit: "notices", limits: Limits::NONE },
        Measure {
            name: "oldest_waiting",
            value: seen.oldest_waiting.as_secs_f64(),
            unit: "s",
            limits: Limits { warning: Some(600.0), ..Limits::NONE },
        },
        Measure { name: "dead_letters", value: count(seen.dead), unit: "notices", limits: Limits::NONE },
    ];
    if seen.dead > 0 {
        let note = format!("{} notices could not be delivered within a day", seen.dead);
        return Sample::ok(measures).says(Level::Warning, note);
    }
    Sample::ok(measures)
}

/// A count as a metric's value.
fn count(number: usize) -> f64 {
    wide(number as u64)
}

/// A wide number as a metric's value; beyond 2^53 the last digits are lost, which no limit notices.
fn wide(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a measure is a float")]
    let value = number as f64;
    value
}
