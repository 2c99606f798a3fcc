//! The account that the ledger adds up to: cash, positions, orders, trades, pauses, the breaker, answered commands.
//!
//! Only [`AccountBook::apply`] changes it, and its argument is a ledger line that is already on disk, so the account of
//! a restarted bot equals that of the one that was killed. Nothing here decides, reads a clock or touches a file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::America::New_York;
use rust_decimal::Decimal;

use super::command_answers::CommandAnswers;
use super::day_table::DayTable;
use super::ledger::{LedgerEntry, LedgerLine, OrderFill, OrderPurpose, PlacedOrder};
use super::track_record::TrackRecord;
use botops_contract::{Amount, Order, OrderStatus, Side, Trade, TradeOutcome};

/// Finished orders that the state lists; older ones are in the ledger alone.
const RECENT_ORDERS: usize = 50;

/// The last known price of each symbol.
pub(crate) type SymbolPrices = BTreeMap<String, Decimal>;

/// The account as the sum of its ledger.
#[derive(Debug, Default)]
pub(crate) struct AccountBook {
    /// Whether the ledger has its first line, which gives the account its cash.
    pub opened: bool,
    /// The cash that the account was opened with.
    pub starting_balance: Decimal,
    /// Names the account; `None` for a ledger of before there were names.
    pub account_id: Option<String>,
    pub cash: Decimal,
    pub positions: BTreeMap<String, OpenPosition>,
    /// Resting orders by order id, which sorts by age.
    pub working: BTreeMap<String, WorkingOrder>,
    /// Filled, refused and cancelled orders, newest first, at most `RECENT_ORDERS`.
    pub finished: VecDeque<Order>,
    pub trades: Vec<Arc<Trade>>,
    pub track: TrackRecord,
    /// Why and since when no positions are opened.
    pub paused: Option<(String, DateTime<Utc>)>,
    pub breaker: RiskBreaker,
    /// The current trading day and the equity it began with; `None` before the first price.
    pub day: Option<(NaiveDate, Decimal)>,
    /// The equity that each trading day began with.
    days_begun: DayTable<Decimal>,
    /// Highest equity since the account was opened or the risk breaker was last reset.
    pub peak: Decimal,
    /// The last price of each symbol of which a fill is known.
    pub last_prices: HashMap<String, Decimal>,
    /// Market time of the last order or fill; a replay goes on after it.
    pub last_market_at: Option<DateTime<Utc>>,
    pub last_fill_at: Option<DateTime<Utc>>,
    /// The number of entries placed on each trading day.
    entries: DayTable<u32>,
    /// How many processes have started on this account; varies the seed of the simulated market.
    pub starts: u64,
    client_ids: HashSet<String>,
    pub answers: CommandAnswers,
}

/// The breaker that risk limits open.
#[derive(Debug, Default)]
pub(crate) struct RiskBreaker {
    /// Source (`daily_loss`, `max_drawdown`, …) and reason, while it is open.
    pub open: Option<(String, String)>,
    /// When it last opened or closed.
    pub since: DateTime<Utc>,
    /// Trading day and its profit at the last reset: on that day only losses beyond it count.
    pub reset_at: Option<(NaiveDate, Decimal)>,
}

/// An open position, with the sums that its `Trade` is made of once it is closed.
#[derive(Debug, Clone)]
pub(crate) struct OpenPosition {
    pub symbol: String,
    pub quantity: Decimal,
    pub stop_price: Option<Decimal>,
    pub target_price: Option<Decimal>,
    pub opened_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// How many profit-taking orders were placed for it; after the first one the strategy watches the target.
    pub targets_placed: u32,
    bought: Decimal,
    paid: Decimal,
    received: Decimal,
    commission: Decimal,
    reason: String,
    config_sha256: String,
}

impl OpenPosition {
    /// Average price per share paid.
    pub(crate) fn entry_price(&self) -> Decimal {
        average_price(self.paid, self.bought)
    }

    /// What the shares still held gain at this price, before commission, in cents: where only a part is still held, its
    /// cost is a quotient.
    pub(crate) fn unrealized(&self, price: Decimal) -> Decimal {
        (price * self.quantity - self.cost()).round_dp(2)
    }

    /// What the shares still held cost, without commission.
    pub(crate) fn cost(&self) -> Decimal {
        self.paid / self.bought * self.quantity
    }
}

/// An order that rests at the exchange, with the sums of its fills so far.
#[derive(Debug, Clone)]
pub(crate) struct WorkingOrder {
    pub placed: PlacedOrder,
    pub filled: Decimal,
    pub fills: u32,
    pub created_at: DateTime<Utc>,
    value: Decimal,
    slippage: Decimal,
    commission: Decimal,
    updated_at: DateTime<Utc>,
}

impl WorkingOrder {
    pub(crate) fn rest(&self) -> Decimal {
        self.placed.quantity - self.filled
    }

    /// The order in the form of the contract.
    pub(crate) fn order(&self, status: OrderStatus, reason: Option<String>) -> Order {
        let average = (!self.filled.is_zero()).then(|| average_price(self.value, self.filled));
        Order {
            id: self.placed.order_id.clone(),
            client_order_id: self.placed.client_order_id.clone(),
            symbol: Some(self.placed.symbol.clone()),
            side: Some(self.placed.side),
            order_type: Some(self.placed.order_type),
            quantity: Some(self.placed.quantity.into()),
            filled_quantity: Some(self.filled.into()),
            limit_price: self.placed.limit_price.map(Amount::from),
            average_fill_price: average.map(Amount::from),
            status: Some(status),
            status_reason: reason,
            created_at: Some(self.created_at),
            updated_at: Some(self.updated_at),
            ..Order::default()
        }
    }

    /// Pending until the first fill, then partially filled.
    pub(crate) fn status(&self) -> OrderStatus {
        if self.filled.is_zero() { OrderStatus::Pending } else { OrderStatus::PartiallyFilled }
    }

    fn new(placed: PlacedOrder, at: DateTime<Utc>) -> Self {
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

/// A reason that an older version wrote about "today", with the date of that day: it is read on later days as well.
fn dated(reason: &str, day: Option<(NaiveDate, Decimal)>) -> String {
    let (Some(loss), Some((day, _))) = (reason.strip_prefix("today's loss of "), day) else {
        return reason.to_owned();
    };
    loss.split_once(" reached ").map_or_else(
        || reason.to_owned(),
        |(loss, limit)| format!("the loss of {loss} on {day} reached {limit}"),
    )
}

/// Value by quantity, rounded to six digits, and to ten for prices below one unit of the currency.
fn average_price(value: Decimal, quantity: Decimal) -> Decimal {
    let exact = value / quantity;
    exact.round_dp(if exact < Decimal::ONE { 10 } else { 6 }).normalize()
}

/// What applying one ledger line changed, for events and logs.
#[derive(Debug, Default)]
pub(crate) struct BookChange {
    /// The order that the line is about, after the line, and as it was placed.
    pub order: Option<(Order, PlacedOrder)>,
    /// Commission and slippage of that order so far, in account currency.
    pub costs: (Decimal, Decimal),
    /// The trade that a fill closed.
    pub closed: Option<Arc<Trade>>,
}

/// The New York date of an instant, whether or not the market trades on it.
pub(crate) fn trading_day(at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&New_York).date_naive()
}

impl AccountBook {
    /// Adds one line, which must be on disk already and follow the line applied before it.
    pub(crate) fn apply(&mut self, line: &LedgerLine) -> BookChange {
        let mut change = BookChange::default();
        match &line.entry {
            LedgerEntry::Opened { cash, account_id } => {
                self.account_id.clone_from(account_id);
                self.opened = true;
                (self.starting_balance, self.cash) = (*cash, *cash);
                self.peak = *cash;
                self.breaker.since = line.at;
            }
            LedgerEntry::Started { .. } => self.starts += 1,
            LedgerEntry::Stopped { .. } => {}
            LedgerEntry::Placed(placed) => self.apply_placed(line, placed, &mut change),
            LedgerEntry::Refused { order, reason, .. } => {
                let refused = WorkingOrder::new(order.clone(), line.at);
                let refused = refused.order(OrderStatus::Rejected, Some(reason.clone()));
                self.keep_finished(refused.clone());
                change.order = Some((refused, order.clone()));
            }
            LedgerEntry::Filled(fill) => self.apply_fill(line, fill, &mut change),
            LedgerEntry::Cancelled { order_id, reason } => {
                if let Some(mut working) = self.working.remove(order_id) {
                    working.updated_at = line.at;
                    let order = working.order(OrderStatus::Cancelled, Some(reason.clone()));
                    self.keep_finished(order.clone());
                    change.order = Some((order, working.placed));
                    change.costs = (working.commission, working.slippage);
                }
            }
            // A day begins once: when the clock was set back to it, it goes on with what it began with.
            LedgerEntry::Day { day, equity } => {
                self.day = Some((*day, self.days_begun.get_or_insert(*day, *equity)));
            }
            LedgerEntry::Peak { equity } => self.peak = *equity,
            LedgerEntry::Paused { reason } => self.paused = Some((reason.clone(), line.at)),
            LedgerEntry::Resumed { .. } => self.paused = None,
            LedgerEntry::Tripped { source, reason } => {
                self.breaker.open = Some((source.clone(), dated(reason, self.day)));
                self.breaker.since = line.at;
            }
            LedgerEntry::Reset { daily_pl, equity, .. } => {
                self.breaker.open = None;
                self.breaker.since = line.at;
                self.breaker.reset_at = self.day.map(|(day, _)| (day, *daily_pl));
                self.peak = *equity;
                self.track.restart_loss_count();
            }
            LedgerEntry::Command { verb, result } => {
                self.answers.keep(*verb, (**result).clone());
            }
        }
        change
    }

    /// Takes the positions and orders of these symbols out of what is traded.
    pub(crate) fn set_aside(&mut self, symbols: &BTreeSet<String>) {
        self.working.retain(|_, order| !symbols.contains(&order.placed.symbol));
        self.positions.retain(|symbol, _| !symbols.contains(symbol));
    }

    /// Cash and the market value of positions; a position without a price counts as what it cost.
    pub(crate) fn equity(&self, prices: &SymbolPrices) -> Decimal {
        let value = |(symbol, position): (&String, &OpenPosition)| {
            prices.get(symbol).copied().unwrap_or_else(|| position.entry_price()) * position.quantity
        };
        self.cash + self.positions.iter().map(value).sum::<Decimal>()
    }

    /// Equity now minus equity when the trading day began; zero before the first day.
    pub(crate) fn daily_pl(&self, prices: &SymbolPrices) -> Decimal {
        self.day.map_or(Decimal::ZERO, |(_, equity)| self.equity(prices) - equity)
    }

    /// The part of [`Self::daily_pl`] that counts against the limits: what was lost before the operator reset the breaker
    /// on the same day is forgiven.
    pub(crate) fn daily_pl_since_reset(&self, prices: &SymbolPrices) -> Decimal {
        let today = self.day.map(|(day, _)| day);
        let forgiven = self.breaker.reset_at.filter(|(day, _)| Some(*day) == today);
        self.daily_pl(prices) - forgiven.map_or(Decimal::ZERO, |(_, lost)| lost.min(Decimal::ZERO))
    }

    /// Cash that new positions may use: what resting buy orders may still need is subtracted.
    pub(crate) fn buying_power(&self, prices: &SymbolPrices) -> Decimal {
        (self.cash - self.reserved_cash(prices)).max(Decimal::ZERO)
    }

    pub(crate) fn entries_on(&self, day: NaiveDate) -> u32 {
        self.entries.get(day).unwrap_or(0)
    }

    /// The equity that a trading day began with; `None` when it has not begun.
    pub(crate) fn began_with(&self, day: NaiveDate) -> Option<Decimal> {
        self.days_begun.get(day)
    }

    /// Why the account would refuse an order: its client id was used, or it sells what is not held.
    pub(crate) fn objection(&self, placed: &PlacedOrder) -> Option<(&'static str, String)> {
        if self.client_ids.contains(&placed.client_order_id) {
            let reason =
                format!("an order with the client id {} was accepted before", placed.client_order_id);
            return Some(("duplicate_client_order_id", reason));
        }
        let held = self.positions.get(&placed.symbol).map_or(Decimal::ZERO, |position| position.quantity);
        (placed.side == Side::Sell && placed.quantity > held)
            .then(|| ("would_sell_short", format!("{held} shares are held")))
    }

    /// Cash that resting buy orders may still need; those without a limit are valued at the price.
    fn reserved_cash(&self, prices: &SymbolPrices) -> Decimal {
        let buys = self.working.values().filter(|order| order.placed.side == Side::Buy);
        buys.map(|order| {
            let each = order.placed.limit_price.or_else(|| prices.get(&order.placed.symbol).copied());
            each.unwrap_or(order.placed.decided_price) * order.rest()
        })
        .sum()
    }

    /// Shares of a symbol that are held and that no resting sell order would sell.
    pub(crate) fn free_quantity(&self, symbol: &str) -> Decimal {
        let held = self.positions.get(symbol).map_or(Decimal::ZERO, |position| position.quantity);
        let sells =
            self.working.values().filter(|o| o.placed.symbol == symbol && o.placed.side == Side::Sell);
        held - sells.map(WorkingOrder::rest).sum::<Decimal>()
    }

    fn apply_placed(&mut self, line: &LedgerLine, placed: &PlacedOrder, change: &mut BookChange) {
        self.client_ids.insert(placed.client_order_id.clone());
        self.last_market_at = Some(placed.market_at);
        if placed.purpose == OrderPurpose::Entry {
            let day = trading_day(placed.market_at);
            self.entries.insert(day, self.entries_on(day).saturating_add(1));
        }
        if placed.purpose == OrderPurpose::Target
            && let Some(position) = self.positions.get_mut(&placed.symbol)
        {
            position.targets_placed += 1;
        }
        let working = WorkingOrder::new(placed.clone(), line.at);
        change.order = Some((working.order(OrderStatus::Pending, None), placed.clone()));
        self.working.insert(placed.order_id.clone(), working);
    }

    fn apply_fill(&mut self, line: &LedgerLine, fill: &OrderFill, change: &mut BookChange) {
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
            Side::Buy => self.apply_buy(fill, value, &working.placed),
            Side::Sell => change.closed = self.apply_sell(line, fill, value, &working.placed),
            // paperbot places no such order.
            Side::Other => {}
        }
        let done = working.rest().is_zero();
        let status = if done { OrderStatus::Filled } else { working.status() };
        let order = working.order(status, None);
        change.order = Some((order.clone(), working.placed.clone()));
        if done {
            self.keep_finished(order);
        } else {
            self.working.insert(fill.order_id.clone(), working);
        }
    }

    fn apply_buy(&mut self, fill: &OrderFill, value: Decimal, placed: &PlacedOrder) {
        self.cash -= value;
        let position = self.positions.entry(fill.symbol.clone()).or_insert_with(|| OpenPosition {
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
        position.quantity += fill.quantity;
        position.bought += fill.quantity;
        position.paid += value;
        position.commission += fill.commission;
        position.updated_at = fill.market_at;
    }

    fn apply_sell(
        &mut self,
        line: &LedgerLine,
        fill: &OrderFill,
        value: Decimal,
        placed: &PlacedOrder,
    ) -> Option<Arc<Trade>> {
        self.cash += value;
        let position = self.positions.get_mut(&fill.symbol)?;
        position.quantity -= fill.quantity;
        position.received += value;
        position.commission += fill.commission;
        position.updated_at = fill.market_at;
        if position.quantity > Decimal::ZERO {
            return None;
        }
        let position = self.positions.remove(&fill.symbol)?;
        let gross = position.received - position.paid;
        let net = gross - position.commission;
        let outcome = match net {
            net if net > Decimal::ZERO => TradeOutcome::Win,
            net if net < Decimal::ZERO => TradeOutcome::Loss,
            _ => TradeOutcome::Breakeven,
        };
        let trade = Trade {
            seq: u64::try_from(self.trades.len()).unwrap_or(u64::MAX) + 1,
            id: format!("{}-trade", fill.fill_id),
            symbol: position.symbol.clone(),
            account_id: self.account_id.clone(),
            side: Some(Side::Buy),
            side_raw: None,
            quantity: Some(position.bought.into()),
            entry_price: Some(position.entry_price().into()),
            exit_price: Some(average_price(position.received, position.bought).into()),
            opened_at: Some(position.opened_at),
            closed_at: fill.market_at,
            stop_price: position.stop_price.map(Amount::from),
            target_price: position.target_price.map(Amount::from),
            gross_pl: Some(gross.into()),
            commission: Some(position.commission.into()),
            net_pl: Some(net.into()),
            outcome: Some(outcome),
            outcome_raw: None,
            entry_reason: position.reason,
            exit_reason: placed.reason.clone(),
            boot_epoch: line.boot_epoch.clone(),
            config_sha256: position.config_sha256,
        };
        let trade = Arc::new(trade);
        self.track.add(&trade, trading_day(fill.market_at));
        self.trades.push(trade.clone());
        Some(trade)
    }

    fn keep_finished(&mut self, order: Order) {
        self.finished.push_front(order);
        self.finished.truncate(RECENT_ORDERS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trading_day_is_new_yorks_also_where_its_clock_changes_and_in_a_leap_year() {
        for (at, day) in [
            // 23:59 and 00:00 before the night without the hour from two to three.
            ("2026-03-08T04:59:59Z", "2026-03-07"),
            ("2026-03-08T05:00:00Z", "2026-03-08"),
            ("2026-03-09T03:59:59Z", "2026-03-08"),
            ("2026-03-09T04:00:00Z", "2026-03-09"),
            // The night with that hour twice.
            ("2026-11-02T04:59:59Z", "2026-11-01"),
            ("2026-11-02T05:00:00Z", "2026-11-02"),
            ("2028-03-01T04:59:59Z", "2028-02-29"),
            ("2028-03-01T05:00:00Z", "2028-03-01"),
        ] {
            assert_eq!(trading_day(at.parse().unwrap()).to_string(), day, "{at}");
        }
    }

    #[test]
    fn a_reset_forgives_the_day_s_loss_until_the_next_day_begins() {
        let mut book = AccountBook::default();
        let mut apply = |entry: LedgerEntry| {
            let at = DateTime::UNIX_EPOCH;
            book.apply(&LedgerLine { n: 1, at, boot_epoch: String::new(), event: None, entry });
            (book.daily_pl(&SymbolPrices::default()), book.daily_pl_since_reset(&SymbolPrices::default()))
        };
        let (day, cash) = (|day| NaiveDate::from_ymd_opt(2026, 3, day).unwrap(), Decimal::from(99_400));
        apply(LedgerEntry::Opened { cash, account_id: None });
        let lost = Decimal::from(-600);
        assert_eq!(apply(LedgerEntry::Day { day: day(2), equity: Decimal::from(100_000) }), (lost, lost));
        let reset = LedgerEntry::Reset { reason: "seen".to_owned(), daily_pl: lost, equity: cash };
        assert_eq!(apply(reset), (lost, Decimal::ZERO));
        assert_eq!(apply(LedgerEntry::Day { day: day(3), equity: Decimal::from(100_000) }), (lost, lost));
        // The clock is set back: the day before was begun, and what is forgiven on it stays forgiven.
        let back = apply(LedgerEntry::Day { day: day(2), equity: cash });
        assert_eq!(back, (lost, Decimal::ZERO));
        assert_eq!(apply(LedgerEntry::Day { day: day(3), equity: cash }), (lost, lost));
    }
}
