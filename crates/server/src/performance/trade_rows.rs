//! The table `trades`: the copy of the bot's journal of closed trades.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::window::TradeRange;
use crate::store::StoreAbort;
use botops_contract::Trade;
use botops_core::error::{Code, Error};

/// The names of the accounts that trades are kept of, in their order.
pub(super) fn trade_accounts(connection: &Connection, bot: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection
        .prepare_cached("SELECT DISTINCT account_id FROM trades WHERE bot_id = ?1 ORDER BY account_id")?;
    statement.query_map([bot], |row| row.get(0))?.collect()
}

/// Keeps trades, each under the account that it names, or else under `account`. One that is there already stays as it
/// is: the bot's own sequence number within the account is the key.
pub(super) fn insert_trades(
    connection: &Connection,
    bot: &str,
    account: &str,
    trades: &[Trade],
) -> Result<(), StoreAbort> {
    let mut statement = connection.prepare_cached(
        "INSERT OR IGNORE INTO trades(bot_id, account_id, seq, symbol, closed_us, body)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for trade in trades {
        let body =
            serde_json::to_string(trade).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        let seq = i64::try_from(trade.seq).unwrap_or(i64::MAX);
        let closed_us = trade.closed_at.timestamp_micros();
        let account = trade.account_id.as_deref().unwrap_or(account);
        statement.execute(params![bot, account, seq, trade.symbol, closed_us, body])?;
    }
    Ok(())
}

/// The trades of an account that closed in a range, of one symbol or of all, in the order they closed; and how many kept
/// ones cannot be read (an older botops took dates that no calendar has).
pub(super) fn select_trades(
    connection: &Connection,
    bot: &str,
    account: &str,
    range: TradeRange,
    symbol: Option<&str>,
) -> Result<(Vec<Trade>, u64), StoreAbort> {
    let micros = |bound: Option<DateTime<Utc>>, open: i64| bound.map_or(open, |at| at.timestamp_micros());
    let (from, to) = (micros(range.from, i64::MIN), micros(range.to, i64::MAX));
    let mut statement = connection.prepare_cached(
        "SELECT body FROM trades WHERE bot_id = ?1 AND account_id = ?2 AND closed_us >= ?3 AND closed_us < ?4
         ORDER BY closed_us, seq",
    )?;
    let bodies = statement.query_map(params![bot, account, from, to], |row| row.get::<_, String>(0))?;
    let (mut trades, mut unreadable) = (Vec::new(), 0);
    for body in bodies {
        let Ok(trade) = serde_json::from_str::<Trade>(&body?) else {
            unreadable += 1;
            continue;
        };
        if symbol.is_none_or(|symbol| is_same_symbol(&trade.symbol, symbol)) {
            trades.push(trade);
        }
    }
    Ok((trades, unreadable))
}

/// Whether two texts name one symbol: upper and lower case are the same, in every script.
pub(super) fn is_same_symbol(one: &str, two: &str) -> bool {
    one == two || one.to_lowercase() == two.to_lowercase()
}
