//! The commissions that the entries of an open trade have cost.

use botops_contract::amount_value;
use rust_decimal::Decimal;

use super::order_words::is_entry_order;
use crate::upstream::{FreqtradeOrder, FreqtradeTrade};

/// Decimals of a part that is computed here; more than any exchange charges in.
const PART_DECIMALS: u32 = 12;

/// What the entries of what is still held have cost, in stake currency; `None` when it is not known, or was paid in another
/// currency. The result of a partial exit has its part of the entry's fee in it already.
pub(crate) fn entry_fees_of(trade: &FreqtradeTrade, stake_currency: Option<&str>) -> Option<Decimal> {
    let sum = |is_entry: bool| {
        let orders = trade.order_list().iter().filter(|order| is_entry_order(trade, order) == is_entry);
        orders.map(filled_units).try_fold(Decimal::ZERO, Decimal::checked_add)
    };
    let (entered, left) = (sum(true)?, sum(false)?);
    let is_free = amount_value(trade.fee_open.as_ref()).is_some_and(|rate| rate.is_zero());
    if trade.orders.is_some() && entered.is_zero() || is_free {
        return Some(Decimal::ZERO);
    }
    let cost = amount_value(trade.fee_open_cost.as_ref())?;
    if cost.is_zero() {
        return Some(cost);
    }
    let currency = trade.fee_open_currency.as_deref().zip(stake_currency);
    currency.filter(|(paid_in, stake)| paid_in.eq_ignore_ascii_case(stake))?;
    if trade.orders.is_none() {
        let had_exit = amount_value(trade.realized_profit.as_ref()).is_some_and(|part| !part.is_zero());
        return (!had_exit).then_some(cost);
    }
    if left.is_zero() {
        return Some(cost);
    }
    let held = entered.checked_sub(left)?.max(Decimal::ZERO);
    Some(cost.checked_mul(held)?.checked_div(entered)?.round_dp(PART_DECIMALS))
}

fn filled_units(order: &FreqtradeOrder) -> Decimal {
    amount_value(order.filled.as_ref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(changes: &Value, expected: Option<&str>) {
        let mut trade = json!({"trade_id": 1, "pair": "A/USDT", "fee_open": 0.001, "fee_open_cost": 0.04,
            "fee_open_currency": "USDT", "orders": [{"order_id": "e", "ft_order_side": "buy", "filled": 4.0}]});
        for (name, value) in changes.as_object().unwrap() {
            trade[name] = value.clone();
        }
        let trade: FreqtradeTrade = serde_json::from_str(&trade.to_string()).unwrap();
        let found = entry_fees_of(&trade, Some("USDT")).map(|fees| fees.normalize().to_string());
        assert_eq!(found.as_deref(), expected, "{changes}");
    }

    #[test]
    fn the_fees_of_what_is_held_are_paid_already() {
        check(&json!({}), Some("0.04"));
        let orders = json!([{"order_id": "e", "ft_order_side": "buy", "filled": 4.0},
            {"order_id": "x", "ft_order_side": "sell", "filled": 1.0}]);
        check(&json!({"orders": orders, "realized_profit": 1.0}), Some("0.03"));
        check(&json!({"orders": [{"order_id": "e", "ft_order_side": "buy", "filled": 0.0}]}), Some("0"));
        check(&json!({"fee_open": 0.0, "fee_open_cost": null, "fee_open_currency": null}), Some("0"));
        check(&json!({"orders": null}), Some("0.04"));
    }

    #[test]
    fn what_was_paid_in_another_currency_or_is_not_told_is_not_known() {
        check(&json!({"fee_open_currency": "BNB"}), None);
        check(&json!({"fee_open_currency": null}), None);
        check(&json!({"fee_open_cost": null}), None);
        check(&json!({"orders": null, "realized_profit": 1.0}), None);
    }
}
