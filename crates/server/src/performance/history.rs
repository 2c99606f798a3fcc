//! The handle to the performance history, and the task that pulls trades from the bot.
//!
//! A pull repeats without harm: the bot's own sequence number is the key of a trade.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::breakdown::TradeBreakdown;
use super::trade_rows::{insert_trades, newest_trade_seq, select_trades, trade_accounts};
use super::window::{TradeGrouping, TradeRange};
use crate::bots::{Bots, CallError};
use crate::store::Store;
use botops_core::error::Error;
use botops_core::tasks::Tasks;

/// How often the bot is asked for trades that closed since. Fills are rare: this costs next to nothing.
const PULL_EVERY: Duration = Duration::from_secs(2);

/// Trades in one pull.
const PULL_PAGE: usize = 500;

/// Handle to the performance history; cloning is cheap.
#[derive(Debug, Clone)]
pub struct PerformanceHistory {
    bots: Bots,
    store: Store,
    /// When the copy last held every trade of the bot's journal, in epoch milliseconds; 0 for never in this process.
    level_at_ms: Arc<AtomicI64>,
}

impl PerformanceHistory {
    /// Starts pulling trades from the bot, in a task of its own.
    pub fn open(bots: Bots, store: Store, tasks: &Tasks) -> Self {
        let history = Self { bots, store, level_at_ms: Arc::default() };
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

    /// When the copy last held every trade of the bot's journal.
    pub(super) fn level_at(&self) -> Option<DateTime<Utc>> {
        let at = self.level_at_ms.load(Ordering::Relaxed);
        (at > 0).then(|| DateTime::from_timestamp_millis(at)).flatten()
    }

    /// The bot whose trades these are.
    pub(super) fn bots(&self) -> &Bots {
        &self.bots
    }

    /// Measures the closed trades of an account in a range; the names of all accounts that trades are kept of.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`](botops_core::error::Code::StoreUnavailable).
    pub(super) async fn measure(
        &self,
        account: String,
        range: TradeRange,
        symbol: Option<String>,
        by: Option<(TradeGrouping, Tz)>,
    ) -> Result<(TradeBreakdown, Vec<String>), Error> {
        let bot = self.bots.id().as_str().to_owned();
        let read = move |connection: &rusqlite::Connection| {
            let trades = select_trades(connection, &bot, &account, range, symbol.as_deref())?;
            Ok((TradeBreakdown::of(&trades, by), trade_accounts(connection, &bot)?))
        };
        self.store.read(read).await
    }

    /// The account that the bot trades now, as it names it; empty when it names none.
    pub(super) fn current_account(&self) -> String {
        let snapshot = self.bots.snapshot();
        let account = snapshot.report.as_ref().and_then(|report| report.account.account_id.clone());
        account.unwrap_or_default()
    }

    async fn pull_and_log(&self) {
        match self.pull().await {
            Ok(()) => self.level_at_ms.store(Utc::now().timestamp_millis(), Ordering::Relaxed),
            Err(PullError::Bot(reason)) => tracing::debug!("no trades from the bot for now: {reason}"),
            Err(PullError::Store(error)) => {
                tracing::warn!(error.cause = error.cause_for_log(), "trades could not be kept: {error}");
            }
        }
    }

    /// Pulls until the copy holds every trade of the bot's journal.
    async fn pull(&self) -> Result<(), PullError> {
        let bot = self.bots.id().as_str().to_owned();
        let account = self.current_account();
        let newest = {
            let (bot, account) = (bot.clone(), account.clone());
            self.store.read(move |connection| Ok(newest_trade_seq(connection, &bot, &account)?))
        };
        let mut after = newest.await.map_err(PullError::Store)?;
        loop {
            let page = self.bots.trades(after, None, None, PULL_PAGE).await.map_err(PullError::from)?;
            let Some(newest) = page.items.iter().map(|trade| trade.seq).max() else { return Ok(()) };
            let (bot, account, trades) = (bot.clone(), account.clone(), page.items);
            self.store
                .write(move |connection| insert_trades(connection, &bot, &account, &trades))
                .await
                .map_err(PullError::Store)?;
            // A bot that repeats itself must not make this loop endless.
            if page.next.is_none() || newest <= after {
                return Ok(());
            }
            after = newest;
        }
    }
}

/// Why a pull ended early.
enum PullError {
    Bot(String),
    Store(Error),
}

impl From<CallError> for PullError {
    fn from(error: CallError) -> Self {
        Self::Bot(format!("{error:?}"))
    }
}
