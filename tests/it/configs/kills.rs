//! Kills of botops at every durable point, and of the bot during a trial; both are real processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use botops_contract::ConfigState;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::world::{CONFIG, careful};
use crate::kit::app::{KEY, answer, command};
use crate::kit::paperbot::Paperbot;
use crate::kit::{Process, until};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// botops as a process beside a paperbot that boots from its `HEAD`.
pub(crate) struct Pair {
    pub bot: Paperbot,
    server: Option<Process>,
    base: String,
    client: Client,
    starts: u32,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        let mut bot = Paperbot::prepare(&[]);
        let folder = bot.folder.path().join("botops/config");
        bot.arguments(&["--config-dir", folder.to_str().unwrap()]);
        let client = Client::builder().no_proxy().build().unwrap();
        let mut pair = Self { bot, server: None, base: String::new(), client, starts: 0 };
        pair.serve(None).await;
        pair.bot.launch().await;
        pair.until_quiet().await;
        pair
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.bot.folder.path().join("botops")
    }

    /// The folder in which a file makes the write of the same name fail.
    pub(crate) fn faults(&self) -> PathBuf {
        self.bot.folder.path().join("faults")
    }

    /// Starts botops, which kills itself at the point `kill_at` if one is given.
    pub(crate) async fn serve(&mut self, kill_at: Option<&str>) {
        self.starts += 1;
        let logs = self.bot.folder.path().join(format!("logs-{}", self.starts));
        let mut command = command(&["serve"]);
        command
            .env("BOT_API_AUTH_TOKEN", KEY)
            .env("BOT_API_PORT", "0")
            .env("BOT_API_RATE_LIMIT", "1000000")
            .env("BOT_DATA_DIR", self.data())
            .env("BOT_LOG_DIR", &logs)
            .env("BOT_IPC_SOCKET", self.bot.socket())
            .env("BOT_POLL_INTERVAL", "50ms")
            .env("BOT_CONFIG_MIN_TRIAL", "200ms")
            .env("FAIL_IN", self.faults());
        if let Some(point) = kill_at {
            command.env("KILL_AT", point);
        }
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        self.server = Some(Process::spawn(&mut command));
        let log = logs.join("botops.log");
        let address = || serves_on(&log);
        until("botops serves", LIMIT, || async { address().is_some() }).await;
        self.base = format!("http://{}", address().unwrap());
    }

    pub(crate) fn kill_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header("x-api-key", KEY)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        answer(self.request(Method::GET, path)).await.1
    }

    /// Waits until the bot runs the committed config and no transaction is under way.
    pub(crate) async fn until_quiet(&self) {
        let quiet = || async {
            let config = self.get(CONFIG).await;
            config["sync"] == "in_sync" && config["trial"].is_null()
        };
        until("in sync and quiet", LIMIT, quiet).await;
    }

    /// Sends a change; `None` when botops died meanwhile.
    pub(crate) async fn apply(&self, size: u32, key: &str, seconds: f64) -> Option<(u16, Value)> {
        let etag = self.get(CONFIG).await["etag"].as_str().unwrap().to_owned();
        let body = json!({"reason": "a crash test", "merge_patch": careful(size), "confirm": "manual",
                          "confirm_within_s": seconds});
        let request = self.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag);
        let answer = request.header("idempotency-key", key).json(&body).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    /// Asserts what must be true whenever no transaction is under way.
    pub(crate) async fn assert_whole(&self, point: &str) {
        let config_dir = self.data().join("config");
        let head: Value = serde_json::from_slice(&std::fs::read(config_dir.join("HEAD")).unwrap()).unwrap();
        let bytes = std::fs::read(config_dir.join(head["file"].as_str().unwrap())).unwrap();
        let sha = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
        assert_eq!(head["sha256"], sha, "{point}: HEAD resolves to its hash");
        let state: ConfigState = self.bot.get("config").await.unwrap();
        assert_eq!(state.running.sha256, sha, "{point}: the bot runs HEAD");
        assert!(state.trial.is_none(), "{point}: no trial is left");
        let verdict = self.get("/api/v1/config/audit/verify").await;
        assert_eq!(verdict["valid"], true, "{point}: {verdict:#}");
        let audit = self.get("/api/v1/config/audit?limit=500").await;
        let mut steps: Vec<(String, String)> = audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item["txn"].is_string())
            .map(|item| (item["txn"].to_string(), item["event"].to_string()))
            .collect();
        let count = steps.len();
        steps.sort();
        steps.dedup();
        assert_eq!(steps.len(), count, "{point}: one audit line per transition");
    }
}

fn serves_on(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let (_, rest) = text.split_once("botops serves on ")?;
    Some(rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect())
}

/// How a transaction must end after a kill at a point.
enum ExpectedEnd {
    /// As if it had never been requested; requesting it again succeeds.
    Nothing,
    /// In one of these states.
    As(&'static [&'static str]),
}

#[tokio::test]
async fn botops_killed_at_any_durable_point_ends_in_a_legal_state() {
    use ExpectedEnd::{As, Nothing};
    // Point (the table in `crates/server/src/configs/trial/mod.rs` explains d1 to d7, r1 and r2), the verb that is sent
    // after the trial began, and how the transaction must end.
    let points: [(&str, &str, ExpectedEnd); 19] = [
        ("config.before_d1", "", Nothing),
        ("config.version.before_rename", "", Nothing),
        ("config.version.after_rename", "", Nothing),
        ("config.d1", "", As(&["rejected"])),
        ("config.d2", "", As(&["rejected"])),
        ("config.d3", "", As(&["rolled_back"])),
        ("audit.half", "", As(&["rolled_back"])),
        ("audit.written", "", As(&["rolled_back"])),
        ("config.activated", "", As(&["trial"])),
        ("config.d4", "", As(&["trial"])),
        ("config.d5", "confirm", As(&["committed"])),
        ("config.head.before_rename", "confirm", As(&["committed"])),
        ("config.head.after_rename", "confirm", As(&["committed"])),
        ("config.d6", "confirm", As(&["committed"])),
        ("config.commit_acked", "confirm", As(&["committed"])),
        ("config.d7", "confirm", As(&["committed"])),
        ("config.r1", "cancel", As(&["rolled_back"])),
        ("config.revert_acked", "cancel", As(&["rolled_back"])),
        ("config.r2", "cancel", As(&["rolled_back"])),
    ];
    let mut pair = Pair::start().await;
    for (number, (point, verb, expected)) in (1_u32..).zip(points) {
        pair.kill_server();
        pair.serve(Some(point)).await;
        pair.until_quiet().await;
        let key = format!("key-{number}");
        let size = 9_000 + number;
        let first = pair.apply(size, &key, 30.0).await;
        if let Some((status, txn)) = &first {
            assert_eq!((*status, verb.is_empty()), (202, false), "{point}: {txn:#}");
            let path = format!("/api/v1/config/txns/{}/{verb}", txn["txn"].as_str().unwrap());
            let answer = pair.request(Method::POST, &path).send().await;
            // At the last points the outcome is recorded, and the answer may still be sent.
            assert!(answer.is_err() || point.ends_with('7') || point.ends_with("r2"), "{point}: it lives");
        }
        let mut server = pair.server.take().unwrap();
        let status = server.wait(LIMIT);
        assert!(!status.success(), "{point}");
        let restarted = chrono::Utc::now();
        pair.serve(None).await;
        match expected {
            Nothing => {
                pair.until_quiet().await;
                let txns = pair.get("/api/v1/config/versions").await;
                let version = txns["items"][0]["version"].as_u64();
                let (status, txn) = pair.apply(size, &key, 30.0).await.unwrap();
                assert_eq!((status, &txn["state"]), (202, &json!("trial")), "{point}: {txn:#}");
                assert_eq!(txn["version"].as_u64(), version.map(|version| version + 1), "{point}");
                let path = format!("/api/v1/config/txns/{}/cancel", txn["txn"].as_str().unwrap());
                assert_eq!(answer(pair.request(Method::POST, &path)).await.0, 200);
            }
            As(states) => {
                let state = || async {
                    let (_, txn) = pair.apply(size, &key, 30.0).await.unwrap_or_default();
                    txn["state"].as_str().is_some_and(|state| states.contains(&state))
                };
                until(&format!("{point} ends as {states:?}"), LIMIT, state).await;
                let (_, txn) = pair.apply(size, &key, 30.0).await.unwrap();
                if txn["state"] == "trial" {
                    // The deadline is counted from the begin of the trial, not from the restart.
                    let by: chrono::DateTime<chrono::Utc> =
                        txn["confirm_by"].as_str().unwrap().parse().unwrap();
                    let left = by - restarted;
                    assert!(
                        left < chrono::TimeDelta::seconds(30),
                        "{point}: the original deadline holds, {left}"
                    );
                    let path = format!("/api/v1/config/txns/{}/cancel", txn["txn"].as_str().unwrap());
                    assert_eq!(answer(pair.request(Method::POST, &path)).await.0, 200);
                }
            }
        }
        pair.until_quiet().await;
        pair.assert_whole(point).await;
    }
}

/// botops is killed at this point of a short trial and comes back when the bot has gone back by itself.
async fn away_past_the_deadline(point: &str) {
    let mut pair = Pair::start().await;
    let head: ConfigState = pair.bot.get("config").await.unwrap();
    pair.kill_server();
    pair.serve(Some(point)).await;
    pair.until_quiet().await;
    assert!(pair.apply(9_000, "away", 0.5).await.is_none(), "it lives");
    pair.server.take().unwrap().wait(LIMIT);
    let back = || async {
        let state: ConfigState = pair.bot.get("config").await.unwrap();
        state.running.sha256 == head.running.sha256 && state.trial.is_none()
    };
    until("the bot's own timer goes off", LIMIT, back).await;
    pair.serve(None).await;
    pair.until_quiet().await;
    let (_, ended) = pair.apply(9_000, "away", 0.5).await.unwrap();
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("bot_timer")), "{ended:#}");
    pair.assert_whole("away").await;
}

#[tokio::test]
async fn botops_away_past_the_deadline_finds_that_the_bot_went_back_by_itself() {
    away_past_the_deadline("config.d4").await;
}

#[tokio::test]
async fn a_change_that_reached_the_bot_and_ran_out_there_is_not_said_to_have_missed_it() {
    away_past_the_deadline("config.activated").await;
}

#[tokio::test]
async fn a_bot_killed_during_a_trial_boots_what_is_committed() {
    let mut pair = Pair::start().await;
    let (status, txn) = pair.apply(9_000, "killed", 60.0).await.unwrap();
    assert_eq!(status, 202, "{txn:#}");
    pair.bot.kill();
    let path = format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap());
    let ended = || async { pair.get(&path).await["terminal"] == true };
    until("the trial ends", LIMIT, ended).await;
    let ended = pair.get(&path).await;
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("bot_crash")), "{ended:#}");
    pair.bot.launch().await;
    pair.until_quiet().await;
    pair.assert_whole("bot killed").await;
}

#[tokio::test]
async fn both_killed_during_a_trial_end_in_what_is_committed() {
    let mut pair = Pair::start().await;
    let (status, txn) = pair.apply(9_000, "both", 60.0).await.unwrap();
    assert_eq!(status, 202, "{txn:#}");
    pair.kill_server();
    pair.bot.kill();
    pair.serve(None).await;
    pair.bot.launch().await;
    pair.until_quiet().await;
    let path = format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap());
    assert_eq!(pair.get(&path).await["state"], "rolled_back");
    pair.assert_whole("both killed").await;
}
