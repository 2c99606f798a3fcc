//! What is kept of each trading day, so that a clock that is set forth and back finds the days as they were.

use std::collections::BTreeMap;

use chrono::NaiveDate;

/// Days that are kept; a clock that is wrong by more than a year of trading days finds none of before.
const MOST_DAYS: usize = 400;

/// A value of each trading day, of the latest days.
#[derive(Debug)]
pub(crate) struct DayTable<V> {
    days: BTreeMap<NaiveDate, V>,
}

impl<V> Default for DayTable<V> {
    fn default() -> Self {
        Self { days: BTreeMap::new() }
    }
}

impl<V: Copy> DayTable<V> {
    pub(crate) fn get(&self, day: NaiveDate) -> Option<V> {
        self.days.get(&day).copied()
    }

    /// The value of a day; `value` is that of a day that has none yet, and changes no other.
    pub(crate) fn get_or_insert(&mut self, day: NaiveDate, value: V) -> V {
        let kept = *self.days.entry(day).or_insert(value);
        self.forget_others(day);
        kept
    }

    /// Gives a day another value.
    pub(crate) fn insert(&mut self, day: NaiveDate, value: V) {
        self.days.insert(day, value);
        self.forget_others(day);
    }

    /// Forgets days beyond the bound, the earliest first, but never this one.
    fn forget_others(&mut self, day: NaiveDate) {
        while self.days.len() > MOST_DAYS {
            let Some(earliest) = self.days.keys().find(|other| **other != day).copied() else { return };
            self.days.remove(&earliest);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Days;

    use super::*;

    #[test]
    fn a_day_keeps_its_first_value_and_the_present_one_is_never_forgotten() {
        let leap = NaiveDate::from_ymd_opt(2028, 2, 29).unwrap();
        let mut table = DayTable::default();
        assert_eq!((table.get_or_insert(leap, 1), table.get_or_insert(leap, 2)), (1, 1));
        // A clock that is far ahead day after day, and then right again.
        for ahead in 1..=1_000 {
            table.get_or_insert(leap + Days::new(ahead), 0);
        }
        assert_eq!(table.days.len(), MOST_DAYS);
        assert_eq!((table.get(leap), table.get_or_insert(leap, 3)), (None, 3));
        table.insert(leap, 4);
        assert_eq!((table.get(leap), table.days.len()), (Some(4), MOST_DAYS));
    }
}
