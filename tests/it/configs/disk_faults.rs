//! Full or broken disks at each write of a config change.
//!
//! Nothing is acknowledged that is not on disk, the bot never runs a config that cannot be recorded, and a trial is
//! undone although nothing can be written.

use botops_contract::ConfigState;
use reqwest::Method;
use serde_json::Value;

use super::kills::{LIMIT, Pair};
use crate::kit::app::answer;
use crate::kit::until;

/// Makes the writes at these points fail, and no others; an empty list ends all failures.
fn fail(pair: &Pair, points: &[&str], kind: &str) {
    let folder = pair.faults();
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for point in points {
        std::fs::write(folder.join(point), kind).unwrap();
    }
}

/// Sends a change while the write at `point` fails: it never reaches the bot. When this returns, writes succeed again.
pub(crate) async fn raise_unwritable(pair: &Pair, point: &str, kind: &str, size: u32) -> Value {
    let before = bot_runs(pair).await;
    fail(pair, &[point], kind);
    let (status, problem) = pair.apply(size, &format!("full-{size}"), 30.0).await.unwrap();
    assert_eq!(status, 503, "{point}: {problem:#}");
    assert_eq!(bot_runs(pair).await, before, "{point}");
    fail(pair, &[], "");
    pair.until_quiet().await;
    problem
}

async fn bot_runs(pair: &Pair) -> String {
    pair.bot.get::<ConfigState>("config").await.unwrap().running.sha256
}

async fn end_trial(pair: &Pair, txn: &Value, verb: &str) -> (u16, Value) {
    let path = format!("/api/v1/config/txns/{}/{verb}", txn["txn"].as_str().unwrap());
    answer(pair.request(Method::POST, &path)).await
}

#[tokio::test]
async fn a_change_that_cannot_be_written_never_reaches_the_bot() {
    let mut pair = Pair::start().await;
    let points = [
        ("config.version.write", "ENOSPC", "SRV_002"),
        ("config.version.sync", "EIO", "SRV_002"),
        ("config.version.rename", "ENOSPC", "SRV_002"),
        ("config.version.sync_folder", "EIO", "SRV_002"),
        ("store.commit", "ENOSPC", "SRV_002"),
        ("audit.write", "ENOSPC", "CFG_014"),
        ("audit.sync", "EIO", "CFG_014"),
    ];
    for (number, (point, kind, code)) in (0_u32..).zip(points) {
        let problem = raise_unwritable(&pair, point, kind, 9_000 + number).await;
        assert_eq!(problem["error_code"].as_str(), Some(code), "{point}: {problem:#}");
        assert_eq!(problem["effect"], "none", "{point}");
        // Queued audit records are written by the next start at the latest.
        if number % 3 == 2 {
            pair.kill_server();
            pair.serve(None).await;
            pair.until_quiet().await;
        }
        pair.assert_whole(point).await;
    }
    // With room on the disk, changes are accepted again.
    let (status, txn) = pair.apply(8_000, "room again", 30.0).await.unwrap();
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(end_trial(&pair, &txn, "confirm").await.0, 200);
    pair.until_quiet().await;
    pair.assert_whole("room again").await;
}

#[tokio::test]
async fn a_confirmation_that_cannot_be_written_ends_on_one_side() {
    let pair = Pair::start().await;
    // Point, kind of failure, and whether the change is permanent in the end. After the rename of `HEAD` the bot would
    // boot the new config; if `HEAD` cannot be restored, the change stays.
    let points: [(&[&str], &str, bool); 9] = [
        (&["config.head.write"], "ENOSPC", false),
        (&["config.head.sync"], "EIO", false),
        (&["config.head.rename"], "ENOSPC", false),
        (&["config.head.sync_folder"], "EIO", false),
        (&["config.head.sync_folder", "config.restore.write"], "EIO", true),
        (&["config.current.write"], "ENOSPC", true),
        (&["audit.write"], "ENOSPC", false),
        (&["audit.sync"], "EIO", false),
        (&["store.commit"], "ENOSPC", false),
    ];
    for (number, (points, kind, permanent)) in (0_u32..).zip(points) {
        let point = points.join(" and ");
        fail(&pair, &[], "");
        let before = bot_runs(&pair).await;
        let (status, txn) = pair.apply(9_000 + number, &format!("confirm-{number}"), 30.0).await.unwrap();
        assert_eq!(status, 202, "{point}: {txn:#}");
        let candidate = txn["candidate"]["sha256"].as_str().unwrap();
        fail(&pair, points, kind);
        let (status, answered) = end_trial(&pair, &txn, "confirm").await;
        let expected = if permanent { candidate } else { before.as_str() };
        assert_eq!(bot_runs(&pair).await, expected, "{point}: {status} {answered:#}");
        fail(&pair, &[], "");
        pair.until_quiet().await;
        let path = format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap());
        let state = pair.get(&path).await["state"].clone();
        assert_eq!(state, if permanent { "committed" } else { "rolled_back" }, "{point}");
        pair.assert_whole(&point).await;
    }
}

#[tokio::test]
async fn a_trial_is_undone_although_nothing_can_be_written() {
    let pair = Pair::start().await;
    fail(&pair, &[], "");
    let before = bot_runs(&pair).await;
    // The deadline is long enough to come after the disk is full.
    for (verb, seconds) in [("cancel", 30.0), ("", 6.0)] {
        let (status, txn) = pair.apply(9_000, &format!("undone-{verb}"), seconds).await.unwrap();
        assert_eq!(status, 202, "{txn:#}");
        assert_eq!(txn["state"], "trial", "{txn:#}");
        let all = ["store.commit", "audit.write", "config.head.write", "config.version.write"];
        fail(&pair, &all, "ENOSPC");
        if !verb.is_empty() {
            end_trial(&pair, &txn, verb).await;
        }
        let back = || async { bot_runs(&pair).await == before };
        until("the bot runs what is committed", LIMIT, back).await;
        fail(&pair, &[], "");
        pair.until_quiet().await;
        let path = format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap());
        let ended = pair.get(&path).await;
        assert_eq!(ended["state"], "rolled_back", "{ended:#}");
        pair.assert_whole(verb).await;
    }
}
