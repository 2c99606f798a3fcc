//! How often the session may sign in: waits inside an incident, and a daily budget that survives restarts.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::model::SessionReason;
use crate::broker::SignInMethod;
use crate::clock::Now;
use crate::session::limits::SessionLimits;
use botops_core::error::Code;

/// The attempts of the last 24 hours and of the current incident, which is one series of attempts.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct SignInBudget {
    /// Times of all attempts of the last 24 hours.
    pub(super) attempts: Vec<DateTime<Utc>>,
    /// Times of the attempts with a password among them.
    pub(super) passwords: Vec<DateTime<Utc>>,
    pub(super) attempts_in_a_row: usize,
    /// When the incident's next attempt is due, by the monotonic clock; `None` outside an incident.
    pub(super) next_at: Option<Duration>,
    /// Whether the refresh token was refused: it is not sent again.
    pub(super) refresh_refused: bool,
}

impl SignInBudget {
    pub(super) fn new(attempts: Vec<DateTime<Utc>>, passwords: Vec<DateTime<Utc>>) -> Self {
        Self { attempts, passwords, ..Self::default() }
    }

    pub(super) fn start_incident(&mut self, now: Now) {
        (self.attempts_in_a_row, self.next_at) = (0, Some(now.mono));
    }

    pub(super) fn end_incident(&mut self) {
        (self.attempts_in_a_row, self.next_at) = (0, None);
    }

    /// The method of the next attempt, or why none may be made.
    pub(super) fn next_method(
        &mut self,
        limits: &SessionLimits,
        now: Now,
        operator: bool,
        offers: impl Fn(SignInMethod) -> bool,
    ) -> Result<SignInMethod, SessionReason> {
        let day_ago = now.wall - TimeDelta::days(1);
        self.attempts.retain(|at| *at > day_ago);
        self.passwords.retain(|at| *at > day_ago);
        // An operator gets more attempts than the bot, but not any number: brokers lock accounts.
        let budget = if operator { limits.sign_ins_per_day * 2 } else { limits.sign_ins_per_day };
        if self.attempts.len() >= budget {
            let text = format!("the budget of {budget} sign-in attempts in 24 hours is used up");
            return Err(SessionReason::new(Code::BrokerCredentialsRejected, &text));
        }
        if !operator && self.attempts_in_a_row >= limits.sign_in_waits.len() {
            let text = format!("{} sign-in attempts in a row failed", self.attempts_in_a_row);
            return Err(SessionReason::new(Code::BrokerSessionInvalid, &text));
        }
        if offers(SignInMethod::Refresh) && !self.refresh_refused {
            return Ok(SignInMethod::Refresh);
        }
        if !offers(SignInMethod::Password) {
            let text = if self.refresh_refused {
                "the refresh was refused and the password sign-in is not switched on"
            } else {
                "there is no token to refresh and the password sign-in is not switched on"
            };
            return Err(SessionReason::new(Code::BrokerCredentialsRejected, text));
        }
        let gap = TimeDelta::from_std(limits.password_gap).unwrap_or(TimeDelta::MAX);
        let too_soon = self.passwords.last().is_some_and(|last| now.wall - *last < gap);
        if too_soon || self.passwords.len() >= limits.passwords_per_day {
            let text = "password sign-ins are limited, so that the broker does not lock the account";
            return Err(SessionReason::new(Code::BrokerCredentialsRejected, text));
        }
        Ok(SignInMethod::Password)
    }

    /// Counts an attempt that is about to begin. Returns its number in the incident.
    pub(super) fn record_attempt(&mut self, limits: &SessionLimits, now: Now, method: SignInMethod) -> usize {
        self.attempts.push(now.wall);
        if method == SignInMethod::Password {
            self.passwords.push(now.wall);
        }
        self.attempts_in_a_row += 1;
        // Set before the attempt, so that the wait is kept even when the keeper's task panics in it.
        self.next_at = Some(now.mono + self.wait_before_next(limits));
        self.attempts_in_a_row
    }

    pub(super) fn wait_before_next(&self, limits: &SessionLimits) -> Duration {
        limits.sign_in_waits.get(self.attempts_in_a_row).copied().unwrap_or(limits.confirm_interval)
    }

    pub(super) fn is_incident_used_up(&self, limits: &SessionLimits) -> bool {
        self.attempts_in_a_row >= limits.sign_in_waits.len()
    }

    /// Attempts left in the budget of 24 hours.
    pub(super) fn left(&self, limits: &SessionLimits, now: Now) -> u32 {
        let day_ago = now.wall - TimeDelta::days(1);
        let used = self.attempts.iter().filter(|at| **at > day_ago).count();
        u32::try_from(limits.sign_ins_per_day.saturating_sub(used)).unwrap_or(u32::MAX)
    }
}
