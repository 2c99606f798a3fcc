//! What ends the present state of the session: a time, or a person. Never both, and the breaker agrees.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::core::SessionMachine;
use crate::clock::Now;
use botops_contract::{Breaker, SessionPhase};
use botops_core::error::Code;

/// What ends the state in which the session, or its breaker, keeps orders from passing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::session) enum SessionOutlook {
    /// The bot goes on by itself at this time.
    ResumesAt(DateTime<Utc>),
    /// Waiting does not help: a person must do this, in a word of the contract.
    NeedsHuman(String),
}

impl SessionOutlook {
    /// The two members of the contract, of which at most one is set.
    pub(in crate::session) fn members(outlook: Option<Self>) -> (Option<DateTime<Utc>>, Option<String>) {
        match outlook {
            None => (None, None),
            Some(Self::ResumesAt(at)) => (Some(at), None),
            Some(Self::NeedsHuman(action)) => (None, Some(action)),
        }
    }
}

/// What ends the session's state; `None` when nothing is to be ended, or while an attempt whose end has no time is
/// under way.
pub(in crate::session) fn session_outlook(machine: &SessionMachine, now: Now) -> Option<SessionOutlook> {
    if let Some(action) = needed_person(machine) {
        return Some(SessionOutlook::NeedsHuman(action));
    }
    resumption(machine, now).map(|at| SessionOutlook::ResumesAt(machine.wall_time(at)))
}

/// The breaker in the form of the contract.
///
/// A breaker that an operator opened waits for a reset, whatever the session does. Any other was opened by the session,
/// and what ends the session's state ends the breaker's.
pub(in crate::session) fn breaker_view(machine: &SessionMachine, now: Now) -> Breaker {
    let outlook = match machine.breaker.open_trip() {
        None => None,
        Some(trip) if trip.source == "operator" => {
            Some(SessionOutlook::NeedsHuman("reset_breaker".to_owned())).filter(|_| !is_probed(machine))
        }
        Some(_) => session_outlook(machine, now),
    };
    let (resumes_at, needs_human) = SessionOutlook::members(outlook);
    Breaker { resumes_at, retry_at: resumes_at, needs_human, ..machine.breaker.view() }
}

/// When the next check or sign-in is due; `None` when none is planned.
pub(in crate::session) fn next_check_at(machine: &SessionMachine) -> Option<DateTime<Utc>> {
    let planned = match machine.phase {
        SessionPhase::HaltedCredential => None,
        SessionPhase::Reauthenticating if machine.awaiting.is_some() => None,
        SessionPhase::Reauthenticating => machine.sign_in_budget.next_at,
        _ => machine.next_check,
    }?;
    Some(machine.wall_time(machine.parked_until.map_or(planned, |until| until.max(planned))))
}

/// Whether an operator's reset is being decided by a check at this moment.
fn is_probed(machine: &SessionMachine) -> bool {
    machine.breaker.is_half_open()
}

/// What a person must do, if waiting does not help.
fn needed_person(machine: &SessionMachine) -> Option<String> {
    if let Some(awaiting) = &machine.awaiting {
        return Some(awaiting.needs.to_owned());
    }
    let action = match machine.phase {
        SessionPhase::HaltedCredential => {
            let code = machine.reason.as_ref().map(|reason| reason.code.as_str());
            match code {
                Some(code) if code == Code::BrokerTokenStore.row().code => "repair_token_store",
                Some(code) if code == Code::BrokerApprovalNeeded.row().code => {
                    machine.unanswered.as_deref().unwrap_or("approve_device")
                }
                _ => "renew_credentials",
            }
        }
        SessionPhase::HaltedOperator if !is_probed(machine) => "reset_breaker",
        SessionPhase::HaltedTransient | SessionPhase::Reauthenticating
            if machine.breaker.needs_operator() =>
        {
            "reset_breaker"
        }
        SessionPhase::Healthy if machine.restricted.is_some() => "clear_restriction",
        _ => return None,
    };
    Some(action.to_owned())
}

/// When the bot next does by itself what may end the state, by the monotonic clock.
fn resumption(machine: &SessionMachine, now: Now) -> Option<Duration> {
    let planned = match machine.phase {
        SessionPhase::Starting | SessionPhase::Degraded | SessionPhase::Unknown => machine.next_check,
        SessionPhase::Reauthenticating => {
            let next = machine.sign_in_budget.next_at?;
            Some(machine.breaker.next_attempt().map_or(next, |at| at.max(next)))
        }
        SessionPhase::HaltedTransient => machine.breaker.next_attempt(),
        SessionPhase::Healthy | SessionPhase::HaltedCredential | SessionPhase::HaltedOperator => None,
    }?;
    let at = machine.parked_until.map_or(planned, |until| until.max(planned));
    (at > now.mono).then_some(at)
}
