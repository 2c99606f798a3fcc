//! botops' own store: does it open, how long does a write take, how large is it, is it sound.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::{Measure, Reach, Sample, count, wide};
use crate::health::status::{Level, Limits};

/// How often the whole file is read for damage.
const SOUND_EVERY: Duration = Duration::from_secs(7 * 86_400);

/// When the file was last read for damage, and what came of it.
#[derive(Debug, Clone)]
pub(in crate::health) struct Sound {
    at: Instant,
    is_sound: bool,
}

pub(super) async fn check(reach: &Reach, timeout: Duration) -> Sample {
    let path = reach.store.path().to_owned();
    let opened = tokio::task::spawn_blocking(move || look(&path)).await;
    let mut measures = match opened {
        Ok(Ok(measures)) => measures,
        Ok(Err(problem)) => return Sample::ok(Vec::new()).says(Level::Critical, problem),
        Err(_) => return Sample::failed(super::Outcome::Internal, "the check of the store broke off"),
    };
    let started = Instant::now();
    let written = tokio::time::timeout(timeout / 2, reach.store.write(|connection| {
        connection
            .prepare_cached(
                "INSERT INTO meta(key, value) VALUES('health_probe', '1') ON CONFLICT(key) DO UPDATE SET value = '1'",
            )?
            .execute([])?;
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
    match written {
        Err(_) => sample.says(Level::Critical, "a write waits longer than the check may"),
        Ok(Err(_)) => {
            sample.says(Level::Critical, "the store cannot be written: full, read-only, locked or damaged")
        }
        Ok(Ok(())) if !is_sound(reach).await => {
            sample.says(Level::Critical, "the store's file is damaged; restart botops to have it put aside")
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

/// Reads the whole file for damage once a week. At start the store has done it itself.
async fn is_sound(reach: &Reach) -> bool {
    let known = reach.sound.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    match known {
        Some(sound) if sound.at.elapsed() < SOUND_EVERY => return sound.is_sound,
        None => {
            note(reach, true);
            return true;
        }
        Some(_) => {}
    }
    // Before the long read, so that a slow one is not begun twice.
    note(reach, true);
    let read = reach.store.read(|connection| {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok(verdict == "ok")
    });
    let is_sound = read.await.unwrap_or(false);
    note(reach, is_sound);
    is_sound
}

fn note(reach: &Reach, is_sound: bool) {
    let mut sound = reach.sound.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *sound = Some(Sound { at: Instant::now(), is_sound });
}
