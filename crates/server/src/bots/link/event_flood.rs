//! Whether the bot sends so many or so large events that they push others out of the journal.
//!
//! Pure: it gets sizes and moments.

use std::time::{Duration, Instant};

/// The time over which events are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Events in a window that are a flood; a busy bot sends some hundreds.
const FLOOD_EVENTS: usize = 5_000;

/// Bytes of events in a window that are a flood: the journal's 128 MB would be new within some minutes.
const FLOOD_BYTES: usize = 4 * 1024 * 1024;

/// What came within a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct EventAmount {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) lasted: Duration,
}

impl EventAmount {
    const NOTHING: Self = Self { events: 0, bytes: 0, lasted: Duration::ZERO };

    /// The bytes in millions, for a sentence.
    pub(super) fn megabytes(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "it is rounded to a digit")]
        let bytes = self.bytes as f64;
        bytes / 1e6
    }

    fn is_flood(self) -> bool {
        self.events > FLOOD_EVENTS || self.bytes > FLOOD_BYTES
    }

    fn plus(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_add(other.events),
            bytes: self.bytes.saturating_add(other.bytes),
            lasted: self.lasted + other.lasted,
        }
    }
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FloodChange {
    /// With what came in the window so far.
    Begins(EventAmount),
    /// With all that came from its beginning to its end.
    Ends(EventAmount),
}

/// Counts a bot's events in windows that follow each other.
#[derive(Debug)]
pub(super) struct EventFlood {
    window_began: Instant,
    window: EventAmount,
    /// What came in earlier windows of the flood under way; `None` while there is none.
    flood: Option<EventAmount>,
}

impl EventFlood {
    pub(super) fn new(now: Instant) -> Self {
        Self { window_began: now, window: EventAmount::NOTHING, flood: None }
    }

    /// Counts one event.
    pub(super) fn count_event(&mut self, bytes: usize, now: Instant) -> Option<FloodChange> {
        let ended = self.advance(now);
        self.window = self.window.plus(EventAmount { events: 1, bytes, lasted: Duration::ZERO });
        if self.flood.is_none() && self.window.is_flood() {
            self.flood = Some(EventAmount::NOTHING);
            let lasted = now.saturating_duration_since(self.window_began);
            return Some(FloodChange::Begins(EventAmount { lasted, ..self.window }));
        }
        ended
    }

    /// Ends the window when its time is over; a flood ends with a window that is none.
    pub(super) fn advance(&mut self, now: Instant) -> Option<FloodChange> {
        let lasted = now.saturating_duration_since(self.window_began);
        if lasted < WINDOW {
            return None;
        }
        let window = EventAmount { lasted, ..self.window };
        (self.window_began, self.window) = (now, EventAmount::NOTHING);
        let before = self.flood?;
        if window.is_flood() {
            self.flood = Some(before.plus(window));
            return None;
        }
        self.flood = None;
        Some(FloodChange::Ends(before.plus(window)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_when_it_begins_and_when_it_is_over_and_not_in_between() {
        let start = Instant::now();
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        let mut flood = EventFlood::new(start);
        let mut told = Vec::new();
        for n in 0..20_000_u64 {
            told.extend(flood.count_event(6_000, at(n)));
        }
        let [FloodChange::Begins(first)] = told[..] else { panic!("{told:?}") };
        assert_eq!((first.events, first.bytes), (700, 4_200_000));
        // The window that holds the last of it, then one in which hardly anything comes.
        let ends: Vec<_> = (2..6).filter_map(|n| flood.count_event(100, at(n * 10_000))).collect();
        let [FloodChange::Ends(all)] = ends[..] else { panic!("{ends:?}") };
        assert!(all.events >= 20_000 && all.bytes >= 120_000_000, "{all:?}");
    }

    #[test]
    fn many_small_events_are_a_flood_and_a_busy_bot_is_none() {
        let start = Instant::now();
        let mut flood = EventFlood::new(start);
        let busy = (0..3_000).filter_map(|n| flood.count_event(800, start + Duration::from_millis(n * 10)));
        assert_eq!(busy.count(), 0);
        let now = start + Duration::from_secs(60);
        let told: Vec<_> = (0..6_000).filter_map(|_| flood.count_event(50, now)).collect();
        assert!(matches!(told[..], [FloodChange::Begins(EventAmount { events: 5_001, .. })]), "{told:?}");
    }
}
