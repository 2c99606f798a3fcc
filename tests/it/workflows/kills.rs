//! Kills at every point that matters: each effect happens once, and every run ends in a state that is true.

use std::time::Duration;

use botops_contract::Hello;
use serde_json::{Value, json};

use super::pair::{Pair, SWAP};
use crate::kit::ReportParts as _;
use crate::kit::paperbot::lines;
use crate::kit::{is_long_run, until};

/// Kill points of the workflow `swap`, with how often each is passed before the kill. `BOTOPS_LONG=1` takes all.
fn points() -> Vec<String> {
    let few = [
        "wf:before_admit:1",
        "wf:admitted:1",
        "wf:step_started:2",
        "wf:acted:2",
        "wf:step_finished:2",
        "wf:restart:asked:1",
        "bot.process.ended:1",
        "wf:restart:started:1",
        "wf:acted:4",
        "wf:until:1",
        "wf:acted:5",
        "wf:finishing:1",
    ];
    let mut points: Vec<String> = few.map(str::to_owned).to_vec();
    if is_long_run() {
        for name in ["wf:step_starting", "wf:step_started", "wf:step_finished"] {
            points.extend((1..=6).map(|nth| format!("{name}:{nth}")));
        }
        points.extend([1, 3].map(|nth| format!("wf:acted:{nth}")));
        points.push("wf:restart:begin:1".to_owned());
    }
    points
}

/// The `seq` numbers of a run's log lines, in the order of the lines.
fn seqs(pair: &Pair, run: &str) -> Vec<u64> {
    let lines = lines(&pair.data().join("logs/workflow_execution_log.jsonl"));
    let of_run = lines.iter().filter(|line| line["run_id"] == run);
    let mut seqs: Vec<u64> = of_run.map(|line| line["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    seqs
}

#[tokio::test(flavor = "multi_thread")]
async fn botops_killed_anywhere_does_everything_once() {
    let mut pair = Pair::start().await;
    pair.define("swap", SWAP);
    for (round, point) in points().into_iter().enumerate() {
        let before: Hello = pair.bot.get("hello").await.unwrap();
        let lives = pair.lives_begun().await;
        pair.serve(Some(&point)).await;
        pair.connected().await;
        let (params, key) = (json!({"round": point}), format!("round-{round}"));
        let first = pair.execute("swap", &params, &key).await;
        if let Some(run) = first.as_ref().and_then(|body| body["run_id"].as_str()) {
            assert!(pair.ended(run).await.is_none(), "{point} was not passed");
        }
        pair.died();
        pair.serve(None).await;
        // The client repeats the request with its key, as it must after a lost answer.
        let again = pair.execute("swap", &params, &key).await.unwrap();
        let run = again["run_id"].as_str().unwrap_or_else(|| panic!("{point}: {again}")).to_owned();
        if let Some(first) = first.as_ref().and_then(|body| body["run_id"].as_str()) {
            assert_eq!(first, run, "{point}: one run");
        }
        let view = pair.ended(&run).await.unwrap();
        assert_eq!(view["state"], "succeeded", "{point}: {view:#}");
        let after: Hello = pair.bot.get("hello").await.unwrap();
        assert_eq!(view["outputs"]["old_epoch"], *before.boot_epoch.as_ref().unwrap(), "{point}");
        assert_eq!(view["outputs"]["new_epoch"], *after.boot_epoch.as_ref().unwrap(), "{point}");
        assert_eq!(pair.lives_begun().await, lives + 1, "{point}: one new life");
        for (id, count) in pair.effects(&run) {
            assert_eq!(count, 1, "{point}: {id}");
        }
        // The row agrees with the facts, and the log has every line once.
        let page = pair.get("/api/v1/workflows/swap/runs?limit=1").await;
        assert_eq!(page["items"][0]["state"], view["state"], "{point}");
        // A line is written after its fact, so it may be missing for a moment.
        let last = view["seq"].as_u64().unwrap();
        let told = || async { seqs(&pair, &run).last() == Some(&last) };
        until("the log tells of the end", Duration::from_secs(20), told).await;
        assert_eq!(seqs(&pair, &run), (1..=last).collect::<Vec<_>>(), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_kills_botops_again_and_again_is_given_to_a_person() {
    let mut pair = Pair::start().await;
    pair.define("swap", SWAP);
    pair.serve(Some("wf:step_started:2")).await;
    pair.connected().await;
    let run = pair.execute("swap", &json!({}), "k").await.unwrap()["run_id"].as_str().unwrap().to_owned();
    pair.died();
    for _ in 0..3 {
        // botops dies when it resumes the run, before it serves.
        pair.launch(Some("wf:step_started:1"));
        pair.died();
    }
    pair.serve(None).await;
    let view = pair.ended(&run).await.unwrap();
    assert_eq!(view["state"], "needs_attention", "{view:#}");
    assert_eq!(view["error"]["error_code"], "WFL_009");
    // The run's lock is released.
    let view = pair.execute("swap", &json!({}), "k2").await.unwrap();
    let view = pair.ended(view["run_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(view["state"], "succeeded", "{view:#}");
}

/// A workflow that pauses, cancels, then expects something false, so that both steps are undone.
const BACK: &str = "\
workflow: v1
id: back
title: Turns back
risk: disruptive
params: {type: object, additionalProperties: false}
policy: {locks: [bot], on_conflict: reject, timeout_s: 60, on_crash: resume}
steps:
  - {id: pause, uses: bot.pause_trading, undo: {uses: bot.resume_trading}}
  - {id: cancel, uses: bot.cancel_orders, undo: {uses: bot.pause_trading}}
  - {id: look, uses: bot.status, expect: [{that: /phase, is: eq, value: stopping}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_turning_back_undoes_everything_once_and_last_first() {
    let mut pair = Pair::start().await;
    pair.define("back", BACK);
    for (round, point) in
        ["wf:undo_started:1", "wf:undo_acted:1", "wf:undo_finished:1", "wf:undo_acted:2", "wf:finishing:1"]
            .into_iter()
            .enumerate()
    {
        pair.serve(Some(point)).await;
        pair.connected().await;
        let body = pair.execute("back", &json!({}), &format!("k{round}")).await.unwrap();
        let run = body["run_id"].as_str().unwrap().to_owned();
        pair.died();
        pair.serve(None).await;
        let view = pair.ended(&run).await.unwrap();
        assert_eq!(view["state"], "rolled_back", "{point}: {view:#}");
        let text = std::fs::read_to_string(pair.bot.data().join("effects.jsonl")).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ids: Vec<String> = lines
            .filter_map(|line| {
                line["command_id"].as_str().and_then(|id| id.strip_prefix(&run)).map(str::to_owned)
            })
            .collect();
        assert_eq!(ids, ["/pause", "/cancel", "/cancel/undo", "/pause/undo"], "{point}");
        pair.bot.trades().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_dies_in_the_middle_never_makes_a_run_succeed_falsely() {
    let mut pair = Pair::start().await;
    pair.define("back", BACK);
    let quick = "\
workflow: v1
id: quick
title: Pauses and waits
risk: disruptive
params: {type: object, additionalProperties: false}
policy: {locks: [bot], on_conflict: reject, timeout_s: 60, on_crash: resume}
steps:
  - {id: pause, uses: bot.pause_trading, undo: {uses: bot.resume_trading, retry: {max: 1, base_ms: 50, factor: 1, cap_ms: 50, on: [transport]}}}
  - {id: wait, uses: wait.for, with: {seconds: 8}}
  - {id: look, uses: bot.status, timeout_s: 4, retry: {max: 0, base_ms: 50, factor: 1, cap_ms: 50, on: [transport]}}
";
    pair.define("quick", quick);
    let body = pair.execute("quick", &json!({}), "k").await.unwrap();
    let run = body["run_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/workflows/runs/{run}");
    let paused = || async { pair.get(&path).await["steps"][0]["state"] == "succeeded" };
    until("it has paused", Duration::from_secs(30), paused).await;
    pair.bot.kill();
    let view = pair.ended(&run).await.unwrap();
    // The pause could not be undone, which is reported.
    assert_eq!(view["state"], "needs_attention", "{view:#}");
    assert_eq!(view["steps"][0]["state"], "undo_failed");
    assert_eq!(view["error"]["error_code"], "WFL_009");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_never_gets_healthy_past_the_pivot_is_left_paused_and_told() {
    let mut pair = Pair::start().await;
    let never = SWAP.replace("id: swap", "id: never").replace("for_s: 30", "for_s: 2").replace(
        "expect: [{that: /boot_epoch, is: eq, value: $steps.restart.boot_epoch}]",
        "expect: [{that: /phase, is: eq, value: stopping}]",
    );
    pair.define("never", &never);
    let body = pair.execute("never", &json!({}), "k").await.unwrap();
    let view = pair.ended(body["run_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(view["state"], "failed_after_pivot", "{view:#}");
    assert_eq!(view["failed_step"], "after");
    assert!(!pair.bot.state().await.opens_positions());
    let raised = || async {
        let events = pair.get("/api/v1/events?kind=workflow&after=0&limit=500").await;
        let mut events = events["items"].as_array().unwrap().iter();
        events.any(|event| event["data"]["code"] == "TEST_UNHEALTHY" && event["severity"] == "critical")
    };
    until("it is told", Duration::from_secs(10), raised).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_order_suspends_the_run_and_does_not_count_as_a_crash() {
    let mut pair = Pair::start().await;
    pair.define(
        "swap",
        &SWAP.replace(
            "  - {id: cancel,",
            "  - {id: wait, uses: wait.for, with: {seconds: 8}}\n  - {id: cancel,",
        ),
    );
    let body = pair.execute("swap", &json!({}), "k").await.unwrap();
    let run = body["run_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/workflows/runs/{run}");
    let waits = || async { pair.get(&path).await["steps"][1]["state"] == "succeeded" };
    until("it has paused", Duration::from_secs(30), waits).await;
    let server = pair.server.as_ref().unwrap();
    server.terminate();
    let mut server = pair.server.take().unwrap();
    assert!(server.wait(Duration::from_secs(30)).success());
    pair.serve(None).await;
    let view = pair.ended(&run).await.unwrap();
    assert_eq!(view["state"], "succeeded", "{view:#}");
    assert_eq!(view["recoveries"], 0, "{view:#}");
}
