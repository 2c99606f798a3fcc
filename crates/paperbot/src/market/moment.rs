//! What a feed gives at one moment of the market.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

/// One moment of the market.
#[derive(Debug, Clone, Default)]
pub(crate) struct MarketMoment {
    /// The market's own time.
    pub at: DateTime<Utc>,
    /// New prices, by symbol.
    pub prices: Vec<(String, Decimal)>,
    /// What is missing: symbols that should have had a price, or a stretch of days without any.
    pub gaps: Vec<FeedGap>,
}

/// A hole in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedGap {
    /// The symbol, or `None` when no symbol has prices.
    pub symbol: Option<String>,
    /// What is missing, for people.
    pub what: String,
}
