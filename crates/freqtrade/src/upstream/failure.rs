//! What it means that a call to freqtrade brought nothing.

use std::fmt;

/// Why a call brought no answer that can be used. Texts of freqtrade in it are cleaned and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamFailure {
    /// Nobody takes the connection.
    Unreachable(String),
    /// The connection was taken, and no whole answer came in time.
    Late,
    /// The connection ended before the answer did.
    Cut,
    /// 401 or 403: the credentials are not taken.
    Unauthorized,
    /// 503: the path exists in another mode of freqtrade only, or it is not far enough to answer.
    Unavailable(String),
    /// 429: it was asked more often than it allows, and it is well.
    TooOften,
    /// 502 with freqtrade's own reason: it runs and says no.
    Domain(String),
    /// Another status.
    Status(u16, String),
    /// An answer that is not what this path gives: not JSON, too large, or of another program.
    Unreadable(String),
}

impl UpstreamFailure {
    /// Whether freqtrade, or whatever is there, did answer.
    pub(crate) fn was_answered(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::Late | Self::Cut)
    }

    /// Whether it tells what became of a request that changes something. Where it does not, nothing more is sent.
    pub(crate) fn tells_fate(&self) -> bool {
        self.was_answered() && !matches!(self, Self::Unreadable(_))
    }
}

impl fmt::Display for UpstreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "nobody answers there ({why})"),
            Self::Late => f.write_str("it takes the connection and does not answer in time"),
            Self::Cut => f.write_str("it closed the connection before its answer was whole"),
            Self::Unauthorized => f.write_str("it does not accept the credentials"),
            Self::Unavailable(said) => write!(f, "it does not serve this now: {said}"),
            Self::TooOften => f.write_str("it asks for fewer questions"),
            Self::Domain(said) => write!(f, "it refused: {said}"),
            Self::Status(status, said) => write!(f, "it answered status {status}: {said}"),
            Self::Unreadable(why) => write!(f, "its answer cannot be read: {why}"),
        }
    }
}
