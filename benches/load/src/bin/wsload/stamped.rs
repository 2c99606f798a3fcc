//! A TCP stream that asks the kernel when the last segment it returned arrived
//! (SO_TIMESTAMPNS). On loopback that moment lies inside the sender's write call,
//! so it shows the server's own fan-out, free of this driver's read backlog.

use std::{
    io,
    os::fd::AsRawFd,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

pub struct StampedStream {
    pub inner: TcpStream,
    /// CLOCK_REALTIME nanoseconds; 0 until the kernel gave one.
    pub arrival_ns: u128,
}

impl StampedStream {
    pub fn new(inner: TcpStream) -> Self {
        let on: libc::c_int = 1;
        // SAFETY: the fd is open and `on` outlives the call.
        unsafe {
            libc::setsockopt(
                inner.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPNS,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
        StampedStream { inner, arrival_ns: 0 }
    }
}

#[repr(align(8))]
struct ControlBuffer([u8; 128]);

fn recv(fd: i32, buf: &mut [u8]) -> io::Result<(usize, Option<u128>)> {
    let mut control = ControlBuffer([0; 128]);
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: msghdr is plain data; every pointer in it outlives recvmsg, and the
    // control messages are walked with the libc macros within msg_controllen.
    unsafe {
        let mut msg: libc::msghdr = std::mem::zeroed();
        msg.msg_iov = &raw mut iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control.0.as_mut_ptr().cast();
        msg.msg_controllen = control.0.len() as _;
        let n = libc::recvmsg(fd, &raw mut msg, libc::MSG_DONTWAIT);
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut stamp = None;
        let mut head = libc::CMSG_FIRSTHDR(&raw const msg);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_TIMESTAMPNS {
                let at: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(head).cast());
                stamp = Some(at.tv_sec as u128 * 1_000_000_000 + at.tv_nsec as u128);
            }
            head = libc::CMSG_NXTHDR(&raw const msg, head);
        }
        Ok((n as usize, stamp))
    }
}

impl AsyncRead for StampedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.inner.poll_read_ready(cx))?;
            let fd = self.inner.as_raw_fd();
            let space = buf.initialize_unfilled();
            match self.inner.try_io(Interest::READABLE, || recv(fd, space)) {
                Ok((n, stamp)) => {
                    if let Some(stamp) = stamp {
                        self.arrival_ns = stamp;
                    }
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for StampedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
