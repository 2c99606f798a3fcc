//! The trading loop's priority among all threads of the machine.
//!
//! A tick that waits for a processor trades late, and other processes (an operations API under load, a backup, a build)
//! may keep every processor busy. So the loop's thread gets the lowest real-time priority, which is scheduled before
//! all ordinary threads; the bot's other threads stay ordinary. The loop sleeps between ticks; should it ever not, the
//! kernel's real-time throttling leaves other threads their share. Where the system does not allow the priority
//! (`RLIMIT_RTPRIO`; `LimitRTPRIO=` in a unit), the loop runs as an ordinary thread and logs that.

use rustix::process::{Resource, geteuid, getrlimit};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// Gives the calling thread the lowest real-time priority, where that is allowed.
pub(crate) fn raise_priority() {
    // Not tried where it is not allowed: a unit's system call filter may kill a process that tries.
    let is_allowed = geteuid().is_root() || getrlimit(Resource::Rtprio).current != Some(0);
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let asked = is_allowed
        .then(|| set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).ok())
        .flatten();
    if asked.is_some() {
        tracing::info!("the trading loop has real-time priority");
    } else {
        tracing::info!(
            "the trading loop has no real-time priority: ticks may come late while the machine is busy; \
             LimitRTPRIO=1 in its unit allows it"
        );
    }
}
