//! Which orders follow from a signal, and how large they may be by the limits.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::planned_line::{OrderDraft, OrderRefusal, PlannedLine, cancel_entry};
use crate::account::book::{AccountBook, SymbolPrices, WorkingOrder};
use crate::account::ledger::{LedgerEntry, OrderPurpose};
use crate::config::document::BotConfig;
use crate::market::exchange::PaperExchange;
use crate::market::price_digits::price_digits;
use botops_contract::{OrderType, Side};

/// The most shares of one order, whatever weight and limits allow.
const MOST_SHARES: u32 = 10_000;

/// What follows from a signal to open a position.
#[derive(Debug)]
pub(super) enum EntryPlan {
    /// No order: the symbol has no price yet.
    NoPrice,
    /// No order: the symbol's weight of the equity is less than one share costs.
    WeightTooSmall,
    /// An order, with the refusal when a limit forbids it: refused orders are recorded too.
    Order(OrderDraft, Option<OrderRefusal>),
}

/// Plans orders from the account, the prices and the config of one moment; changes nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct OrderPlanner<'a> {
    pub book: &'a AccountBook,
    pub prices: &'a SymbolPrices,
    pub config: &'a BotConfig,
}

impl<'a> OrderPlanner<'a> {
    /// Plans an order that opens a position, as large as weight, limits and buying power allow.
    pub(crate) fn plan_entry(&self, symbol: &str, reason: String) -> EntryPlan {
        let Some(price) = self.prices.get(symbol).copied() else { return EntryPlan::NoPrice };
        let (risk, orders) = (&self.config.risk_management, &self.config.order_management);
        let equity = self.book.equity(self.prices);
        let hundred = Decimal::ONE_HUNDRED;
        let digits = price_digits(price);
        let limit = (price + orders.offset(orders.buy_offset, price)).round_dp(digits);
        let stop = (price * (hundred - risk.stop_loss_pct) / hundred).round_dp(digits);
        let target = price * (hundred + risk.stop_loss_pct * risk.risk_reward_ratio) / hundred;

        let wanted = self.config.weight(symbol) * equity;
        if wanted < limit {
            return EntryPlan::WeightTooSmall;
        }
        let allowed = wanted.min(risk.max_position_size).min(equity * risk.max_position_pct / hundred);
        let at_risk = (price - stop).max(Decimal::new(1, digits));
        // A risk of the last digit of a price with very many of them allows more shares than a decimal holds.
        let by_risk =
            (equity * risk.risk_per_trade).checked_div(at_risk).map_or(Decimal::MAX, |shares| shares.trunc());
        let quantity = (allowed / limit).trunc().min(by_risk).min(Decimal::from(MOST_SHARES));
        let refusal = self.entry_refusal(price, limit, allowed, quantity);
        let draft = OrderDraft {
            symbol: symbol.to_owned(),
            side: Side::Buy,
            order_type: OrderType::Limit,
            quantity: quantity.max(Decimal::ONE),
            limit_price: Some(limit),
            purpose: OrderPurpose::Entry,
            reason,
            decided_price: price,
            stop_price: Some(stop),
            target_price: Some(target.round_dp(digits)),
        };
        EntryPlan::Order(draft, refusal)
    }

    fn entry_refusal(
        &self,
        price: Decimal,
        limit: Decimal,
        allowed: Decimal,
        quantity: Decimal,
    ) -> Option<OrderRefusal> {
        let orders = &self.config.order_management;
        let distance = orders.offset(orders.buy_offset, price).abs() / price * Decimal::ONE_HUNDRED;
        let power = self.book.buying_power(self.prices);
        if distance > orders.max_slippage_pct {
            let (distance, most) = (distance.round_dp(3), orders.max_slippage_pct);
            let reason = format!("the limit is {distance} % off the price, {most} % is allowed");
            return Some(OrderRefusal { code: "slippage_limit", reason });
        }
        if quantity < Decimal::ONE {
            let most = allowed.round_dp(2);
            let reason = format!("one share costs {limit}, the limits allow {most} a position");
            return Some(OrderRefusal { code: "position_limit", reason });
        }
        (quantity * limit > power).then(|| {
            let (cost, power) = ((quantity * limit).round_dp(2), power.round_dp(2));
            let reason = format!("it would cost {cost}, buying power is {power}");
            OrderRefusal { code: "insufficient_buying_power", reason }
        })
    }

    /// Plans leaving a position: first its orders are cancelled, so that no share is sold twice, then one market order
    /// sells the rest.
    pub(crate) fn plan_exit(&self, symbol: &str, reason: &str, purpose: OrderPurpose) -> Vec<PlannedLine> {
        let is_closing =
            |order: &WorkingOrder| matches!(order.placed.purpose, OrderPurpose::Exit | OrderPurpose::Flatten);
        let of_symbol = || self.book.working.values().filter(|order| order.placed.symbol == symbol);
        let mut lines: Vec<PlannedLine> = of_symbol()
            .filter(|order| !is_closing(order))
            .map(|order| PlannedLine::Entry(cancel_entry(order, "the position is being closed")))
            .collect();
        let closing: Decimal = of_symbol().filter(|order| is_closing(order)).map(WorkingOrder::rest).sum();
        let held = self.book.positions.get(symbol).map_or(Decimal::ZERO, |position| position.quantity);
        let price = self.prices.get(symbol).or_else(|| self.book.last_prices.get(symbol)).copied();
        if let Some(price) = price.filter(|_| held > closing) {
            lines.push(PlannedLine::Order(OrderDraft {
                symbol: symbol.to_owned(),
                side: Side::Sell,
                order_type: OrderType::Market,
                quantity: held - closing,
                limit_price: None,
                purpose,
                reason: reason.to_owned(),
                decided_price: price,
                stop_price: None,
                target_price: None,
            }));
        }
        lines
    }

    /// Plans a profit-taking order for each position that has no open order and never had a profit-taking one.
    ///
    /// When an operator cancels that order, it is not placed again: the strategy watches the target instead.
    pub(crate) fn plan_targets(&self) -> Vec<OrderDraft> {
        let mut drafts = Vec::new();
        for position in self.book.positions.values() {
            let busy = self.book.working.values().any(|order| order.placed.symbol == position.symbol);
            let is_new = position.targets_placed == 0;
            let Some(target) = position.target_price.filter(|_| is_new && !busy) else { continue };
            let orders = &self.config.order_management;
            let limit = (target - orders.offset(orders.sell_offset, target)).round_dp(price_digits(target));
            drafts.push(OrderDraft {
                symbol: position.symbol.clone(),
                side: Side::Sell,
                order_type: OrderType::Limit,
                quantity: self.book.free_quantity(&position.symbol),
                limit_price: Some(limit),
                purpose: OrderPurpose::Target,
                reason: format!("takes the profit at {limit}"),
                decided_price: target,
                stop_price: None,
                target_price: None,
            });
        }
        drafts
    }

    /// Entries that have rested longer than `poll_interval_seconds` after a fair chance to fill, and those of which that is not
    /// known, because the clock was set back by more since.
    pub(crate) fn overdue_entries(
        &self,
        exchange: &PaperExchange,
        at: DateTime<Utc>,
    ) -> Vec<&'a WorkingOrder> {
        let seconds = i64::from(self.config.order_management.poll_interval_seconds);
        let limit = TimeDelta::try_seconds(seconds).unwrap_or(TimeDelta::MAX);
        let is_overdue = |order: &&WorkingOrder| {
            order.placed.purpose == OrderPurpose::Entry
                && (at - order.placed.market_at).abs() > limit
                && exchange.had_its_chance(&order.placed.order_id)
        };
        self.book.working.values().filter(is_overdue).collect()
    }

    /// Cancels all orders that would open a position.
    pub(crate) fn cancel_entries(&self, reason: &str) -> Vec<LedgerEntry> {
        let entries = self.book.working.values();
        let entries = entries.filter(|order| order.placed.purpose == OrderPurpose::Entry);
        entries.map(|order| cancel_entry(order, reason)).collect()
    }
}
