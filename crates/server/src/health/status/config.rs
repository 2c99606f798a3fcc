//! The specification of a component, the built-in components, and the monitoring config with its review.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use botops_core::error::FieldError;

use super::tracker::DebounceRules;
use crate::health::checks::{CheckKind, built_in_health_checks};
use crate::health::defects::FieldDefects;
use crate::health::limit_rules::LimitRuleView;
use crate::health::model::{Criticality, MetricLimits, RecoveryHandler};
use crate::health::units::milliseconds;

/// How many components there may be: more than any one machine needs, few enough to render in a moment.
pub(crate) const COMPONENTS: usize = 500;

/// Seconds between checks that read from memory only, unless `check_interval` is shorter.
const CHEAP_INTERVAL: u32 = 2;

/// Intervals without a valid sample after which a status is UNKNOWN; the time that a check may take comes on top.
const STALE_INTERVALS: i64 = 3;

/// The limits of this file.
pub(crate) fn component_rules() -> Vec<LimitRuleView> {
    vec![
        LimitRuleView::fixed("components", COMPONENTS, "components", "no further checker is added"),
        LimitRuleView::fixed(
            "memory_check_interval",
            CHEAP_INTERVAL,
            "s",
            "how often what is in memory is checked",
        ),
        LimitRuleView::fixed(
            "stale_after",
            STALE_INTERVALS,
            "intervals",
            "a status without a valid sample is UNKNOWN",
        ),
    ]
}

/// The specification of a watched component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComponentSpec {
    /// The id, unique within the system.
    pub(crate) id: String,
    /// The check that is run, with its config.
    #[serde(flatten)]
    pub(crate) check: CheckKind,
    /// How much its status counts for the system's status.
    pub(crate) criticality: Criticality,
    /// Seconds between checks; the monitoring config's when absent.
    #[serde(default)]
    pub(crate) interval: Option<f64>,
    /// Seconds a check may take; the monitoring config's when absent.
    #[serde(default)]
    pub(crate) timeout: Option<f64>,
    /// Ids of the components it needs.
    #[serde(default)]
    pub(crate) depends_on: Vec<String>,
    /// The redundancy group it belongs to.
    #[serde(default)]
    pub(crate) group: Option<String>,
    /// How many members of the group must work.
    #[serde(default)]
    pub(crate) quorum: Option<usize>,
    /// Limits by metric that replace the check's own.
    #[serde(default)]
    pub(crate) thresholds: BTreeMap<String, MetricLimits>,
    /// The handler that recovers it; none when absent.
    #[serde(default)]
    pub(crate) recovery: Option<RecoveryHandler>,
    /// Whether it is a part of botops, which cannot be removed.
    #[serde(default)]
    pub(crate) built_in: bool,
}

impl ComponentSpec {
    /// The specification of a component that botops always watches.
    pub(crate) fn built_in(
        id: &str,
        check: CheckKind,
        criticality: Criticality,
        depends_on: &[&str],
    ) -> Self {
        Self {
            id: id.to_owned(),
            check,
            criticality,
            interval: None,
            timeout: None,
            depends_on: depends_on.iter().map(|id| (*id).to_owned()).collect(),
            group: None,
            quorum: None,
            thresholds: BTreeMap::new(),
            recovery: None,
            built_in: true,
        }
    }

    /// The specifications of all components that botops always watches.
    pub(crate) fn all_built_in() -> Vec<Self> {
        built_in_health_checks()
            .into_iter()
            .map(|(check, row)| {
                let recovery = row.recovery.map(RecoveryHandler::from);
                Self { recovery, ..Self::built_in(row.id, check, row.criticality, row.depends_on) }
            })
            .collect()
    }

    /// Milliseconds between checks.
    pub(crate) fn interval_ms(&self, config: &MonitoringConfig) -> i64 {
        let general = if self.check.is_from_memory() {
            config.check_interval.min(f64::from(CHEAP_INTERVAL))
        } else {
            config.check_interval
        };
        milliseconds(self.interval.unwrap_or(general))
    }

    /// Milliseconds a check may take: always less than its interval.
    pub(crate) fn timeout_ms(&self, config: &MonitoringConfig) -> i64 {
        let interval = self.interval_ms(config);
        milliseconds(self.timeout.unwrap_or(config.timeout)).min(interval * 9 / 10).max(50)
    }

    /// Milliseconds to the next check while the last one differs from what is confirmed.
    pub(crate) fn confirm_ms(&self, config: &MonitoringConfig) -> i64 {
        let half = if self.check.is_from_memory() { self.interval_ms(config) / 2 } else { i64::MAX };
        milliseconds(config.confirm_interval).min(self.interval_ms(config)).min(half)
    }

    /// Milliseconds after which the last valid sample is too old to say anything.
    pub(crate) fn stale_ms(&self, config: &MonitoringConfig) -> i64 {
        STALE_INTERVALS * self.interval_ms(config) + self.timeout_ms(config)
    }
}

/// When alerts fire, end and are notified; all times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AlertTiming {
    /// How long a WARNING must hold before the alert fires.
    pub(crate) for_warning_ms: i64,
    /// How long a CRITICAL must hold before the alert fires.
    pub(crate) for_critical_ms: i64,
    /// How long a DOWN must hold before the alert fires.
    pub(crate) for_down_ms: i64,
    /// How long the condition must be over before the alert ends.
    pub(crate) keep_firing_for_ms: i64,
    /// How long the first notice waits for others of its group; the DOWN of a required component does not wait.
    pub(crate) group_wait_ms: i64,
    /// The least time between two notices about one alert.
    pub(crate) change_gap_ms: i64,
    /// The time between two reminders of an alert that fires.
    pub(crate) reminder_ms: i64,
}

impl Default for AlertTiming {
    fn default() -> Self {
        Self {
            for_warning_ms: 60_000,
            for_critical_ms: 0,
            for_down_ms: 0,
            keep_firing_for_ms: 60_000,
            group_wait_ms: 10_000,
            change_gap_ms: 60_000,
            reminder_ms: 4 * 3_600_000,
        }
    }
}

/// How all components are watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MonitoringConfig {
    /// Whether checks run.
    pub(crate) enable_monitoring: bool,
    /// Seconds between checks; checks that read from memory run at least every two seconds.
    pub(crate) check_interval: f64,
    /// Seconds a check may take; less than `check_interval`.
    pub(crate) timeout: f64,
    /// Seconds until the next check while a change of status is being confirmed.
    pub(crate) confirm_interval: f64,
    /// Seconds after a start in which no alert fires.
    pub(crate) startup_grace: f64,
    /// How many samples confirm a change of status.
    pub(crate) rules: DebounceRules,
    /// When alerts fire, end and are notified.
    pub(crate) alerting: AlertTiming,
    /// Whether recovery starts automatically.
    pub(crate) enable_recovery: bool,
    /// The availability aimed at, in per cent.
    pub(crate) objective_pct: f64,
}

impl Default for MonitoringConfig {
    fn default() -> Self {
        Self {
            enable_monitoring: true,
            check_interval: 30.0,
            timeout: 10.0,
            confirm_interval: 5.0,
            startup_grace: 60.0,
            rules: DebounceRules::default(),
            alerting: AlertTiming::default(),
            enable_recovery: true,
            objective_pct: 99.5,
        }
    }
}

impl MonitoringConfig {
    /// Everything that is wrong with it, field by field.
    pub(crate) fn defects(&self) -> Vec<FieldError> {
        let mut defects = FieldDefects::default();
        defects.seconds("/check_interval", Some(self.check_interval), 0.2, 3_600.0);
        defects.seconds("/timeout", Some(self.timeout), 0.05, 300.0);
        defects.seconds("/confirm_interval", Some(self.confirm_interval), 0.1, 300.0);
        defects.seconds("/startup_grace", Some(self.startup_grace), 0.0, 3_600.0);
        if self.timeout >= self.check_interval {
            defects.wrong("/timeout", self.timeout, "less than `check_interval`");
        }
        if !(self.objective_pct.is_finite() && (50.0..100.0).contains(&self.objective_pct)) {
            defects.wrong("/objective_pct", self.objective_pct, "50 up to, but not, 100");
        }
        let rules = self.rules;
        for (name, count) in [
            ("warning_after", rules.warning_after),
            ("critical_after", rules.critical_after),
            ("down_after", rules.down_after),
            ("ok_after", rules.ok_after),
        ] {
            if count == 0 || count > DebounceRules::MOST {
                defects.wrong(format!("/rules/{name}"), count, "1 to 10");
            }
        }
        let timing = self.alerting;
        for (name, wait) in [
            ("for_warning_ms", timing.for_warning_ms),
            ("for_critical_ms", timing.for_critical_ms),
            ("for_down_ms", timing.for_down_ms),
            ("keep_firing_for_ms", timing.keep_firing_for_ms),
            ("group_wait_ms", timing.group_wait_ms),
            ("change_gap_ms", timing.change_gap_ms),
        ] {
            if !(0..=86_400_000).contains(&wait) {
                defects.wrong(format!("/alerting/{name}"), wait, "0 to 86400000");
            }
        }
        if !(60_000..=7 * 86_400_000).contains(&timing.reminder_ms) {
            defects.wrong("/alerting/reminder_ms", timing.reminder_ms, "60000 to 604800000");
        }
        defects.0
    }
}
