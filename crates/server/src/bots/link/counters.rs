//! What a link to a bot counted since start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Plain numbers about the link since start, for telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BotLinkStats {
    /// Polls of the state that were started.
    pub polls: u64,
    /// Polls that brought nothing usable.
    pub poll_failures: u64,
    /// Answers that said nothing had changed.
    pub polls_unchanged: u64,
    /// How long answered polls took, all together, in microseconds.
    pub poll_latency_us_sum: u64,
    /// Times a connection to a bot was found again after it was away.
    pub recoveries: u64,
    /// Commands and config verbs sent.
    pub calls: u64,
    /// Events taken over from the bot.
    pub events: u64,
    /// Events of the bot that are known to be lost.
    pub events_lost: u64,
}

/// The counters behind [`BotLinkStats`], whose fields say what each one counts.
#[derive(Debug, Default)]
pub(in crate::bots) struct BotLinkCounters {
    pub polls: AtomicU64,
    pub poll_failures: AtomicU64,
    pub polls_unchanged: AtomicU64,
    pub poll_latency_us: AtomicU64,
    pub recoveries: AtomicU64,
    pub calls: AtomicU64,
    pub events: AtomicU64,
    pub events_lost: AtomicU64,
}

impl BotLinkCounters {
    /// The counts at this moment; each is read by itself.
    pub(crate) fn stats(&self) -> BotLinkStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BotLinkStats {
            polls: read(&self.polls),
            poll_failures: read(&self.poll_failures),
            polls_unchanged: read(&self.polls_unchanged),
            poll_latency_us_sum: read(&self.poll_latency_us),
            recoveries: read(&self.recoveries),
            calls: read(&self.calls),
            events: read(&self.events),
            events_lost: read(&self.events_lost),
        }
    }
}
