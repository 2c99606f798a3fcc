//! The event that tells of a line of the ledger.

use serde_json::{Value, json};

use super::outbox::{LineEvent, semantic_error};
use crate::account::book::BookChange;
use crate::account::ledger::{LedgerEntry, LedgerLine};
use botops_contract::{EventKind, Severity, Side};
use botops_core::error::Code;

/// The event of a line that changed an order; `None` for the others.
pub(crate) fn line_event(line: &LedgerLine, change: &BookChange) -> Option<LineEvent> {
    let (order, placed) = change.order.as_ref()?;
    let side = if placed.side == Side::Buy { "buy" } else { "sell" };
    let what = format!("{side} {} {}", placed.quantity, placed.symbol);
    let event = |kind, message, data| LineEvent { kind, severity: Severity::Low, message, error: None, data };
    Some(match &line.entry {
        LedgerEntry::Filled(fill) => {
            event(EventKind::Fill, format!("{what}: {} filled at {}", fill.quantity, fill.price), json!(fill))
        }
        LedgerEntry::Refused { code, reason, .. } => {
            let context = json!({"order_id": order.id, "symbol": order.symbol, "reason_code": code,
                "quantity": order.quantity, "limit_price": order.limit_price});
            let message = format!("{what} refused: {reason}");
            let error = semantic_error(Code::BrokerOrderRefused, &message, context, line.at);
            let severity = error.severity;
            LineEvent { kind: EventKind::Error, severity, message, error: Some(error), data: Value::Null }
        }
        LedgerEntry::Cancelled { reason, .. } => {
            event(EventKind::Order, format!("{what} cancelled: {reason}"), json!(order))
        }
        _ => event(EventKind::Order, format!("{what} placed: {}", placed.reason), json!(order)),
    })
}
