//! A broker on a real loopback port: a scripted queue per route, and a journal of its requests.
//!
//! It writes HTTP/1.1 itself, because server libraries do not allow most of its faults: hanging, sending byte by byte,
//! ending in the middle, resetting. The tests supply the bodies.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What the stub does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers. `Content-Length` and `Content-Type: application/json` are added unless given.
    Reply { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// Answers after a delay.
    Slow(Duration, Box<Act>),
    /// Reads the request and never answers.
    Hang,
    /// Sends the head of an answer byte by byte, without an end.
    DripHead,
    /// Sends a body byte by byte, without an end.
    DripBody,
    /// Sends fewer bytes than its `Content-Length`.
    Truncated,
    /// Resets the connection before any answer.
    Reset,
    /// Resets the connection in the middle of a body.
    ResetInBody,
    /// Answers, and closes the connection a moment later without having announced it.
    CloseAfter(Box<Act>),
    /// The first for requests with this token, the second for all others.
    ByToken(&'static str, Box<Act>, Box<Act>),
    /// Waits for one notification of the test, then does this.
    Held(Arc<Notify>, Box<Act>),
}

impl Act {
    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        Self::Reply { status, headers: Vec::new(), body: body.into().into_bytes() }
    }

    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::json(200, body)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.into()));
        }
        self
    }
}

/// One request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub at: Instant,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A field of a form body, still percent-encoded.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

#[derive(Default)]
struct Script {
    queues: BTreeMap<String, VecDeque<Act>>,
    defaults: BTreeMap<String, Act>,
    journal: Vec<Seen>,
}

/// The stub; it stops when it is dropped.
pub(crate) struct BrokerStub {
    pub addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    tls: Arc<Mutex<Option<TlsAcceptor>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for BrokerStub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl BrokerStub {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        Self::serve_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), tls)
    }

    /// Serves on an existing listener.
    pub(crate) fn serve_on(listener: TcpListener, tls: Option<TlsAcceptor>) -> Self {
        let addr = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let tls = Arc::new(Mutex::new(tls));
        let (scripts, acceptors) = (script.clone(), tls.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = scripts.clone();
                let acceptor = acceptors.lock().unwrap().clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, &script).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, &script).await,
                            Err(_) => Ok(()),
                        },
                    }
                });
            }
        });
        Self { addr, script, tls, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Uses this certificate for new connections.
    pub(crate) fn use_tls(&self, acceptor: TlsAcceptor) {
        *self.tls.lock().unwrap() = Some(acceptor);
    }

    /// Queues an act for one request to `METHOD /path`.
    pub(crate) fn next(&self, route: &str, act: Act) -> &Self {
        self.script.lock().unwrap().queues.entry(route.to_owned()).or_default().push_back(act);
        self
    }

    /// Sets the act for requests to `METHOD /path` while the queue is empty.
    pub(crate) fn always(&self, route: &str, act: Act) -> &Self {
        self.script.lock().unwrap().defaults.insert(route.to_owned(), act);
        self
    }

    /// All requests so far.
    pub(crate) fn journal(&self) -> Vec<Seen> {
        self.script.lock().unwrap().journal.clone()
    }

    /// The requests to one route so far.
    pub(crate) fn sent(&self, route: &str) -> Vec<Seen> {
        let journal = self.journal();
        journal.into_iter().filter(|seen| format!("{} {}", seen.method, seen.path) == route).collect()
    }
}

/// A stream whose connection can be reset.
trait Cut: AsyncRead + AsyncWrite + Unpin + Send {
    fn cut(&self);
}

impl Cut for TcpStream {
    fn cut(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Cut for TlsStream<TcpStream> {
    fn cut(&self) {
        self.get_ref().0.set_zero_linger().unwrap();
    }
}

async fn serve(mut stream: impl Cut, script: &Mutex<Script>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer).await? {
        let route = format!("{} {}", seen.method, seen.path);
        let act = {
            let mut script = script.lock().unwrap();
            script.journal.push(seen.clone());
            let queued = script.queues.get_mut(&route).and_then(VecDeque::pop_front);
            let act = queued.or_else(|| script.defaults.get(&route).cloned());
            match act.unwrap_or_else(|| Act::json(404, r#"{"detail":"Not found."}"#)) {
                Act::ByToken(token, with, without) => {
                    if seen.header("authorization").strip_prefix("Bearer ") == Some(token) {
                        *with
                    } else {
                        *without
                    }
                }
                act => act,
            }
        };
        if !perform(&mut stream, act).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Does what the act says; false when the connection has ended.
async fn perform(stream: &mut impl Cut, act: Act) -> io::Result<bool> {
    match act {
        Act::Reply { status, headers, body } => {
            stream.write_all(&render(status, &headers, &body)).await?;
            return Ok(true);
        }
        Act::Slow(wait, act) => {
            tokio::time::sleep(wait).await;
            return Box::pin(perform(stream, *act)).await;
        }
        Act::Held(let_go, act) => {
            let_go.notified().await;
            return Box::pin(perform(stream, *act)).await;
        }
        // The choice by token is made where the request is known; here there was none.
        Act::ByToken(_, _, act) => return Box::pin(perform(stream, *act)).await,
        Act::CloseAfter(act) => {
            Box::pin(perform(stream, *act)).await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Act::Hang => std::future::pending().await,
        Act::DripHead => drip(stream, b"HTTP/1.1 200 OK\r\n").await?,
        Act::DripBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await?;
            drip(stream, b"").await?;
        }
        Act::Truncated => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"results\":[").await?;
            stream.flush().await?;
        }
        Act::Reset => stream.cut(),
        Act::ResetInBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"results\":[").await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.cut();
        }
    }
    Ok(false)
}

async fn drip(stream: &mut impl Cut, first: &[u8]) -> io::Result<()> {
    stream.write_all(first).await?;
    loop {
        stream.write_all(b"x").await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn render(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Stub\r\n");
    let given = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    if !given("content-type") {
        head.push_str("content-type: application/json\r\n");
    }
    if !given("content-length") && status != 204 {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

async fn read_request(stream: &mut impl Cut, buffer: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
        // A TLS handshake on a plain port: servers answer it with a plain HTTP refusal.
        if buffer.first() == Some(&0x16) {
            stream.write_all(&render(400, &[], b"this port speaks plain HTTP")).await?;
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut request = lines.next().unwrap_or_default().split(' ');
    let method = request.next().unwrap_or_default().to_owned();
    let target = request.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while buffer.len() < head_end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = String::from_utf8_lossy(&buffer[head_end..head_end + length]).into_owned();
    let seen =
        Seen { method, path: path.to_owned(), query: query.to_owned(), headers, body, at: Instant::now() };
    buffer.drain(..head_end + length);
    Ok(Some(seen))
}
