//! One watched component in memory: its samples, its status, and when it is checked next.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::aggregate::SystemPart;
use super::config::{ComponentSpec, MonitoringConfig};
use super::sample_reason::{MetricBeyond, SampleReason};
use super::target_wait::TargetWait;
use super::tracker::{DebounceRules, StatusTracker};
use crate::health::checks::{CheckOutcome, CheckSample};
use crate::health::model::{ClockReading, ConfirmedStatus, HealthLevel, MetricLimits, StatusSpan};
use crate::health::units::milliseconds;

/// Milliseconds for which spans stay in memory, for answers that must not read the disk.
pub(crate) const MEMORY: i64 = 86_400_000;

/// The last value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MeasuredMetric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) level: Option<HealthLevel>,
    pub(crate) limits: MetricLimits,
    /// When it was measured, in wall milliseconds.
    pub(crate) at: i64,
}

/// The part of a component that survives a restart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct StoredComponent {
    pub(crate) tracker: StatusTracker,
    /// Wall clock minus monotonic clock, in milliseconds, of the run that stored it.
    pub(crate) offset: i64,
    /// When the next check is due, on the monotonic clock of that run.
    pub(crate) next_due: i64,
    pub(crate) note: Option<String>,
    #[serde(default)]
    pub(crate) wait: Option<TargetWait>,
    #[serde(default)]
    pub(crate) tables: u64,
}

/// One watched component, with the state of its checks.
#[derive(Debug)]
pub(crate) struct WatchedComponent {
    pub(crate) spec: ComponentSpec,
    pub(crate) tracker: StatusTracker,
    pub(crate) held: BTreeMap<&'static str, HealthLevel>,
    pub(crate) metrics: Vec<MeasuredMetric>,
    pub(crate) outcome: Option<CheckOutcome>,
    /// The level of the last sample; `None` when it was not valid.
    pub(crate) last_sample: Option<HealthLevel>,
    /// Why the last sample is not HEALTHY.
    pub(crate) note: Option<String>,
    pub(crate) latency_ms: Option<f64>,
    /// When the last check ended, in wall milliseconds.
    pub(crate) last_check: Option<i64>,
    /// When the last check began, in monotonic milliseconds.
    pub(crate) last_start: Option<i64>,
    pub(crate) in_flight: bool,
    /// When the next check would be made; see [`WatchedComponent::due_at`].
    pub(crate) next_due: i64,
    /// The wait that the target's last answer asks for; `None` when it asks for none.
    pub(crate) wait: Option<TargetWait>,
    /// How many tables the database had when it last had any; 0 for what is no database.
    pub(crate) tables: u64,
    /// Checks left out because one was still running.
    pub(crate) skipped: u64,
    pub(crate) runs: u64,
    pub(crate) errors: u64,
    pub(crate) errors_in_a_row: u32,
    pub(crate) last_error: Option<String>,
    /// Since when samples have been bad without a break, in monotonic milliseconds.
    pub(crate) failing_since: Option<i64>,
    pub(crate) added: i64,
    /// The last recorded change: the level, and whether a maintenance window was open.
    pub(crate) recorded: Option<(Option<HealthLevel>, bool)>,
    pub(crate) status_since: i64,
    pub(crate) up_since: Option<i64>,
    /// The spans of the last day, oldest first.
    pub(crate) spans: VecDeque<StatusSpan>,
    pub(crate) in_maintenance: bool,
}

impl WatchedComponent {
    pub(crate) fn new(spec: ComponentSpec, config: &MonitoringConfig, now: ClockReading) -> Self {
        let spread = spec.interval_ms(config).clamp(1, 10_000);
        let next_due = now.mono + hash(&spec.id) % spread;
        Self {
            spec,
            tracker: StatusTracker::default(),
            held: BTreeMap::new(),
            metrics: Vec::new(),
            outcome: None,
            last_sample: None,
            note: None,
            latency_ms: None,
            last_check: None,
            last_start: None,
            in_flight: false,
            next_due,
            wait: None,
            tables: 0,
            skipped: 0,
            runs: 0,
            errors: 0,
            errors_in_a_row: 0,
            last_error: None,
            failing_since: None,
            added: now.mono,
            recorded: None,
            status_since: now.wall,
            up_since: None,
            spans: VecDeque::new(),
            in_maintenance: false,
        }
    }

    /// Restores the state of an earlier run. Overdue checks are spread over time, so that not all start at once.
    pub(crate) fn resume(&mut self, stored: StoredComponent, config: &MonitoringConfig, now: ClockReading) {
        let by = stored.offset - now.offset();
        self.tracker = stored.tracker;
        self.tracker.shift(by);
        self.note = stored.note;
        let due = stored.next_due + by;
        let interval = self.spec.interval_ms(config);
        if due > now.mono && due <= now.mono + interval {
            self.next_due = due;
        }
        self.tables = stored.tables;
        self.wait = stored.wait.and_then(|wait| wait.resumed(by, now));
    }

    pub(crate) fn stored(&self, now: ClockReading) -> StoredComponent {
        StoredComponent {
            tracker: self.tracker.clone(),
            offset: now.offset(),
            next_due: self.next_due,
            note: self.note.clone(),
            wait: self.wait,
            tables: self.tables,
        }
    }

    /// The confirmed status. A sample from which the target asked to wait counts as new for as long as it asked.
    pub(crate) fn confirmed_status(&self, config: &MonitoringConfig, now: ClockReading) -> ConfirmedStatus {
        let granted = self.wait.map_or(0, |wait| wait.length);
        self.tracker.confirmed_status(now, self.spec.stale_ms(config) + granted)
    }

    /// When the next check is due, in monotonic milliseconds: never before the wait that the target asks for is over,
    /// whoever wants a check.
    pub(crate) fn due_at(&self) -> i64 {
        self.next_due.max(self.wait.map_or(i64::MIN, |wait| wait.until))
    }

    /// The wait that is in force, because the target asked for it or limits requests.
    pub(crate) fn current_wait(&self, now: ClockReading) -> Option<TargetWait> {
        self.wait.filter(|wait| wait.until > now.mono)
    }

    pub(crate) fn in_grace(&self, config: &MonitoringConfig, now: ClockReading) -> bool {
        now.mono - self.added < milliseconds(config.startup_grace)
    }

    pub(crate) fn as_part(&self, config: &MonitoringConfig, now: ClockReading) -> SystemPart {
        SystemPart {
            id: self.spec.id.clone(),
            confirmed: self.confirmed_status(config, now),
            criticality: self.spec.criticality,
            suspended: self.in_maintenance || !config.enable_monitoring,
            in_grace: self.in_grace(config, now),
            group: self.spec.group.clone().map(|group| (group, self.spec.quorum.unwrap_or(1))),
            depends_on: self.spec.depends_on.clone(),
        }
    }

    /// A check begins. The next one is due an interval later, whatever the duration of this one.
    pub(crate) fn begin(&mut self, config: &MonitoringConfig, now: ClockReading) {
        let interval = self.spec.interval_ms(config);
        self.in_flight = true;
        self.last_start = Some(now.mono);
        // Keeps to the same grid; checks that were missed are left out, not made up for.
        while self.next_due <= now.mono {
            self.next_due += interval;
        }
    }

    /// Takes the result of a check: metrics, levels, status and schedule.
    pub(crate) fn finish(
        &mut self,
        sample: CheckSample,
        took_ms: f64,
        config: &MonitoringConfig,
        now: ClockReading,
    ) {
        self.in_flight = false;
        self.runs += 1;
        self.last_check = Some(now.wall);
        let latency = sample.latency.map_or(took_ms, |latency| latency.as_secs_f64() * 1000.0);
        self.latency_ms = Some(latency);
        let mut worst = sample.outcome.level();
        let is_known = worst.is_some();
        let mut reason = sample.note.clone().map(SampleReason::from);
        if let Some(stated) = sample.stated_level {
            worst = worst.max(Some(stated));
        }
        if let Some(lost) = self.compare_tables(sample.tables) {
            worst = worst.max(Some(HealthLevel::Critical));
            reason = Some(SampleReason::from(lost));
        }
        self.metrics.clear();
        for measure in sample.measures {
            let (name, unit, value) = (measure.name(), measure.unit(), measure.value());
            let limits = self.spec.thresholds.get(name).copied().unwrap_or(measure.limits());
            // What was never confirmed is not left slowly: a value inside its limit confirms nothing.
            let shown = self.tracker.shown().unwrap_or(HealthLevel::Healthy);
            let held = self.held.get(name).copied().unwrap_or(HealthLevel::Healthy).min(shown);
            let level = limits.level(value, held);
            if let Some(level) = level {
                self.held.insert(name, level);
            }
            // A value that is NaN or infinite says nothing about the target, and must not hide the other metrics.
            if let Some(bad) = level.filter(|_| is_known && level > worst) {
                worst = level;
                reason = Some(SampleReason::of_metric(name, value, unit, &limits, bad));
            }
            self.metrics.push(MeasuredMetric { name, unit, value, level, limits, at: now.wall });
        }
        let all_numbers = self.metrics.iter().all(|metric| metric.value.is_finite());
        let raw = if is_known && (all_numbers || worst > Some(HealthLevel::Healthy)) { worst } else { None };
        self.outcome = Some(sample.outcome);
        self.last_sample = raw;
        let is_good = raw == Some(HealthLevel::Healthy);
        let reason = reason.filter(|_| !is_good);
        self.note = reason.as_ref().map(|reason| reason.text.clone());
        if is_good {
            self.errors_in_a_row = 0;
            self.failing_since = None;
        } else {
            self.errors += 1;
            self.errors_in_a_row += 1;
            self.last_error.clone_from(&self.note);
            self.failing_since.get_or_insert(now.mono);
        }
        let interval = self.spec.interval_ms(config);
        self.wait = TargetWait::after(sample.next_request, self.wait, interval, now);
        // A sample that no other can bear out for longer than usual counts at once: a target must not put off its own
        // alarm by asking to wait.
        let counts_at_once = self.wait.is_some_and(|wait| wait.length > interval);
        let rules = if counts_at_once { DebounceRules::AT_ONCE } else { config.rules };
        self.tracker.take_sample(raw, reason.as_ref(), rules, now);
        if self.wait.is_none() && raw.is_some() && self.tracker.is_unconfirmed() {
            self.next_due = self.next_due.min(now.mono + self.spec.confirm_ms(config));
        }
    }

    /// Compares a database's tables with those it had; what is wrong when it had some and has none.
    ///
    /// An empty file is a valid database without tables, so nothing else would tell that everything in it is gone.
    fn compare_tables(&mut self, tables: Option<u64>) -> Option<String> {
        match tables? {
            0 if self.tables > 0 => Some(format!(
                "the database is empty, and it had {} tables; restore it, or add the checker anew if it is meant to be empty",
                self.tables
            )),
            0 => None,
            some => {
                self.tables = some;
                None
            }
        }
    }

    /// Records the status when it has changed; returns whether it has.
    pub(crate) fn record_status(&mut self, confirmed: ConfirmedStatus, now: ClockReading) -> bool {
        let current = (confirmed.level(), self.in_maintenance);
        if self.recorded == Some(current) {
            return false;
        }
        if self.recorded.map(|(level, _)| level) != Some(current.0) {
            self.status_since = now.wall;
        }
        match current.0 {
            Some(level) if level.is_up() => {
                self.up_since.get_or_insert(now.mono);
            }
            _ => self.up_since = None,
        }
        self.recorded = Some(current);
        remember_span(
            &mut self.spans,
            StatusSpan { from: now.wall, level: current.0, in_maintenance: current.1 },
        );
        true
    }

    /// Why its status is what it is; `None` when it is HEALTHY. Of an unknown status, why the last sample says nothing
    /// or is not believed yet.
    pub(crate) fn reason_of(&self, confirmed: ConfirmedStatus) -> Option<&str> {
        match confirmed {
            ConfirmedStatus::Known(HealthLevel::Healthy) => None,
            // What an older version stored names no reason of the status.
            ConfirmedStatus::Known(_) => {
                self.tracker.reason().map(|reason| reason.text.as_str()).or(self.last_error.as_deref())
            }
            ConfirmedStatus::Starting | ConfirmedStatus::Stale => self.note.as_deref(),
        }
    }

    /// The metric that its reason speaks of; `None` where that is no metric beyond its limit.
    pub(crate) fn beyond_limit(&self, confirmed: ConfirmedStatus) -> Option<&MetricBeyond> {
        let is_known = matches!(confirmed, ConfirmedStatus::Known(level) if level != HealthLevel::Healthy);
        self.tracker.reason().filter(|_| is_known)?.beyond.as_ref()
    }
}

/// Appends a span, and drops spans that ended more than a day ago.
pub(crate) fn remember_span(spans: &mut VecDeque<StatusSpan>, span: StatusSpan) {
    spans.push_back(span);
    while spans.get(1).is_some_and(|second| second.from < span.from - MEMORY) || spans.len() > 5_000 {
        spans.pop_front();
    }
}

/// The FNV-1a hash of an id: the same in every run, so that a component keeps its place in the schedule.
fn hash(id: &str) -> i64 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::try_from(hash >> 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::checks::CheckMeasure;

    /// The machine after checks that measured this much CPU use and load, a check each.
    fn machine_after(measured: &[(f64, f64)]) -> (WatchedComponent, ConfirmedStatus) {
        let config = MonitoringConfig::default();
        let at = |mono| ClockReading { mono, wall: 1_700_000_000_000 + mono };
        let spec = ComponentSpec::all_built_in().into_iter().find(|spec| spec.id == "system_resources");
        let mut spec = spec.expect("the machine is watched");
        spec.thresholds.insert("cpu_usage".to_owned(), MetricLimits::above(70.0, 90.0));
        spec.thresholds.insert("load_average".to_owned(), MetricLimits::above(2.4, 8.0));
        let mut machine = WatchedComponent::new(spec, &config, at(0));
        let mut now = at(0);
        for (cpu, load) in measured {
            now = at(now.mono + 1_000);
            let measures = vec![
                CheckMeasure::without_limits("cpu_usage", *cpu, "%"),
                CheckMeasure::without_limits("load_average", *load, "tasks"),
            ];
            machine.finish(CheckSample::ok(measures), 1.0, &config, now);
        }
        let confirmed = machine.confirmed_status(&config, now);
        (machine, confirmed)
    }

    #[track_caller]
    fn check(measured: &[(f64, f64)], level: HealthLevel, reason: Option<&str>, beyond: Option<(f64, f64)>) {
        let (machine, confirmed) = machine_after(measured);
        assert_eq!(confirmed, ConfirmedStatus::Known(level), "{measured:?}");
        assert_eq!(machine.reason_of(confirmed), reason, "{measured:?}");
        let told = machine.beyond_limit(confirmed);
        assert_eq!(told.map(|told| (told.value, told.limit)), beyond, "{measured:?}");
        let is_named = told.is_none_or(|told| reason.is_some_and(|reason| reason.starts_with(&told.metric)));
        assert!(is_named, "{reason:?}: {told:?}");
    }

    #[test]
    fn a_value_inside_its_limit_makes_nothing_worse() {
        let warned = Some("cpu_usage is 85.6 %");
        // One sample above the limit and one inside it are no CRITICAL.
        check(&[(95.0, 1.0), (85.6, 1.0), (85.6, 1.0)], HealthLevel::Warning, warned, Some((85.6, 70.0)));
        check(
            &[(95.0, 1.0), (95.5, 1.0)],
            HealthLevel::Critical,
            Some("cpu_usage is 95.5 %"),
            Some((95.5, 90.0)),
        );
        // What is confirmed is left slowly, and says so.
        check(
            &[(95.0, 1.0), (95.5, 1.0), (85.6, 1.0), (85.6, 1.0)],
            HealthLevel::Critical,
            Some("cpu_usage is 85.6 %: it was at 90.0 % or above, and is not below 85.5 % yet"),
            Some((85.6, 85.5)),
        );
        check(
            &[(95.0, 1.0), (95.5, 1.0), (85.4, 1.0), (60.0, 1.0)],
            HealthLevel::Warning,
            Some("cpu_usage is 85.4 %"),
            Some((85.4, 70.0)),
        );
    }

    #[test]
    fn the_reason_and_the_limit_are_of_the_same_metric_and_sample() {
        // The last sample is milder, and by another metric: the status and its reason are of those before.
        check(
            &[(89.8, 1.0), (89.8, 1.0), (89.8, 1.0), (60.0, 1.0)],
            HealthLevel::Warning,
            Some("cpu_usage is 89.8 %"),
            Some((89.8, 70.0)),
        );
        check(
            &[(95.0, 1.0), (96.0, 1.0), (60.0, 3.96)],
            HealthLevel::Critical,
            Some("cpu_usage is 96.0 %"),
            Some((96.0, 90.0)),
        );
        check(
            &[(60.0, 3.0), (60.0, 3.0), (60.0, 3.96)],
            HealthLevel::Warning,
            Some("load_average is 4.0 tasks"),
            Some((3.96, 2.4)),
        );
    }
}
