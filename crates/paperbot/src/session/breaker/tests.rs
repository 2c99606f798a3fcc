//! The breaker's rules: what opens it, what permits a probe, what closes it.

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;

fn limits() -> BreakerLimits {
    BreakerLimits {
        failure_threshold: 5,
        failure_window: Duration::from_secs(60),
        first_wait: Duration::from_secs(60),
        longest_wait: Duration::from_secs(600),
        permit_lifetime: Duration::from_secs(30),
        success_gap: Duration::from_secs(10),
        resumes_per_day: 3,
    }
}

fn at(seconds: f64) -> Now {
    let mono = Duration::from_secs_f64(seconds);
    Now { mono, wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::from_std(mono).unwrap() }
}

fn closed() -> CircuitBreaker {
    CircuitBreaker::new(limits(), &SavedBreaker::default(), at(0.0))
}

fn opened() -> CircuitBreaker {
    let mut breaker = closed();
    for second in 0..5 {
        breaker.record_failure(at(f64::from(second)), "BRK_005");
    }
    assert!(!breaker.is_closed());
    breaker
}

#[test]
fn the_fifth_failure_inside_the_window_opens_it() {
    let mut breaker = closed();
    for second in [0.0, 10.0, 20.0, 30.0] {
        assert!(!breaker.record_failure(at(second), "BRK_005"));
    }
    assert!(breaker.record_failure(at(60.0), "BRK_005"), "the window includes its edge");
    assert_eq!(breaker.open_trip().unwrap().failures, 5);
    assert_eq!(breaker.state(), botops_contract::BreakerState::Open);
}

#[test]
fn a_failure_older_than_the_window_does_not_count() {
    let mut breaker = closed();
    for second in [0.0, 10.0, 20.0, 30.0, 60.5] {
        assert!(!breaker.record_failure(at(second), "BRK_005"));
    }
    assert!(breaker.record_failure(at(61.0), "BRK_005"));
}

#[test]
fn a_success_between_clears_the_streak() {
    let mut breaker = closed();
    for second in 0..4 {
        breaker.record_failure(at(f64::from(second)), "BRK_005");
    }
    breaker.record_success(at(4.0));
    assert_eq!(breaker.failure_count(), 0);
    for second in 5..9 {
        assert!(!breaker.record_failure(at(f64::from(second)), "BRK_005"));
    }
    assert!(breaker.record_failure(at(9.0), "BRK_005"));
}

#[test]
fn open_is_latched_and_time_alone_never_closes_it() {
    let mut breaker = opened();
    breaker.record_success(at(100_000.0));
    assert!(!breaker.is_closed());
    assert!(!breaker.record_failure(at(100_001.0), "BRK_005"));
}

#[test]
fn half_open_comes_after_the_wait_and_needs_two_successes_apart() {
    let mut breaker = opened();
    assert!(!breaker.permit_probe(at(63.9), ProbeGrantor::Time));
    assert!(breaker.permit_probe(at(64.0), ProbeGrantor::Time));
    assert!(!breaker.record_success(at(64.1)));
    assert!(!breaker.record_success(at(74.0)), "too close to the first");
    assert!(breaker.record_success(at(74.1)));
    assert!(breaker.is_closed());
}

#[test]
fn a_failed_probe_doubles_the_wait_up_to_ten_minutes() {
    let mut breaker = opened();
    let mut now = 64.0;
    for wait in [120.0, 240.0, 480.0, 600.0, 600.0] {
        assert!(breaker.permit_probe(at(now), ProbeGrantor::Time));
        assert!(breaker.record_failure(at(now), "BRK_005"));
        assert_eq!(breaker.retry_at(), Some(Duration::from_secs_f64(now + wait)));
        now += wait;
    }
}

#[test]
fn a_forgotten_permit_is_taken_back() {
    let mut breaker = opened();
    breaker.permit_probe(at(64.0), ProbeGrantor::Time);
    assert!(!breaker.expire_probe_permit(at(93.9)));
    assert!(breaker.expire_probe_permit(at(94.0)));
    assert!(!breaker.is_half_open());
}

#[test]
fn the_fourth_automatic_resume_of_a_day_needs_an_operator() {
    let mut breaker = closed();
    let mut now = 0.0;
    for _ in 0..3 {
        breaker.trip(at(now), "session", "test", "BRK_005");
        now += 60.0;
        assert!(breaker.permit_probe(at(now), ProbeGrantor::Time));
        breaker.record_success(at(now));
        now += 10.0;
        assert!(breaker.record_success(at(now)));
    }
    breaker.trip(at(now), "session", "test", "BRK_005");
    assert!(breaker.needs_operator());
    assert!(!breaker.permit_probe(at(now + 10_000.0), ProbeGrantor::Time));
    assert!(breaker.permit_probe(at(now + 10_000.0), ProbeGrantor::Operator));
    assert!(breaker.record_success(at(now + 10_001.0)), "an operator's probe closes it at once");
    breaker.trip(at(now + 90_000.0), "session", "test", "BRK_005");
    assert!(!breaker.needs_operator(), "a day later there are resumes again");
}

#[test]
fn a_live_breaker_never_resumes_by_itself() {
    let mut breaker = CircuitBreaker::new(
        BreakerLimits { resumes_per_day: 0, ..limits() },
        &SavedBreaker::default(),
        at(0.0),
    );
    breaker.trip(at(0.0), "session", "test", "BRK_005");
    assert!(breaker.needs_operator());
    assert!(!breaker.permit_probe(at(1e6), ProbeGrantor::Time));
}

#[test]
fn a_stored_open_breaker_is_open_after_a_restart() {
    let mut breaker = opened();
    breaker.permit_probe(at(64.0), ProbeGrantor::Time);
    let text = serde_json::to_string(&breaker.to_saved()).unwrap();
    let again = CircuitBreaker::new(limits(), &serde_json::from_str(&text).unwrap(), at(1.0));
    assert_eq!(again.open_trip(), breaker.open_trip());
    assert!(!again.is_closed() && !again.is_half_open());
    assert_eq!(again.retry_at(), Some(Duration::from_secs(61)));
}

#[test]
fn a_trip_while_open_keeps_the_first_reason() {
    let mut breaker = opened();
    assert!(!breaker.trip(at(9.0), "operator", "later", "BRK_008"));
    assert_eq!(breaker.open_trip().unwrap().source, "session");
}

#[test]
fn a_trip_in_the_middle_of_a_probe_tells_the_new_reason_and_the_first_source() {
    let mut breaker = opened();
    assert!(breaker.permit_probe(at(64.0), ProbeGrantor::Time));
    assert!(breaker.trip(at(65.0), "operator", "the token store is gone", "BRK_006"));
    let trip = breaker.open_trip().unwrap();
    assert_eq!((trip.source.as_str(), trip.failures), ("session", 5));
    assert_eq!((trip.reason.as_str(), trip.code.as_str()), ("the token store is gone", "BRK_006"));
    assert_eq!(breaker.retry_at(), Some(Duration::from_secs(185)), "as after a failed probe");
}

#[test]
fn an_operator_takes_a_running_probe_over_and_one_success_closes_it() {
    let mut breaker = opened();
    assert!(breaker.permit_probe(at(64.0), ProbeGrantor::Time));
    assert!(!breaker.permit_probe(at(65.0), ProbeGrantor::Time), "there is one permit");
    assert!(breaker.permit_probe(at(65.0), ProbeGrantor::Operator));
    assert!(breaker.record_success(at(66.0)));
    assert!(!breaker.permit_probe(at(67.0), ProbeGrantor::Operator), "nothing to reset");
    assert!(breaker.to_saved().resumes.is_empty(), "an operator's closing is no automatic one");
}

#[test]
fn a_resume_of_exactly_a_day_ago_is_forgotten() {
    let day_ago = at(0.0).wall;
    let saved = SavedBreaker { resumes: vec![day_ago; 3], ..SavedBreaker::default() };
    let mut breaker = CircuitBreaker::new(limits(), &saved, at(1.0));
    breaker.trip(at(86_399.9), "session", "test", "BRK_005");
    assert!(breaker.needs_operator());
    let mut breaker = CircuitBreaker::new(limits(), &saved, at(1.0));
    assert!(breaker.trip(at(86_400.0), "session", "test", "BRK_005"));
    assert!(!breaker.needs_operator());
}

#[test]
fn the_view_says_since_when_why_and_until_when() {
    let mut breaker = closed();
    breaker.record_failure(at(1.0), "BRK_005");
    let view = breaker.view();
    assert_eq!((view.state, view.failure_count), (botops_contract::BreakerState::Closed, Some(1)));
    assert_eq!((view.reason, view.source, breaker.next_attempt()), (None, None, None));
    let mut breaker = opened();
    let view = breaker.view();
    assert_eq!((view.state, view.failure_count), (botops_contract::BreakerState::Open, Some(5)));
    assert_eq!((view.since, breaker.next_attempt()), (Some(at(4.0).wall), Some(at(64.0).mono)));
    assert_eq!(view.reason.as_deref(), Some("5 checks failed in a row inside 60 s"));
    assert_eq!(view.source.as_deref(), Some("session"));
    breaker.permit_probe(at(64.0), ProbeGrantor::Time);
    assert_eq!(breaker.state(), botops_contract::BreakerState::HalfOpen);
    assert_eq!(breaker.next_attempt(), None, "the probe is under way");
    breaker.record_success(at(70.0));
    assert_eq!(breaker.next_attempt(), Some(at(80.0).mono), "when the second probe is due");
    assert_eq!(breaker.view().since, Some(at(64.0).wall));
}

#[test]
fn a_probe_that_the_broker_puts_off_is_neither_failed_nor_sent_early() {
    let mut breaker = opened();
    breaker.permit_probe(at(64.0), ProbeGrantor::Time);
    breaker.postpone_probe(at(5_464.0).mono);
    assert_eq!(breaker.next_attempt(), Some(at(5_464.0).mono));
    assert!(!breaker.permit_probe(at(5_463.0), ProbeGrantor::Time));
    assert!(breaker.permit_probe(at(5_464.0), ProbeGrantor::Time));
    breaker.record_failure(at(5_465.0), "BRK_005");
    assert_eq!(breaker.retry_at(), Some(at(5_585.0).mono), "the first doubling, not the second");
}

#[test]
fn the_stored_wait_goes_on_and_stays_inside_its_bounds() {
    let mut breaker = opened();
    breaker.permit_probe(at(64.0), ProbeGrantor::Time);
    breaker.record_failure(at(65.0), "BRK_005");
    assert_eq!(breaker.to_saved().wait_ms, 120_000);
    for (wait_ms, seconds) in [(0, 60), (120_000, 120), (u64::MAX, 600)] {
        let saved = SavedBreaker { wait_ms, ..breaker.to_saved() };
        let again = CircuitBreaker::new(limits(), &saved, at(0.0));
        assert_eq!(again.retry_at(), Some(Duration::from_secs(seconds)));
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Fail,
    Succeed,
    HalfOpen,
    OperatorReset,
    BreakerTrip,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<(Event, u16)>> {
    let step = prop_oneof![
        4 => Just(Event::Fail),
        3 => Just(Event::Succeed),
        2 => Just(Event::HalfOpen),
        1 => Just(Event::OperatorReset),
        1 => Just(Event::BreakerTrip),
        1 => Just(Event::Restart),
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
                Event::Fail => {
                    if was_closed { failures.push(time); }
                    breaker.record_failure(now, "BRK_005");
                    permitted = false;
                }
                Event::Succeed => { breaker.record_success(now); failures.clear(); }
                Event::HalfOpen => permitted |= breaker.permit_probe(now, ProbeGrantor::Time),
                Event::OperatorReset => permitted |= breaker.permit_probe(now, ProbeGrantor::Operator),
                Event::BreakerTrip => { breaker.trip(now, "session", "test", "BRK_002"); failures.clear(); }
                Event::Restart => {
                    breaker = CircuitBreaker::new(limits(), &breaker.to_saved(), now);
                    failures.clear();
                    permitted = false;
                }
            }
            let recent = failures.iter().filter(|at| **at >= time - 60.0 - 1e-9).count();
            if was_closed && !breaker.is_closed() && !matches!(step, Event::BreakerTrip) {
                prop_assert!(recent >= 5, "opened after {recent} failures");
            }
            if was_closed && breaker.is_closed() {
                prop_assert!(recent < 5 || !matches!(step, Event::Fail));
            }
            if !was_closed && breaker.is_closed() {
                prop_assert!(matches!(step, Event::Succeed) && permitted);
                permitted = false;
            }
            if !breaker.is_closed() { failures.clear(); }
            prop_assert_eq!(breaker.is_closed(), breaker.open_trip().is_none());
        }
    }
}
