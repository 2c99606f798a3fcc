//! What freqtrade answers about trades and their orders: `status` and `trades`.

use botops_contract::Amount;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::lenient::{ReadList, clean_text, lenient, lenient_millis, lenient_text, lenient_whole};

/// A page of `trades`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TradesAnswer {
    pub trades: ReadList<FreqtradeTrade>,
    /// How many there are in all.
    #[serde(deserialize_with = "lenient_whole")]
    pub total_trades: Option<i64>,
}

/// A trade, open or closed. freqtrade uses a `trade_id` again after a trade was deleted, so it names no trade alone.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FreqtradeTrade {
    pub trade_id: i64,
    #[serde(deserialize_with = "clean_text")]
    pub pair: String,
    #[serde(default, deserialize_with = "lenient")]
    pub is_open: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    pub is_short: Option<bool>,
    /// Of the filled orders once one was filled; of a trade whose first entry rests, what was ordered.
    #[serde(default, deserialize_with = "lenient")]
    pub amount: Option<Amount>,
    #[serde(default, deserialize_with = "lenient")]
    pub open_rate: Option<Amount>,
    #[serde(default, rename = "open_timestamp", deserialize_with = "lenient_millis")]
    pub opened_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "lenient")]
    pub close_rate: Option<Amount>,
    #[serde(default, rename = "close_timestamp", deserialize_with = "lenient_millis")]
    pub closed_at: Option<DateTime<Utc>>,
    /// Of the whole trade, partial exits included, after fees.
    #[serde(default, deserialize_with = "lenient")]
    pub close_profit_abs: Option<Amount>,
    /// What partial exits brought so far.
    #[serde(default, deserialize_with = "lenient")]
    pub realized_profit: Option<Amount>,
    /// Rate of the fee of its entries.
    #[serde(default, deserialize_with = "lenient")]
    pub fee_open: Option<Amount>,
    /// What the fees of all its entries cost, in `fee_open_currency`.
    #[serde(default, deserialize_with = "lenient")]
    pub fee_open_cost: Option<Amount>,
    #[serde(default, deserialize_with = "lenient_text")]
    pub fee_open_currency: Option<String>,
    /// `null` when freqtrade has no price.
    #[serde(default, deserialize_with = "lenient")]
    pub current_rate: Option<Amount>,
    #[serde(default, deserialize_with = "lenient")]
    pub stop_loss_abs: Option<Amount>,
    #[serde(default, deserialize_with = "lenient")]
    pub initial_stop_loss_abs: Option<Amount>,
    #[serde(default, deserialize_with = "lenient")]
    pub liquidation_price: Option<Amount>,
    #[serde(default, deserialize_with = "lenient")]
    pub leverage: Option<Amount>,
    #[serde(default, deserialize_with = "lenient")]
    pub funding_fees: Option<Amount>,
    #[serde(default, deserialize_with = "lenient_text")]
    pub enter_tag: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    pub exit_reason: Option<String>,
    /// `None` when this freqtrade does not give them.
    #[serde(default, deserialize_with = "lenient")]
    pub orders: Option<ReadList<FreqtradeOrder>>,
}

impl FreqtradeTrade {
    /// Whether it is a short one.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short == Some(true)
    }

    /// Its orders, oldest first; empty also when they are not given.
    pub(crate) fn order_list(&self) -> &[FreqtradeOrder] {
        self.orders.as_ref().map_or(&[], |orders| &orders.items)
    }
}

/// One order of a trade.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FreqtradeOrder {
    #[serde(deserialize_with = "clean_text")]
    pub order_id: String,
    #[serde(default, deserialize_with = "lenient_text")]
    pub status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub amount: Option<Amount>,
    #[serde(default, deserialize_with = "lenient")]
    pub filled: Option<Amount>,
    /// `buy`, `sell` or `stoploss`.
    #[serde(default, rename = "ft_order_side", deserialize_with = "lenient_text")]
    pub side: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    pub order_type: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub is_open: Option<bool>,
    #[serde(default, rename = "order_timestamp", deserialize_with = "lenient_millis")]
    pub created_at: Option<DateTime<Utc>>,
    #[serde(default, rename = "order_filled_timestamp", deserialize_with = "lenient_millis")]
    pub filled_at: Option<DateTime<Utc>>,
    /// The average of the fills where there are some, else the price that was asked for.
    #[serde(default, deserialize_with = "lenient")]
    pub safe_price: Option<Amount>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_harmless_and_bounded_where_they_come_in() {
        let long = "x".repeat(9_999);
        let text = format!(
            r#"{{"trade_id": 1, "pair": "BTC\u001b[31m/USDT", "enter_tag": "{long}",
                "orders": [{{"order_id": "a\u202eb", "status": "open\u0000"}}]}}"#
        );
        let trade: FreqtradeTrade = serde_json::from_str(&text).unwrap();
        assert_eq!(trade.pair, "BTC[31m/USDT");
        assert!(trade.enter_tag.as_ref().unwrap().chars().count() <= 500);
        let order = &trade.order_list()[0];
        assert_eq!((order.order_id.as_str(), order.status.as_deref()), ("ab", Some("open")));
    }
}
