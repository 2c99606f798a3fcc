//! The paper exchange: fills resting orders at the market's prices, with latency, slippage and partial fills.
//!
//! It proposes ledger entries and does not change the account; an entry takes effect when it is on disk. There is no
//! order book: any quantity is filled, at a price that is a little worse than the market's.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};

use super::price_digits::price_digits;
use super::random::SeededRandom;
use crate::account::book::{AccountBook, WorkingOrder};
use crate::account::ledger::{LedgerEntry, OrderFill, OrderPurpose, PlacedOrder};
use crate::config::document::OrderConfig;
use botops_contract::{OrderType, Side};

/// Commission per share, in account currency: 0.005.
const COMMISSION: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

/// The orders on their way, and the random numbers that decide how they fill.
#[derive(Debug)]
pub(crate) struct PaperExchange {
    random: SeededRandom,
    /// Orders of this process by id: price points until arrival, and prices seen since.
    sent: HashMap<String, (u64, u32)>,
}

impl PaperExchange {
    /// An exchange whose latency, slippage and part fills follow the seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: SeededRandom::new(seed), sent: HashMap::new() }
    }

    /// Registers an order, which arrives some price points from now.
    pub(crate) fn accept_order(&mut self, placed: &PlacedOrder) {
        let points = 1 + self.random.below(3);
        self.sent.insert(placed.order_id.clone(), (points, 0));
    }

    /// The entries that fill or cancel resting orders at these prices.
    pub(crate) fn fill_orders(
        &mut self,
        book: &AccountBook,
        prices: &[(String, Decimal)],
        market_at: DateTime<Utc>,
        orders: &OrderConfig,
    ) -> Vec<LedgerEntry> {
        let mut entries = Vec::new();
        self.sent.retain(|id, _| book.working.contains_key(id));
        for (id, working) in &book.working {
            // An order of an earlier process is not registered: it has arrived.
            if let Some((travel, met)) = self.sent.get_mut(id) {
                if *travel > 0 {
                    *travel -= 1;
                    continue;
                }
                *met += 1;
            }
            let symbol = &working.placed.symbol;
            let Some((_, price)) = prices.iter().find(|(of, _)| of == symbol) else { continue };
            entries.extend(self.match_price(working, *price, market_at, orders));
        }
        entries
    }

    /// Whether an order has arrived and seen enough prices to have been filled.
    pub(crate) fn had_its_chance(&self, order_id: &str) -> bool {
        self.sent.get(order_id).is_none_or(|(_, met)| *met >= 3)
    }

    fn match_price(
        &mut self,
        working: &WorkingOrder,
        price: Decimal,
        market_at: DateTime<Utc>,
        orders: &OrderConfig,
    ) -> Option<LedgerEntry> {
        let placed = &working.placed;
        let slip = price * Decimal::from(self.random.between(0, 5)) / Decimal::from(10_000);
        let (filled_at, rounding) = match placed.side {
            Side::Buy => (price + slip, RoundingStrategy::AwayFromZero),
            Side::Sell | Side::Other => (price - slip, RoundingStrategy::ToZero),
        };
        let mut filled_at = filled_at.round_dp_with_strategy(price_digits(price), rounding);
        match (placed.order_type, placed.limit_price, placed.side) {
            (OrderType::Limit, Some(limit), Side::Buy) if price > limit => return None,
            (OrderType::Limit, Some(limit), Side::Sell) if price < limit => return None,
            (OrderType::Limit, Some(limit), Side::Buy) => filled_at = filled_at.min(limit),
            (OrderType::Limit, Some(limit), Side::Sell) => filled_at = filled_at.max(limit),
            _ => {}
        }
        let moved = ((filled_at - placed.decided_price) / placed.decided_price * Decimal::ONE_HUNDRED).abs();
        let too_far = placed.purpose == OrderPurpose::Entry && moved > orders.max_slippage_pct;
        if too_far {
            let reason = format!("the price moved {} % since the decision", moved.round_dp(2));
            return Some(LedgerEntry::Cancelled { order_id: placed.order_id.clone(), reason });
        }
        let rest = working.rest();
        // One order in four is filled by half at first.
        let in_parts = rest >= Decimal::TWO && working.fills == 0 && self.random.below(4) == 0;
        let quantity = if in_parts { (rest / Decimal::TWO).trunc() } else { rest };
        let against = if placed.side == Side::Buy { filled_at - price } else { price - filled_at };
        Some(LedgerEntry::Filled(OrderFill {
            fill_id: format!("{}-{}", placed.order_id, working.fills + 1),
            order_id: placed.order_id.clone(),
            symbol: placed.symbol.clone(),
            side: placed.side,
            quantity,
            price: filled_at,
            commission: (quantity * COMMISSION).round_dp_with_strategy(2, RoundingStrategy::AwayFromZero),
            slippage: (against * quantity).round_dp(2),
            market_at,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::ledger::LedgerLine;
    use crate::config::document::{BUILT_IN, BotConfig};

    #[test]
    fn a_fill_has_the_digits_of_its_price_and_not_those_of_cents() {
        let config: BotConfig = serde_json::from_str(BUILT_IN).unwrap();
        let price = Decimal::new(1_234, 4);
        let placed = PlacedOrder {
            order_id: "o1".to_owned(),
            client_order_id: "c1".to_owned(),
            symbol: "PENNY".to_owned(),
            side: Side::Buy,
            order_type: OrderType::Market,
            quantity: Decimal::ONE,
            limit_price: None,
            purpose: OrderPurpose::Entry,
            reason: String::new(),
            decided_price: price,
            stop_price: None,
            target_price: None,
            config_sha256: String::new(),
            market_at: DateTime::UNIX_EPOCH,
        };
        let at = DateTime::UNIX_EPOCH;
        let mut book = AccountBook::default();
        let entry = LedgerEntry::Placed(placed);
        book.apply(&LedgerLine { n: 1, at, boot_epoch: String::new(), event: None, entry });
        let prices = [("PENNY".to_owned(), price)];
        let fills = PaperExchange::new(7).fill_orders(&book, &prices, at, &config.order_management);
        let [LedgerEntry::Filled(fill)] = fills.as_slice() else { panic!("no fill: {fills:?}") };
        // At most five hundredths of a percent above the price, rounded up to its last digit.
        assert!(fill.price >= price && fill.price <= Decimal::new(1_235, 4), "{fill:?}");
    }
}
