//! Background work: the only place that spawns.
//!
//! Every task has a name, says what its failure means, hears of the stop, and is waited for. A panic is a failure
//! like any other: it is logged once with the task's name. Deliberately absent: detached work. What nobody waits
//! for is lost at shutdown.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What it means when a task panics or ends in error before the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The process cannot do its work without it: stop in order.
    Stop,
    /// Its loss is local: log it and go on.
    Log,
}

/// Handle to all background work; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No task yet.
    pub fn new() -> Self {
        Self { tracker: TaskTracker::new(), stopping: CancellationToken::new() }
    }

    /// Resolves when the process stops; every loop selects on it.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Tells every task to end.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Runs `work` until it ends. It must end by itself soon after [`Tasks::stopping`] resolves.
    pub fn spawn<F>(&self, name: &'static str, on_failure: OnFailure, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_boxed(name, on_failure, Box::pin(work));
    }

    /// Boxed, so that the run-time's machinery for a task is built once and not for each of a hundred kinds of work.
    fn spawn_boxed(&self, name: &'static str, on_failure: OnFailure, work: BoxFuture<'static, ()>) {
        let stopping = self.stopping.clone();
        self.tracker.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
                return;
            }
            tracing::error!(task.name = name, "task {name} panicked");
            if on_failure == OnFailure::Stop {
                stopping.cancel();
            }
        });
    }

    /// Runs `work` on a thread of its own, for loops that must not wait behind other tasks or that write to disk.
    /// It must end by itself soon after [`Tasks::stopping`] resolves.
    pub fn spawn_thread<F>(&self, name: &'static str, on_failure: OnFailure, work: F)
    where
        F: FnOnce() + Send + 'static,
    {
        let stopping = self.stopping.clone();
        self.tracker.spawn_blocking(move || {
            if std::panic::catch_unwind(AssertUnwindSafe(work)).is_ok() {
                return;
            }
            tracing::error!(task.name = name, "task {name} panicked");
            if on_failure == OnFailure::Stop {
                stopping.cancel();
            }
        });
    }

    /// Runs what `start` makes, and again after a panic: the second try after a second, later ones after up to a
    /// minute. For loops that must not die of one bad turn.
    pub fn supervise<F, W>(&self, name: &'static str, mut start: F)
    where
        F: FnMut() -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        self.supervise_boxed(name, Box::new(move || Box::pin(start())));
    }

    fn supervise_boxed(
        &self,
        name: &'static str,
        mut start: Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>,
    ) {
        let stopping = self.stopping.clone();
        self.tracker.spawn(async move {
            let mut wait = Duration::from_secs(1);
            loop {
                let finished = AssertUnwindSafe(start()).catch_unwind().await.is_ok();
                if finished || stopping.is_cancelled() {
                    return;
                }
                tracing::error!(task.name = name, "task {name} panicked; it starts again in {wait:?}");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stopping.cancelled() => return,
                }
                wait = (wait * 2).min(Duration::from_secs(60));
            }
        });
    }

    /// Tells every task to end and waits for them, at most `limit`. False when some did not end.
    pub async fn finish(&self, limit: Duration) -> bool {
        self.stop();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}
