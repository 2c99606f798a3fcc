//! Whether the loops of health move on.

use std::sync::atomic::{AtomicI64, Ordering};

use super::limit_rules::LimitRuleView;

/// Milliseconds without a round of the scheduler, which runs twice a second, after which it counts as stuck.
const SCHEDULER_STUCK: i64 = 10_000;

/// Milliseconds without a write after which the writer counts as stuck; it may wait for a locked store.
const WRITER_STUCK: i64 = 60_000;

/// The limits of this file.
pub(crate) fn progress_rules() -> Vec<LimitRuleView> {
    let decides = "monitoring makes no progress, and no watchdog is told";
    vec![
        LimitRuleView::fixed_ms("scheduler_stuck", SCHEDULER_STUCK, decides),
        LimitRuleView::fixed_ms("writer_stuck", WRITER_STUCK, decides),
    ]
}

/// When scheduler and writer last made progress, in monotonic milliseconds.
#[derive(Debug)]
pub(crate) struct LoopProgress {
    pub(crate) scheduler: AtomicI64,
    pub(crate) writer: AtomicI64,
}

impl LoopProgress {
    pub(crate) fn begun_at(mono: i64) -> Self {
        Self { scheduler: AtomicI64::new(mono), writer: AtomicI64::new(mono) }
    }

    /// Whether both have made progress lately.
    pub(crate) fn moves_on(&self, mono: i64) -> bool {
        let since = |mark: &AtomicI64| mono - mark.load(Ordering::Relaxed);
        since(&self.scheduler) < SCHEDULER_STUCK && since(&self.writer) < WRITER_STUCK
    }
}
