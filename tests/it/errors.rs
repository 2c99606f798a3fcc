//! The same failures everywhere: in `GET errors`, over MCP, in plain words and in the summary, also after a restart.

use std::time::Duration;

use botops_contract::{BotEvent, EventKind, SemanticError, Severity};
use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::kit::scripted_bot::ScriptedBot;

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
        let shown = messages(&summary["recent_errors"]);
        shown == expected[..expected.len().min(3)] && left as usize + shown.len() == expected.len()
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
