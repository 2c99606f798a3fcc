//! Turns the journal and the clock into frames, and accepts clients.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::broadcast::{FrameKind, text_frame};
use super::context::{ClientSeat, StreamContext};
use super::hub::StreamHub;
use super::messages::PING_EVERY;
use super::tickets::StreamAdmission;
use super::{client, messages};
use crate::events::{Event, EventFilter, Events};
use crate::overview::model::OverviewOptions;
use crate::overview::rendered::RenderedOverview;
use botops_core::error::{Code, Error};
use botops_http::SocketWriter;

/// Events read from the journal at a time when some were missed.
const CATCH_UP_PAGE: usize = 200;

/// How long the stop waits until clients have received their last message.
const FAREWELL: Duration = Duration::from_secs(5);

/// Handle to the stream; cloning is cheap.
#[derive(Debug, Clone)]
pub(in crate::overview) struct StreamServer {
    context: Arc<StreamContext>,
}

impl StreamServer {
    /// A stream of what is rendered and of this journal, without a client yet.
    pub(crate) fn new(
        options: &OverviewOptions,
        events: Events,
        rendered: Arc<ArcSwap<RenderedOverview>>,
        stopping: CancellationToken,
    ) -> Self {
        let hub = StreamHub::new(options.stream_max_clients, events.latest());
        let interval = options.stream_interval;
        Self { context: Arc::new(StreamContext { hub, events, rendered, interval, stopping }) }
    }

    pub(crate) fn hub(&self) -> &StreamHub {
        &self.context.hub
    }

    /// Answers the handshake and serves the client from then on.
    ///
    /// # Errors
    /// [`Code::StreamFull`], [`Code::Stopping`].
    pub(crate) fn open(
        &self,
        upgrade: WebSocketUpgrade,
        wire: SocketWriter,
        admission: StreamAdmission,
        after: Option<u64>,
    ) -> Result<Response, Error> {
        if self.context.stopping.is_cancelled() {
            return Err(Error::new(Code::Stopping));
        }
        let seat = ClientSeat::take(&self.context)?;
        // Small buffers: with the default ones each client costs 136 KiB and every tick zeroes them.
        let upgrade = upgrade
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_write_buffer_size(1024 * 1024)
            .max_message_size(client::CLIENT_MESSAGE)
            .max_frame_size(client::CLIENT_MESSAGE);
        Ok(upgrade.on_upgrade(move |socket| client::serve(socket, wire, seat, admission, after)))
    }

    /// Turns the journal and the clock into frames until the stop.
    pub(crate) async fn run(self) {
        let context = &*self.context;
        let hub = &context.hub;
        let mut events = context.events.subscribe();
        catch_up(context).await;
        let mut metrics = tokio::time::interval(context.interval);
        metrics.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pings = tokio::time::interval(PING_EVERY);
        pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => pass_on(hub, &event).await,
                    Err(RecvError::Lagged(_)) => catch_up(context).await,
                    Err(RecvError::Closed) => return,
                },
                _ = metrics.tick() => if !hub.clients.is_empty() {
                    hub.broadcast(FrameKind::Metrics, text_frame(&messages::metrics(context))).await;
                },
                _ = pings.tick() => if !hub.clients.is_empty() {
                    hub.broadcast(FrameKind::Ping, Bytes::new()).await;
                },
                () = context.stopping.cancelled() => break,
            }
        }
        while let Ok(event) = events.try_recv() {
            pass_on(hub, &event).await;
        }
        let goodbye = messages::goodbye(hub.seq.load(Ordering::Relaxed));
        hub.broadcast(FrameKind::Goodbye, text_frame(&goodbye)).await;
        // Clients are served by tasks of the framework: this one waits for them, so that the stop does.
        let patience = Instant::now() + FAREWELL;
        while hub.clients() > 0 && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn pass_on(hub: &StreamHub, event: &Event) {
    if event.seq <= hub.seq.load(Ordering::Relaxed) {
        return;
    }
    hub.seq.store(event.seq, Ordering::Relaxed);
    hub.broadcast(FrameKind::Event(event.seq), text_frame(&messages::event(event))).await;
}

/// Passes on what was published while nobody took it over.
async fn catch_up(context: &StreamContext) {
    let hub = &context.hub;
    loop {
        let after = hub.seq.load(Ordering::Relaxed);
        match context.events.since(after, &EventFilter::default(), CATCH_UP_PAGE).await {
            Ok(page) => {
                for event in &page.items {
                    pass_on(hub, event).await;
                }
                if !page.more {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(error.cause = error.cause_for_log(), "the stream lost events: {error}");
                hub.seq.store(context.events.latest(), Ordering::Relaxed);
                return;
            }
        }
    }
}
