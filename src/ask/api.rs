//! The route of plain language.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::service::AskService;
use super::views::AskView;
use botops_core::error::{Code, Error};
use botops_http::{self, Actor, FeatureRoutes, Json, routes};

/// Longest text that is read, in characters: enough for a question.
const TEXT_MAX: usize = 500;

/// A question or a request in plain words.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AskRequest {
    /// One question or request, in English.
    #[schema(example = "why did it stop trading", min_length = 1, max_length = 500)]
    text: String,
}

/// The routes of plain language.
pub(crate) fn routes() -> FeatureRoutes<AskService> {
    FeatureRoutes::new([routes!(ask)])
}

/// Ask in plain words
///
/// Offline and deterministic: one text becomes one call. A read is performed at once, its answer is in `answer`. A
/// change is never made: `call` is its dry run, `command` and `options[0]` would make it. An ambiguous text has two or
/// more `options` and no `call`. A refused one has `refused` and neither `intent` nor `call`.
#[utoipa::path(post, path = "/api/v1/ask", tag = "agents", security(("api_key" = ["read"])),
    request_body(content = AskRequest, examples(
        ("summary" = (value = json!({"text": "how are we doing"}))),
        ("why" = (value = json!({"text": "why did it stop trading"}))),
        ("undo" = (value = json!({"text": "undo the last config change"}))))),
    responses((status = 200, description = "What the text came to", body = AskView, example = json!({
            "intent": "market", "confidence": 1.0, "effect": "read",
            "call": {"method": "GET", "path": "/api/v1/state?fields=market_status,market"},
            "answer": {"market_status": "OPEN"},
            "command": "curl -sS -H \"X-API-Key: $BOT_API_AUTH_TOKEN\" 'http://127.0.0.1:8000/api/v1/state?fields=market_status,market'",
            "options": []}))))]
async fn ask(
    State(ask): State<AskService>,
    actor: Actor,
    headers: HeaderMap,
    Json(request): Json<AskRequest>,
) -> Result<Response, Error> {
    let text = check_text(&request.text)?;
    let view = Box::pin(ask.ask(&actor, &text, host_of(&headers))).await;
    Ok(botops_http::json(&view))
}

/// The text without invisible characters; refused when it is empty or longer than [`TEXT_MAX`].
fn check_text(text: &str) -> Result<String, Error> {
    let clean = botops_core::text::clean(text.trim(), TEXT_MAX + 1);
    let count = clean.chars().count();
    if clean.trim().is_empty() || count > TEXT_MAX {
        return Err(Error::new(Code::ArgumentInvalid).detail("the text cannot be a question").field(
            "/text",
            botops_core::text::clean(text, 40),
            format!("1 to {TEXT_MAX} characters"),
        ));
    }
    Ok(clean)
}

/// The host under which the caller reached botops, for the commands. Anything that is not plainly a host is replaced.
fn host_of(headers: &HeaderMap) -> &str {
    let given = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_plain =
        given.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '[' | ']'));
    if given.is_empty() || given.len() > 255 || !is_plain { "127.0.0.1:8000" } else { given }
}
