//! botops in its own process, with a real paperbot that it can start again: for kills of either.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use botops_contract::Hello;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::shipped_workflows::{Sweep, supervised};
use crate::kit::app::{KEY, answer, command};
use crate::kit::paperbot::Paperbot;
use crate::kit::{Process, until};

const LIMIT: Duration = Duration::from_secs(60);

/// A bot, its folder, and botops while it runs.
pub(crate) struct Pair {
    // The first field, so that it is dropped while the pid file is still there.
    _sweep: Sweep,
    pub bot: Paperbot,
    pub server: Option<Process>,
    pub base: String,
    /// Settings of botops, among them how it starts the bot.
    pub settings: Vec<(&'static str, String)>,
    client: Client,
    starts: u32,
}

impl Pair {
    /// The log folder of the newest start of botops.
    pub(crate) fn logs(&self) -> PathBuf {
        self.bot.folder.path().join(format!("logs-{}", self.starts))
    }

    /// Starts the bot; botops does not run yet.
    pub(crate) async fn start() -> Self {
        let mut bot = Paperbot::prepare(&["--tick", "50ms"]);
        let config = bot.folder.path().join("data-botops/config");
        bot.arguments(&["--config-dir", config.to_str().unwrap()]);
        let sweep = Sweep(bot.data().join("paperbot.pid"));
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let settings = supervised(&bot);
        let mut pair =
            Self { bot, server: None, base: String::new(), settings, client, starts: 0, _sweep: sweep };
        pair.serve(None).await;
        pair.bot.launch().await;
        pair.connected().await;
        // botops makes the first config version once it has seen that the bot has a config.
        let is_made = || async { pair.get("/api/v1/config").await["version"].is_u64() };
        until("there is a config", Duration::from_secs(30), is_made).await;
        pair
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.bot.folder.path().join("data-botops")
    }

    /// Has the next botops fail the writes whose names stand as files in the returned folder.
    pub(crate) fn fail_writes(&mut self) -> PathBuf {
        let folder = self.bot.folder.path().join("faults-botops");
        std::fs::create_dir_all(&folder).unwrap();
        self.settings.push(("FAIL_IN", folder.display().to_string()));
        folder
    }

    /// Starts botops, which kills itself at `kill_at` if given, and waits until it serves.
    pub(crate) async fn serve(&mut self, kill_at: Option<&str>) {
        let logs = self.launch(kill_at);
        let log = logs.join("botops.log");
        let mut address = None;
        let told = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            address = lines.filter_map(|line| line["net.address"].as_str().map(str::to_owned)).next();
            let found = address.is_some();
            async move { found }
        };
        until("botops serves", LIMIT, told).await;
        self.base = format!("http://{}", address.unwrap());
    }

    /// Starts botops, which kills itself at `kill_at` if given; returns its log folder.
    pub(crate) fn launch(&mut self, kill_at: Option<&str>) -> PathBuf {
        self.end();
        self.starts += 1;
        let logs = self.logs();
        let mut command = command(&["serve"]);
        command
            .env("BOT_API_AUTH_TOKEN", KEY)
            .env("BOT_API_PORT", "0")
            .env("BOT_API_RATE_LIMIT", "1000000")
            .env("BOT_DATA_DIR", self.data())
            .env("BOT_LOG_DIR", &logs)
            .env("BOT_POLL_INTERVAL", "50ms")
            .env("BOT_CONFIG_MIN_TRIAL", "200ms");
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        if let Some(point) = kill_at {
            command.env("KILL_AT", point);
        }
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        self.server = Some(Process::spawn(&mut command));
        logs
    }

    /// Kills botops with SIGKILL.
    pub(crate) fn end(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Waits until botops has killed itself.
    pub(crate) fn died(&mut self) {
        let mut server = self.server.take().expect("it was started");
        server.wait(LIMIT);
    }

    /// Whether the botops process still runs.
    pub(crate) fn lives(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| server.child().try_wait().unwrap().is_none())
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header("x-api-key", KEY)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        answer(self.request(Method::GET, path)).await.1
    }

    pub(crate) async fn connected(&self) {
        let seen = || async { self.get("/api/v1/state").await["bot"]["presence"] == "connected" };
        until("botops sees the bot", LIMIT, seen).await;
    }

    /// Executes a workflow with a key; `None` when botops died meanwhile.
    pub(crate) async fn execute(&self, id: &str, params: &Value, key: &str) -> Option<Value> {
        let request = self.request(Method::POST, &format!("/api/v1/workflows/{id}/execute"));
        let response =
            request.header("idempotency-key", key).json(&json!({"params": params})).send().await.ok()?;
        response.json().await.ok()
    }

    /// Waits until the run has ended; `None` when botops died meanwhile.
    pub(crate) async fn ended(&mut self, run: &str) -> Option<Value> {
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            assert!(Instant::now() < end, "the run {run} does not end");
            let sent =
                self.request(Method::GET, &format!("/api/v1/workflows/runs/{run}?wait=2s")).send().await;
            let view: Option<Value> = match sent {
                Ok(response) => response.json().await.ok(),
                Err(_) => None,
            };
            match view {
                Some(view) if view["terminal"] == true => return Some(view),
                Some(_) => {}
                None if !self.lives() => return None,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// How often each command id that begins with `of` had an effect, by the bot's `effects.jsonl`.
    pub(crate) fn effects(&self, of: &str) -> Vec<(String, usize)> {
        let text = std::fs::read_to_string(self.bot.data().join("effects.jsonl")).unwrap_or_default();
        let mut counts = std::collections::BTreeMap::new();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if let Some(id) = line["command_id"].as_str().filter(|id| id.starts_with(of)) {
                *counts.entry(id.to_owned()).or_insert(0) += 1;
            }
        }
        counts.into_iter().collect()
    }

    /// How many times the bot's process has started, by its own log.
    pub(crate) async fn lives_begun(&self) -> usize {
        // The log is written asynchronously: the line of the process that answers may be missing for a moment.
        let living: Option<Hello> = self.bot.get("hello").await;
        let epoch = living.and_then(|hello| hello.boot_epoch).unwrap_or_default();
        let mut begun = Vec::new();
        let told = || {
            begun = self.beginnings();
            let found = begun.iter().any(|line| line.contains(&epoch));
            async move { found }
        };
        until("the log tells of this life", LIMIT, told).await;
        begun.len()
    }

    fn beginnings(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.bot.data().join("logs")).unwrap().filter_map(Result::ok);
        let of_the_bot = files.filter(|file| file.file_name().to_string_lossy().starts_with("paperbot"));
        let texts = of_the_bot.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default());
        let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.contains(" serves on ")).collect()
    }

    /// Puts an operator's workflow into the data folder.
    pub(crate) fn define(&self, id: &str, yaml: &str) {
        let folder = self.data().join("workflows");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{id}.yaml")), yaml).unwrap();
    }
}

/// The steps of restart-bot with shorter waits.
pub(crate) const SWAP: &str = "\
workflow: v1
id: swap
title: Restart, quickly
risk: disruptive
params:
  type: object
  additionalProperties: false
  properties: {round: {type: string}}
policy: {locks: [bot], on_conflict: reject, timeout_s: 120, on_crash: resume}
steps:
  - {id: before, uses: bot.status}
  - {id: pause, uses: bot.pause_trading, undo: {uses: bot.resume_trading}}
  - {id: cancel, uses: bot.cancel_orders, undo: none}
  - {id: restart, uses: bot.restart, pivot: true, with: {drain_s: 20, expect_epoch: $steps.before.boot_epoch}}
  - id: after
    uses: bot.status
    until:
      every_ms: 100
      for_s: 30
      expect: [{that: /boot_epoch, is: eq, value: $steps.restart.boot_epoch}]
  - {id: resume, uses: bot.resume_trading}
on_failure_after_pivot: {leave: trading_paused, raise: {severity: critical, code: TEST_UNHEALTHY}}
outputs: {old_epoch: $steps.before.boot_epoch, new_epoch: $steps.restart.boot_epoch}
";
