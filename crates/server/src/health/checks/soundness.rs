//! When the store's whole file is read for damage, and the result of the last reading.

use std::time::{Duration, Instant};

use crate::health::limit_rules::LimitRuleView;

/// How often the whole file is read for damage.
const SOUND_EVERY: Duration = Duration::from_secs(7 * 86_400);

/// An early reading waits this many times the duration of the last one, which bounds the disk use to 2 %.
const SPARING: u32 = 50;

/// The limits of this file.
pub(crate) fn soundness_rules() -> Vec<LimitRuleView> {
    vec![
        LimitRuleView::fixed(
            "store_read_every",
            SOUND_EVERY.as_secs(),
            "s",
            "how often the store is read for damage",
        ),
        LimitRuleView::fixed(
            "store_read_sparing",
            SPARING,
            "times the last reading",
            "how soon it is read again at the earliest",
        ),
    ]
}

/// When the file was last read for damage, and the result.
#[derive(Debug)]
pub(crate) struct StoreSoundness {
    at: Instant,
    took: Duration,
    is_sound: bool,
    is_reading: bool,
}

impl Default for StoreSoundness {
    fn default() -> Self {
        Self { at: Instant::now(), took: Duration::ZERO, is_sound: true, is_reading: false }
    }
}

impl StoreSoundness {
    /// Whether a reading is due now; if so, it counts as begun.
    pub(crate) fn begin_reading(&mut self, is_suspect: bool) -> bool {
        let since = self.at.elapsed();
        let is_urgent = (is_suspect || !self.is_sound) && since >= self.took * SPARING;
        let is_due = !self.is_reading && (is_urgent || since >= SOUND_EVERY);
        self.is_reading |= is_due;
        is_due
    }

    /// Whether the last reading found no damage.
    pub(crate) fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// Ends a reading; with no verdict (it failed for another reason) the last verdict stays.
    pub(crate) fn end_reading(&mut self, verdict: Option<bool>, took: Duration) {
        let is_sound = verdict.unwrap_or(self.is_sound);
        *self = Self { at: Instant::now(), took, is_sound, is_reading: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_whole_when_damage_was_met_and_until_it_is_gone() {
        let mut sound = StoreSoundness::default();
        assert!(!sound.begin_reading(false), "it was read at the start");
        assert!(sound.begin_reading(true));
        assert!(!sound.begin_reading(true), "it is being read");
        sound.end_reading(Some(false), Duration::ZERO);
        assert!(!sound.is_sound());
        assert!(sound.begin_reading(false), "damage is looked at again");
        sound.end_reading(None, Duration::from_secs(1));
        assert!(!sound.is_sound(), "a file that cannot be read is no sound one");
        assert!(!sound.begin_reading(true), "a long reading is not repeated at once");
        sound.end_reading(Some(true), Duration::ZERO);
        assert!(sound.is_sound() && !sound.begin_reading(false));
    }
}
