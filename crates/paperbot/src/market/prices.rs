//! The feed, the last price of each symbol, and when prices came.

use std::time::Instant;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::feed::MarketFeed;
use super::moment::MarketMoment;
use crate::account::book::SymbolPrices;
use crate::session::MarketHours;
use botops_contract::{MarketState, MarketStatus};

/// The result of one step of the feed.
#[derive(Debug)]
pub(crate) enum MarketStep {
    /// New prices, which [`MarketPrices`] has recorded.
    Moment(MarketMoment),
    /// The replay ended with this step.
    Ended,
    /// The replay had ended at an earlier step, which was reported then.
    StillEnded,
}

/// The feed and the last prices that it gave.
#[derive(Debug)]
pub(crate) struct MarketPrices {
    feed: MarketFeed,
    last: SymbolPrices,
    market_at: Option<DateTime<Utc>>,
    last_price_at: Option<DateTime<Utc>>,
    /// Whether a replay has no more moments.
    has_ended: bool,
}

impl MarketPrices {
    /// Starts with a feed and the last prices of an earlier process.
    pub(crate) fn new(feed: MarketFeed, last: SymbolPrices) -> Self {
        Self { feed, last, market_at: None, last_price_at: None, has_ended: false }
    }

    /// Advances to the next moment of the market.
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

    pub(crate) fn last(&self) -> &SymbolPrices {
        &self.last
    }

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

    pub(crate) fn symbols(&self) -> Vec<String> {
        self.feed.symbols()
    }

    /// The market in the form of the contract; `hours` are those that new positions keep to, if they keep to any.
    pub(crate) fn state(&self, hours: Option<MarketHours>) -> MarketState {
        let (status, phase) = match (&self.feed, self.has_ended) {
            (MarketFeed::Simulated(_), _) => (MarketStatus::Open, "simulated"),
            (MarketFeed::Replayed(_), false) => (MarketStatus::Open, "core"),
            (MarketFeed::Replayed(_), true) => (MarketStatus::Closed, "closed"),
        };
        let (status, phase) = match hours {
            Some(hours) if hours.is_open => (status, hours.phase.as_str()),
            Some(hours) => (MarketStatus::Closed, hours.phase.as_str()),
            None => (status, phase),
        };
        MarketState {
            status: Some(status),
            status_raw: None,
            phase: Some(phase.to_owned()),
            source: Some(self.feed.source().to_owned()),
            last_price_at: self.last_price_at,
            market_time: self.market_at,
            next_open: hours.and_then(|hours| hours.next_open),
            next_close: hours.and_then(|hours| hours.next_close),
        }
    }
}
