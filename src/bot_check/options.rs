//! What `botops bot check` can be told.

use std::path::PathBuf;

use botops_contract::BotId;
use botops_server::bots::BotAddress;
use clap::Args;

/// What `botops bot check` can be told.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit codes: 0 no fault, 1 faults found, 2 nobody answers there, or the command cannot be carried out"
)]
pub(crate) struct BotCheckOptions {
    /// The Unix socket on which the bot serves the contract
    #[arg(value_name = "SOCKET", value_parser = parse_address)]
    pub address: BotAddress,
    /// The id that the bot should have, as `BOT_ID` will name it
    #[arg(long, value_name = "ID")]
    pub bot_id: Option<BotId>,
    /// Also do what can be taken back: pause and resume the bot, and try a config (`--config`); asks before it does
    #[arg(long)]
    pub exercise: bool,
    /// A config document that is tried and reverted
    #[arg(long, value_name = "FILE", requires = "exercise")]
    pub config: Option<PathBuf>,
    /// Exercise without asking, for CI
    #[arg(long, requires = "exercise")]
    pub yes: bool,
    /// Allow `--exercise` on a bot that moves real money
    #[arg(long, requires = "exercise")]
    pub live: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Check again and again, and print only what changes
    #[arg(long, conflicts_with_all = ["exercise", "json"])]
    pub watch: bool,
}

fn parse_address(text: &str) -> Result<BotAddress, String> {
    if text.contains("://") {
        return Err("give the path of the Unix socket on which the bot serves".to_owned());
    }
    Ok(BotAddress::unix_socket(text))
}
