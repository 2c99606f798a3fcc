//! How a command of unknown effect ended completes the record of its idempotency key: a repetition gets the ending.

use std::time::Duration;

use axum::http::StatusCode;
use botops_contract::Capability;
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::app::{Running, answer};
use crate::kit::paperbot::Paperbot;
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, position, refusal, report};
use crate::kit::{folder, until};

const SOON: Duration = Duration::from_secs(40);

async fn beside(folder: &std::path::Path, id: &str) -> Running {
    let running = Running::start(folder, &[("BOT_ID", id)]).await;
    let seen = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("the bot is seen", SOON, seen).await;
    running
}

/// A bot that can say what became of a command, and botops beside it.
async fn with_bot(folder: &std::path::Path) -> (ScriptedBot, Running) {
    let mut state = report();
    state.positions = Some(vec![position("SPY", "10", "400", "410")]);
    let bot = ScriptedBot::at(&folder.join("bot.sock"), state);
    bot.script().alive = true;
    bot.script().hello.capabilities.push(Capability::from("command-status"));
    let running = beside(folder, bot.id().as_str()).await;
    (bot, running)
}

/// The bot carries commands out and answers that it does not know; it says what became of one once it does not wait.
fn answers_late(bot: &ScriptedBot) {
    let mut script = bot.script();
    script.refuse = Some(refusal("no_answer", "it may still act"));
    script.refuse_status = StatusCode::GATEWAY_TIMEOUT;
    (script.act_anyway, script.keep_waiting) = (true, true);
}

const WHY: &str = "a test of late endings";

async fn give(running: &Running, verb: &str, key: &str) -> (u16, Value) {
    let request = running.request(Method::POST, &format!("/api/v1/control/{verb}"));
    answer(request.header("idempotency-key", key).json(&json!({"reason": WHY}))).await
}

/// The same over MCP.
async fn give_over_mcp(running: &Running, verb: &str, key: &str) -> Value {
    let arguments = json!({"verb": verb, "reason": WHY, "idempotency_key": key});
    let params = json!({"name": "control_bot", "arguments": arguments});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let request =
        running.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream");
    answer(request.json(&body)).await.1["result"]["structuredContent"].clone()
}

/// The event that says how the command ended.
async fn ending(running: &Running, key: &str) -> Value {
    let find = || async {
        let (_, page) = running.get("/api/v1/events?kind=control&after=0&limit=200").await;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .find(|event| event["data"]["command_id"] == key && event["data"]["follow_up"] == true)
    };
    until("how it ended is told", SOON, || async { find().await.is_some() }).await;
    find().await.unwrap()
}

fn time(value: &Value) -> chrono::DateTime<chrono::Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value} is a time")).parse().unwrap()
}

/// That both ways in tell that it was done, and since when that is known.
async fn check_done(running: &Running, verb: &str, key: &str, told: &Value) {
    let (status, view) = give(running, verb, key).await;
    assert_eq!(
        (status, &view["replayed"], &view["outcome"]),
        (200, &json!(true), &json!("done")),
        "{view:#}"
    );
    assert_eq!((&view["reason"], &view["command_id"]), (&json!(WHY), &json!(key)), "{view:#}");
    assert_eq!((&view["exposure"], &view["verb"]), (&told["data"]["exposure"], &json!(verb)), "{view:#}");
    assert_eq!(view["at"], told["data"]["carried_out_at"], "{view:#}");
    let apart = (time(&view["known_since"]) - time(&told["at"])).num_seconds().abs();
    assert!(apart < 5, "it is known since the event: {view:#} {told:#}");
    let over_mcp = give_over_mcp(running, verb, key).await;
    for member in ["outcome", "replayed", "exposure", "known_since"] {
        assert_eq!(over_mcp[member], view[member], "{member}: {over_mcp:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_gets_the_ending_that_became_known_later_also_over_a_restart() {
    let folder = folder();
    let (mut bot, running) = with_bot(folder.path()).await;
    answers_late(&bot);
    let (status, problem) = give(&running, "flatten", "late").await;
    assert_eq!((status, &problem["effect"]), (504, &json!("unknown")), "{problem:#}");
    bot.script().keep_waiting = false;
    let told = ending(&running, "late").await;
    assert_eq!(told["data"]["outcome"], "done", "{told:#}");
    // The bot would say again that it does not know; it is not asked.
    check_done(&running, "flatten", "late", &told).await;
    let (_, refused) = give(&running, "pause", "late").await;
    assert_eq!(refused["error_code"], "API_011", "it still stands for its own request: {refused:#}");
    // Nor is a later start of the bot, that knows nothing of it, beside the next run of botops.
    running.stop().await;
    bot.restart();
    let running = beside(folder.path(), bot.id().as_str()).await;
    check_done(&running, "flatten", "late", &told).await;
    assert_eq!(bot.count("POST", "commands/flatten"), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_that_only_the_next_run_of_botops_learns_completes_the_key_too() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    answers_late(&bot);
    assert_eq!(give(&running, "pause", "across").await.1["effect"], "unknown");
    running.stop().await;
    let running = beside(folder.path(), bot.id().as_str()).await;
    bot.script().keep_waiting = false;
    let told = ending(&running, "across").await;
    check_done(&running, "pause", "across", &told).await;
    assert_eq!(bot.count("POST", "commands/pause"), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_command_never_arrived_says_so_and_never_acts() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    bot.script().only = "commands/flatten";
    bot.behave(Behaviour::HangUp);
    let (status, problem) = give(&running, "flatten", "lost").await;
    assert_eq!((status, &problem["effect"]), (504, &json!("unknown")), "{problem:#}");
    bot.behave(Behaviour::Normal);
    let told = ending(&running, "lost").await;
    assert_eq!(told["data"]["outcome"], "not_received", "{told:#}");
    let check = async |running: &Running| {
        let (status, problem) = give(running, "flatten", "lost").await;
        assert_eq!((status, &problem["effect"]), (409, &json!("none")), "{problem:#}");
        assert_eq!(problem["context"]["reason_code"], "expired", "{problem:#}");
        assert_eq!(problem["context"]["outcome"], "not_received", "{problem:#}");
        let apart = (time(&problem["context"]["known_since"]) - time(&told["at"])).num_seconds().abs();
        assert!(apart < 5, "{problem:#} {told:#}");
        assert!(problem["remediation"].as_str().unwrap().contains("new `Idempotency-Key`"), "{problem:#}");
        let over_mcp = give_over_mcp(running, "flatten", "lost").await;
        assert_eq!(over_mcp["error_code"], problem["error_code"], "{over_mcp:#}");
        assert_eq!(over_mcp["effect"], "none", "{over_mcp:#}");
    };
    check(&running).await;
    running.stop().await;
    let running = beside(folder.path(), bot.id().as_str()).await;
    check(&running).await;
    assert_eq!(bot.count("POST", "commands/flatten"), 1, "the repetition would act now");
    assert_eq!(bot.script().report.position_list().len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_took_a_command_late_refused_it_and_the_key_says_so() {
    let bot = Paperbot::start(&["--tick", "20ms"]).await;
    bot.trades().await;
    let running = beside(bot.folder.path(), "paperbot").await;
    bot.stall("paperbot.request");
    let (status, problem) = give(&running, "reset-breaker", "refused").await;
    assert_eq!((status, &problem["effect"]), (504, &json!("unknown")), "{problem:#}");
    bot.go_on("paperbot.request");
    let told = ending(&running, "refused").await;
    assert_eq!(told["data"]["outcome"], "refused", "{told:#}");
    let (status, problem) = give(&running, "reset-breaker", "refused").await;
    assert_eq!((status, &problem["effect"]), (409, &json!("none")), "{problem:#}");
    assert_eq!(problem["context"]["reason_code"], told["data"]["reason_code"], "{problem:#}");
    assert!(problem["context"]["known_since"].is_string(), "{problem:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_which_nobody_can_tell_says_what_was_found_out() {
    let folder = folder();
    let (mut bot, running) = with_bot(folder.path()).await;
    answers_late(&bot);
    assert_eq!(give(&running, "flatten", "doubt").await.1["effect"], "unknown");
    bot.script().keep_waiting = false;
    bot.restart();
    let told = ending(&running, "doubt").await;
    assert_eq!(told["data"]["outcome"], "still_unknown", "{told:#}");
    let (status, problem) = give(&running, "flatten", "doubt").await;
    assert_eq!((status, &problem["effect"]), (504, &json!("unknown")), "{problem:#}");
    let over_mcp = give_over_mcp(&running, "flatten", "doubt").await;
    assert_eq!(over_mcp["effect"], "unknown", "{over_mcp:#}");
    assert_eq!(bot.count("POST", "commands/flatten"), 1, "another start of the bot would act again");
    running.stop().await;
}
