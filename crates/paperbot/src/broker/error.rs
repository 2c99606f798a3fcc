//! What a call to a broker can fail with: a closed list with stable codes and fixed texts.

use std::fmt;
use std::time::Duration;

use super::model::SignInChallenge;
use botops_core::error::Code;

/// What a call to a broker can come to, other than its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerError {
    /// The connection, the deadline or the server failed; the same call may work later.
    Transient {
        /// What failed.
        kind: TransientFailure,
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
    ChallengeRequired(SignInChallenge),
    /// Key, password or grant refused. Never repeated by itself.
    CredentialsRejected {
        /// Fixed text that helps to find out why.
        hint: &'static str,
    },
    /// The refresh token was used or has ended.
    RefreshSpent,
    /// Too many sign-ins; the broker refuses further ones for a while.
    LoginLocked,
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
    /// Settings are missing or wrong.
    Config {
        /// Which.
        what: String,
    },
}

/// The kinds of passing failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransientFailure {
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
            Self::Transient { kind: TransientFailure::Dns, .. } => "dns",
            Self::Transient { kind: TransientFailure::Connect, .. } => "connect",
            Self::Transient { kind: TransientFailure::Reset, .. } => "reset",
            Self::Transient { kind: TransientFailure::Timeout, .. } => "timeout",
            Self::Transient { kind: TransientFailure::Truncated, .. } => "truncated",
            Self::Transient { kind: TransientFailure::Server, .. } => "server_error",
            Self::RateLimited { .. } => "rate_limited",
            Self::SessionInvalid { .. } => "session_invalid",
            Self::Forbidden => "forbidden",
            Self::ChallengeRequired(_) => "challenge_required",
            Self::CredentialsRejected { .. } => "credentials_rejected",
            Self::RefreshSpent => "refresh_spent",
            Self::LoginLocked => "login_locked",
            Self::Protocol { .. } => "protocol",
            Self::Tls { .. } => "tls",
            Self::TokenStore => "token_store",
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
            Self::Protocol { .. } => Code::BrokerAnswerInvalid,
            Self::Tls { .. } => Code::BrokerTls,
            Self::TokenStore => Code::BrokerTokenStore,
        }
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient { kind: TransientFailure::Server, status } => match status {
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
            Self::Protocol { what } => write!(f, "the broker's answer makes no sense: {what}"),
            Self::Tls { what } => write!(f, "the broker's certificate cannot be trusted: {what}"),
            Self::TokenStore => f.write_str("the new token pair could not be stored"),
            Self::Config { what } => write!(f, "the broker settings are not complete: {what}"),
        }
    }
}

impl std::error::Error for BrokerError {}
