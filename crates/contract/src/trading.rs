//! The trading side of a report: account, positions, orders, results, closed trades.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::words::closed_words;

/// Balances of the trading account, in its currency. `null` is what the bot does not report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Account {
    /// Names the account. A new one is a new account: what was earned in the one before is not added to it.
    #[serde(
        default,
        deserialize_with = "crate::tolerance::optional_text_or_digits",
        skip_serializing_if = "Option::is_none"
    )]
    pub account_id: Option<String>,
    /// The currency of every amount that names none, such as `USD` or `USDT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// What new positions may cost; money reserved for resting orders is taken off already.
    pub buying_power: Option<Amount>,
    /// Equity: cash plus the market value of positions.
    pub account_balance: Option<Amount>,
    /// Cash, reservations for resting orders included.
    pub cash_balance: Option<Amount>,
    /// Day trades in the last five trading days, as the broker counts them; `null` where the broker does not report
    /// them.
    pub day_trade_count: Option<u32>,
    /// When these numbers last changed or were confirmed.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub last_updated: Option<DateTime<Utc>>,
}

/// One open position.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Position {
    /// Symbol of the instrument, such as `SPY` or `BTC/USDT:USDT-261225`: any text of up to 64
    /// characters. Empty when the bot does not say, which is named.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub symbol: String,
    /// Units; negative means short.
    #[serde(default)]
    pub quantity: Option<Amount>,
    /// Average price per unit of the fills that opened it.
    #[serde(default)]
    pub entry_price: Option<Amount>,
    /// Last price per unit from the feed; `null` when there was none yet.
    #[serde(default)]
    pub current_price: Option<Amount>,
    /// (current − entry) × quantity; `null` without a price.
    #[serde(default)]
    pub unrealized_pl: Option<Amount>,
    /// `unrealized_pl` as a percentage of the cost; `null` without a price.
    #[serde(default)]
    pub unrealized_pl_pct: Option<Amount>,
    /// Price at which the bot closes the position to limit the loss; `null` when none is set.
    #[serde(default)]
    pub stop_price: Option<Amount>,
    /// Price at which the bot closes the position to take the profit; `null` when none is set.
    #[serde(default)]
    pub target_price: Option<Amount>,
    /// How many times its margin the position is worth; left out where there is no leverage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leverage: Option<Amount>,
    /// Price at which the exchange closes it by force; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liquidation_price: Option<Amount>,
    /// Funding fees so far, in account currency; negative was paid. Left out where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub funding: Option<Amount>,
    /// What the closing of parts of it has brought so far, after fees: it belongs to no closed trade yet. Left out where
    /// no part was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realized_pl: Option<Amount>,
    /// When price or quantity last changed.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub last_updated: Option<DateTime<Utc>>,
}

closed_words! {
    /// Direction of an order or a fill.
    #[derive(Default)]
    pub enum Side {
        /// Opens or adds to a long position, or closes a short one.
        Buy = "BUY",
        /// Closes a long position or part of it, or opens a short one.
        Sell = "SELL",
        /// A word that is not in this list; it stands in `side_raw`.
        #[default]
        Other = "OTHER",
    }
}

closed_words! {
    /// At which price an order may be filled.
    #[derive(Default)]
    pub enum OrderType {
        /// At the next price, whatever it is.
        Market = "MARKET",
        /// At `limit_price` or better; rests until then.
        Limit = "LIMIT",
        /// A market order from the moment that the stop price is reached.
        Stop = "STOP",
        /// A limit order from the moment that the stop price is reached.
        StopLimit = "STOP_LIMIT",
        /// A stop whose price follows the market.
        TrailingStop = "TRAILING_STOP",
        /// A word that is not in this list; it stands in `order_type_raw`.
        #[default]
        Other = "OTHER",
    }
}

closed_words! {
    /// How far an order has got. `FILLED`, `CANCELLED`, `REJECTED` and `EXPIRED` are final.
    #[derive(Default)]
    pub enum OrderStatus {
        /// Accepted; nothing is filled yet.
        Pending = "PENDING",
        /// Part of the quantity is filled; the rest still rests.
        PartiallyFilled = "PARTIALLY_FILLED",
        /// The whole quantity is filled.
        Filled = "FILLED",
        /// Cancelled; part of it may have been filled before.
        Cancelled = "CANCELLED",
        /// Refused; nothing was filled.
        Rejected = "REJECTED",
        /// Its time ended before it was filled whole.
        Expired = "EXPIRED",
        /// The bot does not know how far it has got.
        Unknown = "UNKNOWN",
        /// A word that is not in this list; it stands in `status_raw`.
        #[default]
        Other = "OTHER",
    }
}

/// One order, open or recent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// Id that the bot or its broker gave the order; empty when it does not say.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub id: String,
    /// The idempotency key that the order was sent with; empty when it had none.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub client_order_id: String,
    /// Symbol of the instrument, such as `SPY`.
    #[serde(default, deserialize_with = "crate::tolerance::optional_text_or_digits")]
    pub symbol: Option<String>,
    /// Whether it buys or sells.
    #[serde(default)]
    pub side: Option<Side>,
    /// The bot's own word for the side, where `side` is `OTHER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side_raw: Option<String>,
    /// At which price it may be filled.
    #[serde(default)]
    pub order_type: Option<OrderType>,
    /// The bot's own word for the kind of order, where `order_type` is `OTHER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_type_raw: Option<String>,
    /// Ordered quantity in units; the direction is in `side`.
    #[serde(default)]
    pub quantity: Option<Amount>,
    /// Quantity filled so far, in units.
    #[serde(default)]
    pub filled_quantity: Option<Amount>,
    /// The limit per unit; `null` for a market order.
    #[serde(default)]
    pub limit_price: Option<Amount>,
    /// The price per unit at which a stop order begins to act; left out for other orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_price: Option<Amount>,
    /// Average price per unit of the filled quantity; `null` when nothing is filled.
    #[serde(default)]
    pub average_fill_price: Option<Amount>,
    /// How far it has got.
    #[serde(default)]
    pub status: Option<OrderStatus>,
    /// The bot's own word for the status, where `status` is `OTHER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_raw: Option<String>,
    /// Why it was refused or cancelled, for people; `null` otherwise.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// When the bot sent it.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub created_at: Option<DateTime<Utc>>,
    /// When its status or its filled quantity last changed.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub updated_at: Option<DateTime<Utc>>,
}

impl Order {
    /// Whether the order is known to be open: accepted, and not filled whole.
    pub fn may_still_fill(&self) -> bool {
        matches!(self.status, Some(OrderStatus::Pending | OrderStatus::PartiallyFilled))
    }
}

closed_words! {
    /// Whether the newest closed trades were won or lost.
    #[derive(Default)]
    pub enum StreakType {
        /// The newest closed trade that was not breakeven was a win.
        Win = "WIN",
        /// The newest closed trade that was not breakeven was a loss.
        Loss = "LOSS",
        /// No closed trade yet.
        None = "NONE",
        /// A word that is not in this list; it stands in `streak_type_raw`.
        #[default]
        Other = "OTHER",
    }
}

/// Results of the closed trades and the open positions, since the bot's first trade unless a field says otherwise.
/// `null` is what the bot does not report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Performance {
    /// Wins ÷ closed trades, 0 to 1 (breakeven counts as closed); `null` without a closed trade.
    pub win_rate: Option<f64>,
    /// Mean of (target − entry) ÷ (entry − stop) over trades that have both; `null` without one.
    pub avg_risk_reward: Option<f64>,
    /// Everything that is gained or lost for good: the closed trades' net profit and loss, and of open positions what
    /// partial exits brought and the commissions that are paid already.
    pub total_realized_pl: Option<Amount>,
    /// Sum of the open positions' `unrealized_pl`, before commissions; positions without a price are left out.
    pub total_unrealized_pl: Option<Amount>,
    /// `total_realized_pl` plus `total_unrealized_pl`: equity now minus the balance that the account was opened with.
    /// Commissions count when they are paid, at the entry and at the exit.
    pub total_pl: Option<Amount>,
    /// Equity now minus equity when the bot's trading day began, by the same rule as `total_pl`.
    pub daily_pl: Option<Amount>,
    /// Number of wins or losses in a row, counted from the newest trade backwards.
    pub current_streak: Option<u32>,
    /// Whether `current_streak` counts wins or losses.
    pub streak_type: Option<StreakType>,
    /// The bot's own word for the kind of streak, where `streak_type` is `OTHER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streak_type_raw: Option<String>,
    /// Number of trades closed on the bot's current trading day.
    pub trades_today: Option<u32>,
    /// Number of starts of the bot's process in which a trade was closed.
    pub session_count: Option<u32>,
    /// Lowest value of (cumulative realized net profit − its highest value before), in account currency; at most 0.
    pub max_drawdown: Option<Amount>,
    /// When these numbers were computed.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub as_of: Option<DateTime<Utc>>,
}

closed_words! {
    /// How a closed trade ended.
    #[derive(Default)]
    pub enum TradeOutcome {
        /// Net profit above zero.
        Win = "win",
        /// Net profit below zero.
        Loss = "loss",
        /// Net profit of exactly zero.
        Breakeven = "breakeven",
        /// A word that is not in this list; it stands in `outcome_raw`.
        #[default]
        Other = "other",
    }
}

/// One closed trade (a position from its opening to its closing) of `GET trades`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trade {
    /// Grows by one per closed trade, across restarts: the cursor of `GET trades`.
    #[serde(deserialize_with = "crate::tolerance::sequence_number")]
    pub seq: u64,
    /// Id that the bot gave the trade.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub id: String,
    /// The account that it was made in (see [`Account::account_id`]); left out by a bot that has one account.
    #[serde(
        default,
        deserialize_with = "crate::tolerance::optional_text_or_digits",
        skip_serializing_if = "Option::is_none"
    )]
    pub account_id: Option<String>,
    /// Symbol of the instrument, such as `SPY`.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub symbol: String,
    /// `BUY` for a long trade, `SELL` for a short one.
    #[serde(default)]
    pub side: Option<Side>,
    /// The bot's own word for the side, where `side` is `OTHER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side_raw: Option<String>,
    /// Quantity in units; the direction is in `side`.
    #[serde(default)]
    pub quantity: Option<Amount>,
    /// Average price per unit of the fills that opened it.
    #[serde(default)]
    pub entry_price: Option<Amount>,
    /// Average price per unit of the fills that closed it.
    #[serde(default)]
    pub exit_price: Option<Amount>,
    /// When it was opened. In a replay this is market time.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub opened_at: Option<DateTime<Utc>>,
    /// When it was closed. In a replay this is market time.
    #[serde(deserialize_with = "crate::tolerance::plain_time")]
    pub closed_at: DateTime<Utc>,
    /// Stop price at entry; `null` when none was set.
    #[serde(default)]
    pub stop_price: Option<Amount>,
    /// Target price at entry; `null` when none was set.
    #[serde(default)]
    pub target_price: Option<Amount>,
    /// Profit or loss before commission, in account currency.
    #[serde(default)]
    pub gross_pl: Option<Amount>,
    /// Commission of all its fills, in account currency.
    #[serde(default)]
    pub commission: Option<Amount>,
    /// Profit or loss after commission (`gross_pl` − `commission`).
    #[serde(default)]
    pub net_pl: Option<Amount>,
    /// Whether `net_pl` is above, below or exactly zero.
    #[serde(default)]
    pub outcome: Option<TradeOutcome>,
    /// The bot's own word for the outcome, where `outcome` is `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome_raw: Option<String>,
    /// Why the strategy opened it; empty when it gave no reason.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub entry_reason: String,
    /// Why the strategy closed it; empty when it gave no reason.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub exit_reason: String,
    /// Identifies the process that closed it (see `boot_epoch` of the state); empty when unknown.
    #[serde(default, deserialize_with = "crate::tolerance::text_or_digits")]
    pub boot_epoch: String,
    /// SHA-256 of the config document under which it was opened; empty when unknown.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub config_sha256: String,
}

/// A page of `GET trades?after=&from=&to=&limit=`, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TradePage {
    /// Trades with `seq` above `after`.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub items: Vec<Trade>,
    /// Value of `after` for the next page; `null` when this page is the last.
    #[serde(default, deserialize_with = "crate::tolerance::optional_whole_number")]
    pub next: Option<u64>,
}
