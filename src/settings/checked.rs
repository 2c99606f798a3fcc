//! All settings, checked, as plain values.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderValue;
use secrecy::SecretString;

use botops_contract::BotId;
use botops_http::KeyFile;
use botops_server::bots::{BotAddress, SupervisorDriver};

use super::access;
use super::bot_address::{self, BotToken};
use super::error::SettingError;
use super::health::{HealthSettings, read_health};
use super::reader::SettingsReader;
use super::sources::SettingSources;
use super::supervisor::{read_bot_environment, read_supervisor};
use super::table;

/// All settings, checked. [`SettingSources`] has where they come from, `table` what each one takes.
#[derive(Clone)]
pub struct Settings {
    /// Address the API listens on; port 0 takes a free one.
    pub address: SocketAddr,
    /// The operator's key, which has every scope.
    pub token: SecretString,
    /// Where that key was given: `.env` or the environment.
    pub(crate) key_origin: &'static str,
    /// Named keys with scopes; empty when no keys file is set.
    pub keys: KeyFile,
    /// Origins whose pages may read answers in a browser.
    pub cors_origins: Vec<HeaderValue>,
    /// Host names, besides those of this machine, under which MCP clients may reach botops.
    pub allowed_hosts: Vec<String>,
    /// Requests a minute that each key may send.
    pub rate_limit: u32,
    /// Number of threads that serve requests.
    pub workers: usize,
    /// Age from which the bot's last state is reported as stale.
    pub cache_ttl: Duration,
    pub poll_interval: Duration,
    /// How often metrics are sent to stream clients.
    pub stream_interval: Duration,
    /// Largest number of stream clients at a time.
    pub stream_max_clients: usize,
    /// The id that the bot must answer with.
    pub bot_id: BotId,
    /// Where the bot answers.
    pub bot_address: BotAddress,
    /// What proves botops to a bot on a port.
    pub(crate) bot_token: Option<BotToken>,
    /// Folder of the store, the config versions and the audit.
    pub data_dir: PathBuf,
    /// Folder of botops' own log.
    pub log_dir: PathBuf,
    /// Filter of the log, in the syntax of `RUST_LOG`.
    pub log_filter: String,
    /// The shortest trial of a config change; tests shorten it.
    pub config_min_trial: Duration,
    /// How the bot is started again when a workflow restarts it.
    pub supervisor: SupervisorDriver,
    /// The whole environment of what the supervisor starts, by variable.
    pub bot_environment: BTreeMap<String, SecretString>,
    /// For tests: the failpoint at which the process kills itself. A release build ignores it.
    pub kill_at: Option<String>,
    /// For tests: the folder that names the writes that fail. A release build ignores it.
    pub fail_in: Option<String>,
    /// Settings of health checks and alerts.
    pub health: HealthSettings,
}

/// Leaves out secrets, and the bot's command line, which may contain a password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address)
            .field("bot_id", &self.bot_id)
            .field("data_dir", &self.data_dir)
            .field("log_dir", &self.log_dir)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads and checks every setting.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn check(sources: &SettingSources) -> Result<Self, Vec<SettingError>> {
        let mut reader = SettingsReader::new(sources);
        let settings = Self::read(&mut reader);
        reader.finish().map(|()| settings)
    }

    /// Reads every setting. A refused one gets a substitute value, so that the rest can still be checked.
    fn read(reader: &mut SettingsReader<'_>) -> Self {
        reader.refuse_unknown();
        let address = access::read_address(reader);
        let token = access::read_operator_key(reader);
        let key_origin = reader.sources.origin(&table::BOT_API_AUTH_TOKEN);
        let keys = access::read_named_keys(reader);
        let cors_origins = access::read_origins(reader);
        let allowed_hosts = access::read_allowed_hosts(reader);
        let rate_limit = reader.number(&table::BOT_API_RATE_LIMIT, 1);
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let workers = reader.number(&table::BOT_API_WORKERS, cores);
        let cache_ttl = reader.duration(&table::BOT_STATE_CACHE_TTL);
        let poll_interval = reader.duration(&table::BOT_POLL_INTERVAL);
        let stream_interval = reader.duration(&table::BOT_STREAM_INTERVAL);
        let config_min_trial = reader.duration(&table::BOT_CONFIG_MIN_TRIAL);
        let stream_max_clients = reader.number(&table::BOT_STREAM_MAX_CLIENTS, 1);
        let any_bot = BotId::from_str("bot").expect("it is valid");
        let bot_id = reader.parsed(&table::BOT_ID, any_bot, |text| text.parse().ok());
        let data_dir = reader.path(&table::BOT_DATA_DIR).unwrap_or_default();
        let log_dir = reader.path(&table::BOT_LOG_DIR).unwrap_or_else(|| data_dir.join("logs"));
        let (bot_address, bot_token) = bot_address::read_bot_address(reader, &data_dir);
        let supervisor = read_supervisor(reader, &data_dir, &log_dir);
        let bot_environment = read_bot_environment(reader);
        let owned = |row| reader.text(row).map(str::to_owned);
        let log_filter = owned(&table::RUST_LOG).unwrap_or_default();
        let (kill_at, fail_in) = (owned(&table::KILL_AT), owned(&table::FAIL_IN));
        Self {
            address,
            token,
            key_origin,
            keys,
            cors_origins,
            allowed_hosts,
            rate_limit,
            workers,
            cache_ttl,
            poll_interval,
            stream_interval,
            stream_max_clients,
            bot_id,
            bot_address,
            bot_token,
            data_dir,
            log_dir,
            log_filter,
            config_min_trial,
            supervisor,
            bot_environment,
            kill_at,
            fail_in,
            health: read_health(reader),
        }
    }

    /// The address the API listens on, without checking any other setting: a client of a running server needs no more.
    ///
    /// # Errors
    /// What is wrong with the host or the port.
    pub(crate) fn address_of(sources: &SettingSources) -> Result<SocketAddr, Vec<SettingError>> {
        let mut reader = SettingsReader::new(sources);
        let address = access::read_address(&mut reader);
        reader.finish().map(|()| address)
    }

    /// Every secret among the settings, to be masked in the log.
    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        let of_bot = self.bot_token.iter().map(|token| &token.secret);
        let of_health = self.health.secrets.values().chain(&self.health.webhook_secret);
        std::iter::once(&self.token).chain(of_bot).chain(of_health).cloned().collect()
    }

    /// Settings that are less safe than they could be, one sentence each; logged at start.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.address.ip().is_loopback() {
            warnings.push(format!(
                "BOT_API_HOST is {}: the API can be reached from other machines without TLS; put a TLS proxy in front \
                 or bind 127.0.0.1",
                self.address.ip()
            ));
        }
        if self.bot_token.as_ref().is_some_and(|token| token.is_shared) {
            warnings.push("BOT_IPC_TOKEN_FILE: others than its owner may read the file".to_owned());
        }
        if !self.cors_origins.is_empty() {
            warnings.push("BOT_API_CORS_ORIGINS is set: pages of those origins can read answers".to_owned());
        }
        if self.rate_limit > 100_000 {
            warnings.push(format!("BOT_API_RATE_LIMIT is {}: in effect there is no limit", self.rate_limit));
        }
        let endless = self.keys.keys.iter().filter(|key| key.expires_at.is_none()).count();
        if endless > 0 {
            warnings.push(format!(
                "{endless} named key(s) never expire; `botops key new --expires 90d` makes one that does"
            ));
        }
        warnings
    }
}
