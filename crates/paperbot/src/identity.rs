//! Which bot this is, in this start of the process.

use std::time::Duration;

use botops_contract::Mode;
use rust_decimal::Decimal;

/// What does not change until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct BotIdentity {
    pub id: String,
    pub boot_epoch: String,
    pub mode: Mode,
    /// The time between two price points.
    pub tick: Duration,
    /// Cash of a new account.
    pub cash: Decimal,
    pub seed: u64,
    /// The ledger's torn tail was cut off at this start.
    pub repaired: bool,
}
