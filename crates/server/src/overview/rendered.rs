//! What is known at one moment in every form that it is asked for, rendered once for all readers.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::Value;

use super::metrics::{MetricsView, OpsNumbers};
use super::model::{OverviewExtras, OverviewOptions};
use super::moment::StateMoment;
use super::state_view::StateView;
use super::summary::render_summary;
use super::wording::to_seconds;
use crate::bots::{BotSnapshot, Bots};
use crate::errors::ErrorList;
use crate::events::Events;
use botops_contract::BotReport;
use botops_core::error::Error;
use botops_http::RenderedDocument;

/// What is known at one moment, in every form it is asked for.
#[derive(Debug)]
pub(super) struct RenderedOverview {
    pub view: StateView,
    /// The state as a value, made when the first selection wants it.
    pub value: OnceLock<Value>,
    pub state: RenderedDocument,
    pub summary: RenderedDocument,
    pub summary_markdown: RenderedDocument,
    pub metrics: RenderedDocument,
    /// When the bot will be asked next: nothing newer is known before.
    pub next_poll: Instant,
}

impl RenderedOverview {
    /// How long a client may keep the answer.
    pub(super) fn max_age(&self) -> Duration {
        self.next_poll.saturating_duration_since(Instant::now())
    }
}

/// Renders what is known now in every form.
pub(super) fn render_overview(
    options: &OverviewOptions,
    bots: &Bots,
    events: &Events,
    errors: &ErrorList,
    extras: &OverviewExtras,
    ops: OpsNumbers,
) -> Result<RenderedOverview, Error> {
    let snapshot = bots.snapshot();
    let listed = snapshot.report.as_deref().map_or(&[][..], BotReport::error_list);
    let reported = errors.undated().date(listed, snapshot.received_at, Utc::now());
    let moment = StateMoment::now(&snapshot, extras, options.stale_after, &reported);
    let view = StateView::of(&moment);
    let errors = events.recent_failures(Utc::now() - TimeDelta::hours(1), 3);
    let summary = render_summary(&moment, &view, &errors);
    let ops = OpsNumbers { poll_latency_ms: poll_latency_ms(&snapshot), ..ops.with_polls(bots.stats()) };
    let metrics = MetricsView::of(&view, &snapshot, ops, events.latest());
    Ok(RenderedOverview {
        state: RenderedDocument::of_json(&view)?,
        summary: RenderedDocument::new(summary.json, "application/json"),
        summary_markdown: RenderedDocument::new(summary.markdown, "text/markdown; charset=utf-8"),
        metrics: RenderedDocument::of_json(&metrics)?,
        value: OnceLock::new(),
        next_poll: snapshot.next_poll,
        view,
    })
}

fn poll_latency_ms(snapshot: &BotSnapshot) -> Option<f64> {
    snapshot.poll_latency.map(|latency| to_seconds(latency * 1000))
}
