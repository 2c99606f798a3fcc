//! One moment: what is known of the bot, the time, and the limits.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::model::OverviewExtras;
use crate::bots::BotSnapshot;

/// Data older than this is too old to decide anything by.
const VERY_OLD: Duration = Duration::from_secs(300);

/// What every rendering of one moment is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct StateMoment<'a> {
    /// The last that is known of the bot.
    pub snapshot: &'a BotSnapshot,
    /// What other features know.
    pub extras: &'a OverviewExtras,
    /// How old data may be before it counts as stale.
    pub ttl: Duration,
    /// The time of the rendering.
    pub now: DateTime<Utc>,
    /// How long ago the bot knew what it reported.
    pub age: Option<Duration>,
}

impl<'a> StateMoment<'a> {
    /// What is known now, with the time.
    pub(super) fn now(snapshot: &'a BotSnapshot, extras: &'a OverviewExtras, ttl: Duration) -> Self {
        Self {
            snapshot,
            extras,
            ttl,
            now: Utc::now(),
            age: snapshot.report.as_ref().and_then(|_| snapshot.data_age()),
        }
    }

    /// Whether the data is older than it should be, or there is none.
    pub(super) fn is_stale(&self) -> bool {
        self.age.is_none_or(|age| age > self.ttl)
    }

    /// Whether nobody should act on the data.
    pub(super) fn is_very_old(&self) -> bool {
        self.age.is_none_or(|age| age > VERY_OLD)
    }
}
