//! The handle to health: opening it, registering parts of botops, and reading.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use botops_contract::{EventKind, Severity};
use botops_core::error::{Code, Error};
use botops_core::tasks::Tasks;
use botops_core::telemetry::Metrics;
use bytes::Bytes;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::alerts::{AlertState, AlertView, ReceiverView, Silence, SilenceReach};
use super::checks::{CheckKind, HealthSource};
use super::history::{AvailabilityView, ChartWindow, ObjectiveView, SeriesView, TransitionView};
use super::inner::HealthInner;
use super::metrics::register_health_metrics;
use super::model::Criticality;
use super::options::HealthOptions;
use super::recovery::WorkflowRunner;
use super::render::{ComponentView, HealthSnapshot, HealthSummary, RecoveryView};
use super::run::start_loops;
use super::status::{ComponentSpec, MaintenanceWindow};
use super::units::time;
use crate::bots::Bots;
use crate::events::{Event, Events};
use crate::store::Store;

/// Handle to health; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Health {
    pub(crate) inner: Arc<HealthInner>,
    /// Cancelled when botops stops: what waits is answered then.
    pub(crate) stopping: CancellationToken,
}

/// Which events of health to read.
#[derive(Debug)]
pub(crate) struct HealthEventFilter {
    pub(crate) component: Option<String>,
    /// Events of this severity and of more urgent ones.
    pub(crate) severity: Option<Severity>,
    pub(crate) back_ms: i64,
    pub(crate) limit: usize,
}

/// Which alerts to read.
#[derive(Debug)]
pub(crate) struct AlertFilter {
    pub(crate) state: Option<AlertState>,
    pub(crate) component: Option<String>,
    /// Alerts of this severity and of more urgent ones.
    pub(crate) severity: Option<Severity>,
    pub(crate) limit: usize,
}

/// Which changes of status to read.
#[derive(Debug)]
pub(crate) struct TransitionFilter {
    pub(crate) component: Option<String>,
    /// Only changes with a lower number than this.
    pub(crate) before: Option<i64>,
    pub(crate) back_ms: i64,
    pub(crate) limit: i64,
}

impl Health {
    /// Restores the state of an earlier run and begins to watch.
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
        let (inner, inboxes) = HealthInner::open(&options, store, events, bots, metrics).await?;
        let inner = Arc::new(inner);
        start_loops(&inner, &options, inboxes, tasks);
        register_health_metrics(&inner, metrics);
        Ok(Self { inner, stopping: tasks.stopping() })
    }

    /// The system's health, from memory.
    pub fn overall(&self) -> Arc<HealthSummary> {
        self.snapshot().summary.clone()
    }

    /// Whether changes can be recorded in the store.
    pub fn store_writable(&self) -> bool {
        self.inner.store.writable()
    }

    /// Whether scheduler and writer have made progress lately; a watchdog is notified only while they do.
    pub fn makes_progress(&self) -> bool {
        self.inner.makes_progress()
    }

    /// Begins to watch botops' own API, once its address is bound.
    pub fn watch_api(&self, address: SocketAddr) {
        let mut address = address;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        // A second call would fail, but a process binds its API once.
        let _ = self.inner.targets.own_address.set(address);
    }

    /// Begins to watch a part of botops that answers from memory, such as `config_sync`.
    pub fn add_source(&self, id: &str, criticality: Criticality, depends_on: &[&str], source: HealthSource) {
        let now = self.inner.now();
        self.inner.targets.add_source(id, source);
        let mut memory = self.inner.lock();
        if !memory.status.components.contains_key(id) {
            let check = CheckKind::Source(id.to_owned());
            memory.add_component(ComponentSpec::built_in(id, check, criticality, depends_on), now);
            self.inner.publish_changes(&mut memory);
        }
    }

    /// Stops watching a part of botops that there no longer is; its open alerts end. Without it, nothing happens.
    pub fn remove_source(&self, id: &str) {
        let now = self.inner.now();
        let mut memory = self.inner.lock();
        if memory.status.components.contains_key(id) {
            memory.remove_component(id, now);
            self.inner.publish_changes(&mut memory);
        }
    }

    /// Watches one of the built-in components, or stops watching it where there is no such thing; its open alerts end then.
    /// Without a change, nothing happens.
    pub fn watch_built_in(&self, id: &str, is_there: bool) {
        let now = self.inner.now();
        let mut memory = self.inner.lock();
        if memory.status.components.contains_key(id) == is_there {
            return;
        }
        if is_there {
            let Some(spec) = ComponentSpec::all_built_in().into_iter().find(|spec| spec.id == id) else {
                return;
            };
            memory.add_component(spec, now);
        } else {
            memory.remove_component(id, now);
        }
        self.inner.publish_changes(&mut memory);
    }

    /// Gives recovery the means to run workflows.
    pub fn set_runner(&self, runner: WorkflowRunner) {
        self.inner.runner.send_replace(Some(runner));
        self.inner.lock().recovery.has_runner = true;
    }

    /// The names of all components that are watched now.
    pub fn component_names(&self) -> Vec<String> {
        self.snapshot().by_id.keys().cloned().collect()
    }

    /// The answers to readers, rendered at the last change.
    pub(crate) fn snapshot(&self) -> Arc<HealthSnapshot> {
        self.inner.snapshot()
    }

    /// The component with this id.
    pub(crate) fn component(&self, id: &str) -> Result<ComponentView, Error> {
        self.snapshot().by_id.get(id).cloned().ok_or_else(|| self.unknown_component(id))
    }

    /// The state of a component's recovery.
    pub(crate) fn recovery(&self, id: &str) -> Result<RecoveryView, Error> {
        self.snapshot().recovery.get(id).cloned().ok_or_else(|| self.unknown_component(id))
    }

    pub(crate) fn unknown_component(&self, id: &str) -> Error {
        let snapshot = self.snapshot();
        let known: Vec<&String> = snapshot.by_id.keys().take(50).collect();
        Error::new(Code::ComponentUnknown)
            .detail(format!("`{}` is not watched", botops_core::text::clean(id, 80)))
            .context("known", json!(known))
    }

    /// Alerts, open ones first, and how many more match.
    pub(crate) fn alerts(&self, filter: &AlertFilter) -> (Vec<AlertView>, usize) {
        let snapshot = self.snapshot();
        let is_wanted = |alert: &&AlertView| {
            filter.state.is_none_or(|state| alert.state == state)
                && filter.severity.is_none_or(|severity| alert.severity >= severity)
                && filter.component.as_ref().is_none_or(|id| alert.component_id == *id)
        };
        cut_off(snapshot.alerts.iter().filter(is_wanted).cloned().collect(), filter.limit)
    }

    /// Events of health that are held in memory, newest first, and how many more match.
    pub(crate) fn events(&self, filter: &HealthEventFilter) -> (Vec<Arc<Event>>, usize) {
        let from = time(self.inner.now().wall - filter.back_ms);
        let mut events = self.inner.events.recent(EventKind::Health, 2_048);
        events.retain(|event| {
            event.at >= from
                && filter.severity.is_none_or(|severity| event.severity >= severity)
                && filter.component.as_ref().is_none_or(|id| event.data["component_id"] == **id)
        });
        cut_off(events, filter.limit)
    }

    /// Silences, including those that ended within a week.
    pub(crate) fn silences(&self) -> Vec<Silence> {
        self.inner.lock().alerts.silences.values().cloned().collect()
    }

    /// What a silence matches now, and what it names that is not there.
    pub(crate) fn silence_reach(&self, silence: &Silence) -> (SilenceReach, Vec<String>) {
        let memory = self.inner.lock();
        let unknown = silence.named_components().filter(|id| !memory.status.components.contains_key(*id));
        let warnings = unknown
            .map(|id| format!("no component `{}` is watched now", botops_core::text::clean(id, 80)))
            .collect();
        (memory.alerts.reach_of(silence), warnings)
    }

    /// The receivers of alerts, with what each took and refused since botops started.
    pub(crate) fn receivers(&self) -> Vec<ReceiverView> {
        self.inner.outbox.receiver_views()
    }

    /// All maintenance windows, open or not.
    pub(crate) fn maintenance_windows(&self) -> Vec<MaintenanceWindow> {
        self.inner.lock().status.maintenance.values().cloned().collect()
    }

    /// Changes of status, newest first; read from the disk.
    pub(crate) async fn transitions(&self, filter: TransitionFilter) -> Result<Vec<TransitionView>, Error> {
        let from = self.inner.now().wall - filter.back_ms;
        self.inner.reader.transitions(filter.component, from, filter.before, filter.limit).await
    }

    /// One metric of every component over time, rendered; read from the disk.
    pub(crate) async fn chart(&self, metric: String, window: ChartWindow) -> Result<Bytes, Error> {
        self.inner.reader.chart(metric, window, self.inner.now().wall).await
    }

    /// The metrics of one component over time; read from the disk.
    pub(crate) async fn series(
        &self,
        component: String,
        metric: Option<String>,
        window: ChartWindow,
    ) -> Result<Vec<SeriesView>, Error> {
        self.inner.reader.series(Some(component), metric, window, self.inner.now().wall).await
    }

    /// Availability, coverage and latencies by window, of one component or of all; read from the disk.
    pub(crate) async fn availability(
        &self,
        component: Option<String>,
    ) -> Result<Vec<AvailabilityView>, Error> {
        self.inner.reader.availability(component, self.inner.now().wall).await
    }

    /// How fast the error budgets burn, of one component or of all; read from the disk.
    pub(crate) async fn objectives(&self, component: Option<String>) -> Result<Vec<ObjectiveView>, Error> {
        let objective_pct = self.inner.lock().status.config.objective_pct;
        self.inner.reader.objectives(component, objective_pct, self.inner.now().wall).await
    }

    /// Everything that botops counts, in Prometheus' text format.
    pub(crate) fn prometheus_text(&self) -> String {
        self.inner.metrics.render()
    }
}

/// The first `limit` items, and how many were left out.
fn cut_off<T>(mut items: Vec<T>, limit: usize) -> (Vec<T>, usize) {
    let omitted = items.len().saturating_sub(limit);
    items.truncate(limit);
    (items, omitted)
}
