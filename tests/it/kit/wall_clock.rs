//! A wall clock that a test sets, for real processes: a library that is loaded before theirs shifts it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/kit/wall_clock.c");

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
        let library = library().display().to_string();
        [("LD_PRELOAD", library), ("WALL_CLOCK_FILE", self.file().display().to_string())]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("seconds")
    }
}

/// The library, compiled once for all tests of this process.
fn library() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        // Not in memory: nothing may be executed there on some machines.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wall_clock.so");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", SOURCE, "-ldl", "-o"]).arg(&path).status();
        assert!(built.expect("there is a C compiler").success(), "{SOURCE} compiles");
        (folder, path)
    });
    path
}
