//! The profit and loss of open positions, where it follows from what the bot gives.

use rust_decimal::Decimal;

use botops_contract::{Amount, Position, amount_value, multiply_exactly, subtract_exactly};

/// The profit of an open position as the bot gives it; else by the contract's own formula, (current − entry) × quantity,
/// from the prices that the bot gives. `None` where one of them is missing, or a digit would be lost.
pub(crate) fn open_profit(position: &Position) -> Option<Amount> {
    position.unrealized_pl.clone().or_else(|| computed_profit(position).map(Amount::from))
}

fn computed_profit(position: &Position) -> Option<Decimal> {
    let (current, entry) = (position.current_price.as_ref(), position.entry_price.as_ref());
    let change = subtract_exactly(amount_value(current)?, amount_value(entry)?)?;
    multiply_exactly(change, amount_value(position.quantity.as_ref())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(position: serde_json::Value, profit: Option<&str>) {
        let position: Position = serde_json::from_value(position).unwrap();
        assert_eq!(
            open_profit(&position).map(|profit| profit.to_string()).as_deref(),
            profit,
            "{position:?}"
        );
    }

    #[test]
    fn it_follows_from_the_prices_where_all_are_given_and_from_nothing_else() {
        let given = json!({"symbol": "X", "quantity": "2", "entry_price": "10", "current_price": "12.5"});
        let with = |name: &str, value: serde_json::Value| {
            let mut position = given.clone();
            position[name] = value;
            position
        };
        check(given.clone(), Some("5.0"));
        check(with("quantity", json!("-2")), Some("-5.0"));
        check(with("unrealized_pl", json!("4.90")), Some("4.90"));
        for missing in ["quantity", "entry_price", "current_price"] {
            check(with(missing, serde_json::Value::Null), None);
        }
    }
}
