//! A data folder of version 0.1.0 (`tests/data/data-folder-0.1`), used by this version.
//!
//! It reads all of it, answers as 0.1.0 did (`expected.json`), and continues from there. An answer may have more than
//! it had, never less.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::Running;
use crate::kit::paperbot::Paperbot;
use crate::kit::scripted_config::sha256;

/// Time for the first health checks, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(60);

/// Columns by whose age rows are deleted, with their units per second.
const AGE_COLUMNS: &[(&str, &str, i64)] = &[
    ("events", "at_us", 1_000_000),
    ("health_alerts", "opened_ms", 1_000),
    ("health_alerts", "closed_ms", 1_000),
    ("health_transitions", "at_ms", 1_000),
];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/data-folder-0.1")
}

/// Copies a part of the fixture and decompresses the store.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            copy_folder(&path, &to.join(name));
        } else if name == "ops.db.zst" {
            let store = zstd::decode_all(fs::File::open(&path).unwrap()).unwrap();
            fs::write(to.join("ops.db"), store).unwrap();
            make_rows_new(&to.join("ops.db"));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Shifts the rows' times as if the folder had been left a moment ago, since rows older than their retention may be
/// deleted. Times inside texts stay.
fn make_rows_new(store: &Path) {
    let store = rusqlite::Connection::open(store).unwrap();
    let newest: String =
        store.query_row("SELECT body FROM events ORDER BY seq DESC LIMIT 1", [], |row| row.get(0)).unwrap();
    let newest: Value = serde_json::from_str(&newest).unwrap();
    let newest: DateTime<Utc> = newest["at"].as_str().unwrap().parse().unwrap();
    let age = (Utc::now() - newest).num_seconds();
    for (table, column, parts) in AGE_COLUMNS {
        store.execute(&format!("UPDATE {table} SET {column} = {column} + ?1"), [age * parts]).unwrap();
    }
}

/// The member that identifies an item of a list among newer ones: number or id.
fn identity(item: &Value) -> Option<(&'static str, &Value)> {
    let names = ["seq", "version", "run_id", "alert_id", "id"];
    names.into_iter().find_map(|name| Some((name, item.get(name)?)))
}

fn nothing_omitted(omitted: &Value) -> bool {
    *omitted == json!(false) || *omitted == json!(0) || *omitted == json!([])
}

/// Adds a line for everything that is missing or different in `now`.
fn compare_answers(place: &str, before: &Value, now: &Value, wrong: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            for (name, member) in before {
                match now.get(name) {
                    // In 0.1.0 it was not a number in every list; only whether anything was left out is compared.
                    Some(found) if name == "omitted" && nothing_omitted(member) && nothing_omitted(found) => {
                    }
                    // By a schema that is the bot's since then: not known while the bot was not seen.
                    Some(Value::Null) if name == "fits_schema" => {}
                    // The same differences stand in a run's answer once.
                    Some(found) if name == "diff" && found["same_as"] == "/outputs/diff" => {}
                    Some(found) => compare_answers(&format!("{place} {name}"), member, found, wrong),
                    None => wrong.push(format!("{place} {name}: is missing")),
                }
            }
        }
        (Value::Array(before), Value::Array(now)) if before.iter().any(|item| identity(item).is_some()) => {
            let mut newer = now.iter();
            for item in before {
                let id = identity(item).expect("all items of a list are of one kind");
                let place = format!("{place} {} {}", id.0, id.1);
                match newer.find(|found| found.get(id.0) == Some(id.1)) {
                    Some(found) => compare_answers(&place, item, found, wrong),
                    None => return wrong.push(format!("{place}: is missing, or not in its place")),
                }
            }
        }
        (Value::Array(before), Value::Array(now)) if before.len() == now.len() => {
            // Groups with a name come by their net profit since; each has what it had.
            let like = |before: &Value, index: usize| match before.get("key") {
                Some(key) => now.iter().find(|one| one.get("key") == Some(key)),
                None => now.get(index),
            };
            for (index, before) in before.iter().enumerate() {
                let now = like(before, index).unwrap_or(&Value::Null);
                compare_answers(&format!("{place} {index}"), before, now, wrong);
            }
        }
        _ if before == now => {}
        _ => wrong.push(format!("{place}: was {before}, is {now}")),
    }
}

/// Waits until every answer has what it had: some of it is known only after the first checks.
async fn wait_for_answers(botops: &Running, expected: &Value) {
    let last = Mutex::new(Vec::new());
    let as_before = || async {
        let mut wrong = Vec::new();
        for (path, before) in expected.as_object().unwrap() {
            let (status, now) = botops.get(&format!("/api/v1/{path}")).await;
            assert_eq!(status, 200, "{path}: {now:#}");
            compare_answers(path, before, &now, &mut wrong);
        }
        let all_hold = wrong.is_empty();
        *last.lock().unwrap() = wrong;
        all_hold
    };
    if tokio::time::timeout(LIMIT, kit::until("answers", Duration::MAX, as_before)).await.is_err() {
        panic!("not as version 0.1.0 answered: {:#?}", last.lock().unwrap());
    }
}

/// The lines of the fixture's audit.
fn audit_lines() -> Vec<Value> {
    let text = fs::read_to_string(fixture().join("botops/config/config_history.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_of_version_0_1_answers_as_it_did() {
    let folder = kit::folder();
    copy_folder(&fixture().join("botops"), &folder.path().join("data"));
    let botops = Running::start(folder.path(), &[]).await;
    let expected = fs::read_to_string(fixture().join("expected.json")).unwrap();
    wait_for_answers(&botops, &serde_json::from_str(&expected).unwrap()).await;

    let (_, audit) = botops.get("/api/v1/config/audit?limit=500").await;
    assert_eq!(audit["items"], Value::Array(audit_lines()));
    let bundle = "01a22428-3f39-7579-b19b-6a30ffd47037-collect";
    let answer = botops.request(Method::GET, &format!("/api/v1/artifacts/{bundle}")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(sha256(&bytes), "0ffb4bb35311e898fa395e564f2785eaf53c89591f75510ed81cdf2c52cd1a37");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_and_config_of_version_0_1_go_on_where_they_were() {
    // It does not trade: its tick is an hour.
    let mut bot = Paperbot::prepare(&["--tick", "3600s"]);
    let data = bot.folder.path().join("botops");
    copy_folder(&fixture().join("botops"), &data);
    copy_folder(&fixture().join("paperbot"), &bot.data());
    bot.arguments(&["--config-dir", data.join("config").to_str().unwrap()]);
    bot.launch().await;
    let botops = Running::start(bot.folder.path(), &[("BOT_DATA_DIR", data.to_str().unwrap())]).await;
    let position = |symbol: &str, quantity: &str, entry_price: &str| json!({"symbol": symbol, "quantity": quantity, "entry_price": entry_price});
    let expected = json!({
        "config": {"version": 6, "sync": "in_sync", "running": {"version": 6}},
        "state": {
            "account": {"cash_balance": "70692.95"},
            "positions": [
                position("AMZN", "20", "197.45"),
                position("GOOGL", "22", "176.44"),
                position("META", "6", "588.8"),
                position("MSFT", "11", "429.15"),
                position("NVDA", "28", "140.75"),
                position("QQQ", "9", "514.83"),
                position("SPY", "8", "587.15"),
            ],
        },
        "performance?window=all": {"total_trades": 8, "realized_pnl": "49.28"},
    });
    wait_for_answers(&botops, &expected).await;

    // A change of the old config: a new version, and new records after the old ones.
    let (_, config) = botops.get("/api/v1/config").await;
    let request = botops.request(Method::PUT, "/api/v1/config/rollback");
    let request = request.header("if-match", config["etag"].as_str().unwrap());
    let change_request =
        json!({"to": "v4", "reason": "as it was at noon", "confirm": "manual", "confirm_within_s": 60});
    let (status, change) = kit::app::answer(request.json(&change_request)).await;
    assert_eq!((status, &change["state"]), (202, &json!("trial")), "{change:#}");
    let path = format!("/api/v1/config/txns/{}", change["txn"].as_str().unwrap());
    let (status, answer) = botops.send(Method::POST, &format!("{path}/confirm"), &json!({})).await;
    assert!(status < 300, "{answer:#}");
    kit::until("it is committed", LIMIT, || async { botops.get(&path).await.1["state"] == "committed" })
        .await;
    wait_for_answers(&botops, &json!({"config": {"version": 7, "sync": "in_sync"}})).await;
    let (_, audit) = botops.get("/api/v1/config/audit?limit=500").await;
    let old = audit_lines();
    let (kept, new) = audit["items"].as_array().unwrap().split_at(old.len());
    assert_eq!(kept, old);
    assert_eq!(new.last().unwrap()["event"], "committed");
    let (_, verdict) = botops.get("/api/v1/config/audit/verify").await;
    assert_eq!(verdict["valid"], true, "{verdict:#}");
    assert_eq!(verdict["head"]["seq"], new.last().unwrap()["seq"]);
    botops.stop().await;
}
