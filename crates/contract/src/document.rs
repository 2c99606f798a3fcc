//! The contract as an OpenAPI document: every call of a bot, with a schema and an example for each answer.
//!
//! It is made from the types of this crate, and says of them what a bot has to send: which members are the required
//! core, that amounts may be numbers, and that a word outside of a list is taken.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::{
    ActivateConfigRequest, Amount, BASE, BotEvent, BotReport, CheckConfigRequest, CheckVerdict,
    CommandRequest, CommandResult, CommandStatus, ConfigAck, ConfigState, ContractRefusal, EndTrialRequest,
    Hello, RunningDocument, TradePage, Verb,
};

/// An example of every request and answer, by operation.
const EXAMPLES: &str = include_str!("document_examples.json");

/// The words by which a list takes what it does not know.
const WORDS_FOR_UNKNOWN: [&str; 4] = ["OTHER", "other", "UNKNOWN", "unknown"];

#[derive(OpenApi)]
#[openapi(components(schemas(
    ActivateConfigRequest,
    Amount,
    BotEvent,
    BotReport,
    CheckConfigRequest,
    CheckVerdict,
    CommandRequest,
    CommandResult,
    CommandStatus,
    ConfigAck,
    ConfigState,
    ContractRefusal,
    EndTrialRequest,
    Hello,
    RunningDocument,
    TradePage,
    Verb
)))]
struct ContractSchemas;

/// One call of the contract, as the document tells it.
struct DocumentedCall {
    operation: &'static str,
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// What a handler has to keep to beyond that; empty where the schemas say it all.
    rule: &'static str,
    /// The capability by which a bot says that it serves this; `None` for the core.
    capability: Option<&'static str>,
    request: Option<&'static str>,
    /// The schema of the answer; `None` where its form is the bot's own.
    answer: Option<&'static str>,
}

/// An activation may be late: botops was not answered, and has long reverted it.
const ACTIVATE_RULE: &str = "A transaction starts once. One that ended (committed, reverted, or its time was over) is refused with \
     `txn_over`, also when the activation itself arrives after the revert: otherwise the candidate runs without anybody who \
     watches it.";

const REVERT_RULE: &str = "Of a transaction that is not on trial, because its activation has not arrived, it is acknowledged all \
     the same and remembered, over a restart too: from then on an `activate` of this `txn` is refused with `txn_over`. The end of a \
     trial's `ttl_ms` bars it likewise. One that was committed is refused with `not_in_trial`.";

const CALLS: [DocumentedCall; 13] = [
    call("hello", "get", "/hello", "Who answers", None).answers("Hello"),
    call("state", "get", "/state", "Everything about the bot, in one answer", None).answers("BotReport"),
    call("events", "get", "/events", "What happens, as server-sent events", Some("events"))
        .answers("BotEvent"),
    call("trades", "get", "/trades", "Closed trades, oldest first", Some("trades")).answers("TradePage"),
    call("config", "get", "/config", "What the bot runs", Some("config")).answers("ConfigState"),
    call(
        "config_schema",
        "get",
        "/config/schema",
        "The form of the bot's config, as a JSON Schema",
        Some("config-schema"),
    ),
    call("config_document", "get", "/config/document", "The document that runs", Some("config-schema"))
        .answers("RunningDocument"),
    call(
        "check_config",
        "post",
        "/config/check",
        "Would the bot take this document? Changes nothing",
        Some("config"),
    )
    .takes("CheckConfigRequest")
    .answers("CheckVerdict"),
    call("activate_config", "post", "/config/activate", "Run this document as a trial", Some("config"))
        .rule(ACTIVATE_RULE)
        .takes("ActivateConfigRequest")
        .answers("ConfigAck"),
    call("commit_config", "post", "/config/commit", "Keep what is on trial", Some("config"))
        .takes("EndTrialRequest")
        .answers("ConfigAck"),
    call("revert_config", "post", "/config/revert", "Go back to what ran before the trial", Some("config"))
        .rule(REVERT_RULE)
        .takes("EndTrialRequest")
        .answers("ConfigAck"),
    call("command", "post", "/commands/{verb}", "A command of an operator", Some("the verb"))
        .takes("CommandRequest")
        .answers("CommandResult"),
    call(
        "command_status",
        "get",
        "/commands/{command_id}",
        "What became of a command",
        Some("command-status"),
    )
    .answers("CommandStatus"),
];

const fn call(
    operation: &'static str,
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    capability: Option<&'static str>,
) -> DocumentedCall {
    DocumentedCall { operation, method, path, summary, rule: "", capability, request: None, answer: None }
}

impl DocumentedCall {
    const fn takes(mut self, request: &'static str) -> Self {
        self.request = Some(request);
        self
    }

    const fn answers(mut self, answer: &'static str) -> Self {
        self.answer = Some(answer);
        self
    }

    const fn rule(mut self, rule: &'static str) -> Self {
        self.rule = rule;
        self
    }

    fn to_json(&self, examples: &Value) -> Value {
        let example = &examples[self.operation];
        let schema = self.answer.map_or_else(
            || json!({"type": "object", "description": "A JSON Schema document of the bot's own."}),
            reference,
        );
        let kind = if self.operation == "events" { "text/event-stream" } else { "application/json" };
        let mut operation = json!({
            "operationId": self.operation,
            "summary": self.summary,
            "responses": {
                "200": {
                    "description": self.summary,
                    "content": {kind: {"schema": schema, "example": example["answer"]}},
                },
                "4XX": refusal("The bot says no: nothing was done", &examples["refusal"]["answer"]),
            },
        });
        if !self.rule.is_empty() {
            operation["description"] = json!(self.rule);
        }
        operation["x-capability"] = self.capability.map_or(Value::Null, Value::from);
        if let Some(request) = self.request {
            let content =
                json!({"application/json": {"schema": reference(request), "example": example["request"]}});
            operation["requestBody"] = json!({"required": true, "content": content});
        }
        if let Some(parameters) = parameters(self.operation) {
            operation["parameters"] = parameters;
        }
        if self.operation == "state" {
            operation["responses"]["304"] = json!({"description": "Nothing changed since the answer with the ETag in If-None-Match; no body"});
            operation["responses"]["503"] =
                refusal("An adapter answers, and its bot does not", &examples["upstream"]["answer"]);
        }
        operation
    }
}

/// The document of the bot's side of the contract (OpenAPI 3.1).
pub fn contract_document() -> Value {
    let examples: Value = serde_json::from_str(EXAMPLES).unwrap_or_default();
    let mut paths = Map::new();
    for call in &CALLS {
        let path = paths.entry(format!("{BASE}{}", call.path)).or_insert_with(|| json!({}));
        path[call.method] = call.to_json(&examples);
    }
    let document = serde_json::to_value(ContractSchemas::openapi()).unwrap_or_default();
    let mut schemas = document["components"]["schemas"].clone();
    schemas.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(remove_defaults);
    tell_what_is_required(&mut schemas);
    tell_what_is_taken(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "The contract between a bot and botops",
            "version": crate::VERSION.to_string(),
            "description": include_str!("document.md"),
        },
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn refusal(description: &str, example: &Value) -> Value {
    let content = json!({"application/json": {"schema": reference("ContractRefusal"), "example": example}});
    json!({"description": description, "content": content})
}

fn parameters(operation: &str) -> Option<Value> {
    let parameter = |place: &str, name: &str, description: &str, schema: Value| json!({"in": place, "name": name, "required": place == "path", "description": description, "schema": schema});
    let number = || json!({"type": "integer", "minimum": 0});
    let time = || json!({"type": "string", "format": "date-time"});
    Some(match operation {
        "state" => json!([parameter(
            "header",
            "If-None-Match",
            "The ETag of the answer that is known",
            json!({"type": "string"})
        )]),
        "events" => json!([parameter(
            "header",
            "Last-Event-ID",
            "`<boot_epoch>/<seq>` of the last event that is known: only later ones are sent",
            json!({"type": "string"})
        )]),
        "trades" => json!([
            parameter("query", "after", "Only trades with a higher `seq`", number()),
            parameter("query", "limit", "At most so many", number()),
            parameter("query", "from", "Only trades closed at or after this time", time()),
            parameter("query", "to", "Only trades closed before this time", time()),
        ]),
        "command" => json!([parameter(
            "path",
            "verb",
            "The verb; another one is a 404 with `unknown_verb`",
            reference("Verb")
        )]),
        "command_status" => {
            json!([parameter("path", "command_id", "The id, percent-encoded", json!({"type": "string"}))])
        }
        _ => return None,
    })
}

/// The members that a bot has to give: those without which an answer cannot be read, and the core.
fn tell_what_is_required(schemas: &mut Value) {
    for (schema, core) in [("Hello", Hello::REQUIRED), ("BotReport", BotReport::REQUIRED)] {
        schemas[schema]["required"] = core.iter().map(|(name, _)| *name).collect();
        for (name, _) in core {
            remove_null(&mut schemas[schema]["properties"][name]);
        }
    }
    schemas["TradePage"]["required"] = json!(["items"]);
    // What is given as `null` says as little as what is left out.
    for (schema, names) in [
        ("Hello", &["capabilities"][..]),
        ("BotReport", &["day", "account", "performance", "market", "loop", "unknown"][..]),
    ] {
        for name in names {
            let property = &mut schemas[schema]["properties"][*name];
            *property = json!({"oneOf": [property.take(), {"type": "null"}]});
        }
    }
}

/// Takes the values out that a reader puts in the place of what is left out: what a bot does not say is unknown, and has no
/// value.
fn remove_defaults(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    members.remove("default");
    for (name, part) in members {
        match (name.as_str(), part) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(remove_defaults),
            ("oneOf" | "anyOf" | "allOf", Value::Array(choices)) => {
                choices.iter_mut().for_each(remove_defaults);
            }
            ("items", items) => remove_defaults(items),
            _ => {}
        }
    }
}

/// What may not be `null`, although the type of the reader has a place for that.
fn remove_null(property: &mut Value) {
    if let Some(kinds) = property["type"].as_array() {
        let kept = kinds.iter().find(|kind| *kind != "null").cloned();
        property["type"] = kept.unwrap_or_default();
    }
    if let Some(choices) = property["oneOf"].as_array() {
        let kept = choices.iter().find(|choice| choice["type"] != "null").cloned();
        *property = kept.unwrap_or_default();
    }
}

/// What is taken besides the usual form: amounts as numbers, and words that no list has.
fn tell_what_is_taken(schemas: &mut Value) {
    let Some(schemas) = schemas.as_object_mut() else { return };
    for schema in schemas.values_mut() {
        let words = schema["enum"].as_array().cloned().unwrap_or_default();
        if words.iter().any(|word| WORDS_FOR_UNKNOWN.iter().any(|unknown| word == unknown)) {
            let description = schema["description"].take();
            *schema = json!({
                "description": description,
                "anyOf": [
                    {"type": "string", "enum": words},
                    {"type": "string", "description": "Any other word: it is shown as it came. Upper and lower case are the same."},
                ],
            });
        }
    }
    schemas.insert("Amount".to_owned(), json!({
        "description": "A decimal number, digit for digit: as text, so that no digit changes on the way, or as a number.",
        "anyOf": [
            {"type": "string", "pattern": r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", "maxLength": 128},
            {"type": "number"},
        ],
    }));
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    /// Takes each member of an answer's example out, and sets it to `null`: what the document calls optional can be read
    /// without it, and what it calls required cannot, or is of the core.
    #[track_caller]
    fn check<T: DeserializeOwned>(schema: &str, operation: &str, core: &[(&str, &str)]) {
        let document = contract_document();
        let found = &document["components"]["schemas"][schema];
        let required: Vec<&str> =
            found["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let examples: Value = serde_json::from_str(EXAMPLES).unwrap();
        let example = &examples[operation]["answer"];
        let read = |value: &Value| serde_json::from_str::<T>(&value.to_string());
        read(example).unwrap_or_else(|error| panic!("{operation}: {error}"));
        for (name, property) in found["properties"].as_object().unwrap() {
            let mut without = example.clone();
            without.as_object_mut().unwrap().remove(name);
            let is_required = required.contains(&name.as_str());
            let is_core = core.iter().any(|(core, _)| core == name)
                || (schema, name.as_str()) == ("TradePage", "items");
            assert_eq!(read(&without).is_err() || is_core, is_required, "{schema}: `{name}` left out");
            let text = property.to_string();
            if text.contains("\"null\"") {
                let mut null = example.clone();
                null[name] = Value::Null;
                assert!(read(&null).is_ok(), "{schema}: `{name}` as null");
            }
        }
    }

    #[test]
    fn only_what_is_required_is_called_so() {
        check::<Hello>("Hello", "hello", &Hello::REQUIRED);
        check::<BotReport>("BotReport", "state", &BotReport::REQUIRED);
        check::<BotEvent>("BotEvent", "events", &[]);
        check::<TradePage>("TradePage", "trades", &[]);
        check::<ConfigState>("ConfigState", "config", &[]);
        check::<RunningDocument>("RunningDocument", "config_document", &[]);
        check::<CheckVerdict>("CheckVerdict", "check_config", &[]);
        check::<ConfigAck>("ConfigAck", "activate_config", &[]);
        check::<CommandResult>("CommandResult", "command", &[]);
        check::<CommandStatus>("CommandStatus", "command_status", &[]);
        check::<ContractRefusal>("ContractRefusal", "refusal", &[]);
    }

    #[test]
    fn what_is_left_out_has_no_value() {
        assert!(!contract_document()["components"].to_string().contains("\"default\":"));
    }

    #[test]
    fn every_request_of_the_examples_is_one() {
        let examples: Value = serde_json::from_str(EXAMPLES).unwrap();
        let text = |operation: &str| examples[operation]["request"].to_string();
        serde_json::from_str::<CommandRequest>(&text("command")).unwrap();
        serde_json::from_str::<CheckConfigRequest>(&text("check_config")).unwrap();
        serde_json::from_str::<ActivateConfigRequest>(&text("activate_config")).unwrap();
        serde_json::from_str::<EndTrialRequest>(&text("commit_config")).unwrap();
        serde_json::from_str::<EndTrialRequest>(&text("revert_config")).unwrap();
    }
}
