//! Kill points: places where a test lets the process die as if the power of its machine had a say.
//!
//! A debug build that is started with `KILL_AT=point:nth` sends itself SIGKILL when it passes the named point for the
//! nth time; the crash tests sweep over all points with real processes. In a release build [`point`] is nothing.
//! Deliberately absent: other faults. A process that is killed is the hardest of them, and the only one used here.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(debug_assertions)]
static ARMED: OnceLock<(String, AtomicU64)> = OnceLock::new();

/// Chooses the point to die at: its name, or `name:nth`. A release build ignores it.
#[cfg(debug_assertions)]
pub fn arm(spec: &str) {
    let (name, nth) = spec.rsplit_once(':').unwrap_or((spec, "1"));
    let nth = nth.parse().unwrap_or(1);
    // Chosen once, at the start; a second choice is not looked at.
    let _ = ARMED.set((name.to_owned(), AtomicU64::new(nth)));
    tracing::warn!("this process kills itself at `{name}`, time {nth}: a test build");
}

/// Chooses the point to die at. A release build ignores it.
#[cfg(not(debug_assertions))]
pub fn arm(_: &str) {}

/// A place to die at, by name.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    let Some((armed, left)) = ARMED.get() else { return };
    if armed == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal comes at once; nothing may happen until then.
        loop {
            std::thread::park();
        }
    }
}

/// A place to die at: nothing in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &str) {}
