//! A wall clock that a test sets, for real processes: a library that is loaded before theirs shifts it.

use std::path::PathBuf;

use tempfile::TempDir;

use super::preload::library;

/// The wall clock of the processes that are started with [`WallClock::settings`].
pub(crate) struct WallClock {
    folder: TempDir,
}

impl WallClock {
    /// One that is right.
    pub(crate) fn right() -> Self {
        let clock = Self { folder: super::folder() };
        clock.shift(0);
        clock
    }

    /// From now on it is wrong by so many seconds.
    pub(crate) fn shift(&self, seconds: i64) {
        // Written beside and moved: a clock is read at any moment.
        let new = self.folder.path().join("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    /// The environment of a process whose clock this is.
    pub(crate) fn settings(&self) -> [(&'static str, String); 2] {
        let library = library("wall_clock.c").display().to_string();
        [("LD_PRELOAD", library), ("WALL_CLOCK_FILE", self.file().display().to_string())]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("seconds")
    }
}
