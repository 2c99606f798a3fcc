//! The circuit breaker of the broker session: a small pure state machine.
//!
//! While closed it counts failed checks; five without a success between them, inside 60 s, open it. Time alone never
//! closes it: two probes at least 10 s apart have to succeed after a half-open permit, or one that an operator asked
//! for. Every call takes the time as an argument, so the same inputs always give the same state. The session stores
//! [`CircuitBreaker::to_saved`].

use std::collections::VecDeque;
use std::time::Duration;

use botops_core::duration::milliseconds;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Now;

/// When the breaker opens, and how it closes again.
#[derive(Debug, Clone)]
pub struct BreakerLimits {
    /// Number of failed checks in a row that opens it.
    pub failure_threshold: usize,
    /// The failures have to happen within this time.
    pub failure_window: Duration,
    /// Wait before the first probe after it opened.
    pub first_wait: Duration,
    /// Each failed probe doubles the wait, up to this.
    pub longest_wait: Duration,
    /// A half-open permit that is not used within this time is withdrawn.
    pub permit_lifetime: Duration,
    /// Least time between the two successes that close it.
    pub success_gap: Duration,
    /// Automatic closings in 24 hours; 0 means that only an operator closes it.
    pub resumes_per_day: usize,
}

/// Why the breaker is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BreakerTrip {
    /// What opened it: `session`, `operator`, …
    pub(super) source: String,
    /// The reason, one sentence of fixed text.
    pub(super) reason: String,
    /// The `BRK_NNN` code.
    pub(super) code: String,
    /// When it opened.
    pub(super) at: DateTime<Utc>,
    /// Failures within `failure_window` at that moment.
    pub(super) failures: u32,
}

/// The breaker's stored state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedBreaker {
    /// Why it is open; `None` when closed.
    pub(super) open: Option<BreakerTrip>,
    /// Times of the automatic closings of the last 24 hours.
    pub(super) resumes: Vec<DateTime<Utc>>,
    /// The wait before the next probe, in milliseconds.
    pub(super) wait_ms: u64,
}

/// Who permitted a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeGrantor {
    /// The end of the wait; two successes are needed to close.
    Time,
    /// An operator; one success is enough to close.
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BreakerPhase {
    Closed,
    Open { trip: BreakerTrip, retry_at: Option<Duration> },
    HalfOpen { trip: BreakerTrip, by: ProbeGrantor, until: Duration, first_ok: Option<Duration> },
}

/// The breaker: closed, open, or half-open for a probe.
#[derive(Debug, Clone)]
pub(super) struct CircuitBreaker {
    limits: BreakerLimits,
    phase: BreakerPhase,
    since: DateTime<Utc>,
    failures: VecDeque<Duration>,
    wait: Duration,
    resumes: Vec<DateTime<Utc>>,
}

impl CircuitBreaker {
    /// Restores the stored state: a breaker that was open stays open.
    pub(super) fn new(limits: BreakerLimits, saved: &SavedBreaker, now: Now) -> Self {
        let wait = Duration::from_millis(saved.wait_ms).max(limits.first_wait).min(limits.longest_wait);
        let mut breaker = Self {
            limits,
            phase: BreakerPhase::Closed,
            since: now.wall,
            failures: VecDeque::new(),
            wait,
            resumes: saved.resumes.clone(),
        };
        if let Some(trip) = &saved.open {
            breaker.since = trip.at;
            let retry_at = breaker.next_retry(now);
            breaker.phase = BreakerPhase::Open { trip: trip.clone(), retry_at };
        }
        breaker
    }

    /// The state to store; everything else is lost at a restart without harm.
    pub(super) fn to_saved(&self) -> SavedBreaker {
        SavedBreaker {
            open: self.open_trip().cloned(),
            resumes: self.resumes.clone(),
            wait_ms: milliseconds(self.wait),
        }
    }

    /// Whether orders that add exposure may pass.
    pub(super) fn is_closed(&self) -> bool {
        self.phase == BreakerPhase::Closed
    }

    /// Whether a probe may be sent whose result decides.
    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.phase, BreakerPhase::HalfOpen { .. })
    }

    /// Why it opened; `None` while it is closed.
    pub(super) fn open_trip(&self) -> Option<&BreakerTrip> {
        match &self.phase {
            BreakerPhase::Closed => None,
            BreakerPhase::Open { trip, .. } | BreakerPhase::HalfOpen { trip, .. } => Some(trip),
        }
    }

    /// When the next probe is permitted by time, or the second one is due, by the monotonic clock.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        match &self.phase {
            BreakerPhase::Closed => None,
            BreakerPhase::Open { retry_at, .. } => *retry_at,
            BreakerPhase::HalfOpen { first_ok, until, .. } => {
                Some(first_ok.map_or(*until, |first| (first + self.limits.success_gap).min(*until)))
            }
        }
    }

    /// When the bot itself does the next thing that may close it, by the monotonic clock: `None` while a probe is under
    /// way, and when only an operator can close it.
    pub(super) fn next_attempt(&self) -> Option<Duration> {
        match &self.phase {
            BreakerPhase::HalfOpen { first_ok: None, .. } => None,
            _ => self.retry_at(),
        }
    }

    /// The broker allows no call before `until`: a probe that time permitted is put off, and does not count as failed.
    pub(super) fn postpone_probe(&mut self, until: Duration) {
        match &mut self.phase {
            BreakerPhase::Open { retry_at: Some(at), .. } => *at = until.max(*at),
            BreakerPhase::HalfOpen { trip, by: ProbeGrantor::Time, .. } => {
                self.phase = BreakerPhase::Open { trip: trip.clone(), retry_at: Some(until) };
            }
            _ => {}
        }
    }

    /// Whether only an operator can close it, because the automatic closings are used up or were never allowed.
    pub(super) fn needs_operator(&self) -> bool {
        matches!(&self.phase, BreakerPhase::Open { retry_at: None, .. })
    }

    /// Failures that are counted towards opening it.
    pub(super) fn failure_count(&self) -> u32 {
        u32::try_from(self.failures.len()).unwrap_or(u32::MAX)
    }

    /// Records a failed check. True when it opened the breaker, or opened it again.
    pub(super) fn record_failure(&mut self, now: Now, code: &str) -> bool {
        self.expire_probe_permit(now);
        match &self.phase {
            BreakerPhase::Closed => {
                self.failures.push_back(now.mono);
                let from = now.mono.saturating_sub(self.limits.failure_window);
                while self.failures.front().is_some_and(|at| *at < from) {
                    self.failures.pop_front();
                }
                if self.failures.len() < self.limits.failure_threshold {
                    return false;
                }
                let reason = format!(
                    "{} checks failed in a row inside {} s",
                    self.failures.len(),
                    self.limits.failure_window.as_secs_f64()
                );
                self.open(now, "session", &reason, code);
                true
            }
            BreakerPhase::HalfOpen { trip, .. } => {
                let trip = trip.clone();
                self.reopen(now, trip);
                true
            }
            BreakerPhase::Open { .. } => false,
        }
    }

    /// Records a successful check. True when it closed the breaker.
    pub(super) fn record_success(&mut self, now: Now) -> bool {
        self.expire_probe_permit(now);
        match &mut self.phase {
            BreakerPhase::Closed => {
                self.failures.clear();
                false
            }
            BreakerPhase::Open { .. } => false,
            BreakerPhase::HalfOpen { by: ProbeGrantor::Operator, .. } => {
                self.close(now);
                true
            }
            BreakerPhase::HalfOpen { by: ProbeGrantor::Time, first_ok, .. } => {
                let Some(first) = *first_ok else {
                    *first_ok = Some(now.mono);
                    return false;
                };
                if now.mono < first + self.limits.success_gap {
                    return false;
                }
                self.resumes.push(now.wall);
                self.close(now);
                true
            }
        }
    }

    /// Opens it at once. An open breaker keeps its first reason; false then.
    pub(super) fn trip(&mut self, now: Now, source: &str, reason: &str, code: &str) -> bool {
        match &self.phase {
            BreakerPhase::Closed => {
                self.open(now, source, reason, code);
                true
            }
            BreakerPhase::HalfOpen { trip, .. } => {
                let trip = BreakerTrip { reason: reason.to_owned(), code: code.to_owned(), ..trip.clone() };
                self.reopen(now, trip);
                true
            }
            BreakerPhase::Open { .. } => false,
        }
    }

    /// Permits one probe. False when the breaker is closed, or its wait is not over.
    pub(super) fn permit_probe(&mut self, now: Now, by: ProbeGrantor) -> bool {
        self.expire_probe_permit(now);
        if let BreakerPhase::HalfOpen { by: given, .. } = &mut self.phase
            && by == ProbeGrantor::Operator
        {
            *given = ProbeGrantor::Operator;
            return true;
        }
        let BreakerPhase::Open { trip, retry_at } = &self.phase else { return false };
        if by == ProbeGrantor::Time && retry_at.is_none_or(|at| now.mono < at) {
            return false;
        }
        let until = now.mono + self.limits.permit_lifetime;
        self.phase = BreakerPhase::HalfOpen { trip: trip.clone(), by, until, first_ok: None };
        self.since = now.wall;
        true
    }

    /// Withdraws a permit that was not used in time. True when there was one.
    pub(super) fn expire_probe_permit(&mut self, now: Now) -> bool {
        let BreakerPhase::HalfOpen { trip, until, .. } = &self.phase else { return false };
        if now.mono < *until {
            return false;
        }
        let trip = trip.clone();
        self.reopen(now, trip);
        true
    }

    /// Its state in the form of the contract.
    pub(super) fn state(&self) -> botops_contract::BreakerState {
        match &self.phase {
            BreakerPhase::Closed => botops_contract::BreakerState::Closed,
            BreakerPhase::Open { .. } => botops_contract::BreakerState::Open,
            BreakerPhase::HalfOpen { .. } => botops_contract::BreakerState::HalfOpen,
        }
    }

    /// The breaker in the form of the contract, without what ends its state: that depends on the session.
    pub(super) fn view(&self) -> botops_contract::Breaker {
        let trip = self.open_trip();
        botops_contract::Breaker {
            state: self.state(),
            state_raw: None,
            reason: trip.map(|trip| trip.reason.clone()),
            since: Some(self.since),
            source: trip.map(|trip| trip.source.clone()),
            failure_count: Some(trip.map_or_else(|| self.failure_count(), |trip| trip.failures)),
            resumes_at: None,
            retry_at: None,
            needs_human: None,
            stops: None,
        }
    }

    fn open(&mut self, now: Now, source: &str, reason: &str, code: &str) {
        let trip = BreakerTrip {
            source: source.to_owned(),
            reason: reason.to_owned(),
            code: code.to_owned(),
            at: now.wall,
            failures: self.failure_count(),
        };
        self.failures.clear();
        self.wait = self.limits.first_wait;
        self.since = now.wall;
        let retry_at = self.next_retry(now);
        self.phase = BreakerPhase::Open { trip, retry_at };
    }

    fn reopen(&mut self, now: Now, trip: BreakerTrip) {
        self.wait = (self.wait * 2).min(self.limits.longest_wait);
        self.since = now.wall;
        let retry_at = self.next_retry(now);
        self.phase = BreakerPhase::Open { trip, retry_at };
    }

    fn close(&mut self, now: Now) {
        self.phase = BreakerPhase::Closed;
        self.failures.clear();
        self.wait = self.limits.first_wait;
        self.since = now.wall;
    }

    /// When a probe is next permitted; `None` when only an operator may permit one.
    ///
    /// Closings with a time in the future (the wall clock was set back) count as recent: in doubt an operator decides.
    fn next_retry(&mut self, now: Now) -> Option<Duration> {
        let day_ago = now.wall - chrono::TimeDelta::days(1);
        self.resumes.retain(|at| *at > day_ago);
        (self.resumes.len() < self.limits.resumes_per_day).then(|| now.mono + self.wait)
    }
}

#[cfg(test)]
mod tests;
