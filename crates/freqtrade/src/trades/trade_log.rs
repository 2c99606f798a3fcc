//! The closed trades that were seen, on disk, in the order in which they got their numbers.
//!
//! A trade is appended and synced before anybody is told of it, so its number never changes and never means another
//! trade, whatever freqtrade does with its own ids.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use botops_bot_server::TradePageRange;
use botops_contract::{Order, Trade, TradePage};
use chrono::{DateTime, Utc};

use super::closed_trade::ClosedTrade;
use super::tally::AccountTally;

/// Closed trades whose orders are kept in memory, for the report and the events.
const WITH_ORDERS: usize = 50;

/// Handle to the log; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct ClosedTradeLog {
    contents: Arc<Mutex<LoggedTrades>>,
}

#[derive(Debug)]
struct LoggedTrades {
    file: File,
    path: PathBuf,
    keys: HashSet<String>,
    trades: Vec<Arc<Trade>>,
    /// Orders of the newest trades, by their `seq`, oldest first.
    orders: Vec<(u64, Vec<Order>)>,
    /// The account of which every trade that freqtrade has was read in this run.
    complete_of: Option<String>,
    /// Trades that could not be read were told.
    told_unreadable: bool,
}

impl ClosedTradeLog {
    /// Opens the log; a last line that a power loss cut is dropped.
    ///
    /// # Errors
    /// One sentence: the file cannot be read or written, or a line in its middle is damaged.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let mut file =
            OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path).map_err(failed)?;
        let text = std::fs::read(path).map_err(failed)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(failed)?;
            file.flush().map_err(failed)?;
        }
        let mut log = LoggedTrades {
            file,
            path: path.to_owned(),
            keys: HashSet::new(),
            trades: Vec::new(),
            orders: Vec::new(),
            complete_of: None,
            told_unreadable: false,
        };
        let lines = text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
        for (index, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
            let read: ClosedTrade = serde_json::from_slice(line)
                .map_err(|_| format!("{}: line {} is damaged", path.display(), index + 1))?;
            log.take_in(read);
        }
        Ok(Self { contents: Arc::new(Mutex::new(log)) })
    }

    /// Whether this trade has a number already.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.lock().keys.contains(key)
    }

    /// Numbers the trades that are new, in the order in which they were closed, and writes them. How many were new.
    ///
    /// # Errors
    /// The error of the file system; nothing was numbered then.
    pub(crate) fn append(&self, mut closed: Vec<ClosedTrade>) -> io::Result<usize> {
        let mut log = self.lock();
        closed.retain(|one| !log.keys.contains(&one.key));
        closed.sort_by(|a, b| (a.trade.closed_at, &a.key).cmp(&(b.trade.closed_at, &b.key)));
        closed.dedup_by(|a, b| a.key == b.key);
        if closed.is_empty() {
            return Ok(0);
        }
        let first = log.trades.last().map_or(1, |trade| trade.seq + 1);
        let mut lines = Vec::new();
        for (seq, one) in (first..).zip(&mut closed) {
            one.trade.seq = seq;
            serde_json::to_writer(&mut lines, one)?;
            lines.push(b'\n');
        }
        let length = log.file.metadata()?.len();
        if let Err(error) = log.file.write_all(&lines).and_then(|()| log.file.sync_data()) {
            // A part of a line would damage the lines that follow.
            let _ = log.file.set_len(length);
            return Err(io::Error::new(error.kind(), format!("{}: {error}", log.path.display())));
        }
        let count = closed.len();
        closed.into_iter().for_each(|one| log.take_in(one));
        Ok(count)
    }

    /// Says that all that freqtrade has of this account was read.
    pub(crate) fn set_complete(&self, account_id: &str) {
        self.lock().complete_of = Some(account_id.to_owned());
    }

    /// Whether all that freqtrade has of this account was read since the start of the adapter, and no other account's
    /// since; sums are not known before.
    pub(crate) fn is_complete(&self, account_id: &str) -> bool {
        self.lock().complete_of.as_deref() == Some(account_id)
    }

    /// Whether it is the first time that trades which cannot be read are told.
    pub(crate) fn note_unreadable(&self) -> bool {
        !std::mem::replace(&mut self.lock().told_unreadable, true)
    }

    /// A page of the trades, as `GET trades` gives it.
    pub(crate) fn page(&self, range: &TradePageRange) -> TradePage {
        range.page_of(&self.lock().trades)
    }

    /// The number of the newest trade; 0 when there is none.
    pub(crate) fn newest_seq(&self) -> u64 {
        self.lock().trades.last().map_or(0, |trade| trade.seq)
    }

    /// Trades above `after`, each with its orders where they are still known.
    pub(crate) fn trades_after(&self, after: u64) -> Vec<(Arc<Trade>, Vec<Order>)> {
        let log = self.lock();
        let first = log.trades.partition_point(|trade| trade.seq <= after);
        let orders =
            |seq: u64| log.orders.iter().find(|(of, _)| *of == seq).map(|(_, orders)| orders.clone());
        let with_orders = |trade: &Arc<Trade>| (trade.clone(), orders(trade.seq).unwrap_or_default());
        log.trades.iter().skip(first).map(with_orders).collect()
    }

    /// Orders of the newest closed trades of this account, in no particular order.
    pub(crate) fn recent_orders(&self, account_id: &str) -> Vec<Order> {
        let log = self.lock();
        let of_account = log.orders.iter().filter(|(seq, _)| log.is_of(*seq, account_id));
        of_account.flat_map(|(_, orders)| orders.clone()).collect()
    }

    /// What the trades of an account add up to.
    pub(crate) fn tally(&self, account_id: &str, day_began: DateTime<Utc>) -> AccountTally {
        let log = self.lock();
        let of_account = log
            .trades
            .iter()
            .filter(|trade| trade.account_id.as_deref() == Some(account_id))
            .map(|trade| &**trade);
        AccountTally::of(of_account, day_began)
    }

    fn lock(&self) -> MutexGuard<'_, LoggedTrades> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoggedTrades {
    fn is_of(&self, seq: u64, account_id: &str) -> bool {
        let index = self.trades.partition_point(|trade| trade.seq < seq);
        self.trades.get(index).is_some_and(|trade| trade.account_id.as_deref() == Some(account_id))
    }

    fn take_in(&mut self, closed: ClosedTrade) {
        self.keys.insert(closed.key);
        if !closed.orders.is_empty() {
            self.orders.push((closed.trade.seq, closed.orders));
        }
        if self.orders.len() > WITH_ORDERS {
            self.orders.remove(0);
        }
        self.trades.push(Arc::new(closed.trade));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range(after: u64, limit: usize) -> TradePageRange {
        TradePageRange { after, from: None, to: None, limit }
    }

    fn closed(key: &str, seconds: i64) -> ClosedTrade {
        let at = DateTime::from_timestamp(seconds, 0).unwrap();
        let trade = json!({"seq": 0, "symbol": "A/B", "closed_at": at, "account_id": "x", "net_pl": "1", "outcome": "win"});
        ClosedTrade {
            key: key.to_owned(),
            trade: serde_json::from_str(&trade.to_string()).unwrap(),
            orders: vec![],
        }
    }

    fn seqs(log: &ClosedTradeLog) -> Vec<u64> {
        log.page(&range(0, 99)).items.iter().map(|trade| trade.seq).collect()
    }

    #[test]
    fn numbers_follow_the_order_of_closing_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trades.jsonl");
        let log = ClosedTradeLog::open(&path).unwrap();
        assert_eq!(log.append(vec![closed("b", 20), closed("a", 10)]).unwrap(), 2);
        assert_eq!(log.append(vec![closed("a", 10), closed("c", 5)]).unwrap(), 1, "one is known");
        let again = ClosedTradeLog::open(&path).unwrap();
        assert_eq!(seqs(&again), [1, 2, 3]);
        assert!(again.contains("c") && again.page(&range(0, 99)).items[0].closed_at.timestamp() == 10);
        assert_eq!(again.page(&range(0, 2)).next, Some(2));
        assert_eq!(again.page(&range(2, 2)).next, None);
    }

    #[test]
    fn completeness_and_recent_orders_are_of_one_account() {
        let folder = tempfile::tempdir().unwrap();
        let log = ClosedTradeLog::open(&folder.path().join("trades.jsonl")).unwrap();
        let order: Order = serde_json::from_str(r#"{"id": "o-1"}"#).unwrap();
        log.append(vec![ClosedTrade { orders: vec![order], ..closed("a", 10) }]).unwrap();
        log.set_complete("x");
        assert_eq!((log.recent_orders("x").len(), log.recent_orders("y").len()), (1, 0));
        assert!(log.is_complete("x") && !log.is_complete("y"));
        log.set_complete("y");
        assert!(!log.is_complete("x"), "what closed meanwhile is not known");
    }

    #[test]
    fn a_line_that_was_cut_is_dropped_and_its_number_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trades.jsonl");
        ClosedTradeLog::open(&path).unwrap().append(vec![closed("a", 10)]).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"key\":\"b");
        std::fs::write(&path, &text).unwrap();
        let log = ClosedTradeLog::open(&path).unwrap();
        log.append(vec![closed("c", 30)]).unwrap();
        assert_eq!(seqs(&ClosedTradeLog::open(&path).unwrap()), [1, 2]);
    }
}
