//! What is said beside a lock of every pair: until when, what it does not stop, and what ends it.

use chrono::{SecondsFormat, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::health::component_is;
use crate::kit::scripted_freqtrade::ScriptedFreqtrade;
use crate::kit::{app::Running, until};

use super::commands::adapter_beside;
use super::world::SOON;

async fn breaker_of_summary(botops: &Running, part: &str) -> Value {
    let shown = || async {
        let summary = botops.get("/api/v1/summary").await.1;
        summary["circuit_breaker"]["remediation"].as_str().is_some_and(|remedy| remedy.contains(part))
    };
    until(part, SOON, shown).await;
    botops.get("/api/v1/summary").await.1["circuit_breaker"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_pause_says_until_when_and_that_resume_ends_it() {
    let freqtrade = ScriptedFreqtrade::start(Vec::new()).await;
    let adapter = adapter_beside(&freqtrade).await;
    let botops = adapter.with_botops().await;
    let until_then = json!({"durable": true, "until": "2098-01-01T00:00:00Z"});
    assert_eq!(adapter.run("pause", "a", until_then).await["outcome"], "done");
    // A reload lifted the pause; the lock stays.
    freqtrade.world().state = "running".to_owned();
    let breaker = breaker_of_summary(&botops, "2098-01-01T00:05:00Z").await;
    let remedy = breaker["remediation"].as_str().unwrap();
    assert!(remedy.contains("control/resume") && !remedy.contains("reset-breaker"), "{breaker}");
    assert_eq!(breaker["error_code"], Value::Null, "no code of the catalogue speaks of it: {breaker}");
    let trading = component_is(&botops, "trading", "WARNING").await;
    let reason = trading["reason"].as_str().unwrap();
    assert!(reason.contains("a forced entry") && !reason.contains("are refused"), "{reason}");
    assert_eq!(adapter.run("resume", "b", Value::Null).await["outcome"], "done");
    assert_eq!(adapter.run("pause", "c", json!({"durable": true})).await["outcome"], "done");
    let breaker = breaker_of_summary(&botops, "until somebody resumes").await;
    assert!(!breaker.to_string().contains("2100"), "nobody waits for that: {breaker}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_limit_of_freqtrade_ends_by_itself_and_no_call_is_named_that_it_does_not_have() {
    let freqtrade = ScriptedFreqtrade::start(Vec::new()).await;
    freqtrade.world().locks.push(json!({"id": 1, "active": true, "pair": "*", "side": "*",
        "reason": "0.2 passed Max Drawdown", "lock_end_timestamp": 4_070_908_800_000_i64}));
    let adapter = adapter_beside(&freqtrade).await;
    let botops = adapter.with_botops().await;
    let breaker = breaker_of_summary(&botops, "It ends by itself at 2099-01-01T00:00:00Z").await;
    assert!(!breaker.to_string().contains("reset-breaker"), "{breaker}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_lock_is_judged_by_the_clock_of_freqtrade() {
    let freqtrade = ScriptedFreqtrade::start(Vec::new()).await;
    // Its clock is an hour behind: what ends in half an hour there has ended here.
    freqtrade.world().clock_ahead = -TimeDelta::hours(1);
    let adapter = adapter_beside(&freqtrade).await;
    let end = (Utc::now() - TimeDelta::minutes(30)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let done = adapter.run("pause", "a", json!({"durable": true, "until": end})).await;
    assert_eq!(done["outcome"], "done", "{done}");
    assert_eq!(freqtrade.world().locks.len(), 1);
    let done = adapter.run("resume", "b", Value::Null).await;
    assert_eq!((&done["outcome"], &done["trading_enabled"]), (&json!("done"), &json!(true)), "{done}");
    assert_eq!(freqtrade.world().locks, [] as [Value; 0], "the lock held, so it was removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_config_is_refused_with_the_reason_whatever_the_method() {
    let freqtrade = ScriptedFreqtrade::start(Vec::new()).await;
    let adapter = adapter_beside(&freqtrade).await;
    let botops = adapter.with_botops().await;
    let connected = || async { botops.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("botops is connected", SOON, connected).await;
    let body = json!({"reason": "two trades at most", "merge_patch": {"max_open_trades": 2}});
    for (method, path) in [
        (Method::PUT, "/api/v1/config/apply"),
        (Method::POST, "/api/v1/config/apply"),
        (Method::PUT, "/api/v1/config"),
        (Method::PATCH, "/api/v1/config"),
        (Method::POST, "/api/v1/config"),
    ] {
        let (status, refused) = botops.send(method.clone(), path, &body).await;
        assert_eq!((status, &refused["error_code"]), (409, &json!("BOT_004")), "{method} {path}: {refused}");
        let cause = refused["cause"].as_str().unwrap();
        assert!(cause.contains("not changed. It says: ") && cause.contains("freqtrade"), "{cause}");
        let remedy = refused["remediation"].as_str().unwrap();
        assert!(remedy.contains("read-only for botops") && !remedy.contains("whoami"), "{remedy}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_lock_is_named_with_its_end() {
    let freqtrade = ScriptedFreqtrade::start(Vec::new()).await;
    freqtrade.world().locks = vec![
        json!({"id": 1, "active": true, "pair": "BTC/USDT", "side": "long", "reason": "Cooldown period",
            "lock_end_timestamp": 4_070_908_800_000_i64}),
        json!({"id": 2, "active": true, "pair": "ETH/USDT", "side": "*", "reason": "",
            "lock_end_timestamp": 4_070_995_200_000_i64}),
    ];
    let adapter = adapter_beside(&freqtrade).await;
    let botops = adapter.with_botops().await;
    let shown = || async {
        botops.get("/api/v1/state").await.1["locks"].as_array().is_some_and(|locks| locks.len() == 2)
    };
    until("the locks are shown", SOON, shown).await;
    let (_, state) = botops.get("/api/v1/state").await;
    assert_eq!(
        state["locks"][0],
        json!({"symbol": "BTC/USDT", "side": "long", "until": "2099-01-01T00:00:00Z", "reason": "Cooldown period"}),
        "the one that ends first comes first"
    );
    let (_, view) = botops.send(Method::POST, "/api/v1/ask", &json!({"text": "show locks"})).await;
    assert_eq!(view["answer"]["locks"], state["locks"], "{view:#}");
    botops.stop().await;
}
