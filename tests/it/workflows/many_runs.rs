//! Many runs: no lock is left over, and with faults between botops and the bot no step acts twice.
//!
//! `WORKFLOW_CYCLES` (default 40) and `WORKFLOW_FAULT_RUNS` (default 20) set the length; `BOTOPS_LONG=1` makes the
//! defaults ten times as large.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{UnixListener, UnixStream};

use super::{define, ended, execute, holding};
use crate::kit::app::Running;
use crate::kit::paperbot::Paperbot;
use crate::kit::scripted_bot::{ScriptedBot, report};
use crate::kit::{folder, is_long_run};

/// The number that the variable `name` sets; without it `usual`, and ten times that in a long run.
fn length(name: &str, usual: usize) -> usize {
    let usual = if is_long_run() { usual * 10 } else { usual };
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_free_after_every_run_however_it_ends() {
    let folder = folder();
    define(folder.path(), "good", &holding("good", "reject", ""));
    let wrong = "  - {id: look, uses: bot.status, expect: [{that: /phase, is: eq, value: stopping}]}\n";
    define(folder.path(), "bad", &holding("bad", "reject", wrong));
    let slow = "  - {id: wait, uses: wait.for, with: {seconds: 20}}\n";
    define(folder.path(), "slow", &holding("slow", "reject", slow));
    let bot = ScriptedBot::at(&folder.path().join("bot.sock"), report());
    bot.script().alive = true;
    let id = bot.id().to_string();
    let running = Running::start(folder.path(), &[("BOT_ID", &id), ("BOT_POLL_INTERVAL", "50ms")]).await;
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for cycle in 0..length("WORKFLOW_CYCLES", 40) {
        let workflow = match cycle % 8 {
            3 => "bad",
            6 => "slow",
            _ => "good",
        };
        let (status, body) = execute(&running, workflow, json!({})).await;
        assert_eq!(status, 202, "cycle {cycle}: {body}");
        let run = body["run_id"].as_str().unwrap();
        if workflow == "slow" {
            running.send(Method::POST, &format!("/api/v1/workflows/runs/{run}/cancel"), &json!({})).await;
        }
        let view = ended(&running, run, Duration::from_secs(60)).await;
        *ends.entry(view["state"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(
        ends.keys().cloned().collect::<Vec<_>>(),
        ["cancelled", "rolled_back", "succeeded"],
        "{ends:?}"
    );
    // No run is left that has not ended.
    let counted = running
        .app
        .handles()
        .store
        .read(|connection| {
            Ok(connection
                .query_row("SELECT count(*) FROM ops WHERE live = 1", [], |row| row.get::<_, u32>(0))?)
        })
        .await
        .unwrap();
    assert_eq!(counted, 0);
    running.stop().await;
}

/// A proxy between botops and the bot: one connection in ten is cut (half of these after the bot has acted), one in
/// twenty is delayed by three seconds.
async fn flaky(outside: PathBuf, inside: PathBuf, count: Arc<AtomicU64>) {
    let listener = UnixListener::bind(outside).unwrap();
    loop {
        let Ok((mut client, _)) = listener.accept().await else { return };
        let number = count.fetch_add(1, Ordering::Relaxed);
        let inside = inside.clone();
        tokio::spawn(async move {
            // A fixed pseudo-random sequence.
            let dice = number.wrapping_mul(2_654_435_761) % 1_000;
            if dice < 50 {
                return;
            }
            let Ok(mut bot) = UnixStream::connect(inside).await else { return };
            if dice < 100 {
                // The bot gets the request; its answer is lost.
                let mut request = vec![0; 64 * 1024];
                if let Ok(length) = client.read(&mut request).await {
                    let _ = bot.write_all(&request[..length]).await;
                    let _ = bot.read(&mut request).await;
                }
                return;
            }
            if dice < 150 {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            let (mut from_client, mut to_client) = client.split();
            let (mut from_bot, mut to_bot) = bot.split();
            tokio::select! {
                _ = copy(&mut from_client, &mut to_bot) => {}
                _ = copy(&mut from_bot, &mut to_client) => {}
            }
        });
    }
}

fn effects(data: &Path) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(data.join("effects.jsonl")).unwrap_or_default();
    let mut counts = BTreeMap::new();
    for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let Some(id) = line["command_id"].as_str() {
            *counts.entry(id.to_owned()).or_default() += 1;
        }
    }
    counts
}

const TOUCH: &str = "\
workflow: v1
id: touch
title: Pause, cancel, resume
risk: disruptive
params: {type: object, additionalProperties: false}
policy: {locks: [bot], on_conflict: reject, timeout_s: 120, on_crash: resume}
steps:
  - {id: before, uses: bot.status, timeout_s: 10}
  - {id: pause, uses: bot.pause_trading, undo: {uses: bot.resume_trading}}
  - {id: cancel, uses: bot.cancel_orders, undo: none}
  - {id: resume, uses: bot.resume_trading, undo: none}
";

#[tokio::test(flavor = "multi_thread")]
async fn runs_succeed_through_faults_and_never_act_twice() {
    let mut bot = Paperbot::start(&["--tick", "100ms"]).await;
    let outside = bot.folder.path().join("flaky.sock");
    let proxy = tokio::spawn(flaky(outside.clone(), bot.socket(), Arc::default()));
    define(bot.folder.path(), "touch", TOUCH);
    let settings = [("BOT_IPC_SOCKET", outside.to_str().unwrap())];
    let running = Running::start(bot.folder.path(), &settings).await;
    let runs = length("WORKFLOW_FAULT_RUNS", 20);
    let mut succeeded = 0;
    for number in 0..runs {
        if number % 100 == 50 || number == 7 {
            // The bot crashes and is started again by the test.
            bot.kill();
            bot.launch().await;
        }
        let (status, body) = execute(&running, "touch", json!({})).await;
        assert_eq!(status, 202, "run {number}: {body}");
        let view = ended(&running, body["run_id"].as_str().unwrap(), Duration::from_secs(120)).await;
        if view["state"] == "succeeded" {
            succeeded += 1;
            for step in view["steps"].as_array().unwrap() {
                assert!(step["criteria"].as_array().unwrap().iter().all(|one| one["met"] == true), "{step}");
            }
        } else {
            println!("run {number}: {} {}", view["state"], view["error"]);
        }
    }
    assert!(succeeded * 100 >= runs * 95, "{succeeded} of {runs} succeeded");
    for (id, count) in effects(&bot.data()) {
        assert_eq!(count, 1, "{id} acted once");
    }
    println!("{succeeded} of {runs} runs succeeded through faults");
    running.stop().await;
    proxy.abort();
}
