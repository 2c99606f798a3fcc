//! What a call to a broker can fail with: a closed list with stable codes and fixed texts.

use std::fmt;
use std::time::Duration;

use super::model::SignInChallenge;
use botops_core::error::Code;

/// Why a call to a broker failed. Holds no text of the broker's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerError {
    /// The connection, the deadline or the server failed; the same call may succeed later.
    Transient {
        kind: TransientFailure,
        /// The HTTP status; `None` when no answer came.
        status: Option<u16>,
    },
    /// The broker limits the rate of calls.
    RateLimited {
        /// How long not to call, from now; at most a day.
        wait: Duration,
    },
    /// The token that the call carried is not valid (any more).
    SessionInvalid {
        /// The generation of that token: a newer one may be in use by now.
        generation: u64,
    },
    /// The token is valid, and its account may not make this call.
    Forbidden,
    /// A human must approve the sign-in or enter a code.
    ChallengeRequired(SignInChallenge),
    /// Key, password or grant refused. Never retried automatically, because repeated refusals lock accounts.
    CredentialsRejected {
        /// Fixed text about the likely cause, for the operator.
        hint: &'static str,
    },
    /// The refresh token was used already or has expired.
    RefreshSpent,
    /// Too many sign-ins; the broker refuses further ones for a while.
    LoginLocked,
    /// The answer does not have the form that the API documents.
    Protocol {
        /// Fixed text about what is wrong with it.
        what: &'static str,
    },
    /// The server's certificate cannot be trusted.
    Tls {
        /// Fixed text about the reason.
        what: &'static str,
    },
    /// A new token pair could not be stored on disk.
    TokenStore,
    /// An option of the broker is missing or wrong.
    Config {
        /// The option and what is wrong with it, without its value.
        what: String,
    },
}

/// The kinds of failure after which the same call may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransientFailure {
    /// The host name did not resolve.
    Dns,
    /// No connection could be made: nothing was sent.
    Connect,
    /// The connection ended before an answer came.
    Reset,
    /// The deadline passed.
    Timeout,
    /// The connection ended in the middle of the answer's body.
    Truncated,
    /// The server answered with a 5xx.
    Server,
}

impl BrokerError {
    /// The kind as a short stable name, for logs.
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

    /// Whether the same credentials would be refused again, so that only others help.
    pub fn refuses_credentials(&self) -> bool {
        matches!(self, Self::CredentialsRejected { .. } | Self::RefreshSpent | Self::LoginLocked)
    }

    /// The catalogue code of this failure; its row says what to do.
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
