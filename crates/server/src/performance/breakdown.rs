//! Trades measured as a whole and by group. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::measure::{TradeMeasures, measure_trades};
use super::trade_grouping::{GroupNames, TradeGrouping};
use botops_contract::Trade;

/// The measures of one group of trades.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TradeGroup {
    /// What its trades share, in the order that was asked for.
    pub keys: Vec<String>,
    pub measures: TradeMeasures,
}

/// The measures of a range, and of its groups when asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TradeBreakdown {
    pub whole: TradeMeasures,
    /// In the order of their keys where they follow each other in time, else by their net profit, the best first.
    pub groups: Vec<TradeGroup>,
    pub first: Option<DateTime<Utc>>,
    pub last: Option<DateTime<Utc>>,
}

impl TradeBreakdown {
    /// Measures trades that are given in the order they closed.
    pub(crate) fn of(trades: &[Trade], by: &[TradeGrouping], names: &GroupNames) -> Self {
        let mut grouped: BTreeMap<Vec<String>, Vec<&Trade>> = BTreeMap::new();
        if !by.is_empty() {
            for trade in trades {
                let keys = by.iter().map(|by| by.key(trade, names)).collect();
                grouped.entry(keys).or_default().push(trade);
            }
        }
        let measured = grouped
            .into_iter()
            .map(|(keys, trades)| TradeGroup { keys, measures: measure_trades(trades.into_iter()) });
        let mut groups: Vec<TradeGroup> = measured.collect();
        if !by.iter().all(|by| by.is_of_time()) {
            groups.sort_by_key(|group| Reverse(group.measures.realized_pnl));
        }
        Self {
            whole: measure_trades(trades.iter()),
            groups,
            first: trades.first().map(|trade| trade.closed_at),
            last: trades.last().map(|trade| trade.closed_at),
        }
    }

    /// Leaves `most` groups: of groups in time the newest, else the best and the worst. Returns how many it took away.
    pub(super) fn keep(&mut self, most: usize, are_of_time: bool) -> usize {
        let beyond = self.groups.len().saturating_sub(most);
        let first = if are_of_time || beyond == 0 { 0 } else { most / 2 };
        self.groups.drain(first..first + beyond);
        beyond
    }
}

/// A part of a sum in percent, to two places; `None` where either is not known or the sum is zero.
pub(super) fn share_pct(part: Option<Decimal>, whole: Option<Decimal>) -> Option<f64> {
    let share = part?.checked_div(whole?)?.checked_mul(Decimal::ONE_HUNDRED)?;
    share.round_dp(2).to_f64()
}
