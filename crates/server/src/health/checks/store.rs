//! botops' own store: does it open, how long does a write take, how large is it, is it sound.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::{Measure, Reach, Sample, count, wide};
use crate::health::status::{Level, Limits};

/// How often the whole file is read for damage.
const SOUND_EVERY: Duration = Duration::from_secs(7 * 86_400);

/// A reading out of turn comes no sooner than this many times the time the last one took: at most 2 % of the disk's.
const SPARING: u32 = 50;

/// When the file was last read for damage, and what came of it.
#[derive(Debug)]
pub(in crate::health) struct Sound {
    at: Instant,
    took: Duration,
    is_sound: bool,
    is_reading: bool,
}

pub(super) async fn check(reach: &Reach, timeout: Duration) -> Sample {
    let path = reach.store.path().to_owned();
    let opened = tokio::task::spawn_blocking(move || look(&path)).await;
    let mut measures = match opened {
        Ok(Ok(measures)) => measures,
        Ok(Err(problem)) => return Sample::ok(Vec::new()).says(Level::Critical, problem),
        Err(_) => return Sample::failed(super::Outcome::Internal, "the check of the store broke off"),
    };
    // SQLite writes nothing when the new value is the old one: what is written must differ each time.
    let value = chrono::Utc::now().timestamp_micros().to_string();
    let started = Instant::now();
    let written = tokio::time::timeout(timeout / 2, reach.store.write(move |connection| {
        connection
            .prepare_cached(
                "INSERT INTO meta(key, value) VALUES('health_probe', ?1) ON CONFLICT(key) DO UPDATE SET value = ?1",
            )?
            .execute([value])?;
        Ok(())
    }));
    let written = written.await;
    let took = started.elapsed().as_secs_f64() * 1000.0;
    measures.push(Measure {
        name: "write_latency",
        value: took,
        unit: "ms",
        limits: Limits::above(250.0, 2_000.0),
    });
    measures.push(Measure {
        name: "backlog",
        value: count(reach.store.backlog()),
        unit: "writes",
        limits: Limits::above(1_000.0, 10_000.0),
    });
    let sample = Sample::ok(measures);
    let is_sound = is_sound(reach, timeout / 4).await;
    match written {
        _ if !is_sound => {
            sample.says(Level::Critical, "the store's file is damaged; restart botops to have it put aside")
        }
        Err(_) => sample.says(Level::Critical, "a write waits longer than the check may"),
        Ok(Err(_)) => {
            sample.says(Level::Critical, "the store cannot be written: full, read-only, locked or damaged")
        }
        Ok(Ok(())) => match reach.store.aside() {
            Some(aside) => {
                let name =
                    aside.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let text = format!(
                    "a damaged store was put aside as {name} and a new one begun; move that file away to end this"
                );
                sample.says(Level::Warning, text)
            }
            None => sample,
        },
    }
}

/// What can be seen of the file without writing.
fn look(path: &Path) -> Result<Vec<Measure>, String> {
    let started = Instant::now();
    let size = std::fs::metadata(path).map_err(|_| "the store's file is gone".to_owned())?.len();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|_| "the store does not open".to_owned())?;
    connection.busy_timeout(Duration::from_secs(1)).map_err(|_| "the store does not open".to_owned())?;
    let read: Result<i64, _> = connection.query_row("SELECT count(*) FROM meta", [], |row| row.get(0));
    read.map_err(|_| "the store cannot be read".to_owned())?;
    let open_ms = started.elapsed().as_secs_f64() * 1000.0;
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let wal_size = std::fs::metadata(wal).map_or(0, |file| file.len());
    let megabytes = |bytes: u64| wide(bytes) / 1e6;
    Ok(vec![
        Measure { name: "open_time", value: open_ms, unit: "ms", limits: Limits::above(100.0, 500.0) },
        Measure {
            name: "size",
            value: megabytes(size),
            unit: "MB",
            limits: Limits::above(1_000.0, 10_000.0),
        },
        Measure {
            name: "wal_size",
            value: megabytes(wal_size),
            unit: "MB",
            limits: Limits::above(64.0, 1_000.0),
        },
    ])
}

/// Whether the file was sound when it was last read whole: once a week, soon after somebody met damage, and again and
/// again while it is damaged. At start the store has read it itself. A long reading goes on by itself, and the next
/// check knows what came of it.
async fn is_sound(reach: &Reach, patience: Duration) -> bool {
    let is_suspect = reach.store.is_suspect();
    if lock(&reach.sound).begin(is_suspect) {
        let (store, sound) = (reach.store.clone(), reach.sound.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let verdict = store.read_whole();
            lock(&sound).end(verdict, started.elapsed());
        });
        // One that takes longer is still read to its end.
        let _ = tokio::time::timeout(patience, reading).await;
    }
    lock(&reach.sound).is_sound
}

fn lock(sound: &Mutex<Sound>) -> MutexGuard<'_, Sound> {
    sound.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Sound {
    fn default() -> Self {
        Self { at: Instant::now(), took: Duration::ZERO, is_sound: true, is_reading: false }
    }
}

impl Sound {
    /// True when the file is to be read now.
    fn begin(&mut self, is_suspect: bool) -> bool {
        let since = self.at.elapsed();
        let is_urgent = (is_suspect || !self.is_sound) && since >= self.took * SPARING;
        let is_due = !self.is_reading && (is_urgent || since >= SOUND_EVERY);
        self.is_reading |= is_due;
        is_due
    }

    /// It was read; a reading that failed for another reason changes no verdict.
    fn end(&mut self, verdict: Option<bool>, took: Duration) {
        let is_sound = verdict.unwrap_or(self.is_sound);
        *self = Self { at: Instant::now(), took, is_sound, is_reading: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_whole_when_damage_was_met_and_until_it_is_gone() {
        let mut sound = Sound::default();
        assert!(!sound.begin(false), "it was read at the start");
        assert!(sound.begin(true));
        assert!(!sound.begin(true), "it is being read");
        sound.end(Some(false), Duration::ZERO);
        assert!(!sound.is_sound);
        assert!(sound.begin(false), "damage is looked at again");
        sound.end(None, Duration::from_secs(1));
        assert!(!sound.is_sound, "a file that cannot be read is no sound one");
        assert!(!sound.begin(true), "a long reading is not repeated at once");
        sound.end(Some(true), Duration::ZERO);
        assert!(sound.is_sound && !sound.begin(false));
    }
}
