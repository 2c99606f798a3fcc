//! What was told so far: the next difference is found against it, also by the next run of the adapter.

use std::collections::{BTreeMap, BTreeSet};

use botops_contract::{Order, OrderStatus};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::polling::BotLife;

/// So much may be missing of the newest log line that was seen.
const MARK_AGE: TimeDelta = TimeDelta::minutes(10);

/// How often it is noted that freqtrade was seen, beside events.
pub(super) const SEEN_EVERY: TimeDelta = TimeDelta::minutes(1);

/// What readers of the events know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ObservedState {
    /// freqtrade's own word for its state.
    pub state: Option<String>,
    /// When freqtrade says that its loop was set up.
    pub startup: Option<DateTime<Utc>>,
    /// Locks by id, with the pair.
    pub locks: BTreeMap<String, String>,
    /// Orders of open trades by id.
    pub orders: BTreeMap<String, ObservedOrder>,
    /// Open trades that hold something, by what tells one from another.
    pub held_trades: BTreeMap<String, ObservedTrade>,
    /// Trades that were told to be closed while the list of open ones, which is read at another moment, still has them.
    pub closed_and_listed: BTreeSet<String>,
    /// Closed trades up to this number were told.
    pub told_trade_seq: u64,
    /// When the newest failure of the log that was told happened, and how many of that moment were.
    pub newest_failure: Option<(DateTime<Utc>, usize)>,
    /// The end of the newest silence that was told.
    pub silence_until: Option<DateTime<Utc>>,
    /// The newest moment that was seen; on the disk it is up to a minute older.
    pub seen_until: Option<DateTime<Utc>>,
    /// Which start of freqtrade answers.
    pub life: Option<BotLife>,
    /// The day, the account, and the account's total result when the day began.
    pub day: Option<ObservedDay>,
}

/// One open trade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObservedTrade {
    pub symbol: String,
    /// Since when freqtrade no longer lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<DateTime<Utc>>,
}

/// One order as it was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObservedOrder {
    pub symbol: String,
    pub filled: Option<Decimal>,
    pub status: Option<OrderStatus>,
    /// Its trade, by what tells one from another; `None` where an earlier version noted the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trade: Option<String>,
    /// Since when freqtrade no longer lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<DateTime<Utc>>,
}

impl ObservedOrder {
    pub(super) fn of(order: &Order, trade: &str) -> Self {
        let filled = order.filled_quantity.as_ref().and_then(botops_contract::Amount::value);
        Self {
            symbol: order.symbol.clone().unwrap_or_default(),
            filled,
            status: order.status,
            trade: Some(trade.to_owned()),
            missing_since: None,
        }
    }

    /// Whether nothing of it was filled when it was told last.
    pub(super) fn is_unfilled(&self) -> bool {
        self.filled.unwrap_or_default().is_zero()
    }

    /// Whether it rested when it was told last.
    pub(super) fn was_open(&self) -> bool {
        matches!(self.status, Some(OrderStatus::Pending | OrderStatus::PartiallyFilled))
    }
}

/// A day of the account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObservedDay {
    pub began_at: DateTime<Utc>,
    pub account_id: String,
    /// `None`: the adapter was not there when the day began.
    pub total: Option<Decimal>,
    /// The day that held before this one, which holds again when the clock is set back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<OtherDay>,
}

/// Another day of the same account, and the total with which it began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OtherDay {
    pub began_at: DateTime<Utc>,
    pub total: Option<Decimal>,
}

impl ObservedState {
    /// Whether this is worth a line on the disk, beside events. The mark in the log moves with every line of it.
    pub(super) fn differs_from(&self, saved: &Self) -> bool {
        let mark = |state: &Self| state.life.as_ref().and_then(BotLife::mark);
        let is_far = match (mark(self), mark(saved)) {
            (Some(now), Some(then)) => now - then > MARK_AGE,
            (now, then) => now.is_some() != then.is_some(),
        };
        let unmarked = |state: &Self| Self {
            life: state.life.as_ref().map(BotLife::without_mark),
            seen_until: None,
            ..state.clone()
        };
        let is_long_ago = match (self.seen_until, saved.seen_until) {
            (Some(now), Some(then)) => now - then >= SEEN_EVERY,
            (now, then) => now.is_some() != then.is_some(),
        };
        is_far || is_long_ago || unmarked(self) != unmarked(saved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_last_is_noted_once_a_minute() {
        let at = |seconds| ObservedState {
            seen_until: DateTime::from_timestamp(seconds, 0),
            ..ObservedState::default()
        };
        assert!(at(100).differs_from(&ObservedState::default()));
        assert!(!at(159).differs_from(&at(100)));
        assert!(at(160).differs_from(&at(100)));
    }
}
