//! What has to be seen before a command counts as done. freqtrade's own answers do not decide: it answers success for
//! exits that did not happen, and 502 for cancellations that did.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::facts::{CommandFacts, TraderState, named};
use crate::trades::is_entry_order;
use crate::upstream::{FreqtradeOrder, FreqtradeTrade};

/// An open trade as it was when the command was planned. A `trade_id` alone is no mark: freqtrade uses it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TradeMark {
    pub trade_id: i64,
    pub pair: String,
    pub opened_at: Option<DateTime<Utc>>,
    /// For people.
    pub name: String,
}

impl TradeMark {
    pub(super) fn of(trade: &FreqtradeTrade) -> Self {
        let FreqtradeTrade { trade_id, pair, opened_at, .. } = trade;
        Self { trade_id: *trade_id, pair: pair.clone(), opened_at: *opened_at, name: named(trade) }
    }

    /// Whether it is this trade.
    pub(super) fn is(&self, trade: &FreqtradeTrade) -> bool {
        self.trade_id == trade.trade_id && self.pair == trade.pair && self.opened_at == trade.opened_at
    }
}

/// A resting order as it was when the command was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OrderMark {
    pub trade: TradeMark,
    pub order_id: String,
    /// Whether it adds to the position.
    pub is_entry: bool,
    /// For people.
    pub name: String,
}

impl OrderMark {
    pub(super) fn of(trade: &FreqtradeTrade, order: &FreqtradeOrder) -> Self {
        let side = order.side.as_deref().unwrap_or("order");
        let amount = order.amount.as_ref().map(|amount| format!(" {amount}")).unwrap_or_default();
        let name =
            format!("#{} {} {side}{amount}", trade.trade_id, botops_core::text::clean(&trade.pair, 64));
        let is_entry = is_entry_order(trade, order);
        Self { trade: TradeMark::of(trade), order_id: order.order_id.clone(), is_entry, name }
    }
}

/// The effect that a stage of a command has to show.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ExpectedEffect {
    state: Option<TraderState>,
    /// A lock of a durable pause that holds at least until then.
    locked_until: Option<DateTime<Utc>>,
    no_own_lock: bool,
    orders_gone: Vec<OrderMark>,
    trades_gone: Vec<TradeMark>,
}

impl ExpectedEffect {
    pub(super) fn state(state: TraderState) -> Self {
        Self { state: Some(state), ..Self::default() }
    }

    pub(super) fn lock(until: DateTime<Utc>) -> Self {
        Self { locked_until: Some(until), ..Self::default() }
    }

    pub(super) fn no_own_lock() -> Self {
        Self { no_own_lock: true, ..Self::default() }
    }

    pub(super) fn orders_gone(orders: Vec<OrderMark>) -> Self {
        Self { orders_gone: orders, ..Self::default() }
    }

    /// The trades are closed, and freqtrade is still paused: a reload meanwhile would let it enter again.
    pub(super) fn trades_gone(trades: Vec<TradeMark>) -> Self {
        Self { state: Some(TraderState::Paused), trades_gone: trades, ..Self::default() }
    }

    /// The same, without the orders of a trade that was left as it is.
    pub(super) fn without(mut self, trade: &TradeMark) -> Self {
        self.orders_gone.retain(|mark| mark.trade != *trade);
        self
    }

    /// Both effects; of two states, the later one.
    pub(super) fn and(mut self, later: Self) -> Self {
        self.state = later.state.or(self.state);
        self.locked_until = later.locked_until.or(self.locked_until);
        self.no_own_lock |= later.no_own_lock;
        self.orders_gone.extend(later.orders_gone);
        self.and_trades_gone(later.trades_gone)
    }

    /// These trades are closed, too.
    pub(super) fn and_trades_gone(mut self, trades: Vec<TradeMark>) -> Self {
        for trade in trades {
            if !self.trades_gone.contains(&trade) {
                self.trades_gone.push(trade);
            }
        }
        self
    }

    /// The orders that are to rest no more.
    pub(super) fn orders(&self) -> &[OrderMark] {
        &self.orders_gone
    }

    /// Whether it is about freqtrade's own state alone, and no part of it shows.
    pub(super) fn is_state_of_which_nothing_shows(&self, facts: &CommandFacts) -> bool {
        let shows_state = self.state.as_ref().is_some_and(|state| *state == facts.state);
        let shows_lock = self.locked_until.is_some_and(|until| is_locked(facts, until));
        let shows_removal = self.no_own_lock && facts.own_locks().next().is_none();
        !self.concerns_trades() && !shows_state && !shows_lock && !shows_removal
    }

    /// Whether it is about orders or trades, and not about freqtrade's own state.
    pub(super) fn concerns_trades(&self) -> bool {
        !self.orders_gone.is_empty() || !self.trades_gone.is_empty()
    }

    /// What does not show yet, for people; empty once all of it does.
    pub(super) fn missing(&self, facts: &CommandFacts) -> Vec<String> {
        let mut missing = Vec::new();
        if self.state.as_ref().is_some_and(|state| *state != facts.state) {
            missing.push(format!("freqtrade says that it is {}", facts.state));
        }
        if self.locked_until.is_some_and(|until| !is_locked(facts, until)) {
            missing.push("the lock does not show".to_owned());
        }
        if self.no_own_lock && facts.own_locks().next().is_some() {
            missing.push("a lock of botops still holds".to_owned());
        }
        let rests = |mark: &&OrderMark| {
            facts
                .resting_orders()
                .any(|(trade, order)| mark.trade.is(trade) && mark.order_id == order.order_id)
        };
        missing.extend(self.orders_gone.iter().filter(rests).map(|mark| format!("{} rests", mark.name)));
        let is_open = |mark: &&TradeMark| facts.trades.iter().any(|trade| mark.is(trade));
        missing.extend(self.trades_gone.iter().filter(is_open).map(|mark| format!("{} is open", mark.name)));
        if self.concerns_trades() && facts.unreadable_trades > 0 {
            missing.push(format!("{} open trades cannot be read", facts.unreadable_trades));
        }
        missing
    }
}

/// Whether a lock of this adapter holds at least until then.
fn is_locked(facts: &CommandFacts, until: DateTime<Utc>) -> bool {
    facts.own_locks().any(|lock| lock.until.is_none_or(|end| end >= until))
}

/// Whether an order that was to be cancelled was filled before. A trade that is gone with its exit was closed by it: a
/// cancelled exit leaves its trade open.
pub(super) fn was_filled(mark: &OrderMark, facts: &CommandFacts) -> bool {
    let Some(trade) = facts.trades.iter().find(|trade| mark.trade.is(trade)) else {
        return !mark.is_entry && facts.unreadable_trades == 0;
    };
    let order = trade.order_list().iter().find(|order| order.order_id == mark.order_id);
    order.is_some_and(|order| order.status.as_deref() == Some("closed"))
}
