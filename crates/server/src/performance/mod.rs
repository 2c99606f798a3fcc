//! How trading went: closed trades, pulled from the bot into the store, measured by window and symbol.
//!
//! The bot keeps the journal; this keeps a copy that outlives the bot's files and answers while the bot is away. A
//! pull repeats without harm: the bot's own sequence number is the key. Deliberately absent: trades that are not
//! closed (the state has them) and any correction of what the bot said.

mod api;
mod measure;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::params;

use crate::bots::{Bots, CallError};
use crate::store::Store;
use botops_contract::Trade;
use botops_core::error::{Code, Error};
use botops_core::tasks::Tasks;

pub use api::routes;
pub use measure::Measures;
use measure::measure;
use window::{By, Range};

/// How often the bot is asked for trades that closed since. Fills are rare: this costs next to nothing.
const PULL_EVERY: Duration = Duration::from_secs(2);

/// Trades in one pull.
const PAGE: usize = 500;

/// Handle to the performance history; cloning is cheap.
#[derive(Debug, Clone)]
pub struct PerformanceHistory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bots: Bots,
    store: Store,
    /// When the copy was last level with the bot's journal, in epoch milliseconds; 0 for never in this life.
    level_at_ms: AtomicI64,
}

/// Measures of one group of trades.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    key: String,
    measures: Measures,
}

/// The measures of a range, and of its groups when asked for.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    whole: Measures,
    groups: Vec<Group>,
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
}

impl PerformanceHistory {
    /// Starts pulling.
    pub fn open(bots: Bots, store: Store, tasks: &Tasks) -> Self {
        let history = Self { shared: Arc::new(Shared { bots, store, level_at_ms: AtomicI64::new(0) }) };
        let pulling = history.clone();
        let stopping = tasks.stopping();
        tasks.supervise("trades-pull", move || {
            let (history, stopping) = (pulling.clone(), stopping.clone());
            async move {
                loop {
                    history.pull_and_log().await;
                    tokio::select! {
                        () = stopping.cancelled() => return,
                        () = tokio::time::sleep(PULL_EVERY) => {}
                    }
                }
            }
        });
        history
    }

    /// When the copy was last level with the bot's journal.
    fn level_at(&self) -> Option<DateTime<Utc>> {
        let at = self.shared.level_at_ms.load(Ordering::Relaxed);
        (at > 0).then(|| DateTime::from_timestamp_millis(at)).flatten()
    }

    /// The bot whose trades these are.
    fn bots(&self) -> &Bots {
        &self.shared.bots
    }

    /// Measures the closed trades of a range.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    async fn measure(&self, range: Range, symbol: Option<String>, by: Option<By>) -> Result<Found, Error> {
        let bot = self.shared.bots.id().as_str().to_owned();
        let micros = |bound: Option<DateTime<Utc>>, open: i64| bound.map_or(open, |at| at.timestamp_micros());
        let (from, to) = (micros(range.from, i64::MIN), micros(range.to, i64::MAX));
        let work = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached(
                "SELECT body FROM trades WHERE bot_id = ?1 AND closed_us >= ?2 AND closed_us < ?3
                 AND (?4 IS NULL OR symbol = ?4) ORDER BY closed_us, seq",
            )?;
            let bodies =
                statement.query_map(params![bot, from, to, symbol], |row| row.get::<_, String>(0))?;
            let mut trades = Vec::new();
            for body in bodies {
                let trade: Trade = serde_json::from_str(&body?)
                    .map_err(|error| Error::new(Code::Internal).caused_by(error))?;
                trades.push(trade);
            }
            Ok(found(&trades, by))
        };
        self.shared.store.read(work).await
    }

    async fn pull_and_log(&self) {
        match self.pull().await {
            Ok(()) => self.shared.level_at_ms.store(Utc::now().timestamp_millis(), Ordering::Relaxed),
            Err(Trouble::Bot(reason)) => tracing::debug!("no trades from the bot for now: {reason}"),
            Err(Trouble::Store(error)) => {
                tracing::warn!(error.cause = error.cause_for_log(), "trades could not be kept: {error}");
            }
        }
    }

    /// Brings the copy level with the bot's journal.
    async fn pull(&self) -> Result<(), Trouble> {
        let bot = self.shared.bots.id().as_str().to_owned();
        let mut after = self.newest(bot.clone()).await.map_err(Trouble::Store)?;
        loop {
            let page = self.shared.bots.trades(after, None, None, PAGE).await.map_err(Trouble::from)?;
            let Some(newest) = page.items.iter().map(|trade| trade.seq).max() else { return Ok(()) };
            self.keep(bot.clone(), page.items).await.map_err(Trouble::Store)?;
            // A bot that repeats itself must not keep us here for ever.
            if page.next.is_none() || newest <= after {
                return Ok(());
            }
            after = newest;
        }
    }

    async fn newest(&self, bot: String) -> Result<u64, Error> {
        let newest: Option<i64> = self
            .shared
            .store
            .read(move |connection| {
                let sql = "SELECT max(seq) FROM trades WHERE bot_id = ?1";
                Ok(connection.query_row(sql, [bot], |row| row.get(0))?)
            })
            .await?;
        Ok(newest.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0))
    }

    async fn keep(&self, bot: String, trades: Vec<Trade>) -> Result<(), Error> {
        let work = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached(
                "INSERT OR IGNORE INTO trades(bot_id, seq, symbol, closed_us, body) VALUES(?1, ?2, ?3, ?4, ?5)",
            )?;
            for trade in &trades {
                let body = serde_json::to_string(trade)
                    .map_err(|error| Error::new(Code::Internal).caused_by(error))?;
                let seq = i64::try_from(trade.seq).unwrap_or(i64::MAX);
                statement.execute(params![
                    bot,
                    seq,
                    trade.symbol,
                    trade.closed_at.timestamp_micros(),
                    body
                ])?;
            }
            Ok(())
        };
        self.shared.store.write(work).await
    }
}

/// Why a pull ended early.
enum Trouble {
    Bot(String),
    Store(Error),
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        Self::Bot(format!("{error:?}"))
    }
}

fn found(trades: &[Trade], by: Option<By>) -> Found {
    let mut grouped: BTreeMap<String, Vec<&Trade>> = BTreeMap::new();
    if let Some(by) = by {
        for trade in trades {
            grouped.entry(by.key(&trade.symbol, trade.closed_at)).or_default().push(trade);
        }
    }
    Found {
        whole: measure(trades.iter()),
        groups: grouped
            .into_iter()
            .map(|(key, trades)| Group { key, measures: measure(trades.into_iter()) })
            .collect(),
        first: trades.first().map(|trade| trade.closed_at),
        last: trades.last().map(|trade| trade.closed_at),
    }
}
