//! One HTTP request to a bot and its whole answer: how long it may take, how large it may be.
//!
//! An answer is read whole under one deadline, so that a peer that sends a byte a second is cut like one that sends
//! nothing, and never beyond [`MAX_BODY`]. [`TransportFailure`] says what happened; the link decides what it means.

use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode, header};

use botops_contract::{UPSTREAM_HUNG, UPSTREAM_STARTING, UPSTREAM_UNAUTHORIZED, UPSTREAM_UNREACHABLE};

/// The largest answer a bot may give: 10,000 positions take under 4 MiB.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// A longer entity tag is not sent back: the state is asked for whole then.
const LONGEST_ETAG: usize = 128;

/// What went wrong between botops and the bot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TransportFailure {
    /// Nothing was delivered; the text says why.
    Away(String),
    /// Delivered, or possibly so, but not answered in time.
    Late,
    /// The connection ended before the answer did.
    Cut,
    /// What came is not the contract; the text says why.
    Nonsense(String),
    /// Another bot answers on this address; the text says which. It is not used.
    AnotherBot(String),
    /// An adapter answers, and says that its bot does not; the text says why.
    Upstream(UpstreamFault, String),
}

impl TransportFailure {
    /// True when something came back from the address, whatever it was.
    pub(super) fn was_answered(&self) -> bool {
        match self {
            Self::Away(_) | Self::Late | Self::Cut => false,
            Self::Nonsense(_) | Self::AnotherBot(_) | Self::Upstream(..) => true,
        }
    }
}

/// What an adapter says of a bot that it gets no answer from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpstreamFault {
    Unreachable,
    Hung,
    Starting,
    Unauthorized,
}

impl UpstreamFault {
    /// The fault behind the code of a refusal; `None` when the code names none.
    pub(super) fn of_code(code: &str) -> Option<Self> {
        match code {
            UPSTREAM_UNREACHABLE => Some(Self::Unreachable),
            UPSTREAM_HUNG => Some(Self::Hung),
            UPSTREAM_STARTING => Some(Self::Starting),
            UPSTREAM_UNAUTHORIZED => Some(Self::Unauthorized),
            _ => None,
        }
    }
}

/// A whole answer: its body was read to the end and is within [`MAX_BODY`].
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub status: StatusCode,
    pub etag: Option<String>,
    pub body: Vec<u8>,
}

/// Sends a request and reads the whole answer; the deadline covers all of it.
pub(super) async fn exchange(
    request: RequestBuilder,
    deadline: Duration,
) -> Result<HttpAnswer, TransportFailure> {
    let whole = async { read_body(send(request).await?).await };
    tokio::time::timeout(deadline, whole).await.unwrap_or(Err(TransportFailure::Late))
}

/// Sends a request and waits until its answer begins. The caller has the deadline.
pub(super) async fn send(request: RequestBuilder) -> Result<Response, TransportFailure> {
    request.send().await.map_err(|error| failure_of(&error))
}

/// Reads the rest of an answer that has begun. The caller has the deadline.
pub(super) async fn read_body(mut response: Response) -> Result<HttpAnswer, TransportFailure> {
    let too_large =
        || TransportFailure::Nonsense(format!("an answer of more than {} MiB", MAX_BODY / 1024 / 1024));
    if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let status = response.status();
    let etag = response.headers().get(header::ETAG);
    let etag = etag
        .and_then(|value| value.to_str().ok())
        .filter(|etag| etag.len() <= LONGEST_ETAG)
        .map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure_of(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpAnswer { status, etag, body })
}

/// What a failed request or read means. The library's own message is left out: it may quote the peer.
fn failure_of(error: &reqwest::Error) -> TransportFailure {
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

/// What it means that no connection came about.
pub(super) fn not_connected(kind: ErrorKind) -> TransportFailure {
    let text = match kind {
        ErrorKind::ConnectionRefused => "nobody listens on its socket",
        ErrorKind::NotFound => "its socket is gone",
        ErrorKind::PermissionDenied => "botops may not connect to its socket",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "there is no way to its host",
        ErrorKind::TimedOut => "its host does not answer",
        // The queue of waiting connections is full: somebody listens, but does not accept.
        ErrorKind::WouldBlock => return TransportFailure::Late,
        _ => "its socket does not take a connection",
    };
    TransportFailure::Away(text.to_owned())
}
