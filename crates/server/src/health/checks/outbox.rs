//! The outbox: notices that wait for their receivers.

use super::sample::{CheckMeasure, CheckSample, count};
use super::targets::OutboxBacklog;
use crate::health::model::{HealthLevel, MetricLimits};

pub(crate) fn check_outbox(backlog: OutboxBacklog) -> CheckSample {
    let measures = vec![
        CheckMeasure {
            name: "waiting",
            value: count(backlog.waiting),
            unit: "notices",
            limits: MetricLimits::NONE,
        },
        CheckMeasure {
            name: "oldest_waiting",
            value: backlog.oldest_waiting.as_secs_f64(),
            unit: "s",
            limits: MetricLimits { warning: Some(600.0), ..MetricLimits::NONE },
        },
        CheckMeasure {
            name: "dead_letters",
            value: count(backlog.dead),
            unit: "notices",
            limits: MetricLimits::NONE,
        },
    ];
    if backlog.dead > 0 {
        let note = format!("{} notices could not be delivered within a day", backlog.dead);
        return CheckSample::ok(measures).says(HealthLevel::Warning, note);
    }
    CheckSample::ok(measures)
}
