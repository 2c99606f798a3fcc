//! A part of botops that reports its own health, from memory.

use super::sample::{CheckMeasure, CheckOutcome, CheckSample};
use super::targets::CheckTargets;
use crate::health::model::{HealthLevel, MetricLimits};

pub(crate) fn check_source(targets: &CheckTargets, name: &str) -> CheckSample {
    let Some(source) = targets.source(name) else {
        return CheckSample::failed(CheckOutcome::Internal, "nobody answers for this part");
    };
    let fact = source();
    let measure = |(name, value, unit): (&'static str, f64, &'static str)| CheckMeasure {
        name,
        value,
        unit,
        limits: MetricLimits::NONE,
    };
    let measures = fact.numbers.into_iter().map(measure).collect();
    match fact.level {
        None => CheckSample { measures, ..CheckSample::failed(CheckOutcome::Internal, fact.reason) },
        Some(HealthLevel::Healthy) => CheckSample::ok(measures),
        Some(level) => CheckSample::ok(measures).says(level, fact.reason),
    }
}
