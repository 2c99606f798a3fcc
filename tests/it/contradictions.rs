//! A bot that contradicts itself is told of by name, and nothing is concluded from what it said before.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use botops_contract::{BotPhase, Capability, TradingMode};
use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::app::{Running, answer};
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, position, refusal, report};
use crate::kit::{folder, until};

const SOON: Duration = Duration::from_secs(60);

/// A bot that holds a position and says what became of a command.
fn a_bot(folder: &std::path::Path) -> ScriptedBot {
    let mut state = report();
    state.positions = Some(vec![position("SPY", "10", "400", "410")]);
    let bot = ScriptedBot::at(&folder.join("bot.sock"), state);
    bot.script().alive = true;
    bot.script().hello.capabilities.push(Capability::from("command-status"));
    bot.keeps_its_config();
    bot
}

async fn beside(folder: &std::path::Path, bot: &ScriptedBot) -> Running {
    let id = bot.id().to_string();
    let running = Running::start(folder, &[("BOT_ID", &id)]).await;
    let seen = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("the bot is seen", SOON, seen).await;
    running
}

async fn give(running: &Running, verb: &str, key: &str) -> (u16, Value) {
    let request = running.request(Method::POST, &format!("/api/v1/control/{verb}"));
    let body = json!({"reason": "a test of contradictions"});
    answer(request.header("idempotency-key", key).json(&body)).await
}

/// The events about a command, in order.
async fn told(running: &Running, key: &str) -> Vec<Value> {
    let (_, page) = running.get("/api/v1/events?kind=control&after=0&limit=200").await;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|event| event["data"]["command_id"] == key).collect()
}

/// Warnings of this document that have this in them.
async fn warnings(running: &Running, path: &str, part: &str) -> Vec<String> {
    let document = running.get(path).await.1;
    let all = document["warnings"].as_array().cloned().unwrap_or_default();
    let texts = all.iter().filter_map(|one| one.as_str().map(str::to_owned));
    texts.filter(|text| text.contains(part)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_the_bot_answered_is_never_told_as_one_that_it_never_got() {
    let folder = folder();
    let bot = a_bot(folder.path());
    let running = beside(folder.path(), &bot).await;
    let twisted = |twist: Value| {
        bot.script().raw_commands = Some(Arc::new(move |body| {
            let mut said =
                json!({"command_id": body["command_id"], "outcome": "done", "message": "as you say"});
            said.as_object_mut().unwrap().extend(twist.as_object().unwrap().clone());
            said.to_string()
        }));
    };
    twisted(json!({"outcome": "unconfirmed"}));
    assert_eq!(give(&running, "flatten", "unconfirmed").await.1["effect"], "unknown");
    twisted(json!({"trading_enabled": true}));
    assert_eq!(give(&running, "pause", "both").await.1["effect"], "unknown");
    {
        let mut script = bot.script();
        script.raw_commands = None;
        (script.refuse, script.refuse_status) =
            (Some(refusal("no_answer", "it may still act")), StatusCode::GATEWAY_TIMEOUT);
    }
    assert_eq!(give(&running, "halt", "no-answer").await.1["effect"], "unknown");
    // What it says of each by now is that it does not know it.
    for key in ["unconfirmed", "both", "no-answer"] {
        until("how it ended is told", SOON, || async { told(&running, key).await.len() >= 2 }).await;
        let events = told(&running, key).await;
        assert_eq!(events[1]["data"]["outcome"], "still_unknown", "{events:#?}");
        let message = events[1]["message"].as_str().unwrap();
        assert!(message.contains("the bot answered it") && !message.contains("never got it"), "{message}");
    }
    let (_, problem) = give(&running, "flatten", "unconfirmed").await;
    assert_eq!(problem["effect"], "unknown", "the key says so as well: {problem:#}");
    for warning in warnings(&running, "/api/v1/state", " failed at ").await {
        assert!(warning.contains("whether it acted is not known"), "{warning}");
        assert!(!warning.contains("nothing was done"), "{warning}");
    }
    assert_eq!(warnings(&running, "/api/v1/state", " failed at ").await.len(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_warning_of_a_command_that_did_nothing_says_why_that_is_known() {
    let folder = folder();
    let bot = a_bot(folder.path());
    let running = beside(folder.path(), &bot).await;
    bot.script().only = "commands/flatten";
    bot.behave(Behaviour::HangUp);
    assert_eq!(give(&running, "flatten", "lost").await.1["effect"], "unknown");
    bot.behave(Behaviour::Normal);
    let known = || async { !warnings(&running, "/api/v1/state", "nothing was done").await.is_empty() };
    until("it is known that it did nothing", SOON, known).await;
    let warning = warnings(&running, "/api/v1/state", "nothing was done").await.remove(0);
    assert!(warning.contains("the bot never got it, and it expired"), "{warning}");
    running.stop().await;
}

/// Waits for a warning with this in it, in the state and in the summary, and returns it.
async fn warned(running: &Running, part: &str) -> String {
    for path in ["/api/v1/state", "/api/v1/summary"] {
        until(&format!("{path} warns: {part}"), SOON, || async { is_warned(running, path, part).await })
            .await;
    }
    warnings(running, "/api/v1/state", part).await.remove(0)
}

async fn is_warned(running: &Running, path: &str, part: &str) -> bool {
    !warnings(running, path, part).await.is_empty()
}

/// Waits until nothing warns of this.
async fn warned_no_more(running: &Running, part: &str) {
    let is_over = || async { !is_warned(running, "/api/v1/state", part).await };
    until(&format!("no warning: {part}"), SOON, is_over).await;
}

/// The events that tell of a contradiction of this kind.
async fn contradictions(running: &Running, kind: &str) -> Vec<Value> {
    let (_, page) = running.get("/api/v1/events?kind=lifecycle&after=0&limit=200").await;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|event| event["data"]["contradiction"] == kind).collect()
}

/// Answers each command with `done` and this, and does nothing.
fn answers_done(bot: &ScriptedBot, said: Value) {
    bot.script().raw_commands = Some(Arc::new(move |body| {
        let mut answer =
            json!({"command_id": body["command_id"], "outcome": "done", "message": "as you say"});
        answer.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        answer.to_string()
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_hello_and_state_tell_apart_is_told_and_live_is_shown() {
    for (of_hello, of_state) in
        [(TradingMode::Paper, TradingMode::Live), (TradingMode::Live, TradingMode::Paper)]
    {
        let folder = folder();
        let bot = a_bot(folder.path());
        bot.script().hello.mode = of_hello;
        bot.change(|report| report.mode = of_state);
        let running = beside(folder.path(), &bot).await;
        let warning = warned(&running, "Contradiction: `hello` says").await;
        let named = format!("mode {of_hello}, the state {of_state}");
        assert!(warning.contains(&named), "{warning}");
        let summary = running.get("/api/v1/summary").await.1;
        assert_eq!(summary["mode"], "live", "{summary:#}");
        assert_eq!(summary["health_status"], "degraded", "{summary:#}");
        let asked = bot.count("GET", "state");
        until("it was asked again", SOON, || async { bot.count("GET", "state") > asked + 3 }).await;
        let events = contradictions(&running, "mode").await;
        assert_eq!(events.len(), 1, "it is told once: {events:#?}");
        assert_eq!(events[0]["severity"], "high");
        bot.change(|report| report.mode = of_hello);
        warned_no_more(&running, "Contradiction: `hello` says").await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_said_it_paused_and_says_that_it_trades_is_not_healthy() {
    let folder = folder();
    let bot = a_bot(folder.path());
    let running = beside(folder.path(), &bot).await;
    answers_done(&bot, json!({"phase": "paused", "trading_enabled": false}));
    let (status, view) = give(&running, "pause", "denied").await;
    assert_eq!((status, &view["outcome"]), (200, &json!("done")), "{view:#}");
    let warning = warned(&running, "NOT PAUSED: the bot said that it").await;
    assert!(warning.contains("POST /api/v1/control/pause"), "{warning}");
    let summary = running.get("/api/v1/summary").await.1;
    assert_eq!(summary["health_status"], "degraded", "{summary:#}");
    assert!(summary["health_reason"].as_str().unwrap().contains("NOT PAUSED"), "{summary:#}");
    assert_eq!(summary["trading_enabled"], true, "what the bot says is shown as it is");
    let asked = bot.count("GET", "state");
    until("it was asked again", SOON, || async { bot.count("GET", "state") > asked + 3 }).await;
    let events = contradictions(&running, "pause").await;
    assert_eq!(events.len(), 1, "it is told once: {events:#?}");
    let critical = || async {
        let trading = running.get("/api/v1/health/components/trading").await.1;
        trading["status"] == "CRITICAL"
            && trading["reason"].as_str().is_some_and(|why| why.contains("not paused"))
    };
    until("health tells it", SOON, critical).await;
    // Somebody who wants it to trade says so.
    answers_done(&bot, json!({"phase": "running", "trading_enabled": true}));
    assert_eq!(give(&running, "resume", "wanted").await.0, 200);
    warned_no_more(&running, "NOT PAUSED").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_stand_after_a_flatten_that_left_none_are_told() {
    let folder = folder();
    let bot = a_bot(folder.path());
    let running = beside(folder.path(), &bot).await;
    let exposure =
        json!({"positions_left": 0, "orders_left": 0, "orders_submitted": 1, "positions_closing": ["SPY"]});
    answers_done(&bot, json!({"phase": "paused", "trading_enabled": false, "exposure": exposure}));
    bot.change(|report| {
        (report.phase, report.trading_enabled) = (BotPhase::Paused, Some(false));
        report.orders = Some(Vec::new());
    });
    assert_eq!(give(&running, "flatten", "left").await.0, 200);
    let warning = warned(&running, "Contradiction: the bot said that the flatten").await;
    assert!(warning.contains("1 position") && warning.contains("SPY"), "{warning}");
    let asked = bot.count("GET", "state");
    until("it was asked again", SOON, || async { bot.count("GET", "state") > asked + 3 }).await;
    assert_eq!(contradictions(&running, "flatten").await.len(), 1);
    bot.change(|report| report.positions = Some(Vec::new()));
    warned_no_more(&running, "Contradiction: the bot said that the flatten").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_in_the_future_is_told() {
    let folder = folder();
    let bot = a_bot(folder.path());
    bot.change(|report| report.loop_stats.last_tick_at = Some(Utc::now() + TimeDelta::days(3_650)));
    let running = beside(folder.path(), &bot).await;
    let warning = warned(&running, "Contradiction: `last_tick_at`").await;
    assert!(warning.contains("20"), "{warning}");
    let asked = bot.count("GET", "state");
    until("it was asked again", SOON, || async { bot.count("GET", "state") > asked + 3 }).await;
    assert_eq!(contradictions(&running, "last_tick").await.len(), 1);
    bot.change(|report| report.loop_stats.last_tick_at = Some(Utc::now()));
    warned_no_more(&running, "Contradiction: `last_tick_at`").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_while_positions_were_open_is_told() {
    let folder = folder();
    let bot = a_bot(folder.path());
    bot.change(|report| report.account.account_id = Some("first".to_owned()));
    let running = beside(folder.path(), &bot).await;
    bot.change(|report| {
        report.account.account_id = Some("second".to_owned());
        report.positions = Some(Vec::new());
    });
    let warning = warned(&running, "The account is another one").await;
    assert!(warning.contains("second, before first") && warning.contains("1 open position of"), "{warning}");
    assert_eq!(contradictions(&running, "account").await.len(), 1);
    bot.change(|report| report.account.account_id = Some("first".to_owned()));
    warned_no_more(&running, "The account is another one").await;
    running.stop().await;
}
