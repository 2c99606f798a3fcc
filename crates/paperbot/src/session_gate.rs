//! The trading loop's access to the broker session: its gate for orders, its facts, and its notes.
//!
//! The loop never waits for the session: it reads state in memory and takes notes from a queue.

use std::sync::mpsc::Receiver;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::account::book::RiskBreaker;
use crate::account::ledger::OrderFill;
use crate::session::{GateQuestion, MarketHours, SessionMonitor, SessionNote};
use botops_contract::{Breaker, BreakerState, GateReason, Session};

/// The session of this bot, or none: a replay has no broker, and every order passes.
#[derive(Debug)]
pub(crate) struct SessionGate {
    connected: Option<(SessionMonitor, Receiver<SessionNote>)>,
}

impl SessionGate {
    pub(crate) fn of_session(session: SessionMonitor, notes: Receiver<SessionNote>) -> Self {
        Self { connected: Some((session, notes)) }
    }

    pub(crate) fn without_session() -> Self {
        Self { connected: None }
    }

    pub(crate) fn session(&self) -> Option<&SessionMonitor> {
        self.connected.as_ref().map(|(session, _)| session)
    }

    /// Decides whether the session lets this order pass, and records the decision. Every order goes through this.
    pub(crate) fn decide(&self, reducing: bool, symbol: &str) -> GateReason {
        let Some(session) = self.session() else { return GateReason::Ok };
        session.ask_gate(GateQuestion { reducing, symbol }).reason
    }

    /// The gate's present reason, for reports: it starts no check and is not recorded.
    pub(crate) fn expected_reason(&self) -> GateReason {
        self.session().map_or(GateReason::Ok, |session| session.facts().gate.unwrap_or_default())
    }

    /// Every reason for which the session refuses new positions now; empty when it does not.
    pub(crate) fn closed_gates(&self) -> Vec<GateReason> {
        self.session().map(SessionMonitor::closed_gates).unwrap_or_default()
    }

    /// The trading hours that new positions keep to; `None` when they keep to none.
    pub(crate) fn market_hours(&self) -> Option<MarketHours> {
        self.session().and_then(SessionMonitor::market_hours)
    }

    /// Whether an order would pass now. When a check is needed first, it is started: ask again at the next tick.
    pub(crate) fn may_send(&self, reducing: bool) -> bool {
        self.session().is_none_or(|session| session.is_open(reducing))
    }

    /// Takes the next note of the session from the queue.
    pub(crate) fn next_note(&self) -> Option<SessionNote> {
        self.connected.as_ref().and_then(|(_, notes)| notes.try_recv().ok())
    }

    /// The session in the form of the contract; `None` without one.
    pub(crate) fn facts(&self) -> Option<Session> {
        self.session().map(SessionMonitor::facts)
    }

    /// The breaker that stops trading. The risk breaker goes first, since only a human can close it.
    pub(crate) fn circuit_breaker(&self, risk: &RiskBreaker) -> Breaker {
        let (source, reason) = risk.open.clone().unzip();
        let of_risk = Breaker {
            state: if risk.open.is_some() { BreakerState::Open } else { BreakerState::Closed },
            state_raw: None,
            reason,
            since: Some(risk.since),
            source,
            failure_count: Some(0),
            resumes_at: None,
            retry_at: None,
            // No time closes it: losses do not go away by waiting.
            needs_human: risk.open.as_ref().map(|_| "reset_breaker".to_owned()),
            stops: None,
        };
        match self.session().map(SessionMonitor::breaker) {
            Some(session) if risk.open.is_none() && session.state != BreakerState::Closed => session,
            Some(session) if risk.open.is_none() => Breaker {
                since: Some(risk.since).max(session.since),
                failure_count: session.failure_count,
                ..of_risk
            },
            _ => of_risk,
        }
    }

    /// Writes a fill into the session's text log, after the checks that let its order pass.
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
