//! Edge cases of the session's state machine: exact times, counts and exceptions of its rules.

use super::*;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn invalid(generation: u64) -> BrokerError {
    BrokerError::SessionInvalid { generation }
}

fn wait(seconds: u64) -> BrokerError {
    BrokerError::RateLimited { wait: Duration::from_secs(seconds) }
}

/// A session whose token was refused, in its first attempt to get another one.
fn signing_in() -> SessionMachine {
    let mut machine = healthy();
    machine.check_failed(at(5.0), seconds(5.0), &invalid(1));
    assert_eq!(machine.begin_attempt(at(5.0), SignInMethod::Refresh, false), 1);
    machine
}

fn restarted(machine: &SessionMachine, now: f64) -> SessionMachine {
    SessionMachine::new(SessionLimits::new(false), &machine.saved(), at(now))
}

// The gate.

#[test]
fn the_gate_opens_at_the_very_moment_a_wait_ends() {
    let mut machine = healthy();
    machine.check_failed(at(10.0), seconds(10.0), &wait(100));
    machine.check_failed(at(11.0), seconds(11.0), &wait(1));
    assert_eq!(machine.parked_for(at(109.0)), Some(seconds(1.0)), "a shorter wait shortens nothing");
    gate(&machine, 109.9, false, false, GateReason::RateLimited);
    assert_eq!(machine.parked_for(at(110.0)), None);
    gate(&machine, 110.0, false, false, GateReason::SessionDegraded);
    gate(&machine, 110.0, true, true, GateReason::ReducingAllowed);
}

#[test]
fn every_refusal_of_the_gate_says_how_long() {
    let retry =
        |machine: &SessionMachine, now: f64| evaluate_gate(machine, at(now), false, false).retry_after;
    let (machine, now) = halted_transient();
    assert_eq!(retry(&machine, now + 15.0), Some(seconds(45.0)), "until the breaker lets a check through");
    assert_eq!(retry(&signing_in(), 20.0), Some(seconds(15.0)), "until the next attempt");
    assert_eq!(retry(&signing_in(), 34.9), Some(seconds(1.0)), "a second at least");
    let mut degraded = healthy();
    degraded.check_failed(at(17.0), seconds(10.0), &unreachable_broker());
    assert_eq!(retry(&degraded, 18.0), Some(seconds(2.0)), "until the next check");
    let mut refused = healthy();
    refused.check_failed(at(5.0), seconds(5.0), &BrokerError::LoginLocked);
    assert_eq!(retry(&refused, 6.0), None, "no time heals it");
}

#[test]
fn evidence_has_the_monotonic_age_unless_the_wall_says_clearly_more() {
    assert_eq!(machine().evidence_age(at(1.0)), None);
    let machine = healthy();
    let mut now = at(5.1);
    now.wall += TimeDelta::seconds(2);
    assert_eq!(machine.evidence_age(now), Some(seconds(5.0)));
    now.wall += TimeDelta::milliseconds(1);
    assert_eq!(machine.evidence_age(now), Some(seconds(7.001)));
    now.wall -= TimeDelta::hours(5);
    assert_eq!(machine.evidence_age(now), Some(seconds(5.0)), "a wall set back makes nothing younger");
}

#[test]
fn a_keeper_without_work_is_not_a_stuck_one() {
    assert!(!healthy().is_unattended(at(620.1)), "the last moment in time");
    let mut refused = healthy();
    refused.check_failed(at(5.0), seconds(5.0), &BrokerError::LoginLocked);
    assert!(!refused.is_unattended(at(100_000.0)), "nothing is to be done until somebody acts");
    let mut parked = healthy();
    parked.check_failed(at(5.0), seconds(5.0), &wait(3_600));
    assert!(!parked.is_unattended(at(3_000.0)), "it waits because it was asked to");
    parked.due_work(at(6.0));
    gate(&parked, 7.0, false, false, GateReason::RateLimited);
    parked.due_work(at(3_605.0));
    assert!(!parked.is_unattended(at(3_606.0)), "its time begins when the wait is over");
}

#[test]
fn orders_that_ask_in_one_moment_want_one_check() {
    let mut machine = healthy();
    machine.record_gate_question(at(10.2), true);
    machine.record_gate_question(at(10.2), true);
    machine.record_gate_question(at(10.2), false);
    assert_eq!(machine.due_work(at(10.2)), Some(SessionWork::Check(SessionCheckKind::PreTrade)));
    assert_ne!(
        machine.due_work(at(10.2)),
        Some(SessionWork::Check(SessionCheckKind::PreTrade)),
        "asked for once"
    );
    let mut fresh = healthy();
    fresh.record_gate_question(at(10.1), true);
    assert_eq!(
        fresh.due_work(at(10.1)),
        Some(SessionWork::Check(SessionCheckKind::Warm)),
        "fresh to the last moment"
    );
}

// Which work is due when.

#[test]
fn a_check_is_retried_where_nobody_waits_for_it_and_named_as_the_log_queries_expect() {
    let contexts = [
        (SessionCheckKind::Startup, true, "startup"),
        (SessionCheckKind::Periodic, true, "periodic"),
        (SessionCheckKind::Verify, true, "verify"),
        (SessionCheckKind::Confirm, false, "confirm"),
        (SessionCheckKind::HalfOpen, false, "half_open"),
        (SessionCheckKind::PreTrade, false, "pre_trade"),
        (SessionCheckKind::Warm, false, "pre_trade"),
        (SessionCheckKind::Manual, false, "manual"),
    ];
    for (context, is_retried, name) in contexts {
        assert_eq!((context.is_retried(), context.as_str()), (is_retried, name));
    }
}

#[test]
fn the_keeper_sleeps_until_the_next_thing_and_no_longer() {
    let mut machine = healthy();
    assert_eq!(machine.next_wakeup(at(1.0)), seconds(300.1), "the periodic check");
    assert_eq!(next_check_at(&machine), Some(at(300.1).wall));
    let issued_at = at(0.0).wall;
    let expires_at = issued_at + TimeDelta::seconds(100);
    machine.set_token_lifetime(at(0.0), Some(TokenLifetime { issued_at, expires_at }));
    assert_eq!(machine.next_wakeup(at(1.0)), seconds(80.0), "the renewal");
    machine.record_gate_question(at(5.0), false);
    assert_eq!(machine.next_wakeup(at(5.0)), seconds(7.6), "the check that keeps the evidence warm");
    machine.check_failed(at(6.0), seconds(6.0), &unreachable_broker());
    assert_eq!(
        machine.next_wakeup(at(6.0)),
        seconds(16.0),
        "the confirming check, and nothing of a healthy session"
    );
    machine.check_failed(at(7.0), seconds(7.0), &wait(50));
    assert_eq!(machine.next_wakeup(at(7.0)), seconds(57.0), "the end of the wait");
    assert_eq!(next_check_at(&machine), Some(at(57.0).wall));

    let mut machine = signing_in();
    assert_eq!(machine.next_wakeup(at(5.0)), seconds(35.0), "the next attempt, should this one never end");
    assert_eq!(machine.due_work(at(35.0)), Some(SessionWork::SignIn));
    machine.challenge_opened(at(40.0), "approve_device", SignInMethod::Refresh);
    machine.challenge_pending(at(40.0), "approve_device", false);
    assert_eq!(machine.next_wakeup(at(40.0)), seconds(48.0), "the next look");
    machine.challenge_pending(at(155.0), "enter_code", false);
    assert_eq!(machine.awaiting.unwrap().needs, "enter_code");
    assert_eq!(machine.next_wakeup(at(155.0)), seconds(160.0), "the deadline");

    let mut machine = healthy();
    machine.check_failed(at(5.0), seconds(5.0), &BrokerError::LoginLocked);
    assert_eq!(machine.next_wakeup(at(6.0)), seconds(900.0), "the snapshot alone");
    assert_eq!(next_check_at(&machine), None);
}

#[test]
fn evidence_is_kept_warm_for_a_minute_and_never_against_the_quota() {
    let mut machine = healthy();
    machine.record_gate_question(at(5.0), false);
    assert_eq!(machine.clone().due_work(at(64.999)), Some(SessionWork::Check(SessionCheckKind::Warm)));
    assert_eq!(machine.due_work(at(65.0)), None, "nobody has asked for a minute");
    let mut machine = healthy();
    let used_up = ProbeReply { quota_wait: Some(seconds(15.0)), ..found(1) };
    machine.check_passed(at(1.0), seconds(1.0), &used_up);
    machine.record_gate_question(at(5.0), false);
    assert_eq!(machine.due_work(at(15.9)), None, "the quota is used up");
    assert_eq!(machine.due_work(at(16.0)), Some(SessionWork::Check(SessionCheckKind::Warm)));
}

#[test]
fn a_permit_that_nobody_used_ends_and_leaves_an_operators_halt_its_rhythm() {
    let (mut machine, now) = halted_transient();
    assert_eq!(machine.due_work(at(now + 60.0)), Some(SessionWork::Check(SessionCheckKind::HalfOpen)));
    assert_eq!(machine.due_work(at(now + 90.0)), None, "taken back");
    assert_eq!(machine.next_wakeup(at(now + 90.0)), seconds(now + 210.0), "and the wait has doubled");

    let mut machine = healthy();
    machine.operator_halt(at(5.0), "maintenance");
    assert!(machine.operator_reset(at(6.0)));
    assert_eq!(machine.due_work(at(36.0)), None);
    assert!(!machine.breaker.is_half_open());
    assert_eq!(machine.next_wakeup(at(36.0)), seconds(305.0));
    assert_eq!(machine.due_work(at(305.0)), Some(SessionWork::Check(SessionCheckKind::Confirm)));
}

#[test]
fn only_a_wall_that_moves_by_more_than_a_minute_is_a_jump() {
    let mut machine = healthy();
    let moved = |mono: f64, wall: f64| Now { mono: at(mono).mono, wall: at(wall).wall };
    assert_eq!(machine.detect_clock_jump(at(3_600.0)), None, "an hour is an hour");
    assert_eq!(machine.detect_clock_jump(moved(3_700.0, 3_760.0)), None, "sixty seconds");
    assert_eq!(machine.detect_clock_jump(moved(3_700.0, 3_821.0)), Some(TimeDelta::seconds(61)));
    assert_eq!(machine.detect_clock_jump(moved(3_700.0, 3_760.0)), Some(TimeDelta::seconds(-61)), "and back");
    let mut refused = healthy();
    refused.check_failed(at(5.0), seconds(5.0), &BrokerError::LoginLocked);
    assert!(refused.detect_clock_jump(moved(10.0, 3_600.0)).is_some());
    assert_eq!(refused.due_work(at(10.0)), None, "a jump wakes no session that must rest");
}

#[test]
fn the_periodic_check_moves_by_a_tenth_at_most_and_a_confirming_one_not_at_all() {
    for (part, expected) in [(0.1, 330.1), (0.05, 315.1), (-0.1, 270.1), (0.9, 330.1), (-0.9, 270.1)] {
        let mut machine = healthy();
        machine.apply_jitter(at(0.1), part);
        let next = machine.next_wakeup(at(0.1)).as_secs_f64();
        assert!((next - expected).abs() < 1e-6, "{part}: {next}");
    }
    let mut machine = healthy();
    machine.check_failed(at(17.0), seconds(10.0), &unreachable_broker());
    machine.apply_jitter(at(17.0), 0.1);
    assert_eq!(machine.next_wakeup(at(17.0)), seconds(20.0));
}

#[test]
fn a_live_halt_is_checked_ever_more_seldom_until_a_check_passes() {
    let mut machine = SessionMachine::new(SessionLimits::new(true), &SavedSession::default(), at(0.0));
    machine.token_received(1);
    let mut now = run_failing(&mut machine, 0.0, SessionMachine::is_halted);
    for wait in [60.0, 120.0, 240.0, 480.0, 600.0, 600.0] {
        let next = next_check_at(&machine).unwrap();
        assert_eq!(next, at(now + wait).wall);
        now += wait;
        while machine.due_work(at(now)) == Some(SessionWork::Snapshot) {}
        machine.check_failed(at(now), seconds(now), &unreachable_broker());
    }
    machine.check_passed(at(now), seconds(now), &found(1));
    assert_eq!(next_check_at(&machine), Some(at(now + 60.0).wall));
}

// What the outcomes of checks lead to.

#[test]
fn a_check_counts_once_whatever_comes_of_it() {
    let failures = [unreachable_broker(), invalid(1), BrokerError::RefreshSpent];
    for error in failures {
        let mut machine = healthy();
        machine.check_failed(at(5.25), seconds(5.0), &error);
        assert_eq!((machine.checks, machine.failures), (2, 1), "{error:?}");
        assert_eq!(machine.last_latency, Some(seconds(0.25)));
    }
    for error in [BrokerError::Forbidden, wait(5)] {
        let mut machine = healthy();
        machine.check_failed(at(5.25), seconds(5.0), &error);
        assert_eq!((machine.checks, machine.failures), (2, 0), "{error:?}");
    }
}

#[test]
fn since_is_when_the_state_began_not_when_it_was_last_seen() {
    let mut machine = healthy();
    machine.check_failed(at(17.0), seconds(10.0), &unreachable_broker());
    machine.check_failed(at(30.0), seconds(20.0), &unreachable_broker());
    assert_eq!(machine.since, at(17.0).wall);
}

#[test]
fn a_check_with_the_old_token_ends_no_sign_in() {
    let mut machine = signing_in();
    machine.token_received(2);
    machine.check_passed(at(5.2), seconds(5.0), &found(1));
    assert_eq!((machine.phase, machine.generation), (SessionPhase::Reauthenticating, 2));
    machine.check_passed(at(5.3), seconds(5.2), &found(2));
    assert_eq!(machine.phase, SessionPhase::Healthy);
}

#[test]
fn a_token_refused_before_the_first_success_is_renewed_and_one_refused_in_a_firm_halt_is_not() {
    let mut starting = super::machine();
    starting.check_failed(at(0.1), seconds(0.0), &invalid(1));
    assert_eq!(starting.phase, SessionPhase::Reauthenticating);
    let mut halted = healthy();
    halted.check_failed(at(18.0), seconds(18.0), &BrokerError::CredentialsRejected { hint: "x" });
    halted.check_failed(at(19.0), seconds(19.0), &invalid(1));
    assert_eq!(halted.phase, SessionPhase::HaltedCredential);
}

#[test]
fn a_token_refused_in_a_halt_is_renewed_where_a_check_may_end_the_halt() {
    let (mut machine, now) = halted_transient();
    machine.check_failed(at(now + 60.0), seconds(now + 60.0), &invalid(1));
    assert_eq!(machine.phase, SessionPhase::Reauthenticating);
    machine.begin_attempt(at(now + 60.0), SignInMethod::Refresh, false);
    machine.token_received(2);
    machine.token_verified(at(now + 61.0), seconds(now + 60.5), &found(2), false);
    assert_eq!(machine.phase, SessionPhase::HaltedTransient, "a new token closes no breaker");
    assert!(next_check_at(&machine).is_some(), "and the checks go on");

    let mut machine = healthy();
    machine.operator_halt(at(5.0), "maintenance");
    assert!(machine.operator_reset(at(6.0)));
    machine.check_failed(at(7.0), seconds(6.0), &invalid(1));
    assert_eq!(machine.phase, SessionPhase::HaltedOperator);
    assert!(!machine.breaker.is_half_open(), "the check of the reset has decided");
}

#[test]
fn a_reset_of_a_closed_breaker_is_refused_and_one_that_never_came_counts_nothing() {
    let mut machine = healthy();
    assert!(!machine.operator_reset(at(1.0)));
    machine.reset_failed(at(1.0), "BRK_008");
    assert_eq!(machine.breaker.failure_count(), 0);
    machine.operator_halt(at(5.0), "maintenance");
    assert!(machine.operator_reset(at(6.0)));
    machine.check_failed(at(7.0), seconds(6.0), &wait(30));
    assert!(machine.breaker.is_half_open(), "a broker that asks for patience decides nothing");
    machine.reset_failed(at(7.0), "BRK_008");
    assert!(!machine.breaker.is_half_open(), "so the reset does, and takes its permit back");
}

#[test]
fn a_halt_goes_on_with_its_checks_after_a_restart() {
    let mut transient = restarted(&halted_transient().0, 1_000.0);
    assert_eq!(transient.next_wakeup(at(1_000.0)), seconds(1_060.0));
    assert_eq!(transient.due_work(at(1_060.0)), Some(SessionWork::Check(SessionCheckKind::HalfOpen)));
    let mut operator = healthy();
    operator.operator_halt(at(5.0), "maintenance");
    assert_eq!(restarted(&operator, 1_000.0).next_wakeup(at(1_000.0)), seconds(1_300.0));
    let mut refused = healthy();
    refused.check_failed(at(5.0), seconds(5.0), &BrokerError::LoginLocked);
    assert_eq!(next_check_at(&restarted(&refused, 1_000.0)), None);
}

#[test]
fn a_failed_look_at_refused_credentials_stays_about_the_credentials() {
    let used_up = SavedBreaker { resumes: vec![at(0.0).wall; 3], ..SavedBreaker::default() };
    let saved = SavedSession { breaker: used_up, ..SavedSession::default() };
    let mut machine = SessionMachine::new(SessionLimits::new(false), &saved, at(0.0));
    machine.check_failed(at(1.0), seconds(1.0), &BrokerError::LoginLocked);
    machine.check_failed(at(2.0), seconds(2.0), &unreachable_broker());
    assert_eq!(machine.phase, SessionPhase::HaltedCredential);
}

// Signing in.

#[test]
fn a_human_gets_twelve_attempts_a_day_and_the_bot_six() {
    let mut machine = healthy();
    for n in 0..12 {
        assert_eq!(
            machine.next_sign_in_method(at(f64::from(n)), true, |_| true),
            Ok(SignInMethod::Refresh),
            "attempt {n}"
        );
        machine.begin_attempt(at(f64::from(n)), SignInMethod::Refresh, true);
    }
    let refusal = machine.next_sign_in_method(at(12.0), true, |_| true).unwrap_err();
    assert_eq!(refusal.code, "BRK_002");
    assert!(refusal.text.contains("12 sign-in attempts"), "{}", refusal.text);
    assert_eq!(machine.sign_ins_left(at(12.0)), 0);
}

#[test]
fn an_attempt_of_exactly_a_day_ago_is_forgotten() {
    let mut machine = healthy();
    for _ in 0..6 {
        machine.begin_attempt(at(0.0), SignInMethod::Refresh, false);
    }
    machine.operator_sign_in();
    assert_eq!((machine.sign_ins_left(at(86_399.9)), machine.sign_ins_left(at(86_400.0))), (0, 6));
    assert!(machine.clone().next_sign_in_method(at(86_399.9), false, |_| true).is_err());
    assert_eq!(machine.next_sign_in_method(at(86_400.0), false, |_| true), Ok(SignInMethod::Refresh));
}

#[test]
fn three_attempts_in_a_row_are_enough_for_the_bot_and_not_for_a_human() {
    let mut machine = signing_in();
    for _ in 0..2 {
        assert!(machine.next_sign_in_method(at(6.0), false, |_| true).is_ok());
        machine.begin_attempt(at(6.0), SignInMethod::Refresh, false);
    }
    assert_eq!(machine.next_sign_in_method(at(7.0), false, |_| true).unwrap_err().code, "BRK_001");
    assert!(machine.next_sign_in_method(at(7.0), true, |_| true).is_ok());
    machine.halt_credential(at(7.0), SessionReason::new(Code::BrokerSessionInvalid, "three failed"));
    assert_eq!(machine.phase, SessionPhase::HaltedCredential);
}

#[test]
fn passwords_keep_five_minutes_between_them_and_three_a_day() {
    let by_password = |method| method == SignInMethod::Password;
    let mut machine = healthy();
    for n in 0..3 {
        let now = f64::from(n) * 300.0;
        assert_eq!(machine.next_sign_in_method(at(now), true, by_password), Ok(SignInMethod::Password));
        machine.begin_attempt(at(now), SignInMethod::Password, true);
        assert!(machine.next_sign_in_method(at(now + 299.9), true, by_password).is_err());
    }
    assert!(machine.next_sign_in_method(at(900.0), true, by_password).is_err(), "a fourth one");
    assert!(machine.clone().next_sign_in_method(at(86_399.9), true, by_password).is_err());
    assert_eq!(machine.next_sign_in_method(at(86_400.0), true, by_password), Ok(SignInMethod::Password));
    assert!(machine.next_sign_in_method(at(86_400.0), true, |_| false).is_err(), "no way in");
}

#[test]
fn only_an_operators_attempt_leaves_a_halt() {
    let (mut machine, now) = halted_transient();
    machine.begin_attempt(at(now), SignInMethod::Refresh, false);
    assert_eq!(machine.phase, SessionPhase::HaltedTransient);
    machine.begin_attempt(at(now), SignInMethod::Refresh, true);
    assert_eq!(machine.phase, SessionPhase::Reauthenticating);
    let mut machine = healthy();
    machine.begin_attempt(at(1.0), SignInMethod::Refresh, false);
    assert_eq!(machine.phase, SessionPhase::Reauthenticating);
}

#[test]
fn a_spent_refresh_goes_on_at_once_and_a_refused_password_ends_it() {
    let mut machine = signing_in();
    assert!(machine.attempt_failed(at(5.5), &BrokerError::RefreshSpent, SignInMethod::Refresh));
    assert_eq!(machine.phase, SessionPhase::Reauthenticating);
    assert_eq!(machine.due_work(at(5.5)), Some(SessionWork::SignIn));
    assert!(!machine.attempt_failed(at(6.0), &BrokerError::RefreshSpent, SignInMethod::Password));
    assert_eq!(machine.phase, SessionPhase::HaltedCredential);
    let mut machine = signing_in();
    machine.attempt_failed(at(6.0), &unreachable_broker(), SignInMethod::Refresh);
    assert_eq!(machine.next_wakeup(at(6.0)), seconds(36.0), "half a minute after the failure");
}

#[test]
fn an_approval_is_followed_by_one_request_and_the_next_keeps_its_distance() {
    let mut machine = signing_in();
    machine.challenge_opened(at(5.0), "approve_device", SignInMethod::Password);
    assert_eq!(machine.awaiting.map(|awaiting| awaiting.deadline), Some(seconds(125.0)));
    machine.challenge_approved(at(20.0));
    assert_eq!(machine.awaiting, None);
    assert_eq!(machine.due_work(at(29.9)), None);
    assert_eq!(machine.due_work(at(30.0)), Some(SessionWork::SignIn));
}

#[test]
fn an_operators_sign_in_ends_a_transient_halt_as_well() {
    let (mut machine, now) = halted_transient();
    machine.operator_sign_in();
    machine.begin_attempt(at(now + 1.0), SignInMethod::Refresh, true);
    machine.token_received(2);
    machine.token_verified(at(now + 2.0), seconds(now + 1.0), &found(2), true);
    assert_eq!((machine.phase, machine.sign_ins), (SessionPhase::Healthy, 1));
    let mut machine = healthy();
    machine.begin_attempt(at(1.0), SignInMethod::Refresh, true);
    machine.token_received(2);
    machine.token_verified(at(2.0), seconds(1.0), &found(2), true);
    assert_eq!(machine.phase, SessionPhase::Healthy, "with nothing to close");
}

#[test]
fn a_new_token_that_cannot_be_checked_closes_no_breaker() {
    for error in [wait(30), BrokerError::Forbidden, unreachable_broker()] {
        let (mut machine, now) = halted_transient();
        machine.check_failed(at(now + 60.0), seconds(now + 60.0), &invalid(1));
        machine.begin_attempt(at(now + 60.0), SignInMethod::Refresh, false);
        machine.token_received(2);
        machine.token_unverified(at(now + 61.0), seconds(now + 60.5), &error);
        assert_eq!(machine.phase, SessionPhase::HaltedTransient, "{error:?}");
    }
    let mut machine = signing_in();
    machine.token_received(2);
    machine.token_unverified(at(5.5), seconds(5.2), &BrokerError::Forbidden);
    assert_eq!(machine.phase, SessionPhase::Healthy, "a restricted account is a session all the same");
    let mut machine = signing_in();
    machine.token_received(2);
    machine.token_unverified(at(5.5), seconds(5.2), &invalid(2));
    assert_eq!((machine.checks, machine.failures), (3, 2));
}

#[test]
fn a_renewal_is_tried_three_times_and_a_store_that_fails_halts() {
    let renewing = || {
        let mut machine = healthy();
        let issued_at = at(0.0).wall;
        let expires_at = issued_at + TimeDelta::seconds(1_000);
        machine.set_token_lifetime(at(0.0), Some(TokenLifetime { issued_at, expires_at }));
        machine.check_passed(at(799.0), seconds(799.0), &found(1));
        assert_eq!(machine.due_work(at(800.0)), Some(SessionWork::Renew));
        machine
    };
    let mut machine = renewing();
    machine.renew_failed(at(800.0), &unreachable_broker());
    assert_eq!(machine.next_wakeup(at(800.0)), seconds(830.0));
    machine.renew_failed(at(830.0), &unreachable_broker());
    assert_eq!(machine.renewal.due_at, Some(seconds(950.0)));
    machine.renew_failed(at(950.0), &unreachable_broker());
    assert_eq!(machine.renewal.due_at, None);
    machine.set_token_lifetime(at(960.0), None);
    assert_eq!((machine.renewal.due_at, machine.renewal.token_end), (None, None));

    let mut machine = renewing();
    machine.renew_failed(at(800.0), &BrokerError::TokenStore);
    assert_eq!(machine.phase, SessionPhase::HaltedCredential);
    let mut machine = renewing();
    machine.renew_failed(at(800.0), &wait(40));
    assert_eq!(machine.parked_for(at(800.0)), Some(seconds(40.0)));
    let mut machine = renewing();
    machine.renew_failed(at(800.0), &BrokerError::Protocol { what: "x" });
    assert_eq!((machine.renewal.due_at, machine.phase), (None, SessionPhase::Healthy), "it still holds");
    assert!(machine.next_sign_in_method(at(801.0), false, |method| method == SignInMethod::Refresh).is_ok());
}

// What is told of the end.

#[test]
fn the_last_success_stays_told_whatever_comes_after_it() {
    let mut machine = healthy();
    let success = machine.last_ok;
    assert_eq!(success, Some(at(0.1).wall));
    machine.check_failed(at(5.0), seconds(5.0), &invalid(1));
    machine.begin_attempt(at(5.0), SignInMethod::Refresh, false);
    assert_eq!(machine.last_ok, success, "while it signs in");
    machine.attempt_failed(at(6.0), &BrokerError::LoginLocked, SignInMethod::Refresh);
    assert_eq!((machine.phase, machine.last_ok), (SessionPhase::HaltedCredential, success));
    assert_eq!(machine.evidence_age(at(7.0)), None, "it proves nothing any more");
    let mut again = restarted(&machine, 100.0);
    assert_eq!(again.last_ok, success, "after a restart");
    again.operator_sign_in();
    again.begin_attempt(at(110.0), SignInMethod::Refresh, true);
    again.token_received(2);
    again.token_verified(at(111.0), seconds(110.0), &found(2), true);
    assert_eq!(again.last_ok, Some(at(111.0).wall));
}

#[test]
fn a_wait_outlives_a_restart_and_its_end_does_not_move() {
    let mut machine = healthy();
    machine.check_failed(at(10.0), seconds(10.0), &wait(5_400));
    let end = Some(SessionOutlook::ResumesAt(at(5_410.0).wall));
    for later in [10.0, 11.0, 900.0, 5_409.0] {
        assert_eq!(session_outlook(&machine, at(later)), end, "{later}");
        assert_eq!(session_outlook(&restarted(&machine, later), at(later)), end, "restarted at {later}");
    }
    let mut again = restarted(&machine, 1_000.0);
    gate(&again, 1_000.0, true, false, GateReason::RateLimited);
    assert!(
        matches!(again.due_work(at(5_409.0)), None | Some(SessionWork::Snapshot)),
        "the broker is left alone"
    );
    assert_eq!(restarted(&machine, 6_000.0).phase, SessionPhase::Starting, "a wait that is over is no wait");
}

#[test]
fn a_code_that_nobody_entered_is_still_a_code_that_is_wanted() {
    let mut machine = signing_in();
    machine.challenge_opened(at(6.0), "enter_code", SignInMethod::Refresh);
    machine.due_work(at(200.0));
    assert_eq!(machine.phase, SessionPhase::HaltedCredential);
    let wanted = Some(SessionOutlook::NeedsHuman("enter_code".to_owned()));
    assert_eq!(session_outlook(&machine, at(200.0)), wanted);
    assert_eq!(session_outlook(&restarted(&machine, 300.0), at(300.0)), wanted, "after a restart");
}

#[test]
fn every_reason_against_a_new_position_is_told() {
    let mut machine = healthy();
    machine.check_passed(at(1.0), seconds(1.0), &ProbeReply { restricted: Some("locked"), ..found(1) });
    machine.check_failed(at(2.0), seconds(2.0), &wait(100));
    let told = closed_gates(&machine, at(3.0), true);
    assert_eq!(told, [GateReason::RateLimited, GateReason::AccountRestricted, GateReason::MarketClosed]);
    assert_eq!(closed_gates(&healthy(), at(60.0), false), [], "an order that asks has the evidence renewed");
}
