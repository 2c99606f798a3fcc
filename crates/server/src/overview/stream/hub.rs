//! All stream clients, from the server's side: how many there are, what was sent, who may connect.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;

use super::broadcast::{FrameKind, StreamBroadcast};
use super::tickets::StreamTickets;
use botops_core::error::{Code, Error};

/// All stream clients, from the server's side.
#[derive(Debug)]
pub(in crate::overview) struct StreamHub {
    pub(super) clients: StreamBroadcast,
    /// The last event that was broadcast.
    pub(super) seq: AtomicU64,
    seats_taken: AtomicUsize,
    max_clients: usize,
    messages: AtomicU64,
    pub(super) closed_slow: AtomicU64,
    refused: AtomicU64,
    pub tickets: StreamTickets,
}

impl StreamHub {
    /// A hub without clients; `seq` is the newest number of the journal.
    pub(crate) fn new(max_clients: usize, seq: u64) -> Self {
        Self {
            clients: StreamBroadcast::default(),
            seq: AtomicU64::new(seq),
            seats_taken: AtomicUsize::new(0),
            max_clients,
            messages: AtomicU64::new(0),
            closed_slow: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            tickets: StreamTickets::default(),
        }
    }

    /// Clients that are connected now.
    pub(crate) fn clients(&self) -> usize {
        self.seats_taken.load(Ordering::Relaxed)
    }

    /// Frames broadcast since start.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Clients closed because they did not keep up.
    pub(crate) fn closed_slow(&self) -> u64 {
        self.closed_slow.load(Ordering::Relaxed)
    }

    /// Clients refused because there were too many.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts a message and gives it to every client.
    pub(super) async fn broadcast(&self, kind: FrameKind, bytes: Bytes) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.clients.broadcast(kind, bytes).await;
    }

    /// Takes a seat, unless all are taken. It is given back with [`leave`](Self::leave).
    ///
    /// # Errors
    /// [`Code::StreamFull`].
    pub(super) fn enter(&self) -> Result<(), Error> {
        let taken = self.seats_taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken < self.max_clients).then_some(taken + 1)
        });
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::new(Code::StreamFull).context("max_clients", self.max_clients));
        }
        Ok(())
    }

    /// Gives a seat back.
    pub(super) fn leave(&self) {
        self.seats_taken.fetch_sub(1, Ordering::Relaxed);
    }
}
