//! The numbers of `GET metrics` and of the stream: small, and all of one moment.

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::bot_health::BotHealthStatus;
use super::state_view::{StateView, total_open_profit};
use super::tokens;
use crate::bots::{BotLinkStats, BotSnapshot, Presence, ReportedDay};
use botops_contract::{Amount, BotPhase, TradingMode};

/// Tokens a reason may cost here: a stream message stays near 1 KiB.
const REASON: usize = 40;

/// `GET metrics`: what changes from moment to moment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MetricsView {
    /// Paper, live or backtest; `null` while the bot was never seen.
    pub mode: Option<TradingMode>,
    /// Whether the bot can be relied on, in short.
    pub health: HealthBrief,
    /// Whether the bot answers; if not, what its process and socket show.
    pub presence: Presence,
    /// What the trading loop is doing; `null` while the bot does not answer or does not say.
    pub phase: Option<BotPhase>,
    /// How many positions are open.
    pub position_count: Option<usize>,
    /// How many orders may still fill.
    pub open_order_count: Option<usize>,
    /// The change of equity on the day of `reported_day`: what was realized plus the change of unrealized.
    pub daily_pnl: Option<Amount>,
    /// Sum of closed trades' net profit and loss.
    pub total_realized_pl: Option<Amount>,
    /// Sum of open positions' profit and loss: as the bot says, or of what it says of each position.
    pub total_unrealized_pl: Option<Amount>,
    /// Equity: cash plus the market value of positions.
    pub account_balance: Option<Amount>,
    /// What may be spent on new positions.
    pub buying_power: Option<Amount>,
    /// Trades closed on the day of `reported_day`.
    pub trades_today: Option<u32>,
    /// The bot's trading day that `daily_pnl` and `trades_today` are of, and whether it is over; `null` while no report
    /// was ever received.
    pub reported_day: Option<ReportedDay>,
    /// Wins ÷ closed trades, 0 to 1; `null` without a closed trade.
    pub win_rate: Option<f64>,
    /// Failures that the bot counted in the hour before its report.
    pub error_count_last_hour: Option<u32>,
    /// How late the trading loop's ticks begin, in milliseconds, 99th percentile.
    pub tick_delay_p99_ms: Option<f64>,
    /// Counts of botops itself.
    pub ops: OpsNumbers,
    /// The newest number of the event journal.
    pub latest_event: u64,
    /// When these numbers were taken (UTC).
    pub timestamp: DateTime<Utc>,
    /// When the bot recorded the state that they are made from (UTC).
    pub as_of: Option<DateTime<Utc>>,
    /// The age of the data in seconds, by the bot's own `as_of`; `null` without data.
    pub data_age_seconds: Option<f64>,
    /// True when the data is older than `BOT_STATE_CACHE_TTL`, or there is none.
    pub is_data_stale: bool,
}

/// The bot's health in short.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HealthBrief {
    /// Healthy, degraded or offline.
    pub status: BotHealthStatus,
    /// Why the bot is healthy, degraded or offline; shortened to keep stream messages small.
    pub reason: String,
    /// True when the breaker keeps orders back; `null` while no report was ever received.
    pub circuit_breaker_active: Option<bool>,
    /// When the bot last answered (UTC); `null` when it never did.
    pub last_heartbeat: Option<DateTime<Utc>>,
}

/// Counts of botops itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct OpsNumbers {
    /// Stream clients that are connected now.
    pub websocket_connections: usize,
    /// Frames given to the stream since start, each counted once whatever the number of clients.
    pub stream_messages: u64,
    /// Stream clients closed because they did not keep up.
    pub stream_closed_slow: u64,
    /// Polls of the bot's state since start.
    pub polls: u64,
    /// Polls that brought nothing usable.
    pub poll_failures: u64,
    /// How long the last answered poll took, in milliseconds; `null` before the first.
    pub poll_latency_ms: Option<f64>,
    /// Reads with `fields=` answered from the cache.
    pub selection_hits: u64,
    /// Reads with `fields=` that had to be rendered.
    pub selection_misses: u64,
}

impl OpsNumbers {
    /// Takes over what the link counted.
    pub(super) fn with_polls(mut self, stats: BotLinkStats) -> Self {
        self.polls = stats.polls;
        self.poll_failures = stats.poll_failures;
        self
    }
}

impl MetricsView {
    /// The numbers of a state that was made already.
    pub(super) fn of(state: &StateView, snapshot: &BotSnapshot, ops: OpsNumbers, latest_event: u64) -> Self {
        let performance = state.performance.as_ref();
        let account = state.account.as_ref().map(|account| &account.part);
        Self {
            mode: state.mode,
            health: HealthBrief {
                status: state.health.status,
                reason: tokens::clip(&state.health.reason, REASON),
                circuit_breaker_active: state.health.circuit_breaker_active,
                last_heartbeat: state.health.last_heartbeat.map(|at| at.trunc_subsecs(3)),
            },
            presence: state.bot.presence,
            phase: state.phase,
            position_count: snapshot.position_count(),
            open_order_count: snapshot.open_order_count(),
            daily_pnl: performance.and_then(|performance| performance.daily_pl.clone()),
            total_realized_pl: performance.and_then(|performance| performance.total_realized_pl.clone()),
            total_unrealized_pl: total_open_profit(snapshot),
            account_balance: account.and_then(|account| account.account_balance.clone()),
            buying_power: account.and_then(|account| account.buying_power.clone()),
            trades_today: performance.and_then(|performance| performance.trades_today),
            reported_day: state.reported_day,
            win_rate: performance.and_then(|performance| performance.win_rate),
            error_count_last_hour: state.health.error_count_last_hour,
            tick_delay_p99_ms: state.loop_stats.as_ref().and_then(|stats| stats.part.tick_delay_p99_ms),
            ops,
            latest_event,
            timestamp: state.timestamp.trunc_subsecs(3),
            as_of: state.as_of,
            data_age_seconds: state.data_age_seconds,
            is_data_stale: state.is_data_stale,
        }
    }
}
