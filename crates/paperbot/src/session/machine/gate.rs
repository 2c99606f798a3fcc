//! The gate: may an order pass, from memory alone?
//!
//! The strictest answer comes first. New exposure needs a healthy session and a success at most ten seconds old;
//! orders that reduce exposure need no more than a session that is not halted. Deliberately absent: waiting.

use std::time::Duration;

use super::{Machine, Verdict, left};
use crate::clock::Now;
use botops_contract::{GateReason, SessionPhase};

impl Machine {
    /// May an order pass right now, from memory alone?
    pub(in crate::session) fn gate(&self, now: Now, reducing: bool, market_closed: bool) -> Verdict {
        let deny =
            |reason, retry_after| Verdict { allowed: false, reason, retry_after, worth_waiting: false };
        let allow = |reason| Verdict { allowed: true, reason, retry_after: None, worth_waiting: false };
        let soon = Some(Duration::from_secs(1));
        match self.phase {
            SessionPhase::HaltedOperator => return deny(GateReason::OperatorHalt, None),
            SessionPhase::HaltedCredential => return deny(GateReason::CredentialsRejected, None),
            SessionPhase::HaltedTransient => {
                return deny(GateReason::BreakerOpen, self.breaker.retry_at().map(|at| left(at, now)));
            }
            SessionPhase::Reauthenticating => {
                if let Some(awaiting) = &self.awaiting {
                    return deny(GateReason::AwaitingHuman, Some(left(awaiting.next_poll, now)));
                }
                let next = self.incident.next_at.map(|at| left(at, now));
                return deny(GateReason::Reauthenticating, next.max(soon));
            }
            SessionPhase::Starting | SessionPhase::Unknown => {
                return Verdict { worth_waiting: true, ..deny(GateReason::SessionStarting, soon) };
            }
            SessionPhase::Degraded | SessionPhase::Healthy => {}
        }
        if let Some(until) = self.parked_until.filter(|until| *until > now.mono) {
            return deny(GateReason::RateLimited, Some(left(until, now)));
        }
        if !self.breaker.is_closed() {
            return deny(GateReason::BreakerOpen, self.breaker.retry_at().map(|at| left(at, now)));
        }
        let is_fresh = self.evidence_age(now).is_some_and(|age| age <= self.limits.fresh);
        let is_healthy = self.phase == SessionPhase::Healthy;
        if reducing {
            let is_plain = is_healthy && is_fresh && self.restricted.is_none();
            return allow(if is_plain { GateReason::Ok } else { GateReason::ReducingAllowed });
        }
        if !is_healthy {
            return deny(GateReason::SessionDegraded, self.next_check.map(|at| left(at, now)));
        }
        if self.restricted.is_some() {
            return deny(GateReason::AccountRestricted, None);
        }
        if market_closed {
            return deny(GateReason::MarketClosed, None);
        }
        if is_fresh {
            return allow(GateReason::Ok);
        }
        let reason =
            if self.is_unattended(now) { GateReason::MonitorStale } else { GateReason::EvidenceStale };
        Verdict { worth_waiting: true, ..deny(reason, soon) }
    }

    /// How old the last success is. After a suspend the wall is right and the monotonic time is not.
    pub(in crate::session) fn evidence_age(&self, now: Now) -> Option<Duration> {
        let last = self.last_ok?;
        let mono = now.mono.saturating_sub(last.mono);
        let wall = (now.wall - last.wall).to_std().unwrap_or_default();
        let slept = wall > mono + Duration::from_secs(2);
        Some(if slept { wall } else { mono })
    }

    /// The keeper finished nothing for so long that it must be stuck.
    pub(in crate::session) fn is_unattended(&self, now: Now) -> bool {
        let silence = now.mono.saturating_sub(self.finished);
        let expects_work =
            !matches!(self.phase, SessionPhase::HaltedCredential) && self.parked_until.is_none();
        expects_work && silence > self.interval * 2 + self.limits.stale_grace
    }

    /// Somebody asked the gate; `probe` says that the answer hangs on a check.
    pub(in crate::session) fn gate_asked(&mut self, now: Now, probe: bool) {
        self.last_gate = Some(now.mono);
        self.pre_trade_wanted |= probe;
    }
}
