//! A closed trade of freqtrade as the contract has it.

use botops_contract::{Amount, Order, Side, Trade, TradeOutcome, amount_value};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::order_words::{is_entry_order, orders_of};
use crate::upstream::{FreqtradeOrder, FreqtradeTrade};

/// Decimals of an average that is computed here; more than any exchange prices in.
const AVERAGE_DECIMALS: u32 = 12;

/// A closed trade with its orders. Its `seq` is 0 until the log has taken it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClosedTrade {
    /// Which trade it is, also after freqtrade has used its `trade_id` again.
    pub key: String,
    pub trade: Trade,
    #[serde(default)]
    pub orders: Vec<Order>,
}

impl ClosedTrade {
    /// The trade, when it is closed.
    pub(crate) fn of(closed: &FreqtradeTrade, account_id: &str) -> Option<Self> {
        let closed_at = closed.closed_at.filter(|_| closed.is_open != Some(true))?;
        let net = amount_value(closed.close_profit_abs.as_ref());
        let outcome = net.map(|net| match net.cmp(&Decimal::ZERO) {
            std::cmp::Ordering::Greater => TradeOutcome::Win,
            std::cmp::Ordering::Less => TradeOutcome::Loss,
            std::cmp::Ordering::Equal => TradeOutcome::Breakeven,
        });
        let trade = Trade {
            seq: 0,
            id: closed.trade_id.to_string(),
            account_id: Some(account_id.to_owned()),
            symbol: closed.pair.clone(),
            side: Some(if closed.is_short() { Side::Sell } else { Side::Buy }),
            side_raw: None,
            quantity: entered_units(closed),
            entry_price: closed.open_rate.clone(),
            exit_price: exit_price(closed),
            opened_at: closed.opened_at,
            closed_at,
            stop_price: closed.initial_stop_loss_abs.clone(),
            target_price: None,
            gross_pl: None,
            commission: None,
            net_pl: closed.close_profit_abs.clone(),
            outcome,
            outcome_raw: None,
            entry_reason: closed.enter_tag.clone().unwrap_or_default(),
            exit_reason: closed.exit_reason.clone().unwrap_or_default(),
            boot_epoch: String::new(),
            config_sha256: String::new(),
        };
        Some(Self { key: key_of_open(closed), trade, orders: orders_of(closed) })
    }
}

/// Tells a trade from another one with the same id.
pub(crate) fn key_of_open(trade: &FreqtradeTrade) -> String {
    let opened = trade.opened_at.map_or(0, |at| at.timestamp_millis());
    format!("{}|{}|{opened}", trade.trade_id, trade.pair)
}

/// The same of a trade that is closed.
pub(crate) fn key_of_closed(trade: &Trade) -> String {
    let opened = trade.opened_at.map_or(0, |at| at.timestamp_millis());
    format!("{}|{}|{opened}", trade.id, trade.symbol)
}

/// What its entries bought in all: after partial exits, `amount` is what the last one closed.
fn entered_units(trade: &FreqtradeTrade) -> Option<Amount> {
    let filled =
        |order: &FreqtradeOrder| amount_value(order.filled.as_ref()).filter(|filled| *filled > Decimal::ZERO);
    let entries: Vec<Decimal> =
        trade.order_list().iter().filter(|order| is_entry_order(trade, order)).filter_map(filled).collect();
    let exits =
        trade.order_list().iter().filter(|order| !is_entry_order(trade, order)).filter_map(filled).count();
    match entries.as_slice() {
        // With one entry and one exit, freqtrade's own figure is net of a fee that is taken in units.
        [] | [_] if exits <= 1 => trade.amount.clone(),
        [] => trade.amount.clone(),
        entries => entries.iter().try_fold(Decimal::ZERO, |sum, one| sum.checked_add(*one)).map(Amount::from),
    }
}

/// The average over its exits; freqtrade's `close_rate` is that of the last one.
fn exit_price(trade: &FreqtradeTrade) -> Option<Amount> {
    let exits: Vec<(Decimal, Decimal)> = trade
        .order_list()
        .iter()
        .filter(|order| !is_entry_order(trade, order))
        .filter_map(|order| {
            Some((amount_value(order.filled.as_ref())?, amount_value(order.safe_price.as_ref())?))
        })
        .filter(|(filled, _)| *filled > Decimal::ZERO)
        .collect();
    if exits.len() < 2 {
        return trade.close_rate.clone();
    }
    let units = exits.iter().try_fold(Decimal::ZERO, |sum, (filled, _)| sum.checked_add(*filled))?;
    let value = exits
        .iter()
        .try_fold(Decimal::ZERO, |sum, (filled, price)| sum.checked_add(filled.checked_mul(*price)?))?;
    Some(value.checked_div(units)?.round_dp(AVERAGE_DECIMALS).normalize().into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn closed(changes: &Value) -> FreqtradeTrade {
        let mut trade = json!({"trade_id": 7, "pair": "ETH/USDT", "is_open": false, "is_short": false, "amount": 1.0,
            "open_rate": 2000.0, "open_timestamp": 1_700_000_000_000_i64, "close_rate": 2200.0,
            "close_timestamp": 1_700_000_600_000_i64, "close_profit_abs": 195.8, "exit_reason": "roi"});
        for (name, value) in changes.as_object().unwrap() {
            trade[name] = value.clone();
        }
        serde_json::from_str(&trade.to_string()).unwrap()
    }

    #[test]
    fn a_trade_with_one_exit_is_as_freqtrade_says() {
        let trade = ClosedTrade::of(&closed(&json!({})), "a").unwrap();
        assert_eq!(trade.key, "7|ETH/USDT|1700000000000");
        assert_eq!(trade.trade.net_pl.unwrap().to_string(), "195.8");
        assert_eq!(trade.trade.exit_price.unwrap().to_string(), "2200.0");
        assert_eq!(trade.trade.outcome, Some(TradeOutcome::Win));
    }

    #[test]
    fn partial_exits_are_one_trade_with_an_average_price() {
        let orders = json!([
            {"order_id": "1", "ft_order_side": "buy", "filled": 3.0, "safe_price": 2000.0},
            {"order_id": "2", "ft_order_side": "sell", "filled": 1.0, "safe_price": 2100.0},
            {"order_id": "3", "ft_order_side": "sell", "filled": 2.0, "safe_price": 2250.0}]);
        let trade = ClosedTrade::of(&closed(&json!({"orders": orders, "amount": 2.0})), "a").unwrap().trade;
        assert_eq!(trade.quantity.unwrap().value(), Some(Decimal::from(3)));
        assert_eq!(trade.exit_price.unwrap().to_string(), "2200");
    }

    #[test]
    fn an_open_trade_is_none_and_a_missing_result_has_no_outcome() {
        assert!(ClosedTrade::of(&closed(&json!({"is_open": true})), "a").is_none());
        assert!(ClosedTrade::of(&closed(&json!({"close_timestamp": null})), "a").is_none());
        let unknown = ClosedTrade::of(&closed(&json!({"close_profit_abs": null})), "a").unwrap().trade;
        assert_eq!((unknown.net_pl, unknown.outcome), (None, None));
    }

    #[test]
    fn a_reused_id_is_another_trade() {
        let one = ClosedTrade::of(&closed(&json!({})), "a").unwrap();
        let two = ClosedTrade::of(&closed(&json!({"open_timestamp": 1_700_000_300_000_i64})), "a").unwrap();
        assert_ne!(one.key, two.key);
    }
}
