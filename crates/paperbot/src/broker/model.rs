//! The values that brokers and the session exchange.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// What a human is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// Approval in the broker's app.
    Device,
    /// A code from an authenticator app.
    Totp,
    /// A code by text message.
    Sms,
    /// A code by e-mail.
    Email,
}

impl ChallengeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Totp => "totp",
            Self::Sms => "sms",
            Self::Email => "email",
        }
    }

    /// What the human has to do, as the state's `needs_human` names it.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Device => "approve_device",
            Self::Totp | Self::Sms | Self::Email => "enter_code",
        }
    }
}

/// A human's confirmation that a sign-in waits for. The ids are the broker's and are not secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInChallenge {
    /// What the human is asked for.
    pub kind: ChallengeKind,
    /// Id of the broker's verification workflow; `None` until it is known.
    pub workflow: Option<String>,
    /// Given by the broker after the ids above; `None` until it is known.
    pub inquiry: Option<String>,
    /// Given by the broker after the ids above; `None` until it is known.
    pub id: Option<String>,
}

/// The state of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeState {
    /// Not answered yet.
    Pending,
    /// Approved: one more sign-in gives the token.
    Approved,
    /// Refused by the human, or withdrawn by the broker.
    Denied,
}

/// What a successful probe found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeReply {
    /// The account number, masked for logs and state.
    pub account: String,
    /// Why the account may not open positions; `None` when it may.
    pub restricted: Option<&'static str>,
    /// Generation of the token that the call carried; grows with each new token.
    pub generation: u64,
    /// The broker's clock minus this machine's; `None` when the answer had no usable date.
    pub skew: Option<TimeDelta>,
    /// The quota of calls is used up for this long; `None` while calls are left.
    pub quota_wait: Option<Duration>,
}

/// A new or confirmed session.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Grows by one with each new token.
    pub generation: u64,
    /// How it was obtained: `refresh`, `password`, `stored_pair`, `key_file`, …
    pub method: &'static str,
}

/// Lifetime of the token in use, by this machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLifetime {
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Ways to get a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInMethod {
    /// Without a password: by the refresh grant, or by reading the key file again.
    Refresh,
    /// With user name and password.
    Password,
}

impl SignInMethod {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Password => "password",
        }
    }
}
