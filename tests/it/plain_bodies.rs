//! What a client sends that is nearly right is refused for what it is: encodings, times, missing members; and one word
//! is taken for one thing.

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::{Running, answer};
use crate::refusals::assert_problem;

const SILENCES: &str = "/api/v1/health/silences";

async fn send_bytes(running: &Running, bytes: Vec<u8>) -> (u16, Value) {
    let request = running.request(Method::POST, SILENCES).header("content-type", "application/json");
    answer(request.body(bytes)).await
}

fn silence() -> Value {
    let ends_at = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    json!({"matchers": [{"name": "component", "value": "store"}], "ends_at": ends_at})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_another_encoding_is_refused_for_what_it_is() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let text = silence().to_string();
    let wide = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    let bodies: [(&str, Vec<u8>); 6] = [
        ("byte order mark", [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat()),
        (
            "UTF-16",
            [vec![0xff, 0xfe], wide(&text).iter().flat_map(|unit| unit.to_le_bytes()).collect()].concat(),
        ),
        ("UTF-16", wide(&text).iter().flat_map(|unit| unit.to_le_bytes()).collect()),
        ("UTF-16", wide(&text).iter().flat_map(|unit| unit.to_be_bytes()).collect()),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        ("zstd", zstd::encode_all(text.as_bytes(), 1).unwrap()),
    ];
    for (what, body) in bodies {
        let (status, problem) = send_bytes(&running, body).await;
        assert_eq!(status, 415, "{what}: {problem:#}");
        assert_problem(&problem, 415, "API_005");
        assert!(problem["cause"].as_str().unwrap().contains(what), "{what}: {problem:#}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_without_zone_and_a_missing_member_are_named_with_what_is_expected() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let mut body = silence();
    body["reason"] = json!("a test of times");
    body["ends_at"] = json!("2026-11-23T15:30:00");
    let (_, problem) = running.send(Method::POST, SILENCES, &body).await;
    assert_problem(&problem, 400, "API_006");
    let wrong = &problem["errors"][0];
    assert_eq!((&wrong["pointer"], &wrong["got"]), (&json!("/ends_at"), &body["ends_at"]), "{problem:#}");
    let expected = wrong["expected"].as_str().unwrap();
    assert!(expected.contains("no zone") && expected.contains("2026-11-23T15:30:00Z"), "{problem:#}");

    body.as_object_mut().unwrap().remove("ends_at");
    let (_, problem) = running.send(Method::POST, SILENCES, &body).await;
    assert_problem(&problem, 400, "API_006");
    let wrong = &problem["errors"][0];
    assert_eq!((&wrong["pointer"], &wrong["got"]), (&json!("/ends_at"), &Value::Null), "{problem:#}");

    body["matchers"] = json!(7);
    let (_, problem) = running.send(Method::POST, SILENCES, &body).await;
    let wrong = &problem["errors"][0];
    assert_eq!((&wrong["pointer"], &wrong["got"]), (&json!("/matchers"), &json!(7)), "{problem:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_called_reason_and_its_earlier_names_are_taken() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let window = json!({"zone": "UTC", "start": "02:00", "duration_minutes": 30});
    for (path, body) in [(SILENCES, silence()), ("/api/v1/health/maintenance", window)] {
        let with = |members: Value| {
            let mut body = body.clone();
            body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            body
        };
        for members in
            [json!({"reason": "why"}), json!({"comment": "why"}), json!({"reason": "why", "comment": "why"})]
        {
            let (status, made) = running.send(Method::POST, path, &with(members)).await;
            assert_eq!(
                (status, &made["reason"], &made["comment"]),
                (201, &json!("why"), &json!("why")),
                "{made:#}"
            );
        }
        let (_, problem) =
            running.send(Method::POST, path, &with(json!({"reason": "one", "comment": "two"}))).await;
        assert_problem(&problem, 400, "API_006");
        assert_eq!(problem["errors"][0]["pointer"], "/comment");
        let (_, problem) = running.send(Method::POST, path, &body).await;
        assert_problem(&problem, 400, "API_006");
        assert_eq!(
            (&problem["errors"][0]["pointer"], &problem["errors"][0]["got"]),
            (&json!("/reason"), &Value::Null)
        );
    }
    running.stop().await;
}

/// Every read with an `ETag` answers 304 to it, to its weak form, to a list with it and to `*`.
#[tokio::test(flavor = "multi_thread")]
async fn every_read_with_a_validator_takes_every_form_of_it() {
    let bot = crate::kit::scripted_bot::ScriptedBot::start();
    let folder = kit::folder();
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    let running =
        Running::start(folder.path(), &[("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str())]).await;
    let quiet = || async { running.get("/api/v1/config").await.1["sync"] == "in_sync" };
    kit::until("the config is in sync", std::time::Duration::from_secs(60), quiet).await;
    let mut seen = Vec::new();
    let document = botops::routes::document();
    for (path, item) in document["paths"].as_object().unwrap() {
        if item["get"].is_null() || path.contains(['{']) || path.contains("/stream") {
            continue;
        }
        for attempt in 0..4 {
            let first = running.request(Method::GET, path).header("accept", "*/*").send().await.unwrap();
            let Some(etag) = first.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned()) else {
                break;
            };
            let mut statuses = Vec::new();
            for form in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
                let again =
                    running.request(Method::GET, path).header("accept", "*/*").header("if-none-match", form);
                statuses.push(again.send().await.unwrap().status().as_u16());
            }
            if statuses == [304; 4] {
                seen.push(path.clone());
                break;
            }
            // What changes each second may have changed in between.
            assert!(attempt < 3, "{path} with {etag}: {statuses:?}");
        }
    }
    for path in ["/api/v1/config", "/api/v1/state", "/api/v1/summary", "/api/openapi.json", "/llms.txt"] {
        assert!(seen.iter().any(|one| one == path), "{path} has no validator: {seen:?}");
    }
    running.stop().await;
}
