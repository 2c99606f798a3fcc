//! One client of the stream: its first messages, what its own task does beside the broadcast, and its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use chrono::Utc;
use futures_util::{FutureExt, SinkExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use super::broadcast::{ClientConnection, ClientCursor, FrameKind, NextFrame, StreamBroadcast, StreamFrame};
use super::context::{ClientSeat, StreamContext};
use super::messages;
use super::tickets::StreamAdmission;
use crate::events::EventFilter;
use botops_core::error::Code;
use botops_core::text::clean;
use botops_http::SocketWriter;

/// A client whose socket does not take a frame for this long is given up.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// How long a client may take to receive the reason for its close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Bytes that a message of a client may have; what it says is ignored.
pub(super) const CLIENT_MESSAGE: usize = 4096;

/// Characters of a reason that was not written by botops: a close frame has 123 bytes for it.
const CLOSE_REASON: usize = 100;

/// Events read from the journal at a time for a client that comes back.
const REPLAY_PAGE: usize = 200;

/// Close codes of RFC 6455 that are used here.
mod close_code {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const NOT_TEXT: u16 = 1007;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_LARGE: u16 = 1009;
    pub(super) const INTERNAL: u16 = 1011;
    pub(super) const TRY_AGAIN_LATER: u16 = 1013;
}

/// Why a client's stream ends.
enum StreamEnd {
    /// The client's connection broke, or it is silent for too long.
    Gone,
    /// The client sent a close frame, which is to be answered.
    Left,
    /// The reason is sent with a close frame.
    Close { code: u16, reason: String },
    /// The same, since what the client sent cannot be read.
    Unreadable { code: u16, reason: String },
    /// The server stops: this text first, then the close.
    Goodbye(StreamFrame),
}

impl StreamEnd {
    /// The end that follows from what could not be read.
    fn unreadable(error: axum::Error) -> Self {
        let error = error.into_inner().downcast::<WsError>().map(|error| *error);
        let (code, reason) = match error {
            Ok(WsError::Capacity(_)) => {
                let reason =
                    format!("a message of a client may have {CLIENT_MESSAGE} bytes; the stream needs none");
                (close_code::TOO_LARGE, reason)
            }
            // A connection that ends without a close frame is reported as a fault of the protocol too.
            Ok(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return Self::Gone,
            Ok(WsError::Protocol(fault)) => (close_code::PROTOCOL, format!("no WebSocket frame: {fault}")),
            Ok(WsError::Utf8(_)) => (close_code::NOT_TEXT, "a text of the client is not UTF-8".to_owned()),
            Ok(_) | Err(_) => return Self::Gone,
        };
        Self::Unreadable { code, reason: clean(&reason, CLOSE_REASON) }
    }

    fn too_slow(seq: u64) -> Self {
        let title = Code::StreamTooSlow.row().title;
        let code = Code::StreamTooSlow.row().code;
        Self::Close {
            code: close_code::TRY_AGAIN_LATER,
            reason: format!("{code}: {title}; come back with ?after={seq}"),
        }
    }
}

/// One client, from its handshake to its close.
pub(super) async fn serve(
    mut socket: WebSocket,
    wire: SocketWriter,
    mut seat: ClientSeat,
    admission: StreamAdmission,
    after: Option<u64>,
) {
    let context = seat.context.clone();
    let mut client = StreamClient { cursor: ClientCursor::default(), unanswered: 0, admission };
    // Boxed, so that the idle client's task stays small.
    let greeted = Box::pin(client.greet(&mut socket, &mut seat, wire.clone(), after)).await;
    let (end, connection) = match greeted {
        Ok(connection) => {
            (client.follow(&mut socket, &context.hub.clients, &connection).await, Some(connection))
        }
        Err(end) => (end, None),
    };
    // What comes after something unreadable cannot be read as frames.
    let leftover = matches!(end, StreamEnd::Unreadable { .. }).then_some(wire);
    Box::pin(client.close(socket, connection, end, &context, leftover)).await;
    drop(seat);
}

struct StreamClient {
    cursor: ClientCursor,
    /// Pings since anything was last received from the client.
    unanswered: u32,
    admission: StreamAdmission,
}

impl StreamClient {
    /// Hello, snapshot, and what the journal holds after the client's last event; then the live frames follow.
    async fn greet(
        &mut self,
        socket: &mut WebSocket,
        seat: &mut ClientSeat,
        wire: SocketWriter,
        after: Option<u64>,
    ) -> Result<Arc<ClientConnection>, StreamEnd> {
        let context = &*seat.context.clone();
        let events = &context.events;
        let latest = events.latest();
        let oldest = events.oldest();
        let mut lost = None;
        self.cursor.last_event = match after {
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
        let hello = messages::hello(context, self.cursor.last_event, after, lost.as_ref());
        in_time(socket.send(Message::text(hello)), self.cursor.last_event).await?;
        in_time(
            socket.send(Message::text(messages::snapshot(context, self.cursor.last_event))),
            self.cursor.last_event,
        )
        .await?;
        self.replay(socket, context).await?;
        let (connection, cursor) = seat.join(wire, self.cursor.last_event);
        self.cursor = cursor;
        // What was published between the last page and the joining of the broadcast.
        self.replay(socket, context).await?;
        Ok(connection)
    }

    async fn replay(&mut self, socket: &mut WebSocket, context: &StreamContext) -> Result<(), StreamEnd> {
        loop {
            let page =
                context.events.since(self.cursor.last_event, &EventFilter::default(), REPLAY_PAGE).await;
            let page = page.map_err(|error| {
                let code = error.code().row();
                StreamEnd::Close {
                    code: close_code::INTERNAL,
                    reason: format!("{}: {}", code.code, code.title),
                }
            })?;
            for event in &page.items {
                in_time(socket.send(Message::text(messages::event(event))), self.cursor.last_event).await?;
                self.cursor.last_event = event.seq;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Passes frames on until either side ends it. While the client keeps up, the broadcast does it.
    async fn follow(
        &mut self,
        socket: &mut WebSocket,
        clients: &StreamBroadcast,
        connection: &ClientConnection,
    ) -> StreamEnd {
        loop {
            if let Err(end) = self.catch_up(socket, clients, connection).await {
                return end;
            }
            if clients.hand_to_broadcast(connection, &self.cursor) {
                connection.wait_for_turn().await;
                self.cursor = connection.take_back();
            }
        }
    }

    /// Everything that is due, to the client and from it.
    async fn catch_up(
        &mut self,
        socket: &mut WebSocket,
        clients: &StreamBroadcast,
        connection: &ClientConnection,
    ) -> Result<(), StreamEnd> {
        self.write_unsent(connection).await?;
        loop {
            match clients.next(&mut self.cursor) {
                NextFrame::Nothing => break,
                NextFrame::Missed => return Err(StreamEnd::too_slow(self.cursor.last_event)),
                NextFrame::Frame(frame) => match frame.kind {
                    FrameKind::Ping => self.ping(socket).await?,
                    FrameKind::Goodbye => return Err(StreamEnd::Goodbye(frame)),
                    FrameKind::Event(_) | FrameKind::Metrics => {
                        self.cursor.set_unsent(frame);
                        self.write_unsent(connection).await?;
                    }
                },
            }
        }
        while let Some(received) = socket.recv().now_or_never() {
            match received {
                Some(Ok(Message::Close(_))) => return Err(StreamEnd::Left),
                Some(Err(error)) => return Err(StreamEnd::unreadable(error)),
                None => return Err(StreamEnd::Gone),
                // Whatever it says, it is there.
                Some(Ok(_)) => self.unanswered = 0,
            }
        }
        // The answer to a ping of the client's may be half-way; nothing else may be written into it.
        in_time(SinkExt::flush(socket), self.cursor.last_event).await
    }

    async fn write_unsent(&mut self, connection: &ClientConnection) -> Result<(), StreamEnd> {
        let cursor = self.cursor.last_event;
        in_time(connection.write_unsent(&mut self.cursor), cursor).await
    }

    async fn ping(&mut self, socket: &mut WebSocket) -> Result<(), StreamEnd> {
        if self.unanswered >= 2 {
            return Err(StreamEnd::Gone);
        }
        if self.admission.key_ends.is_some_and(|end| end <= Utc::now()) {
            let row = Code::AuthKeyExpired.row();
            return Err(StreamEnd::Close {
                code: close_code::POLICY,
                reason: format!("{}: {}", row.code, row.title),
            });
        }
        self.unanswered += 1;
        in_time(socket.send(Message::Ping(bytes::Bytes::new())), self.cursor.last_event).await
    }

    /// Sends the client the reason, and waits a moment so that it can be received.
    async fn close(
        mut self,
        mut socket: WebSocket,
        connection: Option<Arc<ClientConnection>>,
        end: StreamEnd,
        context: &StreamContext,
        leftover: Option<SocketWriter>,
    ) {
        let frame = match end {
            StreamEnd::Gone => return,
            StreamEnd::Left => None,
            StreamEnd::Close { code, reason } | StreamEnd::Unreadable { code, reason } => {
                Some(CloseFrame { code, reason: reason.into() })
            }
            StreamEnd::Goodbye(frame) => {
                self.cursor.set_unsent(frame);
                let reason = format!("{}: botops is stopping; come back soon", Code::Stopping.row().code);
                Some(CloseFrame { code: close_code::GOING_AWAY, reason: reason.into() })
            }
        };
        if let Some(CloseFrame { code: close_code::TRY_AGAIN_LATER, reason }) = &frame {
            context.hub.closed_slow.fetch_add(1, Ordering::Relaxed);
            tracing::info!(
                error.code = Code::StreamTooSlow.row().code,
                "a stream client was closed: {reason}"
            );
        }
        let farewell = async {
            // A close inside of half a frame would not be understood.
            if let Some(connection) = connection
                && connection.write_unsent(&mut self.cursor).await.is_err()
            {
                return;
            }
            let sent = match frame {
                Some(frame) => socket.send(Message::Close(Some(frame))).await,
                // The answer to the client's close frame, with its code, waits already.
                None => SinkExt::flush(&mut socket).await,
            };
            if sent.is_ok() {
                while let Some(Ok(_)) = socket.recv().await {}
                if let Some(wire) = leftover {
                    wire.discard_input().await;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE_LIMIT, farewell).await;
    }
}

async fn in_time<E>(sending: impl Future<Output = Result<(), E>>, cursor: u64) -> Result<(), StreamEnd> {
    // The timer is armed only when the socket does not take it at once.
    match tokio::time::timeout(SEND_LIMIT, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(StreamEnd::Gone),
        Err(_) => Err(StreamEnd::too_slow(cursor)),
    }
}
