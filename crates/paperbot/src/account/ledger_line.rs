//! The lines of the ledger: what can happen to the account, and how it is written down.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};

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
