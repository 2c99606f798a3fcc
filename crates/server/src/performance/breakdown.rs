//! Trades measured as a whole and by group. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::measure::{TradeMeasures, measure_trades};
use super::window::TradeGrouping;
use botops_contract::Trade;

/// The measures of one group of trades.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TradeGroup {
    pub key: String,
    pub measures: TradeMeasures,
}

/// The measures of a range, and of its groups when asked for, in order of their key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TradeBreakdown {
    pub whole: TradeMeasures,
    pub groups: Vec<TradeGroup>,
    pub first: Option<DateTime<Utc>>,
    pub last: Option<DateTime<Utc>>,
}

impl TradeBreakdown {
    /// Measures trades that are given in the order they closed.
    pub(crate) fn of(trades: &[Trade], by: Option<(TradeGrouping, Tz)>) -> Self {
        let mut grouped: BTreeMap<String, Vec<&Trade>> = BTreeMap::new();
        if let Some((by, zone)) = by {
            for trade in trades {
                grouped.entry(by.key(&trade.symbol, trade.closed_at, zone)).or_default().push(trade);
            }
        }
        Self {
            whole: measure_trades(trades.iter()),
            groups: grouped
                .into_iter()
                .map(|(key, trades)| TradeGroup { key, measures: measure_trades(trades.into_iter()) })
                .collect(),
            first: trades.first().map(|trade| trade.closed_at),
            last: trades.last().map(|trade| trade.closed_at),
        }
    }
}
