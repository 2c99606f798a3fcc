//! Alpaca's trading API, paper and live.
//!
//! Keys go in two headers; there is no login, so the only way to a new session is to read the key file again.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use futures_util::future::ready;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::adapter::{BrokerAdapter, BrokerCall};
use super::error::BrokerError;
use super::http::{BrokerAddress, BrokerAnswer, BrokerHttp, BrokerRequest, HttpSettings};
use super::model::{NewSession, ProbeReply, SignInMethod};
use crate::command_line::secret;
use botops_contract::TradingMode;
use botops_core::{env_file, redact};

const PAPER_URL: &str = "https://paper-api.alpaca.markets";

const LIVE_URL: &str = "https://api.alpaca.markets";

/// The command line options of Alpaca.
#[derive(Debug, Clone, Args)]
pub(super) struct AlpacaOptions {
    /// The Alpaca keys are of a live account, not of a paper account
    #[arg(long, env = "PAPERBOT_ALPACA_LIVE", hide_env_values = true)]
    alpaca_live: bool,
    /// A file with `APCA_API_KEY_ID` and `APCA_API_SECRET_KEY`, read again at each reauth
    #[arg(long, env = "PAPERBOT_ALPACA_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    alpaca_key_file: Option<PathBuf>,
    #[arg(long, env = "APCA_API_KEY_ID", hide = true, hide_env_values = true, value_parser = secret)]
    alpaca_key_id: Option<SecretString>,
    #[arg(long, env = "APCA_API_SECRET_KEY", hide = true, hide_env_values = true, value_parser = secret)]
    alpaca_secret_key: Option<SecretString>,
}

impl AlpacaOptions {
    pub(super) fn connect(&self, address: &BrokerAddress) -> Result<Box<dyn BrokerAdapter>, String> {
        let url = if self.alpaca_live { LIVE_URL } else { PAPER_URL };
        let mode = if self.alpaca_live { TradingMode::Live } else { TradingMode::Paper };
        let given = (self.alpaca_key_id.clone(), self.alpaca_secret_key.clone());
        let keys = match (&self.alpaca_key_file, given) {
            (Some(file), _) => AlpacaKeySource::File(file.clone()),
            (None, (Some(id), Some(secret))) => AlpacaKeySource::Given { id, secret },
            _ => {
                return Err(
                    "--broker alpaca needs APCA_API_KEY_ID and APCA_API_SECRET_KEY, or --alpaca-key-file"
                        .to_owned(),
                );
            }
        };
        let settings = AlpacaSettings { http: address.http_settings(url), keys, mode };
        match AlpacaBroker::new(&settings) {
            Ok(broker) => Ok(Box::new(broker)),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn secrets(&self) -> Vec<SecretString> {
        [&self.alpaca_key_id, &self.alpaca_secret_key].into_iter().flatten().cloned().collect()
    }
}

/// Where the key pair is read from.
#[derive(Debug, Clone)]
pub enum AlpacaKeySource {
    /// From the environment, read once at the start.
    Given {
        /// `APCA_API_KEY_ID`.
        id: SecretString,
        /// `APCA_API_SECRET_KEY`.
        secret: SecretString,
    },
    /// A file with `APCA_API_KEY_ID=…` and `APCA_API_SECRET_KEY=…`, read again at each sign-in.
    File(PathBuf),
}

#[derive(Debug, Clone)]
pub struct AlpacaSettings {
    pub http: HttpSettings,
    pub keys: AlpacaKeySource,
    /// Paper or live account. Keys of one are refused by the other.
    pub mode: TradingMode,
}

/// The adapter for Alpaca's trading API.
#[derive(Debug)]
pub struct AlpacaBroker {
    http: BrokerHttp,
    source: AlpacaKeySource,
    mode: TradingMode,
    keys: RwLock<AlpacaKeys>,
}

#[derive(Debug, Clone)]
struct AlpacaKeys {
    generation: u64,
    id: SecretString,
    secret: SecretString,
}

impl AlpacaBroker {
    /// Reads the key pair; makes no call to the broker.
    pub fn new(settings: &AlpacaSettings) -> Result<Self, BrokerError> {
        let http = BrokerHttp::new(&settings.http)?;
        let (id, secret) = read_keys(&settings.keys)?;
        let keys = RwLock::new(AlpacaKeys { generation: 1, id, secret });
        Ok(Self { http, source: settings.keys.clone(), mode: settings.mode, keys })
    }

    async fn check_account(&self, limit: Duration) -> Result<ProbeReply, BrokerError> {
        let (answer, generation) = self.get("/v2/account", limit).await?;
        let account: AlpacaAccount = answer.parse()?;
        let restricted = account.restriction();
        let account = redact::account(account.account_number.as_deref().unwrap_or(&account.id));
        let meta = answer.meta();
        Ok(ProbeReply { account, restricted, generation, skew: meta.skew, quota_wait: meta.quota_wait })
    }

    /// Reads the key file again. A pair that was refused is not sent again unless an operator asks for it.
    fn reload_keys(&self, operator: bool) -> Result<NewSession, BrokerError> {
        let (id, secret) = read_keys(&self.source)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let same = keys.id.expose_secret() == id.expose_secret()
            && keys.secret.expose_secret() == secret.expose_secret();
        if same && !operator {
            return Err(BrokerError::CredentialsRejected { hint: self.mismatch_hint() });
        }
        let method = if same { "same_key" } else { "key_file" };
        *keys = AlpacaKeys { generation: keys.generation + 1, id, secret };
        Ok(NewSession { generation: keys.generation, method })
    }

    async fn read_market_clock(&self) -> Result<Option<bool>, BrokerError> {
        #[derive(Deserialize)]
        struct MarketClock {
            is_open: bool,
        }
        let (answer, _) = self.get("/v2/clock", Duration::MAX).await?;
        Ok(Some(answer.parse::<MarketClock>()?.is_open))
    }

    /// One `GET` with the current keys; the answer and the generation of those keys.
    async fn get(&self, path: &str, limit: Duration) -> Result<(BrokerAnswer, u64), BrokerError> {
        let keys = self.keys().clone();
        let request = BrokerRequest::get(path)
            .limit(limit)
            .secret_header("apca-api-key-id", keys.id.expose_secret())?
            .secret_header("apca-api-secret-key", keys.secret.expose_secret())?;
        let answer = self.http.send(&request).await?.check()?;
        match answer.status {
            200 => Ok((answer, keys.generation)),
            401 | 403 => Err(BrokerError::SessionInvalid { generation: keys.generation }),
            _ => Err(BrokerError::Protocol { what: "a status that the API does not have here" }),
        }
    }

    fn mismatch_hint(&self) -> &'static str {
        match self.mode {
            TradingMode::Live => {
                "the key is wrong or revoked, or it is a paper key on the live host (paper and live keys differ)"
            }
            TradingMode::Paper | TradingMode::Backtest | TradingMode::Other => {
                "the key is wrong or revoked, or it is a live key on the paper host (paper and live keys differ)"
            }
        }
    }

    fn keys(&self) -> std::sync::RwLockReadGuard<'_, AlpacaKeys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BrokerAdapter for AlpacaBroker {
    fn name(&self) -> &'static str {
        "alpaca"
    }

    fn mode(&self) -> TradingMode {
        self.mode
    }

    fn generation(&self) -> u64 {
        self.keys().generation
    }

    fn probe(&self, limit: Duration) -> BrokerCall<'_, ProbeReply> {
        self.check_account(limit).boxed()
    }

    fn sign_in<'a>(
        &'a self,
        _method: SignInMethod,
        operator: bool,
        _code: Option<&'a str>,
    ) -> BrokerCall<'a, NewSession> {
        ready(self.reload_keys(operator)).boxed()
    }

    fn credentials_file(&self) -> Option<&Path> {
        match &self.source {
            AlpacaKeySource::File(file) => Some(file),
            AlpacaKeySource::Given { .. } => None,
        }
    }

    fn market_open(&self) -> BrokerCall<'_, Option<bool>> {
        self.read_market_clock().boxed()
    }
}

fn read_keys(source: &AlpacaKeySource) -> Result<(SecretString, SecretString), BrokerError> {
    let config = |what: &str| BrokerError::Config { what: what.to_owned() };
    let (id, secret) = match source {
        AlpacaKeySource::Given { id, secret } => (Some(id.clone()), Some(secret.clone())),
        AlpacaKeySource::File(path) => {
            let (mut id, mut secret) = (None, None);
            let file = std::fs::read(path).map_err(|_| config("the key file cannot be read"))?;
            let pairs = env_file::parse(&file).map_err(|wrong| {
                let first = wrong.first().map(|error| error.said("APCA_"));
                config(&format!("the key file, {}", first.unwrap_or_default()))
            })?;
            for (name, value) in pairs {
                match name.as_str() {
                    "APCA_API_KEY_ID" => id = Some(SecretString::from(value)),
                    "APCA_API_SECRET_KEY" => secret = Some(SecretString::from(value)),
                    _ => {}
                }
            }
            (id, secret)
        }
    };
    match (id, secret) {
        (Some(id), Some(secret)) if !id.expose_secret().is_empty() && !secret.expose_secret().is_empty() => {
            Ok((id, secret))
        }
        _ => Err(config("APCA_API_KEY_ID and APCA_API_SECRET_KEY are both needed")),
    }
}

#[derive(Debug, Deserialize)]
struct AlpacaAccount {
    id: String,
    status: String,
    #[serde(default)]
    account_number: Option<String>,
    #[serde(default)]
    trading_blocked: bool,
    #[serde(default)]
    account_blocked: bool,
    #[serde(default)]
    trade_suspended_by_user: bool,
}

impl AlpacaAccount {
    fn restriction(&self) -> Option<&'static str> {
        if self.account_blocked {
            return Some("the account is blocked");
        }
        if self.trading_blocked {
            return Some("trading is blocked");
        }
        if self.trade_suspended_by_user {
            return Some("trading was suspended by the account's owner");
        }
        // Unknown statuses pass: the broker adds some, and a blocked account says so in its flags.
        match self.status.as_str() {
            "ACCOUNT_CLOSED" | "REJECTED" | "INACTIVE" | "SUBMISSION_FAILED" | "ACCOUNT_CLOSED_PENDING" => {
                Some("the account is not active")
            }
            _ => None,
        }
    }
}
