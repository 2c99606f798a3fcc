//! A bot of a few lines, as a newcomer writes one: it answers each call with what the test says, right or wrong.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chrono::Utc;
use serde_json::{Value, json};
use tempfile::TempDir;

/// One request, as far as the answers need it.
pub(super) struct StubRequest {
    /// Method and path without the base and the query, such as `GET state`.
    pub call: String,
    pub query: String,
    pub headers: HashMap<String, String>,
    pub body: Value,
}

/// What is sent back.
pub(super) enum StubReply {
    /// Status, further headers as lines, body.
    Answer(u16, &'static str, String),
    /// The head of an event stream and these events; then the stream stays open.
    Stream(String),
    /// Nothing, as long as the asker waits.
    Hang,
    /// The connection is closed.
    HangUp,
}

pub(super) fn json_reply(value: &Value) -> StubReply {
    StubReply::Answer(200, "", value.to_string())
}

/// A bot that serves until the test ends; its threads end with the process.
pub(super) struct StubBot {
    folder: TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StubBot {
    /// Starts a bot that is right in everything that `wrong` does not answer.
    pub(super) fn start(wrong: impl Fn(&StubRequest) -> Option<StubReply> + Send + Sync + 'static) -> Self {
        let folder = crate::kit::folder();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let listener = UnixListener::bind(folder.path().join("bot.sock")).unwrap();
        let (wrong, journal) = (Arc::new(wrong), asked.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (wrong, journal) = (wrong.clone(), journal.clone());
                std::thread::spawn(move || serve(connection, &*wrong, &journal));
            }
        });
        Self { folder, asked }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("bot.sock")
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Every call that was asked, in its order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    mut connection: UnixStream,
    wrong: &(dyn Fn(&StubRequest) -> Option<StubReply> + Send + Sync),
    journal: &Mutex<Vec<String>>,
) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        journal.lock().unwrap().push(request.call.clone());
        let reply = wrong(&request).unwrap_or_else(|| right_reply(&request));
        let sent = match reply {
            StubReply::Answer(status, headers, body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n");
                connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes()))
            }
            StubReply::Stream(events) => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
                let _ = connection.write_all(head.as_bytes());
                let _ = connection.write_all(events.as_bytes());
                // Waits until the asker goes.
                let _ = reader.read(&mut [0]);
                return;
            }
            StubReply::Hang => {
                let _ = reader.read(&mut [0]);
                return;
            }
            StubReply::HangUp => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<UnixStream>) -> Option<StubRequest> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split_ascii_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let call = format!("{method} {}", path.strip_prefix("/ipc/v1/").unwrap_or(path));
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(StubRequest { call, query: query.to_owned(), headers, body })
}

/// What a small bot answers that is right.
fn right_reply(request: &StubRequest) -> StubReply {
    match request.call.as_str() {
        "GET hello" => json_reply(&hello()),
        "GET state" => json_reply(&state()),
        _ => {
            StubReply::Answer(404, "", json!({"code": "unknown_verb", "message": "no such call"}).to_string())
        }
    }
}

pub(super) fn hello() -> Value {
    json!({"contract": 2, "bot_id": "stub", "version": "0.1", "mode": "paper", "boot_epoch": "e",
           "pid": std::process::id()})
}

pub(super) fn state() -> Value {
    let now = Utc::now();
    json!({"seq": now.timestamp_millis(), "boot_epoch": "e", "as_of": now.to_rfc3339(), "mode": "paper",
           "phase": "running", "trading_enabled": true})
}

/// A value with members replaced.
pub(super) fn with(mut value: Value, changes: Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        value[name] = change.clone();
    }
    value
}
