//! The source of prices: simulated from a seed, or replayed from a file.
//!
//! Each call of [`MarketFeed::step`] is one moment of the market; the caller decides when. Prices are whole cents.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::moment::MarketMoment;
use super::random_walk::RandomWalk;
use super::replay::BarReplay;

/// The source of prices.
#[derive(Debug)]
pub(crate) enum MarketFeed {
    /// A random walk, which is open at any hour.
    Simulated(RandomWalk),
    /// Bars of a file, at their own times.
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
