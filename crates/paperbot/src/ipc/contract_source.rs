//! The bot contract over HTTP/1.1 on a Unix socket.
//!
//! Reads are answered from the last snapshot and the journal; commands go into the inbox. Nothing here can make the
//! trading loop wait. There are no keys: the mode of the socket file decides who may connect.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::inbox::{IpcInbox, IpcRequest, QueuedCommand, withdrawn_refusal};
use super::journal::EventJournal;
use super::session_commands::SessionCommands;
use super::snapshot::PublishedSnapshot;
use crate::config::check::check_candidate;
use crate::config::document::SCHEMA;
use botops_contract::{
    ActivateConfigRequest, BASE, BotEvent, CheckConfigRequest, CommandProgress, CommandRequest,
    CommandStatus, ContractRefusal, EndTrialRequest, Hello, RunningDocument, Verb,
};
use botops_core::object_reader::read_json_bytes;

/// The largest body. A config document has at most 256 KiB; escaped as a JSON string it may need more than twice that.
const LARGEST_BODY: usize = 1024 * 1024;
/// Events taken from the journal at once, so that a stream holds its lock only briefly.
const EVENT_BATCH: usize = 200;

/// The shared state of the handlers; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct IpcServer {
    pub hello: Arc<Hello>,
    pub snapshot: Arc<ArcSwap<PublishedSnapshot>>,
    pub journal: EventJournal,
    pub inbox: IpcInbox,
    pub session: Option<SessionCommands>,
    pub stopping: CancellationToken,
}

/// The contract's routes.
pub(crate) fn routes(server: IpcServer) -> Router {
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
        .with_state(server)
}

async fn get_hello(State(server): State<IpcServer>) -> Response {
    axum::Json(&*server.hello).into_response()
}

async fn get_state(State(server): State<IpcServer>, headers: HeaderMap) -> Response {
    let snapshot = server.snapshot.load_full();
    let etag = snapshot.etag();
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let headers = [(header::ETAG, etag), (header::CONTENT_TYPE, "application/json".to_owned())];
    (headers, snapshot.body()).into_response()
}

async fn stream_events(
    State(server): State<IpcServer>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (epoch, seq) = last.rsplit_once('/').unwrap_or_default();
    // Numbers begin anew with each process: a reader that knew an earlier one gets every event that is kept.
    let seq = if server.hello.boot_epoch.as_deref() == Some(epoch) { seq.parse().unwrap_or(0) } else { 0 };
    let latest = server.journal.watch_latest();
    let begin = EventStreamReader { server, seq, latest, batch: Vec::new().into_iter() };
    let stream = stream::unfold(begin, async |mut reader| {
        let event = reader.next_event().await?;
        Some((Ok(event_frame(&event)), reader))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)).text("alive"))
}

struct EventStreamReader {
    server: IpcServer,
    seq: u64,
    latest: tokio::sync::watch::Receiver<u64>,
    batch: std::vec::IntoIter<Arc<BotEvent>>,
}

impl EventStreamReader {
    async fn next_event(&mut self) -> Option<Arc<BotEvent>> {
        loop {
            if let Some(event) = self.batch.next() {
                self.seq = event.seq;
                return Some(event);
            }
            self.latest.borrow_and_update();
            self.batch = self.server.journal.events_after(self.seq, EVENT_BATCH).into_iter();
            if self.batch.len() > 0 {
                continue;
            }
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                () = self.server.stopping.cancelled() => return None,
            }
        }
    }
}

fn event_frame(event: &BotEvent) -> Event {
    let data = serde_json::to_string(event).expect("an event has only JSON values");
    Event::default().id(format!("{}/{}", event.boot_epoch, event.seq)).data(data)
}

#[derive(Debug, Deserialize)]
struct TradesQuery {
    #[serde(default)]
    after: u64,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    limit: Option<usize>,
}

async fn list_trades(
    State(server): State<IpcServer>,
    query: Result<Query<TradesQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    match query {
        Ok(Query(query)) => {
            let limit = query.limit.unwrap_or(500).clamp(1, 5_000);
            axum::Json(server.journal.trade_page(query.after, query.from, query.to, limit)).into_response()
        }
        Err(wrong) => refusal_response(StatusCode::BAD_REQUEST, "invalid", &wrong.body_text()),
    }
}

async fn post_command(
    State(server): State<IpcServer>,
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
    if let Some(session) = server.session.as_ref().filter(|session| session.handles(verb) && !request.dry_run)
    {
        return command_response(session.run_command(&server.inbox, verb, request).await);
    }
    command_response(server.inbox.ask(|reply| IpcRequest::Command(verb, request, reply)).await)
}

/// The state of a command, looked up in the queue, then in the snapshot, which the loop publishes before it answers.
async fn get_command_status(
    State(server): State<IpcServer>,
    UrlPath(command_id): UrlPath<String>,
) -> Response {
    let in_session = server.session.as_ref().is_some_and(|session| session.is_running(&command_id));
    let waiting = server.inbox.queued_command(&command_id);
    let result = server.snapshot.load().answers.get(&command_id).map(|(_, result)| result.clone());
    let (progress, result, refusal) = match (waiting, result) {
        (_, Some(result)) => (CommandProgress::Answered, Some(result), None),
        (Some(QueuedCommand::Withdrawn), None) => {
            (CommandProgress::Answered, None, Some(withdrawn_refusal()))
        }
        (Some(QueuedCommand::Pending), None) => (CommandProgress::Pending, None, None),
        (None, None) if in_session => (CommandProgress::Pending, None, None),
        (None, None) => (CommandProgress::Unknown, None, None),
    };
    axum::Json(CommandStatus { command_id, progress, result, refusal }).into_response()
}

async fn get_config(State(server): State<IpcServer>) -> Response {
    axum::Json(&server.snapshot.load().config).into_response()
}

async fn get_config_schema() -> Response {
    ([(header::CONTENT_TYPE, "application/schema+json")], SCHEMA).into_response()
}

async fn get_config_document(State(server): State<IpcServer>) -> Response {
    let snapshot = server.snapshot.load();
    let running = snapshot.config.running.clone();
    axum::Json(RunningDocument { running, document: snapshot.running_text.to_string() }).into_response()
}

async fn check_config(State(server): State<IpcServer>, body: Bytes) -> Response {
    let check: CheckConfigRequest = match read_body(&body) {
        Ok(check) => check,
        Err(refused) => return refused,
    };
    let snapshot = server.snapshot.load_full();
    let document = check.config.to_string();
    axum::Json(check_candidate(&snapshot.running, &document, &snapshot.facts)).into_response()
}

async fn activate_config(State(server): State<IpcServer>, body: Bytes) -> Response {
    match read_body::<ActivateConfigRequest>(&body) {
        Ok(message) => {
            command_response(server.inbox.ask(|reply| IpcRequest::Activate(Box::new(message), reply)).await)
        }
        Err(refused) => refused,
    }
}

async fn commit_config(State(server): State<IpcServer>, body: Bytes) -> Response {
    match read_body::<EndTrialRequest>(&body) {
        Ok(message) => command_response(server.inbox.ask(|reply| IpcRequest::Commit(message, reply)).await),
        Err(refused) => refused,
    }
}

async fn revert_config(State(server): State<IpcServer>, body: Bytes) -> Response {
    match read_body::<EndTrialRequest>(&body) {
        Ok(message) => command_response(server.inbox.ask(|reply| IpcRequest::Revert(message, reply)).await),
        Err(refused) => refused,
    }
}

#[expect(clippy::result_large_err, reason = "the refusal is the answer, made once and sent at once")]
fn read_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    read_json_bytes(body).map_err(|error| {
        refusal_response(StatusCode::BAD_REQUEST, "invalid", &format!("the body is not understood: {error}"))
    })
}

fn command_response<T: serde::Serialize>(answer: Result<T, ContractRefusal>) -> Response {
    let refusal = match answer {
        Ok(answer) => return axum::Json(answer).into_response(),
        Err(refusal) => refusal,
    };
    let status = match refusal.code.as_str() {
        "check_failed" | "hash_mismatch" | "ttl_invalid" => StatusCode::UNPROCESSABLE_ENTITY,
        // A status of 5xx means that the effect is unknown, so refusals without an effect get a 4xx.
        "busy" => StatusCode::TOO_MANY_REQUESTS,
        "acted_unrecorded" | "stopped" => StatusCode::INTERNAL_SERVER_ERROR,
        "no_answer" => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::CONFLICT,
    };
    (status, axum::Json(refusal)).into_response()
}

fn refusal_response(status: StatusCode, code: &str, message: &str) -> Response {
    let message = botops_core::text::clean(message, 300);
    let refusal = ContractRefusal { code: code.to_owned(), message, context: Value::Null };
    (status, axum::Json(json!(refusal))).into_response()
}
