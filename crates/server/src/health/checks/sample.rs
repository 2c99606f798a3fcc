//! What one run of a check saw: its outcome and the metrics it measured.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::health::model::{HealthLevel, MetricLimits};

/// What the probe itself came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckOutcome {
    /// It answered.
    Ok,
    /// It did not answer in time.
    Timeout,
    /// Nothing listens.
    Refused,
    /// There is no way to it.
    Unreachable,
    /// Its name does not resolve.
    Dns,
    /// Its certificate or the handshake failed.
    Tls,
    /// It answered with a status that was not expected.
    HttpStatus,
    /// It refused the credentials.
    Auth,
    /// It asked to wait.
    RateLimited,
    /// Its answer makes no sense.
    Protocol,
    /// The check itself failed: says nothing about the target.
    Internal,
}

impl CheckOutcome {
    /// The level the probe's outcome stands for; `None` says nothing.
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

/// One measured number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckMeasure {
    /// Its name, the same on every run.
    pub(crate) name: &'static str,
    /// What was measured.
    pub(crate) value: f64,
    /// In what.
    pub(crate) unit: &'static str,
    /// From where on it is bad, unless the component says otherwise.
    pub(crate) limits: MetricLimits,
}

/// What one run of a check saw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckSample {
    /// What the probe came to.
    pub(crate) outcome: CheckOutcome,
    /// The level that the check itself states, where the outcome alone does not say it.
    pub(crate) stated_level: Option<HealthLevel>,
    /// One sentence on what is wrong, in our words.
    pub(crate) note: Option<String>,
    /// What was measured.
    pub(crate) measures: Vec<CheckMeasure>,
    /// How long it took; set by the scheduler when the check does not say.
    pub(crate) latency: Option<Duration>,
    /// How long the target asked us to wait.
    pub(crate) retry_after: Option<Duration>,
}

impl CheckSample {
    /// It answered, with these numbers.
    pub(crate) fn ok(measures: Vec<CheckMeasure>) -> Self {
        Self {
            outcome: CheckOutcome::Ok,
            stated_level: None,
            note: None,
            measures,
            latency: None,
            retry_after: None,
        }
    }

    /// The probe failed.
    pub(crate) fn failed(outcome: CheckOutcome, note: impl Into<String>) -> Self {
        Self { outcome, note: Some(note.into()), ..Self::ok(Vec::new()) }
    }

    /// It answered, and says itself how it is.
    #[must_use]
    pub(crate) fn says(mut self, level: HealthLevel, note: impl Into<String>) -> Self {
        self.stated_level = Some(level);
        self.note = Some(note.into());
        self
    }
}

/// What a part of botops above health says about itself when asked.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFact {
    /// How it is; `None` when it cannot say.
    pub level: Option<HealthLevel>,
    /// One sentence, in our words.
    pub reason: String,
    /// Numbers worth showing: name, value, unit.
    pub numbers: Vec<(&'static str, f64, &'static str)>,
}

/// Asks a part of botops how it is. Must answer from memory.
pub type HealthSource = Arc<dyn Fn() -> SourceFact + Send + Sync>;

/// A count as a metric's value.
pub(crate) fn count(number: usize) -> f64 {
    wide(number as u64)
}

/// A wide number as a metric's value; beyond 2^53 the last digits are lost, which no limit notices.
pub(crate) fn wide(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a measure is a float")]
    let value = number as f64;
    value
}
