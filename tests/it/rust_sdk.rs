//! A bot with the Rust SDK beside botops, in processes of their own: its config on trial, and the previews of its verbs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::app::answer;
use crate::kit::botops_process::BotopsProcess;
use crate::kit::{self, Process, built_example, until};

const LIMIT: Duration = Duration::from_secs(60);

struct RustBot {
    process: Process,
    socket: PathBuf,
}

impl RustBot {
    async fn start(folder: &Path) -> Self {
        let socket = folder.join("bot/bot.sock");
        let mut bot = Command::new(built_example("config_bot"));
        bot.arg(&socket).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let bot = Self { process: Process::spawn(&mut bot), socket };
        until("the bot answers", LIMIT, || async { bot.try_to_get("hello").await.is_some() }).await;
        bot
    }

    async fn try_to_get(&self, call: &str) -> Option<Value> {
        let asked = kit::socket_client(&self.socket).get(format!("http://bot/ipc/v1/{call}")).send().await;
        asked.ok()?.json().await.ok()
    }

    /// What the bot itself says of its config.
    async fn config(&self) -> Value {
        self.try_to_get("config").await.expect("the bot answers")
    }

    async fn risk(&self) -> Value {
        let running = self.try_to_get("config/document").await.expect("the bot answers");
        let document: Value = serde_json::from_str(running["document"].as_str().unwrap()).unwrap();
        document["risk_per_trade"].clone()
    }
}

async fn start_botops(folder: &Path, bot: &RustBot, more: &[(&str, &str)]) -> BotopsProcess {
    let socket = bot.socket.display().to_string();
    let mut settings = vec![
        ("BOT_IPC_SOCKET", socket.as_str()),
        ("BOT_ID", "config-bot"),
        ("BOT_CONFIG_MIN_TRIAL", "200ms"),
        ("BOT_POLL_INTERVAL", "50ms"),
    ];
    settings.extend(more);
    let botops = BotopsProcess::start(folder, &settings);
    until("in sync and quiet", LIMIT, || async {
        let config = botops.get("/api/v1/config").await.1;
        config["sync"] == "in_sync" && config["trial"].is_null()
    })
    .await;
    botops
}

/// Tries another risk, which somebody has to confirm; returns the transaction once it is on trial.
async fn try_risk(botops: &BotopsProcess, risk: f64, seconds: f64) -> String {
    let etag = botops.get("/api/v1/config").await.1["etag"].as_str().unwrap().to_owned();
    let body = json!({"reason": "a test", "confirm": "manual", "confirm_within_s": seconds,
                      "merge_patch": {"risk_per_trade": risk}});
    let apply = botops.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag).json(&body);
    let (status, txn) = answer(apply).await;
    assert_eq!((status, &txn["state"]), (202, &json!("trial")), "{txn:#}");
    txn["txn"].as_str().unwrap().to_owned()
}

async fn end_trial(botops: &BotopsProcess, txn: &str, verb: &str) -> Value {
    let path = format!("/api/v1/config/txns/{txn}/{verb}");
    let (status, ended) = botops.send(Method::POST, &path, &json!({})).await;
    assert_eq!(status, 200, "{ended:#}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_of_a_bot_with_the_rust_sdk_is_taken_back_kept_and_ended_by_the_bot_alone() {
    let folder = kit::folder();
    let bot = RustBot::start(folder.path()).await;
    let botops = start_botops(folder.path(), &bot, &[]).await;
    assert_eq!(bot.risk().await, 0.01);

    let taken_back = try_risk(&botops, 0.02, 60.0).await;
    assert_eq!((bot.risk().await, &bot.config().await["trial"]["txn"]), (json!(0.02), &json!(taken_back)));
    end_trial(&botops, &taken_back, "cancel").await;
    until("the committed risk", LIMIT, || async { bot.risk().await == 0.01 }).await;
    assert_eq!(bot.config().await["last_outcome"], json!([taken_back, "reverted"]));

    let left_alone = try_risk(&botops, 0.03, 3.0).await;
    assert_eq!(bot.risk().await, 0.03);
    // Killed without a word: the bot alone keeps the time of the trial.
    drop(botops);
    until("the bot ends the trial", LIMIT, || async { bot.config().await["trial"].is_null() }).await;
    assert_eq!(bot.risk().await, 0.01);
    assert_eq!(bot.config().await["last_outcome"], json!([left_alone, "trial_expired"]));

    let botops = start_botops(folder.path(), &bot, &[]).await;
    let (_, ended) = botops.get(&format!("/api/v1/config/txns/{left_alone}")).await;
    assert_eq!(ended["terminal"], true, "{ended:#}");
    let kept = try_risk(&botops, 0.04, 60.0).await;
    assert_eq!(end_trial(&botops, &kept, "confirm").await["state"], "committed");
    drop(bot);
    let bot = RustBot::start(folder.path()).await;
    assert_eq!(bot.risk().await, 0.04, "the next start runs what was committed");
    let in_sync = || async { botops.get("/api/v1/config").await.1["sync"] == "in_sync" };
    until("in sync", LIMIT, in_sync).await;

    let too_much = json!({"reason": "a test", "merge_patch": {"max_positions": 9}});
    let etag = botops.get("/api/v1/config").await.1["etag"].as_str().unwrap().to_owned();
    let apply = botops.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag).json(&too_much);
    let (status, refused) = answer(apply).await;
    assert_eq!(status, 422, "{refused:#}");
    assert!(refused.to_string().contains("more than a fifth of the equity"), "{refused:#}");

    let flatten = "/api/v1/control/flatten?dry_run=true";
    let (_, predicted) = botops.send(Method::POST, flatten, &json!({"reason": "a test"})).await;
    assert_eq!(predicted["outcome"], "predicted", "{predicted:#}");
    assert!(predicted.to_string().contains("there is nothing to sell"), "{predicted:#}");
    botops.stop();
}

/// Sends SIGKILL to the process that serves the bot: botops started it.
async fn kill_bot(bot: &RustBot) {
    let pid = bot.try_to_get("hello").await.expect("the bot answers")["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_the_start_is_tried_by_one_start_of_a_bot_with_the_rust_sdk() {
    let folder = kit::folder();
    let mut bot = RustBot::start(folder.path()).await;
    let started_anew = json!([built_example("config_bot"), bot.socket]).to_string();
    let supervisor = [("BOT_SUPERVISOR", "spawn"), ("BOT_SUPERVISOR_COMMAND", started_anew.as_str())];
    let botops = start_botops(folder.path(), &bot, &supervisor).await;
    let first = bot.config().await["boot_epoch"].clone();
    let etag = botops.get("/api/v1/config").await.1["etag"].as_str().unwrap().to_owned();
    let body = json!({"reason": "a test", "confirm": "manual", "confirm_within_s": 60, "restart": true,
                      "merge_patch": {"interval_s": 1}});
    let apply = botops.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag).json(&body);
    let (status, txn) = answer(apply).await;
    assert_eq!((status, &txn["boot_once"]), (202, &json!(true)), "{txn:#}");
    // botops ends it; until somebody takes its exit code it would count as there.
    bot.process.wait(LIMIT);
    let txn = txn["txn"].as_str().unwrap();
    let path = format!("/api/v1/config/txns/{txn}");
    until("it is on trial", LIMIT, || async { botops.get(&path).await.1["state"] == "trial" }).await;
    let config = bot.config().await;
    assert_ne!(config["boot_epoch"], first, "another process tries it");
    assert_eq!((&config["trial"]["txn"], &config["pending_restart"]), (&json!(txn), &json!([])));
    assert_eq!(end_trial(&botops, txn, "confirm").await["state"], "committed");
    assert_eq!(bot.config().await["committed"]["sha256"], config["running"]["sha256"]);
    botops.stop();
    kill_bot(&bot).await;
}
