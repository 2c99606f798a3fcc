//! What `botops bot check` can be told.

use std::path::PathBuf;

use botops_contract::BotId;
use botops_server::bots::{BotAddress, BotTcpPort};
use clap::Args;

use crate::settings::read_token_file;

/// What `botops bot check` can be told.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit codes: 0 no fault, 1 faults found, 2 nobody answers there, or the command cannot be carried out"
)]
pub(crate) struct BotCheckOptions {
    /// Where the bot serves the contract: the path of a Unix socket, or a URL such as `http://127.0.0.1:9100`
    #[arg(value_name = "SOCKET|URL")]
    pub address: String,
    /// For a URL: the file with the token that the bot wants
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
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
    /// How many seconds `--exercise` waits for what it began to end, so that it can take it back
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub wait: u64,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Check again and again, and print only what changes
    #[arg(long, conflicts_with_all = ["exercise", "json"])]
    pub watch: bool,
}

impl BotCheckOptions {
    /// The address, with the token that belongs to it.
    ///
    /// # Errors
    /// One sentence, without the token.
    pub(super) fn bot_address(&self) -> Result<BotAddress, String> {
        if !self.address.contains("://") {
            return match self.token_file {
                Some(_) => Err("--token-file: a bot on a socket takes no token".to_owned()),
                None => Ok(BotAddress::unix_socket(&self.address)),
            };
        }
        let url = self.address.parse().map_err(|_| "SOCKET|URL: it is no URL".to_owned())?;
        let Some(file) = &self.token_file else {
            return Err("a bot on a port wants a token: name its file with --token-file".to_owned());
        };
        let token = read_token_file(file).map_err(|problem| format!("--token-file: {problem}"))?;
        let port = BotTcpPort::from_url(&url, token.secret);
        port.map(BotAddress::tcp_port).map_err(|problem| format!("SOCKET|URL: {problem}"))
    }
}
