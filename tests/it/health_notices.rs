//! Who was told of an alert, who was not and why, and silences that say what they hold back.

use reqwest::Method;
use serde_json::{Value, json};

use crate::health::{LIMIT, Peer, Stub, add, beside, component_is, external, get};
use crate::kit;
use crate::kit::app::Running;
use crate::kit::scripted_bot::ScriptedBot;
use crate::refusals::assert_problem;

async fn alert(botops: &Running) -> Value {
    get(botops, "/api/v1/health/alerts?component_id=feed").await["items"][0].clone()
}

fn state_at<'a>(alert: &'a Value, receiver: &str) -> &'a str {
    let notices = alert["notices"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = notices.iter().find(|notice| notice["receiver"] == receiver && notice["notice"] == "firing");
    of.and_then(|notice| notice["state"].as_str()).unwrap_or("none")
}

fn receiver<'a>(list: &'a Value, name: &str) -> &'a Value {
    let all = list.as_array().expect("a list of receivers");
    all.iter().find(|one| one["receiver"] == name).expect("the receiver is listed")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_receiver_that_took_the_notice_counts_as_notified() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let (hook, peer) = (Stub::start(Peer::Status(400)).await, Stub::start(Peer::Status(500)).await);
    let url = format!("{}/hook", hook.base);
    let settings = [("BOT_ALERT_WEBHOOK_URL", url.as_str()), ("BOT_CHECK_ALLOW", "127.0.0.1")];
    let botops = beside(&bot, &folder, &settings).await;
    add(&botops, &external("feed", &peer.base)).await;
    kit::until("the file was told and the webhook refused", LIMIT, || async {
        let alert = alert(&botops).await;
        let told = alert["notified"].as_array().cloned().unwrap_or_default();
        assert!(!told.contains(&json!("webhook")), "nothing reached the webhook: {alert:#}");
        told == [json!("jsonl")] && state_at(&alert, "webhook") == "failed"
    })
    .await;
    assert_eq!(state_at(&alert(&botops).await, "jsonl"), "delivered");
    for (path, member) in [("alerts", "receivers"), ("monitoring/status", "receiver_states")] {
        let body = get(&botops, &format!("/api/v1/health/{path}")).await;
        let webhook = receiver(&body[member], "webhook");
        assert_eq!(webhook["state"], "failing", "{path}: {webhook:#}");
        assert!(webhook["last_failure"]["answered"].as_str().unwrap().contains("400"), "{path}: {webhook:#}");
        assert!(webhook["last_failure"]["at"].is_string() && webhook["waiting"] != json!(0), "{webhook:#}");
        assert_eq!(receiver(&body[member], "jsonl")["state"], "ok", "{path}");
    }
    botops.stop().await;

    // What is known of the notices outlives botops, and so does the queue.
    let botops = beside(&bot, &folder, &settings).await;
    let shown = alert(&botops).await;
    assert_eq!(shown["notified"], json!(["jsonl"]), "{shown:#}");
    hook.set(Peer::Fine);
    kit::until("the webhook is told", LIMIT, || async {
        alert(&botops).await["notified"] == json!(["jsonl", "webhook"])
    })
    .await;
    let states = get(&botops, "/api/v1/health/monitoring/status").await["receiver_states"].clone();
    assert!(receiver(&states, "webhook")["last_delivered_at"].is_string(), "{states:#}");
    botops.stop().await;
}

/// It may have sent the message on before it fell silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_answer_is_not_said_to_have_taken_nothing() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let (hook, peer) = (Stub::start(Peer::Hangs).await, Stub::start(Peer::Status(500)).await);
    let url = format!("{}/hook", hook.base);
    let settings = [("BOT_ALERT_WEBHOOK_URL", url.as_str()), ("BOT_CHECK_ALLOW", "127.0.0.1")];
    let botops = beside(&bot, &folder, &settings).await;
    add(&botops, &external("feed", &peer.base)).await;
    let webhook = || async {
        let states = get(&botops, "/api/v1/health/alerts").await["receivers"].clone();
        receiver(&states, "webhook").clone()
    };
    kit::until("the try is over", LIMIT, || async { webhook().await["state"] == "failing" }).await;
    let said = webhook().await["last_failure"]["answered"].as_str().unwrap().to_owned();
    assert!(said.contains("whether it took the message is not known"), "{said}");
    // The same key again lets it leave out what it had.
    hook.set(Peer::Fine);
    kit::until("it is told", LIMIT, || async { webhook().await["state"] == "ok" }).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_that_is_away_is_shown_among_the_receivers() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let (manager, peer) = (Stub::start(Peer::Status(502)).await, Stub::start(Peer::Status(500)).await);
    let settings = [("BOT_ALERTMANAGER_URL", manager.base.as_str()), ("BOT_CHECK_ALLOW", "127.0.0.1")];
    let botops = beside(&bot, &folder, &settings).await;
    add(&botops, &external("feed", &peer.base)).await;
    let states = || async {
        let states = get(&botops, "/api/v1/health/alerts").await["receivers"].clone();
        receiver(&states, "alertmanager").clone()
    };
    kit::until("it is told of", LIMIT, || async { states().await["state"] == "failing" }).await;
    let told = states().await;
    assert!(told["last_failure"]["answered"].as_str().unwrap().contains("502"), "{told:#}");
    manager.set(Peer::Fine);
    kit::until("it takes them", LIMIT, || async { states().await["state"] == "ok" }).await;
    botops.stop().await;
}

fn silence(matchers: Value) -> Value {
    let ends_at = chrono::Utc::now() + chrono::Duration::hours(1);
    json!({"matchers": matchers, "comment": "a known trouble", "ends_at": ends_at})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_names_known_labels_and_severities_and_says_what_it_matches() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let peer = Stub::start(Peer::Status(500)).await;
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    add(&botops, &external("feed", &peer.base)).await;
    component_is(&botops, "feed", "CRITICAL").await;
    kit::until("its alert fires", LIMIT, || async { alert(&botops).await["state"] == "firing" }).await;
    let path = "/api/v1/health/silences";
    for (matcher, pointer, known) in [
        (json!({"name": "component_id", "op": "!=", "value": "feed"}), "/matchers/0/name", "component_type"),
        (json!({"name": "component_id", "value": "feed"}), "/matchers/0/name", "alertname"),
        (json!({"name": "Component", "value": "feed"}), "/matchers/0/name", "component"),
        (json!({"name": "severity", "value": "warning"}), "/matchers/0/value", "medium"),
        (json!({"name": "severity", "op": "!=", "value": "CRITICAL"}), "/matchers/0/value", "critical"),
        (json!({"name": "severity", "op": "=~", "value": "warn.*"}), "/matchers/0/value", "high"),
        (json!({"name": "alertname", "value": "ComponentDown"}), "/matchers/0/value", "ComponentUnhealthy"),
        (json!({"name": "component_type", "value": "FEED"}), "/matchers/0/value", "EXTERNAL_API"),
    ] {
        let (status, body) = botops.send(Method::POST, path, &silence(json!([matcher]))).await;
        assert_eq!(status, 422, "{matcher}: {body}");
        assert_problem(&body, 422, "HLT_008");
        let error = &body["errors"][0];
        assert_eq!(error["pointer"], pointer, "{matcher}: {body}");
        assert!(error["expected"].as_str().unwrap().contains(known), "{matcher}: {error}");
    }
    assert_eq!(get(&botops, path).await["items"], json!([]), "nothing was added");

    let good = silence(
        json!([{"name": "component", "value": "feed"}, {"name": "severity", "op": "=~", "value": "h.*"}]),
    );
    let (status, body) = botops.send(Method::POST, path, &good).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["matches_now"]["alerts"], 1, "{body:#}");
    assert_eq!(body["matches_now"]["alert_ids"], json!([alert(&botops).await["alert_id"]]), "{body:#}");
    let none = silence(json!([{"name": "component", "value": "p_404"}]));
    let (status, body) = botops.send(Method::POST, path, &none).await;
    assert_eq!((status, &body["matches_now"]["alerts"]), (201, &json!(0)), "{body:#}");
    assert!(body["warnings"][0].as_str().unwrap().contains("p_404"), "{body:#}");
    let listed = get(&botops, path).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert!(listed["items"][0]["matches_now"]["alerts"].is_u64(), "{listed:#}");
    botops.stop().await;
}
