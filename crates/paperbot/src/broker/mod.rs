//! Brokers: who holds the account. Paper (default), Alpaca, Robinhood; a closed set, so an enum.
//!
//! [`Broker`] hides how each one authenticates, what its answers look like and which of its refusals mean what.
//! Callers get values of the contract or a [`BrokerError`] of a closed list with a stable code and a fixed text; raw
//! text of a server never leaves this folder. Nothing here retries an order, decides about trading or spawns.
//! Deliberately absent: market data, and streaming of fills.

mod alpaca;
mod http;
mod paper;
mod robinhood;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};

pub use alpaca::{Alpaca, AlpacaSettings, KeySource, LIVE_URL, PAPER_URL};
pub use http::HttpSettings;
pub(crate) use paper::list_of_records;
pub use paper::{FaultScript, Paper, PaperSettings};
pub use robinhood::{PasswordGrant, Robinhood, RobinhoodSettings, URL as ROBINHOOD_URL};

use botops_contract::{self, Mode, Order, OrderType, Position, Side};
use botops_core::error::Code;

/// What a call to a broker can come to, other than its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerError {
    /// The connection, the deadline or the server failed; the same call may work later.
    Transient {
        /// What failed.
        kind: Transient,
        /// The HTTP status, when there was one.
        status: Option<u16>,
    },
    /// The broker wants us to wait.
    RateLimited {
        /// How long, from now; capped.
        wait: Duration,
    },
    /// The token that the call carried is not valid (any more).
    SessionInvalid {
        /// The generation of that token.
        generation: u64,
    },
    /// The token is good but may not do this.
    Forbidden,
    /// A human must approve or enter a code.
    ChallengeRequired(Challenge),
    /// Key, password or grant refused. Never repeated by itself.
    CredentialsRejected {
        /// Fixed text that helps to find out why.
        hint: &'static str,
    },
    /// The refresh token was used or has ended.
    RefreshSpent,
    /// Too many sign-ins; the broker locked the door for a while.
    LoginLocked,
    /// The broker refused an order by its own rules. The session is fine.
    Refused {
        /// The broker's code, cleaned.
        code: String,
    },
    /// The answer is not what the API promises.
    Protocol {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The peer's certificate cannot be trusted.
    Tls {
        /// Why.
        what: &'static str,
    },
    /// A new token pair could not be made durable.
    TokenStore,
    /// This broker does not offer the call.
    NotOffered {
        /// Why not.
        what: &'static str,
    },
    /// Settings are missing or wrong.
    Config {
        /// Which.
        what: String,
    },
}

/// The kinds of passing failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transient {
    /// The name did not resolve.
    Dns,
    /// No connection.
    Connect,
    /// The connection broke before an answer.
    Reset,
    /// The deadline passed.
    Timeout,
    /// The answer broke off.
    Truncated,
    /// The server answered with a 5xx.
    Server,
}

impl BrokerError {
    /// A short stable word for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Transient { kind: Transient::Dns, .. } => "dns",
            Self::Transient { kind: Transient::Connect, .. } => "connect",
            Self::Transient { kind: Transient::Reset, .. } => "reset",
            Self::Transient { kind: Transient::Timeout, .. } => "timeout",
            Self::Transient { kind: Transient::Truncated, .. } => "truncated",
            Self::Transient { kind: Transient::Server, .. } => "server_error",
            Self::RateLimited { .. } => "rate_limited",
            Self::SessionInvalid { .. } => "session_invalid",
            Self::Forbidden => "forbidden",
            Self::ChallengeRequired(_) => "challenge_required",
            Self::CredentialsRejected { .. } => "credentials_rejected",
            Self::RefreshSpent => "refresh_spent",
            Self::LoginLocked => "login_locked",
            Self::Refused { .. } => "order_refused",
            Self::Protocol { .. } => "protocol",
            Self::Tls { .. } => "tls",
            Self::TokenStore => "token_store",
            Self::NotOffered { .. } => "not_offered",
            Self::Config { .. } => "config",
        }
    }

    /// The row of the catalogue that says what to do.
    pub fn code(&self) -> Code {
        match self {
            Self::Transient { .. } => Code::BrokerUnreachable,
            Self::RateLimited { .. } => Code::BrokerRateLimited,
            Self::SessionInvalid { .. } => Code::BrokerSessionInvalid,
            Self::Forbidden => Code::BrokerAccountRestricted,
            Self::ChallengeRequired(_) => Code::BrokerApprovalNeeded,
            Self::CredentialsRejected { .. }
            | Self::RefreshSpent
            | Self::LoginLocked
            | Self::Config { .. } => Code::BrokerCredentialsRejected,
            Self::Refused { .. } | Self::NotOffered { .. } => Code::BrokerOrderRefused,
            Self::Protocol { .. } => Code::BrokerAnswerInvalid,
            Self::Tls { .. } => Code::BrokerTls,
            Self::TokenStore => Code::BrokerTokenStore,
        }
    }

    /// The same call may well work a second later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }

    /// After this answer to an order nobody knows whether the order exists.
    pub fn leaves_order_unknown(&self) -> bool {
        match self {
            Self::Transient { kind, .. } => !matches!(kind, Transient::Dns | Transient::Connect),
            Self::Protocol { .. } | Self::SessionInvalid { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient { kind: Transient::Server, status } => match status {
                Some(status) => write!(f, "the broker answered with status {status}"),
                None => f.write_str("the broker answered with a server error"),
            },
            Self::Transient { .. } => write!(f, "the broker cannot be reached ({})", self.kind()),
            Self::RateLimited { wait } => write!(f, "the broker asked us to wait {} s", wait.as_secs()),
            Self::SessionInvalid { .. } => f.write_str("the broker no longer accepts the session"),
            Self::Forbidden => f.write_str("the session may not do this"),
            Self::ChallengeRequired(challenge) => {
                write!(f, "the broker wants a human to confirm the sign-in ({})", challenge.kind.as_str())
            }
            Self::CredentialsRejected { hint } => write!(f, "the broker rejected the credentials: {hint}"),
            Self::RefreshSpent => f.write_str("the refresh token was used before or has ended"),
            Self::LoginLocked => f.write_str("the broker locked sign-ins after too many attempts"),
            Self::Refused { code } => write!(f, "the broker refused the order ({code})"),
            Self::Protocol { what } => write!(f, "the broker's answer makes no sense: {what}"),
            Self::Tls { what } => write!(f, "the broker's certificate cannot be trusted: {what}"),
            Self::TokenStore => f.write_str("the new token pair could not be stored"),
            Self::NotOffered { what } => f.write_str(what),
            Self::Config { what } => write!(f, "the broker settings are not complete: {what}"),
        }
    }
}

impl std::error::Error for BrokerError {}

/// What a human is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// Approve in the broker's app.
    Device,
    /// A code of an authenticator.
    Totp,
    /// A code by text message.
    Sms,
    /// A code by mail.
    Email,
}

impl ChallengeKind {
    /// The kind's name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Totp => "totp",
            Self::Sms => "sms",
            Self::Email => "email",
        }
    }

    /// What the state's `needs_human` says.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Device => "approve_device",
            Self::Totp | Self::Sms | Self::Email => "enter_code",
        }
    }
}

/// A confirmation that a sign-in waits for. The ids are the broker's and no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What the human is asked for.
    pub kind: ChallengeKind,
    /// The workflow to open, then the inquiry, then the challenge in it: filled as they become known.
    pub workflow: Option<String>,
    /// See `workflow`.
    pub inquiry: Option<String>,
    /// See `workflow`.
    pub id: Option<String>,
}

/// Where a challenge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeState {
    /// Nobody has answered.
    Pending,
    /// Approved: one more sign-in gives the token.
    Approved,
    /// The broker took the challenge back.
    Denied,
}

/// A value, and what came with it.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// What was asked for.
    pub value: T,
    /// What the answer said about session, clock and quota.
    pub meta: Meta,
}

/// What an answer says beside its value.
#[derive(Debug, Clone, Default)]
pub struct Meta {
    /// Generation of the token that the call carried.
    pub generation: u64,
    /// The broker's clock minus ours.
    pub skew: Option<TimeDelta>,
    /// The quota is used up for this long.
    pub quota_wait: Option<Duration>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeOk {
    /// The account, masked.
    pub account: String,
    /// Why the account may not open positions, if it may not.
    pub restricted: Option<&'static str>,
}

/// A new or confirmed session.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// Grows by one with each new token.
    pub generation: u64,
    /// How it was got: `refresh`, `password`, `stored_pair`, `key_file`, …
    pub method: &'static str,
}

/// Lifetime of the token in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Ways to a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Without a password: refresh grant, or reading the key file again.
    Refresh,
    /// With user name and password.
    Password,
}

impl Step {
    /// The step's name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Password => "password",
        }
    }
}

/// An order to place. The client id is made once per decision, never per attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderIntent {
    /// The idempotency key.
    pub client_order_id: String,
    /// The instrument.
    pub symbol: String,
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// Shares.
    pub quantity: Decimal,
    /// The limit of a limit order.
    pub limit_price: Option<Decimal>,
}

/// The broker in use.
#[derive(Debug)]
pub enum Broker {
    /// Simulated session.
    Paper(Paper),
    /// Alpaca's trading API.
    Alpaca(Alpaca),
    /// Robinhood's private API.
    Robinhood(Box<Robinhood>),
}

macro_rules! each {
    ($self:ident, $broker:ident => $call:expr) => {
        match $self {
            Broker::Paper($broker) => $call,
            Broker::Alpaca($broker) => $call,
            Broker::Robinhood($broker) => $call,
        }
    };
}

impl Broker {
    /// The broker's name in state and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Paper(_) => "paper",
            Self::Alpaca(_) => "alpaca",
            Self::Robinhood(_) => "robinhood",
        }
    }

    /// Whether money is real.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Paper(_) => Mode::Paper,
            Self::Alpaca(alpaca) => alpaca.mode(),
            Self::Robinhood(_) => Mode::Live,
        }
    }

    /// The generation of the token in use.
    pub fn generation(&self) -> u64 {
        each!(self, broker => broker.generation())
    }

    /// Lifetime of the token in use, where tokens end.
    pub fn lifetime(&self) -> Option<Lifetime> {
        match self {
            Self::Paper(paper) => paper.lifetime(),
            Self::Alpaca(_) => None,
            Self::Robinhood(robinhood) => robinhood.lifetime(),
        }
    }

    /// The cheapest call that proves that the account can be used.
    pub async fn probe(&self, limit: Duration) -> Result<Reply<ProbeOk>, BrokerError> {
        each!(self, broker => broker.probe(limit).await)
    }

    /// Whether a step can be tried at all.
    pub fn can(&self, step: Step) -> bool {
        match self {
            Self::Paper(_) | Self::Alpaca(_) => step == Step::Refresh,
            Self::Robinhood(robinhood) => robinhood.can(step),
        }
    }

    /// Gets a new session. `operator` says that a human asked; `code` is what the human was asked for.
    pub async fn reauth(
        &self,
        step: Step,
        operator: bool,
        code: Option<&str>,
    ) -> Result<SessionInfo, BrokerError> {
        match self {
            Self::Paper(paper) => paper.reauth(code).await,
            Self::Alpaca(alpaca) => alpaca.reload(operator),
            Self::Robinhood(robinhood) => match step {
                Step::Refresh => robinhood.refresh().await,
                Step::Password => robinhood.sign_in(code).await,
            },
        }
    }

    /// Looks whether a human has answered; learns more about the challenge on the way.
    pub async fn poll(&self, challenge: &mut Challenge) -> Result<ChallengeState, BrokerError> {
        match self {
            Self::Paper(paper) => Ok(paper.poll()),
            Self::Alpaca(_) => Ok(ChallengeState::Denied),
            Self::Robinhood(robinhood) => robinhood.poll(challenge).await,
        }
    }

    /// Hands in the code that a human got.
    pub async fn answer(&self, challenge: &Challenge, code: &str) -> Result<ChallengeState, BrokerError> {
        match self {
            Self::Paper(paper) => Ok(paper.answer(code)),
            Self::Alpaca(_) => Ok(ChallengeState::Denied),
            Self::Robinhood(robinhood) => robinhood.answer(challenge, code).await,
        }
    }

    /// Money in the account.
    pub async fn account(&self) -> Result<Reply<botops_contract::Account>, BrokerError> {
        match self {
            Self::Paper(_) => Err(PAPER_LEDGER),
            Self::Alpaca(alpaca) => alpaca.account().await,
            Self::Robinhood(robinhood) => robinhood.account().await,
        }
    }

    /// Open positions.
    pub async fn positions(&self) -> Result<Reply<Vec<Position>>, BrokerError> {
        match self {
            Self::Paper(_) => Err(PAPER_LEDGER),
            Self::Alpaca(alpaca) => alpaca.positions().await,
            Self::Robinhood(robinhood) => robinhood.positions().await,
        }
    }

    /// Resting orders.
    pub async fn open_orders(&self) -> Result<Reply<Vec<Order>>, BrokerError> {
        match self {
            Self::Paper(_) => Err(PAPER_LEDGER),
            Self::Alpaca(alpaca) => alpaca.open_orders().await,
            Self::Robinhood(_) => Err(NO_ROBINHOOD_ORDERS),
        }
    }

    /// The order with this client id; `None` when the broker has none.
    pub async fn order_by_client_id(&self, id: &str) -> Result<Reply<Option<Order>>, BrokerError> {
        match self {
            Self::Paper(paper) => paper.order_by_client_id(id).await,
            Self::Alpaca(alpaca) => alpaca.order_by_client_id(id).await,
            Self::Robinhood(_) => Err(NO_ROBINHOOD_ORDERS),
        }
    }

    /// Sends an order once. Only the session may call it: it knows what to do with an unknown outcome.
    pub async fn submit(&self, intent: &OrderIntent) -> Result<Reply<Order>, BrokerError> {
        match self {
            Self::Paper(paper) => paper.submit(intent).await,
            Self::Alpaca(alpaca) => alpaca.submit(intent).await,
            Self::Robinhood(_) => Err(NO_ROBINHOOD_ORDERS),
        }
    }

    /// Cancels an order by the broker's id. Cancelling twice does no harm.
    pub async fn cancel(&self, id: &str) -> Result<Reply<()>, BrokerError> {
        match self {
            Self::Paper(paper) => paper.cancel(id).await,
            Self::Alpaca(alpaca) => alpaca.cancel(id).await,
            Self::Robinhood(_) => Err(NO_ROBINHOOD_ORDERS),
        }
    }

    /// Whether the broker says that the regular session is on; `None` where it has no clock.
    pub async fn market_open(&self) -> Result<Option<bool>, BrokerError> {
        match self {
            Self::Paper(_) | Self::Robinhood(_) => Ok(None),
            Self::Alpaca(alpaca) => alpaca.market_open().await.map(Some),
        }
    }
}

/// The trading loop owns the paper account.
const PAPER_LEDGER: BrokerError =
    BrokerError::NotOffered { what: "the paper account is kept by the trading loop's own ledger" };

/// Robinhood has no sanctioned way to place stock orders unattended.
const NO_ROBINHOOD_ORDERS: BrokerError =
    BrokerError::NotOffered { what: "orders through Robinhood's private API are not offered" };

/// A short code of a peer, safe to show.
fn clean_code(text: &str) -> String {
    botops_core::text::clean(text, 40)
}

/// Brokers write money as strings, and now and then as numbers; `null` is no value.
fn lenient<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Decimal>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(serde_json::Number),
    }
    let Some(written) = Option::<Written>::deserialize(input)? else { return Ok(None) };
    let text = match written {
        Written::Text(text) => text,
        Written::Number(number) => number.to_string(),
    };
    let decimal = Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text));
    // An example of the vendor has more decimals than fit; those are rounded away.
    let decimal = decimal.or_else(|_| text.parse());
    decimal.map(Some).map_err(|_| serde::de::Error::custom("not a decimal"))
}

fn lenient_required<'de, D: Deserializer<'de>>(input: D) -> Result<Decimal, D::Error> {
    lenient(input)?.ok_or_else(|| serde::de::Error::custom("no decimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_from_strings_and_numbers() {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default, deserialize_with = "lenient")]
            money: Option<Decimal>,
        }
        let read = |text: &str| {
            serde_json::from_str::<Body>(text).map(|body| body.money.map(|money| money.to_string()))
        };
        for (text, expected) in [
            (r#"{"money":"100.5000"}"#, Some("100.5000")),
            (r#"{"money":12.5}"#, Some("12.5")),
            (r#"{"money":7}"#, Some("7")),
            (r#"{"money":"1e3"}"#, Some("1000")),
            (r#"{"money":null}"#, None),
            ("{}", None),
        ] {
            assert_eq!(read(text).unwrap().as_deref(), expected, "{text}");
        }
        for text in [r#"{"money":"abc"}"#, r#"{"money":""}"#, r#"{"money":[]}"#, r#"{"money":1e400}"#] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(r#"{"money":"122011.09751111286868000000000"}"#).unwrap().is_some());
    }
}
