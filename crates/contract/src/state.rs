//! `GET state`: everything a bot reports about itself, in one answer.
//!
//! Money, prices and quantities are decimal strings; counts, seconds and ratios are numbers; names ending in
//! `_pct` are percentages (1.36 means 1.36 %). A value the bot does not know is `null`, never a guess.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{SemanticError, Severity, TradingMode, TrialState, VersionRef};

/// What the bot's loop is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum BotPhase {
    /// The bot is still starting: no orders yet.
    Starting,
    /// The bot trades by its strategy.
    Running,
    /// The loop runs, but something keeps the bot from opening positions (session, breaker, feed).
    Degraded,
    /// An operator paused the bot: it closes positions and opens none.
    Paused,
    /// The process is about to end.
    Stopping,
}

/// Balances of the trading account, in its currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Account {
    /// What new positions may cost; money reserved for resting orders is taken off already.
    pub buying_power: Decimal,
    /// Equity: cash plus the market value of positions.
    pub account_balance: Decimal,
    /// Cash, reservations for resting orders included.
    pub cash_balance: Decimal,
    /// Day trades in the last five trading days, as the broker counts them; `null` where the broker does not report
    /// them.
    pub day_trade_count: Option<u32>,
    /// When these numbers last changed or were confirmed.
    pub last_updated: DateTime<Utc>,
}

/// One open position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Position {
    /// Symbol of the instrument, such as `SPY`.
    pub symbol: String,
    /// Shares; negative means short.
    pub quantity: Decimal,
    /// Average price per share of the fills that opened it.
    pub entry_price: Decimal,
    /// Last price per share from the feed; `null` when there was none yet.
    pub current_price: Option<Decimal>,
    /// (current − entry) × quantity; `null` without a price.
    pub unrealized_pl: Option<Decimal>,
    /// `unrealized_pl` as a percentage of the cost; `null` without a price.
    pub unrealized_pl_pct: Option<Decimal>,
    /// Price at which the bot closes the position to limit the loss; `null` when none is set.
    #[serde(default)]
    pub stop_price: Option<Decimal>,
    /// Price at which the bot closes the position to take the profit; `null` when none is set.
    #[serde(default)]
    pub target_price: Option<Decimal>,
    /// When price or quantity last changed.
    pub last_updated: DateTime<Utc>,
}

/// Direction of an order or a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Side {
    /// Opens or adds to a long position, or closes a short one.
    Buy,
    /// Closes a long position or part of it, or opens a short one.
    Sell,
}

/// At which price an order may be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum OrderType {
    /// At the next price, whatever it is.
    Market,
    /// At `limit_price` or better; rests until then.
    Limit,
}

/// How far an order has got. `FILLED`, `CANCELLED` and `REJECTED` are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Accepted; nothing is filled yet.
    Pending,
    /// Part of the quantity is filled; the rest still rests.
    PartiallyFilled,
    /// The whole quantity is filled.
    Filled,
    /// Cancelled; part of it may have been filled before.
    Cancelled,
    /// Refused; nothing was filled.
    Rejected,
}

/// One order, open or recent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// Id that the bot or its broker gave the order.
    pub id: String,
    /// The idempotency key that the order was sent with; empty when it had none.
    #[serde(default)]
    pub client_order_id: String,
    /// Symbol of the instrument, such as `SPY`.
    pub symbol: String,
    /// Whether it buys or sells.
    pub side: Side,
    /// At which price it may be filled.
    pub order_type: OrderType,
    /// Ordered quantity in shares; the direction is in `side`.
    pub quantity: Decimal,
    /// Quantity filled so far, in shares.
    #[serde(default)]
    pub filled_quantity: Decimal,
    /// The limit per share; `null` for a market order.
    #[serde(default)]
    pub limit_price: Option<Decimal>,
    /// Average price per share of the filled quantity; `null` when nothing is filled.
    #[serde(default)]
    pub average_fill_price: Option<Decimal>,
    /// How far it has got.
    pub status: OrderStatus,
    /// Why it was refused or cancelled, for people; `null` otherwise.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// When the bot sent it.
    pub created_at: DateTime<Utc>,
    /// When its status or its filled quantity last changed.
    pub updated_at: DateTime<Utc>,
}

/// Whether the newest closed trades were won or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum StreakType {
    /// The newest closed trade that was not breakeven was a win.
    Win,
    /// The newest closed trade that was not breakeven was a loss.
    Loss,
    /// No closed trade yet.
    None,
}

/// Results of the closed trades and the open positions, since the bot's first trade unless a field says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Performance {
    /// Wins ÷ closed trades, 0 to 1 (breakeven counts as closed); `null` without a closed trade.
    pub win_rate: Option<f64>,
    /// Mean of (target − entry) ÷ (entry − stop) over trades that have both; `null` without one.
    pub avg_risk_reward: Option<f64>,
    /// Everything that is gained or lost for good: the closed trades' net profit and loss, and of open positions what
    /// partial exits brought and the commissions that are paid already.
    pub total_realized_pl: Decimal,
    /// Sum of the open positions' `unrealized_pl`, before commissions; positions without a price are left out.
    pub total_unrealized_pl: Decimal,
    /// `total_realized_pl` plus `total_unrealized_pl`: equity now minus the balance that the account was opened with.
    /// Commissions count when they are paid, at the entry and at the exit.
    pub total_pl: Decimal,
    /// Equity now minus equity when the trading day began, by the same rule as `total_pl`.
    pub daily_pl: Decimal,
    /// Number of wins or losses in a row, counted from the newest trade backwards.
    pub current_streak: u32,
    /// Whether `current_streak` counts wins or losses.
    pub streak_type: StreakType,
    /// Number of trades closed on the current New York trading day.
    pub trades_today: u32,
    /// Number of starts of the bot's process in which a trade was closed.
    pub session_count: u32,
    /// Lowest value of (cumulative realized net profit − its highest value before), in account currency; at most 0.
    pub max_drawdown: Decimal,
    /// When these numbers were computed.
    pub as_of: DateTime<Utc>,
}

/// Whether the market's regular trading session is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum MarketStatus {
    /// The regular trading session is running.
    Open,
    /// No regular session is running; prices may still move outside of it.
    Closed,
}

/// State of the market and of the price feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MarketState {
    /// Whether the regular trading session is running.
    pub status: MarketStatus,
    /// Part of the trading day: `closed`, `pre`, `core` (the regular session), `post` or `overnight`; `simulated` for a
    /// simulated market.
    pub phase: String,
    /// Where prices come from: `simulated`, `replay` or a broker's name.
    pub source: String,
    /// When the last price arrived; `null` before the first one.
    pub last_price_at: Option<DateTime<Utc>>,
    /// Time of the last price in market time. Lies in the past while the bot replays prices.
    pub market_time: Option<DateTime<Utc>>,
    /// Start of the next regular session; `null` when the bot does not know it.
    #[serde(default)]
    pub next_open: Option<DateTime<Utc>>,
    /// End of the current regular session, or else of the next one; `null` when the bot does not know it.
    #[serde(default)]
    pub next_close: Option<DateTime<Utc>>,
}

/// State of the broker session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionPhase {
    /// No check has finished yet.
    Starting,
    /// A recent authenticated call to the broker succeeded.
    Healthy,
    /// A check failed, or the last success is too old: orders that add exposure are refused.
    Degraded,
    /// The bot is signing in to the broker again.
    Reauthenticating,
    /// The breaker is open after transient failures. It closes by itself with paper money; with real money it waits
    /// for an operator.
    HaltedTransient,
    /// The broker refused the credentials, or a human must approve: nothing is retried.
    HaltedCredential,
    /// An operator halted trading; it stays so until the breaker is reset.
    HaltedOperator,
    /// A state that this version of botops does not know, or none.
    #[serde(other)]
    Unknown,
}

/// Why the check before each order (the gate) allows or refuses it. The list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GateReason {
    /// Allowed: a recent check of the session succeeded.
    Ok,
    /// Allowed although the session is degraded, because the order reduces exposure.
    ReducingAllowed,
    /// No check has finished yet.
    SessionStarting,
    /// The last successful check is too old (10 s for paperbot), and no new one has succeeded yet.
    EvidenceStale,
    /// The last check of the session failed.
    SessionDegraded,
    /// The bot is signing in to the broker again.
    Reauthenticating,
    /// The circuit breaker is open.
    BreakerOpen,
    /// The broker refused the credentials; nothing is retried until they are renewed.
    CredentialsRejected,
    /// The sign-in waits for a person to approve it.
    AwaitingHuman,
    /// The broker asked the bot to send fewer requests.
    RateLimited,
    /// The broker does not let the account open positions.
    AccountRestricted,
    /// An operator halted or paused trading.
    OperatorHalt,
    /// The market is closed.
    MarketClosed,
    /// The part of the bot that checks the session stopped doing so.
    MonitorStale,
}

/// The broker session as the bot sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// The broker's name, such as `paper`, `alpaca` or `robinhood`.
    pub broker: String,
    /// State of the session.
    pub state: SessionPhase,
    /// Why the session is in this state, in one sentence; `null` when healthy.
    pub reason: Option<String>,
    /// The `BRK_NNN` code behind `reason`; `null` when healthy.
    #[serde(default)]
    pub error_code: Option<String>,
    /// True exactly when the session itself does not keep the bot from opening positions.
    pub is_healthy: bool,
    /// When the session entered this state.
    pub since: DateTime<Utc>,
    /// Whether an order that adds exposure would be allowed now (`ok`), and if not, why.
    pub gate: GateReason,
    /// When an order that `gate` refuses now may pass without anybody's help: the bot then checks, signs in or calls the
    /// broker again by itself, or the market opens.
    ///
    /// An instant that does not move while the bot waits. `null` when `gate` is `ok`, when no time is known, and
    /// always when a person must act: never given together with `needs_human`.
    #[serde(default)]
    pub resumes_at: Option<DateTime<Utc>>,
    /// Seconds from the report's `as_of` until `resumes_at`: it counts down. `null` when that is.
    #[serde(default)]
    pub retry_after_s: Option<f64>,
    /// When this process of the bot began its session.
    pub session_start_time: DateTime<Utc>,
    /// Seconds since `session_start_time`.
    pub session_uptime_seconds: f64,
    /// When the session was last checked, whatever the outcome; `null` before the first check.
    pub last_health_check: Option<DateTime<Utc>>,
    /// When an authenticated call to the broker last succeeded; `null` when none ever has. A later failure, a refusal or
    /// a sign-in does not take it back.
    pub last_ok: Option<DateTime<Utc>>,
    /// Duration of the last check in milliseconds; `null` before the first one.
    #[serde(default)]
    pub last_latency_ms: Option<f64>,
    /// Number of checks since the start of the process.
    pub health_check_count: u64,
    /// Number of successful sign-ins since the start of the process.
    pub reauth_count: u64,
    /// Number of failed checks in a row; 0 after a success.
    pub consecutive_failures: u32,
    /// Sign-in attempts the bot still allows itself within 24 h, restarts included; `null` when it has no such limit.
    #[serde(default)]
    pub reauth_budget_left: Option<u32>,
    /// When the broker's access token expires; `null` when unknown or not used.
    #[serde(default)]
    pub token_expires_at: Option<DateTime<Utc>>,
    /// When the next check or sign-in is due; `null` when none is planned. In a wait that the broker asked for, it is
    /// the instant of `resumes_at`.
    #[serde(default)]
    pub next_check_at: Option<DateTime<Utc>>,
    /// The broker's clock minus the bot's, in seconds; `null` when the broker's time was not seen yet.
    #[serde(default)]
    pub clock_skew_seconds: Option<f64>,
    /// What a person has to do before the session can recover: `approve_device`, `enter_code`, `renew_credentials`,
    /// `repair_token_store` or `reset_breaker`; `null` when waiting is enough. Never given together with `resumes_at`.
    #[serde(default)]
    pub needs_human: Option<String>,
}

/// State of the circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Orders pass; nothing is wrong.
    Closed,
    /// Orders that add exposure are refused.
    Open,
    /// One probe is let through; its outcome closes or opens the breaker.
    HalfOpen,
}

/// The circuit breaker, which refuses orders that add exposure after failures or losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Breaker {
    /// Whether orders that add exposure pass.
    pub state: BreakerState,
    /// Why it opened, in one sentence; `null` when closed.
    pub reason: Option<String>,
    /// When it entered this state.
    pub since: DateTime<Utc>,
    /// What opened it: `session`, `daily_loss`, `max_drawdown`, `consecutive_losses` or `operator`; `null` when closed.
    #[serde(default)]
    pub source: Option<String>,
    /// Failures of the session that count towards opening it, or that opened it.
    #[serde(default)]
    pub failure_count: u32,
    /// When the bot by itself next tries to close it; `null` when it is closed, when no time is known, and always when a
    /// person must act: never given together with `needs_human`. The same instant as the session's `resumes_at` where
    /// the session opened it.
    #[serde(default)]
    pub resumes_at: Option<DateTime<Utc>>,
    /// The same instant as `resumes_at`, under its older name.
    #[serde(default)]
    pub retry_at: Option<DateTime<Utc>>,
    /// What a person has to do before it can close, in the words of the session's `needs_human`; `null` when it is
    /// closed or waiting is enough.
    #[serde(default)]
    pub needs_human: Option<String>,
}

/// The few config values that are shown beside the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigSummary {
    /// Whether the bot's orders move real money.
    pub mode: TradingMode,
    /// Largest position as a percentage of equity.
    pub max_position_size_pct: f64,
    /// Daily profit and loss, in account currency, at which the bot stops for the day; at most 0.
    pub daily_loss_limit: Decimal,
}

/// The config versions of the bot: in force, committed and under trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunningConfig {
    /// The version in force now: the candidate during a trial.
    pub running: VersionRef,
    /// The version a restart would load.
    pub committed: VersionRef,
    /// The trial that runs; `null` when none does.
    #[serde(default)]
    pub trial: Option<TrialState>,
    /// JSON pointers to fields whose new value takes effect only after a restart.
    #[serde(default)]
    pub pending_restart: Vec<String>,
    /// A few values of the config in force.
    pub summary: ConfigSummary,
}

/// Timing of the trading loop. Measured by the bot, so that a loop that botops slows down would show here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoopStats {
    /// Number of ticks since the start of the process.
    pub ticks: u64,
    /// How late the last 1,000 ticks began: median, in milliseconds.
    pub tick_delay_p50_ms: f64,
    /// How late the last 1,000 ticks began: 99th percentile, in milliseconds.
    pub tick_delay_p99_ms: f64,
    /// How late the last 1,000 ticks began: the worst, in milliseconds.
    pub tick_delay_max_ms: f64,
    /// When the loop last finished a tick; `null` before the first one.
    pub last_tick_at: Option<DateTime<Utc>>,
    /// Longest time in seconds that the loop should take between two ticks.
    ///
    /// A loop that is much later is reported as stopped, which is a fault of the bot. Without this value, 60 s without
    /// a tick are a warning.
    #[serde(default)]
    pub expected_interval_s: Option<f64>,
    /// Number of orders refused in the last hour.
    #[serde(default)]
    pub order_rejects_last_hour: u32,
}

/// `GET state`: the whole state in one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BotReport {
    /// Grows with every change the bot publishes; begins anew with each start of its process.
    pub seq: u64,
    /// Identifies the process that answers; a new value at each start.
    pub boot_epoch: String,
    /// The moment that all values of this answer describe.
    pub as_of: DateTime<Utc>,
    /// Whether the bot's orders move real money.
    pub mode: TradingMode,
    /// What the bot's loop is doing.
    pub phase: BotPhase,
    /// Why the bot is in this phase, for people; `null` when it is simply running.
    #[serde(default)]
    pub phase_reason: Option<String>,
    /// Whether new positions may be opened.
    pub trading_enabled: bool,
    /// Balances of the trading account.
    pub account: Account,
    /// Open positions, in the bot's own order.
    #[serde(default)]
    pub positions: Vec<Position>,
    /// Open and recent orders, newest first.
    #[serde(default)]
    pub orders: Vec<Order>,
    /// Results of the trades so far.
    pub performance: Performance,
    /// State of the market and of the price feed.
    pub market: MarketState,
    /// The broker session; `null` when the bot has none.
    #[serde(default)]
    pub session: Option<Session>,
    /// State of the circuit breaker, with what opened it.
    pub circuit_breaker: Breaker,
    /// The config in force, committed and under trial.
    pub config: RunningConfig,
    /// The most recent failures, newest first, at most 50.
    #[serde(default)]
    pub recent_errors: Vec<SemanticError>,
    /// Number of failures in the last hour; may exceed the length of `recent_errors`.
    #[serde(default)]
    pub error_count_last_hour: u32,
    /// Severity of the worst failure in the last hour; `null` when there was none.
    #[serde(default)]
    pub worst_error_last_hour: Option<Severity>,
    /// When an order was last filled; `null` when none ever was.
    #[serde(default)]
    pub last_trade_at: Option<DateTime<Utc>>,
    /// Names of the conditions that keep the bot from opening positions now; empty when it could.
    #[serde(default)]
    pub no_entry_reasons: Vec<String>,
    /// Timing of the trading loop.
    #[serde(rename = "loop", default)]
    pub loop_stats: LoopStats,
}

/// How a closed trade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TradeOutcome {
    /// Net profit above zero.
    Win,
    /// Net profit below zero.
    Loss,
    /// Net profit of exactly zero.
    Breakeven,
}

/// One closed trade (a position from its opening to its closing) of `GET trades`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trade {
    /// Grows by one per closed trade, across restarts: the cursor of `GET trades`.
    pub seq: u64,
    /// Id that the bot gave the trade.
    pub id: String,
    /// Symbol of the instrument, such as `SPY`.
    pub symbol: String,
    /// `BUY` for a long trade, `SELL` for a short one.
    pub side: Side,
    /// Quantity in shares; the direction is in `side`.
    pub quantity: Decimal,
    /// Average price per share of the fills that opened it.
    pub entry_price: Decimal,
    /// Average price per share of the fills that closed it.
    pub exit_price: Decimal,
    /// When it was opened. In a replay this is market time.
    pub opened_at: DateTime<Utc>,
    /// When it was closed. In a replay this is market time.
    pub closed_at: DateTime<Utc>,
    /// Stop price at entry; `null` when none was set.
    #[serde(default)]
    pub stop_price: Option<Decimal>,
    /// Target price at entry; `null` when none was set.
    #[serde(default)]
    pub target_price: Option<Decimal>,
    /// Profit or loss before commission, in account currency.
    pub gross_pl: Decimal,
    /// Commission of all its fills, in account currency.
    pub commission: Decimal,
    /// Profit or loss after commission (`gross_pl` − `commission`).
    pub net_pl: Decimal,
    /// Whether `net_pl` is above, below or exactly zero.
    pub outcome: TradeOutcome,
    /// Why the strategy opened it; empty when it gave no reason.
    #[serde(default)]
    pub entry_reason: String,
    /// Why the strategy closed it; empty when it gave no reason.
    #[serde(default)]
    pub exit_reason: String,
    /// Identifies the process that closed it (see `boot_epoch` of the state).
    pub boot_epoch: String,
    /// SHA-256 of the config document under which it was opened; empty when unknown.
    #[serde(default)]
    pub config_sha256: String,
}

/// A page of `GET trades?after=&from=&to=&limit=`, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TradePage {
    /// Trades with `seq` above `after`.
    pub items: Vec<Trade>,
    /// Value of `after` for the next page; `null` when this page is the last.
    pub next: Option<u64>,
}
