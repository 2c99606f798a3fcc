//! What a position is worth.

use rust_decimal::Decimal;

use botops_contract::{Amount, Position, add_exactly, amount_value, multiply_exactly};
use botops_core::exact_number::ExactNumber;

/// Numbers with digits further from the point than this are no amounts: nothing is calculated with them.
const MOST_PLACES: i64 = 200;

/// Quantity times the last price, or times the entry price without one; `None` when it is not known, and when it has
/// more digits than a decimal holds. To compare what positions are worth: the last of 28 digits may be rounded.
pub(super) fn market_value(position: &Position) -> Option<Decimal> {
    amount_value(position.quantity.as_ref())?.checked_mul(amount_value(price(position))?)
}

/// The same where a decimal holds every digit of it.
pub(super) fn plain_market_value(position: &Position) -> Option<Decimal> {
    multiply_exactly(amount_value(position.quantity.as_ref())?, amount_value(price(position))?)
}

/// The same with every digit; `None` when it is not known.
pub(super) fn exact_market_value(position: &Position) -> Option<ExactNumber> {
    Some(exact_value(position.quantity.as_ref())?.times(&exact_value(price(position))?))
}

/// The number behind an amount, however many digits it has; `None` when there is none, and when it is no amount of anything.
pub(super) fn exact_value(amount: Option<&Amount>) -> Option<ExactNumber> {
    ExactNumber::parse(&amount?.to_string()).filter(|number| number.is_within(MOST_PLACES))
}

/// A sum of which no digit is lost. What a decimal holds is added as such, which is much faster than digit by digit.
#[derive(Debug, Default)]
pub(super) struct ExactTotal {
    plain: Decimal,
    beyond: ExactNumber,
}

impl ExactTotal {
    /// Adds a number, which is `plain` where a decimal holds it; `None` when it is not known.
    pub(super) fn add(
        &mut self,
        plain: Option<Decimal>,
        exact: impl FnOnce() -> Option<ExactNumber>,
    ) -> Option<()> {
        match plain.and_then(|plain| add_exactly(self.plain, plain)) {
            Some(sum) => self.plain = sum,
            None => self.beyond = self.beyond.plus(&exact()?),
        }
        Some(())
    }

    /// The sum.
    pub(super) fn total(&self) -> ExactNumber {
        exact_decimal(self.plain).plus(&self.beyond)
    }
}

/// The same number with digits without a bound.
pub(super) fn exact_decimal(plain: Decimal) -> ExactNumber {
    ExactNumber::parse(&plain.to_string()).unwrap_or_default()
}

fn price(position: &Position) -> Option<&Amount> {
    position.current_price.as_ref().or(position.entry_price.as_ref())
}
