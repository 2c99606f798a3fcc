//! The component `trading`: a bot whose process is well and that manages nothing, or opens nothing, is told of.

use botops_contract::{BotPhase, Breaker, Position};
use serde_json::{Value, json};

use crate::health::{LIMIT, beside, component_is, get};
use crate::kit;
use crate::kit::app::Running;
use crate::kit::scripted_bot::ScriptedBot;

fn position() -> Position {
    serde_json::from_str(&json!({"symbol": "BTC/USDT", "quantity": "0.5"}).to_string()).unwrap()
}

fn open_breaker(source: &str) -> Breaker {
    let breaker =
        json!({"state": "open", "reason": "a lock", "source": source, "resumes_at": "2099-01-01T00:00:00Z"});
    serde_json::from_str(&breaker.to_string()).unwrap()
}

async fn alert_of_trading(botops: &Running, state: &str) -> bool {
    let alerts = get(botops, "/api/v1/health/alerts").await;
    let items = alerts["items"].as_array().unwrap();
    items.iter().any(|alert| alert["component_id"] == "trading" && alert["state"] == state)
}

#[track_caller]
fn says(view: &Value, words: &str) {
    assert!(view["reason"].as_str().unwrap_or_default().contains(words), "{view:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_bot_with_open_positions_is_critical_and_is_not_restarted() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    component_is(&botops, "trading", "HEALTHY").await;
    bot.change(|report| (report.phase, report.positions) = (BotPhase::Stopped, Some(vec![position()])));
    let view = component_is(&botops, "trading", "CRITICAL").await;
    says(&view, "nobody manages its open position");
    kit::until("it fires", LIMIT, || alert_of_trading(&botops, "firing")).await;
    component_is(&botops, "bot", "HEALTHY").await;
    let recovery = get(&botops, "/api/v1/health/recovery").await;
    assert!(!recovery.to_string().contains("\"recovering\""), "{recovery:#}");
    bot.change(|report| report.positions = Some(Vec::new()));
    says(&component_is(&botops, "trading", "WARNING").await, "it holds no position");
    bot.change(|report| report.positions = None);
    says(&component_is(&botops, "trading", "CRITICAL").await, "that it may hold");
    bot.change(|report| report.phase = BotPhase::Running);
    component_is(&botops, "trading", "HEALTHY").await;
    kit::until("it is over", LIMIT, || async { !alert_of_trading(&botops, "firing").await }).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_a_lock_are_told_of_and_a_breaker_of_the_session_only_there() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    component_is(&botops, "trading", "HEALTHY").await;
    bot.change(|report| report.phase = BotPhase::Paused);
    says(&component_is(&botops, "trading", "WARNING").await, "the bot is paused");
    bot.change(|report| {
        (report.phase, report.circuit_breaker) = (BotPhase::Running, Some(open_breaker("operator")));
    });
    kit::until("the lock is the reason", LIMIT, || async {
        let view = get(&botops, "/api/v1/health/components/trading").await;
        view["reason"].as_str().is_some_and(|reason| reason.contains("open until 2099-01-01 00:00 UTC"))
    })
    .await;
    bot.change(|report| {
        let session = json!({"broker": "x", "state": "halted_transient", "is_healthy": false});
        report.session = serde_json::from_str(&session.to_string()).unwrap();
        report.circuit_breaker = Some(open_breaker("session"));
    });
    component_is(&botops, "trading", "HEALTHY").await;
    // What the session opened and left open is its matter no more.
    bot.change(|report| {
        let session = json!({"broker": "x", "state": "healthy", "is_healthy": true});
        report.session = serde_json::from_str(&session.to_string()).unwrap();
    });
    component_is(&botops, "trading", "WARNING").await;
    botops.stop().await;
}
