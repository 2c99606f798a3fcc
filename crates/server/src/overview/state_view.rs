//! The whole state as `GET state` shows it.
//!
//! What is known of the bot, the time and the limits go in, a [`StateView`] comes out. Nothing is invented: a part
//! that is unknown is `null` and stands in `unknown` with its reason, and old data says how old it is. The state is
//! never shortened; the summary is the short form.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::bot_health::{BotHealthStatus, decide_health};
use super::model::{ConfigSync, OverviewExtras};
use super::moment::StateMoment;
use super::warnings::collect_warnings;
use super::wording::{to_cents, to_seconds, without_full_stop};
use crate::bots::{BotSnapshot, Presence};
use botops_contract::{
    Account, BotPhase, BotReport, Breaker, BreakerState, ConfigSummary, LoopStats, MarketState, MarketStatus,
    Order, OrderStatus, Performance, Position, Session, Severity, TradingMode, TrialState, VersionRef,
};

/// A part of the state, with the time that it describes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StatePart<T> {
    /// When the bot recorded this part (UTC).
    pub as_of: DateTime<Utc>,
    /// The part's own fields, beside `as_of`.
    #[serde(flatten)]
    pub part: T,
}

/// `GET state`: everything that is known of the bot, with its age.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StateView {
    /// Paper, live or backtest; `null` while the bot was never seen.
    pub mode: Option<TradingMode>,
    /// The bot, and whether it answers.
    pub bot: BotView,
    /// Whether the bot can be relied on, and why (not).
    pub health: HealthView,
    /// What the trading loop is doing; `null` while no report was ever received.
    pub phase: Option<BotPhase>,
    /// Why, when it is not simply running; `null` otherwise. Text of the bot: information, never instructions.
    pub phase_reason: Option<String>,
    /// Whether new positions may be opened; `null` while no report was ever received.
    pub trading_enabled: Option<bool>,
    /// The broker session; `null` when the bot reports none.
    pub session: Option<StatePart<Session>>,
    /// The circuit breaker, which keeps orders back while it is not closed.
    pub circuit_breaker: Option<StatePart<Breaker>>,
    /// Balances and buying power of the account.
    pub account: Option<StatePart<Account>>,
    /// Open positions, highest unrealized profit first.
    pub positions: Option<Vec<Position>>,
    /// Open and recent orders, newest first.
    pub orders: Option<Vec<Order>>,
    /// Results of trading, as the bot computes them.
    pub performance: Option<Performance>,
    /// The config values that are most useful beside the state.
    pub config_summary: Option<StatePart<ConfigSummary>>,
    /// The config that the bot runs, and the one that it would boot from.
    pub config: Option<StatePart<ConfigView>>,
    /// Whether the regular session of the market is open.
    pub market_status: Option<MarketStatus>,
    /// The market and the price feed.
    pub market: Option<StatePart<MarketState>>,
    /// Ticks of the trading loop, and how late they began.
    #[serde(rename = "loop")]
    pub loop_stats: Option<StatePart<LoopStats>>,
    /// Why no position is opened right now; empty when entries are possible.
    pub no_entry_reasons: Option<Vec<String>>,
    /// What deserves attention, worst first.
    pub warnings: Vec<String>,
    /// Every part that is `null` as a whole, with the reason.
    pub unknown: Vec<UnknownPart>,
    /// When this answer was made (UTC).
    pub timestamp: DateTime<Utc>,
    /// When the bot recorded the state that this answer shows (UTC); `null` while no report was ever received.
    pub as_of: Option<DateTime<Utc>>,
    /// The age of the data in seconds, by the bot's own `as_of`, when this answer was made; `null` without data.
    pub data_age_seconds: Option<f64>,
    /// True when the data is older than `BOT_STATE_CACHE_TTL`, or there is none.
    pub is_data_stale: bool,
}

/// The bot, and whether it answers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BotView {
    /// The bot's id.
    pub id: String,
    /// The bot's name for people; `null` while the bot was never seen.
    pub name: Option<String>,
    /// The bot's own version; `null` while the bot was never seen.
    pub version: Option<String>,
    /// The process number that the bot last gave as its own; `null` while the bot was never seen.
    pub pid: Option<u32>,
    /// Names the start of the bot's process that answered last: each start has a new value.
    pub boot_epoch: Option<String>,
    /// When that process started (UTC).
    pub started_at: Option<DateTime<Utc>>,
    /// Paper, live or backtest; `null` while the bot was never seen.
    pub mode: Option<TradingMode>,
    /// Whether the bot answers; if not, what its process and socket show.
    pub presence: Presence,
    /// Why presence is what it is, in one sentence.
    pub presence_reason: String,
    /// Since when presence is what it is (UTC).
    pub since: DateTime<Utc>,
}

/// Whether the bot can be relied on.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HealthView {
    /// Healthy, degraded or offline.
    pub status: BotHealthStatus,
    /// Why, in one sentence or a few.
    pub reason: String,
    /// True when the breaker keeps orders back; `null` while no report was ever received.
    pub circuit_breaker_active: Option<bool>,
    /// When the bot last answered (UTC); `null` when it never did.
    pub last_heartbeat: Option<DateTime<Utc>>,
    /// Whether the bot's broker session is usable; `null` when the bot is away or has no session.
    pub api_connected: Option<bool>,
    /// When the last fill happened (UTC); `null` when the bot reports none.
    pub last_trade_timestamp: Option<DateTime<Utc>>,
    /// Failures that the bot counted in the hour before `as_of` of its report.
    pub error_count_last_hour: Option<u32>,
    /// Severity of the worst of them; `null` without a failure.
    pub worst_error_last_hour: Option<Severity>,
    /// When this was decided (UTC).
    pub as_of: DateTime<Utc>,
}

/// The config that the bot runs, and the one that it would boot from.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ConfigView {
    /// The version in force now.
    pub running: VersionRef,
    /// The version that the bot would boot from.
    pub committed: VersionRef,
    /// The trial that the bot runs; `null` when it runs none.
    pub trial: Option<TrialState>,
    /// JSON pointers of fields that wait for a restart of the bot.
    pub pending_restart: Vec<String>,
    /// Whether the bot runs what botops has committed; `null` until botops has compared them.
    pub sync: Option<ConfigSync>,
}

/// A part of the state that is `null`, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnknownPart {
    /// The name of the part, as `fields=` takes it.
    pub part: String,
    /// Why it is not known, in one sentence.
    pub reason: String,
}

impl StateView {
    /// The state as it is at `moment`.
    pub(super) fn of(moment: &StateMoment<'_>) -> Self {
        let snapshot = moment.snapshot;
        let report = snapshot.report.as_deref();
        let hello = snapshot.hello.as_deref();
        let mode = snapshot.mode();
        let (status, reason) = decide_health(moment);
        let health = HealthView {
            status,
            reason,
            circuit_breaker_active: report.map(|report| report.circuit_breaker.state != BreakerState::Closed),
            last_heartbeat: snapshot.received_at,
            api_connected: report
                .filter(|_| snapshot.presence.answers())
                .and_then(|report| report.session.as_ref())
                .map(|session| session.is_healthy),
            last_trade_timestamp: report.and_then(|report| report.last_trade_at),
            error_count_last_hour: report.map(|report| report.error_count_last_hour),
            worst_error_last_hour: report.and_then(|report| report.worst_error_last_hour),
            as_of: moment.now,
        };
        Self {
            mode,
            bot: BotView {
                id: snapshot.id.to_string(),
                name: hello.map(|hello| hello.name.clone()),
                version: hello.map(|hello| hello.version.clone()),
                pid: hello.map(|hello| hello.pid),
                boot_epoch: hello.map(|hello| hello.boot_epoch.clone()),
                started_at: hello.map(|hello| hello.started_at),
                mode,
                presence: snapshot.presence,
                presence_reason: snapshot.presence_reason.clone(),
                since: snapshot.since,
            },
            health,
            phase: report.map(|report| report.phase),
            phase_reason: report.and_then(|report| report.phase_reason.clone()),
            trading_enabled: report.map(|report| report.trading_enabled),
            session: report.and_then(|report| dated(report, report.session.clone()?)),
            circuit_breaker: report.and_then(|report| dated(report, report.circuit_breaker.clone())),
            account: report.and_then(|report| dated(report, rounded_account(&report.account))),
            positions: report.map(|report| sorted_by_profit(&report.positions)),
            orders: report.map(|report| report.orders.clone()),
            performance: report.map(|report| rounded_performance(&report.performance)),
            config_summary: report.and_then(|report| dated(report, report.config.summary.clone())),
            config: report
                .filter(|_| hello.is_none_or(|hello| hello.offers("config")))
                .and_then(|report| dated(report, config_view(report, moment.extras))),
            market_status: report.map(|report| report.market.status),
            market: report.and_then(|report| dated(report, report.market.clone())),
            loop_stats: report.and_then(|report| dated(report, report.loop_stats.clone())),
            no_entry_reasons: report.map(|report| report.no_entry_reasons.clone()),
            warnings: collect_warnings(moment),
            unknown: unknown_parts(snapshot),
            timestamp: moment.now,
            as_of: report.map(|report| report.as_of),
            data_age_seconds: moment.age.map(to_seconds),
            is_data_stale: moment.is_stale(),
        }
    }

    /// Orders that may still fill.
    pub(super) fn open_orders(&self) -> Option<usize> {
        Some(self.orders.as_ref()?.iter().filter(|order| is_open(order)).count())
    }
}

fn unknown_parts(snapshot: &BotSnapshot) -> Vec<UnknownPart> {
    let all = [
        "mode",
        "account",
        "positions",
        "orders",
        "performance",
        "circuit_breaker",
        "session",
        "config_summary",
        "config",
        "market",
        "loop",
        "no_entry_reasons",
    ];
    let missing = |parts: &[&str], reason: &str| -> Vec<UnknownPart> {
        let one = |part: &&str| UnknownPart { part: (*part).to_owned(), reason: reason.to_owned() };
        parts.iter().map(one).collect()
    };
    match snapshot.report.as_deref() {
        None => {
            let reason = format!(
                "no report of the bot was ever received: {}",
                without_full_stop(&snapshot.presence_reason)
            );
            missing(&all, &reason)
        }
        Some(report) => {
            let mut parts = Vec::new();
            if report.session.is_none() {
                parts.extend(missing(&["session"], "the bot reports no broker session"));
            }
            if snapshot.hello.as_ref().is_some_and(|hello| !hello.offers("config")) {
                parts.extend(missing(&["config"], "the bot does not list `config`: there is none here"));
            }
            parts
        }
    }
}

/// Whether the order may still fill.
pub(super) fn is_open(order: &Order) -> bool {
    matches!(order.status, OrderStatus::Pending | OrderStatus::PartiallyFilled)
}

#[expect(clippy::unnecessary_wraps, reason = "every caller is inside `and_then`")]
fn dated<T>(report: &BotReport, part: T) -> Option<StatePart<T>> {
    Some(StatePart { as_of: report.as_of, part })
}

fn rounded_account(account: &Account) -> Account {
    Account {
        buying_power: to_cents(account.buying_power),
        account_balance: to_cents(account.account_balance),
        cash_balance: to_cents(account.cash_balance),
        ..account.clone()
    }
}

fn rounded_performance(performance: &Performance) -> Performance {
    Performance {
        total_realized_pl: to_cents(performance.total_realized_pl),
        total_unrealized_pl: to_cents(performance.total_unrealized_pl),
        total_pl: to_cents(performance.total_pl),
        daily_pl: to_cents(performance.daily_pl),
        max_drawdown: to_cents(performance.max_drawdown),
        ..performance.clone()
    }
}

/// Highest unrealized profit first, positions without a price last.
fn sorted_by_profit(positions: &[Position]) -> Vec<Position> {
    let rounded = |position: &Position| Position {
        unrealized_pl: position.unrealized_pl.map(to_cents),
        unrealized_pl_pct: position.unrealized_pl_pct.map(to_cents),
        ..position.clone()
    };
    let mut sorted: Vec<Position> = positions.iter().map(rounded).collect();
    sorted.sort_by(|a, b| b.unrealized_pl.cmp(&a.unrealized_pl).then_with(|| a.symbol.cmp(&b.symbol)));
    sorted
}

fn config_view(report: &BotReport, extras: &OverviewExtras) -> ConfigView {
    ConfigView {
        running: report.config.running.clone(),
        committed: report.config.committed.clone(),
        trial: report.config.trial.clone(),
        pending_restart: report.config.pending_restart.clone(),
        sync: extras.config_sync.clone(),
    }
}
