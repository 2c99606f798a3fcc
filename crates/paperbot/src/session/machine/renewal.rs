//! When a token is renewed before it expires.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::broker::TokenLifetime;
use crate::clock::Now;
use crate::session::limits::SessionLimits;

/// The token's end and when it is renewed: a fifth of its lifetime before the end, at most a day.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct TokenRenewal {
    pub(in crate::session) token_end: Option<DateTime<Utc>>,
    pub(super) due_at: Option<Duration>,
    failures: usize,
}

impl TokenRenewal {
    pub(super) fn of_token(now: Now, lifetime: Option<TokenLifetime>) -> Self {
        let due_at = lifetime.map(|lifetime| {
            let whole = (lifetime.expires_at - lifetime.issued_at).to_std().unwrap_or_default();
            let margin = (whole / 5).min(Duration::from_secs(24 * 3600));
            let rest = (lifetime.expires_at - now.wall).to_std().unwrap_or_default();
            now.mono + rest.saturating_sub(margin)
        });
        Self { token_end: lifetime.map(|lifetime| lifetime.expires_at), due_at, failures: 0 }
    }

    /// Plans the next try after a failed renewal if `may_repeat`, with the waits and the bound of sign-in attempts.
    pub(super) fn record_failure(&mut self, limits: &SessionLimits, now: Now, may_repeat: bool) {
        self.failures += 1;
        self.due_at = match limits.sign_in_waits.get(self.failures) {
            Some(wait) if may_repeat => Some(now.mono + *wait),
            _ => None,
        };
    }
}
