//! The command line and environment of paperbot. Doc comments of the fields are the help text.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rust_decimal::Decimal;

use super::account::amount_bounds::cash_fault;
use super::broker::BrokerOptions;
use super::command_line::{duration, symbol};
use botops_contract::BotId;

/// How a paperbot is started.
#[derive(Debug, Clone, Args)]
pub struct PaperbotOptions {
    /// Where the contract is served; `paperbot.sock` in the data folder unless told otherwise
    #[arg(long, env = "BOT_IPC_SOCKET", hide_env_values = true, value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// The folder that holds the account: ledger, outcomes, pid file
    #[arg(
        long,
        env = "PAPERBOT_DATA_DIR",
        hide_env_values = true,
        default_value = "paperbot-data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// The folder for JSONL logs; `logs` in the data folder unless told otherwise
    #[arg(long, env = "PAPERBOT_LOG_DIR", hide_env_values = true, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// The folder with `HEAD` and `versions/`; `config` in the data folder unless told otherwise
    #[arg(long, env = "PAPERBOT_CONFIG_DIR", hide_env_values = true, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// The bot's id
    #[arg(long, env = "PAPERBOT_ID", hide_env_values = true, default_value = "paperbot")]
    pub id: BotId,
    /// Symbols of the simulated market
    #[arg(
        long,
        env = "PAPERBOT_SYMBOLS",
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = symbol,
        default_value = "SPY,QQQ,AAPL,MSFT,NVDA,AMZN,GOOGL,META"
    )]
    pub symbols: Vec<String>,
    /// The simulated market's seed
    #[arg(long, env = "PAPERBOT_SEED", hide_env_values = true, default_value_t = 7)]
    pub seed: u64,
    /// Take prices from this OHLCV file (CSV with a header: date or timestamp, perhaps symbol, open, high, low,
    /// close, perhaps volume) instead of simulating them
    #[arg(long, env = "PAPERBOT_REPLAY", hide_env_values = true, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// How many times faster than one price point a tick
    #[arg(long, env = "PAPERBOT_SPEED", hide_env_values = true, default_value_t = 1.0)]
    pub speed: f64,
    /// The time between two price points
    #[arg(long, env = "PAPERBOT_TICK", hide_env_values = true, default_value = "250ms", value_parser = duration)]
    pub tick: Duration,
    /// Cash of a new account, from 0 to 10^15
    #[arg(long, env = "PAPERBOT_CASH", hide_env_values = true, default_value = "100000", value_parser = read_cash)]
    pub cash: Decimal,
    /// Which broker stands behind the bot.
    #[command(flatten)]
    pub session: BrokerOptions,
}

impl PaperbotOptions {
    pub(crate) fn log_folder(&self) -> PathBuf {
        self.log_dir.clone().unwrap_or_else(|| self.data_dir.join("logs"))
    }

    /// The path of the socket.
    pub(crate) fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.data_dir.join("paperbot.sock"))
    }

    /// The folder with `HEAD` and `versions/`.
    pub(crate) fn config_folder(&self) -> PathBuf {
        self.config_dir.clone().unwrap_or_else(|| self.data_dir.join("config"))
    }

    /// The time between two price points after dividing by `speed`; an error outside the possible range.
    pub(crate) fn tick_interval(&self) -> Result<Duration, String> {
        let sensible = self.speed.is_finite() && (0.001..=10_000.0).contains(&self.speed);
        let tick = if sensible { self.tick.div_f64(self.speed) } else { Duration::ZERO };
        if tick < Duration::from_millis(1) || tick > Duration::from_secs(3600) {
            return Err("--tick divided by --speed must be 1 ms to 1 hour".to_owned());
        }
        Ok(tick)
    }
}

fn read_cash(text: &str) -> Result<Decimal, String> {
    let cash = text.parse().map_err(|error: rust_decimal::Error| error.to_string())?;
    cash_fault(cash).map_or(Ok(cash), Err)
}
