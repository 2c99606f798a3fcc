//! Limits on clients: the rate per key, wrong keys per address, and the origins whose pages may read answers.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use botops_core::duration::milliseconds;
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use botops_core::error::{Code, Error};

/// Wrong keys that an address may send in a minute; beyond it, they are refused as too many requests.
const WRONG_KEYS: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The rate limit of one key: requests a minute (GCRA), and a whole minute's requests may come at once.
pub(super) struct KeyRate {
    // The monotonic clock of std, since governor's default clock takes some 15 ms to calibrate at start.
    limiter: RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>,
    policy: HeaderValue,
    per_minute: u32,
}

impl KeyRate {
    pub(super) fn new(per_minute: u32) -> Self {
        let burst = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        let limiter = RateLimiter::direct_with_clock(Quota::per_minute(burst), MonotonicClock)
            .with_middleware::<StateInformationMiddleware>();
        let policy = HeaderValue::from_str(&format!("\"key\";q={burst};w=60"))
            .expect("digits are a valid header value");
        Self { limiter, policy, per_minute: burst.get() }
    }

    /// Takes one request out of the quota; the result writes what is left into the answer's headers.
    pub(super) fn take(&self) -> Result<RateLeft<'_>, Error> {
        match self.limiter.check() {
            Ok(snapshot) => Ok(RateLeft { rate: self, remaining: snapshot.remaining_burst_capacity() }),
            Err(until) => {
                let wait = until.wait_time_from(MonotonicClock.now());
                Err(self.exhausted(wait))
            }
        }
    }

    fn exhausted(&self, wait: Duration) -> Error {
        // Rounded up: a client that waits exactly this long is let through.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let after_ms = milliseconds(wait).saturating_add(1);
        Error::new(Code::RateLimited)
            .detail(format!("this key may send {} requests a minute", self.per_minute))
            .after_ms(after_ms)
            .context("limit_per_minute", self.per_minute)
            .header("retry-after", seconds.max(1).to_string())
            .header("ratelimit", format!("\"key\";r=0;t={}", seconds.max(1)))
            .header("ratelimit-policy", self.policy.to_str().unwrap_or_default())
    }
}

/// What is left of a quota after a request.
pub(super) struct RateLeft<'rate> {
    rate: &'rate KeyRate,
    remaining: u32,
}

impl RateLeft<'_> {
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let used = u64::from(self.rate.per_minute.saturating_sub(self.remaining));
        let full_in = (used * 60).div_ceil(u64::from(self.rate.per_minute));
        let text = HeaderText::new()
            .text("\"key\";r=")
            .number(u64::from(self.remaining))
            .text(";t=")
            .number(full_in);
        headers.insert(RATE_LIMIT, text.value());
    }
}

/// Builds a header's text on the stack, without an allocation: this runs on every request.
pub(super) struct HeaderText {
    bytes: [u8; 64],
    length: usize,
}

impl HeaderText {
    pub(super) fn new() -> Self {
        Self { bytes: [0; 64], length: 0 }
    }

    /// Appends text; what does not fit into 64 bytes is left out.
    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(mut self, more: &[u8]) -> Self {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + more.len()) {
            room.copy_from_slice(more);
            self.length += more.len();
        }
        self
    }

    /// Appends a number in decimal digits.
    pub(super) fn number(self, number: u64) -> Self {
        self.text(itoa::Buffer::new().format(number))
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    pub(super) fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.bytes[..self.length]).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// The address by which a client is counted: of IPv6 its network of 64 bits, since one customer has all of it.
pub(super) fn client_network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

/// Counts wrong keys by address. A right key always passes, so wrong ones cannot lock the operator out.
pub(super) struct WrongKeyThrottle {
    limiter:
        RateLimiter<IpAddr, DashMapStateStore<IpAddr>, MonotonicClock, NoOpMiddleware<std::time::Instant>>,
}

impl WrongKeyThrottle {
    pub(super) fn new() -> Self {
        let quota = Quota::per_minute(WRONG_KEYS);
        Self { limiter: RateLimiter::new(quota, DashMapStateStore::default(), MonotonicClock) }
    }

    /// Counts one wrong key; returns `refusal`, or another error once the address is over its quota.
    pub(super) fn throttle(&self, address: IpAddr, refusal: Error) -> Error {
        match self.limiter.check_key(&client_network(address)) {
            Ok(()) => refusal,
            Err(until) => {
                let seconds = until.wait_time_from(MonotonicClock.now()).as_secs() + 1;
                Error::new(Code::AuthThrottled)
                    .after_ms(seconds * 1_000)
                    .header("retry-after", seconds.to_string())
            }
        }
    }

    /// Drops addresses whose quota is full again, to free their memory.
    pub(super) fn forget_quiet(&self) {
        self.limiter.retain_recent();
    }
}

/// The origins whose pages may read answers in a browser; none unless configured.
#[derive(Debug, Clone, Default)]
pub struct CorsPolicy {
    origins: Vec<HeaderValue>,
}

impl CorsPolicy {
    /// Allows these origins and no others; there is no wildcard.
    pub fn new(origins: Vec<HeaderValue>) -> Self {
        Self { origins }
    }

    /// The origin of the request, if it is allowed.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        self.origins.contains(origin).then(|| origin.clone())
    }

    /// The answer to a preflight request; `None` for any other request.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asks = method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = asks.then(|| self.origin(headers)).flatten()?;
        let mut response = Response::default();
        *response.status_mut() = axum::http::StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer
            .insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
        answer.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(
                "x-api-key, authorization, content-type, if-match, if-none-match, idempotency-key, accept, \
                 mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id",
            ),
        );
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Self::allow(answer, origin);
        Some(response)
    }

    /// Adds the headers that let pages of this origin read the answer.
    pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(
                "etag, location, x-request-id, ratelimit, ratelimit-policy, retry-after",
            ),
        );
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}
