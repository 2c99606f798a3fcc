//! The whole report.

use botops_contract::{
    BotReport, BotTradingDay, LoopStats, MarketState, MarketStatus, Order, Severity, UnknownWhy,
};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::account::account_of;
use super::breaker::{breaker_of, entry_locks_of};
use super::config_echo::echoed_config_of;
use super::failures::failure_in;
use super::hello::trading_mode;
use super::performance::{PerformanceSums, performance_of};
use super::phase::{PhaseView, is_trading_enabled, loop_interval, no_entry_reasons, phase_of};
use super::positions::{orders_of_trades, positions_of};
use super::unknown_fields::{UnknownFields, why_missing};
use crate::polling::UpstreamPicture;
use crate::trades::AccountTally;
use crate::upstream::LogLine;

/// Failures in a report, by the contract.
const MOST_ERRORS: usize = 50;

/// What a report is made of.
#[derive(Debug)]
pub(crate) struct ReportInputs<'a> {
    pub picture: &'a UpstreamPicture,
    /// `None` until freqtrade's closed trades were read.
    pub tally: Option<&'a AccountTally>,
    /// Orders of the newest closed trades.
    pub closed_orders: Vec<Order>,
    /// The total result when the day began, where the adapter was there.
    pub day_base: Option<Decimal>,
    /// A trade is neither among the open nor among the closed ones now, or among both.
    pub is_between: bool,
    pub now: DateTime<Utc>,
}

/// Midnight of the day in UTC, by which freqtrade counts.
pub(crate) fn day_began(now: DateTime<Utc>) -> DateTime<Utc> {
    now.date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// The report; its `seq` is set by who publishes it.
pub(crate) fn build_report(inputs: ReportInputs<'_>) -> BotReport {
    let ReportInputs { picture, tally, closed_orders, day_base, is_between, now } = inputs;
    let mut unknown = UnknownFields::default();
    let config = picture.config.value();
    let as_of = picture.as_of();
    let mode = config.and_then(trading_mode);
    let PhaseView { phase, raw: phase_raw, reason: phase_reason } = phase_of(picture);
    // A list of which a part cannot be read would be taken for the whole.
    let open = picture.open_trades.value().filter(|trades| trades.unreadable == 0);
    let open = open.map(|trades| trades.items.as_slice());
    let positions = open.map(|open| positions_of(open, as_of.unwrap_or(now)));
    let orders = open.map(|open| orders_of_trades(open, closed_orders));
    if open.is_none() {
        let whole = picture.open_trades.value().is_none();
        let why = if whole { why_missing(&picture.open_trades) } else { UnknownWhy::UpstreamError };
        unknown.add("positions", why);
        unknown.add("orders", why);
    }
    let reasons = no_entry_reasons(picture, now);
    let account = account_of(picture, &mut unknown);
    let sums = PerformanceSums { tally, day_base, is_between };
    let performance = performance_of(picture, sums, positions.as_deref(), as_of, &mut unknown);
    let circuit_breaker = breaker_of(picture, now);
    unknown.note("circuit_breaker", circuit_breaker.as_ref(), why_missing(&picture.locks));
    let locks = entry_locks_of(picture, now);
    unknown.note("locks", locks.as_ref(), why_missing(&picture.locks));
    let last_trade_at = orders.iter().flatten().filter(|order| order.average_fill_price.is_some());
    let last_trade_at = last_trade_at.filter_map(|order| order.updated_at).max();
    let failures = LogFailures::of(picture, now);
    unknown.note("recent_errors", failures.newest.as_ref(), UnknownWhy::NotYet);
    let loop_stats = loop_stats_of(picture, &mut unknown);
    let life = picture.life.as_deref();
    let boot_epoch = life.and_then(|life| life.boot_epoch.clone());
    unknown.note("boot_epoch", boot_epoch.as_ref(), UnknownWhy::NotYet);
    // freqtrade reports no session with its exchange, and no config of which versions could be kept.
    unknown.add("session", UnknownWhy::NotReported);
    unknown.add("config", UnknownWhy::NotApplicable);
    unknown.add("market.last_price_at", UnknownWhy::NotReported);
    BotReport {
        seq: 0,
        boot_epoch,
        as_of,
        mode: mode.unwrap_or_default(),
        mode_raw: mode.is_none().then(|| "freqtrade does not say".to_owned()),
        phase,
        phase_raw,
        phase_reason,
        trading_enabled: Some(is_trading_enabled(&reasons)),
        day: BotTradingDay { zone: Some("UTC".to_owned()), began_at: Some(day_began(now)) },
        account,
        positions,
        orders,
        performance,
        market: MarketState {
            status: Some(MarketStatus::AlwaysOpen),
            phase: Some("core".to_owned()),
            source: config.and_then(|config| config.exchange.clone()),
            ..MarketState::default()
        },
        session: None,
        circuit_breaker,
        config: None,
        echoed_config: echoed_config_of(picture),
        recent_errors: failures.newest,
        error_count_last_hour: failures.last_hour,
        worst_error_last_hour: failures.worst,
        last_trade_at,
        no_entry_reasons: Some(reasons),
        locks,
        loop_stats,
        unknown: unknown.into_fields(),
    }
}

/// A loop that is stopped on purpose goes round and does nothing, which freqtrade does not count.
fn loop_stats_of(picture: &UpstreamPicture, unknown: &mut UnknownFields) -> LoopStats {
    let config = picture.config.value();
    let is_stopped = config.and_then(|config| config.state.as_deref()) == Some("stopped");
    let last_tick_at = picture.health.value().and_then(|health| health.last_process).filter(|_| !is_stopped);
    let expected_interval_s = config.and_then(loop_interval).filter(|_| !is_stopped);
    let why = if is_stopped { UnknownWhy::NotApplicable } else { why_missing(&picture.health) };
    unknown.note("loop.last_tick_at", last_tick_at.as_ref(), why);
    unknown.note("loop.expected_interval_s", expected_interval_s.as_ref(), UnknownWhy::NotReported);
    for field in ["loop.ticks", "loop.tick_delay_p50_ms", "loop.tick_delay_p99_ms", "loop.tick_delay_max_ms"]
    {
        unknown.add(field, UnknownWhy::NotReported);
    }
    LoopStats { last_tick_at, expected_interval_s, ..LoopStats::default() }
}

/// The failures that freqtrade's log shows; all `None` until it was read.
struct LogFailures {
    newest: Option<Vec<botops_contract::SemanticError>>,
    last_hour: Option<u32>,
    worst: Option<Severity>,
}

impl LogFailures {
    fn of(picture: &UpstreamPicture, now: DateTime<Utc>) -> Self {
        if picture.errors.read_at.is_none() {
            return Self { newest: None, last_hour: None, worst: None };
        }
        let hour_ago = now - TimeDelta::hours(1);
        let told = |line: &LogLine| failure_in(picture, line);
        let recent = || picture.errors.lines().rev().take_while(|line| line.at >= hour_ago);
        Self {
            newest: Some(picture.errors.lines().rev().take(MOST_ERRORS).map(told).collect()),
            last_hour: u32::try_from(picture.errors.count_since(hour_ago)).ok(),
            worst: recent().map(|line| told(line).severity).max(),
        }
    }
}
