//! What must hold whatever arguments a tool is called with: the fuzz target `tool_arguments` and the replay of its seeds go
//! by it.

use axum::http::Uri;
use serde_json::Value;

use super::arguments::{ToolArguments, object};
use super::lookup::{check_arguments, find_tool, tool_of_call};
use super::resources::path_of;
use super::tool::McpTool;
use super::tools::TOOLS;
use botops_core::error::Error;
use botops_http::InternalCall;

/// A text that stands in one argument, and must stand in no refusal.
const SECRET: &str = "bo_c4n4ryS3cr3tC4n4ry";

/// Longest refusal of arguments, in bytes.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// Calls a tool; `place` says which argument begins with a secret.
pub(crate) fn check_tool_call(tool: u8, place: u8, arguments: &str) {
    check_resource(arguments);
    let Some(tool) = TOOLS.get(usize::from(tool) % TOOLS.len()) else { return };
    let Ok(mut value) = serde_json::from_str::<Value>(arguments) else { return };
    let mut left = usize::from(place % 16);
    add_secret(&mut value, &mut left);
    let given = tool.as_meant(&object(value));
    assert_eq!(tool.as_meant(&given), given, "taken as meant twice");
    if let Err(error) = check_arguments(tool, &given) {
        check_refusal(&error);
        return;
    }
    match tool.request(&given) {
        Ok(call) => check_call(tool, &given, &call),
        Err(error) => check_refusal(&error),
    }
}

/// Puts the secret in front of one text, which `left` counts down to. Names are no place for one.
fn add_secret(value: &mut Value, left: &mut usize) {
    match value {
        Value::String(text) if *left == 0 => {
            text.insert_str(0, SECRET);
            *left = usize::MAX;
        }
        Value::String(_) => *left -= 1,
        Value::Array(items) => items.iter_mut().for_each(|item| add_secret(item, left)),
        Value::Object(members) => members.values_mut().for_each(|member| add_secret(member, left)),
        _ => {}
    }
}

fn check_refusal(error: &Error) {
    let problem = error.problem("request", chrono::Utc::now());
    let text = serde_json::to_string(&problem).expect("a problem is plain data");
    assert!(!text.contains(SECRET), "an argument stands in its refusal: {text}");
    assert!(text.len() <= LONGEST_REFUSAL, "a refusal of {} bytes", text.len());
}

/// The call is one that the tool may make, whatever the arguments: the path of one of its routes, and one segment of it for
/// each argument.
fn check_call(tool: &McpTool, given: &ToolArguments, call: &InternalCall) {
    let is_address = call.path.parse::<Uri>().is_ok();
    assert!(is_address, "`{}` is no address", call.path);
    let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\');
    assert!(path.starts_with("/api/v1/") && path.chars().all(is_plain), "{path}");
    assert!(query.chars().all(|c| is_plain(c) && c != '/'), "{query}");
    let is_route = tool.routes.iter().any(|route| route.arguments_of(call.method.as_str(), path).is_some());
    let is_dry_read = call.method == axum::http::Method::GET && !tool.reads;
    assert!(is_route || is_dry_read, "{} {path} is no call of {}", call.method, tool.name);
    assert!(!tool.reads || !tool.is_change(given));
    let Some((name, arguments)) = tool_of_call(call.method.as_str(), &call.path, &Value::Null) else {
        return;
    };
    let again = find_tool(name).and_then(|tool| tool.request(&object(arguments)).ok());
    let Some(again) = again else { return };
    let again = again.path.split('?').next().unwrap_or_default().to_owned();
    assert_eq!(again, path, "the tool that was found for this call makes another one");
}

/// A name of a resource leads to one read.
fn check_resource(uri: &str) {
    let Some(path) = path_of(uri) else { return };
    assert!(path.starts_with("/api/v1/") && path.parse::<Uri>().is_ok(), "{path}");
    assert!(!path.contains("..") && path.matches('/').count() <= 5, "{path}");
}
