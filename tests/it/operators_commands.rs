//! What became of operators' commands is seen by whoever reads the state later: a pause that a restart of the bot took
//! away, and a command that failed.

use std::sync::Arc;
use std::time::Duration;

use botops_contract::BotPhase;
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::app::{Running, answer};
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, refusal, report};
use crate::kit::{folder, until};

const SOON: Duration = Duration::from_secs(40);

async fn beside(folder: &std::path::Path, bot: &ScriptedBot) -> Running {
    let id = bot.id().to_string();
    let running = Running::start(folder, &[("BOT_ID", &id)]).await;
    let seen = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("the bot is seen", SOON, seen).await;
    running
}

fn a_bot(folder: &std::path::Path) -> ScriptedBot {
    let bot = ScriptedBot::at(&folder.join("bot.sock"), report());
    bot.script().alive = true;
    bot.keeps_its_config();
    bot
}

async fn give(running: &Running, verb: &str) -> (u16, Value) {
    let request = running.request(Method::POST, &format!("/api/v1/control/{verb}"));
    answer(request.json(&json!({"reason": "lunch, back at two"}))).await
}

async fn pause(running: &Running) {
    let (status, view) = give(running, "pause").await;
    assert_eq!((status, view["outcome"].as_str()), (200, Some("done")), "{view}");
    let shown = || async { running.get("/api/v1/summary").await.1["trading_enabled"] == false };
    until("the state shows the pause", SOON, shown).await;
}

/// Starts the bot again, as a crash or systemd does; this one keeps its pause only if `keeps` says so.
fn start_again(bot: &mut ScriptedBot, keeps: bool) {
    bot.die();
    if !keeps {
        bot.change(|report| (report.phase, report.trading_enabled) = (BotPhase::Running, Some(true)));
    }
    bot.restart();
}

/// Warnings of the summary that begin with this.
async fn warnings(running: &Running, start: &str) -> Vec<String> {
    let summary = running.get("/api/v1/summary").await.1;
    let all = summary["warnings"].as_array().cloned().unwrap_or_default();
    let texts = all.iter().filter_map(|one| one.as_str().map(str::to_owned));
    texts.filter(|text| text.starts_with(start)).collect()
}

async fn is_warned(running: &Running, start: &str) -> bool {
    !warnings(running, start).await.is_empty()
}

/// The failures of this code.
async fn failures(running: &Running, code: &str) -> Vec<Value> {
    let page = running.get("/api/v1/errors?limit=100").await.1;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|item| item["error_code"] == code).collect()
}

/// A bot that was paused, started again by nobody who asked botops, and trades.
pub(crate) async fn raise_pause_lost(running: &Running, bot: &mut ScriptedBot) -> Value {
    pause(running).await;
    start_again(bot, false);
    until("the pause is told as lost", SOON, || is_warned(running, "NOT PAUSED")).await;
    failures(running, "BOT_023").await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_a_restart_of_the_bot_took_away_is_told_with_who_gave_it() {
    let folder = folder();
    let mut bot = a_bot(folder.path());
    let running = beside(folder.path(), &bot).await;
    let failure = raise_pause_lost(&running, &mut bot).await;
    let (_, control) = running.get("/api/v1/events?kind=control&after=0&limit=50").await;
    let actor = control["items"][0]["data"]["actor"].as_str().unwrap().to_owned();
    let warning = warnings(&running, "NOT PAUSED").await.remove(0);
    assert!(warning.contains(&actor) && warning.contains("POST /api/v1/control/pause"), "{warning}");
    assert!(failure["cause"].as_str().unwrap().contains("lunch, back at two"), "{failure:#}");
    let summary = running.get("/api/v1/summary").await.1;
    assert_eq!(summary["health_status"], "degraded", "{summary:#}");
    assert_eq!(summary["trading_enabled"], true, "what the bot says is shown as it is");
    let (_, lifecycle) = running.get("/api/v1/events?kind=lifecycle&after=0&limit=50").await;
    let told: Vec<&Value> = lifecycle["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["data"]["verb"] == "pause")
        .collect();
    assert_eq!(told.len(), 1, "it is told once: {told:#?}");
    assert_eq!((&told[0]["data"]["actor"], &told[0]["severity"]), (&json!(actor), &json!("high")));
    assert_eq!(bot.count("POST", "commands/pause"), 1, "nobody asked botops to pause it again");

    let alarmed = || async {
        let trading = running.get("/api/v1/health/components/trading").await.1;
        trading["status"] == "CRITICAL" && trading["reason"].as_str().is_some_and(|why| why.contains(&actor))
    };
    until("health tells it", SOON, alarmed).await;

    pause(&running).await;
    until("it is paused again", SOON, || async { !is_warned(&running, "NOT PAUSED").await }).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_paused_a_bot_is_known_from_its_own_state_where_it_cannot_be_asked_what_a_late_handler_did() {
    let folder = folder();
    let bot = a_bot(folder.path());
    bot.script().hello.capabilities.retain(|one| one.name != "command-status");
    bot.script().raw_commands = Some(Arc::new(|body| {
        json!({"command_id": body["command_id"], "outcome": "unconfirmed", "message": "it has begun it"})
            .to_string()
    }));
    let running = beside(folder.path(), &bot).await;
    let (status, problem) = give(&running, "flatten").await;
    assert_eq!((status, problem["effect"].as_str()), (504, Some("unknown")), "{problem}");
    let paused = |reason: &str| {
        let reason = Some(reason.to_owned());
        bot.change(|report| {
            (report.phase, report.trading_enabled, report.phase_reason) =
                (BotPhase::Paused, Some(false), reason);
        });
    };
    // What it says of another pause proves nothing of this one.
    paused("pause: somebody at its own window");
    let pause = || async { running.get("/api/v1/state").await.1["pause"].clone() };
    until("it is paused", SOON, || async { pause().await.is_object() }).await;
    assert_eq!(pause().await["by"], Value::Null);
    paused("flatten: lunch, back at two");
    until("who paused it is known", SOON, || async { pause().await["by"].is_string() }).await;
    assert_eq!(pause().await["reason"], "lunch, back at two");
    let page = markdown(&running).await;
    assert!(page.contains("paused it at") && page.contains("(lunch, back at two)"), "{page}");
    running.stop().await;
}

/// The failures of this code in the summary.
async fn in_summary(running: &Running, code: &str) -> Vec<Value> {
    let summary = running.get("/api/v1/summary").await.1;
    let items = summary["recent_errors"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|item| item["error_code"] == code).collect()
}

async fn markdown(running: &Running) -> String {
    let request = running.request(Method::GET, "/api/v1/summary").header("accept", "text/markdown");
    request.send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_pause_stands_among_what_botops_found_and_leaves_the_summary_when_it_is_mended() {
    let folder = folder();
    let mut bot = a_bot(folder.path());
    let running = beside(folder.path(), &bot).await;
    raise_pause_lost(&running, &mut bot).await;
    let failure = in_summary(&running, "BOT_023").await.remove(0);
    assert_eq!(failure["source"], "botops", "{failure:#}");
    let page = markdown(&running).await;
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(place("## Recent errors (found by botops)") < place("BOT_023"), "{page}");
    assert!(!page.contains("(the bot's words)"), "none of them is: {page}");

    pause(&running).await;
    until("it is gone from the summary", SOON, || async { in_summary(&running, "BOT_023").await.is_empty() })
        .await;
    assert!(!markdown(&running).await.contains("BOT_023"));
    let summary = running.get("/api/v1/summary").await.1;
    let left_out = summary["omitted"].as_array().unwrap().iter().any(|one| one["what"] == "errors");
    assert!(!left_out, "what is over is not left out: {summary:#}");
    assert_eq!(failures(&running, "BOT_023").await.len(), 1, "the record keeps it");

    // Lost once more, and this time it should trade.
    start_again(&mut bot, false);
    until("it is told again", SOON, || async { in_summary(&running, "BOT_023").await.len() == 1 }).await;
    assert_eq!(give(&running, "resume").await.0, 200);
    until("it is gone again", SOON, || async { in_summary(&running, "BOT_023").await.is_empty() }).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_known_over_a_restart_of_botops_and_who_resumes_ends_the_warning() {
    let folder = folder();
    let mut bot = a_bot(folder.path());
    let running = beside(folder.path(), &bot).await;
    pause(&running).await;
    running.stop().await;
    start_again(&mut bot, false);
    let running = beside(folder.path(), &bot).await;
    until("the pause is told as lost", SOON, || is_warned(&running, "NOT PAUSED")).await;
    running.stop().await;
    let running = beside(folder.path(), &bot).await;
    until("it is still warned of", SOON, || is_warned(&running, "NOT PAUSED")).await;
    assert_eq!(failures(&running, "BOT_023").await.len(), 1, "it is told once");
    assert_eq!(give(&running, "resume").await.0, 200);
    until("it should trade", SOON, || async { !is_warned(&running, "NOT PAUSED").await }).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_keeps_its_pause_or_is_resumed_by_its_own_means_has_lost_none() {
    let folder = folder();
    let mut bot = a_bot(folder.path());
    let running = beside(folder.path(), &bot).await;
    pause(&running).await;
    start_again(&mut bot, true);
    let epoch = bot.script().hello.boot_epoch.clone();
    let back = || async {
        let state = running.get("/api/v1/state").await.1;
        state["bot"]["boot_epoch"].as_str() == epoch.as_deref() && state["phase"] == "paused"
    };
    until("it came back paused", SOON, back).await;
    // Somebody resumes it at the bot itself.
    bot.change(|report| (report.phase, report.trading_enabled) = (BotPhase::Running, Some(true)));
    let trades = || async { running.get("/api/v1/state").await.1["trading_enabled"] == true };
    until("it trades", SOON, trades).await;
    // Nothing is left of that pause in its next life.
    start_again(&mut bot, false);
    let epoch = bot.script().hello.boot_epoch.clone();
    let back =
        || async { running.get("/api/v1/state").await.1["bot"]["boot_epoch"].as_str() == epoch.as_deref() };
    until("it came back", SOON, back).await;
    assert!(!is_warned(&running, "NOT PAUSED").await);
    assert_eq!(failures(&running, "BOT_023").await, Vec::<Value>::new());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_failed_is_a_warning_until_it_is_given_with_success() {
    let folder = folder();
    let mut bot = a_bot(folder.path());
    let running = beside(folder.path(), &bot).await;
    bot.script().refuse = Some(refusal("loop_busy", "a rebalance is under way"));
    assert_eq!(give(&running, "pause").await.1["error_code"], "BOT_003");
    until("the refused pause is told", SOON, || is_warned(&running, "pause of ")).await;
    let warning = warnings(&running, "pause of ").await.remove(0);
    for part in ["failed at", "BOT_003", "nothing was done", "a rebalance is under way"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    bot.script().refuse = None;
    pause(&running).await;
    until("it was given with success", SOON, || async { !is_warned(&running, "pause of ").await }).await;

    // What may have acted is told as that, also of a bot that is gone by then.
    bot.script().twist = json!({"outcome": "unconfirmed"});
    assert_eq!(give(&running, "flatten").await.1["effect"], "unknown");
    bot.behave(Behaviour::Normal);
    bot.die();
    until("the flatten in doubt is told", SOON, || async {
        let offline = running.get("/api/v1/summary").await.1["health_status"] == "offline";
        let told = warnings(&running, "flatten of ").await;
        offline && told.iter().any(|text| text.contains("whether it acted is not known"))
    })
    .await;
    // A dry run is no command.
    let dry = running.request(Method::POST, "/api/v1/control/reauth?dry_run=true");
    assert_eq!(answer(dry.json(&json!({"reason": "what would happen"}))).await.0, 503);
    assert_eq!(give(&running, "resume").await.0, 503);
    until("the resume is told", SOON, || is_warned(&running, "resume of ")).await;
    assert!(!is_warned(&running, "reauth of ").await);
    running.stop().await;
}
