//! Keeps the memory of the process small: few heaps, and freed memory goes back to the system.
//!
//! The allocator of glibc keeps what was freed for the next time: of the memory that 12,000 connections took for a minute,
//! nothing comes back by itself, because something small that lives on lies at the end of every heap. A limit of memory of
//! the unit or the container then counts for ever what was needed once.

/// Asks the allocator to give the pages that it holds free back to the system; returns whether any were.
///
/// It walks through every heap and locks each one for that time, some milliseconds for 100 MB: to be called on a thread
/// that nobody waits for, when much was freed. Where the allocator is not glibc's it does nothing and returns `false`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no safe crate has this call")]
pub fn give_back_freed_memory() -> bool {
    // SAFETY: `malloc_trim` takes no pointer, has no precondition and may run beside every other call of the allocator
    // (MT-Safe in malloc_trim(3)).
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Does nothing: only the allocator of glibc has a call for it.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back_freed_memory() -> bool {
    false
}

/// Limits the allocator to so many heaps; to be called before the first thread begins.
///
/// The allocator of glibc gives nearly each thread a heap of its own, up to eight for each core, and what a thread freed in
/// one is no use to another: after an hour of changes, floods and restarts of the bot 27 MB were in use and 66 resident.
/// Where the allocator is not glibc's it does nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no safe crate has this call")]
pub fn use_few_heaps(most: usize) {
    let most = libc::c_int::try_from(most).unwrap_or(libc::c_int::MAX);
    // SAFETY: `mallopt` takes two numbers and no pointer. It is not safe beside other calls of the allocator, which the
    // caller rules out; where it refuses the value, nothing changes.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, most) };
}

/// Does nothing: only the allocator of glibc has a call for it.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn use_few_heaps(_most: usize) {}

#[cfg(test)]
mod tests {
    #[test]
    fn it_may_be_called_at_any_time() {
        let freed: Vec<Vec<u8>> = (0..10_000).map(|_| vec![1; 1_000]).collect();
        drop(freed);
        super::give_back_freed_memory();
        super::give_back_freed_memory();
    }
}
