//! The workflows in the binary, with a real paperbot that is really restarted.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::pair::Pair;
use super::run;
use crate::kit::ReportParts as _;
use crate::kit::app::{KEY, Running};
use crate::kit::paperbot::{Paperbot, lines};
use crate::kit::until;

/// Settings that let botops start this bot.
pub(super) fn supervised(bot: &Paperbot) -> Vec<(&'static str, String)> {
    let command = bot.command();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let argv: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    vec![
        ("BOT_SUPERVISOR", "spawn".to_owned()),
        ("BOT_SUPERVISOR_COMMAND", json!(argv).to_string()),
        ("BOT_SUPERVISOR_PID_FILE", bot.data().join("paperbot.pid").display().to_string()),
        ("BOT_IPC_SOCKET", bot.socket().display().to_string()),
    ]
}

/// Ends the process that the pid file names when it is dropped, so that no bot outlives its test.
pub(super) struct Sweep(pub std::path::PathBuf);

impl Drop for Sweep {
    fn drop(&mut self) {
        if let Some(pid) = pid(&self.0) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn pid(file: &Path) -> Option<rustix::process::Pid> {
    let text = std::fs::read_to_string(file).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    rustix::process::Pid::from_raw(i32::try_from(value["pid"].as_i64()?).ok()?)
}

async fn seen(running: &Running) {
    let connected = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("botops sees the bot", Duration::from_secs(30), connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_bot_replaces_the_process_and_keeps_the_account() {
    let mut bot = Paperbot::start(&["--tick", "20ms"]).await;
    let _sweep = Sweep(bot.data().join("paperbot.pid"));
    bot.until("it holds something", |report| !report.holds_nothing()).await;
    let settings = supervised(&bot);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let running = Running::start(bot.folder.path(), &settings).await;
    seen(&running).await;
    // botops starts the next process itself; only the first one is a child of this test.
    let before = bot.state().await;
    let ledger = bot.data().join("ledger.jsonl");
    let booked = lines(&ledger);
    let view = run(&running, "restart-bot", json!({"reason": "a test of the restart"})).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    let after = bot.state().await;
    assert_ne!(before.boot_epoch, after.boot_epoch);
    assert_eq!(view["outputs"]["old_epoch"], *before.boot_epoch.as_ref().unwrap());
    assert_eq!(view["outputs"]["new_epoch"], *after.boot_epoch.as_ref().unwrap());
    bot.trades().await;
    assert_eq!(lines(&ledger).get(..booked.len()), Some(booked.as_slice()), "the account is the same");
    drop(bot.process.take());
    running.stop().await;
    // The bot goes on without botops.
    assert!(bot.get::<botops_contract::Hello>("hello").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_bot_starts_a_bot_that_is_gone() {
    let mut bot = Paperbot::start(&["--tick", "50ms"]).await;
    let _sweep = Sweep(bot.data().join("paperbot.pid"));
    let settings = supervised(&bot);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let running = Running::start(bot.folder.path(), &settings).await;
    seen(&running).await;
    bot.kill();
    let view = run(&running, "restart-bot", json!({"reason": "it was killed"})).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    assert_eq!(view["steps"][1]["state"], "skipped");
    assert!(bot.get::<botops_contract::Hello>("hello").await.is_some());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_bot_at_once_replaces_a_bot_whose_loop_takes_no_command() {
    let mut bot = Paperbot::start(&["--tick", "50ms"]).await;
    let _sweep = Sweep(bot.data().join("paperbot.pid"));
    let settings = supervised(&bot);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let running = Running::start(bot.folder.path(), &settings).await;
    seen(&running).await;
    let before = bot.state().await.boot_epoch;
    bot.stall("paperbot.loop");
    bot.stands("paperbot.loop").await;
    let params = json!({"reason": "its loop stands still", "mode": "immediate"});
    let view = run(&running, "restart-bot", params).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    assert_eq!(
        (&view["steps"][1]["state"], &view["steps"][2]["state"]),
        (&json!("skipped"), &json!("skipped"))
    );
    assert_ne!(bot.state().await.boot_epoch, before);
    drop(bot.process.take());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn update_targets_goes_through_a_trial() {
    let mut pair = Pair::start().await;
    let now = pair.get("/api/v1/config").await;
    let mut targets = now["config"]["targets"].clone();
    targets[0]["weight"] = json!(0.03);
    let params = json!({"reason": "less of the first", "targets": targets});
    let began = std::time::Instant::now();
    let body = pair.execute("update-targets", &params, "k").await.unwrap();
    let run = body["run_id"].as_str().unwrap_or_else(|| panic!("{body:#}")).to_owned();
    // A direct change is refused meanwhile.
    let in_trial = || async { !pair.get("/api/v1/config").await["trial"].is_null() };
    until("the trial runs", Duration::from_secs(30), in_trial).await;
    let restart =
        pair.execute("restart-bot", &json!({"reason": "a conflict, on purpose"}), "k2").await.unwrap();
    assert_eq!(restart["error_code"], "WFL_004", "{restart}");
    let view = pair.ended(&run).await.unwrap();
    assert_eq!(view["state"], "succeeded", "{view:#}");
    let then = pair.get("/api/v1/config").await;
    assert_eq!(then["config"]["targets"][0]["weight"], 0.03);
    assert_eq!(then["version"], view["outputs"]["version"]);
    // The differences stand in the answer once.
    assert!(view["outputs"]["diff"].is_array(), "{view:#}");
    assert_eq!(view["steps"][1]["output"]["diff"], json!({"same_as": "/outputs/diff"}), "{view:#}");
    assert!(began.elapsed() > Duration::from_secs(5), "it was watched");
    // A change that breaks a rule fails before anything is changed.
    let wrong = json!({"reason": "not a thing to do", "targets": [{"symbol": "SPY", "weight": 1.0}, {"symbol": "SPY", "weight": 1.0}]});
    let body = pair.execute("update-targets", &wrong, "k3").await.unwrap();
    let view = pair.ended(body["run_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(
        (view["state"].as_str(), view["failed_step"].as_str()),
        (Some("failed"), Some("plan")),
        "{view:#}"
    );
    assert_eq!(pair.get("/api/v1/config").await["version"], then["version"]);
    // The reasons are told at once, in words, and the refused plan is no failed run.
    let why = view["error"]["message"].as_str().unwrap();
    assert!(why.contains("the change is refused: ") && !why.contains("/valid eq"), "{why}");
    for finding in view["steps"][1]["output"]["errors"].as_array().unwrap() {
        assert!(why.contains(finding["reason"].as_str().unwrap().trim_end_matches('.')), "{view:#}");
    }
    let workflow = pair.get("/api/v1/workflows/update-targets").await;
    assert_eq!((&workflow["success_rate"], &workflow["refused"]), (&json!(1.0), &json!(1)), "{workflow:#}");
    // Nothing is forecast behind the step that would fail.
    let path = "/api/v1/workflows/update-targets/execute?dry_run=true";
    let asked = pair.request(reqwest::Method::POST, path).json(&json!({"params": wrong}));
    let (_, plan) = crate::kit::app::answer(asked).await;
    let told: Vec<_> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (&step["forecast"], &step["behind_failure_of"]))
        .collect();
    assert_eq!(told[1], (&json!("fail"), &Value::Null), "{plan:#}");
    assert!(told[2..].iter().all(|step| *step == (&json!("unknown"), &json!("plan"))), "{plan:#}");
    assert!(
        plan["steps"][1]["error"]["message"].as_str().unwrap().contains("the change is refused: "),
        "{plan:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_update_reverts_its_trial() {
    let mut pair = Pair::start().await;
    let now = pair.get("/api/v1/config").await;
    let mut targets = now["config"]["targets"].clone();
    targets[1]["weight"] = json!(0.02);
    let params = json!({"reason": "less of the second", "targets": targets});
    let body = pair.execute("update-targets", &params, "k").await.unwrap();
    let run = body["run_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/workflows/runs/{run}");
    let watched = || async { pair.get(&path).await["progress"]["current_step"] == "observe" };
    until("the trial is watched", Duration::from_secs(30), watched).await;
    // After a restart of botops, the run resumes its trial.
    pair.end();
    pair.serve(None).await;
    let answer = pair.request(reqwest::Method::POST, &format!("{path}/cancel")).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let view = pair.ended(&run).await.unwrap();
    assert_eq!(view["state"], "cancelled", "{view:#}");
    let (interrupted, resumed) = (&view["interrupted_at"], &view["resumed_at"]);
    assert!(interrupted.is_string() && resumed.as_str() > interrupted.as_str(), "{view:#}");
    let because = view["interrupted_because"].as_str().unwrap();
    let says_when = !because.contains("without a word") || because.contains("last sign of life, or later");
    assert!(because.starts_with("botops ") && says_when, "{view:#}");
    let observe = view["steps"].as_array().unwrap().iter().find(|step| step["step"] == "observe").unwrap();
    assert!(observe["attempt_started_at"].as_str() > observe["started_at"].as_str(), "{observe:#}");
    let then = pair.get("/api/v1/config").await;
    assert_eq!(then["version"], now["version"]);
    let running = pair.bot.state().await.running_config().running.sha256.clone();
    assert_eq!(running, then["committed"]["sha256"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn export_logs_gives_a_bundle_without_a_canary() {
    let pair = Pair::start().await;
    let logs = pair.bot.data().join("logs");
    let at = chrono::Utc::now().to_rfc3339();
    let line =
        json!({"timestamp": at, "message": format!("sent {KEY}"), "access_token": "canary-token-value"});
    std::fs::write(
        logs.join("errors-canary.jsonl"),
        format!("{line}\nAuthorization: Bearer canary.bearer.value\n"),
    )
    .unwrap();
    let to = (chrono::Utc::now() + chrono::Duration::hours(1)).to_rfc3339();
    // A range may be said by how far it reaches back.
    let sources = ["trades", "errors", "health", "api", "workflows"];
    let params = json!({"last": "2h", "to": to, "sources": sources});
    let mut pair = pair;
    // A forecast says what it knows, under the name of what it is, and nothing else.
    let path = "/api/v1/workflows/export-logs/execute?dry_run=true";
    let asked = pair.request(reqwest::Method::POST, path).json(&json!({"params": params}));
    let (_, plan) = crate::kit::app::answer(asked).await;
    assert_eq!(plan["forecast"], "pass", "{plan:#}");
    let foreseen = &plan["steps"][0]["predicted_output"];
    for unknown in ["artifact", "url", "file_name", "sha256", "bytes", "lines", "files"] {
        assert_eq!(foreseen.get(unknown), None, "{unknown}: {plan:#}");
        assert!(plan["predicted_outputs"].get(unknown).is_none_or(Value::is_null), "{unknown}: {plan:#}");
    }
    assert_eq!(
        (&foreseen["truncated"], &foreseen["read_scope"]),
        (&json!(false), &json!("read")),
        "{plan:#}"
    );
    let (most_files, most_bytes) =
        (&foreseen["files_at_most"], &foreseen["bytes_before_compression_at_most"]);
    assert!(most_files.as_u64().unwrap() > 1 && most_bytes.as_u64().unwrap() > 100, "{plan:#}");
    let most_bytes = most_bytes.as_u64().unwrap();
    let of_verify = &plan["steps"][1]["predicted_output"];
    assert_eq!((of_verify.get("files"), of_verify.get("lines")), (None, None), "{plan:#}");
    let body = pair.execute("export-logs", &params, "k").await.unwrap();
    let view = pair.ended(body["run_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(view["state"], "succeeded", "{view:#}");
    assert!(view["outputs"]["lines"].as_u64().unwrap() > 3, "{view:#}");
    let id = view["outputs"]["artifact"].as_str().unwrap();
    let outputs = &view["outputs"];
    assert_eq!(
        (&outputs["url"], &outputs["read_scope"]),
        (&json!(format!("/api/v1/artifacts/{id}")), &json!("read"))
    );
    assert_eq!(outputs["file_name"], format!("{id}.tar.zst"), "{outputs:#}");
    assert!(outputs["kept"].as_str().unwrap().contains("50"), "{outputs:#}");
    // What it covers, and how it is fetched.
    let time = |name: &str| outputs[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(time("to"), to.parse::<chrono::DateTime<chrono::Utc>>().unwrap(), "{outputs:#}");
    assert_eq!(time("to") - time("from"), chrono::Duration::hours(2), "{outputs:#}");
    let told = outputs["sources"].as_object().unwrap();
    assert!(
        sources.iter().all(|source| told.contains_key(*source)) && told.len() == sources.len(),
        "{outputs:#}"
    );
    let sum: u64 = told.values().filter_map(Value::as_u64).sum();
    assert_eq!(Some(sum), outputs["lines"].as_u64(), "{outputs:#}");
    assert!(told["errors"].as_u64() >= Some(2), "{outputs:#}");
    let fetch = outputs["fetch"].as_str().unwrap();
    for word in ["X-API-Key", "scope read", "botops key new"] {
        assert!(fetch.contains(word), "{word}: {fetch}");
    }
    let response = pair.request(reqwest::Method::GET, outputs["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let bytes = response.bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, view["outputs"]["bytes"].as_u64().unwrap());
    let whole = zstd::decode_all(&bytes[..]).unwrap();
    assert!(most_bytes > 0 && whole.len() as u64 > bytes.len() as u64, "{most_bytes}");
    let text = String::from_utf8_lossy(&whole);
    assert!(text.contains("manifest.json") && text.contains("errors-canary.jsonl"));
    for canary in [KEY, "canary-token-value", "canary.bearer.value"] {
        assert!(!text.contains(canary), "{canary} is in the bundle");
    }
}
