//! The paper exchange: fills resting orders against the market's prices, with latency, slippage and in parts.
//!
//! It proposes ledger entries and changes nothing itself; an entry counts when it is on disk. Deliberately absent:
//! an order book. The market is deep, only not free.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};

use super::book::{Book, Working};
use super::document::Orders;
use super::ledger::{Entry, Fill, Placed, Purpose};
use super::market::Random;
use botops_contract::{OrderType, Side};

/// What a share costs to trade.
const COMMISSION: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

/// The exchange.
#[derive(Debug)]
pub(super) struct Exchange {
    random: Random,
    /// Orders of this life: price points until arrival, and prices met since.
    sent: HashMap<String, (u64, u32)>,
}

impl Exchange {
    /// An exchange whose luck follows the seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), sent: HashMap::new() }
    }

    /// An order is on its way.
    pub fn send(&mut self, placed: &Placed) {
        let points = 1 + self.random.below(3);
        self.sent.insert(placed.order_id.clone(), (points, 0));
    }

    /// What happens to resting orders at these prices.
    pub fn step(
        &mut self,
        book: &Book,
        prices: &[(String, Decimal)],
        market_at: DateTime<Utc>,
        orders: &Orders,
    ) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.sent.retain(|id, _| book.working.contains_key(id));
        for (id, working) in &book.working {
            // An order of an earlier life arrived long ago.
            if let Some((travel, met)) = self.sent.get_mut(id) {
                if *travel > 0 {
                    *travel -= 1;
                    continue;
                }
                *met += 1;
            }
            let symbol = &working.placed.symbol;
            let Some((_, price)) = prices.iter().find(|(of, _)| of == symbol) else { continue };
            entries.extend(self.meet(working, *price, market_at, orders));
        }
        entries
    }

    /// Whether an order has had a fair chance: it arrived and met some prices.
    pub fn has_met(&self, order_id: &str) -> bool {
        self.sent.get(order_id).is_none_or(|(_, met)| *met >= 3)
    }

    fn meet(
        &mut self,
        working: &Working,
        price: Decimal,
        market_at: DateTime<Utc>,
        orders: &Orders,
    ) -> Option<Entry> {
        let placed = &working.placed;
        let slip = price * Decimal::from(self.random.between(0, 5)) / Decimal::from(10_000);
        let (filled_at, rounding) = match placed.side {
            Side::Buy => (price + slip, RoundingStrategy::AwayFromZero),
            Side::Sell => (price - slip, RoundingStrategy::ToZero),
        };
        let mut filled_at = filled_at.round_dp_with_strategy(2, rounding);
        match (placed.order_type, placed.limit_price, placed.side) {
            (OrderType::Limit, Some(limit), Side::Buy) if price > limit => return None,
            (OrderType::Limit, Some(limit), Side::Sell) if price < limit => return None,
            (OrderType::Limit, Some(limit), Side::Buy) => filled_at = filled_at.min(limit),
            (OrderType::Limit, Some(limit), Side::Sell) => filled_at = filled_at.max(limit),
            _ => {}
        }
        let moved = ((filled_at - placed.decided_price) / placed.decided_price * Decimal::ONE_HUNDRED).abs();
        let too_far = placed.purpose == Purpose::Entry && moved > orders.max_slippage_pct;
        if too_far {
            let reason = format!("the price moved {} % since the decision", moved.round_dp(2));
            return Some(Entry::Cancelled { order_id: placed.order_id.clone(), reason });
        }
        let rest = working.rest();
        // One order in four finds only half of its shares at first.
        let in_parts = rest >= Decimal::TWO && working.fills == 0 && self.random.below(4) == 0;
        let quantity = if in_parts { (rest / Decimal::TWO).trunc() } else { rest };
        let against = if placed.side == Side::Buy { filled_at - price } else { price - filled_at };
        Some(Entry::Filled(Fill {
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
