//! The values that a feed gives at one moment of the market.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

/// The new prices of one moment, and what is missing.
#[derive(Debug, Clone, Default)]
pub(crate) struct MarketMoment {
    /// The market's time: the present for a simulation, the bar's time in a replay.
    pub at: DateTime<Utc>,
    /// New prices: symbol and price in account currency.
    pub prices: Vec<(String, Decimal)>,
    /// Symbols that should have had a price, or days without any.
    pub gaps: Vec<FeedGap>,
}

/// Missing prices in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedGap {
    /// The symbol; `None` when the prices of all symbols are missing.
    pub symbol: Option<String>,
    /// What is missing, as a text for people.
    pub what: String,
}
