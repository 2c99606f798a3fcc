//! Events of earlier starts that the ledger knows of.
//!
//! Events live in memory, and a kill takes those with it that no reader had yet, or that were not made when their line was
//! written. Lines of the ledger name the numbers of their events, so the next start makes these again, under the epoch and the
//! number that they had or would have had: a reader that comes back with the last one it knows gets each exactly once, over
//! any number of kills.

use std::sync::Arc;

use super::line_event::line_event;
use crate::account::book::BookChange;
use crate::account::ledger::LedgerLine;
use botops_contract::BotEvent;

/// Newest lines of the ledger whose events are made again: as many as the ring of one start keeps.
const KEPT_LINES: u64 = 10_000;

/// The events that the ledger's newest lines tell of, in their order.
#[derive(Debug, Default)]
pub(crate) struct EarlierEvents {
    events: Vec<Arc<BotEvent>>,
    /// The epoch of each start, and how many of the events are of starts before it.
    starts: Vec<(String, usize)>,
}

impl EarlierEvents {
    /// Takes a line of a ledger that has this many, with what it changed.
    pub(crate) fn add_line(&mut self, line: &LedgerLine, change: &BookChange, lines: usize) {
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        if line.n.saturating_add(KEPT_LINES) <= lines {
            return;
        }
        if self.starts.last().is_none_or(|(epoch, _)| *epoch != line.boot_epoch) {
            self.starts.push((line.boot_epoch.clone(), self.events.len()));
        }
        let (Some(seq), Some(event)) = (line.event, line_event(line, change)) else { return };
        self.events.push(Arc::new(BotEvent {
            seq,
            boot_epoch: line.boot_epoch.clone(),
            at: Some(line.at),
            kind: event.kind,
            kind_raw: None,
            severity: event.severity,
            severity_raw: None,
            message: event.message,
            error: event.error,
            data: event.data,
        }));
    }

    /// Those after the event that a reader knows, of its start and of all later ones; none when that start is not known.
    pub(crate) fn after(&self, epoch: &str, seq: u64) -> Vec<Arc<BotEvent>> {
        let Some((_, first)) = self.starts.iter().find(|(start, _)| start == epoch) else {
            return Vec::new();
        };
        let later = self.events.iter().skip(*first);
        later.filter(|event| event.boot_epoch != epoch || event.seq > seq).cloned().collect()
    }
}
