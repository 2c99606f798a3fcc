//! The newest events, kept in memory for readers that come back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use botops_contract::{BotEvent, LARGEST_SEQ};
use tokio::sync::watch;

use super::source::EventHistory;

/// Handle to the newest events; cloning is cheap. Its lock is held for moments only, never over a connection.
#[derive(Debug, Clone)]
pub struct EventRing {
    events: Arc<Mutex<VecDeque<Arc<BotEvent>>>>,
    latest: watch::Sender<u64>,
    epoch: Arc<str>,
    longest: usize,
}

impl EventRing {
    /// A ring that keeps the newest `longest` events of one start of the bot's process.
    pub fn new(epoch: &str, longest: usize) -> Self {
        let longest = longest.max(1);
        Self { events: Arc::default(), latest: watch::Sender::new(0), epoch: epoch.into(), longest }
    }

    /// Adds an event that has its number already. One that is not above that of every earlier event, or beyond 2^53, gets
    /// the next number instead: readers would take it for one that they have, or miss all that follow.
    pub fn add_numbered(&self, event: Arc<BotEvent>) {
        let mut events = self.lock();
        let next = next_number(&events);
        let event = if (next..=LARGEST_SEQ).contains(&event.seq) {
            event
        } else {
            Arc::new(BotEvent { seq: next, ..(*event).clone() })
        };
        let seq = event.seq;
        self.add_to(&mut events, event);
        drop(events);
        self.latest.send_replace(seq);
    }

    /// Adds an event under the next number and this ring's epoch.
    pub fn add(&self, event: BotEvent) {
        let mut events = self.lock();
        let seq = next_number(&events);
        let boot_epoch = self.epoch.to_string();
        self.add_to(&mut events, Arc::new(BotEvent { seq, boot_epoch, ..event }));
        drop(events);
        self.latest.send_replace(seq);
    }

    fn add_to(&self, events: &mut VecDeque<Arc<BotEvent>>, event: Arc<BotEvent>) {
        events.push_back(event);
        if events.len() > self.longest {
            events.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<BotEvent>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest is never taken out, so it knows how far the numbers have got.
fn next_number(events: &VecDeque<Arc<BotEvent>>) -> u64 {
    events.back().map_or(1, |newest| newest.seq.saturating_add(1))
}

impl EventHistory for EventRing {
    fn epoch(&self) -> &str {
        &self.epoch
    }

    fn events_after(&self, seq: u64, limit: usize) -> Vec<Arc<BotEvent>> {
        let events = self.lock();
        let first = events.partition_point(|event| event.seq <= seq);
        events.range(first..).take(limit).cloned().collect()
    }

    fn watch_latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_the_numbers_show_the_gap() {
        let ring = EventRing::new("life", 3);
        let event: BotEvent = serde_json::from_str(r#"{"seq": 0, "kind": "fill"}"#).unwrap();
        let latest = ring.watch_latest();
        for _ in 0..5 {
            ring.add(event.clone());
        }
        let numbers = |after| ring.events_after(after, 2).iter().map(|event| event.seq).collect::<Vec<_>>();
        assert_eq!((numbers(0), numbers(4), numbers(5)), (vec![3, 4], vec![5], vec![]));
        assert_eq!(*latest.borrow(), 5);
        assert_eq!(ring.events_after(4, 1)[0].boot_epoch, "life");
    }

    #[test]
    fn a_number_that_would_hide_others_is_replaced_by_the_next_one() {
        let ring = EventRing::new("life", 9);
        let event = |seq: u64| {
            let text = format!(r#"{{"seq": {seq}, "kind": "fill"}}"#);
            Arc::new(serde_json::from_str::<BotEvent>(&text).unwrap())
        };
        for seq in [7, u64::MAX, 3, 8, 20] {
            ring.add_numbered(event(seq));
        }
        ring.add((*event(0)).clone());
        let numbers: Vec<u64> = ring.events_after(0, 9).iter().map(|event| event.seq).collect();
        assert_eq!(numbers, [7, 8, 9, 10, 20, 21]);
    }
}
