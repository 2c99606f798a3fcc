//! The trading loop's priority among all threads of the machine.
//!
//! A tick that waits for a processor is a tick that trades late, and whoever works beside the bot (an operations API
//! under load, a backup, a build) may keep every processor busy. So the loop asks for the lowest real-time priority,
//! which goes before all ordinary work, for itself alone: the bot's socket and its records stay ordinary. It sleeps
//! between ticks, and the system takes the priority's privilege away for a while from a loop that never does.
//! Where the system does not allow it (`RLIMIT_RTPRIO`; `LimitRTPRIO=` in a unit), the loop runs as ordinary work and
//! logs that.

use rustix::process::{Resource, geteuid, getrlimit};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// Lets the calling thread run before all ordinary work, where that is allowed.
pub(crate) fn raise_priority() {
    // Asked for only where it can be had: a unit's filter of system calls may end a process that asks in vain.
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
