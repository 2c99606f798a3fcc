//! The journal of events and trades, and the recorder that fills it and writes the daily logs.
//!
//! The recorder runs on a thread of its own behind a queue, so that neither a slow disk nor a slow reader delays the
//! trading loop. Logs are for people and are not synced; what must not be lost is in the ledger.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::daily_log::DailyLogFile;
use super::earlier_events::EarlierEvents;
use super::outbox::OutboxItem;
use botops_bot_server::{EventHistory, EventRing, TradePageRange};
use botops_contract::{BotEvent, SemanticError, Severity, Trade, TradePage};

/// Events kept for readers that reconnect; one that was away for longer misses the older ones.
const KEPT_EVENTS: usize = 10_000;

/// Handle to the last events and all trades; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct EventJournal {
    events: EventRing,
    earlier: Arc<EarlierEvents>,
    trades: Arc<Mutex<Vec<Arc<Trade>>>>,
}

impl EventJournal {
    /// A journal of this start of the process: without events of its own, with what the ledger knows of earlier starts.
    pub(crate) fn new(boot_epoch: &str, trades: Vec<Arc<Trade>>, earlier: EarlierEvents) -> Self {
        let events = EventRing::new(boot_epoch, KEPT_EVENTS);
        Self { events, earlier: Arc::new(earlier), trades: Arc::new(Mutex::new(trades)) }
    }

    pub(crate) fn trade_page(&self, range: &TradePageRange) -> TradePage {
        range.page_of(&self.trades.lock().unwrap_or_else(PoisonError::into_inner))
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
                    self.events.add_numbered(event);
                    written
                }
                OutboxItem::Trade(trade) => {
                    self.trades.lock().unwrap_or_else(PoisonError::into_inner).push(trade);
                    Ok(())
                }
                OutboxItem::TradeLog(line) => trades.write(&json!(line)),
            };
            if let Err(error) = written {
                tracing::warn!("a log line of {} was not written: {error}", folder.display());
            }
        }
    }
}

impl EventHistory for EventJournal {
    fn epoch(&self) -> &str {
        self.events.epoch()
    }

    fn events_after(&self, seq: u64, limit: usize) -> Vec<Arc<BotEvent>> {
        self.events.events_after(seq, limit)
    }

    fn watch_latest(&self) -> watch::Receiver<u64> {
        self.events.watch_latest()
    }

    fn earlier_events(&self, epoch: &str, seq: u64) -> Vec<Arc<BotEvent>> {
        self.earlier.after(epoch, seq)
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
