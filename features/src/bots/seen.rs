//! What is known of a bot at one moment: the last good report, how old it is, and whether the bot is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::Presence;
use crate::contract::{BotId, BotReport, Hello};

/// The last that is known of a bot. A value: it never changes, a newer one takes its place.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The bot.
    pub id: BotId,
    /// Who answered last; of an earlier run of botops until the bot answers this one. `None`: nobody ever did.
    pub hello: Option<Arc<Hello>>,
    /// The last good report, kept while the bot is away. `None`: there never was one.
    pub report: Option<Arc<BotReport>>,
    /// What was cut from the report at the door.
    pub dropped: Dropped,
    /// Whether the bot is there.
    pub presence: Presence,
    /// Why presence is what it is, in one sentence.
    pub presence_reason: String,
    /// Since when presence is what it is.
    pub since: DateTime<Utc>,
    /// When the report was last received or confirmed as unchanged, on the monotonic clock. `None` when that was
    /// before this boot of the machine, or never.
    pub received: Option<Instant>,
    /// The same on the wall clock.
    pub received_at: Option<DateTime<Utc>>,
    /// When the bot will be asked next.
    pub next_poll: Instant,
    /// How long the last answered poll took.
    pub poll_latency: Option<Duration>,
    /// Polls started in this run of botops.
    pub polls: u64,
}

impl Seen {
    /// How long ago the report was received or confirmed. A step of the wall clock does not change it.
    pub fn data_age(&self) -> Option<Duration> {
        if let Some(received) = self.received {
            return Some(received.elapsed());
        }
        // Received before the machine started: the wall clock is all there is.
        self.received_at.map(|at| (Utc::now() - at).to_std().unwrap_or_default())
    }
}

/// How many items of a report were cut off, because no honest bot has so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Positions beyond the first 20,000.
    pub positions: usize,
    /// Orders beyond the first 2,000.
    pub orders: usize,
    /// Recent errors beyond the first 200.
    pub errors: usize,
}
