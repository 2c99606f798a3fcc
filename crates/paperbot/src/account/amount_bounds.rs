//! Which amounts an account can have. Every number that comes from outside is checked here once, so that no operation on
//! amounts within the account leaves what a decimal holds, which is 7.9 × 10^28.

use rust_decimal::Decimal;

/// The most money that an account has, with all that it can gain: 10^18.
const MOST_MONEY: Decimal = Decimal::from_parts(2_808_348_672, 232_830_643, 0, false, 0);

/// The most cash that an account is opened with: 10^15.
const MOST_CASH: Decimal = Decimal::from_parts(2_764_472_320, 232_830, 0, false, 0);

/// The highest price, and the most shares: 10^9.
const MOST_PRICE_OR_SHARES: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// The fewest shares: 10^-6.
const FEWEST_SHARES: Decimal = Decimal::from_parts(1, 0, 0, false, 6);

/// The lowest price of a market: 10^-12.
const LOWEST_PRICE: Decimal = Decimal::from_parts(1, 0, 0, false, 12);

/// Why no account is opened with this cash; `None` when one may be.
pub(crate) fn cash_fault(cash: Decimal) -> Option<String> {
    let is_cash = cash >= Decimal::ZERO && cash <= MOST_CASH;
    (!is_cash).then(|| format!("`cash` is {cash}, not from 0 to {MOST_CASH}"))
}

/// Why this is no amount of money of an account; `None` when it may be one.
pub(super) fn money_fault(name: &str, money: Decimal) -> Option<String> {
    let most = MOST_MONEY;
    (money.abs() > most).then(|| format!("`{name}` is {money}, more than an account can have ({most})"))
}

/// Why this is no price of a market; `None` when it may be one.
pub(crate) fn price_fault(name: &str, price: Decimal) -> Option<String> {
    let (least, most) = (LOWEST_PRICE, MOST_PRICE_OR_SHARES);
    let is_price = (least..=most).contains(&price);
    (!is_price).then(|| format!("`{name}` is {price}, no price from {least} to {most}"))
}

/// Why this is no number of shares; `None` when it may be one.
pub(super) fn quantity_fault(quantity: Decimal) -> Option<String> {
    let (least, most) = (FEWEST_SHARES, MOST_PRICE_OR_SHARES);
    let is_quantity = (least..=most).contains(&quantity);
    (!is_quantity).then(|| format!("`quantity` is {quantity}, no number of shares from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use botops_contract::{OrderType, Side};
    use chrono::{DateTime, NaiveDate};
    use proptest::prelude::*;

    use super::*;
    use crate::account::book::{AccountBook, SymbolPrices};
    use crate::account::ledger_line::{
        LedgerEntry, LedgerLine, OrderFill, OrderPurpose, PlacedOrder, entry_fault,
    };
    use crate::account::performance::performance_of;

    #[test]
    fn what_no_account_has_is_named() {
        let power = |text: &str| Decimal::from_scientific(text).unwrap();
        assert_eq!((MOST_MONEY, MOST_CASH), (power("1e18"), power("1e15")));
        assert_eq!((MOST_PRICE_OR_SHARES, LOWEST_PRICE), (power("1e9"), power("1e-12")));
        let cash = |text: &str| LedgerEntry::Opened { cash: text.parse().unwrap(), account_id: None };
        assert_eq!(entry_fault(&cash("1000000000000000")), None);
        let told = entry_fault(&cash("79228162514264337593543950335")).unwrap();
        assert!(told.contains("`cash` is 79228162514264337593543950335"), "{told}");
        for price in ["0", "-1", "1000000000.01", "0.0000000000009"] {
            assert!(price_fault("open", price.parse().unwrap()).is_some(), "{price}");
        }
    }

    /// Any decimal, with many near the ends of what is taken and of what a decimal holds.
    fn amount() -> impl Strategy<Value = Decimal> {
        let any = (any::<u32>(), any::<u32>(), any::<u32>(), 0_u32..=28)
            .prop_map(|(lo, mid, hi, scale)| Decimal::from_parts(lo, mid, hi, false, scale));
        let least = Decimal::from_parts(1, 0, 0, false, 28);
        let ends = vec![
            Decimal::ZERO,
            least,
            LOWEST_PRICE,
            FEWEST_SHARES,
            Decimal::ONE,
            MOST_PRICE_OR_SHARES,
            MOST_PRICE_OR_SHARES - least,
            MOST_CASH,
            MOST_MONEY,
            Decimal::MAX,
        ];
        prop_oneof![any, proptest::sample::select(ends)]
    }

    fn order(n: u64, side: Side, [quantity, decided_price, limit, stop]: [Decimal; 4]) -> PlacedOrder {
        PlacedOrder {
            order_id: format!("o{n}"),
            client_order_id: format!("c{n}"),
            symbol: "SPY".to_owned(),
            side,
            order_type: OrderType::Limit,
            quantity,
            limit_price: Some(limit),
            purpose: OrderPurpose::Entry,
            reason: String::new(),
            decided_price,
            stop_price: Some(stop),
            target_price: Some(limit),
            config_sha256: String::new(),
            market_at: DateTime::UNIX_EPOCH,
        }
    }

    fn fill(n: u64, side: Side, [quantity, price, commission, slippage]: [Decimal; 4]) -> OrderFill {
        OrderFill {
            fill_id: format!("o{n}-1"),
            order_id: format!("o{n}"),
            symbol: "SPY".to_owned(),
            side,
            quantity,
            price,
            commission,
            slippage,
            market_at: DateTime::UNIX_EPOCH,
        }
    }

    proptest! {
        /// Whatever is taken: no operation of the account, and nothing that is reported of it, leaves what a decimal holds.
        #[test]
        fn nothing_that_is_taken_overflows(
            cash in amount(),
            rounds in proptest::collection::vec(proptest::array::uniform8(amount()), 1..20),
            price in amount(),
        ) {
            let mut book = AccountBook::default();
            let mut n = 0;
            let mut apply = |book: &mut AccountBook, entry: LedgerEntry| {
                n += 1;
                if entry_fault(&entry).is_none() {
                    let at = DateTime::UNIX_EPOCH;
                    book.apply(&LedgerLine { n, at, boot_epoch: String::new(), event: None, entry });
                }
            };
            apply(&mut book, LedgerEntry::Opened { cash, account_id: None });
            for (number, [a, b, c, d, e, f, g, h]) in (0..).zip(rounds) {
                let (buy, sell) = (number * 2, number * 2 + 1);
                apply(&mut book, LedgerEntry::Placed(order(buy, Side::Buy, [a, b, c, d])));
                apply(&mut book, LedgerEntry::Filled(fill(buy, Side::Buy, [a, f, g, h])));
                apply(&mut book, LedgerEntry::Day { day: NaiveDate::default(), equity: e });
                let prices: SymbolPrices = price_fault("price", price)
                    .is_none()
                    .then(|| ("SPY".to_owned(), price))
                    .into_iter()
                    .collect();
                performance_of(&book, &prices, NaiveDate::default(), DateTime::UNIX_EPOCH);
                let _ = (book.buying_power(&prices), book.daily_pl_since_reset(&prices));
                apply(&mut book, LedgerEntry::Placed(order(sell, Side::Sell, [a, b, c, d])));
                apply(&mut book, LedgerEntry::Filled(fill(sell, Side::Sell, [a, e, g, h])));
                performance_of(&book, &prices, NaiveDate::default(), DateTime::UNIX_EPOCH);
            }
        }
    }
}
