//! Measures how late ticks begin, so that a slow-down of the bot by botops would be noticed.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};

use botops_contract::LoopStats;

/// Quantiles are of this many last ticks.
const KEPT_DELAYS: usize = 1_000;

/// The delays of the last ticks.
#[derive(Debug, Default)]
pub(super) struct TickTiming {
    ticks: u64,
    last_tick_at: Option<DateTime<Utc>>,
    delays: VecDeque<Duration>,
    /// Median, 99th percentile and worst, in milliseconds.
    quantiles: (f64, f64, f64),
}

impl TickTiming {
    /// Records a tick that begins at `now`, `delay` after it was due.
    pub(crate) fn record_tick(&mut self, delay: Duration, now: DateTime<Utc>) {
        self.ticks += 1;
        self.last_tick_at = Some(now);
        self.delays.push_back(delay);
        if self.delays.len() > KEPT_DELAYS {
            self.delays.pop_front();
        }
        // Sorting at every tick would itself be a delay at fast ticks.
        if self.ticks < 20 || self.ticks.is_multiple_of(20) {
            let mut sorted: Vec<Duration> = self.delays.iter().copied().collect();
            sorted.sort_unstable();
            let at = |part: usize| {
                sorted
                    .get((sorted.len() - 1) * part / 100)
                    .map_or(0.0, |delay| (delay.as_secs_f64() * 1e6).round() / 1e3)
            };
            self.quantiles = (at(50), at(99), at(100));
        }
    }

    pub(crate) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The numbers in the form of the contract.
    pub(crate) fn stats(&self, interval: Duration, order_rejects_last_hour: u32) -> LoopStats {
        LoopStats {
            ticks: Some(self.ticks),
            tick_delay_p50_ms: Some(self.quantiles.0),
            tick_delay_p99_ms: Some(self.quantiles.1),
            tick_delay_max_ms: Some(self.quantiles.2),
            last_tick_at: self.last_tick_at,
            expected_interval_s: Some(interval.as_secs_f64()),
            order_rejects_last_hour: Some(order_rejects_last_hour),
        }
    }
}
