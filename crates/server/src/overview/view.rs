//! The whole state as `GET state` shows it, and the judgement over it.
//!
//! Pure: what is known of the bot, the clock and the limits go in, a [`StateView`] comes out. Nothing is invented:
//! a part that is unknown is `null` and stands in `unknown` with its reason, and old data says how old it is.
//! Deliberately absent: clipping. The state is whole; the summary is the short form.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OverviewExtras;
use crate::bots::{BotSnapshot, LoopAge, Presence};
use botops_contract::{
    Account, BotReport, Breaker, BreakerState, ConfigSummary, LoopStats, MarketState, MarketStatus, Mode,
    Order, OrderStatus, Performance, Phase, Position, Session, SessionPhase, Severity, TrialState,
    VersionRef,
};

/// Data older than this is no base for any decision.
const VERY_OLD: Duration = Duration::from_secs(300);

/// This many failures in an hour are a fault of their own.
const MANY_ERRORS: u32 = 10;

/// Whether the bot can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BotHealthStatus {
    /// It trades by its rules.
    Healthy,
    /// It is there, but something is wrong or its data is old.
    Degraded,
    /// It cannot be reached.
    Offline,
}

impl BotHealthStatus {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Offline => "offline",
        }
    }
}

/// A part of the state with the moment it describes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StatePart<T> {
    /// When the bot took this picture of the part.
    pub as_of: DateTime<Utc>,
    /// The part itself.
    #[serde(flatten)]
    pub part: T,
}

/// `GET state`: everything that is known of the bot, with its age.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StateView {
    /// Paper, live or backtest; `null` while the bot was never seen.
    pub mode: Option<Mode>,
    /// Which bot, and whether it is there.
    pub bot: BotView,
    /// Whether the bot can be relied on, and why (not).
    pub health: HealthView,
    /// What the trading loop is doing.
    pub phase: Option<Phase>,
    /// Why, when it is not simply running. The bot's words.
    pub phase_reason: Option<String>,
    /// Whether new positions may be opened.
    pub trading_enabled: Option<bool>,
    /// The broker session.
    pub session: Option<StatePart<Session>>,
    /// The circuit breaker.
    pub circuit_breaker: Option<StatePart<Breaker>>,
    /// Money.
    pub account: Option<StatePart<Account>>,
    /// Open positions, highest unrealized profit first.
    pub positions: Option<Vec<Position>>,
    /// Open and recent orders, newest first.
    pub orders: Option<Vec<Order>>,
    /// How trading went.
    pub performance: Option<Performance>,
    /// The few config values worth seeing beside the state.
    pub config_summary: Option<StatePart<ConfigSummary>>,
    /// What config the bot runs.
    pub config: Option<StatePart<ConfigView>>,
    /// Whether the regular session is on.
    pub market_status: Option<MarketStatus>,
    /// The market and the feed.
    pub market: Option<StatePart<MarketState>>,
    /// How the trading loop keeps its time.
    #[serde(rename = "loop")]
    pub loop_stats: Option<StatePart<LoopStats>>,
    /// Why no position is opened right now; empty when entries are possible.
    pub no_entry_reasons: Option<Vec<String>>,
    /// What deserves attention, worst first.
    pub warnings: Vec<String>,
    /// Every part that is `null` as a whole, with the reason.
    pub unknown: Vec<UnknownPart>,
    /// When this answer was made.
    pub timestamp: DateTime<Utc>,
    /// When the bot took the picture of itself that this answer shows.
    pub as_of: Option<DateTime<Utc>>,
    /// Seconds since the bot knew this, by its own `as_of`, when this answer was made.
    pub data_age_seconds: Option<f64>,
    /// True when the data is older than `BOT_STATE_CACHE_TTL`, or there is none.
    pub is_data_stale: bool,
}

/// Which bot, and whether it is there.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BotView {
    /// The bot's id.
    pub id: String,
    /// A name for people.
    pub name: Option<String>,
    /// The bot's own version.
    pub version: Option<String>,
    /// The process that answered last.
    pub pid: Option<u32>,
    /// The life that answered last: new at each start of the bot.
    pub boot_epoch: Option<String>,
    /// When that life began.
    pub started_at: Option<DateTime<Utc>>,
    /// Paper, live or backtest.
    pub mode: Option<Mode>,
    /// Whether the bot is there.
    pub presence: Presence,
    /// Why presence is what it is.
    pub presence_reason: String,
    /// Since when presence is what it is.
    pub since: DateTime<Utc>,
}

/// Whether the bot can be relied on.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HealthView {
    /// Healthy, degraded or offline.
    pub status: BotHealthStatus,
    /// Why, in one sentence or a few.
    pub reason: String,
    /// True when the breaker keeps orders back; `null` when nothing is known.
    pub circuit_breaker_active: Option<bool>,
    /// When the bot last answered.
    pub last_heartbeat: Option<DateTime<Utc>>,
    /// Whether the bot's broker session is usable; `null` when the bot is away or has no session.
    pub api_connected: Option<bool>,
    /// When the last fill happened.
    pub last_trade_timestamp: Option<DateTime<Utc>>,
    /// Failures in the hour before `as_of`.
    pub error_count_last_hour: Option<u32>,
    /// Severity of the worst of them.
    pub worst_error_last_hour: Option<Severity>,
    /// When the judgement was made.
    pub as_of: DateTime<Utc>,
}

/// What config the bot runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ConfigView {
    /// In force now.
    pub running: VersionRef,
    /// What the bot would boot from.
    pub committed: VersionRef,
    /// The live trial, if one runs.
    pub trial: Option<TrialState>,
    /// JSON pointers that wait for a restart.
    pub pending_restart: Vec<String>,
    /// Whether the bot runs what botops has committed; `null` until botops has compared them.
    pub sync: Option<ConfigSync>,
}

/// Whether the bot runs what botops has committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigSync {
    /// `in_sync`, `trial`, `pending_restart`, `drifted`, `bot_offline` or `unknown`.
    pub status: String,
    /// Why, in one sentence.
    pub reason: String,
}

/// A part of the answer that is `null`, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnknownPart {
    /// The name of the part.
    pub part: String,
    /// Why nothing is known.
    pub reason: String,
}

/// What the judgement rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct StateMoment<'a> {
    /// The last that is known of the bot.
    pub snapshot: &'a BotSnapshot,
    /// What other features know.
    pub extras: &'a OverviewExtras,
    /// How old data may be before it counts as stale.
    pub ttl: Duration,
    /// The clock.
    pub now: DateTime<Utc>,
    /// How long ago the bot knew what it reported.
    pub age: Option<Duration>,
}

impl<'a> StateMoment<'a> {
    /// This moment.
    pub fn now(snapshot: &'a BotSnapshot, extras: &'a OverviewExtras, ttl: Duration) -> Self {
        Self {
            snapshot,
            extras,
            ttl,
            now: Utc::now(),
            age: snapshot.report.as_ref().and_then(|_| snapshot.data_age()),
        }
    }

    fn is_stale(&self) -> bool {
        self.age.is_none_or(|age| age > self.ttl)
    }

    fn is_very_old(&self) -> bool {
        self.age.is_none_or(|age| age > VERY_OLD)
    }
}

impl StateView {
    /// The state at this moment.
    pub(super) fn of(moment: &StateMoment<'_>) -> Self {
        let snapshot = moment.snapshot;
        let report = snapshot.report.as_deref();
        let hello = snapshot.hello.as_deref();
        let mode = snapshot.mode();
        let (status, reason) = judge(moment);
        let health = HealthView {
            status,
            reason,
            circuit_breaker_active: report.map(breaker_active),
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
            session: report.and_then(|report| part(report, report.session.clone()?)),
            circuit_breaker: report.and_then(|report| part(report, report.circuit_breaker.clone())),
            account: report.and_then(|report| part(report, account(&report.account))),
            positions: report.map(|report| by_profit(&report.positions)),
            orders: report.map(|report| report.orders.clone()),
            performance: report.map(|report| performance(&report.performance)),
            config_summary: report.and_then(|report| part(report, report.config.summary.clone())),
            config: report.and_then(|report| part(report, config(report, moment.extras))),
            market_status: report.map(|report| report.market.status),
            market: report.and_then(|report| part(report, report.market.clone())),
            loop_stats: report.and_then(|report| part(report, report.loop_stats.clone())),
            no_entry_reasons: report.map(|report| report.no_entry_reasons.clone()),
            warnings: warnings(moment),
            unknown: unknown(snapshot),
            timestamp: moment.now,
            as_of: report.map(|report| report.as_of),
            data_age_seconds: moment.age.map(seconds),
            is_data_stale: moment.is_stale(),
        }
    }

    /// Orders that may still fill.
    pub(super) fn open_orders(&self) -> Option<usize> {
        Some(self.orders.as_ref()?.iter().filter(|order| is_open(order)).count())
    }
}

/// Healthy, degraded or offline, with the reason as whole sentences.
fn judge(moment: &StateMoment<'_>) -> (BotHealthStatus, String) {
    let snapshot = moment.snapshot;
    if snapshot.presence.is_offline() {
        return (
            BotHealthStatus::Offline,
            format!("The bot is {}: {}.", spoken(snapshot.presence), bare(&snapshot.presence_reason)),
        );
    }
    let Some(report) = snapshot.report.as_deref() else {
        return (
            BotHealthStatus::Offline,
            format!("Nothing is known of the bot yet: {}.", bare(&snapshot.presence_reason)),
        );
    };
    // A bot that answers is there, however old what it tells is.
    if moment.is_very_old() && !snapshot.presence.answers() {
        let age = moment.age.map_or(0, |age| age.as_secs());
        return (BotHealthStatus::Offline, format!("The bot has not been heard of for {age} s."));
    }
    let faults = faults(moment, report);
    if !faults.is_empty() {
        return (BotHealthStatus::Degraded, faults.join(" "));
    }
    let reason = match report.phase {
        Phase::Paused => format!(
            "The bot answers and is paused: exits only{}.",
            report.phase_reason.as_deref().map(|why| format!(" ({})", bare(why))).unwrap_or_default()
        ),
        _ if report.market.status == MarketStatus::Closed => {
            "The bot answers; the market is closed.".to_owned()
        }
        _ => "The bot answers and trades by its rules.".to_owned(),
    };
    (BotHealthStatus::Healthy, reason)
}

/// Everything that makes a reachable bot degraded, one sentence each, worst first.
fn faults(moment: &StateMoment<'_>, report: &BotReport) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(fault) = breaker_fault(&report.circuit_breaker) {
        faults.push(fault);
    }
    if let Some(fault) = report.session.as_ref().and_then(session_fault) {
        faults.push(fault);
    }
    let why = report.phase_reason.as_deref().map_or("it gives no reason", bare);
    match report.phase {
        Phase::Degraded => faults.push(format!("The bot runs degraded: {why}.")),
        Phase::Starting => faults.push(format!("The bot is starting: {why}.")),
        Phase::Stopping => faults.push(format!("The bot is stopping: {why}.")),
        Phase::Running | Phase::Paused => {}
    }
    faults.extend(loop_fault(moment.snapshot));
    if moment.is_stale() {
        faults.push(format!(
            "Its data is stale: {} s old, {} s is the limit.",
            moment.age.map_or(0, |age| age.as_secs()),
            moment.ttl.as_secs()
        ));
    }
    match moment.snapshot.presence {
        Presence::Slow => {
            faults.push(format!("The bot is slow: {}.", bare(&moment.snapshot.presence_reason)))
        }
        Presence::Reloading => {
            faults.push(format!("The bot is restarting: {}.", bare(&moment.snapshot.presence_reason)));
        }
        Presence::Incompatible => {
            faults.push(format!("The bot is not understood: {}.", bare(&moment.snapshot.presence_reason)));
        }
        Presence::Connected
        | Presence::Hung
        | Presence::Exited
        | Presence::Unreachable
        | Presence::NeverSeen => {}
    }
    if let Some(fault) = error_fault(report) {
        faults.push(fault);
    }
    faults
}

/// A fresh answer in front of a dead loop is the failure that nobody sees.
fn loop_fault(snapshot: &BotSnapshot) -> Option<String> {
    let ticked = snapshot.loop_age().filter(LoopAge::stands_still)?;
    let whose = if ticked.declared { "by the interval that the bot declares" } else { "for any bot" };
    Some(format!(
        "The bot's trading loop stands still: its last tick was {} s ago, {} s is the limit {whose}.",
        ticked.age.as_secs(),
        ticked.limit.as_secs()
    ))
}

fn breaker_fault(breaker: &Breaker) -> Option<String> {
    let state = match breaker.state {
        BreakerState::Closed => return None,
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half open, one probe decides",
    };
    let why = breaker.reason.as_deref().map_or("the bot gives no reason", bare);
    Some(format!("The circuit breaker is {state}: {why}."))
}

fn session_fault(session: &Session) -> Option<String> {
    if session.is_healthy {
        return None;
    }
    let state = match session.state {
        SessionPhase::Starting => "starting",
        SessionPhase::Healthy => "not usable",
        SessionPhase::Degraded => "degraded",
        SessionPhase::Reauthenticating => "signing in again",
        SessionPhase::HaltedTransient => "halted after failures",
        SessionPhase::HaltedCredential => "halted: it needs a person",
        SessionPhase::HaltedOperator => "halted by an operator",
        SessionPhase::Unknown => "in an unknown state",
    };
    let why = session.reason.as_deref().map_or("the bot gives no reason", bare);
    Some(format!("The broker session is {state}: {why}."))
}

fn error_fault(report: &BotReport) -> Option<String> {
    let critical = report.worst_error_last_hour == Some(Severity::Critical);
    let count = report.error_count_last_hour;
    (critical || count >= MANY_ERRORS).then(|| {
        let worst = if critical { ", at least one of them critical" } else { "" };
        format!("High error rate: {count} errors in the last hour{worst}.")
    })
}

/// What deserves attention, worst first. Whole sentences; words of the bot stand after a colon.
fn warnings(moment: &StateMoment<'_>) -> Vec<String> {
    let snapshot = moment.snapshot;
    let mut warnings = Vec::new();
    if judge(moment).0 == BotHealthStatus::Offline {
        warnings.push(format!("Bot offline: {}.", bare(&snapshot.presence_reason)));
        if snapshot.unasked_restart.needs_person() {
            warnings.push(snapshot.unasked_restart.sentence.clone());
        }
    }
    if snapshot.presence == Presence::Incompatible {
        warnings.push(format!(
            "The bot is there, but not understood: {}. What is shown is the last that was.",
            bare(&snapshot.presence_reason)
        ));
    }
    let Some(report) = snapshot.report.as_deref() else {
        warnings.extend(moment.extras.warnings.iter().cloned());
        return warnings;
    };
    let age = moment.age.map_or(0, |age| age.as_secs());
    if moment.is_very_old() {
        warnings.push(format!(
            "DATA IS VERY OLD: everything below is {age} s old. Do not act on it; positions and orders may have changed."
        ));
    } else if moment.is_stale() {
        warnings.push(format!("Data is stale: {age} s old, {} s is the limit.", moment.ttl.as_secs()));
    }
    warnings.extend(loop_fault(snapshot));
    if let Some(ahead) = snapshot.clock_ahead() {
        warnings.push(format!(
            "The bot's clock is {} s ahead of this machine's: how old its data is cannot be told.",
            ahead.as_secs()
        ));
    }
    warnings.extend(breaker_fault(&report.circuit_breaker));
    warnings.extend(report.session.as_ref().and_then(session_fault));
    if let Some(needs) = report.session.as_ref().and_then(|session| session.needs_human.as_deref()) {
        warnings.push(format!("The broker waits for a person: {}.", bare(needs)));
    }
    match report.phase {
        Phase::Paused => warnings.push("The bot is paused: it opens no positions.".to_owned()),
        Phase::Degraded => warnings.push("The bot runs degraded: it opens no positions.".to_owned()),
        Phase::Stopping => warnings.push("The bot is stopping.".to_owned()),
        Phase::Starting | Phase::Running => {}
    }
    warnings.extend(error_fault(report));
    if report.market.status == MarketStatus::Open && report.market.last_price_at.is_none() {
        warnings.push("The market is open, but the bot has no price yet.".to_owned());
    }
    if report.config.trial.is_some() {
        // What becomes of it is known where it is led from; the bot itself only knows that it runs.
        let led = moment.extras.config_sync.as_ref().map(|sync| sync.reason.as_str());
        warnings.push(match led {
            Some(reason) => format!("A config change runs as a trial: {}.", bare(reason)),
            None => "A config change runs as a trial.".to_owned(),
        });
    }
    if !report.config.pending_restart.is_empty() {
        let count = report.config.pending_restart.len();
        warnings.push(format!("{count} config values wait for a restart of the bot."));
    }
    let dropped = snapshot.dropped;
    if dropped.positions + dropped.orders > 0 {
        warnings.push(format!(
            "The bot reported more than botops keeps: {} positions and {} orders are not shown.",
            dropped.positions, dropped.orders
        ));
    }
    warnings.extend(moment.extras.warnings.iter().cloned());
    warnings
}

fn unknown(snapshot: &BotSnapshot) -> Vec<UnknownPart> {
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
            let reason =
                format!("no report of the bot was ever received: {}", bare(&snapshot.presence_reason));
            missing(&all, &reason)
        }
        Some(report) if report.session.is_none() => {
            missing(&["session"], "the bot reports no broker session")
        }
        Some(_) => Vec::new(),
    }
}

fn breaker_active(report: &BotReport) -> bool {
    report.circuit_breaker.state != BreakerState::Closed
}

/// Whether the order may still fill.
pub(super) fn is_open(order: &Order) -> bool {
    matches!(order.status, OrderStatus::Pending | OrderStatus::PartiallyFilled)
}

#[expect(clippy::unnecessary_wraps, reason = "every caller is inside `and_then`")]
fn part<T>(report: &BotReport, part: T) -> Option<StatePart<T>> {
    Some(StatePart { as_of: report.as_of, part })
}

fn account(account: &Account) -> Account {
    Account {
        buying_power: cents(account.buying_power),
        account_balance: cents(account.account_balance),
        cash_balance: cents(account.cash_balance),
        ..account.clone()
    }
}

fn performance(performance: &Performance) -> Performance {
    Performance {
        total_realized_pl: cents(performance.total_realized_pl),
        total_unrealized_pl: cents(performance.total_unrealized_pl),
        total_pl: cents(performance.total_pl),
        daily_pl: cents(performance.daily_pl),
        max_drawdown: cents(performance.max_drawdown),
        ..performance.clone()
    }
}

/// Highest unrealized profit first, positions without a price last.
fn by_profit(positions: &[Position]) -> Vec<Position> {
    let rounded = |position: &Position| Position {
        unrealized_pl: position.unrealized_pl.map(cents),
        unrealized_pl_pct: position.unrealized_pl_pct.map(cents),
        ..position.clone()
    };
    let mut sorted: Vec<Position> = positions.iter().map(rounded).collect();
    sorted.sort_by(|a, b| b.unrealized_pl.cmp(&a.unrealized_pl).then_with(|| a.symbol.cmp(&b.symbol)));
    sorted
}

fn config(report: &BotReport, extras: &OverviewExtras) -> ConfigView {
    ConfigView {
        running: report.config.running.clone(),
        committed: report.config.committed.clone(),
        trial: report.config.trial.clone(),
        pending_restart: report.config.pending_restart.clone(),
        sync: extras.config_sync.clone(),
    }
}

/// Two digits after the point, halves to even: only here, at the edge.
pub(super) fn cents(amount: Decimal) -> Decimal {
    let mut cents = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven);
    cents.rescale(2);
    cents
}

/// Seconds with three digits after the point.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A reason without its full stop, so that it can stand inside a sentence.
pub(super) fn bare(reason: &str) -> &str {
    reason.trim().trim_end_matches('.')
}

fn spoken(presence: Presence) -> &'static str {
    match presence {
        Presence::Hung => "hung",
        Presence::Exited => "not running",
        Presence::Unreachable => "not reachable",
        Presence::Incompatible => "not understood",
        Presence::NeverSeen => "not there and never was",
        Presence::Connected => "connected",
        Presence::Slow => "slow",
        Presence::Reloading => "restarting",
    }
}
