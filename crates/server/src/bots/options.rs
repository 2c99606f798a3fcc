//! What the link to a bot needs at start.

use std::time::Duration;

use super::supervisor::Supervisor;
use super::transport::BotAddress;
use botops_contract::BotId;

/// What the link to a bot needs at start.
#[derive(Debug, Clone)]
pub struct BotsOptions {
    /// The bot's id; a peer that answers with another one is refused.
    pub id: BotId,
    /// Where the bot serves the contract.
    pub address: BotAddress,
    /// How often its state is asked for.
    pub poll_interval: Duration,
    /// Starts and stops the process of the bot.
    pub supervisor: Supervisor,
}
