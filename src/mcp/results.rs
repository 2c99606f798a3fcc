//! Answers and failures as a client of MCP sees them.

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode};
use serde_json::{Value, json};

use super::lookup::tool_of_call;
use botops_core::error::Problem;

/// A finished call: the text is the whole answer again, for clients that read only text.
pub(super) fn completed_result(value: Value) -> CallToolResult {
    let value = match value {
        Value::Object(_) => value,
        // Structured content is an object for every client in use; a text answer gets a name.
        other => json!({"text": other}),
    };
    CallToolResult::structured(value)
}

/// A call that failed; the agent reads why.
pub(super) fn failed_result(problem: &Problem) -> CallToolResult {
    let value = problem_for_tools(problem);
    let mut result = CallToolResult::error(vec![ContentBlock::text(value.to_string())]);
    result.structured_content = Some(value);
    result
}

/// A problem as a JSON-RPC error, where the protocol has no other place for it.
pub(super) fn rpc_error(problem: &Problem) -> ErrorData {
    let code = if problem.status == 404 { ErrorCode::RESOURCE_NOT_FOUND } else { ErrorCode(-32_001) };
    let text = format!("{}: {}", problem.error_code, problem.cause);
    ErrorData::new(code, text, Some(problem_for_tools(problem)))
}

/// A problem whose next actions name the tool and its arguments as well.
fn problem_for_tools(problem: &Problem) -> Value {
    let mut value = serde_json::to_value(problem).unwrap_or_default();
    // A client of MCP has tools, not paths.
    for action in value["next_actions"].as_array_mut().into_iter().flatten() {
        let method = action["method"].as_str().unwrap_or_default();
        let found = tool_of_call(method, action["path"].as_str().unwrap_or_default());
        if let Some((tool, arguments)) = found {
            action["tool"] = json!(tool);
            action["arguments"] = arguments;
        }
    }
    value
}
