//! Events on their way to the disk.
//!
//! What was not written is written again, in its place; a number is told to nobody before it is reserved durably, so that
//! no number ever stands for two events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::model::Event;
use super::rows::{BLOCK, EventRow};
use crate::store::{StoreAbort, put_value};

/// Bytes that wait for the disk, until they are written.
#[derive(Debug)]
pub(super) struct UnwrittenBytes {
    bytes: u64,
    all: Arc<AtomicU64>,
}

impl UnwrittenBytes {
    pub(super) fn new(bytes: u64, all: Arc<AtomicU64>) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes, all }
    }
}

impl Drop for UnwrittenBytes {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An event that is not on the disk, with what is written beside it.
#[derive(Debug)]
pub(super) struct WaitingEvent {
    seq: u64,
    row: EventRow,
    /// A reader's position in another journal.
    bookmark: Option<(String, String)>,
    /// Counted until it is written.
    _bytes: UnwrittenBytes,
}

impl WaitingEvent {
    pub(super) fn new(
        seq: u64,
        row: EventRow,
        bookmark: Option<(String, String)>,
        bytes: UnwrittenBytes,
    ) -> Self {
        Self { seq, row, bookmark, _bytes: bytes }
    }
}

/// What one write takes along.
#[derive(Debug, Default)]
pub(super) struct JournalWrite {
    events: Vec<WaitingEvent>,
    /// Numbers up to this one are reserved by it.
    reserve: Option<u64>,
}

impl JournalWrite {
    pub(super) fn write(&self, connection: &Connection) -> Result<(), StoreAbort> {
        for event in &self.events {
            event.row.insert(connection)?;
            if let Some((key, value)) = &event.bookmark {
                put_value(connection, key, value)?;
            }
        }
        if let Some(reserve) = self.reserve {
            put_value(connection, "events_reserved", &reserve.to_string())?;
        }
        Ok(())
    }
}

/// What waits, and how far the numbers are durable.
#[derive(Debug)]
pub(super) struct WaitingEvents {
    /// In the order of their numbers.
    events: VecDeque<WaitingEvent>,
    /// Events whose numbers are not reserved durably yet, oldest first.
    untold: VecDeque<Arc<Event>>,
    /// The store holds every event up to this one that it will ever hold.
    written: u64,
    reserved: u64,
}

impl WaitingEvents {
    /// A journal that ends at `latest` and has reserved the numbers up to `reserved`.
    pub(super) fn new(latest: u64, reserved: u64) -> Self {
        Self { events: VecDeque::new(), untold: VecDeque::new(), written: latest, reserved }
    }

    /// The store holds every event up to this one.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Takes a new event, and returns it if it may be told at once.
    pub(super) fn push(&mut self, waiting: WaitingEvent, event: Arc<Event>) -> Option<Arc<Event>> {
        let may_be_told = self.untold.is_empty() && waiting.seq <= self.reserved;
        self.events.push_back(waiting);
        if may_be_told {
            return Some(event);
        }
        self.untold.push_back(event);
        None
    }

    /// All that waits, for one write. It comes back by [`Self::settle`].
    pub(super) fn take(&mut self) -> JournalWrite {
        let events: Vec<_> = self.events.drain(..).collect();
        let newest = events.last().map(|event| event.seq);
        let reserve = newest.filter(|newest| newest + BLOCK / 2 > self.reserved).map(|newest| newest + BLOCK);
        JournalWrite { events, reserve }
    }

    /// A write ended. Returns the events that may be told now, oldest first; what was not written waits again.
    pub(super) fn settle(&mut self, write: JournalWrite, is_durable: bool) -> Vec<Arc<Event>> {
        if !is_durable {
            self.events.extend(write.events);
            self.events.make_contiguous().sort_unstable_by_key(|event| event.seq);
            return Vec::new();
        }
        self.reserved = self.reserved.max(write.reserve.unwrap_or(0));
        if let Some(newest) = write.events.last() {
            let before_gap = self.events.front().map_or(newest.seq, |event| newest.seq.min(event.seq - 1));
            self.written = self.written.max(before_gap);
        }
        let told = self.untold.partition_point(|event| event.seq <= self.reserved);
        self.untold.drain(..told).collect()
    }
}
