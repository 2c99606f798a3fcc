//! Settings: the command line, the environment and `.env`, checked once and passed on as plain values.
//!
//! The only reader of the environment. A flag wins over the environment, the environment over `.env`. Everything that
//! is wrong is said at once, one line each, with the setting's name and the remedy; the process then ends with code 2.
//! Secrets are kept in a type that cannot be printed. Deliberately absent: settings changed at run time (what changes
//! at run time is the bot's config, with its own door).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderValue;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use botops_contract::BotId;
use botops_core::env_file;
use botops_http::KeyFile;
use botops_server::bots::SupervisorDriver;
use botops_server::health::Allowed;

/// Shortest operator key that is taken: 24 characters of a random key cannot be guessed.
const TOKEN_MIN: usize = 24;

/// Longest path of a Unix socket on Linux (`sun_path` less the closing zero).
const SOCKET_PATH_MAX: usize = 107;

/// Flags that win over the environment.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Address to bind (`BOT_API_HOST`).
    #[arg(long)]
    pub host: Option<String>,
    /// Port to bind; 0 takes a free one (`BOT_API_PORT`).
    #[arg(long)]
    pub port: Option<String>,
    /// Folder for the store, the config versions and the audit (`BOT_DATA_DIR`).
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// The bot's socket (`BOT_IPC_SOCKET`).
    #[arg(long, value_name = "PATH")]
    pub socket: Option<String>,
    /// Folder for botops' own log (`BOT_LOG_DIR`).
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<String>,
}

/// Everything botops can be told from outside, checked.
#[derive(Clone)]
pub struct Settings {
    /// Where the API listens.
    pub address: SocketAddr,
    /// The operator's key.
    pub token: SecretString,
    /// Named keys.
    pub keys: KeyFile,
    /// Origins that browsers may read from.
    pub cors_origins: Vec<HeaderValue>,
    /// Names, beside this machine's own, under which MCP clients reach botops.
    pub allowed_hosts: Vec<String>,
    /// Requests a minute per key.
    pub rate_limit: u32,
    /// Threads that answer.
    pub workers: usize,
    /// Age beyond which a snapshot is stale.
    pub cache_ttl: Duration,
    /// How often the bot's state is read.
    pub poll_interval: Duration,
    /// How often metrics go to stream clients.
    pub stream_interval: Duration,
    /// Stream clients at a time.
    pub stream_max_clients: usize,
    /// The bot's id.
    pub bot_id: BotId,
    /// The bot's socket.
    pub socket: PathBuf,
    /// The store, the config versions, the audit.
    pub data_dir: PathBuf,
    /// botops' own log.
    pub log_dir: PathBuf,
    /// What the log takes in (`RUST_LOG`).
    pub log_filter: String,
    /// The shortest trial of a config change (`BOT_CONFIG_MIN_TRIAL`); tests shorten it.
    pub config_min_trial: Duration,
    /// Who starts the bot again when a workflow restarts it.
    pub supervisor: SupervisorDriver,
    /// Where a test lets the process die (`KILL_AT`); a release build does not look at it.
    pub kill_at: Option<String>,
    /// Where a test says which writes fail (`FAIL_IN`); a release build does not look at it.
    pub fail_in: Option<String>,
    /// Checks and alerts.
    pub health: HealthSettings,
}

/// What was chosen for a bot's command line may hold its password, so it is not among what can be printed.
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

/// What checks may reach and who is told of alerts.
#[derive(Clone, Default)]
pub struct HealthSettings {
    /// Hosts and networks that checks may reach besides public addresses.
    pub allowed: Vec<Allowed>,
    /// Values of `BOT_CHECK_SECRET_*`, by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// A webhook for alerts.
    pub webhook: Option<reqwest::Url>,
    /// What the webhook's messages are signed with.
    pub webhook_secret: Option<SecretString>,
    /// An Alertmanager.
    pub alertmanager: Option<reqwest::Url>,
    /// An address asked once a minute while health moves on.
    pub watchdog: Option<reqwest::Url>,
}

/// Addresses of receivers may hold a token.
impl fmt::Debug for HealthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthSettings")
            .field("allowed", &self.allowed)
            .field("secrets", &self.secrets.keys())
            .field("webhook", &self.webhook.is_some())
            .field("alertmanager", &self.alertmanager.is_some())
            .field("watchdog", &self.watchdog.is_some())
            .finish_non_exhaustive()
    }
}

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The setting's name.
    pub setting: String,
    /// What is wrong, without the value when it is a secret.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.setting, self.problem, self.remedy)
    }
}

/// Settings whose names are known; any other `BOT_API_*` is refused, since it is a typo that would go unnoticed.
const KNOWN: &[&str] = &[
    "BOT_API_HOST",
    "BOT_API_PORT",
    "BOT_API_AUTH_TOKEN",
    "BOT_API_KEYS_FILE",
    "BOT_API_CORS_ORIGINS",
    "BOT_API_ALLOWED_HOSTS",
    "BOT_API_RATE_LIMIT",
    "BOT_API_WORKERS",
];

/// The file of settings in the working folder.
const ENV_FILE: &str = ".env";

/// How the names of settings begin.
const OWN: &str = "BOT_";

/// Where the values come from: flags, then the environment, then `.env`.
pub struct Sources {
    values: BTreeMap<String, String>,
}

impl Sources {
    /// Reads the process environment and `.env` in the working folder, and puts the flags on top.
    ///
    /// # Errors
    /// Every line of `.env` and every variable that cannot be read, by line and name.
    pub fn read(flags: &Flags) -> Result<Self, Vec<SettingError>> {
        let mut values: BTreeMap<String, String> = read_env_file()?.into_iter().collect();
        let mut wrong = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    values.insert(name, value);
                }
                Err(_) if name.starts_with(OWN) => wrong.push(SettingError {
                    setting: name,
                    problem: "the value is not UTF-8 text".to_owned(),
                    remedy: "Set it anew.".to_owned(),
                }),
                Err(_) => {}
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let overrides = [
            ("BOT_API_HOST", &flags.host),
            ("BOT_API_PORT", &flags.port),
            ("BOT_DATA_DIR", &flags.data_dir),
            ("BOT_IPC_SOCKET", &flags.socket),
            ("BOT_LOG_DIR", &flags.log_dir),
        ];
        for (name, value) in overrides {
            if let Some(value) = value {
                values.insert(name.to_owned(), value.clone());
            }
        }
        Ok(Self { values })
    }

    /// Values given directly, for tests and for `demo`.
    pub fn of(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: values.into_iter().collect() }
    }

    /// Sets a value unless one was given; an empty one counts as not given.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        if self.get(name).is_none() {
            self.values.insert(name.to_owned(), value.into());
        }
    }

    /// A value as text; an empty one counts as not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// The pairs of `.env`; none when there is no such file.
fn read_env_file() -> Result<Vec<(String, String)>, Vec<SettingError>> {
    let refused = |problem: String, remedy: &str| {
        let (setting, remedy) = (ENV_FILE.to_owned(), remedy.to_owned());
        SettingError { setting, problem, remedy }
    };
    let file = match std::fs::read(ENV_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let problem = format!("the file cannot be read ({error})");
            return Err(vec![refused(problem, "Make it readable for this user, or remove it.")]);
        }
    };
    // What stands in the line stays there: it may be a secret.
    let broken = |error: &env_file::LineError| {
        refused(error.said(OWN), "Write one NAME=value a line; values are taken literally.")
    };
    env_file::parse(&file).map_err(|wrong| wrong.iter().map(broken).collect())
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

impl Settings {
    /// Checks everything.
    ///
    /// # Errors
    /// All that is wrong, in the order of the documentation.
    pub fn check(sources: &Sources) -> Result<Self, Vec<SettingError>> {
        let mut wrong = Vec::new();
        let mut reader = Reader { sources, wrong: &mut wrong };
        reader.refuse_unknown();
        let address = reader.address();
        let token = reader.token();
        let keys = reader.keys();
        let cors_origins = reader.origins();
        let allowed_hosts = reader.hosts();
        let rate_limit = reader.number("BOT_API_RATE_LIMIT", 100_u32, 1..=1_000_000_000);
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let workers = reader.number("BOT_API_WORKERS", cores, 1..=256);
        let cache_ttl = reader.duration("BOT_STATE_CACHE_TTL", "60s", "1s", "300s");
        let poll_interval = reader.duration("BOT_POLL_INTERVAL", "1s", "50ms", "10s");
        let stream_interval = reader.duration("BOT_STREAM_INTERVAL", "5s", "100ms", "60s");
        let config_min_trial = reader.duration("BOT_CONFIG_MIN_TRIAL", "15s", "200ms", "900s");
        let stream_max_clients = reader.number("BOT_STREAM_MAX_CLIENTS", 12_000_usize, 1..=100_000);
        let bot_id =
            reader.parsed("BOT_ID", BotId::from_str("paperbot").expect("it is valid"), "a bot id", |text| {
                text.parse().ok()
            });
        let data_dir = reader.path("BOT_DATA_DIR").unwrap_or_else(|| PathBuf::from("botops-data"));
        let log_dir = reader.path("BOT_LOG_DIR").unwrap_or_else(|| data_dir.join("logs"));
        let socket = reader.socket(&data_dir);
        let supervisor = reader.supervisor(&data_dir, &log_dir);
        let health = reader.health();
        let log_filter = sources.get("RUST_LOG").unwrap_or("info,rmcp=warn,hyper=warn").to_owned();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            address,
            token,
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
            socket,
            data_dir,
            log_dir,
            log_filter,
            config_min_trial,
            supervisor,
            health,
            kill_at: sources.get("KILL_AT").map(str::to_owned),
            fail_in: sources.get("FAIL_IN").map(str::to_owned),
        })
    }

    /// Where the API listens, and nothing else: all that a client of a running server needs besides a key.
    ///
    /// # Errors
    /// What is wrong with either of the two settings.
    pub fn address_of(sources: &Sources) -> Result<SocketAddr, Vec<SettingError>> {
        let mut wrong = Vec::new();
        let address = Reader { sources, wrong: &mut wrong }.address();
        if wrong.is_empty() { Ok(address) } else { Err(wrong) }
    }

    /// Everything that must turn up in no log.
    pub fn secrets(&self) -> Vec<SecretString> {
        let of_health = self.health.secrets.values().chain(&self.health.webhook_secret);
        std::iter::once(&self.token).chain(of_health).cloned().collect()
    }

    /// What is looser than it need be, one sentence each; said at start.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.address.ip().is_loopback() {
            warnings.push(format!(
                "BOT_API_HOST is {}: the API can be reached from other machines without TLS; put a TLS proxy in front \
                 or bind 127.0.0.1",
                self.address.ip()
            ));
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

/// Reads single settings and collects what is wrong with them.
struct Reader<'a> {
    sources: &'a Sources,
    wrong: &'a mut Vec<SettingError>,
}

impl Reader<'_> {
    fn refuse(&mut self, setting: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let (setting, problem, remedy) = (setting.to_owned(), problem.into(), remedy.into());
        self.wrong.push(SettingError { setting, problem, remedy });
    }

    fn refuse_unknown(&mut self) {
        let unknown: Vec<_> = self
            .sources
            .values
            .keys()
            .filter(|name| name.starts_with("BOT_API_") && !KNOWN.contains(&name.as_str()))
            .collect();
        for name in unknown {
            let near = KNOWN
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            let remedy = format!("Did you mean {}? Otherwise remove it.", near.unwrap_or(&"BOT_API_PORT"));
            self.wrong.push(SettingError {
                setting: name.clone(),
                problem: "unknown setting".to_owned(),
                remedy,
            });
        }
    }

    fn address(&mut self) -> SocketAddr {
        let host = self.parsed("BOT_API_HOST", IpAddr::V4(Ipv4Addr::LOCALHOST), "an IP address", |text| {
            if text == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { text.parse().ok() }
        });
        SocketAddr::new(host, self.number("BOT_API_PORT", 8000_u16, 0..=u16::MAX))
    }

    /// The value is not repeated, here and below: a secret that was put into the wrong place is one still.
    fn parsed<T>(&mut self, name: &str, default: T, what: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let Some(text) = self.sources.get(name) else { return default };
        parse(text).unwrap_or_else(|| {
            self.refuse(name, format!("it is not {what}"), format!("Set it to {what}."));
            default
        })
    }

    fn number<T>(&mut self, name: &str, default: T, range: std::ops::RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(name, default, &what, |text| text.parse().ok().filter(|number| range.contains(number)))
    }

    fn duration(&mut self, name: &str, default: &str, min: &str, max: &str) -> Duration {
        let known = |text: &str| parse_duration(text).unwrap_or_default();
        let range = known(min)..=known(max);
        let what = format!("a duration from {min} to {max}, such as `{default}`");
        self.parsed(name, known(default), &what, |text| {
            parse_duration(text).filter(|time| range.contains(time))
        })
    }

    /// A path as it stands. What a shell would fill in is refused: nothing does so here, and a folder of that name would
    /// be a new and empty one.
    fn path(&mut self, name: &str) -> Option<PathBuf> {
        let text = self.sources.get(name)?;
        if text.starts_with(['$', '~']) || text.contains("${") {
            self.refuse(
                name,
                "it begins with `~` or names a variable, which nothing fills in",
                "Write the path out.",
            );
            return None;
        }
        Some(PathBuf::from(text))
    }

    fn token(&mut self) -> SecretString {
        const NAME: &str = "BOT_API_AUTH_TOKEN";
        const REMEDY: &str =
            "Set it to at least 24 random characters; `botops key random` prints a good one.";
        let token = SecretString::from(self.sources.get(NAME).unwrap_or_default().to_owned());
        let length = token.expose_secret().chars().count();
        let plain = token.expose_secret().chars().all(|c| c.is_ascii_graphic());
        let mut letters: Vec<char> = token.expose_secret().chars().collect();
        letters.sort_unstable();
        letters.dedup();
        if length == 0 {
            self.refuse(NAME, "the operator's key is not set", REMEDY);
        } else if length < TOKEN_MIN {
            self.refuse(
                NAME,
                format!("the operator's key has {length} characters, fewer than {TOKEN_MIN}"),
                REMEDY,
            );
        } else if !plain {
            self.refuse(NAME, "the operator's key has characters that do not fit into a header", REMEDY);
        } else if letters.len() < 6 {
            self.refuse(NAME, "the operator's key repeats a few characters", REMEDY);
        }
        token
    }

    fn health(&mut self) -> HealthSettings {
        const ALLOW: &str = "BOT_CHECK_ALLOW";
        const SECRET: &str = "BOT_ALERT_WEBHOOK_SECRET";
        let mut allowed = Vec::new();
        for (number, entry) in entries(self.sources.get(ALLOW)) {
            match entry.parse::<Allowed>() {
                Ok(parsed) => allowed.push(parsed),
                Err(_) => self.refuse(
                    ALLOW,
                    format!("entry {number} is no host, address or network"),
                    "Name hosts, addresses and networks, separated by commas.",
                ),
            }
        }
        // As it was given: the receiver signs with every character of it.
        let given = self.sources.values.get(SECRET).filter(|_| self.sources.get(SECRET).is_some());
        let webhook_secret = given.map(|secret| SecretString::from(secret.clone()));
        if let Some(secret) = webhook_secret.as_ref().map(ExposeSecret::expose_secret) {
            if secret.len() < 16 {
                self.refuse(
                    SECRET,
                    "it is shorter than 16 characters",
                    "`botops key random` prints a good one.",
                );
            } else if secret.trim().len() != secret.len() {
                let problem = "it begins or ends with a blank or a line end, which few receivers sign with";
                self.refuse(SECRET, problem, "Take it away here and at the receiver.");
            }
        }
        let secrets = self.sources.values.iter().filter(|(name, _)| name.starts_with("BOT_CHECK_SECRET_"));
        HealthSettings {
            allowed,
            secrets: secrets.map(|(name, value)| (name.clone(), SecretString::from(value.clone()))).collect(),
            webhook: self.url("BOT_ALERT_WEBHOOK_URL"),
            webhook_secret,
            alertmanager: self.url("BOT_ALERTMANAGER_URL").map(|mut url| {
                if !url.path().ends_with('/') {
                    let path = format!("{}/", url.path());
                    url.set_path(&path);
                }
                url
            }),
            watchdog: self.url("BOT_ALERT_WATCHDOG_URL"),
        }
    }

    /// An address of the operator's; it may hold a token, so it is not repeated.
    fn url(&mut self, name: &str) -> Option<reqwest::Url> {
        let text = self.sources.get(name)?;
        let url = text.parse::<reqwest::Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            self.refuse(name, "it is no http or https URL", "Set it to an http or https URL.");
        }
        url
    }

    fn keys(&mut self) -> KeyFile {
        const NAME: &str = "BOT_API_KEYS_FILE";
        let Some(path) = self.path(NAME) else { return KeyFile::default() };
        match KeyFile::read(&path) {
            Ok(file) => file,
            Err(problem) => {
                let problem = format!("the keys file cannot be used ({problem})");
                self.refuse(
                    NAME,
                    problem,
                    "Make it with `botops key new --file FILE --id NAME --scopes read`.",
                );
                KeyFile::default()
            }
        }
    }

    fn hosts(&mut self) -> Vec<String> {
        const NAME: &str = "BOT_API_ALLOWED_HOSTS";
        let mut hosts = Vec::new();
        for (number, host) in entries(self.sources.get(NAME)) {
            let is_plain =
                host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
            if is_plain {
                hosts.push(host);
            } else {
                self.refuse(
                    NAME,
                    format!("entry {number} is no host name"),
                    "List names such as `ops.example.com` or `ops.example.com:8443`, separated by commas.",
                );
            }
        }
        hosts
    }

    fn origins(&mut self) -> Vec<HeaderValue> {
        const NAME: &str = "BOT_API_CORS_ORIGINS";
        let mut origins = Vec::new();
        for (number, text) in entries(self.sources.get(NAME)) {
            let is_origin = ["http://", "https://"].iter().any(|scheme| {
                text.strip_prefix(*scheme)
                    .is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
            });
            match HeaderValue::from_str(&text) {
                Ok(value) if is_origin => origins.push(value),
                _ => self.refuse(
                    NAME,
                    format!("entry {number} is no origin"),
                    "List origins such as https://ops.example.com, separated by commas; `*` is not taken.",
                ),
            }
        }
        origins
    }

    /// Fixed here and nowhere else: no request can name a program.
    fn supervisor(&mut self, data_dir: &Path, log_dir: &Path) -> SupervisorDriver {
        const NAME: &str = "BOT_SUPERVISOR";
        const REMEDY: &str =
            "Use none, spawn, systemd:<unit>, systemd-user:<unit>, or command:[\"program\", …].";
        let text = self.sources.get(NAME).unwrap_or("none");
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match (kind, rest) {
            ("none", "") => SupervisorDriver::None,
            ("spawn", "") => {
                let argv = self.argv("BOT_SUPERVISOR_COMMAND", self.sources.get("BOT_SUPERVISOR_COMMAND"));
                let pid_file = self.path("BOT_SUPERVISOR_PID_FILE");
                let pid_file = pid_file.unwrap_or_else(|| data_dir.join("paperbot").join("paperbot.pid"));
                SupervisorDriver::Spawn { argv, pid_file, output: log_dir.join("bot-output.txt") }
            }
            ("systemd" | "systemd-user", unit) if is_unit(unit) => {
                SupervisorDriver::Systemd { unit: unit.to_owned(), user: kind == "systemd-user" }
            }
            ("command", json) => SupervisorDriver::Command { argv: self.argv(NAME, Some(json)) },
            _ => {
                self.refuse(NAME, "it names no driver", REMEDY);
                SupervisorDriver::None
            }
        }
    }

    fn argv(&mut self, name: &str, json: Option<&str>) -> Vec<String> {
        let argv: Option<Vec<String>> = json.and_then(|json| serde_json::from_str(json).ok());
        match argv.filter(|argv| argv.first().is_some_and(|program| !program.is_empty())) {
            Some(argv) => argv,
            None => {
                let remedy = "Write a JSON list of program and arguments, such as [\"/usr/bin/paperbot\"].";
                self.refuse(name, "no command line is given", remedy);
                Vec::new()
            }
        }
    }

    fn socket(&mut self, data_dir: &Path) -> PathBuf {
        const NAME: &str = "BOT_IPC_SOCKET";
        let path = self.path(NAME).unwrap_or_else(|| data_dir.join("ipc").join("bot.sock"));
        let length = path.as_os_str().len();
        if length > SOCKET_PATH_MAX {
            self.refuse(
                NAME,
                format!("the socket path has {length} bytes, more than the system's {SOCKET_PATH_MAX}"),
                "Use a shorter path, such as /run/botops/bot.sock.",
            );
        }
        path
    }
}

/// `5s`, `200ms`, `2m`, `1h`, `30d` or bare seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    botops_core::text::duration(text)
}

/// A unit's name, which can be no option and no path.
fn is_unit(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._-:".contains(c);
    !name.is_empty() && name.len() <= 200 && !name.starts_with('-') && name.chars().all(plain)
}

/// The entries of a list that is separated by commas, numbered from one.
fn entries(list: Option<&str>) -> Vec<(usize, String)> {
    let entries = list.unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty());
    (1..).zip(entries.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Settings, Vec<SettingError>> {
        let mut values = vec![("BOT_API_AUTH_TOKEN".to_owned(), "abcdefghijklmnopqrstuvwxyz".to_owned())];
        values.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Settings::check(&Sources::of(values))
    }

    #[track_caller]
    fn refused(name: &str, value: &str) {
        let wrong = with(&[(name, value)]).unwrap_err();
        assert!(wrong.iter().any(|error| error.setting == name), "{wrong:?}");
    }

    #[test]
    fn durations_are_read_with_and_without_a_unit() {
        assert_eq!(parse_duration("5"), Some(Duration::from_secs(5)));
        assert_eq!(parse_duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("1.5m"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("5 weeks"), None);
        assert_eq!(parse_duration("-1s"), None);
    }

    #[test]
    fn a_bad_setting_is_named() {
        refused("BOT_API_PORT", "70000");
        refused("BOT_API_HOST", "everywhere");
        refused("BOT_API_AUTH_TOKEN", "short");
        refused("BOT_API_AUTH_TOKEN", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        refused("BOT_API_RATE_LIMIT", "0");
        refused("BOT_API_CORS_ORIGINS", "*");
        refused("BOT_API_KEYS_FILE", "/nowhere/keys.json");
        refused("BOT_API_PROT", "8000");
        refused("BOT_POLL_INTERVAL", "1h");
        refused("BOT_IPC_SOCKET", &"x".repeat(108));
        refused("BOT_CHECK_ALLOW", "10.0.0.0/40");
        refused("BOT_ALERT_WEBHOOK_URL", "ftp://somewhere/");
        refused("BOT_ALERT_WEBHOOK_SECRET", "short");
        refused("BOT_ALERT_WEBHOOK_SECRET", "long enough, with a line end\n");
    }

    #[test]
    fn a_weak_key_is_refused_without_being_shown() {
        let wrong = with(&[("BOT_API_AUTH_TOKEN", "hunter2hunter2")]).unwrap_err();
        assert!(!format!("{wrong:?}").contains("hunter2"));
    }

    #[test]
    fn defaults_are_closed() {
        let settings = with(&[]).unwrap();
        assert!(settings.address.ip().is_loopback());
        assert!(settings.cors_origins.is_empty());
        assert!(settings.warnings().is_empty());
        assert!(!format!("{settings:?}").contains("abcdefghijklmnop"));
    }

    #[test]
    fn what_may_hold_a_secret_is_not_printed() {
        let settings = with(&[
            ("BOT_ALERT_WEBHOOK_URL", "https://hooks.example/canary"),
            ("BOT_ALERT_WATCHDOG_URL", "https://ping.example/canary"),
            ("BOT_ALERTMANAGER_URL", "http://user:canary@alerts.example"),
            ("BOT_ALERT_WEBHOOK_SECRET", "canary-canary-canary"),
            ("BOT_CHECK_SECRET_FEED", "canary"),
            ("BOT_SUPERVISOR", "command:[\"bot\", \"--password=canary\"]"),
        ]);
        let printed = format!("{:?}", settings.unwrap());
        assert!(!printed.contains("canary"), "{printed}");
    }

    #[test]
    fn an_empty_value_takes_a_default() {
        let mut sources = Sources::of([("BOT_API_AUTH_TOKEN".to_owned(), " ".to_owned())]);
        sources.set_default("BOT_API_AUTH_TOKEN", "made");
        assert_eq!(sources.get("BOT_API_AUTH_TOKEN"), Some("made"));
        sources.set_default("BOT_API_AUTH_TOKEN", "made again");
        assert_eq!(sources.get("BOT_API_AUTH_TOKEN"), Some("made"));
    }
}
