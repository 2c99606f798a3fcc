//! A receiver as a model: what it must get over random schedules of outages, silences, maintenance and restarts.
//!
//! It gets exactly one end for every firing it was notified of, and nothing about alerts that ended before that.

use std::collections::HashMap;

use super::machine::{
    Alert, AlertChange, AlertCondition, AlertEvaluation, AlertLabels, AlertOverlay, advance_alert,
};
use super::notice::AlertNotice;
use crate::health::model::{ClockReading, HealthLevel};
use crate::health::status::{AlertTiming, DebounceRules, StatusTracker};

/// A small pseudo-random generator, so that a seed reproduces a schedule.
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
struct ModelReceiver {
    /// Firings and ends received, by alert and its start.
    heard: HashMap<(String, i64), (u32, u32)>,
}

impl ModelReceiver {
    fn hear(&mut self, alert: &Alert, notice: AlertNotice) {
        let entry = self.heard.entry((alert.fingerprint.clone(), alert.starts_at)).or_default();
        match notice {
            AlertNotice::Firing => {
                assert_eq!(*entry, (0, 0), "told twice of one firing");
                entry.0 += 1;
            }
            AlertNotice::Resolved => {
                assert_eq!(*entry, (1, 0), "an end without a firing, or a second end");
                entry.1 += 1;
            }
            AlertNotice::Rise | AlertNotice::Reminder => {
                assert_eq!(*entry, (1, 0), "more about something not open");
            }
        }
    }
}

/// Runs one schedule: outages in its first part, then none, so that every notified alert must end.
fn run(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut tracker = StatusTracker::default();
    let mut slot: Option<Alert> = None;
    let mut receiver = ModelReceiver::default();
    let timing = AlertTiming::default();
    let (mut mono, mut wall) = (0_i64, 1_700_000_000_000_i64);
    let (mut down_until, mut silenced_until, mut maintained_until, mut parent_until) = (0, 0, 0, 0);
    let (mut level, mut next_id, mut next_sample) = (HealthLevel::Down, 0, 0);
    for tick in 0..3_000_i64 {
        mono += 1_000;
        wall += 1_000;
        let now = ClockReading { mono, wall };
        if tick < 2_000 && tick >= down_until && dice.roll(60) == 0 {
            down_until = tick + i64::try_from(dice.roll(400)).unwrap();
            level = HealthLevel::ALL[1 + usize::try_from(dice.roll(3)).unwrap()];
        }
        for until in [&mut silenced_until, &mut maintained_until, &mut parent_until] {
            if dice.roll(300) == 0 {
                *until = tick + i64::try_from(dice.roll(300)).unwrap();
            }
        }
        if tick >= next_sample {
            let raw = if tick < down_until { Some(level) } else { Some(HealthLevel::Healthy) };
            let raw = if dice.roll(20) == 0 { None } else { raw };
            tracker.take_sample(raw, None, DebounceRules::default(), now);
            next_sample = tick + if tracker.is_unconfirmed() { 5 } else { 30 };
        }
        if dice.roll(500) == 0 {
            // A restart: the stored state is read back later, on another monotonic clock.
            let offset = now.offset();
            mono = i64::try_from(dice.roll(1_000_000)).unwrap();
            wall += i64::try_from(dice.roll(600_000)).unwrap();
            let now = ClockReading { mono, wall };
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
        let confirmed = tracker.confirmed_status(now, 100_000);
        let condition = match confirmed.level() {
            Some(HealthLevel::Healthy) => AlertCondition::False,
            Some(level) => AlertCondition::True(level),
            None => AlertCondition::Unknown,
        };
        let mut overlays = Vec::new();
        for (until, overlay) in [
            (silenced_until, AlertOverlay::Silenced),
            (maintained_until, AlertOverlay::Maintenance),
            (parent_until, AlertOverlay::Parent),
        ] {
            if tick < until {
                overlays.push(overlay);
            }
        }
        if tracker.is_flapping() {
            overlays.push(AlertOverlay::Flapping);
        }
        let evaluation = AlertEvaluation {
            condition,
            overlays: &overlays,
            may_fire: true,
            is_urgent: level == HealthLevel::Down,
            summary: "",
        };
        next_id += 1;
        let birth = || Alert::new(format!("a{next_id}"), AlertLabels::new(), String::new());
        let changes = advance_alert(&mut slot, birth, &evaluation, &timing, now);
        for change in &changes {
            if let (AlertChange::Notice(notice), Some(alert)) = (change, &slot) {
                receiver.hear(alert, *notice);
            }
        }
        if changes.contains(&AlertChange::Cancelled) || changes.contains(&AlertChange::Resolved) {
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
