//! The lines of the ledger: what can happen to the account, and how it is written down.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};

use super::amount_bounds::{cash_fault, money_fault, price_fault, quantity_fault};
use botops_contract::{CommandResult, OrderType, Side, Verb};

/// One line of `ledger.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LedgerLine {
    /// Line number, from 1 without gaps: a missing line is detected when the file is read.
    pub n: u64,
    /// When it was written, by the bot's clock; `market_at` of an entry is the market's.
    pub at: DateTime<Utc>,
    /// Id of the process start that wrote it.
    pub boot_epoch: String,
    /// Number of the event of that start which tells of it; `None` where none does, and in ledgers of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
    pub entry: LedgerEntry,
}

/// What happened, when, and the number of the event that tells of it; not on disk yet.
#[derive(Debug, Clone)]
pub(crate) struct UnwrittenLine {
    pub at: DateTime<Utc>,
    pub event: Option<u64>,
    pub entry: LedgerEntry,
}

/// What can happen to the account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum LedgerEntry {
    /// The account was opened with this cash, in account currency. The first line.
    Opened {
        cash: Decimal,
        /// Names the account; ledgers of before have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_id: Option<String>,
    },
    /// The bot's process started: its version, the market's source and seed, and its process id.
    Started { version: String, source: String, seed: u64, pid: u32 },
    /// The bot's process stopped in order; missing after a kill or a crash.
    Stopped { reason: String },
    /// An order was accepted and is on its way to the exchange.
    Placed(PlacedOrder),
    /// An order was refused before it was sent, by a limit, the account or the broker session.
    Refused { order: PlacedOrder, code: String, reason: String },
    /// Some or all of an order was filled.
    Filled(OrderFill),
    /// The rest of an order was cancelled.
    Cancelled { order_id: String, reason: String },
    /// A trading day began with this equity.
    Day { day: NaiveDate, equity: Decimal },
    /// The equity reached a new peak, at least 0.1 % above the one recorded last.
    Peak { equity: Decimal },
    /// An operator paused the bot: no new positions until [`LedgerEntry::Resumed`].
    Paused { reason: String },
    /// An operator ended the pause.
    Resumed { reason: String },
    /// A limit on losses was reached and the risk breaker opened.
    Tripped { source: String, reason: String },
    /// An operator closed the risk breaker; losses are counted from these values on.
    Reset { reason: String, daily_pl: Decimal, equity: Decimal },
    /// The answer to a command, so that repeating its id gives the same answer and has no second effect.
    Command {
        verb: Verb,
        #[serde(deserialize_with = "read_result")]
        result: Box<CommandResult>,
    },
}

impl LedgerEntry {
    /// Whether an event tells of it: what happens to an order.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Self::Placed(_) | Self::Refused { .. } | Self::Filled(_) | Self::Cancelled { .. })
    }
}

/// A tagged enum is buffered while it is read, and an amount is read by its text: from JSON alone, not from a buffer.
fn read_result<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<CommandResult>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    serde_json::from_value(value).map(Box::new).map_err(serde::de::Error::custom)
}

/// What an order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderPurpose {
    /// Opens a position.
    Entry,
    /// Takes the profit of a position at its target.
    Target,
    /// Closes a position because the strategy's stop, target, trend or time limit says so.
    Exit,
    /// Closes a position on an operator's command.
    Flatten,
}

/// An order as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlacedOrder {
    pub order_id: String,
    pub client_order_id: String,
    pub symbol: String,
    pub side: Side,
    pub order_type: OrderType,
    pub quantity: Decimal,
    pub limit_price: Option<Decimal>,
    pub purpose: OrderPurpose,
    /// The strategy's or the operator's reason, one sentence.
    pub reason: String,
    /// The last price when the order was decided, which slippage can be compared with.
    pub decided_price: Decimal,
    pub stop_price: Option<Decimal>,
    pub target_price: Option<Decimal>,
    pub config_sha256: String,
    pub market_at: DateTime<Utc>,
}

/// A fill. Its id is made of the order's id and a number, so that a fill recorded twice is noticed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderFill {
    pub fill_id: String,
    pub order_id: String,
    pub symbol: String,
    pub side: Side,
    pub quantity: Decimal,
    pub price: Decimal,
    pub commission: Decimal,
    /// How much worse the fill is than the market price at that moment, for all its shares, in account currency.
    pub slippage: Decimal,
    pub market_at: DateTime<Utc>,
}

/// The first amount of a ledger line that no account can have; `None` when all may be.
pub(crate) fn entry_fault(entry: &LedgerEntry) -> Option<String> {
    match entry {
        LedgerEntry::Opened { cash, .. } => cash_fault(*cash),
        LedgerEntry::Placed(order) | LedgerEntry::Refused { order, .. } => order_fault(order),
        LedgerEntry::Filled(fill) => fill_fault(fill),
        LedgerEntry::Day { equity, .. } | LedgerEntry::Peak { equity } => money_fault("equity", *equity),
        LedgerEntry::Reset { daily_pl, equity, .. } => {
            money_fault("daily_pl", *daily_pl).or_else(|| money_fault("equity", *equity))
        }
        LedgerEntry::Started { .. }
        | LedgerEntry::Stopped { .. }
        | LedgerEntry::Cancelled { .. }
        | LedgerEntry::Paused { .. }
        | LedgerEntry::Resumed { .. }
        | LedgerEntry::Tripped { .. }
        | LedgerEntry::Command { .. } => None,
    }
}

fn order_fault(order: &PlacedOrder) -> Option<String> {
    // What is computed from a price may be rounded to zero, or an offset may be larger than the price.
    let computed = [
        ("limit_price", order.limit_price),
        ("stop_price", order.stop_price),
        ("target_price", order.target_price),
    ];
    quantity_fault(order.quantity)
        .or_else(|| price_fault("decided_price", order.decided_price))
        .or_else(|| computed.into_iter().find_map(|(name, price)| money_fault(name, price?)))
}

fn fill_fault(fill: &OrderFill) -> Option<String> {
    quantity_fault(fill.quantity)
        .or_else(|| price_fault("price", fill.price).filter(|_| !fill.price.is_zero()))
        .or_else(|| money_fault("commission", fill.commission))
        .or_else(|| money_fault("slippage", fill.slippage))
}
