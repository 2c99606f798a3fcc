//! Idempotency keys: one mechanism for every change, over REST and MCP, that holds over a kill.

use std::time::Duration;

use botops_contract::BotPhase;
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::app::{Running, answer};
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, position, refusal, report};
use crate::kit::{folder, until};
use crate::workflows::pair::Pair;

const SOON: Duration = Duration::from_secs(40);

async fn with_bot(folder: &std::path::Path) -> (ScriptedBot, Running) {
    let mut state = report();
    state.positions = Some(vec![position("SPY", "10", "400", "410")]);
    let bot = ScriptedBot::at(&folder.join("bot.sock"), state);
    let running = Running::start(folder, &[("BOT_ID", bot.id().as_str())]).await;
    let seen = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("the bot is seen", SOON, seen).await;
    (bot, running)
}

async fn change(running: &Running, method: Method, path: &str, key: &str, body: &Value) -> (u16, Value) {
    answer(running.request(method, path).header("idempotency-key", key).json(body)).await
}

async fn post(running: &Running, path: &str, key: &str, body: &Value) -> (u16, Value) {
    change(running, Method::POST, path, key, body).await
}

async fn call_tool(running: &Running, name: &str, arguments: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}});
    let request =
        running.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream");
    answer(request.json(&body)).await.1["result"].clone()
}

/// The same body each time: a silence may last for some days at most.
fn silence(component: &str) -> Value {
    static ENDS_AT: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| (chrono::Utc::now() + chrono::Duration::hours(2)).to_rfc3339());
    json!({"matchers": [{"name": "component", "value": component}], "comment": "a test of keys",
        "ends_at": *ENDS_AT})
}

const PAUSE: &str = "/api/v1/control/pause";
const SILENCES: &str = "/api/v1/health/silences";
const MAINTENANCE: &str = "/api/v1/health/maintenance";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_acts_once_also_when_the_bot_has_forgotten_the_command() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    let why = json!({"reason": "a test of keys"});
    let (status, first) = post(&running, PAUSE, "first", &why).await;
    assert_eq!(
        (status, &first["replayed"], &first["key_kept"]),
        (200, &json!(false), &json!(true)),
        "{first:#}"
    );
    let (status, resumed) = post(&running, "/api/v1/control/resume", "second", &why).await;
    assert_eq!(status, 200, "{resumed:#}");
    bot.script().forget_commands();
    let (status, again) = post(&running, PAUSE, "first", &why).await;
    assert_eq!((status, &again["replayed"], &again["at"]), (200, &json!(true), &first["at"]), "{again:#}");
    assert_eq!(bot.count("POST", "commands/pause"), 1);
    assert_ne!(bot.script().report.phase, BotPhase::Paused, "the first command acted a second time");
    // The same over the other way in, and another body or operation is refused there too.
    let arguments = |reason: &str| json!({"verb": "pause", "reason": reason, "idempotency_key": "first"});
    let over_mcp = call_tool(&running, "control_bot", arguments("a test of keys")).await;
    assert_eq!(over_mcp["structuredContent"]["replayed"], true, "{over_mcp:#}");
    let refused = call_tool(&running, "control_bot", arguments("another reason")).await;
    assert_eq!(refused["structuredContent"]["error_code"], "API_011", "{refused:#}");
    assert_eq!(bot.count("POST", "commands/pause"), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_body_or_another_change_under_a_key_is_refused() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    let why = json!({"reason": "a test of keys"});
    assert_eq!(post(&running, PAUSE, "k", &why).await.0, 200);
    let others = [
        (PAUSE, json!({"reason": "another reason"})),
        ("/api/v1/control/flatten", why.clone()),
        (SILENCES, silence("bot")),
    ];
    for (path, body) in others {
        let (status, problem) = post(&running, path, "k", &body).await;
        assert_eq!(
            (status, &problem["error_code"], &problem["effect"]),
            (422, &json!("API_011"), &json!("none")),
            "{path}: {problem:#}"
        );
    }
    assert_eq!(bot.journal().iter().filter(|asked| asked.method == "POST").count(), 1);
    // Members in another order are the same body, and what only asks uses no key.
    assert_eq!(post(&running, "/api/v1/control/cancel-orders?dry_run=true", "k", &why).await.0, 200);
    let (status, refused) = post(&running, PAUSE, "unused", &json!({"reason": "no"})).await;
    assert_eq!((status, &refused["effect"]), (422, &json!("none")), "{refused:#}");
    assert_eq!(post(&running, PAUSE, "unused", &why).await.0, 200, "what did nothing has not used its key");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silences_and_maintenance_windows_are_made_once_under_a_key() {
    let folder = folder();
    let (_bot, running) = with_bot(folder.path()).await;
    let window = json!({"components": ["bot"], "zone": "UTC", "start": "02:00", "duration_minutes": 30, "comment": "a test of keys"});
    for (path, body) in [(SILENCES, silence("bot")), (MAINTENANCE, window)] {
        let (status, first) = post(&running, path, path, &body).await;
        assert_eq!(status, 201, "{first:#}");
        let (status, again) = post(&running, path, path, &body).await;
        assert_eq!((status, &again), (201, &first));
        let (_, list) = running.get(path).await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list:#}");
    }
    // A tool that reckons a time from the present stands for its arguments.
    let arguments = json!({"verb": "silence", "component": "store", "minutes": 5, "reason": "a test of keys", "idempotency_key": "m"});
    let first = call_tool(&running, "control_bot", arguments.clone()).await;
    let again = call_tool(&running, "control_bot", arguments).await;
    assert_eq!(first["isError"], false, "{first:#}");
    assert_eq!(first["structuredContent"], again["structuredContent"]);
    running.stop().await;
}

/// Every change of the API document, by method and path with its parameters filled. A `POST` that needs only the scope
/// `read` asks something and changes nothing; MCP has the key among the arguments of its tools.
fn changes_of_the_document() -> Vec<(Method, String, Value)> {
    let document = botops::routes::document();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let reads = method == "get" || operation["x-scope"] == "read";
            if !reads {
                let filled = path.split('/').map(|part| if part.starts_with('{') { "some" } else { part });
                let method = method.to_uppercase().parse().unwrap();
                found.push((method, filled.collect::<Vec<_>>().join("/"), operation.clone()));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_the_document_honours_the_header() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    assert_eq!(post(&running, SILENCES, "used", &silence("bot")).await.0, 201);
    let changes = changes_of_the_document();
    assert!(changes.len() > 30, "{}", changes.len());
    for (method, path, operation) in changes {
        let named = operation["parameters"].as_array().into_iter().flatten();
        assert_eq!(
            named.filter(|one| one["name"] == "Idempotency-Key").count(),
            1,
            "{method} {path} documents it"
        );
        let (status, problem) = change(&running, method.clone(), &path, "used", &json!({})).await;
        assert_eq!(
            (status, &problem["error_code"]),
            (422, &json!("API_011")),
            "{method} {path}: {problem:#}"
        );
        let too_long = "k".repeat(129);
        let (status, problem) = change(&running, method.clone(), &path, &too_long, &json!({})).await;
        assert_eq!(
            (status, &problem["error_code"]),
            (400, &json!("API_007")),
            "{method} {path}: {problem:#}"
        );
    }
    assert_eq!(bot.journal().iter().filter(|asked| asked.method == "POST").count(), 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_at_once_waits_for_the_first_and_gets_its_answer() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    bot.script().only = "commands/pause";
    bot.behave(Behaviour::Hold);
    let why = json!({"reason": "a test of keys"});
    let both =
        async { tokio::join!(post(&running, PAUSE, "both", &why), post(&running, PAUSE, "both", &why)) };
    let release = async {
        until("the bot has it", SOON, || async { bot.count("POST", "commands/pause") > 0 }).await;
        bot.behave(Behaviour::Normal);
    };
    let ((one, other), ()) = tokio::join!(both, release);
    assert_eq!((one.0, other.0), (200, 200), "{one:?} {other:?}");
    assert_eq!(bot.count("POST", "commands/pause"), 1);
    let replayed = [&one.1["replayed"], &other.1["replayed"]];
    assert!(replayed.contains(&&json!(true)) && replayed.contains(&&json!(false)), "{replayed:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_on_without_its_client_and_its_key_tells_how_it_ended() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    bot.script().only = "commands/pause";
    bot.behave(Behaviour::Hold);
    let why = json!({"reason": "a test of keys"});
    let request = running.request(Method::POST, PAUSE).header("idempotency-key", "gone").json(&why);
    let sent = tokio::spawn(request.send());
    until("the bot has it", SOON, || async { bot.count("POST", "commands/pause") > 0 }).await;
    sent.abort();
    assert!(sent.await.unwrap_err().is_cancelled());
    // There is no sign by which to wait until botops has noticed that the connection is gone.
    tokio::time::sleep(Duration::from_millis(300)).await;
    bot.behave(Behaviour::Normal);
    let events = || async {
        let (_, page) = running.get("/api/v1/events?kind=control&after=0&limit=50").await;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().filter(|event| event["data"]["command_id"] == "gone").collect::<Vec<_>>()
    };
    until("the record is complete", SOON, || async { !events().await.is_empty() }).await;
    let outcomes: Vec<Value> = events().await.iter().map(|event| event["data"]["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("done")], "the handler went on and its answer is the record");
    let (status, view) = post(&running, PAUSE, "gone", &why).await;
    assert_eq!((status, &view["replayed"]), (200, &json!(true)), "{view:#}");
    assert_eq!(bot.count("POST", "commands/pause"), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_unknown_effect_is_not_given_to_a_later_start_of_the_bot() {
    let folder = folder();
    let (mut bot, running) = with_bot(folder.path()).await;
    bot.script().refuse = Some(refusal("no_answer", "it may still act"));
    bot.script().refuse_status = axum::http::StatusCode::GATEWAY_TIMEOUT;
    bot.script().act_anyway = true;
    let why = json!({"reason": "a test of keys"});
    let flatten = "/api/v1/control/flatten";
    assert_eq!(post(&running, flatten, "once", &why).await.1["effect"], "unknown");
    // The same start of the bot knows the id.
    bot.script().refuse = None;
    let (status, again) = post(&running, flatten, "once", &why).await;
    assert_eq!((status, &again["replayed"]), (200, &json!(true)), "{again:#}");
    bot.script().refuse = Some(refusal("no_answer", "it may still act"));
    assert_eq!(post(&running, flatten, "lost", &why).await.1["effect"], "unknown");
    bot.script().refuse = None;
    bot.restart();
    let other = || async {
        running.get("/api/v1/state").await.1["bot"]["boot_epoch"]
            == bot.script().hello.boot_epoch.clone().unwrap()
    };
    until("the new start is seen", SOON, other).await;
    let before = bot.count("POST", "commands/flatten");
    let (status, problem) = post(&running, flatten, "lost", &why).await;
    assert_eq!((status, &problem["effect"]), (504, &json!("unknown")), "{problem:#}");
    assert_eq!(bot.count("POST", "commands/flatten"), before, "it would act a second time");
    running.stop().await;
}

/// What the journal says of calls of tools, in order.
async fn told_of_tools(running: &Running) -> Vec<(Value, Value)> {
    let (_, page) = running.get("/api/v1/events?kind=control&after=0&limit=200").await;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let of_tools = items.iter().filter(|event| event["data"]["tool"].is_string());
    of_tools.map(|event| (event["data"]["outcome"].clone(), event["data"]["effect"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_says_of_a_tool_no_more_than_is_proven() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    let pause = json!({"verb": "pause", "reason": "a test of keys", "idempotency_key": "p"});
    for _ in 0..2 {
        assert_eq!(call_tool(&running, "control_bot", pause.clone()).await["isError"], false);
    }
    call_tool(&running, "run_workflow", json!({"workflow_id": "check-health", "params": {"samples": 1}}))
        .await;
    bot.script().refuse = Some(refusal("no_answer", "it may still act"));
    bot.script().refuse_status = axum::http::StatusCode::GATEWAY_TIMEOUT;
    let resume = json!({"verb": "resume", "reason": "a test of keys"});
    assert_eq!(
        call_tool(&running, "control_bot", resume.clone()).await["structuredContent"]["effect"],
        "unknown"
    );
    bot.script().refuse = Some(refusal("session_halted", "not now"));
    bot.script().refuse_status = axum::http::StatusCode::CONFLICT;
    assert_eq!(call_tool(&running, "control_bot", resume).await["structuredContent"]["effect"], "none");
    let told = told_of_tools(&running).await;
    let expected = [
        ("done", None),
        ("replayed", None),
        ("begun", None),
        ("unknown", Some("unknown")),
        ("BOT_003", Some("none")),
    ];
    let expected: Vec<_> = expected.iter().map(|(outcome, effect)| (json!(outcome), json!(effect))).collect();
    assert_eq!(told, expected);
    running.stop().await;
}

/// What a repetition after a kill at this point answers.
async fn after_a_kill_at(point: &str) -> (Pair, u16, Value) {
    let mut pair = Pair::start().await;
    pair.serve(Some(point)).await;
    pair.connected().await;
    let request = |pair: &Pair| {
        pair.request(Method::POST, SILENCES).header("idempotency-key", "killed").json(&silence("bot"))
    };
    assert!(request(&pair).send().await.is_err(), "it kills itself at {point}");
    pair.died();
    pair.serve(None).await;
    let (status, told) = answer(request(&pair)).await;
    (pair, status, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_a_key_that_was_begun_says_unknown_and_never_acts_again() {
    let (pair, status, told) = after_a_kill_at("change.performed").await;
    assert_eq!((status, &told["effect"]), (504, &json!("unknown")), "{told:#}");
    let cause = told["cause"].as_str().unwrap();
    assert!(cause.contains("killed") && cause.contains("POST"), "{cause}");
    assert_eq!(pair.get(SILENCES).await["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_a_key_that_was_answered_replays_its_answer() {
    let (pair, status, told) = after_a_kill_at("change.answered").await;
    assert_eq!(status, 201, "{told:#}");
    let list = pair.get(SILENCES).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list:#}");
    assert_eq!(list["items"][0]["id"], told["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_acts_on_a_full_disk_and_says_that_its_key_could_not_be_kept() {
    let mut pair = Pair::start().await;
    let faults = pair.fail_writes();
    pair.serve(None).await;
    pair.connected().await;
    std::fs::write(faults.join("store.commit"), "").unwrap();
    let why = json!({"reason": "a test of keys"});
    let request = |path: &str, body: &Value| {
        pair.request(Method::POST, path).header("idempotency-key", path).json(body)
    };
    let (status, view) = answer(request(PAUSE, &why)).await;
    assert_eq!(
        (status, &view["outcome"], &view["key_kept"]),
        (200, &json!("done"), &json!(false)),
        "{view:#}"
    );
    pair.bot.until("it is paused", |report| report.phase == BotPhase::Paused).await;
    // While this botops runs it knows the key all the same.
    let (status, again) = answer(request(PAUSE, &why)).await;
    assert_eq!((status, &again["replayed"]), (200, &json!(true)), "{again:#}");
    // What has to be recorded is refused before it does anything.
    let (status, refused) = answer(request(SILENCES, &silence("bot"))).await;
    assert_eq!(
        (status, &refused["error_code"], &refused["effect"]),
        (503, &json!("SRV_002"), &json!("none")),
        "{refused:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_begun_is_not_said_to_be_refused_when_it_cannot_be_read() {
    let mut pair = Pair::start().await;
    let faults = pair.fail_writes();
    pair.serve(None).await;
    pair.connected().await;
    std::fs::write(faults.join("store.read"), "").unwrap();
    let request = || {
        let path = "/api/v1/workflows/check-health/execute";
        pair.request(Method::POST, path)
            .header("idempotency-key", "run")
            .json(&json!({"params": {"samples": 1}}))
    };
    let (status, problem) = answer(request()).await;
    assert_eq!((status, &problem["effect"]), (503, &json!("applied")), "{problem:#}");
    std::fs::remove_file(faults.join("store.read")).unwrap();
    let (status, run) = answer(request()).await;
    assert_eq!((status, &run["replayed"]), (202, &json!(true)), "{run:#}");
    assert_eq!(run["run_id"], problem["context"]["run_id"]);
    let path = format!("/api/v1/workflows/runs/{}", run["run_id"].as_str().unwrap());
    until("it ran all the same", SOON, || async { pair.get(&path).await["state"] == "succeeded" }).await;
}
