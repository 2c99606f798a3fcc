//! The threads on which checks make calls that may never return: opening a file, asking a file system for its size,
//! resolving a name.
//!
//! A path on a network mount that is gone, or a pipe where a file was, blocks the thread that opens it for ever, and
//! nothing ends such a call. Such threads are counted: each check has one call at a time, and all checks together have
//! [`CHECK_THREADS`], apart from botops' own. A call that still hangs is the finding of its check, with the time it began.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use botops_core::tasks::run_aside;
use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::sample::{CheckOutcome, CheckSample};
use crate::health::limit_rules::LimitRuleView;

/// Calls of checks that may run, or hang, at the same time.
const CHECK_THREADS: usize = 16;

/// Calls of the checks that botops always makes, one each of its store and of the machine: they must not wait for a
/// thread until a checker that an operator added gives one back.
const OWN_THREADS: usize = 2;

/// Names that may be resolved at the same time. The resolver gives up by itself, so these threads come back.
const RESOLVER_THREADS: usize = 8;

/// How long a thread is waited for. Calls that work take milliseconds, so all are taken by calls that hang.
const FREE_THREAD: Duration = Duration::from_secs(2);

/// The limits of this file.
pub(crate) fn check_thread_rules() -> Vec<LimitRuleView> {
    vec![
        LimitRuleView::fixed(
            "check_threads",
            CHECK_THREADS,
            "threads",
            "further checks of files are UNKNOWN while so many calls hang",
        ),
        LimitRuleView::fixed(
            "own_check_threads",
            OWN_THREADS,
            "threads",
            "the checks of the store and of the machine have one each",
        ),
        LimitRuleView::fixed(
            "resolver_threads",
            RESOLVER_THREADS,
            "threads",
            "further names are not resolved while so many are being resolved",
        ),
        LimitRuleView::fixed(
            "check_thread_wait",
            FREE_THREAD.as_secs(),
            "s",
            "how long a check waits for a thread before it is UNKNOWN",
        ),
    ]
}

/// The counted threads of all checks; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct CheckThreads {
    /// When each call under way began, by its name.
    calls: Arc<Mutex<BTreeMap<String, DateTime<Utc>>>>,
    free: Arc<Semaphore>,
}

impl CheckThreads {
    /// Threads for calls of added checkers, which may hang for ever.
    pub(crate) fn for_files() -> Self {
        Self::with(CHECK_THREADS)
    }

    /// Threads for the checks that botops always makes.
    pub(crate) fn for_own_checks() -> Self {
        Self::with(OWN_THREADS)
    }

    /// Threads for resolving names.
    pub(crate) fn for_names() -> Self {
        Self::with(RESOLVER_THREADS)
    }

    fn with(threads: usize) -> Self {
        Self { calls: Arc::default(), free: Arc::new(Semaphore::new(threads)) }
    }

    /// Makes a call that may never return, unless the one before it of the same name is still under way.
    ///
    /// When the caller stops waiting, the call goes on in its thread and keeps the name.
    ///
    /// # Errors
    /// The sample of the check, when the call before it hangs, when no thread is free, or when the call panicked.
    pub(crate) async fn call<T, F>(&self, name: &str, call: F) -> Result<T, CheckSample>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.refuse_second(name)?;
        let Ok(Ok(permit)) = tokio::time::timeout(FREE_THREAD, self.free.clone().acquire_owned()).await
        else {
            return Err(self.no_thread());
        };
        // Checked once more with the thread in hand: another call of this name may have got one meanwhile.
        let running = self.begin(name, permit)?;
        let result = run_aside("check", move || {
            let result = call();
            drop(running);
            result
        });
        let Ok(result) = result else {
            return Err(CheckSample::failed(CheckOutcome::Internal, "the system gives no further thread"));
        };
        result.await.map_err(|_| CheckSample::failed(CheckOutcome::Internal, "the check broke off"))
    }

    /// Runs `call` when a thread is free, however often it runs already.
    ///
    /// # Errors
    /// When no thread became free, or the call panicked.
    pub(crate) async fn call_shared<T, F>(&self, call: F) -> Result<T, &'static str>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let permit = tokio::time::timeout(FREE_THREAD, self.free.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err("all threads of this kind are taken by calls that hang");
        };
        let result = run_aside("check", move || {
            let result = call();
            drop(permit);
            result
        });
        let result = result.map_err(|_| "the system gives no further thread")?;
        result.await.map_err(|_| "the call broke off")
    }

    fn refuse_second(&self, name: &str) -> Result<(), CheckSample> {
        match self.lock().get(name) {
            Some(since) => Err(still_hangs(*since)),
            None => Ok(()),
        }
    }

    fn begin(&self, name: &str, permit: OwnedSemaphorePermit) -> Result<CallUnderWay, CheckSample> {
        let mut calls = self.lock();
        if let Some(since) = calls.get(name) {
            return Err(still_hangs(*since));
        }
        calls.insert(name.to_owned(), Utc::now());
        Ok(CallUnderWay { name: name.to_owned(), calls: self.calls.clone(), _permit: permit })
    }

    fn no_thread(&self) -> CheckSample {
        let calls = self.lock();
        let oldest = calls.iter().min_by_key(|(_, since)| **since);
        let oldest = oldest.map_or_else(String::new, |(name, since)| {
            format!("; the longest is {name}, since {}", moment(*since))
        });
        let hanging = calls.len();
        CheckSample::failed(
            CheckOutcome::Internal,
            format!("no thread is free for this check: {hanging} calls of checks hang{oldest}"),
        )
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, DateTime<Utc>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way; dropping it, also by a panic, frees its name and its thread.
struct CallUnderWay {
    name: String,
    calls: Arc<Mutex<BTreeMap<String, DateTime<Utc>>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

fn still_hangs(since: DateTime<Utc>) -> CheckSample {
    let since = moment(since);
    let note = format!(
        "its check of {since} still hangs in the system: a mount that is gone, a pipe where a file was? It is not \
         asked again before that call returns"
    );
    CheckSample::failed(CheckOutcome::Timeout, note)
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A call that hangs until the sender is dropped.
    fn hanging() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (end, hang) = mpsc::channel::<()>();
        (end, move || {
            let _ = hang.recv();
        })
    }

    async fn begun(threads: &CheckThreads, calls: usize) {
        while threads.lock().len() < calls {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_call_that_hangs_is_not_made_a_second_time_and_is_told_since_when() {
        let threads = CheckThreads::for_files();
        let (end, hang) = hanging();
        let (first, this) = (threads.clone(), threads.clone());
        let waiting =
            tokio::time::timeout(Duration::from_millis(50), async move { first.call("a", hang).await });
        assert!(waiting.await.is_err(), "it hangs");
        let second = this.call("a", || ()).await.unwrap_err();
        assert_eq!(second.outcome, CheckOutcome::Timeout);
        assert!(second.note.unwrap().contains("still hangs"));
        assert!(this.call("b", || 3).await.is_ok(), "another check is not held up");
        assert_eq!(threads.free.available_permits(), CHECK_THREADS - 1);
        drop(end);
        while threads.call("a", || ()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(threads.free.available_permits(), CHECK_THREADS);
    }

    #[tokio::test]
    async fn threads_are_counted_and_the_longest_call_is_named() {
        let threads = CheckThreads::for_files();
        let mut ends = Vec::new();
        for number in 0..CHECK_THREADS {
            let (end, hang) = hanging();
            ends.push(end);
            let this = threads.clone();
            tokio::spawn(async move { this.call(&format!("disk {number}"), hang).await });
            begun(&threads, number + 1).await;
        }
        let refused = threads.call("one more", || ()).await.unwrap_err();
        let note = refused.note.unwrap();
        assert!(note.contains("16 calls of checks hang; the longest is disk 0, since 20"), "{note}");
        assert_eq!(refused.outcome, CheckOutcome::Internal, "it says nothing about that target");
    }

    #[tokio::test]
    async fn a_call_that_panics_gives_its_thread_back() {
        let threads = CheckThreads::for_files();
        let broken = threads.call("a", || panic!("on purpose")).await;
        assert!(broken.is_err());
        assert_eq!(threads.free.available_permits(), CHECK_THREADS);
        assert!(threads.call("a", || ()).await.is_ok());
    }
}
