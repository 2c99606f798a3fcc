//! The listener: accepts connections, limits their number and the time without progress, and lets running requests
//! finish when the process stops.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::guard::RequestGuard;
use super::read_method::only_reads;
use super::socket::{ClientSocket, ConnectionProgress};
use super::unfinished_input::{BoundedBody, HEAD_LIMIT};
use botops_core::error::{Code, Error};
use botops_core::tasks::{OnFailure, Tasks};

/// How long a new connection may stay without a byte.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// Connections that may wait to be accepted: after a restart up to 10,000 stream clients reconnect at once.
const ACCEPT_QUEUE: u32 = 4_096;

/// A listener whose address is taken and which does not accept yet.
#[derive(Debug)]
pub struct BoundListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl BoundListener {
    /// The address it listens on, with the real port when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Binds the address and listens on it.
///
/// # Errors
/// The error of the system, such as an address in use.
pub fn bind(address: SocketAddr) -> std::io::Result<BoundListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(ACCEPT_QUEUE)?;
    let address = listener.local_addr()?;
    Ok(BoundListener { listener, address })
}

/// Accepts connections until `tasks` stop, at most `connections` at a time; running requests finish after that.
pub async fn serve(listening: BoundListener, guard: Arc<RequestGuard>, tasks: Tasks, connections: usize) {
    let stopping = tasks.stopping();
    let room = Arc::new(Semaphore::new(connections));
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = accept(&listening.listener, &room) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer has gone already: the next try may succeed.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (guard, tasks_of_it) = (guard.clone(), tasks.clone());
        tasks.spawn("new connection", OnFailure::Log, async move {
            if await_first_byte(&stream, &tasks_of_it).await {
                let connection = converse(stream, peer, guard, tasks_of_it.clone(), permit);
                // A task of its own: through this one each request would pass once more.
                tasks_of_it.spawn("connection", OnFailure::Log, connection);
            }
        });
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

/// Whether a new connection says anything. Until then it is kept small: thousands may be opened and say nothing.
async fn await_first_byte(stream: &TcpStream, tasks: &Tasks) -> bool {
    let stopping = tasks.stopping();
    tokio::select! {
        readable = stream.readable() => readable.is_ok(),
        () = stopping.cancelled() => false,
        () = tokio::time::sleep(FIRST_BYTE) => false,
    }
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    guard: Arc<RequestGuard>,
    tasks: Tasks,
    permit: OwnedSemaphorePermit,
) {
    let stopping = tasks.stopping();
    let progress = ConnectionProgress::default();
    let socket = ClientSocket::new(stream, progress.clone(), guard.input.clone(), peer.ip());
    let wire = socket.wire();
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        let (guard, tasks) = (guard.clone(), &tasks);
        // From here on until the answer, what is read is no head.
        let running = progress.clone().run();
        let HeadNotes { hosts, is_host_odd, upgrades } = read_head(request.headers());
        if upgrades {
            request.extensions_mut().insert(wire.clone());
        }
        // Proxies and botops could take it for requests to different hosts. HTTP/1.0 needs none.
        let is_directed =
            !is_host_odd && (hosts == 1 || (hosts == 0 && request.version() == Version::HTTP_10));
        async move {
            // Most requests have no body, and an empty one costs nothing to wrap.
            let wrap = |body: hyper::body::Incoming| match body.is_end_stream() {
                true => Body::empty(),
                false => Body::new(BoundedBody::new(body, guard.input.clone())),
            };
            let response = match is_directed {
                true if only_reads(request.method()) => guard.handle(request.map(wrap), peer.ip()).await,
                true => handle_to_the_end(tasks, guard.clone(), request.map(wrap), peer.ip()).await,
                false => guard.refuse(wrong_hosts(hosts), peer.ip()),
            };
            if upgrades && response.status() == StatusCode::SWITCHING_PROTOCOLS {
                running.leave_http();
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEAD_LIMIT)
        .max_header_size(HEAD_LIMIT)
        .serve_connection(socket, service)
        .with_upgrades();
    let mut reasons = end_reasons(progress.clone(), stopping);
    let outcome = {
        let mut running = std::pin::Pin::new(&mut connection);
        tokio::select! {
            biased;
            outcome = progress.until_refused(running.as_mut()) => outcome,
            Some(reason) = reasons.next() => match reason {
                EndReason::Stopping => {
                    running.as_mut().graceful_shutdown();
                    progress.until_refused(running).await
                }
                EndReason::Stalled => None,
            },
        }
    };
    drop(permit);
    match outcome {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(net.peer = %peer, "connection of {peer} ended: {error}"),
        None => {
            let error = Error::new(Code::RequestTimeout);
            let error = match progress.is_refused() {
                true => {
                    error.detail("too many requests are unfinished; send the head of a request in one piece")
                }
                false => error,
            };
            let head_was_begun = |parts: &http1::Parts<ClientSocket, _>| !parts.read_buf.is_empty();
            if let Some(parts) = connection.into_parts().filter(head_was_begun) {
                parts.io.refuse(error).await;
            }
        }
    }
}

/// Answers a request that may change something, in a task of its own: a client that goes away stops no change half-way,
/// and what became of it is recorded all the same.
async fn handle_to_the_end(
    tasks: &Tasks,
    guard: Arc<RequestGuard>,
    request: Request<Body>,
    peer: IpAddr,
) -> Response {
    let (reply, answer) = oneshot::channel();
    tasks.spawn("change", OnFailure::Log, async move {
        // The receiver is gone when the client is.
        let _ = reply.send(guard.handle(request, peer).await);
    });
    answer.await.unwrap_or_else(|_| Error::new(Code::Internal).into_response())
}

/// Why a connection is ended from outside.
enum EndReason {
    /// The process stops: what runs may end.
    Stopping,
    /// There was no progress.
    Stalled,
}

/// Resolves with the first reason to end a connection.
///
/// In a set that notices which of them were woken: the connection wakes with each request, and to ask both each time
/// costs more than to find the operation, its key and its rate.
fn end_reasons(
    progress: ConnectionProgress,
    stopping: CancellationToken,
) -> FuturesUnordered<BoxFuture<'static, EndReason>> {
    let stops = async move {
        stopping.cancelled().await;
        EndReason::Stopping
    };
    let stalls = async move {
        progress.stalled().await;
        EndReason::Stalled
    };
    FuturesUnordered::from_iter([stops.boxed(), stalls.boxed()])
}

/// What is wanted of a head before anything else.
struct HeadNotes {
    /// How many `Host` headers it has.
    hosts: usize,
    /// Whether one of them holds what no name of a host can.
    is_host_odd: bool,
    upgrades: bool,
}

/// One pass: a lookup of each name costs more than to look at the few headers that a request has.
fn read_head(headers: &HeaderMap) -> HeadNotes {
    let mut notes = HeadNotes { hosts: 0, is_host_odd: false, upgrades: false };
    for (name, value) in headers {
        if name == header::HOST {
            notes.hosts += 1;
            let is_odd = |byte: &u8| {
                !byte.is_ascii_graphic() || matches!(byte, b'/' | b'@' | b'?' | b'#' | b'\\' | b',')
            };
            notes.is_host_odd |= value.as_bytes().iter().any(is_odd);
        }
        notes.upgrades |= name == header::UPGRADE;
    }
    notes
}

fn wrong_hosts(count: usize) -> Error {
    let detail = match count {
        1 => "the `Host` header names no host".to_owned(),
        0 => "the request has no `Host` header; HTTP/1.1 wants one".to_owned(),
        more => format!("the request has {more} `Host` headers; HTTP/1.1 wants one"),
    };
    Error::new(Code::HttpInvalid).detail(detail).field("Host", count, "one `Host` header")
}
