//! Keeps the memory small: few heaps, and what a flood needed goes back to the system when it is over.

use std::time::Duration;

use botops_core::tasks::{OnFailure, Tasks};

/// The time between two tries while there is something to give back.
const OFTEN: Duration = Duration::from_secs(10);

/// The longest time between two tries. A try costs half a millisecond at rest, and up to 90 ms on a thread of its own
/// while 10,000 clients come and go.
const SELDOM: Duration = Duration::from_secs(40);

/// A try that gave back less than this was in vain, in bytes.
const WORTH: u64 = 4 * 1024 * 1024;

/// Lets the process have a heap for each core, and two at least; to be called before the first thread begins.
pub(crate) fn use_few_heaps() {
    botops_memory::use_few_heaps(std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2)));
}

/// Asks the allocator until `tasks` stop: how much it holds free cannot be seen from outside.
pub(crate) fn give_back_memory(tasks: &Tasks) {
    let stopping = tasks.stopping();
    tasks.spawn("memory", OnFailure::Log, async move {
        let mut wait = OFTEN;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let Some(before) = resident_bytes() else { return };
            if tokio::task::spawn_blocking(botops_memory::give_back_freed_memory).await.is_err() {
                return;
            }
            let Some(after) = resident_bytes() else { return };
            let given_back = before.saturating_sub(after);
            wait = next_wait(wait, given_back);
            tracing::debug!(given_back, resident = after, "memory was given back");
        }
    });
}

/// The time until the next try, after one that gave back so many bytes.
fn next_wait(wait: Duration, given_back: u64) -> Duration {
    if given_back < WORTH { (wait * 2).min(SELDOM) } else { OFTEN }
}

/// The resident memory of this process; `None` where the system does not say.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    pages.checked_mul(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_in_vain_become_seldom_and_a_good_one_is_repeated_soon() {
        let waits: Vec<u64> = [0, 0, 0, WORTH, 0]
            .iter()
            .scan(OFTEN, |wait, given_back| {
                *wait = next_wait(*wait, *given_back);
                Some(wait.as_secs())
            })
            .collect();
        assert_eq!(waits, [20, 40, 40, 10, 20]);
    }

    #[test]
    fn the_system_says_how_much_it_is() {
        assert!(resident_bytes().is_none_or(|bytes| bytes > 1024 * 1024));
    }
}
