//! The newest events in memory, bounded by their number and by their bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::model::Event;

/// The newest events, oldest first.
#[derive(Debug)]
pub(super) struct NewestEvents {
    events: VecDeque<Arc<Event>>,
    /// The size of each of them.
    sizes: VecDeque<u64>,
    bytes: u64,
    most: usize,
    most_bytes: u64,
}

impl NewestEvents {
    /// A ring of these events. Those of an earlier run count with their size as text.
    pub(super) fn of(events: Vec<Arc<Event>>, most: usize, most_bytes: u64) -> Self {
        let mut ring = Self { events: VecDeque::new(), sizes: VecDeque::new(), bytes: 0, most, most_bytes };
        for event in events {
            let bytes = serde_json::to_string(&event).map_or(0, |text| text.len() as u64);
            ring.push(event, bytes);
        }
        ring
    }

    /// Adds the newest event; the oldest ones leave while there are too many. The newest stays, however large it is.
    pub(super) fn push(&mut self, event: Arc<Event>, bytes: u64) {
        self.events.push_back(event);
        self.sizes.push_back(bytes);
        self.bytes += bytes;
        while self.events.len() > self.most || (self.bytes > self.most_bytes && self.events.len() > 1) {
            self.events.pop_front();
            self.bytes -= self.sizes.pop_front().unwrap_or(0);
        }
    }

    pub(super) fn events(&self) -> &VecDeque<Arc<Event>> {
        &self.events
    }
}
