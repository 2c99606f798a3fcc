//! Where prices come from: simulated from a seed, or replayed from a file.
//!
//! Each call of [`MarketFeed::step`] is one moment of the market; the caller paces it. Prices are whole cents.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::moment::MarketMoment;
use super::random_walk::RandomWalk;
use super::replay::BarReplay;

/// Where prices come from.
#[derive(Debug)]
pub(crate) enum MarketFeed {
    /// A random walk, open at any hour.
    Simulated(RandomWalk),
    /// The past.
    Replayed(BarReplay),
}

impl MarketFeed {
    /// The next moment, or `None` when a replay has ended.
    pub(crate) fn step(&mut self, at: DateTime<Utc>, now: Instant) -> Option<MarketMoment> {
        match self {
            Self::Simulated(walk) => Some(walk.step(at, now)),
            Self::Replayed(replay) => replay.step(),
        }
    }

    /// `simulated` or `replay`.
    pub(crate) fn source(&self) -> &'static str {
        match self {
            Self::Simulated(_) => "simulated",
            Self::Replayed(_) => "replay",
        }
    }

    /// The symbols it has prices for.
    pub(crate) fn symbols(&self) -> Vec<String> {
        match self {
            Self::Simulated(walk) => walk.symbols(),
            Self::Replayed(replay) => replay.symbols().to_vec(),
        }
    }
}
