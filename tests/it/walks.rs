//! Ten tasks of an operator, done over MCP by a program that knows only the list of tools, with the number of calls and
//! tokens that each takes. The limits are promises; the table is printed.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::configs::world::World;
use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::mcp::rpc;

fn tokens(text: &str) -> usize {
    tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len()
}

/// A client that counts its calls and the tokens that it sends and receives.
struct Client<'a> {
    botops: &'a Running,
    calls: usize,
    tokens: usize,
}

impl Client<'_> {
    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.calls += 1;
        self.tokens += tokens(&arguments.to_string());
        let (status, body) =
            rpc(self.botops, KEY, "tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert_eq!(status, 200, "{body}");
        self.tokens += tokens(body["result"]["content"][0]["text"].as_str().unwrap_or_default());
        body["result"]["structuredContent"].clone()
    }

    /// Calls a tool and expects no refusal.
    async fn good(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.call(tool, arguments).await;
        assert!(answer["error_code"].is_null() || answer["retry_class"].is_string(), "{tool}: {answer}");
        answer
    }

    /// Makes the first next call of a problem.
    async fn advised(&mut self, problem: &Value) -> Value {
        let action = &problem["next_actions"][0];
        let tool = action["tool"].as_str().unwrap_or_else(|| panic!("no tool in {action}")).to_owned();
        self.good(&tool, action["arguments"].clone()).await
    }

    async fn followed(&mut self, run: &Value) -> Value {
        let mut view = run.clone();
        for _ in 0..20 {
            if view["terminal"] == true {
                return view;
            }
            // A step begins and ends: with a wait for the end, the number of calls does not depend on the run's speed.
            let after = view["seq"].as_u64().unwrap() + 1;
            let arguments =
                json!({"run_id": run["run_id"], "wait": "10s", "after_seq": after, "budget_tokens": 300});
            view = self.good("list_workflows", arguments).await;
        }
        panic!("the run did not end: {view}");
    }
}

/// Adds a row to the table and asserts its limits.
fn row(table: &mut String, name: &str, client: &Client<'_>, calls: usize, tokens: usize) {
    let _ = writeln!(table, "{name:44} {:5} of {calls:2} {:7} of {tokens:5}", client.calls, client.tokens);
    assert!(client.calls <= calls, "{name}: {} calls, {calls} are allowed", client.calls);
    assert!(client.tokens <= tokens, "{name}: {} tokens, {tokens} are allowed", client.tokens);
}

async fn beside_a_bot() -> (World, TempDir) {
    (World::start().await, kit::folder())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_tasks_are_done_within_their_calls_and_tokens() {
    let (world, _folder) = beside_a_bot().await;
    let botops = &world.botops;
    let (_, list) = rpc(botops, KEY, "tools/list", json!({})).await;
    let listed = tokens(&list["result"]["tools"].to_string());
    let mut table = format!("{:44} {:>11} {:>16}\n", "task", "calls", "tokens");
    let _ = writeln!(table, "{:44} {:>11} {listed:7} of  2200", "(the list of tools)", 1);
    assert!(listed <= 2_200);
    let client = || Client { botops, calls: 0, tokens: 0 };
    let change = |report: &mut botops_contract::BotReport| report.positions = Some(Vec::new());
    world.bot.change(change);

    let mut it = client();
    let summary = it.good("get_summary", json!({})).await;
    let health = summary["health_status"].as_str().unwrap().to_owned();
    it.good("list_errors", json!({"limit": 3, "budget_tokens": 400})).await;
    assert!(!health.is_empty());
    row(&mut table, "what is wrong?", &it, 2, 900);

    let mut it = client();
    let state = it
        .good(
            "get_state",
            json!({"fields": "no_entry_reasons,phase,session.state,circuit_breaker.state,market_status"}),
        )
        .await;
    assert!(state["no_entry_reasons"].is_array(), "{state}");
    row(&mut table, "why does it not trade?", &it, 1, 200);

    let mut it = client();
    let week = it.good("get_performance", json!({"window": "week"})).await;
    assert!(week["realized_pnl"].is_string(), "{week}");
    row(&mut table, "how was the week?", &it, 1, 400);

    let mut it = client();
    let page = it.good("explain", json!({"topic": "BRK_008"})).await;
    let helped = it.advised(&page_as_problem(&page)).await;
    assert_eq!(helped["verb"], "reset-breaker", "{helped}");
    row(&mut table, "what does BRK_008 mean, and do it", &it, 2, 600);

    let mut it = client();
    let why = "the walk-through of a pause";
    let dry = it.good("control_bot", json!({"verb": "pause", "reason": why, "dry_run": true})).await;
    assert_eq!(dry["dry_run"], true, "{dry}");
    let paused = it
        .good("control_bot", json!({"verb": "pause", "reason": why, "idempotency_key": "walk-pause"}))
        .await;
    let again = it
        .good("control_bot", json!({"verb": "pause", "reason": why, "idempotency_key": "walk-pause"}))
        .await;
    assert_eq!(
        (paused["outcome"].as_str(), again["replayed"].as_bool()),
        (Some("done"), Some(true)),
        "{again}"
    );
    it.good("control_bot", json!({"verb": "resume", "reason": why})).await;
    row(&mut table, "pause, safely repeated, and resume", &it, 4, 900);

    let mut it = client();
    let before = it.good("get_config", json!({})).await;
    let etag = before["etag"].clone();
    let patch = json!({"risk_management": {"max_position_size": 4_000}});
    let applied = it
        .good("change_config", json!({"action": "apply", "merge_patch": patch, "if_match": etag, "reason": why, "confirm": "manual"}))
        .await;
    let txn = applied["txn"].clone();
    it.good("change_config", json!({"action": "confirm", "txn": txn})).await;
    let ended = |view: &Value| view["terminal"] == true;
    let mut view = it.good("get_config", json!({"view": "txn", "txn": txn})).await;
    if !ended(&view) {
        view = world.ended(txn.as_str().unwrap()).await;
    }
    assert_eq!(view["state"], "committed", "{view}");
    row(&mut table, "lower a limit and keep it", &it, 4, 3_200);

    let mut it = client();
    let current = it.good("get_config", json!({})).await;
    let stale = it
        .call(
            "change_config",
            json!({"action": "rollback", "to": "previous", "if_match": "\"v1-00000000\"", "reason": why}),
        )
        .await;
    assert_eq!(stale["error_code"], "CFG_005", "{stale}");
    let back = it
        .good("change_config", json!({"action": "rollback", "to": "previous", "if_match": current["etag"], "reason": why, "dry_run": true}))
        .await;
    assert_eq!(back["dry_run"], true, "{back}");
    row(&mut table, "undo the last config change (dry run)", &it, 3, 1_600);

    let mut it = client();
    let run = it.good("run_workflow", json!({"workflow_id": "check-health", "params": {"samples": 1}})).await;
    let run = it.followed(&run).await;
    assert_eq!(run["state"], "succeeded", "{run}");
    row(&mut table, "run a health check to its verdict", &it, 8, 2_600);

    let mut it = client();
    let refused = it.call("run_workflow", json!({"workflow_id": "export-logs"})).await;
    assert_eq!(refused["error_code"], "WFL_003", "{refused}");
    let range = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"});
    let planned = it
        .good("run_workflow", json!({"workflow_id": "export-logs", "params": range, "dry_run": true}))
        .await;
    assert!(planned.is_object());
    row(&mut table, "export logs: refused, corrected, planned", &it, 2, 1_300);

    let mut it = client();
    it.good("get_health", json!({"view": "alerts"})).await;
    it.good("control_bot", json!({"verb": "silence", "component": "bot", "minutes": 30, "reason": why}))
        .await;
    let (_, silences) = botops.get("/api/v1/health/silences").await;
    assert_eq!(silences["items"].as_array().map(Vec::len), Some(1), "{silences}");
    row(&mut table, "silence an alert for half an hour", &it, 2, 400);

    println!("\n{table}");
}

/// A catalogue page gives its next call for REST; a client of tools finds the tool by the verb in the path.
fn page_as_problem(page: &Value) -> Value {
    let action = &page["next_actions"][0];
    let verb = action["path"].as_str().unwrap().rsplit('/').next().unwrap();
    json!({"next_actions": [{"tool": "control_bot", "arguments": {"verb": verb, "reason": action["body"]["reason"]}}]})
}
