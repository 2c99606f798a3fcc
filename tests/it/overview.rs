//! State, summary, metrics, events, errors and whoami, over the API.

use std::time::{Duration, Instant};

use botops_contract::{BotEvent, BotReport, EventKind, SemanticError, Severity};
use botops_server::events::NewEvent;
use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::kit::scripted_bot::ScriptedBot;
use crate::refusals::assert_problem;

const SOON: Duration = Duration::from_secs(20);

/// Starts botops beside a scripted bot and waits until it is connected.
async fn beside(bot: &ScriptedBot, more: &[(&str, &str)]) -> (TempDir, Running) {
    let folder = kit::folder();
    let socket = bot.socket().display().to_string();
    let id = bot.id();
    let mut settings = vec![("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str())];
    settings.extend(more);
    let botops = Running::start(folder.path(), &settings).await;
    let limit = Duration::from_secs(30);
    kit::until("the bot is seen", limit, || async { summary(&botops).await["health_status"] != "offline" })
        .await;
    (folder, botops)
}

async fn summary(botops: &Running) -> Value {
    let (status, summary) = botops.get("/api/v1/summary").await;
    assert_eq!(status, 200, "{summary}");
    summary
}

async fn state(botops: &Running) -> Value {
    let (status, state) = botops.get("/api/v1/state").await;
    assert_eq!(status, 200, "{state}");
    state
}

fn failure(message: &str) -> SemanticError {
    SemanticError {
        severity_raw: None,
        error_code: "BRK_010".to_owned(),
        error_type: "TradingError".to_owned(),
        severity: Severity::Medium,
        message: message.to_owned(),
        cause: "the broker said no".to_owned(),
        impact: "the position was not opened".to_owned(),
        remediation: "Look at the order.".to_owned(),
        context: Value::Null,
        timestamp: Some(Utc::now()),
    }
}

fn publish_failure(botops: &Running, message: &str) -> u64 {
    let event = NewEvent {
        error: Some(failure(message)),
        source: "bot:scripted".to_owned(),
        ..NewEvent::own(EventKind::Error, Severity::Medium, message, Value::Null)
    };
    botops.app.handles().events.publish(event)
}

#[tokio::test]
async fn names_on_the_wire_do_not_drift() {
    let bot = ScriptedBot::start();
    let (_folder, botops) = beside(&bot, &[]).await;
    let state = state(&botops).await;
    let names = [
        "/mode",
        "/bot/id",
        "/bot/name",
        "/bot/version",
        "/bot/pid",
        "/bot/boot_epoch",
        "/bot/mode",
        "/bot/presence",
        "/bot/presence_reason",
        "/bot/since",
        "/health/status",
        "/health/reason",
        "/health/circuit_breaker_active",
        "/health/last_heartbeat",
        "/health/api_connected",
        "/health/last_trade_timestamp",
        "/health/error_count_last_hour",
        "/session",
        "/circuit_breaker/state",
        "/circuit_breaker/reason",
        "/circuit_breaker/since",
        "/account/buying_power",
        "/account/account_balance",
        "/account/cash_balance",
        "/account/day_trade_count",
        "/account/last_updated",
        "/account/as_of",
        "/positions",
        "/orders",
        "/performance/win_rate",
        "/performance/avg_risk_reward",
        "/performance/total_realized_pl",
        "/performance/total_unrealized_pl",
        "/performance/total_pl",
        "/performance/current_streak",
        "/performance/streak_type",
        "/performance/trades_today",
        "/performance/session_count",
        "/performance/max_drawdown",
        "/config_summary/mode",
        "/config_summary/max_position_size_pct",
        "/config_summary/daily_loss_limit",
        "/config/running",
        "/config/committed",
        "/config/trial",
        "/config/sync",
        "/market_status",
        "/market/status",
        "/loop",
        "/no_entry_reasons",
        "/warnings",
        "/timestamp",
        "/as_of",
        "/data_age_seconds",
        "/is_data_stale",
        "/unknown",
    ];
    for name in names {
        assert!(state.pointer(name).is_some(), "{name} is missing in {state:#}");
    }
    let summary = summary(&botops).await;
    let names = [
        "mode",
        "health_status",
        "health_reason",
        "presence",
        "presence_reason",
        "position_count",
        "open_order_count",
        "daily_pnl",
        "circuit_breaker_active",
        "circuit_breaker_reason",
        "recent_errors",
        "last_trade_time",
        "generated_at",
        "data_age_seconds",
        "warnings",
        "account",
        "top_positions",
        "session",
        "circuit_breaker",
        "omitted",
    ];
    for name in names {
        assert!(summary.get(name).is_some(), "{name} is missing in {summary:#}");
    }
    let (_, metrics) = botops.get("/api/v1/metrics").await;
    for name in ["/health/status", "/position_count", "/open_order_count", "/daily_pnl", "/timestamp"] {
        assert!(metrics.pointer(name).is_some(), "{name} is missing in {metrics:#}");
    }
    assert_eq!(metrics["ops"]["websocket_connections"], 0);
    botops.stop().await;
}

#[tokio::test]
async fn every_read_is_private_and_answers_304_to_who_has_it() {
    let bot = ScriptedBot::start();
    let (_folder, botops) = beside(&bot, &[("BOT_POLL_INTERVAL", "10s")]).await;
    for path in [
        "/api/v1/state",
        "/api/v1/summary",
        "/api/v1/metrics",
        "/api/v1/state?fields=account",
        "/api/v1/whoami",
    ] {
        // The answer is rendered anew each second: between two requests it is usually the same.
        kit::until("a 304", SOON, || async {
            let first = botops.request(Method::GET, path).send().await.unwrap();
            let control = first.headers()["cache-control"].to_str().unwrap().to_owned();
            assert!(control.starts_with("private, max-age="), "{path}: {control}");
            let etag = first.headers()["etag"].clone();
            let again = botops.request(Method::GET, path).header("if-none-match", etag).send().await.unwrap();
            again.status() == 304 && again.bytes().await.unwrap().is_empty()
        })
        .await;
    }
    botops.stop().await;
}

#[tokio::test]
async fn the_summary_comes_as_markdown_when_asked() {
    let bot = ScriptedBot::start();
    let (_folder, botops) = beside(&bot, &[]).await;
    let asked = botops.request(Method::GET, "/api/v1/summary").header("accept", "text/markdown");
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/markdown; charset=utf-8");
    assert!(answer.headers()["vary"].to_str().unwrap().to_lowercase().contains("accept"));
    let text = answer.text().await.unwrap();
    assert!(text.starts_with("# Bot ") && text.lines().next().unwrap().ends_with(" (paper)"), "{text}");
    botops.stop().await;
}

#[tokio::test]
async fn a_code_of_a_failure_is_whole_in_json_and_markdown() {
    let bot = ScriptedBot::start();
    bot.keeps_its_config();
    let codes = ["SDK_HANDLER_FAILED", "EXCHANGE_ORDER_BOOK_SNAPSHOT_TOO_OLD_042"];
    bot.change(|report| {
        let listed = codes.map(|code| SemanticError { error_code: code.to_owned(), ..failure("it failed") });
        report.recent_errors = Some(listed.to_vec());
        report.session.as_mut().unwrap().error_code = Some(codes[1].to_owned());
    });
    let (_folder, botops) = beside(&bot, &[]).await;
    let seen = summary(&botops).await;
    let listed = seen["recent_errors"].as_array().unwrap();
    let shown: Vec<&str> = listed.iter().map(|one| one["error_code"].as_str().unwrap()).collect();
    for code in codes {
        assert!(shown.contains(&code), "{code}: {shown:?}");
    }
    assert_eq!(seen["session"]["error_code"], codes[1]);
    let asked = botops.request(Method::GET, "/api/v1/summary").header("accept", "text/markdown");
    let text = asked.send().await.unwrap().text().await.unwrap();
    assert!(codes.iter().all(|code| text.contains(code)), "{text}");
    botops.stop().await;
}

#[tokio::test]
async fn a_dead_bot_is_offline_with_its_last_state_and_heals_by_itself() {
    let mut bot = ScriptedBot::start();
    let (_folder, botops) = beside(&bot, &[]).await;
    let before = state(&botops).await;
    bot.die();
    let offline = || async { summary(&botops).await["health_status"] == "offline" };
    kit::until("the summary says offline", SOON, offline).await;
    let dead = summary(&botops).await;
    assert!(dead["warnings"][0].as_str().unwrap().starts_with("Bot offline: "), "{dead:#}");
    assert!(dead["health_reason"].as_str().unwrap().ends_with('.'), "{dead:#}");
    assert_eq!(state(&botops).await["account"]["cash_balance"], before["account"]["cash_balance"]);
    let age = |summary: &Value| summary["data_age_seconds"].as_f64().unwrap();
    kit::until("the age grows", SOON, || async { age(&summary(&botops).await) > age(&dead) }).await;
    bot.revive();
    let healthy = || async { summary(&botops).await["health_status"] == "healthy" };
    kit::until("the summary heals", SOON, healthy).await;
    botops.stop().await;
}

#[tokio::test]
async fn a_bot_that_never_was_is_a_200_full_of_nulls() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let summary = summary(&botops).await;
    assert_eq!((&summary["health_status"], &summary["mode"]), (&json!("offline"), &Value::Null));
    assert!(summary["warnings"][0].as_str().unwrap().starts_with("Bot offline"));
    let state = state(&botops).await;
    assert!(state["account"].is_null() && state["positions"].is_null());
    assert!(!state["unknown"].as_array().unwrap().is_empty());
    let (status, healthz) = botops.get("/api/v1/health/healthz").await;
    assert_eq!((status, &healthz["status"]), (200, &json!("healthy")));
    assert_eq!(healthz.as_object().unwrap().len(), 2);
    botops.stop().await;
}

#[tokio::test]
async fn an_enormous_state_has_a_small_summary() {
    let bot = ScriptedBot::start();
    bot.change(|report: &mut BotReport| {
        let mut position = report.position_list()[0].clone();
        let many = (0..2_000).map(|n| {
            position.symbol = format!("S{n}");
            position.clone()
        });
        report.positions = Some(many.collect());
        report.recent_errors = Some(vec![failure(&"\u{202e}\u{1b}[31m漢字é\" \\".repeat(12_000))]);
        report.error_count_last_hour = Some(100_000);
    });
    // Polled rarely: a build without optimizations needs long for a state of this size.
    let (_folder, botops) = beside(&bot, &[("BOT_POLL_INTERVAL", "10s")]).await;
    assert_eq!(summary(&botops).await["position_count"], 2_000);
    let text = botops.request(Method::GET, "/api/v1/summary").send().await.unwrap().text().await.unwrap();
    let tokens = tiktoken_rs::o200k_base_singleton().encode_ordinary(&text).len();
    assert!(text.len() < 10_240 && tokens < 1_200, "{} bytes, {tokens} tokens", text.len());
    let summary: Value = serde_json::from_str(&text).unwrap();
    let omitted = summary["omitted"].as_array().unwrap();
    for what in ["positions", "errors"] {
        let left =
            omitted.iter().find(|left| left["what"] == what).unwrap_or_else(|| panic!("{what}: {omitted:?}"));
        let (status, _) = botops.get(left["call"]["path"].as_str().unwrap()).await;
        assert_eq!(status, 200);
    }
    let (_, symbols) = botops.get("/api/v1/state?fields=positions.symbol").await;
    assert_eq!(symbols["positions"].as_array().unwrap().len(), 2_000);
    botops.stop().await;
}

#[tokio::test]
async fn an_unknown_field_is_refused_with_a_call_that_works() {
    let bot = ScriptedBot::start();
    let (_folder, botops) = beside(&bot, &[]).await;
    let (status, fields) = botops.get("/api/v1/state?fields=positions.symbol,account.buying_power").await;
    assert_eq!(status, 200);
    assert_eq!(fields["account"].as_object().unwrap().len(), 1);
    assert_eq!(fields["mode"], "paper");
    let (status, problem) = botops.get("/api/v1/state?fields=positions.symbl").await;
    assert_eq!(status, 400);
    assert_problem(&problem, 400, "API_010");
    assert_eq!(problem["context"]["nearest"], "positions.symbol");
    let (status, _) = botops.get(problem["next_actions"][0]["path"].as_str().unwrap()).await;
    assert_eq!(status, 200);
    botops.stop().await;
}

#[tokio::test]
async fn reads_never_reach_the_bot() {
    let bot = ScriptedBot::start();
    let (_folder, botops) = beside(&bot, &[("BOT_POLL_INTERVAL", "10s")]).await;
    let asked = bot.count("GET", "state");
    let started = Instant::now();
    for _ in 0..50 {
        for path in ["/api/v1/state", "/api/v1/summary", "/api/v1/metrics", "/api/v1/whoami"] {
            assert_eq!(botops.get(path).await.0, 200);
        }
    }
    // Polls by the interval are not counted as caused by requests.
    let due = 1 + usize::try_from(started.elapsed().as_secs() / 10).unwrap();
    assert!(bot.count("GET", "state") <= asked + due, "{:?}", bot.journal());
    botops.stop().await;
}

#[tokio::test]
async fn events_are_read_on_from_a_cursor_and_waited_for() {
    let bot = ScriptedBot::start();
    let (_folder, botops) = beside(&bot, &[]).await;
    let (_, all) = botops.get("/api/v1/events").await;
    let cursor = all["next"].as_u64().unwrap();
    assert_eq!(all["latest"], cursor);
    let (status, none) = botops.get(&format!("/api/v1/events?after={cursor}&wait=50ms&kind=error")).await;
    assert_eq!((status, none["items"].as_array().unwrap().len()), (200, 0));
    let path = format!("/api/v1/events?after={cursor}&wait=20s&kind=error");
    let (waited, seq) = tokio::join!(botops.get(&path), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        botops.app.handles().events.publish(NewEvent::own(
            EventKind::Order,
            Severity::Low,
            "not it",
            Value::Null,
        ));
        publish_failure(&botops, "first")
    });
    assert_eq!(waited.1["items"][0]["seq"], seq, "{}", waited.1);
    publish_failure(&botops, "second");
    let (_, page) = botops.get(&format!("/api/v1/events?after={cursor}&kind=error&limit=1")).await;
    assert_eq!(page["items"][0]["message"], "first");
    assert!(page["omitted"].as_u64().unwrap() > 0);
    let (_, page) = botops.get(&format!("/api/v1/events?after={}&kind=error&limit=1", page["next"])).await;
    assert_eq!((&page["items"][0]["message"], &page["omitted"]), (&json!("second"), &json!(0)));
    botops.stop().await;
}

#[tokio::test]
async fn wrong_questions_about_events_are_refused() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let table = [
        ("/api/v1/events?kind=nonsense", 400, "API_007"),
        ("/api/v1/events?limit=0", 400, "API_007"),
        ("/api/v1/events?limit=501", 400, "API_007"),
        ("/api/v1/events?wait=301s", 400, "API_007"),
        ("/api/v1/events?kind=error,nonsense", 400, "API_007"),
        ("/api/v1/events?before=9&after=3", 400, "API_007"),
        ("/api/v1/events?before=9&wait=1s", 400, "API_007"),
        ("/api/v1/events?component=", 400, "API_007"),
        ("/api/v1/events?wait=soon", 400, "API_007"),
        ("/api/v1/events?after=-1", 400, "API_007"),
        ("/api/v1/events?since=yesterday", 400, "API_007"),
        ("/api/v1/events?sins=1h", 400, "API_007"),
        ("/api/v1/events?after=999999999", 410, "API_013"),
        ("/api/v1/errors?limit=0", 400, "API_007"),
        ("/api/v1/stream", 426, "API_015"),
    ];
    for (path, status, code) in table {
        let (got, problem) = botops.get(path).await;
        assert_eq!(got, status, "{path}: {problem:#}");
        assert_problem(&problem, status, code);
    }
    botops.stop().await;
}

#[tokio::test]
async fn failures_come_newest_first_and_go_on_with_older_ones() {
    let bot = ScriptedBot::start();
    bot.keeps_its_config();
    let (_folder, botops) = beside(&bot, &[]).await;
    for message in ["one", "two", "three"] {
        publish_failure(&botops, message);
    }
    let (_, page) = botops.get("/api/v1/errors?limit=2").await;
    let messages: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|item| item["message"].clone()).collect();
    assert_eq!(messages, ["three", "two"]);
    assert_eq!((&page["items"][0]["untrusted"], &page["omitted"]), (&json!(true), &json!(1)));
    let (_, page) = botops.get(&format!("/api/v1/errors?limit=2&after={}", page["next"])).await;
    assert_eq!(page["items"][0]["message"], "one");
    assert_eq!((&page["next"], &page["omitted"]), (&Value::Null, &json!(0)));
    kit::until("the summary tells of it", SOON, || async {
        summary(&botops).await["recent_errors"][0]["message"] == "three"
    })
    .await;
    botops.stop().await;
}

/// All failures, page by page.
async fn all_failures(botops: &Running, limit: usize) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    let mut path = format!("/api/v1/errors?limit={limit}");
    loop {
        let (status, page) = botops.get(&path).await;
        assert_eq!(status, 200, "{page:#}");
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit, "{page:#}");
        found.extend(items.iter().cloned());
        let omitted = page["omitted"].as_u64().unwrap();
        let Some(next) = page["next"].as_u64() else {
            assert_eq!(omitted, 0, "{page:#}");
            return found;
        };
        assert!(omitted > 0 && found.len() < 2_000, "{page:#}");
        path = format!("/api/v1/errors?limit={limit}&after={next}");
    }
}

fn messages(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_event_that_carries_a_failure_is_among_the_failures() {
    let bot = ScriptedBot::start();
    bot.keeps_its_config();
    {
        let mut script = bot.script();
        let epoch = script.hello.boot_epoch.clone();
        let kinds = [
            EventKind::Session,
            EventKind::Breaker,
            EventKind::Order,
            EventKind::Config,
            EventKind::Lifecycle,
            EventKind::Fill,
            EventKind::Other,
            EventKind::Error,
        ];
        for (seq, kind) in (1..).zip(kinds) {
            let error = failure(&format!("failure of {kind:?}"));
            script.events.push(BotEvent {
                kind_raw: None,
                severity_raw: None,
                seq,
                boot_epoch: epoch.clone().unwrap_or_default(),
                at: error.timestamp,
                kind,
                severity: Severity::Medium,
                message: "an event with a failure".to_owned(),
                error: Some(error),
                data: Value::Null,
            });
        }
        let news = BotEvent { seq: 9, error: None, ..script.events[0].clone() };
        script.events.push(news);
        // A bot that reports a failure without any details.
        let bare = BotEvent {
            seq: 10,
            kind: EventKind::Error,
            error: None,
            message: "it failed".to_owned(),
            ..script.events[0].clone()
        };
        script.events.push(bare);
        script.report.recent_errors =
            Some(script.events.iter().rev().filter_map(|event| event.error.clone()).collect());
        script.report.error_count_last_hour = Some(9);
    }
    let (folder, botops) = beside(&bot, &[]).await;
    let expected = [
        "it failed",
        "failure of Error",
        "failure of Other",
        "failure of Fill",
        "failure of Lifecycle",
        "failure of Config",
        "failure of Order",
        "failure of Breaker",
        "failure of Session",
    ];
    let all_told = || async {
        let of_bot = all_failures(&botops, 50).await;
        messages(&of_bot) == expected && of_bot.iter().all(|item| item["found_in"] == "events")
    };
    kit::until("all failures are listed once", SOON, all_told).await;
    for limit in [1, 2, 4, 500] {
        assert_eq!(messages(&all_failures(&botops, limit).await), expected, "{limit} a page");
    }
    // The same list over MCP.
    let tool = crate::mcp::call(&botops, KEY, "list_errors", json!({})).await;
    assert_eq!(messages(tool["structuredContent"]["items"].as_array().unwrap()), expected, "{tool:#}");
    let (_, asked) = botops.send(Method::POST, "/api/v1/ask", &json!({"text": "what went wrong"})).await;
    assert_eq!(asked["call"]["path"], "/api/v1/errors", "{asked:#}");
    assert_eq!(messages(asked["answer"]["items"].as_array().unwrap()), expected, "{asked:#}");
    // The summary shows two failures and names the list with the rest.
    let counted = || async {
        let summary = summary(&botops).await;
        let omitted =
            summary["omitted"].as_array().unwrap().iter().find(|left| left["what"] == "errors").cloned();
        omitted.is_some_and(|left| left["count"] == 7 && left["call"]["path"] == "/api/v1/errors")
            && summary["recent_errors"].as_array().unwrap().len() == 2
    };
    kit::until("the summary counts the same", SOON, counted).await;
    botops.stop().await;
    // A later start of botops reads them from the store.
    drop(bot);
    let botops = Running::start(folder.path(), &[("BOT_ID", "scripted")]).await;
    assert_eq!(messages(&all_failures(&botops, 2).await), expected);
    botops.stop().await;
}

/// A bot without an event stream reports its failures only in its state.
#[tokio::test]
async fn failures_that_stand_in_the_state_alone_are_listed_with_where_they_were_found() {
    let bot = ScriptedBot::start();
    bot.keeps_its_config();
    let now = Utc::now();
    let at = |seconds: i64, message: &str| SemanticError {
        timestamp: Some(now - chrono::TimeDelta::seconds(seconds)),
        ..failure(message)
    };
    {
        let mut script = bot.script();
        let epoch = script.hello.boot_epoch.clone();
        // Two of them came as events too, one with another text.
        let told = [(1, at(40, "told")), (2, at(20, "told in other words"))];
        for (seq, error) in told {
            script.events.push(BotEvent {
                kind_raw: None,
                severity_raw: None,
                seq,
                boot_epoch: epoch.clone().unwrap_or_default(),
                at: error.timestamp,
                kind: EventKind::Session,
                severity: Severity::Medium,
                message: String::new(),
                error: Some(error),
                data: Value::Null,
            });
        }
        script.report.recent_errors = Some(vec![
            at(10, "only in the state"),
            at(20, "the words of the state"),
            at(30, "twice in a second, first"),
            at(30, "twice in a second, second"),
            at(40, "told"),
            at(50, "oldest of the state"),
        ]);
        script.report.error_count_last_hour = Some(6);
    }
    let (_folder, botops) = beside(&bot, &[]).await;
    let expected = [
        "only in the state",
        "told in other words",
        "twice in a second, first",
        "twice in a second, second",
        "told",
        "oldest of the state",
    ];
    let all_told = || async { messages(&all_failures(&botops, 50).await) == expected };
    kit::until("all failures are listed once", SOON, all_told).await;
    for limit in [1, 2, 3, 5, 500] {
        assert_eq!(messages(&all_failures(&botops, limit).await), expected, "{limit} a page");
    }
    let items = all_failures(&botops, 50).await;
    let found_in: Vec<&str> = items.iter().map(|item| item["found_in"].as_str().unwrap()).collect();
    assert_eq!(found_in, ["state", "events", "state", "state", "events", "state"]);
    for item in &items {
        assert_eq!(item["source"], "bot:scripted");
        assert_eq!(item["untrusted"], true);
        assert_eq!(item["seq"].is_null(), item["found_in"] == "state", "{item:#}");
    }
    let counted = || async {
        let summary = summary(&botops).await;
        let omitted =
            summary["omitted"].as_array().unwrap().iter().find(|left| left["what"] == "errors").cloned();
        omitted.is_some_and(|left| left["count"] == 4)
    };
    kit::until("the summary counts the same", SOON, counted).await;
    botops.stop().await;
}

#[tokio::test]
async fn whoami_tells_what_key_and_bot_can_do() {
    let bot = ScriptedBot::start();
    let (_folder, botops) = beside(&bot, &[]).await;
    let (status, me) = botops.get("/api/v1/whoami").await;
    assert_eq!((status, &me["key"], &me["mode"]), (200, &json!("operator"), &json!("paper")));
    assert_eq!(me["scopes"], json!(["read", "operate", "config", "admin"]));
    assert!(!me["bot"]["capabilities"].as_array().unwrap().is_empty());
    assert!(me["limits"]["requests_per_minute"].as_u64().unwrap() > 0);
    botops.stop().await;
}

#[tokio::test]
async fn a_read_answered_at_once_is_the_handlers_answer() {
    let bot = ScriptedBot::start();
    let (_folder, botops) = beside(&bot, &[]).await;
    for path in ["/api/v1/summary", "/api/v1/state"] {
        // A request with a query, even an empty one, is not answered from the rendered copy but by the router.
        let mut answers = Vec::new();
        for way in [path.to_owned(), format!("{path}?")] {
            let response = botops.request(Method::GET, &way).send().await.unwrap();
            let mut headers = response.headers().clone();
            for of_this_request in ["x-request-id", "ratelimit", "date", "etag", "content-length"] {
                headers.remove(of_this_request).unwrap_or_else(|| panic!("{way} has no {of_this_request}"));
            }
            let names: Vec<String> =
                response.json::<serde_json::Map<String, Value>>().await.unwrap().keys().cloned().collect();
            answers.push((headers, names));
        }
        assert_eq!(answers[0], answers[1], "{path}");
        let head = botops.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(head.status(), 200);
        assert!(head.headers().contains_key("etag") && head.bytes().await.unwrap().is_empty());
    }
}
