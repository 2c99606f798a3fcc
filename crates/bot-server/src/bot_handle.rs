//! What the trading code calls: it says what the bot has and does, and waits for nobody.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use botops_contract::{
    BotEvent, BotPhase, BotReport, CommandResult, EventKind, RunningConfig, SemanticError, Severity, Trade,
    TradingMode, Verb,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::event_ring::EventRing;
use super::rendered_report::RenderedReport;

/// Events kept for a reader that comes back.
const KEPT_EVENTS: usize = 10_000;
/// Failures that the state lists.
const KEPT_ERRORS: usize = 50;
/// The most failures that are counted of an hour.
const COUNTED_ERRORS: usize = 20_000;

/// Handle to a bot that is served; cloning is cheap. No method waits for a connection or a disk.
#[derive(Clone)]
pub struct BotHandle {
    shared: Arc<BotShared>,
}

impl fmt::Debug for BotHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BotHandle({})", self.shared.boot_epoch)
    }
}

struct BotShared {
    boot_epoch: String,
    mode: TradingMode,
    published: ArcSwap<RenderedReport>,
    /// Held while a report is numbered and replaced; never while one is rendered.
    state: Mutex<StateToPublish>,
    events: EventRing,
    trades: SyncSender<Trade>,
    dropped_trades: AtomicU64,
    trading_enabled: AtomicBool,
    stopping: AtomicBool,
}

/// What is added to the reports of the trading code.
#[derive(Debug)]
struct StateToPublish {
    seq: u64,
    rounds: u64,
    expected_interval: Option<Duration>,
    /// Why the bot was told to open nothing; `None` while it may.
    held: Option<String>,
    stopping: Option<String>,
    /// The managed config, and when the trial that it shows is over.
    config: Option<(RunningConfig, Option<Instant>)>,
    /// Phase, its reason and `trading_enabled` as the trading code gave them last.
    given: (BotPhase, Option<String>, Option<bool>),
    errors: VecDeque<SemanticError>,
    error_times: VecDeque<(DateTime<Utc>, Severity)>,
}

impl BotHandle {
    pub(crate) fn new(boot_epoch: &str, mode: TradingMode, trades: SyncSender<Trade>) -> Self {
        let starting = BotReport { phase: BotPhase::Starting, ..BotReport::default() };
        let state = StateToPublish {
            seq: 0,
            rounds: 0,
            expected_interval: None,
            held: None,
            stopping: None,
            config: None,
            given: (BotPhase::Starting, None, None),
            errors: VecDeque::new(),
            error_times: VecDeque::new(),
        };
        let shared = BotShared {
            boot_epoch: boot_epoch.to_owned(),
            mode,
            published: ArcSwap::from_pointee(RenderedReport::new(starting.clone(), boot_epoch)),
            state: Mutex::new(state),
            events: EventRing::new(boot_epoch, KEPT_EVENTS),
            trades,
            dropped_trades: AtomicU64::new(0),
            trading_enabled: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
        };
        let bot = Self { shared: Arc::new(shared) };
        bot.replace(&mut bot.lock(), starting);
        bot
    }

    /// Publishes the state, once in each round of the loop: what is asked for from here on is answered with it.
    ///
    /// `seq`, `boot_epoch` and `mode` are filled in, and what the report leaves out: `as_of` (now), the phase (running), the
    /// times of the loop, and the failures of [`BotHandle::error`]. While the bot is paused it is told as paused.
    pub fn publish(&self, mut report: BotReport) {
        let mut state = self.lock();
        state.rounds += 1;
        let now = Utc::now();
        report.as_of.get_or_insert(now);
        let is_unsaid = report.phase == BotPhase::Other && report.phase_raw.is_none();
        if is_unsaid {
            report.phase = BotPhase::Running;
        }
        let timing = &mut report.loop_stats;
        timing.ticks.get_or_insert(state.rounds);
        timing.last_tick_at.get_or_insert(now);
        state.given = (report.phase, report.phase_reason.clone(), report.trading_enabled);
        self.replace(&mut state, report);
    }

    /// Something happened, in one sentence; `data` has its details, or is null.
    pub fn event(&self, kind: EventKind, severity: Severity, message: &str, data: Value) {
        self.add_event(kind, severity, message, None, data);
    }

    /// Something failed. It is an event, and stands in the state from the next publication on.
    pub fn error(&self, mut error: SemanticError) {
        let at = *error.timestamp.get_or_insert_with(Utc::now);
        let (severity, message) = (error.severity, error.message.clone());
        let mut state = self.lock();
        state.errors.push_front(error.clone());
        state.errors.truncate(KEPT_ERRORS);
        state.error_times.push_back((at, severity));
        if state.error_times.len() > COUNTED_ERRORS {
            state.error_times.pop_front();
        }
        drop(state);
        self.add_event(EventKind::Error, severity, &message, Some(error), Value::Null);
    }

    /// A trade was closed. Its number and `boot_epoch` are filled in, and it is told once it is on disk.
    ///
    /// False when it is not told: 1,000 trades wait for the disk already, or the bot has no folder for its data. Such trades
    /// are counted ([`BotHandle::dropped_trades`]).
    pub fn trade(&self, mut trade: Trade) -> bool {
        trade.boot_epoch.clone_from(&self.shared.boot_epoch);
        if trade.config_sha256.is_empty() {
            trade.config_sha256 = self.running_config_sha256();
        }
        let is_queued = self.shared.trades.try_send(trade).is_ok();
        if !is_queued && self.shared.dropped_trades.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(
                "a closed trade is not told: the journal takes none (further ones are only counted)"
            );
        }
        is_queued
    }

    /// How many closed trades were not taken by the journal.
    pub fn dropped_trades(&self) -> u64 {
        self.shared.dropped_trades.load(Ordering::Relaxed)
    }

    /// Whether new positions may be opened: false after `pause`, `flatten` and `halt`, until `resume`.
    pub fn trading_enabled(&self) -> bool {
        self.shared.trading_enabled.load(Ordering::Acquire)
    }

    /// Opens no new positions from here on, as after `pause`: for a bot that pauses itself, or keeps a pause over a restart.
    pub fn pause(&self, reason: &str) {
        self.hold(Some(reason.to_owned()));
    }

    /// Lets new positions be opened again, as after `resume`.
    pub fn resume(&self) {
        self.hold(None);
    }

    /// Whether the bot was told to shut down: the loop ends, and positions and orders stay.
    pub fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn events(&self) -> &EventRing {
        &self.shared.events
    }

    pub(crate) fn published(&self) -> Arc<RenderedReport> {
        self.shared.published.load_full()
    }

    pub(crate) fn boot_epoch(&self) -> &str {
        &self.shared.boot_epoch
    }

    /// Shows this config in the state from here on, with a trial that is over then.
    pub(crate) fn show_config(&self, config: RunningConfig, trial_is_over: Option<Instant>) {
        self.lock().config = Some((config, trial_is_over));
        self.replace_last();
    }

    pub(crate) fn expect_interval(&self, interval: Duration) {
        self.lock().expected_interval = Some(interval);
        self.replace_last();
    }

    /// What a verb means for the state once its handler has done it.
    pub(crate) fn take_effect(&self, verb: Verb, reason: &str) {
        match verb {
            Verb::Pause | Verb::Flatten | Verb::Halt => self.hold(Some(format!("{verb}: {reason}"))),
            Verb::Resume => self.hold(None),
            Verb::Shutdown => {
                self.lock().stopping = Some(format!("shutdown: {reason}"));
                self.replace_last();
                self.shared.stopping.store(true, Ordering::Release);
            }
            Verb::CancelOrders | Verb::ProbeSession | Verb::Reauth | Verb::ResetBreaker => {}
        }
    }

    /// The answer, with the state after the command.
    pub(crate) fn with_state(&self, result: CommandResult) -> CommandResult {
        let published = self.published();
        let report = published.report();
        let (phase, phase_raw) = (Some(report.phase), report.phase_raw.clone());
        CommandResult { phase, phase_raw, trading_enabled: report.trading_enabled, ..result }
    }

    /// The hash of the config that a trade was made with, where the SDK keeps it.
    fn running_config_sha256(&self) -> String {
        let state = self.lock();
        state.config.as_ref().map_or_else(String::new, |(config, _)| config.running.sha256.clone())
    }

    fn hold(&self, reason: Option<String>) {
        self.shared.trading_enabled.store(reason.is_none(), Ordering::Release);
        self.lock().held = reason;
        self.replace_last();
    }

    /// Publishes the last report anew, with what changed beside it: no round of the loop, so its times stay.
    fn replace_last(&self) {
        let mut state = self.lock();
        let mut report = self.published().report().clone();
        (report.phase, report.phase_reason, report.trading_enabled) = state.given.clone();
        self.replace(&mut state, report);
    }

    fn replace(&self, state: &mut StateToPublish, mut report: BotReport) {
        state.seq += 1;
        report.seq = state.seq;
        report.boot_epoch = Some(self.shared.boot_epoch.clone());
        (report.mode, report.mode_raw) = (self.shared.mode, None);
        report.as_of.get_or_insert_with(Utc::now);
        let interval = state.expected_interval.map(|interval| interval.as_secs_f64());
        report.loop_stats.expected_interval_s = report.loop_stats.expected_interval_s.or(interval);
        state.add_standing(&mut report);
        state.add_errors(&mut report);
        state.add_config(&mut report);
        self.shared.published.store(Arc::new(RenderedReport::new(report, &self.shared.boot_epoch)));
    }

    fn add_event(
        &self,
        kind: EventKind,
        severity: Severity,
        message: &str,
        error: Option<SemanticError>,
        data: Value,
    ) {
        self.shared.events.add(BotEvent {
            seq: 0,
            boot_epoch: String::new(),
            at: Some(Utc::now()),
            kind,
            kind_raw: None,
            severity,
            severity_raw: None,
            message: message.to_owned(),
            error,
            data,
        });
    }

    fn lock(&self) -> MutexGuard<'_, StateToPublish> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateToPublish {
    /// A pause and a stop that were acknowledged show, whatever the loop says meanwhile.
    fn add_standing(&self, report: &mut BotReport) {
        if let Some(reason) = &self.held {
            report.trading_enabled = Some(false);
            if !matches!(report.phase, BotPhase::Stopped | BotPhase::Stopping) {
                (report.phase, report.phase_raw) = (BotPhase::Paused, None);
                report.phase_reason = Some(reason.clone());
            }
        }
        report.trading_enabled.get_or_insert(true);
        if let Some(reason) = &self.stopping {
            (report.phase, report.phase_raw) = (BotPhase::Stopping, None);
            report.phase_reason = Some(reason.clone());
        }
    }

    fn add_config(&self, report: &mut BotReport) {
        let Some((config, trial_is_over)) = &self.config else { return };
        let shown = report.config.insert(config.clone());
        shown.summary.mode = Some(report.mode);
        if let (Some(trial), Some(over)) = (&mut shown.trial, trial_is_over) {
            let left = over.saturating_duration_since(Instant::now());
            trial.ttl_left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        }
    }

    fn add_errors(&mut self, report: &mut BotReport) {
        let since = Utc::now() - TimeDelta::hours(1);
        while self.error_times.front().is_some_and(|(at, _)| *at < since) {
            self.error_times.pop_front();
        }
        report.recent_errors = Some(self.errors.iter().cloned().collect());
        report.error_count_last_hour = u32::try_from(self.error_times.len()).ok();
        report.worst_error_last_hour = self.error_times.iter().map(|(_, severity)| *severity).max();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot() -> BotHandle {
        BotHandle::new("life", TradingMode::Paper, std::sync::mpsc::sync_channel(1).0)
    }

    fn shown(bot: &BotHandle) -> (u64, BotPhase, Option<bool>) {
        let published = bot.published();
        let report = published.report();
        (report.seq, report.phase, report.trading_enabled)
    }

    #[test]
    fn a_pause_that_was_acknowledged_shows_whatever_the_loop_publishes() {
        let bot = bot();
        assert_eq!(shown(&bot), (1, BotPhase::Starting, Some(true)));
        bot.publish(BotReport::default());
        assert_eq!(shown(&bot), (2, BotPhase::Running, Some(true)));
        bot.take_effect(Verb::Pause, "lunch");
        assert_eq!(shown(&bot), (3, BotPhase::Paused, Some(false)));
        bot.publish(BotReport {
            phase: BotPhase::Running,
            trading_enabled: Some(true),
            ..BotReport::default()
        });
        assert_eq!(shown(&bot), (4, BotPhase::Paused, Some(false)));
        assert_eq!(bot.published().report().phase_reason.as_deref(), Some("pause: lunch"));
        assert!(!bot.trading_enabled());
        bot.take_effect(Verb::Resume, "back");
        assert_eq!(shown(&bot), (5, BotPhase::Running, Some(true)));
        assert_eq!(bot.published().report().phase_reason, None);
        bot.take_effect(Verb::Shutdown, "enough");
        assert!(bot.is_stopping() && shown(&bot).1 == BotPhase::Stopping);
    }

    #[test]
    fn what_did_not_come_from_the_loop_leaves_its_times_as_they_were() {
        let bot = bot();
        bot.publish(BotReport::default());
        let before = bot.published();
        bot.pause("it pauses itself");
        let after = bot.published();
        assert_eq!(before.report().loop_stats, after.report().loop_stats);
        assert_eq!(before.report().as_of, after.report().as_of);
        assert_ne!(before.etag(), after.etag());
    }

    #[test]
    fn failures_are_counted_and_listed_newest_first() {
        let bot = bot();
        let error = |code: &str, severity: &str| -> SemanticError {
            serde_json::from_value(serde_json::json!({"error_code": code, "severity": severity})).unwrap()
        };
        let old =
            SemanticError { timestamp: Some(Utc::now() - TimeDelta::hours(2)), ..error("A", "critical") };
        bot.error(old);
        bot.error(error("B", "high"));
        bot.error(error("C", "low"));
        bot.publish(BotReport::default());
        let published = bot.published();
        let report = published.report();
        let codes: Vec<&str> = report.error_list().iter().map(|error| error.error_code.as_str()).collect();
        assert_eq!(codes, ["C", "B", "A"]);
        assert_eq!(report.error_count_last_hour, Some(2));
        assert_eq!(report.worst_error_last_hour, Some(Severity::High));
    }

    #[test]
    fn a_trade_that_nobody_takes_is_counted() {
        let (trades, queue) = std::sync::mpsc::sync_channel(1);
        let bot = BotHandle::new("life", TradingMode::Paper, trades);
        let trade: Trade =
            serde_json::from_str(r#"{"seq": 0, "symbol": "SPY", "closed_at": "2026-03-02T15:00:00Z"}"#)
                .unwrap();
        assert!(bot.trade(trade.clone()));
        assert!(!bot.trade(trade.clone()));
        assert_eq!(queue.recv().unwrap().boot_epoch, "life");
        drop(queue);
        assert!(!bot.trade(trade));
        assert_eq!(bot.dropped_trades(), 2);
    }
}
