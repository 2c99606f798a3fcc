//! `GET state`: everything a bot says about itself, in one answer.
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
    /// Not ready to trade yet.
    Starting,
    /// Trading by its rules.
    Running,
    /// Running, but something keeps it from opening positions (session, breaker, feed).
    Degraded,
    /// An operator paused it: exits only.
    Paused,
    /// On its way out.
    Stopping,
}

/// Money in the account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Account {
    /// What may be spent on new positions, after reservations for resting orders.
    pub buying_power: Decimal,
    /// Equity: cash plus the market value of positions.
    pub account_balance: Decimal,
    /// Cash of the account, in its currency.
    pub cash_balance: Decimal,
    /// Day trades in the last five days; `null` where the broker no longer reports them.
    pub day_trade_count: Option<u32>,
    /// When these numbers last changed or were confirmed.
    pub last_updated: DateTime<Utc>,
}

/// One open position. Quantity is negative for a short position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Position {
    /// The instrument.
    pub symbol: String,
    /// Shares; negative means short.
    pub quantity: Decimal,
    /// Average price paid.
    pub entry_price: Decimal,
    /// Last price seen; `null` when the feed never gave one.
    pub current_price: Option<Decimal>,
    /// (current − entry) × quantity; `null` without a price.
    pub unrealized_pl: Option<Decimal>,
    /// The same as a percentage of the cost.
    pub unrealized_pl_pct: Option<Decimal>,
    /// Price at which the bot gives up the position, if it has one.
    #[serde(default)]
    pub stop_price: Option<Decimal>,
    /// Price at which the bot takes its profit, if it has one.
    #[serde(default)]
    pub target_price: Option<Decimal>,
    /// When price or quantity last changed.
    pub last_updated: DateTime<Utc>,
}

/// Buy or sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Side {
    /// Buy.
    Buy,
    /// Sell.
    Sell,
}

/// Market or limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum OrderType {
    /// At the next price, with slippage.
    Market,
    /// At the limit or better.
    Limit,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Accepted, nothing filled.
    Pending,
    /// Some of it filled.
    PartiallyFilled,
    /// All of it filled.
    Filled,
    /// Cancelled, with or without fills before.
    Cancelled,
    /// Refused; nothing was filled.
    Rejected,
}

/// One order, open or recent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// The order's id.
    pub id: String,
    /// The idempotency key it was sent with.
    #[serde(default)]
    pub client_order_id: String,
    /// The instrument.
    pub symbol: String,
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// Shares ordered.
    pub quantity: Decimal,
    /// Shares filled so far.
    #[serde(default)]
    pub filled_quantity: Decimal,
    /// The limit of a limit order.
    #[serde(default)]
    pub limit_price: Option<Decimal>,
    /// Average price of what was filled.
    #[serde(default)]
    pub average_fill_price: Option<Decimal>,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it was refused or cancelled.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// When it was sent.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Which way the streak goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum StreakType {
    /// Wins in a row.
    Win,
    /// Losses in a row.
    Loss,
    /// No closed trade yet.
    None,
}

/// How trading went. Ratios are 0 to 1; drawdown is at most 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Performance {
    /// Wins ÷ closed trades (breakeven counts as closed); `null` without a closed trade.
    pub win_rate: Option<f64>,
    /// Mean of (target − entry) ÷ (entry − stop) over trades that have both; `null` without one.
    pub avg_risk_reward: Option<f64>,
    /// Sum of closed trades' net profit and loss.
    pub total_realized_pl: Decimal,
    /// Sum of open positions' profit and loss.
    pub total_unrealized_pl: Decimal,
    /// Realized plus unrealized.
    pub total_pl: Decimal,
    /// Realized today plus the change of unrealized since the New York day began.
    pub daily_pl: Decimal,
    /// Wins or losses in a row, newest backwards.
    pub current_streak: u32,
    /// Which way the streak goes.
    pub streak_type: StreakType,
    /// Trades closed on the New York trading day.
    pub trades_today: u32,
    /// Distinct lives of the bot that traded.
    pub session_count: u32,
    /// Lowest (cumulative − running peak) of realized net profit; at most 0.
    pub max_drawdown: Decimal,
    /// When these numbers were computed.
    pub as_of: DateTime<Utc>,
}

/// Whether the regular session is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum MarketStatus {
    /// The regular session is on.
    Open,
    /// It is not.
    Closed,
}

/// The market and the feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MarketState {
    /// Open or closed.
    pub status: MarketStatus,
    /// `closed`, `pre`, `core`, `post` or `overnight`; `simulated` when the market is.
    pub phase: String,
    /// Where prices come from: `simulated`, `replay` or a broker's name.
    pub source: String,
    /// When the last price arrived.
    pub last_price_at: Option<DateTime<Utc>>,
    /// The market's own time: differs from the clock in a replay.
    pub market_time: Option<DateTime<Utc>>,
    /// Start of the next regular session.
    #[serde(default)]
    pub next_open: Option<DateTime<Utc>>,
    /// End of the running or next regular session.
    #[serde(default)]
    pub next_close: Option<DateTime<Utc>>,
}

/// Where the broker session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionPhase {
    /// Not checked yet.
    Starting,
    /// A recent success proves it.
    Healthy,
    /// A check failed or evidence is old: no new exposure.
    Degraded,
    /// A new sign-in is under way.
    Reauthenticating,
    /// The breaker is open after transient failures; it retries by itself (paper) or waits (live).
    HaltedTransient,
    /// The broker refused the credentials, or a human must approve: nothing is retried.
    HaltedCredential,
    /// An operator halted it.
    HaltedOperator,
    /// The bot has no broker session to speak of.
    #[serde(other)]
    Unknown,
}

/// Why the pre-trade gate says no. The closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GateReason {
    /// Evidence is fresh: allowed.
    Ok,
    /// Allowed although the session is degraded, because the order reduces exposure.
    ReducingAllowed,
    /// No check has finished yet.
    SessionStarting,
    /// Evidence is older than 10 s and a fresh probe did not succeed in 2 s.
    EvidenceStale,
    /// The last check failed.
    SessionDegraded,
    /// A new sign-in is under way.
    Reauthenticating,
    /// The breaker is open.
    BreakerOpen,
    /// The broker refused the credentials.
    CredentialsRejected,
    /// A human must approve the sign-in.
    AwaitingHuman,
    /// The broker asked us to wait.
    RateLimited,
    /// The account may not open positions.
    AccountRestricted,
    /// An operator halted or paused trading.
    OperatorHalt,
    /// The market is closed.
    MarketClosed,
    /// The session monitor itself stopped reporting.
    MonitorStale,
}

/// The broker session as the bot knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// `paper`, `alpaca`, `robinhood`, …
    pub broker: String,
    /// Where it stands.
    pub state: SessionPhase,
    /// Why, in one sentence; `null` when healthy.
    pub reason: Option<String>,
    /// The `BRK_NNN` code behind the reason.
    #[serde(default)]
    pub error_code: Option<String>,
    /// True exactly when new positions could be opened as far as the session is concerned.
    pub is_healthy: bool,
    /// Since when it stands there.
    pub since: DateTime<Utc>,
    /// Whether the next order would pass the gate, and if not, why.
    pub gate: GateReason,
    /// When a refused order may be tried again.
    #[serde(default)]
    pub retry_after_s: Option<f64>,
    /// When the session began (this process).
    pub session_start_time: DateTime<Utc>,
    /// How long it has run.
    pub session_uptime_seconds: f64,
    /// The last check, whatever its outcome.
    pub last_health_check: Option<DateTime<Utc>>,
    /// The last authenticated success.
    pub last_ok: Option<DateTime<Utc>>,
    /// Latency of the last check.
    #[serde(default)]
    pub last_latency_ms: Option<f64>,
    /// Checks since start.
    pub health_check_count: u64,
    /// Successful sign-ins since start.
    pub reauth_count: u64,
    /// Failed checks in a row.
    pub consecutive_failures: u32,
    /// Sign-in attempts left in the stored 24 h budget.
    #[serde(default)]
    pub reauth_budget_left: Option<u32>,
    /// When the token ends, if known.
    #[serde(default)]
    pub token_expires_at: Option<DateTime<Utc>>,
    /// When the next check is due.
    #[serde(default)]
    pub next_check_at: Option<DateTime<Utc>>,
    /// The broker's clock minus ours, in seconds, when it was seen.
    #[serde(default)]
    pub clock_skew_seconds: Option<f64>,
    /// What a human has to do, when one must: `approve_device`, `enter_code`,
    /// `renew_credentials`, `repair_token_store`.
    #[serde(default)]
    pub needs_human: Option<String>,
}

/// The circuit breaker's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Orders pass.
    Closed,
    /// Orders that add exposure are refused.
    Open,
    /// One probe decides.
    HalfOpen,
}

/// The circuit breaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Breaker {
    /// Closed, open or half-open.
    pub state: BreakerState,
    /// Why it opened; `null` when closed.
    pub reason: Option<String>,
    /// Since when it stands there.
    pub since: DateTime<Utc>,
    /// What tripped it: `session`, `daily_loss`, `max_drawdown`, `consecutive_losses`, `operator`.
    #[serde(default)]
    pub source: Option<String>,
    /// Failures inside the window.
    #[serde(default)]
    pub failure_count: u32,
    /// When it lets a probe through by itself, if it does.
    #[serde(default)]
    pub retry_at: Option<DateTime<Utc>>,
}

/// The few config values worth seeing beside the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigSummary {
    /// Paper, live or backtest.
    pub mode: TradingMode,
    /// Largest position as a percentage of equity.
    pub max_position_size_pct: f64,
    /// Where the bot stops for the day; at most 0.
    pub daily_loss_limit: Decimal,
}

/// What config the bot runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunningConfig {
    /// In force now.
    pub running: VersionRef,
    /// What the bot would boot from.
    pub committed: VersionRef,
    /// The live trial, if one runs.
    #[serde(default)]
    pub trial: Option<TrialState>,
    /// JSON pointers that wait for a restart.
    #[serde(default)]
    pub pending_restart: Vec<String>,
    /// The values worth seeing.
    pub summary: ConfigSummary,
}

/// How the trading loop itself is doing. Measured by the bot, so that harm done by botops would show here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoopStats {
    /// Ticks since start.
    pub ticks: u64,
    /// How late the last 1,000 ticks began, median.
    pub tick_delay_p50_ms: f64,
    /// The same, 99th percentile.
    pub tick_delay_p99_ms: f64,
    /// The same, worst.
    pub tick_delay_max_ms: f64,
    /// When the loop last finished a tick.
    pub last_tick_at: Option<DateTime<Utc>>,
    /// Seconds in which the loop is meant to go round at least once. A loop that is much later than this stands still,
    /// which is told as a fault of the bot; without it, a loop that stands still for 60 s is a warning.
    #[serde(default)]
    pub expected_interval_s: Option<f64>,
    /// Orders refused in the last hour.
    #[serde(default)]
    pub order_rejects_last_hour: u32,
}

/// `GET state`: the whole state in one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BotReport {
    /// Grows with every change the bot publishes, within one life.
    pub seq: u64,
    /// The life that answers.
    pub boot_epoch: String,
    /// When the bot took this picture of itself.
    pub as_of: DateTime<Utc>,
    /// Paper, live or backtest.
    pub mode: TradingMode,
    /// What the loop is doing.
    pub phase: BotPhase,
    /// Why, when it is not simply running.
    #[serde(default)]
    pub phase_reason: Option<String>,
    /// Whether new positions may be opened.
    pub trading_enabled: bool,
    /// Money.
    pub account: Account,
    /// Open positions.
    #[serde(default)]
    pub positions: Vec<Position>,
    /// Open and recent orders, newest first.
    #[serde(default)]
    pub orders: Vec<Order>,
    /// How trading went.
    pub performance: Performance,
    /// The market and the feed.
    pub market: MarketState,
    /// The broker session; `null` when the bot has none.
    #[serde(default)]
    pub session: Option<Session>,
    /// The circuit breaker.
    pub circuit_breaker: Breaker,
    /// What config runs.
    pub config: RunningConfig,
    /// The most recent failures, newest first, at most 50.
    #[serde(default)]
    pub recent_errors: Vec<SemanticError>,
    /// Failures in the last hour.
    #[serde(default)]
    pub error_count_last_hour: u32,
    /// Severity of the worst failure in the last hour.
    #[serde(default)]
    pub worst_error_last_hour: Option<Severity>,
    /// When the last fill happened.
    #[serde(default)]
    pub last_trade_at: Option<DateTime<Utc>>,
    /// Why no position is opened right now, as a list of named gates; empty when entries are possible.
    #[serde(default)]
    pub no_entry_reasons: Vec<String>,
    /// How the loop is doing.
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
    /// The trade's id.
    pub id: String,
    /// The instrument.
    pub symbol: String,
    /// `BUY` for a long trade, `SELL` for a short one.
    pub side: Side,
    /// Shares.
    pub quantity: Decimal,
    /// Average price in.
    pub entry_price: Decimal,
    /// Average price out.
    pub exit_price: Decimal,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When it was closed. In a replay this is market time.
    pub closed_at: DateTime<Utc>,
    /// Stop at entry, if one was set.
    #[serde(default)]
    pub stop_price: Option<Decimal>,
    /// Target at entry, if one was set.
    #[serde(default)]
    pub target_price: Option<Decimal>,
    /// Profit or loss before commission.
    pub gross_pl: Decimal,
    /// Commission of all its fills.
    pub commission: Decimal,
    /// Profit or loss after commission.
    pub net_pl: Decimal,
    /// Win, loss or breakeven.
    pub outcome: TradeOutcome,
    /// What the strategy said on opening.
    #[serde(default)]
    pub entry_reason: String,
    /// What the strategy said on closing.
    #[serde(default)]
    pub exit_reason: String,
    /// The life of the bot that closed it.
    pub boot_epoch: String,
    /// Hash of the config it was opened under.
    #[serde(default)]
    pub config_sha256: String,
}

/// A page of `GET trades?after=&from=&to=&limit=`, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TradePage {
    /// Trades with `seq` above `after`.
    pub items: Vec<Trade>,
    /// The cursor of the next page; `null` at the end.
    pub next: Option<u64>,
}
