//! HTTP over the bot's Unix socket: who may be behind it, how long an answer may take, how large it may be.
//!
//! An answer is read whole under one deadline, so that a peer that sends a byte a second is cut like one that sends
//! nothing, and never beyond [`MAX_BODY`]. Deliberately absent: retries and judgement. [`TransportFailure`] says what was
//! seen; `link.rs` decides what it means.

use std::error::Error as _;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode, header};
use tokio::net::UnixStream;

use botops_contract::BASE;

/// The largest answer a bot may give: 10,000 positions take under 4 MiB.
pub(super) const MAX_BODY: usize = 8 * 1024 * 1024;

/// Connecting to a Unix socket takes microseconds or does not work.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// What went wrong between us and the bot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TransportFailure {
    /// Nothing was delivered; the text says why.
    Away(String),
    /// Delivered, as far as can be told, but not answered in time.
    Late,
    /// The connection ended before the answer did.
    Cut,
    /// What came is not the contract; the text says why.
    Nonsense(String),
    /// Another bot answers on this address; the text says which. It is not used.
    AnotherBot(String),
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub status: StatusCode,
    pub etag: Option<String>,
    pub body: Vec<u8>,
}

/// One socket file. A file that was replaced is another one, even under the same inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BotEndpoint {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

/// Clients for one socket file whose peer was checked.
#[derive(Debug)]
pub(super) struct BotConnection {
    /// The file this was made for.
    pub file: BotEndpoint,
    /// The process that listens, if the kernel says so.
    pub peer_pid: Option<u32>,
    polls: Client,
    calls: Client,
}

/// Gives the process its TLS provider, once; later calls change nothing. `reqwest` will not build a client without
/// one, even for a Unix socket.
pub fn install_tls_provider() {
    // An error says that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The socket file as it lies there, if it is a socket of our own user.
pub(super) fn look(socket: &Path) -> Result<BotEndpoint, TransportFailure> {
    let shown = socket.display();
    let file = std::fs::metadata(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound => TransportFailure::Away(format!("there is no socket at {shown}")),
        ErrorKind::PermissionDenied => TransportFailure::Away(format!("botops may not look at {shown}")),
        _ => TransportFailure::Away(format!("the socket {shown} cannot be looked at")),
    })?;
    if !file.file_type().is_socket() {
        return Err(TransportFailure::Away(format!("{shown} is not a socket")));
    }
    our_own(file.uid()).map_err(|owner| {
        TransportFailure::Away(format!(
            "the socket {shown} belongs to another user ({owner}) and is not used"
        ))
    })?;
    Ok(BotEndpoint { device: file.dev(), inode: file.ino(), changed: (file.ctime(), file.ctime_nsec()) })
}

/// Connects once to learn who listens, and makes clients for this file.
pub(super) async fn connect(socket: &Path, file: BotEndpoint) -> Result<BotConnection, TransportFailure> {
    let probe = tokio::time::timeout(CONNECT_LIMIT, UnixStream::connect(socket))
        .await
        .map_err(|_| TransportFailure::Late)?
        .map_err(|error| not_connected(error.kind()))?;
    let peer = probe
        .peer_cred()
        .map_err(|_| TransportFailure::Away("the kernel does not say who listens".to_owned()))?;
    our_own(peer.uid()).map_err(|owner| {
        TransportFailure::Away(format!(
            "a process of another user ({owner}) listens on the socket; it is not used"
        ))
    })?;
    install_tls_provider();
    let client = |idle: usize| {
        Client::builder()
            .unix_socket(socket.to_owned())
            // No certificate is ever looked at on a Unix socket; reading the system's costs milliseconds a client.
            .tls_certs_only([])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .http1_only()
            .pool_max_idle_per_host(idle)
            .build()
            .map_err(|_| TransportFailure::Away("the HTTP client could not be made".to_owned()))
    };
    let peer_pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    // A call uses a connection of its own: over a kept one that the bot has just closed, nobody could tell
    // whether it was delivered.
    Ok(BotConnection { file, peer_pid, polls: client(1)?, calls: client(0)? })
}

impl BotConnection {
    /// A request of the poll, over a kept connection.
    pub fn poll(&self, path: &str) -> RequestBuilder {
        self.polls.get(url(path))
    }

    /// A read, over a connection of its own.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.calls.get(url(path))
    }

    /// A command, over a connection of its own.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.calls.post(url(path))
    }
}

/// Sends a request and reads the whole answer; the deadline covers all of it.
pub(super) async fn exchange(
    request: RequestBuilder,
    deadline: Duration,
) -> Result<HttpAnswer, TransportFailure> {
    tokio::time::timeout(deadline, read_whole(request)).await.unwrap_or(Err(TransportFailure::Late))
}

/// The same without a deadline: the caller has one.
pub(super) async fn read_whole(request: RequestBuilder) -> Result<HttpAnswer, TransportFailure> {
    let mut response = request.send().await.map_err(|error| failure(&error))?;
    let too_large =
        || TransportFailure::Nonsense(format!("an answer of more than {} MiB", MAX_BODY / 1024 / 1024));
    if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let status = response.status();
    let etag = response.headers().get(header::ETAG);
    let etag = etag.and_then(|value| value.to_str().ok()).filter(|etag| etag.len() <= 128).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpAnswer { status, etag, body })
}

/// What a failed request or read means. The library's own words stay out: they may quote the peer.
pub(super) fn failure(error: &reqwest::Error) -> TransportFailure {
    let mut io = None;
    let mut malformed = false;
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
            io = io.or(Some(cause.kind()));
        }
        if let Some(cause) = cause.downcast_ref::<hyper::Error>() {
            malformed |= cause.is_parse() || cause.is_parse_too_large();
        }
        source = cause.source();
    }
    if error.is_connect() {
        return not_connected(io.unwrap_or(ErrorKind::Other));
    }
    if error.is_timeout() {
        return TransportFailure::Late;
    }
    if malformed {
        return TransportFailure::Nonsense("the answer is not HTTP".to_owned());
    }
    TransportFailure::Cut
}

/// What is wrong with a document, without its values.
pub(super) fn not_json(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "has a missing or wrong field",
        serde_json::error::Category::Eof => "ends too early",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "is not JSON",
    };
    format!("the answer {what} (line {}, column {})", error.line(), error.column())
}

fn not_connected(kind: ErrorKind) -> TransportFailure {
    let text = match kind {
        ErrorKind::ConnectionRefused => "nobody listens on its socket",
        ErrorKind::NotFound => "its socket is gone",
        ErrorKind::PermissionDenied => "botops may not connect to its socket",
        // The queue of waiting connections is full: somebody listens, but does not accept.
        ErrorKind::WouldBlock => return TransportFailure::Late,
        _ => "its socket does not take a connection",
    };
    TransportFailure::Away(text.to_owned())
}

fn our_own(owner: u32) -> Result<(), u32> {
    if owner == rustix::process::geteuid().as_raw() { Ok(()) } else { Err(owner) }
}

/// The host is a formality: the socket is the address.
fn url(path: &str) -> String {
    format!("http://bot{BASE}/{path}")
}
