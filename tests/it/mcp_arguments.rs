//! What a call over MCP says in a way that cannot be meant: refused by name before anything is done, with the code that
//! JSON-RPC has for it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::{KEY, Running, answer};
use crate::kit::scripted_bot::ScriptedBot;
use crate::mcp::{beside, call};

/// A message as the text it is.
async fn post(running: &Running, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let request = running
        .client
        .post(format!("{}/mcp", running.base))
        .header("x-api-key", KEY)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18")
        .header("content-type", content_type);
    answer(request.body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argument_that_the_chosen_verb_or_view_does_not_use_is_refused_by_name_before_anything_is_done() {
    let bot = ScriptedBot::start();
    let (_folder, running) = beside(&bot).await;
    let why = "a test of arguments";
    for (tool, arguments, unused, goes_with) in [
        (
            "control_bot",
            json!({"verb": "pause", "minutes": 5, "component": "bot", "reason": why}),
            "component minutes",
            "`verb` silence",
        ),
        (
            "control_bot",
            json!({"verb": "silence", "component": "bot", "symbols": ["SPY"], "reason": why}),
            "symbols",
            "any other `verb`",
        ),
        (
            "run_workflow",
            json!({"workflow_id": "export-logs", "cancel_run": "0198"}),
            "workflow_id",
            "without these",
        ),
        ("run_workflow", json!({"cancel_run": "0198", "params": {"reason": why}}), "params", "without these"),
        (
            "change_config",
            json!({"action": "confirm", "txn": "7", "merge_patch": {"risk": 1}}),
            "merge_patch",
            "`action` apply",
        ),
        (
            "change_config",
            json!({"action": "rollback", "to": "previous", "reason": why, "txn": "7"}),
            "txn",
            "`action` confirm, `action` cancel",
        ),
        ("get_config", json!({"from": "v1", "txn": "7"}), "from txn", "`view` diff"),
        ("get_config", json!({"view": "current", "to": "v1"}), "to", "`view` diff"),
        ("get_config", json!({"view": "schema", "merge_patch": {"a": 1}}), "merge_patch", "`view` validate"),
        (
            "get_health",
            json!({"view": "alerts", "component": "bot"}),
            "component",
            "`view` recovery, `component`",
        ),
        ("get_health", json!({"view": "recovery", "wait": "1s"}), "wait", "`view` alerts"),
        ("get_health", json!({"until": "green"}), "until", "`component`"),
        ("list_workflows", json!({"workflow_id": "export-logs", "wait": "1s"}), "wait", "`run_id`"),
        (
            "list_workflows",
            json!({"workflow_id": "export-logs", "run_id": "0198"}),
            "workflow_id",
            "`workflow_id`",
        ),
        ("list_incidents", json!({"incident_id": "inc-1", "state": "open"}), "state", "without these"),
    ] {
        let result = call(&running, KEY, tool, arguments.clone()).await;
        let problem = &result["structuredContent"];
        assert_eq!(result["isError"], true, "{tool} {arguments}: {result:#}");
        assert_eq!(
            (&problem["error_code"], &problem["effect"]),
            (&json!("API_007"), &json!("none")),
            "{problem:#}"
        );
        let named: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["pointer"].as_str().unwrap().trim_start_matches('/'))
            .collect();
        assert_eq!(named.join(" "), unused, "{tool} {arguments}: {problem:#}");
        let expected = problem["errors"][0]["expected"].as_str().unwrap();
        assert!(
            expected.starts_with("left out: ") && expected.contains(goes_with),
            "{tool} {arguments}: {expected}"
        );
        assert_eq!(problem["next_actions"][0]["tool"], tool, "{problem:#}");
    }
    assert_eq!(bot.count("POST", "commands/pause"), 0, "nothing reached the bot");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_nothing_or_says_it_twice_is_taken() {
    let bot = ScriptedBot::start();
    let (_folder, running) = beside(&bot).await;
    for (tool, arguments, member) in [
        ("get_config", json!({"view": "current", "from": "", "txn": null, "merge_patch": {}}), "config"),
        ("get_health", json!({"view": "components", "component": "bot"}), "component_id"),
        ("get_health", json!({"view": "recovery", "component": "bot"}), "if_it_failed_now"),
        ("get_health", json!({"view": "status", "wait": ""}), "overall_status"),
    ] {
        let result = call(&running, KEY, tool, arguments.clone()).await;
        let answer = &result["structuredContent"];
        assert!(result["isError"] == false && !answer[member].is_null(), "{tool} {arguments}: {result:#}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_over_mcp_says_that_it_is_one() {
    let bot = ScriptedBot::start();
    let (_folder, running) = beside(&bot).await;
    let mut silence = json!({"verb": "silence", "component": "bot", "minutes": 5, "reason": "a test of it", "dry_run": true});
    let tried = call(&running, KEY, "control_bot", silence.clone()).await;
    let tried = &tried["structuredContent"];
    assert_eq!((&tried["dry_run"], &tried["state"]), (&json!(true), &json!("active")), "{tried:#}");
    let (_, listed) = running.get("/api/v1/health/silences").await;
    assert_eq!(listed["items"], json!([]), "a dry run adds nothing");
    silence["dry_run"] = json!(false);
    let added = call(&running, KEY, "control_bot", silence).await;
    assert_eq!(added["structuredContent"]["state"], "active", "{added:#}");

    let params = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"});
    let begun =
        call(&running, KEY, "run_workflow", json!({"workflow_id": "export-logs", "params": params})).await;
    let run = begun["structuredContent"]["run_id"].as_str().unwrap_or_else(|| panic!("{begun:#}")).to_owned();
    let would = call(&running, KEY, "run_workflow", json!({"cancel_run": run, "dry_run": true})).await;
    let would = &would["structuredContent"];
    assert_eq!((&would["dry_run"], &would["run_id"]), (&json!(true), &json!(run)), "{would:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_wrong_form_gets_the_code_that_json_rpc_has_for_it() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let ping = |id: Value| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    let asked =
        |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 4, "method": method, "params": params});
    for (message, code, pointer) in [
        (ping(Value::Null), -32_600, "/id"),
        (ping(json!(1.5)), -32_600, "/id"),
        (ping(json!({"a": 1})), -32_600, "/id"),
        (ping(json!(true)), -32_600, "/id"),
        (json!({"jsonrpc": "2.0", "id": 4, "method": 5}), -32_600, "/method"),
        (json!({"jsonrpc": "1.0", "id": 4, "method": "ping"}), -32_600, "/jsonrpc"),
        (json!("ping"), -32_600, ""),
        (asked("tools/call", json!([])), -32_602, "/params"),
        (asked("tools/list", json!("x")), -32_602, "/params"),
        (asked("tools/list", json!({"cursor": 5})), -32_602, "/params/cursor"),
        (
            asked("tools/call", json!({"name": "get_summary", "arguments": "{}"})),
            -32_602,
            "/params/arguments",
        ),
        (asked("tools/call", json!({"name": "get_summary", "arguments": []})), -32_602, "/params/arguments"),
        (asked("tools/call", json!({"name": 5})), -32_602, "/params/name"),
        (asked("tools/call", json!({"arguments": {}})), -32_602, "/params/name"),
        (json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call"}), -32_602, "/params/name"),
        (asked("initialize", json!({})), -32_602, "/params/protocolVersion"),
        (
            asked(
                "initialize",
                json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a"}}),
            ),
            -32_602,
            "/params/clientInfo/version",
        ),
        (asked("resources/read", json!({})), -32_602, "/params/uri"),
        (asked("prompts/get", json!({"name": "triage", "arguments": "x"})), -32_602, "/params/arguments"),
        (asked("tasks/get", json!({"taskId": 4})), -32_602, "/params/taskId"),
        (asked("tools/call", json!({"name": "get_summary", "_meta": 4})), -32_602, "/params/_meta"),
    ] {
        let (status, body) = post(&running, "application/json", message.to_string()).await;
        assert_eq!(status, if code == -32_600 { 400 } else { 200 }, "{message}: {body:#}");
        assert_eq!(body["error"]["code"], code, "{message}: {body:#}");
        let id = if pointer == "/id" || message.is_string() { Value::Null } else { json!(4) };
        assert_eq!(body["id"], id, "{message}: {body:#}");
        let data = &body["error"]["data"];
        assert_eq!(
            data["error_code"],
            if code == -32_600 { "API_006" } else { "API_007" },
            "{message}: {data:#}"
        );
        assert_eq!(data["errors"][0]["pointer"], pointer, "{message}: {data:#}");
        assert!(
            data["errors"][0]["expected"].as_str().is_some_and(|words| !words.is_empty()),
            "{message}: {data:#}"
        );
        assert!(data["next_actions"][0]["tool"].is_string(), "{message}: {data:#}");
    }
    for id in [json!("a"), json!(-3), json!(1.0)] {
        let (status, body) = post(&running, "application/json", ping(id).to_string()).await;
        assert_eq!((status, body["result"].is_object()), (200, true), "{body}");
    }
    let (_, unknown) = post(&running, "application/json", asked("tools/buy", json!({})).to_string()).await;
    assert_eq!(unknown["error"]["code"], -32_601, "{unknown}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_gets_no_answer_whatever_its_params_are() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    for message in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized", "params": []}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": "x"}),
        json!({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": 5}}),
    ] {
        let sent = running
            .request(Method::POST, "/mcp")
            .header("content-type", "application/json")
            .body(message.to_string());
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), 202, "{message}");
        assert_eq!(answer.text().await.unwrap(), "", "{message}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_plain_json_is_refused_in_the_words_of_a_rest_body() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let wide = |mark: &[u8]| {
        let units = ping.encode_utf16().flat_map(u16::to_le_bytes);
        mark.iter().copied().chain(units).collect::<Vec<u8>>()
    };
    let utf_32: Vec<u8> = ping.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    for (bytes, what) in [
        ([b"\xef\xbb\xbf", ping.as_bytes()].concat(), "byte order mark"),
        (b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "gzip"),
        (b"\x78\x9c\xab\x56".to_vec(), "zlib"),
        (wide(b"\xff\xfe"), "UTF-16"),
        (wide(b""), "UTF-16"),
        ([b"\xff\xfe\0\0", utf_32.as_slice()].concat(), "UTF-32"),
        (utf_32.clone(), "UTF-32"),
    ] {
        let (status, rest) = answer(
            running
                .request(Method::POST, "/api/v1/control/pause")
                .header("content-type", "application/json")
                .body(bytes.clone()),
        )
        .await;
        assert_eq!(status, 415, "{rest:#}");
        let (status, body) = post(&running, "application/json", bytes).await;
        let data = &body["error"]["data"];
        assert_eq!((status, &body["error"]["code"]), (415, &json!(-32_700)), "{body:#}");
        assert_eq!(data["error_code"], "API_005", "{data:#}");
        assert_eq!((&data["cause"], &data["errors"]), (&rest["cause"], &rest["errors"]), "{data:#}");
        assert!(data["cause"].as_str().unwrap().contains(what), "{what}: {data:#}");
        assert!(data["next_actions"][0]["tool"].is_string(), "{data:#}");
    }
    let encoded = running
        .request(Method::POST, "/mcp")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(vec![0x1f, 0x8b]);
    let (_, body) = answer(encoded).await;
    assert!(body["error"]["data"]["cause"].as_str().unwrap().contains("encoded as `gzip`"), "{body:#}");
    let (_, body) = post(&running, "application/json", format!("{ping} {ping}")).await;
    assert_eq!(body["error"]["code"], -32_700, "{body:#}");
    assert_ne!(body["error"]["data"]["errors"], json!([]), "the remedy speaks of `errors`: {body:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_tool_leads_to_one_that_there_is() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    for (name, leads_to) in
        [("get_trades", "list_trades"), ("pause_bot", "control_bot"), ("buy", "get_summary")]
    {
        let result = call(&running, KEY, name, json!({})).await;
        let action = &result["structuredContent"]["next_actions"][0];
        assert_eq!(action["tool"], leads_to, "{name}: {result:#}");
        assert!(action["schema"].is_object() || action["arguments"] == json!({}), "{name}: {action:#}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_value_is_shown_as_it_was_sent() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    for (tool, arguments, pointer, got, expected) in [
        ("list_events", json!({"limit": -3}), "?limit", json!("-3"), "a whole number from 1 to 500"),
        ("list_events", json!({"limit": 1e30}), "?limit", json!("1e+30"), "a whole number from 1 to 500"),
        ("list_events", json!({"limit": 501}), "?limit", json!("501"), "a whole number from 1 to 500"),
        ("list_events", json!({"wait": "5 minutes"}), "?wait", json!("5 minutes"), "30s"),
        (
            "control_bot",
            json!({"verb": "PAUSE", "reason": "a test of it"}),
            "/verb",
            json!("PAUSE"),
            "one of pause",
        ),
        (
            "control_bot",
            json!({"verb": "pause", "symbols": "SPY", "reason": "a test of it"}),
            "/symbols",
            json!("SPY"),
            "array",
        ),
    ] {
        let result = call(&running, KEY, tool, arguments.clone()).await;
        let problem = &result["structuredContent"];
        let error = &problem["errors"][0];
        assert_eq!((&error["pointer"], &error["got"]), (&json!(pointer), &got), "{arguments}: {problem:#}");
        assert!(error["expected"].as_str().unwrap().contains(expected), "{arguments}: {problem:#}");
    }
    running.stop().await;
}
