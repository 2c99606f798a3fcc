//! Finds tools by name and by the REST call they make, and checks their arguments.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::{Value, json};

use super::arguments::{ToolArguments, text_of};
use super::route::{RouteChoice, ToolRoute};
use super::tool::McpTool;
use super::tools::TOOLS;
use botops_core::error::{Code, Error, FieldError};
use botops_core::text::{clean, percent_decode};

/// The tool with this name.
pub(super) fn find_tool(name: &str) -> Option<&'static McpTool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The tool whose subject is in a name that no tool has: `pause_bot` is about the bot.
pub(super) fn similar_tool(name: &str) -> Option<&'static McpTool> {
    TOOLS.iter().rev().find(|tool| {
        let subject = tool.name.split('_').nth(1).unwrap_or(tool.name);
        name.split(|c: char| !c.is_ascii_alphabetic())
            .any(|word| word.trim_end_matches('s').eq_ignore_ascii_case(subject.trim_end_matches('s')))
    })
}

static VALIDATORS: LazyLock<Vec<Validator>> = LazyLock::new(|| {
    let build = |tool: &McpTool| {
        jsonschema::validator_for(&tool.input_schema())
            .expect("the tools' schemas are fixed and a test builds them")
    };
    TOOLS.iter().map(build).collect()
});

/// Refuses arguments that do not fit the tool's schema, and names all of them.
///
/// # Errors
/// [`Code::ArgumentInvalid`] with one field for each of them.
pub(super) fn check_arguments(tool: &McpTool, given: &ToolArguments) -> Result<(), Error> {
    let place = TOOLS.iter().position(|known| known.name == tool.name).unwrap_or_default();
    let Some(validator) = VALIDATORS.get(place) else { return Ok(()) };
    let (value, schema) = (Value::Object(given.clone()), tool.input_schema());
    let wrong: Vec<FieldError> =
        validator.iter_errors(&value).map(|error| wrong_argument(&error, &schema)).collect();
    if wrong.is_empty() {
        return check_use(tool, given);
    }
    Err(Error::new(Code::ArgumentInvalid)
        .detail(format!("the arguments of {} do not fit its schema", tool.name))
        .fields(wrong))
}

/// Refuses arguments that the chosen view, verb or action does nothing with: whoever gives one means something by it. An
/// empty one says nothing.
fn check_use(tool: &McpTool, given: &ToolArguments) -> Result<(), Error> {
    let Some(route) = tool.chosen_route(given) else { return Ok(()) };
    let says_the_same = |name: &str| {
        let same = route.says_the_same.iter().find(|(known, _)| *known == name);
        same.is_some_and(|(known, value)| text_of(given, known) == *value)
    };
    let is_unused = |name: &str| !tool.uses(route, name) && !says_the_same(name);
    let unused = given.iter().filter(|(name, value)| is_unused(name) && !is_blank(value));
    let chosen = choice_words(tool, route, given);
    let schema = tool.input_schema();
    let taken: Vec<&str> =
        known_arguments(&schema).into_iter().filter(|name| tool.uses(route, name)).collect();
    let wrong: Vec<FieldError> = unused
        .map(|(name, value)| FieldError {
            pointer: format!("/{name}"),
            got: shown(value),
            expected: format!(
                "left out: {chosen} takes {}; `{name}` goes with {}",
                taken.join(", "),
                users_of(tool, name)
            ),
            ..FieldError::default()
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let names: Vec<String> =
        wrong.iter().map(|field| format!("`{}`", field.pointer.trim_start_matches('/'))).collect();
    Err(Error::new(Code::ArgumentInvalid)
        .detail(format!("{chosen} does nothing with {}; nothing was done", names.join(" and ")))
        .fields(wrong))
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What chose a row, in words.
fn choice_words(tool: &McpTool, route: &ToolRoute, given: &ToolArguments) -> String {
    match route.choice {
        RouteChoice::Always => match tool.selector() {
            Some(name) if !text_of(given, name).is_empty() => format!("`{name}` {}", text_of(given, name)),
            Some(name) => format!("{} without `{name}`", tool.name),
            None => tool.name.to_owned(),
        },
        _ => chooser_words(tool, route),
    }
}

/// What chooses a row, in words, whatever was given.
fn chooser_words(tool: &McpTool, route: &ToolRoute) -> String {
    match route.choice {
        RouteChoice::Always => match tool.selector().filter(|name| tool.required.contains(name)) {
            Some(name) => format!("any other `{name}`"),
            None => format!("{} without these", tool.name),
        },
        RouteChoice::Given(name) => format!("`{name}`"),
        RouteChoice::Is(name, value) | RouteChoice::IsWith(name, value, _) => format!("`{name}` {value}"),
    }
}

/// What an argument goes with, in words.
fn users_of(tool: &McpTool, name: &str) -> String {
    let users = tool.routes.iter().filter(|route| tool.uses(route, name));
    let mut words: Vec<String> = users.map(|route| chooser_words(tool, route)).collect();
    words.dedup();
    words.join(", ")
}

/// An argument that does not fit, in the words of the schema.
fn wrong_argument(error: &ValidationError<'_>, schema: &Value) -> FieldError {
    let place = error.instance_path().to_string();
    let (pointer, got, expected) = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let name = unexpected.first().map_or_else(String::new, |name| clean(name, 60));
            (format!("{place}/{name}"), name.into(), format!("one of {}", known_arguments(schema).join(", ")))
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            (format!("{place}/{name}"), Value::Null, words_of(&schema["properties"][name]))
        }
        _ => {
            let part = place.split('/').skip(1).fold(schema, |part, step| match step.parse::<usize>() {
                Ok(_) => &part["items"],
                Err(_) => &part["properties"][step],
            });
            (place, shown(error.instance()), words_of(part))
        }
    };
    FieldError { pointer, got, expected, ..FieldError::default() }
}

fn known_arguments(schema: &Value) -> Vec<&str> {
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// A value that did not fit, if it is short and cannot be a secret that somebody typed into the wrong place; else its type.
pub(super) fn shown(value: &Value) -> Value {
    match value {
        Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
        Value::String(text)
            if text.chars().count() <= 20
                && text.chars().all(|c| c.is_ascii_alphabetic() || c == '-' || c == '_') =>
        {
            value.clone()
        }
        Value::String(_) => json!("another text"),
        Value::Array(_) => json!("a list"),
        Value::Object(_) => json!("an object"),
    }
}

/// What a schema asks for, in its own words.
fn words_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", values.join(", "));
    }
    let mut words = schema["type"].as_str().unwrap_or("a value").to_owned();
    for (keyword, said) in
        [("minimum", "at least"), ("maximum", "at most"), ("minLength", "characters at least")]
    {
        if let Some(limit) = schema[keyword].as_i64() {
            words += &format!(", {said} {limit}");
        }
    }
    if let Some(description) = schema["description"].as_str() {
        words += &format!(" ({description})");
    }
    words
}

/// The tool, and its arguments, that make this REST call, for clients that can only call tools. Members of the body that
/// the tool takes are arguments of the same name.
pub(super) fn tool_of_call(method: &str, path: &str, body: &Value) -> Option<(&'static str, Value)> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut given = ToolArguments::new();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let value = percent_decode(value).unwrap_or_else(|| value.to_owned());
        let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
        given.insert(name.to_owned(), value);
    }
    let is_dry = given.remove("dry_run").is_some();
    let routes = TOOLS.iter().flat_map(|tool| tool.routes.iter().map(move |route| (tool, route)));
    let found =
        routes.into_iter().find_map(|(tool, route)| Some((tool, route, route.arguments_of(method, path)?)));
    let (tool, route, arguments) = found?;
    let of_body = body.as_object().into_iter().flatten();
    given.extend(of_body.map(|(name, value)| (name.clone(), value.clone())));
    // The tool refuses what this call of it does not use.
    given.retain(|name, _| tool.uses(route, name));
    given.extend(arguments);
    if is_dry {
        given.insert("dry_run".to_owned(), json!(true));
    }
    Some((tool.name, Value::Object(given)))
}

#[cfg(test)]
mod tests {
    use super::super::arguments::object;
    use super::super::route::RouteChoice;
    use super::*;

    #[test]
    fn every_schema_builds_and_no_tool_is_named_twice() {
        assert_eq!(VALIDATORS.len(), TOOLS.len());
        assert!(TOOLS.len() <= 14);
        for (place, tool) in TOOLS.iter().enumerate() {
            assert!(TOOLS.iter().skip(place + 1).all(|other| other.name != tool.name), "{}", tool.name);
        }
    }

    /// A row that names an argument which the schema does not take could never be chosen or filled.
    #[test]
    fn every_row_names_arguments_of_its_tool_and_some_row_is_always_chosen() {
        for tool in TOOLS {
            let properties = object((tool.properties)());
            for route in tool.routes {
                let in_path = route.path.split(['{', '}']).skip(1).step_by(2);
                let chosen_by = match route.choice {
                    RouteChoice::Always => None,
                    RouteChoice::Given(name) | RouteChoice::Is(name, _) | RouteChoice::IsWith(name, ..) => {
                        Some(name)
                    }
                };
                for name in in_path.chain(chosen_by).chain(route.query.iter().copied()) {
                    assert!(properties.contains_key(name), "{} {}: {name}", tool.name, route.path);
                }
            }
            let some_is_chosen = match tool.routes.last().unwrap().choice {
                RouteChoice::Always => true,
                RouteChoice::Given(name) | RouteChoice::Is(name, _) | RouteChoice::IsWith(name, ..) => {
                    tool.required.contains(&name)
                }
            };
            assert!(some_is_chosen, "{}", tool.name);
        }
    }

    #[test]
    fn the_list_of_tools_fits_its_tokens() {
        let list: Vec<_> = TOOLS.iter().map(McpTool::described).collect();
        let text = serde_json::to_string(&list).unwrap();
        let tokens = tiktoken_rs::o200k_base_singleton().encode_ordinary(&text).len();
        println!("tools/list: {} tools, {} bytes, {tokens} tokens", list.len(), text.len());
        assert!(tokens <= 2_200, "{tokens} tokens");
    }

    #[test]
    fn arguments_cannot_leave_their_place_in_a_path() {
        let given = object(json!({"run_id": "../../control/flatten?x=1#"}));
        let call = find_tool("list_workflows").unwrap().request(&given).unwrap();
        assert_eq!(call.path, "/api/v1/workflows/runs/..%2F..%2Fcontrol%2Fflatten%3Fx%3D1%23");
    }

    #[test]
    fn a_rest_call_is_found_among_the_tools_and_comes_out_the_same() {
        for (method, path) in [
            ("GET", "/api/v1/summary"),
            ("GET", "/api/v1/state?fields=positions"),
            ("GET", "/api/v1/events?after=7"),
            ("GET", "/api/v1/errors/catalogue/BRK_008"),
            ("GET", "/api/v1/whoami"),
            ("GET", "/api/v1/config"),
            ("GET", "/api/v1/config/versions"),
            ("GET", "/api/v1/config/txns/7"),
            ("POST", "/api/v1/config/validate"),
            ("PUT", "/api/v1/config/apply?dry_run=true"),
            ("POST", "/api/v1/config/txns/7/cancel"),
            ("GET", "/api/v1/workflows/restart-bot"),
            ("GET", "/api/v1/workflows/runs/0198"),
            ("GET", "/api/v1/workflows/runs/a%2Fb%3Fc"),
            ("GET", "/api/v1/state?fields=a%20b"),
            ("POST", "/api/v1/workflows/runs/0198/cancel"),
            ("POST", "/api/v1/control/reset-breaker?dry_run=true"),
            ("POST", "/api/v1/workflows/restart-bot/execute"),
            ("GET", "/api/v1/health/status"),
            ("GET", "/api/v1/health/alerts"),
            ("GET", "/api/v1/health/components/bot"),
        ] {
            let (name, given) =
                tool_of_call(method, path, &Value::Null).unwrap_or_else(|| panic!("{method} {path}"));
            let call = find_tool(name).unwrap().request(&object(given)).unwrap();
            assert_eq!((call.method.as_str(), call.path.as_str()), (method, path));
        }
    }

    #[test]
    fn the_body_of_a_call_is_among_the_arguments_and_comes_out_the_same() {
        for (method, path, body) in [
            (
                "POST",
                "/api/v1/workflows/restart-bot/execute?dry_run=true",
                json!({"params": {"reason": "a test", "cancel_resting": false}}),
            ),
            ("POST", "/api/v1/control/pause", json!({"reason": "a test", "args": {"durable": true}})),
            ("PUT", "/api/v1/config/rollback", json!({"to": "previous", "reason": "a test"})),
        ] {
            let (name, given) = tool_of_call(method, path, &body).unwrap();
            let call = find_tool(name).unwrap().request(&object(given)).unwrap();
            assert_eq!((call.path.as_str(), call.body), (path, Some(body)), "{name}");
        }
    }

    #[test]
    fn other_addresses_of_a_read_lead_to_its_tool() {
        let check = |path: &str, tool: &'static str, arguments: Value| {
            assert_eq!(tool_of_call("GET", path, &Value::Null), Some((tool, arguments)), "{path}");
        };
        check("/api/v1/errors/BRK_008", "explain", json!({"topic": "BRK_008"}));
        check("/api/v1/workflows/restart-bot/runs", "list_workflows", json!({"workflow_id": "restart-bot"}));
        check("/api/v1/health/status", "get_health", json!({"view": "status"}));
        assert_eq!(tool_of_call("GET", "/readyz", &Value::Null), None);
        assert_eq!(tool_of_call("DELETE", "/api/v1/summary", &Value::Null), None);
    }

    #[test]
    fn what_has_no_dry_run_is_shown_by_a_read() {
        let check = |tool: &str, arguments: Value, path: &str| {
            let call = find_tool(tool).unwrap().request(&object(arguments)).unwrap();
            assert_eq!((call.method.as_str(), call.path.as_str()), ("GET", path));
            assert!(call.headers.is_empty());
        };
        let confirm = json!({"action": "confirm", "txn": "7", "dry_run": true, "idempotency_key": "k"});
        check("change_config", confirm, "/api/v1/config/txns/7");
        check("run_workflow", json!({"cancel_run": "9", "dry_run": true}), "/api/v1/workflows/runs/9");
    }

    #[test]
    fn wrong_arguments_are_named_all_at_once() {
        let tool = find_tool("control_bot").unwrap();
        let error = check_arguments(tool, &object(json!({"verb": "buy", "extra": 1}))).unwrap_err();
        let problem = error.problem("r", chrono::Utc::now());
        assert!(problem.errors.len() >= 3, "{:?}", problem.errors);
    }

    #[test]
    fn a_change_without_a_dry_run_counts_as_a_change() {
        let tool = find_tool("control_bot").unwrap();
        assert!(tool.is_change(&object(json!({}))));
        assert!(!tool.is_change(&object(json!({"dry_run": true}))));
        assert!(!find_tool("get_state").unwrap().is_change(&object(json!({}))));
    }
}
