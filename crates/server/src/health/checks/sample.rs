//! The result of one run of a check: its outcome and the metrics it measured.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::metric_limits::CheckMeasure;
use super::retry_after::NextRequest;
use crate::health::model::HealthLevel;

/// How the exchange with the target of a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckOutcome {
    /// The target answered.
    Ok,
    /// The target did not answer in time.
    Timeout,
    /// The connection was refused: nothing listens there.
    Refused,
    /// No route to the target.
    Unreachable,
    /// The name of the target does not resolve.
    Dns,
    /// The certificate is not accepted, or the TLS handshake failed.
    Tls,
    /// The target answered with an HTTP status that was not expected.
    HttpStatus,
    /// The target refused the credentials.
    Auth,
    /// The target asked to wait before the next request.
    RateLimited,
    /// The answer does not follow its protocol.
    Protocol,
    /// The check itself failed, which says nothing about the target.
    Internal,
}

impl CheckOutcome {
    /// The level that the outcome alone stands for; `None` when it says nothing about the target.
    pub(crate) fn level(self) -> Option<HealthLevel> {
        match self {
            Self::Ok => Some(HealthLevel::Healthy),
            Self::RateLimited => Some(HealthLevel::Warning),
            Self::HttpStatus | Self::Auth => Some(HealthLevel::Critical),
            Self::Timeout | Self::Refused | Self::Unreachable | Self::Dns | Self::Tls | Self::Protocol => {
                Some(HealthLevel::Down)
            }
            Self::Internal => None,
        }
    }
}

/// The result of one run of a check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckSample {
    /// How the exchange with the target ended.
    pub(crate) outcome: CheckOutcome,
    /// The level that the check itself states, where the outcome alone does not say it.
    pub(crate) stated_level: Option<HealthLevel>,
    /// What is wrong, in one sentence written by botops.
    pub(crate) note: Option<String>,
    /// How many tables a database has, where that is known: one that had some and has none has lost them.
    pub(crate) tables: Option<u64>,
    /// The values measured.
    pub(crate) measures: Vec<CheckMeasure>,
    /// How long the check took; the scheduler sets it when the check does not.
    pub(crate) latency: Option<Duration>,
    /// What the target's answer says about the next check.
    pub(crate) next_request: NextRequest,
}

impl CheckSample {
    /// A successful check with these values.
    pub(crate) fn ok(measures: Vec<CheckMeasure>) -> Self {
        Self {
            outcome: CheckOutcome::Ok,
            stated_level: None,
            note: None,
            tables: None,
            measures,
            latency: None,
            next_request: NextRequest::AsUsual,
        }
    }

    /// A check that failed, with the reason.
    pub(crate) fn failed(outcome: CheckOutcome, note: impl Into<String>) -> Self {
        Self { outcome, note: Some(note.into()), ..Self::ok(Vec::new()) }
    }

    /// Sets the level and the reason, for a check that knows them better than its outcome tells.
    #[must_use]
    pub(crate) fn says(mut self, level: HealthLevel, note: impl Into<String>) -> Self {
        self.stated_level = Some(level);
        self.note = Some(note.into());
        self
    }
}

/// What a part of botops reports about itself to health.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFact {
    /// Its level; `None` when it does not know.
    pub level: Option<HealthLevel>,
    /// The reason, in one sentence written by botops.
    pub reason: String,
    /// Values worth showing: name, value, unit.
    pub numbers: Vec<(&'static str, f64, &'static str)>,
}

/// Reports the health of a part of botops. It is called as a check, so it must answer from memory.
pub type HealthSource = Arc<dyn Fn() -> SourceFact + Send + Sync>;

/// A count as a metric's value.
pub(crate) fn count(number: usize) -> f64 {
    wide(number as u64)
}

/// A wide number as a metric's value; beyond 2^53 the last digits are lost, which matters to no limit.
pub(crate) fn wide(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a measure is a float")]
    let value = number as f64;
    value
}
