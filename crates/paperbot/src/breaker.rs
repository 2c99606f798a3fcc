//! The circuit breaker of one failure domain: a small pure state machine.
//!
//! Closed counts failed checks; five without a success between them, inside 60 s, open it. Open is latched: time
//! alone never closes it. It closes when two probes at least 10 s apart succeed after a half-open permit, or when one
//! succeeds that an operator asked for. Every call takes the time as an argument, so the same inputs always give the
//! same state. Deliberately absent: clocks, tasks, persistence (the session stores [`Breaker::saved`]).

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::clock::Now;

/// The breaker's limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Failed checks in a row that open it.
    pub threshold: usize,
    /// All of them have to fall inside this.
    pub window: Duration,
    /// First wait before a probe is let through.
    pub first_wait: Duration,
    /// The wait doubles up to this.
    pub longest_wait: Duration,
    /// A half-open permit that is not used in this time is taken back.
    pub permit: Duration,
    /// Distance between the two successes that close it.
    pub gap: Duration,
    /// Automatic closings in 24 hours; 0 means that only an operator closes it.
    pub resumes_per_day: usize,
}

/// Why it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// What tripped it: `session`, `operator`, …
    pub source: String,
    /// One sentence; fixed text.
    pub reason: String,
    /// The `BRK_NNN` code.
    pub code: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Failures inside the window at that moment.
    pub failures: u32,
}

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Why it is open; `None` when closed.
    pub open: Option<Trip>,
    /// Recent automatic closings.
    pub resumes: Vec<DateTime<Utc>>,
    /// The wait before the next probe, in milliseconds.
    pub wait_ms: u64,
}

/// Who lets a probe through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The passing of time; needs two successes.
    Time,
    /// An operator; needs one success.
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Closed,
    Open { trip: Trip, retry_at: Option<Duration> },
    HalfOpen { trip: Trip, by: By, until: Duration, first_ok: Option<Duration> },
}

/// The breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    limits: Limits,
    state: State,
    since: DateTime<Utc>,
    failures: VecDeque<Duration>,
    wait: Duration,
    resumes: Vec<DateTime<Utc>>,
}

impl Breaker {
    /// A breaker that goes on where the stored one stood: what was open stays open.
    pub fn new(limits: Limits, saved: &Saved, now: Now) -> Self {
        let wait = Duration::from_millis(saved.wait_ms).max(limits.first_wait).min(limits.longest_wait);
        let mut breaker = Self {
            limits,
            state: State::Closed,
            since: now.wall,
            failures: VecDeque::new(),
            wait,
            resumes: saved.resumes.clone(),
        };
        if let Some(trip) = &saved.open {
            breaker.since = trip.at;
            let retry_at = breaker.next_retry(now);
            breaker.state = State::Open { trip: trip.clone(), retry_at };
        }
        breaker
    }

    /// What has to survive a restart.
    pub fn saved(&self) -> Saved {
        Saved {
            open: self.trip_reason().cloned(),
            resumes: self.resumes.clone(),
            wait_ms: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Orders that add exposure pass.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// A probe may be sent that decides.
    pub fn is_half_open(&self) -> bool {
        matches!(self.state, State::HalfOpen { .. })
    }

    /// Why it is not closed.
    pub fn trip_reason(&self) -> Option<&Trip> {
        match &self.state {
            State::Closed => None,
            State::Open { trip, .. } | State::HalfOpen { trip, .. } => Some(trip),
        }
    }

    /// When the next probe is let through by itself, or the second one is due.
    pub fn retry_at(&self) -> Option<Duration> {
        match &self.state {
            State::Closed => None,
            State::Open { retry_at, .. } => *retry_at,
            State::HalfOpen { first_ok, until, .. } => {
                Some(first_ok.map_or(*until, |first| (first + self.limits.gap).min(*until)))
            }
        }
    }

    /// Automatic closings are used up, or were never allowed.
    pub fn needs_operator(&self) -> bool {
        matches!(&self.state, State::Open { retry_at: None, .. })
    }

    /// Failures that count at the moment.
    pub fn failure_count(&self) -> u32 {
        u32::try_from(self.failures.len()).unwrap_or(u32::MAX)
    }

    /// A check failed. True when this opened the breaker, now or again.
    pub fn failure(&mut self, now: Now, code: &str) -> bool {
        self.expire_permit(now);
        match &self.state {
            State::Closed => {
                self.failures.push_back(now.mono);
                let from = now.mono.saturating_sub(self.limits.window);
                while self.failures.front().is_some_and(|at| *at < from) {
                    self.failures.pop_front();
                }
                if self.failures.len() < self.limits.threshold {
                    return false;
                }
                let reason = format!(
                    "{} checks failed in a row inside {} s",
                    self.failures.len(),
                    self.limits.window.as_secs_f64()
                );
                self.open(now, "session", &reason, code);
                true
            }
            State::HalfOpen { trip, .. } => {
                let trip = trip.clone();
                self.reopen(now, trip);
                true
            }
            State::Open { .. } => false,
        }
    }

    /// A check succeeded. True when this closed the breaker.
    pub fn success(&mut self, now: Now) -> bool {
        self.expire_permit(now);
        match &mut self.state {
            State::Closed => {
                self.failures.clear();
                false
            }
            State::Open { .. } => false,
            State::HalfOpen { by: By::Operator, .. } => {
                self.close(now);
                true
            }
            State::HalfOpen { by: By::Time, first_ok, .. } => {
                let Some(first) = *first_ok else {
                    *first_ok = Some(now.mono);
                    return false;
                };
                if now.mono < first + self.limits.gap {
                    return false;
                }
                self.resumes.push(now.wall);
                self.close(now);
                true
            }
        }
    }

    /// Opens it at once for a reason other than counting. An open one keeps its first reason.
    pub fn trip(&mut self, now: Now, source: &str, reason: &str, code: &str) -> bool {
        match &self.state {
            State::Closed => {
                self.open(now, source, reason, code);
                true
            }
            State::HalfOpen { trip, .. } => {
                let trip = Trip { reason: reason.to_owned(), code: code.to_owned(), ..trip.clone() };
                self.reopen(now, trip);
                true
            }
            State::Open { .. } => false,
        }
    }

    /// Lets one probe through. False when it is not open, or its time has not come.
    pub fn half_open(&mut self, now: Now, by: By) -> bool {
        self.expire_permit(now);
        if let State::HalfOpen { by: given, .. } = &mut self.state
            && by == By::Operator
        {
            *given = By::Operator;
            return true;
        }
        let State::Open { trip, retry_at } = &self.state else { return false };
        if by == By::Time && retry_at.is_none_or(|at| now.mono < at) {
            return false;
        }
        let until = now.mono + self.limits.permit;
        self.state = State::HalfOpen { trip: trip.clone(), by, until, first_ok: None };
        self.since = now.wall;
        true
    }

    /// Takes an unused permit back. True when there was one.
    pub fn expire_permit(&mut self, now: Now) -> bool {
        let State::HalfOpen { trip, until, .. } = &self.state else { return false };
        if now.mono < *until {
            return false;
        }
        let trip = trip.clone();
        self.reopen(now, trip);
        true
    }

    /// The breaker as the contract shows it.
    pub fn view(&self, now: Now) -> botops_contract::Breaker {
        let state = match &self.state {
            State::Closed => botops_contract::BreakerState::Closed,
            State::Open { .. } => botops_contract::BreakerState::Open,
            State::HalfOpen { .. } => botops_contract::BreakerState::HalfOpen,
        };
        let trip = self.trip_reason();
        let retry_at = self.retry_at().map(|at| {
            let wait = at.saturating_sub(now.mono);
            now.wall + chrono::TimeDelta::from_std(wait).unwrap_or_default()
        });
        botops_contract::Breaker {
            state,
            reason: trip.map(|trip| trip.reason.clone()),
            since: self.since,
            source: trip.map(|trip| trip.source.clone()),
            failure_count: trip.map_or_else(|| self.failure_count(), |trip| trip.failures),
            retry_at,
        }
    }

    fn open(&mut self, now: Now, source: &str, reason: &str, code: &str) {
        let trip = Trip {
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
        self.state = State::Open { trip, retry_at };
    }

    fn reopen(&mut self, now: Now, trip: Trip) {
        self.wait = (self.wait * 2).min(self.limits.longest_wait);
        self.since = now.wall;
        let retry_at = self.next_retry(now);
        self.state = State::Open { trip, retry_at };
    }

    fn close(&mut self, now: Now) {
        self.state = State::Closed;
        self.failures.clear();
        self.wait = self.limits.first_wait;
        self.since = now.wall;
    }

    /// Times in the future (the wall was set back) count as recent: in doubt an operator decides.
    fn next_retry(&mut self, now: Now) -> Option<Duration> {
        let day_ago = now.wall - chrono::TimeDelta::days(1);
        self.resumes.retain(|at| *at > day_ago);
        (self.resumes.len() < self.limits.resumes_per_day).then(|| now.mono + self.wait)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn limits() -> Limits {
        Limits {
            threshold: 5,
            window: Duration::from_secs(60),
            first_wait: Duration::from_secs(60),
            longest_wait: Duration::from_secs(600),
            permit: Duration::from_secs(30),
            gap: Duration::from_secs(10),
            resumes_per_day: 3,
        }
    }

    fn at(seconds: f64) -> Now {
        let mono = Duration::from_secs_f64(seconds);
        Now {
            mono,
            wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::from_std(mono).unwrap(),
        }
    }

    fn closed() -> Breaker {
        Breaker::new(limits(), &Saved::default(), at(0.0))
    }

    fn opened() -> Breaker {
        let mut breaker = closed();
        for second in 0..5 {
            breaker.failure(at(f64::from(second)), "BRK_005");
        }
        assert!(!breaker.is_closed());
        breaker
    }

    #[test]
    fn the_fifth_failure_inside_the_window_opens_it() {
        let mut breaker = closed();
        for second in [0.0, 10.0, 20.0, 30.0] {
            assert!(!breaker.failure(at(second), "BRK_005"));
        }
        assert!(breaker.failure(at(60.0), "BRK_005"), "the window includes its edge");
        assert_eq!(breaker.trip_reason().unwrap().failures, 5);
        assert_eq!(breaker.view(at(60.0)).state, botops_contract::BreakerState::Open);
    }

    #[test]
    fn a_failure_older_than_the_window_does_not_count() {
        let mut breaker = closed();
        for second in [0.0, 10.0, 20.0, 30.0, 60.5] {
            assert!(!breaker.failure(at(second), "BRK_005"));
        }
        assert!(breaker.failure(at(61.0), "BRK_005"));
    }

    #[test]
    fn a_success_between_clears_the_streak() {
        let mut breaker = closed();
        for second in 0..4 {
            breaker.failure(at(f64::from(second)), "BRK_005");
        }
        breaker.success(at(4.0));
        assert_eq!(breaker.failure_count(), 0);
        for second in 5..9 {
            assert!(!breaker.failure(at(f64::from(second)), "BRK_005"));
        }
        assert!(breaker.failure(at(9.0), "BRK_005"));
    }

    #[test]
    fn open_is_latched_and_time_alone_never_closes_it() {
        let mut breaker = opened();
        breaker.success(at(100_000.0));
        assert!(!breaker.is_closed());
        assert!(!breaker.failure(at(100_001.0), "BRK_005"));
    }

    #[test]
    fn half_open_comes_after_the_wait_and_needs_two_successes_apart() {
        let mut breaker = opened();
        assert!(!breaker.half_open(at(63.9), By::Time));
        assert!(breaker.half_open(at(64.0), By::Time));
        assert!(!breaker.success(at(64.1)));
        assert!(!breaker.success(at(74.0)), "too close to the first");
        assert!(breaker.success(at(74.1)));
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_failed_probe_doubles_the_wait_up_to_ten_minutes() {
        let mut breaker = opened();
        let mut now = 64.0;
        for wait in [120.0, 240.0, 480.0, 600.0, 600.0] {
            assert!(breaker.half_open(at(now), By::Time));
            assert!(breaker.failure(at(now), "BRK_005"));
            assert_eq!(breaker.retry_at(), Some(Duration::from_secs_f64(now + wait)));
            now += wait;
        }
    }

    #[test]
    fn a_forgotten_permit_is_taken_back() {
        let mut breaker = opened();
        breaker.half_open(at(64.0), By::Time);
        assert!(!breaker.expire_permit(at(93.9)));
        assert!(breaker.expire_permit(at(94.0)));
        assert!(!breaker.is_half_open());
    }

    #[test]
    fn the_fourth_automatic_resume_of_a_day_needs_an_operator() {
        let mut breaker = closed();
        let mut now = 0.0;
        for _ in 0..3 {
            breaker.trip(at(now), "session", "test", "BRK_005");
            now += 60.0;
            assert!(breaker.half_open(at(now), By::Time));
            breaker.success(at(now));
            now += 10.0;
            assert!(breaker.success(at(now)));
        }
        breaker.trip(at(now), "session", "test", "BRK_005");
        assert!(breaker.needs_operator());
        assert!(!breaker.half_open(at(now + 10_000.0), By::Time));
        assert!(breaker.half_open(at(now + 10_000.0), By::Operator));
        assert!(breaker.success(at(now + 10_001.0)), "an operator's probe closes it at once");
        breaker.trip(at(now + 90_000.0), "session", "test", "BRK_005");
        assert!(!breaker.needs_operator(), "a day later there are resumes again");
    }

    #[test]
    fn a_live_breaker_never_resumes_by_itself() {
        let mut breaker = Breaker::new(Limits { resumes_per_day: 0, ..limits() }, &Saved::default(), at(0.0));
        breaker.trip(at(0.0), "session", "test", "BRK_005");
        assert!(breaker.needs_operator());
        assert!(!breaker.half_open(at(1e6), By::Time));
    }

    #[test]
    fn a_stored_open_breaker_is_open_after_a_restart() {
        let mut breaker = opened();
        breaker.half_open(at(64.0), By::Time);
        let text = serde_json::to_string(&breaker.saved()).unwrap();
        let again = Breaker::new(limits(), &serde_json::from_str(&text).unwrap(), at(1.0));
        assert_eq!(again.trip_reason(), breaker.trip_reason());
        assert!(!again.is_closed() && !again.is_half_open());
        assert_eq!(again.retry_at(), Some(Duration::from_secs(61)));
    }

    #[test]
    fn a_trip_while_open_keeps_the_first_reason() {
        let mut breaker = opened();
        assert!(!breaker.trip(at(9.0), "operator", "later", "BRK_008"));
        assert_eq!(breaker.trip_reason().unwrap().source, "session");
    }

    #[test]
    fn a_trip_in_the_middle_of_a_probe_tells_the_new_reason_and_the_first_source() {
        let mut breaker = opened();
        assert!(breaker.half_open(at(64.0), By::Time));
        assert!(breaker.trip(at(65.0), "operator", "the token store is gone", "BRK_006"));
        let trip = breaker.trip_reason().unwrap();
        assert_eq!((trip.source.as_str(), trip.failures), ("session", 5));
        assert_eq!((trip.reason.as_str(), trip.code.as_str()), ("the token store is gone", "BRK_006"));
        assert_eq!(breaker.retry_at(), Some(Duration::from_secs(185)), "as after a failed probe");
    }

    #[test]
    fn an_operator_takes_a_running_probe_over_and_one_success_closes_it() {
        let mut breaker = opened();
        assert!(breaker.half_open(at(64.0), By::Time));
        assert!(!breaker.half_open(at(65.0), By::Time), "there is one permit");
        assert!(breaker.half_open(at(65.0), By::Operator));
        assert!(breaker.success(at(66.0)));
        assert!(!breaker.half_open(at(67.0), By::Operator), "nothing to reset");
        assert!(breaker.saved().resumes.is_empty(), "an operator's closing is no automatic one");
    }

    #[test]
    fn a_resume_of_exactly_a_day_ago_is_forgotten() {
        let day_ago = at(0.0).wall;
        let saved = Saved { resumes: vec![day_ago; 3], ..Saved::default() };
        let mut breaker = Breaker::new(limits(), &saved, at(1.0));
        breaker.trip(at(86_399.9), "session", "test", "BRK_005");
        assert!(breaker.needs_operator());
        let mut breaker = Breaker::new(limits(), &saved, at(1.0));
        assert!(breaker.trip(at(86_400.0), "session", "test", "BRK_005"));
        assert!(!breaker.needs_operator());
    }

    #[test]
    fn the_view_says_since_when_why_and_until_when() {
        let mut breaker = closed();
        breaker.failure(at(1.0), "BRK_005");
        let view = breaker.view(at(2.0));
        assert_eq!((view.state, view.failure_count), (botops_contract::BreakerState::Closed, 1));
        assert_eq!((view.reason, view.source, view.retry_at), (None, None, None));
        let mut breaker = opened();
        let view = breaker.view(at(14.0));
        assert_eq!((view.state, view.failure_count), (botops_contract::BreakerState::Open, 5));
        assert_eq!((view.since, view.retry_at), (at(4.0).wall, Some(at(64.0).wall)));
        assert_eq!(view.reason.as_deref(), Some("5 checks failed in a row inside 60 s"));
        assert_eq!(view.source.as_deref(), Some("session"));
        breaker.half_open(at(64.0), By::Time);
        let view = breaker.view(at(70.0));
        assert_eq!(
            (view.state, view.retry_at),
            (botops_contract::BreakerState::HalfOpen, Some(at(94.0).wall))
        );
        breaker.success(at(70.0));
        assert_eq!(breaker.view(at(71.0)).retry_at, Some(at(80.0).wall), "when the second probe is due");
        assert_eq!(breaker.view(at(71.0)).since, at(64.0).wall);
    }

    #[test]
    fn the_stored_wait_goes_on_and_stays_inside_its_bounds() {
        let mut breaker = opened();
        breaker.half_open(at(64.0), By::Time);
        breaker.failure(at(65.0), "BRK_005");
        assert_eq!(breaker.saved().wait_ms, 120_000);
        for (wait_ms, seconds) in [(0, 60), (120_000, 120), (u64::MAX, 600)] {
            let saved = Saved { wait_ms, ..breaker.saved() };
            let again = Breaker::new(limits(), &saved, at(0.0));
            assert_eq!(again.retry_at(), Some(Duration::from_secs(seconds)));
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Fail,
        Succeed,
        HalfOpen,
        OperatorReset,
        Trip,
        Restart,
    }

    fn steps() -> impl Strategy<Value = Vec<(Step, u16)>> {
        let step = prop_oneof![
            4 => Just(Step::Fail),
            3 => Just(Step::Succeed),
            2 => Just(Step::HalfOpen),
            1 => Just(Step::OperatorReset),
            1 => Just(Step::Trip),
            1 => Just(Step::Restart),
        ];
        proptest::collection::vec((step, 0_u16..700), 1..200)
    }

    proptest! {
        #[test]
        fn it_opens_only_for_cause_and_closes_only_after_a_permitted_success(steps in steps()) {
            let mut breaker = closed();
            let mut time = 0.0;
            let mut failures: Vec<f64> = Vec::new();
            let mut permitted = false;
            for (step, gap) in steps {
                time += f64::from(gap) / 10.0;
                let now = at(time);
                let was_closed = breaker.is_closed();
                match step {
                    Step::Fail => {
                        if was_closed { failures.push(time); }
                        breaker.failure(now, "BRK_005");
                        permitted = false;
                    }
                    Step::Succeed => { breaker.success(now); failures.clear(); }
                    Step::HalfOpen => permitted |= breaker.half_open(now, By::Time),
                    Step::OperatorReset => permitted |= breaker.half_open(now, By::Operator),
                    Step::Trip => { breaker.trip(now, "session", "test", "BRK_002"); failures.clear(); }
                    Step::Restart => {
                        breaker = Breaker::new(limits(), &breaker.saved(), now);
                        failures.clear();
                        permitted = false;
                    }
                }
                let recent = failures.iter().filter(|at| **at >= time - 60.0 - 1e-9).count();
                if was_closed && !breaker.is_closed() && !matches!(step, Step::Trip) {
                    prop_assert!(recent >= 5, "opened after {recent} failures");
                }
                if was_closed && breaker.is_closed() {
                    prop_assert!(recent < 5 || !matches!(step, Step::Fail));
                }
                if !was_closed && breaker.is_closed() {
                    prop_assert!(matches!(step, Step::Succeed) && permitted);
                    permitted = false;
                }
                if !breaker.is_closed() { failures.clear(); }
                prop_assert_eq!(breaker.is_closed(), breaker.trip_reason().is_none());
            }
        }
    }
}
