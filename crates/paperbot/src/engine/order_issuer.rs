//! Gives orders their ids, and checks them against the account and the broker session.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::planned_line::{OrderDraft, OrderRefusal};
use crate::account::book::AccountBook;
use crate::account::ledger::{LedgerEntry, OrderPurpose, PlacedOrder};
use crate::session_gate::SessionGate;
use botops_contract::GateReason;

/// Numbers the orders of this process; with the `boot_epoch` the number makes the client order id unique.
#[derive(Debug)]
pub(super) struct OrderIssuer {
    boot_epoch: String,
    issued: u64,
}

impl OrderIssuer {
    /// The first order of this process gets number 1.
    pub(crate) fn new(boot_epoch: &str) -> Self {
        Self { boot_epoch: boot_epoch.to_owned(), issued: 0 }
    }

    /// Turns a draft into the ledger entry that places or refuses the order.
    ///
    /// It is refused for the given reason, or because the account or the broker session does not let it pass.
    pub(crate) fn issue(
        &mut self,
        draft: OrderDraft,
        refusal: Option<OrderRefusal>,
        (book, session): (&AccountBook, &SessionGate),
        config_sha256: &str,
        at: DateTime<Utc>,
    ) -> LedgerEntry {
        self.issued += 1;
        let order = PlacedOrder {
            order_id: Uuid::now_v7().to_string(),
            client_order_id: format!("{}-{}", self.boot_epoch, self.issued),
            symbol: draft.symbol,
            side: draft.side,
            order_type: draft.order_type,
            quantity: draft.quantity,
            limit_price: draft.limit_price,
            purpose: draft.purpose,
            reason: draft.reason,
            decided_price: draft.decided_price,
            stop_price: draft.stop_price,
            target_price: draft.target_price,
            config_sha256: config_sha256.to_owned(),
            market_at: at,
        };
        let refusal = refusal
            .or_else(|| book.objection(&order).map(|(code, reason)| OrderRefusal { code, reason }))
            .or_else(|| refusal_of_session(session, &order));
        match refusal {
            None => LedgerEntry::Placed(order),
            Some(OrderRefusal { code, reason }) => {
                LedgerEntry::Refused { order, code: code.to_owned(), reason }
            }
        }
    }
}

fn refusal_of_session(session: &SessionGate, order: &PlacedOrder) -> Option<OrderRefusal> {
    let gate = session.decide(order.purpose != OrderPurpose::Entry, &order.symbol);
    if matches!(gate, GateReason::Ok | GateReason::ReducingAllowed) {
        return None;
    }
    let named = json!(gate).as_str().map(str::to_owned).unwrap_or_default();
    let reason = format!("the broker session does not let it pass: {named}");
    Some(OrderRefusal { code: "session", reason })
}
