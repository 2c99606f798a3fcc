//! Availability, coverage and the burn rate of an objective, computed from changes of status.
//!
//! Pure and exact to the millisecond. Unknown time (botops was not running, or no sample was valid) is neither up nor
//! down: it is left out of the ratio and shown as coverage. Time in maintenance is left out of both.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::histogram::LatencyHistogram;
use crate::health::model::StatusSpan;
use crate::health::units::{percent, seconds, tidy};

/// Milliseconds in each kind of status, within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TimeByStatus {
    pub(crate) up: i64,
    pub(crate) down: i64,
    pub(crate) unknown: i64,
    pub(crate) maintenance: i64,
    /// Separate spans of bad time; a short outage is one.
    pub(crate) bad_spans: u32,
}

impl TimeByStatus {
    /// Up ÷ known; `None` when nothing is known.
    pub(crate) fn availability(&self) -> Option<f64> {
        ratio(self.up, self.up + self.down)
    }

    /// Known ÷ (window − maintenance).
    pub(crate) fn coverage(&self) -> Option<f64> {
        ratio(self.up + self.down, self.up + self.down + self.unknown)
    }

    fn bad_share(&self) -> f64 {
        ratio(self.down, self.up + self.down).unwrap_or(0.0)
    }
}

fn ratio(part: i64, whole: i64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few years are exact")]
    let ratio = (whole > 0).then(|| part as f64 / whole as f64);
    ratio
}

/// Adds up a window. `spans` are in order and begin when the component was first watched; the last one lasts until
/// `to`.
pub(crate) fn add_up(spans: &[StatusSpan], from: i64, to: i64) -> TimeByStatus {
    let mut time = TimeByStatus::default();
    let mut was_bad = false;
    for (index, span) in spans.iter().enumerate() {
        let end = spans.get(index + 1).map_or(to, |next| next.from).min(to);
        let length = end - span.from.max(from);
        if length <= 0 {
            continue;
        }
        let is_bad = !span.in_maintenance && span.level.is_some_and(|level| !level.is_up());
        time.bad_spans += u32::from(is_bad && !was_bad);
        was_bad = is_bad;
        let kind = match span.level {
            _ if span.in_maintenance => &mut time.maintenance,
            None => &mut time.unknown,
            Some(level) if level.is_up() => &mut time.up,
            Some(_) => &mut time.down,
        };
        *kind += length;
    }
    time
}

/// Windows for which availability is reported: name and milliseconds.
pub(crate) const WINDOWS: [(&str, i64); 5] = [
    ("1h", 3_600_000),
    ("24h", 86_400_000),
    ("7d", 7 * 86_400_000),
    ("30d", 30 * 86_400_000),
    ("90d", 90 * 86_400_000),
];

/// One pair of windows for burn-rate alerts, as in the SRE workbook.
///
/// When both windows burn faster than `factor`, the error budget is used up long before its 30 days are over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(crate) struct BudgetBurn {
    /// The name of the long window.
    pub(crate) long: &'static str,
    /// The name of the short window, which shows whether the budget still burns.
    pub(crate) short: &'static str,
    /// The multiple of the objective's allowed rate at which the pair counts as burning.
    pub(crate) factor: f64,
    /// The multiple measured over the long window; `null` when too little of it is known.
    pub(crate) long_rate: Option<f64>,
    /// The multiple measured over the short window; `null` when too little of it is known.
    pub(crate) short_rate: Option<f64>,
    /// Whether both rates are above the factor, over at least two separate bad spans.
    pub(crate) burns: bool,
}

/// The three pairs of windows: long, short (names and milliseconds), factor.
const PAIRS: [(&str, i64, &str, i64, f64); 3] = [
    ("1h", 3_600_000, "5m", 300_000, 14.4),
    ("6h", 6 * 3_600_000, "30m", 1_800_000, 6.0),
    ("3d", 3 * 86_400_000, "6h", 6 * 3_600_000, 1.0),
];

/// How fast the error budget of an objective (such as 0.995) burns, for each pair of windows.
pub(crate) fn burns(spans: &[StatusSpan], objective: f64, now: i64) -> Vec<BudgetBurn> {
    let budget = (1.0 - objective).max(1e-9);
    let pair = |(long, long_ms, short, short_ms, factor): (&'static str, i64, &'static str, i64, f64)| {
        let of = |window: i64| add_up(spans, now - window, now);
        let (over_long, over_short) = (of(long_ms), of(short_ms));
        let known = over_long.up + over_long.down;
        // A rate over a window that is mostly unknown would be a guess.
        let is_covered = (known + over_long.maintenance) * 10 >= long_ms * 9;
        let long_rate = is_covered.then(|| over_long.bad_share() / budget);
        let short_rate = is_covered.then(|| over_short.bad_share() / budget);
        let is_fast = |rate: Option<f64>| rate.is_some_and(|rate| rate >= factor);
        let burns = is_fast(long_rate) && is_fast(short_rate) && over_long.bad_spans >= 2;
        BudgetBurn { long, short, factor, long_rate, short_rate, burns }
    };
    PAIRS.into_iter().map(pair).collect()
}

/// Availability over one window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AvailabilityWindowView {
    /// Time up ÷ time known, in per cent; `null` when nothing is known.
    availability_pct: Option<f64>,
    /// Time known ÷ (window less maintenance), in per cent, counted from when the component was first watched.
    coverage_pct: Option<f64>,
    /// Seconds CRITICAL or DOWN.
    down_seconds: f64,
    /// Seconds of which nothing is known: botops was not running, or no sample was valid.
    unknown_seconds: f64,
    /// Seconds in maintenance, left out of both.
    maintenance_seconds: f64,
    /// Median latency of successful checks, in milliseconds; `null` without one.
    latency_p50_ms: Option<f64>,
    /// 95th percentile of the same latencies (nearest rank, within 1 %), in milliseconds.
    latency_p95_ms: Option<f64>,
    /// 99th percentile of the same latencies, in milliseconds.
    latency_p99_ms: Option<f64>,
}

/// Availability of one component.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AvailabilityView {
    /// The component's id, or `system`.
    component_id: String,
    /// Availability by window: `1h`, `24h`, `7d`, `30d`, `90d`.
    windows: BTreeMap<&'static str, AvailabilityWindowView>,
}

/// An objective and how fast its error budget burns.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectiveView {
    /// The component's id, or `system`.
    component_id: String,
    /// The availability aimed at, in per cent.
    objective_pct: f64,
    /// The availability of the last 30 days, in per cent; `null` when nothing is known.
    availability_30d_pct: Option<f64>,
    /// Share of the 30 days' error budget that is left, in per cent; negative when overspent, `null` when unknown.
    budget_left_pct: Option<f64>,
    /// The burn rates over three pairs of windows.
    burns: Vec<BudgetBurn>,
}

/// The availability of one component; `latencies` by window, as [`WINDOWS`] lists them.
pub(crate) fn availability_view(
    component_id: String,
    spans: &[StatusSpan],
    latencies: &[LatencyHistogram],
    now: i64,
) -> AvailabilityView {
    let view = |(index, (name, window)): (usize, (&'static str, i64))| {
        let latency = latencies.get(index);
        let percentile = |percent| latency.and_then(|latency| latency.percentile(percent)).map(tidy);
        let time = add_up(spans, now - window, now);
        let view = AvailabilityWindowView {
            availability_pct: time.availability().map(percent),
            coverage_pct: time.coverage().map(percent),
            down_seconds: seconds(time.down),
            unknown_seconds: seconds(time.unknown),
            maintenance_seconds: seconds(time.maintenance),
            latency_p50_ms: percentile(50),
            latency_p95_ms: percentile(95),
            latency_p99_ms: percentile(99),
        };
        (name, view)
    };
    AvailabilityView { component_id, windows: WINDOWS.into_iter().enumerate().map(view).collect() }
}

/// The window over which an objective is measured: 30 days, in milliseconds.
pub(crate) const OBJECTIVE_WINDOW: i64 = 30 * 86_400_000;

/// A component's availability against its objective.
pub(crate) fn objective_view(
    component_id: String,
    spans: &[StatusSpan],
    objective_pct: f64,
    now: i64,
) -> ObjectiveView {
    let availability = add_up(spans, now - OBJECTIVE_WINDOW, now).availability();
    let budget = 100.0 - objective_pct;
    ObjectiveView {
        component_id,
        objective_pct,
        availability_30d_pct: availability.map(percent),
        budget_left_pct: availability.map(|ratio| tidy(100.0 * (1.0 - 100.0 * (1.0 - ratio) / budget))),
        burns: burns(spans, objective_pct / 100.0, now),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::health::model::HealthLevel;

    fn span(from: i64, level: Option<HealthLevel>) -> StatusSpan {
        StatusSpan { from, level, in_maintenance: false }
    }

    const GOOD: Option<HealthLevel> = Some(HealthLevel::Healthy);
    const BAD: Option<HealthLevel> = Some(HealthLevel::Critical);

    #[test]
    fn unknown_time_is_neither_up_nor_down_and_nothing_counts_before_the_component_was() {
        let spans = [span(100, GOOD), span(400, None), span(600, BAD), span(700, Some(HealthLevel::Warning))];
        let time = add_up(&spans, 0, 1_000);
        assert_eq!((time.up, time.down, time.unknown), (600, 100, 200));
        assert_eq!(time.availability(), Some(6.0 / 7.0));
        assert_eq!(time.coverage(), Some(7.0 / 9.0));
        assert_eq!(add_up(&[], 0, 1_000).availability(), None);
    }

    #[test]
    fn maintenance_is_counted_apart() {
        let spans = [span(0, GOOD), StatusSpan { in_maintenance: true, ..span(500, BAD) }, span(800, GOOD)];
        let time = add_up(&spans, 0, 1_000);
        assert_eq!((time.availability(), time.maintenance), (Some(1.0), 300));
    }

    #[test]
    fn one_blip_burns_nothing_and_two_outages_do() {
        let hour = 3_600_000;
        let mut spans = vec![span(0, GOOD), span(hour - 600_000, BAD)];
        assert!(!burns(&spans, 0.995, hour).iter().any(|burn| burn.burns));
        spans.insert(1, span(hour / 2, BAD));
        spans.insert(2, span(hour / 2 + 300_000, GOOD));
        assert!(burns(&spans, 0.995, hour)[0].burns);
        assert!(burns(&spans, 0.995, hour)[1].long_rate.is_none(), "an hour says nothing about six");
    }

    proptest! {
        #[test]
        fn it_equals_a_count_of_single_milliseconds(
            starts in prop::collection::vec((0_i64..2_000, 0_usize..5, any::<bool>()), 0..12),
            from in 0_i64..2_000, length in 0_i64..1_000)
        {
            let mut spans: Vec<StatusSpan> = starts
                .iter()
                .map(|(from, level, in_maintenance)| StatusSpan {
                    from: *from,
                    level: HealthLevel::ALL.get(*level).copied(),
                    in_maintenance: *in_maintenance,
                })
                .collect();
            spans.sort_by_key(|span| span.from);
            let mut slow = TimeByStatus::default();
            for moment in from..from + length {
                let Some(span) = spans.iter().rev().find(|span| span.from <= moment) else { continue };
                let kind = match span.level {
                    _ if span.in_maintenance => &mut slow.maintenance,
                    None => &mut slow.unknown,
                    Some(level) if level.is_up() => &mut slow.up,
                    Some(_) => &mut slow.down,
                };
                *kind += 1;
            }
            let fast = add_up(&spans, from, from + length);
            prop_assert_eq!(TimeByStatus { bad_spans: 0, ..fast }, slow);
        }
    }
}
