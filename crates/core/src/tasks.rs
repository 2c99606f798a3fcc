//! Background work: every task of the runtime is spawned here.
//!
//! Every task has a name, declares what its failure means, is told to end, and is waited for. A panic counts as a
//! failure and is logged once with the task's name. Work that writes cannot be detached: it would be lost at shutdown.
//! Only [`run_aside`] is not waited for, for a read that may never return.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs `read` on a thread of its own, which nobody waits for at the stop: for calls into the system that may never
/// return, such as opening a file of a network mount that is gone.
///
/// Not on the runtime's threads for blocking work: those are shared with every read of the store, and a thread that
/// never returns would be one less for them. The caller bounds how many run at a time. The result is an error when
/// `read` panicked.
///
/// # Errors
/// When the system gives no further thread.
pub fn run_aside<T, F>(name: &str, read: F) -> std::io::Result<oneshot::Receiver<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (result, receiver) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // The receiver is gone when the caller has given up waiting.
        let _ = result.send(read());
    })?;
    Ok(receiver)
}

/// What it means when a task panics or ends in error before the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The process cannot work without the task: stop it in order.
    Stop,
    /// The rest works without the task: log the failure and continue.
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
    /// A handle without tasks.
    pub fn new() -> Self {
        Self { tracker: TaskTracker::new(), stopping: CancellationToken::new() }
    }

    /// Cancelled when the process is to stop; every loop selects on it.
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

    /// Takes the work boxed, so that tokio's generic code for a task is compiled once and not for every kind of work.
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

    /// Runs `work` on a thread of its own, for loops that must not wait for other tasks or that write to disk.
    ///
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

    /// Runs the work that `start` makes, and again after a panic: after one second at first, later after up to a
    /// minute.
    ///
    /// For loops that must survive a panic in one iteration.
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
