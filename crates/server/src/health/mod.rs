//! System health: checks that do not cry wolf, alerts that end, recovery that proves itself.
//!
//! [`Health`] watches components, judges them over time, tells receivers, and tries to mend what is broken. Hidden
//! from users: schedules, debounce, the alert machine, the outbox, budgets and the history. Everything a status answer
//! needs is rendered ahead; no status read touches the disk. Features above plug in as plain closures
//! ([`Health::add_source`], [`Health::set_runner`]). Deliberately absent: an import of any feature above.

mod aggregate;
mod alerts;
mod api;
mod certificate;
mod checks;
mod component;
mod engine;
mod histogram;
mod history;
mod lookup;
mod mend;
#[cfg(test)]
mod model;
mod notify;
mod recovery;
mod restore;
mod scheduler;
mod silence;
mod slo;
mod snapshot;
mod spec;
mod ssrf;
mod status;
mod tell;
mod verbs;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::Utc;
use secrecy::SecretString;
use tokio::sync::{Notify, mpsc, watch};

use crate::bots::Bots;
use crate::events::Events;
use crate::store::Store;
use botops_core::error::Error;
use botops_core::tasks::Tasks;
use botops_core::telemetry::Metrics;

pub use aggregate::{Counts, Criticality};
pub use api::routes;
pub use checks::{Fact, Source};
pub use engine::WorkflowFact;
pub use notify::Receiver;
pub use recovery::HandlerEnd;
pub use spec::MonitoringConfig;
pub use ssrf::Allowed;
pub use status::{Level, Status};
pub use views::HealthSummary;

use checks::{Probe, Reach};
use engine::{Engine, Row};
use history::History;
use notify::OutboxState;
use snapshot::{Beside, Snapshot};
use spec::Spec;
use status::Now;

/// Where the monotonic clock begins: a mark of an earlier run, moved to this one, is still positive.
const DAY: i64 = 86_400_000;

/// Measurements reach readers this late at most.
const RENDER_EVERY: Duration = Duration::from_millis(250);

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A workflow run that is an attempt to mend a component.
#[derive(Debug, Clone)]
pub struct RecoveryRun {
    /// The workflow's id.
    pub workflow: String,
    /// The run's idempotency key: the same key is the same run.
    pub key: String,
    /// Why.
    pub reason: String,
    /// The operator who asked for it; `None`: nobody did.
    pub asked_by: Option<String>,
}

/// How recovery runs workflows.
#[derive(Clone)]
pub struct WorkflowRunner {
    /// What there is to know of a workflow by id; `None` where there is none.
    pub describe: Arc<dyn Fn(String) -> Pending<Option<WorkflowFact>> + Send + Sync>,
    /// Runs it, or finds the run that the key began, and waits for its end.
    pub run: Arc<dyn Fn(RecoveryRun) -> Pending<HandlerEnd> + Send + Sync>,
}

/// What health needs to know.
#[derive(Debug, Clone, Default)]
pub struct HealthOptions {
    /// The folder for the alert log.
    pub data_dir: PathBuf,
    /// Hosts and networks that checks may reach besides public ones.
    pub allowed: Vec<Allowed>,
    /// Values of `BOT_CHECK_SECRET_*`, by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// A webhook that is told of alerts.
    pub webhook: Option<reqwest::Url>,
    /// What the webhook's messages are signed with.
    pub webhook_secret: Option<SecretString>,
    /// An Alertmanager that is told the present state.
    pub alertmanager: Option<reqwest::Url>,
    /// An address that is asked once a minute while everything moves on.
    pub watchdog: Option<reqwest::Url>,
}

/// Handle to health; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    events: Events,
    metrics: Metrics,
    reach: Arc<Reach>,
    history: History,
    outbox: Arc<OutboxState>,
    clock: Clock,
    engine: Mutex<Engine>,
    snapshot: ArcSwap<Snapshot>,
    /// Rows that wait for the store, in order; the number says how many sets were handed over.
    rows: mpsc::UnboundedSender<Vec<Row>>,
    handed: AtomicU64,
    stored: watch::Sender<u64>,
    runner: watch::Sender<Option<WorkflowRunner>>,
    attempts: mpsc::UnboundedSender<engine::Attempt>,
    /// Something is due earlier than was thought.
    wake: Notify,
    /// A check ended.
    finished: watch::Sender<u64>,
    /// An alert changed.
    alerted: Arc<Notify>,
    /// When scheduler and writer last moved on (mono).
    beat: Beats,
}

#[derive(Debug, Default)]
struct Beats {
    scheduler: AtomicI64,
    writer: AtomicI64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

/// Both clocks.
#[derive(Debug)]
struct Clock {
    started: Instant,
}

impl Clock {
    fn now(&self) -> Now {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Now { mono: elapsed + DAY, wall: Utc::now().timestamp_millis() }
    }
}

impl Health {
    /// Reads what an earlier run left and begins to watch.
    ///
    /// # Errors
    /// When the store cannot be read or an HTTP client cannot be built.
    pub async fn open(
        options: HealthOptions,
        store: Store,
        events: Events,
        bots: Bots,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        let clock = Clock { started: Instant::now() };
        let now = clock.now();
        let outbox = Arc::new(OutboxState::default());
        let guard = ssrf::AddressGuard::new(options.allowed.clone());
        let reach =
            Arc::new(Reach::new(store.clone(), bots, guard, options.secrets.clone(), outbox.clone())?);
        let history = History::new(store.clone());
        let mut receivers = vec![Receiver::File(options.data_dir.join("alerts.jsonl"))];
        receivers.extend(
            options
                .webhook
                .clone()
                .map(|url| Receiver::Webhook { url, secret: options.webhook_secret.clone() }),
        );
        let names = receivers.iter().map(|receiver| receiver.name().to_owned()).collect();
        let left = history.load(now.wall).await?;
        let (engine, waiting) = restore::engine(left, names, now);
        outbox.add(waiting);
        let beside = Beside { recent_events: Vec::new(), makes_progress: true };
        let snapshot = Snapshot::render(&engine, beside, now)?;
        let (rows, rows_inbox) = mpsc::unbounded_channel();
        let (attempts, attempts_inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            store,
            events,
            metrics: metrics.clone(),
            reach,
            history,
            outbox,
            clock,
            engine: Mutex::new(engine),
            snapshot: ArcSwap::from_pointee(snapshot),
            rows,
            handed: AtomicU64::new(0),
            stored: watch::Sender::new(0),
            runner: watch::Sender::new(None),
            attempts,
            wake: Notify::new(),
            finished: watch::Sender::new(0),
            alerted: Arc::default(),
            beat: Beats::default(),
        });
        let health = Self { shared };
        health.beat(now);
        health.settle(&mut health.lock());
        scheduler::start(&health, &options, receivers, rows_inbox, attempts_inbox, tasks);
        health.count(metrics);
        Ok(health)
    }

    /// The system's health, from memory.
    pub fn overall(&self) -> Arc<HealthSummary> {
        self.shared.snapshot.load().summary.clone()
    }

    /// Whether changes can be recorded.
    pub fn store_writable(&self) -> bool {
        self.shared.store.writable()
    }

    /// Whether scheduler and writer have moved on lately: what a watchdog wants to know.
    pub fn makes_progress(&self) -> bool {
        let now = self.shared.clock.now().mono;
        let beat = &self.shared.beat;
        let scheduler = now - beat.scheduler.load(Ordering::Relaxed);
        let writer = now - beat.writer.load(Ordering::Relaxed);
        // The scheduler turns twice a second; the writer may wait for a locked store without being stuck.
        scheduler < 10_000 && writer < 60_000
    }

    /// Begins to watch botops' own API, once it is bound.
    pub fn watch_api(&self, address: SocketAddr) {
        let mut address = address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        // A second call would be another start of the same process, which does not happen.
        let _ = self.shared.reach.own_address.set(address);
    }

    /// Begins to watch a part of botops that answers from memory, such as `config_sync`.
    pub fn add_source(&self, id: &str, criticality: Criticality, depends_on: &[&str], source: Source) {
        let now = self.shared.clock.now();
        self.shared
            .reach
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_owned(), source);
        let mut engine = self.lock();
        if !engine.components.contains_key(id) {
            engine.add(Spec::built_in(id, Probe::Source(id.to_owned()), criticality, depends_on), now);
            self.settle(&mut engine);
        }
    }

    /// Gives recovery a way to run workflows.
    pub fn set_runner(&self, runner: WorkflowRunner) {
        self.shared.runner.send_replace(Some(runner));
        self.lock().has_runner = true;
    }

    /// Stops automatic recovery of a component, as when an operator stopped the bot on purpose.
    pub fn hold(&self, component: &str, by: &str) {
        self.act_quietly(component, "hold", by);
    }

    /// Allows it again.
    pub fn release(&self, component: &str, by: &str) {
        self.act_quietly(component, "release", by);
    }

    fn act_quietly(&self, component: &str, act: &str, by: &str) {
        let now = self.shared.clock.now();
        let mut engine = self.lock();
        if let Err(problem) = engine.act(component, act, by, now) {
            tracing::warn!("recovery of {component}: {act} did nothing: {problem}");
        }
        self.settle(&mut engine);
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.shared.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self, now: Now) {
        self.shared.beat.scheduler.store(now.mono, Ordering::Relaxed);
        self.shared.beat.writer.store(now.mono, Ordering::Relaxed);
    }

    /// Hands over what the engine wants stored, published and started, and renders anew. Returns the number to wait
    /// for until it is stored.
    fn settle(&self, engine: &mut Engine) -> u64 {
        let output = engine.take_output();
        let shared = &self.shared;
        let has_alerts = output.rows.iter().any(|row| matches!(row, Row::Alert(_)));
        for event in output.events {
            shared.events.publish(event);
        }
        for attempt in output.attempts {
            // The receiver lives as long as the tasks; at the stop nothing starts any more.
            let _ = shared.attempts.send(attempt);
        }
        let mut ticket = shared.handed.load(Ordering::Relaxed);
        if !output.rows.is_empty() {
            ticket = shared.handed.fetch_add(1, Ordering::Relaxed) + 1;
            let _ = shared.rows.send(output.rows);
        }
        self.render(engine);
        self.tell_pushers(has_alerts);
        ticket
    }

    /// The same, rendered only when something changed that a reader waits for, or the last rendering is old: many
    /// checks that end together are rendered once.
    fn settle_gently(&self, engine: &mut Engine) {
        if engine.has_news() || self.shared.snapshot.load().made.elapsed() >= RENDER_EVERY {
            self.settle(engine);
        }
    }

    fn tell_pushers(&self, has_alerts: bool) {
        if has_alerts {
            self.shared.alerted.notify_one();
        }
    }

    fn render(&self, engine: &Engine) {
        let shared = &self.shared;
        let beside = Beside {
            recent_events: shared.events.recent(botops_contract::EventKind::Health, 200),
            makes_progress: self.makes_progress(),
        };
        match Snapshot::render(engine, beside, shared.clock.now()) {
            Ok(snapshot) => shared.snapshot.store(Arc::new(snapshot)),
            Err(error) => tracing::error!("health could not be rendered: {error}"),
        }
    }

    /// Waits until everything handed over up to `ticket` is stored.
    async fn stored(&self, ticket: u64) {
        let mut stored = self.shared.stored.subscribe();
        // The sender lives as long as `self`; a store that cannot be written is said by its own check.
        let waited = stored.wait_for(|done| *done >= ticket);
        let _ = tokio::time::timeout(Duration::from_secs(10), waited).await;
    }

    fn secret_names(&self) -> BTreeSet<String> {
        self.shared.reach.secrets.keys().cloned().collect()
    }

    /// Series with bounded labels: one per component, a fixed set of metrics.
    fn count(&self, metrics: &Metrics) {
        use prometheus_client::encoding::EncodeLabelSet;
        use prometheus_client::metrics::family::Family;
        use prometheus_client::metrics::gauge::Gauge;

        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct Of {
            component: String,
        }
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct In {
            state: &'static str,
        }
        let of_component =
            |name: &str, help: &str| metrics.add(name, help, Family::<Of, Gauge<f64, AtomicU64>>::default());
        let status = of_component(
            "health_component_status",
            "Status of a component: 0 healthy, 1 warning, 2 critical, 3 down, -1 unknown",
        );
        let latency =
            of_component("health_check_duration_seconds", "How long the last check of a component took");
        let alerts =
            metrics.add("health_alerts", "Alerts by state", Family::<In, Gauge<f64, AtomicU64>>::default());
        let system = metrics.add(
            "health_status",
            "Status of the system: 0 healthy, 1 warning, 2 critical, 3 down, -1 unknown",
            Gauge::<f64, AtomicU64>::default(),
        );
        let waiting = metrics.add(
            "health_outbox_waiting",
            "Notices that wait for a receiver",
            Gauge::<f64, AtomicU64>::default(),
        );
        let dropped = metrics.add(
            "health_measurements_dropped",
            "Measurements dropped because the disk did not follow",
            Gauge::<f64, AtomicU64>::default(),
        );
        let sent = of_result(metrics);
        let health = self.clone();
        metrics.on_scrape(move || {
            let snapshot = health.shared.snapshot.load();
            // Components come and go: labels of those that went are forgotten.
            status.clear();
            latency.clear();
            for (id, view) in &snapshot.by_id {
                let of = Of { component: id.clone() };
                status.get_or_create(&of).set(number(view.status));
                if let Some(milliseconds) = view.latency_ms {
                    latency.get_or_create(&of).set(milliseconds / 1000.0);
                }
            }
            for (name, state) in
                [("pending", alerts::AlertState::Pending), ("firing", alerts::AlertState::Firing)]
            {
                let count = snapshot.alerts.iter().filter(|alert| alert.state == state).count();
                alerts.get_or_create(&In { state: name }).set(float(count));
            }
            system.set(number(snapshot.current_status));
            let (delivered, failed) = health.shared.outbox.counts();
            for (result, count) in [("delivered", delivered), ("failed", failed)] {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                sent.get_or_create(&Delivery { result }).set(float(count));
            }
            waiting.set(float(health.shared.outbox.read().waiting));
            dropped.set(float(usize::try_from(health.shared.history.dropped()).unwrap_or(usize::MAX)));
        });
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
struct Delivery {
    result: &'static str,
}

fn of_result(
    metrics: &Metrics,
) -> prometheus_client::metrics::family::Family<
    Delivery,
    prometheus_client::metrics::gauge::Gauge<f64, AtomicU64>,
> {
    metrics.add("health_messages", "Messages to receivers since start, by result", Default::default())
}

/// A status as a metric's value.
fn number(status: Status) -> f64 {
    match status {
        Status::Healthy => 0.0,
        Status::Warning => 1.0,
        Status::Critical => 2.0,
        Status::Down => 3.0,
        Status::Unknown => -1.0,
    }
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
