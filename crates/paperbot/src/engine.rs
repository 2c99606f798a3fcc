//! The trading loop: one thread that owns the account, and a mailbox that is looked into between ticks.
//!
//! A tick is: the market moves, resting orders fill, limits are checked, the strategy wishes, orders go out, a
//! picture is shown. Everything that changes the account goes through [`Engine::commit`], which writes the ledger
//! first. Kept from users: the order of all that. Deliberately absent: any wait for a reader or a server.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

use super::book::{Book, Change, trading_day};
use super::desk::{Desk, Turn};
use super::exchange::Exchange;
use super::journal::TradeRecord;
use super::ledger::{Entry, Fill, Ledger, Line, Purpose};
use super::mailbox::Delivery;
use super::market::{Feed, Gap};
use super::publish::{Outbox, Word};
use super::session::{SessionMonitor, SessionNote};
use super::strategy::{Strategy, Wish};
use botops_contract::{BotEvent, EventKind, Mode, OrderStatus, SemanticError, Severity, Side};
use botops_core::error::Code;
use botops_core::failpoints;

/// The loop hears of a stop within this.
const LONGEST_NAP: Duration = Duration::from_millis(100);
/// `HEAD` is looked at this often.
const HEAD_LOOK: Duration = Duration::from_secs(1);
/// Errors kept for the state.
const RECENT_ERRORS: usize = 50;
/// Times kept for the counts of the last hour; more than these are not told apart.
const COUNTED: usize = 20_000;

/// The loop and all it owns.
#[derive(Debug)]
pub(super) struct Engine {
    pub who: Identity,
    pub ledger: Ledger,
    pub book: Book,
    pub feed: Feed,
    pub exchange: Exchange,
    pub strategy: Strategy,
    pub desk: Desk,
    pub effects: File,
    pub outbox: Outbox,
    /// The last price of each symbol.
    pub prices: BTreeMap<String, Decimal>,
    pub market_at: Option<DateTime<Utc>>,
    pub last_price_at: Option<DateTime<Utc>>,
    /// A replay that has no more moments.
    pub market_over: bool,
    /// Why the ledger cannot be written, while it cannot.
    pub ledger_fault: Option<String>,
    /// The ledger knows of this life.
    pub start_noted: bool,
    pub stopping: bool,
    pub seq: u64,
    pub event_seq: u64,
    pub order_seq: u64,
    pub errors: VecDeque<SemanticError>,
    pub error_times: VecDeque<(DateTime<Utc>, Severity)>,
    pub reject_times: VecDeque<DateTime<Utc>>,
    pub pulse: Pulse,
    /// Why no position was opened at the last tick.
    pub no_entry: Vec<String>,
    pub head_fault: Option<String>,
    /// The broker session; a replay has none.
    pub session: Option<SessionMonitor>,
    /// What the session tells.
    pub notes: Option<Receiver<SessionNote>>,
}

/// Who the bot is in this life.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub id: String,
    pub boot_epoch: String,
    pub mode: Mode,
    pub tick: Duration,
    pub cash: Decimal,
    pub seed: u64,
    /// The ledger's torn tail was cut off at this start.
    pub repaired: bool,
}

/// How late ticks begin.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    pub ticks: u64,
    pub last_tick_at: Option<DateTime<Utc>>,
    delays: VecDeque<Duration>,
    /// Median, 99th percentile and worst, in milliseconds.
    pub quantiles: (f64, f64, f64),
}

impl Pulse {
    fn beat(&mut self, delay: Duration, now: DateTime<Utc>) {
        self.ticks += 1;
        self.last_tick_at = Some(now);
        self.delays.push_back(delay);
        if self.delays.len() > 1_000 {
            self.delays.pop_front();
        }
        // Sorting at every tick would itself be a delay at fast ticks.
        if self.ticks < 20 || self.ticks.is_multiple_of(20) {
            let mut sorted: Vec<Duration> = self.delays.iter().copied().collect();
            sorted.sort_unstable();
            let at = |part: usize| {
                sorted
                    .get((sorted.len() - 1) * part / 100)
                    .map_or(0.0, |delay| (delay.as_secs_f64() * 1e6).round() / 1e3)
            };
            self.quantiles = (at(50), at(99), at(100));
        }
    }
}

/// The ledger could not be written; the account is as before.
#[derive(Debug)]
pub(super) struct LedgerDown;

impl Engine {
    /// Runs until told to stop, by the token or by a command.
    pub fn run(mut self, mailbox: &Receiver<Delivery>, stop: &CancellationToken) {
        self.begin();
        let mut next_tick = Instant::now() + self.who.tick;
        let mut next_look = Instant::now();
        while !self.stopping && !stop.is_cancelled() {
            failpoints::stall("paperbot.loop");
            let mut wake = next_tick.min(Instant::now() + LONGEST_NAP);
            wake = self.desk.deadline().map_or(wake, |deadline| wake.min(deadline));
            match mailbox.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(delivery) => self.open(delivery),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(turn) = self.desk.expire(Instant::now()) {
                self.turned(&turn);
                self.show();
            }
            if self.hear_session() {
                self.no_entry = self.market_at.map_or_else(Vec::new, |at| self.gates(at));
                self.show();
            }
            let now = Instant::now();
            if now >= next_look {
                self.look_at_head();
                // An ending that a full disk did not take is tried again until it does; each try says nothing new.
                let _ = self.desk.save();
                next_look = now + HEAD_LOOK;
            }
            if now >= next_tick {
                self.pulse.beat(now - next_tick, Utc::now());
                self.tick();
                self.show();
                next_tick += self.who.tick;
                // After a long stall the missed ticks are not made up for.
                if Instant::now() > next_tick + self.who.tick * 10 {
                    next_tick = Instant::now() + self.who.tick;
                }
            }
        }
        let reason = if self.stopping { "told to by a command" } else { "told to by a signal" };
        self.stopping = true;
        self.tell(
            EventKind::Lifecycle,
            Severity::Low,
            format!("{} stops: {reason}", self.who.id),
            Value::Null,
        );
        let _ = self.commit(vec![Entry::Stopped { reason: reason.to_owned() }]);
        self.show();
    }

    /// The first lines of this life. Without room for them it trades as little as without room for any other.
    fn note_start(&mut self) -> Result<(), LedgerDown> {
        if self.start_noted {
            return Ok(());
        }
        let mut entries = Vec::new();
        if !self.book.opened {
            entries.push(Entry::Opened { cash: self.who.cash });
        }
        entries.push(Entry::Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source: self.feed.source().to_owned(),
            seed: self.who.seed,
            pid: std::process::id(),
        });
        self.commit(entries)?;
        self.start_noted = true;
        Ok(())
    }

    fn begin(&mut self) {
        let who = self.who.clone();
        // The next tick tries again.
        let _ = self.note_start();
        let repaired = if who.repaired { "; a torn ledger line was cut off" } else { "" };
        let positions = self.book.positions.len();
        let message = format!("{} started with {positions} open positions{repaired}", who.id);
        let data = json!({"lives": self.book.lives, "ledger_repaired": who.repaired});
        self.tell(EventKind::Lifecycle, Severity::Low, message, data);
        self.show();
    }

    fn tick(&mut self) {
        let now = Utc::now();
        self.forget_old(now);
        let Some(moment) = self.feed.step(now, Instant::now()) else {
            if !self.market_over {
                self.market_over = true;
                let message = "the replay has ended; open positions stay as they are".to_owned();
                self.tell(EventKind::Lifecycle, Severity::Low, message, Value::Null);
            }
            self.no_entry = vec!["market_closed".to_owned()];
            return;
        };
        self.market_at = Some(moment.at);
        self.last_price_at = Some(now);
        self.prices.extend(moment.prices.iter().cloned());
        for gap in &moment.gaps {
            self.report_gap(gap, moment.at);
        }
        self.strategy.see(&moment.prices);
        // A fill that cannot be recorded did not happen; the order meets the next price.
        if self.trade(&moment.prices, moment.at).is_err() {
            self.no_entry = vec!["ledger_unwritable".to_owned()];
        }
    }

    fn trade(&mut self, prices: &[(String, Decimal)], at: DateTime<Utc>) -> Result<(), LedgerDown> {
        self.note_start()?;
        self.begin_day(at)?;
        let orders = self.desk.settings().order_management.clone();
        let mut fills = self.exchange.step(&self.book, prices, at, &orders);
        fills.extend(self.overdue_entries(at));
        self.commit(fills)?;
        self.place_targets(at)?;
        self.check_limits(at)?;
        self.no_entry = self.gates(at);
        let wishes = self.strategy.wishes(prices, &self.book, self.desk.settings());
        for wish in wishes {
            match wish {
                Wish::Leave { symbol, reason } if self.may_send(true) => {
                    self.leave(&symbol, &reason, Purpose::Exit, at)?;
                }
                Wish::Enter { symbol, reason } if self.no_entry.is_empty() && self.may_send(false) => {
                    self.enter(&symbol, reason, at)?;
                    self.no_entry = self.gates(at);
                }
                // A wish that may not be sent now comes again with the next price.
                Wish::Enter { .. } | Wish::Leave { .. } => {}
            }
        }
        Ok(())
    }

    fn begin_day(&mut self, at: DateTime<Utc>) -> Result<(), LedgerDown> {
        let today = trading_day(at);
        let equity = self.equity();
        if self.book.day.is_none_or(|(day, _)| day != today) {
            self.commit(vec![Entry::Day { day: today, equity }])?;
        }
        // Every tenth of a percent is worth a line; a drawdown is measured in percents.
        if equity > self.book.peak * Decimal::new(1001, 3) {
            self.commit(vec![Entry::Peak { equity }])?;
        }
        Ok(())
    }

    /// Puts what happens on disk, then into the book, then tells of it. The only way to change the account.
    pub fn commit(&mut self, entries: Vec<Entry>) -> Result<(), LedgerDown> {
        if entries.is_empty() {
            return Ok(());
        }
        let lines = match self.ledger.write(Utc::now(), entries) {
            Ok(lines) => lines,
            Err(error) => {
                let fault = error.to_string();
                if self.ledger_fault.replace(fault.clone()).is_none() {
                    let message = "the ledger cannot be written; nothing is traded until it can".to_owned();
                    self.fail(Code::BotLedgerUnwritable, message, json!({"error": fault}));
                }
                return Err(LedgerDown);
            }
        };
        if self.ledger_fault.take().is_some() {
            let message = "the ledger can be written again".to_owned();
            self.tell(EventKind::Lifecycle, Severity::Low, message, Value::Null);
        }
        let mut orders = Vec::new();
        for line in &lines {
            let change = self.book.apply(line);
            self.strategy.hear(line, &self.book);
            if let Entry::Placed(placed) = &line.entry {
                self.exchange.send(placed);
                orders.push(placed.order_id.clone());
            }
            self.announce(line, &change);
        }
        if !orders.is_empty() {
            self.note_effect("orders", json!({"orders": orders}));
        }
        Ok(())
    }

    fn announce(&mut self, line: &Line, change: &Change) {
        let Some((order, placed)) = &change.order else { return };
        let side = if order.side == Side::Buy { "buy" } else { "sell" };
        let quantity = order.quantity;
        let what = format!("{side} {quantity} {}", order.symbol);
        match &line.entry {
            Entry::Filled(fill) => {
                self.log_trade(line.at, fill);
                let message = format!("{what}: {} filled at {}", fill.quantity, fill.price);
                self.tell(EventKind::Fill, Severity::Low, message, json!(fill));
            }
            Entry::Refused { code, reason, .. } => {
                self.reject_times.push_back(line.at);
                let context = json!({"order_id": order.id, "symbol": order.symbol, "reason_code": code,
                    "quantity": order.quantity, "limit_price": order.limit_price});
                self.fail(Code::BrokerOrderRefused, format!("{what} refused: {reason}"), context);
            }
            Entry::Cancelled { reason, .. } => {
                let message = format!("{what} cancelled: {reason}");
                self.tell(EventKind::Order, Severity::Low, message, json!(order));
            }
            _ => {
                let message = format!("{what} placed: {}", placed.reason);
                self.tell(EventKind::Order, Severity::Low, message, json!(order));
            }
        }
        if order.status == OrderStatus::Filled {
            let record =
                TradeRecord::new(order, placed, change, &self.who, self.market_at.unwrap_or(line.at));
            self.outbox.say(Word::Record(Box::new(record)));
        }
        if let Some(trade) = &change.closed {
            self.outbox.say(Word::Trade(trade.clone()));
        }
    }

    /// The line for people, in the log where the checks before it stand. A replay asks no broker and has no such log.
    fn log_trade(&self, at: DateTime<Utc>, fill: &Fill) {
        let Some(session) = &self.session else { return };
        let fields = [
            ("symbol", json!(fill.symbol)),
            ("action", json!(fill.side)),
            ("shares", json!(fill.quantity.normalize())),
            ("price", json!(fill.price)),
            ("order_id", json!(fill.order_id)),
        ];
        session.log().text(at, "bot", "TRADE EXECUTED", &fields);
    }

    /// A turn of the config desk: an event and an effect.
    pub fn turned(&mut self, turn: &Turn) {
        let version = &turn.running;
        let message = match turn.what {
            "activated" => format!("config v{} runs on trial ({})", version.version, turn.txn),
            "committed" => format!("config v{} is committed ({})", version.version, turn.txn),
            "trial_expired" => {
                format!("the trial {} expired; config v{} runs again", turn.txn, version.version)
            }
            _ => format!("the trial {} was reverted; config v{} runs again", turn.txn, version.version),
        };
        let severity = if turn.what == "trial_expired" { Severity::Medium } else { Severity::Low };
        let data = json!({"what": turn.what, "txn": turn.txn, "running": version});
        self.tell(EventKind::Config, severity, message, data);
        let sha256 = &version.sha256;
        self.note_effect("config", json!({"verb": turn.what, "txn": turn.txn, "sha256": sha256}));
    }

    fn look_at_head(&mut self) {
        match self.desk.look_at_head() {
            Ok(()) => self.head_fault = None,
            Err(fault) if self.head_fault.as_ref() != Some(&fault) => {
                let message = "the committed config cannot be loaded; the last good one goes on".to_owned();
                self.fail(Code::BotConfigInvalid, message, json!({"error": fault}));
                self.head_fault = Some(fault);
            }
            Err(_) => {}
        }
    }

    fn report_gap(&mut self, gap: &Gap, at: DateTime<Utc>) {
        let symbol = gap.symbol.as_deref().unwrap_or("every symbol");
        let context = json!({"symbol": gap.symbol, "market_time": at});
        self.fail(Code::BotFeedGap, format!("gap in the feed of {symbol}: {}", gap.what), context);
    }

    /// An event for whoever listens.
    pub fn tell(&mut self, kind: EventKind, severity: Severity, message: String, data: Value) {
        self.emit(kind, severity, message, None, data);
    }

    /// A failure: an event, and a place in the state.
    pub fn fail(&mut self, code: Code, message: String, context: Value) {
        let row = code.row();
        let now = Utc::now();
        let error = SemanticError {
            error_code: row.code.to_owned(),
            error_type: format!("{:?}", row.kind),
            severity: row.severity,
            message: message.clone(),
            cause: row.cause.to_owned(),
            impact: row.impact.to_owned(),
            remediation: row.remediation.to_owned(),
            context,
            timestamp: now,
        };
        self.remember(error.clone());
        self.emit(EventKind::Error, row.severity, message, Some(error), Value::Null);
    }

    /// Keeps a failure for the state and its counts.
    pub fn remember(&mut self, error: SemanticError) {
        self.error_times.push_back((Utc::now(), error.severity));
        self.errors.push_front(error);
        self.errors.truncate(RECENT_ERRORS);
    }

    /// An event, with the failure behind it if there is one.
    pub fn emit(
        &mut self,
        kind: EventKind,
        severity: Severity,
        message: String,
        error: Option<SemanticError>,
        data: Value,
    ) {
        self.event_seq += 1;
        let event = BotEvent {
            seq: self.event_seq,
            boot_epoch: self.who.boot_epoch.clone(),
            at: Utc::now(),
            kind,
            severity,
            message,
            error,
            data,
        };
        self.outbox.say(Word::Event(Arc::new(event)));
    }

    /// The ground truth for whoever checks botops against what really happened.
    pub fn note_effect(&mut self, effect: &str, mut facts: Value) {
        if let Some(facts) = facts.as_object_mut() {
            facts.insert("effect".to_owned(), json!(effect));
            facts.insert("at".to_owned(), json!(Utc::now()));
            facts.insert("boot_epoch".to_owned(), json!(self.who.boot_epoch));
        }
        if let Err(error) = self.effects.write_all(format!("{facts}\n").as_bytes()) {
            tracing::warn!("an effect was not noted: {error}");
        }
    }

    fn forget_old(&mut self, now: DateTime<Utc>) {
        let hour_ago = now - TimeDelta::hours(1);
        while self.error_times.len() > COUNTED
            || self.error_times.front().is_some_and(|(at, _)| *at < hour_ago)
        {
            self.error_times.pop_front();
        }
        while self.reject_times.len() > COUNTED || self.reject_times.front().is_some_and(|at| *at < hour_ago)
        {
            self.reject_times.pop_front();
        }
    }
}
