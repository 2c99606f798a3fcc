//! The life of an alert: pending, firing, resolved, and which notices leave.
//!
//! Pure: a condition and a moment come in, changes come out. The one promise everything here serves: **a receiver
//! that was told of the firing is told of the end**, whatever silence, maintenance or acknowledgement holds then, and
//! one that was not told hears nothing. Overlays (silenced, maintenance, …) hold back first notices and reminders and
//! nothing else; they are a list on the alert, not a state. Deliberately absent: receivers, outbox and clock.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::status::{Level, Now};

/// What identifies an alert. Value, message and severity are not part of it.
pub(super) type Labels = BTreeMap<String, String>;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The condition holds, not long enough yet.
    Pending,
    /// The condition holds, or ended less than the keep-firing time ago.
    Firing,
    /// It is over.
    Resolved,
}

/// Why a notice is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlay {
    /// A silence matches.
    Silenced,
    /// A maintenance window is open.
    Maintenance,
    /// A component it depends on is down.
    Parent,
    /// The component changes too often to be believed; holds back no rise.
    Flapping,
}

/// Why a notice leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The first word about it.
    Firing,
    /// It got worse.
    Rise,
    /// It still fires.
    Reminder,
    /// It is over.
    Resolved,
}

/// How long things take. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    /// How long a WARNING holds before it fires.
    pub for_warning_ms: i64,
    /// How long a CRITICAL holds before it fires.
    pub for_critical_ms: i64,
    /// How long a DOWN holds before it fires.
    pub for_down_ms: i64,
    /// How long it must be over before it is resolved.
    pub keep_firing_for_ms: i64,
    /// How long the first notice waits for others of its group; not for the DOWN of a required component.
    pub group_wait_ms: i64,
    /// Least time between two notices about one alert.
    pub change_gap_ms: i64,
    /// Time between reminders.
    pub reminder_ms: i64,
}

impl Default for Timing {
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

/// What is true of the alert's condition now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It holds, this badly.
    True(Level),
    /// It does not hold.
    False,
    /// Nobody can say: absence of data is not recovery.
    Unknown,
    /// The component or the rule is gone.
    Removed,
}

/// One look at an alert's condition.
#[derive(Debug, Clone)]
pub(super) struct Look<'a> {
    pub condition: Condition,
    /// What holds notices back.
    pub overlays: &'a [Overlay],
    /// False during the startup grace and while a parent has still to be asked: pending stays pending.
    pub may_fire: bool,
    /// The DOWN of a required component: its notices wait for nobody.
    pub is_urgent: bool,
    /// One sentence on what is wrong.
    pub summary: &'a str,
}

impl Look<'_> {
    /// Nobody watches the component any more.
    pub(super) const REMOVED: Self =
        Self { condition: Condition::Removed, overlays: &[], may_fire: false, is_urgent: false, summary: "" };
}

/// Marks on the monotonic clock of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Marks {
    pub since: i64,
    pub fired: Option<i64>,
    pub clearing: Option<i64>,
    pub noticed: Option<i64>,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alert {
    pub id: String,
    pub fingerprint: String,
    pub labels: Labels,
    /// Notices of one group leave together: the root component of the dependencies.
    pub group: String,
    pub state: AlertState,
    pub level: Level,
    pub summary: String,
    /// When the condition began to hold (wall).
    pub starts_at: i64,
    pub fired_at: Option<i64>,
    pub clearing_since: Option<i64>,
    pub ends_at: Option<i64>,
    /// `cleared` or `removed`.
    pub end_reason: Option<String>,
    /// The condition cannot be told at the moment.
    pub is_stale: bool,
    pub overlays: Vec<Overlay>,
    /// The worst level a receiver was told of; `None`: nobody was told of it at all.
    pub told: Option<Level>,
    /// Receivers that were told, and are owed the end.
    pub told_to: Vec<String>,
    /// How long the first notice was held back.
    pub held_ms: i64,
    pub reminders: u32,
    pub acked_by: Option<String>,
    pub acked_at: Option<i64>,
    pub ack_note: Option<String>,
    /// The alert before this one with the same fingerprint.
    pub previous: Option<String>,
    pub marks: Marks,
    /// Wall minus mono of the run that stored the marks.
    pub offset: i64,
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It waits to fire.
    Pending,
    /// It ended before it fired.
    Cancelled,
    Fired,
    Resolved,
    /// A receiver is told.
    Notice(Notice),
    /// Something a reader sees changed: store it.
    Touched,
}

/// The name under which an alert is known: a hash of its sorted labels.
pub(super) fn fingerprint(labels: &Labels) -> String {
    let mut digest = Sha256::new();
    for (name, value) in labels {
        // The lengths keep {a: "bc"} and {ab: "c"} apart.
        digest.update(format!("{}:{name}={}:{value};", name.len(), value.len()));
    }
    HEXLOWER.encode(digest.finalize().get(..8).unwrap_or_default())
}

/// The key by which a receiver recognises what it had before.
pub(super) fn idempotency_key(alert: &Alert, notice: Notice, receiver: &str) -> String {
    let what = match notice {
        Notice::Firing => "firing".to_owned(),
        Notice::Resolved => "resolved".to_owned(),
        Notice::Rise => format!("rise-{}", alert.level.number()),
        Notice::Reminder => format!("reminder-{}", alert.reminders),
    };
    format!("{}/{}/{what}/{receiver}", alert.fingerprint, alert.starts_at)
}

/// Looks at one alert and moves it on. `slot` is empty while the alert is inactive; one that is resolved or cancelled is
/// left in it for the caller to take out.
pub(super) fn step(
    slot: &mut Option<Alert>,
    birth: impl FnOnce() -> Alert,
    look: &Look<'_>,
    timing: &Timing,
    now: Now,
) -> Vec<Change> {
    let mut changes = Vec::new();
    if slot.is_none() {
        let Condition::True(level) = look.condition else { return changes };
        let mut alert = birth();
        alert.level = level;
        alert.starts_at = now.wall;
        alert.marks = Marks { since: now.mono, ..Marks::default() };
        look.summary.clone_into(&mut alert.summary);
        changes.push(Change::Pending);
        *slot = Some(alert);
    }
    let Some(alert) = slot else { return changes };
    let before = (alert.level, alert.is_stale, alert.overlays.clone(), alert.clearing_since);
    alert.is_stale = look.condition == Condition::Unknown;
    if let Condition::True(level) = look.condition {
        alert.level = level;
        look.summary.clone_into(&mut alert.summary);
    }
    alert.overlays = look.overlays.to_vec();
    match alert.state {
        AlertState::Pending => match look.condition {
            Condition::False | Condition::Removed => {
                changes.push(Change::Cancelled);
                return changes;
            }
            Condition::Unknown => {}
            Condition::True(level) => {
                if look.may_fire && now.mono - alert.marks.since >= timing.wait_of(level) {
                    alert.state = AlertState::Firing;
                    alert.fired_at = Some(now.wall);
                    alert.marks.fired = Some(now.mono);
                    changes.push(Change::Fired);
                }
            }
        },
        AlertState::Firing => fire_on(alert, look.condition, timing, now, &mut changes),
        AlertState::Resolved => return changes,
    }
    if alert.state == AlertState::Firing {
        notify(alert, look, timing, now, &mut changes);
    }
    if changes.is_empty()
        && before != (alert.level, alert.is_stale, alert.overlays.clone(), alert.clearing_since)
    {
        changes.push(Change::Touched);
    }
    changes
}

fn fire_on(alert: &mut Alert, condition: Condition, timing: &Timing, now: Now, changes: &mut Vec<Change>) {
    match condition {
        Condition::True(_) => {
            alert.clearing_since = None;
            alert.marks.clearing = None;
        }
        Condition::Unknown => {}
        Condition::False => {
            let since = *alert.marks.clearing.get_or_insert(now.mono);
            let clearing_since = *alert.clearing_since.get_or_insert(now.wall);
            if now.mono - since >= timing.keep_firing_for_ms {
                alert.end(clearing_since, "cleared", changes);
            }
        }
        Condition::Removed => alert.end(now.wall, "removed", changes),
    }
}

fn notify(alert: &mut Alert, look: &Look<'_>, timing: &Timing, now: Now, changes: &mut Vec<Change>) {
    if alert.marks.clearing.is_some() || alert.is_stale {
        return;
    }
    let fired = alert.marks.fired.unwrap_or(now.mono);
    let since_notice = alert.marks.noticed.map_or(i64::MAX, |noticed| now.mono - noticed);
    // A level that a receiver has not heard of passes flapping: only a silence that matches holds it.
    let is_held =
        alert.overlays.iter().any(|overlay| *overlay != Overlay::Flapping || alert.level <= Level::Warning);
    let is_silenced = alert.overlays.contains(&Overlay::Silenced);
    let wait = if look.is_urgent { 0 } else { timing.group_wait_ms };
    let notice = match alert.told {
        None if !is_held && now.mono - fired >= wait => {
            alert.held_ms = now.mono - fired;
            Notice::Firing
        }
        None => return,
        Some(told) if alert.level > told => {
            if is_silenced || (since_notice < timing.change_gap_ms && !look.is_urgent) {
                return;
            }
            Notice::Rise
        }
        Some(_) if !is_held && alert.acked_at.is_none() && since_notice >= timing.reminder_ms => {
            alert.reminders += 1;
            Notice::Reminder
        }
        Some(_) => return,
    };
    alert.told = alert.told.max(Some(alert.level));
    alert.marks.noticed = Some(now.mono);
    changes.push(Change::Notice(notice));
}

impl Timing {
    fn wait_of(&self, level: Level) -> i64 {
        match level {
            Level::Healthy | Level::Warning => self.for_warning_ms,
            Level::Critical => self.for_critical_ms,
            Level::Down => self.for_down_ms,
        }
    }
}

impl Alert {
    /// A new alert; `step` fills in the rest.
    pub(super) fn new(id: String, labels: Labels, group: String) -> Self {
        Self {
            id,
            fingerprint: fingerprint(&labels),
            labels,
            group,
            state: AlertState::Pending,
            level: Level::Warning,
            summary: String::new(),
            starts_at: 0,
            fired_at: None,
            clearing_since: None,
            ends_at: None,
            end_reason: None,
            is_stale: false,
            overlays: Vec::new(),
            told: None,
            told_to: Vec::new(),
            held_ms: 0,
            reminders: 0,
            acked_by: None,
            acked_at: None,
            ack_note: None,
            previous: None,
            marks: Marks::default(),
            offset: 0,
        }
    }

    fn end(&mut self, ends_at: i64, reason: &str, changes: &mut Vec<Change>) {
        self.state = AlertState::Resolved;
        self.ends_at = Some(ends_at);
        self.end_reason = Some(reason.to_owned());
        changes.push(Change::Resolved);
        if self.told.is_some() {
            changes.push(Change::Notice(Notice::Resolved));
        }
    }

    /// Moves marks stored by another run to this run's monotonic clock.
    pub(super) fn resume(&mut self, now: Now) {
        let by = self.offset - now.offset();
        self.marks.since += by;
        for mark in [&mut self.marks.fired, &mut self.marks.clearing, &mut self.marks.noticed] {
            *mark = mark.map(|mark| mark + by);
        }
        self.offset = now.offset();
    }

    /// True while it is neither over nor only pending.
    pub(super) fn is_firing(&self) -> bool {
        self.state == AlertState::Firing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Now {
        Now { mono: second * 1000, wall: 1_700_000_000_000 + second * 1000 }
    }

    struct Bench {
        slot: Option<Alert>,
        log: Vec<(i64, Change)>,
    }

    impl Bench {
        fn new() -> Self {
            Self { slot: None, log: Vec::new() }
        }

        fn look(
            &mut self,
            seconds: std::ops::Range<i64>,
            condition: Condition,
            overlays: &[Overlay],
        ) -> &mut Self {
            for second in seconds {
                let look =
                    Look { condition, overlays, may_fire: true, is_urgent: false, summary: "it is bad" };
                let birth = || Alert::new("a1".to_owned(), Labels::new(), "bot".to_owned());
                let changes = step(&mut self.slot, birth, &look, &Timing::default(), at(second));
                if changes.contains(&Cancelled) || changes.contains(&Resolved) {
                    self.slot = None;
                }
                let told = changes.into_iter().filter(|change| *change != Change::Touched);
                self.log.extend(told.map(|change| (second, change)));
            }
            self
        }

        #[track_caller]
        fn check(&self, expected: &[(i64, Change)]) {
            assert_eq!(self.log, expected);
        }
    }

    use Change::{Cancelled, Fired, Pending, Resolved};
    const DOWN: Condition = Condition::True(Level::Down);
    const WARN: Condition = Condition::True(Level::Warning);

    #[test]
    fn an_outage_is_told_once_and_its_end_once() {
        Bench::new().look(0..30, DOWN, &[]).look(30..200, Condition::False, &[]).check(&[
            (0, Pending),
            (0, Fired),
            (10, Change::Notice(Notice::Firing)),
            (90, Resolved),
            (90, Change::Notice(Notice::Resolved)),
        ]);
    }

    #[test]
    fn a_short_warning_leaves_no_trace_but_an_event() {
        Bench::new()
            .look(0..59, WARN, &[])
            .look(59..99, Condition::False, &[])
            .check(&[(0, Pending), (59, Cancelled)]);
    }

    #[test]
    fn back_while_clearing_it_is_the_same_alert() {
        Bench::new()
            .look(0..30, DOWN, &[])
            .look(30..80, Condition::False, &[])
            .look(80..90, DOWN, &[])
            .look(90..160, Condition::False, &[])
            .check(&[
                (0, Pending),
                (0, Fired),
                (10, Change::Notice(Notice::Firing)),
                (150, Resolved),
                (150, Change::Notice(Notice::Resolved)),
            ]);
    }

    #[test]
    fn absence_of_data_is_not_recovery() {
        let mut bench = Bench::new();
        bench.look(0..30, DOWN, &[]).look(30..9_000, Condition::Unknown, &[]);
        assert!(bench.slot.as_ref().unwrap().is_stale);
        bench.check(&[(0, Pending), (0, Fired), (10, Change::Notice(Notice::Firing))]);
    }

    #[test]
    fn told_before_the_silence_the_end_is_told_through_it() {
        Bench::new()
            .look(0..30, DOWN, &[])
            .look(30..60, DOWN, &[Overlay::Silenced])
            .look(60..200, Condition::False, &[Overlay::Silenced, Overlay::Maintenance])
            .check(&[
                (0, Pending),
                (0, Fired),
                (10, Change::Notice(Notice::Firing)),
                (120, Resolved),
                (120, Change::Notice(Notice::Resolved)),
            ]);
    }

    #[test]
    fn wholly_under_an_overlay_nobody_is_told() {
        for overlay in [Overlay::Silenced, Overlay::Maintenance, Overlay::Parent] {
            Bench::new()
                .look(0..100, DOWN, &[overlay])
                .look(100..200, Condition::False, &[overlay])
                .check(&[(0, Pending), (0, Fired), (160, Resolved)]);
        }
    }

    #[test]
    fn when_the_last_overlay_goes_the_held_notice_goes_out() {
        let mut bench = Bench::new();
        bench.look(0..100, DOWN, &[Overlay::Maintenance]).look(100..101, DOWN, &[]);
        bench.check(&[(0, Pending), (0, Fired), (100, Change::Notice(Notice::Firing))]);
        assert_eq!(bench.slot.unwrap().held_ms, 100_000);
    }

    #[test]
    fn a_rise_is_told_through_flapping_and_acknowledgement_and_not_through_a_silence() {
        let critical = Condition::True(Level::Critical);
        let mut bench = Bench::new();
        bench.look(0..100, critical, &[]);
        bench.slot.as_mut().unwrap().acked_at = Some(1);
        bench.look(100..101, DOWN, &[Overlay::Flapping]);
        assert_eq!(bench.log.last(), Some(&(100, Change::Notice(Notice::Rise))));
        let mut bench = Bench::new();
        bench.look(0..100, critical, &[]).look(100..200, DOWN, &[Overlay::Silenced]).look(
            200..201,
            DOWN,
            &[],
        );
        assert_eq!(bench.log.last(), Some(&(200, Change::Notice(Notice::Rise))));
        let mut bench = Bench::new();
        bench.look(0..100, WARN, &[Overlay::Flapping]).look(100..120, critical, &[Overlay::Flapping]);
        assert_eq!(bench.log.last(), Some(&(100, Change::Notice(Notice::Firing))));
    }

    #[test]
    fn reminders_come_until_somebody_acknowledges() {
        let hours = 4 * 3600;
        let mut bench = Bench::new();
        bench.look(0..11, DOWN, &[]).look(hours..hours + 20, DOWN, &[]);
        assert_eq!(bench.log.last(), Some(&(hours + 10, Change::Notice(Notice::Reminder))));
        bench.slot.as_mut().unwrap().acked_at = Some(1);
        let count = bench.log.len();
        bench.look(3 * hours..3 * hours + 1, DOWN, &[]);
        assert_eq!(bench.log.len(), count);
    }

    #[test]
    fn a_removed_component_resolves_its_alert() {
        let mut bench = Bench::new();
        bench.look(0..30, DOWN, &[]).look(30..31, Condition::Removed, &[]);
        assert_eq!(
            bench.log[bench.log.len() - 2..],
            [(30, Resolved), (30, Change::Notice(Notice::Resolved))]
        );
    }

    #[test]
    fn a_restart_changes_no_wait_even_when_the_wall_clock_was_set() {
        let mut bench = Bench::new();
        bench.look(0..30, DOWN, &[]).look(30..31, Condition::False, &[]);
        let mut alert = bench.slot.take().unwrap();
        alert.offset = at(0).offset();
        // The next run's monotonic clock began elsewhere.
        let later = Now { mono: 5_000, wall: at(60).wall };
        alert.resume(later);
        assert_eq!(later.mono - alert.marks.clearing.unwrap(), 30_000);
    }

    #[test]
    fn labels_alone_make_the_fingerprint() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let one = fingerprint(&labels(&[("a", "1"), ("b", "2")]));
        assert_eq!(one, fingerprint(&labels(&[("b", "2"), ("a", "1")])));
        assert_ne!(one, fingerprint(&labels(&[("a", "1"), ("b", "3")])));
        assert_ne!(fingerprint(&labels(&[("a", "bc")])), fingerprint(&labels(&[("ab", "c")])));
    }
}
