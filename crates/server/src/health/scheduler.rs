//! The loops behind health: running what is due, writing what happened, delivering notices, mending.
//!
//! A check that hangs, panics or answers endlessly ends at its own limit and moves nobody else's clock: only the
//! start of checks is limited, and one that takes longer than a moment gives its place to the next.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::checks::{self, Outcome, Sample};
use super::engine::{Attempt, Job, OutboxRow, Row};
use super::mend::CHECKPOINT_MS;
use super::notify::{self, Receiver};
use super::recovery::HandlerEnd;
use super::spec::Handler;
use super::{Health, HealthOptions, RecoveryRun};
use crate::events::Event;
use botops_contract::EventKind;
use botops_core::error::Code;
use botops_core::tasks::{OnFailure, Tasks};

/// Checks that may begin at the same time.
const STARTS: usize = 16;

/// A check that runs longer than this no longer counts as beginning.
const BEGINNING: Duration = Duration::from_millis(100);

/// The longest time between two looks at the clock.
const TURN: Duration = Duration::from_millis(500);

/// How often measurements are written.
const FLUSH: Duration = Duration::from_secs(1);

/// How often old rows are deleted.
const PRUNE: Duration = Duration::from_secs(600);

/// How long an attempt waits for somebody who can run workflows.
const RUNNER_WAIT: Duration = Duration::from_secs(30);

/// How often the watchdog address is asked.
const WATCHDOG: Duration = Duration::from_secs(60);

/// The machine slept this long: what was known is old.
const SLEPT: i64 = 5_000;

/// Alerts of parts that are not plugged in after this long are over.
const ORPHANS: i64 = 120_000;

/// Starts every loop.
pub(super) fn start(
    health: &Health,
    options: &HealthOptions,
    receivers: Vec<Receiver>,
    rows: mpsc::UnboundedReceiver<Vec<Row>>,
    attempts: mpsc::UnboundedReceiver<Attempt>,
    tasks: &Tasks,
) {
    let stopping = tasks.stopping();
    let places = Arc::new(Semaphore::new(STARTS));
    let (this, token, spawner) = (health.clone(), stopping.clone(), tasks.clone());
    tasks.supervise("health", move || schedule(this.clone(), places.clone(), spawner.clone(), token.clone()));
    tasks.spawn("health-rows", OnFailure::Log, write_rows(health.clone(), rows, stopping.clone()));
    let (this, token) = (health.clone(), stopping.clone());
    tasks.supervise("health-history", move || write_history(this.clone(), token.clone()));
    tasks.spawn("health-recovery", OnFailure::Log, mend(health.clone(), attempts, stopping.clone()));
    let (this, token) = (health.clone(), stopping.clone());
    tasks.supervise("health-workflows", move || describe_workflows(this.clone(), token.clone()));
    let (this, token) = (health.clone(), stopping.clone());
    tasks.supervise("health-operators", move || follow_operators(this.clone(), token.clone()));
    let shared = &health.shared;
    for receiver in receivers {
        let (outbox, store) = (shared.outbox.clone(), shared.store.clone());
        let (http, token) = (shared.reach.own_http.clone(), stopping.clone());
        tasks.supervise("health-notices", move || {
            notify::deliver(receiver.clone(), outbox.clone(), store.clone(), http.clone(), token.clone())
        });
    }
    if let Some(url) = options.alertmanager.clone() {
        let url = url.join("api/v2/alerts").unwrap_or(url);
        let (this, token) = (health.clone(), stopping.clone());
        tasks.supervise("health-alertmanager", move || {
            let reader = this.clone();
            let read = move || reader.shared.snapshot.load().alerts.clone();
            let http = this.shared.reach.own_http.clone();
            notify::push_to_alertmanager(url.clone(), read, this.shared.alerted.clone(), http, token.clone())
        });
    }
    if let Some(url) = options.watchdog.clone() {
        let (this, token) = (health.clone(), stopping);
        tasks.supervise("health-watchdog", move || watchdog(this.clone(), url.clone(), token.clone()));
    }
}

async fn schedule(health: Health, places: Arc<Semaphore>, tasks: Tasks, stopping: CancellationToken) {
    let shared = &health.shared;
    let mut asleep = time_asleep();
    loop {
        let now = shared.clock.now();
        let (jobs, next) = {
            let mut engine = health.lock();
            let slept = time_asleep() - asleep;
            if slept > SLEPT {
                asleep += slept;
                engine.slept(slept, now);
            }
            let jobs = engine.take_due(now);
            engine.unasked_restart = shared.reach.bots.snapshot().unasked_restart.clone();
            engine.tick(now);
            if now.mono - super::DAY > ORPHANS {
                engine.end_orphans(now);
            }
            let next = engine.next_due();
            health.settle_gently(&mut engine);
            (jobs, next)
        };
        shared.beat.scheduler.store(now.mono, Ordering::Relaxed);
        for job in jobs {
            tasks.spawn(
                "health-check",
                OnFailure::Log,
                run(health.clone(), job, places.clone(), stopping.clone()),
            );
        }
        let due_in = next.map_or(TURN, |next| {
            Duration::from_millis(u64::try_from(next - shared.clock.now().mono).unwrap_or(0)).min(TURN)
        });
        tokio::select! {
            () = stopping.cancelled() => return,
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(due_in.max(Duration::from_millis(5))) => {}
        }
    }
}

/// Milliseconds the machine has slept since it started: the clock that runs through sleep, less the one that does not.
fn time_asleep() -> i64 {
    use rustix::time::{ClockId, clock_gettime};
    let milliseconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    };
    milliseconds(ClockId::Boottime) - milliseconds(ClockId::Monotonic)
}

/// Runs one check, with its limits.
async fn run(health: Health, job: Job, places: Arc<Semaphore>, stopping: CancellationToken) {
    // The semaphore is never closed; waiting for a place is not latency.
    let place = if job.probe.is_cheap() { None } else { places.acquire_owned().await.ok() };
    let started = Instant::now();
    let limit = Duration::from_millis(u64::try_from(job.timeout_ms).unwrap_or(10_000));
    let check =
        AssertUnwindSafe(checks::run(job.probe.clone(), health.shared.reach.clone(), limit)).catch_unwind();
    let check = tokio::time::timeout(limit, check);
    tokio::pin!(check);
    let result = tokio::select! {
        result = &mut check => result,
        () = stopping.cancelled() => return,
        () = tokio::time::sleep(BEGINNING) => {
            drop(place);
            tokio::select! {
                result = &mut check => result,
                () = stopping.cancelled() => return,
            }
        }
    };
    let sample = match result {
        Ok(Ok(sample)) => sample,
        Ok(Err(_)) => {
            tracing::error!(health.component = %job.id, "the check of {} panicked", job.id);
            Sample::failed(Outcome::Internal, "the check itself failed")
        }
        Err(_) => Sample::failed(Outcome::Timeout, format!("no answer within {limit:?}")),
    };
    let took_ms = started.elapsed().as_secs_f64() * 1000.0;
    let shared = &health.shared;
    let now = shared.clock.now();
    {
        let mut engine = health.lock();
        if !engine.finish(&job.id, sample, took_ms, now) {
            return;
        }
        if let Some(component) = engine.components.get(&job.id) {
            shared.history.note(component, component.last_raw, now);
        }
    }
    shared.finished.send_modify(|count| *count += 1);
    shared.wake.notify_one();
}

/// Writes what must not be lost, in order, and hands notices over once they are stored. While the store cannot be
/// written notices leave all the same: somebody has to hear of a full disk.
async fn write_rows(
    health: Health,
    mut inbox: mpsc::UnboundedReceiver<Vec<Row>>,
    stopping: CancellationToken,
) {
    let shared = &health.shared;
    let mut waiting: Vec<Row> = Vec::new();
    let mut told = 0;
    let mut sets = 0;
    loop {
        let retry = tokio::time::sleep(if waiting.is_empty() { Duration::from_secs(3_600) } else { FLUSH });
        tokio::select! {
            () = stopping.cancelled(), if inbox.is_empty() && waiting.is_empty() => return,
            set = inbox.recv() => {
                let Some(set) = set else { return };
                waiting.extend(set);
                sets += 1;
                while let Ok(more) = inbox.try_recv() {
                    waiting.extend(more);
                    sets += 1;
                }
            }
            () = retry => {}
        }
        let written = shared.history.put(waiting.clone()).await;
        shared.outbox.add(notices(waiting.get(told..).unwrap_or_default()));
        told = waiting.len();
        match written {
            Ok(()) => {
                waiting.clear();
                told = 0;
                shared.stored.send_replace(sets);
            }
            Err(error) if error.code() == Code::Internal => {
                // A row that cannot be stored must not hold up all that follow.
                tracing::error!(
                    error.cause = error.cause_for_log(),
                    "a row of health cannot be stored: {error}"
                );
                for row in std::mem::take(&mut waiting) {
                    let stored = shared.history.put(vec![row.clone()]).await;
                    if stored.is_err_and(|error| error.code() != Code::Internal) {
                        waiting.push(row);
                    }
                }
                told = waiting.len();
                if waiting.is_empty() {
                    shared.stored.send_replace(sets);
                }
            }
            Err(_) if stopping.is_cancelled() => return,
            Err(_) => {}
        }
    }
}

fn notices(rows: &[Row]) -> Vec<OutboxRow> {
    let of = |row: &Row| if let Row::Outbox(row) = row { Some(row.clone()) } else { None };
    rows.iter().filter_map(of).collect()
}

async fn write_history(health: Health, stopping: CancellationToken) {
    let shared = &health.shared;
    let mut pruned = Instant::now();
    loop {
        tokio::select! {
            () = stopping.cancelled() => {
                // What was measured last is worth one more try.
                let _ = shared.history.flush(shared.clock.now()).await;
                return;
            }
            () = tokio::time::sleep(FLUSH) => {}
        }
        let now = shared.clock.now();
        // A failure is said by the store's own check; measurements of that second are lost, transitions are not.
        let _ = shared.history.flush(now).await;
        shared.beat.writer.store(shared.clock.now().mono, Ordering::Relaxed);
        if pruned.elapsed() >= PRUNE {
            pruned = Instant::now();
            if let Err(error) = shared.history.prune(now.wall).await {
                tracing::warn!("old measurements could not be deleted: {error}");
            }
        }
    }
}

/// Keeps what is known of the workflows that may soon have to mend something.
async fn describe_workflows(health: Health, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(FLUSH) => {}
        }
        let wanted = health.lock().workflows_in_demand();
        let Some(runner) = health.shared.runner.borrow().clone().filter(|_| !wanted.is_empty()) else {
            continue;
        };
        for id in wanted {
            let fact = (runner.describe)(id.clone()).await;
            let mut engine = health.lock();
            match fact {
                Some(fact) => engine.workflow_facts.insert(id, fact),
                None => engine.workflow_facts.remove(&id),
            };
        }
    }
}

/// Runs handlers, one at a time. A workflow ends by its own deadline; giving it up here would leave it running.
async fn mend(health: Health, mut inbox: mpsc::UnboundedReceiver<Attempt>, stopping: CancellationToken) {
    loop {
        let attempt = tokio::select! {
            () = stopping.cancelled() => return,
            attempt = inbox.recv() => attempt,
        };
        let Some(attempt) = attempt else { return };
        let started = Instant::now();
        let handled = AssertUnwindSafe(handle(&health, &attempt)).catch_unwind();
        let outcome = tokio::select! {
            () = stopping.cancelled() => return,
            outcome = handled => {
                outcome.unwrap_or_else(|_| HandlerEnd::Failed("the handler panicked".to_owned()))
            }
        };
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = health.shared.clock.now();
        let mut engine = health.lock();
        engine.handler_ended(&attempt.component, &outcome, took, now);
        health.settle(&mut engine);
        drop(engine);
        health.shared.wake.notify_one();
    }
}

async fn handle(health: &Health, attempt: &Attempt) -> HandlerEnd {
    let not_tried = |why: &str| HandlerEnd::NotTried(why.to_owned());
    match (&attempt.handler, &attempt.run) {
        (Handler::Workflow(workflow), Some(run)) => {
            // An attempt that is taken up after a restart comes before the workflows are there.
            let mut runner = health.shared.runner.subscribe();
            let runner = tokio::time::timeout(RUNNER_WAIT, runner.wait_for(Option::is_some)).await;
            let runner = runner.ok().and_then(Result::ok).and_then(|runner| runner.clone());
            let Some(runner) = runner else { return not_tried("nobody can run workflows") };
            let (workflow, run) = (workflow.clone(), run.clone());
            (runner.run)(RecoveryRun { workflow, key: run.key, reason: run.reason, asked_by: run.asked_by })
                .await
        }
        (Handler::Workflow(_), None) => not_tried("no run was prepared"),
        (Handler::CheckpointStore, _) => {
            let limit = Duration::from_millis(u64::try_from(CHECKPOINT_MS).unwrap_or(30_000));
            match tokio::time::timeout(limit, health.shared.store.checkpoint()).await {
                Ok(Ok(words)) => HandlerEnd::Done(words.to_owned()),
                Ok(Err(_)) => HandlerEnd::Failed("the disk does not let the store be mended".to_owned()),
                Err(_) => HandlerEnd::Failed(format!("no end within {limit:?}")),
            }
        }
    }
}

/// A bot that an operator stopped stays stopped: recovery is held until somebody starts it again.
async fn follow_operators(health: Health, stopping: CancellationToken) {
    const HOLDER: &str = "shutdown by an operator";
    let mut events = health.shared.events.subscribe();
    loop {
        let event = tokio::select! {
            () = stopping.cancelled() => return,
            event = events.recv() => event,
        };
        let event = match event {
            Ok(event) => event,
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => continue,
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        if is_shutdown(&event) {
            health.hold("bot", HOLDER);
        } else if event.kind == EventKind::Lifecycle && event.source == "botops" {
            let is_held_by_us = {
                let engine = health.lock();
                let bot = engine.components.get("bot");
                bot.is_some_and(|bot| bot.recovery.held_by.as_deref() == Some(HOLDER))
            };
            // Back after it was away: somebody started it.
            if is_held_by_us && event.data["presence"] == "connected" {
                health.release("bot", HOLDER);
            }
        }
    }
}

fn is_shutdown(event: &Event) -> bool {
    let data = &event.data;
    event.kind == EventKind::Control
        && data["verb"] == "shutdown"
        && data["outcome"] == "done"
        && data["dry_run"] != true
}

async fn watchdog(health: Health, url: reqwest::Url, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(WATCHDOG) => {}
        }
        if !health.makes_progress() {
            tracing::error!("health does not move on: the watchdog is not told");
            continue;
        }
        let asked =
            health.shared.reach.own_http.get(url.clone()).timeout(Duration::from_secs(10)).send().await;
        if asked.is_err() {
            tracing::warn!("the watchdog's address cannot be reached");
        }
    }
}
