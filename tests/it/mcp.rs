//! MCP over HTTP: both protocol versions in use, every refusal, the same answers as REST, and what a key of a smaller
//! scope may not do.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::{KEY, Running, answer};
use crate::kit::scripted_bot::ScriptedBot;

/// A key that may only read; [`keys_file`] makes the file that has its hash.
pub(crate) const READER: &str = "reader-key-0123456789-0123456789";

pub(crate) fn keys_file(folder: &std::path::Path) -> String {
    use sha2::{Digest, Sha256};
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(READER));
    let path = folder.join("keys.json");
    let keys = json!({"keys": [{"id": "reader", "sha256": digest, "scopes": ["read"]}]});
    std::fs::write(&path, keys.to_string()).unwrap();
    path.display().to_string()
}

/// One JSON-RPC call as a client of protocol version 2025-06-18 sends it.
pub(crate) async fn rpc(running: &Running, key: &str, method: &str, params: Value) -> (u16, Value) {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    answer(request(running, key).json(&body)).await
}

fn request(running: &Running, key: &str) -> reqwest::RequestBuilder {
    running
        .client
        .post(format!("{}/mcp", running.base))
        .header("x-api-key", key)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18")
}

/// One JSON-RPC call as a client of protocol version 2026-07-28 sends it: without handshake, all facts in the request.
async fn modern(running: &Running, method: &str, mut params: Value) -> (u16, Value) {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let name = params["name"].as_str().or_else(|| params["uri"].as_str()).map(str::to_owned);
    let body = json!({"jsonrpc": "2.0", "id": 8, "method": method, "params": params});
    let mut request = running
        .client
        .post(format!("{}/mcp", running.base))
        .header("x-api-key", KEY)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    if let Some(name) = name {
        request = request.header("mcp-name", name);
    }
    answer(request.json(&body)).await
}

/// Calls a tool and returns the `result` of the answer.
pub(crate) async fn call(running: &Running, key: &str, name: &str, arguments: Value) -> Value {
    let (status, body) = rpc(running, key, "tools/call", json!({"name": name, "arguments": arguments})).await;
    assert_eq!(status, 200, "{body}");
    body["result"].clone()
}

/// botops beside a scripted bot, with a key that may only read.
pub(crate) async fn beside(bot: &ScriptedBot) -> (tempfile::TempDir, Running) {
    let folder = kit::folder();
    let keys = keys_file(folder.path());
    let socket = bot.socket().display().to_string();
    let id = bot.id();
    let settings =
        [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str()), ("BOT_API_KEYS_FILE", keys.as_str())];
    let running = Running::start(folder.path(), &settings).await;
    kit::until("the bot is seen", Duration::from_secs(30), || async {
        running.get("/api/v1/summary").await.1["health_status"] != "offline"
    })
    .await;
    (folder, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_eras_discover_list_and_call() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}});
    let (status, body) = rpc(&running, KEY, "initialize", hello).await;
    assert_eq!(status, 200, "{body}");
    let instructions = body["result"]["instructions"].as_str().unwrap();
    assert!(instructions.contains("Mode:"), "{instructions}");
    let tokens = tiktoken_rs::o200k_base_singleton().encode_ordinary(instructions).len();
    assert!(tokens <= 120, "{tokens} tokens of instructions");

    let (status, body) = modern(&running, "server/discover", json!({})).await;
    assert_eq!(status, 200, "{body}");
    let (_, old) = rpc(&running, KEY, "tools/list", json!({})).await;
    let (_, new) = modern(&running, "tools/list", json!({})).await;
    assert_eq!(old["result"]["tools"], new["result"]["tools"]);
    assert_eq!(new["result"]["cacheScope"], "private", "the list depends on the key");
    for tool in old["result"]["tools"].as_array().unwrap() {
        assert!(tool["outputSchema"].is_object(), "{tool}");
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{hint} of {tool}");
        }
    }
    // It has no handshake, so `initialize` is no method there, whatever it says.
    let (status, removed) = modern(&running, "initialize", json!({})).await;
    assert_eq!((status, &removed["error"]["code"]), (404, &json!(-32_601)), "{removed:#}");
    let (_, called) = modern(&running, "tools/call", json!({"name": "get_summary", "arguments": {}})).await;
    assert_eq!(called["result"]["structuredContent"]["health_status"], "offline", "{called}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_answers_what_rest_answers() {
    let bot = ScriptedBot::start();
    let (_folder, running) = beside(&bot).await;
    let strip = |mut value: Value| {
        for name in ["timestamp", "generated_at", "data_age_seconds", "as_of", "request_id"] {
            if let Some(members) = value.as_object_mut() {
                members.remove(name);
            }
        }
        // A client of MCP gets the tool and its arguments beside the call.
        for action in value["next_actions"].as_array_mut().into_iter().flatten() {
            let members = action.as_object_mut().unwrap();
            members.retain(|name, _| name != "tool" && name != "arguments");
        }
        value
    };
    for (tool, arguments, path) in [
        ("explain", json!({"topic": "BRK_008"}), "/api/v1/errors/catalogue/BRK_008"),
        ("explain", json!({"topic": "whoami"}), "/api/v1/whoami"),
        ("list_errors", json!({"limit": 3}), "/api/v1/errors?limit=3"),
        ("list_events", json!({"after": 0, "limit": 2}), "/api/v1/events?after=0&limit=2"),
        ("get_performance", json!({"window": "week"}), "/api/v1/performance?window=week"),
        (
            "get_state",
            json!({"fields": "positions.symbol,mode"}),
            "/api/v1/state?fields=positions.symbol,mode",
        ),
    ] {
        // An event in between changes the answer: REST is asked before and after, until both answers are equal.
        let mut asked = 0;
        let (result, rest) = loop {
            let (_, before) = running.get(path).await;
            let result = call(&running, KEY, tool, arguments.clone()).await;
            let (status, after) = running.get(path).await;
            assert_eq!(status, 200, "{path}: {after}");
            if strip(before) == strip(after.clone()) {
                break (result, after);
            }
            asked += 1;
            assert!(asked < 50, "{path} never stays the same: {after}");
        };
        assert_eq!(strip(result["structuredContent"].clone()), strip(rest), "{path}");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"], "the text says the same");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lesser_key_neither_sees_nor_calls_what_changes_something() {
    let bot = ScriptedBot::start();
    let (_folder, running) = beside(&bot).await;
    let (_, full) = rpc(&running, KEY, "tools/list", json!({})).await;
    let (_, reads) = rpc(&running, READER, "tools/list", json!({})).await;
    let tools = full["result"]["tools"].as_array().unwrap();
    let seen: Vec<_> =
        reads["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    for tool in tools {
        let is_read = tool["annotations"]["readOnlyHint"] == true;
        assert_eq!(seen.contains(&tool["name"]), is_read, "{}", tool["name"]);
        if is_read {
            continue;
        }
        let arguments = json!({"verb": "pause", "reason": "a test of scopes", "action": "apply", "workflow_id": "restart-bot"});
        let result = call(&running, READER, tool["name"].as_str().unwrap(), arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        assert_eq!(result["structuredContent"]["error_code"], "AUTH_003", "{result}");
        assert_eq!(result["structuredContent"]["effect"], "none");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_calls_come_back_as_problems_that_a_model_can_read() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    for (name, arguments) in [
        ("no_such_tool", json!({})),
        ("get_state", json!({"feilds": "positions"})),
        ("get_state", json!({"fields": "no_such_field"})),
        ("control_bot", json!({"verb": "buy", "reason": "to the moon, please"})),
        ("list_events", json!({"after": "yesterday"})),
    ] {
        let result = call(&running, KEY, name, arguments).await;
        assert_eq!(result["isError"], true, "{name}: {result}");
        let problem = &result["structuredContent"];
        for member in ["error_code", "cause", "remediation", "effect", "retry", "next_actions", "request_id"]
        {
            assert!(!problem[member].is_null(), "{name}: no {member}: {problem}");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_before_the_protocol_are_json_rpc_with_the_problem_as_data() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let post = || request(&running, KEY);
    let url = format!("{}/mcp", running.base);
    let cases = [
        ("a wrong key", request(&running, "wrong-wrong-wrong-wrong-wrong").json(&body), 401, "AUTH_001"),
        (
            "no JSON accepted",
            running
                .client
                .post(&url)
                .header("x-api-key", KEY)
                .header("accept", "text/event-stream")
                .json(&body),
            406,
            "API_003",
        ),
        ("another method", running.client.get(&url).header("x-api-key", KEY), 405, "API_002"),
        ("another form", post().header("content-type", "text/plain").body("hello"), 415, "API_005"),
        ("a foreign page", post().header("origin", "https://evil.example").json(&body), 403, "API_020"),
        ("a foreign name", post().header("host", "evil.example").json(&body), 403, "API_020"),
        ("too much", post().body("x".repeat(400_000)), 413, "API_004"),
    ];
    for (what, request, status, code) in cases {
        let (got, body) = answer(request).await;
        assert_eq!(got, status, "{what}: {body}");
        assert_eq!(body["jsonrpc"], "2.0", "{what}: {body}");
        assert_eq!(body["error"]["data"]["error_code"], code, "{what}: {body}");
        assert_eq!(body["error"]["data"]["effect"], "none", "{what}: {body}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_client_that_reads_json_is_answered_under_both_spellings_of_the_path() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for (path, accept) in [
        ("/mcp", Some("application/json")),
        ("/mcp", Some("*/*")),
        ("/mcp", None),
        ("/mcp/", Some("application/json, text/event-stream")),
    ] {
        let post =
            running.client.post(format!("{}{path}", running.base)).header("x-api-key", KEY).json(&body);
        let post = accept.into_iter().fold(post, |post, accept| post.header("accept", accept));
        let (status, body) = answer(post).await;
        assert_eq!((status, body["result"].is_object()), (200, true), "{path} {accept:?}: {body}");
    }
    let text =
        |text: &str| request(&running, KEY).header("content-type", "application/json").body(text.to_owned());
    for (sent, code, id) in [
        ("{\"jsonrpc\": \"2.0\", \"id\": 1,", -32_700, Value::Null),
        ("", -32_700, Value::Null),
        ("[]", -32_600, Value::Null),
        (r#"{"id": 4, "method": "ping"}"#, -32_600, json!(4)),
        (r#"{"jsonrpc": "2.0", "id": "a"}"#, -32_600, json!("a")),
    ] {
        let (status, body) = answer(text(sent)).await;
        assert_eq!((status, &body["error"]["code"], &body["id"]), (400, &json!(code), &id), "{sent}: {body}");
        assert_eq!(body["error"]["data"]["error_code"], "API_006", "{sent}: {body}");
        assert_eq!(body["error"]["data"]["effect"], "none", "{sent}: {body}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_may_send_the_headers_of_the_protocol() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[("BOT_API_CORS_ORIGINS", "https://desk.example")]).await;
    let asked = running
        .client
        .request(Method::OPTIONS, format!("{}/mcp", running.base))
        .header("origin", "https://desk.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "mcp-protocol-version, content-type");
    let answer = asked.send().await.unwrap();
    let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap().to_owned();
    for name in
        ["mcp-protocol-version", "mcp-session-id", "mcp-method", "mcp-name", "last-event-id", "x-api-key"]
    {
        assert!(allowed.contains(name), "{name}: {allowed}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_taken_as_they_are_meant_and_wrong_ones_are_named_in_the_words_of_the_schema() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    for (name, arguments) in [
        ("list_events", json!({"after": null, "limit": 2.0, "kind": null})),
        ("list_events", json!({"after": "0", "limit": "2"})),
        ("get_config", json!({"view": "validate", "merge_patch": "{\"risk\": {\"per_trade\": \"0.5\"}}"})),
    ] {
        let result = call(&running, KEY, name, arguments.clone()).await;
        let told = result["structuredContent"].to_string();
        assert!(!told.contains("do not fit its schema"), "{name} {arguments}: {result:#}");
    }
    for (name, arguments, wrong) in [
        (
            "get_config",
            json!({"view": "curent"}),
            json!({"pointer": "/view", "got": "curent", "expected": "one of current, schema, versions, changes, audit, diff, txn, validate"}),
        ),
        (
            "list_events",
            json!({"limit": "many"}),
            json!({"pointer": "/limit", "got": "many", "expected": "integer"}),
        ),
        (
            "explain",
            json!({}),
            json!({"pointer": "/topic", "got": null, "expected": "string (whoami or e.g. BRK_008)"}),
        ),
        (
            "get_state",
            json!({"feilds": "positions"}),
            json!({"pointer": "/feilds", "got": "feilds", "expected": "one of budget_tokens, fields"}),
        ),
    ] {
        let result = call(&running, KEY, name, arguments).await;
        let problem = &result["structuredContent"];
        assert_eq!(problem["errors"][0], wrong, "{problem:#}");
        assert_eq!(problem["next_actions"][0]["tool"], name, "{problem:#}");
        assert_eq!(problem["next_actions"][0]["schema"]["type"], "object", "{problem:#}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_and_the_prompt_are_read() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    for uri in ["bot://summary", "bot://whoami", "bot://state/mode", "bot://errors/AUTH_001"] {
        let (_, body) = rpc(&running, KEY, "resources/read", json!({"uri": uri})).await;
        let text = body["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{uri}: {body}"));
        assert!(serde_json::from_str::<Value>(text).is_ok(), "{uri}: {text}");
    }
    let (_, missing) = rpc(&running, KEY, "resources/read", json!({"uri": "bot://nothing"})).await;
    assert!(missing["error"]["code"].is_i64(), "{missing}");
    let (_, prompts) = rpc(&running, KEY, "prompts/list", json!({})).await;
    assert_eq!(prompts["result"]["prompts"][0]["name"], "triage");
    let (_, prompt) = rpc(&running, KEY, "prompts/get", json!({"name": "triage"})).await;
    assert!(prompt["result"]["messages"][0]["content"]["text"].as_str().unwrap().contains("get_summary"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_call_ends_within_its_deadline_and_holds_up_nobody() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let started = Instant::now();
    let (_, latest) = running.get("/api/v1/events").await;
    let waiting = call(&running, KEY, "list_events", json!({"after": latest["latest"], "wait": "1s"}));
    let quick = call(&running, KEY, "get_summary", json!({}));
    let (waited, summary) = tokio::join!(waiting, quick);
    assert_eq!(summary["isError"], false);
    assert!(waited["structuredContent"]["items"].is_array(), "{waited}");
    assert!(started.elapsed() < Duration::from_secs(20));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_budget_is_kept_and_what_is_cut_can_be_fetched() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    for path in [
        "/api/v1/summary",
        "/api/v1/state",
        "/api/v1/events?after=0",
        "/api/v1/whoami",
        "/api/v1/performance",
    ] {
        let (_, whole) = running.get(path).await;
        for budget in [50, 80, 120, 300, 5_000] {
            let mark = if path.contains('?') { '&' } else { '?' };
            let (status, cut) = running.get(&format!("{path}{mark}budget_tokens={budget}")).await;
            assert_eq!(status, 200, "{path}: {cut}");
            let size = cut.to_string().len();
            let least = cut.get("continue").is_some();
            assert!(size <= budget * 5 / 2 || least, "{path} at {budget}: {size} bytes");
            // What was cut is not shown as if there were nothing.
            for (name, member) in whole.as_object().unwrap() {
                let had = member.as_array().map_or(0, Vec::len);
                let has = cut.get(name).and_then(Value::as_array).map(Vec::len);
                assert!(has != Some(0) || had == 0, "{path} at {budget}: {name} of {had} is empty in {cut}");
            }
            if path == "/api/v1/state" {
                assert_eq!(cut["bot"]["presence"], whole["bot"]["presence"], "{budget}: {cut}");
                assert_eq!(cut["health"]["status"], whole["health"]["status"], "{budget}: {cut}");
            }
            if path == "/api/v1/summary" {
                assert_eq!(cut["presence"], whole["presence"], "{budget}: {cut}");
                assert_eq!(cut["health_status"], whole["health_status"], "{budget}: {cut}");
            }
            if size < whole.to_string().len() / 2 {
                assert_eq!(cut["truncated"], true, "{path} at {budget}: {cut}");
            }
        }
    }
    let response = running
        .request(Method::GET, "/api/v1/events?after=0")
        .header("accept", "text/tab-separated-values")
        .send()
        .await
        .unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/tab-separated-values"));
    assert_eq!(response.headers()["vary"], "accept");
    let etag = response.headers()["etag"].clone();
    let table = response.text().await.unwrap();
    assert!(table.lines().next().unwrap().split('\t').any(|column| column == "seq"), "{table}");
    let again = running
        .request(Method::GET, "/api/v1/events?after=0&limit=1")
        .header("accept", "text/tab-separated-values")
        .header("if-none-match", etag.clone());
    let first = again.send().await.unwrap();
    assert!(matches!(first.status().as_u16(), 200 | 304));
    for (query, code) in
        [("budget_tokens=1", "API_007"), ("detail=more", "API_007"), ("fields=nothing", "API_010")]
    {
        let (status, problem) = running.get(&format!("/api/v1/whoami?{query}")).await;
        assert_eq!((status, problem["error_code"].as_str()), (400, Some(code)), "{query}: {problem}");
    }
    running.stop().await;
}
