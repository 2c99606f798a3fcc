//! The log lines of requests that were refused before they were let in.
//!
//! Whoever has no key can send any number of such requests, and they cost no rate. A line for each would push what
//! matters out of the log files, so only the first of each kind in a minute is written as it is; the others are counted
//! and told together.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::limits::client_network;

/// Lines of one error code that are written in each interval as they are.
const LINES: u64 = 10;

/// Addresses that are counted by themselves; further ones are counted together.
const ADDRESSES: usize = 1_000;

/// Addresses that the line of an interval names.
const NAMED: usize = 3;

/// Refusals since the last line that summed them up.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    counts: Mutex<RefusalCounts>,
}

#[derive(Debug, Default)]
struct RefusalCounts {
    by_code: BTreeMap<&'static str, u64>,
    by_address: HashMap<IpAddr, u64>,
    /// Refusals of addresses beyond [`ADDRESSES`].
    of_others: u64,
}

impl RefusalLog {
    /// Counts a refusal; true when its own line may be written.
    pub(super) fn admit_line(&self, code: &'static str, peer: IpAddr) -> bool {
        let mut counts = self.lock();
        let of_code = counts.by_code.entry(code).or_default();
        *of_code += 1;
        if *of_code <= LINES {
            return true;
        }
        let network = client_network(peer);
        if counts.by_address.len() < ADDRESSES || counts.by_address.contains_key(&network) {
            *counts.by_address.entry(network).or_default() += 1;
        } else {
            counts.of_others += 1;
        }
        false
    }

    /// Writes one line about the refusals that were only counted, if there were any, and begins anew.
    pub(super) fn tell(&self) {
        let counts = std::mem::take(&mut *self.lock());
        let total: u64 = counts.by_code.values().map(|count| count.saturating_sub(LINES)).sum();
        if total == 0 {
            return;
        }
        let told = counts.describe();
        tracing::warn!(
            http.refused = total,
            "{total} refused requests without a right key have no line of their own: {told}"
        );
    }

    fn lock(&self) -> MutexGuard<'_, RefusalCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RefusalCounts {
    /// The codes with their counts, and where most came from.
    fn describe(&self) -> String {
        let codes = self.by_code.iter().filter(|(_, count)| **count > LINES);
        let codes: Vec<_> = codes.map(|(code, count)| format!("{code} {}", count - LINES)).collect();
        let mut addresses: Vec<_> = self.by_address.iter().collect();
        addresses.sort_by_key(|(address, count)| (std::cmp::Reverse(**count), **address));
        let shown: Vec<_> =
            addresses.iter().take(NAMED).map(|(address, count)| format!("{address} {count}")).collect();
        let rest: u64 = addresses.iter().skip(NAMED).map(|(_, count)| **count).sum();
        let rest = match rest + self.of_others {
            0 => String::new(),
            rest => format!(", others {rest}"),
        };
        format!("{}; from {}{rest}", codes.join(", "), shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusals_have_lines_and_the_others_are_summed_up() {
        let log = RefusalLog::default();
        let address = |number: u8| IpAddr::from([10, 0, 0, number]);
        let lines = (0..50).filter(|_| log.admit_line("AUTH_001", address(1))).count();
        assert_eq!(lines, 10);
        assert!(log.admit_line("API_001", address(2)), "another kind has lines of its own");
        for number in 0..5 {
            assert!(!log.admit_line("AUTH_001", address(number)));
        }
        let told = log.lock().describe();
        assert_eq!(told, "AUTH_001 45; from 10.0.0.1 41, 10.0.0.0 1, 10.0.0.2 1, others 2");
        log.tell();
        assert!(log.admit_line("AUTH_001", address(1)), "the next interval has lines again");
    }

    #[test]
    fn addresses_without_number_take_no_memory_without_bound() {
        let log = RefusalLog::default();
        for number in 0..3_000_u32 {
            log.admit_line("AUTH_001", IpAddr::from(number.to_be_bytes()));
        }
        let counts = log.lock();
        assert_eq!(counts.by_address.len(), ADDRESSES);
        assert_eq!(counts.of_others, 3_000 - 10 - 1_000);
    }
}
