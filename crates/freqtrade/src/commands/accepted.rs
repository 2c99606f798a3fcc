//! A command that was taken, with what was checked of it.

use std::time::{Duration, Instant};

use chrono::Utc;

use super::arguments::CommandArguments;
use botops_contract::{CommandRequest, Verb};

/// A command on its way.
pub(super) struct AcceptedCommand {
    pub verb: Verb,
    pub request: CommandRequest,
    pub arguments: CommandArguments,
    pub arrived: Instant,
}

impl AcceptedCommand {
    /// Whether its sender wants it no more.
    pub(super) fn is_expired(&self) -> bool {
        let is_late = |ms| self.arrived.elapsed() >= Duration::from_millis(ms);
        self.request.valid_for_ms.is_some_and(is_late)
            || self.request.expires_at.is_some_and(|at| Utc::now() > at)
    }
}
