//! Whether the bot trades, and why not when it does not.

use crate::account::recorded_account::RecordedAccount;
use crate::market::prices::MarketPrices;
use crate::session_gate::SessionGate;
use botops_contract::{BotPhase, GateReason, Session};

/// The bot's phase and whether it opens positions.
#[derive(Debug)]
pub(crate) struct TradingStatus {
    pub phase: BotPhase,
    /// Why the phase is not `running`; `None` when it is.
    pub reason: Option<String>,
    /// Whether new positions may be opened, apart from the hours of the config.
    pub trading_enabled: bool,
}

impl TradingStatus {
    /// The status at this moment, after `ticks` ticks of this process.
    pub(crate) fn new(
        account: &RecordedAccount,
        market: &MarketPrices,
        session: &SessionGate,
        config_fault: Option<&str>,
        ticks: u64,
        stopping: bool,
    ) -> Self {
        let book = account.book();
        let session = session.facts();
        let gate = session.as_ref().map_or(GateReason::Ok, |session| session.gate.unwrap_or_default());
        let file_fault = file_fault(account, config_fault);
        let trading_enabled = book.paused.is_none()
            && book.breaker.open.is_none()
            && file_fault.is_none()
            && !market.has_ended()
            && !stopping
            && gate == GateReason::Ok;
        // Outside of the trading hours nothing is wrong: the bot runs and waits for the market.
        let waits_for_market = gate == GateReason::MarketClosed
            && book.paused.is_none()
            && book.breaker.open.is_none()
            && file_fault.is_none();
        let phase = if stopping {
            BotPhase::Stopping
        } else if ticks == 0 {
            BotPhase::Starting
        } else if book.paused.is_some() {
            BotPhase::Paused
        } else if trading_enabled || waits_for_market {
            BotPhase::Running
        } else {
            BotPhase::Degraded
        };
        let reason = if file_fault.is_some() {
            file_fault
        } else if let Some((reason, _)) = &book.paused {
            Some(format!("paused: {reason}"))
        } else if let Some((_, reason)) = &book.breaker.open {
            Some(format!("the circuit breaker is open: {reason}"))
        } else if market.has_ended() {
            Some("the replay has ended".to_owned())
        } else {
            session.filter(|_| gate != GateReason::Ok).map(gate_text)
        };
        Self { phase, reason, trading_enabled }
    }
}

/// What is wrong with the bot's files so that it opens nothing, and what to do; the worst first.
fn file_fault(account: &RecordedAccount, config_fault: Option<&str>) -> Option<String> {
    if let Some(damage) = account.damage() {
        return Some(damage.sentence());
    }
    if let Some(fault) = account.write_fault() {
        let kept = match account.unwritten() {
            0 => String::new(),
            lines => format!(" ({lines} lines wait in memory and are lost if the bot ends before)"),
        };
        return Some(format!(
            "the ledger {} cannot be written: {fault}. No position is opened; open ones are closed as ever, from memory{kept}. \
             Free space there or make it writable; the bot goes on by itself",
            account.ledger_path().display()
        ));
    }
    config_fault.map(str::to_owned)
}

/// Why a session whose gate is closed lets no new position pass.
fn gate_text(session: Session) -> String {
    let gate = session.gate.unwrap_or_default();
    if gate == GateReason::MarketClosed {
        let opens = session.resumes_at.map(|at| format!("; it opens at {}", at.format("%Y-%m-%d %H:%M UTC")));
        return format!("the market is closed{}", opens.unwrap_or_default());
    }
    let because = session.reason.unwrap_or_else(|| match gate {
        GateReason::SessionStarting => "it is not checked yet".to_owned(),
        gate => format!("its gate says {}", serde_json::json!(gate).as_str().unwrap_or_default()),
    });
    format!("the broker session: {because}")
}
