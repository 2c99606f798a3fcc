//! The API document as it is served: short, each thing once, an example for every answer, and nothing lost on the way.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::Running;

/// What is read at once by an agent that reads it whole.
const MOST_BYTES: usize = 160 * 1024;

/// The operations of a document, with a name of their place.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let found = paths.flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    found.collect()
}

/// What a reference leads to, or the value itself.
fn target<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => value,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_document_is_short_and_lists_each_operation_once() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let answer = running.client.get(format!("{}/api/openapi.json", running.base)).send().await.unwrap();
    let text = answer.text().await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let made = botops::routes::short_document();
    assert!(document == made, "the served one is made from the kept one; UPDATE_DOCUMENTS=1");
    assert_eq!(text, serde_json::to_string(&document).unwrap(), "compact");
    let sizes: Vec<_> = [
        "/paths",
        "/components/schemas",
        "/components/examples",
        "/components/parameters",
        "/components/responses",
    ]
    .map(|part| format!("{part} {}", document.pointer(part).map_or(0, |part| part.to_string().len())))
    .to_vec();
    assert!(text.len() <= MOST_BYTES, "{} bytes: {sizes:?}", text.len());
    let mut names = BTreeSet::new();
    for (place, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{place} has no name"));
        assert!(names.insert(name.to_owned()), "{name} stands twice");
        assert!(!place.contains("/trading-engine/"), "{place} is a second address");
    }
    assert!(names.len() > 80, "{}", names.len());
    let about = document["info"]["description"].as_str().unwrap();
    assert!(about.contains("/api/trading-engine/health"), "{about}");
    // A call that is refused at the second address is told that part.
    let part = "/api/openapi.json?operation=get_health_status_at_trading_engine";
    let (status, part) = running.get(part).await;
    assert_eq!(status, 200, "{part}");
    assert!(part["paths"]["/api/trading-engine/health/status"]["get"].is_object(), "{part:#}");
    running.stop().await;
}

#[test]
fn every_answer_with_a_body_has_an_example_that_is_what_its_schema_says() {
    for document in [botops::routes::published_document(), botops::routes::short_document()] {
        let mut wrong = Vec::new();
        let mut seen = 0;
        for (place, operation) in operations(&document) {
            let done = operation["responses"]
                .as_object()
                .unwrap()
                .iter()
                .filter(|(status, _)| status.starts_with('2'));
            for (status, response) in done {
                let place = format!("{place} {status}");
                let contents = response["content"].as_object();
                let with_example: Vec<_> = contents
                    .into_iter()
                    .flatten()
                    .filter_map(|(media, content)| Some((media, content, example_of(&document, content)?)))
                    .collect();
                let is_binary =
                    contents.is_none_or(|contents| contents.keys().all(|media| media == "application/zstd"));
                if with_example.is_empty() && !is_binary {
                    wrong.push(format!("{place}: no example"));
                }
                for (media, content, example) in with_example {
                    seen += 1;
                    let mistakes = mistakes(&document, &content["schema"], example);
                    wrong.extend(mistakes.iter().map(|mistake| format!("{place} {media}: {mistake}")));
                }
                // Whoever asks for JSON has an example of JSON.
                let json = contents.and_then(|contents| contents.get("application/json"));
                if json.is_some_and(|content| example_of(&document, content).is_none()) {
                    wrong.push(format!("{place}: no example of the JSON"));
                }
            }
        }
        assert!(wrong.is_empty() && seen > 70, "{seen} examples\n{}", wrong.join("\n"));
    }
}

/// The example of a body, at the place or among the shared ones.
fn example_of<'d>(document: &'d Value, content: &'d Value) -> Option<&'d Value> {
    let named = content["examples"].as_object().and_then(|examples| examples.values().next());
    content.get("example").or_else(|| named.map(|named| &target(document, named)["value"]))
}

/// What is wrong with an example; the whole answer is meant, not a part of it.
fn mistakes(document: &Value, schema: &Value, example: &Value) -> Vec<String> {
    let whole = if schema["anyOf"].is_array() { &schema["anyOf"][0] } else { schema };
    if whole.is_null() {
        return Vec::new();
    }
    let schema = json!({"allOf": [whole], "components": document["components"]});
    let validator = jsonschema::draft202012::new(&schema).expect("the schema can be compiled");
    validator.iter_errors(example).map(|error| format!("{error} at {}", error.instance_path())).collect()
}
