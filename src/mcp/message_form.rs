//! The form of a message of JSON-RPC 2.0 and of MCP: what is wrong with one that is JSON.

use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage};
use serde_json::Value;

use super::lookup::shown;
use botops_core::error::{Code, Error, FieldError};

/// JSON that is no message of JSON-RPC 2.0.
const INVALID_REQUEST: i32 = -32_600;

/// A message whose parameters are not those of its method.
pub(super) const INVALID_PARAMS: i32 = -32_602;

/// The member of `_meta` with which each request of protocol version 2026-07-28 and later says its version.
const STATELESS: &str = "io.modelcontextprotocol/protocolVersion";

/// A parameter and its type, in words.
type MethodParam = (&'static str, &'static str);

/// The parameters of the methods: those that must be there, and those that may, each with its type. `a/b` is the member `b`
/// of `a`.
const METHODS: &[(&str, &[MethodParam], &[MethodParam])] = &[
    (
        "initialize",
        &[
            ("protocolVersion", "a text"),
            ("capabilities", "an object"),
            ("clientInfo", "an object"),
            ("clientInfo/name", "a text"),
            ("clientInfo/version", "a text"),
        ],
        &[],
    ),
    ("tools/call", &[("name", "a text")], &[("arguments", "an object")]),
    ("tools/list", &[], &[("cursor", "a text")]),
    ("resources/list", &[], &[("cursor", "a text")]),
    ("resources/templates/list", &[], &[("cursor", "a text")]),
    ("resources/read", &[("uri", "a text")], &[]),
    ("prompts/list", &[], &[("cursor", "a text")]),
    ("prompts/get", &[("name", "a text")], &[("arguments", "an object")]),
    ("tasks/get", &[("taskId", "a text")], &[]),
    ("tasks/cancel", &[("taskId", "a text")], &[]),
    ("tasks/update", &[("taskId", "a text")], &[]),
    ("ping", &[], &[]),
    ("server/discover", &[], &[]),
];

/// What becomes of a message.
pub(super) enum MessageForm {
    /// It can be read.
    Readable,
    /// A notification that cannot be read: it gets no answer, whatever is wrong.
    UnreadableNotification,
    /// It is refused with this code of JSON-RPC.
    Refused(i32, Error),
}

/// Whether a message can be read, and what is wrong if not.
pub(super) fn form_of(message: &Value) -> MessageForm {
    if let Some((why, wrong)) = wrong_request(message) {
        return MessageForm::Refused(
            INVALID_REQUEST,
            Error::new(Code::JsonInvalid).detail(why).fields(vec![wrong]),
        );
    }
    let read = serde_json::from_value::<ClientJsonRpcMessage>(message.clone());
    let Some(method) = message["method"].as_str() else {
        return if read.is_ok() { MessageForm::Readable } else { unreadable(message) };
    };
    if message.get("id").is_none() {
        return if read.is_ok() { MessageForm::Readable } else { MessageForm::UnreadableNotification };
    }
    // Without a handshake there is no `initialize`, whatever its parameters are; who serves the protocol says so.
    if method == "initialize" && !message["params"]["_meta"][STATELESS].is_null() {
        return MessageForm::Readable;
    }
    let wrong = wrong_params(method, &message["params"]);
    let is_known = METHODS.iter().any(|(known, ..)| *known == method);
    let is_unread = match &read {
        Err(_) => true,
        Ok(JsonRpcMessage::Request(request)) => {
            is_known && matches!(request.request, ClientRequest::CustomRequest(_))
        }
        Ok(_) => false,
    };
    if wrong.is_empty() && !is_unread {
        return MessageForm::Readable;
    }
    let wrong = if wrong.is_empty() {
        vec![field("/params", "an object", format!("the parameters that MCP has for {}", known_name(method)))]
    } else {
        wrong
    };
    let why = format!("the parameters of {} cannot be used", known_name(method));
    MessageForm::Refused(INVALID_PARAMS, Error::new(Code::ArgumentInvalid).detail(why).fields(wrong))
}

fn unreadable(message: &Value) -> MessageForm {
    let wrong = field("", shown(message), "a request, a notification or a response of JSON-RPC 2.0");
    let error = Error::new(Code::JsonInvalid).detail("the message is none of MCP").fields(vec![wrong]);
    MessageForm::Refused(INVALID_REQUEST, error)
}

/// The name of a method; others than the known are not repeated.
fn known_name(method: &str) -> &'static str {
    let known = METHODS.iter().map(|(known, ..)| *known);
    known.into_iter().find(|known| *known == method).unwrap_or("this method")
}

fn field(pointer: impl Into<String>, got: impl Into<Value>, expected: impl Into<String>) -> FieldError {
    FieldError {
        pointer: pointer.into(),
        got: got.into(),
        expected: expected.into(),
        ..FieldError::default()
    }
}

/// Why this is no request, notification or response of JSON-RPC 2.0 as MCP takes it.
fn wrong_request(message: &Value) -> Option<(&'static str, FieldError)> {
    if message.is_array() {
        let wrong = field("", shown(message), "an object: one message a request");
        return Some(("a batch of messages is not taken: send one message a request", wrong));
    }
    if !message.is_object() {
        return Some(("the message is no object", field("", shown(message), "an object")));
    }
    if message["jsonrpc"] != "2.0" {
        let why = "the message is not JSON-RPC 2.0: `jsonrpc` is not \"2.0\"";
        return Some((why, field("/jsonrpc", shown(&message["jsonrpc"]), "\"2.0\"")));
    }
    if let Some(id) = message.get("id")
        && !is_id(id)
    {
        let wrong = field("/id", shown(id), "a text or a whole number; a notification has no `id`");
        return Some(("the `id` is neither a text nor a whole number", wrong));
    }
    let is_answer = message.get("result").is_some() || message.get("error").is_some();
    if !message["method"].is_string() && !is_answer {
        let wrong = field("/method", shown(&message["method"]), "the name of a method, such as tools/call");
        return Some(("the message has no `method`", wrong));
    }
    None
}

/// Whether this identifies a request: MCP takes texts and whole numbers, and no `null`.
pub(super) fn is_id(id: &Value) -> bool {
    let is_whole = |number: f64| number.fract() == 0.0 && number.abs() < 9.0e18;
    id.is_string() || id.is_i64() || (id.is_f64() && id.as_f64().is_some_and(is_whole))
}

/// What is wrong with the parameters of a method.
fn wrong_params(method: &str, params: &Value) -> Vec<FieldError> {
    if !params.is_null() && !params.is_object() {
        return vec![field("/params", shown(params), "an object")];
    }
    if params.get("_meta").is_some_and(|meta| !meta.is_object() && !meta.is_null()) {
        return vec![field("/params/_meta", shown(&params["_meta"]), "an object")];
    }
    let found = METHODS.iter().find(|(known, ..)| *known == method);
    let Some((_, required, optional)) = found else { return Vec::new() };
    let mut wrong = Vec::new();
    let all = required.iter().map(|one| (one, true)).chain(optional.iter().map(|one| (one, false)));
    for ((name, expected), is_required) in all {
        let pointer = format!("/{name}");
        let given = params.pointer(&pointer).unwrap_or(&Value::Null);
        let fits = match *expected {
            "a text" => given.is_string(),
            _ => given.is_object(),
        };
        let is_left_out = given.is_null() && !is_required;
        if !fits && !is_left_out {
            wrong.push(field(format!("/params{pointer}"), shown(given), *expected));
        }
    }
    wrong
}
