//! The book: what the ledger adds up to. Cash, positions, orders, trades, pauses, the breaker, answered commands.
//!
//! [`Book::apply`] is the only way in, and its argument is a ledger line that is already on disk. So the book of a
//! restarted bot equals the book of the one that was killed. Deliberately absent: decisions, clocks, files.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::America::New_York;
use rust_decimal::Decimal;

use super::ledger::{Entry, Fill, Line, Placed, Purpose};
use super::performance::Track;
use botops_contract::{CommandResult, Order, OrderStatus, Side, Trade, TradeOutcome, Verb};

/// Finished orders kept for the state.
const RECENT_ORDERS: usize = 50;
/// Answers kept for repeated commands.
const ANSWERS: usize = 1_000;

/// The sum of the ledger.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Whether the account was ever opened.
    pub opened: bool,
    pub cash: Decimal,
    pub positions: BTreeMap<String, Holding>,
    /// Resting orders by id; ids grow with time.
    pub working: BTreeMap<String, Working>,
    /// Finished orders, newest first.
    pub finished: VecDeque<Order>,
    pub trades: Vec<Arc<Trade>>,
    pub track: Track,
    /// Why and since when no positions are opened.
    pub paused: Option<(String, DateTime<Utc>)>,
    pub breaker: RiskBreaker,
    /// The trading day and the equity it began with.
    pub day: Option<(NaiveDate, Decimal)>,
    /// Highest equity since the start or the last reset.
    pub peak: Decimal,
    /// The last price of each symbol that a fill told.
    pub last_prices: HashMap<String, Decimal>,
    /// The market's time of the last order or fill.
    pub last_market_at: Option<DateTime<Utc>>,
    pub last_fill_at: Option<DateTime<Utc>>,
    /// Entries placed on the trading day.
    pub entries: Option<(NaiveDate, u32)>,
    /// Lives so far.
    pub lives: u64,
    client_ids: HashSet<String>,
    /// Shared with the pictures that readers hold.
    answers: Arc<HashMap<String, (Verb, CommandResult)>>,
    answer_order: VecDeque<String>,
}

/// The breaker that risk limits open.
#[derive(Debug, Default)]
pub(super) struct RiskBreaker {
    /// What opened it and why, while it is open.
    pub open: Option<(String, String)>,
    /// Since when it stands where it stands.
    pub since: DateTime<Utc>,
    /// The day's profit at the last reset: only what is lost beyond it counts.
    pub forgiven: Option<(NaiveDate, Decimal)>,
}

/// An open position with what its trade will need.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    pub symbol: String,
    pub quantity: Decimal,
    pub stop_price: Option<Decimal>,
    pub target_price: Option<Decimal>,
    pub opened_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// How often a profit-taking order was placed for it.
    pub targets_placed: u32,
    bought: Decimal,
    paid: Decimal,
    received: Decimal,
    commission: Decimal,
    reason: String,
    config_sha256: String,
}

impl Holding {
    /// The average price paid.
    pub fn entry_price(&self) -> Decimal {
        (self.paid / self.bought).round_dp(6).normalize()
    }

    /// What the open shares cost.
    pub fn cost(&self) -> Decimal {
        self.paid / self.bought * self.quantity
    }
}

/// A resting order.
#[derive(Debug, Clone)]
pub(super) struct Working {
    pub placed: Placed,
    pub filled: Decimal,
    pub fills: u32,
    pub created_at: DateTime<Utc>,
    value: Decimal,
    slippage: Decimal,
    commission: Decimal,
    updated_at: DateTime<Utc>,
}

impl Working {
    /// Shares that are still to be filled.
    pub fn rest(&self) -> Decimal {
        self.placed.quantity - self.filled
    }

    /// The order as the contract has it.
    pub fn order(&self, status: OrderStatus, reason: Option<String>) -> Order {
        let average = (!self.filled.is_zero()).then(|| (self.value / self.filled).round_dp(6).normalize());
        Order {
            id: self.placed.order_id.clone(),
            client_order_id: self.placed.client_order_id.clone(),
            symbol: self.placed.symbol.clone(),
            side: self.placed.side,
            order_type: self.placed.order_type,
            quantity: self.placed.quantity,
            filled_quantity: self.filled,
            limit_price: self.placed.limit_price,
            average_fill_price: average,
            status,
            status_reason: reason,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// Where a resting order stands.
    pub fn status(&self) -> OrderStatus {
        if self.filled.is_zero() { OrderStatus::Pending } else { OrderStatus::PartiallyFilled }
    }

    fn new(placed: Placed, at: DateTime<Utc>) -> Self {
        let zero = Decimal::ZERO;
        Self {
            placed,
            filled: zero,
            fills: 0,
            created_at: at,
            value: zero,
            slippage: zero,
            commission: zero,
            updated_at: at,
        }
    }
}

/// What a line changed, for whoever tells the world.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The order the line is about, as it stands now.
    pub order: Option<(Order, Placed)>,
    /// Commission and slippage of the order so far.
    pub costs: (Decimal, Decimal),
    /// The trade that a fill closed.
    pub closed: Option<Arc<Trade>>,
}

/// The New York day of a moment.
pub(super) fn trading_day(at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&New_York).date_naive()
}

impl Book {
    /// Takes a line in.
    pub fn apply(&mut self, line: &Line) -> Change {
        let mut change = Change::default();
        match &line.entry {
            Entry::Opened { cash } => {
                self.opened = true;
                self.cash = *cash;
                self.peak = *cash;
                self.breaker.since = line.at;
            }
            Entry::Started { .. } => self.lives += 1,
            Entry::Stopped { .. } => {}
            Entry::Placed(placed) => {
                self.client_ids.insert(placed.client_order_id.clone());
                self.last_market_at = Some(placed.market_at);
                if placed.purpose == Purpose::Entry {
                    let day = trading_day(placed.market_at);
                    let before = self.entries.filter(|(of, _)| *of == day).map_or(0, |(_, count)| count);
                    self.entries = Some((day, before + 1));
                }
                if placed.purpose == Purpose::Target
                    && let Some(holding) = self.positions.get_mut(&placed.symbol)
                {
                    holding.targets_placed += 1;
                }
                let working = Working::new(placed.clone(), line.at);
                change.order = Some((working.order(OrderStatus::Pending, None), placed.clone()));
                self.working.insert(placed.order_id.clone(), working);
            }
            Entry::Refused { order, reason, .. } => {
                let refused = Working::new(order.clone(), line.at);
                let refused = refused.order(OrderStatus::Rejected, Some(reason.clone()));
                self.finish(refused.clone());
                change.order = Some((refused, order.clone()));
            }
            Entry::Filled(fill) => self.fill(line, fill, &mut change),
            Entry::Cancelled { order_id, reason } => {
                if let Some(mut working) = self.working.remove(order_id) {
                    working.updated_at = line.at;
                    let order = working.order(OrderStatus::Cancelled, Some(reason.clone()));
                    self.finish(order.clone());
                    change.order = Some((order, working.placed));
                    change.costs = (working.commission, working.slippage);
                }
            }
            Entry::Day { day, equity } => self.day = Some((*day, *equity)),
            Entry::Peak { equity } => self.peak = *equity,
            Entry::Paused { reason } => self.paused = Some((reason.clone(), line.at)),
            Entry::Resumed { .. } => self.paused = None,
            Entry::Tripped { source, reason } => {
                self.breaker.open = Some((source.clone(), reason.clone()));
                self.breaker.since = line.at;
            }
            Entry::Reset { daily_pl, equity, .. } => {
                self.breaker.open = None;
                self.breaker.since = line.at;
                self.breaker.forgiven = self.day.map(|(day, _)| (day, *daily_pl));
                self.peak = *equity;
                self.track.forgive();
            }
            Entry::Command { verb, result } => {
                self.answer_order.push_back(result.command_id.clone());
                let answers = Arc::make_mut(&mut self.answers);
                answers.insert(result.command_id.clone(), (*verb, (**result).clone()));
                if self.answer_order.len() > ANSWERS
                    && let Some(oldest) = self.answer_order.pop_front()
                {
                    answers.remove(&oldest);
                }
            }
        }
        change
    }

    /// The stored answers to commands, by their id.
    pub fn answers(&self) -> Arc<HashMap<String, (Verb, CommandResult)>> {
        self.answers.clone()
    }

    /// The stored answer to a command.
    pub fn answer(&self, command_id: &str) -> Option<&(Verb, CommandResult)> {
        self.answers.get(command_id)
    }

    /// Why the account would refuse an order: its client id was used, or it sells what is not held.
    pub fn objection(&self, placed: &Placed) -> Option<(&'static str, String)> {
        if self.client_ids.contains(&placed.client_order_id) {
            let reason =
                format!("an order with the client id {} was accepted before", placed.client_order_id);
            return Some(("duplicate_client_order_id", reason));
        }
        let held = self.positions.get(&placed.symbol).map_or(Decimal::ZERO, |holding| holding.quantity);
        (placed.side == Side::Sell && placed.quantity > held)
            .then(|| ("would_sell_short", format!("{held} shares are held")))
    }

    /// Cash that resting buy orders may still need; `price` values the ones without a limit.
    pub fn reserved(&self, price: impl Fn(&str) -> Option<Decimal>) -> Decimal {
        let buys = self.working.values().filter(|order| order.placed.side == Side::Buy);
        buys.map(|order| {
            let each = order.placed.limit_price.or_else(|| price(&order.placed.symbol));
            each.unwrap_or(order.placed.decided_price) * order.rest()
        })
        .sum()
    }

    /// Shares of a symbol that no resting sell order speaks for.
    pub fn free_quantity(&self, symbol: &str) -> Decimal {
        let held = self.positions.get(symbol).map_or(Decimal::ZERO, |holding| holding.quantity);
        let sells =
            self.working.values().filter(|o| o.placed.symbol == symbol && o.placed.side == Side::Sell);
        held - sells.map(Working::rest).sum::<Decimal>()
    }

    fn fill(&mut self, line: &Line, fill: &Fill, change: &mut Change) {
        let Some(mut working) = self.working.remove(&fill.order_id) else { return };
        let value = fill.price * fill.quantity;
        working.filled += fill.quantity;
        working.fills += 1;
        working.value += value;
        working.slippage += fill.slippage;
        working.commission += fill.commission;
        working.updated_at = line.at;
        change.costs = (working.commission, working.slippage);
        self.cash -= fill.commission;
        self.last_fill_at = Some(fill.market_at);
        self.last_market_at = Some(fill.market_at);
        self.last_prices.insert(fill.symbol.clone(), fill.price);
        match fill.side {
            Side::Buy => self.buy(fill, value, &working.placed),
            Side::Sell => change.closed = self.sell(line, fill, value, &working.placed),
        }
        let done = working.rest().is_zero();
        let status = if done { OrderStatus::Filled } else { working.status() };
        let order = working.order(status, None);
        change.order = Some((order.clone(), working.placed.clone()));
        if done {
            self.finish(order);
        } else {
            self.working.insert(fill.order_id.clone(), working);
        }
    }

    fn buy(&mut self, fill: &Fill, value: Decimal, placed: &Placed) {
        self.cash -= value;
        let holding = self.positions.entry(fill.symbol.clone()).or_insert_with(|| Holding {
            symbol: fill.symbol.clone(),
            quantity: Decimal::ZERO,
            stop_price: placed.stop_price,
            target_price: placed.target_price,
            opened_at: fill.market_at,
            updated_at: fill.market_at,
            targets_placed: 0,
            bought: Decimal::ZERO,
            paid: Decimal::ZERO,
            received: Decimal::ZERO,
            commission: Decimal::ZERO,
            reason: placed.reason.clone(),
            config_sha256: placed.config_sha256.clone(),
        });
        holding.quantity += fill.quantity;
        holding.bought += fill.quantity;
        holding.paid += value;
        holding.commission += fill.commission;
        holding.updated_at = fill.market_at;
    }

    fn sell(&mut self, line: &Line, fill: &Fill, value: Decimal, placed: &Placed) -> Option<Arc<Trade>> {
        self.cash += value;
        let holding = self.positions.get_mut(&fill.symbol)?;
        holding.quantity -= fill.quantity;
        holding.received += value;
        holding.commission += fill.commission;
        holding.updated_at = fill.market_at;
        if holding.quantity > Decimal::ZERO {
            return None;
        }
        let holding = self.positions.remove(&fill.symbol)?;
        let gross = holding.received - holding.paid;
        let net = gross - holding.commission;
        let outcome = match net {
            net if net > Decimal::ZERO => TradeOutcome::Win,
            net if net < Decimal::ZERO => TradeOutcome::Loss,
            _ => TradeOutcome::Breakeven,
        };
        let trade = Trade {
            seq: u64::try_from(self.trades.len()).unwrap_or(u64::MAX) + 1,
            id: format!("{}-trade", fill.fill_id),
            symbol: holding.symbol.clone(),
            side: Side::Buy,
            quantity: holding.bought,
            entry_price: holding.entry_price(),
            exit_price: (holding.received / holding.bought).round_dp(6).normalize(),
            opened_at: holding.opened_at,
            closed_at: fill.market_at,
            stop_price: holding.stop_price,
            target_price: holding.target_price,
            gross_pl: gross,
            commission: holding.commission,
            net_pl: net,
            outcome,
            entry_reason: holding.reason,
            exit_reason: placed.reason.clone(),
            boot_epoch: line.boot_epoch.clone(),
            config_sha256: holding.config_sha256,
        };
        let trade = Arc::new(trade);
        self.track.add(&trade, trading_day(fill.market_at));
        self.trades.push(trade.clone());
        Some(trade)
    }

    fn finish(&mut self, order: Order) {
        self.finished.push_front(order);
        self.finished.truncate(RECENT_ORDERS);
    }
}
