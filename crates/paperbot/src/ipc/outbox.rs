//! How state, events and trades leave the trading loop without the loop waiting for a reader.
//!
//! The state is an immutable snapshot that is replaced as a whole; events and trades go into a queue that the recorder
//! empties. The loop takes no lock that a reader of either could hold.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::recent_errors::RecentErrors;
use super::snapshot::PublishedSnapshot;
use super::trade_log::TradeLogLine;
use botops_contract::{BotEvent, EventKind, SemanticError, Severity, Trade};
use botops_core::error::Code;

/// An item for the recorder.
#[derive(Debug)]
pub(crate) enum OutboxItem {
    /// For the event stream and the log.
    Event(Arc<BotEvent>),
    /// For `GET trades`.
    Trade(Arc<Trade>),
    /// For the trade log.
    TradeLog(Box<TradeLogLine>),
}

/// The event that tells of a line of the ledger, without its number.
#[derive(Debug)]
pub(crate) struct LineEvent {
    pub kind: EventKind,
    pub severity: Severity,
    pub message: String,
    pub error: Option<SemanticError>,
    pub data: Value,
}

/// A failure of the catalogue, as events and the state show it.
pub(crate) fn semantic_error(code: Code, message: &str, context: Value, at: DateTime<Utc>) -> SemanticError {
    let row = code.row();
    SemanticError {
        error_code: row.code.to_owned(),
        error_type: format!("{:?}", row.kind),
        severity: row.severity,
        severity_raw: None,
        message: message.to_owned(),
        cause: row.cause.to_owned(),
        impact: row.impact.to_owned(),
        remediation: row.remediation.to_owned(),
        context,
        timestamp: Some(at),
    }
}

/// Sends events and trades to the recorder, and publishes snapshots to readers.
#[derive(Debug)]
pub(crate) struct BotOutbox {
    boot_epoch: String,
    items: UnboundedSender<OutboxItem>,
    /// The cell of the newest snapshot; `None` before the first one.
    snapshot: Option<Arc<ArcSwap<PublishedSnapshot>>>,
    event_seq: u64,
    errors: RecentErrors,
}

impl BotOutbox {
    pub(crate) fn new(boot_epoch: &str, items: UnboundedSender<OutboxItem>) -> Self {
        let errors = RecentErrors::default();
        Self { boot_epoch: boot_epoch.to_owned(), items, snapshot: None, event_seq: 0, errors }
    }

    /// Publishes the first snapshot and returns the cell in which readers find the newest one.
    pub(crate) fn open_snapshots(&mut self, first: PublishedSnapshot) -> Arc<ArcSwap<PublishedSnapshot>> {
        let shared = Arc::new(ArcSwap::from_pointee(first));
        self.snapshot = Some(shared.clone());
        shared
    }

    /// Replaces the snapshot from which readers are answered; without effect before the first one.
    pub(crate) fn publish_snapshot(&self, snapshot: PublishedSnapshot) {
        if let Some(shared) = &self.snapshot {
            shared.store(Arc::new(snapshot));
        }
    }

    pub(crate) fn publish_event(
        &mut self,
        kind: EventKind,
        severity: Severity,
        message: String,
        data: Value,
    ) {
        self.send_event(kind, severity, message, None, data);
    }

    /// Publishes a failure as an event and as an entry in the state.
    pub(crate) fn publish_failure(&mut self, code: Code, message: String, context: Value) {
        let error = semantic_error(code, &message, context, Utc::now());
        self.forward_event(EventKind::Error, error.severity, message, Some(error), Value::Null);
    }

    /// The number that the next event gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.event_seq + 1
    }

    /// Publishes the event of a line of the ledger under the number that the line names.
    pub(crate) fn publish_line_event(&mut self, number: Option<u64>, event: LineEvent) {
        if let Some(number) = number {
            self.event_seq = self.event_seq.max(number.saturating_sub(1));
        }
        self.forward_event(event.kind, event.severity, event.message, event.error, event.data);
    }

    /// Publishes an event of another part, such as the broker session, with its failure if there is one.
    pub(crate) fn forward_event(
        &mut self,
        kind: EventKind,
        severity: Severity,
        message: String,
        error: Option<SemanticError>,
        data: Value,
    ) {
        if let Some(error) = &error {
            self.errors.add(error.clone());
        }
        self.send_event(kind, severity, message, error, data);
    }

    pub(crate) fn publish_trade(&self, trade: Arc<Trade>) {
        self.send(OutboxItem::Trade(trade));
    }

    pub(crate) fn log_trade(&self, line: TradeLogLine) {
        self.send(OutboxItem::TradeLog(Box::new(line)));
    }

    /// The newest failures and their counts.
    pub(crate) fn errors(&self) -> &RecentErrors {
        &self.errors
    }

    /// Forgets failures that are older than an hour.
    pub(crate) fn prune_errors(&mut self, now: DateTime<Utc>) {
        self.errors.prune(now);
    }

    fn send_event(
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
            boot_epoch: self.boot_epoch.clone(),
            at: Some(Utc::now()),
            kind,
            kind_raw: None,
            severity,
            severity_raw: None,
            message,
            error,
            data,
        };
        self.send(OutboxItem::Event(Arc::new(event)));
    }

    /// Queues an item; it is dropped when the recorder has ended.
    fn send(&self, item: OutboxItem) {
        let _ = self.items.send(item);
    }
}
