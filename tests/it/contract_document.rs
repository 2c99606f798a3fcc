//! The contract's own document: it is what the code says, its examples and the answers of real bots are valid by it.

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::kit::paperbot::Paperbot;
use crate::kit::scripted_bot::{ScriptedBot, trade};
use crate::zoo::{BotClock, ZOO};

fn document() -> Value {
    botops_contract::contract_document()
}

/// Validates by a schema of the document; times must be times.
fn validator(schema: &Value) -> Validator {
    let document = document();
    let whole = json!({"allOf": [schema], "components": document["components"]});
    jsonschema::options().should_validate_formats(true).build(&whole).expect("the schemas can be compiled")
}

/// The schema of this name.
pub(crate) fn validator_of(name: &str) -> Validator {
    validator(&json!({"$ref": format!("#/components/schemas/{name}")}))
}

/// What is wrong with a value by a schema.
pub(crate) fn faults(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn it_is_the_kept_one() {
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    crate::document::assert_kept("schemas/contract.openapi.json", &text);
}

#[test]
fn it_has_every_call_with_an_example_for_each_answer() {
    let document = document();
    let mut wrong = Vec::new();
    let mut answers = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let contents = operation["responses"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(status, answer)| (status.as_str(), answer));
            let request = operation.get("requestBody").map(|body| ("request", body));
            for (what, body) in contents.chain(request) {
                for content in body["content"].as_object().into_iter().flat_map(|content| content.values()) {
                    answers += 1;
                    let example = &content["example"];
                    let found = faults(&validator(&content["schema"]), example);
                    if example.is_null() || !found.is_empty() {
                        wrong.push(format!("{method} {path} {what}: {found:?} in {example}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(answers > 20, "{answers}");
    for verb in botops_contract::Verb::ALL {
        let known = document["components"]["schemas"]["Verb"]["enum"].as_array().unwrap();
        assert!(known.contains(&json!(verb.as_str())), "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_paperbot_are_valid_by_it() {
    let bot = Paperbot::start(&[]).await;
    bot.trades().await;
    let command = json!({"command_id": "1", "reason": "a test"});
    let (status, paused) = bot.post("commands/pause", &command).await;
    assert_eq!(status, 200, "{paused}");
    let (status, refused) = bot.post("commands/dance", &command).await;
    assert_eq!(status, 404, "{refused}");
    assert_eq!(faults(&validator_of("CommandResult"), &paused), [""; 0]);
    assert_eq!(faults(&validator_of("ContractRefusal"), &refused), [""; 0]);
    for (path, schema) in [
        ("hello", "Hello"),
        ("state", "BotReport"),
        ("trades?after=0&limit=5", "TradePage"),
        ("config", "ConfigState"),
        ("commands/1", "CommandStatus"),
    ] {
        let answer: Value = bot.get(path).await.unwrap();
        assert_eq!(faults(&validator_of(schema), &answer), [""; 0], "{path}: {answer:#}");
    }
    let (_, verdict) = bot.post("config/check", &json!({"config": {}})).await;
    assert_eq!(faults(&validator_of("CheckVerdict"), &verdict), [""; 0], "{verdict}");
}

#[test]
fn the_answers_of_the_zoo_are_valid_by_it() {
    let (hellos, states) = (validator_of("Hello"), validator_of("BotReport"));
    for foreign in &ZOO {
        let mut hello = (foreign.hello)();
        hello["bot_id"] = json!("scripted");
        assert_eq!(faults(&hellos, &hello), [""; 0], "{}", foreign.name);
        let state = (foreign.state)(&BotClock::start());
        assert_eq!(faults(&states, &state), [""; 0], "{}: {state:#}", foreign.name);
    }
    let bot = ScriptedBot::start();
    let state = json!(bot.script().report);
    assert_eq!(faults(&states, &state), [""; 0], "{state:#}");
    assert_eq!(faults(&validator_of("TradePage"), &json!({"items": [trade(1, "1")], "next": null})), [""; 0]);
}

/// A schema that takes everything would hold nothing.
#[test]
fn what_botops_could_not_read_is_not_valid_by_it() {
    let states = validator_of("BotReport");
    let right = json!({"seq": 1, "as_of": "2026-03-02T15:00:00Z", "mode": "paper", "phase": "running"});
    assert_eq!(faults(&states, &right), [""; 0]);
    for (name, wrong) in [
        ("seq", Value::Null),
        ("as_of", json!("2026-03-02T15:00:00")),
        ("as_of", Value::Null),
        ("mode", json!(7)),
        ("account", json!({"account_balance": "$5"})),
        ("positions", json!({})),
        ("positions", json!([{"quantity": "a lot"}])),
        ("trading_enabled", json!("yes")),
    ] {
        let mut state = right.clone();
        state[name] = wrong.clone();
        assert!(!faults(&states, &state).is_empty(), "{name}: {wrong}");
    }
    for (name, _) in botops_contract::BotReport::REQUIRED {
        let mut state = right.clone();
        state.as_object_mut().unwrap().remove(name);
        assert!(!faults(&states, &state).is_empty(), "without {name}");
    }
}
