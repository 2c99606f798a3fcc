//! The recorder: keeps the last events for the stream, the trades for their history, and writes the daily logs.
//!
//! It runs on a thread of its own behind a queue, so that neither a slow disk nor a slow reader is felt by the
//! trading loop. Logs are for people; what must not be lost is in the ledger. Kept from users: the ring, the
//! rotation by day. Deliberately absent: fsync.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::publish::Word;
use botops_contract::{BotEvent, SemanticError, Severity, Side, Trade, TradePage};
use botops_core::telemetry::LogFile;

/// Events kept for readers that come back.
const RING: usize = 10_000;

/// Events and trades as readers see them; cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    shared: Arc<Mutex<Kept>>,
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<BotEvent>>,
    trades: Vec<Arc<Trade>>,
}

impl Journal {
    /// A journal that begins with the trades of earlier lives.
    pub fn new(trades: Vec<Arc<Trade>>) -> Self {
        let kept = Kept { events: VecDeque::new(), trades };
        Self { shared: Arc::new(Mutex::new(kept)), latest: watch::Sender::new(0) }
    }

    /// Kept events after this number, at most `limit`.
    pub fn events_after(&self, seq: u64, limit: usize) -> Vec<Arc<BotEvent>> {
        let kept = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.events.partition_point(|event| event.seq <= seq);
        kept.events.range(first..).take(limit).cloned().collect()
    }

    /// Resolves with every new event.
    pub fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// A page of closed trades, oldest first.
    pub fn trades(
        &self,
        after: u64,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        limit: usize,
    ) -> TradePage {
        let kept = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.trades.partition_point(|trade| trade.seq <= after);
        let inside = |trade: &&Arc<Trade>| {
            from.is_none_or(|from| trade.closed_at >= from) && to.is_none_or(|to| trade.closed_at < to)
        };
        let mut found = kept.trades.iter().skip(first).filter(inside);
        let items: Vec<Trade> = found.by_ref().take(limit).map(|trade| (**trade).clone()).collect();
        let more = found.next().is_some();
        let next = items.last().map(|trade| trade.seq).filter(|_| more);
        TradePage { items, next }
    }

    /// Empties the queue until the loop has ended.
    pub fn record(&self, mut words: UnboundedReceiver<Word>, folder: &Path) {
        let mut trades = DailyLog::new(folder, "trades");
        let mut errors = DailyLog::new(folder, "errors");
        while let Some(word) = words.blocking_recv() {
            let written = match word {
                Word::Event(event) => {
                    log(&event);
                    let written =
                        event.error.as_ref().map_or(Ok(()), |error| errors.write(&error_line(error)));
                    self.keep(event);
                    written
                }
                Word::Trade(trade) => {
                    self.shared.lock().unwrap_or_else(PoisonError::into_inner).trades.push(trade);
                    Ok(())
                }
                Word::Record(record) => trades.write(&json!(record)),
            };
            if let Err(error) = written {
                tracing::warn!("a log line of {} was not written: {error}", folder.display());
            }
        }
    }

    fn keep(&self, event: Arc<BotEvent>) {
        let seq = event.seq;
        let mut kept = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        kept.events.push_back(event);
        if kept.events.len() > RING {
            kept.events.pop_front();
        }
        drop(kept);
        self.latest.send_replace(seq);
    }
}

fn log(event: &BotEvent) {
    let kind = json!(event.kind);
    let kind = kind.as_str().unwrap_or_default();
    let code = event.error.as_ref().map(|error| error.error_code.as_str()).unwrap_or_default();
    let message = &event.message;
    match event.severity {
        Severity::Low => tracing::info!(event.kind = kind, event.seq = event.seq, "{message}"),
        Severity::Medium => {
            tracing::warn!(event.kind = kind, event.seq = event.seq, error_code = code, "{message}");
        }
        Severity::High | Severity::Critical => {
            tracing::error!(event.kind = kind, event.seq = event.seq, error_code = code, "{message}");
        }
    }
}

/// The error under both sets of names that readers of such logs know.
fn error_line(error: &SemanticError) -> Value {
    let mut line = json!(error);
    if let Some(line) = line.as_object_mut() {
        line.insert("level".to_owned(), json!(error.severity));
        line.insert("recommended_action".to_owned(), json!(error.remediation));
    }
    line
}

/// One line of the trade log.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TradeRecord {
    pub timestamp: DateTime<Utc>,
    pub symbol: String,
    pub action: Side,
    pub quantity: Decimal,
    pub price: Decimal,
    pub total_value: Decimal,
    pub order_id: String,
    pub execution_mode: &'static str,
    pub account_id: String,
    pub strategy_name: &'static str,
    pub entry_type: &'static str,
    pub stop_loss: Option<Decimal>,
    pub target: Option<Decimal>,
    pub decision_reasoning: String,
    pub indicators_used: Vec<&'static str>,
    pub risk_reward_ratio: Option<Decimal>,
    /// `win`, `loss`, `breakeven`, or `open` while the position is.
    pub outcome: Value,
    pub profit_loss: Option<Decimal>,
    pub hold_duration_seconds: Option<i64>,
    pub exit_timestamp: Option<DateTime<Utc>>,
    pub exit_reasoning: Option<String>,
    pub slippage: Decimal,
    pub commission: Decimal,
    pub net_profit_loss: Option<Decimal>,
    pub session_id: String,
    pub bot_version: &'static str,
    pub config_hash: String,
}

/// A JSONL file a day, named by the UTC date.
#[derive(Debug)]
struct DailyLog {
    folder: PathBuf,
    name: &'static str,
    open: Option<(NaiveDate, LogFile)>,
}

impl DailyLog {
    fn new(folder: &Path, name: &'static str) -> Self {
        Self { folder: folder.to_owned(), name, open: None }
    }

    fn write(&mut self, line: &Value) -> io::Result<()> {
        let today = Utc::now().date_naive();
        if self.open.as_ref().is_none_or(|(day, _)| *day != today) {
            let path = self.folder.join(format!("{}-{today}.jsonl", self.name));
            self.open = Some((today, LogFile::open(path)?));
        }
        let Some((_, file)) = &mut self.open else { return Ok(()) };
        file.append(format!("{line}\n").as_bytes())
    }
}
