//! What the bot does, for everybody who reads: state, summary, metrics and the stream.
//!
//! One task watches the bot and renders once per snapshot, and each second while nothing new comes, so that ages stay
//! true. A request clones finished bytes: it never reaches the bot, takes no lock that rendering holds, and costs the
//! same whatever the state's size. Deliberately absent: a cache of the whole answers. The rendering is the cache.

mod api;
mod example;
mod markdown;
mod metrics;
mod select;
mod stream;
mod summary;
#[cfg(test)]
mod tests;
mod tokens;
mod view;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::{TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::bots::{BotSnapshot, Bots, Presence};
use crate::events::Events;
use botops_core::error::Error;
use botops_core::tasks::Tasks;
use botops_core::telemetry;
use botops_http::Document;

pub use api::{routes, with_ready};
pub use metrics::MetricsView;
pub use summary::{SUMMARY_MAX_BYTES, SUMMARY_MAX_TOKENS, SummaryView};
pub use view::{BotHealthStatus, ConfigSync, StateView};

use metrics::OpsNumbers;
use view::StateMoment;

/// Ages in an answer are at most this old.
const FRESH: Duration = Duration::from_secs(1);

/// Renderings of `fields=` kept, together: many clients with the same question render once.
const SELECTIONS_BYTES: u64 = 32 * 1024 * 1024;

/// What other features know and the overview shows. All of it may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OverviewExtras {
    /// Whether the bot runs what botops has committed.
    pub config_sync: Option<ConfigSync>,
    /// Overall status of the system health checks.
    pub system_health: Option<String>,
    /// The workflow run in progress.
    pub workflow: Option<RunningWorkflow>,
    /// Warnings of other features, worst first.
    pub warnings: Vec<String>,
}

/// A workflow run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RunningWorkflow {
    /// Which workflow.
    pub workflow_id: String,
    /// Which run of it.
    pub run_id: String,
    /// Where it stands.
    pub state: String,
    /// The step it is at.
    pub step: Option<String>,
}

/// What the overview is told at start.
#[derive(Debug, Clone, Copy)]
pub struct OverviewOptions {
    /// Age beyond which data is stale.
    pub stale_after: Duration,
    /// How often metrics go to stream clients.
    pub stream_interval: Duration,
    /// Stream clients at a time.
    pub stream_max_clients: usize,
}

/// Handle to the overview; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Overview {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: OverviewOptions,
    bots: Bots,
    events: Events,
    rendered: ArcSwap<RenderedOverview>,
    extras: watch::Sender<OverviewExtras>,
    selections: moka::future::Cache<(String, String), Document>,
    selection_hits: AtomicU64,
    selection_misses: AtomicU64,
    stream: stream::StreamHub,
    stopping: CancellationToken,
}

/// One moment, in every form it is asked for.
#[derive(Debug)]
struct RenderedOverview {
    view: StateView,
    /// The state as a value, made when the first selection wants it.
    value: OnceLock<Value>,
    state: Document,
    summary: Document,
    summary_markdown: Document,
    metrics: Document,
    /// When the bot will be asked next: until then nothing newer can be known.
    next_poll: Instant,
}

impl RenderedOverview {
    /// How long a client may keep the answer.
    fn max_age(&self) -> Duration {
        self.next_poll.saturating_duration_since(Instant::now())
    }
}

impl Overview {
    /// Renders what is known now and goes on rendering and streaming until the stop.
    ///
    /// # Errors
    /// [`botops_core::error::Code::Internal`] when the state cannot be rendered, which is a defect.
    pub fn start(options: OverviewOptions, bots: Bots, events: Events, tasks: &Tasks) -> Result<Self, Error> {
        let hub = stream::StreamHub::new(options.stream_max_clients, events.latest());
        let extras = watch::Sender::new(OverviewExtras::default());
        let first = render(&options, &bots, &events, &extras.borrow(), OpsNumbers::default())?;
        let selections = moka::future::Cache::builder()
            .max_capacity(SELECTIONS_BYTES)
            .weigher(|_, document: &Document| u32::try_from(document.bytes().len()).unwrap_or(u32::MAX))
            .time_to_live(FRESH * 10)
            .build();
        let shared = Shared {
            options,
            bots,
            events,
            rendered: ArcSwap::from_pointee(first),
            extras,
            selections,
            selection_hits: AtomicU64::new(0),
            selection_misses: AtomicU64::new(0),
            stream: hub,
            stopping: tasks.stopping(),
        };
        let overview = Self { shared: Arc::new(shared) };
        let rendering = overview.clone();
        tasks.supervise("overview", move || rendering.clone().keep_rendering());
        let streaming = overview.clone();
        tasks.supervise("stream", move || stream::run(streaming.clone()));
        Ok(overview)
    }

    /// The whole state as it was last rendered.
    pub fn state(&self) -> Document {
        self.shared.rendered.load().state.clone()
    }

    /// The summary as it was last rendered.
    pub fn summary(&self) -> Document {
        self.shared.rendered.load().summary.clone()
    }

    /// The summary as Markdown.
    pub fn summary_markdown(&self) -> Document {
        self.shared.rendered.load().summary_markdown.clone()
    }

    /// The metrics as they were last rendered.
    pub fn metrics(&self) -> Document {
        self.shared.rendered.load().metrics.clone()
    }

    /// Parts of the state by dotted names, separated by commas.
    ///
    /// # Errors
    /// [`botops_core::error::Code::FieldUnknown`] with the valid names.
    pub async fn state_fields(&self, fields: &str) -> Result<Document, Error> {
        let wanted = select::parse(fields)?;
        let rendered = self.shared.rendered.load_full();
        let key = (rendered.state.etag().to_owned(), select::key(&wanted));
        if let Some(document) = self.shared.selections.get(&key).await {
            self.shared.selection_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(document);
        }
        self.shared.selection_misses.fetch_add(1, Ordering::Relaxed);
        let state = rendered
            .value
            .get_or_init(|| serde_json::to_value(&rendered.view).expect("a state has string keys only"));
        let document = Document::of_json(&select::select(state, &wanted))?;
        self.shared.selections.insert(key, document.clone()).await;
        Ok(document)
    }

    /// Healthy, degraded or offline, as last rendered.
    pub fn health_status(&self) -> BotHealthStatus {
        self.shared.rendered.load().view.health.status
    }

    /// Stream clients at a time.
    pub fn max_stream_clients(&self) -> usize {
        self.shared.options.stream_max_clients
    }

    /// Changes what other features know; it is shown at once.
    pub fn update_extras(&self, change: impl FnOnce(&mut OverviewExtras)) {
        self.shared.extras.send_if_modified(|extras| {
            let before = extras.clone();
            change(extras);
            *extras != before
        });
    }

    /// Registers what a scrape wants to know of the bot and of the readers.
    pub fn register_metrics(&self, metrics: &telemetry::Metrics) {
        telemetry_of(self, metrics);
    }

    async fn keep_rendering(self) {
        let mut snapshot = self.shared.bots.watch();
        let mut extras = self.shared.extras.subscribe();
        // What changed between the last rendering and the subscription is rendered at once.
        self.render();
        loop {
            tokio::select! {
                changed = snapshot.changed() => if changed.is_err() { return },
                changed = extras.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(FRESH) => {}
                () = self.shared.stopping.cancelled() => return,
            }
            snapshot.mark_unchanged();
            extras.mark_unchanged();
            self.render();
        }
    }

    fn render(&self) {
        let shared = &self.shared;
        let extras = shared.extras.borrow().clone();
        match render(&shared.options, &shared.bots, &shared.events, &extras, self.ops_numbers()) {
            Ok(rendered) => shared.rendered.store(Arc::new(rendered)),
            Err(error) => {
                tracing::error!(error.cause = error.cause_for_log(), "the state cannot be shown: {error}");
            }
        }
    }

    fn ops_numbers(&self) -> OpsNumbers {
        OpsNumbers {
            websocket_connections: self.shared.stream.clients(),
            stream_messages: self.shared.stream.messages(),
            stream_closed_slow: self.shared.stream.closed_slow(),
            selection_hits: self.shared.selection_hits.load(Ordering::Relaxed),
            selection_misses: self.shared.selection_misses.load(Ordering::Relaxed),
            ..OpsNumbers::default()
        }
    }
}

fn render(
    options: &OverviewOptions,
    bots: &Bots,
    events: &Events,
    extras: &OverviewExtras,
    ops: OpsNumbers,
) -> Result<RenderedOverview, Error> {
    let snapshot = bots.snapshot();
    let moment = StateMoment::now(&snapshot, extras, options.stale_after);
    let view = StateView::of(&moment);
    let errors = events.recent_failures(Utc::now() - TimeDelta::hours(1), 3);
    let summary = summary::render(&moment, &view, &errors);
    let ops = OpsNumbers { poll_latency_ms: poll_latency(&snapshot), ..ops.with_polls(bots.stats()) };
    let metrics = MetricsView::of(&view, ops, events.latest());
    Ok(RenderedOverview {
        state: Document::of_json(&view)?,
        summary: Document::new(summary.json, "application/json"),
        summary_markdown: Document::new(summary.markdown, "text/markdown; charset=utf-8"),
        metrics: Document::of_json(&metrics)?,
        value: OnceLock::new(),
        next_poll: snapshot.next_poll,
        view,
    })
}

fn poll_latency(snapshot: &BotSnapshot) -> Option<f64> {
    snapshot.poll_latency.map(|latency| view::seconds(latency * 1000))
}

fn telemetry_of(overview: &Overview, metrics: &telemetry::Metrics) {
    use prometheus_client::metrics::counter::Counter;
    let bots = overview.shared.bots.clone();
    let answers = move || if bots.snapshot().presence.answers() { 1.0 } else { 0.0 };
    metrics.gauge("bot_up", "Whether the bot answers (1) or not (0)", answers);
    let bots = overview.shared.bots.clone();
    let age = move || bots.snapshot().data_age().map_or(f64::NAN, |age| age.as_secs_f64());
    metrics.gauge(
        "bot_data_age_seconds",
        "Seconds since the bot knew what it reported, by its own as_of",
        age,
    );
    let bots = overview.shared.bots.clone();
    let latency = move || bots.snapshot().poll_latency.map_or(f64::NAN, |latency| latency.as_secs_f64());
    metrics.gauge("bot_poll_latency_seconds", "How long the last answered poll of the bot took", latency);
    presence_of(overview, metrics);
    type Read = fn(&Overview) -> u64;
    let counters: [(&str, &str, Read); 8] = [
        ("bot_polls", "Polls of the bot's state", |o| o.shared.bots.stats().polls),
        ("bot_poll_failures", "Polls that brought nothing usable", |o| o.shared.bots.stats().poll_failures),
        ("bot_events", "Events taken over from the bot", |o| o.shared.bots.stats().events),
        ("stream_messages", "Messages given to the stream, each once for all clients", |o| {
            o.shared.stream.messages()
        }),
        ("stream_closed_slow", "Stream clients closed because they did not keep up", |o| {
            o.shared.stream.closed_slow()
        }),
        ("stream_refused", "Stream clients refused because there was no room", |o| o.shared.stream.refused()),
        ("cache_hits", "Reads with fields= answered from the cache", |o| {
            o.shared.selection_hits.load(Ordering::Relaxed)
        }),
        ("cache_misses", "Reads with fields= that were rendered", |o| {
            o.shared.selection_misses.load(Ordering::Relaxed)
        }),
    ];
    for (name, help, read) in counters {
        let counter = metrics.add(name, help, Counter::<u64, AtomicU64>::default());
        let overview = overview.clone();
        metrics.on_scrape(move || counter.inner().store(read(&overview), Ordering::Relaxed));
    }
    let streaming = overview.clone();
    let clients = move || {
        let clients = u32::try_from(streaming.shared.stream.clients()).unwrap_or(u32::MAX);
        f64::from(clients)
    };
    metrics.gauge("stream_clients", "Stream clients now", clients);
}

/// One series per presence, so that a graph shows when it changed.
fn presence_of(overview: &Overview, metrics: &telemetry::Metrics) {
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    const ALL: [Presence; 8] = [
        Presence::Connected,
        Presence::Slow,
        Presence::Hung,
        Presence::Exited,
        Presence::Unreachable,
        Presence::Incompatible,
        Presence::Reloading,
        Presence::NeverSeen,
    ];
    let family = Family::<Vec<(&'static str, &'static str)>, Gauge>::default();
    let family = metrics.add("bot_presence", "Presence of the bot: 1 for what holds", family);
    let bots = overview.shared.bots.clone();
    metrics.on_scrape(move || {
        let now = bots.snapshot().presence;
        for presence in ALL {
            let gauge = family.get_or_create(&vec![("presence", presence.as_str())]);
            gauge.set(i64::from(presence == now));
        }
    });
}
