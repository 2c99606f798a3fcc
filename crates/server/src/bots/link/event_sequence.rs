//! Which numbers of the bot's events were taken over, so that each is taken once, wherever the numbers jump. Pure.
//!
//! Numbers grow by one within one start of the bot. A bot that errs may give one far out of reach: what it skipped is
//! remembered as missing, so that the numbers which really follow are still taken, and none of them twice.

use botops_contract::LARGEST_SEQ;
use serde::{Deserialize, Serialize};

/// A jump beyond this is a wrong number and no loss: a thousand events a second need fifty days for as many.
const LARGEST_JUMP: u64 = 1 << 32;

/// Ranges of missing numbers that are remembered; beyond that the shortest is given up.
const MOST_RANGES: usize = 16;

/// The numbers that were taken over of one start of the bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventSequence {
    boot_epoch: String,
    /// Where the bot is asked to go on: the last number taken, unless a jump that cannot be led to it.
    seq: u64,
    /// The highest number taken; `None` before the first one of a start.
    highest: Option<u64>,
    /// First and last of the numbers below `highest` that were not taken, ascending.
    missing: Vec<(u64, u64)>,
    /// That numbers went back was told of this start.
    told_return: bool,
    /// The last number that came over the open connection.
    #[serde(skip)]
    previous: Option<u64>,
}

/// What is to be told of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventNumberNews {
    /// So many events before it did not come.
    Lost { after: u64, count: u64 },
    /// It is further from the one before than any bot can have come.
    Jumped { from: u64, to: u64 },
    /// It is not above the one before it.
    WentBack { from: u64, to: u64 },
}

/// What becomes of the event with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventNumberOutcome {
    /// It was not taken before.
    pub(super) is_new: bool,
    pub(super) news: Option<EventNumberNews>,
}

impl EventSequence {
    fn begin(boot_epoch: &str) -> Self {
        let boot_epoch = boot_epoch.to_owned();
        Self { boot_epoch, seq: 0, highest: None, missing: Vec::new(), told_return: false, previous: None }
    }

    /// What [`EventSequence::to_text`] gave; `None` for a text that it cannot have given.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The short form ends with a digit, so it is no JSON, whatever the bot calls its start.
        if let Ok(whole) = serde_json::from_str(text) {
            return Some(whole);
        }
        let (boot_epoch, seq) = text.rsplit_once('/')?;
        let seq = seq.parse().ok()?;
        Some(Self { seq, highest: Some(seq), ..Self::begin(boot_epoch) })
    }

    /// All that is to be stored.
    pub(super) fn to_text(&self) -> String {
        if self.missing.is_empty() && !self.told_return {
            return self.last_event_id();
        }
        serde_json::to_string(self).unwrap_or_else(|_| self.last_event_id())
    }

    /// The `Last-Event-ID` after which the bot is asked to go on.
    pub(super) fn last_event_id(&self) -> String {
        format!("{}/{}", self.boot_epoch, self.seq)
    }

    /// Another connection begins, on which the bot may repeat what it gave before.
    pub(super) fn begin_stream(&mut self) {
        self.previous = None;
    }

    /// Takes the number of an event that came, of the start of the bot that it names; `sequence` is what is known.
    pub(super) fn take(sequence: &mut Option<Self>, boot_epoch: &str, number: u64) -> EventNumberOutcome {
        // Before the first event of this bot nothing is known: what came earlier is not a loss.
        let is_first = sequence.is_none();
        let known = sequence.get_or_insert_with(|| Self::begin(boot_epoch));
        if known.boot_epoch != boot_epoch || known.begins_anew(number) {
            *known = Self::begin(boot_epoch);
        }
        let outcome = known.take_number(number, is_first);
        known.previous = Some(number);
        outcome
    }

    /// Without a boot epoch, numbers that begin anew on a new connection are those of a new start.
    fn begins_anew(&self, number: u64) -> bool {
        let is_below = self.highest.is_some_and(|highest| number < highest);
        let is_awaited = self.range_of(number).is_some_and(|(first, last)| last - first >= LARGEST_JUMP);
        self.boot_epoch.is_empty() && self.previous.is_none() && is_below && !is_awaited
    }

    fn take_number(&mut self, number: u64, is_first: bool) -> EventNumberOutcome {
        let from = self.highest.unwrap_or(0);
        if self.highest.is_none() || number > from {
            let skipped = number.saturating_sub(from).saturating_sub(1);
            self.highest = Some(number);
            if skipped > 0 {
                self.missing.push((from.saturating_add(1), number - 1));
                self.bound_missing();
            }
            let is_jump = skipped > 0 && (skipped >= LARGEST_JUMP || number > LARGEST_SEQ);
            if is_jump {
                let news = Some(EventNumberNews::Jumped { from, to: number });
                return EventNumberOutcome { is_new: true, news };
            }
            self.seq = number;
            let news =
                (skipped > 0 && !is_first).then_some(EventNumberNews::Lost { after: from, count: skipped });
            return EventNumberOutcome { is_new: true, news };
        }
        let is_new = self.remove_missing(number);
        if is_new {
            self.seq = number;
        }
        let went_back = self.previous.filter(|previous| number <= *previous && !self.told_return);
        self.told_return |= went_back.is_some();
        EventNumberOutcome {
            is_new,
            news: went_back.map(|from| EventNumberNews::WentBack { from, to: number }),
        }
    }

    /// The range of missing numbers that this one lies in.
    fn range_of(&self, number: u64) -> Option<(u64, u64)> {
        self.missing.iter().copied().find(|(first, last)| (*first..=*last).contains(&number))
    }

    /// Takes a number out of those that are missing. Returns whether it was one.
    fn remove_missing(&mut self, number: u64) -> bool {
        let Some((first, last)) = self.range_of(number) else { return false };
        self.missing.retain(|range| *range != (first, last));
        if number > first {
            self.missing.push((first, number - 1));
        }
        if number < last {
            self.missing.push((number + 1, last));
        }
        self.missing.sort_unstable();
        self.bound_missing();
        true
    }

    fn bound_missing(&mut self) {
        while self.missing.len() > MOST_RANGES {
            let shortest = self.missing.iter().copied().min_by_key(|(first, last)| last - first);
            self.missing.retain(|range| Some(*range) != shortest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::EventNumberNews::{Jumped, Lost, WentBack};
    use super::*;

    const FAR: u64 = u64::MAX;

    /// The numbers that are taken of these, and what is told.
    fn taken(sequence: &mut Option<EventSequence>, numbers: &[u64]) -> (Vec<u64>, Vec<EventNumberNews>) {
        let (mut new, mut news) = (Vec::new(), Vec::new());
        for number in numbers {
            let outcome = EventSequence::take(sequence, "life", *number);
            new.extend(outcome.is_new.then_some(*number));
            news.extend(outcome.news);
        }
        (new, news)
    }

    #[test]
    fn a_number_out_of_reach_is_taken_and_those_that_really_follow_as_well() {
        let jump = Jumped { from: 2, to: FAR };
        let back = WentBack { from: FAR, to: 3 };
        let all = taken(&mut None, &[1, 2, FAR, 3, 4, FAR, 4, 5]);
        assert_eq!(all, (vec![1, 2, FAR, 3, 4, 5], vec![jump, back]));
        // The bot is asked to go on where it really is, also by a botops that was started again.
        let mut sequence = None;
        taken(&mut sequence, &[1, 2, FAR]);
        for _ in 0..2 {
            assert_eq!(sequence.as_ref().unwrap().last_event_id(), "life/2");
            sequence = EventSequence::parse(&sequence.unwrap().to_text());
        }
        assert_eq!(taken(&mut sequence, &[3, FAR, 4]).0, [3, 4]);
        // As the first number of a start too.
        assert_eq!(taken(&mut None, &[FAR, 1, 2]).0, [FAR, 1, 2]);
    }

    #[test]
    fn what_is_lost_repeated_or_out_of_order_is_told_once() {
        assert_eq!(taken(&mut None, &[500, 501]), (vec![500, 501], vec![]), "what came earlier is no loss");
        assert_eq!(taken(&mut None, &[0, 1, 2]).0, [0, 1, 2], "numbers may begin with 0");
        assert_eq!(taken(&mut None, &[1, 0, 2]).0, [1, 2], "before 1 nothing is missing");
        let lost = Lost { after: 1, count: 2 };
        assert_eq!(
            taken(&mut None, &[1, 4, 4, 3, 3]),
            (vec![1, 4, 3], vec![lost, WentBack { from: 4, to: 4 }])
        );
        // What a bot repeats on a new connection is no fault.
        let mut sequence = None;
        taken(&mut sequence, &[1, 2, 3]);
        sequence.as_mut().unwrap().begin_stream();
        assert_eq!(taken(&mut sequence, &[1, 2, 3, 4]), (vec![4], vec![]));
        let wide = taken(&mut None, &[1, LARGEST_SEQ + 1]);
        assert_eq!(wide.1, [Jumped { from: 1, to: LARGEST_SEQ + 1 }]);
    }

    #[test]
    fn without_a_boot_epoch_numbers_that_begin_anew_are_a_new_start_and_those_after_a_jump_are_not() {
        let mut sequence = None;
        let mut take = |number| EventSequence::take(&mut sequence, "", number).is_new;
        assert!([1, 2, 3].map(&mut take) == [true; 3]);
        assert!(take(FAR));
        sequence.as_mut().unwrap().begin_stream();
        let mut take = |number| EventSequence::take(&mut sequence, "", number).is_new;
        assert_eq!([4, FAR, 5].map(&mut take), [true, false, true]);
        sequence.as_mut().unwrap().begin_stream();
        let mut take = |number| EventSequence::take(&mut sequence, "", number).is_new;
        assert_eq!([1, 2].map(&mut take), [true, true]);
    }

    #[test]
    fn a_bot_may_call_its_start_what_it_likes() {
        for boot_epoch in ["{start-1", "{\"boot_epoch\": \"a\"}", "[1]", "7", "a/b", "\"quoted\""] {
            let mut sequence = None;
            EventSequence::take(&mut sequence, boot_epoch, 1);
            for number in [2, 5, 4] {
                let known = EventSequence::parse(&sequence.clone().unwrap().to_text());
                let known = known
                    .unwrap_or_else(|| panic!("{boot_epoch}: the numbers begin anew, and events come twice"));
                assert_eq!(known.last_event_id(), sequence.as_ref().unwrap().last_event_id());
                sequence = Some(known);
                assert!(!EventSequence::take(&mut sequence, boot_epoch, 1).is_new);
                assert!(EventSequence::take(&mut sequence, boot_epoch, number).is_new);
            }
        }
    }

    #[test]
    fn an_earlier_text_is_read() {
        let sequence = EventSequence::parse("a/b/7").unwrap();
        assert_eq!((sequence.last_event_id(), sequence.to_text()), ("a/b/7".to_owned(), "a/b/7".to_owned()));
        assert_eq!(EventSequence::parse("7"), None);
    }

    proptest! {
        /// Whatever comes: nothing panics, nothing is taken twice, and a number above all others is always taken.
        #[test]
        fn no_number_is_taken_twice(
            numbers in proptest::collection::vec(prop_oneof![0..40_u64, FAR - 5..=FAR, any::<u64>()], 0..200),
        ) {
            let (mut sequence, mut before) = (None, BTreeSet::new());
            for (index, number) in numbers.into_iter().enumerate() {
                let outcome = EventSequence::take(&mut sequence, "life", number);
                let is_highest = before.last().is_none_or(|highest| number > *highest);
                prop_assert!(outcome.is_new || !is_highest);
                prop_assert!(before.insert(number) || !outcome.is_new, "{number} is taken twice");
                if index % 7 == 0 {
                    sequence = EventSequence::parse(&sequence.unwrap().to_text());
                }
            }
        }
    }
}
