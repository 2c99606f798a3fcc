//! botops' own store: whether it opens, how long a write takes, how large it is, and whether it is damaged.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::check_run::CheckRun;
use super::metric_limits::{
    CheckMeasure, STORE_BACKLOG, STORE_OPEN_TIME, STORE_SIZE, STORE_WAL_SIZE, STORE_WRITE_LATENCY,
};
use super::sample::{CheckSample, count, wide};
use super::soundness::StoreSoundness;
use super::targets::CheckTargets;
use crate::health::model::HealthLevel;
use crate::store::Store;

pub(crate) async fn check_store(targets: Arc<CheckTargets>, run: CheckRun) -> CheckSample {
    let (store, soundness, timeout) = (targets.store.clone(), targets.soundness.clone(), run.timeout);
    let path = store.path().to_owned();
    let mut measures = match targets.own_threads.call(&run.component, move || read_file(&path)).await {
        Ok(Ok(measures)) => measures,
        Ok(Err(problem)) => return CheckSample::ok(Vec::new()).says(HealthLevel::Critical, problem),
        Err(sample) => return sample,
    };
    // SQLite writes nothing when the new value equals the old one, so the value differs each time.
    let value = chrono::Utc::now().timestamp_micros().to_string();
    let started = Instant::now();
    let written = tokio::time::timeout(timeout / 2, store.write(move |connection| {
        connection
            .prepare_cached(
                "INSERT INTO meta(key, value) VALUES('health_probe', ?1) ON CONFLICT(key) DO UPDATE SET value = ?1",
            )?
            .execute([value])?;
        Ok(())
    }));
    let written = written.await;
    let took = started.elapsed().as_secs_f64() * 1000.0;
    measures.push(STORE_WRITE_LATENCY.measure(took));
    measures.push(STORE_BACKLOG.measure(count(store.backlog())));
    let sample = CheckSample::ok(measures);
    let is_sound = is_sound(&store, &soundness, timeout / 4).await;
    match written {
        _ if !is_sound => sample
            .says(HealthLevel::Critical, "the store's file is damaged; restart botops to have it put aside"),
        Err(_) => sample.says(HealthLevel::Critical, "a write waits longer than the check may"),
        Ok(Err(_)) => sample
            .says(HealthLevel::Critical, "the store cannot be written: full, read-only, locked or damaged"),
        Ok(Ok(())) => match store.aside() {
            Some(aside) => {
                let name =
                    aside.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let text = format!(
                    "a damaged store was put aside as {name} and a new one begun; move that file away to end this"
                );
                sample.says(HealthLevel::Warning, text)
            }
            None => sample,
        },
    }
}

/// What can be measured on the file without writing.
fn read_file(path: &Path) -> Result<Vec<CheckMeasure>, String> {
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
        STORE_OPEN_TIME.measure(open_ms),
        STORE_SIZE.measure(megabytes(size)),
        STORE_WAL_SIZE.measure(megabytes(wal_size)),
    ])
}

/// Whether the file was sound when it was last read whole.
///
/// It is read once a week, soon after damage was reported, and repeatedly while it is damaged; at start the store has
/// read it itself. A reading that takes longer than `patience` goes on, and a later check gets its result.
async fn is_sound(store: &Store, soundness: &Arc<Mutex<StoreSoundness>>, patience: Duration) -> bool {
    let is_suspect = store.is_suspect();
    if lock(soundness).begin_reading(is_suspect) {
        let (store, soundness) = (store.clone(), soundness.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let verdict = store.read_whole();
            lock(&soundness).end_reading(verdict, started.elapsed());
        });
        // A reading that takes longer goes on in its thread.
        let _ = tokio::time::timeout(patience, reading).await;
    }
    lock(soundness).is_sound()
}

fn lock(soundness: &Mutex<StoreSoundness>) -> MutexGuard<'_, StoreSoundness> {
    soundness.lock().unwrap_or_else(PoisonError::into_inner)
}
