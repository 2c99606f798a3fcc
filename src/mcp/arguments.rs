//! Helpers that turn the arguments of a tool call into parts of a REST call.

use rmcp::model::JsonObject;
use serde_json::{Map, Value};

use botops_core::error::{Code, Error};
use botops_core::text::percent_encode;

/// The arguments as the client sent them.
pub(super) type ToolArguments = Map<String, Value>;

pub(super) fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}

/// An argument as text; empty when it is missing.
pub(super) fn text_of<'a>(given: &'a ToolArguments, name: &str) -> &'a str {
    given.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether the caller asks for a dry run.
pub(super) fn is_dry_run(given: &ToolArguments) -> bool {
    given.get("dry_run") == Some(&Value::Bool(true))
}

/// The arguments of these names as a query with its `?`; empty when none of them was given.
pub(super) fn query(given: &ToolArguments, names: &[&str]) -> String {
    let value = |name: &&str| match given.get(*name)? {
        Value::String(text) => Some(format!("{name}={}", percent_encode(text))),
        Value::Null => None,
        other => Some(format!("{name}={}", percent_encode(&other.to_string()))),
    };
    let pairs: Vec<String> = names.iter().filter_map(value).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// The arguments of these names as a JSON object, for the body.
pub(super) fn members(given: &ToolArguments, names: &[&str]) -> Value {
    let members = names.iter().filter_map(|name| Some(((*name).to_owned(), given.get(*name)?.clone())));
    Value::Object(members.collect())
}

/// # Errors
/// [`Code::ArgumentInvalid`] when the argument is missing or empty.
pub(super) fn required_text<'a>(given: &'a ToolArguments, name: &str) -> Result<&'a str, Error> {
    let value = text_of(given, name);
    if value.is_empty() {
        return Err(Error::new(Code::ArgumentInvalid).detail(format!("`{name}` is missing")).field(
            format!("/{name}"),
            Value::Null,
            "a value",
        ));
    }
    Ok(value)
}
