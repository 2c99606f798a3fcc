//! What clients send beside the letter of the protocol, taken as it is meant; and what cannot be meant, refused by it.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::message_form::{INVALID_PARAMS, MessageForm, form_of};
use super::results::refused_message;
use botops_core::error::{Code, Error};
use botops_http::{Actor, BODY_LIMIT, json_with_status, why_not_plain_json};

/// Both forms of an answer, as the protocol wants to see them.
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// A message that is no JSON.
const PARSE_ERROR: i32 = -32_700;

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
    if let Some(error) = why_not_plain_json(&parts.headers, &bytes) {
        return refusal(&parts, StatusCode::UNSUPPORTED_MEDIA_TYPE, PARSE_ERROR, &error, &Value::Null);
    }
    let message = match serde_json::from_slice::<Value>(&bytes) {
        Ok(message) => message,
        Err(error) => {
            let place = format!("line {}, column {}", error.line(), error.column());
            let error =
                Error::new(Code::JsonInvalid).detail(format!("the message is not JSON: {error}")).field(
                    "",
                    format!("no JSON at {place}"),
                    "one message of JSON-RPC 2.0, and nothing after it",
                );
            return refusal(&parts, StatusCode::BAD_REQUEST, PARSE_ERROR, &error, &Value::Null);
        }
    };
    match form_of(&message) {
        MessageForm::Readable => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        MessageForm::UnreadableNotification => StatusCode::ACCEPTED.into_response(),
        MessageForm::Refused(code, error) => {
            // A request that can be answered is answered as any other call that fails in the protocol.
            let is_answered = code == INVALID_PARAMS;
            let status = if is_answered { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            refusal(&parts, status, code, &error, &message)
        }
    }
}

fn accepts_json(request: &Request) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).iter().peekable();
    accepted.peek().is_none()
        || accepted
            .filter_map(|value| value.to_str().ok())
            .any(|value| ["application/json", "application/*", "*/*"].iter().any(|form| value.contains(form)))
}

/// A refusal in the form of JSON-RPC, with the problem as its data.
fn refusal(
    parts: &axum::http::request::Parts,
    status: StatusCode,
    code: i32,
    error: &Error,
    message: &Value,
) -> Response {
    let request_id = parts.extensions.get::<Actor>().map_or("", |actor| &*actor.request_id);
    let problem = error.problem(request_id, chrono::Utc::now());
    json_with_status(status, &refused_message(&problem, code, message))
}
