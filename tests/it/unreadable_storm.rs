//! Hundreds of answers with random damage, from a bot on a real socket to the real program: every answer of botops stays
//! whole, nothing is done to the bot, and memory does not grow.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::app::{KEY, command};
use crate::kit::scripted_bot::ScriptedBot;
use crate::kit::{self, Process, until};
use crate::secrets::served_on;

/// Damaged states that the bot gives at least; beside them as many hellos, events, trades and answers to commands come.
const ANSWERS: u64 = 200;

/// What the resident memory may grow by: a large answer is held twice while it is read, and an allocator keeps some of
/// that.
const GROWTH_KIB: u64 = 32 * 1024;

const SOON: Duration = Duration::from_secs(20);

/// A small generator; the seed that a failure prints makes the same damage again.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }
}

const DAMAGE: [&str; 14] = [
    "null",
    "true",
    "-7",
    "1e400",
    "\"\"",
    "\"a word\"",
    "[]",
    "[1, \"a\"]",
    "{\"a\": {\"b\": 1}}",
    "NaN",
    "-Infinity",
    "\"\\u202e\\ud83d evil\"",
    "\"+262142-12-31T23:59:59Z\"",
    "123456789012345678901234567890123456789",
];

/// A document with one place in it damaged, or cut short.
fn damaged(document: &Value, dice: &mut Dice) -> String {
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        let members: Vec<(String, &Value)> = match value {
            Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
            }
            _ => Vec::new(),
        };
        for (name, member) in members {
            found.push(format!("{at}/{name}"));
            places(member, &format!("{at}/{name}"), found);
        }
    }
    let mut found = Vec::new();
    places(document, "", &mut found);
    let place = &found[dice.throw(found.len())];
    let mut changed = document.clone();
    let mark = "<damage>";
    *changed.pointer_mut(place).unwrap() = json!(mark);
    let damage = match dice.throw(DAMAGE.len() + 3) {
        kind if kind < DAMAGE.len() => DAMAGE[kind].to_owned(),
        kind if kind == DAMAGE.len() => format!("\"{}\"", "x".repeat(200_000)),
        kind if kind == DAMAGE.len() + 1 => format!("{}{}", "[".repeat(300), "]".repeat(300)),
        _ => {
            let text = changed.to_string();
            return text.chars().take(dice.throw(text.len())).collect();
        }
    };
    changed.to_string().replace(&format!("\"{mark}\""), &damage)
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the process lives");
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// The answers of the bot are damaged while this is above zero; each damaged one counts.
#[derive(Default)]
struct Storm {
    is_on: std::sync::atomic::AtomicBool,
    hello: AtomicU64,
    state: AtomicU64,
    trades: AtomicU64,
}

fn start(folder: &Path, bot: &ScriptedBot) -> (Process, String) {
    let mut botops = command(&["serve", "--port", "0"]);
    botops.current_dir(folder).env("BOT_API_AUTH_TOKEN", KEY).env("BOT_API_RATE_LIMIT", "1000000");
    botops.env("BOT_IPC_SOCKET", bot.socket()).env("BOT_ID", "scripted").env("BOT_POLL_INTERVAL", "50ms");
    botops.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let botops = Process::spawn(&mut botops);
    let address = served_on(&folder.join("botops-data/logs/botops.log"));
    (botops, address)
}

/// Serves right answers, and damaged ones while the storm is on.
fn serve(bot: &ScriptedBot, storm: &Arc<Storm>, dice: &Arc<Mutex<Dice>>) {
    let hello = json!(bot.script().hello);
    let report = json!(bot.script().report);
    let trades = json!({"items": [
        {"seq": 1, "id": "a", "symbol": "SPY", "closed_at": "2026-03-02T15:00:00Z", "net_pl": "1.5"},
        {"seq": 2, "id": "b", "symbol": "SPY", "closed_at": "2026-03-02T15:00:00Z", "side": "BUY"}], "next": null});
    let answer = |document: Value, count: fn(&Storm) -> &AtomicU64| {
        let (storm, dice) = (storm.clone(), dice.clone());
        move || {
            let mut document = document.clone();
            if document["as_of"].is_string() {
                document["as_of"] = json!(chrono::Utc::now());
            }
            if !storm.is_on.load(Ordering::Relaxed) {
                return document.to_string();
            }
            count(&storm).fetch_add(1, Ordering::Relaxed);
            damaged(&document, &mut dice.lock().unwrap())
        }
    };
    let mut script = bot.script();
    script.raw.insert("hello", Arc::new(answer(hello, |storm| &storm.hello)));
    script.raw.insert("state", Arc::new(answer(report, |storm| &storm.state)));
    script.raw.insert("trades", Arc::new(answer(trades, |storm| &storm.trades)));
    let dice = dice.clone();
    script.raw_commands = Some(Arc::new(move |asked: &Value| {
        let right = json!({"command_id": asked["command_id"], "outcome": "done", "message": "m", "phase": "paused",
            "exposure": {"orders_cancelled": 1, "notional": "5"}, "at": "2026-03-02T15:00:00Z"});
        damaged(&right, &mut dice.lock().unwrap())
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_damaged_answers_cost_botops_nothing_and_the_bot_nothing() {
    let seed = RandomState::new().hash_one(1_u8) | 1;
    println!("seed {seed}");
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let (storm, dice) = (Arc::new(Storm::default()), Arc::new(Mutex::new(Dice(seed))));
    serve(&bot, &storm, &dice);
    let (mut botops, address) = start(folder.path(), &bot);
    kit::install_tls();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str| -> (u16, Value) {
        let sent = client.get(format!("http://{address}{path}")).header("x-api-key", KEY).send().await;
        let answer = sent.unwrap_or_else(|why| panic!("seed {seed}: {path}: {why}"));
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or_else(|why| panic!("seed {seed}: {path}: {why}")),
        )
    };
    until("the bot is read", SOON, || async {
        get("/api/v1/state").await.1["bot"]["presence"] == "connected"
    })
    .await;
    let paths = [
        "/api/v1/state",
        "/api/v1/summary",
        "/api/v1/metrics",
        "/api/v1/errors",
        "/api/v1/performance?window=all&by=day",
    ];
    // What only the first answers need is in memory before it is measured.
    for path in paths.iter().cycle().take(50) {
        assert_eq!(get(path).await.0, 200);
    }
    let before = resident_kib(botops.pid());
    storm.is_on.store(true, Ordering::Relaxed);
    let event = json!({"seq": 3, "boot_epoch": "e", "at": "2026-03-02T15:00:00Z", "kind": "fill", "severity": "low",
        "message": "m", "data": {"a": 1}});
    let mut rounds = 0;
    while storm.state.load(Ordering::Relaxed) < ANSWERS {
        rounds += 1;
        let mut next = event.clone();
        next["seq"] = json!(rounds);
        // Not while the dice are held: the bot holds its script when it takes them.
        let text = damaged(&next, &mut dice.lock().unwrap());
        bot.emit_raw(text.replace('\n', " "));
        for path in paths {
            let (status, body) = get(path).await;
            assert_eq!(status, 200, "seed {seed}: {path}: {body:#}");
        }
        let reason = json!({"reason": "an answer of the storm"});
        let sent = client.post(format!("http://{address}/api/v1/control/pause")).header("x-api-key", KEY);
        let answer = sent.json(&reason).send().await.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert!(status != 500 && body.starts_with('{'), "seed {seed}: {status} {body}");
    }
    storm.is_on.store(false, Ordering::Relaxed);
    until(&format!("seed {seed}: all is read again"), SOON, || async {
        let (_, state) = get("/api/v1/state").await;
        state["bot"]["presence"] == "connected"
            && state["positions"].as_array().map(Vec::len) == Some(2)
            && state["account"]["account_balance"] == "100250.75"
    })
    .await;
    assert!(botops.child().try_wait().unwrap().is_none(), "seed {seed}: the program lives");
    let (_, runs) = get("/api/v1/workflows/restart-bot/runs").await;
    assert_eq!(runs["items"], json!([]), "seed {seed}: no restart was tried");
    let others =
        bot.journal().into_iter().filter(|asked| asked.method != "GET" && asked.path != "commands/pause");
    assert_eq!(others.count(), 0, "seed {seed}: nothing that nobody asked for reached the bot");
    let log = std::fs::read_to_string(folder.path().join("botops-data/logs/botops.log")).unwrap();
    assert!(!log.contains("panicked"), "seed {seed}: a task panicked");
    let after = resident_kib(botops.pid());
    println!("{rounds} rounds, {before} KiB before, {after} KiB after");
    assert!(after < before + GROWTH_KIB, "seed {seed}: {before} KiB before, {after} KiB after");
    botops.terminate();
    botops.wait(SOON);
}
