//! A bot to be served, and the calls of botops on it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use botops_bot_server::BotServer;
use botops_contract::TradingMode;
use serde_json::{Value, json};

pub(crate) fn new_bot() -> BotServer {
    BotServer::new("tested".parse().unwrap(), TradingMode::Paper, "1")
}

/// Sends a request as it stands, and returns status, head and body.
pub(crate) fn send(mut stream: impl Read + Write, head: &str, body: &str) -> (u16, String, String) {
    let length = body.len();
    write!(stream, "{head}Host: bot\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

pub(crate) fn ask(socket: &Path, call: &str, body: &Value) -> (u16, Value) {
    let (method, path) = call.split_once(' ').unwrap();
    let stream = UnixStream::connect(socket).unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, _, body) = send(stream, &format!("{method} /ipc/v1/{path} HTTP/1.1\r\n"), &body);
    (status, serde_json::from_str(&body).unwrap_or_default())
}

pub(crate) fn command(id: &str) -> Value {
    json!({"command_id": id, "reason": "a test"})
}

pub(crate) fn capabilities(socket: &Path) -> Vec<String> {
    let (_, hello) = ask(socket, "GET hello", &Value::Null);
    serde_json::from_value(hello["capabilities"].clone()).unwrap()
}

/// Waits until a condition holds; the limit only ends a test that would wait for ever.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("not seen: {what}");
}
