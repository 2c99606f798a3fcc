//! The paths of the contract, for any bot.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use botops_contract::{
    ActivateConfigRequest, BASE, CheckConfigRequest, CommandRequest, EndTrialRequest, Verb,
};
use botops_core::object_reader::read_json_bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::event_stream::event_stream;
use super::refusals::{NOT_CAPABLE, change_response, read_response, refusal, refusal_response};
use super::source::{ConfigSource, ContractAnswer, ContractSource, ShownConfig, TradePageRange};

/// The largest body. A config document has at most 256 KiB; escaped as a JSON string it may need more than twice that.
const LARGEST_BODY: usize = 1024 * 1024;

/// What the handlers need; cloning is cheap.
#[derive(Clone)]
struct RouteContext {
    source: Arc<dyn ContractSource>,
    stopping: CancellationToken,
}

/// The contract's routes. Streams end when `stopping` is cancelled.
pub(crate) fn contract_routes(source: Arc<dyn ContractSource>, stopping: CancellationToken) -> Router {
    let contract = Router::new()
        .route("/hello", get(get_hello))
        .route("/state", get(get_state))
        .route("/events", get(stream_events))
        .route("/trades", get(list_trades))
        .route("/commands/{verb}", post(post_command).get(get_command_status))
        .route("/config", get(get_config))
        .route("/config/schema", get(get_config_schema))
        .route("/config/document", get(get_config_document))
        .route("/config/check", post(check_config))
        .route("/config/activate", post(activate_config))
        .route("/config/commit", post(commit_config))
        .route("/config/revert", post(revert_config));
    Router::new()
        .nest(BASE, contract)
        .fallback(async || {
            refusal_response(StatusCode::NOT_FOUND, "unknown_path", "the contract has no such path")
        })
        .method_not_allowed_fallback(async || {
            refusal_response(
                StatusCode::METHOD_NOT_ALLOWED,
                "unknown_method",
                "the path takes another method",
            )
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(RouteContext { source, stopping })
}

async fn get_hello(State(context): State<RouteContext>) -> Response {
    read_response(context.source.hello())
}

async fn get_state(State(context): State<RouteContext>, headers: HeaderMap) -> Response {
    let rendered = match context.source.state() {
        Ok(rendered) => rendered,
        Err(refused) => return read_response::<()>(Err(refused)),
    };
    let etag = rendered.etag();
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let headers = [(header::ETAG, etag), (header::CONTENT_TYPE, "application/json")];
    (headers, rendered.body()).into_response()
}

async fn stream_events(State(context): State<RouteContext>, headers: HeaderMap) -> Response {
    event_stream(context.source.events(), &headers, context.stopping).into_response()
}

#[derive(Debug, Deserialize)]
struct TradePageQuery {
    #[serde(default)]
    after: u64,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    limit: Option<usize>,
}

async fn list_trades(
    State(context): State<RouteContext>,
    query: Result<Query<TradePageQuery>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(TradePageQuery { after, from, to, limit })) => {
            let limit = limit.unwrap_or(500).clamp(1, 5_000);
            read_response(context.source.trades(&TradePageRange { after, from, to, limit }))
        }
        Err(wrong) => refusal_response(StatusCode::BAD_REQUEST, "invalid", &wrong.body_text()),
    }
}

async fn post_command(
    State(context): State<RouteContext>,
    UrlPath(verb): UrlPath<String>,
    body: Bytes,
) -> Response {
    let Ok(verb) = verb.parse::<Verb>() else {
        return refusal_response(StatusCode::NOT_FOUND, "unknown_verb", "the bot knows no such command");
    };
    let request: CommandRequest = match read_body(&body) {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    if request.command_id.is_empty() || request.command_id.len() > 128 {
        return refusal_response(StatusCode::BAD_REQUEST, "invalid", "command_id needs 1 to 128 characters");
    }
    change_response(context.source.carry_out(verb, request).await)
}

async fn get_command_status(
    State(context): State<RouteContext>,
    UrlPath(command_id): UrlPath<String>,
) -> Response {
    read_response(context.source.command_status(command_id))
}

async fn get_config(State(context): State<RouteContext>) -> Response {
    let Some(config) = context.source.config() else { return no_config() };
    match config.shown().await {
        Ok(ShownConfig::Managed(state)) => read_response(Ok(state)),
        Ok(ShownConfig::Echoed(echoed)) => {
            read_response(Ok(json!({"managed": false, "echoed_config": echoed})))
        }
        Err(refused) => read_response::<()>(Err(refused)),
    }
}

async fn get_config_schema(State(context): State<RouteContext>) -> Response {
    let Some(config) = context.source.config() else { return no_config() };
    match config.schema().await {
        Ok(schema) => ([(header::CONTENT_TYPE, "application/schema+json")], schema).into_response(),
        Err(refused) => read_response::<()>(Err(refused)),
    }
}

async fn get_config_document(State(context): State<RouteContext>) -> Response {
    let Some(config) = context.source.config() else { return no_config() };
    read_response(config.document().await)
}

async fn check_config(State(context): State<RouteContext>, body: Bytes) -> Response {
    change_config(&context, &body, |config, request: CheckConfigRequest| config.check(request)).await
}

async fn activate_config(State(context): State<RouteContext>, body: Bytes) -> Response {
    change_config(&context, &body, |config, request: ActivateConfigRequest| config.activate(request)).await
}

async fn commit_config(State(context): State<RouteContext>, body: Bytes) -> Response {
    change_config(&context, &body, |config, request: EndTrialRequest| config.commit(request)).await
}

async fn revert_config(State(context): State<RouteContext>, body: Bytes) -> Response {
    change_config(&context, &body, |config, request: EndTrialRequest| config.revert(request)).await
}

async fn change_config<Q: DeserializeOwned, A: Serialize>(
    context: &RouteContext,
    body: &[u8],
    change: fn(&dyn ConfigSource, Q) -> ContractAnswer<A>,
) -> Response {
    let Some(config) = context.source.config() else { return no_config() };
    if let Some(refused) = config.refuses_changes() {
        return change_response::<()>(Err(refused));
    }
    match read_body(body) {
        Ok(request) => change_response(change(config, request).await),
        Err(refused) => refused,
    }
}

fn no_config() -> Response {
    read_response::<()>(Err(refusal(NOT_CAPABLE, "this bot has no config that could be changed here")))
}

#[expect(clippy::result_large_err, reason = "the refusal is the answer, made once and sent at once")]
fn read_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    read_json_bytes(body).map_err(|error| {
        refusal_response(StatusCode::BAD_REQUEST, "invalid", &format!("the body is not understood: {error}"))
    })
}
