//! The journal of events and trades, and the recorder that fills it and writes the daily logs.
//!
//! The recorder runs on a thread of its own behind a queue, so that neither a slow disk nor a slow reader delays the
//! trading loop. Logs are for people and are not synced; what must not be lost is in the ledger.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::daily_log::DailyLogFile;
use super::outbox::OutboxItem;
use botops_contract::{BotEvent, SemanticError, Severity, Trade, TradePage};

/// Events kept for readers that reconnect; one that was away for longer misses the older ones.
const KEPT_EVENTS: usize = 10_000;

/// Handle to the last events and all trades; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct EventJournal {
    shared: Arc<Mutex<JournalContents>>,
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct JournalContents {
    events: VecDeque<Arc<BotEvent>>,
    trades: Vec<Arc<Trade>>,
}

impl EventJournal {
    /// A journal without events that has the trades of earlier process starts.
    pub(crate) fn new(trades: Vec<Arc<Trade>>) -> Self {
        let contents = JournalContents { events: VecDeque::new(), trades };
        Self { shared: Arc::new(Mutex::new(contents)), latest: watch::Sender::new(0) }
    }

    /// Kept events with a number greater than `seq`, oldest first, at most `limit`.
    pub(crate) fn events_after(&self, seq: u64, limit: usize) -> Vec<Arc<BotEvent>> {
        let contents = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let first = contents.events.partition_point(|event| event.seq <= seq);
        contents.events.range(first..).take(limit).cloned().collect()
    }

    /// The number of the newest event; the receiver is notified of every new one.
    pub(crate) fn watch_latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    pub(crate) fn trade_page(
        &self,
        after: u64,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        limit: usize,
    ) -> TradePage {
        let contents = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let first = contents.trades.partition_point(|trade| trade.seq <= after);
        let inside = |trade: &&Arc<Trade>| {
            from.is_none_or(|from| trade.closed_at >= from) && to.is_none_or(|to| trade.closed_at < to)
        };
        let mut found = contents.trades.iter().skip(first).filter(inside);
        let items: Vec<Trade> = found.by_ref().take(limit).map(|trade| (**trade).clone()).collect();
        let more = found.next().is_some();
        let next = items.last().map(|trade| trade.seq).filter(|_| more);
        TradePage { items, next }
    }

    /// Takes items from the queue until the loop has ended and the queue is empty. Runs on the recorder's thread.
    pub(crate) fn run_recorder(&self, mut items: UnboundedReceiver<OutboxItem>, folder: &Path) {
        let mut trades = DailyLogFile::new(folder, "trades");
        let mut errors = DailyLogFile::new(folder, "errors");
        while let Some(item) = items.blocking_recv() {
            let written = match item {
                OutboxItem::Event(event) => {
                    log_event(&event);
                    let written =
                        event.error.as_ref().map_or(Ok(()), |error| errors.write(&error_line(error)));
                    self.add_event(event);
                    written
                }
                OutboxItem::Trade(trade) => {
                    self.shared.lock().unwrap_or_else(PoisonError::into_inner).trades.push(trade);
                    Ok(())
                }
                OutboxItem::TradeLog(line) => trades.write(&json!(line)),
            };
            if let Err(error) = written {
                tracing::warn!("a log line of {} was not written: {error}", folder.display());
            }
        }
    }

    fn add_event(&self, event: Arc<BotEvent>) {
        let seq = event.seq;
        let mut contents = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        contents.events.push_back(event);
        if contents.events.len() > KEPT_EVENTS {
            contents.events.pop_front();
        }
        drop(contents);
        self.latest.send_replace(seq);
    }
}

fn log_event(event: &BotEvent) {
    let kind = json!(event.kind);
    let kind = kind.as_str().unwrap_or_default();
    let code = event.error.as_ref().map(|error| error.error_code.as_str()).unwrap_or_default();
    let message = &event.message;
    match event.severity {
        Severity::Low => tracing::info!(event.kind = kind, event.seq = event.seq, "{message}"),
        Severity::Medium | Severity::Other => {
            tracing::warn!(event.kind = kind, event.seq = event.seq, error_code = code, "{message}");
        }
        Severity::High | Severity::Critical => {
            tracing::error!(event.kind = kind, event.seq = event.seq, error_code = code, "{message}");
        }
    }
}

/// The error under both sets of field names in use, so that tools for either read the log.
fn error_line(error: &SemanticError) -> Value {
    let mut line = json!(error);
    if let Some(line) = line.as_object_mut() {
        line.insert("level".to_owned(), json!(error.severity));
        line.insert("recommended_action".to_owned(), json!(error.remediation));
    }
    line
}
