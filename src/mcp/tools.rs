//! Every tool on one page: its scope, its hints, its arguments, and the REST call it is.
//!
//! One table yields the list a client sees, the annotations, and what is enforced, so they cannot differ. A tool is
//! one call of the API; its result is that call's body. Deliberately absent: a tool with a way of its own into a
//! feature, and a tool that both reads and writes.

use std::sync::{Arc, LazyLock};

use axum::http::Method;
use jsonschema::Validator;
use rmcp::model::{JsonObject, Tool as Described, ToolAnnotations};
use serde_json::{Map, Value, json};

use botops_core::error::{Code, Error, FieldError};
use botops_http::{Call, Scope};

/// A tool and everything that is said and enforced about it.
pub(super) struct Tool {
    pub name: &'static str,
    pub description: &'static str,
    /// The scope without which the tool is neither listed nor called.
    pub scope: Scope,
    /// Changes nothing.
    pub reads: bool,
    /// May end or undo something that cannot be had back.
    pub destroys: bool,
    /// The same call again changes nothing more.
    pub repeatable: bool,
    /// Reaches beyond botops: the bot, its broker.
    pub reaches_out: bool,
    properties: fn() -> Value,
    required: &'static [&'static str],
    /// Members that every result has.
    returns: &'static [&'static str],
    /// The call these arguments come to.
    call: fn(&Map<String, Value>) -> Result<Call, Error>,
}

/// The argument by which any read is cut to size.
const BUDGET: &str = "budget_tokens";

fn text() -> Value {
    json!({"type": "string"})
}

fn key() -> Value {
    json!({"type": "string", "description": "repeat-safe: same key, one effect"})
}

/// Every tool, reads first. The order never changes: clients keep it in their prompts.
pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "get_summary",
        description: "Start here: mode, health and why, breaker, account, P&L, top positions, errors with remedies.",
        properties: || json!({}),
        returns: &["mode", "health_status", "warnings", "omitted"],
        call: |_| Ok(Call::get("/api/v1/summary")),
        ..READ
    },
    Tool {
        name: "get_state",
        description: "Everything about the bot, or the `fields` named.",
        properties: || json!({"fields": {"type": "string", "description": "e.g. positions.symbol,no_entry_reasons"}}),
        returns: &[],
        call: |given| Ok(Call::get(with_query("/api/v1/state", given, &["fields"]))),
        ..READ
    },
    Tool {
        name: "list_events",
        description: "What happened: newest, or those `after` a seq (`wait` for the next).",
        properties: || {
            json!({"after": {"type": "integer"}, "wait": {"type": "string", "description": "up to 20s"},
                "kind": {"enum": ["error", "fill", "order", "session", "breaker", "config", "lifecycle", "workflow", "health", "control"]},
                "limit": {"type": "integer"}})
        },
        returns: &["items", "next"],
        call: |given| Ok(Call::get(with_query("/api/v1/events", given, &["after", "wait", "kind", "limit"]))),
        ..READ
    },
    Tool {
        name: "list_errors",
        description: "Recent failures, newest first, with cause and remedy.",
        properties: || json!({"after": {"type": "integer"}, "limit": {"type": "integer"}}),
        returns: &["items", "next"],
        call: |given| Ok(Call::get(with_query("/api/v1/errors", given, &["after", "limit"]))),
        ..READ
    },
    Tool {
        name: "explain",
        description: "An error code (cause, remedy, next calls), or `whoami`: what this key and bot can do.",
        properties: || json!({"topic": {"type": "string", "description": "whoami or e.g. BRK_008"}}),
        required: &["topic"],
        returns: &[],
        call: |given| {
            let topic = text_of(given, "topic");
            Ok(Call::get(match topic {
                "whoami" => "/api/v1/whoami".to_owned(),
                code => format!("/api/v1/errors/catalogue/{}", encoded(code)),
            }))
        },
        ..READ
    },
    Tool {
        name: "get_performance",
        description: "Closed trades: P&L, win rate, drawdown.",
        properties: || {
            json!({"window": {"enum": ["day", "week", "month", "year", "all"]}, "from": {"type": "string", "description": "YYYY-MM-DD"},
                "to": text(), "by": {"enum": ["day", "week", "month", "symbol"]}, "symbol": text()})
        },
        returns: &["total_trades", "realized_pnl"],
        call: |given| {
            Ok(Call::get(with_query("/api/v1/performance", given, &["window", "from", "to", "by", "symbol"])))
        },
        ..READ
    },
    Tool {
        name: "get_config",
        description: "The bot's config; or its schema, versions, audit, a diff, a transaction, or whether a `merge_patch` would be accepted.",
        properties: || {
            json!({"view": {"enum": ["current", "schema", "versions", "audit", "diff", "txn", "validate"]},
                "from": {"type": "string", "description": "diff: v3, previous"}, "to": text(), "txn": text(), "merge_patch": {"type": "object"}})
        },
        returns: &[],
        call: get_config,
        ..READ
    },
    Tool {
        name: "list_workflows",
        description: "Workflows; one by `workflow_id`; a run by `run_id`, `wait` for its next step.",
        properties: || json!({"workflow_id": text(), "run_id": text(), "wait": text(), "after_seq": {"type": "integer"}}),
        returns: &[],
        call: |given| {
            Ok(Call::get(match (text_of(given, "run_id"), text_of(given, "workflow_id")) {
                ("", "") => "/api/v1/workflows".to_owned(),
                ("", id) => format!("/api/v1/workflows/{}", encoded(id)),
                (run, _) => with_query(
                    &format!("/api/v1/workflows/runs/{}", encoded(run)),
                    given,
                    &["wait", "after_seq"],
                ),
            }))
        },
        ..READ
    },
    Tool {
        name: "get_health",
        description: "System health with causes; alerts; one component.",
        properties: || json!({"view": {"enum": ["status", "alerts", "components", "recovery"]}, "component": text()}),
        returns: &[],
        call: |given| {
            Ok(Call::get(match (text_of(given, "component"), text_of(given, "view")) {
                ("", "alerts") => "/api/v1/health/alerts".to_owned(),
                ("", "components") => "/api/v1/health/components".to_owned(),
                ("", "recovery") => "/api/v1/health/recovery".to_owned(),
                ("", _) => "/api/v1/health/status".to_owned(),
                (component, _) => format!("/api/v1/health/components/{}", encoded(component)),
            }))
        },
        ..READ
    },
    Tool {
        name: "change_config",
        description: "Apply a `merge_patch`, roll back `to` a version, confirm or cancel `txn`. Runs as a watched trial; dry_run first.",
        scope: Scope::Config,
        properties: || {
            json!({"action": {"enum": ["apply", "rollback", "confirm", "cancel"]}, "merge_patch": {"type": "object"},
                "to": {"type": "string", "description": "previous or v15"}, "txn": text(),
                "if_match": {"type": "string", "description": "etag of get_config"}, "reason": text(),
                "confirm": {"enum": ["auto", "manual"]}, "dry_run": {"type": "boolean"}, "idempotency_key": key()})
        },
        required: &["action"],
        returns: &[],
        call: change_config,
        ..CHANGE
    },
    Tool {
        name: "run_workflow",
        description: "Start a workflow (dry_run first) or cancel `cancel_run`. Follow it with list_workflows run_id.",
        scope: Scope::Operate,
        properties: || {
            json!({"workflow_id": text(), "params": {"type": "object"}, "cancel_run": text(), "dry_run": {"type": "boolean"},
                "idempotency_key": key()})
        },
        returns: &[],
        call: run_workflow,
        ..CHANGE
    },
    Tool {
        name: "control_bot",
        description: "One command to the bot, or silence an alert (`component`, `minutes`). dry_run tells the effect first.",
        scope: Scope::Operate,
        properties: || {
            json!({"verb": {"enum": ["pause", "resume", "cancel-orders", "flatten", "probe-session", "reauth", "reset-breaker",
                "halt", "shutdown", "silence"]}, "reason": {"type": "string", "minLength": 8}, "symbols": {"type": "array", "items": {"type": "string"}},
                "component": text(), "minutes": {"type": "integer", "minimum": 1, "maximum": 1440}, "dry_run": {"type": "boolean"},
                "idempotency_key": key()})
        },
        required: &["verb", "reason"],
        returns: &[],
        call: control_bot,
        ..CHANGE
    },
];

/// What every read shares.
const READ: Tool = Tool {
    name: "",
    description: "",
    scope: Scope::Read,
    reads: true,
    destroys: false,
    repeatable: true,
    reaches_out: false,
    properties: || json!({}),
    required: &[],
    returns: &[],
    call: |_| Err(Error::new(Code::Internal)),
};

/// What every change shares.
const CHANGE: Tool = Tool { reads: false, destroys: true, repeatable: false, reaches_out: true, ..READ };

impl Tool {
    /// The tool by its name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        TOOLS.iter().find(|tool| tool.name == name)
    }

    /// What a client is told.
    pub(super) fn described(&self) -> Described {
        let output = object(json!({"type": "object", "required": self.returns}));
        let annotations = ToolAnnotations::from_raw(
            None,
            Some(self.reads),
            Some(self.destroys),
            Some(self.repeatable),
            Some(self.reaches_out),
        );
        Described::new(self.name, self.description, Arc::new(object(self.input())))
            .with_raw_output_schema(Arc::new(output))
            .with_annotations(annotations)
    }

    fn input(&self) -> Value {
        let mut properties = object((self.properties)());
        if self.reads {
            properties.insert(BUDGET.to_owned(), json!({"type": "integer", "minimum": 50}));
        }
        let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        schema
    }

    /// The REST call that these arguments come to.
    pub(super) fn request(&self, given: &Map<String, Value>) -> Result<Call, Error> {
        let mut call = (self.call)(given)?;
        if let Some(budget) = given.get(BUDGET).filter(|_| call.method == Method::GET) {
            let mark = if call.path.contains('?') { '&' } else { '?' };
            call.path.push_str(&format!("{mark}{BUDGET}={budget}"));
        }
        Ok(call)
    }

    /// Whether a call with these arguments changes something, beyond a dry run.
    pub(super) fn is_change(&self, given: &Map<String, Value>) -> bool {
        !self.reads && given.get("dry_run") != Some(&Value::Bool(true))
    }

    /// Refuses arguments that the schema does not take, all at once.
    pub(super) fn check(&self, given: &Map<String, Value>) -> Result<(), Error> {
        let place = TOOLS.iter().position(|tool| tool.name == self.name).unwrap_or_default();
        let Some(validator) = VALIDATORS.get(place) else { return Ok(()) };
        let value = Value::Object(given.clone());
        let wrong: Vec<FieldError> = validator
            .iter_errors(&value)
            .map(|error| {
                let pointer = error.instance_path().to_string();
                // The masked text: an argument may hold something that belongs in no error.
                let expected = botops_core::text::clean(&error.masked().to_string(), 200);
                FieldError { pointer, got: Value::Null, expected }
            })
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::new(Code::ArgumentInvalid)
            .detail(format!("the arguments of {} do not fit its schema", self.name))
            .fields(wrong))
    }
}

static VALIDATORS: LazyLock<Vec<Validator>> = LazyLock::new(|| {
    let build = |tool: &Tool| {
        jsonschema::validator_for(&tool.input()).expect("the tools' schemas are fixed and a test builds them")
    };
    TOOLS.iter().map(build).collect()
});

/// The tool and its arguments that make this REST call, for a client that has nothing but tools.
pub(super) fn tool_of(method: &str, path: &str) -> Option<(&'static str, Value)> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut given = Map::new();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
        given.insert(name.to_owned(), value);
    }
    let is_dry = given.get("dry_run").is_some();
    let parts: Vec<&str> = path.strip_prefix("/api/v1/")?.split('/').collect();
    let (tool, more) = match (method, parts.as_slice()) {
        ("GET", ["summary"]) => ("get_summary", json!({})),
        ("GET", ["state"]) => ("get_state", json!({})),
        ("GET", ["events"]) => ("list_events", json!({})),
        ("GET", ["errors"]) => ("list_errors", json!({})),
        ("GET", ["errors", "catalogue", code] | ["errors", code]) => ("explain", json!({"topic": code})),
        ("GET", ["whoami"]) => ("explain", json!({"topic": "whoami"})),
        ("GET", ["performance"]) => ("get_performance", json!({})),
        ("GET", ["config"]) => ("get_config", json!({})),
        ("GET", ["config", "txns", txn]) => ("get_config", json!({"view": "txn", "txn": txn})),
        ("GET", ["config", view @ ("schema" | "versions" | "audit" | "diff")]) => {
            ("get_config", json!({"view": view}))
        }
        ("POST", ["config", "validate"]) => ("get_config", json!({"view": "validate"})),
        ("PUT", ["config", action @ ("apply" | "rollback")]) => ("change_config", json!({"action": action})),
        ("POST", ["config", "txns", txn, action @ ("confirm" | "cancel")]) => {
            ("change_config", json!({"action": action, "txn": txn}))
        }
        ("GET", ["workflows"]) => ("list_workflows", json!({})),
        ("GET", ["workflows", "runs", run]) => ("list_workflows", json!({"run_id": run})),
        ("GET", ["workflows", id, ..]) => ("list_workflows", json!({"workflow_id": id})),
        ("POST", ["workflows", "runs", run, "cancel"]) => ("run_workflow", json!({"cancel_run": run})),
        ("POST", ["workflows", id, "execute"]) => ("run_workflow", json!({"workflow_id": id})),
        ("POST", ["control", verb]) => ("control_bot", json!({"verb": verb})),
        ("GET", ["health", view @ ("status" | "alerts" | "components" | "recovery")]) => {
            ("get_health", json!({"view": view}))
        }
        ("GET", ["health", "components", id]) => ("get_health", json!({"component": id})),
        _ => return None,
    };
    given.remove("dry_run");
    given.extend(object(more));
    if is_dry {
        given.insert("dry_run".to_owned(), json!(true));
    }
    Some((tool, Value::Object(given)))
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}

fn text_of<'a>(given: &'a Map<String, Value>, name: &str) -> &'a str {
    given.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A path segment or query value in which nothing can end it.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b',') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn with_query(path: &str, given: &Map<String, Value>, names: &[&str]) -> String {
    let value = |name: &&str| match given.get(*name)? {
        Value::String(text) => Some(format!("{name}={}", encoded(text))),
        Value::Null => None,
        other => Some(format!("{name}={}", encoded(&other.to_string()))),
    };
    let pairs: Vec<String> = names.iter().filter_map(value).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

fn wanted(given: &Map<String, Value>, name: &'static str) -> Result<String, Error> {
    let value = text_of(given, name);
    if value.is_empty() {
        return Err(Error::new(Code::ArgumentInvalid).detail(format!("`{name}` is missing")).field(
            format!("/{name}"),
            Value::Null,
            "a value",
        ));
    }
    Ok(encoded(value))
}

/// The members of the arguments that belong into the body.
fn body(given: &Map<String, Value>, names: &[&str]) -> Option<Value> {
    let members = names.iter().filter_map(|name| Some(((*name).to_owned(), given.get(*name)?.clone())));
    Some(Value::Object(members.collect()))
}

fn dry(given: &Map<String, Value>) -> &'static str {
    if given.get("dry_run") == Some(&Value::Bool(true)) { "?dry_run=true" } else { "" }
}

fn keyed(call: Call, given: &Map<String, Value>) -> Call {
    let key = text_of(given, "idempotency_key");
    call.header("idempotency-key", (!key.is_empty()).then(|| key.to_owned()))
}

fn get_config(given: &Map<String, Value>) -> Result<Call, Error> {
    Ok(match text_of(given, "view") {
        "schema" => Call::get("/api/v1/config/schema"),
        "versions" => Call::get("/api/v1/config/versions"),
        "audit" => Call::get("/api/v1/config/audit"),
        "diff" => Call::get(with_query("/api/v1/config/diff", given, &["from", "to"])),
        "txn" => Call::get(format!("/api/v1/config/txns/{}", wanted(given, "txn")?)),
        "validate" => Call::with_body(Method::POST, "/api/v1/config/validate", body(given, &["merge_patch"])),
        _ => Call::get("/api/v1/config"),
    })
}

fn change_config(given: &Map<String, Value>) -> Result<Call, Error> {
    let if_match = Some(text_of(given, "if_match").to_owned()).filter(|tag| !tag.is_empty());
    let call = match text_of(given, "action") {
        "apply" => {
            let body = body(given, &["merge_patch", "reason", "confirm"]);
            Call::with_body(Method::PUT, format!("/api/v1/config/apply{}", dry(given)), body)
                .header("if-match", if_match)
        }
        "rollback" => {
            let body = body(given, &["to", "reason", "confirm"]);
            Call::with_body(Method::PUT, format!("/api/v1/config/rollback{}", dry(given)), body)
                .header("if-match", if_match)
        }
        verb => {
            if !dry(given).is_empty() {
                return Ok(Call::get(format!("/api/v1/config/txns/{}", wanted(given, "txn")?)));
            }
            Call::with_body(
                Method::POST,
                format!("/api/v1/config/txns/{}/{verb}", wanted(given, "txn")?),
                None,
            )
        }
    };
    Ok(keyed(call, given))
}

fn run_workflow(given: &Map<String, Value>) -> Result<Call, Error> {
    if !text_of(given, "cancel_run").is_empty() {
        let run = wanted(given, "cancel_run")?;
        if !dry(given).is_empty() {
            return Ok(Call::get(format!("/api/v1/workflows/runs/{run}")));
        }
        return Ok(keyed(
            Call::with_body(Method::POST, format!("/api/v1/workflows/runs/{run}/cancel"), None),
            given,
        ));
    }
    let id = wanted(given, "workflow_id")?;
    let params = given.get("params").cloned().unwrap_or_else(|| json!({}));
    let path = format!("/api/v1/workflows/{id}/execute{}", dry(given));
    Ok(keyed(Call::with_body(Method::POST, path, Some(json!({"params": params}))), given))
}

fn control_bot(given: &Map<String, Value>) -> Result<Call, Error> {
    let verb = text_of(given, "verb");
    if verb == "silence" {
        if !dry(given).is_empty() {
            return Ok(Call::get("/api/v1/health/alerts"));
        }
        let minutes = given.get("minutes").and_then(Value::as_i64).unwrap_or(60);
        let ends_at = chrono::Utc::now() + chrono::Duration::minutes(minutes);
        let (name, value) = match text_of(given, "component") {
            "" => {
                return Err(Error::new(Code::ArgumentInvalid)
                    .detail("`component` says which alerts to silence")
                    .field("/component", Value::Null, "a component id of get_health"));
            }
            component => ("component", component),
        };
        let body = json!({"matchers": [{"name": name, "value": value}], "comment": text_of(given, "reason"), "ends_at": ends_at});
        return Ok(keyed(Call::with_body(Method::POST, "/api/v1/health/silences", Some(body)), given));
    }
    let path = format!("/api/v1/control/{verb}{}", dry(given));
    Ok(keyed(Call::with_body(Method::POST, path, body(given, &["reason", "symbols"])), given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_builds_and_no_tool_is_named_twice() {
        assert_eq!(VALIDATORS.len(), TOOLS.len());
        assert!(TOOLS.len() <= 12);
        for (place, tool) in TOOLS.iter().enumerate() {
            assert!(TOOLS.iter().skip(place + 1).all(|other| other.name != tool.name), "{}", tool.name);
        }
    }

    #[test]
    fn the_list_of_tools_fits_two_thousand_tokens() {
        let list: Vec<_> = TOOLS.iter().map(Tool::described).collect();
        let text = serde_json::to_string(&list).unwrap();
        let tokens = tiktoken_rs::o200k_base_singleton().encode_ordinary(&text).len();
        println!("tools/list: {} tools, {} bytes, {tokens} tokens", list.len(), text.len());
        assert!(tokens <= 2_000, "{tokens} tokens");
    }

    #[test]
    fn arguments_cannot_leave_their_place_in_a_path() {
        let given = object(json!({"run_id": "../../control/flatten?x=1#"}));
        let tool = Tool::named("list_workflows").unwrap();
        let call = tool.request(&given).unwrap();
        assert_eq!(call.path, "/api/v1/workflows/runs/..%2F..%2Fcontrol%2Fflatten%3Fx%3D1%23");
    }

    #[test]
    fn a_rest_call_is_found_among_the_tools_and_comes_out_the_same() {
        for (method, path) in [
            ("GET", "/api/v1/summary"),
            ("GET", "/api/v1/state?fields=positions"),
            ("GET", "/api/v1/events?after=7"),
            ("GET", "/api/v1/errors/catalogue/BRK_008"),
            ("GET", "/api/v1/config/versions"),
            ("GET", "/api/v1/workflows/runs/0198"),
            ("POST", "/api/v1/control/reset-breaker?dry_run=true"),
            ("POST", "/api/v1/workflows/restart-bot/execute"),
            ("GET", "/api/v1/health/components/bot"),
        ] {
            let (name, given) = tool_of(method, path).unwrap_or_else(|| panic!("{method} {path}"));
            let call = Tool::named(name).unwrap().request(&object(given)).unwrap();
            assert_eq!((call.method.as_str(), call.path.as_str()), (method, path));
        }
    }

    #[test]
    fn wrong_arguments_are_named_all_at_once() {
        let tool = Tool::named("control_bot").unwrap();
        let error = tool.check(&object(json!({"verb": "buy", "extra": 1}))).unwrap_err();
        let problem = error.problem("r", chrono::Utc::now());
        assert!(problem.errors.len() >= 3, "{:?}", problem.errors);
    }

    #[test]
    fn a_change_without_a_dry_run_counts_as_a_change() {
        let tool = Tool::named("control_bot").unwrap();
        assert!(tool.is_change(&object(json!({}))));
        assert!(!tool.is_change(&object(json!({"dry_run": true}))));
        assert!(!Tool::named("get_state").unwrap().is_change(&object(json!({}))));
    }
}
