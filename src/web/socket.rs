//! A client's socket as hyper sees it, with one difference: hyper's own refusals of malformed requests (an empty
//! `400`, `414` or `431`, written before any of our code runs) leave as a problem like every other failure.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::error::{Code, Error};

/// A TCP stream for hyper.
#[derive(Debug)]
pub(super) struct Socket(TokioIo<TcpStream>);

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(TokioIo::new(stream))
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
        self.inner().poll_write_vectored(cx, bufs)
    }
}
