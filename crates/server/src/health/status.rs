//! From samples to a status: levels with clear limits, debounce, staleness, flapping.
//!
//! Pure: time comes in, nothing goes out. Kept from users: how many samples a change needs and what flapping does to
//! it. Deliberately absent: what a status means for the whole (`aggregate.rs`) and whom to tell (`alerts.rs`).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Neighbouring pairs of samples that are looked at for flapping.
const FLAP_WINDOW: usize = 20;

/// Changes inside the window at which flapping begins. One blip makes two, two blips four, three make six.
const FLAP_START: usize = 6;

/// Changes at which it ends.
const FLAP_STOP: usize = 2;

/// How far inside the limit a value must return before the level is left: 5 % of the limit.
const CLEAR: f64 = 0.05;

/// One moment on both clocks. Durations are taken from `mono` alone; `wall` is for people and calendars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never jumps; its zero means nothing.
    pub mono: i64,
    /// Milliseconds since 1970.
    pub wall: i64,
}

impl Now {
    /// What to add to `mono` to get `wall`. Stored marks are moved by the difference of two such offsets.
    pub fn offset(self) -> i64 {
        self.wall - self.mono
    }
}

/// How bad something is; the order is the meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = HealthLevel)]
pub enum Level {
    /// As it should be.
    Healthy,
    /// Works, needs a look.
    Warning,
    /// Reachable but not working.
    Critical,
    /// Not reachable.
    Down,
}

impl Level {
    /// Every level, best first.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Warning, Self::Critical, Self::Down];

    /// CRITICAL counts as down for availability.
    pub fn is_up(self) -> bool {
        self <= Self::Warning
    }

    /// The number it is stored as.
    pub fn number(self) -> i64 {
        self as i64
    }
}

/// What a component or the system is, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// As it should be.
    Healthy,
    /// Works, needs a look.
    Warning,
    /// Reachable but not working.
    Critical,
    /// Not reachable.
    Down,
    /// Nothing valid is known: starting, stale, or suspended as a whole.
    Unknown,
}

impl Status {
    /// Every status, best first, `UNKNOWN` last.
    pub const ALL: [Self; 5] = [Self::Healthy, Self::Warning, Self::Critical, Self::Down, Self::Unknown];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Down => "DOWN",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl From<Level> for Status {
    fn from(level: Level) -> Self {
        match level {
            Level::Healthy => Self::Healthy,
            Level::Warning => Self::Warning,
            Level::Critical => Self::Critical,
            Level::Down => Self::Down,
        }
    }
}

/// A component's confirmed status with the reason it may be unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Confirmed by enough samples.
    Known(Level),
    /// No valid sample yet, or not enough of them to believe a bad start.
    Starting,
    /// The last valid sample is too old to say anything.
    Stale,
}

impl Standing {
    /// The level, when it is known.
    pub fn level(self) -> Option<Level> {
        match self {
            Self::Known(level) => Some(level),
            Self::Starting | Self::Stale => None,
        }
    }

    /// The status on the wire.
    pub fn status(self) -> Status {
        self.level().map_or(Status::Unknown, Status::from)
    }

    /// Why it is unknown, in one word.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Known(_) => None,
            Self::Starting => Some("starting"),
            Self::Stale => Some("stale"),
        }
    }
}

/// Which way a metric gets worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ThresholdDirection)]
pub enum Direction {
    /// A higher value is worse: latency, use, age.
    HigherIsWorse,
    /// A lower value is worse: availability, free space, quota left.
    LowerIsWorse,
}

/// The limits of one metric. Without both limits a metric is shown and never judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Which way is worse.
    #[serde(default = "higher")]
    pub direction: Direction,
    /// From here on WARNING.
    #[serde(default)]
    pub warning: Option<f64>,
    /// From here on CRITICAL.
    #[serde(default)]
    pub critical: Option<f64>,
}

fn higher() -> Direction {
    Direction::HigherIsWorse
}

impl Limits {
    /// Shown, never judged.
    pub const NONE: Self = Self { direction: Direction::HigherIsWorse, warning: None, critical: None };

    /// Limits of a metric where higher is worse.
    pub const fn above(warning: f64, critical: f64) -> Self {
        Self { direction: Direction::HigherIsWorse, warning: Some(warning), critical: Some(critical) }
    }

    /// Limits of a metric where lower is worse.
    pub const fn below(warning: f64, critical: f64) -> Self {
        Self { direction: Direction::LowerIsWorse, warning: Some(warning), critical: Some(critical) }
    }

    /// What is wrong with them: the member's name and what it should be.
    pub fn defects(&self) -> Vec<(&'static str, &'static str)> {
        let mut defects = Vec::new();
        for (name, limit) in [("warning", self.warning), ("critical", self.critical)] {
            if limit.is_some_and(|limit| !limit.is_finite() || limit < 0.0) {
                defects.push((name, "a finite number that is not negative"));
            }
        }
        if let (Some(warning), Some(critical)) = (self.warning, self.critical) {
            let in_order = match self.direction {
                Direction::HigherIsWorse => warning <= critical,
                Direction::LowerIsWorse => warning >= critical,
            };
            if !in_order {
                defects.push(("critical", "a limit at least as bad as `warning`"));
            }
        }
        defects
    }

    /// The level of a value, given the level the metric held before. `None` for a value that is no number.
    pub fn level(&self, value: f64, held: Level) -> Option<Level> {
        if !value.is_finite() {
            return None;
        }
        for (level, limit) in [(Level::Critical, self.critical), (Level::Warning, self.warning)] {
            let Some(limit) = limit else { continue };
            let inside = limit.abs() * CLEAR;
            let (entered, kept) = match self.direction {
                Direction::HigherIsWorse => (value >= limit, value > limit - inside),
                Direction::LowerIsWorse => (value <= limit, value < limit + inside),
            };
            if entered || (held >= level && kept) {
                return Some(level);
            }
        }
        Some(Level::Healthy)
    }
}

/// How many samples in a row change a status; the N-th one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Samples at WARNING or worse that make a WARNING.
    pub warning_after: u32,
    /// Samples at CRITICAL or worse that make a CRITICAL.
    pub critical_after: u32,
    /// Samples that make a DOWN.
    pub down_after: u32,
    /// Better samples that end a status.
    pub ok_after: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { warning_after: 3, critical_after: 2, down_after: 2, ok_after: 2 }
    }
}

impl Rules {
    /// Largest count a rule may have.
    pub const MOST: u32 = 10;

    fn rise_after(self, level: Level) -> usize {
        let count = match level {
            Level::Healthy => self.ok_after,
            Level::Warning => self.warning_after,
            Level::Critical => self.critical_after,
            Level::Down => self.down_after,
        };
        usize::try_from(count.max(1)).unwrap_or(1)
    }
}

/// Turns a component's samples into its status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tracker {
    /// The last valid samples, newest last; as many as the longest rule needs.
    recent: VecDeque<Level>,
    confirmed: Option<Level>,
    /// Whether the last valid samples were bad, newest last.
    flaps: VecDeque<bool>,
    /// While flapping: the status that may rise and may not fall.
    held: Option<Level>,
    /// When the last valid sample came, on the monotonic clock of this run.
    last_valid: Option<i64>,
}

impl Tracker {
    /// Takes a sample. `None` (unknown) changes no counter.
    pub fn sample(&mut self, raw: Option<Level>, rules: Rules, now: Now) {
        let Some(raw) = raw else { return };
        self.last_valid = Some(now.mono);
        self.recent.push_back(raw);
        while self.recent.len() > Rules::MOST as usize {
            self.recent.pop_front();
        }
        self.confirm(raw, rules);
        self.flap(raw);
    }

    /// What stands now.
    pub fn standing(&self, now: Now, stale_after_ms: i64) -> Standing {
        let Some(confirmed) = self.shown() else { return Standing::Starting };
        match self.last_valid {
            Some(last) if now.mono - last <= stale_after_ms => Standing::Known(confirmed),
            _ => Standing::Stale,
        }
    }

    /// Whether the component changes too often to be believed.
    pub fn is_flapping(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the last sample differs from what is confirmed: the next one should come soon.
    pub fn is_unsettled(&self) -> bool {
        self.recent.back().copied() != self.confirmed
    }

    /// The last valid sample.
    pub fn raw(&self) -> Option<Level> {
        self.recent.back().copied()
    }

    /// Moves the marks to this run's monotonic clock.
    pub fn shift(&mut self, by: i64) {
        self.last_valid = self.last_valid.map(|mark| mark + by);
    }

    fn shown(&self) -> Option<Level> {
        self.held.or(self.confirmed)
    }

    fn confirm(&mut self, raw: Level, rules: Rules) {
        let worse = [Level::Down, Level::Critical, Level::Warning];
        let rise = worse
            .into_iter()
            .take_while(|level| self.confirmed.is_none_or(|confirmed| *level > confirmed))
            .find(|level| self.last_all(rules.rise_after(*level), |sample| sample >= *level));
        if let Some(level) = rise {
            self.confirmed = Some(level);
            return;
        }
        let Some(confirmed) = self.confirmed else {
            self.confirmed = (raw == Level::Healthy).then_some(Level::Healthy);
            return;
        };
        let count = rules.rise_after(Level::Healthy);
        if self.last_all(count, |sample| sample < confirmed) {
            self.confirmed = self.recent.iter().rev().take(count).copied().max();
        }
    }

    fn last_all(&self, count: usize, holds: impl Fn(Level) -> bool) -> bool {
        self.recent.len() >= count && self.recent.iter().rev().take(count).all(|sample| holds(*sample))
    }

    fn flap(&mut self, raw: Level) {
        self.flaps.push_back(!raw.is_up());
        while self.flaps.len() > FLAP_WINDOW + 1 {
            self.flaps.pop_front();
        }
        let changes = self
            .flaps
            .iter()
            .zip(self.flaps.iter().skip(1))
            .filter(|(before, after)| before != after)
            .count();
        let begins = self.held.is_none() && changes >= FLAP_START;
        let ends = self.held.is_some() && changes <= FLAP_STOP;
        if ends {
            self.held = None;
        } else if begins || self.held.is_some() {
            self.held = self.held.max(self.confirmed).max(Some(Level::Warning));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(mono: i64) -> Now {
        Now { mono, wall: 1_700_000_000_000 + mono }
    }

    fn after(samples: &[Option<Level>]) -> Tracker {
        let mut tracker = Tracker::default();
        for (index, sample) in samples.iter().enumerate() {
            tracker.sample(*sample, Rules::default(), at(i64::try_from(index).unwrap() * 1000));
        }
        tracker
    }

    fn letters(text: &str) -> Vec<Option<Level>> {
        text.chars()
            .map(|letter| match letter {
                'h' => Some(Level::Healthy),
                'w' => Some(Level::Warning),
                'c' => Some(Level::Critical),
                'd' => Some(Level::Down),
                _ => None,
            })
            .collect()
    }

    #[track_caller]
    fn check(samples: &str, expected: Standing) {
        assert_eq!(after(&letters(samples)).standing(at(60_000), 100_000), expected, "{samples}");
    }

    #[test]
    fn the_nth_sample_in_a_row_changes_the_status() {
        check("", Standing::Starting);
        check("h", Standing::Known(Level::Healthy));
        check("w", Standing::Starting);
        check("hww", Standing::Known(Level::Healthy));
        check("hwww", Standing::Known(Level::Warning));
        check("hd", Standing::Known(Level::Healthy));
        check("hdd", Standing::Known(Level::Down));
        check("hdc", Standing::Known(Level::Critical));
        check("hdcw", Standing::Known(Level::Critical));
        check("hddh", Standing::Known(Level::Down));
        check("hddhh", Standing::Known(Level::Healthy));
        check("hddch", Standing::Known(Level::Critical));
        check("hdhdhd", Standing::Known(Level::Healthy));
    }

    #[test]
    fn unknown_samples_change_no_counter() {
        check("?", Standing::Starting);
        check("hd?d", Standing::Known(Level::Down));
        check("hdd?h?", Standing::Known(Level::Down));
        check("hdd?h?h", Standing::Known(Level::Healthy));
    }

    #[test]
    fn an_old_sample_says_nothing() {
        let tracker = after(&letters("h"));
        assert_eq!(tracker.standing(at(100_000), 100_000), Standing::Known(Level::Healthy));
        assert_eq!(tracker.standing(at(100_001), 100_000), Standing::Stale);
    }

    #[test]
    fn one_blip_or_one_outage_is_not_flapping_and_three_blips_are() {
        assert!(!after(&letters("hhhdhhhh")).is_flapping());
        assert!(!after(&letters("hhddddddddhhhh")).is_flapping());
        assert!(!after(&letters("hhdhhdhhh")).is_flapping());
        assert!(after(&letters("hhdhhdhhdh")).is_flapping());
    }

    #[test]
    fn while_flapping_a_status_may_rise_and_may_not_fall() {
        let mut samples = letters("hdhdhdh");
        check("hdhdhdh", Standing::Known(Level::Warning));
        samples.extend(letters("dd"));
        assert_eq!(after(&samples).standing(at(9000), 100_000), Standing::Known(Level::Down));
        samples.extend(letters("hhhh"));
        assert_eq!(after(&samples).standing(at(9000), 100_000), Standing::Known(Level::Down));
        samples.extend(letters("hhhhhhhhhhhhhhhhh"));
        let settled = after(&samples);
        assert!(!settled.is_flapping());
        assert_eq!(settled.standing(at(30_000), 100_000), Standing::Known(Level::Healthy));
    }

    #[test]
    fn a_worse_sample_never_makes_the_result_better_for_all_sequences_up_to_six() {
        let rank = |samples: &[Option<Level>]| {
            after(samples).standing(at(10_000), 100_000).level().unwrap_or(Level::Healthy)
        };
        for length in 1..=6_u32 {
            for number in 0..4_usize.pow(length) {
                let mut samples: Vec<_> =
                    (0..length).map(|place| Some(Level::ALL[number / 4_usize.pow(place) % 4])).collect();
                let before = rank(&samples);
                for place in 0..samples.len() {
                    let kept = samples[place];
                    if let Some(worse) = kept.and_then(|level| Level::ALL.get(level as usize + 1)) {
                        samples[place] = Some(*worse);
                        assert!(
                            rank(&samples) >= before,
                            "{samples:?} is better than with {kept:?} at {place}"
                        );
                        samples[place] = kept;
                    }
                }
            }
        }
    }

    #[test]
    fn a_metric_enters_at_its_limit_and_leaves_inside_it() {
        let limits = Limits::above(70.0, 90.0);
        assert_eq!(limits.level(70.0, Level::Healthy), Some(Level::Warning));
        assert_eq!(limits.level(69.0, Level::Healthy), Some(Level::Healthy));
        assert_eq!(limits.level(69.0, Level::Warning), Some(Level::Warning));
        assert_eq!(limits.level(66.5, Level::Warning), Some(Level::Healthy));
        assert_eq!(limits.level(89.0, Level::Critical), Some(Level::Critical));
        assert_eq!(limits.level(85.5, Level::Critical), Some(Level::Warning));
        let limits = Limits::below(90.0, 50.0);
        assert_eq!(limits.level(100.0, Level::Healthy), Some(Level::Healthy));
        assert_eq!(limits.level(90.0, Level::Healthy), Some(Level::Warning));
        assert_eq!(limits.level(92.0, Level::Warning), Some(Level::Warning));
        assert_eq!(limits.level(50.0, Level::Healthy), Some(Level::Critical));
        assert_eq!(limits.level(0.0, Level::Healthy), Some(Level::Critical));
        assert_eq!(limits.level(f64::NAN, Level::Healthy), None);
        assert_eq!(limits.level(f64::INFINITY, Level::Critical), None);
    }

    #[test]
    fn limits_in_the_wrong_order_are_named() {
        assert_eq!(Limits::above(90.0, 70.0).defects()[0].0, "critical");
        assert_eq!(Limits::below(50.0, 90.0).defects()[0].0, "critical");
        assert_eq!(Limits::above(-1.0, 70.0).defects()[0].0, "warning");
        assert!(Limits::below(90.0, 50.0).defects().is_empty());
    }

    proptest! {
        #[test]
        fn a_blip_shorter_than_the_rule_never_shows(before in 2_usize..30, after_it in 2_usize..30) {
            let mut samples = vec![Some(Level::Healthy); before];
            samples.push(Some(Level::Down));
            let mut tracker = Tracker::default();
            samples.extend(vec![Some(Level::Healthy); after_it]);
            for sample in samples {
                tracker.sample(sample, Rules::default(), at(0));
                prop_assert_eq!(tracker.standing(at(0), 1), Standing::Known(Level::Healthy));
            }
        }

        #[test]
        fn after_ok_after_equal_samples_outside_flapping_that_is_the_status(
            samples in prop::collection::vec(0_usize..4, 0..40), last in 0_usize..4)
        {
            let mut tracker = Tracker::default();
            for sample in samples.iter().copied().chain([last; 40]) {
                tracker.sample(Some(Level::ALL[sample]), Rules::default(), at(0));
            }
            prop_assert!(!tracker.is_flapping());
            prop_assert_eq!(tracker.standing(at(0), 1), Standing::Known(Level::ALL[last]));
        }

        #[test]
        fn stored_and_read_back_it_goes_on_as_before(
            samples in prop::collection::vec(0_usize..4, 0..30), rest in prop::collection::vec(0_usize..4, 0..10))
        {
            let mut tracker = Tracker::default();
            for sample in samples {
                tracker.sample(Some(Level::ALL[sample]), Rules::default(), at(0));
            }
            let text = serde_json::to_string(&tracker).unwrap();
            let mut stored: Tracker = serde_json::from_str(&text).unwrap();
            for sample in rest {
                tracker.sample(Some(Level::ALL[sample]), Rules::default(), at(0));
                stored.sample(Some(Level::ALL[sample]), Rules::default(), at(0));
            }
            prop_assert_eq!(tracker, stored);
        }
    }
}
