//! The calls that the session makes to a broker.
//!
//! The default bodies are for brokers whose tokens never expire, that ask no human for a confirmation, and that have no
//! market clock.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::error::BrokerError;
use super::model::{ChallengeState, NewSession, ProbeReply, SignInChallenge, SignInMethod, TokenLifetime};
use botops_contract::TradingMode;

/// The future of one call to a broker.
pub type BrokerCall<'a, T> = BoxFuture<'a, Result<T, BrokerError>>;

/// A broker as the session uses it.
///
/// An implementation hides how it authenticates, the form of its answers and the meaning of its refusals. Raw text of
/// its server must not leave it: logs and answers hold only fixed texts.
pub trait BrokerAdapter: fmt::Debug + Send + Sync {
    /// The broker's name in state and logs: `paper`, `alpaca`, `robinhood`.
    fn name(&self) -> &'static str;

    /// Whether the account holds real money.
    fn mode(&self) -> TradingMode;

    /// The generation of the token in use. It grows with each new token, so that the refusal of an older one shows.
    fn generation(&self) -> u64;

    /// The cheapest call that proves that the account can be used, finished within `limit`.
    fn probe(&self, limit: Duration) -> BrokerCall<'_, ProbeReply>;

    /// Gets a new session. `operator` says that a human asked for it, so that credentials refused before may be sent
    /// once more; `code` is the confirmation code that a human entered.
    fn sign_in<'a>(
        &'a self,
        method: SignInMethod,
        operator: bool,
        code: Option<&'a str>,
    ) -> BrokerCall<'a, NewSession>;

    /// Whether this broker, as it is set up, supports a method.
    fn offers(&self, method: SignInMethod) -> bool {
        method == SignInMethod::Refresh
    }

    /// The file in which a person renews the credentials; `None` where only another process can have others.
    fn credentials_file(&self) -> Option<&Path> {
        None
    }

    /// Lifetime of the token in use; `None` when it is unknown or tokens do not expire.
    fn token_lifetime(&self) -> Option<TokenLifetime> {
        None
    }

    /// Asks whether a human has answered, and fills in the ids of the challenge as they become known.
    fn poll_challenge<'a>(&'a self, _challenge: &'a mut SignInChallenge) -> BrokerCall<'a, ChallengeState> {
        ready(Ok(ChallengeState::Denied)).boxed()
    }

    /// Sends the confirmation code that a human entered.
    fn answer_challenge<'a>(
        &'a self,
        _challenge: &'a SignInChallenge,
        _code: &'a str,
    ) -> BrokerCall<'a, ChallengeState> {
        ready(Ok(ChallengeState::Denied)).boxed()
    }

    /// Whether the broker's market clock says that the regular session is open; `None` where it has no such clock.
    fn market_open(&self) -> BrokerCall<'_, Option<bool>> {
        ready(Ok(None)).boxed()
    }
}
