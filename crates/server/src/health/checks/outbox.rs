//! The outbox: notices that wait for their receivers.

use super::metric_limits::{CheckMeasure, OUTBOX_OLDEST};
use super::sample::{CheckSample, count};
use super::targets::OutboxBacklog;
use crate::health::model::HealthLevel;

pub(crate) fn check_outbox(backlog: OutboxBacklog) -> CheckSample {
    let measures = vec![
        CheckMeasure::without_limits("waiting", count(backlog.waiting), "notices"),
        OUTBOX_OLDEST.measure(backlog.oldest_waiting.as_secs_f64()),
        CheckMeasure::without_limits("dead_letters", count(backlog.dead), "notices"),
    ];
    if backlog.dead > 0 {
        let note = format!("{} notices could not be delivered within a day", backlog.dead);
        return CheckSample::ok(measures).says(HealthLevel::Warning, note);
    }
    CheckSample::ok(measures)
}
