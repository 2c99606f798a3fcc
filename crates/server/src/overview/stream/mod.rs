//! The stream: one encoding for all clients, events in order, metrics as they are now.
//!
//! One task turns the journal and the clock into frames and writes them to every client that keeps up; the others' own
//! tasks pass them on. What a slow client misses is told apart: missed metrics do not matter (the latest wins), a missed event closes
//! the stream with a reason, since the journal has it. Every message carries `seq`, the place in the journal it stands
//! at: whoever comes back with `?after=<seq>` misses nothing. Deliberately absent: subscriptions and client messages.

mod client;
mod line;
mod messages;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;

use self::line::{ClientConnection, ClientCursor, FrameKind, StreamBroadcast, text_frame};
use super::Overview;
use crate::events::Event;
use botops_core::error::{Code, Error};
use botops_http::{Actor, Wire};

/// How often clients are asked whether they are there; two unanswered questions are enough.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Events read from the journal at a time when some were missed.
const CATCH_UP_PAGE: usize = 200;

/// How long the stop waits for clients to hear of it.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a ticket holds: a browser connects at once.
const TICKET_LIFE: Duration = Duration::from_secs(30);

/// Tickets out at a time. The oldest ones go first.
const TICKETS: usize = 1_000;

/// All stream clients, from the server's side.
#[derive(Debug)]
pub(super) struct StreamHub {
    lines: StreamBroadcast,
    /// The last event that was broadcast.
    seq: AtomicU64,
    clients: AtomicUsize,
    max_clients: usize,
    messages: AtomicU64,
    closed_slow: AtomicU64,
    refused: AtomicU64,
    tickets: Mutex<HashMap<String, StreamTicket>>,
}

#[derive(Debug, Clone, Copy)]
struct StreamTicket {
    until: Instant,
    /// When the key it stands for ends.
    key_ends: Option<DateTime<Utc>>,
}

/// `POST stream/ticket`: what a browser connects with instead of the key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TicketView {
    /// Good for one connection.
    #[schema(example = "st_4kz7w3p2m5q6r8t9v0x1y2z3a4")]
    pub ticket: String,
    /// When it ends unused.
    pub expires_at: DateTime<Utc>,
    /// Where to connect, relative to this server.
    #[schema(example = "/api/v1/stream?ticket=st_4kz7w3p2m5q6r8t9v0x1y2z3a4")]
    pub url: String,
}

/// Who may open a stream, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamAdmission {
    key_ends: Option<DateTime<Utc>>,
}

impl From<&Actor> for StreamAdmission {
    fn from(actor: &Actor) -> Self {
        Self { key_ends: actor.expires_at }
    }
}

impl StreamHub {
    /// No client yet; `seq` is where the journal stands.
    pub fn new(max_clients: usize, seq: u64) -> Self {
        Self {
            lines: StreamBroadcast::default(),
            seq: AtomicU64::new(seq),
            clients: AtomicUsize::new(0),
            max_clients,
            messages: AtomicU64::new(0),
            closed_slow: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            tickets: Mutex::default(),
        }
    }

    /// Clients now.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Frames broadcast since start.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Clients closed because they did not keep up.
    pub fn closed_slow(&self) -> u64 {
        self.closed_slow.load(Ordering::Relaxed)
    }

    /// Clients refused because there was no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Makes a ticket that stands for the actor's key once.
    ///
    /// # Errors
    /// [`Code::Internal`] when the system has no randomness to give.
    pub fn ticket(&self, actor: &Actor) -> Result<TicketView, Error> {
        let mut random = [0_u8; 20];
        getrandom::fill(&mut random).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        let ticket = format!("st_{}", data_encoding::BASE32_NOPAD.encode(&random).to_lowercase());
        let now = Instant::now();
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() >= TICKETS {
            tickets.retain(|_, ticket| ticket.until > now);
        }
        if tickets.len() >= TICKETS {
            let oldest = tickets.iter().min_by_key(|(_, ticket)| ticket.until).map(|(name, _)| name.clone());
            oldest.and_then(|name| tickets.remove(&name));
        }
        tickets.insert(ticket.clone(), StreamTicket { until: now + TICKET_LIFE, key_ends: actor.expires_at });
        drop(tickets);
        let url = format!("/api/v1/stream?ticket={ticket}");
        Ok(TicketView { ticket, expires_at: Utc::now() + TICKET_LIFE, url })
    }

    /// Takes a ticket; it is gone whatever comes of it.
    ///
    /// # Errors
    /// [`Code::AuthTicketInvalid`].
    pub fn redeem(&self, ticket: &str) -> Result<StreamAdmission, Error> {
        // A random name of 160 bits is looked up by hash: the time tells nothing about other tickets.
        let found = self.tickets.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket);
        let Some(found) = found else {
            return Err(
                Error::new(Code::AuthTicketInvalid).detail("this ticket is unknown or was used already")
            );
        };
        if found.until <= Instant::now() {
            return Err(Error::new(Code::AuthTicketInvalid).detail("this ticket is older than 30 s"));
        }
        Ok(StreamAdmission { key_ends: found.key_ends })
    }

    async fn broadcast(&self, kind: FrameKind, bytes: Bytes) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.lines.broadcast(kind, bytes).await;
    }
}

/// A client's place among the others, given back when dropped.
struct ClientSeat {
    overview: Overview,
    /// Its name among the lines, once it has one.
    line: Option<u64>,
}

impl ClientSeat {
    fn take(overview: &Overview) -> Result<Self, Error> {
        let hub = &overview.shared.stream;
        let taken = hub.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |clients| {
            (clients < hub.max_clients).then_some(clients + 1)
        });
        if taken.is_err() {
            hub.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::new(Code::StreamFull).context("max_clients", hub.max_clients));
        }
        Ok(Self { overview: overview.clone(), line: None })
    }

    /// From here on the client gets what is broadcast.
    fn join(&mut self, wire: Wire, cursor: u64) -> (Arc<ClientConnection>, ClientCursor) {
        let (name, line, place) = self.overview.shared.stream.lines.join(wire, cursor);
        self.line = Some(name);
        (line, place)
    }
}

impl Drop for ClientSeat {
    fn drop(&mut self) {
        let hub = &self.overview.shared.stream;
        if let Some(name) = self.line {
            hub.lines.leave(name);
        }
        hub.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers the handshake and serves the client from then on.
///
/// # Errors
/// [`Code::StreamFull`], [`Code::Stopping`].
pub(super) fn open(
    overview: &Overview,
    upgrade: WebSocketUpgrade,
    wire: Wire,
    admission: StreamAdmission,
    after: Option<u64>,
) -> Result<Response, Error> {
    if overview.shared.stopping.is_cancelled() {
        return Err(Error::new(Code::Stopping));
    }
    let seat = ClientSeat::take(overview)?;
    // Small buffers: with the default ones each client costs 136 KiB and every tick zeroes them.
    let upgrade = upgrade
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_write_buffer_size(1024 * 1024)
        .max_message_size(4096)
        .max_frame_size(4096);
    Ok(upgrade.on_upgrade(move |socket| client::serve(socket, wire, seat, admission, after)))
}

/// Turns the journal and the clock into frames until the stop.
pub(super) async fn run(overview: Overview) {
    let shared = &overview.shared;
    let hub = &shared.stream;
    let mut events = shared.events.subscribe();
    catch_up(&overview).await;
    let mut metrics = tokio::time::interval(shared.options.stream_interval);
    metrics.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pings = tokio::time::interval(PING_EVERY);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => pass_on(hub, &event).await,
                Err(RecvError::Lagged(_)) => catch_up(&overview).await,
                Err(RecvError::Closed) => return,
            },
            _ = metrics.tick() => if !hub.lines.is_empty() {
                hub.broadcast(FrameKind::Metrics, text_frame(&messages::metrics(&overview))).await;
            },
            _ = pings.tick() => if !hub.lines.is_empty() {
                hub.broadcast(FrameKind::Ping, Bytes::new()).await;
            },
            () = shared.stopping.cancelled() => break,
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

async fn pass_on(hub: &StreamHub, event: &Event) {
    if event.seq <= hub.seq.load(Ordering::Relaxed) {
        return;
    }
    hub.seq.store(event.seq, Ordering::Relaxed);
    hub.broadcast(FrameKind::Event(event.seq), text_frame(&messages::event(event))).await;
}

/// Passes on what was published while nobody took it over.
async fn catch_up(overview: &Overview) {
    let hub = &overview.shared.stream;
    loop {
        let after = hub.seq.load(Ordering::Relaxed);
        match overview.shared.events.since(after, None, CATCH_UP_PAGE).await {
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
                hub.seq.store(overview.shared.events.latest(), Ordering::Relaxed);
                return;
            }
        }
    }
}
