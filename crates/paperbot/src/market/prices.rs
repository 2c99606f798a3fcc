//! The market as the trading loop has seen it: its feed, the last price of each symbol, and the times of both.

use std::time::Instant;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::feed::MarketFeed;
use super::moment::MarketMoment;
use crate::account::book::SymbolPrices;
use botops_contract::{MarketState, MarketStatus};

/// What came of one step of the feed.
#[derive(Debug)]
pub(crate) enum MarketStep {
    /// New prices, which [`MarketPrices`] has taken in.
    Moment(MarketMoment),
    /// The replay ended with this step.
    Ended,
    /// It had ended before.
    StillEnded,
}

/// The feed and what it has given so far.
#[derive(Debug)]
pub(crate) struct MarketPrices {
    feed: MarketFeed,
    last: SymbolPrices,
    market_at: Option<DateTime<Utc>>,
    last_price_at: Option<DateTime<Utc>>,
    /// A replay that has no more moments.
    has_ended: bool,
}

impl MarketPrices {
    /// A feed that has given nothing yet; `last` has the prices known from earlier.
    pub(crate) fn new(feed: MarketFeed, last: SymbolPrices) -> Self {
        Self { feed, last, market_at: None, last_price_at: None, has_ended: false }
    }

    /// Goes on to the next moment of the market.
    pub(crate) fn advance(&mut self, now: DateTime<Utc>, instant: Instant) -> MarketStep {
        let Some(moment) = self.feed.step(now, instant) else {
            let ended_before = std::mem::replace(&mut self.has_ended, true);
            return if ended_before { MarketStep::StillEnded } else { MarketStep::Ended };
        };
        self.market_at = Some(moment.at);
        self.last_price_at = Some(now);
        self.last.extend(moment.prices.iter().cloned());
        MarketStep::Moment(moment)
    }

    /// The last price of each symbol.
    pub(crate) fn last(&self) -> &SymbolPrices {
        &self.last
    }

    /// The last price of a symbol.
    pub(crate) fn price(&self, symbol: &str) -> Option<Decimal> {
        self.last.get(symbol).copied()
    }

    /// The market's own time; `None` before the first price.
    pub(crate) fn market_at(&self) -> Option<DateTime<Utc>> {
        self.market_at
    }

    /// When the last price came, by the bot's clock.
    pub(crate) fn last_price_at(&self) -> Option<DateTime<Utc>> {
        self.last_price_at
    }

    /// Whether a replay has no more moments.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// `simulated` or `replay`.
    pub(crate) fn source(&self) -> &'static str {
        self.feed.source()
    }

    /// The symbols that have prices.
    pub(crate) fn symbols(&self) -> Vec<String> {
        self.feed.symbols()
    }

    /// The market as the contract has it.
    pub(crate) fn state(&self) -> MarketState {
        let (status, phase) = match (&self.feed, self.has_ended) {
            (MarketFeed::Simulated(_), _) => (MarketStatus::Open, "simulated"),
            (MarketFeed::Replayed(_), false) => (MarketStatus::Open, "core"),
            (MarketFeed::Replayed(_), true) => (MarketStatus::Closed, "closed"),
        };
        MarketState {
            status,
            phase: phase.to_owned(),
            source: self.feed.source().to_owned(),
            last_price_at: self.last_price_at,
            market_time: self.market_at,
            next_open: None,
            next_close: None,
        }
    }
}
