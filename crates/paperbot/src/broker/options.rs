//! Which broker is used, and the command line options of its session.
//!
//! Secrets come from the environment or from files, so the process list does not show them. A broker's own options are
//! declared in its file; here are the choice of the broker and the options that are not of a single broker.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use secrecy::SecretString;

use super::adapter::BrokerAdapter;
use super::alpaca::AlpacaOptions;
use super::http::BrokerAddress;
use super::paper::PaperOptions;
use super::robinhood::RobinhoodOptions;
use crate::clock::Clock;

/// The brokers that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BrokerChoice {
    /// A simulated session; no network.
    Paper,
    /// Alpaca's trading API.
    Alpaca,
    /// Robinhood's private API; undocumented by its owner.
    Robinhood,
}

/// How the broker session is set up.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Broker session")]
pub struct BrokerOptions {
    /// Whose session decides whether orders may pass; the orders themselves stay on paper
    #[arg(long, env = "PAPERBOT_BROKER", hide_env_values = true, value_enum, default_value = "paper")]
    pub broker: BrokerChoice,
    #[command(flatten)]
    paper: PaperOptions,
    /// How many times faster than life the session checks, waits and gives up; for demonstrations
    #[arg(long, env = "PAPERBOT_SESSION_SPEED", hide_env_values = true, default_value_t = 1.0)]
    pub session_speed: f64,
    #[command(flatten)]
    address: BrokerAddress,
    #[command(flatten)]
    alpaca: AlpacaOptions,
    /// Refuse new positions outside the regular session
    #[arg(long, env = "PAPERBOT_MARKET_HOURS_ONLY", hide_env_values = true)]
    pub market_hours_only: bool,
    /// Closings and hours that no rule gives: a YAML list of date, closed or open and close, reason
    #[arg(long, env = "PAPERBOT_CALENDAR_FILE", hide_env_values = true, value_name = "FILE")]
    pub calendar_file: Option<PathBuf>,
    #[command(flatten)]
    robinhood: RobinhoodOptions,
}

impl BrokerOptions {
    /// Makes the adapter of the chosen broker and checks its options; makes no call to the broker.
    ///
    /// # Errors
    /// One sentence that names the option to change and quotes no value.
    pub(crate) fn connect(&self, data: &Path, clock: Clock) -> Result<Box<dyn BrokerAdapter>, String> {
        match self.broker {
            BrokerChoice::Paper => self.paper.connect(clock),
            BrokerChoice::Alpaca => self.alpaca.connect(&self.address),
            BrokerChoice::Robinhood => self.robinhood.connect(&self.address, data),
        }
    }

    /// All secrets among the options, for the redaction of logs.
    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        [self.alpaca.secrets(), self.robinhood.secrets()].concat()
    }
}
