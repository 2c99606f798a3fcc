//! The age of the state: counted from the bot's own timestamp, however often it is confirmed since. A trading loop that
//! stands still is noticed too.

use std::time::{Duration, Instant};

use botops_contract::Verb;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::Running;
use crate::kit::paperbot::Paperbot;
use crate::kit::scripted_bot::ScriptedBot;

const SOON: Duration = Duration::from_secs(30);

/// The promise: a loop that stands still is reported within this time after its limit.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

async fn get(botops: &Running, path: &str) -> Value {
    let (status, body) = botops.get(path).await;
    assert_eq!(status, 200, "{body}");
    body
}

fn warns(answer: &Value, words: &str) -> bool {
    answer["warnings"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one.as_str().unwrap().contains(words)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_stands_still_behind_a_living_api_is_told_of() {
    let mut bot = Paperbot::prepare(&["--tick", "50ms"]);
    bot.launch().await;
    bot.trades().await;
    let botops = Running::start(bot.folder.path(), &[]).await;
    let healthy = || async { get(&botops, "/api/v1/summary").await["health_status"] == "healthy" };
    kit::until("it is healthy", SOON, healthy).await;
    bot.stall("paperbot.loop");
    bot.stands("paperbot.loop").await;
    let stuck = bot.client.post(crate::kit::paperbot::url(&format!("commands/{}", Verb::Pause)));
    let body = json!({"command_id": "stuck", "reason": "a test", "args": null});
    let stuck = tokio::spawn(stuck.json(&body).send());
    let began = Instant::now();
    let told = || async {
        let summary = get(&botops, "/api/v1/summary").await;
        summary["health_status"] == "degraded" && warns(&summary, "trading loop stands still")
    };
    kit::until("the standstill is told", SOON, told).await;
    assert!(began.elapsed() < TOLD_WITHIN, "{:?}", began.elapsed());
    let state = get(&botops, "/api/v1/state").await;
    assert_eq!(state["bot"]["presence"], "connected", "its API answers");
    assert!(state["data_age_seconds"].as_f64().unwrap() > 4.0, "{}", state["data_age_seconds"]);
    let component = || async { get(&botops, "/api/v1/health/components/bot").await["status"] == "WARNING" };
    kit::until("the component says so", SOON, component).await;
    bot.go_on("paperbot.loop");
    kit::until("it is healthy again, or paused", SOON, || async {
        let summary = get(&botops, "/api/v1/summary").await;
        summary["health_status"] == "healthy" && !warns(&summary, "stands still")
    })
    .await;
    stuck.await.unwrap().unwrap();
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bot_knew_eighteen_minutes_ago_is_eighteen_minutes_old_however_fresh_its_answer() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let then = Utc::now() - TimeDelta::minutes(18);
    bot.change(|report| {
        report.loop_stats.last_tick_at = Some(then);
        report.account.last_updated = Some(then);
    });
    bot.script().report.as_of = Some(then);
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    let settings = [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str())];
    let botops = Running::start(folder.path(), &settings).await;
    let connected = || async { get(&botops, "/api/v1/state").await["bot"]["presence"] == "connected" };
    kit::until("it answers", SOON, connected).await;
    let summary = get(&botops, "/api/v1/summary").await;
    let age = summary["data_age_seconds"].as_f64().unwrap();
    assert!((1_080.0..1_200.0).contains(&age), "{age}");
    assert_eq!(
        (&summary["health_status"], &summary["is_data_stale"]),
        (&json!("degraded"), &json!(true)),
        "{summary:#}"
    );
    assert!(warns(&summary, "DATA IS VERY OLD"), "{summary:#}");
    let stands = || async { warns(&get(&botops, "/api/v1/summary").await, "trading loop stands still") };
    kit::until("the standstill is told", TOLD_WITHIN, stands).await;
    // A timestamp in the future ages from when it was received, instead of counting as fresh until it is past.
    let ahead = Utc::now() + TimeDelta::hours(12);
    bot.change(|report| report.loop_stats.last_tick_at = Some(ahead));
    bot.script().report.as_of = Some(ahead);
    let old = || async {
        let summary = get(&botops, "/api/v1/summary").await;
        warns(&summary, "clock is") && summary["data_age_seconds"].as_f64().is_some_and(|age| age > 2.0)
    };
    kit::until("it grows old, and the clock is told", SOON, old).await;
    // A bot that continues counts as fresh at once.
    bot.change(|report| report.loop_stats.last_tick_at = Some(Utc::now()));
    let fresh = || async { get(&botops, "/api/v1/summary").await["health_status"] == "healthy" };
    kit::until("it is fresh again", SOON, fresh).await;
    botops.stop().await;
}
