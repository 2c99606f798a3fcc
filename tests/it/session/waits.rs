//! Waits and their ends: rate limits, retries, the breaker, the gate's speed, stops, and the fault script.

use botops_contract::{BreakerState, EventKind, GateReason};
use tokio::sync::Notify;

use super::*;

fn limited(seconds: &str) -> Act {
    refused(429, r#"{"detail":"Request was throttled."}"#).header("retry-after", seconds)
}

#[tokio::test]
async fn a_short_wait_is_waited_for_and_costs_nothing() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, limited("1")).always(ACCOUNTS, profile());
    })
    .await;
    rig.healthy().await;
    let sent = rig.stub.sent(ACCOUNTS);
    assert_eq!(sent.len(), 2);
    assert!(sent[1].at - sent[0].at >= Duration::from_secs(1));
    assert_eq!(rig.monitor.breaker().failure_count, Some(0));
    rig.finish().await;
}

#[tokio::test]
async fn a_long_wait_parks_the_session_and_nothing_is_called() {
    let reset = (Utc::now() + TimeDelta::seconds(700)).timestamp().to_string();
    // Each wait is read a while after it began; they differ enough to be told apart.
    for (act, shown) in [
        (limited("3600"), 3_600.0),
        (limited("nonsense"), 60.0),
        (limited("1000000000"), 86_400.0),
        (refused(429, "{}").header("x-ratelimit-reset", reset), 699.0),
        (refused(429, r#"{"detail":"Expected available in 1154515 seconds."}"#), 86_400.0),
    ] {
        let rig = Rig::robinhood(short_limits(), |stub| {
            stub.always(ACCOUNTS, act);
        })
        .await;
        rig.phase(SessionPhase::Degraded).await;
        assert_eq!(rig.code(), "BRK_004");
        let decision = rig.buy().await;
        assert_eq!(decision.reason, GateReason::RateLimited);
        assert_eq!(rig.sell().await.reason, GateReason::RateLimited);
        let wait = decision.retry_after_s.unwrap();
        assert!((shown - 50.0..=shown + 1.0).contains(&wait), "{wait} instead of {shown}");
        assert_eq!(rig.monitor.probe().await.reason_code, Some("rate_limited"));
        assert_eq!(rig.monitor.reauth(None).await.reason_code, Some("rate_limited"));
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(rig.stub.journal().len(), 1);
        assert_eq!(rig.monitor.breaker().failure_count, Some(0));
        rig.finish().await;
    }
}

#[tokio::test]
async fn a_used_up_quota_defers_the_next_periodic_check() {
    let mut limits = short_limits();
    limits.interval_in_window = Duration::from_millis(200);
    limits.interval_outside_window = Duration::from_millis(200);
    let reset = (Utc::now() + TimeDelta::seconds(3)).timestamp();
    let until_reset = chrono::DateTime::from_timestamp(reset, 0).unwrap() - Utc::now();
    let not_before = Instant::now() + until_reset.to_std().unwrap();
    let rig = Rig::alpaca(limits, |stub| {
        let used_up = alpaca_account()
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", reset.to_string());
        stub.next(ALPACA, used_up).always(ALPACA, alpaca_account());
    })
    .await;
    until("the next check", || rig.stub.sent(ALPACA).len() >= 2, || rig.log()).await;
    let early = not_before.saturating_duration_since(rig.stub.sent(ALPACA)[1].at);
    assert!(early < Duration::from_millis(100), "{early:?} before the quota is full again");
    rig.finish().await;
}

#[tokio::test]
async fn two_server_errors_are_retried_with_growing_waits() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, unavailable()).next(ACCOUNTS, unavailable()).always(ACCOUNTS, profile());
    })
    .await;
    rig.healthy().await;
    until("the record", || rig.events("health_check.executed").len() == 1, || rig.log()).await;
    assert_eq!(rig.events("health_check.executed")[0]["attempts"], 3);
    let retries = rig.events("retry.attempt");
    let delays: Vec<f64> = retries.iter().map(|retry| retry["delay_ms"].as_f64().unwrap()).collect();
    assert_eq!(delays.len(), 2);
    assert!((44.0..=55.0).contains(&delays[0]) && (89.0..=110.0).contains(&delays[1]), "{delays:?}");
    rig.breaker_is(BreakerState::Closed);
    rig.finish().await;
}

#[tokio::test]
async fn an_exhausted_check_is_one_failure() {
    let mut limits = short_limits();
    limits.confirm_interval = Duration::from_secs(60);
    let rig = Rig::robinhood(limits, |stub| {
        stub.always(ACCOUNTS, unavailable());
    })
    .await;
    rig.phase(SessionPhase::Degraded).await;
    assert_eq!(rig.stub.sent(ACCOUNTS).len(), 4);
    assert_eq!(rig.monitor.breaker().failure_count, Some(1));
    assert_eq!(rig.monitor.facts().consecutive_failures, Some(1));
    assert_eq!(rig.buy().await.reason, GateReason::SessionDegraded);
    assert_eq!(rig.sell().await.reason, GateReason::ReducingAllowed);
    assert_eq!(rig.code(), "BRK_005");
    rig.finish().await;
}

#[tokio::test]
async fn five_failed_checks_trip_once_and_the_trip_outlives_a_restart() {
    let mut limits = short_limits();
    limits.breaker.first_wait = Duration::from_secs(60);
    let rig = Rig::robinhood(limits, |stub| {
        stub.always(ACCOUNTS, unavailable());
    })
    .await;
    rig.phase(SessionPhase::HaltedTransient).await;
    // Four attempts of the first check and one of each further check: the fifth failed check opened the breaker.
    assert_eq!(rig.stub.sent(ACCOUNTS).len(), 8);
    rig.breaker_is(BreakerState::Open);
    assert_eq!(rig.monitor.breaker().failure_count, Some(5));
    until("the record", || rig.events("health_check.failed").len() == 5, || rig.log()).await;
    assert_eq!(rig.events("circuit_breaker.opened").len(), 1);
    rig.gate_is(GateReason::BreakerOpen);
    let notes = rig.notes.lock().unwrap().clone();
    assert_eq!(notes.iter().filter(|note| note.kind == EventKind::Breaker).count(), 1);
    rig.stub.always(ACCOUNTS, profile());
    let rig = rig
        .restart(|folder, url| Box::new(RobinhoodBroker::new(&robinhood_settings(folder, url)).unwrap()))
        .await;
    rig.breaker_is(BreakerState::Open);
    rig.gate_is(GateReason::BreakerOpen);
    assert!(!rig.sell().await.allowed);
    let outcome = rig.monitor.reset_breaker().await;
    assert!(outcome.done, "{outcome:?}");
    rig.healthy().await;
    rig.breaker_is(BreakerState::Closed);
    assert!(rig.buy().await.allowed);
    assert_eq!(rig.monitor.reset_breaker().await.reason_code, Some("breaker_closed"));
    rig.finish().await;
}

#[tokio::test]
async fn a_paper_session_resumes_by_itself_after_two_good_probes() {
    let rig = Rig::paper(short_limits(), "[{do: 503, times: 8}]").await;
    rig.phase(SessionPhase::HaltedTransient).await;
    assert!(rig.monitor.breaker().retry_at.is_some());
    rig.healthy().await;
    rig.breaker_is(BreakerState::Closed);
    let order: Vec<String> = rig
        .log()
        .lines()
        .filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let event = line["event"].as_str().unwrap().strip_prefix("circuit_breaker.")?.to_owned();
            Some(event)
        })
        .collect();
    assert_eq!(order, ["opened", "reset", "closed"]);
    rig.finish().await;
}

#[tokio::test]
async fn a_failed_reset_stays_open_and_says_why() {
    let mut limits = short_limits();
    limits.breaker.first_wait = Duration::from_secs(60);
    let rig = Rig::paper(limits, "[{do: 503, times: 1000}]").await;
    rig.phase(SessionPhase::HaltedTransient).await;
    let outcome = rig.monitor.reset_breaker().await;
    assert_eq!(outcome.reason_code, Some("check_failed"));
    assert!(outcome.message.ends_with("the circuit breaker stays open"), "{}", outcome.message);
    rig.breaker_is(BreakerState::Open);
    rig.finish().await;
}

/// Makes the last success too old for an order, but not by as much as a suspend would.
fn let_evidence_age(rig: &Rig) {
    rig.clock.jump(TimeDelta::from_std(rig.limits.evidence_max_age * 2).unwrap());
    assert!(TimeDelta::from_std(rig.limits.evidence_max_age * 2).unwrap() < rig.limits.clock_jump);
}

#[tokio::test]
async fn twenty_orders_at_once_are_refused_at_once_and_cost_one_check() {
    let mut limits = short_limits();
    limits.warm_for = Duration::ZERO;
    let answer_check = Arc::new(Notify::new());
    let rig = Rig::robinhood(limits, |stub| {
        stub.next(ACCOUNTS, profile());
        stub.next(ACCOUNTS, Act::Held(answer_check.clone(), Box::new(profile())));
        stub.always(ACCOUNTS, profile());
    })
    .await;
    rig.healthy().await;
    let_evidence_age(&rig);
    for _ in 0..20 {
        rig.gate_is(GateReason::EvidenceStale);
    }
    until("the check", || rig.stub.sent(ACCOUNTS).len() == 2, || rig.log()).await;
    rig.gate_is(GateReason::EvidenceStale);
    answer_check.notify_one();
    assert!(rig.buy().await.allowed);
    assert_eq!(rig.stub.sent(ACCOUNTS).len(), 2);
    rig.finish().await;
}

#[tokio::test]
async fn the_check_that_an_order_asked_for_has_its_own_deadline_and_orders_stay_refused() {
    let mut limits = short_limits();
    limits.pre_trade_check = Duration::from_millis(500);
    limits.confirm_interval = Duration::from_secs(60);
    let rig = Rig::robinhood(limits, |stub| {
        stub.next(ACCOUNTS, profile()).always(ACCOUNTS, Act::Hang);
    })
    .await;
    rig.healthy().await;
    let_evidence_age(&rig);
    let decision = rig.buy().await;
    assert_eq!((decision.allowed, decision.reason), (false, GateReason::SessionDegraded));
    assert!(decision.retry_after_s.is_some());
    until("the record", || !rig.events("health_check.failed").is_empty(), || rig.log()).await;
    assert_eq!(rig.events("health_check.failed")[0]["context"], "pre_trade");
    rig.finish().await;
}

#[tokio::test]
async fn the_gate_answers_from_memory_and_the_loop_never_waits() {
    let rig = Rig::paper(short_limits(), "[]").await;
    rig.healthy().await;
    let mut times: Vec<Duration> = (0..1_000)
        .map(|_| {
            let started = Instant::now();
            let decision = rig.monitor.ask_gate(GateQuestion { reducing: false, symbol: "SPY" });
            let elapsed = started.elapsed();
            assert!(decision.allowed && decision.evidence_age_ms.unwrap() <= 10_000);
            elapsed
        })
        .collect();
    times.sort();
    println!("gate warm: p50 {:?}, p99 {:?}, worst {:?}", times[500], times[990], times[999]);
    let decided = rig.events("trade_gate.decided");
    assert_eq!(decided.len(), 1_000);
    assert_eq!(decided[0]["cached"], true);
    rig.finish().await;
}

#[tokio::test]
async fn refused_questions_at_every_tick_do_not_flood_the_log() {
    let rig = Rig::paper(short_limits(), "[{do: lock}]").await;
    rig.healthy().await;
    for _ in 0..500 {
        rig.gate_is(GateReason::AccountRestricted);
    }
    assert!(rig.events("trade_gate.decided").len() < 10);
    rig.finish().await;
}

#[tokio::test]
async fn an_operators_halt_is_at_once_durable_and_lifted_by_an_operator() {
    let rig = Rig::paper(short_limits(), "[]").await;
    rig.healthy().await;
    assert!(rig.monitor.halt("maintenance\u{1b}[31m").done);
    rig.gate_is(GateReason::OperatorHalt);
    let stored = std::fs::read_to_string(rig.folder.path().join("session.json")).unwrap();
    assert!(stored.contains("halted_operator") && stored.contains("maintenance[31m"), "{stored}");
    assert_eq!(rig.monitor.facts().reason.as_deref(), Some("maintenance[31m"));
    assert!(rig.monitor.reset_breaker().await.done);
    rig.healthy().await;
    rig.finish().await;
}

#[tokio::test]
async fn a_stored_state_that_cannot_be_read_keeps_trading_halted() {
    let folder = folder();
    std::fs::write(folder.path().join("session.json"), "{\"breaker\": tru").unwrap();
    let settings = PaperSettings::default();
    let rig = Rig::with(
        folder,
        short_limits(),
        |_| {},
        |_, _| Box::new(PaperBroker::new(&settings, Clock::system())),
    )
    .await;
    rig.phase(SessionPhase::HaltedOperator).await;
    rig.gate_is(GateReason::OperatorHalt);
    assert!(rig.monitor.reset_breaker().await.done);
    rig.healthy().await;
    rig.finish().await;
}

#[tokio::test]
async fn a_panic_of_the_keeper_is_survived() {
    let mut limits = short_limits();
    limits.interval_in_window = Duration::from_millis(200);
    limits.interval_outside_window = Duration::from_millis(200);
    let rig = Rig::paper(limits, "[{do: ok}, {do: panic}]").await;
    rig.healthy().await;
    let before = rig.monitor.facts().health_check_count;
    until(
        "a check after the panic",
        || rig.monitor.facts().health_check_count > before.map(|count| count + 1),
        || rig.log(),
    )
    .await;
    rig.healthy().await;
    rig.finish().await;
}

#[tokio::test]
async fn a_suspend_is_noticed_and_the_session_checked_at_once() {
    let rig = Rig::paper(short_limits(), "[]").await;
    rig.healthy().await;
    let before = rig.monitor.facts().health_check_count;
    rig.clock.jump(TimeDelta::hours(2));
    assert!(!rig.monitor.ask_gate(GateQuestion { reducing: false, symbol: "SPY" }).allowed);
    until("the check", || rig.monitor.facts().health_check_count > before, || rig.log()).await;
    assert_eq!(rig.events("clock.jump")[0]["seconds"], 7200);
    rig.healthy().await;
    assert!(rig.buy().await.allowed);
    rig.finish().await;
}

#[tokio::test]
async fn the_fault_script_plays_a_whole_course_of_events_without_any_network() {
    let script = "
- {do: ok, times: 2}
- {do: 401}
- {on: reauth, do: 503}
- {on: reauth, do: ok}
- {do: ok, times: 2}
- {do: 429, retry_after_s: 0.3}
- {do: ok, times: 2}
- {do: 401}
- {on: reauth, do: credentials_rejected}
";
    let mut limits = short_limits();
    limits.interval_in_window = Duration::from_millis(50);
    limits.interval_outside_window = Duration::from_millis(50);
    limits.short_wait = Duration::ZERO;
    let rig = Rig::paper(limits, script).await;
    until("the refresh", || rig.monitor.facts().reauth_count == Some(1), || rig.log()).await;
    let limited = |note: &SessionNote| note.error.as_ref().is_some_and(|error| error.error_code == "BRK_004");
    until("the wait", || rig.notes.lock().unwrap().iter().any(limited), || rig.log()).await;
    rig.phase(SessionPhase::HaltedCredential).await;
    assert_eq!(rig.monitor.facts().gate, Some(GateReason::CredentialsRejected));
    assert!(rig.monitor.reauth(None).await.done);
    rig.healthy().await;
    rig.finish().await;
}

#[tokio::test]
async fn a_human_who_approves_late_enough_is_waited_for() {
    let rig = Rig::paper(short_limits(), "[{do: expire_token}, {do: challenge, approve_after_s: 0.3}]").await;
    until("the wait", || rig.monitor.facts().needs_human.is_some(), || rig.log()).await;
    rig.gate_is(GateReason::AwaitingHuman);
    rig.healthy().await;
    rig.finish().await;
}

#[tokio::test]
async fn a_stop_ends_a_check_and_a_wait_for_a_human_at_once() {
    let mut limits = short_limits();
    limits.attempt_timeout = PATIENT * 3;
    let rig = Rig::paper(limits, "[{do: hang}]").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    rig.finish().await;
    // Only a sign-in may take longer.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    let rig = Rig::paper(short_limits(), "[{do: expire_token}, {do: challenge}]").await;
    until("the wait", || rig.monitor.facts().needs_human.is_some(), || rig.log()).await;
    let started = Instant::now();
    rig.finish().await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

/// The documented log queries, run on the logs of a session.
#[tokio::test]
async fn the_printed_log_queries_run() {
    let mut limits = short_limits();
    limits.interval_in_window = Duration::from_millis(30);
    limits.interval_outside_window = Duration::from_millis(30);
    let rig = Rig::paper(limits, "[]").await;
    until("some checks", || rig.events("health_check.executed").len() > 25, || rig.log()).await;
    let text = std::fs::read_to_string(rig.folder.path().join("logs/trading_bot.log")).unwrap();
    assert!(text.contains(" UTC | INFO     | health | health_check.executed | latency_ms="), "{text}");
    assert!(text.contains(" UTC | INFO     | health | health_check.passed | session_uptime="), "{text}");
    let query = r#"grep '"event":"health_check.executed"' logs/health_check.log |
        jq -r '.latency_ms' | sort -n |
        awk '{a[NR]=$1} END {print a[int(NR*0.95)] " ms (P95), " a[int(NR*0.99)] " ms (P99)"}'"#;
    let run = |query: &str| {
        let output =
            std::process::Command::new("sh").arg("-c").arg(query).current_dir(rig.folder.path()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    // Documented with `tail -f`, which would wait for further lines.
    let shown = run(r#"tail logs/trading_bot.log | grep "health_check""#);
    assert!(shown.contains("health_check.passed | ") && shown.contains("| session_uptime="), "{shown}");
    let has_jq = std::process::Command::new("jq").arg("--version").output().is_ok();
    if has_jq {
        let said = run(query);
        let (p95, _) = said.split_once(" ms (P95), ").unwrap();
        assert!(p95.parse::<u64>().is_ok(), "{said}");
        assert!(said.trim_end().ends_with(" ms (P99)"), "{said}");
        let latencies =
            run(r#"grep '"event":"health_check.executed"' logs/health_check.log | jq -r '.latency_ms'"#);
        assert!(latencies.lines().count() > 25);
        assert!(latencies.lines().all(|line| line.parse::<u64>().is_ok()), "{latencies}");
    }
    rig.finish().await;
}
