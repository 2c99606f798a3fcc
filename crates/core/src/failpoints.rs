//! Failpoints: places where a test can kill the process, make a write fail as on a full disk, or make a thread hang.
//!
//! A debug build that is started with `KILL_AT=point:nth` sends itself SIGKILL when it passes the named point for the
//! nth time; the crash tests do so at every point with real processes. With `FAIL_IN=folder`, a write named `name`
//! fails while that folder holds a file `name` (with EIO when the file contains `EIO`, else with ENOSPC), and a thread
//! waits at [`stall`] for as long. In a release build all of these do nothing.

use std::io;
#[cfg(debug_assertions)]
use std::path::PathBuf;
#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(debug_assertions)]
static ARMED: OnceLock<(String, AtomicU64)> = OnceLock::new();

/// Chooses the point at which the process kills itself: `name`, or `name:nth`. A release build ignores it.
#[cfg(debug_assertions)]
pub fn arm(spec: &str) {
    let (name, nth) = spec.rsplit_once(':').unwrap_or((spec, "1"));
    let nth = nth.parse().unwrap_or(1);
    // Chosen once, at the start; a second choice is ignored.
    let _ = ARMED.set((name.to_owned(), AtomicU64::new(nth)));
    tracing::warn!("this process kills itself at `{name}`, time {nth}: a test build");
}

/// Chooses the point at which the process kills itself. A release build ignores it.
#[cfg(not(debug_assertions))]
pub fn arm(_: &str) {}

/// Takes both choices from the environment, for a program whose options are all on its command line. A release build
/// ignores them.
#[cfg(debug_assertions)]
pub fn read_environment() {
    if let Ok(point) = std::env::var("KILL_AT") {
        arm(&point);
    }
    if let Ok(folder) = std::env::var("FAIL_IN") {
        fail_in(&folder);
    }
}

/// Takes both choices from the environment. A release build ignores them.
#[cfg(not(debug_assertions))]
pub fn read_environment() {}

/// Kills the process here when [`arm`] chose this point.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    let Some((armed, left)) = ARMED.get() else { return };
    if armed == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal takes effect in a moment; nothing may happen until then.
        loop {
            std::thread::park();
        }
    }
}

/// Kills the process here when a test chose this point; does nothing in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &str) {}

#[cfg(debug_assertions)]
static FAULTS: OnceLock<PathBuf> = OnceLock::new();

/// Chooses the folder that says which writes fail. A release build ignores it.
#[cfg(debug_assertions)]
pub fn fail_in(folder: &str) {
    let _ = FAULTS.set(PathBuf::from(folder));
    tracing::warn!("writes fail while {folder} holds a file of their name: a test build");
}

/// Chooses the folder that says which writes fail. A release build ignores it.
#[cfg(not(debug_assertions))]
pub fn fail_in(_: &str) {}

/// Fails when a test wants this write to fail.
///
/// # Errors
/// ENOSPC, or EIO when the test asks for it.
#[cfg(debug_assertions)]
pub fn write(name: &str) -> io::Result<()> {
    let Some(folder) = FAULTS.get() else { return Ok(()) };
    match std::fs::read_to_string(folder.join(name)) {
        Ok(text) if text.trim() == "EIO" => Err(rustix::io::Errno::IO.into()),
        Ok(_) => Err(rustix::io::Errno::NOSPC.into()),
        Err(_) => Ok(()),
    }
}

/// Fails when a test wants this write to fail: never in a release build.
///
/// # Errors
/// None.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[expect(clippy::unnecessary_wraps, reason = "a debug build may fail here")]
pub fn write(_: &str) -> io::Result<()> {
    Ok(())
}

/// Waits while a test wants this thread to hang, as behind a disk, a lock or a library call that does not return.
#[cfg(debug_assertions)]
pub fn stall(name: &str) {
    let Some(folder) = FAULTS.get() else { return };
    let stalled = folder.join(name);
    if stalled.exists() {
        // Tells the test that the thread hangs from now on.
        let _ = std::fs::write(folder.join(format!("{name}.stands")), "");
    }
    while stalled.exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Waits while a test wants this thread to hang; never in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn stall(_: &str) {}
