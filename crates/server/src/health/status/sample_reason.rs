//! Why a sample is bad: in words, and the metric that made it so.

use serde::{Deserialize, Serialize};

use crate::health::model::{HealthLevel, MetricLimits, ThresholdDirection};
use crate::health::units::round;

/// A metric that is beyond its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MetricBeyond {
    pub(crate) metric: String,
    pub(crate) value: f64,
    /// The limit that it is beyond: of a level that goes on, the one at which it ends.
    pub(crate) limit: f64,
    pub(crate) unit: String,
}

/// Why a sample is bad. Both parts are of the same sample, so they never speak of two metrics or of two values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredReason")]
pub(crate) struct SampleReason {
    pub(crate) text: String,
    /// The metric that made it so; `None` where the check itself says what is wrong.
    pub(crate) beyond: Option<MetricBeyond>,
}

/// A reason as it is stored; an older version stored the text alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredReason {
    Text(String),
    Whole { text: String, beyond: Option<MetricBeyond> },
}

impl From<StoredReason> for SampleReason {
    fn from(stored: StoredReason) -> Self {
        match stored {
            StoredReason::Text(text) => Self { text, beyond: None },
            StoredReason::Whole { text, beyond } => Self { text, beyond },
        }
    }
}

impl From<String> for SampleReason {
    fn from(text: String) -> Self {
        Self { text, beyond: None }
    }
}

impl SampleReason {
    /// That a metric is at a level.
    pub(crate) fn of_metric(
        name: &str,
        value: f64,
        unit: &str,
        limits: &MetricLimits,
        level: HealthLevel,
    ) -> Self {
        let is = format!("{name} is {} {unit}", round(value));
        let Some(bound) = limits.bound(value, level) else { return Self::from(is) };
        let text = if bound.is_left_slowly {
            let (beyond, clear) = match limits.direction {
                ThresholdDirection::HigherIsWorse => ("or above", "below"),
                ThresholdDirection::LowerIsWorse => ("or below", "above"),
            };
            let (limit, ends_at) = (round(bound.limit), round(bound.ends_at));
            format!("{is}: it was at {limit} {unit} {beyond}, and is not {clear} {ends_at} {unit} yet")
        } else {
            is
        };
        let limit = if bound.is_left_slowly { bound.ends_at } else { bound.limit };
        let beyond = MetricBeyond { metric: name.to_owned(), value, limit, unit: unit.to_owned() };
        Self { text, beyond: Some(beyond) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_an_older_version_is_its_text() {
        let old: Vec<Option<SampleReason>> =
            serde_json::from_str(r#"["cpu_usage is 92.0 %", null]"#).unwrap();
        assert_eq!(old, [Some(SampleReason::from("cpu_usage is 92.0 %".to_owned())), None]);
        let limits = MetricLimits::above(70.0, 90.0);
        let new = SampleReason::of_metric("cpu_usage", 92.0, "%", &limits, HealthLevel::Critical);
        let again: SampleReason = serde_json::from_str(&serde_json::to_string(&new).unwrap()).unwrap();
        assert_eq!((again.beyond.as_ref().map(|beyond| beyond.limit), &again), (Some(90.0), &new));
    }

    #[test]
    fn a_level_that_is_left_slowly_says_so_with_the_limit_at_which_it_ends() {
        let limits = MetricLimits::above(70.0, 90.0);
        let kept = SampleReason::of_metric("cpu_usage", 85.6, "%", &limits, HealthLevel::Critical);
        assert_eq!(kept.text, "cpu_usage is 85.6 %: it was at 90.0 % or above, and is not below 85.5 % yet");
        assert_eq!(kept.beyond.map(|beyond| beyond.limit), Some(85.5));
        let limits = MetricLimits::below(500.0, 100.0);
        let kept = SampleReason::of_metric("disk_free", 104.0, "MB", &limits, HealthLevel::Critical);
        assert_eq!(kept.text, "disk_free is 104 MB: it was at 100 MB or below, and is not above 105 MB yet");
    }
}
