//! Lines that are to be written into the ledger, before their orders have ids.

use rust_decimal::Decimal;

use crate::account::book::WorkingOrder;
use crate::account::ledger::{LedgerEntry, OrderPurpose};
use botops_contract::{OrderType, Side};

/// An order before it has ids.
#[derive(Debug)]
pub(super) struct OrderDraft {
    pub symbol: String,
    pub side: Side,
    pub order_type: OrderType,
    pub quantity: Decimal,
    pub limit_price: Option<Decimal>,
    pub purpose: OrderPurpose,
    pub reason: String,
    pub decided_price: Decimal,
    pub stop_price: Option<Decimal>,
    pub target_price: Option<Decimal>,
}

/// Why an order is refused: a stable code, and a sentence.
#[derive(Debug)]
pub(super) struct OrderRefusal {
    pub code: &'static str,
    pub reason: String,
}

/// One line of a plan, in the order in which the lines will be written.
#[derive(Debug)]
pub(super) enum PlannedLine {
    /// An entry in its final form.
    Entry(LedgerEntry),
    /// An order that gets its ids later, and may be refused then.
    Order(OrderDraft),
}

/// The entry that cancels an order.
pub(super) fn cancel_entry(order: &WorkingOrder, reason: &str) -> LedgerEntry {
    LedgerEntry::Cancelled { order_id: order.placed.order_id.clone(), reason: reason.to_owned() }
}
