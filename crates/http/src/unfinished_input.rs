//! The budget for input that is not complete yet: heads of requests that come in pieces, and bodies.
//!
//! A client without a key can open connections and send a part of a head on each, so what such input may take is
//! bounded for all connections together, and for each address. A head that comes in one piece, as nearly all do, is
//! never counted, nor is a connection that waits between requests or carries a stream: thousands of them may come from
//! one proxy.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::limits::client_network;

/// Largest size of request line and headers together, in bytes.
pub(super) const HEAD_LIMIT: usize = 16 * 1024;

/// Bytes that all unfinished heads and bodies may take together.
const INPUT_BUDGET: usize = 48 * 1024 * 1024;

/// Bytes of it that heads may take. Bodies need a key, so they keep the rest whoever floods with heads.
const HEADS_BUDGET: usize = 32 * 1024 * 1024;

/// Heads of one address that may be unfinished at the same time.
const HEADS_PER_ADDRESS: usize = 256;

/// How long a body may take to arrive.
pub(super) const BODY_TIME: Duration = Duration::from_secs(10);

/// What unfinished input takes, of all connections together.
#[derive(Debug, Default)]
pub(super) struct UnfinishedInput {
    bytes: AtomicUsize,
    heads: Mutex<HashMap<IpAddr, usize>>,
    refused: AtomicU64,
}

impl UnfinishedInput {
    /// Counts a head that did not come in one piece; `None` when its address or all together have too many. It counts
    /// with its largest size, since that is what its buffer may grow to.
    pub(super) fn begin_head(self: &Arc<Self>, peer: IpAddr) -> Option<UnfinishedHead> {
        let network = client_network(peer);
        let mut heads = self.lock();
        let of_network = heads.get(&network).copied().unwrap_or(0);
        if of_network >= HEADS_PER_ADDRESS || !self.take(HEAD_LIMIT, HEADS_BUDGET) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        heads.insert(network, of_network + 1);
        drop(heads);
        Some(UnfinishedHead { input: self.clone(), network })
    }

    /// How much input was refused since this was last asked.
    pub(super) fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// Takes bytes out of the budget, unless more than `most` would be taken.
    fn take(&self, bytes: usize, most: usize) -> bool {
        let taken = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= most);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A head that is counted as unfinished until this is dropped.
#[derive(Debug)]
pub(super) struct UnfinishedHead {
    input: Arc<UnfinishedInput>,
    network: IpAddr,
}

impl Drop for UnfinishedHead {
    fn drop(&mut self) {
        self.input.give_back(HEAD_LIMIT);
        let mut heads = self.input.lock();
        match heads.get_mut(&self.network) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                heads.remove(&self.network);
            }
        }
    }
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(super) enum BodyRefusal {
    /// It did not arrive within [`BODY_TIME`].
    TooLate,
    /// Too much unfinished input waits already.
    NoRoom,
    /// The client broke it off, or its form is wrong.
    Broken(hyper::Error),
}

impl fmt::Display for BodyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate => write!(f, "the body did not arrive within {} s", BODY_TIME.as_secs()),
            Self::NoRoom => f.write_str("too much unfinished input waits already"),
            Self::Broken(_) => f.write_str("the body broke off"),
        }
    }
}

impl std::error::Error for BodyRefusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(error) => Some(error),
            Self::TooLate | Self::NoRoom => None,
        }
    }
}

impl BodyRefusal {
    /// The refusal behind an error of whatever read the body.
    pub(super) fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut error = Some(error);
        while let Some(one) = error {
            if let Some(refusal) = one.downcast_ref() {
                return Some(refusal);
            }
            error = one.source();
        }
        None
    }
}

/// The body of a request, which takes its part of the budget while it is not complete, and has a deadline.
pub(super) struct BoundedBody {
    body: Incoming,
    input: Arc<UnfinishedInput>,
    taken: usize,
    /// Made when the body is first waited for; one that came with its head has none.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl BoundedBody {
    pub(super) fn new(body: Incoming, input: Arc<UnfinishedInput>) -> Self {
        Self { body, input, taken: 0, deadline: None }
    }
}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = BodyRefusal;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyRefusal>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let deadline = this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_TIME)));
                return deadline.as_mut().poll(cx).map(|()| Some(Err(BodyRefusal::TooLate)));
            }
        };
        let Some(frame) = frame.transpose().map_err(BodyRefusal::Broken)? else { return Poll::Ready(None) };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if bytes > 0 && !this.body.is_end_stream() {
            if !this.input.take(bytes, INPUT_BUDGET) {
                this.input.refused.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(Some(Err(BodyRefusal::NoRoom)));
            }
            this.taken += bytes;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for BoundedBody {
    fn drop(&mut self) {
        self.input.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn heads_are_bounded_for_an_address_and_for_all_together() {
        let input = Arc::new(UnfinishedInput::default());
        let address = |number: u8| IpAddr::from([10, 0, 0, number]);
        let mut held = Vec::new();
        for number in 0..8 {
            held.extend((0..HEADS_PER_ADDRESS).map(|_| input.begin_head(address(number)).unwrap()));
            assert!(input.begin_head(address(number)).is_none(), "an address has its share");
        }
        assert!(input.begin_head(address(9)).is_none(), "all together have theirs");
        assert_eq!(input.take_refused(), 9);
        assert!(input.take(HEAD_LIMIT, INPUT_BUDGET), "bodies still find room");
        input.give_back(HEAD_LIMIT);
        held.pop();
        assert!(input.begin_head(address(9)).is_some());
        drop(held);
        assert_eq!(input.bytes.load(Ordering::Relaxed), 0);
        assert!(input.lock().is_empty());
    }

    #[test]
    fn one_customer_of_ipv6_is_one_address() {
        let input = Arc::new(UnfinishedInput::default());
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let held: Vec<_> =
            (0..256).map(|number| input.begin_head(address(number)).expect("there is room")).collect();
        assert!(input.begin_head(address(999)).is_none());
        assert!(input.begin_head(Ipv4Addr::LOCALHOST.into()).is_some());
        assert_eq!(held.len(), HEADS_PER_ADDRESS);
    }
}
