//! The paper broker: a session with a token that ends, and a script of faults, without any network.
//!
//! The account and the fills belong to the trading loop's ledger; this is the part of a broker that can refuse. A
//! fault script exercises all of the session: expiry, refresh, rate limits, refused credentials, a human's approval,
//! the breaker. Nothing is random: the same script gives the same course of events.

mod fault_script;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use futures_util::FutureExt;
use futures_util::future::ready;

use super::adapter::{BrokerAdapter, BrokerCall};
use super::error::{BrokerError, TransientFailure};
use super::model::{
    ChallengeKind, ChallengeState, NewSession, ProbeReply, SignInChallenge, SignInMethod, TokenLifetime,
};
use crate::clock::Clock;
use crate::command_line::duration;
use botops_contract::TradingMode;

pub use fault_script::FaultScript;
use fault_script::{FaultKind, FaultRoute, ScriptedFault};

/// The command line options of the paper broker.
#[derive(Debug, Clone, Args)]
pub(super) struct PaperOptions {
    /// Faults of the simulated broker session, as a script
    #[arg(long, env = "PAPERBOT_FAULT_SCRIPT", hide_env_values = true, value_name = "FILE")]
    fault_script: Option<PathBuf>,
    /// How long a simulated token lives
    #[arg(long, env = "PAPERBOT_TOKEN_LIFETIME", hide_env_values = true, default_value = "86400", value_parser = duration)]
    token_lifetime: Duration,
}

impl PaperOptions {
    pub(super) fn connect(&self, clock: Clock) -> Result<Box<dyn BrokerAdapter>, String> {
        let script = self.fault_script.as_deref().map_or(Ok(FaultScript::default()), FaultScript::load);
        let script = script.map_err(|problem| format!("--fault-script: {problem}"))?;
        let settings =
            PaperSettings { token_lifetime: self.token_lifetime, script, ..PaperSettings::default() };
        Ok(Box::new(PaperBroker::new(&settings, clock)))
    }
}

#[derive(Debug, Clone)]
pub struct PaperSettings {
    /// Time from issue to expiry of a token.
    pub token_lifetime: Duration,
    /// Time that each call takes.
    pub latency: Duration,
    /// The faults, empty for a broker without any.
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

/// The adapter of the simulated broker.
#[derive(Debug)]
pub struct PaperBroker {
    clock: Clock,
    started: Duration,
    lifetime: Duration,
    latency: Duration,
    state: Mutex<PaperSession>,
}

#[derive(Debug)]
struct PaperSession {
    faults: Vec<ScriptedFault>,
    generation: u64,
    issued_at: Duration,
    issued_wall: DateTime<Utc>,
    expired: bool,
    locked: bool,
    skew: TimeDelta,
    /// When the open challenge counts as approved, by the monotonic clock; `None` for never.
    approved_at: Option<Duration>,
    /// Whether the open challenge asks for a code instead of an approval.
    wants_code: bool,
}

impl PaperBroker {
    /// Makes a broker that is already signed in.
    pub fn new(settings: &PaperSettings, clock: Clock) -> Self {
        let now = clock.now();
        let state = PaperSession {
            faults: settings.script.faults.clone(),
            generation: 1,
            issued_at: now.mono,
            issued_wall: now.wall,
            expired: false,
            locked: false,
            skew: TimeDelta::zero(),
            approved_at: None,
            wants_code: false,
        };
        Self {
            clock,
            started: now.mono,
            lifetime: settings.token_lifetime,
            latency: settings.latency,
            state: Mutex::new(state),
        }
    }

    async fn check_account(&self, limit: Duration) -> Result<ProbeReply, BrokerError> {
        let generation = self.enter(FaultRoute::Probe, limit).await?;
        let state = self.state();
        Ok(ProbeReply {
            account: "***0001".to_owned(),
            restricted: state.locked.then_some("the account is locked"),
            generation,
            skew: Some(state.skew),
            quota_wait: None,
        })
    }

    /// Issues a token, unless a fault of the script applies.
    async fn mint_token(&self, code: Option<&str>) -> Result<NewSession, BrokerError> {
        let fault = self.next_fault(FaultRoute::Reauth);
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
        Ok(NewSession { generation: state.generation, method: "refresh" })
    }

    /// Common to every authenticated call: latency, faults, expiry. Returns the token's generation.
    async fn enter(&self, route: FaultRoute, limit: Duration) -> Result<u64, BrokerError> {
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

    async fn fail(&self, fault: &ScriptedFault, limit: Duration) -> Result<(), BrokerError> {
        let transient = |kind| Err(BrokerError::Transient { kind, status: None });
        let seconds = |value: Option<f64>, default: f64| Duration::from_secs_f64(value.unwrap_or(default));
        match fault.what {
            FaultKind::Ok
            | FaultKind::ExpireToken
            | FaultKind::Lock
            | FaultKind::Unlock
            | FaultKind::Skew => Ok(()),
            FaultKind::Unauthorized => {
                Err(BrokerError::SessionInvalid { generation: self.state().generation })
            }
            FaultKind::Forbidden => Err(BrokerError::Forbidden),
            FaultKind::RateLimited => {
                Err(BrokerError::RateLimited { wait: seconds(fault.retry_after_s, 60.0) })
            }
            FaultKind::ServerError => {
                Err(BrokerError::Transient { kind: TransientFailure::Server, status: Some(503) })
            }
            FaultKind::Hang => {
                tokio::time::sleep(limit).await;
                transient(TransientFailure::Timeout)
            }
            FaultKind::Truncated => transient(TransientFailure::Truncated),
            FaultKind::Reset => transient(TransientFailure::Reset),
            FaultKind::Connect => transient(TransientFailure::Connect),
            FaultKind::Dns => transient(TransientFailure::Dns),
            FaultKind::Tls => Err(BrokerError::Tls { what: "unknown issuer" }),
            FaultKind::Redirect => Err(BrokerError::Protocol { what: "a redirect" }),
            FaultKind::Malformed => Err(BrokerError::Protocol { what: "not the JSON that the API promises" }),
            FaultKind::CredentialsRejected => {
                Err(BrokerError::CredentialsRejected { hint: "the fault script says so" })
            }
            FaultKind::RefreshSpent => Err(BrokerError::RefreshSpent),
            FaultKind::LoginLocked => Err(BrokerError::LoginLocked),
            FaultKind::Challenge => {
                let approved_at =
                    fault.approve_after_s.map(|after| self.clock.mono() + seconds(Some(after), 0.0));
                self.state().approved_at = approved_at;
                Err(challenge(ChallengeKind::Device))
            }
            FaultKind::Code => {
                self.state().wants_code = true;
                Err(challenge(ChallengeKind::Sms))
            }
            FaultKind::TokenStore => Err(BrokerError::TokenStore),
            FaultKind::Panic => panic!("the fault script says so"),
        }
    }

    /// The first fault whose time has come and that affects this route; counts it down.
    fn next_fault(&self, route: FaultRoute) -> Option<ScriptedFault> {
        let elapsed = self.elapsed();
        let mut state = self.state();
        state.apply_session_changes(elapsed);
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

    fn state(&self) -> MutexGuard<'_, PaperSession> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BrokerAdapter for PaperBroker {
    fn name(&self) -> &'static str {
        "paper"
    }

    fn mode(&self) -> TradingMode {
        TradingMode::Paper
    }

    fn generation(&self) -> u64 {
        self.state().generation
    }

    fn token_lifetime(&self) -> Option<TokenLifetime> {
        let issued_at = self.state().issued_wall;
        let expires_at = issued_at.checked_add_signed(TimeDelta::from_std(self.lifetime).ok()?)?;
        Some(TokenLifetime { issued_at, expires_at })
    }

    fn probe(&self, limit: Duration) -> BrokerCall<'_, ProbeReply> {
        self.check_account(limit).boxed()
    }

    fn sign_in<'a>(
        &'a self,
        _method: SignInMethod,
        _operator: bool,
        code: Option<&'a str>,
    ) -> BrokerCall<'a, NewSession> {
        self.mint_token(code).boxed()
    }

    fn poll_challenge<'a>(&'a self, _challenge: &'a mut SignInChallenge) -> BrokerCall<'a, ChallengeState> {
        let approved = self.state().approved_at.is_some_and(|at| at <= self.clock.mono());
        ready(Ok(if approved { ChallengeState::Approved } else { ChallengeState::Pending })).boxed()
    }

    /// Any code that is not empty is accepted.
    fn answer_challenge<'a>(
        &'a self,
        _challenge: &'a SignInChallenge,
        code: &'a str,
    ) -> BrokerCall<'a, ChallengeState> {
        ready(Ok(if code.is_empty() { ChallengeState::Pending } else { ChallengeState::Approved })).boxed()
    }
}

impl PaperSession {
    fn position(&self, route: FaultRoute, elapsed: f64) -> Option<usize> {
        self.faults.iter().position(|fault| fault.hits(route, elapsed))
    }

    /// Applies the faults that change the session itself and whose time has come.
    fn apply_session_changes(&mut self, elapsed: f64) {
        let due = |fault: &ScriptedFault| fault.what.changes_session() && fault.after_s <= elapsed;
        let (now, later): (Vec<ScriptedFault>, Vec<ScriptedFault>) =
            std::mem::take(&mut self.faults).into_iter().partition(due);
        self.faults = later;
        for fault in now {
            match fault.what {
                FaultKind::ExpireToken => self.expired = true,
                FaultKind::Lock => self.locked = true,
                FaultKind::Unlock => self.locked = false,
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
    BrokerError::ChallengeRequired(SignInChallenge { kind, workflow: None, inquiry: None, id: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(script: &str) -> PaperBroker {
        let script = FaultScript::parse(script).unwrap();
        let settings = PaperSettings { script, latency: Duration::ZERO, ..PaperSettings::default() };
        PaperBroker::new(&settings, Clock::system())
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
        assert_eq!(paper.mint_token(None).await.unwrap().generation, 2);
        assert!(paper.probe(SECOND).await.is_ok());
    }

    #[tokio::test]
    async fn a_lock_restricts_and_is_lifted() {
        let paper = paper("[{do: lock}]");
        assert!(paper.probe(SECOND).await.unwrap().restricted.is_some());
    }
}
