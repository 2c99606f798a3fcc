//! A change that the bot reads only at its start: one start tries it, once. Both processes are real.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::ReportParts as _;
use crate::kit::app::answer;
use crate::kit::until;
use crate::workflows::pair::Pair;

const LIMIT: Duration = Duration::from_secs(60);

async fn config(pair: &Pair) -> Value {
    pair.get("/api/v1/config").await
}

/// Waits until the bot runs the committed config and no change is under way.
async fn quiet(pair: &Pair) {
    let quiet = || async {
        let config = config(pair).await;
        config["sync"] == "in_sync" && config["trial"].is_null()
    };
    until("in sync and quiet", LIMIT, quiet).await;
}

/// Asks for another poll interval, which needs a restart; `None` when botops died meanwhile.
async fn slower(pair: &Pair, seconds: u32) -> Option<Value> {
    let etag = config(pair).await["etag"].as_str().unwrap().to_owned();
    let body = json!({"reason": "a test", "confirm": "manual", "confirm_within_s": 60, "restart": true,
                      "merge_patch": {"order_management": {"poll_interval_seconds": seconds}}});
    let apply = pair.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag).json(&body);
    let answer = apply.send().await.ok()?;
    let status = answer.status().as_u16();
    let txn: Value = answer.json().await.ok()?;
    assert_eq!(
        (status, &txn["boot_once"], &txn["state"]),
        (202, &json!(true), &json!("activating")),
        "{txn:#}"
    );
    Some(txn)
}

async fn reaches(pair: &Pair, txn: &Value, state: &str) -> Value {
    let path = format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap());
    let there = || async {
        let txn = pair.get(&path).await;
        assert!(txn["state"] == state || txn["terminal"] != true, "{txn:#}");
        txn["state"] == state
    };
    until(&format!("it is {state}"), LIMIT, there).await;
    pair.get(&path).await
}

async fn end_trial(pair: &Pair, txn: &Value, verb: &str) -> (u16, Value) {
    let path = format!("/api/v1/config/txns/{}/{verb}", txn["txn"].as_str().unwrap());
    answer(pair.request(Method::POST, &path)).await
}

/// Sends SIGKILL to the bot, by the pid file: the test or botops may have started it.
fn kill_bot(pair: &Pair) {
    let pid_file = std::fs::read_to_string(pair.bot.data().join("paperbot.pid")).unwrap();
    let pid = serde_json::from_str::<Value>(&pid_file).unwrap()["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Asserts that the bot booted from the committed config, runs it, and that no candidate waits.
async fn assert_runs_head(pair: &Pair) {
    quiet(pair).await;
    let (config, state) = (config(pair).await, pair.bot.state().await);
    assert_eq!(state.running_config().running.sha256, config["committed"]["sha256"].as_str().unwrap());
    assert_eq!(state.running_config().pending_restart, Vec::<String>::new());
    assert!(state.running_config().trial.is_none());
    assert_eq!(pair.get("/api/v1/config/audit/verify").await["valid"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_read_at_the_start_is_tried_by_a_start_and_kept_or_taken_back() {
    let pair = Pair::start().await;
    let before = config(&pair).await;
    let (lives, epoch) = (pair.lives_begun().await, pair.bot.state().await.boot_epoch);
    let txn = slower(&pair, 20).await.unwrap();
    let on_trial = reaches(&pair, &txn, "trial").await;
    assert!(on_trial["confirm_left_ms"].as_u64().unwrap() <= 60_000, "{on_trial:#}");
    let state = pair.bot.state().await;
    assert_ne!(state.boot_epoch, epoch);
    assert_eq!(state.running_config().running.sha256, txn["candidate"]["sha256"].as_str().unwrap());
    assert_eq!(state.running_config().pending_restart, Vec::<String>::new(), "it really booted it");
    assert_eq!((pair.lives_begun().await, &config(&pair).await["version"]), (lives + 1, &before["version"]));
    assert_eq!(end_trial(&pair, &txn, "confirm").await.1["state"], "committed");
    assert_runs_head(&pair).await;
    assert_eq!(pair.lives_begun().await, lives + 1, "kept without another start");

    let txn = slower(&pair, 30).await.unwrap();
    reaches(&pair, &txn, "trial").await;
    end_trial(&pair, &txn, "cancel").await;
    let ended = reaches(&pair, &txn, "rolled_back").await;
    assert_eq!(ended["by"], "operator", "{ended:#}");
    assert_runs_head(&pair).await;
    assert_eq!(pair.lives_begun().await, lives + 3, "taken back by another start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_dies_in_such_a_trial_boots_what_is_committed() {
    let mut pair = Pair::start().await;
    let txn = slower(&pair, 20).await.unwrap();
    reaches(&pair, &txn, "trial").await;
    kill_bot(&pair);
    let ended = reaches(&pair, &txn, "rolled_back").await;
    // The trial's watch may notice missing heartbeats before the link notices that the bot is gone.
    assert!(ended["by"] == "bot_crash" || ended["by"] == "criteria", "{ended:#}");
    pair.bot.launch().await;
    assert_runs_head(&pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn botops_killed_around_the_start_leaves_one_try_at_most() {
    let mut pair = Pair::start().await;
    let head = config(&pair).await["committed"]["sha256"].clone();
    for (number, point) in
        ["config.activated", "config.boot.asked", "bot.process.ended", "config.boot.started"]
            .iter()
            .enumerate()
    {
        pair.serve(Some(point)).await;
        pair.connected().await;
        quiet(&pair).await;
        let lives = pair.lives_begun().await;
        slower(&pair, 20 + u32::try_from(number).unwrap()).await;
        pair.died();
        pair.serve(None).await;
        pair.connected().await;
        // Before the start the change is undone by botops; after it, the change is on trial and is cancelled here.
        let taken_back = || async {
            let config = config(&pair).await;
            if config["trial"]["state"] == "trial" {
                end_trial(&pair, &config["trial"], "cancel").await;
            }
            config["sync"] == "in_sync" && config["trial"].is_null()
        };
        // Longer than the whole change may take: a change that nobody cancels ends at its deadline.
        if tokio::time::timeout(LIMIT, until("it is taken back", Duration::MAX, taken_back)).await.is_err() {
            panic!("{point}: {:#}", config(&pair).await);
        }
        assert_runs_head(&pair).await;
        assert_eq!(config(&pair).await["committed"]["sha256"], head, "{point}");
        assert!(pair.lives_begun().await <= lives + 2, "{point}");
        // No candidate for a start may be left.
        kill_bot(&pair);
        let again =
            pair.execute("restart-bot", &json!({"reason": "is anything left?"}), point).await.unwrap();
        let view = pair.ended(again["run_id"].as_str().unwrap_or_else(|| panic!("{again:#}"))).await.unwrap();
        assert_eq!(view["state"], "succeeded", "{view:#}");
        assert_runs_head(&pair).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn botops_killed_while_the_start_is_taken_back_leaves_a_bot_that_runs_head() {
    let mut pair = Pair::start().await;
    let points = ["config.revert_acked", "config.boot.asked", "bot.process.ended", "config.boot.started"];
    for (seconds, point) in (20..).zip(points) {
        let txn = slower(&pair, seconds).await.unwrap();
        reaches(&pair, &txn, "trial").await;
        pair.serve(Some(point)).await;
        pair.connected().await;
        let path = format!("/api/v1/config/txns/{}/cancel", txn["txn"].as_str().unwrap());
        // There is no answer, because botops dies.
        let _ = pair.request(Method::POST, &path).send().await;
        pair.died();
        pair.serve(None).await;
        let ended = reaches(&pair, &txn, "rolled_back").await;
        assert_eq!(ended["by"], "operator", "{point}: {ended:#}");
        pair.connected().await;
        assert_runs_head(&pair).await;
    }
}
