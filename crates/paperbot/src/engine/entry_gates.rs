//! The gates before a new position, and which of them are closed now.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::account::book::trading_day;
use crate::account::recorded_account::RecordedAccount;
use crate::config::document::TradingConfig;
use botops_contract::GateReason;

/// The facts that the gates check, apart from the account.
#[derive(Debug)]
pub(super) struct EntryGates<'a> {
    pub account: &'a RecordedAccount,
    pub config: &'a TradingConfig,
    /// Whether the limits in force are those that the operator committed.
    pub config_is_known: bool,
    pub market_ended: bool,
    /// Whether the strategy has seen enough prices to decide.
    pub strategy_is_warm: bool,
    /// Every reason for which the broker session refuses new positions now.
    pub session: &'a [GateReason],
    /// Whether the circuit breaker is open, whatever opened it.
    pub breaker_is_open: bool,
}

impl EntryGates<'_> {
    /// Names of all closed gates; empty when a position may be opened.
    pub(crate) fn closed(&self, at: DateTime<Utc>) -> Vec<String> {
        let book = self.account.book();
        let gates = [
            (self.account.damage().is_some(), "ledger_damaged"),
            (self.account.write_fault().is_some(), "ledger_unwritable"),
            (!self.config_is_known, "config_unknown"),
            (book.paused.is_some(), "paused"),
            (self.breaker_is_open, "breaker_open"),
            (self.market_ended || self.session.contains(&GateReason::MarketClosed), "market_closed"),
            (!self.config.hours.contain(at), "outside_hours"),
            (book.entries_on(trading_day(at)) >= self.config.max_trades_per_day, "max_trades_per_day"),
            (!self.strategy_is_warm, "warming_up"),
        ];
        let closed = gates.into_iter().filter(|(closed, _)| *closed);
        let mut names: Vec<String> = closed.map(|(_, name)| name.to_owned()).collect();
        let of_session = self.session.iter().filter(|reason| **reason != GateReason::MarketClosed);
        names.extend(
            of_session.map(|reason| format!("session_{}", json!(reason).as_str().unwrap_or_default())),
        );
        names
    }
}
