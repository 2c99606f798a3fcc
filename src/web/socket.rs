//! A client's socket as hyper sees it, with one difference: hyper's own refusals of malformed requests (an empty
//! `400`, `414` or `431`, written before any of our code runs) leave as a problem like every other failure.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::error::{Code, Error};

/// Whether a connection gets anywhere: a request runs, or its answer leaves.
///
/// hyper's own limit on a slow head sets up and tears down a timer for every request; this looks at a counter now and
/// then instead. What arrives does not count as progress, so a head that drips in byte by byte does not either.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    steps: AtomicU64,
    running: AtomicU64,
}

impl Progress {
    /// A request runs until the result is dropped.
    pub(super) fn run(&self) -> Running<'_> {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        Running(&self.0)
    }

    /// Resolves when nothing has run and nothing has left for five looks: 10 s at least, 12 s at most.
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

/// A request that runs.
pub(super) struct Running<'a>(&'a Counters);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often a connection is looked at for progress.
const LOOK: Duration = Duration::from_secs(2);

/// Looks without progress after which a connection is given up.
const LOOKS: u32 = 5;

/// A TCP stream for hyper.
#[derive(Debug)]
pub(super) struct Socket(TokioIo<TcpStream>, Progress);

impl Socket {
    pub(super) fn new(stream: TcpStream, progress: Progress) -> Self {
        Self(TokioIo::new(stream), progress)
    }

    /// Says why the connection ends and closes it. For requests that never became one.
    pub(super) async fn refuse(self, code: Code) {
        let mut stream = self.0.into_inner();
        // The client may be gone already, or never read: nothing is owed then.
        let polite = async {
            stream.write_all(&problem(code)).await?;
            stream.shutdown().await
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), polite).await;
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().0)
    }
}

/// A whole answer for a request that could not be read.
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

/// Which refusal of hyper's this is. Ours always carry a request id, so they are never taken for one.
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

impl Read for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.step();
        let Some(code) = hyper_refusal(buf) else { return self.inner().poll_write(cx, buf) };
        // Small enough for the empty send buffer of a connection that is about to close.
        match self.as_mut().inner().poll_write(cx, &problem(code)) {
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(buf.len())),
            other => other,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs
            && hyper_refusal(only).is_some()
        {
            return self.as_mut().poll_write(cx, only);
        }
        self.1.step();
        self.inner().poll_write_vectored(cx, bufs)
    }
}
