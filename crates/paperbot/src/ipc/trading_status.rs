//! Whether the bot trades, and why not when it does not.

use crate::account::recorded_account::RecordedAccount;
use crate::market::prices::MarketPrices;
use crate::session_gate::SessionGate;
use botops_contract::{BotPhase, GateReason};

/// The bot's phase and whether it opens positions.
#[derive(Debug)]
pub(crate) struct TradingStatus {
    pub phase: BotPhase,
    /// Why the phase is not `running`; `None` when it is.
    pub reason: Option<String>,
    /// Whether new positions may be opened, apart from the trading hours.
    pub trading_enabled: bool,
}

impl TradingStatus {
    /// The status at this moment, after `ticks` ticks of this process.
    pub(crate) fn new(
        account: &RecordedAccount,
        market: &MarketPrices,
        session: &SessionGate,
        ticks: u64,
        stopping: bool,
    ) -> Self {
        let book = account.book();
        let session = session.facts();
        let gate = session.as_ref().map_or(GateReason::Ok, |session| session.gate);
        let trading_enabled = book.paused.is_none()
            && book.breaker.open.is_none()
            && account.write_fault().is_none()
            && !market.has_ended()
            && !stopping
            && gate == GateReason::Ok;
        let phase = if stopping {
            BotPhase::Stopping
        } else if ticks == 0 {
            BotPhase::Starting
        } else if book.paused.is_some() {
            BotPhase::Paused
        } else if trading_enabled {
            BotPhase::Running
        } else {
            BotPhase::Degraded
        };
        let reason = if let Some(fault) = account.write_fault() {
            Some(format!("the ledger cannot be written: {fault}"))
        } else if let Some((reason, _)) = &book.paused {
            Some(format!("paused: {reason}"))
        } else if let Some((_, reason)) = &book.breaker.open {
            Some(format!("the circuit breaker is open: {reason}"))
        } else if market.has_ended() {
            Some("the replay has ended".to_owned())
        } else {
            session.filter(|_| gate != GateReason::Ok).map(|session| {
                let because = session.reason.unwrap_or_else(|| "it is not checked yet".to_owned());
                format!("the broker session: {because}")
            })
        };
        Self { phase, reason, trading_enabled }
    }
}
