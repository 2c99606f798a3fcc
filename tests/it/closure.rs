//! The advice of errors works: every code of the catalogue is really raised, and its first next call made as given.
//!
//! Then the original call succeeds, or the code's class says that a person must act or that it never will. Each test
//! raises exactly the codes that are listed for it in `parts!`; the lists together are the catalogue. Codes that only a
//! bot can have come in a bot's events. Where another test raises a code too, the function for it (`raise_…`) is beside
//! that test.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use botops_contract::{BotEvent, ContractRefusal, EventKind, SemanticError, Severity};
use botops_core::error::{Code, RetryClass};
use chrono::Utc;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::configs::world::{World, auto, careful, manual};
use crate::kit;
use crate::kit::app::{KEY, Running, answer};
use crate::kit::scripted_bot::{Behaviour, position};
use crate::refusals::{Guarded, assert_problem, guard_around};
use crate::stream::handshake_over_http;
use crate::workflows::{define, ended, execute, holding};
use crate::{configs, health, operators_commands, refusals, session, stream, workflows};

/// A botops that answers requests, in this process or in one of its own.
trait Served {
    /// A request with the operator's key.
    fn request(&self, method: Method, path: &str) -> RequestBuilder;
}

impl Served for Running {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path)
    }
}

impl Served for configs::kills::Pair {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path)
    }
}

impl Served for workflows::pair::Pair {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path)
    }
}

/// Makes a test of each function that raises codes, with the list of codes that it has to raise.
macro_rules! parts {
    ($($test:ident by $raises:ident: $($code:literal)*;)*) => {
        const PARTS: &[&[&str]] = &[$(&[$($code),*]),*];

        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let mut closing = Closing::default();
                $raises(&mut closing).await;
                closing.has_raised(&[$($code),*]);
            }
        )*
    };
}

parts! {
    what_the_guard_and_reads_refuse_passes_as_advised by keys_and_requests:
        "AUTH_001" "AUTH_002" "AUTH_003" "AUTH_005" "API_001" "API_002" "API_003" "API_004" "API_005" "API_006"
        "API_007" "API_010" "API_013" "API_015" "API_016" "API_020" "BOT_001";
    what_is_too_much_or_no_request_passes_as_advised by limits_and_bytes:
        "AUTH_004" "API_008" "API_009" "API_018" "API_019";
    a_stream_that_was_refused_or_closed_goes_on_as_advised by streams: "API_014" "API_017";
    a_stopping_botops_takes_the_same_again_when_it_is_back by stopping: "SRV_003";
    a_handler_that_fails_says_how_to_go_on by failing_handlers: "SRV_001" "SRV_004";
    a_config_change_that_was_refused_passes_as_advised by config:
        "API_011" "CFG_001" "CFG_002" "CFG_003" "CFG_004" "CFG_005" "CFG_006" "CFG_008" "CFG_009" "CFG_010" "CFG_011"
        "CFG_012" "CFG_013" "CFG_014" "CFG_016" "CFG_018";
    a_trial_that_went_wrong_passes_as_advised by trials: "CFG_007" "CFG_017" "CFG_019" "CFG_021";
    a_config_that_nobody_committed_needs_a_person by foreign_configs: "CFG_020" "CFG_022";
    a_schema_that_cannot_be_used_needs_the_author_of_the_bot by brought_configs: "CFG_023";
    a_changed_audit_needs_a_person by changed_audit: "CFG_015";
    a_store_that_cannot_be_written_needs_a_person by unwritable_store: "SRV_002";
    runs_and_commands_that_were_refused_pass_as_advised by workflows_and_control:
        "WFL_001" "WFL_002" "WFL_003" "WFL_004" "WFL_006" "WFL_010" "WFL_011" "BOT_002" "BOT_003" "BOT_004" "BOT_005"
        "BOT_020" "BOT_022";
    runs_that_wait_go_on_or_fail_pass_as_advised by runs: "WFL_005" "WFL_007" "WFL_008";
    a_bot_that_does_not_start_needs_a_person by bots_that_do_not_start: "BOT_011" "BOT_021" "WFL_009";
    a_pause_that_was_lost_needs_a_person by lost_pauses: "BOT_023";
    what_health_refuses_passes_as_advised by health_verbs:
        "HLT_001" "HLT_002" "HLT_003" "HLT_004" "HLT_005" "HLT_006" "HLT_007" "HLT_008" "HLT_009" "HLT_010" "HLT_011"
        "HLT_012" "HLT_013";
    what_a_bot_tells_of_is_listed_with_its_advice by told_by_the_bot:
        "BOT_006" "BOT_010" "BOT_012" "BOT_013" "BOT_014" "BOT_015" "BOT_030" "BRK_001" "BRK_002" "BRK_003" "BRK_004" "BRK_005" "BRK_006" "BRK_007"
        "BRK_008" "BRK_009" "BRK_010" "BRK_011" "BRK_012" "BRK_013";
}

#[test]
fn the_parts_raise_every_code_of_the_catalogue() {
    let listed = PARTS.concat();
    let once: BTreeSet<&str> = listed.iter().copied().collect();
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.row().code).collect();
    let missing: Vec<_> = known.difference(&once).collect();
    let unknown: Vec<_> = once.difference(&known).collect();
    assert!(missing.is_empty(), "nothing raises {missing:?}: add it to the part that can");
    assert!(unknown.is_empty(), "{unknown:?} is not in the catalogue");
    assert_eq!(listed.len(), once.len(), "a code is raised by one part");
}

/// Codes that come only in a bot's events: no request to botops raises them.
const TOLD_BY_THE_BOT: &[&str] = &[
    "BOT_006", "BOT_010", "BOT_012", "BOT_013", "BOT_014", "BOT_015", "BOT_030", "BRK_001", "BRK_002",
    "BRK_003", "BRK_004", "BRK_005", "BRK_006", "BRK_007", "BRK_008", "BRK_009", "BRK_010", "BRK_011",
    "BRK_012", "BRK_013",
];

/// What is expected after the first next call.
enum Then {
    /// This request succeeds.
    Passes(Box<RequestBuilder>),
    /// The code's class says that no further call helps.
    Ends,
}

impl Then {
    fn passes(request: RequestBuilder) -> Self {
        Self::Passes(Box::new(request))
    }
}

/// Checks raised codes and records which they were.
#[derive(Default)]
struct Closing {
    raised: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Closing {
    /// Raises a code with `bad`, makes its first next call, then the call that should succeed now.
    async fn closes(&mut self, served: &impl Served, code: &str, bad: RequestBuilder, then: Then) -> Value {
        let (_, problem) = answer(bad).await;
        // Under `/mcp` the problem is the data of a JSON-RPC error.
        let problem = if problem["jsonrpc"] == "2.0" { problem["error"]["data"].clone() } else { problem };
        self.closes_problem(served, code, &problem, then).await;
        problem
    }

    /// The same for a problem that a client got before, whose cause is gone by now.
    async fn closes_problem(&mut self, served: &impl Served, code: &str, problem: &Value, then: Then) {
        if problem["error_code"] != code {
            self.wrong.push(format!("{code} was not raised: {problem}"));
            return;
        }
        let status = u16::try_from(problem["status"].as_u64().unwrap()).unwrap();
        assert_problem(problem, status, code);
        self.raised.insert(code.to_owned());
        self.performs(served, code, &problem["next_actions"][0]).await;
        self.ends(code, problem["retry"]["class"].as_str().unwrap_or_default(), then).await;
    }

    /// The same for a code that is no answer to a request, but the error of a run or step, in a close frame, or on a
    /// terminal. It has a message; the rest is on its page of the catalogue.
    async fn closes_told(&mut self, served: &impl Served, code: &str, told: &Value, then: Then) {
        if told["error_code"] != code || told["message"].as_str().is_none_or(str::is_empty) {
            self.wrong.push(format!("{code} was not told: {told}"));
            return;
        }
        self.raised.insert(code.to_owned());
        let page = self.page(served, code).await;
        self.ends(code, page["retry_class"].as_str().unwrap_or_default(), then).await;
    }

    /// Checks a code's page of the catalogue and makes its first next call; returns the page.
    async fn page(&mut self, served: &impl Served, code: &str) -> Value {
        let path = format!("/api/v1/errors/catalogue/{code}");
        let (status, page) = answer(served.request(Method::GET, &path)).await;
        assert_eq!((status, &page["error_code"]), (200, &json!(code)), "{page}");
        for member in ["title", "cause", "impact", "remediation", "error_type", "severity", "effect"] {
            assert!(page[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {page}");
        }
        self.performs(served, code, &page["next_actions"][0]).await;
        page
    }

    async fn ends(&mut self, code: &str, class: &str, then: Then) {
        match then {
            Then::Passes(good) => {
                let response = (*good).send().await.unwrap();
                if response.status().as_u16() >= 400 {
                    let status = response.status();
                    let body = response.text().await.unwrap_or_default();
                    self.wrong.push(format!("{code} ({class}): what should pass now got {status}: {body}"));
                }
            }
            Then::Ends if matches!(class, "ask_human" | "never") => {}
            Then::Ends => self.wrong.push(format!("{code}: its class is {class}, so something must pass")),
        }
    }

    /// Ends a part: exactly these codes were raised, and all checks passed.
    fn has_raised(&self, codes: &[&str]) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        let codes: BTreeSet<String> = codes.iter().map(|code| (*code).to_owned()).collect();
        assert_eq!(self.raised, codes);
    }

    /// Makes a next call exactly as it is given.
    async fn performs(&mut self, served: &impl Served, code: &str, action: &Value) {
        let method: Method = action["method"].as_str().unwrap().parse().unwrap();
        let mut request = served.request(method, action["path"].as_str().unwrap());
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

/// The first next call of every row as the catalogue has it, whether or not a test raises the code.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_next_call_of_every_row_goes_through() {
    let world = World::start().await;
    let mut closing = Closing::default();
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
    let stream = |query: &str| handshake_over_http(&botops, &format!("/api/v1/stream{query}"));
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
    let amount = auto(json!({"risk_management": {"daily_loss_limit": "-0.50"}}), 60.0);
    closing.closes(botops, "CFG_002", put(&amount), dry(&good)).await;
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
    // The change that holds the bot is ended, then the same request succeeds.
    let (_, problem) = answer(put(&manual(careful(4_500), 30.0))).await;
    world.end_trial(&live, "cancel").await;
    world.ended(&live).await;
    closing.closes_problem(botops, "CFG_006", &problem, dry(&manual(careful(4_500), 30.0))).await;
    let over = botops.request(Method::POST, &format!("/api/v1/config/txns/{live}/confirm")).json(&json!({}));
    closing.closes(botops, "CFG_012", over, Then::passes(txn())).await;
    let keyed = |body: &Value| put(body).header("idempotency-key", "closure-1");
    let (status, body) = answer(keyed(&good)).await;
    assert!(status < 400, "{body}");
    world.end_trial(body["txn"].as_str().unwrap(), "cancel").await;
    world.ended(body["txn"].as_str().unwrap()).await;
    let other = keyed(&manual(careful(4_100), 30.0));
    closing.closes(botops, "API_011", other, Then::passes(keyed(&good))).await;
    world.bot.script().config.violations = vec![botops_contract::ConfigViolation {
        path: "/targets/0/symbol".to_owned(),
        code: "unknown_symbol".to_owned(),
        message: "there are no prices for it".to_owned(),
        fix: None,
    }];
    let (_, problem) = answer(put(&manual(careful(4_500), 30.0))).await;
    world.bot.script().config.violations.clear();
    closing.closes_problem(botops, "CFG_003", &problem, dry(&manual(careful(4_500), 30.0))).await;
    // The audit cannot be written while its path is a folder.
    a_damaged_folder(closing, world).await;
}

/// A deleted audit, then damaged versions at a new start of botops: a person must act, and reads are answered.
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
    // The copy that would put it back.
    std::fs::write(folder.join("current.json"), b"{}").unwrap();
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
    let folder = kit::folder();
    let wait = "  - {id: wait, uses: wait.for, with: {seconds: 30}}\n";
    define(folder.path(), "holder", &holding("holder", "reject", wait));
    define(folder.path(), "hasty", &holding("hasty", "reject", ""));
    let (bot, botops) = workflows::requests::with_bot(folder.path()).await;
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

    // One run holds the bot; after it is cancelled, the same request succeeds.
    let (_, holder) = execute(&botops, "holder", json!({})).await;
    let holder = holder["run_id"].as_str().unwrap().to_owned();
    let (_, problem) = execute(&botops, "hasty", json!({})).await;
    let (_, cancelled) =
        botops.send(Method::POST, &format!("/api/v1/workflows/runs/{holder}/cancel"), &json!({})).await;
    assert!(cancelled["error_code"].is_null(), "{cancelled}");
    let view = ended(&botops, &holder, Duration::from_secs(20)).await;
    assert_eq!(view["state"], "cancelled", "{view}");
    closing.closes_told(&botops, "WFL_010", &view["error"], Then::Ends).await;
    closing.closes_problem(&botops, "WFL_004", &problem, check()).await;

    // Without a supervisor the bot cannot be started again.
    let (_, refused) = execute(&botops, "restart-bot", json!({"reason": "a test of the advice"})).await;
    closing.closes_problem(&botops, "BOT_020", &refused, Then::Ends).await;

    let reason = json!({"reason": "a test of the advice"});
    let pause = |body: &Value| post("/api/v1/control/pause", body);
    closing.closes(&botops, "BOT_022", pause(&json!({})), Then::passes(pause(&reason))).await;
    bot.script().refuse = Some(ContractRefusal {
        code: "busy".to_owned(),
        message: "not now".to_owned(),
        context: Value::Null,
    });
    let (_, refused) = answer(pause(&reason)).await;
    bot.script().refuse = None;
    closing.closes_problem(&botops, "BOT_003", &refused, Then::passes(pause(&reason))).await;
    bot.script().refuse = Some(ContractRefusal {
        code: "not_capable".to_owned(),
        message: "it cannot".to_owned(),
        context: Value::Null,
    });
    closing.closes(&botops, "BOT_004", pause(&reason), Then::Ends).await;
    bot.script().refuse = None;
    bot.script().only = "commands/pause";
    bot.behave(Behaviour::HangUp);
    let (_, silent) = answer(pause(&reason)).await;
    assert_eq!(silent["effect"], "unknown", "{silent}");
    bot.behave(Behaviour::Normal);
    closing.closes_problem(&botops, "BOT_002", &silent, Then::passes(pause(&reason))).await;
    bot.behave(Behaviour::Garbage);
    let (_, garbled) = answer(pause(&reason)).await;
    assert_eq!(garbled["effect"], "unknown", "{garbled}");
    bot.behave(Behaviour::Normal);
    closing.closes_problem(&botops, "BOT_005", &garbled, Then::passes(pause(&reason))).await;
    botops.stop().await;
}

async fn health_verbs(closing: &mut Closing) {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let at = |path: &str| format!("/api/v1/health/{path}");
    let get = |path: &str| botops.request(Method::GET, &at(path));
    let post = |path: &str, body: &Value| botops.request(Method::POST, &at(path)).json(body);
    let current = || Then::passes(get("status"));
    closing.closes(&botops, "HLT_001", get("components/nobody"), Then::passes(get("components/bot"))).await;
    let checker = |id: &str, url: &str| json!({"checker_type": "external_api", "component_id": id, "config": {"api_url": url}});
    closing
        .closes(
            &botops,
            "HLT_002",
            post("checkers", &checker("No Spaces", "https://93.184.216.34/")),
            current(),
        )
        .await;
    closing
        .closes(&botops, "HLT_003", post("checkers", &checker("inner", "http://169.254.169.254/")), current())
        .await;
    closing
        .closes(&botops, "HLT_004", post("checkers", &checker("bot", "https://93.184.216.34/")), current())
        .await;
    closing.closes(&botops, "HLT_005", botops.request(Method::DELETE, &at("checkers/bot")), current()).await;
    closing
        .closes(&botops, "HLT_007", post("alerts/none/ack", &json!({})), Then::passes(get("alerts")))
        .await;
    // A component that another one depends on cannot be removed before that one.
    let peer = health::Stub::start(health::Peer::Fine).await;
    health::add(&botops, &health::external("feed", &peer.base)).await;
    let mut child = health::external("child", &peer.base);
    child["depends_on"] = json!(["feed"]);
    health::add(&botops, &child).await;
    let remove = |id: &str| botops.request(Method::DELETE, &at(&format!("checkers/{id}")));
    let (_, problem) = answer(remove("feed")).await;
    let (status, body) = answer(remove("child")).await;
    assert!(status < 300, "{body}");
    closing.closes_problem(&botops, "HLT_006", &problem, Then::passes(remove("feed"))).await;
    let recover = post("recovery/outbox", &json!({"action": "run"}));
    closing.closes(&botops, "HLT_012", recover, Then::passes(get("recovery"))).await;
    let incident = botops.request(Method::GET, "/api/v1/incidents/inc-1");
    let list = botops.request(Method::GET, "/api/v1/incidents");
    closing.closes(&botops, "HLT_013", incident, Then::passes(list)).await;
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
    answer(post("monitoring/start", &json!({}))).await;
    closing.closes_problem(&botops, "HLT_011", &problem, Then::passes(post("check", &json!({})))).await;
    botops.stop().await;
}

/// A bot sends each failure that it can have as an event; botops serves it with the catalogue's texts added.
async fn told_by_the_bot(closing: &mut Closing) {
    let world = World::start().await;
    let rows: BTreeMap<&str, &Code> = Code::ALL.iter().map(|code| (code.row().code, code)).collect();
    // What cannot be read of its answers is told of it, and not by it.
    world.bot.change(|report| {
        report.positions.as_mut().expect("the bot reports positions").push(position(
            &"X".repeat(80),
            "1",
            "1",
            "1",
        ));
    });
    for code in TOLD_BY_THE_BOT.iter().filter(|code| **code != "BOT_006") {
        let row = rows[code].row();
        let mut script = world.bot.script();
        let seq = script.events.last().map_or(0, |event| event.seq) + 1;
        let boot_epoch = script.hello.boot_epoch.clone();
        script.events.push(BotEvent {
            kind_raw: None,
            severity_raw: None,
            seq,
            boot_epoch: boot_epoch.unwrap_or_default(),
            at: Some(Utc::now()),
            kind: EventKind::Error,
            severity: row.severity,
            message: row.title.to_owned(),
            error: Some(SemanticError {
                severity_raw: None,
                error_code: (*code).to_owned(),
                error_type: "TradingError".to_owned(),
                severity: Severity::High,
                message: row.title.to_owned(),
                cause: row.cause.to_owned(),
                impact: row.impact.to_owned(),
                remediation: row.remediation.to_owned(),
                context: Value::Null,
                timestamp: Some(Utc::now()),
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
        closing.raised.insert((*code).to_owned());
        let page = closing.page(&world.botops, code).await;
        // A failure that waiting ends is over without a call; any other class names who must act.
        let class = rows[code].row().class;
        let remediation = page["remediation"].as_str().unwrap();
        let names_who = remediation.contains("human")
            || remediation.contains("Do what")
            || remediation.contains("Free space")
            || remediation.contains("Repair")
            || remediation.contains("A person has to")
            || remediation.contains("remove the cause");
        if class == RetryClass::AskHuman && !names_who {
            closing.wrong.push(format!("{code}: asks for a person without saying so: {remediation}"));
        }
    }
}

async fn limits_and_bytes(closing: &mut Closing) {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let whoami = || Then::passes(botops.request(Method::GET, "/api/v1/whoami"));
    let alive = || Then::passes(botops.client.get(format!("{}/livez", botops.base)));
    let (malformed, long, unfinished, throttled) = tokio::join!(
        refusals::raise_by_bytes(&botops, refusals::MALFORMED_HEAD.to_vec()),
        refusals::raise_by_bytes(&botops, refusals::long_head()),
        refusals::raise_by_bytes(&botops, refusals::UNFINISHED_HEAD.to_vec()),
        refusals::raise_throttled(&botops),
    );
    closing.closes_problem(&botops, "API_019", &malformed, alive()).await;
    closing.closes_problem(&botops, "API_018", &long, alive()).await;
    closing.closes_problem(&botops, "API_008", &unfinished, alive()).await;
    // A right key is accepted all the time.
    closing.closes_problem(&botops, "AUTH_004", &throttled, whoami()).await;
    botops.stop().await;

    let botops = Running::start(folder.path(), &[("BOT_API_RATE_LIMIT", "60")]).await;
    let limited: Value = refusals::raise_rate_limited(&botops, 60).await.json().await.unwrap();
    // The given wait is for one request; the second one needs the same again.
    let wait = Duration::from_millis(limited["retry"]["after_ms"].as_u64().expect("it says how long"));
    tokio::time::sleep(wait * 2 + Duration::from_secs(1)).await;
    let whoami = Then::passes(botops.request(Method::GET, "/api/v1/whoami"));
    closing.closes_problem(&botops, "API_009", &limited, whoami).await;
    botops.stop().await;
}

async fn streams(closing: &mut Closing) {
    let folder = kit::folder();
    let settings = [("BOT_STREAM_MAX_CLIENTS", "2"), ("BOT_STREAM_INTERVAL", "100ms")];
    let botops = Running::start(folder.path(), &settings).await;
    let open = |query: &str| {
        let path = format!("/api/v1/stream{query}");
        Then::passes(handshake_over_http(&botops, &path).header("x-api-key", KEY))
    };
    let empty = || async { botops.get("/api/v1/metrics").await.1["ops"]["websocket_connections"] == 0 };
    let (problem, clients) = stream::raise_stream_full(&botops).await;
    drop(clients);
    kit::until("there is room", Duration::from_secs(30), empty).await;
    closing.closes_problem(&botops, "API_014", &problem, open("")).await;
    kit::until("there is room", Duration::from_secs(30), empty).await;
    let closed = stream::raise_too_slow(&botops).await;
    kit::until("there is room", Duration::from_secs(30), empty).await;
    let after = open(&format!("?after={}", closed["after"]));
    closing.closes_told(&botops, "API_017", &closed, after).await;
    botops.stop().await;
}

/// Sends the first half of a request, has botops begin its stop, and sends the other half: returns the answer.
async fn raise_stopping(botops: Running) -> Value {
    let address = botops.app.address();
    let body = json!({"params": {"samples": 1}}).to_string();
    let head = format!(
        "POST /api/v1/workflows/check-health/execute HTTP/1.1\r\nhost: botops\r\nx-api-key: {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    // botops asks for the body: from now on the request is one that a stop lets finish.
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    socket.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&go_on));
    let stopping = tokio::spawn(botops.stop());
    let closed = || async { TcpStream::connect(address).await.is_err() };
    kit::until("nobody else is let in", Duration::from_secs(8), closed).await;
    socket.write_all(body.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    stopping.await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a body follows the head");
    assert!(head.starts_with("HTTP/1.1 503 "), "{text}");
    serde_json::from_str(body).unwrap()
}

async fn stopping(closing: &mut Closing) {
    let folder = kit::folder();
    let problem = raise_stopping(Running::start(folder.path(), &[]).await).await;
    let botops = Running::start(folder.path(), &[]).await;
    let again = botops.request(Method::POST, "/api/v1/workflows/check-health/execute");
    let again = Then::passes(again.json(&json!({"params": {"samples": 1}})));
    closing.closes_problem(&botops, "SRV_003", &problem, again).await;
    botops.stop().await;
}

/// Handlers behind the guard that panic, or never answer, at their first request.
async fn failing_handlers(closing: &mut Closing) {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    for (code, hangs) in [("SRV_001", false), ("SRV_004", true)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let handler = move || {
            let fails = asked.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if fails && hangs {
                    pending::<()>().await;
                }
                assert!(!fails, "a defect");
                "fine"
            }
        };
        let router = axum::Router::new().route("/bad", axum::routing::get(handler));
        let guarded = Guarded::serve(guard_around(router).with_deadline(Duration::from_millis(500)));
        closing.closes(&botops, code, guarded.request(), Then::passes(guarded.request())).await;
    }
    botops.stop().await;
}

async fn trials(closing: &mut Closing) {
    let mut world = World::start().await;
    let dry = |world: &World, etag: &str, body: &Value| {
        let request = world.botops.request(Method::PUT, "/api/v1/config/apply?dry_run=true");
        Then::passes(request.header("if-match", etag).json(body))
    };
    let etag = world.etag().await;
    let longer = manual(careful(4_000), 30.0);
    let problem = configs::trial::raise_confirmed_too_late(&world).await;
    world.ended(problem["context"]["txn"].as_str().unwrap()).await;
    closing.closes_problem(&world.botops, "CFG_007", &problem, dry(&world, &etag, &longer)).await;
    let told = listed(&world.botops, "CFG_021").await;
    assert_eq!(told["context"]["txn"], problem["context"]["txn"], "{told:#}");
    closing.closes_told(&world.botops, "CFG_021", &told, dry(&world, &etag, &longer)).await;

    let problem = configs::trial::raise_activation_unanswered(&world).await;
    world.ended(problem["context"]["txn"].as_str().unwrap()).await;
    world.bot.behave(Behaviour::Normal);
    closing.closes_problem(&world.botops, "CFG_017", &problem, dry(&world, &etag, &longer)).await;

    let problem = configs::crashed_documents::raise_bot_died_over_it(&mut world).await;
    let mut again = manual(careful(4_000), 60.0);
    again["acknowledge"] = problem["context"]["acknowledge"].clone();
    let again = Then::passes(world.apply(&again, &world.etag().await));
    closing.closes_problem(&world.botops, "CFG_019", &problem, again).await;
    world.botops.stop().await;
}

/// The newest failure of this code in the list of failures.
async fn listed(botops: &Running, code: &str) -> Value {
    let found = async || {
        let (_, page) = botops.get("/api/v1/errors?limit=100").await;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().find(|item| item["error_code"] == code)
    };
    kit::until(&format!("{code} is listed"), Duration::from_secs(30), async || found().await.is_some()).await;
    found().await.unwrap()
}

/// The bot comes back with something that is no schema.
async fn brought_configs(closing: &mut Closing) {
    let mut world = World::start().await;
    world.bot.script().raw.insert("config/schema", std::sync::Arc::new(|| "[]".to_owned()));
    world.bot.restart();
    let told = || async { world.config().await["schema"]["fault"].is_object() };
    kit::until("the fault is told", Duration::from_secs(20), told).await;
    let schema = world.botops.request(Method::GET, "/api/v1/config/schema");
    closing.closes(&world.botops, "CFG_023", schema, Then::Ends).await;
    world.botops.stop().await;
}

async fn lost_pauses(closing: &mut Closing) {
    let mut world = World::start().await;
    let told = operators_commands::raise_pause_lost(&world.botops, &mut world.bot).await;
    closing.closes_told(&world.botops, "BOT_023", &told, Then::Ends).await;
    world.botops.stop().await;
}

async fn foreign_configs(closing: &mut Closing) {
    let (world, _) = configs::unproven_answers::raise_refusal_to_go_back().await;
    for code in ["CFG_022", "CFG_020"] {
        let told = listed(&world.botops, code).await;
        closing.closes_told(&world.botops, code, &told, Then::Ends).await;
    }
    world.botops.stop().await;
}

async fn changed_audit(closing: &mut Closing) {
    let (world, problem) = configs::audit_tampering::raise_audit_changed().await;
    closing.closes_problem(&world.botops, "CFG_015", &problem, Then::Ends).await;
    world.botops.stop().await;
}

/// A botops in its own process whose disk gets full and then has room again.
async fn unwritable_store(closing: &mut Closing) {
    let pair = configs::kills::Pair::start().await;
    let problem = configs::disk_faults::raise_unwritable(&pair, "store.commit", "ENOSPC", 9_000).await;
    let ready = || async { answer(Served::request(&pair, Method::GET, "/readyz")).await.0 == 200 };
    kit::until("it is ready again", Duration::from_secs(30), ready).await;
    closing.closes_problem(&pair, "SRV_002", &problem, Then::Ends).await;
    let (status, txn) = pair.apply(9_000, "with room again", 30.0).await.unwrap();
    assert_eq!(status, 202, "{txn}");
}

/// Waits for the end of a workflow's newest run.
async fn newest_ended(botops: &Running, id: &str) -> Value {
    let (_, newest) = botops.get(&format!("/api/v1/workflows/{id}/status")).await;
    ended(botops, newest["run_id"].as_str().unwrap(), Duration::from_secs(30)).await
}

async fn runs(closing: &mut Closing) {
    let folder = kit::folder();
    let wait = "  - {id: wait, uses: wait.for, with: {seconds: 30}}\n";
    define(folder.path(), "holder", &holding("holder", "reject", wait));
    define(folder.path(), "patient", &holding("patient", "queue", ""));
    let (bot, botops) = workflows::requests::with_bot(folder.path()).await;
    let execution = |id: &str| {
        let request = botops.request(Method::POST, &format!("/api/v1/workflows/{id}/execute"));
        Then::passes(request.json(&json!({"params": {}})))
    };

    let (_, holder) = execute(&botops, "holder", json!({})).await;
    let (mut all, problem) = workflows::requests::raise_queue_full(&botops).await;
    all.push(holder["run_id"].as_str().unwrap().to_owned());
    for run in &all {
        let path = format!("/api/v1/workflows/runs/{run}/cancel");
        let (status, body) = botops.send(Method::POST, &path, &json!({})).await;
        assert_eq!(status, 202, "{body}");
        ended(&botops, run, Duration::from_secs(30)).await;
    }
    closing.closes_problem(&botops, "WFL_005", &problem, execution("patient")).await;
    newest_ended(&botops, "patient").await;

    let problem = workflows::requests::raise_past_pivot(folder.path(), &bot, &botops).await;
    bot.behave(Behaviour::Normal);
    assert_eq!(newest_ended(&botops, "onward").await["state"], "succeeded");
    closing.closes_problem(&botops, "WFL_007", &problem, execution("onward")).await;
    newest_ended(&botops, "onward").await;

    let view = workflows::requests::raise_step_failed(folder.path(), &botops).await;
    define(folder.path(), "fails", &holding("fails", "reject", ""));
    closing.closes_told(&botops, "WFL_008", &view["error"], execution("fails")).await;
    botops.stop().await;
}

/// A bot that cannot start prints it on its terminal. A bot that botops cannot start is reported by the run that
/// restarts it: `BOT_021` is the error of the run's step, `WFL_009` that of the run.
async fn bots_that_do_not_start(closing: &mut Closing) {
    let (said, mut pair) =
        tokio::join!(session::bot::raise_cannot_start(), workflows::restart_drivers::driven_by_a_command());
    let view = workflows::restart_drivers::raise_bot_not_started(&mut pair).await;
    assert_eq!(view["state"], "needs_attention", "{view}");
    closing.closes_told(&pair, "BOT_011", &said, Then::Ends).await;
    closing.closes_told(&pair, "BOT_021", step_error(&view, "restart"), Then::Ends).await;
    closing.closes_told(&pair, "WFL_009", &view["error"], Then::Ends).await;
}

/// The error of a run's step.
fn step_error<'a>(view: &'a Value, step: &str) -> &'a Value {
    let steps = view["steps"].as_array().expect("a run has steps");
    &steps.iter().find(|one| one["step"] == step).expect("the run has this step")["error"]
}
