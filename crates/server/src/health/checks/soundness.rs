//! When the store's file is read whole for damage, and what came of the last reading.

use std::time::{Duration, Instant};

/// How often the whole file is read for damage.
const SOUND_EVERY: Duration = Duration::from_secs(7 * 86_400);

/// A reading out of turn comes no sooner than this many times the time the last one took: at most 2 % of the disk's.
const SPARING: u32 = 50;

/// When the file was last read for damage, and what came of it.
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
    /// True when the file is to be read now.
    pub(crate) fn begin_reading(&mut self, is_suspect: bool) -> bool {
        let since = self.at.elapsed();
        let is_urgent = (is_suspect || !self.is_sound) && since >= self.took * SPARING;
        let is_due = !self.is_reading && (is_urgent || since >= SOUND_EVERY);
        self.is_reading |= is_due;
        is_due
    }

    /// Whether the file was sound when it was last read whole.
    pub(crate) fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// It was read; a reading that failed for another reason changes no verdict.
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
