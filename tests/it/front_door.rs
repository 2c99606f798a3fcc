//! The first calls of a client that knows only the address and the key.

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::Running;
use crate::kit::scripted_bot::ScriptedBot;
use crate::refusals::assert_problem;

/// The answer as text, with its media type.
async fn text_of(running: &Running, path: &str, accept: Option<&str>) -> (u16, String, String) {
    let request = running.client.get(format!("{}{path}", running.base));
    let request = accept.into_iter().fold(request, |request, accept| request.header("accept", accept));
    let answer = request.send().await.unwrap();
    let media = answer.headers().get("content-type").map_or("", |media| media.to_str().unwrap()).to_owned();
    (answer.status().as_u16(), media, answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_page_is_a_page_for_people_and_the_guide_for_everybody_else() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let (_, _, guide) = text_of(&running, "/llms.txt", None).await;
    for accept in [None, Some("*/*"), Some("application/json, text/plain")] {
        let (status, media, text) = text_of(&running, "/", accept).await;
        assert_eq!((status, media.as_str()), (200, "text/plain; charset=utf-8"), "{accept:?}");
        assert_eq!(text, guide, "{accept:?}");
    }
    let browser = Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
    let (status, media, page) = text_of(&running, "/", browser).await;
    assert_eq!((status, media.as_str()), (200, "text/html; charset=utf-8"));
    // Whatever it links to is served, without a key.
    let links: Vec<_> = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(links.len() > 5, "{page}");
    for link in links {
        let (status, ..) = text_of(&running, link, None).await;
        assert!([200, 303, 307, 503].contains(&status), "{link}: {status}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_is_pointed_to_the_guide_or_to_the_call_at_hand() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let without_key = running.client.get(format!("{}/api/v1/summary", running.base)).send().await.unwrap();
    let problem: Value = without_key.json().await.unwrap();
    assert_problem(&problem, 401, "AUTH_001");
    assert_eq!(problem["next_actions"][0]["path"], "/llms.txt");
    for path in ["/api/v1/sumary", "/nothing"] {
        let (status, problem) = running.get(path).await;
        assert_eq!((status, &problem["next_actions"][0]["path"]), (404, &json!("/llms.txt")), "{problem:#}");
    }
    for (path, operation) in [
        ("/api/v1/events?limit=many", "list_events"),
        ("/api/v1/errors?limit=0", "list_errors"),
        ("/api/v1/summary?nonsense=1", "get_summary"),
    ] {
        let (status, problem) = running.get(path).await;
        let action = &problem["next_actions"][0];
        let wanted = json!({"operation": "get_openapi", "method": "GET", "path": format!("/api/openapi.json?operation={operation}")});
        for (name, value) in wanted.as_object().unwrap() {
            assert_eq!((status, &action[name]), (400, value), "{path}: {problem:#}");
        }
        let (status, part) = running.get(action["path"].as_str().unwrap()).await;
        assert_eq!(status, 200, "{part}");
        let called = path.split('?').next().unwrap();
        assert_eq!(part["paths"][called]["get"]["operationId"], operation);
    }
    // Not 57 KB of codes for somebody who means one of them.
    let (status, problem) = running.get("/api/v1/errors/catalogue?code=BRK_008").await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("?code")), "{problem:#}");
    let (status, problem) = running.send(Method::POST, "/api/v1/events", &json!({})).await;
    assert_eq!((status, &problem["next_actions"][0]["path"]), (405, &json!("/llms.txt")), "{problem:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_the_document_is_small_and_whole() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let (_, whole) = running.get("/api/openapi.json").await;
    let mut tags = std::collections::BTreeSet::new();
    for (path, item) in whole["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let (status, part) = running.get(&format!("/api/openapi.json?operation={id}")).await;
            assert_eq!(status, 200, "{id}");
            let at_length = &part["paths"][path][method];
            assert_eq!(at_length["operationId"], operation["operationId"], "{id}");
            assert_eq!(at_length["summary"], operation["summary"], "{id}");
            assert!(part.to_string().len() < 56_000, "{id} has {} bytes", part.to_string().len());
            assert_refers_to_itself(&part, &part, id);
            // Codes that this call cannot have are none of its reader's business.
            for (status, response) in part["components"]["responses"].as_object().into_iter().flatten() {
                let told = response["description"].as_str().unwrap_or_default();
                let codes = at_length["x-error-codes"].as_array().unwrap();
                let foreign = told.split([' ', ',']).filter(|word| word.contains('_') && word.len() <= 8);
                for code in foreign.filter(|word| {
                    word.chars().all(|sign| sign.is_ascii_uppercase() || sign == '_' || sign.is_ascii_digit())
                }) {
                    assert!(codes.iter().any(|own| own == code), "{id} {status}: {code}");
                }
            }
            tags.extend(
                operation["tags"].as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned),
            );
        }
    }
    for tag in tags {
        let (status, part) = running.get(&format!("/api/openapi.json?tag={tag}")).await;
        assert_eq!(status, 200, "{tag}");
        assert_refers_to_itself(&part, &part, &tag);
    }
    for path in [
        "/api/openapi.json?operation=nothing",
        "/api/openapi.json?tag=nothing",
        "/api/openapi.json?operation=livez&tag=state",
    ] {
        let (status, problem) = running.get(path).await;
        assert_eq!(status, 400, "{path}");
        assert_problem(&problem, 400, "API_007");
    }
    running.stop().await;
}

/// Whatever a document refers to is in it.
fn assert_refers_to_itself(document: &Value, value: &Value, name: &str) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let place = reference.trim_start_matches('#');
                assert!(document.pointer(place).is_some(), "{name}: {reference}");
            }
            members.values().for_each(|member| assert_refers_to_itself(document, member, name));
        }
        Value::Array(items) => items.iter().for_each(|item| assert_refers_to_itself(document, item, name)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_the_address_and_the_key_has_its_answer_in_three_calls() {
    let bot = ScriptedBot::start();
    let folder = kit::folder();
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    let settings = [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str())];
    let running = Running::start(folder.path(), &settings).await;
    let seen = || async { running.get("/api/v1/summary").await.1["health_status"] != "offline" };
    kit::until("the bot is seen", std::time::Duration::from_secs(30), seen).await;
    let (_, _, guide) = text_of(&running, "/", None).await;
    assert!(guide.contains("X-API-Key") && guide.contains("(/api/v1/summary)"), "{guide}");
    let (status, summary) = running.get("/api/v1/summary").await;
    assert_eq!(status, 200);
    let bytes = guide.len() + summary.to_string().len();
    assert!(summary["health_status"].is_string() && bytes <= 6_000, "{bytes} bytes");
    running.stop().await;
}
