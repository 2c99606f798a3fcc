//! An audit that was changed while botops did not run: the line is found by its number, and a person may accept it.

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{World, careful, manual};
use crate::kit::app::{answer, command};
use crate::refusals::assert_problem;

/// A change of the audit's lines.
type Tampering = fn(&mut Vec<String>);

/// A world with a few records in its audit, stopped.
async fn with_history() -> World {
    let world = World::start().await;
    for size in [4_000, 3_000] {
        let id = world.try_out(careful(size), 30.0).await;
        world.end_trial(&id, "confirm").await;
    }
    assert_eq!(world.verify().await["valid"], true);
    world
}

/// Changes the seventh line of an audit and starts botops again: returns the refusal of a config change.
pub(crate) async fn raise_audit_changed() -> (World, Value) {
    let world = with_history().await;
    let path = world.folder.path().join("data/config/config_history.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    lines[6] = lines[6].replacen("a test", "a tost", 1);
    std::fs::write(&path, lines.concat()).unwrap();
    let verdict = world.verify().await;
    assert_eq!((&verdict["valid"], &verdict["first_bad_seq"]), (&json!(false), &json!(7)), "{verdict:#}");
    let world = world.restart().await;
    assert_eq!(world.config().await["writable"], false);
    let (status, problem) = world.apply_now(&manual(careful(2_000), 30.0)).await;
    assert_eq!(status, 503, "{problem:#}");
    (world, problem)
}

#[tokio::test]
async fn a_changed_line_is_found_and_config_writes_wait_for_a_person() {
    let (world, problem) = raise_audit_changed().await;
    assert_problem(&problem, 503, "CFG_015");
    assert_eq!(problem["context"]["first_bad_seq"], 7);
    let accept = |seq: u64| {
        let body = json!({"first_bad_seq": seq, "reason": "it was a test"});
        answer(world.botops.request(Method::POST, "/api/v1/config/audit/accept").json(&body))
    };
    assert_problem(&accept(6).await.1, 400, "API_007");
    let (status, head) = accept(7).await;
    assert_eq!(status, 200, "{head:#}");
    let id = world.try_out(careful(2_000), 30.0).await;
    world.end_trial(&id, "confirm").await;
    assert_eq!(world.verify().await["valid"], true);
    let audit = world.botops.get("/api/v1/config/audit?limit=1").await.1;
    assert_eq!(audit["items"][0]["accepted"]["first_bad_seq"], 7, "{audit:#}");
    assert_eq!(audit["items"][0]["actor"]["key_id"], "operator");
}

#[tokio::test]
async fn every_kind_of_tampering_is_found_at_the_next_start_and_by_the_command_line() {
    let world = with_history().await;
    let path = world.folder.path().join("data/config/config_history.jsonl");
    let mut world = world;
    let whole: Vec<String> =
        std::fs::read_to_string(&path).unwrap().lines().map(|line| format!("{line}\n")).collect();
    let kinds: [(&str, Tampering, u64); 4] = [
        ("delete", |lines| drop(lines.remove(4)), 5),
        ("swap", |lines| lines.swap(4, 6), 5),
        ("insert", |lines| lines.insert(4, lines[3].clone()), 5),
        ("truncate", |lines| lines.truncate(9), 10),
    ];
    for (kind, change, first) in kinds {
        let mut lines = whole.clone();
        change(&mut lines);
        std::fs::write(&path, lines.concat()).unwrap();
        world = world.restart().await;
        let verdict = world.verify().await;
        assert_eq!(verdict["first_bad_seq"], first, "{kind}: {verdict:#}");
        assert_eq!(world.config().await["writable"], false, "{kind}");
        let output = command(&["audit", "verify", path.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{kind}");
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verdict["first_bad_seq"], first, "{kind}: {verdict:#}");
    }
    std::fs::write(&path, whole.concat()).unwrap();
    let output = command(&["audit", "verify", path.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_lost_head_comes_back_from_what_the_store_knows() {
    let world = with_history().await;
    let before = world.etag().await;
    std::fs::remove_file(world.folder.path().join("data/config/HEAD")).unwrap();
    let world = world.restart().await;
    assert_eq!(world.etag().await, before);
    assert_eq!(world.verify().await["valid"], true);
}
