//! A part of botops that reports its own health, from memory.

use super::metric_limits::CheckMeasure;
use super::sample::{CheckOutcome, CheckSample};
use super::targets::CheckTargets;
use crate::health::model::HealthLevel;

pub(crate) fn check_source(targets: &CheckTargets, name: &str) -> CheckSample {
    let Some(source) = targets.source(name) else {
        return CheckSample::failed(CheckOutcome::Internal, "nobody answers for this part");
    };
    let fact = source();
    let numbers = fact.numbers.into_iter();
    let measures =
        numbers.map(|(name, value, unit)| CheckMeasure::without_limits(name, value, unit)).collect();
    match fact.level {
        None => CheckSample { measures, ..CheckSample::failed(CheckOutcome::Internal, fact.reason) },
        Some(HealthLevel::Healthy) => CheckSample::ok(measures),
        Some(level) => CheckSample::ok(measures).says(level, fact.reason),
    }
}
