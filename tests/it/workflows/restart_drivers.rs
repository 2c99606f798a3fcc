//! The supervisor's other drivers, a fixed command and a service manager; and dry runs, which change nothing.
//!
//! The command and the bot are real; `systemctl` is a script that starts and ends the bot and records its arguments.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::pair::{Pair, SWAP};
use crate::kit::ReportParts as _;
use crate::kit::paperbot::lines;

fn script(path: &Path, body: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A shell line that starts the bot in its own process.
fn starts(pair: &Pair) -> String {
    let command = pair.bot.command();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    format!("setsid {} </dev/null >/dev/null 2>&1 &", quoted.join(" "))
}

/// Settings with this driver instead of the usual one.
fn driven_by(pair: &Pair, driver: &str) -> Vec<(&'static str, String)> {
    let kept = pair.settings.iter().filter(|(name, _)| !name.starts_with("BOT_SUPERVISOR"));
    kept.cloned().chain([("BOT_SUPERVISOR", driver.to_owned())]).collect()
}

/// Restarts the bot and expects exactly one new start of its process.
async fn restarts(pair: &mut Pair, id: &str, yaml: &str, key: &str) -> Value {
    pair.define(id, yaml);
    let before = (pair.bot.state().await.boot_epoch, pair.lives_begun().await);
    let body = pair.execute(id, &json!({}), key).await.unwrap();
    let run = body["run_id"].as_str().unwrap_or_else(|| panic!("{body:#}")).to_owned();
    let view = pair.ended(&run).await.unwrap();
    assert_eq!(view["state"], "succeeded", "{view:#}");
    let after = pair.bot.state().await;
    assert_eq!(
        (&view["outputs"]["old_epoch"], &view["outputs"]["new_epoch"]),
        (&json!(before.0), &json!(after.boot_epoch))
    );
    assert_eq!(pair.lives_begun().await, before.1 + 1);
    pair.bot.trades().await;
    view
}

/// Restarts the bot by a command that fails: the ended run. The bot does not run then.
pub(crate) async fn raise_bot_not_started(pair: &mut Pair) -> Value {
    let command = pair.bot.folder.path().join("start-bot");
    script(&command, "exit 3");
    pair.define("swap", SWAP);
    let body = pair.execute("swap", &json!({}), "by a command that fails").await.unwrap();
    pair.ended(body["run_id"].as_str().unwrap_or_else(|| panic!("{body:#}"))).await.unwrap()
}

/// A botops that starts its bot by the command `start-bot`, which fails until the test writes another one.
pub(crate) async fn driven_by_a_command() -> Pair {
    let mut pair = Pair::start().await;
    let command = pair.bot.folder.path().join("start-bot");
    script(&command, "exit 3");
    pair.settings = driven_by(&pair, &format!("command:{}", json!([command, "now"])));
    pair.serve(None).await;
    pair.connected().await;
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_command_brings_the_bot_back() {
    let mut pair = driven_by_a_command().await;
    let command = pair.bot.folder.path().join("start-bot");
    let told = pair.bot.folder.path().join("told");
    script(&command, &format!("echo \"$*\" >> {}\n{}", told.display(), starts(&pair)));
    restarts(&mut pair, "swap", SWAP, "k").await;
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "now\n", "once, with its own arguments");
    // A failing command is reported, and the run does not succeed.
    let view = raise_bot_not_started(&mut pair).await;
    // The bot has ended and it is unknown whether it will start: a person is needed.
    assert_eq!(
        (&view["state"], &view["failed_step"]),
        (&json!("needs_attention"), &json!("restart")),
        "{view:#}"
    );
    let step = view["steps"].as_array().unwrap().iter().find(|step| step["step"] == "restart").unwrap();
    assert_eq!(step["error"]["error_code"], "BOT_021", "{step:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_ends_and_starts_the_unit() {
    let mut pair = Pair::start().await;
    let bin = pair.bot.folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let told: PathBuf = pair.bot.folder.path().join("told");
    let pid_file = pair.bot.data().join("paperbot.pid");
    let body = format!(
        "echo \"$*\" >> {}\ncase \"$*\" in\n*start*) {}\n;;\n\
         *stop*) pid=$(sed -n 's/.*\"pid\":\\([0-9]*\\).*/\\1/p' {}); kill $pid; while kill -0 $pid 2>/dev/null && ! grep -q 'State:.Z' /proc/$pid/status; do sleep 0.05; done ;;\nesac",
        told.display(),
        starts(&pair),
        pid_file.display()
    );
    script(&bin.join("systemctl"), &body);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    pair.settings = driven_by(&pair, "systemd:paperbot.service");
    pair.settings.push(("PATH", path));
    pair.serve(None).await;
    pair.connected().await;
    restarts(&mut pair, "swap", SWAP, "k").await;
    // What it was told to do: a start that takes its time is asked about as well, which changes nothing.
    let lines = |from: usize| -> Vec<String> {
        let told = std::fs::read_to_string(&told).unwrap();
        told.lines().filter(|line| !line.contains(" show ")).skip(from).map(str::to_owned).collect()
    };
    assert_eq!(
        lines(0),
        ["--no-ask-password start -- paperbot.service"],
        "the bot ended by itself, as it was asked"
    );
    // Without a shutdown command before, the service manager ends it.
    let at_once =
        SWAP.replace("id: swap", "id: at-once").replace("drain_s: 20", "drain_s: 20, mode: immediate");
    restarts(&mut pair, "at-once", &at_once, "k2").await;
    let stop_and_start =
        ["--no-ask-password stop -- paperbot.service", "--no-ask-password start -- paperbot.service"];
    assert_eq!(lines(1), stop_and_start);
    pair.settings.iter_mut().filter(|(name, _)| *name == "BOT_SUPERVISOR").for_each(|(_, driver)| {
        "systemd-user:paperbot.service".clone_into(driver);
    });
    pair.serve(None).await;
    pair.connected().await;
    restarts(&mut pair, "swap", SWAP, "k3").await;
    assert_eq!(lines(3), ["--user --no-ask-password start -- paperbot.service"]);
}

/// The commands that the bot carried out, by its `effects.jsonl`.
fn told_to(pair: &Pair) -> Vec<Value> {
    let effects = lines(&pair.bot.data().join("effects.jsonl"));
    effects
        .into_iter()
        .filter(|effect| effect["effect"] == "command" || effect["effect"] == "config")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_any_workflow_touches_nothing_whatever_the_bot_does() {
    let mut pair = Pair::start().await;
    let targets = pair.get("/api/v1/config").await["config"]["targets"].clone();
    let mut fewer = targets.clone();
    fewer[0]["weight"] = json!(0.01);
    let asked = [
        ("restart-bot", json!({"reason": "only a dry run"})),
        ("update-targets", json!({"reason": "only a dry run", "targets": fewer})),
        ("export-logs", json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"})),
        ("check-health", json!({"samples": 1})),
    ];
    let mut shapes = std::collections::BTreeMap::new();
    for state in ["running", "paused", "on trial", "dead"] {
        match state {
            "paused" => {
                pair.bot.command_as(botops_contract::Verb::Pause, "a-pause").await;
                pair.bot.until("it is paused", |report| !report.opens_positions()).await;
            }
            "on trial" => {
                let etag = pair.get("/api/v1/config").await["etag"].as_str().unwrap().to_owned();
                let body = json!({"reason": "a test", "confirm": "manual", "confirm_within_s": 300,
                                  "merge_patch": {"trading": {"max_trades_per_day": 99}}});
                let apply =
                    pair.request(reqwest::Method::PUT, "/api/v1/config/apply").header("if-match", etag);
                assert_eq!(apply.json(&body).send().await.unwrap().status(), 202);
            }
            "dead" => pair.bot.kill(),
            _ => {}
        }
        let before =
            (told_to(&pair), pair.lives_begun().await, pair.get("/api/v1/config").await["version"].clone());
        for (id, params) in &asked {
            let path = format!("/api/v1/workflows/{id}/execute?dry_run=true");
            let request = pair.request(reqwest::Method::POST, &path).json(&json!({"params": params}));
            let (status, plan) = crate::kit::app::answer(request).await;
            assert_eq!((status, &plan["dry_run"]), (200, &json!(true)), "{id}, {state}: {plan:#}");
            for step in plan["steps"].as_array().unwrap() {
                // A predicted output has the same members as the step's real output.
                let Some(output) = step["predicted_output"].as_object() else { continue };
                let shape: Vec<String> = output.keys().cloned().collect();
                let known = shapes.entry((*id, step["step"].to_string())).or_insert_with(|| shape.clone());
                assert_eq!(*known, shape, "{id}, {state}: {step:#}");
            }
            let runs = pair.get(&format!("/api/v1/workflows/{id}/runs")).await;
            assert_eq!(runs["items"], json!([]), "{id}, {state}");
        }
        let after =
            (told_to(&pair), pair.lives_begun().await, pair.get("/api/v1/config").await["version"].clone());
        assert_eq!(before, after, "{state}");
    }
    assert!(shapes.len() >= 12, "{shapes:?}");
}
