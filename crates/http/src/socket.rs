//! A client's socket as hyper sees it, with two additions.
//!
//! hyper refuses malformed requests by itself, with an empty `400`, `414` or `431` before any code of botops runs; here
//! such an answer is replaced by a problem like every other failure. And code that sends the same bytes to many clients
//! can write to the socket directly ([`SocketWriter`]).

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::unfinished_input::{UnfinishedHead, UnfinishedInput};
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
    /// Set once and for all when the connection is no HTTP any more.
    is_upgraded: AtomicBool,
    /// Set once and for all when the head that is being read has no room.
    is_refused: AtomicBool,
}

impl ConnectionProgress {
    /// Marks a request as being handled until the result is dropped.
    pub(super) fn run(self) -> RunningRequest {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        RunningRequest(self)
    }

    /// Drives the connection to its end, or until its input is refused, which is `None`.
    ///
    /// The refusal comes from reading, so it is there when the connection has nothing more to do.
    pub(super) async fn until_refused<F: Future + Unpin>(&self, mut connection: F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if self.is_refused() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Whether its input was refused.
    pub(super) fn is_refused(&self) -> bool {
        self.0.is_refused.load(Ordering::Relaxed)
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
pub(super) struct RunningRequest(ConnectionProgress);

impl RunningRequest {
    /// What is read from here on is another protocol, which has its own limits.
    pub(super) fn leave_http(&self) {
        self.0.0.is_upgraded.store(true, Ordering::Relaxed);
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        let counters = &self.0.0;
        counters.running.fetch_sub(1, Ordering::Relaxed);
        counters.steps.fetch_add(1, Ordering::Relaxed);
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

    /// Reads and drops what the client still sends, until it closes.
    ///
    /// A connection that is closed with unread bytes is reset, which may take the last message from the client.
    pub async fn discard_input(&self) {
        let mut scrap = [0; 4096];
        while self.readable().await.is_ok() {
            match self.stream().try_read(&mut scrap) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
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

/// What was read since the last request.
#[derive(Debug)]
enum HeadInput {
    Nothing,
    /// Bytes were read, when the connection had made so many steps; they may be a whole head.
    Read {
        steps: u64,
    },
    /// The bytes are no whole head, so it counts as unfinished.
    Unfinished {
        steps: u64,
        _counted: UnfinishedHead,
    },
}

/// The TCP stream of a client, for hyper.
#[derive(Debug)]
pub(super) struct ClientSocket {
    incoming: TokioIo<OwnedReadHalf>,
    outgoing: SocketWriter,
    progress: ConnectionProgress,
    input: Arc<UnfinishedInput>,
    peer: IpAddr,
    head: HeadInput,
}

impl ClientSocket {
    pub(super) fn new(
        stream: TcpStream,
        progress: ConnectionProgress,
        input: Arc<UnfinishedInput>,
        peer: IpAddr,
    ) -> Self {
        let (incoming, outgoing) = stream.into_split();
        let outgoing = SocketWriter(Arc::new(outgoing));
        let head = HeadInput::Nothing;
        Self { incoming: TokioIo::new(incoming), outgoing, progress, input, peer, head }
    }

    /// The sending side, for a request that upgrades the connection.
    pub(super) fn wire(&self) -> SocketWriter {
        self.outgoing.clone()
    }

    /// Sends a problem and closes the connection, for a request whose head never became complete.
    pub(super) async fn refuse(self, error: Error) {
        let problem = problem(&error);
        // A client that is gone or does not read gets no answer.
        let polite = self.outgoing.write_all(&problem);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), polite).await;
    }

    /// Before more is read: whether what was read so far may stay. Asked to read on after bytes and without a request in
    /// between, the bytes are the part of a head; nearly every head comes whole and never gets here twice.
    fn count_head(&mut self) -> bool {
        if matches!(self.head, HeadInput::Nothing) {
            return true;
        }
        let counters = &self.progress.0;
        if counters.running.load(Ordering::Relaxed) > 0 {
            self.head = HeadInput::Nothing;
            return true;
        }
        let now = counters.steps.load(Ordering::Relaxed);
        match self.head {
            HeadInput::Read { steps } | HeadInput::Unfinished { steps, .. } if steps != now => {
                self.head = HeadInput::Nothing;
                true
            }
            HeadInput::Nothing | HeadInput::Unfinished { .. } => true,
            HeadInput::Read { steps } => {
                if counters.is_upgraded.load(Ordering::Relaxed) {
                    return true;
                }
                match self.input.begin_head(self.peer) {
                    Some(counted) => {
                        self.head = HeadInput::Unfinished { steps, _counted: counted };
                        true
                    }
                    None => {
                        counters.is_refused.store(true, Ordering::Relaxed);
                        false
                    }
                }
            }
        }
    }
}

/// A complete HTTP answer to a request that could not be read.
fn problem(error: &Error) -> Vec<u8> {
    let problem = error.problem("unread", chrono::Utc::now());
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
        let this = self.get_mut();
        if !this.count_head() {
            // Never woken again: whoever drives the connection sees the refusal as soon as this returns.
            return Poll::Pending;
        }
        let read = std::task::ready!(Pin::new(&mut this.incoming).poll_read(cx, buf));
        if matches!(this.head, HeadInput::Nothing) {
            this.head = HeadInput::Read { steps: this.progress.0.steps.load(Ordering::Relaxed) };
        }
        Poll::Ready(read)
    }
}

impl Write for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.progress.step();
        let Some(code) = hyper_refusal(buf) else {
            return self.outgoing.poll_write(cx, |stream| stream.try_write(buf));
        };
        // Fits into the send buffer, which is empty on a connection that is about to close.
        let problem = problem(&Error::new(code));
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
