//! Running what is due.
//!
//! A check that hangs, panics or answers endlessly ends at its own limit and delays no other check: only the number
//! of checks that begin at once is limited, and one that takes longer than [`BEGINNING`] gives its permit to the
//! next.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use botops_core::tasks::{OnFailure, Tasks};
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::health::checks::{CheckOutcome, CheckRun, CheckSample, run_health_check};
use crate::health::inner::HealthInner;
use crate::health::memory::HealthMemory;
use crate::health::model::HealthClock;
use crate::health::status::DueCheck;

/// How many checks may begin at the same time.
pub(crate) const STARTS: usize = 16;

/// A check that runs longer than this no longer counts as beginning and returns its permit.
const BEGINNING: Duration = Duration::from_millis(100);

/// The longest time between two rounds of the scheduler.
const TURN: Duration = Duration::from_millis(500);

/// Milliseconds the machine must have slept for all samples to count as outdated.
const SLEPT: i64 = 5_000;

/// Milliseconds after the start at which alerts of components that were not registered again end.
const ORPHANS: i64 = 120_000;

/// Starts checks that are due and advances the memory, until the stop.
pub(crate) async fn schedule_checks(
    inner: Arc<HealthInner>,
    permits: Arc<Semaphore>,
    tasks: Tasks,
    stopping: CancellationToken,
) {
    let mut asleep = time_asleep();
    loop {
        let now = inner.now();
        let (due, next) = {
            let mut memory = inner.lock();
            let HealthMemory { status, changes, .. } = &mut *memory;
            let slept = time_asleep() - asleep;
            if slept > SLEPT {
                asleep += slept;
                status.resume_after_sleep(slept, now, changes);
            }
            let due = status.take_due(now);
            memory.recovery.unasked_restart = inner.targets.bots.snapshot().unasked_restart.clone();
            memory.advance(now);
            if HealthClock::elapsed_ms(now) > ORPHANS {
                memory.end_orphans(now);
            }
            let next = memory.status.next_due();
            inner.publish_if_due(&mut memory);
            (due, next)
        };
        inner.progress.scheduler.store(now.mono, Ordering::Relaxed);
        for check in due {
            let running = run_due_check(inner.clone(), check, permits.clone(), stopping.clone());
            tasks.spawn("health-check", OnFailure::Log, running);
        }
        let due_in = next.map_or(TURN, |next| {
            Duration::from_millis(u64::try_from(next - inner.now().mono).unwrap_or(0)).min(TURN)
        });
        tokio::select! {
            () = stopping.cancelled() => return,
            () = inner.wake.notified() => {}
            () = tokio::time::sleep(due_in.max(Duration::from_millis(5))) => {}
        }
    }
}

/// Milliseconds the machine has slept since it started: the clock that includes sleep, less the one that does not.
fn time_asleep() -> i64 {
    use rustix::time::{ClockId, clock_gettime};
    let milliseconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    };
    milliseconds(ClockId::Boottime) - milliseconds(ClockId::Monotonic)
}

/// Runs one check within its limits, and puts its sample into the memory.
async fn run_due_check(
    inner: Arc<HealthInner>,
    due: DueCheck,
    permits: Arc<Semaphore>,
    stopping: CancellationToken,
) {
    // The semaphore is never closed, so acquiring cannot fail. The wait for a permit is not part of the latency.
    let permit = if due.check.is_from_memory() { None } else { permits.acquire_owned().await.ok() };
    let started = Instant::now();
    let limit = Duration::from_millis(u64::try_from(due.timeout_ms).unwrap_or(10_000));
    let run = CheckRun { component: due.id.clone(), timeout: limit };
    let check =
        AssertUnwindSafe(run_health_check(due.check.clone(), inner.targets.clone(), run)).catch_unwind();
    let check = tokio::time::timeout(limit, check);
    tokio::pin!(check);
    let result = tokio::select! {
        result = &mut check => result,
        () = stopping.cancelled() => return,
        () = tokio::time::sleep(BEGINNING) => {
            drop(permit);
            tokio::select! {
                result = &mut check => result,
                () = stopping.cancelled() => return,
            }
        }
    };
    let sample = match result {
        Ok(Ok(sample)) => sample,
        Ok(Err(_)) => {
            tracing::error!(health.component = %due.id, "the check of {} panicked", due.id);
            CheckSample::failed(CheckOutcome::Internal, "the check itself failed")
        }
        Err(_) => CheckSample::failed(CheckOutcome::Timeout, format!("no answer within {limit:?}")),
    };
    let took_ms = started.elapsed().as_secs_f64() * 1000.0;
    let now = inner.now();
    {
        let mut memory = inner.lock();
        if !memory.status.finish_check(&due.id, sample, took_ms, now) {
            return;
        }
        if let Some(component) = memory.status.components.get(&due.id) {
            inner.writer.record_check(component, now);
        }
    }
    inner.finished.send_modify(|count| *count += 1);
    inner.wake.notify_one();
}
