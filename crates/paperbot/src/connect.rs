//! Which broker stands behind the bot, and how its session is started.
//!
//! Keeps the environment's names for keys and the choice of adapter. Whatever the broker, orders stay on paper: the
//! broker's session decides whether they would pass. Deliberately absent: a way to give a secret that would show in
//! the process list without being told so; they come from the environment or from files.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};

use super::broker::{
    Alpaca, AlpacaSettings, Broker, BrokerError, FaultScript, HttpSettings, KeySource, LIVE_URL, PAPER_URL,
    Paper, PaperSettings, PasswordGrant, ROBINHOOD_URL, Robinhood, RobinhoodSettings,
};
use super::calendar::Calendar;
use super::clock::Clock;
use super::command_line::duration;
use super::session::{Note, SessionMonitor, SessionSettings};
use super::tokens::TokenStore;
use botops_contract::Mode;
use botops_core::tasks::Tasks;

/// The brokers that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
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
    pub broker: Choice,
    /// Faults of the simulated broker session, as a script
    #[arg(long, env = "PAPERBOT_FAULT_SCRIPT", hide_env_values = true, value_name = "FILE")]
    pub fault_script: Option<PathBuf>,
    /// How long a simulated token lives
    #[arg(long, env = "PAPERBOT_TOKEN_LIFETIME", hide_env_values = true, default_value = "86400", value_parser = duration)]
    pub token_lifetime: Duration,
    /// How many times faster than life the session checks, waits and gives up; for demonstrations
    #[arg(long, env = "PAPERBOT_SESSION_SPEED", hide_env_values = true, default_value_t = 1.0)]
    pub session_speed: f64,
    /// Where the broker's API lives, if not at its usual place
    #[arg(long, env = "PAPERBOT_BROKER_URL", hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub broker_url: Option<SecretString>,
    /// Trust only the certificates of this PEM file
    #[arg(long, env = "PAPERBOT_BROKER_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub broker_ca_file: Option<PathBuf>,
    /// The Alpaca keys are of a live account, not of a paper account
    #[arg(long, env = "PAPERBOT_ALPACA_LIVE", hide_env_values = true)]
    pub alpaca_live: bool,
    /// A file with `APCA_API_KEY_ID` and `APCA_API_SECRET_KEY`, read again at each reauth
    #[arg(long, env = "PAPERBOT_ALPACA_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub alpaca_key_file: Option<PathBuf>,
    /// Refuse new positions outside the regular session
    #[arg(long, env = "PAPERBOT_MARKET_HOURS_ONLY", hide_env_values = true)]
    pub market_hours_only: bool,
    /// Closings and hours that no rule gives: a YAML list of date, closed or open and close, reason
    #[arg(long, env = "PAPERBOT_CALENDAR_FILE", hide_env_values = true, value_name = "FILE")]
    pub calendar_file: Option<PathBuf>,
    /// Sign in to Robinhood with name and password when the token cannot be refreshed
    #[arg(long, env = "PAPERBOT_PASSWORD_SIGN_IN", hide_env_values = true)]
    pub password_sign_in: bool,
    /// One Robinhood account of several
    #[arg(long, env = "ROBINHOOD_ACCOUNT", hide_env_values = true, value_name = "NUMBER", value_parser = secret)]
    pub robinhood_account: Option<SecretString>,
    #[arg(long, env = "APCA_API_KEY_ID", hide = true, hide_env_values = true, value_parser = secret)]
    alpaca_key_id: Option<SecretString>,
    #[arg(long, env = "APCA_API_SECRET_KEY", hide = true, hide_env_values = true, value_parser = secret)]
    alpaca_secret_key: Option<SecretString>,
    #[arg(long, env = "ROBINHOOD_USERNAME", hide = true, hide_env_values = true, value_parser = secret)]
    robinhood_username: Option<SecretString>,
    #[arg(long, env = "ROBINHOOD_PASSWORD", hide = true, hide_env_values = true, value_parser = secret)]
    robinhood_password: Option<SecretString>,
    #[arg(long, env = "MFA_SECRET", hide = true, hide_env_values = true, value_parser = secret)]
    mfa_secret: Option<SecretString>,
    #[arg(long, env = "DEVICE_TOKEN", hide = true, hide_env_values = true, value_parser = secret)]
    device_token: Option<SecretString>,
}

#[expect(clippy::unnecessary_wraps, reason = "the form that a value parser has")]
fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.to_owned().into())
}

impl BrokerOptions {
    /// Starts the session. What it has to tell goes into `notes`.
    pub(super) fn start(
        &self,
        data: &Path,
        logs: &Path,
        tasks: &Tasks,
        notes: std::sync::mpsc::Sender<Note>,
    ) -> Result<SessionMonitor, String> {
        if !(0.01..=1_000.0).contains(&self.session_speed) {
            return Err("--session-speed must be 0.01 to 1000".to_owned());
        }
        let clock = Clock::system();
        let broker = self.connect(data, clock.clone())?;
        let live = broker.mode() == Mode::Live;
        let mut settings = SessionSettings::new(data, logs, live);
        settings.market_hours_only = self.market_hours_only;
        if let Some(file) = &self.calendar_file {
            settings.limits.calendar =
                Calendar::with_overrides(file).map_err(|problem| format!("--calendar-file: {problem}"))?;
        }
        settings.limits = settings.limits.scaled(1.0 / self.session_speed);
        // The loop that reads them may have ended before the session did.
        let sink = Arc::new(move |note| drop(notes.send(note)));
        SessionMonitor::start(broker, settings, clock, tasks, sink)
            .map_err(|error| format!("--log-dir: {error}"))
    }

    /// Everything that must turn up in no log.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        let given = [
            &self.alpaca_key_id,
            &self.alpaca_secret_key,
            &self.robinhood_username,
            &self.robinhood_password,
            &self.robinhood_account,
            &self.mfa_secret,
            &self.device_token,
        ];
        given.into_iter().flatten().cloned().collect()
    }

    fn connect(&self, data: &Path, clock: Clock) -> Result<Broker, String> {
        let said = |error: BrokerError| error.to_string();
        match self.broker {
            Choice::Paper => {
                let script =
                    self.fault_script.as_deref().map_or(Ok(FaultScript::default()), FaultScript::load);
                let script = script.map_err(|problem| format!("--fault-script: {problem}"))?;
                let token_lifetime = self.token_lifetime;
                let settings = PaperSettings { token_lifetime, script, ..PaperSettings::default() };
                Ok(Broker::Paper(Paper::new(&settings, clock)))
            }
            Choice::Alpaca => {
                let url = if self.alpaca_live { LIVE_URL } else { PAPER_URL };
                let mode = if self.alpaca_live { Mode::Live } else { Mode::Paper };
                let given = (self.alpaca_key_id.clone(), self.alpaca_secret_key.clone());
                let keys = match (&self.alpaca_key_file, given) {
                    (Some(file), _) => KeySource::File(file.clone()),
                    (None, (Some(id), Some(secret))) => KeySource::Given { id, secret },
                    _ => {
                        return Err("--broker alpaca needs APCA_API_KEY_ID and APCA_API_SECRET_KEY, or \
                                    --alpaca-key-file"
                            .to_owned());
                    }
                };
                let settings = AlpacaSettings { http: self.http(url), keys, mode };
                Alpaca::new(&settings).map(Broker::Alpaca).map_err(said)
            }
            Choice::Robinhood => {
                tracing::warn!(
                    "Robinhood's private API has no documentation and no promise; its owner may block it at any time"
                );
                let settings = RobinhoodSettings {
                    http: self.http(ROBINHOOD_URL),
                    account_number: self
                        .robinhood_account
                        .as_ref()
                        .map(|text| text.expose_secret().to_owned()),
                    store: TokenStore::new(data.join("robinhood-tokens.json")),
                    password: self.password_grant()?,
                    device_token: self.device_token.clone(),
                };
                Robinhood::new(&settings).map(|broker| Broker::Robinhood(Box::new(broker))).map_err(said)
            }
        }
    }

    fn http(&self, usual: &str) -> HttpSettings {
        let given = self.broker_url.as_ref().map(ExposeSecret::expose_secret);
        let mut http = HttpSettings::new(given.unwrap_or(usual));
        http.ca_file.clone_from(&self.broker_ca_file);
        http
    }

    fn password_grant(&self) -> Result<Option<PasswordGrant>, String> {
        if !self.password_sign_in {
            return Ok(None);
        }
        match (self.robinhood_username.clone(), self.robinhood_password.clone()) {
            (Some(username), Some(password)) => {
                let mfa_secret = self.mfa_secret.clone();
                Ok(Some(PasswordGrant { username, password, mfa_secret }))
            }
            _ => Err("--password-sign-in needs ROBINHOOD_USERNAME and ROBINHOOD_PASSWORD".to_owned()),
        }
    }
}
