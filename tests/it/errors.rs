//! The same failures everywhere: in `GET errors`, over MCP, in plain words and in the summary, also after a restart.

use std::time::Duration;

use botops_contract::{BotEvent, EventKind, SemanticError, Severity};
use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::configs::world::{World, careful};
use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::kit::scripted_bot::ScriptedBot;
use crate::workflows;

const SOON: Duration = Duration::from_secs(30);

fn failure(code: &str, message: &str, seconds_ago: i64) -> SemanticError {
    SemanticError {
        error_code: code.to_owned(),
        error_type: "TradingError".to_owned(),
        severity: Severity::Medium,
        severity_raw: None,
        message: message.to_owned(),
        cause: "something".to_owned(),
        impact: "somewhat".to_owned(),
        remediation: "do something".to_owned(),
        context: Value::Null,
        timestamp: Some(Utc::now() - TimeDelta::seconds(seconds_ago)),
    }
}

fn tell(bot: &ScriptedBot, kind: EventKind, message: &str, error: Option<SemanticError>) {
    {
        let mut script = bot.script();
        let seq = script.events.last().map_or(0, |event| event.seq) + 1;
        let boot_epoch = script.hello.boot_epoch.clone();
        script.events.push(BotEvent {
            seq,
            boot_epoch: boot_epoch.unwrap_or_default(),
            at: error.as_ref().map_or_else(|| Some(Utc::now()), |error| error.timestamp),
            kind,
            kind_raw: None,
            severity: Severity::Medium,
            severity_raw: None,
            message: message.to_owned(),
            error,
            data: Value::Null,
        });
    }
    // Wakes the stream.
    bot.emit(EventKind::Other, Severity::Low, "news");
}

async fn start_beside(bot: &ScriptedBot, folder: &TempDir) -> Running {
    bot.keeps_its_config();
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    Running::start(folder.path(), &[("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str())]).await
}

fn messages(items: &Value) -> Vec<String> {
    let items = items.as_array().unwrap_or_else(|| panic!("no list: {items}"));
    items.iter().map(|item| item["message"].as_str().unwrap().to_owned()).collect()
}

/// Asserts that every way to the failures has exactly these, newest first.
async fn expect_everywhere(botops: &Running, expected: &[&str]) {
    let listed = || async { messages(&botops.get("/api/v1/errors").await.1["items"]) == expected };
    kit::until(&format!("{expected:?}"), SOON, listed).await;
    let mut paged = Vec::new();
    let mut path = "/api/v1/errors?limit=1".to_owned();
    loop {
        let (_, page) = botops.get(&path).await;
        paged.extend(messages(&page["items"]));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/api/v1/errors?limit=1&after={next}");
    }
    assert_eq!(paged, expected, "one a page");
    let tool = crate::mcp::call(botops, KEY, "list_errors", json!({})).await;
    assert_eq!(messages(&tool["structuredContent"]["items"]), expected, "{tool:#}");
    let (_, asked) = botops.send(Method::POST, "/api/v1/ask", &json!({"text": "what went wrong"})).await;
    assert_eq!(messages(&asked["answer"]["items"]), expected, "{asked:#}");
    let summed = || async {
        let (_, summary) = botops.get("/api/v1/summary").await;
        let left =
            summary["omitted"].as_array().unwrap().iter().find(|left| left["what"] == "errors").cloned();
        let left = left.map_or(0, |left| left["count"].as_u64().unwrap());
        // Those that say the same are one, with how often it came.
        let told = summary["recent_errors"].as_array().unwrap().iter();
        let is_whole = told.len() < 2;
        let shown = told.flat_map(|error| {
            let times = error["times"].as_u64().unwrap_or(1) as usize;
            vec![error["message"].as_str().unwrap().to_owned(); times]
        });
        let shown: Vec<String> = shown.collect();
        let all = left as usize + shown.len();
        shown == expected[..shown.len()] && all == expected.len() && (left == 0 || !is_whole)
    };
    kit::until(&format!("the summary has {expected:?}"), SOON, summed).await;
    // Each has its page in the catalogue.
    let (_, page) = botops.get("/api/v1/errors").await;
    for item in page["items"].as_array().unwrap() {
        let path = format!("/api/v1/errors/catalogue/{}", item["error_code"].as_str().unwrap());
        assert_eq!(botops.get(&path).await.0, 200, "{item:#}");
    }
}

/// A bot that tells a failure as what it is about and once more as an error, and lists it in its state.
#[tokio::test(flavor = "multi_thread")]
async fn one_failure_told_by_several_events_is_one_failure() {
    let bot = ScriptedBot::start();
    let (session, order) = (failure("BRK_005", "the session failed", 40), failure("BRK_010", "refused", 20));
    tell(&bot, EventKind::Session, "degraded", Some(session.clone()));
    tell(&bot, EventKind::Breaker, "opened", Some(session.clone()));
    tell(&bot, EventKind::Error, "it failed", Some(session.clone()));
    tell(&bot, EventKind::Order, "rejected", Some(order.clone()));
    tell(&bot, EventKind::Error, "rejected", Some(order.clone()));
    // The same code at the same moment with other words is another failure.
    let other = SemanticError { message: "another order was refused".to_owned(), ..order.clone() };
    tell(&bot, EventKind::Order, "rejected", Some(other.clone()));
    let alone = failure("BRK_004", "only in the state", 10);
    bot.change(|report| {
        report.recent_errors = Some(vec![alone.clone(), other.clone(), order.clone(), session.clone()]);
        report.error_count_last_hour = Some(4);
    });
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    let expected = ["only in the state", "another order was refused", "refused", "the session failed"];
    expect_everywhere(&botops, &expected).await;
    botops.stop().await;
    let botops = start_beside(&bot, &folder).await;
    expect_everywhere(&botops, &expected).await;
    botops.stop().await;
}

/// Much else happens within the hour: the failure is still one of the hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_hour_is_not_lost_behind_other_events() {
    let bot = ScriptedBot::start();
    tell(&bot, EventKind::Session, "degraded", Some(failure("BRK_005", "the session failed", 600)));
    tell(&bot, EventKind::Order, "rejected", Some(failure("BRK_010", "refused", 500)));
    {
        let mut script = bot.script();
        let first = script.events.last().unwrap().clone();
        for n in 1..=6_000 {
            let seq = first.seq + n;
            script.events.push(BotEvent { seq, kind: EventKind::Fill, error: None, ..first.clone() });
        }
    }
    bot.emit(EventKind::Other, Severity::Low, "news");
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    let all_read = || async {
        let (_, page) = botops.get("/api/v1/events?kind=other&limit=500").await;
        page["items"].as_array().unwrap().len() == 3
    };
    kit::until("all events are read", Duration::from_secs(60), all_read).await;
    expect_everywhere(&botops, &["refused", "the session failed"]).await;
    botops.stop().await;
    let botops = start_beside(&bot, &folder).await;
    expect_everywhere(&botops, &["refused", "the session failed"]).await;
    botops.stop().await;
}

/// What botops itself found: a config that it did not commit, a change that was undone, a run that failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_botops_found_is_in_the_same_list_whatever_event_carried_it() {
    let world = World::start().await;
    let begun = world.botops.get("/api/v1/errors?limit=500").await.1["items"].as_array().unwrap().len();
    let txn = world.try_out(careful(4_000), 1.0).await;
    assert_eq!(world.ended(&txn).await["state"], "rolled_back");
    let params = json!({"params": {"reason": "more than there is",
        "targets": [{"symbol": "SPY", "weight": 0.9}, {"symbol": "QQQ", "weight": 0.9}]}});
    let path = "/api/v1/workflows/update-targets/execute";
    let (status, run) = world.botops.send(Method::POST, path, &params).await;
    assert_eq!(status, 202, "{run:#}");
    let run = workflows::ended(&world.botops, run["run_id"].as_str().unwrap(), SOON).await;
    assert_eq!(run["terminal"], true, "{run:#}");
    let hash = "0".repeat(64);
    world.bot.script().config.drift(botops_contract::VersionRef { version: 0, sha256: hash });
    kit::until("drift is seen", SOON, || async { world.config().await["sync"] == "drifted" }).await;
    let failures = async || {
        let (_, page) = world.botops.get("/api/v1/events?after=0&limit=500").await;
        let mut items = page["items"].as_array().cloned().unwrap_or_default();
        items.retain(|event| event["source"] == "botops" && event["error"].is_object());
        items.reverse();
        items
    };
    kit::until("all three are told", SOON, async || failures().await.len() == begun + 3).await;
    let all = failures().await;
    let told = &all[..3];
    let codes: Vec<&str> = told.iter().map(|event| event["error"]["error_code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["CFG_020", run["error"]["error_code"].as_str().unwrap(), "CFG_021"], "{told:#?}");
    let kinds: Vec<&str> = told.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["config", "workflow", "config"]);
    assert!(told.iter().all(|event| event["message"] == event["error"]["message"]), "{told:#?}");
    let messages: Vec<&str> = all.iter().map(|event| event["message"].as_str().unwrap()).collect();
    expect_everywhere(&world.botops, &messages).await;
    world.botops.stop().await;
}

/// Failures without a time stand where they were first seen, not last, and are not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_without_a_time_is_as_of_when_it_was_first_seen() {
    let bot = ScriptedBot::start();
    let undated = SemanticError {
        timestamp: None,
        severity: Severity::Critical,
        ..failure("BRK_011", "it may have been filled twice", 0)
    };
    let before: Vec<_> = (0..4).map(|n| failure("BRK_010", &format!("order {n}"), 1_000 + n)).collect();
    bot.change(|report| {
        report.recent_errors = Some([&before[..], std::slice::from_ref(&undated)].concat());
        report.error_count_last_hour = Some(5);
    });
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    let expected = ["it may have been filled twice", "order 0", "order 1", "order 2", "order 3"];
    expect_everywhere(&botops, &expected).await;
    let (_, page) = botops.get("/api/v1/errors").await;
    let seen = page["items"][0]["first_seen_at"].as_str().unwrap().to_owned();
    assert_eq!(page["items"][0]["timestamp"], Value::Null);
    assert!(page["items"][1].get("first_seen_at").is_none(), "{page:#}");
    let (_, state) = botops.get("/api/v1/state").await;
    let reason = state["health"]["reason"].as_str().unwrap();
    assert!(reason.contains("1 of them critical (1 without a time"), "{reason}");
    // A later one pushes it down, and does not change when it was seen.
    let later = failure("BRK_010", "a later order", -5);
    bot.change(|report| report.recent_errors.as_mut().unwrap().insert(0, later));
    let first = || async { botops.get("/api/v1/errors").await.1["items"][0]["message"] == "a later order" };
    kit::until("the later one is first", SOON, first).await;
    assert_eq!(botops.get("/api/v1/errors").await.1["items"][1]["first_seen_at"], seen);
    botops.stop().await;
}

/// An empty list is one of nothing that failed only where somebody would have told it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_reports_no_failures_is_not_one_without_failures() {
    let bot = ScriptedBot::start();
    bot.script().hello.capabilities.retain(|one| one.name != "events");
    bot.change(|report| report.recent_errors = None);
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    let why = || async {
        let (_, page) = botops.get("/api/v1/errors").await;
        page["unknown_reason"].as_str().is_some_and(|why| why.contains("does not report its failures"))
    };
    kit::until("the list says that it lacks the bot's", SOON, why).await;
    bot.change(|report| report.recent_errors = Some(Vec::new()));
    let known = || async { botops.get("/api/v1/errors").await.1["unknown_reason"].is_null() };
    kit::until("an empty list of the bot is known", SOON, known).await;
    botops.stop().await;
}

/// A failure of which the bot says nothing but that it was one.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_without_details_has_its_row_too() {
    let bot = ScriptedBot::start();
    tell(&bot, EventKind::Error, "it failed", None);
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    expect_everywhere(&botops, &["it failed"]).await;
    let (_, page) = botops.get("/api/v1/errors").await;
    for member in ["cause", "impact", "remediation"] {
        assert!(!page["items"][0][member].as_str().unwrap().is_empty(), "{page:#}");
    }
    botops.stop().await;
}

/// A bot whose events have a time where its state has none, or the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_is_dated_on_one_side_alone_is_one_failure() {
    let bot = ScriptedBot::start();
    let undated = |failure: &SemanticError| SemanticError { timestamp: None, ..failure.clone() };
    let (session, order) = (failure("BRK_005", "the session failed", 40), failure("BRK_010", "refused", 20));
    tell(&bot, EventKind::Session, "degraded", Some(session.clone()));
    tell(&bot, EventKind::Order, "rejected", Some(undated(&order)));
    bot.change(|report| {
        report.recent_errors = Some(vec![order.clone(), undated(&session)]);
        report.error_count_last_hour = Some(2);
    });
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    expect_everywhere(&botops, &["refused", "the session failed"]).await;
    // One that comes while botops watches is told by both sides, too.
    let later = failure("BRK_005", "the session failed again", 0);
    tell(&bot, EventKind::Session, "degraded", Some(later.clone()));
    bot.change(|report| {
        let listed = report.recent_errors.as_mut().unwrap();
        listed.insert(0, undated(&later));
        report.error_count_last_hour = Some(3);
    });
    expect_everywhere(&botops, &["the session failed again", "refused", "the session failed"]).await;
    botops.stop().await;
}

/// The same words say nothing about when: what happens again is another failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_failure_without_a_time_is_not_the_one_that_an_old_event_told() {
    let bot = ScriptedBot::start();
    tell(&bot, EventKind::Session, "degraded", Some(failure("BRK_005", "the session failed", 1_800)));
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    expect_everywhere(&botops, &["the session failed"]).await;
    let again = SemanticError { timestamp: None, ..failure("BRK_005", "the session failed", 0) };
    bot.change(|report| {
        report.recent_errors = Some(vec![again.clone()]);
        report.error_count_last_hour = Some(2);
    });
    expect_everywhere(&botops, &["the session failed", "the session failed"]).await;
    botops.stop().await;
}
