//! Runs as they are looked for: those of all workflows in one list, and the end of one in one call.

use std::time::Duration;

use serde_json::{Value, json};

use super::requests::{raise_step_failed, with_bot};
use super::{define, execute, holding, run};
use crate::kit::app::{KEY, Running};
use crate::kit::folder;

const RUNS: &str = "/api/v1/workflows/runs";

async fn listed(running: &Running, query: &str) -> Value {
    let (status, page) = running.get(&format!("{RUNS}?{query}")).await;
    assert_eq!(status, 200, "{query}: {page:#}");
    page
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["run_id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_all_workflows_are_in_one_list_and_found_by_their_state() {
    let folder = folder();
    let (_bot, running) = with_bot(folder.path()).await;
    assert_eq!(listed(&running, "").await, json!({"items": [], "next": null, "omitted": 0}));
    let good = run(&running, "check-health", json!({"samples": 1})).await;
    let bad = raise_step_failed(folder.path(), &running).await;
    define(
        folder.path(),
        "holder",
        &holding("holder", "reject", "  - {id: wait, uses: wait.for, with: {seconds: 60}}\n"),
    );
    let (_, held) = execute(&running, "holder", json!({})).await;
    let runs = [&held, &bad, &good].map(|run| run["run_id"].as_str().unwrap());
    let all = listed(&running, "").await;
    assert_eq!(ids(&all), runs, "newest first: {all:#}");
    // A row is what the list of one workflow has.
    let (_, of_one) = running.get("/api/v1/workflows/check-health/runs").await;
    assert_eq!(all["items"][2], of_one["items"][0]);
    for (query, wanted) in [
        ("state=rolled_back", vec![1]),
        ("state=succeeded,rolled_back", vec![1, 2]),
        ("state=failed", vec![]),
        ("state=running,waiting,queued", vec![0]),
        ("workflow=check-health", vec![2]),
        ("workflow=check-health&state=rolled_back", vec![]),
    ] {
        let page = listed(&running, query).await;
        let wanted: Vec<&str> = wanted.into_iter().map(|place: usize| runs[place]).collect();
        assert_eq!(ids(&page), wanted, "{query}: {page:#}");
    }
    // Page by page, to the end.
    let first = listed(&running, "limit=2").await;
    assert_eq!(
        (ids(&first), &first["next"], &first["omitted"]),
        (runs[..2].to_vec(), &json!(runs[1]), &json!(1))
    );
    let last = listed(&running, &format!("limit=2&after={}", runs[1])).await;
    assert_eq!((ids(&last), &last["next"], &last["omitted"]), (runs[2..].to_vec(), &Value::Null, &json!(0)));
    // The runs of a workflow whose file is gone are there all the same.
    std::fs::remove_file(folder.path().join("data/workflows/fails.yaml")).unwrap();
    assert_eq!(ids(&listed(&running, "workflow=fails").await), [runs[1]]);
    assert_eq!(listed(&running, "workflow=fails&state=queued").await["items"], json!([]));
    for (query, code, field) in [
        ("workflow=nope", "WFL_001", None),
        ("state=broken", "API_007", Some("?state")),
        ("state=failed,", "API_007", Some("?state")),
        ("limit=0", "API_007", Some("?limit")),
        ("limit=201", "API_007", Some("?limit")),
    ] {
        let (_, refused) = running.get(&format!("{RUNS}?{query}")).await;
        assert_eq!(refused["error_code"], code, "{query}: {refused:#}");
        assert_eq!(refused["errors"][0]["pointer"].as_str(), field, "{query}: {refused:#}");
    }
    // One run has its own path as before.
    assert_eq!(running.get(&format!("{RUNS}/{}", runs[1])).await.1["state"], "rolled_back");
    let over_mcp = crate::mcp::call(&running, KEY, "list_workflows", json!({"workflow_id": "runs"})).await;
    assert_eq!(ids(&over_mcp["structuredContent"]), runs, "{over_mcp:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_waits_for_the_end_of_a_run_and_not_for_its_steps() {
    let folder = folder();
    let (_bot, running) = with_bot(folder.path()).await;
    let pauses = "  - {id: one, uses: wait.for, with: {seconds: 1}}\n  - {id: two, uses: wait.for, with: {seconds: 1}}\n";
    define(folder.path(), "patient", &holding("patient", "reject", pauses));
    let (_, begun) = execute(&running, "patient", json!({})).await;
    let path = format!("{RUNS}/{}", begun["run_id"].as_str().unwrap());
    let (status, view) = running.get(&format!("{path}?wait=60s&until=ended")).await;
    assert_eq!((status, &view["state"]), (200, &json!("succeeded")), "{view:#}");
    // Of one that has ended the answer comes at once.
    let long = format!("{path}?wait=5m&until=ended&fields=state,terminal");
    let again = tokio::time::timeout(Duration::from_secs(60), running.get(&long)).await.unwrap();
    assert_eq!(again.1, json!({"state": "succeeded", "terminal": true}));
    for (query, field) in [
        ("until=ended", "?wait"),
        ("wait=1s&until=over", "?until"),
        ("wait=1s&until=ended&after_seq=3", "?after_seq"),
    ] {
        let (status, refused) = running.get(&format!("{path}?{query}")).await;
        assert_eq!((status, &refused["errors"][0]["pointer"]), (400, &json!(field)), "{query}: {refused:#}");
    }
    running.stop().await;
}
