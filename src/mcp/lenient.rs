//! What clients send beside the letter of the protocol, taken as it is meant; and what cannot be meant, refused by it.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use botops_core::error::{Code, Error, Problem};
use botops_http::{Actor, BODY_LIMIT, json_with_status};

/// Both forms of an answer, as the protocol wants to see them.
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// A message that is no JSON.
const PARSE_ERROR: i32 = -32_700;

/// JSON that is no message of JSON-RPC 2.0.
const INVALID_REQUEST: i32 = -32_600;

/// Takes a request whose `Accept` allows JSON, the only form that is answered with, and refuses a message that cannot be
/// read with the code that JSON-RPC has for it.
pub(super) async fn take_as_meant(mut request: Request, next: Next) -> Response {
    if accepts_json(&request) {
        request.headers_mut().insert(header::ACCEPT, BOTH);
    }
    let says_json = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let says_json = says_json.is_some_and(|value| value.starts_with("application/json"));
    if request.method() != Method::POST || !says_json {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_LIMIT).await else {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return response;
    };
    let refused = match serde_json::from_slice::<Value>(&bytes) {
        Err(error) => {
            Some(refusal(&parts, PARSE_ERROR, &format!("the message is not JSON: {error}"), &Value::Null))
        }
        Ok(message) => {
            why_no_message(&message).map(|why| refusal(&parts, INVALID_REQUEST, why, &id_of(&message)))
        }
    };
    match refused {
        Some(response) => response,
        None => next.run(Request::from_parts(parts, Body::from(bytes))).await,
    }
}

fn accepts_json(request: &Request) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).iter().peekable();
    accepted.peek().is_none()
        || accepted
            .filter_map(|value| value.to_str().ok())
            .any(|value| ["application/json", "application/*", "*/*"].iter().any(|form| value.contains(form)))
}

fn why_no_message(message: &Value) -> Option<&'static str> {
    if message.is_array() {
        return Some("a batch of messages is not taken: send one message a request");
    }
    if message["jsonrpc"] != "2.0" {
        return Some("the message is not JSON-RPC 2.0: `jsonrpc` is not \"2.0\"");
    }
    let is_answer = message.get("result").is_some() || message.get("error").is_some();
    (!message["method"].is_string() && !is_answer).then_some("the message has no `method`")
}

fn id_of(message: &Value) -> Value {
    message.get("id").filter(|id| id.is_string() || id.is_number()).cloned().unwrap_or_default()
}

/// A refusal in the form of JSON-RPC, with the problem as its data.
fn refusal(parts: &axum::http::request::Parts, code: i32, why: &str, id: &Value) -> Response {
    let request_id = parts.extensions.get::<Actor>().map_or("", |actor| &*actor.request_id);
    let problem: Problem = Error::new(Code::JsonInvalid).detail(why).problem(request_id, chrono::Utc::now());
    let answer =
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": why, "data": problem}});
    json_with_status(StatusCode::BAD_REQUEST, &answer)
}
