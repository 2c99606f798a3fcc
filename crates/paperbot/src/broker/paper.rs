//! The paper broker: a session with a token that ends, and a script of faults, without any network.
//!
//! The account and the fills belong to the trading loop's ledger; this is the part of a broker that can refuse. With
//! a fault script the whole session machinery can be shown: expiry, refresh, rate limits, refused credentials, a
//! human's approval, the breaker. Deliberately absent: randomness. The same script gives the same story.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer};

use super::{
    BrokerError, Challenge, ChallengeKind, ChallengeState, Lifetime, Meta, OrderIntent, ProbeOk, Reply,
    SessionInfo, Transient,
};
use crate::clock::Clock;
use botops_contract::{Order, OrderStatus};

/// Orders remembered for the lookup by client id.
const REMEMBERED: usize = 1_000;

/// What the paper broker needs.
#[derive(Debug, Clone)]
pub struct PaperSettings {
    /// How long a token lives.
    pub token_lifetime: Duration,
    /// How long an answer takes.
    pub latency: Duration,
    /// What goes wrong, and when.
    pub script: FaultScript,
}

impl Default for PaperSettings {
    fn default() -> Self {
        Self {
            token_lifetime: Duration::from_secs(24 * 3600),
            latency: Duration::from_millis(5),
            script: FaultScript::default(),
        }
    }
}

/// A list of faults, in order: YAML or JSON.
///
/// ```yaml
/// - {after_s: 5, do: expire_token}
/// - {do: "503", times: 8}
/// - {after_s: 60, do: "429", retry_after_s: 20}
/// - {on: reauth, do: credentials_rejected}
/// ```
#[derive(Debug, Clone, Default)]
pub struct FaultScript {
    faults: Vec<Fault>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    /// Not before this long after the start.
    #[serde(default)]
    after_s: f64,
    /// Which calls it hits; by default those where the fault makes sense.
    #[serde(default)]
    on: Option<Route>,
    /// What happens.
    #[serde(rename = "do", deserialize_with = "word_or_status")]
    what: What,
    /// How many calls it hits.
    #[serde(default = "once")]
    times: u32,
    /// Of a 429.
    #[serde(default)]
    retry_after_s: Option<f64>,
    /// Of a skewed clock.
    #[serde(default)]
    seconds: Option<f64>,
    /// Of a challenge: somebody approves it after this long; without it nobody does.
    #[serde(default)]
    approve_after_s: Option<f64>,
}

fn once() -> u32 {
    1
}

/// `do: 503` and `do: "503"` mean the same.
fn word_or_status<'de, D: Deserializer<'de>>(input: D) -> Result<What, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Word(String),
        Status(u16),
    }
    let word = match Written::deserialize(input)? {
        Written::Word(word) => word,
        Written::Status(status) => status.to_string(),
    };
    What::deserialize(word.into_deserializer())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Route {
    Probe,
    Reauth,
    Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Ok,
    ExpireToken,
    Lock,
    Unlock,
    Skew,
    #[serde(rename = "401")]
    Unauthorized,
    #[serde(rename = "403")]
    Forbidden,
    #[serde(rename = "429")]
    RateLimited,
    #[serde(rename = "500", alias = "502", alias = "503", alias = "504")]
    ServerError,
    #[serde(alias = "drip")]
    Hang,
    #[serde(alias = "truncate")]
    Truncated,
    Reset,
    #[serde(alias = "closed_port")]
    Connect,
    Dns,
    Tls,
    Redirect,
    #[serde(alias = "html", alias = "oversize", alias = "empty_results")]
    Malformed,
    CredentialsRejected,
    RefreshSpent,
    LoginLocked,
    Challenge,
    Code,
    TokenStore,
    AcceptThenTimeout,
    Panic,
}

impl What {
    /// These change the session itself, at their time, and fail no call.
    fn is_state(self) -> bool {
        matches!(self, Self::ExpireToken | Self::Lock | Self::Unlock | Self::Skew)
    }

    fn default_route(self) -> Route {
        match self {
            Self::CredentialsRejected
            | Self::RefreshSpent
            | Self::LoginLocked
            | Self::Challenge
            | Self::Code
            | Self::TokenStore => Route::Reauth,
            Self::AcceptThenTimeout => Route::Order,
            _ => Route::Probe,
        }
    }
}

/// Reads a YAML list of records. A file of another kind, which somebody may have named by mistake, is not quoted: it
/// may hold secrets. The words of a list of records are.
pub(crate) fn list_of_records<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    let document: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| {
        let at = error.location().map(|at| format!("line {}, column {}: ", at.line(), at.column()));
        format!("{}it is not YAML", at.unwrap_or_default())
    })?;
    let is_list = document.as_sequence().is_some_and(|items| items.iter().all(serde_yaml::Value::is_mapping));
    if !is_list {
        return Err("it is no YAML list of records".to_owned());
    }
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

impl FaultScript {
    /// Reads a script file.
    pub fn load(path: &Path) -> Result<Self, String> {
        Self::parse(&std::fs::read_to_string(path).map_err(|error| error.to_string())?)
    }

    /// Reads a script.
    pub fn parse(text: &str) -> Result<Self, String> {
        let faults: Vec<Fault> = list_of_records(text)?;
        for fault in &faults {
            let times = [Some(fault.after_s), fault.retry_after_s, fault.approve_after_s];
            if times.into_iter().flatten().any(|seconds| !(0.0..=1e7).contains(&seconds)) {
                return Err("times are seconds from 0 to 10,000,000".to_owned());
            }
        }
        Ok(Self { faults })
    }
}

/// The paper broker.
#[derive(Debug)]
pub struct Paper {
    clock: Clock,
    started: Duration,
    lifetime: Duration,
    latency: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    faults: Vec<Fault>,
    generation: u64,
    issued_at: Duration,
    issued_wall: DateTime<Utc>,
    expired: bool,
    locked: bool,
    skew: TimeDelta,
    /// When somebody will have approved the open challenge; `None` for never.
    approved_at: Option<Duration>,
    /// The open challenge asks for a code.
    wants_code: bool,
    orders: BTreeMap<String, Order>,
    order_count: u64,
}

impl Paper {
    /// A session that is already signed in.
    pub fn new(settings: &PaperSettings, clock: Clock) -> Self {
        let now = clock.now();
        let state = State {
            faults: settings.script.faults.clone(),
            generation: 1,
            issued_at: now.mono,
            issued_wall: now.wall,
            expired: false,
            locked: false,
            skew: TimeDelta::zero(),
            approved_at: None,
            wants_code: false,
            orders: BTreeMap::new(),
            order_count: 0,
        };
        Self {
            clock,
            started: now.mono,
            lifetime: settings.token_lifetime,
            latency: settings.latency,
            state: Mutex::new(state),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    pub(super) fn lifetime(&self) -> Option<Lifetime> {
        let issued_at = self.state().issued_wall;
        let expires_at = issued_at.checked_add_signed(TimeDelta::from_std(self.lifetime).ok()?)?;
        Some(Lifetime { issued_at, expires_at })
    }

    pub(super) async fn probe(&self, limit: Duration) -> Result<Reply<ProbeOk>, BrokerError> {
        let generation = self.enter(Route::Probe, limit).await?;
        let state = self.state();
        let value = ProbeOk {
            account: "***0001".to_owned(),
            restricted: state.locked.then_some("the account is locked"),
        };
        let skew = Some(state.skew);
        Ok(Reply { value, meta: Meta { generation, skew, quota_wait: None } })
    }

    /// Mints a token, unless the script has other plans.
    pub(super) async fn reauth(&self, code: Option<&str>) -> Result<SessionInfo, BrokerError> {
        let fault = self.next_fault(Route::Reauth);
        tokio::time::sleep(self.latency).await;
        if let Some(fault) = fault {
            self.fail(&fault, Duration::from_secs(30)).await?;
        }
        let mut state = self.state();
        if state.wants_code && code.is_none_or(str::is_empty) {
            return Err(challenge(ChallengeKind::Sms));
        }
        let now = self.clock.now();
        (state.wants_code, state.approved_at) = (false, None);
        (state.issued_at, state.issued_wall, state.expired) = (now.mono, now.wall, false);
        state.generation += 1;
        Ok(SessionInfo { generation: state.generation, method: "refresh" })
    }

    pub(super) fn poll(&self) -> ChallengeState {
        let approved = self.state().approved_at.is_some_and(|at| at <= self.clock.mono());
        if approved { ChallengeState::Approved } else { ChallengeState::Pending }
    }

    /// Any code will do.
    pub(super) fn answer(&self, code: &str) -> ChallengeState {
        if code.is_empty() { ChallengeState::Pending } else { ChallengeState::Approved }
    }

    pub(super) async fn submit(&self, intent: &OrderIntent) -> Result<Reply<Order>, BrokerError> {
        let accepts_first = self.state().peek(Route::Order, self.elapsed()) == Some(What::AcceptThenTimeout);
        if accepts_first {
            self.accept(intent);
        }
        let generation = self.enter(Route::Order, Duration::from_secs(10)).await?;
        let order = self.accept(intent);
        Ok(Reply { value: order, meta: Meta { generation, ..Meta::default() } })
    }

    pub(super) async fn order_by_client_id(&self, id: &str) -> Result<Reply<Option<Order>>, BrokerError> {
        let generation = self.enter(Route::Probe, Duration::from_secs(10)).await?;
        let value = self.state().orders.get(id).cloned();
        Ok(Reply { value, meta: Meta { generation, ..Meta::default() } })
    }

    pub(super) async fn cancel(&self, id: &str) -> Result<Reply<()>, BrokerError> {
        let generation = self.enter(Route::Order, Duration::from_secs(10)).await?;
        self.state().orders.retain(|_, order| order.id != id);
        Ok(Reply { value: (), meta: Meta { generation, ..Meta::default() } })
    }

    /// What every authenticated call goes through.
    async fn enter(&self, route: Route, limit: Duration) -> Result<u64, BrokerError> {
        let fault = self.next_fault(route);
        tokio::time::sleep(self.latency).await;
        if let Some(fault) = fault {
            self.fail(&fault, limit).await?;
        }
        let state = self.state();
        let is_over = state.expired || self.clock.mono() >= state.issued_at + self.lifetime;
        if is_over {
            return Err(BrokerError::SessionInvalid { generation: state.generation });
        }
        Ok(state.generation)
    }

    fn accept(&self, intent: &OrderIntent) -> Order {
        let at = self.clock.wall();
        let mut state = self.state();
        if let Some(order) = state.orders.get(&intent.client_order_id) {
            return order.clone();
        }
        state.order_count += 1;
        let order = Order {
            id: format!("paper-{}", state.order_count),
            client_order_id: intent.client_order_id.clone(),
            symbol: intent.symbol.clone(),
            side: intent.side,
            order_type: intent.order_type,
            quantity: intent.quantity,
            filled_quantity: rust_decimal::Decimal::ZERO,
            limit_price: intent.limit_price,
            average_fill_price: None,
            status: OrderStatus::Pending,
            status_reason: None,
            created_at: at,
            updated_at: at,
        };
        if state.orders.len() >= REMEMBERED {
            state.orders.pop_first();
        }
        state.orders.insert(order.client_order_id.clone(), order.clone());
        order
    }

    async fn fail(&self, fault: &Fault, limit: Duration) -> Result<(), BrokerError> {
        let transient = |kind| Err(BrokerError::Transient { kind, status: None });
        let seconds = |value: Option<f64>, default: f64| Duration::from_secs_f64(value.unwrap_or(default));
        match fault.what {
            What::Ok | What::ExpireToken | What::Lock | What::Unlock | What::Skew => Ok(()),
            What::Unauthorized => Err(BrokerError::SessionInvalid { generation: self.generation() }),
            What::Forbidden => Err(BrokerError::Forbidden),
            What::RateLimited => Err(BrokerError::RateLimited { wait: seconds(fault.retry_after_s, 60.0) }),
            What::ServerError => Err(BrokerError::Transient { kind: Transient::Server, status: Some(503) }),
            What::Hang | What::AcceptThenTimeout => {
                tokio::time::sleep(limit).await;
                transient(Transient::Timeout)
            }
            What::Truncated => transient(Transient::Truncated),
            What::Reset => transient(Transient::Reset),
            What::Connect => transient(Transient::Connect),
            What::Dns => transient(Transient::Dns),
            What::Tls => Err(BrokerError::Tls { what: "unknown issuer" }),
            What::Redirect => Err(BrokerError::Protocol { what: "a redirect" }),
            What::Malformed => Err(BrokerError::Protocol { what: "not the JSON that the API promises" }),
            What::CredentialsRejected => {
                Err(BrokerError::CredentialsRejected { hint: "the fault script says so" })
            }
            What::RefreshSpent => Err(BrokerError::RefreshSpent),
            What::LoginLocked => Err(BrokerError::LoginLocked),
            What::Challenge => {
                let approved_at =
                    fault.approve_after_s.map(|after| self.clock.mono() + seconds(Some(after), 0.0));
                self.state().approved_at = approved_at;
                Err(challenge(ChallengeKind::Device))
            }
            What::Code => {
                self.state().wants_code = true;
                Err(challenge(ChallengeKind::Sms))
            }
            What::TokenStore => Err(BrokerError::TokenStore),
            What::Panic => panic!("the fault script says so"),
        }
    }

    /// The first fault whose time has come and that hits this route; counted down.
    fn next_fault(&self, route: Route) -> Option<Fault> {
        let elapsed = self.elapsed();
        let mut state = self.state();
        state.apply(elapsed);
        let index = state.position(route, elapsed)?;
        let fault = state.faults.get_mut(index)?;
        let hit = fault.clone();
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            state.faults.remove(index);
        }
        Some(hit)
    }

    fn elapsed(&self) -> f64 {
        (self.clock.mono() - self.started).as_secs_f64()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn position(&self, route: Route, elapsed: f64) -> Option<usize> {
        self.faults.iter().position(|fault| {
            fault.after_s <= elapsed && fault.on.unwrap_or_else(|| fault.what.default_route()) == route
        })
    }

    fn peek(&self, route: Route, elapsed: f64) -> Option<What> {
        Some(self.faults.get(self.position(route, elapsed)?)?.what)
    }

    /// Carries out the faults that change the session itself.
    fn apply(&mut self, elapsed: f64) {
        let due = |fault: &Fault| fault.what.is_state() && fault.after_s <= elapsed;
        let (now, later): (Vec<Fault>, Vec<Fault>) =
            std::mem::take(&mut self.faults).into_iter().partition(due);
        self.faults = later;
        for fault in now {
            match fault.what {
                What::ExpireToken => self.expired = true,
                What::Lock => self.locked = true,
                What::Unlock => self.locked = false,
                _ => self.skew = skew_of(fault.seconds.unwrap_or_default()),
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, and any skew above a day says the same"
)]
fn skew_of(seconds: f64) -> TimeDelta {
    TimeDelta::try_milliseconds((seconds.clamp(-1e9, 1e9) * 1_000.0) as i64).unwrap_or_default()
}

fn challenge(kind: ChallengeKind) -> BrokerError {
    BrokerError::ChallengeRequired(Challenge { kind, workflow: None, inquiry: None, id: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(script: &str) -> Paper {
        let script = FaultScript::parse(script).unwrap();
        let settings = PaperSettings { script, latency: Duration::ZERO, ..PaperSettings::default() };
        Paper::new(&settings, Clock::system())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn faults_hit_in_their_order_and_as_often_as_they_say() {
        let paper = paper("[{do: '503', times: 2}, {do: 429, retry_after_s: 7}, {do: '401', after_s: 9999}]");
        for _ in 0..2 {
            assert_eq!(paper.probe(SECOND).await.unwrap_err().kind(), "server_error");
        }
        let wait = Duration::from_secs(7);
        assert_eq!(paper.probe(SECOND).await.unwrap_err(), BrokerError::RateLimited { wait });
        assert!(paper.probe(SECOND).await.is_ok());
    }

    #[tokio::test]
    async fn an_expired_token_is_refused_until_a_new_one_is_minted() {
        let paper = paper("[{do: expire_token}]");
        assert_eq!(paper.probe(SECOND).await.unwrap_err(), BrokerError::SessionInvalid { generation: 1 });
        assert_eq!(paper.reauth(None).await.unwrap().generation, 2);
        assert!(paper.probe(SECOND).await.is_ok());
    }

    #[tokio::test]
    async fn a_lock_restricts_and_is_lifted() {
        let paper = paper("[{do: lock}]");
        assert!(paper.probe(SECOND).await.unwrap().value.restricted.is_some());
    }

    #[test]
    fn a_script_with_an_unknown_word_is_refused() {
        for text in ["[{do: explode}]", "[{doo: ok}]", "[{do: ok, after_s: -1}]", "{do: ok}"] {
            assert!(FaultScript::parse(text).is_err(), "{text}");
        }
    }
}
