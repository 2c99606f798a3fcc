//! What a position is worth.

use rust_decimal::Decimal;

use botops_contract::{Position, amount_value};

/// Quantity times the last price, or times the entry price without one; `None` when it is not known, and when it has
/// more digits than a decimal holds.
pub(super) fn market_value(position: &Position) -> Option<Decimal> {
    let price = position.current_price.as_ref().or(position.entry_price.as_ref());
    amount_value(position.quantity.as_ref())?.checked_mul(amount_value(price)?)
}
