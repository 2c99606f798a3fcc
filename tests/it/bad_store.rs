//! A store that is locked, deleted or damaged under a running botops.
//!
//! Requests are still answered, no other component changes its status, and a receiver gets one alert and its end.
//! Full and read-only disks need a process of their own: `tests/peers/check-store-bad-days`.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::health::{LIMIT, Peer, Stub, beside, component_is, get, hasty};
use crate::kit;
use crate::kit::app::Running;
use crate::kit::scripted_bot::ScriptedBot;

/// Long enough that a busy machine alone makes nothing late.
async fn calm(botops: &Running) {
    let mut calmer = hasty();
    calmer["check_interval"] = json!(2.0);
    calmer["timeout"] = json!(1.8);
    assert_eq!(botops.send(Method::PUT, "/api/v1/health/monitoring/config", &calmer).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_store_is_one_alert_about_the_store_and_no_target_goes_down_for_it() {
    let (bot, folder, receiver) = (ScriptedBot::start(), kit::folder(), Stub::start(Peer::Fine).await);
    let hook = format!("{}/hook", receiver.base);
    let botops = beside(&bot, &folder, &[("BOT_ALERT_WEBHOOK_URL", &hook)]).await;
    calm(&botops).await;
    component_is(&botops, "store", "HEALTHY").await;
    component_is(&botops, "api_server", "HEALTHY").await;
    let path = folder.path().join("data/ops.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    kit::until("the receiver hears of the store", LIMIT, || async {
        receiver.statuses("store") == ["firing"]
    })
    .await;
    let status = get(&botops, "/api/v1/health/status").await;
    for component in status["components"].as_array().unwrap() {
        assert_ne!(component["status"], "DOWN", "{component:#}");
    }
    assert_eq!(component_is(&botops, "bot", "HEALTHY").await["status"], "HEALTHY");
    other.execute_batch("ROLLBACK").unwrap();
    component_is(&botops, "store", "HEALTHY").await;
    kit::until("and of its end", LIMIT, || async { receiver.statuses("store") == ["firing", "resolved"] })
        .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_store_is_one_alert_and_is_written_anew_with_everything_in_it() {
    let (bot, folder, receiver) = (ScriptedBot::start(), kit::folder(), Stub::start(Peer::Fine).await);
    let hook = format!("{}/hook", receiver.base);
    let botops = beside(&bot, &folder, &[("BOT_ALERT_WEBHOOK_URL", &hook)]).await;
    calm(&botops).await;
    component_is(&botops, "store", "HEALTHY").await;
    component_is(&botops, "api_server", "HEALTHY").await;
    let path = folder.path().join("data/ops.db");
    std::fs::remove_file(&path).unwrap();
    kit::until("the receiver hears of the store", LIMIT, || async {
        receiver.statuses("store") == ["firing"]
    })
    .await;
    for component in get(&botops, "/api/v1/health/status").await["components"].as_array().unwrap() {
        assert_ne!(component["status"], "DOWN", "{component:#}");
    }
    let recovery = "/api/v1/health/recovery/store";
    assert_eq!(botops.send(Method::POST, recovery, &json!({"action": "run"})).await.0, 200);
    kit::until("it is mended", LIMIT, || async {
        get(&botops, recovery).await["last_outcome"] == "recovered"
    })
    .await;
    kit::until("and of its end", LIMIT, || async { receiver.statuses("store") == ["firing", "resolved"] })
        .await;
    botops.stop().await;
    // The file has what was written before the loss and after it.
    let database = rusqlite::Connection::open(&path).unwrap();
    let alerts: i64 = database
        .query_row("SELECT count(*) FROM health_transitions WHERE component = 'store'", [], |row| row.get(0))
        .unwrap();
    assert!(alerts >= 3, "HEALTHY, CRITICAL, HEALTHY, but {alerts}");
}

/// Status by component.
async fn statuses(botops: &Running) -> BTreeMap<String, Value> {
    let status = get(botops, "/api/v1/health/status").await;
    let components = status["components"].as_array().unwrap();
    let of = |component: &Value| {
        (component["component_id"].as_str().unwrap().to_owned(), component["status"].clone())
    };
    components.iter().map(of).collect()
}

const PAGE: usize = 4096;

/// Overwrites the middle third of the file; returns the pages that were there: number and bytes.
fn damage(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let pages = file.metadata().unwrap().len() / PAGE as u64;
    let mut kept = Vec::new();
    for page in pages / 3..2 * pages / 3 {
        let mut bytes = vec![0; PAGE];
        file.read_exact_at(&mut bytes, page * PAGE as u64).unwrap();
        file.write_all_at(&[0xA5; PAGE], page * PAGE as u64).unwrap();
        kept.push((page, bytes));
    }
    assert!(kept.len() > 5, "a store of {pages} pages");
    kept
}

/// Restores the pages that SQLite has not rewritten meanwhile.
fn undo(path: &Path, kept: &[(u64, Vec<u8>)]) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    for (page, bytes) in kept {
        let mut now = vec![0; PAGE];
        file.read_exact_at(&mut now, page * PAGE as u64).unwrap();
        if now == [0xA5; PAGE] {
            file.write_all_at(bytes, page * PAGE as u64).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_damaged_meanwhile_is_one_alert_and_answers_go_on() {
    let (bot, folder, receiver) = (ScriptedBot::start(), kit::folder(), Stub::start(Peer::Fine).await);
    let hook = format!("{}/hook", receiver.base);
    let botops = beside(&bot, &folder, &[("BOT_ALERT_WEBHOOK_URL", &hook)]).await;
    calm(&botops).await;
    component_is(&botops, "store", "HEALTHY").await;
    component_is(&botops, "api_server", "HEALTHY").await;
    let before = statuses(&botops).await;
    // Pages in the write-ahead log would hide the damage.
    botops.app.handles().store.checkpoint().await.unwrap();
    let path = folder.path().join("data/ops.db");
    let kept = damage(&path);
    kit::until("the receiver hears of the store", LIMIT, || async {
        // Reading a damaged part reveals the damage; answers from memory are not affected.
        for path in ["events?after=0", "health/history", "health/availability", "workflows/runs", "trades"] {
            botops.get(&format!("/api/v1/{path}")).await;
        }
        let summary = botops.get("/api/v1/summary").await;
        assert_eq!(summary.0, 200, "{}", summary.1);
        for (id, status) in statuses(&botops).await {
            let is_its_own = id == "store" || id == "system_resources" || before[&id] != "HEALTHY";
            assert!(is_its_own || status == "HEALTHY", "{id} is {status}");
        }
        receiver.statuses("store") == ["firing"]
    })
    .await;
    let store = component_is(&botops, "store", "CRITICAL").await;
    assert!(store["reason"].as_str().unwrap().contains("damaged"), "{store:#}");
    undo(&path, &kept);
    component_is(&botops, "store", "HEALTHY").await;
    kit::until("and of its end", LIMIT, || async { receiver.statuses("store") == ["firing", "resolved"] })
        .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_that_could_not_be_stored_is_not_said_to_be_kept() {
    let mut pair = crate::workflows::pair::Pair::start().await;
    let faults = pair.fail_writes();
    pair.serve(None).await;
    pair.connected().await;
    std::fs::write(faults.join("store.commit"), "").unwrap();
    let silences = "/api/v1/health/silences";
    let body = json!({"matchers": [{"name": "component", "value": "bot"}], "comment": "a test of a full disk",
        "ends_at": chrono::Utc::now() + chrono::Duration::hours(1)});
    let (status, problem) = kit::app::answer(pair.request(Method::POST, silences).json(&body)).await;
    assert_eq!((status, &problem["effect"]), (503, &json!("applied")), "{problem:#}");
    assert!(problem["cause"].as_str().unwrap().contains("could not be stored"), "{problem:#}");
    assert_eq!(pair.get(silences).await["items"].as_array().map(Vec::len), Some(1), "it holds");
}
