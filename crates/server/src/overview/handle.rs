//! The handle to the overview, and the task that renders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::bot_health::BotHealthStatus;
use super::field_selection;
use super::metrics::OpsNumbers;
use super::model::{OverviewExtras, OverviewOptions};
use super::rendered::{RenderedOverview, render_overview};
use super::stream::StreamServer;
use crate::bots::Bots;
use crate::errors::ErrorList;
use crate::events::Events;
use botops_core::error::Error;
use botops_core::tasks::Tasks;
use botops_http::RenderedDocument;

/// Ages in an answer are at most this old.
const FRESH: Duration = Duration::from_secs(1);

/// Renderings of `fields=` kept, together: many clients with the same question render once.
const SELECTIONS_BYTES: u64 = 32 * 1024 * 1024;

/// Handle to the overview; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Overview {
    pub(super) inner: Arc<OverviewInner>,
}

#[derive(Debug)]
pub(super) struct OverviewInner {
    pub options: OverviewOptions,
    pub bots: Bots,
    events: Events,
    errors: ErrorList,
    pub rendered: Arc<ArcSwap<RenderedOverview>>,
    extras: watch::Sender<OverviewExtras>,
    selections: moka::future::Cache<(String, String), RenderedDocument>,
    pub selection_hits: AtomicU64,
    pub selection_misses: AtomicU64,
    pub stream: StreamServer,
    stopping: CancellationToken,
}

impl Overview {
    /// Renders what is known now and goes on rendering and streaming until the stop.
    ///
    /// # Errors
    /// [`botops_core::error::Code::Internal`] when the state cannot be rendered, which is a defect.
    pub fn start(
        options: OverviewOptions,
        bots: Bots,
        events: Events,
        errors: ErrorList,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        let extras = watch::Sender::new(OverviewExtras::default());
        let first =
            render_overview(&options, &bots, &events, &errors, &extras.borrow(), OpsNumbers::default())?;
        let selections = moka::future::Cache::builder()
            .max_capacity(SELECTIONS_BYTES)
            .weigher(|_, document: &RenderedDocument| {
                u32::try_from(document.bytes().len()).unwrap_or(u32::MAX)
            })
            .time_to_live(FRESH * 10)
            .build();
        let rendered = Arc::new(ArcSwap::from_pointee(first));
        let stream = StreamServer::new(&options, events.clone(), rendered.clone(), tasks.stopping());
        let inner = OverviewInner {
            options,
            bots,
            events,
            errors,
            rendered,
            extras,
            selections,
            selection_hits: AtomicU64::new(0),
            selection_misses: AtomicU64::new(0),
            stream: stream.clone(),
            stopping: tasks.stopping(),
        };
        let overview = Self { inner: Arc::new(inner) };
        let rendering = overview.clone();
        tasks.supervise("overview", move || rendering.clone().keep_rendering());
        tasks.supervise("stream", move || stream.clone().run());
        Ok(overview)
    }

    /// The whole state as it was last rendered.
    pub fn state(&self) -> RenderedDocument {
        self.inner.rendered.load().state.clone()
    }

    /// The summary as it was last rendered.
    pub fn summary(&self) -> RenderedDocument {
        self.inner.rendered.load().summary.clone()
    }

    /// The summary as Markdown.
    pub fn summary_markdown(&self) -> RenderedDocument {
        self.inner.rendered.load().summary_markdown.clone()
    }

    /// The metrics as they were last rendered.
    pub fn metrics(&self) -> RenderedDocument {
        self.inner.rendered.load().metrics.clone()
    }

    /// Parts of the state by dotted names, separated by commas.
    ///
    /// # Errors
    /// [`botops_core::error::Code::FieldUnknown`] with the valid names.
    pub async fn state_fields(&self, fields: &str) -> Result<RenderedDocument, Error> {
        let wanted = field_selection::parse_fields(fields)?;
        let rendered = self.inner.rendered.load_full();
        let key = (rendered.state.etag().to_owned(), field_selection::cache_key(&wanted));
        if let Some(document) = self.inner.selections.get(&key).await {
            self.inner.selection_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(document);
        }
        self.inner.selection_misses.fetch_add(1, Ordering::Relaxed);
        let state = rendered
            .value
            .get_or_init(|| serde_json::to_value(&rendered.view).expect("a state has string keys only"));
        let document = RenderedDocument::of_json(&field_selection::select(state, &wanted))?;
        self.inner.selections.insert(key, document.clone()).await;
        Ok(document)
    }

    /// Healthy, degraded or offline, as last rendered.
    pub fn health_status(&self) -> BotHealthStatus {
        self.inner.rendered.load().view.health.status
    }

    /// Most stream clients at a time.
    pub fn max_stream_clients(&self) -> usize {
        self.inner.options.stream_max_clients
    }

    /// Changes what other features know; it is shown at once.
    pub fn update_extras(&self, change: impl FnOnce(&mut OverviewExtras)) {
        self.inner.extras.send_if_modified(|extras| {
            let before = extras.clone();
            change(extras);
            *extras != before
        });
    }

    async fn keep_rendering(self) {
        let mut snapshot = self.inner.bots.watch();
        let mut extras = self.inner.extras.subscribe();
        // What changed between the last rendering and the subscription is rendered at once.
        self.render();
        loop {
            tokio::select! {
                changed = snapshot.changed() => if changed.is_err() { return },
                changed = extras.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(FRESH) => {}
                () = self.inner.stopping.cancelled() => return,
            }
            snapshot.mark_unchanged();
            extras.mark_unchanged();
            self.render();
        }
    }

    fn render(&self) {
        let inner = &self.inner;
        let extras = inner.extras.borrow().clone();
        let (bots, events, errors) = (&inner.bots, &inner.events, &inner.errors);
        match render_overview(&inner.options, bots, events, errors, &extras, self.ops_numbers()) {
            Ok(rendered) => inner.rendered.store(Arc::new(rendered)),
            Err(error) => {
                tracing::error!(error.cause = error.cause_for_log(), "the state cannot be shown: {error}");
            }
        }
    }

    fn ops_numbers(&self) -> OpsNumbers {
        OpsNumbers {
            websocket_connections: self.inner.stream.hub().clients(),
            stream_messages: self.inner.stream.hub().messages(),
            stream_closed_slow: self.inner.stream.hub().closed_slow(),
            selection_hits: self.inner.selection_hits.load(Ordering::Relaxed),
            selection_misses: self.inner.selection_misses.load(Ordering::Relaxed),
            ..OpsNumbers::default()
        }
    }
}
