//! The broker session as the trading loop sees it: may an order pass, and what has the session to report.
//!
//! The loop never waits for the session: it reads what is in memory and drains a queue of notes.

use std::sync::mpsc::Receiver;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::account::book::RiskBreaker;
use crate::account::ledger::OrderFill;
use crate::session::{GateQuestion, SessionMonitor, SessionNote};
use botops_contract::{Breaker, BreakerState, GateReason, Session};

/// The session of this bot, or none: a replay asks no broker, and every order passes.
#[derive(Debug)]
pub(crate) struct SessionGate {
    connected: Option<(SessionMonitor, Receiver<SessionNote>)>,
}

impl SessionGate {
    /// The gate of a session, with the queue of what it reports.
    pub(crate) fn of_session(session: SessionMonitor, notes: Receiver<SessionNote>) -> Self {
        Self { connected: Some((session, notes)) }
    }

    /// The gate of a bot without a session.
    pub(crate) fn without_session() -> Self {
        Self { connected: None }
    }

    /// The session, if the bot has one.
    pub(crate) fn session(&self) -> Option<&SessionMonitor> {
        self.connected.as_ref().map(|(session, _)| session)
    }

    /// Decides whether the session lets this order pass. The one place where orders ask; the session records it.
    pub(crate) fn decide(&self, reducing: bool, symbol: &str) -> GateReason {
        let Some(session) = self.session() else { return GateReason::Ok };
        session.ask_gate(GateQuestion { reducing, symbol }).reason
    }

    /// What the gate would most likely say, for reports: asks nothing and records nothing.
    pub(crate) fn expected_reason(&self) -> GateReason {
        self.session().map_or(GateReason::Ok, |session| session.facts().gate)
    }

    /// Whether an order would pass at this moment. When that takes a check, the check is on its way: ask at the next
    /// tick.
    pub(crate) fn may_send(&self, reducing: bool) -> bool {
        self.session().is_none_or(|session| session.is_open(reducing))
    }

    /// The next note that the session has reported and nobody has read.
    pub(crate) fn next_note(&self) -> Option<SessionNote> {
        self.connected.as_ref().and_then(|(_, notes)| notes.try_recv().ok())
    }

    /// The session as the contract has it.
    pub(crate) fn facts(&self) -> Option<Session> {
        self.session().map(SessionMonitor::facts)
    }

    /// The breaker that stands in the way: the one of the risk limits first, since it needs a human.
    pub(crate) fn circuit_breaker(&self, risk: &RiskBreaker) -> Breaker {
        let (source, reason) = risk.open.clone().unzip();
        let of_risk = Breaker {
            state: if risk.open.is_some() { BreakerState::Open } else { BreakerState::Closed },
            reason,
            since: risk.since,
            source,
            failure_count: 0,
            retry_at: None,
        };
        match self.session().map(SessionMonitor::breaker) {
            Some(session) if risk.open.is_none() && session.state != BreakerState::Closed => session,
            Some(session) if risk.open.is_none() => Breaker {
                since: risk.since.max(session.since),
                failure_count: session.failure_count,
                ..of_risk
            },
            _ => of_risk,
        }
    }

    /// Writes a fill into the session's log, where the checks before it stand.
    pub(crate) fn log_fill(&self, at: DateTime<Utc>, fill: &OrderFill) {
        let Some(session) = self.session() else { return };
        let fields: [(&str, Value); 5] = [
            ("symbol", json!(fill.symbol)),
            ("action", json!(fill.side)),
            ("shares", json!(fill.quantity.normalize())),
            ("price", json!(fill.price)),
            ("order_id", json!(fill.order_id)),
        ];
        session.log().text(at, "bot", "TRADE EXECUTED", &fields);
    }
}
