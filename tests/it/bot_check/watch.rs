//! `--watch`: the whole report once, then what changes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::json;

use super::stub_bot;
use crate::kit::Process;
use crate::kit::app::command;
use crate::kit::scripted_bot::ScriptedBot;

/// Reads lines until one contains this; all that were read.
#[track_caller]
fn lines_until(lines: &Receiver<String>, wanted: &str) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(60);
    let mut seen = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).unwrap_or_else(|_| panic!("no `{wanted}`: {seen:#?}"));
        seen.push(line);
        if seen.last().unwrap().contains(wanted) {
            return seen;
        }
    }
}

#[test]
fn a_bot_under_development_is_followed_and_only_changes_are_printed() {
    let mut bot = ScriptedBot::start();
    bot.script().alive = true;
    let socket = bot.socket().display().to_string();
    let mut process = command(&["bot", "check", &socket, "--watch"]);
    process.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process::spawn(&mut process);
    let stdout = process.child().stdout.take().unwrap();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines_until(&lines, "botops can stand beside this bot");
    bot.script().raw.insert(
        "state",
        std::sync::Arc::new(|| {
            stub_bot::with(stub_bot::state(), json!({"boot_epoch": "life-1", "as_of": "2026-03-02T15:00:00"}))
                .to_string()
        }),
    );
    let changed = lines_until(&lines, "What is a fault is missing");
    assert!(
        changed.iter().any(|line| line.starts_with("FAULT") && line.contains("naive_time")),
        "{changed:#?}"
    );
    assert!(!changed.iter().any(|line| line.contains("It could offer next")), "{changed:#?}");
    bot.script().raw.clear();
    let mended = lines_until(&lines, "botops can stand beside this bot");
    assert!(
        mended.iter().any(|line| line.starts_with("MENDED") && line.contains("naive_time")),
        "{mended:#?}"
    );
    bot.die();
    lines_until(&lines, "The bot is away");
    bot.revive();
    lines_until(&lines, "The bot answers again");
}
