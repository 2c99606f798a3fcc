//! Control verbs: predicted by a dry run, carried out once per key, recorded durably.

use botops_contract::Verb;
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::ReportParts as _;
use crate::kit::app::{Running, answer};
use crate::kit::folder;
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, position, refusal, report};

async fn with_bot(folder: &std::path::Path) -> (ScriptedBot, Running) {
    let mut state = report();
    state.positions = Some(vec![position("SPY", "10", "400", "410")]);
    let bot = ScriptedBot::at(&folder.join("bot.sock"), state);
    let id = bot.id().to_string();
    let running = Running::start(folder, &[("BOT_ID", &id)]).await;
    let seen = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    crate::kit::until("the bot is seen", std::time::Duration::from_secs(20), seen).await;
    (bot, running)
}

async fn give(running: &Running, verb: &str, key: Option<&str>) -> (u16, Value) {
    let mut request = running.request(Method::POST, &format!("/api/v1/control/{verb}"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    answer(request.json(&json!({"reason": "a test of the verbs"}))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_of_the_contract_has_a_path_and_reaches_the_bot() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    for verb in Verb::ALL {
        let (status, view) = give(&running, verb.as_str(), None).await;
        assert_eq!(status, 200, "{verb}: {view}");
        assert_eq!((view["verb"].as_str(), view["outcome"].as_str()), (Some(verb.as_str()), Some("done")));
        assert_eq!(view["reason"], "a test of the verbs");
        assert_eq!(bot.count("POST", &format!("commands/{verb}")), 1);
    }
    let (status, view) = give(&running, "buy", None).await;
    assert_eq!(
        (status, view["error_code"].as_str()),
        (404, Some("API_001")),
        "there is no verb that opens a position"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_effect_and_does_nothing() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    let request =
        running.request(Method::POST, "/api/v1/control/flatten?dry_run=true").header("idempotency-key", "k");
    let (status, view) = answer(request.json(&json!({"reason": "what would happen"}))).await;
    assert_eq!(status, 200, "{view}");
    assert_eq!((view["outcome"].as_str(), view["dry_run"].as_bool()), (Some("predicted"), Some(true)));
    assert_eq!(view["exposure"]["positions_closing"], json!(["SPY"]));
    assert_eq!(bot.script().report.position_list().len(), 1, "nothing was closed");
    let (_, page) = running.get("/api/v1/events?kind=control&limit=1").await;
    let told = page["items"][0]["message"].as_str().unwrap();
    assert!(told.contains("dry run, nothing was done") && !told.contains("told the bot"), "{told}");
    // The dry run did not use the key.
    let (_, view) = give(&running, "flatten", Some("k")).await;
    assert_eq!((view["outcome"].as_str(), view["replayed"].as_bool()), (Some("done"), Some(false)), "{view}");
    assert!(bot.script().report.holds_nothing());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_acts_once_and_repeats_what_happened() {
    let folder = folder();
    let (_bot, running) = with_bot(folder.path()).await;
    let (_, first) = give(&running, "pause", Some("once")).await;
    let (_, again) = give(&running, "pause", Some("once")).await;
    assert_eq!((first["replayed"].as_bool(), again["replayed"].as_bool()), (Some(false), Some(true)));
    assert_eq!((&first["exposure"], &first["at"]), (&again["exposure"], &again["at"]));
    assert_eq!(first["command_id"], "once");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_a_reason_is_refused() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    for body in [json!({}), json!({"reason": " no "}), json!({"reason": "x".repeat(501)})] {
        let (status, view) = running.send(Method::POST, "/api/v1/control/pause", &body).await;
        assert_eq!((status, view["error_code"].as_str()), (422, Some("BOT_022")), "{view}");
    }
    // One rule for every reason, with one text.
    let expected = |view: &Value| view["errors"][0]["expected"].clone();
    let (_, refused) = running.send(Method::POST, "/api/v1/control/pause", &json!({"reason": " no "})).await;
    let change = json!({"reason": " no ", "merge_patch": {}});
    let (status, of_config) = running.send(Method::PUT, "/api/v1/config/apply", &change).await;
    assert_eq!((status, expected(&of_config)), (400, expected(&refused)), "{of_config:#}");
    let body = json!({"reason": "symbols are not for pause", "symbols": ["SPY"]});
    let (status, _) = running.send(Method::POST, "/api/v1/control/pause", &body).await;
    assert_eq!(status, 400);
    let too_long = "é".repeat(65);
    for symbol in ["", " SPY", "S\nPY", &too_long] {
        let body = json!({"reason": "only these, if you please", "symbols": [symbol]});
        let (status, _) = running.send(Method::POST, "/api/v1/control/cancel-orders", &body).await;
        assert_eq!(status, 400, "{symbol:?}");
    }
    assert_eq!(bot.journal().iter().filter(|asked| asked.method == "POST").count(), 0);
    let (status, view) = running.send(Method::POST, "/api/v1/control/pause", &json!({"reason": "eod"})).await;
    assert_eq!((status, view["reason"].as_str()), (200, Some("eod")), "{view:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_recorded_with_who_and_why_the_failed_ones_too() {
    let folder = folder();
    let (mut bot, running) = with_bot(folder.path()).await;
    give(&running, "pause", None).await;
    bot.script().refuse = Some(refusal("breaker_closed", "there is nothing to reset"));
    let (status, view) = give(&running, "reset-breaker", None).await;
    assert_eq!((status, view["error_code"].as_str()), (409, Some("BOT_003")), "{view}");
    assert_eq!(view["context"]["reason_code"], "breaker_closed");
    bot.behave(Behaviour::Normal);
    bot.die();
    let (status, view) = give(&running, "resume", None).await;
    assert_eq!((status, view["error_code"].as_str()), (503, Some("BOT_001")), "{view}");
    let (_, page) = running.get("/api/v1/events?kind=control&after=0&limit=50").await;
    let told: Vec<(&str, &str)> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["data"]["verb"].as_str().unwrap(), event["data"]["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("pause", "done"), ("reset-breaker", "failed"), ("resume", "failed")]);
    let first = &page["items"][0]["data"];
    assert_eq!(first["reason"], "a test of the verbs");
    assert!(first["actor"].as_str().is_some() && first["request_id"].as_str().is_some());
    running.stop().await;
}

/// The bot keeps its first answer under an id: `team/a` with the key `1` and `team` with the key `a/1` are two callers.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_different_callers_never_meet_in_one_command() {
    use sha2::Digest;
    let folder = folder();
    let file = folder.path().join("keys.json");
    let record = |id: &str| {
        let sha256 = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(id.as_bytes()));
        json!({"id": id, "sha256": sha256, "scopes": ["operate"]})
    };
    std::fs::write(
        &file,
        json!({"keys": [record("team"), record("team/a"), record("team%2Fa")]}).to_string(),
    )
    .unwrap();
    let bot = ScriptedBot::at(&folder.path().join("bot.sock"), report());
    let id = bot.id().to_string();
    let settings = [("BOT_ID", id.as_str()), ("BOT_API_KEYS_FILE", file.to_str().unwrap())];
    let running = Running::start(folder.path(), &settings).await;
    let seen = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    crate::kit::until("the bot is seen", std::time::Duration::from_secs(20), seen).await;
    for (key, idempotency_key) in [("team", "a/1"), ("team/a", "1"), ("team%2Fa", "1")] {
        let request = running.client.post(format!("{}/api/v1/control/pause", running.base));
        let request = request.header("x-api-key", key).header("idempotency-key", idempotency_key);
        let (status, view) = answer(request.json(&json!({"reason": "two callers, one id"}))).await;
        assert_eq!((status, &view["replayed"]), (200, &json!(false)), "{key}: {view:#}");
    }
    running.stop().await;
}
