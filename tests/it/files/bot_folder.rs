//! paperbot's data folder: one row for a file and damages that have the same end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use botops_contract::{CommandOutcome, Verb};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::damage;
use super::damage::Damage::{self, Cut, Empty, Fifo, Flipped, Full, Missing, OtherOwner, Unreadable};
use super::page::{FileRow, Moment, Outcome};
use crate::kit::paperbot::Paperbot;
use crate::kit::until;
use Moment::{Running, Start};
use Outcome::{GoesOn, Halted, NotOpened, NotProven, Refuses, Serves};

const PATIENCE: Duration = Duration::from_secs(40);
/// Cells that are tried at the same time.
const AT_ONCE: usize = 4;
/// Symbols that the seeded account holds, with a stop that every price has reached: they are sold at once.
const HELD: [&str; 2] = ["SPY", "QQQ"];

const SHUT: &str = "ledger_damaged";
const FULL: &str = "ledger_unwritable";
const UNKNOWN: &str = "config_unknown";

const fn row(
    file: &'static str,
    damages: &'static [Damage],
    moment: Moment,
    outcome: Outcome,
    told: &'static [&'static str],
) -> FileRow {
    FileRow { file, damages, moment, outcome, told }
}

const ALL: &[Damage] = damage::ALL;
const SPOILED: &[Damage] = &[Empty, Cut, Flipped, Unreadable, Fifo];

/// What happens to the bot. `told` is what must be said: where, and what to do.
pub(super) const ROWS: &[FileRow] = &[
    row(
        "ledger.jsonl",
        &[Missing, Empty, Unreadable, Fifo],
        Start,
        NotProven(SHUT),
        &["ledger.jsonl", "backup"],
    ),
    row(
        "ledger.jsonl",
        &[Cut],
        Start,
        NotProven(SHUT),
        &["ledger.jsonl is not believed: it ends at line", "backup"],
    ),
    row(
        "ledger.jsonl",
        &[Flipped],
        Start,
        NotOpened(SHUT),
        &["ledger.jsonl is not believed: line 7", "backup"],
    ),
    row("ledger.jsonl", &[OtherOwner], Start, GoesOn, &[]),
    row(
        "ledger.jsonl",
        &[Full],
        Start,
        NotOpened(FULL),
        &["ledger.jsonl cannot be written: No space left", "Free space there"],
    ),
    row("ledger.jsonl", &[Missing], Running, GoesOn, &["ledger.jsonl was deleted", "written anew"]),
    row(
        "ledger.jsonl",
        &[Empty, Cut],
        Running,
        NotOpened(FULL),
        &["ledger.jsonl cannot be written: it was cut", "backup"],
    ),
    row(
        "ledger.jsonl",
        &[Unreadable, Fifo],
        Running,
        NotOpened(FULL),
        &["ledger.jsonl cannot be written: something else", "restart the bot"],
    ),
    row(
        "ledger.jsonl",
        &[Full],
        Running,
        NotOpened(FULL),
        &["ledger.jsonl cannot be written: No space left", "Free space there"],
    ),
    row("ledger.jsonl", &[Flipped, OtherOwner], Running, GoesOn, &[]),
    row("ledger-mark.json", &[Missing, OtherOwner, Full], Start, GoesOn, &[]),
    row(
        "ledger-mark.json",
        SPOILED,
        Start,
        GoesOn,
        &["ledger-mark.json says nothing of the ledger", "remove it"],
    ),
    row("ledger-mark.json", ALL, Running, GoesOn, &[]),
    row(
        "config/HEAD",
        &[Missing, Empty, Cut, Unreadable, Fifo],
        Start,
        NotOpened(UNKNOWN),
        &["config/HEAD", "backup"],
    ),
    row(
        "config/HEAD",
        &[Flipped],
        Start,
        NotOpened(UNKNOWN),
        &["does not have the hash that HEAD says", "backup"],
    ),
    row("config/HEAD", &[OtherOwner, Full], Start, GoesOn, &[]),
    row("config/HEAD", &[Missing, Empty, Cut, Unreadable, Fifo], Running, GoesOn, &["config/HEAD", "backup"]),
    row("config/HEAD", &[Flipped], Running, GoesOn, &["does not have the hash that HEAD says", "backup"]),
    row("config/HEAD", &[OtherOwner, Full], Running, GoesOn, &[]),
    row(
        "config/versions/000003.json",
        &[Missing, Empty, Cut, Flipped, Unreadable, Fifo],
        Start,
        NotOpened(UNKNOWN),
        &["versions/000003.json", "backup"],
    ),
    row("config/versions/000003.json", &[OtherOwner, Full], Start, GoesOn, &[]),
    row("config/versions/000003.json", ALL, Running, GoesOn, &[]),
    row("last-config.json", &[Missing, OtherOwner, Full], Start, GoesOn, &[]),
    row("last-config.json", SPOILED, Start, GoesOn, &["last-config.json cannot be used", "remove it"]),
    row("last-config.json", ALL, Running, GoesOn, &[]),
    row("config-outcomes.json", &[Missing, Flipped, OtherOwner, Full], Start, GoesOn, &[]),
    row(
        "config-outcomes.json",
        &[Empty, Cut, Unreadable, Fifo],
        Start,
        GoesOn,
        &["config-outcomes.json cannot be used", "move it away"],
    ),
    row("config-outcomes.json", ALL, Running, GoesOn, &[]),
    row("config-boot-once.json", &[Missing, Empty, Cut, Flipped, OtherOwner, Full], Start, GoesOn, &[]),
    row("config-boot-once.json", &[Unreadable, Fifo], Start, GoesOn, &["config-boot-once.json", "remove it"]),
    row("config-boot-once.json", ALL, Running, GoesOn, &[]),
    row("session.json", &[Missing, OtherOwner, Full], Start, GoesOn, &[]),
    row(
        "session.json",
        SPOILED,
        Start,
        Halted("session_operator_halt"),
        &["session.json cannot be read", "reset the breaker"],
    ),
    row("session.json", ALL, Running, GoesOn, &[]),
    row("effects.jsonl", &[Missing, Empty, Cut, Flipped, OtherOwner, Full], Start, GoesOn, &[]),
    row("effects.jsonl", &[Unreadable, Fifo], Start, GoesOn, &["effects.jsonl cannot be used", "remove"]),
    row("effects.jsonl", ALL, Running, GoesOn, &[]),
    row("paperbot.lock", &[Missing, Empty, Cut, Flipped, OtherOwner, Full], Start, GoesOn, &[]),
    row("paperbot.lock", &[Unreadable, Fifo], Start, Refuses, &["paperbot.lock", "remove it"]),
    row("paperbot.lock", ALL, Running, GoesOn, &[]),
    row("paperbot.pid", &[Missing, Empty, Cut, Flipped, Fifo, OtherOwner], Start, GoesOn, &[]),
    row("paperbot.pid", &[Unreadable], Start, GoesOn, &["paperbot.pid cannot be written", "remove"]),
    row("paperbot.pid", &[Full], Start, GoesOn, &["paperbot.pid cannot be written", "free space there"]),
    row("paperbot.pid", ALL, Running, GoesOn, &[]),
    row("logs/paperbot.log", &[Missing, Empty, Cut, Flipped, OtherOwner, Full], Start, GoesOn, &[]),
    row(
        "logs/paperbot.log",
        &[Unreadable, Fifo],
        Start,
        GoesOn,
        &["--log-dir", "cannot be used", "name a folder"],
    ),
    row("logs/paperbot.log", ALL, Running, GoesOn, &[]),
    row("logs/health_check.log", &[Missing, Empty, Cut, Flipped, OtherOwner], Start, GoesOn, &[]),
    row(
        "logs/health_check.log",
        &[Full],
        Start,
        GoesOn,
        &["health_check.log cannot be written", "free space there"],
    ),
    row(
        "logs/health_check.log",
        &[Unreadable, Fifo],
        Start,
        GoesOn,
        &["health_check.log cannot be written", "remove"],
    ),
    row("logs/health_check.log", ALL, Running, GoesOn, &[]),
    row("logs/trading_bot.log", ALL, Start, GoesOn, &[]),
    row("logs/trading_bot.log", ALL, Running, GoesOn, &[]),
];

/// Seals the lines of a ledger as the bot does, computed without its code.
fn sealed(entries: &[Value]) -> String {
    let (mut before, mut text) = (String::new(), String::new());
    for (index, entry) in entries.iter().enumerate() {
        let at = "2026-03-02T15:00:00Z";
        let mut line = json!({"n": index + 1, "at": at, "boot_epoch": "seed", "entry": entry}).to_string();
        line.pop();
        before = data_encoding::HEXLOWER.encode(&Sha256::digest(format!("{before}\n{line}")));
        text.push_str(&format!("{line},\"sum\":\"{before}\"}}\n"));
    }
    text
}

fn seeded_entries() -> Vec<Value> {
    let mut entries = vec![
        json!({"type": "opened", "cash": "100000", "account_id": "paper-seed"}),
        json!({"type": "started", "version": "0.1.0", "source": "simulated", "seed": 7, "pid": 1}),
    ];
    for symbol in HELD {
        let (order, at) = (format!("order-{symbol}"), "2026-03-02T15:00:00Z");
        entries.push(json!({"type": "placed", "order_id": order, "client_order_id": format!("client-{symbol}"), "symbol": symbol,
            "side": "BUY", "order_type": "LIMIT", "quantity": "10", "limit_price": "100", "purpose": "entry", "reason": "a seed",
            "decided_price": "100", "stop_price": "1000000", "target_price": null, "config_sha256": "", "market_at": at}));
        entries.push(json!({"type": "filled", "fill_id": format!("{order}-1"), "order_id": order, "symbol": symbol, "side": "BUY",
            "quantity": "10", "price": "100", "commission": "0.05", "slippage": "0", "market_at": at}));
    }
    entries.push(json!({"type": "day", "day": "2026-03-02", "equity": "99999.90"}));
    entries.push(json!({"type": "stopped", "reason": "told to by a signal"}));
    entries
}

/// A bot that has run before, by version 3 of its config, and holds two positions that are due to be sold.
async fn seeded_bot() -> Paperbot {
    let mut bot = Paperbot::prepare(&["--tick", "2ms"]);
    let data = bot.data();
    fs::create_dir_all(data.join("config/versions")).unwrap();
    let document = include_str!("../../../crates/paperbot/schemas/default-bot-config.json");
    fs::write(data.join("config/versions/000003.json"), document).unwrap();
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(document));
    let head = json!({"version": 3, "sha256": sha256, "file": "versions/000003.json", "txn": "t", "at": "2026-01-01T00:00:00Z"});
    fs::write(data.join("config/HEAD"), head.to_string()).unwrap();
    bot.launch().await;
    bot.trades().await;
    until("it has its files", PATIENCE, || async { data.join("ledger-mark.json").exists() }).await;
    bot.kill();
    let entries = seeded_entries();
    fs::write(data.join("ledger.jsonl"), sealed(&entries)).unwrap();
    fs::write(data.join("ledger-mark.json"), json!({"lines": entries.len()}).to_string()).unwrap();
    fs::write(
        data.join("config-outcomes.json"),
        json!({"gen": 1, "endings": [["t", "committed"]]}).to_string(),
    )
    .unwrap();
    let once = json!({"txn": "t", "base": {"version": 2, "sha256": ""}, "version": {"version": 3, "sha256": ""}, "document": "",
        "ttl_ms": 1, "at": "2026-01-01T00:00:00Z", "tries": 0});
    fs::write(data.join("config-boot-once.json"), once.to_string()).unwrap();
    bot
}

/// Everything that the bot says: its state, its log, and what it wrote to its terminal.
async fn words(bot: &Paperbot) -> String {
    let state: Option<Value> = bot.get("state").await;
    // What stands in the log's place may be a FIFO, which is not to be read.
    let log = bot.data().join("logs/paperbot.log");
    let logs = if log.is_file() { fs::read_to_string(log).unwrap_or_default() } else { String::new() };
    let terminal = fs::read_to_string(terminal(bot)).unwrap_or_default();
    format!("{}\n{logs}\n{terminal}", state.unwrap_or_default())
}

fn terminal(bot: &Paperbot) -> PathBuf {
    bot.folder.path().join("terminal.txt")
}

async fn until_told(bot: &Paperbot, cell: &str, told: &[&str]) {
    for part in told {
        let what = format!("{cell}: it says `{part}`");
        until(&what, PATIENCE, || async { words(bot).await.contains(part) }).await;
    }
}

/// The symbols that the state lists with a quantity.
async fn held(bot: &Paperbot) -> Vec<String> {
    let state: Value = bot.get("state").await.unwrap_or_default();
    let positions = state["positions"].as_array().cloned().unwrap_or_default();
    let known = positions.iter().filter(|position| !position["quantity"].is_null());
    known.filter_map(|position| position["symbol"].as_str().map(str::to_owned)).collect()
}

/// Waits until what was held is sold: not held any more, or closed in a trade.
async fn until_closed(bot: &Paperbot, cell: &str, symbols: &[String]) {
    for symbol in symbols {
        let closed = || async {
            let trades: Value = bot.get("trades?limit=5000").await.unwrap_or_default();
            let items = trades["items"].as_array().cloned().unwrap_or_default();
            items.iter().any(|trade| trade["symbol"] == symbol.as_str())
        };
        until(&format!("{cell}: {symbol} is sold"), PATIENCE, closed).await;
    }
}

async fn until_shut(bot: &Paperbot, cell: &str, gate: &str) {
    let is_shut = || async {
        let state: Value = bot.get("state").await.unwrap_or_default();
        let reasons = state["no_entry_reasons"].as_array().cloned().unwrap_or_default();
        let enabled = state["trading_enabled"] == true;
        !enabled
            && reasons.iter().any(|reason| reason.as_str().is_some_and(|reason| reason.starts_with(gate)))
    };
    until(&format!("{cell}: nothing is opened ({gate})"), PATIENCE, is_shut).await;
}

fn strike(bot: &Paperbot, file: &str, damage: Damage) {
    let path = bot.data().join(file);
    if (file, damage) != ("ledger.jsonl", Flipped) {
        return damage.strike(bot.folder.path(), &path);
    }
    // A bit in a line that moves no shares, so that what is held stays proven; others are tried one by one below.
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("99999.90"));
    fs::write(&path, text.replace("99999.90", "89999.90")).unwrap();
}

async fn try_start(row: &'static FileRow, damage: Damage) {
    let cell = format!("{} {} at the start", row.file, damage.word());
    let mut bot = seeded_bot().await;
    strike(&bot, row.file, damage);
    let mut command = bot.command();
    command.stderr(fs::File::create(terminal(&bot)).unwrap()).envs(damage.settings(bot.folder.path()));
    let mut process = crate::kit::Process::spawn(&mut command);
    if row.outcome == Refuses {
        let ended = process.wait(PATIENCE);
        assert_eq!(ended.code(), Some(2), "{cell}");
        let said = fs::read_to_string(terminal(&bot)).unwrap();
        row.told.iter().for_each(|part| assert!(said.contains(part), "{cell}: {said}"));
        return;
    }
    bot.process = Some(process);
    until(&format!("{cell}: it answers"), PATIENCE, || async { bot.get::<Value>("hello").await.is_some() })
        .await;
    until_told(&bot, &cell, row.told).await;
    match row.outcome {
        GoesOn => {
            until_closed(&bot, &cell, &HELD.map(str::to_owned)).await;
            bot.trades().await;
        }
        NotOpened(gate) => {
            until_shut(&bot, &cell, gate).await;
            until_closed(&bot, &cell, &HELD.map(str::to_owned)).await;
        }
        Halted(gate) => until_shut(&bot, &cell, gate).await,
        NotProven(gate) => {
            until_shut(&bot, &cell, gate).await;
            let state: Value = bot.get("state").await.unwrap();
            assert!(state["account"]["cash_balance"].is_null(), "{cell}: {}", state["account"]);
            assert_eq!(state["circuit_breaker"]["state"], "closed", "{cell}: no loss is made up");
        }
        Serves | Refuses => panic!("{cell}: it starts"),
    }
}

async fn try_running(row: &'static FileRow, damage: Damage) {
    let cell = format!("{} {} while it runs", row.file, damage.word());
    let mut bot = seeded_bot().await;
    let path = bot.data().join(row.file);
    let mut command = bot.command();
    command.stderr(fs::File::create(terminal(&bot)).unwrap()).envs(damage.settings(bot.folder.path()));
    bot.process = Some(crate::kit::Process::spawn(&mut command));
    until(&format!("{cell}: it answers"), PATIENCE, || async { bot.get::<Value>("hello").await.is_some() })
        .await;
    bot.trades().await;
    let mut open = Vec::new();
    until(&format!("{cell}: it holds something"), PATIENCE, || {
        let bot = &bot;
        async move { !held(bot).await.is_empty() }
    })
    .await;
    until(&format!("{cell}: the file is there"), PATIENCE, || async { path.exists() }).await;
    damage.strike(bot.folder.path(), &path);
    open.extend(held(&bot).await);
    until_told(&bot, &cell, row.told).await;
    match row.outcome {
        GoesOn => bot.trades().await,
        NotOpened(gate) => until_shut(&bot, &cell, gate).await,
        _ => panic!("{cell}: no outcome of a running bot"),
    }
    until_closed(&bot, &cell, &open).await;
}

async fn try_cells(moment: Moment) {
    let cells = ROWS.iter().filter(|row| row.moment == moment);
    let cells = cells.flat_map(|row| row.damages.iter().map(move |damage| (row, *damage)));
    let (mut trying, mut failed) = (JoinSet::new(), Vec::new());
    for (row, damage) in cells {
        if trying.len() >= AT_ONCE {
            failed.extend(trying.join_next().await.and_then(Result::err));
        }
        if moment == Start {
            trying.spawn(try_start(row, damage));
        } else {
            trying.spawn(try_running(row, damage));
        }
    }
    while let Some(tried) = trying.join_next().await {
        failed.extend(tried.err());
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_file_of_the_bot_is_damaged_it_starts_and_closes_what_it_can_prove() {
    try_cells(Start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_file_of_the_bot_is_damaged_while_it_runs_it_closes_what_it_holds() {
    try_cells(Running).await;
}

/// A bot whose ledger was changed by hand, with what it says of its account then.
async fn bot_after(change: impl Fn(&str) -> String) -> (Paperbot, Value) {
    let mut bot = seeded_bot().await;
    let ledger = bot.data().join("ledger.jsonl");
    let changed = change(&fs::read_to_string(&ledger).unwrap());
    fs::write(&ledger, changed).unwrap();
    bot.launch().await;
    until_shut(&bot, "a changed ledger", SHUT).await;
    let state = bot.get("state").await.unwrap();
    (bot, state)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_digit_changed_in_a_fill_leaves_its_position_alone_and_closes_the_others() {
    let (bot, _) = bot_after(|text| {
        let fill = text.lines().find(|line| line.contains("order-QQQ-1")).unwrap();
        text.replace(fill, &fill.replace("\"price\":\"100\"", "\"price\":\"900\""))
    })
    .await;
    until_told(
        &bot,
        "a changed fill",
        &["line 6 is not what was written", "Positions in QQQ cannot be proven"],
    )
    .await;
    until_closed(&bot, "a changed fill", &["SPY".to_owned()]).await;
    let state: Value = bot.get("state").await.unwrap();
    let left: Vec<_> = state["positions"].as_array().unwrap().iter().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&left[0]["symbol"], &left[0]["quantity"]), (&json!("QQQ"), &Value::Null));
    assert!(state["account"]["account_balance"].is_null() && state["performance"]["daily_pl"].is_null());
    assert_eq!(state["circuit_breaker"]["state"], "closed", "{}", state["circuit_breaker"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_cut_at_a_line_proves_no_position_and_is_not_written_into() {
    let cut = |text: &str| text.lines().take(5).fold(String::new(), |kept, line| kept + line + "\n");
    let (bot, state) = bot_after(cut).await;
    until_told(&bot, "a cut ledger", &["it ends at line 5, and had 8 lines before"]).await;
    assert!(state["account"]["cash_balance"].is_null());
    assert_eq!(fs::read_to_string(bot.data().join("ledger.jsonl")).unwrap().lines().count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_before_the_sums_is_read_and_chained_from_then_on() {
    let mut bot = seeded_bot().await;
    let ledger = bot.data().join("ledger.jsonl");
    let plain = |text: &str| {
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("sum");
            format!("{line}\n")
        });
        lines.collect::<String>()
    };
    let old = plain(&fs::read_to_string(&ledger).unwrap());
    fs::write(&ledger, &old).unwrap();
    bot.launch().await;
    bot.trades().await;
    until_closed(&bot, "an older ledger", &HELD.map(str::to_owned)).await;
    bot.kill();
    let text = fs::read_to_string(&ledger).unwrap();
    assert!(text.starts_with(&old), "old lines stay as they are");
    assert!(text.lines().skip(8).all(|line| line.contains("\"sum\":\"")));
    // What an old line says is covered by the first sum behind it.
    fs::write(&ledger, text.replacen("99999.90", "89999.90", 1)).unwrap();
    bot.launch().await;
    until_told(&bot, "an older ledger", &["line 9 is not what was written"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_config_folder_opens_nothing_and_a_fresh_bot_is_as_easy_as_ever() {
    let mut bot = seeded_bot().await;
    let elsewhere = bot.folder.path().join("confgi");
    bot.arguments(&["--config-dir", elsewhere.to_str().unwrap()]);
    bot.launch().await;
    until_shut(&bot, "a mistyped folder", UNKNOWN).await;
    let head = format!("{} is missing", elsewhere.join("HEAD").display());
    until_told(&bot, "a mistyped folder", &[&head, "config v3", "correct --config-dir"]).await;
    until_closed(&bot, "a mistyped folder", &HELD.map(str::to_owned)).await;
    let state: Value = bot.get("state").await.unwrap();
    assert_eq!(state["config"]["running"]["version"], 3, "what it ran last closes its positions");

    let fresh = Paperbot::start(&["--tick", "5ms"]).await;
    fresh.trades().await;
}

/// The table names every file that a bot makes, so that a new one cannot be left out.
#[tokio::test]
async fn the_table_has_every_file_of_the_bot_and_every_damage() {
    let bot = seeded_bot().await;
    let mut found = Vec::new();
    list_files(&bot.data(), &bot.data(), &mut found);
    let by_day = |file: &str| file.starts_with("logs/trades-") || file.starts_with("logs/errors-");
    for file in found.iter().filter(|file| !by_day(file)) {
        for moment in [Start, Running] {
            for damage in ALL {
                let rows = ROWS.iter().filter(|row| row.file == file && row.moment == moment);
                let count = rows.filter(|row| row.damages.contains(damage)).count();
                assert_eq!(count, 1, "{file}, {}, {moment:?}: one row says what happens", damage.word());
            }
        }
    }
}

fn list_files(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list_files(root, &path, found);
        } else {
            found.push(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_risk_out_is_done_on_command_although_the_ledger_cannot_be_written() {
    let cell = "a command beside a ledger that was cut";
    let bot = Paperbot::start(&["--tick", "20ms"]).await;
    bot.trades().await;
    Cut.strike(bot.folder.path(), &bot.data().join("ledger.jsonl"));
    until_shut(&bot, cell, FULL).await;
    for verb in [Verb::Pause, Verb::Flatten] {
        let answer = bot.command_as(verb, verb.as_str()).await;
        assert_eq!(answer.outcome, CommandOutcome::Done, "{verb}: {answer:?}");
        assert!(answer.message.contains("in memory alone"), "{verb}: {answer:?}");
        let again = bot.command_as(verb, verb.as_str()).await;
        assert!(again.replayed, "{verb} acts once: {again:?}");
    }
    until("all is sold, and it is paused", PATIENCE, || async {
        held(&bot).await.is_empty()
            && bot.get::<Value>("state").await.unwrap_or_default()["phase"] == "paused"
    })
    .await;
    let halted = bot.command_as(Verb::Halt, "halt").await;
    assert_eq!(halted.outcome, CommandOutcome::Done, "{halted:?}");
    assert!(
        halted.message.contains("the ledger cannot be written, so this is in memory alone"),
        "{halted:?}"
    );
    assert!(bot.command_as(Verb::Halt, "halt").await.replayed);
    let resume = json!({"command_id": "resume", "reason": "a test", "args": null});
    let (status, refused) = bot.post("commands/resume", &resume).await;
    assert!(status >= 400 && refused["code"] == FULL, "{status} {refused}: what takes risk on is not done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_that_cannot_be_stored_holds_and_its_answer_says_so() {
    let mut bot = Paperbot::prepare(&["--tick", "20ms"]);
    let control = bot.folder.path().join("full-disk");
    bot.process =
        Some(crate::kit::Process::spawn(bot.command().envs(crate::kit::full_disk::settings(&control))));
    until("it answers", PATIENCE, || async { bot.get::<Value>("hello").await.is_some() }).await;
    bot.trades().await;
    Full.strike(bot.folder.path(), &bot.data().join("session.json"));
    let halted = bot.command_as(Verb::Halt, "halt").await;
    assert_eq!((halted.outcome, halted.trading_enabled), (CommandOutcome::Done, Some(false)), "{halted:?}");
    let said = "session.json cannot be written, so this is in memory alone";
    assert!(halted.message.contains(said), "{halted:?}");
    // Once there is room it is stored, and outlives the process.
    fs::remove_file(&control).unwrap();
    let stored = || async {
        let text = fs::read_to_string(bot.data().join("session.json")).unwrap_or_default();
        text.contains("halted_operator")
    };
    until("the halt is stored", PATIENCE, stored).await;
    let again = bot.command_as(Verb::Halt, "once more").await;
    assert!(!again.message.contains("in memory alone"), "{again:?}");
}
