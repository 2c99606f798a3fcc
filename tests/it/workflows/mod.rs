//! Workflows of a real server: with a scripted bot for faults of a bot, with a real paperbot that is really restarted,
//! and with botops killed at every point that matters.

mod deaths_at_start;
mod kills;
mod many_runs;
mod missing_verbs;
pub(crate) mod pair;
mod pause_forecast;
mod reading_runs;
mod refused_plans;
pub(crate) mod requests;
pub(crate) mod restart_drivers;
mod shipped_workflows;

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::app::Running;

/// Executes a workflow: status and body.
pub(crate) async fn execute(running: &Running, id: &str, params: Value) -> (u16, Value) {
    running.send(Method::POST, &format!("/api/v1/workflows/{id}/execute"), &json!({"params": params})).await
}

/// Waits until a run has ended; returns its view.
pub(crate) async fn ended(running: &Running, run: &str, limit: Duration) -> Value {
    let end = std::time::Instant::now() + limit;
    let mut after = 0;
    loop {
        let (status, view) =
            running.get(&format!("/api/v1/workflows/runs/{run}?wait=5s&after_seq={after}")).await;
        assert_eq!(status, 200, "{view}");
        if view["terminal"] == true {
            return view;
        }
        assert!(std::time::Instant::now() < end, "the run did not end: {view:#}");
        after = view["seq"].as_u64().unwrap();
    }
}

/// Executes a workflow, expects 202, and waits until the run has ended.
pub(crate) async fn run(running: &Running, id: &str, params: Value) -> Value {
    let (status, body) = execute(running, id, params).await;
    assert_eq!(status, 202, "{body}");
    ended(running, body["run_id"].as_str().unwrap(), Duration::from_secs(60)).await
}

/// Puts an operator's workflow into the data folder.
pub(crate) fn define(folder: &Path, id: &str, yaml: &str) {
    let workflows = folder.join("data").join("workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    // Written under another name and renamed, as an editor does.
    std::fs::write(workflows.join("new"), yaml).unwrap();
    std::fs::rename(workflows.join("new"), workflows.join(format!("{id}.yaml"))).unwrap();
}

/// A workflow that holds the bot's lock: it pauses (with undo), then does `rest`.
pub(crate) fn holding(id: &str, on_conflict: &str, rest: &str) -> String {
    format!(
        "workflow: v1\nid: {id}\ntitle: A test\nrisk: disruptive\nparams:\n  type: object\n  additionalProperties: false\n\
         \x20 properties: {{text: {{type: string}}}}\n\
         policy: {{locks: [bot], on_conflict: {on_conflict}, queue_max: 3, timeout_s: 60, on_crash: resume}}\nsteps:\n\
         \x20 - {{id: pause, uses: bot.pause_trading, undo: {{uses: bot.resume_trading}}}}\n{rest}"
    )
}
