//! The closed trades, numbered over restarts. A trade is told once it is on disk.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use botops_contract::{Trade, TradePage};
use tokio_util::sync::CancellationToken;

use super::json_lines::JsonLinesFile;
use super::source::TradePageRange;

/// How soon the end of the process is noticed, and a write that failed is tried again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Handle to the trades that are on disk; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct TradeJournal {
    trades: Arc<Mutex<Vec<Arc<Trade>>>>,
}

impl TradeJournal {
    /// Opens the journal, with the trades of earlier starts.
    ///
    /// # Errors
    /// One sentence: the file cannot be used.
    pub(crate) fn open(path: &Path) -> Result<(Self, JsonLinesFile), String> {
        let (file, trades) = JsonLinesFile::open::<Arc<Trade>>(path)?;
        let is_in_order = trades.iter().zip(1..).all(|(trade, seq)| trade.seq == seq);
        if !is_in_order {
            return Err(format!("{} has a gap in its numbers: move it away to begin anew", path.display()));
        }
        Ok((Self { trades: Arc::new(Mutex::new(trades)) }, file))
    }

    /// A page of the trades.
    pub(crate) fn page(&self, range: &TradePageRange) -> TradePage {
        range.page_of(&self.trades.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes what comes until `closing` is cancelled and nothing waits any more. Runs on a thread of its own.
    pub(crate) fn run_writer(
        &self,
        mut file: JsonLinesFile,
        queue: &Receiver<Trade>,
        closing: &CancellationToken,
    ) {
        loop {
            match queue.recv_timeout(LOOK_EVERY) {
                Ok(trade) => self.write(&mut file, trade, closing),
                Err(RecvTimeoutError::Timeout) if !closing.is_cancelled() => {}
                Err(_) => return,
            }
        }
    }

    /// Writes one trade; a disk that is full is waited for.
    fn write(&self, file: &mut JsonLinesFile, trade: Trade, closing: &CancellationToken) {
        let newest =
            self.trades.lock().unwrap_or_else(PoisonError::into_inner).last().map_or(0, |last| last.seq);
        let trade = Trade { seq: newest + 1, ..trade };
        let mut is_told = false;
        while let Err(error) = file.append(&trade) {
            if !std::mem::replace(&mut is_told, true) {
                tracing::error!("a closed trade cannot be written, which is tried again: {error}");
            }
            if closing.is_cancelled() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.trades.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(trade));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_over_a_restart_and_what_waited_is_written_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trades.jsonl");
        let all = TradePageRange { after: 0, from: None, to: None, limit: 10 };
        for life in 1..=2_u64 {
            let (journal, file) = TradeJournal::open(&path).unwrap();
            let (sender, queue) = std::sync::mpsc::sync_channel(10);
            for _ in 0..2 {
                let trade = r#"{"seq": 9, "symbol": "SPY", "closed_at": "2026-03-02T15:00:00Z"}"#;
                sender.send(serde_json::from_str(trade).unwrap()).unwrap();
            }
            let closing = CancellationToken::new();
            closing.cancel();
            journal.run_writer(file, &queue, &closing);
            let numbers: Vec<u64> = journal.page(&all).items.iter().map(|trade| trade.seq).collect();
            assert_eq!(numbers, (1..=2 * life).collect::<Vec<_>>());
        }
        let (journal, _) = TradeJournal::open(&path).unwrap();
        let page = journal.page(&TradePageRange { after: 1, limit: 2, ..all });
        assert_eq!((page.items.len(), page.next), (2, Some(3)));
    }
}
