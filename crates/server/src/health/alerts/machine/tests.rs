//! The states of an alert, each rule by itself, with a clock that the test moves.

use super::*;

fn at(second: i64) -> ClockReading {
    ClockReading { mono: second * 1000, wall: 1_700_000_000_000 + second * 1000 }
}

struct AlertBench {
    slot: Option<Alert>,
    log: Vec<(i64, AlertChange)>,
}

impl AlertBench {
    fn new() -> Self {
        Self { slot: None, log: Vec::new() }
    }

    fn run(
        &mut self,
        seconds: std::ops::Range<i64>,
        condition: AlertCondition,
        overlays: &[AlertOverlay],
    ) -> &mut Self {
        for second in seconds {
            let evaluation = AlertEvaluation {
                condition,
                overlays,
                may_fire: true,
                is_urgent: false,
                summary: "it is bad",
            };
            let birth = || Alert::new("a1".to_owned(), AlertLabels::new(), "bot".to_owned());
            let changes =
                advance_alert(&mut self.slot, birth, &evaluation, &AlertTiming::default(), at(second));
            if changes.contains(&Cancelled) || changes.contains(&Resolved) {
                self.slot = None;
            }
            let told = changes.into_iter().filter(|change| *change != AlertChange::Touched);
            self.log.extend(told.map(|change| (second, change)));
        }
        self
    }

    #[track_caller]
    fn check(&self, expected: &[(i64, AlertChange)]) {
        assert_eq!(self.log, expected);
    }
}

use AlertChange::{Cancelled, Fired, Pending, Resolved};
const DOWN: AlertCondition = AlertCondition::True(HealthLevel::Down);
const WARN: AlertCondition = AlertCondition::True(HealthLevel::Warning);

#[test]
fn an_outage_is_told_once_and_its_end_once() {
    AlertBench::new().run(0..30, DOWN, &[]).run(30..200, AlertCondition::False, &[]).check(&[
        (0, Pending),
        (0, Fired),
        (10, AlertChange::Notice(AlertNotice::Firing)),
        (90, Resolved),
        (90, AlertChange::Notice(AlertNotice::Resolved)),
    ]);
}

#[test]
fn a_short_warning_leaves_no_trace_but_an_event() {
    AlertBench::new()
        .run(0..59, WARN, &[])
        .run(59..99, AlertCondition::False, &[])
        .check(&[(0, Pending), (59, Cancelled)]);
}

#[test]
fn back_while_clearing_it_is_the_same_alert() {
    AlertBench::new()
        .run(0..30, DOWN, &[])
        .run(30..80, AlertCondition::False, &[])
        .run(80..90, DOWN, &[])
        .run(90..160, AlertCondition::False, &[])
        .check(&[
            (0, Pending),
            (0, Fired),
            (10, AlertChange::Notice(AlertNotice::Firing)),
            (150, Resolved),
            (150, AlertChange::Notice(AlertNotice::Resolved)),
        ]);
}

#[test]
fn absence_of_data_is_not_recovery() {
    let mut bench = AlertBench::new();
    bench.run(0..30, DOWN, &[]).run(30..9_000, AlertCondition::Unknown, &[]);
    assert!(bench.slot.as_ref().unwrap().is_stale);
    bench.check(&[(0, Pending), (0, Fired), (10, AlertChange::Notice(AlertNotice::Firing))]);
}

#[test]
fn told_before_the_silence_the_end_is_told_through_it() {
    AlertBench::new()
        .run(0..30, DOWN, &[])
        .run(30..60, DOWN, &[AlertOverlay::Silenced])
        .run(60..200, AlertCondition::False, &[AlertOverlay::Silenced, AlertOverlay::Maintenance])
        .check(&[
            (0, Pending),
            (0, Fired),
            (10, AlertChange::Notice(AlertNotice::Firing)),
            (120, Resolved),
            (120, AlertChange::Notice(AlertNotice::Resolved)),
        ]);
}

#[test]
fn wholly_under_an_overlay_nobody_is_told() {
    for overlay in [AlertOverlay::Silenced, AlertOverlay::Maintenance, AlertOverlay::Parent] {
        AlertBench::new()
            .run(0..100, DOWN, &[overlay])
            .run(100..200, AlertCondition::False, &[overlay])
            .check(&[(0, Pending), (0, Fired), (160, Resolved)]);
    }
}

#[test]
fn when_the_last_overlay_goes_the_held_notice_goes_out() {
    let mut bench = AlertBench::new();
    bench.run(0..100, DOWN, &[AlertOverlay::Maintenance]).run(100..101, DOWN, &[]);
    bench.check(&[(0, Pending), (0, Fired), (100, AlertChange::Notice(AlertNotice::Firing))]);
    assert_eq!(bench.slot.unwrap().held_ms, 100_000);
}

#[test]
fn a_rise_is_told_through_flapping_and_acknowledgement_and_not_through_a_silence() {
    let critical = AlertCondition::True(HealthLevel::Critical);
    let mut bench = AlertBench::new();
    bench.run(0..100, critical, &[]);
    bench.slot.as_mut().unwrap().acked_at = Some(1);
    bench.run(100..101, DOWN, &[AlertOverlay::Flapping]);
    assert_eq!(bench.log.last(), Some(&(100, AlertChange::Notice(AlertNotice::Rise))));
    let mut bench = AlertBench::new();
    bench.run(0..100, critical, &[]).run(100..200, DOWN, &[AlertOverlay::Silenced]).run(200..201, DOWN, &[]);
    assert_eq!(bench.log.last(), Some(&(200, AlertChange::Notice(AlertNotice::Rise))));
    let mut bench = AlertBench::new();
    bench.run(0..100, WARN, &[AlertOverlay::Flapping]).run(100..120, critical, &[AlertOverlay::Flapping]);
    assert_eq!(bench.log.last(), Some(&(100, AlertChange::Notice(AlertNotice::Firing))));
}

#[test]
fn reminders_come_until_somebody_acknowledges() {
    let hours = 4 * 3600;
    let mut bench = AlertBench::new();
    bench.run(0..11, DOWN, &[]).run(hours..hours + 20, DOWN, &[]);
    assert_eq!(bench.log.last(), Some(&(hours + 10, AlertChange::Notice(AlertNotice::Reminder))));
    bench.slot.as_mut().unwrap().acked_at = Some(1);
    let count = bench.log.len();
    bench.run(3 * hours..3 * hours + 1, DOWN, &[]);
    assert_eq!(bench.log.len(), count);
}

#[test]
fn a_removed_component_resolves_its_alert() {
    let mut bench = AlertBench::new();
    bench.run(0..30, DOWN, &[]).run(30..31, AlertCondition::Removed, &[]);
    assert_eq!(
        bench.log[bench.log.len() - 2..],
        [(30, Resolved), (30, AlertChange::Notice(AlertNotice::Resolved))]
    );
}

#[test]
fn a_restart_changes_no_wait_even_when_the_wall_clock_was_set() {
    let mut bench = AlertBench::new();
    bench.run(0..30, DOWN, &[]).run(30..31, AlertCondition::False, &[]);
    let mut alert = bench.slot.take().unwrap();
    alert.offset = at(0).offset();
    // The next run's monotonic clock has another zero.
    let later = ClockReading { mono: 5_000, wall: at(60).wall };
    alert.resume(later);
    assert_eq!(later.mono - alert.marks.clearing.unwrap(), 30_000);
}

#[test]
fn labels_alone_make_the_fingerprint() {
    let labels = |pairs: &[(&str, &str)]| -> AlertLabels {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    let one = fingerprint(&labels(&[("a", "1"), ("b", "2")]));
    assert_eq!(one, fingerprint(&labels(&[("b", "2"), ("a", "1")])));
    assert_ne!(one, fingerprint(&labels(&[("a", "1"), ("b", "3")])));
    assert_ne!(fingerprint(&labels(&[("a", "bc")])), fingerprint(&labels(&[("ab", "c")])));
}
