//! The performance that is reported, by one rule: what is gained or lost is the change of the equity.
//!
//! Commissions count when they are paid. What open positions have brought or cost for good already (partial exits,
//! commissions) is realized, so realized and unrealized add up to the change of the equity at any moment.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use super::book::{AccountBook, SymbolPrices};
use botops_contract::Performance;

/// The account's performance at these prices. `today` is the trading day, `as_of` the moment of the report.
pub(crate) fn performance_of(
    book: &AccountBook,
    prices: &SymbolPrices,
    today: NaiveDate,
    as_of: DateTime<Utc>,
) -> Performance {
    let total_pl = book.equity(prices) - book.starting_balance;
    let gains =
        book.positions.iter().filter_map(|(symbol, open)| Some(open.unrealized(*prices.get(symbol)?)));
    let total_unrealized_pl: Decimal = gains.sum();
    Performance {
        total_realized_pl: Some((total_pl - total_unrealized_pl).into()),
        total_unrealized_pl: Some(total_unrealized_pl.into()),
        total_pl: Some(total_pl.into()),
        daily_pl: Some(book.daily_pl(prices).into()),
        ..book.track.report(today, as_of)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::ledger::{LedgerEntry, LedgerLine, OrderFill, OrderPurpose, PlacedOrder};
    use botops_contract::{Amount, OrderType, Side, amount_value};

    const SYMBOL: &str = "SPY";

    fn line(n: u64, entry: LedgerEntry) -> LedgerLine {
        LedgerLine { n, at: DateTime::UNIX_EPOCH, boot_epoch: "a".to_owned(), event: None, entry }
    }

    fn order(n: u64, side: Side, quantity: Decimal, price: Decimal) -> PlacedOrder {
        PlacedOrder {
            order_id: format!("o{n:05}"),
            client_order_id: format!("c{n}"),
            symbol: SYMBOL.to_owned(),
            side,
            order_type: OrderType::Market,
            quantity,
            limit_price: None,
            purpose: if side == Side::Buy { OrderPurpose::Entry } else { OrderPurpose::Exit },
            reason: String::new(),
            decided_price: price,
            stop_price: None,
            target_price: None,
            config_sha256: String::new(),
            market_at: DateTime::UNIX_EPOCH,
        }
    }

    fn fill(n: u64, side: Side, quantity: Decimal, price: Decimal, commission: Decimal) -> OrderFill {
        OrderFill {
            fill_id: format!("o{n:05}-1"),
            order_id: format!("o{n:05}"),
            symbol: SYMBOL.to_owned(),
            side,
            quantity,
            price,
            commission,
            slippage: Decimal::ZERO,
            market_at: DateTime::UNIX_EPOCH,
        }
    }

    proptest! {
        #[test]
        fn the_starting_balance_and_what_was_gained_are_the_equity(
            steps in proptest::collection::vec((any::<bool>(), 1_i64..500, 1_i64..100_000, 0_i64..300, any::<bool>()), 1..40),
        ) {
            let starting_balance = Decimal::from(100_000);
            let mut book = AccountBook::default();
            let mut prices = SymbolPrices::new();
            book.apply(&line(1, LedgerEntry::Opened { cash: starting_balance, account_id: None }));
            let (mut day, mut day_began_with) = (NaiveDate::default(), starting_balance);
            book.apply(&line(2, LedgerEntry::Day { day, equity: day_began_with }));
            for (n, (buys, quantity, cents, commission, new_day)) in (3_u64..).step_by(3).zip(steps) {
                let (quantity, price) = (Decimal::new(quantity, 1), Decimal::new(cents, 2));
                prices.insert(SYMBOL.to_owned(), price);
                if new_day {
                    day_began_with = book.equity(&prices);
                    day = day.succ_opt().unwrap();
                    book.apply(&line(n, LedgerEntry::Day { day, equity: day_began_with }));
                }
                let held = book.free_quantity(SYMBOL);
                let (side, quantity) = if buys || held.is_zero() { (Side::Buy, quantity) } else { (Side::Sell, quantity.min(held)) };
                book.apply(&line(n + 1, LedgerEntry::Placed(order(n, side, quantity, price))));
                let filled = fill(n, side, quantity, price, Decimal::new(commission, 2));
                book.apply(&line(n + 2, LedgerEntry::Filled(filled)));
                // The price moves on after the fill.
                prices.insert(SYMBOL.to_owned(), price + Decimal::new(commission, 2));
                let told = performance_of(&book, &prices, NaiveDate::default(), DateTime::UNIX_EPOCH);
                let value = |amount: &Option<Amount>| amount_value(amount.as_ref()).unwrap();
                let (realized, unrealized) = (value(&told.total_realized_pl), value(&told.total_unrealized_pl));
                prop_assert_eq!(starting_balance + value(&told.total_pl), book.equity(&prices));
                prop_assert_eq!(realized + unrealized, value(&told.total_pl));
                prop_assert_eq!(day_began_with + value(&told.daily_pl), book.equity(&prices));
                if book.positions.is_empty() {
                    let closed: Decimal = book.trades.iter().map(|trade| value(&trade.net_pl)).sum();
                    prop_assert_eq!(realized, closed, "with nothing open, it is what the trades brought");
                }
            }
        }
    }
}
