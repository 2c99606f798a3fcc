//! A receiver as a model: over random schedules of outages, silences, maintenance, parents and restarts it hears of
//! every firing it was told about exactly one end, and of nothing that ended before it was told.

use std::collections::HashMap;

use super::alerts::{Alert, Change, Condition, Labels, Look, Notice, Overlay, Timing, step};
use super::status::{Level, Now, Rules, Tracker};

/// A small generator of our own: a schedule is its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[derive(Default)]
struct Receiver {
    /// By start of the alert: how many firings and ends.
    heard: HashMap<(String, i64), (u32, u32)>,
}

impl Receiver {
    fn hear(&mut self, alert: &Alert, notice: Notice) {
        let entry = self.heard.entry((alert.fingerprint.clone(), alert.starts_at)).or_default();
        match notice {
            Notice::Firing => {
                assert_eq!(*entry, (0, 0), "told twice of one firing");
                entry.0 += 1;
            }
            Notice::Resolved => {
                assert_eq!(*entry, (1, 0), "an end without a firing, or a second end");
                entry.1 += 1;
            }
            Notice::Rise | Notice::Reminder => assert_eq!(*entry, (1, 0), "more about something not open"),
        }
    }
}

/// One schedule: outages in the first part, then quiet, so that all that was told must end.
fn run(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut tracker = Tracker::default();
    let mut slot: Option<Alert> = None;
    let mut receiver = Receiver::default();
    let timing = Timing::default();
    let (mut mono, mut wall) = (0_i64, 1_700_000_000_000_i64);
    let (mut down_until, mut silenced_until, mut maintained_until, mut parent_until) = (0, 0, 0, 0);
    let (mut level, mut next_id, mut next_sample) = (Level::Down, 0, 0);
    for tick in 0..3_000_i64 {
        mono += 1_000;
        wall += 1_000;
        let now = Now { mono, wall };
        if tick < 2_000 && tick >= down_until && dice.roll(60) == 0 {
            down_until = tick + i64::try_from(dice.roll(400)).unwrap();
            level = Level::ALL[1 + usize::try_from(dice.roll(3)).unwrap()];
        }
        for until in [&mut silenced_until, &mut maintained_until, &mut parent_until] {
            if dice.roll(300) == 0 {
                *until = tick + i64::try_from(dice.roll(300)).unwrap();
            }
        }
        if tick >= next_sample {
            let raw = if tick < down_until { Some(level) } else { Some(Level::Healthy) };
            let raw = if dice.roll(20) == 0 { None } else { raw };
            tracker.sample(raw, Rules::default(), now);
            next_sample = tick + if tracker.is_unsettled() { 5 } else { 30 };
        }
        if dice.roll(500) == 0 {
            // A restart: what is stored is read back on another monotonic clock, later.
            let offset = now.offset();
            mono = i64::try_from(dice.roll(1_000_000)).unwrap();
            wall += i64::try_from(dice.roll(600_000)).unwrap();
            let now = Now { mono, wall };
            if let Some(alert) = &mut slot {
                alert.offset = offset;
                let text = serde_json::to_string(alert).unwrap();
                *alert = serde_json::from_str(&text).unwrap();
                alert.resume(now);
            }
            let text = serde_json::to_string(&tracker).unwrap();
            tracker = serde_json::from_str(&text).unwrap();
            tracker.shift(offset - now.offset());
            continue;
        }
        let standing = tracker.standing(now, 100_000);
        let condition = match standing.level() {
            Some(Level::Healthy) => Condition::False,
            Some(level) => Condition::True(level),
            None => Condition::Unknown,
        };
        let mut overlays = Vec::new();
        for (until, overlay) in [
            (silenced_until, Overlay::Silenced),
            (maintained_until, Overlay::Maintenance),
            (parent_until, Overlay::Parent),
        ] {
            if tick < until {
                overlays.push(overlay);
            }
        }
        if tracker.is_flapping() {
            overlays.push(Overlay::Flapping);
        }
        let look = Look {
            condition,
            overlays: &overlays,
            may_fire: true,
            is_urgent: level == Level::Down,
            summary: "",
        };
        next_id += 1;
        let birth = || Alert::new(format!("a{next_id}"), Labels::new(), String::new());
        let changes = step(&mut slot, birth, &look, &timing, now);
        for change in &changes {
            if let (Change::Notice(notice), Some(alert)) = (change, &slot) {
                receiver.hear(alert, *notice);
            }
        }
        if changes.contains(&Change::Cancelled) || changes.contains(&Change::Resolved) {
            slot = None;
        }
    }
    assert!(slot.is_none(), "seed {seed}: the quiet at the end resolves everything");
    for (alert, heard) in receiver.heard {
        assert_eq!(heard, (1, 1), "seed {seed}: {alert:?}");
    }
}

#[test]
fn a_receiver_hears_exactly_one_firing_and_one_end_over_a_thousand_schedules() {
    for seed in 1..=1_000 {
        run(seed);
    }
}
