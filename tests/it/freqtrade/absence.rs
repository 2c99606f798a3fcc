//! What somebody is told who asks for help while freqtrade is gone or hangs: what is wrong, since when, who has to act.

use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};

use super::commands::{adapter_beside, three_trades};
use super::world::{Adapter, FreqtradeStub, SOON, stand_beside_open_trade, until_presence};
use crate::health::{component_is, hasty};
use crate::kit::app::{KEY, Running, command};
use crate::kit::broker_stub::Act;
use crate::kit::scripted_freqtrade::{ScriptedFreqtrade, open_trade as scripted_trade};
use crate::kit::until;

/// What `botops ask` prints.
async fn spoken(botops: &Running, text: &'static str) -> String {
    let base = botops.base.clone();
    let asked = move || {
        let mut command = command(&["ask", "--url", &base, text]);
        let output = command.env("BOT_API_AUTH_TOKEN", KEY).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    tokio::task::spawn_blocking(asked).await.unwrap()
}

/// A freqtrade with one open trade, the adapter, and botops, whose checks are in a hurry.
async fn world() -> (FreqtradeStub, Adapter, Running) {
    let (freqtrade, adapter, botops) = stand_beside_open_trade().await;
    let (status, body) = botops.send(Method::PUT, "/api/v1/health/monitoring/config", &hasty()).await;
    assert_eq!(status, 200, "{body}");
    (freqtrade, adapter, botops)
}

/// It ends as with `kill -9`: nobody takes a connection any more.
async fn kill(freqtrade: FreqtradeStub, botops: &Running) {
    freqtrade.act("ping", Act::CloseAfter(Box::new(Act::ok("{}"))));
    until_presence(botops, "unreachable").await;
    drop(freqtrade);
    let gone = || async {
        let (_, state) = botops.get("/api/v1/state").await;
        state["bot"]["presence_reason"].as_str().is_some_and(|why| why.contains("nobody answers"))
    };
    until("freqtrade is gone", SOON, gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_begins_with_the_bot_that_is_gone_and_since_when() {
    let (freqtrade, _adapter, botops) = world().await;
    let calm = spoken(&botops, "what went wrong?").await;
    assert!(calm.starts_with("The bot answers"), "{calm}");
    kill(freqtrade, &botops).await;
    component_is(&botops, "bot", "DOWN").await;
    for question in ["what went wrong?", "what is wrong?"] {
        let said = spoken(&botops, question).await;
        let first = said.lines().next().unwrap_or_default();
        assert!(first.starts_with("The bot is offline since "), "{question}: {said}");
        assert!(first.contains("unreachable") && first.contains("Not healthy: "), "{question}: {said}");
        assert!(first.contains("bot is DOWN since "), "{question}: {said}");
    }
    let (_, view) = botops.send(Method::POST, "/api/v1/ask", &json!({"text": "what went wrong?"})).await;
    assert_eq!(view["bot"]["status"], "offline", "agents read it, too: {view:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bot_said_last_is_told_as_what_it_was() {
    let (freqtrade, _adapter, botops) = world().await;
    let calm = spoken(&botops, "how much money do I have?").await;
    assert!(calm.starts_with("The account has 1000.5 USDT"), "{calm}");
    kill(freqtrade, &botops).await;
    for (question, said_then) in [
        ("show locks", "the circuit breaker was closed"),
        ("show my positions", "1 position was open"),
        ("show orders", "0 orders were open"),
        ("how much money do I have?", "the account had 1000.5 USDT"),
    ] {
        let said = spoken(&botops, question).await;
        let first = said.lines().next().unwrap_or_default();
        assert!(first.contains("When last seen, "), "{question}: {said}");
        assert!(first.contains(said_then), "{question}: {said}");
        assert!(first.contains("offline since "), "{question}: {said}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_says_who_starts_it_and_that_nobody_manages_its_trades() {
    let (freqtrade, _adapter, botops) = world().await;
    kill(freqtrade, &botops).await;
    let (_, summary) = botops.get("/api/v1/summary").await;
    let warnings = summary["warnings"].to_string();
    assert!(warnings.contains("the 1 open position of freqtrade (Sample)"), "{summary:#}");
    assert!(warnings.contains("by hand") && warnings.contains("BOT_SUPERVISOR"), "{summary:#}");
    // What a command is refused with names what there is: an adapter that answers, and no supervisor.
    let body = json!({"reason": "look what it says"});
    let (status, refused) = botops.send(Method::POST, "/api/v1/control/pause", &body).await;
    assert_eq!((status, &refused["error_code"]), (503, &json!("BOT_001")), "{refused}");
    let remedy = refused["remediation"].as_str().unwrap();
    assert!(remedy.contains("adapter answers") && remedy.contains("by hand"), "{remedy}");
    for text in [&refused["title"], &refused["cause"], &refused["remediation"]] {
        let text = text.as_str().unwrap();
        assert!(!text.contains("socket") && !text.contains("restart-bot"), "{refused:#}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_is_gone_is_named_as_what_is_missing() {
    let (_freqtrade, mut adapter, botops) = world().await;
    adapter.kill();
    until_presence(&botops, "unreachable").await;
    let (_, summary) = botops.get("/api/v1/summary").await;
    let warnings = summary["warnings"].to_string();
    assert!(warnings.contains("The adapter (botops freqtrade) does not answer"), "{summary:#}");
    assert!(
        !warnings.contains("obody manages") && warnings.contains("Whether anybody"),
        "the bot may trade on: {summary:#}"
    );
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_a_hung_freqtrade_did_not_take_is_not_said_to_be_taken() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    let adapter = adapter_beside(&freqtrade).await;
    let botops = adapter.with_botops().await;
    until_presence(&botops, "connected").await;
    freqtrade.world().is_frozen = true;
    let body = json!({"reason": "it looks strange"});
    let (status, doubt) = botops.send(Method::POST, "/api/v1/control/pause", &body).await;
    assert_eq!((status, &doubt["effect"]), (504, &json!("unknown")), "{doubt:#}");
    let cause = doubt["cause"].as_str().unwrap();
    assert!(!cause.contains("took it") && cause.contains("nothing was sent to freqtrade yet"), "{doubt:#}");
    let remedy = doubt["remediation"].as_str().unwrap();
    assert!(remedy.contains("hangs") && remedy.contains("kind=control"), "{doubt:#}");
    assert!(
        !remedy.contains("Send the same again"),
        "a hung bot would do it at a time nobody chose: {doubt:#}"
    );
    until_presence(&botops, "hung").await;
    let ended = || async {
        let (_, events) = botops.get("/api/v1/events?kind=control").await;
        let events = events["items"].as_array().cloned().unwrap_or_default();
        events.iter().any(|event| event["data"]["follow_up"] == true && event["data"]["outcome"] == "refused")
    };
    until("it is told how it ended", SOON * 2, ended).await;
    assert!(freqtrade.acted().is_empty());
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_says_who_gave_it_when_and_what_ends_it() {
    let freqtrade = ScriptedFreqtrade::start(vec![scripted_trade(1, "BTC/USDT", 0.5)]).await;
    let adapter = adapter_beside(&freqtrade).await;
    let botops = adapter.with_botops().await;
    until_presence(&botops, "connected").await;
    let before = Utc::now();
    let body = json!({"reason": "news at two"});
    let (status, done) = botops.send(Method::POST, "/api/v1/control/pause", &body).await;
    assert_eq!(status, 200, "{done}");
    let given = || async { botops.get("/api/v1/summary").await.1["pause"]["by"] == "operator" };
    until("it is paused", SOON, given).await;
    let (_, summary) = botops.get("/api/v1/summary").await;
    let pause = &summary["pause"];
    assert_eq!((&pause["by"], &pause["reason"]), (&json!("operator"), &json!("news at two")), "{summary:#}");
    let at: chrono::DateTime<Utc> = pause["at"].as_str().unwrap().parse().unwrap();
    assert!((at - before).num_seconds() >= -1, "{pause}");
    for question in ["how are we doing", "why is it not trading"] {
        let said = spoken(&botops, question).await;
        let first = said.lines().next().unwrap_or_default();
        assert!(first.contains("operator") && first.contains("news at two"), "{question}: {said}");
        assert!(first.contains("resume"), "{question}: {said}");
    }
    // Who pauses it elsewhere, after it ran again, is not known here.
    freqtrade.world().state = "running".to_owned();
    let runs = || async { botops.get("/api/v1/summary").await.1["phase"] == "running" };
    until("it runs", SOON, runs).await;
    freqtrade.world().state = "paused".to_owned();
    let paused = || async { botops.get("/api/v1/summary").await.1["phase"] == "paused" };
    until("it is paused elsewhere", SOON, paused).await;
    let (_, summary) = botops.get("/api/v1/summary").await;
    assert_eq!(summary["pause"]["by"], Value::Null, "{summary:#}");
    assert!(summary["health_reason"].as_str().unwrap().contains("is not known here"), "{summary:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_takes_one_screen_and_counts_what_it_leaves_out() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    let adapter = adapter_beside(&freqtrade).await;
    let botops = adapter.with_botops().await;
    until_presence(&botops, "connected").await;
    for question in ["how are we doing", "show my positions", "what happened?", "is everything healthy?"] {
        let said = spoken(&botops, question).await;
        let lines = said.lines().count();
        assert!(lines <= 24, "{question} takes {lines} lines:\n{said}");
    }
    let said = spoken(&botops, "how are we doing").await;
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(" more lines: ") && last.contains("botops ask --all"), "{said}");
    botops.stop().await;
}
