//! How many digits a price has after the point: none is lost that the feed gave, and none is made up.

use rust_decimal::Decimal;

/// The digits to which prices near this one are rounded: those that it has, and at least those of its market, which are
/// cents from one unit of the currency on, and a hundredth of a cent below.
pub(crate) fn price_digits(price: Decimal) -> u32 {
    let of_market = if price < Decimal::ONE { 4 } else { 2 };
    price.normalize().scale().max(of_market)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(price: &str, digits: u32) {
        assert_eq!(price_digits(price.parse().unwrap()), digits, "{price}");
    }

    #[test]
    fn no_digit_of_a_price_is_lost() {
        check("235.35", 2);
        check("235.350006", 6);
        check("235", 2);
        check("0.1234", 4);
        check("0.12", 4);
        check("0.00001234", 8);
        check("2.5000", 2);
    }
}
