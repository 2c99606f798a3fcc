//! What recovery leaves to a person: it says so, says why, and gives the call that helps.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::health::{LIMIT, Peer, Stub, add, component_is, external, get, hasty, leave_out_machine};
use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::kit::scripted_bot::{ScriptedBot, refusal};
use crate::workflows::define;

/// Nothing is restarted in these tests, since their bot is a part of the test's process: this starts nothing.
const SUPERVISOR: (&str, &str) = ("BOT_SUPERVISOR", "command:[\"/bin/true\"]");

async fn beside(bot: &ScriptedBot, folder: &TempDir, more: &[(&str, &str)]) -> Running {
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    let mut settings = vec![("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str())];
    settings.extend(more);
    let botops = Running::start(folder.path(), &settings).await;
    leave_out_machine(&botops).await;
    let (status, body) = botops.send(Method::PUT, "/api/v1/health/monitoring/config", &hasty()).await;
    assert_eq!(status, 200, "{body}");
    botops
}

/// A bot that answers, whose loop went round last two minutes ago.
fn with_a_hung_loop() -> ScriptedBot {
    let bot = ScriptedBot::start();
    bot.keeps_its_config();
    bot.change(|report| {
        report.loop_stats.expected_interval_s = Some(1.0);
        report.loop_stats.last_tick_at = Some(Utc::now() - TimeDelta::minutes(2));
    });
    bot.script().alive = true;
    bot
}

fn warning(summary: &Value, words: &str) -> Option<String> {
    let all = summary["warnings"].as_array()?.iter().filter_map(Value::as_str);
    all.into_iter().find(|text| text.contains(words)).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_stands_still_is_told_with_the_restart_that_asks_it_for_nothing() {
    let (bot, folder) = (with_a_hung_loop(), kit::folder());
    let botops = beside(&bot, &folder, &[SUPERVISOR]).await;
    component_is(&botops, "bot", "CRITICAL").await;
    kit::until("the summary tells the remedy", LIMIT, || async {
        let summary = get(&botops, "/api/v1/summary").await;
        warning(&summary, "stands still")
            .is_some_and(|text| text.contains("`restart-bot` with `mode: immediate`") && !text.contains('…'))
    })
    .await;
    let summary = get(&botops, "/api/v1/summary").await;
    let next = &summary["next_actions"][0];
    assert_eq!(next["path"], "/api/v1/workflows/restart-bot/execute", "{summary:#}");
    assert_eq!(next["body"]["params"]["mode"], "immediate", "{summary:#}");
    // What it would do can be asked with the same body.
    let dry = format!("{}?dry_run=true", next["path"].as_str().unwrap());
    let (status, plan) = botops.send(Method::POST, &dry, &next["body"]).await;
    assert_eq!((status, &plan["impossible"]), (200, &json!([])), "{plan:#}");
    // Over MCP the same call has its tool and all of its arguments.
    let result = crate::mcp::call(&botops, KEY, "get_summary", json!({})).await;
    let of_tool = &result["structuredContent"]["next_actions"][0];
    assert_eq!(of_tool["tool"], "run_workflow", "{result:#}");
    assert_eq!(of_tool["arguments"]["params"], next["body"]["params"], "{result:#}");
    let path = "/api/v1/health/recovery/bot";
    kit::until("recovery says who must act", LIMIT, || async {
        let shown = get(&botops, path).await;
        let words = shown["left_to_person"].as_str().unwrap_or_default();
        words.contains("unasked") && words.contains("mode: immediate")
    })
    .await;
    let shown = get(&botops, path).await;
    assert_eq!((&shown["next_actions"][0], &shown["attempts"]), (next, &json!(0)), "{shown:#}");
    kit::until("it is told once as an event", LIMIT, || async {
        let events = get(&botops, "/api/v1/health/events?component_id=bot").await;
        let told = |event: &&Value| event["data"]["event_type"] == "recovery.left_to_person";
        let all: Vec<&Value> = events["items"].as_array().unwrap().iter().filter(told).collect();
        assert!(all.len() <= 1, "{events:#}");
        all.first().is_some_and(|event| event["data"]["reason"] == "loop_stands_still")
    })
    .await;
    // Once the loop goes round, nothing is left to do.
    bot.change(|report| report.loop_stats.expected_interval_s = Some(3_600.0));
    kit::until("it is over", LIMIT, || async {
        let summary = get(&botops, "/api/v1/summary").await;
        let calls = summary["next_actions"].as_array().cloned().unwrap_or_default();
        calls.iter().all(|call| call["method"] == "GET") && warning(&summary, "stands still").is_none()
    })
    .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_recovery_that_nobody_could_do_is_refused_at_once() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    bot.keeps_its_config();
    bot.script().alive = true;
    let botops = beside(&bot, &folder, &[]).await;
    component_is(&botops, "bot", "HEALTHY").await;
    let path = "/api/v1/health/recovery/bot";
    let (status, problem) = botops.send(Method::POST, path, &json!({"action": "run"})).await;
    assert_eq!((status, &problem["error_code"]), (409, &json!("BOT_020")), "{problem:#}");
    assert!(problem["remediation"].as_str().unwrap().contains("BOT_SUPERVISOR"), "{problem:#}");
    let shown = get(&botops, path).await;
    assert_eq!((&shown["state"], &shown["attempts"]), (&json!("idle"), &json!(0)), "{shown:#}");
    // What acts on nothing outside of botops is not refused for it.
    let (status, held) = botops.send(Method::POST, path, &json!({"action": "hold"})).await;
    assert_eq!(status, 200, "{held:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_supervisor_the_setting_is_named_and_no_call_is_offered() {
    let (bot, folder) = (with_a_hung_loop(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    component_is(&botops, "bot", "CRITICAL").await;
    kit::until("the summary tells the remedy", LIMIT, || async {
        let summary = get(&botops, "/api/v1/summary").await;
        let calls = summary["next_actions"].as_array().cloned().unwrap_or_default();
        assert!(
            calls.iter().all(|call| call["method"] == "GET"),
            "nothing is offered that acts: {summary:#}"
        );
        warning(&summary, "stands still")
            .is_some_and(|text| text.contains("by hand") && text.contains("BOT_SUPERVISOR"))
    })
    .await;
    let words = || async {
        let shown = get(&botops, "/api/v1/health/recovery/bot").await;
        shown["left_to_person"].as_str().is_some_and(|words| words.contains("BOT_SUPERVISOR"))
    };
    kit::until("recovery says so, too", LIMIT, words).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_health_calls_critical_is_not_healthy_in_the_same_answer() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    bot.keeps_its_config();
    bot.script().alive = true;
    let botops = beside(&bot, &folder, &[SUPERVISOR]).await;
    component_is(&botops, "bot", "HEALTHY").await;
    bot.change(|report| report.error_count_last_hour = Some(500));
    component_is(&botops, "bot", "CRITICAL").await;
    kit::until("there is one verdict", LIMIT, || async {
        let summary = get(&botops, "/api/v1/summary").await;
        let why = summary["health_reason"].as_str().unwrap().to_owned();
        summary["health_status"] == "degraded" && why.contains("bot is CRITICAL (errors_last_hour is 500")
    })
    .await;
    // Recovery says why it does nothing to a bot that answers.
    kit::until("recovery leaves it to a person", LIMIT, || async {
        let shown = get(&botops, "/api/v1/health/recovery/bot").await;
        let words = shown["left_to_person"].as_str().unwrap_or_default();
        words.contains("nothing that answers is restarted unasked") && words.contains("A person")
    })
    .await;
    bot.change(|report| report.error_count_last_hour = Some(0));
    let healthy = || async { get(&botops, "/api/v1/summary").await["health_status"] == "healthy" };
    kit::until("it is healthy again", LIMIT, healthy).await;
    botops.stop().await;
}

/// A checker whose recovery ran as often as it may, and helped never.
pub(crate) struct UsedUp {
    pub(crate) botops: Running,
    _bot: ScriptedBot,
    _folder: TempDir,
    _peer: Stub,
}

impl UsedUp {
    /// Ends botops; a run may still be at work.
    pub(crate) async fn end(self) {
        tokio::time::timeout(Duration::from_secs(60), self.botops.stop()).await.unwrap();
    }
}

const OF_FEED: &str = "/api/v1/health/recovery/feed";

/// `feed` is broken, and its recovery has made its three attempts.
pub(crate) async fn with_used_up_attempts() -> UsedUp {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    bot.script().refuse = Some(refusal("loop_busy", "a rebalance is under way"));
    let mend = "workflow: v1\nid: mend\ntitle: Mend\nrisk: disruptive\nparams:\n  type: object\n  additionalProperties: false\n\
                \x20 properties: {reason: {type: string}}\n\
                policy: {locks: [bot], on_conflict: reject, timeout_s: 60, on_crash: resume}\nsteps:\n\
                \x20 - {id: cancel, uses: bot.cancel_orders, undo: none, with: {reason: $params.reason}}\n";
    define(folder.path(), "mend", mend);
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    component_is(&botops, "bot", "HEALTHY").await;
    let peer = Stub::start(Peer::Status(500)).await;
    let mut checker = external("feed", &peer.base);
    checker["recovery_workflow"] = json!("mend");
    add(&botops, &checker).await;
    component_is(&botops, "feed", "CRITICAL").await;
    for attempt in 1..=3 {
        let (status, body) = botops.send(Method::POST, OF_FEED, &json!({"action": "run"})).await;
        assert_eq!(status, 200, "{body}");
        kit::until("the attempt is over", LIMIT, || async {
            let shown = get(&botops, OF_FEED).await;
            shown["attempts"] == attempt && shown["state"] != "running"
        })
        .await;
    }
    UsedUp { botops, _bot: bot, _folder: folder, _peer: peer }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_are_used_up_are_told_in_the_summary() {
    let world = with_used_up_attempts().await;
    let botops = &world.botops;
    let shown = get(botops, OF_FEED).await;
    assert_eq!(shown["state"], "exhausted", "{shown:#}");
    assert!(shown["last_outcome"].as_str().unwrap().contains("rebalance"), "{shown:#}");
    kit::until("the summary tells it", LIMIT, || async {
        let summary = get(botops, "/api/v1/summary").await;
        let told = warning(&summary, "Recovery of feed made 3 attempts, and none helped");
        told.is_some_and(|text| text.ends_with("A person must put feed right."))
    })
    .await;
    assert!(get(botops, OF_FEED).await["left_to_person"].as_str().unwrap().contains("3 attempts"));
    world.end().await;
}
