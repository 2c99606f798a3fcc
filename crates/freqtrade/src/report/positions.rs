//! Open positions and orders. A trade whose first entry rests is an order and no position.

use botops_contract::{Amount, Order, Position, amount_value};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::trades::{is_entry_order, orders_of};
use crate::upstream::{FreqtradeOrder, FreqtradeTrade};

/// Orders that are over and still shown, newest first.
const RECENT_ORDERS: usize = 50;

/// Decimals of a percentage.
const PERCENT_DECIMALS: u32 = 4;

/// The positions of the open trades, in freqtrade's order. Several trades of one pair are several positions.
pub(super) fn positions_of(trades: &[FreqtradeTrade], as_of: DateTime<Utc>) -> Vec<Position> {
    trades.iter().filter_map(|trade| position_of(trade, as_of)).collect()
}

fn position_of(trade: &FreqtradeTrade, as_of: DateTime<Utc>) -> Option<Position> {
    let units = held_units(trade)?;
    let entry_price = entry_price(trade);
    let quantity = match &units {
        HeldUnits::AsTold(amount) if !trade.is_short() => amount.clone(),
        units => Amount::from(if trade.is_short() { -units.value()? } else { units.value()? }),
    };
    let unrealized =
        unrealized_of(amount_value(Some(&quantity)), entry_price.as_ref(), trade.current_rate.as_ref());
    let cost = amount_value(Some(&quantity))
        .zip(amount_value(entry_price.as_ref()))
        .and_then(|(quantity, entry)| quantity.abs().checked_mul(entry));
    let percent = unrealized.zip(cost).filter(|(_, cost)| !cost.is_zero()).and_then(|(gain, cost)| {
        Some(gain.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(cost)?.round_dp(PERCENT_DECIMALS))
    });
    let beyond_one = |leverage: &Amount| leverage.value() != Some(Decimal::ONE);
    let is_some = |amount: &Amount| amount.value().is_none_or(|value| !value.is_zero());
    Some(Position {
        symbol: trade.pair.clone(),
        quantity: Some(quantity),
        entry_price,
        current_price: trade.current_rate.clone(),
        unrealized_pl: unrealized.map(|gain| gain.normalize().into()),
        unrealized_pl_pct: percent.map(Amount::from),
        stop_price: trade.stop_loss_abs.clone().filter(is_some),
        target_price: None,
        leverage: trade.leverage.clone().filter(beyond_one),
        liquidation_price: trade.liquidation_price.clone().filter(is_some),
        funding: trade.funding_fees.clone().filter(is_some),
        realized_pl: trade.realized_profit.clone().filter(is_some),
        last_updated: Some(as_of),
    })
}

/// What is held of a trade, without its sign.
enum HeldUnits {
    /// As freqtrade says it, digit for digit.
    AsTold(Amount),
    /// With the part that an open order has filled so far.
    Counted(Decimal),
}

impl HeldUnits {
    fn value(&self) -> Option<Decimal> {
        match self {
            Self::AsTold(amount) => amount.value(),
            Self::Counted(units) => Some(*units),
        }
    }
}

/// What is held; `None` when nothing is.
///
/// freqtrade's `amount` counts orders that are over. Until the first entry is, it is what was ordered; an order that is
/// filled in part is not in it.
fn held_units(trade: &FreqtradeTrade) -> Option<HeldUnits> {
    let Some(orders) = &trade.orders else {
        let held = trade.amount.clone().filter(|amount| amount.value().is_none_or(|units| !units.is_zero()));
        return held.map(HeldUnits::AsTold);
    };
    let orders = &orders.items;
    let is_over = |order: &&FreqtradeOrder| order.is_open != Some(true);
    let has_entered = orders
        .iter()
        .filter(is_over)
        .any(|order| is_entry_order(trade, order) && filled_units(order) > Decimal::ZERO);
    let in_part = |is_entry: bool| {
        let open = orders.iter().filter(|order| order.is_open == Some(true));
        open.filter(|order| is_entry_order(trade, order) == is_entry)
            .map(filled_units)
            .try_fold(Decimal::ZERO, Decimal::checked_add)
    };
    let (added, taken) = (in_part(true)?, in_part(false)?);
    if has_entered && added.is_zero() && taken.is_zero() {
        return trade.amount.clone().map(HeldUnits::AsTold);
    }
    let base = if has_entered { amount_value(trade.amount.as_ref())? } else { Decimal::ZERO };
    let units = base.checked_add(added)?.checked_sub(taken)?;
    (units > Decimal::ZERO).then_some(HeldUnits::Counted(units))
}

fn filled_units(order: &FreqtradeOrder) -> Decimal {
    amount_value(order.filled.as_ref()).unwrap_or_default()
}

/// freqtrade's average, or of a first entry that is filled in part the price of that.
fn entry_price(trade: &FreqtradeTrade) -> Option<Amount> {
    let entries = trade.order_list().iter().filter(|order| is_entry_order(trade, order));
    let mut filled = entries.filter(|order| filled_units(order) > Decimal::ZERO);
    match (filled.next(), filled.next()) {
        (Some(first), None) if first.is_open == Some(true) => first.safe_price.clone(),
        _ => trade.open_rate.clone(),
    }
}

/// (current − entry) × quantity. freqtrade's own profit is after the fee of an exit that was not made.
fn unrealized_of(
    quantity: Option<Decimal>,
    entry: Option<&Amount>,
    current: Option<&Amount>,
) -> Option<Decimal> {
    amount_value(current)?.checked_sub(amount_value(entry)?)?.checked_mul(quantity?)
}

/// Open orders and the newest of those that are over, newest first.
pub(super) fn orders_of_trades(trades: &[FreqtradeTrade], of_closed: Vec<Order>) -> Vec<Order> {
    let mut orders: Vec<Order> = trades.iter().flat_map(orders_of).chain(of_closed).collect();
    orders.sort_by_key(|order| std::cmp::Reverse(order.created_at));
    let mut over = 0;
    orders.retain(|order| {
        over += usize::from(!order.may_still_fill());
        order.may_still_fill() || over <= RECENT_ORDERS
    });
    orders
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn trade(changes: &Value) -> FreqtradeTrade {
        let mut trade = json!({"trade_id": 1, "pair": "BTC/USDT", "is_open": true, "is_short": false, "amount": 2.0,
            "open_rate": 100.0, "current_rate": 110.0, "leverage": 1.0, "stop_loss_abs": 90.0});
        for (name, value) in changes.as_object().unwrap() {
            trade[name] = value.clone();
        }
        serde_json::from_str(&trade.to_string()).unwrap()
    }

    fn entry(is_open: bool, filled: f64) -> Value {
        json!({"order_id": "e", "ft_order_side": "buy", "is_open": is_open, "filled": filled, "amount": 2.0,
            "safe_price": 99.5, "status": if is_open { "open" } else { "closed" }})
    }

    #[track_caller]
    fn check(changes: &Value, expected: Option<(&str, &str, Option<&str>)>) {
        let at = DateTime::from_timestamp(1, 0).unwrap();
        let found = position_of(&trade(changes), at);
        let found = found.map(|position| {
            let text = |amount: Option<Amount>| amount.map(|amount| amount.to_string());
            (
                text(position.quantity).unwrap(),
                text(position.entry_price).unwrap(),
                text(position.unrealized_pl),
            )
        });
        let expected = expected
            .map(|(quantity, entry, gain)| (quantity.to_owned(), entry.to_owned(), gain.map(str::to_owned)));
        assert_eq!(found, expected, "{changes}");
    }

    #[test]
    fn a_filled_trade_is_a_position() {
        check(&json!({"orders": [entry(false, 2.0)]}), Some(("2.0", "100.0", Some("20"))));
        check(&json!({}), Some(("2.0", "100.0", Some("20"))));
        check(&json!({"current_rate": null, "orders": [entry(false, 2.0)]}), Some(("2.0", "100.0", None)));
    }

    #[test]
    fn a_short_is_negative_and_gains_when_the_price_falls() {
        let order = json!({"order_id": "e", "ft_order_side": "sell", "is_open": false, "filled": 2.0});
        check(&json!({"is_short": true, "orders": [order]}), Some(("-2.0", "100.0", Some("-20"))));
    }

    #[test]
    fn an_entry_that_rests_is_no_position() {
        check(&json!({"orders": [entry(true, 0.0)]}), None);
        check(&json!({"orders": []}), None);
    }

    #[test]
    fn what_is_filled_in_part_counts() {
        check(&json!({"orders": [entry(true, 0.5)]}), Some(("0.5", "99.5", Some("5.25"))));
        let exit = json!({"order_id": "x", "ft_order_side": "sell", "is_open": true, "filled": 0.75});
        check(&json!({"orders": [entry(false, 2.0), exit]}), Some(("1.25", "100.0", Some("12.5"))));
        let more = json!({"order_id": "m", "ft_order_side": "buy", "is_open": true, "filled": 0.25});
        check(&json!({"orders": [entry(false, 2.0), more]}), Some(("2.25", "100.0", Some("22.5"))));
    }

    #[test]
    fn open_orders_are_never_cut_off() {
        let orders: Vec<Value> = (0..200)
            .map(|index| {
                let status = if index % 2 == 0 { "open" } else { "closed" };
                json!({"order_id": index.to_string(), "ft_order_side": "buy", "status": status, "order_timestamp": 1000 + index})
            })
            .collect();
        let orders = orders_of_trades(&[trade(&json!({"orders": orders}))], Vec::new());
        assert_eq!((orders.len(), orders[0].id.as_str()), (150, "199"));
    }
}
