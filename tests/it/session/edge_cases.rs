//! Rare cases: a broker that reports the market closed, stores that fail, commands that come too early.

use botops_contract::{BreakerState, GateReason};

use super::*;

/// A session with `market_hours_only` at this wall time, whose broker reports the market as `open`.
async fn at_market(wall: &str, open: bool) -> Rig {
    let stub = BrokerStub::start().await;
    stub.always(ALPACA, alpaca_account());
    stub.always("GET /v2/clock", Act::ok(format!(r#"{{"is_open":{open}}}"#)));
    let broker = Box::new(AlpacaBroker::new(&alpaca_settings(&stub.url(), TradingMode::Paper)).unwrap());
    let clock = Clock::simulated(wall.parse().unwrap());
    let rig = Rig::run_in(true, folder(), stub, broker, short_limits(), clock);
    rig.healthy().await;
    until("the broker's clock", || !rig.stub.sent("GET /v2/clock").is_empty(), || rig.log()).await;
    rig
}

#[tokio::test]
async fn a_closed_answer_of_either_side_keeps_new_positions_out() {
    let (friday_noon, saturday) = ("2026-03-06T17:00:00Z", "2026-03-07T17:00:00Z");
    for (wall, open, reason) in [
        (friday_noon, true, GateReason::Ok),
        (friday_noon, false, GateReason::MarketClosed),
        (saturday, true, GateReason::MarketClosed),
    ] {
        let rig = at_market(wall, open).await;
        let decided = || rig.monitor.ask_gate(GateQuestion { reducing: false, symbol: "SPY" }).reason;
        until("the gate's answer", || decided() == reason, || format!("{wall} {open}: {:?}", decided()))
            .await;
        assert!(rig.sell().await.allowed, "an exit may try");
        rig.finish().await;
    }
}

#[tokio::test]
async fn the_log_holds_a_snapshot_of_the_session_now_and_then() {
    let mut limits = short_limits();
    limits.snapshot_interval = Duration::from_millis(50);
    let rig = Rig::paper(limits, "[]").await;
    rig.healthy().await;
    let good = |line: &serde_json::Value| line["is_healthy"] == true && line["health_check_count"] == 1;
    let event = "session.metrics_snapshot";
    until("a snapshot", || rig.events(event).iter().any(good), || rig.log()).await;
    rig.finish().await;
}

#[tokio::test]
async fn a_sign_in_that_cannot_be_counted_is_not_made() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, profile()).always(ACCOUNTS, unauthorized()).always(TOKEN, token(2));
    })
    .await;
    rig.healthy().await;
    // With a folder in its place, the file cannot be written.
    std::fs::remove_file(rig.folder.path().join("session.json")).ok();
    std::fs::create_dir_all(rig.folder.path().join("session.json/in the way")).unwrap();
    let probed = rig.monitor.probe().await;
    assert!(!probed.done, "{probed:?}");
    rig.phase(SessionPhase::HaltedCredential).await;
    assert_eq!(rig.code(), "BRK_012");
    assert_eq!(rig.monitor.facts().needs_human.as_deref(), Some("repair_token_store"));
    assert!(rig.stub.sent(TOKEN).is_empty(), "a crash loop would lock the account");
    rig.finish().await;
}

#[tokio::test]
async fn an_operator_who_comes_while_a_human_is_asked_is_told_so() {
    let rig = Rig::paper(short_limits(), "[{do: expire_token}, {do: challenge}]").await;
    until("the wait", || rig.monitor.facts().needs_human.is_some(), || rig.log()).await;
    assert_eq!(rig.monitor.probe().await.reason_code, Some("reauthenticating"));
    assert_eq!(rig.monitor.reset_breaker().await.reason_code, Some("breaker_closed"));
    assert_eq!(rig.monitor.reauth(None).await.reason_code, Some("awaiting_human"));
    assert_eq!(rig.monitor.reauth(Some(String::new())).await.reason_code, Some("code_rejected"));
    let entered = rig.monitor.reauth(Some("123456".to_owned())).await;
    assert!(entered.done, "{entered:?}");
    rig.healthy().await;
    rig.finish().await;
}

#[tokio::test]
async fn a_halted_session_takes_a_sign_in_and_lets_no_order_pass() {
    let rig = Rig::paper(short_limits(), "[]").await;
    rig.healthy().await;
    assert!(rig.monitor.probe().await.done);
    assert!(rig.buy().await.allowed);
    rig.monitor.halt("maintenance");
    let signed_in = rig.monitor.reauth(None).await;
    assert!(signed_in.done && signed_in.message.contains("stays halted"), "{signed_in:?}");
    rig.breaker_is(BreakerState::Open);
    let decision = rig.sell().await;
    assert_eq!((decision.allowed, decision.reason), (false, GateReason::OperatorHalt));
    rig.finish().await;
}

#[tokio::test]
async fn a_renewal_that_fails_is_told_and_stops_nothing_while_the_token_holds() {
    let folder = folder();
    store_pair_near_its_end(folder.path());
    let rig = Rig::with(
        folder,
        short_limits(),
        |stub| {
            stub.always(ACCOUNTS, profile()).always(TOKEN, unavailable());
        },
        |folder, url| Box::new(RobinhoodBroker::new(&robinhood_settings(folder, url)).unwrap()),
    )
    .await;
    let event = "health_check.reauth_failed";
    until("three attempts", || rig.events(event).len() == 3, || rig.log()).await;
    assert_eq!(rig.events(event)[0]["circuit_breaker_tripped"], false);
    assert_eq!(rig.monitor.facts().state, SessionPhase::Healthy);
    assert!(rig.buy().await.allowed);
    rig.finish().await;
}
