//! The handle to the performance history, and the task that pulls trades from the bot.
//!
//! A pull repeats without harm: the bot's own sequence number is the key of a trade.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use tokio::sync::watch;

use super::breakdown::TradeBreakdown;
use super::config_names::ConfigNames;
use super::journal_cursor::JournalCursor;
use super::trade_grouping::{GroupNames, TradeGrouping};
use super::trade_page::{AccountPage, TradeQuestion, read_page};
use super::trade_rows::{
    count_trades, delete_unnamed_copies, insert_trades, name_trades, select_trades, sum_trades,
    trade_accounts,
};
use super::window::TradeRange;
use crate::bots::{Bots, CallError};
use crate::store::{Store, get_value, put_value};
use botops_contract::{LARGEST_SEQ, Trade};
use botops_core::error::Error;
use botops_core::tasks::Tasks;

/// How often the bot is asked for trades that closed since. Fills are rare: this costs next to nothing.
const PULL_EVERY: Duration = Duration::from_secs(2);

/// Trades in one pull.
const PULL_PAGE: usize = 500;

/// How often trades that could not be read are asked for again from a bot that was not started anew: somebody may have
/// repaired its journal.
const UNREAD_EVERY: Duration = Duration::from_secs(3600);

/// Handle to the performance history; cloning is cheap.
#[derive(Debug, Clone)]
pub struct PerformanceHistory {
    bots: Bots,
    store: Store,
    copy: Arc<Mutex<JournalCopy>>,
    /// What lay outside of the range that was asked for last: a window is asked for again and again.
    outside: Arc<Mutex<Option<(OutsideKey, OutsideSums)>>>,
    newest_close: watch::Sender<Option<DateTime<Utc>>>,
    /// That the bot remembers fewer trades than are kept here, as a warning; `None` while it does not.
    shortfall: watch::Sender<Option<String>>,
}

/// What is known of the copy of the bot's journal.
#[derive(Debug, Clone, Default)]
pub(super) struct JournalCopy {
    /// How far it has come; `None` until what an earlier run of botops stored is read.
    cursor: Option<JournalCursor>,
    /// When it last held every trade of the journal, in this run of botops.
    pub level_at: Option<DateTime<Utc>>,
    /// Why the last reading of the journal failed; `None` when it did not.
    pub failure: Option<String>,
    /// The start of the bot in which it was asked whether it still knows the newest trade that is kept here.
    compared_in: Option<String>,
    /// When what could not be read was asked for last.
    unread_asked_at: Option<Instant>,
    /// What a bot that does not heed the cursor gave beside what it was asked for: the same again needs no writing.
    given_again: Arc<Vec<Trade>>,
    /// The account and the state of the copy at which the newest close was read.
    close_read_at: Option<(String, Option<JournalCursor>)>,
}

impl JournalCopy {
    /// Whether it is the journal of this account that was read last.
    pub(crate) fn is_of(&self, account: &str) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.account == account)
    }

    /// Trades of the journal that could not be read, and what is wrong in the first of them.
    pub(crate) fn unread(&self) -> (u64, Option<&str>) {
        let cursor = self.cursor.as_ref();
        (cursor.map_or(0, JournalCursor::unread), cursor.and_then(|cursor| cursor.first_unread.as_deref()))
    }
}

/// Account, range, symbol, and how far the copy had come.
type OutsideKey = (String, TradeRange, Option<String>, Option<JournalCursor>);

/// How many trades closed before a range and after it, and their net profit.
type OutsideSums = [(u64, Option<Decimal>); 2];

/// What is to be measured.
pub(super) struct MeasureQuestion {
    /// `None`: the account that the bot trades now.
    pub account: Option<String>,
    pub range: TradeRange,
    pub symbol: Option<String>,
    pub by: Vec<TradeGrouping>,
    pub zone: Tz,
}

/// Measures of one account, and the accounts that trades are kept of.
pub(super) struct AccountMeasures {
    pub account: String,
    pub accounts: Vec<String>,
    pub breakdown: TradeBreakdown,
    /// How many trades closed before the range, and their net profit.
    pub before: (u64, Option<Decimal>),
    /// How many closed after it, and theirs.
    pub after: (u64, Option<Decimal>),
    /// Trades of the range that an older botops kept and that cannot be read any more.
    pub unreadable_rows: u64,
}

impl PerformanceHistory {
    /// Starts pulling trades from the bot, in a task of its own.
    pub fn open(bots: Bots, store: Store, tasks: &Tasks) -> Self {
        let history = Self {
            bots,
            store,
            copy: Arc::default(),
            outside: Arc::default(),
            newest_close: watch::Sender::new(None),
            shortfall: watch::Sender::new(None),
        };
        let pulling = history.clone();
        let stopping = tasks.stopping();
        tasks.supervise("trades-pull", move || {
            let (history, stopping) = (pulling.clone(), stopping.clone());
            async move {
                loop {
                    history.pull_and_record().await;
                    tokio::select! {
                        () = stopping.cancelled() => return,
                        () = tokio::time::sleep(PULL_EVERY) => {}
                    }
                }
            }
        });
        history
    }

    /// When the newest trade of the record closed, of the account that the bot trades; changes with each that is kept.
    pub fn watch_newest_close(&self) -> watch::Receiver<Option<DateTime<Utc>>> {
        self.newest_close.subscribe()
    }

    /// A warning while the bot remembers fewer closed trades of its account than it gave before, as a watched value.
    pub fn watch_shortfall(&self) -> watch::Receiver<Option<String>> {
        self.shortfall.subscribe()
    }

    /// What is known of the copy of the journal now.
    pub(super) fn copy(&self) -> JournalCopy {
        self.lock().clone()
    }

    /// The bot whose trades these are.
    pub(super) fn bots(&self) -> &Bots {
        &self.bots
    }

    /// Measures the closed trades of an account in a range, and what lies outside of it.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`](botops_core::error::Code::StoreUnavailable).
    pub(super) async fn measure(&self, asked: MeasureQuestion) -> Result<AccountMeasures, Error> {
        let bot = self.bots.id().as_str().to_owned();
        let current = self.current_account();
        let (outside, cursor) = (self.outside.clone(), self.lock().cursor.clone());
        let read = move |connection: &rusqlite::Connection| {
            let MeasureQuestion { account, range, symbol, by, zone } = asked;
            let symbol = symbol.as_deref();
            let accounts = trade_accounts(connection, &bot)?;
            let account = account.unwrap_or_else(|| traded_account(current, &accounts));
            let (trades, unreadable_rows) = select_trades(connection, &bot, &account, range, symbol)?;
            let names = GroupNames { zone, configs: ConfigNames::read(connection)? };
            let breakdown = TradeBreakdown::of(&trades, &by, &names);
            let key = (account.clone(), range, symbol.map(str::to_owned), cursor);
            let known = outside.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let [before, after] = match known.filter(|(known, _)| *known == key) {
                Some((_, sums)) => sums,
                None => {
                    let beyond = |bound: Option<_>, range: TradeRange| match bound {
                        Some(_) => sum_trades(connection, (&bot, &account), range, symbol),
                        None => Ok((0, None)),
                    };
                    let sums = [
                        beyond(range.from, TradeRange { from: None, to: range.from })?,
                        beyond(range.to, TradeRange { from: range.to, to: None })?,
                    ];
                    outside.lock().unwrap_or_else(PoisonError::into_inner).replace((key, sums));
                    sums
                }
            };
            Ok(AccountMeasures { account, accounts, breakdown, before, after, unreadable_rows })
        };
        self.store.read(read).await
    }

    /// Reads a page of the closed trades of an account. Without `asked`, it is the account that the bot trades now.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`](botops_core::error::Code::StoreUnavailable).
    pub(super) async fn list(&self, asked: TradeQuestion) -> Result<AccountPage, Error> {
        let bot = self.bots.id().as_str().to_owned();
        let current = self.current_account();
        let read = move |connection: &rusqlite::Connection| {
            let accounts = trade_accounts(connection, &bot)?;
            let account = asked.account.unwrap_or_else(|| traded_account(current, &accounts));
            let mut filter = asked.filter;
            if let Some(name) = asked.version {
                // No trade has an empty text here: those of an unknown config are in no version.
                filter.config_sha256 = Some(ConfigNames::content_of(connection, &name)?.unwrap_or(name));
            }
            let page = read_page(connection, (&bot, &account), &filter, asked.cursor, asked.limit)?;
            let has_any = page.newest.is_some();
            Ok(AccountPage { page, has_any, names: ConfigNames::read(connection)?, account, accounts })
        };
        self.store.read(read).await
    }

    /// Whether this is the account that the bot trades now.
    pub(super) fn measures_current(&self, account: &str, accounts: &[String]) -> bool {
        traded_account(self.current_account(), accounts) == account
    }

    /// The account that the bot trades now, as it names it; empty when it names none.
    fn current_account(&self) -> String {
        let snapshot = self.bots.snapshot();
        self.lock().cursor.clone().unwrap_or_default().account_now(&snapshot)
    }

    async fn pull_and_record(&self) {
        let pulled = self.pull().await;
        self.publish_newest_close().await;
        let mut copy = self.lock();
        match pulled {
            Ok(()) => (copy.level_at, copy.failure) = (Some(Utc::now()), None),
            Err(PullError::Bot(error)) => {
                let reason = failure_text(&error);
                tracing::debug!("no trades from the bot for now: {reason}");
                copy.failure = Some(reason);
            }
            Err(PullError::Store(error)) => {
                tracing::warn!(error.cause = error.cause_for_log(), "trades could not be kept: {error}");
                copy.failure = Some("they could not be kept".to_owned());
            }
        }
    }

    /// Reads from the record when its newest trade closed. One that cannot be read now is read with the next pull.
    async fn publish_newest_close(&self) {
        let (bot, current) = (self.bots.id().as_str().to_owned(), self.current_account());
        let read_at = {
            let copy = self.lock();
            let now = (current.clone(), copy.cursor.clone());
            if copy.close_read_at.as_ref() == Some(&now) {
                return;
            }
            now
        };
        let read = move |connection: &rusqlite::Connection| {
            let account = traded_account(current, &trade_accounts(connection, &bot)?);
            Ok(count_trades(connection, &bot, &account)?.1)
        };
        if let Ok(newest) = self.store.read(read).await {
            self.newest_close.send_if_modified(|known| std::mem::replace(known, newest) != newest);
            self.lock().close_read_at = Some(read_at);
        }
    }

    /// Pulls until the copy holds every trade of the bot's journal.
    async fn pull(&self) -> Result<(), PullError> {
        let mut cursor = self.read_cursor().await.map_err(PullError::Store)?;
        let is_asked_anew = {
            let mut copy = self.lock();
            let is_due = copy.unread_asked_at.is_some_and(|at| at.elapsed() >= UNREAD_EVERY);
            if is_due || copy.unread_asked_at.is_none() {
                copy.unread_asked_at = Some(Instant::now());
            }
            is_due
        };
        let mut written = cursor.clone();
        let named_now = cursor.follow(&self.bots.snapshot(), is_asked_anew);
        if cursor.account != written.account {
            // Nothing is known yet of the journal of another account.
            self.lock().level_at = None;
        }
        if !named_now.is_empty() {
            self.name(named_now, &cursor).await.map_err(PullError::Store)?;
            written.clone_from(&cursor);
            self.lock().cursor = Some(cursor.clone());
        }
        self.compare_with_bot(&cursor).await?;
        loop {
            let asked = cursor.after;
            let page = self.bots.trades(asked, None, None, PULL_PAGE).await.map_err(PullError::Bot)?;
            let has_more = cursor.pass_page(&page);
            let again: Vec<Trade> = page.trades.iter().filter(|trade| trade.seq <= asked).cloned().collect();
            let is_known = again.len() == page.trades.len() && again == *self.lock().given_again;
            if cursor != written || !is_known {
                cursor = self.keep(page.trades, cursor).await.map_err(PullError::Store)?;
                written.clone_from(&cursor);
                self.lock().given_again = Arc::new(again);
            }
            self.lock().cursor = Some(cursor.clone());
            if page.is_repeated {
                return Err(PullError::Bot(CallError::Invalid(format!(
                    "it answers `after={asked}` with what it gave before, and says that more follow: that is not known"
                ))));
            }
            if !has_more {
                return Ok(());
            }
        }
    }

    /// Asks the bot, once in each of its starts, for the newest trade that is kept of its account. A bot that does not know
    /// it lost a part of its memory: a journal that was cut, a database that was emptied.
    async fn compare_with_bot(&self, cursor: &JournalCursor) -> Result<(), PullError> {
        let life = cursor.life().to_owned();
        let is_compared = self.lock().compared_in.as_ref() == Some(&life);
        if cursor.after == 0 {
            // Nothing is kept of this account.
            self.shortfall.send_replace(None);
        }
        if is_compared || cursor.after == 0 {
            return Ok(());
        }
        let page = self.bots.trades(cursor.after - 1, None, None, 1).await.map_err(PullError::Bot)?;
        let knows_it = page.newest.is_some_and(|newest| newest >= cursor.after) || page.unnumbered > 0;
        let shortfall = if knows_it { None } else { Some(self.describe_shortfall(cursor).await?) };
        if let Some(shortfall) = &shortfall {
            tracing::error!("{shortfall}");
        }
        self.shortfall.send_replace(shortfall);
        self.lock().compared_in = Some(life);
        Ok(())
    }

    async fn describe_shortfall(&self, cursor: &JournalCursor) -> Result<String, PullError> {
        let (mut after, mut known) = (0, 0);
        while after < cursor.after {
            let page = self.bots.trades(after, None, None, PULL_PAGE).await.map_err(PullError::Bot)?;
            known += page.trades.len();
            let Some(newest) = page.newest.filter(|newest| *newest > after) else { break };
            after = newest;
            if page.next.is_none() {
                break;
            }
        }
        let (bot, account) = (self.bots.id().as_str().to_owned(), cursor.account.clone());
        let read = move |connection: &rusqlite::Connection| Ok(count_trades(connection, &bot, &account)?);
        let (kept, newest_at) = self.store.read(read).await.map_err(PullError::Store)?;
        let account = if cursor.account.is_empty() { "its account" } else { &cursor.account };
        let newest_at = newest_at.map_or_else(String::new, |at| format!(", the newest of {at}"));
        Ok(format!(
            "THE BOT REMEMBERS LESS: it knows {known} of {kept} closed trades. Put its data back from a backup. Of {account}, trades up to \
             number {} are kept here{newest_at}; the bot knows them up to number {after}, and what it numbers anew below is not taken \
             in. For a fresh start, give the account another id.",
            cursor.after
        ))
    }

    /// How far the copy has come, as an earlier run of botops may have stored it.
    async fn read_cursor(&self) -> Result<JournalCursor, Error> {
        if let Some(cursor) = self.lock().cursor.clone() {
            return Ok(cursor);
        }
        let (bot, key) = (self.bots.id().as_str().to_owned(), self.cursor_key());
        let read = move |connection: &rusqlite::Connection| {
            let accounts = trade_accounts(connection, &bot)?;
            let may_have_copies = accounts.len() > 1 && accounts.iter().any(String::is_empty);
            Ok((get_value(connection, &key)?, may_have_copies))
        };
        let (stored, may_have_copies) = self.store.read(read).await?;
        if may_have_copies {
            let bot = self.bots.id().as_str().to_owned();
            self.store.write(move |connection| Ok(delete_unnamed_copies(connection, &bot)?)).await?;
        }
        // Without it, the journal is read from its beginning: what is kept already stays.
        let cursor: Option<JournalCursor> = stored.and_then(|text| serde_json::from_str(&text).ok());
        // An older botops took numbers that no trade has, and then no trade that followed.
        let cursor = cursor.filter(|cursor| cursor.after <= LARGEST_SEQ).unwrap_or_default();
        self.lock().cursor = Some(cursor.clone());
        Ok(cursor)
    }

    /// Keeps a page and the cursor behind it, both or neither.
    async fn keep(&self, trades: Vec<Trade>, mut cursor: JournalCursor) -> Result<JournalCursor, Error> {
        let (bot, key) = (self.bots.id().as_str().to_owned(), self.cursor_key());
        let write = move |connection: &rusqlite::Connection| {
            let unnamed = insert_trades(connection, &bot, &cursor.account, &trades)?;
            cursor.add_unnamed(&unnamed);
            put_value(connection, &key, &serde_json::to_string(&cursor).unwrap_or_default())?;
            Ok(cursor)
        };
        self.store.write(write).await
    }

    /// Puts what was kept without a name under the account that the bot has named, with the cursor that knows of it.
    async fn name(&self, unnamed: Vec<(u64, u64)>, cursor: &JournalCursor) -> Result<(), Error> {
        let (bot, key) = (self.bots.id().as_str().to_owned(), self.cursor_key());
        let account = cursor.account.clone();
        let text = serde_json::to_string(cursor).unwrap_or_default();
        let write = move |connection: &rusqlite::Connection| {
            name_trades(connection, &bot, &account, &unnamed)?;
            Ok(put_value(connection, &key, &text)?)
        };
        self.store.write(write).await
    }

    fn cursor_key(&self) -> String {
        format!("trade_cursor:{}", self.bots.id())
    }

    fn lock(&self) -> MutexGuard<'_, JournalCopy> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The account to measure: the one that the bot names, or else the only one that its trades name.
fn traded_account(current: String, accounts: &[String]) -> String {
    match accounts {
        [only] if current.is_empty() => only.clone(),
        _ => current,
    }
}

/// Why a pull ended early.
enum PullError {
    Bot(CallError),
    Store(Error),
}

/// Why the journal could not be read, as a part of a sentence.
fn failure_text(error: &CallError) -> String {
    match error {
        CallError::NotDelivered(reason) | CallError::Invalid(reason) => reason.clone(),
        CallError::NotSent(presence, reason, _) => format!("the bot is {presence}: {reason}"),
        CallError::TimedOut => "it was asked and gave no whole answer in time".to_owned(),
        CallError::Refused(refusal) | CallError::Unproven(refusal) => {
            format!("it answered `{}`: {}", refusal.code, refusal.message)
        }
        CallError::NotCapable(what) => format!("it has no capability `{what}`"),
    }
}
