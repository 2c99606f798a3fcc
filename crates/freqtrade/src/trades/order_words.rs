//! Orders of freqtrade in the words of the contract.

use botops_contract::{Amount, Order, OrderStatus, OrderType, Side};
use rust_decimal::Decimal;

use crate::upstream::{FreqtradeOrder, FreqtradeTrade};

/// Every order of a trade, oldest first.
pub(crate) fn orders_of(trade: &FreqtradeTrade) -> Vec<Order> {
    trade.order_list().iter().map(|order| order_of(trade, order)).collect()
}

/// Whether the order adds to the position.
pub(crate) fn is_entry_order(trade: &FreqtradeTrade, order: &FreqtradeOrder) -> bool {
    order.side.as_deref() == Some(if trade.is_short() { "sell" } else { "buy" })
}

fn order_of(trade: &FreqtradeTrade, order: &FreqtradeOrder) -> Order {
    let (side, side_raw) = side_of(trade, order);
    let (order_type, order_type_raw) = type_of(order);
    let (status, status_raw) = status_of(order);
    let is_filled = filled_units(order) > Decimal::ZERO;
    let is_stop =
        matches!(order_type, Some(OrderType::Stop | OrderType::StopLimit | OrderType::TrailingStop));
    let is_limit = order_type == Some(OrderType::Limit);
    // Once something is filled, freqtrade gives the average of the fills in the place of the price that was asked for.
    let asked_price = order.safe_price.clone().filter(|_| !is_filled);
    Order {
        id: order.order_id.clone(),
        client_order_id: String::new(),
        symbol: Some(trade.pair.clone()),
        side,
        side_raw,
        order_type,
        order_type_raw,
        quantity: order.amount.clone(),
        filled_quantity: order.filled.clone(),
        limit_price: asked_price.clone().filter(|_| is_limit),
        stop_price: asked_price.filter(|_| is_stop),
        average_fill_price: order.safe_price.clone().filter(|_| is_filled),
        status,
        status_raw,
        status_reason: None,
        created_at: order.created_at,
        updated_at: order.filled_at.or(order.created_at),
    }
}

fn filled_units(order: &FreqtradeOrder) -> Decimal {
    order.filled.as_ref().and_then(Amount::value).unwrap_or_default()
}

fn side_of(trade: &FreqtradeTrade, order: &FreqtradeOrder) -> (Option<Side>, Option<String>) {
    let exit = if trade.is_short() { Side::Buy } else { Side::Sell };
    match order.side.as_deref() {
        None => (None, None),
        Some("buy") => (Some(Side::Buy), None),
        Some("sell") => (Some(Side::Sell), None),
        Some("stoploss") => (Some(exit), None),
        Some(other) => (Some(Side::Other), Some(other.to_owned())),
    }
}

/// Exchanges have many words for stops; ccxt passes them on.
fn type_of(order: &FreqtradeOrder) -> (Option<OrderType>, Option<String>) {
    let Some(word) = order.order_type.as_deref() else { return (None, None) };
    let plain: String = word.to_ascii_lowercase().chars().filter(char::is_ascii_alphabetic).collect();
    let known = match plain.as_str() {
        "market" => OrderType::Market,
        "limit" => OrderType::Limit,
        "stop" | "stoploss" | "stopmarket" | "stoplossmarket" => OrderType::Stop,
        "stoplimit" | "stoplosslimit" => OrderType::StopLimit,
        "trailingstop" | "trailingstopmarket" | "trailingstoploss" => OrderType::TrailingStop,
        _ => return (Some(OrderType::Other), Some(word.to_owned())),
    };
    (Some(known), None)
}

fn status_of(order: &FreqtradeOrder) -> (Option<OrderStatus>, Option<String>) {
    let open =
        if filled_units(order) > Decimal::ZERO { OrderStatus::PartiallyFilled } else { OrderStatus::Pending };
    let known = match (order.status.as_deref(), order.is_open) {
        (Some("open" | "new" | "partially_filled"), _) | (None, Some(true)) => open,
        (Some("closed" | "filled"), _) => OrderStatus::Filled,
        (Some("canceled" | "cancelled"), _) => OrderStatus::Cancelled,
        (Some("expired"), _) => OrderStatus::Expired,
        (Some("rejected"), _) => OrderStatus::Rejected,
        (None, _) => OrderStatus::Unknown,
        (Some(other), _) => return (Some(OrderStatus::Other), Some(other.to_owned())),
    };
    (Some(known), None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn trade(is_short: bool, order: &Value) -> FreqtradeTrade {
        let trade = json!({"trade_id": 1, "pair": "BTC/USDT", "is_short": is_short, "orders": [order]});
        serde_json::from_str(&trade.to_string()).unwrap()
    }

    #[track_caller]
    fn check(is_short: bool, order: &Value, expected: (Side, OrderType, OrderStatus)) -> Order {
        let found = orders_of(&trade(is_short, order)).remove(0);
        assert_eq!(
            (found.side.unwrap(), found.order_type.unwrap(), found.status.unwrap()),
            expected,
            "{order}"
        );
        found
    }

    #[test]
    fn words_of_orders_are_those_of_the_contract() {
        let order = json!({"order_id": "a", "status": "open", "amount": 2.0, "filled": 0.5, "ft_order_side": "buy",
            "order_type": "limit", "safe_price": 100.5});
        let found = check(false, &order, (Side::Buy, OrderType::Limit, OrderStatus::PartiallyFilled));
        assert_eq!(
            (found.limit_price, found.average_fill_price.unwrap().to_string()),
            (None, "100.5".to_owned())
        );
        let stop = json!({"order_id": "a", "status": "open", "filled": 0.0, "ft_order_side": "stoploss",
            "order_type": "stop_loss_limit", "safe_price": 90.0});
        let found = check(true, &stop, (Side::Buy, OrderType::StopLimit, OrderStatus::Pending));
        assert_eq!((found.limit_price, found.stop_price.unwrap().to_string()), (None, "90.0".to_owned()));
        check(false, &stop, (Side::Sell, OrderType::StopLimit, OrderStatus::Pending));
        let done =
            json!({"order_id": "a", "status": "canceled", "ft_order_side": "sell", "order_type": "market"});
        check(false, &done, (Side::Sell, OrderType::Market, OrderStatus::Cancelled));
    }

    #[test]
    fn an_unknown_word_stands_beside_its_field() {
        let order =
            json!({"order_id": "a", "status": "held", "ft_order_side": "borrow", "order_type": "iceberg"});
        let found = check(false, &order, (Side::Other, OrderType::Other, OrderStatus::Other));
        let raw = (found.side_raw.as_deref(), found.order_type_raw.as_deref(), found.status_raw.as_deref());
        assert_eq!(raw, (Some("borrow"), Some("iceberg"), Some("held")));
    }
}
