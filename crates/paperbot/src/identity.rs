//! The bot's id and the facts of this process start.

use std::time::Duration;

use botops_contract::TradingMode;
use rust_decimal::Decimal;

/// Facts that do not change until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct BotIdentity {
    pub id: String,
    pub boot_epoch: String,
    pub mode: TradingMode,
    /// The time between two price points.
    pub tick: Duration,
    /// Cash of a new account, in account currency; an existing account keeps its own.
    pub cash: Decimal,
    pub seed: u64,
    /// Whether an incomplete last line of the ledger was cut off at this start.
    pub repaired: bool,
}
