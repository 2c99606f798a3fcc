//! Alpaca's trading API, paper and live.
//!
//! Keys go in two headers; there is no login, so the only way to a new session is to read the key file again. Keeps
//! the key pair to itself and knows which refusals are about the session and which about an order. Deliberately
//! absent: fields that Alpaca retired in 2026 (`daytrade_count` and its kin); the day-trade count is unknown.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::http::{Answer, Ask, Http, HttpSettings};
use super::{BrokerError, OrderIntent, ProbeOk, Reply, SessionInfo, clean_code, lenient, lenient_required};
use botops_contract::{Account, Mode, Order, OrderStatus, OrderType, Position, Side};
use botops_core::{env_file, redact};

/// Where the paper API lives.
pub const PAPER_URL: &str = "https://paper-api.alpaca.markets";

/// Where the live API lives.
pub const LIVE_URL: &str = "https://api.alpaca.markets";

/// Where the key pair comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Given once, from the environment.
    Given {
        /// `APCA_API_KEY_ID`.
        id: SecretString,
        /// `APCA_API_SECRET_KEY`.
        secret: SecretString,
    },
    /// A file with `APCA_API_KEY_ID=…` and `APCA_API_SECRET_KEY=…`, read again at each sign-in.
    File(PathBuf),
}

/// What the adapter needs.
#[derive(Debug, Clone)]
pub struct AlpacaSettings {
    /// How to reach it.
    pub http: HttpSettings,
    /// The key pair.
    pub keys: KeySource,
    /// Whether money is real. Keys of one world do not work in the other.
    pub mode: Mode,
}

/// The adapter.
#[derive(Debug)]
pub struct Alpaca {
    http: Http,
    source: KeySource,
    mode: Mode,
    keys: RwLock<Keys>,
}

#[derive(Debug, Clone)]
struct Keys {
    generation: u64,
    id: SecretString,
    secret: SecretString,
}

impl Alpaca {
    /// Reads the key pair; calls nothing yet.
    pub fn new(settings: &AlpacaSettings) -> Result<Self, BrokerError> {
        let http = Http::new(&settings.http)?;
        let (id, secret) = read_keys(&settings.keys)?;
        let keys = RwLock::new(Keys { generation: 1, id, secret });
        Ok(Self { http, source: settings.keys.clone(), mode: settings.mode, keys })
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn generation(&self) -> u64 {
        self.keys().generation
    }

    pub(super) async fn probe(&self, limit: Duration) -> Result<Reply<ProbeOk>, BrokerError> {
        let (answer, generation) = self.call(Ask::get("/v2/account").limit(limit)).await?;
        let account: AccountBody = self.parse(&answer)?;
        let restricted = account.restriction();
        let account = redact::account(account.account_number.as_deref().unwrap_or(&account.id));
        Ok(Reply { value: ProbeOk { account, restricted }, meta: answer.meta(generation) })
    }

    /// The key file again. The same refused pair is not sent again unless an operator says so.
    pub(super) fn reload(&self, operator: bool) -> Result<SessionInfo, BrokerError> {
        let (id, secret) = read_keys(&self.source)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let same = keys.id.expose_secret() == id.expose_secret()
            && keys.secret.expose_secret() == secret.expose_secret();
        if same && !operator {
            return Err(BrokerError::CredentialsRejected { hint: self.mismatch_hint() });
        }
        let method = if same { "same_key" } else { "key_file" };
        *keys = Keys { generation: keys.generation + 1, id, secret };
        Ok(SessionInfo { generation: keys.generation, method })
    }

    pub(super) async fn account(&self) -> Result<Reply<Account>, BrokerError> {
        let (answer, generation) = self.call(Ask::get("/v2/account")).await?;
        let body: AccountBody = self.parse(&answer)?;
        let missing = BrokerError::Protocol { what: "an account without money fields" };
        let (Some(equity), Some(cash)) = (body.equity, body.cash) else { return Err(missing) };
        let account = Account {
            buying_power: body.buying_power.unwrap_or_default(),
            account_balance: equity,
            cash_balance: cash,
            day_trade_count: None,
            last_updated: answer.received_at,
        };
        Ok(Reply { value: account, meta: answer.meta(generation) })
    }

    pub(super) async fn positions(&self) -> Result<Reply<Vec<Position>>, BrokerError> {
        let (answer, generation) = self.call(Ask::get("/v2/positions")).await?;
        let bodies: Vec<PositionBody> = self.parse(&answer)?;
        let positions = bodies.into_iter().map(|body| body.into_position(answer.received_at)).collect();
        Ok(Reply { value: positions, meta: answer.meta(generation) })
    }

    pub(super) async fn open_orders(&self) -> Result<Reply<Vec<Order>>, BrokerError> {
        let (answer, generation) = self.call(Ask::get("/v2/orders?status=open&limit=500")).await?;
        let bodies: Vec<OrderBody> = self.parse(&answer)?;
        let orders = bodies.into_iter().map(|body| body.into_order(answer.received_at)).collect();
        Ok(Reply { value: orders, meta: answer.meta(generation) })
    }

    pub(super) async fn order_by_client_id(&self, id: &str) -> Result<Reply<Option<Order>>, BrokerError> {
        let ask = Ask::get(format!("/v2/orders:by_client_order_id?client_order_id={}", path_safe(id)?));
        let (answer, generation) = self.call(ask).await?;
        let meta = answer.meta(generation);
        if answer.status == 404 {
            return Ok(Reply { value: None, meta });
        }
        let body: OrderBody = self.parse(&answer)?;
        if body.client_order_id.as_deref() != Some(id) {
            return Err(BrokerError::Protocol { what: "another order than the one asked for" });
        }
        Ok(Reply { value: Some(body.into_order(answer.received_at)), meta })
    }

    pub(super) async fn submit(&self, intent: &OrderIntent) -> Result<Reply<Order>, BrokerError> {
        let mut body = json!({
            "client_order_id": path_safe(&intent.client_order_id)?,
            "symbol": intent.symbol,
            "qty": intent.quantity.normalize().to_string(),
            "side": match intent.side { Side::Buy => "buy", Side::Sell => "sell" },
            "type": match intent.order_type { OrderType::Market => "market", OrderType::Limit => "limit" },
            "time_in_force": "day",
        });
        if let Some(limit) = intent.limit_price {
            body["limit_price"] = limit.normalize().to_string().into();
        }
        let (answer, generation) = self.call(Ask::new(Method::POST, "/v2/orders").json(&body)).await?;
        if !matches!(answer.status, 200 | 201) {
            return Err(refusal(&answer));
        }
        let order: OrderBody = answer.parse()?;
        if order.client_order_id.as_deref() != Some(&intent.client_order_id) {
            return Err(BrokerError::Protocol { what: "another order than the one sent" });
        }
        Ok(Reply { value: order.into_order(answer.received_at), meta: answer.meta(generation) })
    }

    pub(super) async fn cancel(&self, id: &str) -> Result<Reply<()>, BrokerError> {
        let (answer, generation) =
            self.call(Ask::new(Method::DELETE, format!("/v2/orders/{}", path_safe(id)?))).await?;
        // 404 and 422: gone or already done, which is what a cancel wants.
        match answer.status {
            200 | 204 | 404 | 422 => Ok(Reply { value: (), meta: answer.meta(generation) }),
            _ => Err(refusal(&answer)),
        }
    }

    pub(super) async fn market_open(&self) -> Result<bool, BrokerError> {
        #[derive(Deserialize)]
        struct Clock {
            is_open: bool,
        }
        let (answer, _) = self.call(Ask::get("/v2/clock")).await?;
        Ok(self.parse::<Clock>(&answer)?.is_open)
    }

    /// One call with the current keys; a refusal that is about the session becomes an error here.
    async fn call(&self, ask: Ask) -> Result<(Answer, u64), BrokerError> {
        let keys = self.keys().clone();
        let is_order = ask.method == Method::POST;
        let ask = ask
            .secret_header("apca-api-key-id", keys.id.expose_secret())?
            .secret_header("apca-api-secret-key", keys.secret.expose_secret())?;
        let answer = self.http.send(&ask).await?.check()?;
        match answer.status {
            401 => Err(BrokerError::SessionInvalid { generation: keys.generation }),
            403 if is_order && error_code(&answer).is_some() => Err(refusal(&answer)),
            403 => Err(BrokerError::SessionInvalid { generation: keys.generation }),
            _ => Ok((answer, keys.generation)),
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, answer: &Answer) -> Result<T, BrokerError> {
        if answer.status != 200 {
            return Err(BrokerError::Protocol { what: "a status that the API does not have here" });
        }
        answer.parse()
    }

    fn mismatch_hint(&self) -> &'static str {
        match self.mode {
            Mode::Live => {
                "the key is wrong or revoked, or it is a paper key on the live host (paper and live keys differ)"
            }
            Mode::Paper | Mode::Backtest => {
                "the key is wrong or revoked, or it is a live key on the paper host (paper and live keys differ)"
            }
        }
    }

    fn keys(&self) -> std::sync::RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ids go into paths and queries; ours and the broker's have no other characters.
fn path_safe(id: &str) -> Result<&str, BrokerError> {
    let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if id.is_empty() || id.len() > 128 || !plain {
        return Err(BrokerError::Refused { code: "bad_order_id".to_owned() });
    }
    Ok(id)
}

fn read_keys(source: &KeySource) -> Result<(SecretString, SecretString), BrokerError> {
    let config = |what: &str| BrokerError::Config { what: what.to_owned() };
    let (id, secret) = match source {
        KeySource::Given { id, secret } => (Some(id.clone()), Some(secret.clone())),
        KeySource::File(path) => {
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

/// The numeric `code` of an error body, as text.
fn error_code(answer: &Answer) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    body.get("code")?.as_u64().map(|code| code.to_string())
}

fn refusal(answer: &Answer) -> BrokerError {
    let code = error_code(answer).unwrap_or_else(|| format!("http_{}", answer.status));
    BrokerError::Refused { code: clean_code(&code) }
}

#[derive(Debug, Deserialize)]
struct AccountBody {
    id: String,
    status: String,
    #[serde(default)]
    account_number: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    cash: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient")]
    equity: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient")]
    buying_power: Option<Decimal>,
    #[serde(default)]
    trading_blocked: bool,
    #[serde(default)]
    account_blocked: bool,
    #[serde(default)]
    trade_suspended_by_user: bool,
}

impl AccountBody {
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

#[derive(Debug, Deserialize)]
struct PositionBody {
    symbol: String,
    #[serde(deserialize_with = "lenient_required")]
    qty: Decimal,
    #[serde(default)]
    side: Option<String>,
    #[serde(deserialize_with = "lenient_required")]
    avg_entry_price: Decimal,
    #[serde(default, deserialize_with = "lenient")]
    current_price: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient")]
    unrealized_pl: Option<Decimal>,
    /// A fraction: 0.2 is 20 %.
    #[serde(default, deserialize_with = "lenient")]
    unrealized_plpc: Option<Decimal>,
}

impl PositionBody {
    fn into_position(self, at: DateTime<Utc>) -> Position {
        let is_short = self.side.as_deref() == Some("short");
        Position {
            symbol: botops_core::text::clean(&self.symbol, 40),
            quantity: if is_short { -self.qty.abs() } else { self.qty },
            entry_price: self.avg_entry_price,
            current_price: self.current_price,
            unrealized_pl: self.unrealized_pl,
            unrealized_pl_pct: self.unrealized_plpc.and_then(|part| part.checked_mul(Decimal::ONE_HUNDRED)),
            stop_price: None,
            target_price: None,
            last_updated: at,
        }
    }
}

#[derive(Debug, Deserialize)]
struct OrderBody {
    id: String,
    #[serde(default)]
    client_order_id: Option<String>,
    symbol: String,
    #[serde(default, deserialize_with = "lenient")]
    qty: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient")]
    filled_qty: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient")]
    filled_avg_price: Option<Decimal>,
    #[serde(default, rename = "type")]
    order_type: Option<String>,
    side: String,
    #[serde(default, deserialize_with = "lenient")]
    limit_price: Option<Decimal>,
    status: String,
    #[serde(default)]
    created_at: Option<DateTime<Utc>>,
    #[serde(default)]
    updated_at: Option<DateTime<Utc>>,
}

impl OrderBody {
    fn into_order(self, at: DateTime<Utc>) -> Order {
        let filled = self.filled_qty.unwrap_or_default();
        let status = match self.status.as_str() {
            "filled" => OrderStatus::Filled,
            "partially_filled" => OrderStatus::PartiallyFilled,
            "canceled" | "expired" | "done_for_day" | "replaced" => OrderStatus::Cancelled,
            "rejected" => OrderStatus::Rejected,
            _ if filled > Decimal::ZERO => OrderStatus::PartiallyFilled,
            _ => OrderStatus::Pending,
        };
        Order {
            id: botops_core::text::clean(&self.id, 128),
            client_order_id: botops_core::text::clean(&self.client_order_id.unwrap_or_default(), 128),
            symbol: botops_core::text::clean(&self.symbol, 40),
            side: if self.side == "sell" { Side::Sell } else { Side::Buy },
            order_type: if self.order_type.as_deref() == Some("market") {
                OrderType::Market
            } else {
                OrderType::Limit
            },
            quantity: self.qty.unwrap_or(filled),
            filled_quantity: filled,
            limit_price: self.limit_price,
            average_fill_price: self.filled_avg_price,
            status,
            status_reason: None,
            created_at: self.created_at.unwrap_or(at),
            updated_at: self.updated_at.unwrap_or(at),
        }
    }
}
