//! Types that all parts of health share: levels and statuses, limits, clock readings, spans, recovery handlers.

use std::time::Instant;

use botops_contract::Severity;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limit_rules::LimitRuleView;

/// How far inside the limit a value must return before the level is left, in per cent of the limit.
const CLEAR_PCT: u32 = 5;

/// The limits of this file.
pub(crate) fn metric_rules() -> Vec<LimitRuleView> {
    let decides = "how far inside its limit a metric must return before its level ends";
    vec![LimitRuleView::fixed("metric_clears", CLEAR_PCT, "% of the limit", decides)]
}

/// One moment on both clocks. Durations are taken from `mono` alone; `wall` is for people and calendars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockReading {
    /// Milliseconds on a clock that never jumps; only differences have a meaning.
    pub(crate) mono: i64,
    /// Milliseconds since 1970, by a clock that may jump.
    pub(crate) wall: i64,
}

impl ClockReading {
    /// What to add to `mono` to get `wall`. Marks stored by another run are converted by the difference of two
    /// offsets.
    pub(crate) fn offset(self) -> i64 {
        self.wall - self.mono
    }
}

/// How bad a component is. The order of the variants is the order of badness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthLevel {
    /// It works as it should.
    Healthy,
    /// It works, but an operator should check it.
    Warning,
    /// It is reachable but does not work.
    Critical,
    /// It cannot be reached.
    Down,
}

impl HealthLevel {
    /// Every level, best first.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Warning, Self::Critical, Self::Down];

    /// True for levels that count as up for availability; CRITICAL counts as down, although it is reachable.
    pub fn is_up(self) -> bool {
        self <= Self::Warning
    }

    /// How urgent an alert or event at this level is.
    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Healthy => Severity::Low,
            Self::Warning => Severity::Medium,
            Self::Critical => Severity::High,
            Self::Down => Severity::Critical,
        }
    }

    /// The number it is stored as: 0 HEALTHY to 3 DOWN.
    pub fn number(self) -> i64 {
        self as i64
    }
}

/// The status of a component or of the system, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthStatus {
    /// It works as it should.
    Healthy,
    /// It works, but an operator should check it.
    Warning,
    /// It is reachable but does not work.
    Critical,
    /// It cannot be reached.
    Down,
    /// No valid sample is known: it is starting, the last sample is too old, or everything is suspended.
    Unknown,
}

impl HealthStatus {
    /// Every status, best first, `UNKNOWN` last.
    pub const ALL: [Self; 5] = [Self::Healthy, Self::Warning, Self::Critical, Self::Down, Self::Unknown];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Down => "DOWN",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The level, when it is known.
    pub(crate) fn level(self) -> Option<HealthLevel> {
        HealthLevel::ALL.into_iter().find(|level| Self::from(*level) == self)
    }
}

impl From<HealthLevel> for HealthStatus {
    fn from(level: HealthLevel) -> Self {
        match level {
            HealthLevel::Healthy => Self::Healthy,
            HealthLevel::Warning => Self::Warning,
            HealthLevel::Critical => Self::Critical,
            HealthLevel::Down => Self::Down,
        }
    }
}

/// The confirmed status of a component, with the reason when it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ConfirmedStatus {
    /// Confirmed by enough samples.
    Known(HealthLevel),
    /// No valid sample yet, or not enough of them to believe a bad start.
    Starting,
    /// The last valid sample is too old to say anything.
    Stale,
}

impl ConfirmedStatus {
    /// The level, when it is known.
    pub(crate) fn level(self) -> Option<HealthLevel> {
        match self {
            Self::Known(level) => Some(level),
            Self::Starting | Self::Stale => None,
        }
    }

    /// The status without the reason, as on the wire.
    pub(crate) fn status(self) -> HealthStatus {
        self.level().map_or(HealthStatus::Unknown, HealthStatus::from)
    }

    /// The reason for which it is unknown, as on the wire.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Known(_) => None,
            Self::Starting => Some("starting"),
            Self::Stale => Some("stale"),
        }
    }
}

/// Which way a metric gets worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ThresholdDirection {
    /// A higher value is worse: latency, use, age.
    HigherIsWorse,
    /// A lower value is worse: availability, free space, quota left.
    LowerIsWorse,
}

/// The limits of one metric. A metric without limits is shown, but has no influence on the status.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricLimits {
    /// Whether higher or lower values are worse.
    #[serde(default = "higher")]
    pub(crate) direction: ThresholdDirection,
    /// The value from which on the metric is WARNING; no such limit when absent.
    #[serde(default)]
    pub(crate) warning: Option<f64>,
    /// The value from which on the metric is CRITICAL; no such limit when absent.
    #[serde(default)]
    pub(crate) critical: Option<f64>,
}

fn higher() -> ThresholdDirection {
    ThresholdDirection::HigherIsWorse
}

impl MetricLimits {
    /// No limits: the metric is shown and has no influence on the status.
    pub(crate) const NONE: Self =
        Self { direction: ThresholdDirection::HigherIsWorse, warning: None, critical: None };

    /// Limits of a metric where higher is worse.
    pub(crate) const fn above(warning: f64, critical: f64) -> Self {
        Self {
            direction: ThresholdDirection::HigherIsWorse,
            warning: Some(warning),
            critical: Some(critical),
        }
    }

    /// Limits of a metric where lower is worse.
    pub(crate) const fn below(warning: f64, critical: f64) -> Self {
        Self { direction: ThresholdDirection::LowerIsWorse, warning: Some(warning), critical: Some(critical) }
    }

    /// What is wrong with them: the member's name, and what it should be.
    pub(crate) fn defects(&self) -> Vec<(&'static str, &'static str)> {
        let mut defects = Vec::new();
        for (name, limit) in [("warning", self.warning), ("critical", self.critical)] {
            if limit.is_some_and(|limit| !limit.is_finite() || limit < 0.0) {
                defects.push((name, "a finite number that is not negative"));
            }
        }
        if let (Some(warning), Some(critical)) = (self.warning, self.critical) {
            let in_order = match self.direction {
                ThresholdDirection::HigherIsWorse => warning <= critical,
                ThresholdDirection::LowerIsWorse => warning >= critical,
            };
            if !in_order {
                defects.push(("critical", "a limit at least as bad as `warning`"));
            }
        }
        defects
    }

    /// The limit of a level that the value is at; `None` for a level without one.
    pub(crate) fn bound(&self, value: f64, level: HealthLevel) -> Option<LevelBound> {
        let limit = match level {
            HealthLevel::Critical => self.critical?,
            HealthLevel::Warning => self.warning?,
            HealthLevel::Healthy | HealthLevel::Down => return None,
        };
        let inside = limit.abs() * f64::from(CLEAR_PCT) / 100.0;
        Some(match self.direction {
            ThresholdDirection::HigherIsWorse => {
                LevelBound { limit, ends_at: limit - inside, is_left_slowly: value < limit }
            }
            ThresholdDirection::LowerIsWorse => {
                LevelBound { limit, ends_at: limit + inside, is_left_slowly: value > limit }
            }
        })
    }

    /// The level of a value, given the level the metric held before; `None` when the value is NaN or infinite.
    pub(crate) fn level(&self, value: f64, held: HealthLevel) -> Option<HealthLevel> {
        if !value.is_finite() {
            return None;
        }
        for (level, limit) in [(HealthLevel::Critical, self.critical), (HealthLevel::Warning, self.warning)] {
            let Some(limit) = limit else { continue };
            let inside = limit.abs() * f64::from(CLEAR_PCT) / 100.0;
            let (entered, kept) = match self.direction {
                ThresholdDirection::HigherIsWorse => (value >= limit, value > limit - inside),
                ThresholdDirection::LowerIsWorse => (value <= limit, value < limit + inside),
            };
            if entered || (held >= level && kept) {
                return Some(level);
            }
        }
        Some(HealthLevel::Healthy)
    }
}

/// The limit of the level that a value is at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LevelBound {
    /// From here on the level begins.
    pub(crate) limit: f64,
    /// Beyond this the level ends.
    pub(crate) ends_at: f64,
    /// The value is inside the limit again, and not far enough for the level to end.
    pub(crate) is_left_slowly: bool,
}

/// How much a component's status counts for the system's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Criticality {
    /// It is shown and has no influence on the system.
    Informational,
    /// It makes the system WARNING at worst.
    Optional,
    /// It makes the system CRITICAL at worst.
    Important,
    /// The system is at least as bad as this component.
    Required,
}

impl Criticality {
    /// The worst level that it can cause for the system.
    pub(crate) fn cap(self) -> HealthLevel {
        match self {
            Self::Required => HealthLevel::Down,
            Self::Important => HealthLevel::Critical,
            Self::Optional => HealthLevel::Warning,
            Self::Informational => HealthLevel::Healthy,
        }
    }

    /// The level that an unknown status counts as.
    pub(crate) fn of_unknown(self) -> HealthLevel {
        match self {
            Self::Required => HealthLevel::Critical,
            Self::Important | Self::Optional => HealthLevel::Warning,
            Self::Informational => HealthLevel::Healthy,
        }
    }
}

/// The handler that recovers a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecoveryHandler {
    /// A workflow of the workflow engine, by id.
    Workflow(String),
    /// Folds the store's log into its file.
    CheckpointStore,
}

impl RecoveryHandler {
    /// The id of the workflow, when the handler is one.
    pub(crate) fn workflow(&self) -> Option<&str> {
        match self {
            Self::Workflow(id) => Some(id),
            Self::CheckpointStore => None,
        }
    }

    /// The name on the wire.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Workflow(id) => format!("workflow:{id}"),
            Self::CheckpointStore => "checkpoint_store".to_owned(),
        }
    }
}

/// A workflow, and whether a checker may name it for recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryCandidate {
    /// The workflow's id.
    pub id: String,
    /// Why it does not run with what recovery sends, in one sentence; `None` for one that does.
    pub refusal: Option<String>,
}

/// A span of time: from this moment until the next span, a component had this level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusSpan {
    /// Its start, in wall milliseconds.
    pub(crate) from: i64,
    /// The level; `None` when it was not known.
    pub(crate) level: Option<HealthLevel>,
    /// Whether a maintenance window was open; such time is counted separately.
    pub(crate) in_maintenance: bool,
}

/// The source of [`ClockReading`]s.
#[derive(Debug)]
pub(crate) struct HealthClock {
    started: Instant,
}

/// The first reading of the monotonic clock: one day, so that marks of an earlier run stay positive when they are
/// converted.
const BEGINNING: i64 = 86_400_000;

impl HealthClock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn read(&self) -> ClockReading {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        ClockReading { mono: elapsed + BEGINNING, wall: Utc::now().timestamp_millis() }
    }

    /// Milliseconds between the start and `now`.
    pub(crate) fn elapsed_ms(now: ClockReading) -> i64 {
        now.mono - BEGINNING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_enters_at_its_limit_and_leaves_inside_it() {
        let limits = MetricLimits::above(70.0, 90.0);
        assert_eq!(limits.level(70.0, HealthLevel::Healthy), Some(HealthLevel::Warning));
        assert_eq!(limits.level(69.0, HealthLevel::Healthy), Some(HealthLevel::Healthy));
        assert_eq!(limits.level(69.0, HealthLevel::Warning), Some(HealthLevel::Warning));
        assert_eq!(limits.level(66.5, HealthLevel::Warning), Some(HealthLevel::Healthy));
        assert_eq!(limits.level(89.0, HealthLevel::Critical), Some(HealthLevel::Critical));
        assert_eq!(limits.level(85.5, HealthLevel::Critical), Some(HealthLevel::Warning));
        let limits = MetricLimits::below(90.0, 50.0);
        assert_eq!(limits.level(100.0, HealthLevel::Healthy), Some(HealthLevel::Healthy));
        assert_eq!(limits.level(90.0, HealthLevel::Healthy), Some(HealthLevel::Warning));
        assert_eq!(limits.level(92.0, HealthLevel::Warning), Some(HealthLevel::Warning));
        assert_eq!(limits.level(50.0, HealthLevel::Healthy), Some(HealthLevel::Critical));
        assert_eq!(limits.level(0.0, HealthLevel::Healthy), Some(HealthLevel::Critical));
        assert_eq!(limits.level(f64::NAN, HealthLevel::Healthy), None);
        assert_eq!(limits.level(f64::INFINITY, HealthLevel::Critical), None);
    }

    #[test]
    fn limits_in_the_wrong_order_are_named() {
        assert_eq!(MetricLimits::above(90.0, 70.0).defects()[0].0, "critical");
        assert_eq!(MetricLimits::below(50.0, 90.0).defects()[0].0, "critical");
        assert_eq!(MetricLimits::above(-1.0, 70.0).defects()[0].0, "warning");
        assert!(MetricLimits::below(90.0, 50.0).defects().is_empty());
    }
}
