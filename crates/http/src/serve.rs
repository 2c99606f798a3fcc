//! The listener: accepts connections, limits their number and the time without progress, and lets running requests
//! finish when the process stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::guard::RequestGuard;
use super::socket::{ClientSocket, ConnectionProgress};
use botops_core::error::Code;
use botops_core::tasks::{OnFailure, Tasks};

/// Largest size of request line and headers together, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;

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
        let connection = converse(stream, peer, guard.clone(), stopping.clone(), permit);
        tasks.spawn("connection", OnFailure::Log, connection);
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

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    guard: Arc<RequestGuard>,
    stopping: CancellationToken,
    permit: OwnedSemaphorePermit,
) {
    let progress = ConnectionProgress::default();
    let socket = ClientSocket::new(stream, progress.clone());
    let wire = socket.wire();
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        let (guard, progress) = (guard.clone(), progress.clone());
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(wire.clone());
        }
        async move {
            let _running = progress.run();
            // Most requests have no body, and an empty one costs nothing to wrap.
            let wrap = |body: hyper::body::Incoming| {
                if body.is_end_stream() { Body::empty() } else { Body::new(body) }
            };
            Ok::<_, std::convert::Infallible>(guard.handle(request.map(wrap), peer.ip()).await)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEAD_LIMIT)
        .max_header_size(HEAD_LIMIT)
        .serve_connection(socket, service)
        .with_upgrades();
    let outcome = {
        let mut running = std::pin::Pin::new(&mut connection);
        tokio::select! {
            outcome = running.as_mut() => Some(outcome),
            () = stopping.cancelled() => {
                running.as_mut().graceful_shutdown();
                Some(running.await)
            }
            () = progress.stalled() => None,
        }
    };
    drop(permit);
    match outcome {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(net.peer = %peer, "connection of {peer} ended: {error}"),
        None => {
            let head_was_begun = |parts: &http1::Parts<ClientSocket, _>| !parts.read_buf.is_empty();
            if let Some(parts) = connection.into_parts().filter(head_was_begun) {
                parts.io.refuse(Code::RequestTimeout).await;
            }
        }
    }
}
