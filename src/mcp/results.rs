//! Answers and failures in the form of MCP.

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode};
use serde_json::{Value, json};

use super::lookup::{find_tool, similar_tool, tool_of_call};
use super::message_form::is_id;
use botops_core::error::Problem;

/// The result of a call that succeeded. The answer is in it twice, also as text, for clients that read only text.
pub(super) fn completed_result(value: Value) -> CallToolResult {
    let mut value = match value {
        Value::Object(_) => value,
        // Clients expect structured content to be an object, so a text answer becomes a member of one.
        other => json!({"text": other}),
    };
    name_tools(&mut value);
    CallToolResult::structured(value)
}

/// The result of a call that failed, with the problem for the agent to read.
///
/// Where nothing that it names can be called here, the tool itself can, with arguments that fit.
pub(super) fn failed_result(problem: &Problem, tool: &str) -> CallToolResult {
    let mut value = problem_for_tools(problem);
    if problem.status == 400 {
        lead_on(&mut value, tool);
    }
    let mut result = CallToolResult::error(vec![ContentBlock::text(value.to_string())]);
    result.structured_content = Some(value);
    result
}

/// A problem as a JSON-RPC error, for methods whose results cannot carry a failure.
pub(super) fn rpc_error(problem: &Problem) -> ErrorData {
    let code = if problem.status == 404 { ErrorCode::RESOURCE_NOT_FOUND } else { ErrorCode(-32_001) };
    let text = format!("{}: {}", problem.error_code, problem.cause);
    ErrorData::new(code, text, Some(problem_for_tools(problem)))
}

/// A refused message in the form of JSON-RPC, with the problem as its data.
pub(super) fn refused_message(problem: &Problem, code: i32, message: &Value) -> Value {
    let mut data = problem_for_tools(problem);
    lead_on(&mut data, message["params"]["name"].as_str().unwrap_or_default());
    let id = message.get("id").filter(|id| is_id(id)).cloned().unwrap_or_default();
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": problem.cause, "data": data}})
}

/// Where nothing that a problem names can be called here, names a tool: the one that was meant, with its schema, or the one
/// to start with.
fn lead_on(problem: &mut Value, name: &str) {
    let Some(actions) = problem["next_actions"].as_array_mut() else { return };
    if actions.iter().any(|action| action.get("tool").is_some()) {
        return;
    }
    let call = match find_tool(name).or_else(|| similar_tool(name)) {
        Some(tool) => json!({"operation": "tools/call", "tool": tool.name, "schema": tool.input_schema()}),
        None => json!({"operation": "tools/call", "tool": "get_summary", "arguments": {}}),
    };
    actions.insert(0, call);
}

/// A problem whose next actions name the tool and its arguments as well.
fn problem_for_tools(problem: &Problem) -> Value {
    let mut value = serde_json::to_value(problem).unwrap_or_default();
    name_tools(&mut value);
    value
}

/// Adds to each call among the `next_actions` of an answer the tool that makes it, with its arguments: a client of MCP
/// calls tools and cannot use paths.
fn name_tools(answer: &mut Value) {
    let Some(actions) = answer.get_mut("next_actions").and_then(Value::as_array_mut) else { return };
    for action in actions {
        let method = action["method"].as_str().unwrap_or_default();
        let found = tool_of_call(method, action["path"].as_str().unwrap_or_default(), &action["body"]);
        if let Some((tool, arguments)) = found {
            action["tool"] = json!(tool);
            action["arguments"] = arguments;
        }
    }
}
