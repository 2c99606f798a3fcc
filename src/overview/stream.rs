//! The stream: one encoding for all clients, events in order, metrics as they are now.
//!
//! One task turns the journal and the clock into frames and gives them to a broadcast; each client's task passes them
//! on. What a slow client misses is told apart: missed metrics do not matter (the latest wins), a missed event closes
//! the stream with a reason, since the journal has it. Every message carries `seq`, the place in the journal it stands
//! at: whoever comes back with `?after=<seq>` misses nothing. Deliberately absent: subscriptions and client messages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;

use super::Overview;
use crate::error::{Code, Error};
use crate::events::Event;
use crate::web::Actor;

/// Frames a client may be behind. Beyond it, events count as missed.
const QUEUE: usize = 1_024;

/// A client whose socket does not take a frame for this long is given up.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// How long a client is given to hear why it is closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// How often clients are asked whether they are there; two unanswered questions are enough.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Events read from the journal at a time for a client that comes back.
const REPLAY_PAGE: usize = 200;

/// How long a ticket holds: a browser connects at once.
const TICKET_LIFE: Duration = Duration::from_secs(30);

/// Tickets out at a time. The oldest ones go first.
const TICKETS: usize = 1_000;

/// Close codes of RFC 6455 that are used here.
mod close {
    pub const GOING_AWAY: u16 = 1001;
    pub const POLICY: u16 = 1008;
    pub const INTERNAL: u16 = 1011;
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// What every client gets. Cloning counts references.
#[derive(Debug, Clone)]
struct Frame {
    kind: Kind,
    /// Event frames broadcast so far, this one included: tells whether a gap held events.
    events: u64,
    text: Utf8Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The event with this number.
    Event(u64),
    /// Metrics, counted from 1.
    Metrics(u64),
    /// Are you there?
    Ping,
    /// The server stops.
    Goodbye,
}

/// All stream clients, from the server's side.
#[derive(Debug)]
pub(super) struct Hub {
    frames: broadcast::Sender<Frame>,
    /// The last event that was broadcast.
    seq: AtomicU64,
    events: AtomicU64,
    metrics: AtomicU64,
    clients: AtomicUsize,
    max_clients: usize,
    messages: AtomicU64,
    closed_slow: AtomicU64,
    refused: AtomicU64,
    tickets: Mutex<HashMap<String, Ticket>>,
}

#[derive(Debug, Clone, Copy)]
struct Ticket {
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
pub(super) struct Admission {
    key_ends: Option<DateTime<Utc>>,
}

impl From<&Actor> for Admission {
    fn from(actor: &Actor) -> Self {
        Self { key_ends: actor.expires_at }
    }
}

impl Hub {
    /// No client yet; `seq` is where the journal stands.
    pub fn new(max_clients: usize, seq: u64) -> Self {
        Self {
            frames: broadcast::Sender::new(QUEUE),
            seq: AtomicU64::new(seq),
            events: AtomicU64::new(0),
            metrics: AtomicU64::new(0),
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
        tickets.insert(ticket.clone(), Ticket { until: now + TICKET_LIFE, key_ends: actor.expires_at });
        drop(tickets);
        let url = format!("/api/v1/stream?ticket={ticket}");
        Ok(TicketView { ticket, expires_at: Utc::now() + TICKET_LIFE, url })
    }

    /// Takes a ticket; it is gone whatever comes of it.
    ///
    /// # Errors
    /// [`Code::AuthTicketInvalid`].
    pub fn redeem(&self, ticket: &str) -> Result<Admission, Error> {
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
        Ok(Admission { key_ends: found.key_ends })
    }

    fn broadcast(&self, kind: Kind, text: String) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        let events = self.events.load(Ordering::Relaxed);
        // Nobody listening is fine.
        let _ = self.frames.send(Frame { kind, events, text: text.into() });
    }
}

/// A client's place among the others, given back when dropped.
struct Seat {
    overview: Overview,
}

impl Seat {
    fn take(overview: &Overview) -> Result<Self, Error> {
        let hub = &overview.shared.stream;
        let taken = hub.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |clients| {
            (clients < hub.max_clients).then_some(clients + 1)
        });
        if taken.is_err() {
            hub.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::new(Code::StreamFull).context("max_clients", hub.max_clients));
        }
        Ok(Self { overview: overview.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.overview.shared.stream.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers the handshake and serves the client from then on.
///
/// # Errors
/// [`Code::StreamFull`], [`Code::Stopping`].
pub(super) fn open(
    overview: &Overview,
    upgrade: WebSocketUpgrade,
    admission: Admission,
    after: Option<u64>,
) -> Result<Response, Error> {
    if overview.shared.stopping.is_cancelled() {
        return Err(Error::new(Code::Stopping));
    }
    let seat = Seat::take(overview)?;
    // Small buffers: with the default ones each client costs 136 KiB and every tick zeroes them.
    let upgrade = upgrade
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_write_buffer_size(1024 * 1024)
        .max_message_size(4096)
        .max_frame_size(4096);
    Ok(upgrade.on_upgrade(move |socket| serve(socket, seat, admission, after)))
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
                Ok(event) => pass_on(hub, &event),
                Err(RecvError::Lagged(_)) => catch_up(&overview).await,
                Err(RecvError::Closed) => return,
            },
            _ = metrics.tick() => if hub.frames.receiver_count() > 0 {
                let number = hub.metrics.fetch_add(1, Ordering::Relaxed) + 1;
                hub.broadcast(Kind::Metrics(number), metrics_message(&overview));
            },
            _ = pings.tick() => if hub.frames.receiver_count() > 0 {
                hub.broadcast(Kind::Ping, String::new());
            },
            () = shared.stopping.cancelled() => break,
        }
    }
    while let Ok(event) = events.try_recv() {
        pass_on(hub, &event);
    }
    hub.broadcast(Kind::Goodbye, goodbye_message(hub.seq.load(Ordering::Relaxed)));
    // Clients are served by tasks of the framework: this one waits for them, so that the stop does.
    let patience = Instant::now() + SEND_LIMIT / 2;
    while hub.clients() > 0 && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn pass_on(hub: &Hub, event: &Event) {
    if event.seq <= hub.seq.load(Ordering::Relaxed) {
        return;
    }
    hub.seq.store(event.seq, Ordering::Relaxed);
    hub.events.fetch_add(1, Ordering::Relaxed);
    hub.broadcast(Kind::Event(event.seq), event_message(event));
}

/// Passes on what was published while nobody took it over.
async fn catch_up(overview: &Overview) {
    let hub = &overview.shared.stream;
    loop {
        let after = hub.seq.load(Ordering::Relaxed);
        match overview.shared.events.since(after, None, REPLAY_PAGE).await {
            Ok(page) => {
                page.items.iter().for_each(|event| pass_on(hub, event));
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

/// Why a client's stream ends.
enum End {
    /// The client left, or its connection broke.
    Gone,
    /// It is told why with a close frame.
    Close { code: u16, reason: String },
    /// The server stops: this text first, then the close.
    Goodbye(Utf8Bytes),
}

impl End {
    fn too_slow(seq: u64) -> Self {
        let title = Code::StreamTooSlow.row().title;
        let code = Code::StreamTooSlow.row().code;
        Self::Close {
            code: close::TRY_AGAIN_LATER,
            reason: format!("{code}: {title}; come back with ?after={seq}"),
        }
    }
}

async fn serve(mut socket: WebSocket, seat: Seat, admission: Admission, after: Option<u64>) {
    let overview = seat.overview.clone();
    let mut client = Client { cursor: 0, unanswered: 0, admission };
    // Boxed, so that the idle client's task stays small.
    let greeted = Box::pin(client.greet(&mut socket, &overview, after)).await;
    let end = match greeted {
        Ok(frames) => client.follow(&mut socket, &overview, frames).await,
        Err(end) => end,
    };
    Box::pin(part(socket, end, &overview)).await;
    drop(seat);
}

/// One client, from hello to close.
struct Client {
    /// The last event the client has.
    cursor: u64,
    /// Pings since the client was last heard.
    unanswered: u32,
    admission: Admission,
}

impl Client {
    /// Hello, snapshot, and what the journal holds after the client's place; then the live frames follow.
    async fn greet(
        &mut self,
        socket: &mut WebSocket,
        overview: &Overview,
        after: Option<u64>,
    ) -> Result<broadcast::Receiver<Frame>, End> {
        let events = &overview.shared.events;
        let latest = events.latest();
        let oldest = events.oldest();
        let mut lost = None;
        self.cursor = match after {
            None => latest,
            Some(after) if after > latest => {
                lost = Some(
                    json!({"reason": "the cursor is ahead of the journal; it belongs to another data folder"}),
                );
                latest
            }
            Some(after) if after + 1 < oldest => {
                lost = Some(
                    json!({"from": after + 1, "to": oldest - 1, "reason": "the journal no longer holds them"}),
                );
                oldest - 1
            }
            Some(after) => after,
        };
        let hello = hello_message(overview, self.cursor, after, lost.as_ref());
        send(socket, hello.into(), self.cursor).await?;
        send(socket, snapshot_message(overview, self.cursor).into(), self.cursor).await?;
        self.replay(socket, overview).await?;
        let frames = overview.shared.stream.frames.subscribe();
        // What was published between the last page and the subscription.
        self.replay(socket, overview).await?;
        Ok(frames)
    }

    async fn replay(&mut self, socket: &mut WebSocket, overview: &Overview) -> Result<(), End> {
        loop {
            let page = overview.shared.events.since(self.cursor, None, REPLAY_PAGE).await;
            let page = page.map_err(|error| {
                let code = error.code().row();
                End::Close { code: close::INTERNAL, reason: format!("{}: {}", code.code, code.title) }
            })?;
            for event in &page.items {
                send(socket, event_message(event).into(), self.cursor).await?;
                self.cursor = event.seq;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Passes frames on until either side ends it.
    async fn follow(
        &mut self,
        socket: &mut WebSocket,
        overview: &Overview,
        mut frames: broadcast::Receiver<Frame>,
    ) -> End {
        let newest_metrics = &overview.shared.stream.metrics;
        let mut events_before: Option<u64> = None;
        let mut lagged = false;
        loop {
            tokio::select! {
                frame = frames.recv() => {
                    let frame = match frame {
                        Ok(frame) => frame,
                        Err(RecvError::Lagged(_)) => {
                            lagged = true;
                            continue;
                        }
                        Err(RecvError::Closed) => return End::Gone,
                    };
                    let own = u64::from(matches!(frame.kind, Kind::Event(_)));
                    let missed_events = lagged && events_before.is_none_or(|before| frame.events - own != before);
                    if missed_events {
                        return End::too_slow(self.cursor);
                    }
                    lagged = false;
                    events_before = Some(frame.events);
                    let outdated = match frame.kind {
                        Kind::Event(seq) => seq <= self.cursor,
                        // The latest wins: a newer one waits in the queue.
                        Kind::Metrics(number) => number < newest_metrics.load(Ordering::Relaxed),
                        Kind::Ping | Kind::Goodbye => false,
                    };
                    if outdated {
                        continue;
                    }
                    if let Err(end) = self.pass(socket, frame).await {
                        return end;
                    }
                }
                received = socket.recv() => match received {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                    // Whatever it says, it is there.
                    Some(Ok(_)) => self.unanswered = 0,
                },
            }
        }
    }

    async fn pass(&mut self, socket: &mut WebSocket, frame: Frame) -> Result<(), End> {
        match frame.kind {
            Kind::Event(seq) => {
                send(socket, frame.text, self.cursor).await?;
                self.cursor = seq;
                Ok(())
            }
            Kind::Metrics(_) => send(socket, frame.text, self.cursor).await,
            Kind::Ping => self.ping(socket).await,
            Kind::Goodbye => Err(End::Goodbye(frame.text)),
        }
    }

    async fn ping(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        if self.unanswered >= 2 {
            return Err(End::Gone);
        }
        if self.admission.key_ends.is_some_and(|end| end <= Utc::now()) {
            let row = Code::AuthKeyExpired.row();
            return Err(End::Close { code: close::POLICY, reason: format!("{}: {}", row.code, row.title) });
        }
        self.unanswered += 1;
        deliver(socket, Message::Ping(bytes::Bytes::new()), self.cursor).await
    }
}

async fn send(socket: &mut WebSocket, text: Utf8Bytes, cursor: u64) -> Result<(), End> {
    deliver(socket, Message::Text(text), cursor).await
}

async fn deliver(socket: &mut WebSocket, message: Message, cursor: u64) -> Result<(), End> {
    // The timer is armed only when the socket does not take the frame at once.
    match tokio::time::timeout(SEND_LIMIT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::too_slow(cursor)),
    }
}

/// Tells the client why, and waits a moment for it to hear.
async fn part(mut socket: WebSocket, end: End, overview: &Overview) {
    let (code, reason) = match end {
        End::Gone => return,
        End::Close { code, reason } => (code, reason),
        End::Goodbye(text) => {
            let _ = tokio::time::timeout(CLOSE_LIMIT, socket.send(Message::Text(text))).await;
            (close::GOING_AWAY, format!("{}: botops is stopping; come back soon", Code::Stopping.row().code))
        }
    };
    if code == close::TRY_AGAIN_LATER {
        overview.shared.stream.closed_slow.fetch_add(1, Ordering::Relaxed);
        tracing::info!(error.code = Code::StreamTooSlow.row().code, "a stream client was closed: {reason}");
    }
    let frame = CloseFrame { code, reason: reason.into() };
    let farewell = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_LIMIT, farewell).await;
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn hello_message(
    overview: &Overview,
    cursor: u64,
    after: Option<u64>,
    lost: Option<&serde_json::Value>,
) -> String {
    let rendered = overview.shared.rendered.load();
    let options = &overview.shared.options;
    let replay = after.map(|after| {
        json!({"after": after, "from": cursor + 1, "to": overview.shared.events.latest(), "lost": lost})
    });
    json!({
        "type": "hello",
        "seq": cursor,
        "sent_at": now(),
        "mode": rendered.view.mode,
        "bot": {
            "id": rendered.view.bot.id,
            "presence": rendered.view.bot.presence,
            "boot_epoch": rendered.view.bot.boot_epoch,
        },
        "interval_seconds": super::view::seconds(options.stream_interval),
        "ping_seconds": PING_EVERY.as_secs(),
        "replay": replay,
        "server": {"name": "botops", "version": env!("CARGO_PKG_VERSION")},
    })
    .to_string()
}

fn snapshot_message(overview: &Overview, cursor: u64) -> String {
    message("snapshot", cursor, "summary", text_of(overview.summary().bytes()))
}

fn metrics_message(overview: &Overview) -> String {
    let seq = overview.shared.stream.seq.load(Ordering::Relaxed);
    message("metrics", seq, "metrics", text_of(overview.metrics().bytes()))
}

fn event_message(event: &Event) -> String {
    let body = serde_json::to_string(event).expect("an event has string keys only");
    message("event", event.seq, "event", &body)
}

fn goodbye_message(seq: u64) -> String {
    let row = Code::Stopping.row();
    json!({
        "type": "goodbye",
        "seq": seq,
        "sent_at": now(),
        "reason": row.title,
        "error_code": row.code,
        "remediation": row.remediation,
        "resume": format!("/api/v1/stream?after={seq}"),
    })
    .to_string()
}

/// A message around a body that is JSON already. The stamp is taken here, right before the first send.
fn message(kind: &str, seq: u64, name: &str, body: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"seq\":{seq},\"sent_at\":\"{}\",\"{name}\":{body}}}", now())
}

fn text_of(json: &[u8]) -> &str {
    std::str::from_utf8(json).unwrap_or("null")
}
