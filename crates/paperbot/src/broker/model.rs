//! The values that brokers and the session exchange.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

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
pub struct SignInChallenge {
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

/// What a successful probe found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeReply {
    /// The account, masked.
    pub account: String,
    /// Why the account may not open positions, if it may not.
    pub restricted: Option<&'static str>,
    /// Generation of the token that the call carried.
    pub generation: u64,
    /// The broker's clock minus ours.
    pub skew: Option<TimeDelta>,
    /// The quota is used up for this long.
    pub quota_wait: Option<Duration>,
}

/// A new or confirmed session.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Grows by one with each new token.
    pub generation: u64,
    /// How it was got: `refresh`, `password`, `stored_pair`, `key_file`, …
    pub method: &'static str,
}

/// Lifetime of the token in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLifetime {
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Ways to a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInMethod {
    /// Without a password: refresh grant, or reading the key file again.
    Refresh,
    /// With user name and password.
    Password,
}

impl SignInMethod {
    /// The method's name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Password => "password",
        }
    }
}
