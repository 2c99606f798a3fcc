//! What a scrape wants to know of the bot and of the readers.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::handle::Overview;
use crate::bots::Presence;
use botops_core::telemetry::Metrics;

impl Overview {
    /// Registers what a scrape wants to know of the bot and of the readers.
    pub fn register_metrics(&self, metrics: &Metrics) {
        let bots = self.inner.bots.clone();
        let answers = move || if bots.snapshot().presence.answers() { 1.0 } else { 0.0 };
        metrics.gauge("bot_up", "Whether the bot answers (1) or not (0)", answers);
        let bots = self.inner.bots.clone();
        let age = move || bots.snapshot().data_age().map_or(f64::NAN, |age| age.as_secs_f64());
        metrics.gauge(
            "bot_data_age_seconds",
            "Seconds since the bot knew what it reported, by its own as_of",
            age,
        );
        let bots = self.inner.bots.clone();
        let latency = move || bots.snapshot().poll_latency.map_or(f64::NAN, |latency| latency.as_secs_f64());
        metrics.gauge("bot_poll_latency_seconds", "How long the last answered poll of the bot took", latency);
        register_presence(self, metrics);
        type Read = fn(&Overview) -> u64;
        let counters: [(&str, &str, Read); 8] = [
            ("bot_polls", "Polls of the bot's state", |o| o.inner.bots.stats().polls),
            ("bot_poll_failures", "Polls that brought nothing usable", |o| {
                o.inner.bots.stats().poll_failures
            }),
            ("bot_events", "Events taken over from the bot", |o| o.inner.bots.stats().events),
            ("stream_messages", "Messages given to the stream, each once for all clients", |o| {
                o.inner.stream.hub().messages()
            }),
            ("stream_closed_slow", "Stream clients closed because they did not keep up", |o| {
                o.inner.stream.hub().closed_slow()
            }),
            ("stream_refused", "Stream clients refused because there was no room", |o| {
                o.inner.stream.hub().refused()
            }),
            ("cache_hits", "Reads with fields= answered from the cache", |o| {
                o.inner.selection_hits.load(Ordering::Relaxed)
            }),
            ("cache_misses", "Reads with fields= that were rendered", |o| {
                o.inner.selection_misses.load(Ordering::Relaxed)
            }),
        ];
        for (name, help, read) in counters {
            let counter = metrics.add(name, help, Counter::<u64, AtomicU64>::default());
            let overview = self.clone();
            metrics.on_scrape(move || counter.inner().store(read(&overview), Ordering::Relaxed));
        }
        let streaming = self.clone();
        let clients = move || {
            let clients = u32::try_from(streaming.inner.stream.hub().clients()).unwrap_or(u32::MAX);
            f64::from(clients)
        };
        metrics.gauge("stream_clients", "Stream clients now", clients);
    }
}

/// One series per presence, so that a graph shows when it changed.
fn register_presence(overview: &Overview, metrics: &Metrics) {
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
    let bots = overview.inner.bots.clone();
    metrics.on_scrape(move || {
        let now = bots.snapshot().presence;
        for presence in ALL {
            let gauge = family.get_or_create(&vec![("presence", presence.as_str())]);
            gauge.set(i64::from(presence == now));
        }
    });
}
