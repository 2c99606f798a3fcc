//! botops' own store fails in the middle of a trial: locked by another process, or no write of it succeeds.
//!
//! The bot never ends up on a config that nobody knows of, a trial is undone although nothing can be recorded, and once
//! the store is well again each change is ended once, with one record of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;
use botops_contract::{BOOT_ONCE, Capability, ConfigState};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::kills::Pair;
use super::world::{CONFIG, careful, manual};
use crate::kit;
use crate::kit::app::answer;
use crate::kit::botops_process::BotopsProcess;
use crate::kit::full_disk;
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, refusal};
use crate::kit::until;

const LIMIT: Duration = Duration::from_secs(60);

/// Another process that writes into the store and does not end; nothing of botops can be recorded meanwhile.
fn lock(data: &Path) -> Connection {
    let other = Connection::open(data.join("ops.db")).unwrap();
    other.busy_timeout(LIMIT).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

fn unlock(other: &Connection) {
    other.execute_batch("ROLLBACK").unwrap();
}

async fn bot_runs(pair: &Pair) -> String {
    pair.bot.get::<ConfigState>("config").await.unwrap().running.sha256
}

fn path_of(txn: &Value) -> String {
    format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap_or_else(|| panic!("{txn:#}")))
}

/// Begins a trial that a person has to confirm.
async fn begin(pair: &Pair, size: u32, seconds: f64) -> Value {
    let (status, txn) = pair.apply(size, &format!("change-{size}"), seconds).await.unwrap();
    assert_eq!((status, &txn["state"]), (202, &json!("trial")), "{txn:#}");
    txn
}

async fn end_trial(pair: &Pair, txn: &Value, verb: &str) -> (u16, Value) {
    answer(pair.request(Method::POST, &format!("{}/{verb}", path_of(txn)))).await
}

/// The records of a change in the audit's file, by their event.
async fn recorded(pair: &Pair, txn: &Value) -> Vec<String> {
    events_of(&pair.get("/api/v1/config/audit?limit=500").await, txn)
}

fn events_of(page: &Value, txn: &Value) -> Vec<String> {
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let own = items.iter().filter(|item| item["txn"] == txn["txn"]);
    own.filter_map(|item| item["event"].as_str()).map(str::to_owned).collect()
}

/// Waits until the change has ended so, in the store and in the audit's file, and everything about it is in order.
async fn assert_ended(pair: &Pair, txn: &Value, state: &str) -> Value {
    let path = path_of(txn);
    until(&format!("it is {state}"), LIMIT, || async {
        let view = pair.get(&path).await;
        assert!(view["state"] == state || view["terminal"] != true, "{view:#}");
        view["state"] == state
    })
    .await;
    // Nothing else has to happen for that.
    until("the audit's file has its end", LIMIT, || async {
        recorded(pair, txn).await.last().is_some_and(|last| last == state)
    })
    .await;
    let steps = recorded(pair, txn).await;
    let ends = ["committed", "rolled_back", "rejected", "failed_attention"];
    let count = steps.iter().filter(|step| ends.contains(&step.as_str())).count();
    assert_eq!(count, 1, "it ends once: {steps:?}");
    pair.until_quiet().await;
    pair.assert_whole(state).await;
    pair.get(&path).await
}

#[tokio::test]
async fn a_change_that_meets_a_locked_store_is_refused_and_reads_go_on() {
    let pair = Pair::start().await;
    let before = bot_runs(&pair).await;
    let other = lock(&pair.data());
    let (refused, reads) = tokio::join!(pair.apply(9_000, "locked", 30.0), async {
        for path in [CONFIG, "/api/v1/config/versions", "/api/v1/config/audit", "/api/v1/summary"] {
            let (status, body) = answer(pair.request(Method::GET, path)).await;
            assert_eq!(status, 200, "{path}: {body:#}");
        }
    });
    let ((status, problem), ()) = (refused.unwrap(), reads);
    assert_eq!((status, &problem["error_code"]), (503, &json!("SRV_002")), "{problem:#}");
    assert_eq!(problem["effect"], "none", "{problem:#}");
    assert_eq!(bot_runs(&pair).await, before);
    unlock(&other);
    pair.until_quiet().await;
    let txn = begin(&pair, 9_100, 30.0).await;
    assert_eq!(end_trial(&pair, &txn, "confirm").await.0, 200);
    assert_ended(&pair, &txn, "committed").await;
}

#[tokio::test]
async fn a_trial_is_undone_while_the_store_is_locked_and_ended_once_when_it_is_free() {
    let pair = Pair::start().await;
    for (size, verb, by) in [(9_000, "cancel", "operator"), (9_100, "", "deadline")] {
        let before = bot_runs(&pair).await;
        let txn = begin(&pair, size, if verb.is_empty() { 1.0 } else { 60.0 }).await;
        let other = lock(&pair.data());
        if !verb.is_empty() {
            let (status, view) = end_trial(&pair, &txn, verb).await;
            assert_eq!(
                (status, &view["state"], &view["by"]),
                (200, &json!("reverting"), &json!(by)),
                "{view:#}"
            );
        }
        until("the bot runs what is committed", LIMIT, || async { bot_runs(&pair).await == before }).await;
        // What is shown is what is so, also while it cannot be recorded.
        until("that it is undone is shown", LIMIT, || async {
            pair.get(&path_of(&txn)).await["state"] == "reverting"
        })
        .await;
        let (status, problem) = end_trial(&pair, &txn, "confirm").await;
        assert_eq!((status, &problem["error_code"]), (409, &json!("CFG_007")), "{problem:#}");
        unlock(&other);
        let ended = assert_ended(&pair, &txn, "rolled_back").await;
        assert_eq!(ended["by"], by, "{ended:#}");
        assert_eq!(bot_runs(&pair).await, before);
    }
}

#[tokio::test]
async fn a_confirmation_that_waited_for_the_store_past_the_bots_own_timer_does_not_move_head() {
    let pair = Pair::start().await;
    let before = bot_runs(&pair).await;
    let head = || std::fs::read_to_string(pair.data().join("config/HEAD")).unwrap();
    let (head_before, txn) = (head(), begin(&pair, 9_000, 1.2).await);
    let other = lock(&pair.data());
    let ((status, answered), ()) = tokio::join!(end_trial(&pair, &txn, "confirm"), async {
        until("the bot went back by itself", LIMIT, || async { bot_runs(&pair).await == before }).await;
        unlock(&other);
    });
    assert_eq!(status, 409, "{answered:#}");
    assert!(answered["effect"] == "none" || answered["effect"] == "unknown", "{answered:#}");
    assert_ended(&pair, &txn, "rolled_back").await;
    assert_eq!(head(), head_before, "HEAD never named it");
}

#[tokio::test]
async fn a_confirmation_does_not_bring_back_a_trial_whose_end_waits_for_the_store() {
    let mut pair = Pair::start().await;
    let txn = begin(&pair, 9_000, 60.0).await;
    let head_file = pair.data().join("config/HEAD");
    let head = || std::fs::read_to_string(&head_file).unwrap();
    let head_before = head();
    let other = lock(&pair.data());
    pair.bot.kill();
    let log = pair.bot.folder.path().join("logs-1/botops.log");
    let ((status, answered), ()) = tokio::join!(
        async {
            until("it is known that the bot died", LIMIT, || async {
                pair.get("/api/v1/state").await["bot"]["presence"] == "exited"
            })
            .await;
            end_trial(&pair, &txn, "confirm").await
        },
        async {
            until("its end cannot be recorded", LIMIT, || async {
                let text = std::fs::read_to_string(&log).unwrap();
                text.contains("the end of config change")
            })
            .await;
            unlock(&other);
        }
    );
    assert_eq!((status, &answered["error_code"]), (409, &json!("CFG_007")), "{answered:#}");
    assert_eq!(answered["effect"], "none", "{answered:#}");
    let path = path_of(&txn);
    until("it has ended", LIMIT, || async { pair.get(&path).await["terminal"] == true }).await;
    let ended = pair.get(&path).await;
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("bot_crash")), "{ended:#}");
    assert_eq!(head(), head_before);
    pair.bot.launch().await;
    assert_ended(&pair, &txn, "rolled_back").await;
}

#[tokio::test]
async fn an_end_that_the_audits_file_could_not_take_is_in_it_once_there_is_room() {
    let pair = Pair::start().await;
    let txn = begin(&pair, 9_000, 60.0).await;
    let fault = pair.faults().join("audit.write");
    std::fs::create_dir_all(pair.faults()).unwrap();
    std::fs::write(&fault, "ENOSPC").unwrap();
    let (status, view) = end_trial(&pair, &txn, "cancel").await;
    assert_eq!((status, &view["state"]), (200, &json!("rolled_back")), "{view:#}");
    assert!(!recorded(&pair, &txn).await.contains(&"rolled_back".to_owned()), "it has no room");
    std::fs::remove_file(&fault).unwrap();
    assert_ended(&pair, &txn, "rolled_back").await;
}

/// botops as a process beside a bot of the test's, whose answers can be held while a fault is set.
struct Beside {
    bot: ScriptedBot,
    botops: BotopsProcess,
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Beside {
    async fn start() -> Self {
        Self::start_with(|_, _| Vec::new()).await
    }

    /// With more settings, which may depend on the folder.
    async fn start_with(more: impl Fn(&Path, &ScriptedBot) -> Vec<(&'static str, String)>) -> Self {
        let (bot, folder) = (ScriptedBot::start(), kit::folder());
        bot.script().alive = true;
        bot.change(|report| report.positions = Some(Vec::new()));
        let faults = folder.path().join("faults");
        std::fs::create_dir_all(&faults).unwrap();
        let mut settings = vec![
            ("BOT_IPC_SOCKET", bot.socket().display().to_string()),
            ("BOT_ID", bot.id().to_string()),
            ("BOT_CONFIG_MIN_TRIAL", "200ms".to_owned()),
            ("BOT_POLL_INTERVAL", "50ms".to_owned()),
            ("FAIL_IN", faults.display().to_string()),
        ];
        settings.extend(more(folder.path(), &bot));
        let botops = Self::launch(folder.path(), &settings);
        let world = Self { bot, botops, folder, settings };
        world.until_quiet().await;
        world
    }

    fn launch(folder: &Path, settings: &[(&'static str, String)]) -> BotopsProcess {
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        BotopsProcess::start(folder, &settings)
    }

    /// Kills botops and starts it again.
    fn killed(self) -> Self {
        let Self { bot, botops, folder, settings } = self;
        drop(botops);
        let botops = Self::launch(folder.path(), &settings);
        Self { bot, botops, folder, settings }
    }

    async fn end_trial(&self, txn: &Value, verb: &str) -> (u16, Value) {
        self.botops.send(Method::POST, &format!("{}/{verb}", path_of(txn)), &json!({})).await
    }

    fn fail(&self, point: &str) {
        std::fs::write(self.folder.path().join("faults").join(point), "ENOSPC").unwrap();
    }

    fn mend(&self, point: &str) {
        std::fs::remove_file(self.folder.path().join("faults").join(point)).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("botops-data/logs/botops.log")).unwrap()
    }

    fn head(&self) -> Value {
        let head = std::fs::read(self.folder.path().join("botops-data/config/HEAD")).unwrap();
        serde_json::from_slice(&head).unwrap()
    }

    fn running(&self) -> String {
        self.bot.script().config.state().running.sha256
    }

    async fn until_quiet(&self) {
        until("in sync and quiet", LIMIT, || async {
            let config = self.botops.get(CONFIG).await.1;
            config["sync"] == "in_sync" && config["trial"].is_null()
        })
        .await;
    }

    async fn apply(&self, body: &Value) -> (u16, Value) {
        let etag = self.botops.get(CONFIG).await.1["etag"].as_str().unwrap().to_owned();
        answer(self.botops.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag).json(body))
            .await
    }

    /// Sends a change, and makes the writes of the store fail while the bot's answer to `call` is on its way.
    async fn apply_failing_after(&self, call: &'static str, body: &Value) -> (u16, Value) {
        self.bot.script().only = call;
        self.bot.behave(Behaviour::Hold);
        let (answered, ()) = tokio::join!(self.apply(body), async {
            until("the bot is asked", LIMIT, || async { self.bot.count("POST", call) > 0 }).await;
            self.fail("store.commit");
            self.bot.behave(Behaviour::Normal);
        });
        answered
    }

    async fn txn(&self, txn: &Value) -> Value {
        self.botops.get(&path_of(txn)).await.1
    }

    async fn recorded(&self, txn: &Value) -> Vec<String> {
        events_of(&self.botops.get("/api/v1/config/audit?limit=500").await.1, txn)
    }

    /// Waits for this end of the change, and for one record of it.
    async fn ended(&self, txn: &Value, state: &str) -> Value {
        until("it has ended", LIMIT, || async { self.txn(txn).await["terminal"] == true }).await;
        let view = self.txn(txn).await;
        assert_eq!(view["state"], state, "{view:#}");
        until("the audit's file has its end", LIMIT, || async {
            self.recorded(txn).await.last().is_some_and(|last| last == state)
        })
        .await;
        assert_eq!(self.head()["sha256"], self.running(), "the bot runs HEAD");
        view
    }
}

#[tokio::test]
async fn a_change_whose_check_cannot_be_recorded_never_reaches_the_bot_and_is_ended_later() {
    let world = Beside::start().await;
    let (status, problem) = world.apply_failing_after("config/check", &manual(careful(4_000), 30.0)).await;
    assert_eq!((status, &problem["error_code"]), (503, &json!("SRV_002")), "{problem:#}");
    assert_eq!(problem["effect"], "none", "{problem:#}");
    // The next change is told what holds the bot, and nothing is sent.
    let (status, busy) = world.apply(&manual(careful(4_100), 30.0)).await;
    assert_eq!((status, &busy["error_code"]), (409, &json!("CFG_006")), "{busy:#}");
    world.mend("store.commit");
    let ended = world.ended(&problem["context"], "rejected").await;
    assert_eq!(ended["by"], "server", "{ended:#}");
    assert_eq!(world.bot.count("POST", "config/activate"), 0);
    world.until_quiet().await;
}

#[tokio::test]
async fn a_trial_whose_begin_cannot_be_recorded_is_led_and_recorded_once_it_can_be() {
    let world = Beside::start().await;
    let (status, txn) = world.apply_failing_after("config/activate", &manual(careful(4_000), 60.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(txn["terminal"], false, "{txn:#}");
    assert_eq!(world.running(), txn["candidate"]["sha256"].as_str().unwrap());
    world.mend("store.commit");
    until("that the trial began is recorded", LIMIT, || async {
        world.recorded(&txn).await.contains(&"activating".to_owned())
            && world.txn(&txn).await["state"] == "trial"
    })
    .await;
    let (status, view) = world.end_trial(&txn, "confirm").await;
    assert_eq!((status, &view["state"]), (200, &json!("committed")), "{view:#}");
    world.ended(&txn, "committed").await;
    let steps = world.recorded(&txn).await;
    assert_eq!(steps, ["prepared", "checked", "activating", "trial", "confirming", "committed"]);
}

#[tokio::test]
async fn a_bot_is_not_started_anew_for_a_change_whose_start_could_not_be_recorded() {
    // The bot tries a change from its start, and botops starts it by a command that leaves a mark.
    let world = Beside::start_with(|folder, bot| {
        bot.script().hello.capabilities.push(Capability::from(BOOT_ONCE));
        let command = format!("echo once >> {}", folder.join("started").display());
        vec![("BOT_SUPERVISOR", format!("command:{}", json!(["/bin/sh", "-c", command])))]
    })
    .await;
    let mut body = manual(json!({"order_management": {"poll_interval_seconds": 20}}), 60.0);
    body["restart"] = json!(true);
    let (status, txn) = world.apply_failing_after("config/activate", &body).await;
    assert_eq!((status, &txn["boot_once"]), (202, &json!(true)), "{txn:#}");
    until("the bot is told to go back", LIMIT, || async { world.bot.count("POST", "config/revert") > 0 })
        .await;
    world.mend("store.commit");
    let ended = world.ended(&txn, "rolled_back").await;
    assert_eq!(ended["by"], "server", "{ended:#}");
    let told: Vec<String> = world.bot.journal().into_iter().map(|asked| asked.path).collect();
    assert!(!told.iter().any(|path| path.contains("shutdown")), "nobody ends it: {told:?}");
    assert!(!world.folder.path().join("started").exists(), "nobody starts it");
}

/// A change that was confirmed and that the bot took back by its own timer, while `HEAD` cannot be put back.
async fn head_stays_behind() -> (Beside, Value, Value) {
    let world = Beside::start().await;
    let (base, before) = (world.head(), world.running());
    let (status, txn) = world.apply(&manual(careful(4_000), 2.0)).await;
    assert_eq!((status, &txn["state"]), (202, &json!("trial")), "{txn:#}");
    // The bot keeps its config itself: without the commit it goes back, whatever HEAD names.
    {
        let mut script = world.bot.script();
        script.refuse = Some(refusal("no_answer", "not now"));
        (script.refuse_only, script.refuse_status) = ("config/commit", StatusCode::GATEWAY_TIMEOUT);
    }
    world.fail("config.restore.write");
    world.end_trial(&txn, "confirm").await;
    assert_eq!(world.head()["sha256"], txn["candidate"]["sha256"]);
    until("HEAD cannot be put back", LIMIT, || async { world.log().contains("HEAD could not be put back") })
        .await;
    assert_eq!(world.running(), before);
    (world, txn, base)
}

#[tokio::test]
async fn a_head_that_cannot_be_put_back_keeps_the_change_open_until_it_can_be() {
    let (world, txn, base) = head_stays_behind().await;
    let view = world.txn(&txn).await;
    assert_eq!(view["terminal"], false, "HEAD names another version than runs: {view:#}");
    let (status, busy) = world.apply(&manual(careful(4_100), 30.0)).await;
    assert_eq!((status, &busy["error_code"]), (409, &json!("CFG_006")), "{busy:#}");
    world.mend("config.restore.write");
    let ended = world.ended(&txn, "rolled_back").await;
    assert_eq!(ended["by"], "bot_timer", "{ended:#}");
    assert_eq!((&world.head()["version"], &world.head()["sha256"]), (&base["version"], &base["sha256"]));
    world.until_quiet().await;
}

/// Everything in the data folder is on a disk that can be filled.
async fn on_a_small_disk() -> (Beside, PathBuf) {
    let world = Beside::start_with(|folder, _| full_disk::settings(&folder.join("full-disk")).into()).await;
    let control = world.folder.path().join("full-disk");
    (world, control)
}

#[tokio::test]
async fn on_a_full_disk_a_trial_is_not_confirmed_and_is_undone() {
    let (world, control) = on_a_small_disk().await;
    for (size, verb) in [(4_000, "confirm"), (4_100, "cancel"), (4_200, "")] {
        let before = world.running();
        let seconds = if verb.is_empty() { 1.0 } else { 60.0 };
        let (status, txn) = world.apply(&manual(careful(size), seconds)).await;
        assert_eq!((status, &txn["state"]), (202, &json!("trial")), "{txn:#}");
        full_disk::fill(&control, &world.folder.path().join("botops-data"));
        match verb {
            "confirm" => {
                let (status, problem) = world.end_trial(&txn, verb).await;
                assert_eq!((status, &problem["error_code"]), (409, &json!("CFG_012")), "{problem:#}");
                assert!(problem["effect"] == "unknown" || problem["effect"] == "none", "{problem:#}");
                assert!(problem["cause"].as_str().unwrap().contains("could not be recorded"), "{problem:#}");
            }
            "cancel" => assert_eq!(world.end_trial(&txn, verb).await.0, 200),
            _ => {}
        }
        until("the bot went back", LIMIT, || async { world.running() == before }).await;
        for path in [CONFIG, "/api/v1/config/versions", "/api/v1/summary", &path_of(&txn)] {
            assert_eq!(world.botops.get(path).await.0, 200, "{path}");
        }
        assert_eq!(world.head()["sha256"], before);
        std::fs::remove_file(&control).unwrap();
        world.ended(&txn, "rolled_back").await;
        world.until_quiet().await;
    }
}

#[tokio::test]
async fn a_trial_that_botops_finds_on_a_full_disk_after_a_kill_is_undone_and_ended_by_the_next_start() {
    let (world, control) = on_a_small_disk().await;
    let before = world.running();
    let (status, txn) = world.apply(&manual(careful(4_000), 4.0)).await;
    assert_eq!((status, &txn["state"]), (202, &json!("trial")), "{txn:#}");
    full_disk::fill(&control, &world.folder.path().join("botops-data/ops.db"));
    let world = world.killed();
    assert_eq!(world.botops.get(CONFIG).await.0, 200, "reads go on");
    let (status, problem) = world.end_trial(&txn, "confirm").await;
    assert!((400..600).contains(&status), "{problem:#}");
    assert_ne!(world.head()["sha256"], txn["candidate"]["sha256"]);
    until("the bot went back", LIMIT, || async { world.running() == before }).await;
    std::fs::remove_file(&control).unwrap();
    let world = world.killed();
    let ended = world.ended(&txn, "rolled_back").await;
    assert_eq!(ended["version"], txn["version"], "{ended:#}");
    let steps = world.recorded(&txn).await;
    assert_eq!(steps.iter().filter(|step| *step == "rolled_back").count(), 1, "{steps:?}");
    let verdict = world.botops.get("/api/v1/config/audit/verify").await.1;
    assert_eq!(verdict["valid"], true, "{verdict:#}");
    world.until_quiet().await;
}

/// Takes over a minute, so it is run with `BOTOPS_LONG=1` alone.
#[tokio::test]
async fn a_head_that_cannot_be_put_back_at_all_is_handed_to_a_person() {
    if !crate::kit::is_long_run() {
        return;
    }
    let (world, txn, _) = head_stays_behind().await;
    until("it has ended", 2 * LIMIT, || async { world.txn(&txn).await["terminal"] == true }).await;
    let ended = world.txn(&txn).await;
    assert_eq!(
        (&ended["state"], &ended["by"]),
        (&json!("failed_attention"), &json!("bot_timer")),
        "{ended:#}"
    );
    assert!(ended["outcome"].as_str().unwrap().contains("A person has to make room"), "{ended:#}");
    let config = world.botops.get(CONFIG).await.1;
    assert_eq!(
        config["sync"], "drifted",
        "what HEAD names is shown, and that the bot runs another: {config:#}"
    );
    assert_eq!(config["committed"]["sha256"], world.head()["sha256"], "{config:#}");
}
