//! The paths of the contract. There are no keys: the mode of the socket file decides who may connect.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use botops_contract::{BASE, CommandRequest, ContractRefusal, Hello, UPSTREAM_STARTING, Verb};
use botops_core::text::clean;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::event_stream::event_stream;
use super::published::StateCell;
use crate::commands::Commands;
use crate::events::AdapterJournal;
use crate::polling::{PictureCell, UpstreamReach};
use crate::report::{HelloInputs, NOT_MANAGED, build_hello};
use crate::trades::ClosedTradeLog;

/// The largest body of a command.
const LARGEST_BODY: usize = 64 * 1024;

/// What the handlers need; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct ContractServer {
    pub state: StateCell,
    pub hello: HelloInputs,
    pub cell: PictureCell,
    pub journal: AdapterJournal,
    pub trades: ClosedTradeLog,
    pub commands: Commands,
    pub stopping: CancellationToken,
}

/// The contract's routes.
pub(crate) fn contract_routes(server: ContractServer) -> Router {
    let contract = Router::new()
        .route("/hello", get(get_hello))
        .route("/state", get(get_state))
        .route("/events", get(get_events))
        .route("/trades", get(get_trades))
        .route("/config", get(get_config))
        .route("/commands/{verb}", post(post_command).get(get_command_status))
        .route("/config/{verb}", post(refuse_config));
    Router::new()
        .nest(BASE, contract)
        .fallback(async || refusal(StatusCode::NOT_FOUND, "unknown_path", "the contract has no such path"))
        .method_not_allowed_fallback(async || {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "unknown_method", "the path takes another method")
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(server)
}

/// Answered also while freqtrade is away: it says whose adapter this is. Unless freqtrade was never read: then mode and
/// version are not known.
async fn get_hello(State(server): State<ContractServer>) -> Response {
    match server.state.load() {
        Some(published) => axum::Json(&published.hello).into_response(),
        None => match server.cell.reach() {
            UpstreamReach::Refused { code, message } => {
                refusal(StatusCode::SERVICE_UNAVAILABLE, code, &message)
            }
            UpstreamReach::Answers => axum::Json(hello_now(&server)).into_response(),
        },
    }
}

fn hello_now(server: &ContractServer) -> Hello {
    build_hello(&server.hello, &server.cell.load())
}

async fn get_state(State(server): State<ContractServer>, headers: HeaderMap) -> Response {
    if let UpstreamReach::Refused { code, message } = server.cell.reach() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, code, &message);
    }
    let Some(published) = server.state.load() else {
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            UPSTREAM_STARTING,
            "freqtrade's state is being read",
        );
    };
    let etag = published.etag();
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let headers = [(header::ETAG, etag), (header::CONTENT_TYPE, "application/json")];
    (headers, published.body()).into_response()
}

async fn get_events(State(server): State<ContractServer>, headers: HeaderMap) -> Response {
    event_stream(server.journal, &headers, server.stopping).into_response()
}

#[derive(Debug, Deserialize)]
struct TradePageQuery {
    #[serde(default)]
    after: u64,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    limit: Option<usize>,
}

async fn get_trades(
    State(server): State<ContractServer>,
    query: Result<Query<TradePageQuery>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(range)) => {
            let limit = range.limit.unwrap_or(500).clamp(1, 5_000);
            axum::Json(server.trades.page(range.after, range.from, range.to, limit)).into_response()
        }
        Err(wrong) => refusal(StatusCode::BAD_REQUEST, "invalid", &wrong.body_text()),
    }
}

/// freqtrade's config is not kept in versions here: what it echoes can be read, and nothing of it changed.
async fn get_config(State(server): State<ContractServer>) -> Response {
    let echoed = server.state.load().and_then(|published| published.echoed_config.clone());
    let Some(echoed) = echoed else {
        let message = "freqtrade's config was not read yet";
        return refusal(StatusCode::SERVICE_UNAVAILABLE, UPSTREAM_STARTING, message);
    };
    axum::Json(json!({"managed": false, "echoed_config": echoed})).into_response()
}

async fn refuse_config() -> Response {
    refusal(StatusCode::CONFLICT, "not_capable", NOT_MANAGED)
}

async fn post_command(
    State(server): State<ContractServer>,
    UrlPath(verb): UrlPath<String>,
    body: Bytes,
) -> Response {
    let Ok(verb) = verb.parse::<Verb>() else {
        return refusal(StatusCode::NOT_FOUND, "unknown_verb", "the contract has no such verb");
    };
    let request: CommandRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            let message = format!("the body is not understood: {error}");
            return refusal(StatusCode::BAD_REQUEST, "invalid", &message);
        }
    };
    if request.command_id.is_empty() || request.command_id.len() > 128 {
        return refusal(StatusCode::BAD_REQUEST, "invalid", "command_id needs 1 to 128 characters");
    }
    match server.commands.run(verb, request).await {
        Ok(result) => axum::Json(result).into_response(),
        Err(refused) => (refusal_status(&refused.code), axum::Json(refused)).into_response(),
    }
}

async fn get_command_status(
    State(server): State<ContractServer>,
    UrlPath(command_id): UrlPath<String>,
) -> Response {
    axum::Json(server.commands.status(command_id)).into_response()
}

/// A status of 5xx says that the effect is not known; a refusal without an effect gets a 4xx.
fn refusal_status(code: &str) -> StatusCode {
    match code {
        "no_answer" => StatusCode::GATEWAY_TIMEOUT,
        "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        code if code.starts_with("upstream_") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    let refused =
        ContractRefusal { code: code.to_owned(), message: clean(message, 300), context: Value::Null };
    (status, axum::Json(refused)).into_response()
}
