//! Requests that wait for something to happen (`?wait=`): how long, and how many at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use botops_core::duration::parse_duration;
use botops_core::error::{Code, Error};

/// The longest wait of a request. Its answer may take so much longer than that of any other request.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The longest wait of a call from inside the process: clients of MCP give a call up after a minute.
pub(super) const LONGEST_INSIDE_WAIT: Duration = Duration::from_secs(50);

/// Requests that may wait at a time.
const MOST_WAITING: usize = 64;

/// How long a request may wait, as asked for with `?wait=`: `30s`, `500ms`, `5m` or bare seconds.
///
/// # Errors
/// [`Code::ArgumentInvalid`] for what is no time, or one above [`LONGEST_WAIT`].
pub fn parse_wait(text: &str) -> Result<Duration, Error> {
    parse_wait_up_to(text, LONGEST_WAIT, "30s, 500ms, 5m or bare seconds, at most 5 minutes")
}

/// The same for a call from inside the process.
pub(super) fn check_inside_wait(query: &str) -> Result<(), Error> {
    let Some(text) = wait_of(query) else { return Ok(()) };
    let text = botops_core::text::percent_decode(text).unwrap_or_else(|| text.to_owned());
    let expected = "30s, 500ms or bare seconds, at most 50 s here; ask again where that is not enough";
    parse_wait_up_to(&text, LONGEST_INSIDE_WAIT, expected).map(|_| ())
}

fn parse_wait_up_to(text: &str, longest: Duration, expected: &'static str) -> Result<Duration, Error> {
    parse_duration(text).filter(|wait| *wait <= longest).ok_or_else(|| {
        let got = botops_core::text::clean(text, 40);
        Error::new(Code::ArgumentInvalid).detail("`wait` cannot be used").field("?wait", got, expected)
    })
}

/// What a query asks to wait; as it was sent.
fn wait_of(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("wait="))
}

/// The places of waiting requests; cloning shares them.
#[derive(Debug, Clone)]
pub(super) struct WaitingRequests {
    places: Arc<Semaphore>,
}

impl Default for WaitingRequests {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MOST_WAITING)) }
    }
}

impl WaitingRequests {
    /// A place for a request that asks to wait, held until it is answered; `None` for one that does not.
    ///
    /// # Errors
    /// [`Code::RateLimited`] while [`MOST_WAITING`] others wait.
    pub(super) fn admit(&self, query: Option<&str>) -> Result<Option<OwnedSemaphorePermit>, Error> {
        if query.and_then(wait_of).is_none() {
            return Ok(None);
        }
        self.places.clone().try_acquire_owned().map(Some).map_err(|_| {
            Error::new(Code::RateLimited)
                .detail("64 requests wait already, which is the limit")
                .context("waiting", MOST_WAITING)
                .after_ms(1_000)
        })
    }
}
