//! botops beside a bot that boots from its `HEAD`, and the calls that many config tests make.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit;
use crate::kit::app::Running;
use crate::kit::scripted_bot::ScriptedBot;

pub(crate) const SOON: Duration = Duration::from_secs(45);

pub(crate) const CONFIG: &str = "/api/v1/config";

/// botops in this process, a scripted bot, and the folder of both.
pub(crate) struct World {
    pub bot: ScriptedBot,
    pub botops: Running,
    pub folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let bot = ScriptedBot::start();
        bot.script().alive = true;
        // An open position would restrict the limits that the tests change.
        bot.change(|report| report.positions = Some(Vec::new()));
        Self::start_beside(bot).await
    }

    /// The same beside a bot of the test's own, which boots from `HEAD` from then on.
    pub(crate) async fn start_beside(bot: ScriptedBot) -> Self {
        let folder = kit::folder();
        let botops = begin(&bot, &folder).await;
        let mut world = Self { bot, botops, folder };
        world.bot.script().config.folder = Some(world.folder.path().join("data/config"));
        world.bot.restart();
        world.until_in_sync().await;
        world
    }

    /// Stops botops and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// The same, with a change of the config folder while botops does not run.
    pub(crate) async fn restart_after(self, change: impl FnOnce(&std::path::Path)) -> Self {
        self.botops.stop().await;
        change(&self.folder.path().join("data/config"));
        let botops = begin(&self.bot, &self.folder).await;
        Self { bot: self.bot, botops, folder: self.folder }
    }

    /// Waits until the present process of the bot is seen to run what is committed.
    pub(crate) async fn until_in_sync(&self) {
        kit::until("in sync", SOON, || is_in_sync(&self.botops, &self.bot)).await;
    }

    pub(crate) async fn config(&self) -> Value {
        self.botops.get(CONFIG).await.1
    }

    pub(crate) async fn etag(&self) -> String {
        self.config().await["etag"].as_str().expect("an etag").to_owned()
    }

    /// Hash of the document that the bot reports as running.
    pub(crate) fn running(&self) -> String {
        self.bot.script().config.state().running.sha256
    }

    pub(crate) fn apply(&self, body: &Value, etag: &str) -> RequestBuilder {
        self.botops.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag).json(body)
    }

    /// Applies a change based on the version that is committed now.
    pub(crate) async fn apply_now(&self, body: &Value) -> (u16, Value) {
        let etag = self.etag().await;
        kit::app::answer(self.apply(body, &etag)).await
    }

    /// Begins a trial that is confirmed manually, and returns its transaction id.
    pub(crate) async fn try_out(&self, patch: Value, seconds: f64) -> String {
        let (status, txn) = self.apply_now(&manual(patch, seconds)).await;
        assert_eq!((status, txn["state"].as_str()), (202, Some("trial")), "{txn:#}");
        txn["txn"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn txn(&self, id: &str) -> Value {
        self.botops.get(&format!("/api/v1/config/txns/{id}")).await.1
    }

    pub(crate) async fn end_trial(&self, id: &str, verb: &str) -> (u16, Value) {
        self.botops.send(Method::POST, &format!("/api/v1/config/txns/{id}/{verb}"), &json!({})).await
    }

    /// Waits for the end of a transaction.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        kit::until("the transaction ends", SOON, || async { self.txn(id).await["terminal"] == true }).await;
        self.txn(id).await
    }

    pub(crate) async fn verify(&self) -> Value {
        self.botops.get("/api/v1/config/audit/verify").await.1
    }
}

/// Whether the present process of the bot is seen to run what is committed.
pub(crate) async fn is_in_sync(botops: &Running, bot: &ScriptedBot) -> bool {
    let epoch = bot.script().hello.boot_epoch.clone();
    let config = botops.get(CONFIG).await.1;
    config["sync"] == "in_sync" && config["running"]["boot_epoch"].as_str() == epoch.as_deref()
}

async fn begin(bot: &ScriptedBot, folder: &TempDir) -> Running {
    let socket = bot.socket().display().to_string();
    let id = bot.id();
    let settings = [
        ("BOT_IPC_SOCKET", socket.as_str()),
        ("BOT_ID", id.as_str()),
        ("BOT_CONFIG_MIN_TRIAL", "200ms"),
        ("BOT_POLL_INTERVAL", "50ms"),
    ];
    let botops = Running::start(folder.path(), &settings).await;
    let seen = || async {
        let config = botops.get(CONFIG).await.1;
        config["sync"] != "bot_offline" && config["sync"] != "unknown"
    };
    kit::until("the bot is seen", SOON, seen).await;
    botops
}

/// A harmless change: another limit on the size of positions.
pub(crate) fn careful(size: u32) -> Value {
    json!({"risk_management": {"max_position_size": size}})
}

pub(crate) fn auto(patch: Value, seconds: f64) -> Value {
    let mut body = json!({"reason": "a test", "confirm_within_s": seconds});
    body["merge_patch"] = patch;
    body
}

pub(crate) fn manual(patch: Value, seconds: f64) -> Value {
    let mut body = auto(patch, seconds);
    body["confirm"] = json!("manual");
    body
}
