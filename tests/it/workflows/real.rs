//! Against a real paperbot that is really replaced.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::run;
use crate::kit::app::Running;
use crate::kit::paperbot::Paperbot;
use crate::kit::{program, until};

/// Settings that let botops start this bot.
pub fn supervised(bot: &Paperbot) -> Vec<(&'static str, String)> {
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

/// Ends whatever process the pid file names, so that no bot outlives its test.
pub struct Sweep(pub std::path::PathBuf);

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
    until("botops sees the bot", Duration::from_secs(10), connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_bot_replaces_the_process_and_keeps_the_account() {
    let mut bot = Paperbot::start(&["--tick", "20ms"]).await;
    let _sweep = Sweep(bot.data().join("paperbot.pid"));
    bot.until("it holds something", |report| !report.positions.is_empty()).await;
    let settings = supervised(&bot);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let running = Running::start(bot.folder.path(), &settings).await;
    seen(&running).await;
    // botops starts the next process itself; the child of this test is only the first.
    let before = bot.state().await;
    let view = run(&running, "restart-bot", json!({"reason": "a test of the restart"})).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    let after = bot.state().await;
    assert_ne!(before.boot_epoch, after.boot_epoch);
    assert_eq!(view["outputs"]["old_epoch"], before.boot_epoch);
    assert_eq!(view["outputs"]["new_epoch"], after.boot_epoch);
    assert!(after.trading_enabled, "trading goes on");
    let held = |report: &botops::contract::BotReport| {
        report.positions.iter().map(|position| position.symbol.clone()).collect::<Vec<_>>()
    };
    assert!(!held(&after).is_empty() || held(&before).is_empty());
    drop(bot.process.take());
    running.stop().await;
    // The bot outlives botops.
    assert!(bot.get::<botops::contract::Hello>("hello").await.is_some());
    let _ = program("paperbot");
}
