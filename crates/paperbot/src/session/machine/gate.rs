//! The trade gate: decides from memory whether an order may pass.
//!
//! The strictest reason comes first. New exposure needs a healthy session and a success at most ten seconds old;
//! orders that reduce exposure only need a session that is not halted. The gate never waits: where a check would help,
//! it refuses and says that a check is wanted.

use std::time::Duration;

use super::core::SessionMachine;
use super::model::{GateVerdict, time_left};
use crate::clock::Now;
use botops_contract::{GateReason, SessionPhase};

/// Decides whether an order may pass now.
pub(in crate::session) fn evaluate_gate(
    machine: &SessionMachine,
    now: Now,
    reducing: bool,
    market_closed: bool,
) -> GateVerdict {
    let deny = |reason, retry_after| GateVerdict { allowed: false, reason, retry_after, wants_check: false };
    let allow = |reason| GateVerdict { allowed: true, reason, retry_after: None, wants_check: false };
    let soon = Some(Duration::from_secs(1));
    match machine.phase {
        SessionPhase::HaltedOperator => return deny(GateReason::OperatorHalt, None),
        SessionPhase::HaltedCredential => return deny(GateReason::CredentialsRejected, None),
        SessionPhase::HaltedTransient => {
            let next = machine.breaker.next_attempt().max(machine.parked_until);
            let next = next.filter(|_| !machine.breaker.needs_operator());
            return deny(GateReason::BreakerOpen, next.map(|at| time_left(at, now)));
        }
        SessionPhase::Reauthenticating => {
            if let Some(awaiting) = &machine.awaiting {
                return deny(GateReason::AwaitingHuman, Some(time_left(awaiting.next_poll, now)));
            }
            let next = machine.sign_in_budget.next_at.map(|at| time_left(at, now));
            return deny(GateReason::Reauthenticating, next.max(soon));
        }
        SessionPhase::Starting | SessionPhase::Unknown => {
            return GateVerdict { wants_check: true, ..deny(GateReason::SessionStarting, soon) };
        }
        SessionPhase::Degraded | SessionPhase::Healthy => {}
    }
    if let Some(until) = machine.parked_until.filter(|until| *until > now.mono) {
        return deny(GateReason::RateLimited, Some(time_left(until, now)));
    }
    if !machine.breaker.is_closed() {
        return deny(GateReason::BreakerOpen, machine.breaker.retry_at().map(|at| time_left(at, now)));
    }
    let is_fresh = machine.evidence_age(now).is_some_and(|age| age <= machine.limits.evidence_max_age);
    let is_healthy = machine.phase == SessionPhase::Healthy;
    if reducing {
        let is_plain = is_healthy && is_fresh && machine.restricted.is_none();
        return allow(if is_plain { GateReason::Ok } else { GateReason::ReducingAllowed });
    }
    if !is_healthy {
        return deny(GateReason::SessionDegraded, machine.next_check.map(|at| time_left(at, now)));
    }
    if machine.restricted.is_some() {
        return deny(GateReason::AccountRestricted, None);
    }
    if market_closed {
        return deny(GateReason::MarketClosed, None);
    }
    if is_fresh {
        return allow(GateReason::Ok);
    }
    let reason =
        if machine.is_unattended(now) { GateReason::MonitorStale } else { GateReason::EvidenceStale };
    GateVerdict { wants_check: true, ..deny(reason, soon) }
}

/// Every reason for which an order with new exposure is refused, the gate's own first. Empty when it passes, or would
/// after the check that its question starts.
pub(in crate::session) fn closed_gates(
    machine: &SessionMachine,
    now: Now,
    market_closed: bool,
) -> Vec<GateReason> {
    let first = evaluate_gate(machine, now, false, market_closed).reason;
    let is_parked = machine.parked_until.is_some_and(|until| until > now.mono);
    let further = [
        (is_parked, GateReason::RateLimited),
        (machine.restricted.is_some(), GateReason::AccountRestricted),
        (market_closed, GateReason::MarketClosed),
    ];
    let own = Some(first).filter(|reason| !matches!(reason, GateReason::Ok | GateReason::EvidenceStale));
    let further = further.into_iter().filter(|(closed, reason)| *closed && *reason != first);
    own.into_iter().chain(further.map(|(_, reason)| reason)).collect()
}
