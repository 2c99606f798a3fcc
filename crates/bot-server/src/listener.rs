//! Connections: their number, who may come, and one answer for each request whatever a bot's part does.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use botops_core::tasks::{OnFailure, Tasks};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::refusals::refusal_response;
use super::renewable_socket::RenewableSocket;
use super::routes::contract_routes;
use super::source::ContractSource;
use super::token_file::ContractToken;

/// Connections at a time; botops keeps two or three.
const MOST_CONNECTIONS: usize = 256;
/// A connection to a port is closed when it has shown no token for this long.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait when the process has no file descriptors left: the trading code needs them more.
const RETRY_ACCEPT: Duration = Duration::from_millis(200);
/// Largest size of request line and headers together, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// Where the contract is served.
#[derive(Debug)]
pub enum ContractListener {
    /// A Unix socket: the rights of its file and folder decide who may connect.
    Socket(UnixListener),
    /// The same, whose file is made anew when it was removed.
    Renewable(RenewableSocket),
    /// A port of this machine: each request has to show the token.
    Port(TcpListener, ContractToken),
}

/// Serves the contract until `closing` is cancelled, then lets requests that are under way finish.
///
/// Each connection is a task of `tasks`. Streams end with `closing`.
pub async fn serve_contract(
    listener: ContractListener,
    source: Arc<dyn ContractSource>,
    tasks: Tasks,
    closing: CancellationToken,
) {
    let (mut listener, token) = match listener {
        ContractListener::Socket(listener) => (AnyListener::Socket(listener), None),
        ContractListener::Renewable(socket) => (AnyListener::Renewable(socket), None),
        ContractListener::Port(listener, token) => (AnyListener::Port(listener), Some(token)),
    };
    let open = OpenConnections::default();
    let routes = contract_routes(source, closing.clone());
    let context = Arc::new(ConnectionContext { routes, token, closing: closing.clone() });
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) => {
                // Where there is no room, the new connection is closed at once.
                let Some(place) = open.admit() else { continue };
                tasks.spawn("contract connection", OnFailure::Log, converse(stream, context.clone(), place));
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(RETRY_ACCEPT).await;
            }
        }
    }
    open.wait_until_closed().await;
}

enum AnyListener {
    Socket(UnixListener),
    Renewable(RenewableSocket),
    Port(TcpListener),
}

/// A stream of either kind, so that what serves it is compiled once.
trait ContractStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> ContractStream for S {}

impl AnyListener {
    async fn accept(&mut self) -> io::Result<Box<dyn ContractStream>> {
        match self {
            Self::Socket(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Renewable(socket) => Ok(Box::new(socket.accept().await?)),
            Self::Port(listener) => {
                let (stream, _) = listener.accept().await?;
                // The peer may have gone already; the first read will tell.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
        }
    }
}

/// What all connections share.
struct ConnectionContext {
    routes: Router,
    token: Option<ContractToken>,
    closing: CancellationToken,
}

impl ConnectionContext {
    async fn answer(&self, request: Request<Incoming>, place: &ConnectionPlace) -> Response {
        if self.token.as_ref().is_some_and(|token| !token.is_shown_by(request.headers())) {
            let message = "send `Authorization: Bearer` with the token of its file";
            let mut refused = refusal_response(StatusCode::UNAUTHORIZED, "unauthorized", message);
            refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return refused;
        }
        place.prove();
        let what = format!("{} {}", request.method(), request.uri().path());
        let answer = self.routes.clone().oneshot(request.map(Body::new));
        match AssertUnwindSafe(answer).catch_unwind().await {
            Ok(Ok(answer)) => answer,
            Ok(Err(never)) => match never {},
            Err(_) => {
                tracing::error!("the bot's part of {what} panicked; the call was answered with `internal`");
                let message = "the bot's part of this call failed; its log says how";
                refusal_response(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
            }
        }
    }
}

async fn converse(stream: Box<dyn ContractStream>, context: Arc<ConnectionContext>, place: ConnectionPlace) {
    let serve_request = |request| {
        let (context, place) = (&context, &place);
        async move { Ok::<_, Infallible>(context.answer(request, place).await) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service_fn(serve_request));
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!("a connection ended: {error}");
            }
        }
        () = context.closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
        () = place.lost(context.token.is_some()) => {}
    }
}

/// The connections that are open; cloning is cheap.
#[derive(Debug, Clone)]
struct OpenConnections {
    shared: Arc<Mutex<ConnectionCounts>>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct ConnectionCounts {
    next: u64,
    /// Those that have not shown that they may ask, oldest first: where there is no room, the first of them has to go.
    unproven: VecDeque<(u64, CancellationToken)>,
}

impl Default for OpenConnections {
    fn default() -> Self {
        Self { shared: Arc::default(), count: watch::Sender::new(0) }
    }
}

impl OpenConnections {
    /// Makes room for one more connection: who has no token must not keep those away who have it.
    fn admit(&self) -> Option<ConnectionPlace> {
        let mut counts = self.lock();
        if *self.count.borrow() >= MOST_CONNECTIONS {
            let (_, oldest) = counts.unproven.pop_front()?;
            oldest.cancel();
        }
        self.count.send_modify(|count| *count += 1);
        counts.next += 1;
        let (id, evicted) = (counts.next, CancellationToken::new());
        counts.unproven.push_back((id, evicted.clone()));
        Some(ConnectionPlace { open: self.clone(), id, evicted })
    }

    /// Waits until no connection is left.
    async fn wait_until_closed(&self) {
        // The sender is `self`, so it cannot be gone.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, ConnectionCounts> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place among those that are open; given back when it is dropped.
#[derive(Debug)]
struct ConnectionPlace {
    open: OpenConnections,
    id: u64,
    evicted: CancellationToken,
}

impl ConnectionPlace {
    /// It has made a request that was let in, so it is not closed for another.
    fn prove(&self) {
        self.open.lock().unproven.retain(|(id, _)| *id != self.id);
    }

    fn is_proven(&self) -> bool {
        !self.open.lock().unproven.iter().any(|(id, _)| *id == self.id)
    }

    /// Resolves when the connection has to go: for another one, or because it has shown no token in time.
    async fn lost(&self, needs_token: bool) {
        let is_late = async {
            tokio::time::sleep(FIRST_REQUEST_WITHIN).await;
            if !needs_token || self.is_proven() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.evicted.cancelled() => {}
            () = is_late => {}
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.prove();
        self.open.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_shown_nothing_makes_room_and_who_has_is_kept() {
        let open = OpenConnections::default();
        let first = open.admit().unwrap();
        first.prove();
        let mut others: Vec<_> = (1..MOST_CONNECTIONS).map(|_| open.admit().unwrap()).collect();
        let more = open.admit().unwrap();
        assert!(others[0].evicted.is_cancelled() && !others[1].evicted.is_cancelled());
        assert!(!first.evicted.is_cancelled() && !more.evicted.is_cancelled());
        for proven in others.iter().skip(1).chain([&more]) {
            proven.prove();
        }
        assert!(open.admit().is_none(), "all of them may stay");
        others.clear();
        assert!(open.admit().is_some());
    }
}
