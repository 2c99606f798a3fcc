//! What the link to a bot is told at start.

use std::time::Duration;

use super::supervisor::Supervisor;
use super::transport::BotAddress;
use botops_contract::BotId;

/// What the bot link needs to know.
#[derive(Debug, Clone)]
pub struct BotsOptions {
    /// The bot's id; whatever answers with another one is refused.
    pub id: BotId,
    /// Where the bot serves the contract.
    pub address: BotAddress,
    /// How often its state is asked for.
    pub poll_interval: Duration,
    /// Who can start it again.
    pub supervisor: Supervisor,
}
