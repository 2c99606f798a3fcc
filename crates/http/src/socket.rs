//! A client's socket as hyper sees it, with two additions.
//!
//! hyper refuses malformed requests by itself, with an empty `400`, `414` or `431` before any code of botops runs; here
//! such an answer is replaced by a problem like every other failure. And code that sends the same bytes to many clients
//! can write to the socket directly ([`SocketWriter`]).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use botops_core::error::{Code, Error};

/// Whether a connection makes progress: a request is handled, or bytes of an answer leave.
///
/// hyper's own limit on slow request heads sets up a timer for every request; this reads a counter every [`LOOK`]
/// instead. Received bytes do not count as progress, so a client cannot hold a connection by sending a head slowly.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionProgress(Arc<ProgressCounters>);

#[derive(Debug, Default)]
struct ProgressCounters {
    steps: AtomicU64,
    running: AtomicU64,
}

impl ConnectionProgress {
    /// Marks a request as being handled until the result is dropped.
    pub(super) fn run(&self) -> RunningRequest<'_> {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        RunningRequest(&self.0)
    }

    /// Resolves when there was no progress for 10 to 12 s ([`LOOKS`] times [`LOOK`]).
    pub(super) async fn stalled(&self) {
        let mut looks_without = 0;
        let mut seen = self.0.steps.load(Ordering::Relaxed);
        while looks_without < LOOKS {
            tokio::time::sleep(LOOK).await;
            let steps = self.0.steps.load(Ordering::Relaxed);
            let moved = steps != seen || self.0.running.load(Ordering::Relaxed) > 0;
            looks_without = if moved { 0 } else { looks_without + 1 };
            seen = steps;
        }
    }

    fn step(&self) {
        self.0.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request that is being handled; dropping it ends that.
pub(super) struct RunningRequest<'a>(&'a ProgressCounters);

impl Drop for RunningRequest<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often a connection is checked for progress.
const LOOK: Duration = Duration::from_secs(2);

/// Checks in a row without progress after which a connection is closed.
const LOOKS: u32 = 5;

/// The sending side of a connection that was upgraded from HTTP. A clone writes to the same socket.
///
/// It bypasses the WebSocket on the same connection, so its user must make sure that both never write at once.
#[derive(Debug, Clone)]
pub struct SocketWriter(Arc<OwnedWriteHalf>);

impl SocketWriter {
    /// Writes as many bytes as the socket takes without waiting, and returns their number.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it takes none now; any other when the connection is closed.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    /// Resolves when the socket may take more bytes.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }

    /// Resolves when the client has sent bytes or closed the connection.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream().readable().await
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn stream(&self) -> &TcpStream {
        (*self.0).as_ref()
    }

    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write(self.stream()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::task::ready!(self.stream().poll_write_ready(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

/// The TCP stream of a client, for hyper.
#[derive(Debug)]
pub(super) struct ClientSocket {
    incoming: TokioIo<OwnedReadHalf>,
    outgoing: SocketWriter,
    progress: ConnectionProgress,
}

impl ClientSocket {
    pub(super) fn new(stream: TcpStream, progress: ConnectionProgress) -> Self {
        let (incoming, outgoing) = stream.into_split();
        Self { incoming: TokioIo::new(incoming), outgoing: SocketWriter(Arc::new(outgoing)), progress }
    }

    /// The sending side, for a request that upgrades the connection.
    pub(super) fn wire(&self) -> SocketWriter {
        self.outgoing.clone()
    }

    /// Sends a problem and closes the connection, for a request whose head never became complete.
    pub(super) async fn refuse(self, code: Code) {
        let problem = problem(code);
        // A client that is gone or does not read gets no answer.
        let polite = self.outgoing.write_all(&problem);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), polite).await;
    }
}

/// A complete HTTP answer to a request that could not be read.
fn problem(code: Code) -> Vec<u8> {
    let problem = Error::new(code).problem("unread", chrono::Utc::now());
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let status = axum::http::StatusCode::from_u16(problem.status).unwrap_or_default();
    let reason = status.canonical_reason().unwrap_or_default();
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        problem.status,
        body.len()
    )
    .into_bytes()
}

/// The code for hyper's own refusal in these bytes. Answers of botops have a request id and are never mistaken for one.
fn hyper_refusal(bytes: &[u8]) -> Option<Code> {
    let status = bytes.strip_prefix(b"HTTP/1.1 4")?.get(..2)?;
    if bytes.len() > 256 || bytes.windows(12).any(|window| window == b"x-request-id") {
        return None;
    }
    match status {
        b"00" => Some(Code::HttpInvalid),
        b"14" | b"31" => Some(Code::LineTooLong),
        _ => None,
    }
}

impl Read for ClientSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().incoming).poll_read(cx, buf)
    }
}

impl Write for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.progress.step();
        let Some(code) = hyper_refusal(buf) else {
            return self.outgoing.poll_write(cx, |stream| stream.try_write(buf));
        };
        // Fits into the send buffer, which is empty on a connection that is about to close.
        let problem = problem(code);
        self.outgoing.poll_write(cx, |stream| stream.try_write(&problem)).map_ok(|_| buf.len())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = rustix::net::shutdown(self.outgoing.stream(), rustix::net::Shutdown::Write);
        Poll::Ready(done.map_err(io::Error::from))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs
            && hyper_refusal(only).is_some()
        {
            return self.poll_write(cx, only);
        }
        self.progress.step();
        self.outgoing.poll_write(cx, |stream| stream.try_write_vectored(bufs))
    }
}
