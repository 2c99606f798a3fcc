//! What goes to many clients at once, and how far each client is.
//!
//! A message is framed once and written by one task to every client's socket that takes it; waking a task for each
//! client would cost more than the writes. A client that does not take a whole frame, has sent something, or must be
//! checked, is handed to its own task, which goes on from the same frame until it has caught up and hands the
//! connection back. Exactly one of the two writes at a time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use botops_http::SocketWriter;

/// Frames a client may be behind. Beyond it, events count as missed.
const QUEUE: usize = 1_024;

/// Clients written to before other tasks get a turn.
const CLIENTS_AT_ONCE: usize = 64;

/// What every client gets. Cloning counts references.
#[derive(Debug, Clone)]
pub(super) struct StreamFrame {
    pub kind: FrameKind,
    /// Event frames so far, this one included; two of these counts show whether events were between them.
    events: u64,
    /// The frame's bytes as they are sent.
    pub bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// The event with this number in the journal.
    Event(u64),
    /// Metrics as they are now.
    Metrics,
    /// A WebSocket ping, which checks that the client still answers.
    Ping,
    /// The last message before the server stops.
    Goodbye,
}

/// How far a client is.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientCursor {
    /// The last event the client has.
    pub last_event: u64,
    /// The frame it gets next, counted since the start.
    next: u64,
    /// Event frames before that one.
    events: u64,
    /// What its socket has not taken of the frame before, and the event in it.
    unsent: Bytes,
    unsent_event: Option<u64>,
}

/// What a client gets next.
#[derive(Debug)]
pub(super) enum NextFrame {
    Frame(StreamFrame),
    /// The queue no longer holds events that the client never had.
    Nothing,
    /// Events are gone from the queue that it never had.
    Missed,
}

/// One client's connection.
#[derive(Debug)]
pub(super) struct ClientConnection {
    wire: SocketWriter,
    turn: Mutex<WriteTurn>,
    handed: Notify,
}

#[derive(Debug)]
struct WriteTurn {
    /// True while the broadcast writes to it, false while the client's own task does.
    is_shared: bool,
    cursor: ClientCursor,
}

/// The newest frames, and the clients that get the next ones.
#[derive(Debug, Default)]
pub(super) struct StreamBroadcast {
    queue: Mutex<FrameQueue>,
    clients: Mutex<BTreeMap<u64, Arc<ClientConnection>>>,
}

#[derive(Debug, Default)]
struct FrameQueue {
    frames: VecDeque<StreamFrame>,
    /// The number of the frame after the last one.
    end: u64,
    events: u64,
    /// The number of the newest metrics: older ones are not worth sending any more.
    metrics: u64,
    /// Ids given to clients so far.
    last_id: u64,
}

impl StreamBroadcast {
    /// Adds a client that gets what comes from now on, by its own task at first. [`leave`](Self::leave) removes it.
    pub(super) fn join(
        &self,
        wire: SocketWriter,
        last_event: u64,
    ) -> (u64, Arc<ClientConnection>, ClientCursor) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.last_id += 1;
        let id = queue.last_id;
        let cursor =
            ClientCursor { last_event, next: queue.end, events: queue.events, ..ClientCursor::default() };
        drop(queue);
        let turn = Mutex::new(WriteTurn { is_shared: false, cursor: ClientCursor::default() });
        let connection = Arc::new(ClientConnection { wire, turn, handed: Notify::new() });
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(id, connection.clone());
        (id, connection, cursor)
    }

    pub(super) fn leave(&self, id: u64) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Puts a frame into the queue and writes it to everybody who takes it at once.
    pub(super) async fn broadcast(&self, kind: FrameKind, bytes: Bytes) {
        let (number, frame) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(kind, bytes);
        let mut after = 0;
        loop {
            let some = self.next_clients(after);
            some.iter().for_each(|(_, connection)| connection.write_frame(number, &frame));
            match some.last() {
                Some((last, _)) if some.len() == CLIENTS_AT_ONCE => after = *last,
                _ => return,
            }
            tokio::task::yield_now().await;
        }
    }

    fn next_clients(&self, after: u64) -> Vec<(u64, Arc<ClientConnection>)> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients
            .range(after + 1..)
            .take(CLIENTS_AT_ONCE)
            .map(|(id, connection)| (*id, connection.clone()))
            .collect()
    }

    /// The next frame for this cursor, which moves on behind it; outdated ones are passed over.
    pub(super) fn next(&self, cursor: &mut ClientCursor) -> NextFrame {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let first = queue.end - u64::try_from(queue.frames.len()).unwrap_or(queue.end);
            if cursor.next < first {
                let before = queue.frames.front().map_or(queue.events, StreamFrame::events_before);
                if before != cursor.events {
                    return NextFrame::Missed;
                }
                cursor.next = first;
            }
            let index = usize::try_from(cursor.next - first).unwrap_or(usize::MAX);
            let Some(frame) = queue.frames.get(index) else { return NextFrame::Nothing };
            let is_outdated = frame.kind == FrameKind::Metrics && cursor.next < queue.metrics;
            if cursor.wants(frame) && !is_outdated {
                cursor.advance(frame);
                return NextFrame::Frame(frame.clone());
            }
            cursor.advance(frame);
        }
    }

    /// Leaves the connection to the broadcast. False when there is a newer frame already.
    pub(super) fn hand_to_broadcast(&self, connection: &ClientConnection, cursor: &ClientCursor) -> bool {
        let mut turn = connection.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // While the turn is held no frame can miss this connection: it is in the queue by now, or is written later.
        let is_newest = self.queue.lock().unwrap_or_else(PoisonError::into_inner).end == cursor.next;
        if is_newest {
            *turn = WriteTurn { is_shared: true, cursor: cursor.clone() };
        }
        is_newest
    }
}

impl FrameQueue {
    fn push(&mut self, kind: FrameKind, bytes: Bytes) -> (u64, StreamFrame) {
        self.events += u64::from(matches!(kind, FrameKind::Event(_)));
        if kind == FrameKind::Metrics {
            self.metrics = self.end;
        }
        let frame = StreamFrame { kind, events: self.events, bytes };
        if self.frames.len() == QUEUE {
            self.frames.pop_front();
        }
        self.frames.push_back(frame.clone());
        self.end += 1;
        (self.end - 1, frame)
    }
}

impl StreamFrame {
    fn events_before(&self) -> u64 {
        self.events - u64::from(matches!(self.kind, FrameKind::Event(_)))
    }
}

impl ClientCursor {
    /// Whether the client is to get it: an event that it has already came out of the journal.
    fn wants(&self, frame: &StreamFrame) -> bool {
        !matches!(frame.kind, FrameKind::Event(seq) if seq <= self.last_event)
    }

    fn advance(&mut self, frame: &StreamFrame) {
        self.next += 1;
        self.events = frame.events;
    }

    /// The socket took the whole frame: its event is the last one that the client has.
    fn record_sent(&mut self, kind: FrameKind) {
        if let FrameKind::Event(seq) = kind {
            self.last_event = seq;
        }
    }

    /// The frame is under way from here on.
    pub(super) fn set_unsent(&mut self, frame: StreamFrame) {
        self.unsent_event = if let FrameKind::Event(seq) = frame.kind { Some(seq) } else { None };
        self.unsent = frame.bytes;
    }
}

impl ClientConnection {
    /// Writes a frame if it is the broadcast's turn.
    ///
    /// The connection is handed to its own task when that cannot be done at once.
    fn write_frame(&self, number: u64, frame: &StreamFrame) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !turn.is_shared || turn.cursor.next > number {
            return;
        }
        let cursor = &mut turn.cursor;
        // The other kinds check the client, which is its own task's.
        let can_be_written =
            cursor.next == number && matches!(frame.kind, FrameKind::Event(_) | FrameKind::Metrics);
        if can_be_written {
            if !cursor.wants(frame) {
                cursor.advance(frame);
                return;
            }
            if let Ok(written) = self.wire.try_write(&frame.bytes) {
                cursor.advance(frame);
                if written == frame.bytes.len() {
                    cursor.record_sent(frame.kind);
                    return;
                }
                cursor.set_unsent(frame.clone());
                cursor.unsent.advance(written);
            }
        }
        turn.is_shared = false;
        self.handed.notify_one();
    }

    /// Resolves when the client said something, left, or was handed over.
    pub(super) async fn wait_for_turn(&self) {
        tokio::select! {
            // A connection that is gone is found out by reading.
            _ = self.wire.readable() => {}
            () = self.handed.notified() => {}
        }
    }

    /// Takes the connection back from the broadcast, where that left it.
    pub(super) fn take_back(&self) -> ClientCursor {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.is_shared = false;
        std::mem::take(&mut turn.cursor)
    }

    /// Writes what is left of the last frame. What the socket took is noted even when this is dropped half-way.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) async fn write_unsent(&self, cursor: &mut ClientCursor) -> io::Result<()> {
        while !cursor.unsent.is_empty() {
            match self.wire.try_write(&cursor.unsent) {
                Ok(written) => cursor.unsent.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wire.writable().await?,
                Err(error) => return Err(error),
            }
        }
        if let Some(seq) = cursor.unsent_event.take() {
            cursor.last_event = seq;
        }
        Ok(())
    }
}

/// A text message as a server sends it: one frame, not masked (RFC 6455, 5.2).
pub(super) fn text_frame(text: &str) -> Bytes {
    let mut frame = Vec::with_capacity(text.len() + 10);
    frame.push(0x81);
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length), _) if length < 126 => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    frame.extend(text.as_bytes());
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_length_as_the_protocol_has_it() {
        let head = |length: usize| {
            let frame = text_frame(&"x".repeat(length));
            frame.get(..frame.len() - length).unwrap().to_vec()
        };
        assert_eq!(head(0), [0x81, 0]);
        assert_eq!(head(125), [0x81, 125]);
        assert_eq!(head(126), [0x81, 126, 0, 126]);
        assert_eq!(head(65_535), [0x81, 126, 0xff, 0xff]);
        assert_eq!(head(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_gap_without_events_is_passed_over_and_one_with_events_is_told() {
        let clients = StreamBroadcast::default();
        let push = |kind| clients.queue.lock().unwrap().push(kind, Bytes::new());
        let mut fresh = ClientCursor::default();
        let mut late = ClientCursor::default();
        push(FrameKind::Event(1));
        assert!(matches!(
            clients.next(&mut fresh),
            NextFrame::Frame(StreamFrame { kind: FrameKind::Event(1), .. })
        ));
        for _ in 0..=QUEUE {
            push(FrameKind::Metrics);
        }
        // Of all these metrics only the newest is worth sending.
        assert!(matches!(
            clients.next(&mut fresh),
            NextFrame::Frame(StreamFrame { kind: FrameKind::Metrics, .. })
        ));
        assert!(matches!(clients.next(&mut fresh), NextFrame::Nothing));
        assert!(matches!(clients.next(&mut late), NextFrame::Missed));
    }

    #[test]
    fn an_event_out_of_the_journal_is_not_sent_twice() {
        let clients = StreamBroadcast::default();
        let mut cursor = ClientCursor { last_event: 7, ..ClientCursor::default() };
        for seq in [6, 7, 8] {
            clients.queue.lock().unwrap().push(FrameKind::Event(seq), Bytes::new());
        }
        assert!(matches!(
            clients.next(&mut cursor),
            NextFrame::Frame(StreamFrame { kind: FrameKind::Event(8), .. })
        ));
        assert!(matches!(clients.next(&mut cursor), NextFrame::Nothing));
    }
}
