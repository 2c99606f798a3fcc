//! The session's state machine: what each state allows, and its transitions.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;

use super::{
    SavedSession, SessionCheckKind, SessionMachine, SessionOutlook, SessionReason, SessionWork, breaker_view,
    closed_gates, evaluate_gate, next_check_at, session_outlook,
};
use crate::broker::{
    BrokerError, ChallengeKind, ProbeReply, SignInChallenge, SignInMethod, TokenLifetime, TransientFailure,
};
use crate::clock::Now;
use crate::session::breaker::SavedBreaker;
use crate::session::limits::SessionLimits;
use botops_contract::{GateReason, SessionPhase};
use botops_core::error::Code;

mod edges;

const START: i64 = 1_772_805_600; // a trading day, 09:00 in New York

fn at(seconds: f64) -> Now {
    let mono = Duration::from_secs_f64(seconds);
    Now { mono, wall: DateTime::from_timestamp(START, 0).unwrap() + TimeDelta::from_std(mono).unwrap() }
}

fn machine() -> SessionMachine {
    let mut machine = SessionMachine::new(SessionLimits::new(false), &SavedSession::default(), at(0.0));
    machine.token_received(1);
    machine
}

fn found(generation: u64) -> ProbeReply {
    ProbeReply { generation, ..ProbeReply::default() }
}

fn unreachable_broker() -> BrokerError {
    BrokerError::Transient { kind: TransientFailure::Connect, status: None }
}

fn healthy() -> SessionMachine {
    let mut machine = machine();
    assert_eq!(machine.due_work(at(0.0)), Some(SessionWork::Check(SessionCheckKind::Startup)));
    machine.check_passed(at(0.1), Duration::ZERO, &found(1));
    assert_eq!(machine.phase, SessionPhase::Healthy);
    machine
}

/// Lets all due work fail until a condition holds; returns the time of that.
fn run_failing(machine: &mut SessionMachine, mut now: f64, until: impl Fn(&SessionMachine) -> bool) -> f64 {
    for _ in 0..1_000 {
        if until(machine) {
            return now;
        }
        match machine.due_work(at(now)) {
            Some(SessionWork::Check(_)) => {
                machine.check_failed(at(now), Duration::from_secs_f64(now), &unreachable_broker());
            }
            Some(_) => {}
            None => now = machine.next_wakeup(at(now)).as_secs_f64().max(now + 1e-6),
        }
    }
    panic!("never got there");
}

fn halted_transient() -> (SessionMachine, f64) {
    let mut machine = healthy();
    machine.check_failed(at(10.0), Duration::from_secs_f64(10.0), &unreachable_broker());
    let now = run_failing(&mut machine, 10.0, SessionMachine::is_halted);
    assert_eq!(machine.phase, SessionPhase::HaltedTransient);
    (machine, now)
}

#[track_caller]
fn gate(machine: &SessionMachine, now: f64, reducing: bool, allowed: bool, reason: GateReason) {
    let verdict = evaluate_gate(machine, at(now), reducing, false);
    assert_eq!((verdict.allowed, verdict.reason), (allowed, reason));
}

#[test]
fn nothing_passes_before_the_first_check() {
    gate(&machine(), 0.0, false, false, GateReason::SessionStarting);
    gate(&machine(), 0.0, true, false, GateReason::SessionStarting);
    assert!(evaluate_gate(&machine(), at(0.0), false, false).wants_check);
}

#[test]
fn fresh_evidence_lets_orders_pass_and_old_evidence_only_exits() {
    let machine = healthy();
    gate(&machine, 10.1, false, true, GateReason::Ok);
    gate(&machine, 10.1, true, true, GateReason::Ok);
    gate(&machine, 10.2, false, false, GateReason::EvidenceStale);
    gate(&machine, 10.2, true, true, GateReason::ReducingAllowed);
    assert!(evaluate_gate(&machine, at(10.2), false, false).wants_check);
}

#[test]
fn a_closed_market_keeps_new_positions_out_and_lets_exits_try() {
    let machine = healthy();
    assert_eq!(evaluate_gate(&machine, at(1.0), false, true).reason, GateReason::MarketClosed);
    assert!(evaluate_gate(&machine, at(1.0), true, true).allowed);
}

#[test]
fn a_failed_check_degrades_and_is_confirmed_every_ten_seconds() {
    let mut machine = healthy();
    machine.check_failed(at(17.0), Duration::from_secs(10), &unreachable_broker());
    assert_eq!(machine.phase, SessionPhase::Degraded);
    gate(&machine, 17.0, false, false, GateReason::SessionDegraded);
    gate(&machine, 17.0, true, true, GateReason::ReducingAllowed);
    assert_eq!(machine.due_work(at(19.9)), None);
    assert_eq!(
        machine.due_work(at(20.0)),
        Some(SessionWork::Check(SessionCheckKind::Confirm)),
        "ten seconds after the start"
    );
    machine.check_failed(at(29.8), Duration::from_secs(20), &unreachable_broker());
    assert_eq!(machine.due_work(at(30.7)), None);
    assert_eq!(
        machine.due_work(at(30.8)),
        Some(SessionWork::Check(SessionCheckKind::Confirm)),
        "but a second after the end"
    );
    machine.check_passed(at(31.0), Duration::from_secs(30), &found(1));
    assert_eq!(machine.phase, SessionPhase::Healthy);
    assert_eq!(machine.failures, 0);
}

#[test]
fn instant_failures_trip_forty_seconds_after_the_failing_check_began() {
    let mut machine = healthy();
    // The first check has its four attempts and takes seven seconds.
    machine.check_failed(at(107.0), Duration::from_secs(100), &unreachable_broker());
    let tripped = run_failing(&mut machine, 107.0, |machine| !machine.breaker.is_closed());
    assert!((tripped - 140.0).abs() < 0.01, "{tripped}");
    assert_eq!(machine.phase, SessionPhase::HaltedTransient);
    gate(&machine, tripped, false, false, GateReason::BreakerOpen);
    gate(&machine, tripped, true, false, GateReason::BreakerOpen);
}

#[test]
fn hanging_checks_trip_after_sixty_four_seconds() {
    let mut machine = healthy();
    let (mut start, mut end) = (100.0, 120.0);
    loop {
        machine.check_failed(at(end), Duration::from_secs_f64(start), &unreachable_broker());
        if !machine.breaker.is_closed() {
            break;
        }
        start = machine.next_wakeup(at(end)).as_secs_f64();
        end = start + 10.0;
    }
    assert!((end - 164.0).abs() < 0.01, "{end}");
}

#[test]
fn checks_five_minutes_apart_never_trip() {
    let mut machine = healthy();
    let mut now = 1.0;
    for _ in 0..50 {
        machine.check_failed(at(now), Duration::from_secs_f64(now), &unreachable_broker());
        machine.check_passed(at(now + 10.0), Duration::from_secs_f64(now + 10.0), &found(1));
        now += 300.0;
        assert!(machine.breaker.is_closed());
    }
}

#[test]
fn half_open_needs_two_successes_ten_seconds_apart() {
    let (mut machine, now) = halted_transient();
    let probe = machine.next_wakeup(at(now)).as_secs_f64();
    assert!((probe - now - 60.0).abs() < 0.01);
    assert_eq!(machine.due_work(at(probe)), Some(SessionWork::Check(SessionCheckKind::HalfOpen)));
    machine.check_passed(at(probe + 0.1), Duration::from_secs_f64(probe), &found(1));
    assert_eq!(machine.phase, SessionPhase::HaltedTransient);
    gate(&machine, probe + 0.2, false, false, GateReason::BreakerOpen);
    assert_eq!(machine.due_work(at(probe + 10.0)), None);
    assert_eq!(machine.due_work(at(probe + 10.1)), Some(SessionWork::Check(SessionCheckKind::HalfOpen)));
    machine.check_passed(at(probe + 10.2), Duration::from_secs_f64(probe + 10.1), &found(1));
    assert_eq!(machine.phase, SessionPhase::Healthy);
    gate(&machine, probe + 10.3, false, true, GateReason::Ok);
}

#[test]
fn after_three_resumes_in_a_day_an_operator_has_to() {
    let mut machine = healthy();
    let mut now = 1.0;
    for _ in 0..3 {
        machine.check_failed(at(now), Duration::from_secs_f64(now), &unreachable_broker());
        now = run_failing(&mut machine, now, SessionMachine::is_halted);
        for _ in 0..2 {
            now = machine.next_wakeup(at(now)).as_secs_f64() + 0.01;
            assert_eq!(machine.due_work(at(now)), Some(SessionWork::Check(SessionCheckKind::HalfOpen)));
            machine.check_passed(at(now), Duration::from_secs_f64(now), &found(1));
        }
        assert_eq!(machine.phase, SessionPhase::Healthy);
    }
    machine.check_failed(at(now), Duration::from_secs_f64(now), &unreachable_broker());
    now = run_failing(&mut machine, now, SessionMachine::is_halted);
    assert_eq!(machine.phase, SessionPhase::HaltedOperator);
    assert!(machine.operator_reset(at(now)));
    machine.check_passed(at(now + 0.1), Duration::from_secs_f64(now), &found(1));
    assert_eq!(machine.phase, SessionPhase::Healthy);
}

#[test]
fn a_live_session_goes_on_checking_but_resumes_only_by_an_operator() {
    let mut machine = SessionMachine::new(SessionLimits::new(true), &SavedSession::default(), at(0.0));
    machine.token_received(1);
    let mut now = run_failing(&mut machine, 0.0, SessionMachine::is_halted);
    assert_eq!(machine.phase, SessionPhase::HaltedTransient);
    for _ in 0..20 {
        now = machine.next_wakeup(at(now)).as_secs_f64() + 0.01;
        if let Some(SessionWork::Check(_)) = machine.due_work(at(now)) {
            machine.check_passed(at(now), Duration::from_secs_f64(now), &found(1));
        }
        assert_eq!(machine.phase, SessionPhase::HaltedTransient);
    }
    assert!(machine.last_ok.is_some(), "it knows that the broker is back");
    gate(&machine, now, false, false, GateReason::BreakerOpen);
    machine.operator_reset(at(now));
    machine.check_passed(at(now), Duration::from_secs_f64(now), &found(1));
    gate(&machine, now, false, true, GateReason::Ok);
}

#[test]
fn a_refused_token_leads_to_one_sign_in() {
    let mut machine = healthy();
    for _ in 0..100 {
        machine.check_failed(
            at(5.0),
            Duration::from_secs_f64(5.0),
            &BrokerError::SessionInvalid { generation: 1 },
        );
    }
    gate(&machine, 5.0, false, false, GateReason::Reauthenticating);
    gate(&machine, 5.0, true, false, GateReason::Reauthenticating);
    assert_eq!(machine.due_work(at(5.0)), Some(SessionWork::SignIn));
    assert_eq!(machine.next_sign_in_method(at(5.0), false, |_| true), Ok(SignInMethod::Refresh));
    assert_eq!(machine.begin_attempt(at(5.0), SignInMethod::Refresh, false), 1);
    assert_eq!(machine.due_work(at(5.1)), None, "the attempt is under way");
    machine.token_received(2);
    machine.token_verified(at(5.5), Duration::from_secs(5), &found(2), false);
    assert_eq!((machine.phase, machine.sign_ins, machine.generation), (SessionPhase::Healthy, 1, 2));
    assert!(machine.breaker.is_closed());
    machine.check_failed(
        at(6.0),
        Duration::from_secs_f64(6.0),
        &BrokerError::SessionInvalid { generation: 1 },
    );
    assert_eq!(machine.phase, SessionPhase::Healthy, "a late refusal of the old token says nothing");
}

#[test]
fn failed_sign_ins_keep_their_distance_and_stop_after_three() {
    let mut machine = healthy();
    machine.check_failed(
        at(5.0),
        Duration::from_secs_f64(5.0),
        &BrokerError::SessionInvalid { generation: 1 },
    );
    let mut times = Vec::new();
    let mut now = 5.0;
    while machine.phase == SessionPhase::Reauthenticating {
        match machine.due_work(at(now)) {
            Some(SessionWork::SignIn) => {
                times.push(now);
                let method = machine
                    .next_sign_in_method(at(now), false, |method| method == SignInMethod::Refresh)
                    .unwrap();
                machine.begin_attempt(at(now), method, false);
                assert!(!machine.attempt_failed(at(now + 0.5), &unreachable_broker(), method));
            }
            _ => now = machine.next_wakeup(at(now)).as_secs_f64(),
        }
    }
    assert_eq!(times.len(), 3);
    assert!(times[1] - times[0] >= 30.0 && times[2] - times[1] >= 120.0, "{times:?}");
    assert_eq!(machine.phase, SessionPhase::HaltedCredential);
    assert_eq!(machine.due_work(at(1e6)), Some(SessionWork::Snapshot));
    assert_eq!(machine.due_work(at(1e6)), None, "nothing is tried again");
}

#[test]
fn a_refused_credential_is_never_repeated() {
    for error in [
        BrokerError::CredentialsRejected { hint: "x" },
        BrokerError::LoginLocked,
        BrokerError::TokenStore,
        BrokerError::Config { what: "x".to_owned() },
    ] {
        let mut machine = healthy();
        machine.check_failed(
            at(5.0),
            Duration::from_secs_f64(5.0),
            &BrokerError::SessionInvalid { generation: 1 },
        );
        machine.due_work(at(5.0));
        machine.begin_attempt(at(5.0), SignInMethod::Refresh, false);
        assert!(!machine.attempt_failed(at(5.5), &error, SignInMethod::Refresh));
        assert_eq!(machine.phase, SessionPhase::HaltedCredential);
        assert!(!machine.breaker.is_closed());
        gate(&machine, 6.0, true, false, GateReason::CredentialsRejected);
        for hour in 1..48 {
            let work = machine.due_work(at(f64::from(hour) * 3_600.0));
            assert!(matches!(work, None | Some(SessionWork::Snapshot)), "{work:?}");
        }
    }
}

#[test]
fn a_spent_refresh_is_followed_by_the_password_where_that_is_allowed() {
    let mut machine = healthy();
    machine.check_failed(
        at(5.0),
        Duration::from_secs_f64(5.0),
        &BrokerError::SessionInvalid { generation: 1 },
    );
    machine.begin_attempt(at(5.0), SignInMethod::Refresh, false);
    assert!(machine.attempt_failed(at(5.1), &BrokerError::RefreshSpent, SignInMethod::Refresh));
    assert_eq!(machine.next_sign_in_method(at(5.1), false, |_| true), Ok(SignInMethod::Password));
    assert!(machine.next_sign_in_method(at(5.1), false, |method| method == SignInMethod::Refresh).is_err());
    machine.begin_attempt(at(5.1), SignInMethod::Password, false);
    assert!(machine.next_sign_in_method(at(5.2), false, |_| true).is_err(), "five minutes between passwords");
}

#[test]
fn the_daily_budget_outlives_a_restart_and_a_human_has_a_little_more() {
    let mut machine = healthy();
    for n in 0..6 {
        machine.begin_attempt(at(f64::from(n)), SignInMethod::Refresh, false);
        machine.operator_sign_in();
    }
    assert_eq!(machine.sign_ins_left(at(7.0)), 0);
    let text = serde_json::to_string(&machine.saved()).unwrap();
    let mut again =
        SessionMachine::new(SessionLimits::new(false), &serde_json::from_str(&text).unwrap(), at(8.0));
    assert!(again.next_sign_in_method(at(8.0), false, |_| true).is_err());
    assert_eq!(again.next_sign_in_method(at(8.0), true, |_| true), Ok(SignInMethod::Refresh));
    assert_eq!(again.next_sign_in_method(at(8.0 + 86_400.0), false, |_| true), Ok(SignInMethod::Refresh));
}

#[test]
fn a_new_token_that_is_refused_ends_it() {
    let mut machine = healthy();
    machine.check_failed(
        at(5.0),
        Duration::from_secs_f64(5.0),
        &BrokerError::SessionInvalid { generation: 1 },
    );
    machine.begin_attempt(at(5.0), SignInMethod::Refresh, false);
    machine.token_received(2);
    machine.token_unverified(at(5.5), Duration::from_secs(5), &BrokerError::SessionInvalid { generation: 2 });
    assert_eq!(machine.phase, SessionPhase::HaltedCredential);
}

#[test]
fn a_new_token_that_cannot_be_checked_is_degraded_and_checked_again() {
    let mut machine = healthy();
    machine.check_failed(
        at(5.0),
        Duration::from_secs_f64(5.0),
        &BrokerError::SessionInvalid { generation: 1 },
    );
    machine.begin_attempt(at(5.0), SignInMethod::Refresh, false);
    machine.token_received(2);
    machine.token_unverified(at(5.5), Duration::from_secs(5), &unreachable_broker());
    assert_eq!(machine.phase, SessionPhase::Degraded);
    assert_eq!(machine.due_work(at(15.0)), Some(SessionWork::Check(SessionCheckKind::Confirm)));
}

#[test]
fn a_challenge_is_polled_until_its_deadline() {
    let mut machine = healthy();
    machine.check_failed(
        at(5.0),
        Duration::from_secs_f64(5.0),
        &BrokerError::SessionInvalid { generation: 1 },
    );
    machine.begin_attempt(at(5.0), SignInMethod::Password, false);
    machine.challenge_opened(at(5.0), "approve_device", SignInMethod::Password);
    gate(&machine, 5.0, true, false, GateReason::AwaitingHuman);
    assert_eq!(machine.due_work(at(5.0)), Some(SessionWork::Poll));
    machine.challenge_pending(at(5.0), "approve_device", true);
    assert_eq!(machine.due_work(at(20.9)), None, "twice the eight seconds after a complaint");
    assert_eq!(machine.due_work(at(21.0)), Some(SessionWork::Poll));
    machine.challenge_pending(at(21.0), "approve_device", false);
    machine.due_work(at(125.1));
    assert_eq!(machine.phase, SessionPhase::HaltedCredential);
    assert_eq!(machine.reason.as_ref().unwrap().code, "BRK_003");
}

#[test]
fn a_wait_of_the_broker_parks_everything() {
    let mut machine = healthy();
    let wait = Duration::from_secs(3_600);
    machine.check_failed(at(10.0), Duration::from_secs(10), &BrokerError::RateLimited { wait });
    assert_eq!(machine.breaker.failure_count(), 0, "it does not count");
    gate(&machine, 10.0, true, false, GateReason::RateLimited);
    assert_eq!(evaluate_gate(&machine, at(10.0), false, false).retry_after, Some(wait));
    for minute in 1..60 {
        let work = machine.due_work(at(10.0 + f64::from(minute) * 60.0 - 0.1));
        assert!(matches!(work, None | Some(SessionWork::Snapshot)), "{work:?}");
    }
    assert_eq!(machine.due_work(at(3_610.0)), Some(SessionWork::Snapshot));
    assert_eq!(machine.due_work(at(3_610.0)), Some(SessionWork::Check(SessionCheckKind::Confirm)));
}

#[test]
fn a_wait_during_a_sign_in_delays_the_next_one() {
    let mut machine = healthy();
    machine.check_failed(
        at(5.0),
        Duration::from_secs_f64(5.0),
        &BrokerError::SessionInvalid { generation: 1 },
    );
    machine.begin_attempt(at(5.0), SignInMethod::Refresh, false);
    let wait = Duration::from_secs(600);
    assert!(!machine.attempt_failed(at(5.0), &BrokerError::RateLimited { wait }, SignInMethod::Refresh));
    assert_eq!(machine.due_work(at(604.9)), None);
    assert_eq!(machine.due_work(at(605.0)), Some(SessionWork::SignIn));
}

#[test]
fn a_used_up_quota_moves_the_next_periodic_check() {
    let mut machine = healthy();
    let found = ProbeReply { quota_wait: Some(Duration::from_secs(400)), ..found(1) };
    machine.check_passed(at(1.0), Duration::from_secs(1), &found);
    machine.apply_jitter(at(1.0), -0.1);
    assert_eq!(machine.due_work(at(400.0)), None);
    assert_eq!(machine.due_work(at(401.0)), Some(SessionWork::Check(SessionCheckKind::Periodic)));
}

#[test]
fn a_restriction_is_no_failure_of_the_session() {
    let mut machine = healthy();
    machine.check_failed(at(5.0), Duration::from_secs(5), &BrokerError::Forbidden);
    assert_eq!(machine.phase, SessionPhase::Healthy);
    gate(&machine, 5.0, false, false, GateReason::AccountRestricted);
    gate(&machine, 5.0, true, true, GateReason::ReducingAllowed);
    machine.check_passed(at(6.0), Duration::from_secs(6), &found(1));
    gate(&machine, 6.0, false, true, GateReason::Ok);
}

#[test]
fn an_operators_halt_is_lifted_by_an_operator_alone() {
    let mut machine = healthy();
    machine.operator_halt(at(5.0), "maintenance");
    gate(&machine, 5.0, true, false, GateReason::OperatorHalt);
    machine.check_passed(at(400.0), Duration::from_secs(400), &found(1));
    assert_eq!(machine.phase, SessionPhase::HaltedOperator);
    machine.operator_sign_in();
    machine.begin_attempt(at(402.0), SignInMethod::Refresh, true);
    machine.token_received(2);
    machine.token_verified(at(403.0), Duration::from_secs(402), &found(2), true);
    assert_eq!(machine.phase, SessionPhase::HaltedOperator, "a sign-in mends the session, no more");
    assert!(machine.operator_reset(at(404.0)));
    machine.check_passed(at(404.1), Duration::from_secs(404), &found(2));
    assert_eq!(machine.phase, SessionPhase::Healthy);
}

#[test]
fn an_operators_sign_in_closes_what_a_refusal_opened() {
    let mut machine = healthy();
    machine.check_failed(at(5.0), Duration::from_secs(5), &BrokerError::CredentialsRejected { hint: "x" });
    machine.operator_sign_in();
    assert_eq!(machine.next_sign_in_method(at(6.0), true, |_| true), Ok(SignInMethod::Refresh));
    machine.begin_attempt(at(6.0), SignInMethod::Refresh, true);
    machine.token_received(2);
    machine.token_verified(at(6.5), Duration::from_secs(6), &found(2), true);
    assert_eq!(machine.phase, SessionPhase::Healthy);
    assert!(machine.breaker.is_closed());
}

#[test]
fn a_reset_whose_check_fails_stays_halted() {
    let (mut machine, now) = halted_transient();
    assert!(machine.operator_reset(at(now + 1.0)));
    machine.check_failed(at(now + 1.1), Duration::from_secs_f64(now + 1.0), &unreachable_broker());
    machine.reset_failed(at(now + 1.1), "BRK_005");
    assert_eq!(machine.phase, SessionPhase::HaltedTransient);
    assert_eq!(machine.breaker.state(), botops_contract::BreakerState::Open);
}

#[test]
fn every_halt_outlives_a_restart() {
    let mut credential = healthy();
    credential.check_failed(at(5.0), Duration::from_secs(5), &BrokerError::LoginLocked);
    let mut operator = healthy();
    operator.operator_halt(at(5.0), "maintenance");
    for machine in [credential, operator, halted_transient().0] {
        let text = serde_json::to_string(&machine.saved()).unwrap();
        let again =
            SessionMachine::new(SessionLimits::new(false), &serde_json::from_str(&text).unwrap(), at(9.0));
        assert_eq!((again.phase, &again.reason), (machine.phase, &machine.reason));
        assert!(!again.breaker.is_closed());
        assert!(!evaluate_gate(&again, at(9.0), true, false).allowed);
    }
}

#[test]
fn a_suspend_makes_the_evidence_worthless() {
    let mut machine = healthy();
    let slept = Now { mono: at(2.0).mono, wall: at(3_600.0).wall };
    assert_eq!(
        evaluate_gate(&machine, slept, false, false).reason,
        GateReason::EvidenceStale,
        "even before the tick"
    );
    assert!(machine.detect_clock_jump(slept).unwrap() > TimeDelta::seconds(3_000));
    assert_eq!(
        machine.due_work(slept),
        Some(SessionWork::Check(SessionCheckKind::Periodic)),
        "and it is checked at once"
    );
    assert_eq!(machine.detect_clock_jump(slept), None);
}

#[test]
fn a_stuck_keeper_is_noticed() {
    let mut machine = healthy();
    machine.check_passed(at(0.1), Duration::ZERO, &found(1));
    assert!(!machine.is_unattended(at(620.0)));
    assert!(machine.is_unattended(at(620.2)));
    assert_eq!(evaluate_gate(&machine, at(621.0), false, false).reason, GateReason::MonitorStale);
}

#[test]
fn evidence_is_kept_warm_while_orders_are_decided() {
    let mut machine = healthy();
    machine.record_gate_question(at(5.0), false);
    assert_eq!(machine.due_work(at(7.5)), None);
    assert_eq!(machine.due_work(at(7.6)), Some(SessionWork::Check(SessionCheckKind::Warm)));
    let mut checks = 0;
    let mut now = 7.6;
    while now < 130.0 {
        if machine.due_work(at(now)) == Some(SessionWork::Check(SessionCheckKind::Warm)) {
            checks += 1;
            machine.check_passed(at(now + 0.05), Duration::from_secs_f64(now), &found(1));
        }
        now += 0.05;
    }
    assert!((7..=8).contains(&checks), "a minute of questions costs {checks} checks");
}

#[test]
fn a_token_is_renewed_before_its_end() {
    let mut machine = healthy();
    let issued_at = at(0.0).wall;
    let lifetime = TokenLifetime { issued_at, expires_at: issued_at + TimeDelta::seconds(100) };
    machine.set_token_lifetime(at(0.0), Some(lifetime));
    assert_eq!(machine.due_work(at(79.9)), None);
    assert_eq!(machine.due_work(at(80.0)), Some(SessionWork::Renew));
    machine.renew_failed(at(80.0), &unreachable_broker());
    gate(&machine, 5.0, false, true, GateReason::Ok);
    assert_eq!(machine.due_work(at(109.9)), None);
    assert_eq!(machine.due_work(at(110.0)), Some(SessionWork::Renew), "again after a while");
    machine.renew_failed(at(110.0), &BrokerError::RefreshSpent);
    assert_ne!(machine.due_work(at(1_000.0)), Some(SessionWork::Renew), "a refusal is not repeated");
    assert!(
        machine.next_sign_in_method(at(1_000.0), false, |method| method == SignInMethod::Refresh).is_err()
    );
    let month = TokenLifetime { issued_at, expires_at: issued_at + TimeDelta::days(30) };
    machine.set_token_lifetime(at(0.0), Some(month));
    assert_eq!(machine.renewal.due_at, Some(Duration::from_secs(29 * 86_400)), "a day at most");
}

#[derive(Debug, Clone)]
enum Move {
    Advance(u16),
    Pass,
    Fail(u8),
    Halt,
    Reset,
    Reauth(u8, bool),
    Restart,
    Suspend,
}

fn error(n: u8) -> BrokerError {
    let challenge = SignInChallenge { kind: ChallengeKind::Device, workflow: None, inquiry: None, id: None };
    match n % 12 {
        0..=3 => unreachable_broker(),
        4 => BrokerError::RateLimited { wait: Duration::from_secs(u64::from(n)) },
        5 => BrokerError::SessionInvalid { generation: 1 },
        6 => BrokerError::SessionInvalid { generation: 1_000 },
        7 => BrokerError::Forbidden,
        8 => BrokerError::Protocol { what: "x" },
        9 => BrokerError::CredentialsRejected { hint: "x" },
        10 => BrokerError::RefreshSpent,
        _ => BrokerError::ChallengeRequired(challenge),
    }
}

fn steps() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        6 => (0_u16..3_000).prop_map(Move::Advance),
        6 => Just(Move::Pass),
        5 => any::<u8>().prop_map(Move::Fail),
        1 => Just(Move::Halt),
        1 => Just(Move::Reset),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(n, operator)| Move::Reauth(n, operator)),
        1 => Just(Move::Restart),
        1 => Just(Move::Suspend),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn whatever_happens_the_promises_hold(steps in steps(), live: bool) {
        let limits = SessionLimits::new(live);
        let mut machine = SessionMachine::new(limits.clone(), &SavedSession::default(), at(0.0));
        machine.token_received(1);
        let (mut mono, mut slept) = (0.0_f64, 0.0_f64);
        let mut automatic: Vec<f64> = Vec::new();
        let mut last_success: Option<f64> = None;
        for step in steps {
            let now = Now { mono: at(mono).mono, wall: at(mono + slept).wall };
            let phase_before = machine.phase;
            let generation = machine.generation;
            let mut operator_acted = false;
            match step {
                Move::Advance(tenths) => mono += f64::from(tenths) / 10.0,
                Move::Suspend => { slept += 500.0; }
                Move::Pass => {
                    if let Some(SessionWork::Check(_)) = machine.due_work(now) {
                        machine.check_passed(now, now.mono, &found(generation));
                        last_success = Some(mono + slept);
                    }
                }
                Move::Fail(n) => {
                    if let Some(SessionWork::Check(_)) = machine.due_work(now) {
                        machine.check_failed(now, now.mono, &error(n));
                        if matches!(error(n), BrokerError::Forbidden) { last_success = Some(mono + slept); }
                    }
                }
                Move::Halt => { machine.operator_halt(now, "test"); operator_acted = true; }
                Move::Reset => {
                    operator_acted = true;
                    if machine.phase != SessionPhase::Reauthenticating && machine.operator_reset(now) {
                        machine.check_passed(now, now.mono, &found(generation));
                        last_success = Some(mono + slept);
                    }
                }
                Move::Reauth(n, operator) => {
                    let is_due = machine.due_work(now) == Some(SessionWork::SignIn);
                    if operator { machine.operator_sign_in(); operator_acted = true; }
                    {
                        let allowed = (is_due || operator) && machine.parked_for(now).is_none();
                        let method = allowed.then(|| machine.next_sign_in_method(now, operator, |_| true).ok()).flatten();
                        if let Some(method) = method {
                            if !operator { automatic.push(mono + slept); }
                            machine.begin_attempt(now, method, operator);
                            match n % 4 {
                                0 => { machine.attempt_failed(now, &error(n / 4), method); }
                                1 => { machine.challenge_opened(now, "approve_device", method); }
                                2 => {
                                    machine.token_received(generation + 1);
                                    machine.token_unverified(now, now.mono, &error(n / 4));
                                    if matches!(error(n / 4), BrokerError::Forbidden) {
                                        last_success = Some(mono + slept);
                                    }
                                }
                                _ => {
                                    machine.token_received(generation + 1);
                                    machine.token_verified(now, now.mono, &found(generation + 1), operator);
                                    last_success = Some(mono + slept);
                                }
                            }
                        }
                    }
                }
                Move::Restart => {
                    let saved = machine.saved();
                    machine = SessionMachine::new(limits.clone(), &saved, now);
                    machine.token_received(generation);
                    last_success = None;
                }
            }
            let now = Now { mono: at(mono).mono, wall: at(mono + slept).wall };
            let verdict = evaluate_gate(&machine, now, false, false);
            if verdict.allowed {
                prop_assert_eq!(machine.phase, SessionPhase::Healthy);
                prop_assert!(machine.breaker.is_closed());
                prop_assert!(machine.parked_for(now).is_none() && machine.restricted.is_none());
                let age = last_success.map(|at| mono + slept - at);
                prop_assert!(age.is_some_and(|age| age <= 12.001), "allowed with evidence {age:?} s old");
            }
            let outlook = session_outlook(&machine, now);
            let breaker = breaker_view(&machine, now);
            prop_assert!(breaker.resumes_at.is_none() || breaker.needs_human.is_none(), "{breaker:?}");
            prop_assert_eq!(breaker.retry_at, breaker.resumes_at);
            if machine.breaker.is_closed() {
                prop_assert!(breaker.resumes_at.is_none() && breaker.needs_human.is_none(), "{breaker:?}");
            } else if breaker.source.as_deref() == Some("session") {
                let of_session = SessionOutlook::members(outlook.clone());
                prop_assert_eq!((breaker.resumes_at, breaker.needs_human), of_session, "one verdict");
            }
            if let Some(SessionOutlook::ResumesAt(at)) = outlook {
                let asleep = TimeDelta::from_std(Duration::from_secs_f64(slept)).unwrap();
                prop_assert!(at + asleep > now.wall - TimeDelta::milliseconds(1), "{at} lies in the past");
                // A sign-in may come before the breaker lets a probe through; a check does not.
                let signs_in = machine.phase == SessionPhase::Reauthenticating;
                prop_assert!(signs_in || next_check_at(&machine).is_none_or(|next| next >= at), "a check before {at}");
                if let Some(parked) = machine.parked_until_wall(now) {
                    prop_assert!(at >= parked, "{at} is before the end of the wait, {parked}");
                    let agrees = machine.phase != SessionPhase::Degraded || next_check_at(&machine) == Some(at);
                    prop_assert!(agrees, "the next check is not at {at}");
                }
                prop_assert!(!verdict.allowed, "an order passes and waits");
            }
            if matches!(machine.phase, SessionPhase::HaltedCredential) {
                prop_assert!(matches!(outlook, Some(SessionOutlook::NeedsHuman(_))), "{outlook:?}");
            }
            let halted = machine.is_halted();
            prop_assert!(!(halted && verdict.allowed));
            prop_assert!(!(halted && machine.breaker.is_closed()), "a halt has an open breaker");
            if machine.phase == SessionPhase::Healthy { prop_assert!(machine.breaker.is_closed()); }
            let was_final = matches!(phase_before, SessionPhase::HaltedCredential | SessionPhase::HaltedOperator);
            if was_final && machine.phase != phase_before && !operator_acted {
                // Without an operator a halted session may only change to another halt.
                prop_assert!(machine.is_halted(), "left {phase_before:?} for {:?} by itself", machine.phase);
            }
            if machine.phase == SessionPhase::HaltedCredential {
                let work = machine.clone().due_work(now);
                prop_assert!(matches!(work, None | Some(SessionWork::Snapshot)), "{work:?} while refused");
            }
            let day = automatic.iter().filter(|at| **at > mono + slept - 86_400.0).count();
            prop_assert!(day <= 6, "{day} automatic sign-ins in a day");
        }
    }
}
