//! The bot contract over HTTP/1.1 on a Unix socket.
//!
//! Reads are answered from the last picture and the journal; commands go into the mailbox. Nothing here can make
//! the trading loop wait. Kept from users: the socket file's life (private from its first moment, replaced when its
//! process is dead, respected when it is not). Deliberately absent: keys. Who may open the socket file may ask.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;
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
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::desk;
use super::journal::Journal;
use super::mailbox::{Letter, Mailbox, Waiting, withdrawn};
use super::publish::Picture;
use super::standing::SessionCommands;
use botops_contract::{
    Activate, BASE, BotEvent, Check, CommandRequest, CommandStatus, Hello, Refusal, Settle, Standing, Verb,
};

/// The longest path a Unix socket can have.
const LONGEST_PATH: usize = 107;
/// A config document has at most 256 KiB; as a JSON string it may need twice that.
const LARGEST_BODY: usize = 1024 * 1024;
/// Events taken from the journal at once.
const BATCH: usize = 200;

/// All that the handlers need; cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    pub hello: Arc<Hello>,
    pub picture: Arc<ArcSwap<Picture>>,
    pub journal: Journal,
    pub mailbox: Mailbox,
    pub session: Option<SessionCommands>,
    pub stopping: CancellationToken,
}

/// The contract's routes.
pub(super) fn routes(counter: Counter) -> Router {
    let contract = Router::new()
        .route("/hello", get(hello))
        .route("/state", get(state))
        .route("/events", get(events))
        .route("/trades", get(trades))
        .route("/commands/{verb}", post(command).get(command_status))
        .route("/config", get(config))
        .route("/config/check", post(check))
        .route("/config/activate", post(activate))
        .route("/config/commit", post(commit))
        .route("/config/revert", post(revert));
    Router::new()
        .nest(BASE, contract)
        .fallback(async || refuse(StatusCode::NOT_FOUND, "unknown_path", "the contract has no such path"))
        .method_not_allowed_fallback(async || {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "unknown_method", "the path takes another method")
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(counter)
}

async fn hello(State(counter): State<Counter>) -> Response {
    axum::Json(&*counter.hello).into_response()
}

async fn state(State(counter): State<Counter>, headers: HeaderMap) -> Response {
    let picture = counter.picture.load_full();
    let etag = picture.etag();
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let headers = [(header::ETAG, etag), (header::CONTENT_TYPE, "application/json".to_owned())];
    (headers, picture.body()).into_response()
}

async fn events(
    State(counter): State<Counter>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (epoch, seq) = last.rsplit_once('/').unwrap_or_default();
    // A reader of an earlier life gets everything that this one still holds.
    let seq = if epoch == counter.hello.boot_epoch { seq.parse().unwrap_or(0) } else { 0 };
    let latest = counter.journal.latest();
    let begin = Reader { counter, seq, latest, batch: Vec::new().into_iter() };
    let stream = stream::unfold(begin, async |mut reader| {
        let event = reader.next().await?;
        Some((Ok(frame(&event)), reader))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)).text("alive"))
}

struct Reader {
    counter: Counter,
    seq: u64,
    latest: tokio::sync::watch::Receiver<u64>,
    batch: std::vec::IntoIter<Arc<BotEvent>>,
}

impl Reader {
    async fn next(&mut self) -> Option<Arc<BotEvent>> {
        loop {
            if let Some(event) = self.batch.next() {
                self.seq = event.seq;
                return Some(event);
            }
            self.latest.borrow_and_update();
            self.batch = self.counter.journal.events_after(self.seq, BATCH).into_iter();
            if self.batch.len() > 0 {
                continue;
            }
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                () = self.counter.stopping.cancelled() => return None,
            }
        }
    }
}

fn frame(event: &BotEvent) -> Event {
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

async fn trades(
    State(counter): State<Counter>,
    query: Result<Query<TradesQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    match query {
        Ok(Query(query)) => {
            let limit = query.limit.unwrap_or(500).clamp(1, 5_000);
            axum::Json(counter.journal.trades(query.after, query.from, query.to, limit)).into_response()
        }
        Err(wrong) => refuse(StatusCode::BAD_REQUEST, "invalid", &wrong.body_text()),
    }
}

async fn command(State(counter): State<Counter>, UrlPath(verb): UrlPath<String>, body: Bytes) -> Response {
    let Ok(verb) = verb.parse::<Verb>() else {
        return refuse(StatusCode::NOT_FOUND, "unknown_verb", "the bot knows no such command");
    };
    let request: CommandRequest = match read(&body) {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    if request.command_id.is_empty() || request.command_id.len() > 128 {
        return refuse(StatusCode::BAD_REQUEST, "invalid", "command_id needs 1 to 128 characters");
    }
    if let Some(session) =
        counter.session.as_ref().filter(|session| session.concerns(verb) && !request.dry_run)
    {
        return answer(session.carry_out(&counter.mailbox, verb, request).await);
    }
    answer(counter.mailbox.ask(|reply| Letter::Command(verb, request, reply)).await)
}

/// What became of a command: from the box, then from the picture, which the loop shows before it answers.
async fn command_status(State(counter): State<Counter>, UrlPath(command_id): UrlPath<String>) -> Response {
    let in_session = counter.session.as_ref().is_some_and(|session| session.is_running(&command_id));
    let waiting = counter.mailbox.waiting(&command_id);
    let result = counter.picture.load().answers.get(&command_id).map(|(_, result)| result.clone());
    let (standing, result, refusal) = match (waiting, result) {
        (_, Some(result)) => (Standing::Answered, Some(result), None),
        (Some(Waiting::Withdrawn), None) => (Standing::Answered, None, Some(withdrawn())),
        (Some(Waiting::Pending), None) => (Standing::Pending, None, None),
        (None, None) if in_session => (Standing::Pending, None, None),
        (None, None) => (Standing::Unknown, None, None),
    };
    axum::Json(CommandStatus { command_id, standing, result, refusal }).into_response()
}

async fn config(State(counter): State<Counter>) -> Response {
    axum::Json(&counter.picture.load().config).into_response()
}

async fn check(State(counter): State<Counter>, body: Bytes) -> Response {
    let check: Check = match read(&body) {
        Ok(check) => check,
        Err(refused) => return refused,
    };
    let picture = counter.picture.load_full();
    let document = check.config.to_string();
    axum::Json(desk::verdict(&picture.running, &document, &picture.facts)).into_response()
}

async fn activate(State(counter): State<Counter>, body: Bytes) -> Response {
    match read::<Activate>(&body) {
        Ok(message) => answer(counter.mailbox.ask(|reply| Letter::Activate(Box::new(message), reply)).await),
        Err(refused) => refused,
    }
}

async fn commit(State(counter): State<Counter>, body: Bytes) -> Response {
    match read::<Settle>(&body) {
        Ok(message) => answer(counter.mailbox.ask(|reply| Letter::Commit(message, reply)).await),
        Err(refused) => refused,
    }
}

async fn revert(State(counter): State<Counter>, body: Bytes) -> Response {
    match read::<Settle>(&body) {
        Ok(message) => answer(counter.mailbox.ask(|reply| Letter::Revert(message, reply)).await),
        Err(refused) => refused,
    }
}

#[expect(clippy::result_large_err, reason = "the refusal is the answer, made once and sent at once")]
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    serde_json::from_slice(body).map_err(|error| {
        refuse(StatusCode::BAD_REQUEST, "invalid", &format!("the body is not understood: {error}"))
    })
}

fn answer<T: serde::Serialize>(answer: Result<T, Refusal>) -> Response {
    let refusal = match answer {
        Ok(answer) => return axum::Json(answer).into_response(),
        Err(refusal) => refusal,
    };
    let status = match refusal.code.as_str() {
        "check_failed" | "hash_mismatch" | "ttl_invalid" => StatusCode::UNPROCESSABLE_ENTITY,
        // A status of 5xx says that it is not known what happened; whatever says that nothing did has another.
        "busy" => StatusCode::TOO_MANY_REQUESTS,
        "acted_unrecorded" | "stopped" => StatusCode::INTERNAL_SERVER_ERROR,
        "no_answer" => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::CONFLICT,
    };
    (status, axum::Json(refusal)).into_response()
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let message = botops_core::text::clean(message, 300);
    let refusal = Refusal { code: code.to_owned(), message, context: Value::Null };
    (status, axum::Json(json!(refusal))).into_response()
}

/// Opens the socket: folder 0700 when it is made here, socket 0600 before anyone can connect.
pub(super) fn listen(path: &Path) -> Result<UnixListener, String> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let private = folder.join(format!(".s{}", std::process::id()));
    let longest = path.as_os_str().len().max(private.as_os_str().len());
    if longest > LONGEST_PATH {
        return Err(format!(
            "{} is too long for a socket: {longest} bytes, at most {LONGEST_PATH}; choose a shorter --socket",
            path.display()
        ));
    }
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(format!("{} is there and is no socket; choose another --socket", path.display()));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(format!(
                "another bot serves on {}; stop it, or choose another --socket",
                path.display()
            ));
        }
        Ok(_) => tracing::info!("the socket {} of a dead process is replaced", path.display()),
    }
    // Made private under another name, then moved into place, so that it is never open to others.
    let _ = fs::remove_file(&private);
    let listener = UnixListener::bind(&private).map_err(failed)?;
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&private, path).map_err(failed)?;
    Ok(listener)
}

/// Takes the socket away; it is this process's own, as long as it holds the data folder's lock.
pub(super) fn clean_up_after(socket: &Path) {
    let _ = fs::remove_file(socket);
}
