//! A bot that does not offer `config`: there is none here either. And one that gains it, loses it, or was never seen.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::world::{CONFIG, SOON, World, auto, careful, is_in_sync};
use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::kit::scripted_bot::ScriptedBot;

fn take_config_from(bot: &ScriptedBot) {
    bot.script().hello.capabilities.retain(|offered| offered.name != "config");
}

fn give_config_to(bot: &ScriptedBot) {
    bot.script().hello.capabilities.push("config".into());
}

async fn start_beside(bot: &ScriptedBot, folder: &TempDir) -> Running {
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    let settings = [
        ("BOT_IPC_SOCKET", socket.as_str()),
        ("BOT_ID", id.as_str()),
        ("BOT_CONFIG_MIN_TRIAL", "200ms"),
        ("BOT_POLL_INTERVAL", "50ms"),
    ];
    Running::start(folder.path(), &settings).await
}

async fn until_sync(botops: &Running, sync: &str) -> Value {
    kit::until(sync, SOON, || async { botops.get(CONFIG).await.1["sync"] == sync }).await;
    botops.get(CONFIG).await.1
}

/// Waits until there is a committed version, which the bot then boots.
async fn first_version(botops: &Running, bot: &mut ScriptedBot, folder: &TempDir) -> Value {
    let made = || async { botops.get(CONFIG).await.1["committed"].is_object() };
    kit::until("there is a committed version", SOON, made).await;
    bot.script().config.folder = Some(folder.path().join("data/config"));
    bot.restart();
    kit::until("in sync", SOON, || is_in_sync(botops, bot)).await;
    botops.get(CONFIG).await.1
}

/// Every file below the folder of the config that botops itself made, except for the audit.
fn config_files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for folder in [folder.join("data/config"), folder.join("data/config/versions")] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        names.extend(files.map(|entry| entry.file_name().into_string().unwrap()));
    }
    names.retain(|name| name != "config_history.jsonl");
    names.sort();
    names
}

/// Every operation that reads or changes the config, with a body that would pass.
fn operations() -> Vec<(Method, &'static str, Value)> {
    let patch = json!({"merge_patch": careful(4_000)});
    let change = auto(careful(4_000), 1.0);
    let back = json!({"to": "previous", "reason": "back to it", "confirm_within_s": 1.0});
    vec![
        (Method::GET, "/api/v1/config/schema", Value::Null),
        (Method::POST, "/api/v1/config/validate", patch.clone()),
        (Method::POST, "/api/v1/config/validate?level=schema", patch.clone()),
        (Method::GET, "/api/v1/config/diff", Value::Null),
        (Method::POST, "/api/v1/config/diff", patch),
        (Method::PUT, "/api/v1/config/apply", change.clone()),
        (Method::PUT, "/api/v1/config/apply?dry_run=true", change),
        (Method::PUT, "/api/v1/config/rollback", back.clone()),
        (Method::PUT, "/api/v1/config/rollback?dry_run=true", back),
    ]
}

/// Reads of what is kept, which have nothing to give while nothing was ever kept.
const KEPT: [(&str, &str); 6] = [
    ("GET", "/api/v1/config/versions"),
    ("GET", "/api/v1/config/versions/committed"),
    ("GET", "/api/v1/config/versions/v1"),
    ("GET", "/api/v1/config/txns/0199"),
    ("POST", "/api/v1/config/txns/0199/confirm"),
    ("POST", "/api/v1/config/txns/0199/cancel"),
];

async fn expect_not_capable(botops: &Running, method: Method, path: &str, body: &Value) {
    let (status, problem) = botops.send(method.clone(), path, body).await;
    assert_eq!((status, &problem["error_code"]), (409, &json!("BOT_004")), "{method} {path}: {problem:#}");
    assert_eq!(problem["effect"], "none", "{method} {path}");
    let cause = problem["cause"].as_str().unwrap();
    assert!(cause.contains("`config`") && cause.contains("hello"), "{method} {path}: {cause}");
}

async fn expect_health_without_sync(botops: &Running) {
    let fine = || async {
        let (_, health) = botops.get("/api/v1/health/status").await;
        let components = health["components"].as_array().unwrap();
        let status = |id: &str| {
            components.iter().find(|one| one["component_id"] == id).map(|one| one["status"].clone())
        };
        let caused = health["caused_by"].to_string();
        status("config_sync").is_none()
            && status("audit_chain") == Some(json!("HEALTHY"))
            && !caused.contains("config_sync")
            && !caused.contains("audit_chain")
    };
    kit::until("config_sync is not watched, the audit is", SOON, fine).await;
    let (status, verdict) = botops.get("/api/v1/config/audit/verify").await;
    assert_eq!((status, &verdict["valid"]), (200, &json!(true)), "{verdict:#}");
}

async fn expect_summary_without_config(botops: &Running) {
    let fine = || async {
        let (_, summary) = botops.get("/api/v1/summary").await;
        let (_, state) = botops.get("/api/v1/state?fields=config").await;
        summary["health_status"] != "offline"
            && summary["config_version"].is_null()
            && summary["config_sync"].is_null()
            && state["config"].is_null()
    };
    kit::until("the summary has no config", SOON, fine).await;
    let markdown = botops.request(Method::GET, "/api/v1/summary").header("accept", "text/markdown");
    let page = markdown.send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("| config |"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_without_config_has_none_here() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    take_config_from(&bot);
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    let config = until_sync(&botops, "not_applicable").await;
    for member in ["version", "etag", "config", "running", "committed", "trial", "last_rejected"] {
        assert!(config[member].is_null(), "{member}: {config:#}");
    }
    assert_eq!(config["writable"], false);
    assert!(config["sync_reason"].as_str().unwrap().contains("does not list `config`"), "{config:#}");
    let response = botops.request(Method::GET, CONFIG).send().await.unwrap();
    assert!(response.headers().get("etag").is_none(), "there is nothing to base a change on");
    for (method, path, body) in operations() {
        expect_not_capable(&botops, method, path, &body).await;
    }
    for (method, path) in KEPT {
        expect_not_capable(&botops, method.parse().unwrap(), path, &json!({})).await;
    }
    expect_summary_without_config(&botops).await;
    expect_health_without_sync(&botops).await;
    let (_, events) = botops.get("/api/v1/events?kind=config").await;
    assert_eq!(events["items"], json!([]), "{events:#}");
    assert_eq!(config_files(folder.path()), Vec::<String>::new());
    let audit = std::fs::read_to_string(folder.path().join("data/config/config_history.jsonl")).unwrap();
    assert!(!audit.contains("first_version"), "{audit}");
    assert_eq!(bot.count("GET", "config") + bot.count("POST", "config/check"), 0, "nothing was asked");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_the_config_is_not_on_offer_for_a_bot_without_one() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    take_config_from(&bot);
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    until_sync(&botops, "not_applicable").await;
    let (_, list) = botops.get("/api/v1/workflows").await;
    for item in list["items"].as_array().unwrap() {
        // Nobody could start this bot again either.
        let lacks = match item["workflow_id"].as_str().unwrap() {
            "update-targets" => Some("`config`"),
            "restart-bot" => Some("BOT_SUPERVISOR"),
            _ => None,
        };
        assert_eq!(item["available"], lacks.is_none(), "{item:#}");
        let why = item["unavailable_because"].as_str();
        assert_eq!(
            why.map(|why| lacks.is_some_and(|lacks| why.contains(lacks))),
            lacks.map(|_| true),
            "{item:#}"
        );
    }
    let path = "/api/v1/workflows/update-targets";
    let one = botops.get(path).await.1;
    assert!(one["unavailable_because"].as_str().unwrap().contains("`config`"), "{one:#}");
    let params =
        json!({"params": {"reason": "other weights", "targets": [{"symbol": "SPY", "weight": 0.02}]}});
    expect_not_capable(&botops, Method::POST, &format!("{path}/execute"), &params).await;
    let (status, plan) = botops.send(Method::POST, &format!("{path}/execute?dry_run=true"), &params).await;
    assert_eq!((status, &plan["forecast"]), (200, &json!("fail")), "{plan:#}");
    assert_eq!(botops.get(&format!("{path}/runs")).await.1["items"], json!([]), "no run began");
    // Over MCP and in plain words the same.
    let read = crate::mcp::call(&botops, KEY, "get_config", json!({})).await;
    assert_eq!(read["structuredContent"]["sync"], "not_applicable", "{read:#}");
    let arguments =
        json!({"action": "apply", "merge_patch": careful(4_000), "reason": "a test", "dry_run": true});
    let change = crate::mcp::call(&botops, KEY, "change_config", arguments).await;
    assert_eq!(change["structuredContent"]["error_code"], "BOT_004", "{change:#}");
    let text = json!({"text": "set max_position_pct to 4"});
    let (_, asked) = botops.send(Method::POST, "/api/v1/ask", &text).await;
    assert_eq!(asked["problem"]["error_code"], "BOT_004", "{asked:#}");
    // A check of health does not fail for want of a config.
    let params = json!({"params": {}});
    let check = "/api/v1/workflows/check-health/execute";
    let (_, run) = botops.send(Method::POST, check, &params).await;
    let run_path = format!("/api/v1/workflows/runs/{}", run["run_id"].as_str().unwrap());
    kit::until("the run ends", SOON, || async { botops.get(&run_path).await.1["terminal"] == true }).await;
    let run = botops.get(&run_path).await.1;
    assert!(!run["outputs"].to_string().contains("config_sync:"), "{run:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_bot_that_was_never_seen_nothing_is_known_and_nothing_is_written() {
    let folder = kit::folder();
    let socket = folder.path().join("later.sock");
    let settings = [
        ("BOT_IPC_SOCKET", socket.to_str().unwrap()),
        ("BOT_ID", "scripted"),
        ("BOT_CONFIG_MIN_TRIAL", "200ms"),
        ("BOT_POLL_INTERVAL", "50ms"),
    ];
    let botops = Running::start(folder.path(), &settings).await;
    let (_, config) = botops.get(CONFIG).await;
    assert_eq!((&config["sync"], &config["version"]), (&json!("unknown"), &Value::Null), "{config:#}");
    assert!(config["sync_reason"].as_str().unwrap().contains("not known"), "{config:#}");
    for (method, path, body) in operations() {
        let (status, problem) = botops.send(method.clone(), path, &body).await;
        assert_eq!(
            (status, &problem["error_code"]),
            (503, &json!("BOT_001")),
            "{method} {path}: {problem:#}"
        );
    }
    assert_eq!(config_files(folder.path()), Vec::<String>::new());
    // It comes, and says that it has one.
    let mut bot = ScriptedBot::at(&socket, crate::kit::scripted_bot::report());
    bot.script().alive = true;
    let config = first_version(&botops, &mut bot, &folder).await;
    assert_eq!(config["version"], 1, "{config:#}");
    // `HEAD`, its copy, version 1 and the schema.
    assert_eq!(config_files(folder.path()).len(), 4);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_gains_a_config_starts_with_version_1() {
    let mut bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.change(|report| report.positions = Some(Vec::new()));
    take_config_from(&bot);
    let folder = kit::folder();
    let botops = start_beside(&bot, &folder).await;
    until_sync(&botops, "not_applicable").await;
    give_config_to(&bot);
    bot.restart();
    let config = first_version(&botops, &mut bot, &folder).await;
    assert_eq!((&config["version"], &config["writable"]), (&json!(1), &json!(true)), "{config:#}");
    let has_schema = || async { botops.get("/api/v1/config/schema").await.0 == 200 };
    kit::until("the schema of this start is read", SOON, has_schema).await;
    let body = auto(careful(4_000), 8.0);
    let etag = config["etag"].as_str().unwrap();
    let request = botops.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag).json(&body);
    let (status, txn) = kit::app::answer(request).await;
    assert_eq!(status, 202, "{txn:#}");
    kit::until("version 2", SOON, || async { botops.get(CONFIG).await.1["version"] == 2 }).await;
    let watched = || async {
        let (status, one) = botops.get("/api/v1/health/components/config_sync").await;
        status == 200 && one["status"] == "HEALTHY"
    };
    kit::until("config_sync is watched", SOON, watched).await;
    let (_, list) = botops.get("/api/v1/workflows/update-targets").await;
    assert_eq!(list["available"], true, "{list:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_bot_that_loses_its_config_what_was_kept_stays() {
    let mut world = World::start().await;
    let (status, txn) = world.apply_now(&auto(careful(4_000), 2.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    let txn = world.ended(txn["txn"].as_str().unwrap()).await;
    assert_eq!(txn["state"], "committed", "{txn:#}");
    let before = (
        config_files(world.folder.path()),
        std::fs::read(world.folder.path().join("data/config/HEAD")).unwrap(),
    );
    take_config_from(&world.bot);
    world.bot.restart();
    let config = until_sync(&world.botops, "not_applicable").await;
    assert_eq!((&config["version"], &config["writable"]), (&json!(2), &json!(false)), "{config:#}");
    assert_eq!(config["config"]["risk_management"]["max_position_size"], 4_000, "{config:#}");
    assert!(config["running"].is_null(), "{config:#}");
    let reason = config["sync_reason"].as_str().unwrap();
    assert!(reason.contains("version 2") && reason.contains("stays"), "{reason}");
    for (method, path, body) in operations() {
        expect_not_capable(&world.botops, method, path, &body).await;
    }
    // What was is still there to be read.
    let (status, list) = world.botops.get("/api/v1/config/versions").await;
    assert_eq!((status, list["items"].as_array().unwrap().len()), (200, 2), "{list:#}");
    for path in ["versions/v1", "versions/previous", "versions/committed", "audit"] {
        assert_eq!(world.botops.get(&format!("/api/v1/config/{path}")).await.0, 200, "{path}");
    }
    let id = txn["txn"].as_str().unwrap();
    assert_eq!(world.txn(id).await["state"], "committed");
    // The same confirmation again still gets its answer; of a change that never was there is none.
    assert_eq!(world.end_trial(id, "confirm").await.0, 200);
    expect_not_capable(&world.botops, Method::GET, "/api/v1/config/txns/0199", &Value::Null).await;
    expect_summary_without_config(&world.botops).await;
    expect_health_without_sync(&world.botops).await;
    let told = || async {
        let (_, events) = world.botops.get("/api/v1/events?kind=config&limit=500").await;
        let items = events["items"].as_array().unwrap().clone();
        items.iter().any(|one| one["message"].as_str().unwrap().contains("no longer lists `config`"))
    };
    kit::until("it is said", SOON, told).await;
    // Also by a later start of botops, and nothing of it has changed.
    let mut world = world.restart().await;
    assert_eq!(world.config().await["sync"], "not_applicable");
    let after = (
        config_files(world.folder.path()),
        std::fs::read(world.folder.path().join("data/config/HEAD")).unwrap(),
    );
    assert_eq!(before, after);
    // It comes back with it: as before.
    give_config_to(&world.bot);
    world.bot.restart();
    let config = until_sync(&world.botops, "in_sync").await;
    assert_eq!(config["version"], 2, "{config:#}");
    let (status, txn) = world.apply_now(&auto(careful(3_000), 2.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(world.ended(txn["txn"].as_str().unwrap()).await["state"], "committed");
    world.botops.stop().await;
}

/// The bot starts again without `config` while it is on trial: nobody can say what it runs, and a person is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_of_a_bot_that_loses_its_config_needs_a_person_at_once() {
    let mut world = World::start().await;
    let txn = world.try_out(careful(4_000), 600.0).await;
    take_config_from(&world.bot);
    world.bot.restart();
    let started = std::time::Instant::now();
    let ended = world.ended(&txn).await;
    assert_eq!(ended["state"], "failed_attention", "{ended:#}");
    assert!(ended["outcome"].as_str().unwrap().contains("`config`"), "{ended:#}");
    assert!(started.elapsed() < Duration::from_secs(30));
    let head: Value =
        serde_json::from_slice(&std::fs::read(world.folder.path().join("data/config/HEAD")).unwrap())
            .unwrap();
    assert_eq!(head["version"], 1);
    world.botops.stop().await;
}
