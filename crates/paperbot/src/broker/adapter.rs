//! What a broker has to be able to do for the session.
//!
//! A method with a body here fits brokers without the thing in question: tokens that end, questions to a human, a
//! market clock.

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::error::BrokerError;
use super::model::{ChallengeState, NewSession, ProbeReply, SignInChallenge, SignInMethod, TokenLifetime};
use botops_contract::Mode;

/// A call to a broker that is under way.
pub type BrokerCall<'a, T> = BoxFuture<'a, Result<T, BrokerError>>;

/// A broker as the session knows it. An implementation hides how it authenticates, what its answers look like and
/// which of its refusals mean what; raw text of its server never leaves it.
pub trait BrokerAdapter: fmt::Debug + Send + Sync {
    /// The broker's name in state and logs.
    fn name(&self) -> &'static str;

    /// Whether money is real.
    fn mode(&self) -> Mode;

    /// The generation of the token in use.
    fn generation(&self) -> u64;

    /// The cheapest call that proves that the account can be used.
    fn probe(&self, limit: Duration) -> BrokerCall<'_, ProbeReply>;

    /// Gets a new session. `operator` says that a human asked; `code` is what the human was asked for.
    fn sign_in<'a>(
        &'a self,
        method: SignInMethod,
        operator: bool,
        code: Option<&'a str>,
    ) -> BrokerCall<'a, NewSession>;

    /// Whether a method can be tried at all.
    fn offers(&self, method: SignInMethod) -> bool {
        method == SignInMethod::Refresh
    }

    /// Lifetime of the token in use, where tokens end.
    fn token_lifetime(&self) -> Option<TokenLifetime> {
        None
    }

    /// Asks whether a human has answered; learns more about the challenge on the way.
    fn poll_challenge<'a>(&'a self, _challenge: &'a mut SignInChallenge) -> BrokerCall<'a, ChallengeState> {
        ready(Ok(ChallengeState::Denied)).boxed()
    }

    /// Hands in the code that a human got.
    fn answer_challenge<'a>(
        &'a self,
        _challenge: &'a SignInChallenge,
        _code: &'a str,
    ) -> BrokerCall<'a, ChallengeState> {
        ready(Ok(ChallengeState::Denied)).boxed()
    }

    /// Whether the broker says that the regular session is on; `None` where it has no clock.
    fn market_open(&self) -> BrokerCall<'_, Option<bool>> {
        ready(Ok(None)).boxed()
    }
}
