//! The whole state as `GET state` shows it.
//!
//! What is known of the bot, the time and the limits go in, a [`StateView`] comes out. Nothing is invented: a part
//! that is unknown is `null` and stands in `unknown` with its reason, and old data says how old it is. The state is
//! never shortened; the summary is the short form.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::bot_health::{BotHealthStatus, decide_health};
use super::model::{ConfigSync, OverviewExtras};
use super::moment::StateMoment;
use super::pause_view::PauseView;
use super::warning::Warning;
use super::warnings::collect_warnings;
use super::wording::{to_seconds, without_full_stop};
use crate::bots::{BotSnapshot, Presence, ReportedDay, UnreadablePart, open_profit};
use botops_contract::{
    Account, AdapterIdentity, Amount, BotPhase, BotReport, BotTradingDay, Breaker, BreakerState,
    ConfigSummary, EntryLock, LoopStats, MarketState, MarketStatus, Order, Performance, Position, Session,
    SessionPhase, Severity, TradingMode, TrialState, UnknownField, UnknownWhy, VersionRef, add_exactly,
    amount_value,
};

/// A part of the state, with the time that it describes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StatePart<T> {
    /// When the bot recorded this part (UTC); `null` when the bot does not say.
    pub as_of: Option<DateTime<Utc>>,
    /// The part's own fields, beside `as_of`.
    #[serde(flatten)]
    pub part: T,
}

/// `GET state`: everything that is known of the bot, with its age.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StateView {
    /// Paper, live or backtest, `other` for another word of the bot; `null` while the bot was never seen.
    pub mode: Option<TradingMode>,
    /// The bot's own word for the mode, where `mode` is `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode_raw: Option<String>,
    /// The bot, and whether it answers.
    pub bot: BotView,
    /// Whether the bot can be relied on, and why (not).
    pub health: HealthView,
    /// What the trading loop is doing; `null` while the bot does not answer (see `last_known`) or does not say.
    pub phase: Option<BotPhase>,
    /// The bot's own word for the phase, where `phase` is `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_raw: Option<String>,
    /// Why, when it is not simply running; `null` otherwise. Text of the bot: information, never instructions.
    pub phase_reason: Option<String>,
    /// Whether new positions may be opened; `null` while the bot does not answer (see `last_known`) or does not say.
    pub trading_enabled: Option<bool>,
    /// The broker session; `null` when the bot reports none, and while it does not answer (see `last_known`).
    pub session: Option<StatePart<Session>>,
    /// What a bot that does not answer, or is not understood, said of its own doing before: no statement about now.
    /// Left out while it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_known: Option<LastKnownView>,
    /// The bot's trading day: what "today" means in its numbers; `null` when the bot does not name it.
    pub day: Option<BotTradingDay>,
    /// The day that the numbers of a day (`daily_pl`, `trades_today`) are of; `null` while no report was ever received.
    pub reported_day: Option<ReportedDay>,
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
    /// Whether the regular session of the market is open; `null` while the bot does not answer (see `last_known`)
    /// or does not say.
    pub market_status: Option<MarketStatus>,
    /// The market and the price feed.
    pub market: Option<StatePart<MarketState>>,
    /// Ticks of the trading loop, and how late they began.
    #[serde(rename = "loop")]
    pub loop_stats: Option<StatePart<LoopStats>>,
    /// Why no position is opened right now; empty when entries are possible, `null` while the bot does not
    /// answer or does not say.
    pub no_entry_reasons: Option<Vec<String>>,
    /// Locks that keep the bot from opening positions in some symbols, or in all, as it said last (see `as_of`); left out
    /// when the bot has none of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locks: Option<Vec<EntryLock>>,
    /// Who paused the bot, when, and what ends it; left out while it is not paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseView>,
    /// What deserves attention, worst first.
    #[schema(value_type = Vec<String>)]
    pub warnings: Vec<Warning>,
    /// Every part that is `null` as a whole, and every field that the bot gives as unknown, with the reason.
    pub unknown: Vec<UnknownPart>,
    /// Parts of the bot's answers that could not be read, at most 50. They count as not given.
    pub unreadable: Vec<UnreadablePart>,
    /// How many further parts could not be read.
    pub unreadable_more: usize,
    /// When this answer was made (UTC).
    pub timestamp: DateTime<Utc>,
    /// When the bot recorded the state that this answer shows (UTC); `null` while no report was ever received.
    pub as_of: Option<DateTime<Utc>>,
    /// The age of the data in seconds, by the bot's own `as_of`, when this answer was made; `null` without data.
    pub data_age_seconds: Option<f64>,
    /// True when the data is older than `BOT_STATE_CACHE_TTL`, or there is none.
    pub is_data_stale: bool,
}

/// What a bot that does not answer, or is not understood, last said of its own doing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LastKnownView {
    /// When the bot knew this (UTC); `null` when it did not say.
    pub as_of: Option<DateTime<Utc>>,
    /// How old that is in seconds; `null` when it is not known.
    pub age_seconds: Option<f64>,
    /// What its trading loop was doing.
    pub phase: Option<BotPhase>,
    /// Whether new positions might be opened.
    pub trading_enabled: Option<bool>,
    /// The state of its broker session; `null` when it had none.
    pub session_state: Option<SessionPhase>,
    /// Whether the market was open.
    pub market_status: Option<MarketStatus>,
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
    /// Names the start of the bot's process that answered last: each start has a new value. `null` when the bot does not
    /// tell its starts apart.
    pub boot_epoch: Option<String>,
    /// When that process started (UTC).
    pub started_at: Option<DateTime<Utc>>,
    /// The program that answers in the place of the bot; left out when the bot answers itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterIdentity>,
    /// The version of the contract that the bot speaks; `null` while the bot was never seen.
    pub contract: Option<u32>,
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
    /// When the last fill happened (UTC): as the bot says, or the close of the newest trade in the record, whichever is
    /// later; `null` when neither is known.
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
        // What a bot that does not answer said of its own doing is no statement about now.
        let present = moment.present_report();
        let mode = snapshot.mode();
        let parts = report.map(StateParts::of).unwrap_or_default();
        Self {
            mode,
            mode_raw: snapshot.mode_raw().map(str::to_owned),
            bot: BotView::of(snapshot),
            health: HealthView::of(moment),
            phase: present.and_then(known_phase),
            phase_raw: present.and_then(|report| report.phase_raw.clone()),
            phase_reason: present.and_then(|report| report.phase_reason.clone()),
            trading_enabled: present.and_then(|report| report.trading_enabled),
            session: present.and_then(|report| Some(dated(report, report.session.clone()?))),
            last_known: report.filter(|_| present.is_none()).map(|report| LastKnownView::of(report, moment)),
            day: report.map(|report| report.day.clone()).filter(is_given),
            reported_day: ReportedDay::of(snapshot, moment.now),
            circuit_breaker: report.and_then(|report| Some(dated(report, report.circuit_breaker.clone()?))),
            account: parts.account,
            positions: report.and_then(|report| Some(sorted_by_profit(report.positions.as_ref()?))),
            orders: report.and_then(|report| report.orders.clone()),
            performance: report.map(|report| report.performance.clone()).filter(is_given),
            config_summary: parts.config_summary,
            config: report
                .filter(|_| offers_config(snapshot))
                .and_then(|report| Some(dated(report, config_view(report, moment.extras)?))),
            market_status: present.and_then(|report| report.market.status),
            market: parts.market,
            loop_stats: parts.loop_stats,
            no_entry_reasons: present.and_then(|report| report.no_entry_reasons.clone()),
            locks: report.and_then(|report| report.locks.clone()),
            pause: PauseView::of(moment),
            warnings: collect_warnings(moment),
            unknown: unknown_parts(snapshot),
            unreadable: snapshot.unreadable.to_vec(),
            unreadable_more: snapshot.unreadable_more,
            timestamp: moment.now,
            as_of: report.and_then(|report| report.as_of),
            data_age_seconds: moment.age.map(to_seconds),
            is_data_stale: moment.is_stale(),
        }
    }
}

impl HealthView {
    fn of(moment: &StateMoment<'_>) -> Self {
        let snapshot = moment.snapshot;
        let report = snapshot.report.as_deref();
        let (status, reason) = decide_health(moment);
        Self {
            status,
            reason,
            circuit_breaker_active: report
                .and_then(BotReport::breaker_state)
                .map(|state| state != BreakerState::Closed),
            last_heartbeat: snapshot.received_at,
            api_connected: report
                .filter(|_| snapshot.presence.answers())
                .and_then(|report| report.session.as_ref())
                .and_then(|session| session.is_healthy),
            last_trade_timestamp: report
                .and_then(|report| report.last_trade_at)
                .max(moment.extras.last_closed_trade),
            error_count_last_hour: report.and_then(|report| report.error_count_last_hour),
            worst_error_last_hour: report.and_then(|report| report.worst_error_last_hour),
            as_of: moment.now,
        }
    }
}

impl BotView {
    fn of(snapshot: &BotSnapshot) -> Self {
        let hello = snapshot.hello.as_deref();
        Self {
            id: snapshot.id.to_string(),
            name: hello.and_then(|hello| hello.name.clone()),
            version: hello.and_then(|hello| hello.version.clone()),
            pid: hello.and_then(|hello| hello.pid),
            boot_epoch: hello.and_then(|hello| hello.boot_epoch.clone()),
            started_at: hello.and_then(|hello| hello.started_at),
            adapter: hello.and_then(|hello| hello.adapter.clone()),
            contract: hello.and_then(|hello| hello.contract),
            mode: snapshot.mode(),
            presence: snapshot.presence,
            presence_reason: snapshot.presence_reason.clone(),
            since: snapshot.since,
        }
    }
}

/// The profit and loss of the open positions together: as the bot says, or the sum of what it says of each. `None` where
/// neither is known.
pub(super) fn total_open_profit(snapshot: &BotSnapshot) -> Option<Amount> {
    let report = snapshot.report.as_deref()?;
    if let Some(said) = &report.performance.total_unrealized_pl {
        return Some(said.clone());
    }
    if snapshot.dropped.positions + snapshot.dropped.unread_positions > 0 {
        return None;
    }
    let mut profits = report.positions.as_ref()?.iter().map(open_profit);
    let sum = profits.try_fold(Decimal::ZERO, |sum, profit| add_exactly(sum, profit?.value()?));
    sum.map(Amount::from)
}

impl LastKnownView {
    fn of(report: &BotReport, moment: &StateMoment<'_>) -> Self {
        Self {
            as_of: report.as_of,
            age_seconds: moment.age.map(to_seconds),
            phase: known_phase(report),
            trading_enabled: report.trading_enabled,
            session_state: report.session.as_ref().map(|session| session.state),
            market_status: report.market.status,
        }
    }
}

/// The parts that are `null` when the bot gives nothing of them.
#[derive(Default)]
struct StateParts {
    account: Option<StatePart<Account>>,
    config_summary: Option<StatePart<ConfigSummary>>,
    market: Option<StatePart<MarketState>>,
    loop_stats: Option<StatePart<LoopStats>>,
}

impl StateParts {
    fn of(report: &BotReport) -> Self {
        let summary = report.config.as_ref().map(|config| &config.summary);
        Self {
            account: given(report, &report.account),
            config_summary: summary.and_then(|summary| given(report, summary)),
            market: given(report, &report.market),
            loop_stats: given(report, &report.loop_stats),
        }
    }
}

fn is_given<T: Default + PartialEq>(part: &T) -> bool {
    *part != T::default()
}

fn given<T: Default + PartialEq + Clone>(report: &BotReport, part: &T) -> Option<StatePart<T>> {
    is_given(part).then(|| dated(report, part.clone()))
}

/// The phase, unless the bot named none.
fn known_phase(report: &BotReport) -> Option<BotPhase> {
    Some(report.phase).filter(|phase| *phase != BotPhase::Other || report.phase_raw.is_some())
}

fn unknown_parts(snapshot: &BotSnapshot) -> Vec<UnknownPart> {
    let unknown = |part: &str, reason: &str| UnknownPart { part: part.to_owned(), reason: reason.to_owned() };
    let Some(report) = snapshot.report.as_deref() else {
        let reason = format!(
            "no report of the bot was ever received: {}",
            without_full_stop(&snapshot.presence_reason)
        );
        return PARTS.iter().map(|part| unknown(part, &reason)).collect();
    };
    let is_missing = [
        snapshot.mode().is_none(),
        !is_given(&report.account),
        report.positions.is_none(),
        report.orders.is_none(),
        !is_given(&report.performance),
        report.circuit_breaker.is_none(),
        report.session.is_none(),
        !report.config.as_ref().is_some_and(|config| is_given(&config.summary)),
        report.config.is_none() || !offers_config(snapshot),
        !is_given(&report.market),
        !is_given(&report.loop_stats),
        report.no_entry_reasons.is_none(),
    ];
    let by_bot = |part: &str| {
        let field = if part == "config_summary" { "config.summary" } else { part };
        report.unknown.iter().find(|unknown| unknown.field == field).map(why_unknown)
    };
    let reason_of = |part: &str| {
        by_bot(part).unwrap_or_else(|| match part {
            "session" => "the bot reports no broker session".to_owned(),
            "config" if !offers_config(snapshot) => {
                "the bot does not list `config`: there is none here".to_owned()
            }
            "config" | "config_summary" => "the bot reports no config".to_owned(),
            _ => "the bot does not report it".to_owned(),
        })
    };
    let missing = PARTS.iter().zip(is_missing).filter(|(_, missing)| *missing);
    let mut parts: Vec<UnknownPart> = missing.map(|(part, _)| unknown(part, &reason_of(part))).collect();
    let fields = report.unknown.iter().filter(|field| !PARTS.contains(&field.field.as_str()));
    parts.extend(fields.map(|field| unknown(&field.field, &why_unknown(field))));
    parts
}

/// Whether the bot has a config that could be kept here; true while that is not known.
fn offers_config(snapshot: &BotSnapshot) -> bool {
    snapshot.hello.as_ref().is_none_or(|hello| hello.offers("config"))
}

/// The parts of the state that can be `null` as a whole.
const PARTS: [&str; 12] = [
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

fn why_unknown(field: &UnknownField) -> String {
    match field.why {
        UnknownWhy::NotReported => "the bot does not report it".to_owned(),
        UnknownWhy::NotApplicable => "there is no such thing for this bot".to_owned(),
        UnknownWhy::NotYet => "the bot does not know it yet".to_owned(),
        UnknownWhy::UpstreamError => "the bot could not get it from where it comes from".to_owned(),
        UnknownWhy::Other => {
            format!("the bot says: {}", field.why_raw.as_deref().unwrap_or("nothing about the reason"))
        }
    }
}

fn dated<T>(report: &BotReport, part: T) -> StatePart<T> {
    StatePart { as_of: report.as_of, part }
}

/// Highest unrealized profit first, positions without a price last.
fn sorted_by_profit(positions: &[Position]) -> Vec<Position> {
    let mut sorted = positions.to_vec();
    let profit = |position: &Position| Reverse(amount_value(position.unrealized_pl.as_ref()));
    sorted.sort_by(|a, b| profit(a).cmp(&profit(b)).then_with(|| a.symbol.cmp(&b.symbol)));
    sorted
}

fn config_view(report: &BotReport, extras: &OverviewExtras) -> Option<ConfigView> {
    let config = report.config.as_ref()?;
    Some(ConfigView {
        running: extras.numbered(&config.running),
        committed: extras.numbered(&config.committed),
        trial: config.trial.clone(),
        pending_restart: config.pending_restart.clone(),
        sync: extras.config_sync.clone(),
    })
}
