//! Refusals, and the status with which each is sent.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use botops_contract::ContractRefusal;
use serde::Serialize;
use serde_json::Value;

/// The code of a call that the bot does not offer.
pub(crate) const NOT_CAPABLE: &str = "not_capable";

/// A refusal without a context.
pub fn refusal(code: &str, message: &str) -> ContractRefusal {
    ContractRefusal { code: code.to_owned(), message: message.to_owned(), context: Value::Null }
}

/// The answer to a read, which can have no effect.
pub(crate) fn read_response<T: Serialize>(answer: Result<T, ContractRefusal>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(refused) if refused.code == NOT_CAPABLE => (StatusCode::NOT_FOUND, Json(refused)).into_response(),
        Err(refused) => (status_of(&refused.code), Json(refused)).into_response(),
    }
}

/// The answer to a command or a change of the config.
pub(crate) fn change_response<T: Serialize>(answer: Result<T, ContractRefusal>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(refused) => (status_of(&refused.code), Json(refused)).into_response(),
    }
}

/// A refusal of the request itself; its text may come from the request.
pub(crate) fn refusal_response(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(refusal(code, &botops_core::text::clean(message, 300)))).into_response()
}

/// A status of 5xx means that the effect is unknown, so refusals without an effect get a 4xx.
fn status_of(code: &str) -> StatusCode {
    match code {
        "apply_failed" | "check_failed" | "hash_mismatch" | "ttl_invalid" => StatusCode::UNPROCESSABLE_ENTITY,
        "busy" => StatusCode::TOO_MANY_REQUESTS,
        "acted_unrecorded" | "stopped" | "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        "no_answer" => StatusCode::GATEWAY_TIMEOUT,
        code if code.starts_with("upstream_") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    }
}
