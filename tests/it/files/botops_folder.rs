//! botops' data folder: whatever is damaged at a start, it serves reads and says what is wrong.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::damage;
use super::damage::Damage::{self, Cut, Empty, Fifo, Flipped, Full, Missing, OtherOwner, Unreadable};
use super::page::Moment::{Running, Start};
use super::page::Outcome::{GoesOn, Serves};
use super::page::{FileRow, Outcome};
use crate::kit::app::{KEY, answer, command};
use crate::kit::botops_process::BotopsProcess;
use crate::kit::paperbot::Paperbot;
use crate::kit::{Process, until};

const PATIENCE: Duration = Duration::from_secs(30);
/// Cells that are tried at the same time.
const AT_ONCE: usize = 4;

const fn row(
    file: &'static str,
    damages: &'static [Damage],
    outcome: Outcome,
    told: &'static [&'static str],
) -> FileRow {
    FileRow { file, damages, moment: Start, outcome, told }
}

const ALL: &[Damage] = damage::ALL;
/// What a full disk does to botops while it runs.
const fn full(file: &'static str, outcome: Outcome, told: &'static [&'static str]) -> FileRow {
    FileRow { file, damages: &[Full], moment: Running, outcome, told }
}

const NO_FILE: &[Damage] = &[Unreadable, Fifo];
const HARMLESS: &[Damage] = &[Missing, Empty, Cut, Flipped, OtherOwner];

/// What botops serves and says after a start with the damage. `Serves` means that changes of a kind are refused.
pub(super) const ROWS: &[FileRow] = &[
    row(
        "ops.db",
        &[Missing, Empty],
        GoesOn,
        &["ops.db was missing or empty", "put the file back from a backup"],
    ),
    row("ops.db", &[Cut, Flipped, OtherOwner], GoesOn, &[]),
    row("ops.db", &[Full], Serves, &["ops.db cannot be used at the start", "free space there"]),
    full("ops.db", Serves, &["SRV_002", "BOT_DATA_DIR"]),
    row("ops.db", NO_FILE, Serves, &["ops.db cannot be used at the start", "restart botops"]),
    row(
        "audit.key",
        &[Missing, Empty, Cut, Unreadable, Fifo],
        Serves,
        &["audit.key cannot be used", "put it back from a backup"],
    ),
    row("audit.key", &[Flipped], Serves, &["of the audit does not hold"]),
    row("audit.key", &[OtherOwner, Full], GoesOn, &[]),
    full("audit.key", GoesOn, &[]),
    row(
        "config/config_history.jsonl",
        &[Missing, Empty, Cut, Flipped],
        Serves,
        &["of the audit does not hold"],
    ),
    row(
        "config/config_history.jsonl",
        NO_FILE,
        Serves,
        &["config_history.jsonl cannot be used", "put it back from a backup"],
    ),
    row("config/config_history.jsonl", &[OtherOwner, Full], GoesOn, &[]),
    full("config/config_history.jsonl", Serves, &["CFG_014", "config_history.jsonl"]),
    row("config/HEAD", &[Missing, Empty, Cut, Fifo], GoesOn, &["it names version 1 again"]),
    row("config/HEAD", &[Flipped, OtherOwner, Full], GoesOn, &[]),
    full("config/HEAD", Serves, &["CFG_012"]),
    row(
        "config/HEAD",
        &[Unreadable],
        Serves,
        &["config/HEAD cannot be read", "cannot be put back", "restart botops"],
    ),
    row("config/current.json", ALL, GoesOn, &[]),
    full("config/current.json", GoesOn, &[]),
    row("config/schema.json", ALL, GoesOn, &[]),
    full("config/schema.json", GoesOn, &[]),
    row(
        "config/versions/",
        &[Missing, Empty, Cut, Flipped, Fifo],
        GoesOn,
        &["put back from config/current.json"],
    ),
    row("config/versions/", &[Unreadable], GoesOn, &["cannot be put back from config/current.json"]),
    row("config/versions/", &[OtherOwner, Full], GoesOn, &[]),
    full("config/versions/", Serves, &["SRV_002", "BOT_DATA_DIR"]),
    row("botops.lock", HARMLESS, GoesOn, &[]),
    row("botops.lock", &[Full], GoesOn, &[]),
    full("botops.lock", GoesOn, &[]),
    row("botops.lock", NO_FILE, GoesOn, &["botops.lock cannot be used", "Remove what is in its place"]),
    row("logs/botops.log", HARMLESS, GoesOn, &[]),
    row("logs/botops.log", &[Full], GoesOn, &[]),
    full("logs/botops.log", GoesOn, &[]),
    row("logs/botops.log", NO_FILE, GoesOn, &["The log in", "cannot be written", "restart botops"]),
    row("logs/operators.log", HARMLESS, GoesOn, &[]),
    row("logs/operators.log", &[Full], GoesOn, &[]),
    full("logs/operators.log", GoesOn, &[]),
    row("logs/operators.log", NO_FILE, GoesOn, &["The log in", "cannot be written", "restart botops"]),
    row("logs/workflow_execution_log.jsonl", HARMLESS, GoesOn, &[]),
    row("logs/workflow_execution_log.jsonl", &[Full], GoesOn, &[]),
    full("logs/workflow_execution_log.jsonl", GoesOn, &[]),
    row(
        "logs/workflow_execution_log.jsonl",
        NO_FILE,
        GoesOn,
        &["workflow_execution_log.jsonl cannot be written"],
    ),
];

/// A folder that botops has used beside this bot, with a committed config.
async fn seed(bot: &Paperbot) -> tempfile::TempDir {
    let folder = crate::kit::folder();
    let socket = bot.socket().display().to_string();
    let botops = BotopsProcess::start(folder.path(), &[("BOT_IPC_SOCKET", &socket)]);
    let head = folder.path().join("botops-data/config/HEAD");
    until("the first version is committed", PATIENCE, || async { head.exists() }).await;
    botops.stop();
    folder
}

/// The file of a row; a row of a folder means the one file in it.
fn file_of(data: &Path, row: &FileRow) -> std::path::PathBuf {
    let path = data.join(row.file);
    if !row.file.ends_with('/') {
        return path;
    }
    fs::read_dir(path).unwrap().next().expect("it has a file").unwrap().path()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn try_cell(seeded: &Path, socket: &str, row: &FileRow, damage: Damage) -> Result<(), String> {
    let cell = format!("{} {}", row.file, damage.word());
    let folder = crate::kit::folder();
    let copied = Command::new("cp").arg("-a").arg(seeded.join("botops-data")).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    let data = folder.path().join("botops-data");
    damage.strike(folder.path(), &file_of(&data, row));
    let port = free_port().to_string();
    let terminal = folder.path().join("terminal.txt");
    let mut botops = command(&["serve", "--port", &port]);
    botops.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env("BOT_API_RATE_LIMIT", "1000000");
    botops.env("BOT_IPC_SOCKET", socket).envs(damage.settings(folder.path()));
    botops.stdout(std::process::Stdio::null()).stderr(fs::File::create(&terminal).unwrap());
    let mut process = Process::spawn(&mut botops);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = |path: &str| client.get(format!("http://127.0.0.1:{port}{path}")).header("x-api-key", KEY);
    let end = std::time::Instant::now() + PATIENCE;
    let outcome = loop {
        let mut said = fs::read_to_string(&terminal).unwrap_or_default();
        let log = data.join("logs/botops.log");
        if log.is_file() {
            said.push_str(&fs::read_to_string(log).unwrap_or_default());
        }
        let mut served = true;
        for path in
            ["/api/v1/summary", "/api/v1/state", "/api/v1/events", "/api/v1/health/components", "/livez"]
        {
            let is_up = ask(path).send().await.is_ok();
            let (status, body) = if is_up { answer(ask(path)).await } else { (0, Value::Null) };
            served &= status == 200;
            said.push_str(&body.to_string());
        }
        let missing = row.told.iter().find(|part| !said.contains(**part));
        if served && missing.is_none() {
            break Ok(());
        }
        if let Ok(Some(ended)) = process.child().try_wait() {
            break Err(format!("{cell}: it ended with {ended}: {said}"));
        }
        if std::time::Instant::now() > end {
            break Err(format!("{cell}: served: {served}, not said: {missing:?}\n{said}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    if outcome.is_ok() && row.outcome == Serves {
        let state = answer(ask("/api/v1/state")).await.1["warnings"].to_string();
        let summary = answer(ask("/api/v1/summary")).await.1["warnings"].to_string();
        process.kill();
        let whole = row.told.iter().all(|part| state.contains(part));
        // The summary may cut a long sentence, but says that changes are refused or since what.
        let is_named = summary.contains("Config changes are refused") || summary.contains("Since the store");
        let told = whole && is_named;
        return if told { Ok(()) } else { Err(format!("{cell}: neither says it: {summary} {state}")) };
    }
    process.kill();
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_file_of_botops_is_damaged_it_starts_and_serves_what_is_wrong() {
    let bot = Paperbot::start(&["--tick", "20ms"]).await;
    let seeded = seed(&bot).await;
    let socket = bot.socket().display().to_string();
    let mut failed = Vec::new();
    let mut trying: tokio::task::JoinSet<Result<(), String>> = tokio::task::JoinSet::new();
    for row in ROWS.iter().filter(|row| row.moment == Start) {
        for damage in row.damages {
            if trying.len() >= AT_ONCE {
                failed.extend(trying.join_next().await.and_then(|tried| tried.unwrap().err()));
            }
            let (seeded, socket) = (seeded.path().to_owned(), socket.clone());
            trying.spawn(async move { try_cell(&seeded, &socket, row, *damage).await });
        }
    }
    while let Some(tried) = trying.join_next().await {
        failed.extend(tried.unwrap().err());
    }
    let shown: Vec<_> = failed.iter().map(|text| text.chars().take(1_500).collect::<String>()).collect();
    assert!(failed.is_empty(), "{shown:#?}");
}

/// What cannot be written while the disk is full, by what was asked for. What takes risk out of the bot is always done.
async fn try_changes(botops: &BotopsProcess, said: &mut String) -> Vec<(&'static str, Value)> {
    let mut refused = Vec::new();
    let mut note = |what: &'static str, status: u16, body: Value, said: &mut String| {
        said.push_str(&body.to_string());
        if status >= 400 {
            refused.push((what, body.clone()));
        }
        body
    };
    let reason = json!({"reason": "a test of a full disk"});
    let (status, body) = botops.send(Method::POST, "/api/v1/control/pause", &reason).await;
    note("pause", status, body, said);
    let run = json!({"params": {"samples": 1}});
    let (status, body) = botops.send(Method::POST, "/api/v1/workflows/check-health/execute", &run).await;
    note("workflow", status, body, said);
    let (_, now) = botops.get("/api/v1/config").await;
    let change = json!({"merge_patch": {"order_management": {"max_slippage_pct": 2.4}}, "reason": "a test of a full disk",
        "confirm": "manual", "confirm_within_s": 60});
    let request = botops.request(Method::PUT, "/api/v1/config/apply").json(&change);
    let (status, body) = answer(request.header("if-match", now["etag"].as_str().unwrap_or("none"))).await;
    let body = note("config", status, body, said);
    if let Some(txn) = body["txn"].as_str() {
        let confirm = format!("/api/v1/config/txns/{txn}/confirm");
        let (status, body) = answer(botops.request(Method::POST, &confirm)).await;
        note("confirm", status, body, said);
    }
    refused
}

async fn try_running(seeded: &Path, row: &FileRow) -> Result<(), String> {
    let bot = Paperbot::start(&["--tick", "20ms"]).await;
    let cell = format!("{} on a full disk while it runs", row.file);
    let folder = crate::kit::folder();
    let copied = Command::new("cp").arg("-a").arg(seeded.join("botops-data")).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    let data = folder.path().join("botops-data");
    let path = if row.file.ends_with('/') { data.join(row.file).join("0") } else { data.join(row.file) };
    let socket = bot.socket().display().to_string();
    let full = Full.settings(folder.path());
    let mut settings = vec![("BOT_IPC_SOCKET", socket.as_str())];
    settings.extend(full.iter().map(|(name, value)| (*name, value.as_str())));
    let botops = BotopsProcess::start(folder.path(), &settings);
    let in_sync = || async { botops.get("/api/v1/config").await.1["sync"] == "in_sync" };
    until(&format!("{cell}: the bot runs what is committed"), PATIENCE, in_sync).await;
    Full.strike(folder.path(), &path);
    let mut said = String::new();
    let refused = try_changes(&botops, &mut said).await;
    let names: Vec<&str> = refused.iter().map(|(what, _)| *what).collect();
    let done_all = names.is_empty();
    let nothing_done = refused.iter().all(|(what, body)| *what == "confirm" || body["effect"] == "none");
    if names.contains(&"pause") || !nothing_done || done_all != (row.outcome == GoesOn) {
        return Err(format!("{cell}: refused {names:?}: {said}"));
    }
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let mut now = said.clone();
        for path in [
            "/api/v1/summary",
            "/api/v1/state",
            "/api/v1/events",
            "/api/v1/health/components",
            "/api/v1/config",
        ] {
            let (status, body) = botops.get(path).await;
            if status != 200 {
                return Err(format!("{cell}: {path} is not served: {body}"));
            }
            now.push_str(&body.to_string());
        }
        let Some(missing) = row.told.iter().find(|part| !now.contains(**part)) else { break };
        if std::time::Instant::now() > end {
            return Err(format!("{cell}: not said: {missing:?}\n{now}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_file_of_botops_is_on_a_full_disk_it_serves_and_pauses_and_says_what_it_refuses() {
    let bot = Paperbot::start(&["--tick", "20ms"]).await;
    let seeded = seed(&bot).await;
    let mut failed = Vec::new();
    let mut trying: tokio::task::JoinSet<Result<(), String>> = tokio::task::JoinSet::new();
    for row in ROWS.iter().filter(|row| row.moment == Running) {
        if trying.len() >= AT_ONCE {
            failed.extend(trying.join_next().await.and_then(|tried| tried.unwrap().err()));
        }
        let seeded = seeded.path().to_owned();
        trying.spawn(async move { try_running(&seeded, row).await });
    }
    while let Some(tried) = trying.join_next().await {
        failed.extend(tried.unwrap().err());
    }
    let shown: Vec<_> = failed.iter().map(|text| text.chars().take(3_000).collect::<String>()).collect();
    assert!(failed.is_empty(), "{shown:#?}");
}
