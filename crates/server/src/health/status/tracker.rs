//! From samples to a status: debounce, staleness, flapping.
//!
//! Pure: it gets samples and moments and does no I/O. Hidden from users: how many samples a change needs, and how
//! flapping affects it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sample_reason::SampleReason;
use crate::health::limit_rules::LimitRuleView;
use crate::health::model::{ClockReading, ConfirmedStatus, HealthLevel};

/// How many pairs of neighbouring samples are examined for flapping.
const FLAP_WINDOW: usize = 20;

/// Changes within the window at which flapping begins. One short failure makes two changes, two make four, three make
/// six.
const FLAP_START: usize = 6;

/// Changes within the window at which flapping ends.
const FLAP_STOP: usize = 2;

/// The limits of this file.
pub(crate) fn flapping_rules() -> Vec<LimitRuleView> {
    vec![
        LimitRuleView::fixed(
            "flapping_window",
            FLAP_WINDOW,
            "pairs of samples",
            "how far back changes are counted",
        ),
        LimitRuleView::fixed(
            "flapping_begins",
            FLAP_START,
            "changes",
            "a component flaps: its status may not fall",
        ),
        LimitRuleView::fixed("flapping_ends", FLAP_STOP, "changes", "it no longer flaps"),
    ]
}

/// How many samples in a row change a status; the last of them changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DebounceRules {
    /// Samples at WARNING or worse that confirm a WARNING.
    pub(crate) warning_after: u32,
    /// Samples at CRITICAL or worse that confirm a CRITICAL.
    pub(crate) critical_after: u32,
    /// Samples at DOWN that confirm a DOWN.
    pub(crate) down_after: u32,
    /// Better samples that end a status.
    pub(crate) ok_after: u32,
}

impl Default for DebounceRules {
    fn default() -> Self {
        Self { warning_after: 3, critical_after: 2, down_after: 2, ok_after: 2 }
    }
}

impl DebounceRules {
    /// The largest number that a rule may have.
    pub(crate) const MOST: u32 = 10;

    /// Rules by which each sample counts at once.
    pub(crate) const AT_ONCE: Self = Self { warning_after: 1, critical_after: 1, down_after: 1, ok_after: 1 };

    fn rise_after(self, level: HealthLevel) -> usize {
        let count = match level {
            HealthLevel::Healthy => self.ok_after,
            HealthLevel::Warning => self.warning_after,
            HealthLevel::Critical => self.critical_after,
            HealthLevel::Down => self.down_after,
        };
        usize::try_from(count.max(1)).unwrap_or(1)
    }
}

/// Derives a component's status from its samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct StatusTracker {
    /// The last valid samples, newest last; as many as the longest rule needs.
    recent: VecDeque<HealthLevel>,
    /// Why each of these samples was what it was.
    #[serde(default)]
    reasons: VecDeque<Option<SampleReason>>,
    confirmed: Option<HealthLevel>,
    /// The reason of the sample that decided the status; `None` when it is HEALTHY, or gave none.
    #[serde(default)]
    reason: Option<SampleReason>,
    /// Whether the last valid samples were bad, newest last.
    flaps: VecDeque<bool>,
    /// While flapping: the level that may rise and must not fall.
    held: Option<HealthLevel>,
    /// When the last valid sample came, in milliseconds of this run's monotonic clock.
    last_valid: Option<i64>,
}

impl StatusTracker {
    /// Takes a sample with its reason; `None` (unknown) changes no counter.
    pub(crate) fn take_sample(
        &mut self,
        raw: Option<HealthLevel>,
        reason: Option<&SampleReason>,
        rules: DebounceRules,
        now: ClockReading,
    ) {
        let Some(raw) = raw else { return };
        let before = self.shown();
        self.last_valid = Some(now.mono);
        // What an older version stored has no reasons.
        self.reasons.resize(self.recent.len(), None);
        self.recent.push_back(raw);
        self.reasons.push_back(reason.cloned());
        while self.recent.len() > DebounceRules::MOST as usize {
            self.recent.pop_front();
            self.reasons.pop_front();
        }
        self.confirm(raw, rules);
        self.count_changes(raw);
        self.keep_reason(before);
    }

    /// Why the status is what it is: the reason of the newest sample at its level, among those that decided it or
    /// bear it out since. A sample that is not confirmed changes nothing about it.
    pub(crate) fn reason(&self) -> Option<&SampleReason> {
        self.reason.as_ref()
    }

    /// The status that is confirmed at `now`.
    pub(crate) fn confirmed_status(&self, now: ClockReading, stale_after_ms: i64) -> ConfirmedStatus {
        let Some(confirmed) = self.shown() else { return ConfirmedStatus::Starting };
        match self.last_valid {
            Some(last) if now.mono - last <= stale_after_ms => ConfirmedStatus::Known(confirmed),
            _ => ConfirmedStatus::Stale,
        }
    }

    /// Whether the status changes too often to be trusted.
    pub(crate) fn is_flapping(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the last sample differs from the confirmed status, so that the next one should come soon.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.recent.back().copied() != self.confirmed
    }

    /// The level of the last valid sample.
    pub(crate) fn raw(&self) -> Option<HealthLevel> {
        self.recent.back().copied()
    }

    /// Converts the marks to this run's monotonic clock.
    pub(crate) fn shift(&mut self, by: i64) {
        self.last_valid = self.last_valid.map(|mark| mark + by);
    }

    /// The level that is shown; `None` before anything is confirmed.
    pub(crate) fn shown(&self) -> Option<HealthLevel> {
        self.held.or(self.confirmed)
    }

    fn confirm(&mut self, raw: HealthLevel, rules: DebounceRules) {
        let worse = [HealthLevel::Down, HealthLevel::Critical, HealthLevel::Warning];
        let rise = worse
            .into_iter()
            .take_while(|level| self.confirmed.is_none_or(|confirmed| *level > confirmed))
            .find(|level| self.last_all(rules.rise_after(*level), |sample| sample >= *level));
        if let Some(level) = rise {
            self.confirmed = Some(level);
            return;
        }
        let Some(confirmed) = self.confirmed else {
            self.confirmed = (raw == HealthLevel::Healthy).then_some(HealthLevel::Healthy);
            return;
        };
        let count = rules.rise_after(HealthLevel::Healthy);
        if self.last_all(count, |sample| sample < confirmed) {
            self.confirmed = self.recent.iter().rev().take(count).copied().max();
        }
    }

    /// Chooses the reason after a sample; `before` is the level that was shown before it.
    fn keep_reason(&mut self, before: Option<HealthLevel>) {
        let Some(shown) = self.shown().filter(|shown| *shown != HealthLevel::Healthy) else {
            self.reason = None;
            return;
        };
        let bears_it_out = self.recent.back() == Some(&shown);
        if !bears_it_out && before == Some(shown) {
            return;
        }
        let is_only_held = self.held > self.confirmed && !self.recent.contains(&shown);
        if is_only_held {
            let newest_bad = self.newest_reason(|level| level > HealthLevel::Healthy);
            let last = newest_bad.map(|reason| format!("; last: {}", reason.text)).unwrap_or_default();
            let text = format!("it changes too often to be believed{last}");
            self.reason = Some(SampleReason { text, beyond: newest_bad.and_then(|one| one.beyond.clone()) });
            return;
        }
        // Where no sample has this very level, worse ones made it up together: the mildest of them decided.
        let mildest = self.recent.iter().copied().filter(|level| *level >= shown).min();
        self.reason = self.newest_reason(|level| Some(level) == mildest).cloned();
    }

    /// The reason of the newest sample at such a level.
    fn newest_reason(&self, is_wanted: impl Fn(HealthLevel) -> bool) -> Option<&SampleReason> {
        let mut samples = self.recent.iter().zip(&self.reasons).rev();
        samples.find(|(level, _)| is_wanted(**level)).and_then(|(_, reason)| reason.as_ref())
    }

    fn last_all(&self, count: usize, holds: impl Fn(HealthLevel) -> bool) -> bool {
        self.recent.len() >= count && self.recent.iter().rev().take(count).all(|sample| holds(*sample))
    }

    fn count_changes(&mut self, raw: HealthLevel) {
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
            self.held = self.held.max(self.confirmed).max(Some(HealthLevel::Warning));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(mono: i64) -> ClockReading {
        ClockReading { mono, wall: 1_700_000_000_000 + mono }
    }

    fn after(samples: &[Option<HealthLevel>]) -> StatusTracker {
        let mut tracker = StatusTracker::default();
        for (index, sample) in samples.iter().enumerate() {
            let now = at(i64::try_from(index).unwrap() * 1000);
            tracker.take_sample(*sample, None, DebounceRules::default(), now);
        }
        tracker
    }

    fn levels(text: &str) -> Vec<Option<HealthLevel>> {
        text.chars()
            .map(|code| match code {
                'h' => Some(HealthLevel::Healthy),
                'w' => Some(HealthLevel::Warning),
                'c' => Some(HealthLevel::Critical),
                'd' => Some(HealthLevel::Down),
                _ => None,
            })
            .collect()
    }

    #[track_caller]
    fn check(samples: &str, expected: ConfirmedStatus) {
        assert_eq!(after(&levels(samples)).confirmed_status(at(60_000), 100_000), expected, "{samples}");
    }

    #[test]
    fn the_nth_sample_in_a_row_changes_the_status() {
        check("", ConfirmedStatus::Starting);
        check("h", ConfirmedStatus::Known(HealthLevel::Healthy));
        check("w", ConfirmedStatus::Starting);
        check("hww", ConfirmedStatus::Known(HealthLevel::Healthy));
        check("hwww", ConfirmedStatus::Known(HealthLevel::Warning));
        check("hd", ConfirmedStatus::Known(HealthLevel::Healthy));
        check("hdd", ConfirmedStatus::Known(HealthLevel::Down));
        check("hdc", ConfirmedStatus::Known(HealthLevel::Critical));
        check("hdcw", ConfirmedStatus::Known(HealthLevel::Critical));
        check("hddh", ConfirmedStatus::Known(HealthLevel::Down));
        check("hddhh", ConfirmedStatus::Known(HealthLevel::Healthy));
        check("hddch", ConfirmedStatus::Known(HealthLevel::Critical));
        check("hdhdhd", ConfirmedStatus::Known(HealthLevel::Healthy));
    }

    #[test]
    fn unknown_samples_change_no_counter() {
        check("?", ConfirmedStatus::Starting);
        check("hd?d", ConfirmedStatus::Known(HealthLevel::Down));
        check("hdd?h?", ConfirmedStatus::Known(HealthLevel::Down));
        check("hdd?h?h", ConfirmedStatus::Known(HealthLevel::Healthy));
    }

    #[test]
    fn an_old_sample_says_nothing() {
        let tracker = after(&levels("h"));
        assert_eq!(
            tracker.confirmed_status(at(100_000), 100_000),
            ConfirmedStatus::Known(HealthLevel::Healthy)
        );
        assert_eq!(tracker.confirmed_status(at(100_001), 100_000), ConfirmedStatus::Stale);
    }

    /// The status and its reason after samples whose reasons are their places, from 0.
    #[track_caller]
    fn check_reason(samples: &str, level: HealthLevel, reason: Option<&str>) {
        let mut tracker = StatusTracker::default();
        for (index, sample) in levels(samples).into_iter().enumerate() {
            let why = (sample != Some(HealthLevel::Healthy)).then(|| SampleReason::from(index.to_string()));
            tracker.take_sample(sample, why.as_ref(), DebounceRules::default(), at(0));
        }
        assert_eq!(tracker.confirmed_status(at(0), 1), ConfirmedStatus::Known(level), "{samples}");
        assert_eq!(tracker.reason().map(|reason| reason.text.as_str()), reason, "{samples}");
    }

    #[test]
    fn the_reason_is_that_of_the_sample_that_decided() {
        check_reason("hcc", HealthLevel::Critical, Some("2"));
        // A milder or a worse sample that is not confirmed is not the reason.
        check_reason("hccw", HealthLevel::Critical, Some("2"));
        check_reason("hccd", HealthLevel::Critical, Some("2"));
        check_reason("hccdc", HealthLevel::Critical, Some("4"));
        check_reason("hccww", HealthLevel::Warning, Some("4"));
        check_reason("hwdw", HealthLevel::Warning, Some("3"));
        // Of two samples that made it CRITICAL together, the one at that level.
        check_reason("hcd", HealthLevel::Critical, Some("1"));
        check_reason("hdc", HealthLevel::Critical, Some("2"));
        check_reason("hddcw", HealthLevel::Critical, Some("3"));
        check_reason("hdd?", HealthLevel::Down, Some("2"));
        check_reason("hddhh", HealthLevel::Healthy, None);
        check_reason("hdhdhdh", HealthLevel::Warning, Some("it changes too often to be believed; last: 5"));
    }

    #[test]
    fn one_blip_or_one_outage_is_not_flapping_and_three_blips_are() {
        assert!(!after(&levels("hhhdhhhh")).is_flapping());
        assert!(!after(&levels("hhddddddddhhhh")).is_flapping());
        assert!(!after(&levels("hhdhhdhhh")).is_flapping());
        assert!(after(&levels("hhdhhdhhdh")).is_flapping());
    }

    #[test]
    fn while_flapping_a_status_may_rise_and_may_not_fall() {
        let mut samples = levels("hdhdhdh");
        check("hdhdhdh", ConfirmedStatus::Known(HealthLevel::Warning));
        samples.extend(levels("dd"));
        assert_eq!(
            after(&samples).confirmed_status(at(9000), 100_000),
            ConfirmedStatus::Known(HealthLevel::Down)
        );
        samples.extend(levels("hhhh"));
        assert_eq!(
            after(&samples).confirmed_status(at(9000), 100_000),
            ConfirmedStatus::Known(HealthLevel::Down)
        );
        samples.extend(levels("hhhhhhhhhhhhhhhhh"));
        let settled = after(&samples);
        assert!(!settled.is_flapping());
        assert_eq!(
            settled.confirmed_status(at(30_000), 100_000),
            ConfirmedStatus::Known(HealthLevel::Healthy)
        );
    }

    #[test]
    fn a_worse_sample_never_makes_the_result_better_for_all_sequences_up_to_six() {
        let rank = |samples: &[Option<HealthLevel>]| {
            after(samples).confirmed_status(at(10_000), 100_000).level().unwrap_or(HealthLevel::Healthy)
        };
        for length in 1..=6_u32 {
            for number in 0..4_usize.pow(length) {
                let mut samples: Vec<_> = (0..length)
                    .map(|place| Some(HealthLevel::ALL[number / 4_usize.pow(place) % 4]))
                    .collect();
                let before = rank(&samples);
                for place in 0..samples.len() {
                    let kept = samples[place];
                    if let Some(worse) = kept.and_then(|level| HealthLevel::ALL.get(level as usize + 1)) {
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

    proptest! {
        #[test]
        fn a_blip_shorter_than_the_rule_never_shows(before in 2_usize..30, after_it in 2_usize..30) {
            let mut samples = vec![Some(HealthLevel::Healthy); before];
            samples.push(Some(HealthLevel::Down));
            let mut tracker = StatusTracker::default();
            samples.extend(vec![Some(HealthLevel::Healthy); after_it]);
            for sample in samples {
                tracker.take_sample(sample, None, DebounceRules::default(), at(0));
                prop_assert_eq!(tracker.confirmed_status(at(0), 1), ConfirmedStatus::Known(HealthLevel::Healthy));
            }
        }

        #[test]
        fn after_ok_after_equal_samples_outside_flapping_that_is_the_status(
            samples in prop::collection::vec(0_usize..4, 0..40), last in 0_usize..4)
        {
            let mut tracker = StatusTracker::default();
            for sample in samples.iter().copied().chain([last; 40]) {
                tracker.take_sample(Some(HealthLevel::ALL[sample]), None, DebounceRules::default(), at(0));
            }
            prop_assert!(!tracker.is_flapping());
            prop_assert_eq!(tracker.confirmed_status(at(0), 1), ConfirmedStatus::Known(HealthLevel::ALL[last]));
        }

        #[test]
        fn stored_and_read_back_it_goes_on_as_before(
            samples in prop::collection::vec(0_usize..4, 0..30), rest in prop::collection::vec(0_usize..4, 0..10))
        {
            let mut tracker = StatusTracker::default();
            for sample in samples {
                tracker.take_sample(Some(HealthLevel::ALL[sample]), None, DebounceRules::default(), at(0));
            }
            let text = serde_json::to_string(&tracker).unwrap();
            let mut stored: StatusTracker = serde_json::from_str(&text).unwrap();
            for sample in rest {
                tracker.take_sample(Some(HealthLevel::ALL[sample]), None, DebounceRules::default(), at(0));
                stored.take_sample(Some(HealthLevel::ALL[sample]), None, DebounceRules::default(), at(0));
            }
            prop_assert_eq!(tracker, stored);
        }
    }
}
