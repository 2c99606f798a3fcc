//! One moment: what is known of the bot, the time, and the limits.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::model::OverviewExtras;
use crate::bots::{BotSnapshot, Presence};
use crate::errors::ReportedError;
use botops_contract::BotReport;

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
    /// The bot's own list of failures, each with its time or when it was first seen.
    pub reported: &'a [ReportedError<'a>],
}

impl<'a> StateMoment<'a> {
    /// What is known now, with the time.
    pub(super) fn now(
        snapshot: &'a BotSnapshot,
        extras: &'a OverviewExtras,
        ttl: Duration,
        reported: &'a [ReportedError<'a>],
    ) -> Self {
        Self {
            snapshot,
            extras,
            ttl,
            now: Utc::now(),
            age: snapshot.report.as_ref().and_then(|_| snapshot.data_age()),
            reported,
        }
    }

    /// Whether the data is older than it should be, or there is none.
    pub(super) fn is_stale(&self) -> bool {
        self.age.is_none_or(|age| age > self.ttl)
    }

    /// Whether nobody can work with the bot and nobody brings it back: its presence says so, or it is being restarted
    /// and was silent for too long.
    pub(super) fn is_offline(&self) -> bool {
        let snapshot = self.snapshot;
        match snapshot.presence {
            Presence::Reloading => {
                snapshot.report.is_none() || snapshot.answer_age().is_none_or(|age| age > VERY_OLD)
            }
            presence => presence.is_offline(),
        }
    }

    /// The last report, while it says what the bot does now; that of a bot which does not answer, or is not understood,
    /// is of the past.
    pub(super) fn present_report(&self) -> Option<&'a BotReport> {
        self.snapshot.report.as_deref().filter(|_| self.snapshot.presence.answers())
    }

    /// Whether nobody should act on the data.
    pub(super) fn is_very_old(&self) -> bool {
        self.age.is_none_or(|age| age > VERY_OLD)
    }
}
