//! The trading loop: one thread that owns the account, and an inbox that is read between ticks.
//!
//! A tick is: the market moves, resting orders fill, limits are checked, the strategy gives signals, orders go out, a
//! snapshot is published. Everything that changes the account goes through [`TradingEngine::commit_entries`], which
//! writes the ledger first. The loop waits for no reader and no server.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::entry_gates::EntryGates;
use super::order_issuer::OrderIssuer;
use super::order_planner::{EntryPlan, OrderPlanner};
use super::order_rejects::OrderRejects;
use super::planned_line::{OrderDraft, OrderRefusal, PlannedLine, cancel_entry};
use super::risk_limits::{CrossedLimit, counted_losses, crossed_limit};
use super::tick_timing::TickTiming;
use crate::account::book::{BookChange, trading_day};
use crate::account::effects_log::EffectsLog;
use crate::account::ledger::{LedgerEntry, LedgerLine, OrderPurpose};
use crate::account::recorded_account::{LedgerUnwritable, RecordedAccount};
use crate::config::rules::CheckFacts;
use crate::config::slot::{ConfigSlot, TrialEvent};
use crate::identity::BotIdentity;
use crate::ipc::inbox::RequestDelivery;
use crate::ipc::line_event::line_event;
use crate::ipc::outbox::BotOutbox;
use crate::ipc::report::ReportSources;
use crate::ipc::snapshot::PublishedSnapshot;
use crate::ipc::trade_log::TradeLogLine;
use crate::ipc::trading_status::TradingStatus;
use crate::market::exchange::PaperExchange;
use crate::market::prices::{MarketPrices, MarketStep};
use crate::market::strategy::{MomentumStrategy, TradeSignal};
use crate::session_gate::SessionGate;
use botops_contract::{BreakerState, EventKind, OrderStatus, Severity};
use botops_core::error::Code;
use botops_core::failpoints;

/// The longest wait of the loop, so that a stop is noticed within this time.
const LONGEST_NAP: Duration = Duration::from_millis(100);
/// Time between two checks whether `HEAD` was replaced.
const HEAD_INTERVAL: Duration = Duration::from_secs(1);

/// The parts that a loop is made of; it owns them all.
#[derive(Debug)]
pub(crate) struct EngineParts {
    pub identity: BotIdentity,
    pub account: RecordedAccount,
    pub market: MarketPrices,
    pub exchange: PaperExchange,
    pub strategy: MomentumStrategy,
    pub config: ConfigSlot,
    pub session: SessionGate,
    pub outbox: BotOutbox,
    pub effects: EffectsLog,
}

/// The trading loop with the account, the market and the config. Nothing else changes them.
#[derive(Debug)]
pub(crate) struct TradingEngine {
    identity: BotIdentity,
    pub(super) account: RecordedAccount,
    pub(super) market: MarketPrices,
    exchange: PaperExchange,
    strategy: MomentumStrategy,
    pub(super) config: ConfigSlot,
    pub(super) session: SessionGate,
    pub(super) outbox: BotOutbox,
    pub(super) effects: EffectsLog,
    order_issuer: OrderIssuer,
    order_rejects: OrderRejects,
    timing: TickTiming,
    /// Whether the first lines of this process are in the ledger.
    start_recorded: bool,
    pub(super) stopping: bool,
    snapshot_seq: u64,
    /// Why `HEAD` cannot be loaded; `None` while it can.
    head_fault: Option<String>,
}

impl TradingEngine {
    /// Puts the parts together; [`TradingEngine::run`] starts the loop.
    pub(crate) fn new(parts: EngineParts) -> Self {
        Self {
            order_issuer: OrderIssuer::new(&parts.identity.boot_epoch),
            identity: parts.identity,
            account: parts.account,
            market: parts.market,
            exchange: parts.exchange,
            strategy: parts.strategy,
            config: parts.config,
            session: parts.session,
            outbox: parts.outbox,
            effects: parts.effects,
            order_rejects: OrderRejects::default(),
            timing: TickTiming::default(),
            start_recorded: false,
            stopping: false,
            snapshot_seq: 0,
            head_fault: None,
        }
    }

    /// Publishes the first snapshot and returns the cell in which readers find the newest one.
    pub(crate) fn open_snapshots(&mut self) -> Arc<ArcSwap<PublishedSnapshot>> {
        let first = self.take_snapshot();
        self.outbox.open_snapshots(first)
    }

    /// Runs until stopped, by the token or by a command.
    pub(crate) fn run(mut self, requests: &Receiver<RequestDelivery>, stop: &CancellationToken) {
        self.announce_start();
        let mut next_tick = Instant::now() + self.identity.tick;
        let mut next_head_check = Instant::now();
        while !self.stopping && !stop.is_cancelled() {
            failpoints::stall("paperbot.loop");
            match requests.recv_timeout(self.longest_wait(next_tick)) {
                Ok(delivery) => self.handle_request(delivery),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.expire_trial();
            self.forward_session_notes();
            let now = Instant::now();
            if now >= next_head_check {
                self.refresh_head();
                // An ending that a full disk refused is written again until it succeeds; the failure was logged once.
                let _ = self.config.save_outcomes();
                self.account.store_mark();
                next_head_check = now + HEAD_INTERVAL;
            }
            if now >= next_tick {
                self.timing.record_tick(now - next_tick, Utc::now());
                self.run_tick();
                self.publish_snapshot();
                next_tick += self.identity.tick;
                // After a long stall the missed ticks are skipped.
                if Instant::now() > next_tick + self.identity.tick * 10 {
                    next_tick = Instant::now() + self.identity.tick;
                }
            }
        }
        self.record_stop();
    }

    fn longest_wait(&self, next_tick: Instant) -> Duration {
        let mut wake = next_tick.min(Instant::now() + LONGEST_NAP);
        wake = self.config.trial_deadline().map_or(wake, |deadline| wake.min(deadline));
        wake.saturating_duration_since(Instant::now())
    }

    fn announce_start(&mut self) {
        // A failure is retried at the next tick.
        let _ = self.record_start();
        let repaired = if self.identity.repaired { "; a torn ledger line was cut off" } else { "" };
        let book = self.account.book();
        let positions = book.positions.len();
        let message = format!("{} started with {positions} open positions{repaired}", self.identity.id);
        let data = json!({"lives": book.starts, "ledger_repaired": self.identity.repaired});
        self.outbox.publish_event(EventKind::Lifecycle, Severity::Low, message, data);
        self.announce_file_faults();
        self.publish_snapshot();
    }

    /// Says which files do not hold, and takes back what would open positions meanwhile.
    fn announce_file_faults(&mut self) {
        if let Some(fault) = self.config.outcomes_fault().map(str::to_owned) {
            self.outbox.publish_failure(Code::BotConfigInvalid, fault.clone(), json!({"error": fault}));
        }
        if let Some(damage) = self.account.damage() {
            let (message, in_doubt) = (damage.sentence(), json!({"positions_in_doubt": damage.in_doubt}));
            self.outbox.publish_failure(Code::BotLedgerDamaged, message, in_doubt);
        }
        if self.account.damage().is_some() || self.config.fault().is_some() {
            let cancelled =
                self.order_planner().cancel_entries("the bot's files are damaged; nothing is opened");
            self.commit_exits(cancelled);
        }
    }

    /// Records the first lines of this process. While that fails the bot does not trade, as with any other ledger line.
    fn record_start(&mut self) -> Result<(), LedgerUnwritable> {
        if self.start_recorded {
            return Ok(());
        }
        let mut entries = Vec::new();
        if !self.account.book().opened {
            entries.push(LedgerEntry::Opened {
                cash: self.identity.cash,
                // The first start of a ledger names its account.
                account_id: Some(format!("paper-{}", self.identity.boot_epoch)),
            });
        }
        entries.push(LedgerEntry::Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source: self.market.source().to_owned(),
            seed: self.identity.seed,
            pid: std::process::id(),
        });
        self.commit_entries(entries)?;
        self.start_recorded = true;
        Ok(())
    }

    fn record_stop(&mut self) {
        let reason = if self.stopping { "told to by a command" } else { "told to by a signal" };
        self.stopping = true;
        let message = format!("{} stops: {reason}", self.identity.id);
        self.outbox.publish_event(EventKind::Lifecycle, Severity::Low, message, Value::Null);
        let _ = self.commit_entries(vec![LedgerEntry::Stopped { reason: reason.to_owned() }]);
        self.publish_snapshot();
    }

    fn run_tick(&mut self) {
        let now = Utc::now();
        self.outbox.prune_errors(now);
        self.order_rejects.prune(now);
        if self.account.try_again() {
            self.publish_ledger_recovered();
        }
        let moment = match self.market.advance(now, Instant::now()) {
            MarketStep::Moment(moment) => moment,
            step @ (MarketStep::Ended | MarketStep::StillEnded) => {
                if matches!(step, MarketStep::Ended) {
                    let message = "the replay has ended; open positions stay as they are".to_owned();
                    self.outbox.publish_event(EventKind::Lifecycle, Severity::Low, message, Value::Null);
                }
                return;
            }
        };
        for gap in &moment.gaps {
            let symbol = gap.symbol.as_deref().unwrap_or("every symbol");
            let message = format!("gap in the feed of {symbol}: {}", gap.what);
            let context = json!({"symbol": gap.symbol, "market_time": moment.at});
            self.outbox.publish_failure(Code::BotFeedGap, message, context);
        }
        self.strategy.add_prices(&moment.prices);
        // An entry that cannot be recorded did not happen: it is tried again at the next price. The fault is kept with
        // the account, which reports it.
        let _ = self.trade_at(&moment.prices, moment.at);
    }

    fn trade_at(&mut self, prices: &[(String, Decimal)], at: DateTime<Utc>) -> Result<(), LedgerUnwritable> {
        // While the ledger cannot be written, nothing is opened, and what follows closes positions from memory.
        let _ = self.record_start().and_then(|()| self.record_day_and_peak(at));
        self.fill_and_cancel_orders(prices, at);
        self.place_targets(at);
        self.check_limits();
        let mut may_enter = self.closed_gates(at).is_empty();
        let signals = self.strategy.signals(prices, self.account.book(), self.config.settings());
        for signal in signals {
            match signal {
                TradeSignal::Leave { symbol, reason } if self.session.may_send(true) => {
                    let lines = self.order_planner().plan_exit(&symbol, &reason, OrderPurpose::Exit);
                    let entries = self.issue_lines(lines, at);
                    self.commit_exits(entries);
                }
                TradeSignal::Enter { symbol, reason } if may_enter && self.session.may_send(false) => {
                    self.enter_position(&symbol, reason, at)?;
                    may_enter = self.closed_gates(at).is_empty();
                }
                // A signal that may not be followed now is given again at the next price.
                TradeSignal::Enter { .. } | TradeSignal::Leave { .. } => {}
            }
        }
        Ok(())
    }

    fn record_day_and_peak(&mut self, at: DateTime<Utc>) -> Result<(), LedgerUnwritable> {
        if self.account.damage().is_some() {
            return Ok(());
        }
        let today = trading_day(at);
        let equity = self.account.book().equity(self.market.last());
        let before = self.account.book().day.map(|(day, _)| day);
        if before != Some(today) {
            let began_with = self.account.book().began_with(today);
            let entry = LedgerEntry::Day { day: today, equity: began_with.unwrap_or(equity) };
            self.commit_entries(vec![entry])?;
            if let Some(before) = before.filter(|before| *before > today) {
                self.publish_earlier_day(before, today, began_with);
            }
        }
        // A line for every tenth of a percent is enough: drawdown limits are whole percents.
        if equity > self.account.book().peak * Decimal::new(1001, 3) {
            self.commit_entries(vec![LedgerEntry::Peak { equity }])?;
        }
        Ok(())
    }

    /// Tells that the clock was set back to an earlier trading day, which does not begin a second time.
    fn publish_earlier_day(&mut self, before: NaiveDate, today: NaiveDate, began_with: Option<Decimal>) {
        let basis = began_with.map_or_else(
            || "it had not begun, so it begins with the equity of now".to_owned(),
            |equity| format!("it goes on with the equity of {equity} that it began with"),
        );
        let message = format!("the clock went back from trading day {before} to {today}: {basis}");
        let data = json!({"event_type": "trading_day.went_back", "from": before, "to": today,
            "began_with": began_with.map(|equity| equity.to_string())});
        self.outbox.publish_event(EventKind::Lifecycle, Severity::Medium, message, data);
    }

    fn fill_and_cancel_orders(&mut self, prices: &[(String, Decimal)], at: DateTime<Utc>) {
        let orders = &self.config.settings().order_management;
        let mut entries = self.exchange.fill_orders(self.account.book(), prices, at, orders);
        let mut unfilled = Vec::new();
        for order in self.order_planner().overdue_entries(&self.exchange, at) {
            unfilled.push(order.placed.symbol.clone());
            entries.push(cancel_entry(order, "not filled in time"));
        }
        for symbol in unfilled {
            self.strategy.hold_off(&symbol);
        }
        self.commit_exits(entries);
    }

    fn place_targets(&mut self, at: DateTime<Utc>) {
        if !self.session.may_send(true) {
            return;
        }
        let drafts = self.order_planner().plan_targets();
        let entries = drafts.into_iter().map(|draft| self.issue_order(draft, None, at)).collect();
        self.commit_exits(entries);
    }

    /// Opens the risk breaker when losses have reached a limit.
    fn check_limits(&mut self) {
        let book = self.account.book();
        // Of an account that is not known, no loss is known either.
        if book.breaker.open.is_some() || self.account.damage().is_some() {
            return;
        }
        let crossed = crossed_limit(book, self.market.last(), self.config.settings());
        let Some(CrossedLimit { source, reason }) = crossed else { return };
        let mut entries = vec![LedgerEntry::Tripped { source: source.to_owned(), reason: reason.clone() }];
        entries.extend(self.order_planner().cancel_entries("the circuit breaker opened"));
        self.commit_exits(entries);
        let message = format!("the circuit breaker opened: {reason}");
        let data = json!({"source": source, "state": "open", "reason": reason});
        self.outbox.publish_event(EventKind::Breaker, Severity::Critical, message.clone(), data.clone());
        self.outbox.publish_failure(Code::BotLimitCrossed, message, data);
    }

    fn enter_position(
        &mut self,
        symbol: &str,
        reason: String,
        at: DateTime<Utc>,
    ) -> Result<(), LedgerUnwritable> {
        match self.order_planner().plan_entry(symbol, reason) {
            EntryPlan::NoPrice => Ok(()),
            EntryPlan::WeightTooSmall => {
                self.strategy.hold_off(symbol);
                Ok(())
            }
            EntryPlan::Order(draft, refusal) => {
                let entry = self.issue_order(draft, refusal, at);
                self.commit_entries(vec![entry])
            }
        }
    }

    /// A planner for the account, prices and config of this moment.
    pub(super) fn order_planner(&self) -> OrderPlanner<'_> {
        let (book, prices) = (self.account.book(), self.market.last());
        OrderPlanner { book, prices, config: self.config.settings() }
    }

    /// Gives a draft its ids and returns the entry that places or refuses the order.
    fn issue_order(
        &mut self,
        draft: OrderDraft,
        refusal: Option<OrderRefusal>,
        at: DateTime<Utc>,
    ) -> LedgerEntry {
        let sha256 = &self.config.running().version.sha256;
        self.order_issuer.issue(draft, refusal, (self.account.book(), &self.session), sha256, at)
    }

    /// Turns planned lines into entries, giving orders their ids in that order.
    pub(super) fn issue_lines(&mut self, lines: Vec<PlannedLine>, at: DateTime<Utc>) -> Vec<LedgerEntry> {
        let issue = |line| match line {
            PlannedLine::Entry(entry) => entry,
            PlannedLine::Order(draft) => self.issue_order(draft, None, at),
        };
        lines.into_iter().map(issue).collect()
    }

    /// Names of all gates that are closed to new positions.
    fn closed_gates(&self, at: DateTime<Utc>) -> Vec<String> {
        let breaker = self.session.circuit_breaker(&self.account.book().breaker);
        let gates = EntryGates {
            account: &self.account,
            config: &self.config.settings().trading,
            config_is_known: self.config.fault().is_none(),
            market_ended: self.market.has_ended(),
            strategy_is_warm: self.strategy.is_warm(),
            session: &self.session.closed_gates(),
            breaker_is_open: breaker.state != BreakerState::Closed,
        };
        gates.closed(at)
    }

    /// Commits entries that take risk out. Those count although the ledger cannot be written, in memory; others among them
    /// did not happen then. Returns whether all are on disk.
    pub(super) fn commit_exits(&mut self, entries: Vec<LedgerEntry>) -> bool {
        let kept = entries.clone();
        let is_written = self.commit_entries(entries).is_ok();
        if !is_written {
            let lines = self.account.keep_exits(kept, self.outbox.next_number());
            self.apply_lines(&lines);
        }
        is_written
    }

    /// Writes what happens (a fill, an order, …) to disk, applies it to the account, then publishes it. Beside
    /// [`Self::commit_exits`] the only way to change the account.
    pub(super) fn commit_entries(&mut self, entries: Vec<LedgerEntry>) -> Result<(), LedgerUnwritable> {
        if entries.is_empty() {
            return Ok(());
        }
        let recorded = self.account.record(entries, self.outbox.next_number()).inspect_err(|failed| {
            if let Some(fault) = &failed.new_fault {
                let path = self.account.ledger_path().display();
                let message = format!("the ledger {path} cannot be written; only exits go on until it can");
                self.outbox.publish_failure(Code::BotLedgerUnwritable, message, json!({"error": fault}));
            }
        })?;
        // First: the lines name the numbers of their events.
        self.apply_lines(&recorded.lines);
        if recorded.recovered {
            self.publish_ledger_recovered();
        }
        Ok(())
    }

    fn publish_ledger_recovered(&mut self) {
        let message = "the ledger can be written again".to_owned();
        self.outbox.publish_event(EventKind::Lifecycle, Severity::Low, message, Value::Null);
    }

    fn apply_lines(&mut self, lines: &[LedgerLine]) {
        let mut orders = Vec::new();
        for line in lines {
            let change = self.account.apply(line);
            self.strategy.observe(line, self.account.book());
            if let LedgerEntry::Placed(placed) = &line.entry {
                self.exchange.accept_order(placed);
                orders.push(placed.order_id.clone());
            }
            self.publish_ledger_line(line, &change);
        }
        if !orders.is_empty() {
            self.effects.record("orders", json!({"orders": orders}));
        }
    }

    fn publish_ledger_line(&mut self, line: &LedgerLine, change: &BookChange) {
        let Some((order, placed)) = &change.order else { return };
        match &line.entry {
            LedgerEntry::Filled(fill) => self.session.log_fill(line.at, fill),
            LedgerEntry::Refused { .. } => self.order_rejects.add(line.at),
            _ => {}
        }
        if let Some(event) = line_event(line, change) {
            failpoints::point("paperbot.event");
            self.outbox.publish_line_event(line.event, event);
        }
        if order.status == Some(OrderStatus::Filled) {
            let at = self.market.market_at().unwrap_or(line.at);
            self.outbox.log_trade(TradeLogLine::new(order, placed, change, &self.identity, at));
        }
        if let Some(trade) = &change.closed {
            self.outbox.publish_trade(trade.clone());
        }
    }

    fn expire_trial(&mut self) {
        if let Some(event) = self.config.expire_trial(Instant::now()) {
            self.publish_trial_event(&event);
            self.publish_snapshot();
        }
    }

    /// Publishes a change of the config or its trial, and records it in `effects.jsonl`.
    pub(super) fn publish_trial_event(&mut self, event: &TrialEvent) {
        let severity = if event.what == "trial_expired" { Severity::Medium } else { Severity::Low };
        let data = json!({"what": event.what, "txn": event.txn, "running": event.running});
        self.outbox.publish_event(EventKind::Config, severity, event.message(), data);
        let sha256 = &event.running.sha256;
        self.effects.record("config", json!({"verb": event.what, "txn": event.txn, "sha256": sha256}));
    }

    fn refresh_head(&mut self) {
        match self.config.refresh_head() {
            Ok(()) => self.head_fault = None,
            Err(fault) if self.head_fault.as_ref() != Some(&fault) => {
                self.outbox.publish_failure(Code::BotConfigInvalid, fault.clone(), json!({"error": fault}));
                self.head_fault = Some(fault);
            }
            Err(_) => {}
        }
    }

    /// Publishes the notes of the broker session since the last call.
    fn forward_session_notes(&mut self) {
        let mut changed = false;
        while let Some(note) = self.session.next_note() {
            changed = true;
            self.outbox.forward_event(note.kind, note.severity, note.message, note.error, note.data);
        }
        if changed {
            self.publish_snapshot();
        }
    }

    /// The facts against which a config document is checked now.
    pub(super) fn check_facts(&self) -> CheckFacts {
        let (book, prices) = (self.account.book(), self.market.last());
        let mut symbols = self.market.symbols();
        for target in &self.config.settings().targets {
            if !symbols.contains(&target.symbol) {
                symbols.push(target.symbol.clone());
            }
        }
        let positions = book.positions.values();
        let losses = counted_losses(book, prices);
        CheckFacts {
            symbols,
            positions: positions.map(|position| (position.symbol.clone(), position.cost())).collect(),
            equity: book.equity(prices),
            daily_pl_since_reset: book.daily_pl_since_reset(prices),
            day_part: losses.day,
            drawdown: losses.drawdown,
            losses_in_a_row: losses.in_a_row,
        }
    }

    pub(super) fn trading_status(&self) -> TradingStatus {
        let (account, market, session) = (&self.account, &self.market, &self.session);
        TradingStatus::new(account, market, session, self.config.fault(), self.timing.ticks(), self.stopping)
    }

    /// Replaces the snapshot from which readers are answered.
    pub(super) fn publish_snapshot(&mut self) {
        self.snapshot_seq += 1;
        self.outbox.publish_snapshot(self.take_snapshot());
    }

    fn take_snapshot(&self) -> PublishedSnapshot {
        let sources = ReportSources {
            seq: self.snapshot_seq,
            identity: &self.identity,
            status: self.trading_status(),
            account: &self.account,
            market: &self.market,
            config: &self.config,
            session: &self.session,
            errors: self.outbox.errors(),
            no_entry_reasons: self.closed_gates(self.market.market_at().unwrap_or_else(Utc::now)),
            loop_stats: self.timing.stats(self.identity.tick, self.order_rejects.count_last_hour()),
        };
        let config = self.config.state(Instant::now());
        let answers = self.account.book().answers.snapshot();
        let running = self.config.running();
        PublishedSnapshot::new(sources.into_report(), config, running, self.check_facts(), answers)
    }
}
