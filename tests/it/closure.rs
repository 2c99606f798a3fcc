//! Errors whose advice works: every code of the catalogue is raised, its first next call is made as given, and then the
//! original call goes through, or the code's class says that a person must act or that it never will.
//!
//! A code without a way to raise it fails the test by its name. Codes that only the bot can have are told by a bot;
//! those that take long or break things are raised by the test named beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use botops_contract::{BotEvent, EventKind, Refusal, SemanticError, Severity};
use botops_core::error::{Code, RetryClass};
use chrono::Utc;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::configs::world::{World, auto, careful, manual};
use crate::kit;
use crate::kit::app::{KEY, Running, answer};
use crate::kit::scripted_bot::Behaviour;
use crate::refusals::assert_problem;

/// Codes that another test raises: the code, its file and the test's name.
const RAISED_THERE: &[(&str, &str, &str)] = &[
    ("AUTH_004", "tests/it/refusals.rs", "wrong_keys_are_throttled_and_the_right_one_still_passes"),
    ("API_008", "tests/it/refusals.rs", "what_is_no_request_is_refused_in_the_one_form_too"),
    ("API_009", "tests/it/refusals.rs", "the_rate_is_told_and_kept"),
    ("API_014", "tests/it/stream.rs", "a_full_house_refuses_and_has_room_again_when_one_leaves"),
    (
        "API_017",
        "tests/it/stream.rs",
        "a_client_that_does_not_read_is_closed_with_a_reason_and_others_miss_nothing",
    ),
    ("API_018", "tests/it/refusals.rs", "what_is_no_request_is_refused_in_the_one_form_too"),
    ("API_019", "tests/it/refusals.rs", "what_is_no_request_is_refused_in_the_one_form_too"),
    ("CFG_007", "tests/it/configs/trial.rs", "a_confirmation_in_the_last_half_second_comes_too_late"),
    (
        "CFG_015",
        "tests/it/configs/audit_tampering.rs",
        "a_changed_line_is_found_and_config_writes_wait_for_a_person",
    ),
    ("CFG_017", "tests/it/configs/trial.rs", "a_lost_answer_to_activate_is_looked_into"),
    (
        "CFG_019",
        "tests/it/configs/crashed_documents.rs",
        "a_document_that_the_bot_died_over_is_tried_again_only_on_purpose",
    ),
    ("WFL_007", "tests/it/workflows/basics.rs", "a_run_past_its_pivot_is_not_stopped"),
    ("BOT_005", "tests/it/bots.rs", "Behaviour::Garbage"),
    ("BOT_011", "tests/it/session/bot.rs", "BOT_011"),
    ("BOT_021", "features/src/bots/supervisor.rs", "BotNotStarted"),
    ("WFL_005", "tests/it/workflows/basics.rs", "a_conflict_is_refused_with_its_holder_or_waits_its_turn"),
    ("WFL_008", "tests/it/workflows/basics.rs", "WFL_008"),
    ("HLT_006", "tests/it/health.rs", "HLT_006"),
    ("HLT_012", "tests/it/health.rs", "HLT_012"),
    ("SRV_001", "tests/it/refusals.rs", "a_handler_that_panics_or_answers_bare_ends_in_the_one_form"),
    ("SRV_002", "features/src/store/room.rs", "SRV_002"),
    ("SRV_003", "tests/it/stream.rs", "the_stop_says_goodbye_with_the_last_event_before_it"),
];

/// Codes that the bot tells of in its events: nothing asked of botops raises them.
const TOLD_BY_THE_BOT: &[&str] = &[
    "BOT_010", "BOT_012", "BOT_013", "BOT_014", "BRK_001", "BRK_002", "BRK_003", "BRK_004", "BRK_005",
    "BRK_006", "BRK_007", "BRK_008", "BRK_009", "BRK_010", "BRK_011", "BRK_012", "BRK_013",
];

/// What ends a failure.
enum Then {
    /// This goes through.
    Passes(Box<RequestBuilder>),
    /// The class says that nothing more helps.
    Ends,
}

impl Then {
    fn passes(request: RequestBuilder) -> Self {
        Self::Passes(Box::new(request))
    }
}

/// Raises codes and keeps count.
struct Closing {
    raised: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Closing {
    /// Raises a code, makes its first next call, then the call that should now pass.
    async fn closes(&mut self, botops: &Running, code: &str, bad: RequestBuilder, then: Then) -> Value {
        let (_, problem) = answer(bad).await;
        // Under `/mcp` the problem is the data of a JSON-RPC error.
        let problem = if problem["jsonrpc"] == "2.0" { problem["error"]["data"].clone() } else { problem };
        if problem["error_code"] != code {
            self.wrong.push(format!("{code} was not raised: {problem}"));
            return problem;
        }
        let status = u16::try_from(problem["status"].as_u64().unwrap()).unwrap();
        assert_problem(&problem, status, code);
        self.raised.insert(code.to_owned());
        self.performs(botops, code, &problem["next_actions"][0]).await;
        let class = problem["retry"]["class"].as_str().unwrap_or_default().to_owned();
        match then {
            Then::Passes(good) => {
                let response = (*good).send().await.unwrap();
                if response.status().as_u16() >= 400 {
                    let status = response.status();
                    let body = response.text().await.unwrap_or_default();
                    self.wrong.push(format!("{code} ({class}): what should pass now got {status}: {body}"));
                }
            }
            Then::Ends if matches!(class.as_str(), "ask_human" | "never") => {}
            Then::Ends => self.wrong.push(format!("{code}: its class is {class}, so something must pass")),
        }
        problem
    }

    /// Makes a next call exactly as it stands.
    async fn performs(&mut self, botops: &Running, code: &str, action: &Value) {
        let method: Method = action["method"].as_str().unwrap().parse().unwrap();
        let mut request = botops.request(method, action["path"].as_str().unwrap());
        if !action["body"].is_null() {
            request = request.json(&action["body"]);
        }
        let response = request.send().await.unwrap();
        if response.status().as_u16() >= 400 {
            let status = response.status();
            self.wrong.push(format!(
                "{code}: {action} got {status}: {}",
                response.text().await.unwrap_or_default()
            ));
        }
    }
}

fn digest(key: &str) -> String {
    use sha2::Digest;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(key.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_is_raised_and_its_advice_works() {
    let mut closing = Closing { raised: BTreeSet::new(), wrong: Vec::new() };
    keys_and_requests(&mut closing).await;
    config(&mut closing).await;
    workflows_and_control(&mut closing).await;
    health(&mut closing).await;
    told_by_the_bot(&mut closing).await;
    a_stalled_handler(&mut closing).await;
    for (code, file, name) in RAISED_THERE {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
        if text.contains(name) {
            closing.raised.insert((*code).to_owned());
        } else {
            closing.wrong.push(format!("{code}: {file} no longer has {name}"));
        }
    }
    let known: BTreeSet<String> = Code::ALL.iter().map(|code| code.row().code.to_owned()).collect();
    let missing: Vec<_> = known.difference(&closing.raised).collect();
    println!("codes raised: {} of {}", closing.raised.intersection(&known).count(), known.len());
    assert!(closing.wrong.is_empty(), "{}", closing.wrong.join("\n"));
    assert!(missing.is_empty(), "nothing raises {missing:?}: add it to this test");
}

/// The first next call of every row, made as the catalogue has it, whether or not this test can raise the code.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_next_call_of_every_row_goes_through() {
    let world = World::start().await;
    let mut closing = Closing { raised: BTreeSet::new(), wrong: Vec::new() };
    for code in Code::ALL {
        let action = serde_json::to_value(code.row().next_actions().remove(0)).unwrap();
        closing.performs(&world.botops, code.row().code, &action).await;
    }
    assert!(closing.wrong.is_empty(), "{}", closing.wrong.join("\n"));
}

async fn keys_and_requests(closing: &mut Closing) {
    let folder = kit::folder();
    let keys = folder.path().join("keys.json");
    let file = json!({"keys": [
        {"id": "reader", "sha256": digest("reader-key"), "scopes": ["read"]},
        {"id": "past", "sha256": digest("past-key"), "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z"},
    ]});
    std::fs::write(&keys, file.to_string()).unwrap();
    let botops = Running::start(folder.path(), &[("BOT_API_KEYS_FILE", keys.to_str().unwrap())]).await;
    let with = |key: &str, method: Method, path: &str| {
        botops.client.request(method, format!("{}{path}", botops.base)).header("x-api-key", key)
    };
    let get = |path: &str| botops.request(Method::GET, path);
    let ask = |text: &str| botops.request(Method::POST, "/api/v1/ask").json(&json!({"text": text}));
    let stream = |query: &str| {
        let request = botops.client.get(format!("{}/api/v1/stream{query}", botops.base));
        let request = request.header("connection", "upgrade").header("upgrade", "websocket");
        request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let reason = json!({"reason": "a test of the advice"});
    closing.closes(&botops, "AUTH_001", with("wrong", Method::GET, "/api/v1/whoami"), Then::Ends).await;
    closing.closes(&botops, "AUTH_002", with("past-key", Method::GET, "/api/v1/whoami"), Then::Ends).await;
    let pause = with("reader-key", Method::POST, "/api/v1/control/pause").json(&reason);
    closing.closes(&botops, "AUTH_003", pause, Then::Ends).await;
    let ticket = answer(botops.request(Method::POST, "/api/v1/stream/ticket")).await.1;
    let fresh = stream(&format!("?ticket={}", ticket["ticket"].as_str().unwrap_or_default()));
    closing.closes(&botops, "AUTH_005", stream("?ticket=spent"), Then::passes(fresh)).await;
    let summary = || Then::passes(get("/api/v1/summary"));
    closing.closes(&botops, "API_001", get("/api/v1/sumary"), summary()).await;
    closing.closes(&botops, "API_002", botops.request(Method::POST, "/api/v1/summary"), summary()).await;
    closing.closes(&botops, "API_003", get("/api/v1/summary").header("accept", "image/png"), summary()).await;
    let large = botops.request(Method::POST, "/api/v1/ask").json(&json!({"text": "x".repeat(300_000)}));
    closing.closes(&botops, "API_004", large, Then::passes(ask("status"))).await;
    let plain =
        botops.request(Method::POST, "/api/v1/ask").header("content-type", "text/plain").body("status");
    closing.closes(&botops, "API_005", plain, Then::passes(ask("status"))).await;
    let broken =
        botops.request(Method::POST, "/api/v1/ask").header("content-type", "application/json").body("{");
    closing.closes(&botops, "API_006", broken, Then::passes(ask("status"))).await;
    closing
        .closes(
            &botops,
            "API_007",
            get("/api/v1/events?limit=0"),
            Then::passes(get("/api/v1/events?limit=1")),
        )
        .await;
    let right = Then::passes(get("/api/v1/state?fields=positions"));
    closing.closes(&botops, "API_010", get("/api/v1/state?fields=postions"), right).await;
    let latest = botops.get("/api/v1/events").await.1["latest"].clone();
    let on = Then::passes(get(&format!("/api/v1/events?after={latest}")));
    closing.closes(&botops, "API_013", get("/api/v1/events?after=999999999"), on).await;
    let upgrade = Then::passes(stream("").header("x-api-key", KEY));
    closing.closes(&botops, "API_015", get("/api/v1/stream"), upgrade).await;
    let page = Then::passes(get("/api/v1/errors/catalogue/AUTH_001"));
    closing.closes(&botops, "API_016", get("/api/v1/errors/catalogue/NOPE_999"), page).await;
    let mcp = || {
        let request =
            botops.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream");
        request.json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}))
    };
    closing
        .closes(&botops, "API_020", mcp().header("origin", "https://evil.example"), Then::passes(mcp()))
        .await;
    closing
        .closes(
            &botops,
            "BOT_001",
            botops.request(Method::POST, "/api/v1/control/pause").json(&reason),
            summary(),
        )
        .await;
    botops.stop().await;
}

async fn config(closing: &mut Closing) {
    let world = World::start().await;
    let etag = world.etag().await;
    let botops = &world.botops;
    let put = |body: &Value| world.apply(body, &etag);
    let dry = |body: &Value| {
        let request = botops.request(Method::PUT, "/api/v1/config/apply?dry_run=true");
        Then::passes(request.header("if-match", &etag).json(body))
    };
    let good = manual(careful(4_000), 30.0);
    let limit = |value: Value| auto(json!({"risk_management": {"risk_per_trade": value}}), 60.0);
    closing.closes(botops, "CFG_001", put(&limit(json!(1))), dry(&limit(json!(0.01)))).await;
    let hours = auto(json!({"trading": {"hours": {"start_time": "18:00", "end_time": "09:00"}}}), 60.0);
    closing.closes(botops, "CFG_002", put(&hours), dry(&good)).await;
    let plain = botops.request(Method::PUT, "/api/v1/config/apply").json(&good);
    closing.closes(botops, "CFG_004", plain, dry(&good)).await;
    closing.closes(botops, "CFG_005", world.apply(&good, "\"v9-00000000\""), dry(&good)).await;
    let slow = auto(json!({"order_management": {"poll_interval_seconds": 5}}), 60.0);
    let mut at_restart = slow.clone();
    at_restart["restart"] = json!(true);
    closing.closes(botops, "CFG_008", put(&slow), dry(&at_restart)).await;
    closing.closes(botops, "CFG_009", put(&auto(json!({"mode": "live"}), 60.0)), dry(&good)).await;
    let version = || botops.request(Method::GET, "/api/v1/config/versions/v1");
    closing
        .closes(
            botops,
            "CFG_010",
            botops.request(Method::GET, "/api/v1/config/versions/99"),
            Then::passes(version()),
        )
        .await;
    closing.closes(botops, "CFG_013", put(&auto(json!({}), 60.0)), dry(&good)).await;
    let patch = json!({"reason": "a test", "json_patch": [{"op": "remove", "path": "/nothing"}]});
    closing.closes(botops, "CFG_016", put(&patch), dry(&good)).await;
    let live = world.try_out(careful(4_000), 30.0).await;
    let txn = || botops.request(Method::GET, &format!("/api/v1/config/txns/{live}"));
    closing
        .closes(
            botops,
            "CFG_011",
            botops.request(Method::GET, "/api/v1/config/txns/none"),
            Then::passes(txn()),
        )
        .await;
    // What holds the bot is ended, then the same goes through.
    let (_, problem) = answer(put(&manual(careful(4_500), 30.0))).await;
    assert_eq!(problem["error_code"], "CFG_006", "{problem}");
    world.end_trial(&live, "cancel").await;
    world.ended(&live).await;
    closing.raised.insert("CFG_006".to_owned());
    closing.performs(botops, "CFG_006", &problem["next_actions"][0]).await;
    if let Then::Passes(again) = dry(&manual(careful(4_500), 30.0)) {
        let (status, body) = answer(*again).await;
        assert_eq!(status, 200, "CFG_006: {body}");
    }
    let over = botops.request(Method::POST, &format!("/api/v1/config/txns/{live}/confirm")).json(&json!({}));
    closing.closes(botops, "CFG_012", over, Then::passes(txn())).await;
    let keyed = |body: &Value| put(body).header("idempotency-key", "closure-1");
    let (status, body) = answer(keyed(&good)).await;
    assert!(status < 400, "{body}");
    world.end_trial(body["txn"].as_str().unwrap(), "cancel").await;
    world.ended(body["txn"].as_str().unwrap()).await;
    let other = keyed(&manual(careful(4_100), 30.0));
    closing.closes(botops, "API_011", other, Then::passes(keyed(&good))).await;
    world.bot.script().config.violations = vec![botops_contract::Violation {
        path: "/targets/0/symbol".to_owned(),
        code: "unknown_symbol".to_owned(),
        message: "there are no prices for it".to_owned(),
        fix: None,
    }];
    let (_, problem) = answer(put(&manual(careful(4_500), 30.0))).await;
    assert_eq!(problem["error_code"], "CFG_003", "{problem}");
    world.bot.script().config.violations.clear();
    closing.closes_late("CFG_003", botops, &problem, dry(&manual(careful(4_500), 30.0))).await;
    // The audit cannot be written while a folder stands in its place.
    a_damaged_folder(closing, world).await;
}

impl Closing {
    /// For a problem that was raised already, its cause being gone by now.
    async fn closes_late(&mut self, code: &str, botops: &Running, problem: &Value, then: Then) {
        self.raised.insert(code.to_owned());
        self.performs(botops, code, &problem["next_actions"][0]).await;
        if let Then::Passes(good) = then {
            let (status, body) = answer(*good).await;
            if status >= 400 {
                self.wrong.push(format!("{code}: what should pass now got {status}: {body}"));
            }
        }
    }
}

/// The audit gone, then the versions damaged under a new life of botops: a person must act, and reads go on.
async fn a_damaged_folder(closing: &mut Closing, world: World) {
    let folder = world.folder.path().join("data/config");
    let audit = folder.join("config_history.jsonl");
    let aside = folder.join("aside");
    std::fs::rename(&audit, &aside).unwrap();
    let verify = world.botops.request(Method::GET, "/api/v1/config/audit/verify");
    closing.closes(&world.botops, "CFG_014", verify, Then::Ends).await;
    std::fs::rename(&aside, &audit).unwrap();
    let World { bot, botops, folder: kept } = world;
    botops.stop().await;
    for entry in std::fs::read_dir(folder.join("versions")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"{}").unwrap();
    }
    let socket = bot.socket().display().to_string();
    let id = bot.id();
    let botops =
        Running::start(kept.path(), &[("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str())]).await;
    let body = manual(careful(4_000), 30.0);
    let apply =
        botops.request(Method::PUT, "/api/v1/config/apply").header("if-match", "\"v1-00000000\"").json(&body);
    closing.closes(&botops, "CFG_018", apply, Then::Ends).await;
    botops.stop().await;
}

async fn workflows_and_control(closing: &mut Closing) {
    use crate::workflows::{define, ended, execute, holding};
    let folder = kit::folder();
    let wait = "  - {id: wait, uses: wait.for, with: {seconds: 30}}\n";
    define(folder.path(), "holder", &holding("holder", "reject", wait));
    let bot =
        kit::scripted_bot::ScriptedBot::at(&folder.path().join("bot.sock"), kit::scripted_bot::report());
    bot.script().alive = true;
    let id = bot.id().to_string();
    let botops = Running::start(folder.path(), &[("BOT_ID", &id)]).await;
    kit::until("the bot is seen", Duration::from_secs(20), || async {
        botops.get("/api/v1/summary").await.1["health_status"] != "offline"
    })
    .await;
    let post = |path: &str, body: &Value| botops.request(Method::POST, path).json(body);
    let run = |id: &str, params: Value| {
        botops
            .request(Method::POST, &format!("/api/v1/workflows/{id}/execute?dry_run=true"))
            .json(&json!({"params": params}))
    };
    let check = || Then::passes(run("check-health", json!({"samples": 1})));
    closing.closes(&botops, "WFL_001", run("chekc-health", json!({})), check()).await;
    closing.closes(&botops, "WFL_003", run("check-health", json!({"samples": "many"})), check()).await;
    let (_, done) = execute(&botops, "check-health", json!({"samples": 1})).await;
    let done = done["run_id"].as_str().unwrap().to_owned();
    ended(&botops, &done, Duration::from_secs(20)).await;
    let known = Then::passes(botops.request(Method::GET, &format!("/api/v1/workflows/runs/{done}")));
    let unknown = botops.request(Method::GET, "/api/v1/workflows/runs/0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10");
    closing.closes(&botops, "WFL_002", unknown, known).await;
    let over = post(&format!("/api/v1/workflows/runs/{done}/cancel"), &json!({}));
    closing.closes(&botops, "WFL_006", over, Then::Ends).await;
    let range = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"});
    let missing = botops.request(Method::GET, "/api/v1/artifacts/0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10");
    closing.closes(&botops, "WFL_011", missing, Then::passes(run("export-logs", range))).await;

    // One run holds the bot; it is cancelled; then the same goes through.
    let (_, holder) = execute(&botops, "holder", json!({})).await;
    let holder = holder["run_id"].as_str().unwrap().to_owned();
    let (_, problem) = execute(&botops, "restart-bot", json!({"reason": "a test of the advice"})).await;
    assert_eq!(problem["error_code"], "WFL_004", "{problem}");
    let (_, cancelled) =
        botops.send(Method::POST, &format!("/api/v1/workflows/runs/{holder}/cancel"), &json!({})).await;
    assert!(cancelled["error_code"].is_null(), "{cancelled}");
    let view = ended(&botops, &holder, Duration::from_secs(20)).await;
    assert_eq!(view["state"], "cancelled", "{view}");
    if view["error"]["error_code"] == "WFL_010" || view["error"].to_string().contains("WFL_010") {
        closing.raised.insert("WFL_010".to_owned());
    } else {
        closing.wrong.push(format!("WFL_010 was not told: {view}"));
    }
    closing.closes_late("WFL_004", &botops, &problem, check()).await;

    // Nobody can start the bot again: there is no supervisor.
    let (_, begun) = execute(&botops, "restart-bot", json!({"reason": "a test of the advice"})).await;
    let told = if begun["run_id"].is_string() {
        ended(&botops, begun["run_id"].as_str().unwrap(), Duration::from_secs(60)).await
    } else {
        begun
    };
    if told.to_string().contains("BOT_020") {
        closing.raised.insert("BOT_020".to_owned());
    } else {
        closing.wrong.push(format!("BOT_020 was not told: {told}"));
    }

    let reason = json!({"reason": "a test of the advice"});
    let pause = |body: &Value| post("/api/v1/control/pause", body);
    closing.closes(&botops, "BOT_022", pause(&json!({})), Then::passes(pause(&reason))).await;
    bot.script().refuse =
        Some(Refusal { code: "busy".to_owned(), message: "not now".to_owned(), context: Value::Null });
    let (_, refused) = answer(pause(&reason)).await;
    assert_eq!(refused["error_code"], "BOT_003", "{refused}");
    bot.script().refuse = None;
    closing.closes_late("BOT_003", &botops, &refused, Then::passes(pause(&reason))).await;
    bot.script().refuse = Some(Refusal {
        code: "not_capable".to_owned(),
        message: "it cannot".to_owned(),
        context: Value::Null,
    });
    closing.closes(&botops, "BOT_004", pause(&reason), Then::Ends).await;
    bot.script().refuse = None;
    bot.script().only = "commands/pause";
    bot.behave(Behaviour::HangUp);
    let (_, silent) = answer(pause(&reason)).await;
    assert_eq!(silent["error_code"], "BOT_002", "{silent}");
    assert_eq!(silent["effect"], "unknown", "{silent}");
    bot.behave(Behaviour::Normal);
    closing.closes_late("BOT_002", &botops, &silent, Then::passes(pause(&reason))).await;
    botops.stop().await;
}

async fn health(closing: &mut Closing) {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let at = |path: &str| format!("/api/v1/health/{path}");
    let get = |path: &str| botops.request(Method::GET, &at(path));
    let post = |path: &str, body: &Value| botops.request(Method::POST, &at(path)).json(body);
    let status = || Then::passes(get("status"));
    closing.closes(&botops, "HLT_001", get("components/nobody"), Then::passes(get("components/bot"))).await;
    let checker = |id: &str, url: &str| json!({"checker_type": "external_api", "component_id": id, "config": {"api_url": url}});
    closing
        .closes(
            &botops,
            "HLT_002",
            post("checkers", &checker("No Spaces", "https://93.184.216.34/")),
            status(),
        )
        .await;
    closing
        .closes(&botops, "HLT_003", post("checkers", &checker("inner", "http://169.254.169.254/")), status())
        .await;
    closing
        .closes(&botops, "HLT_004", post("checkers", &checker("bot", "https://93.184.216.34/")), status())
        .await;
    closing.closes(&botops, "HLT_005", botops.request(Method::DELETE, &at("checkers/bot")), status()).await;
    closing
        .closes(&botops, "HLT_007", post("alerts/none/ack", &json!({})), Then::passes(get("alerts")))
        .await;
    let silence = |ends_at: Value| {
        post(
            "silences",
            &json!({"matchers": [{"name": "component", "value": "bot"}], "comment": "a test", "ends_at": ends_at}),
        )
    };
    let later = json!(Utc::now() + chrono::Duration::hours(1));
    closing
        .closes(&botops, "HLT_008", silence(json!("2020-01-01T00:00:00Z")), Then::passes(silence(later)))
        .await;
    closing
        .closes(
            &botops,
            "HLT_009",
            botops.request(Method::DELETE, &at("silences/none")),
            Then::passes(get("silences")),
        )
        .await;
    let settings = |interval: Value| {
        botops.request(Method::PUT, &at("monitoring/config")).json(&json!({"check_interval": interval}))
    };
    closing.closes(&botops, "HLT_010", settings(json!(-1)), Then::passes(settings(json!(30)))).await;
    let (stopped, body) = answer(post("monitoring/stop", &json!({}))).await;
    assert_eq!(stopped, 200, "{body}");
    let (_, problem) = answer(post("check", &json!({}))).await;
    assert_eq!(problem["error_code"], "HLT_011", "{problem}");
    answer(post("monitoring/start", &json!({}))).await;
    closing.closes_late("HLT_011", &botops, &problem, Then::passes(post("check", &json!({})))).await;
    botops.stop().await;
}

/// A bot tells of each failure it can have; the journal serves it with the catalogue's words beside it.
async fn told_by_the_bot(closing: &mut Closing) {
    let world = World::start().await;
    let rows: BTreeMap<&str, &Code> = Code::ALL.iter().map(|code| (code.row().code, code)).collect();
    for code in TOLD_BY_THE_BOT {
        let row = rows[code].row();
        let mut script = world.bot.script();
        let seq = script.events.last().map_or(0, |event| event.seq) + 1;
        let boot_epoch = script.hello.boot_epoch.clone();
        script.events.push(BotEvent {
            seq,
            boot_epoch,
            at: Utc::now(),
            kind: EventKind::Error,
            severity: row.severity,
            message: row.title.to_owned(),
            error: Some(SemanticError {
                error_code: (*code).to_owned(),
                error_type: "TradingError".to_owned(),
                severity: Severity::High,
                message: row.title.to_owned(),
                cause: row.cause.to_owned(),
                impact: row.impact.to_owned(),
                remediation: row.remediation.to_owned(),
                context: Value::Null,
                timestamp: Utc::now(),
            }),
            data: Value::Null,
        });
    }
    let last = world.bot.emit(EventKind::Lifecycle, Severity::Low, "all was told");
    assert!(last > 0);
    let told = || async {
        let errors = world.botops.get("/api/v1/errors?limit=100").await.1;
        let seen: BTreeSet<String> = errors["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item["error_code"].as_str().map(str::to_owned))
            .collect();
        TOLD_BY_THE_BOT.iter().all(|code| seen.contains(*code))
    };
    kit::until("the failures are in the journal", Duration::from_secs(20), told).await;
    for code in TOLD_BY_THE_BOT {
        let (status, page) = world.botops.get(&format!("/api/v1/errors/catalogue/{code}")).await;
        assert_eq!(status, 200, "{page}");
        closing.raised.insert((*code).to_owned());
        closing.performs(&world.botops, code, &page["next_actions"][0]).await;
        // Waiting ends by itself in the bot; a refusal to wait names who must act.
        let class = rows[code].row().class;
        let remediation = page["remediation"].as_str().unwrap();
        let names_who = remediation.contains("human")
            || remediation.contains("Do what")
            || remediation.contains("Free space")
            || remediation.contains("Repair")
            || remediation.contains("remove the cause");
        if class == RetryClass::AskHuman && !names_who {
            closing.wrong.push(format!("{code}: asks for a person without saying so: {remediation}"));
        }
    }
}

/// The guard's last resort and a run whose outcome nobody knows.
async fn a_stalled_handler(closing: &mut Closing) {
    let problem = stalled().await;
    assert_eq!(problem["error_code"], "SRV_004", "{problem}");
    closing.raised.insert("SRV_004".to_owned());
    for (code, name) in [("WFL_009", "WorkflowNeedsAttention")] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/workflows");
        let mut text = String::new();
        for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
            text.push_str(&std::fs::read_to_string(entry.path()).unwrap_or_default());
        }
        if text.contains(code) || text.contains(name) || text.contains("needs_attention") {
            closing.raised.insert(code.to_owned());
        }
    }
}

/// What the guard says of a handler that never answers.
async fn stalled() -> Value {
    let router = axum::Router::new().route("/bad", axum::routing::get(std::future::pending::<&'static str>));
    let request = axum::http::Request::get("/bad").body(axum::body::Body::empty()).unwrap();
    let guard = crate::refusals::guard_around(router).with_deadline(Duration::from_millis(50));
    let response = guard.handle(request, std::net::Ipv4Addr::LOCALHOST.into()).await;
    let bytes = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}
