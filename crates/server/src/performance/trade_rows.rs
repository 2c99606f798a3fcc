//! The table `trades`: the copy of the bot's journal of closed trades.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Statement, params};
use rust_decimal::Decimal;

use super::window::TradeRange;
use crate::store::StoreAbort;
use botops_contract::{Trade, add_exactly};
use botops_core::error::{Code, Error};

/// The names of the accounts that trades are kept of, in their order: each is one step in the key, whatever the number of
/// its trades.
pub(super) fn trade_accounts(connection: &Connection, bot: &str) -> rusqlite::Result<Vec<String>> {
    let query = "SELECT min(account_id) FROM trades WHERE bot_id = ?1";
    let mut next = connection
        .prepare_cached("SELECT min(account_id) FROM trades WHERE bot_id = ?1 AND account_id > ?2")?;
    let mut found: Option<String> = connection.prepare_cached(query)?.query_row([bot], |row| row.get(0))?;
    let mut names = Vec::new();
    while let Some(name) = found {
        found = next.query_row([bot, &name], |row| row.get(0))?;
        names.push(name);
    }
    Ok(names)
}

/// How many trades are kept of an account, and when the newest of them closed.
pub(super) fn count_trades(
    connection: &Connection,
    bot: &str,
    account: &str,
) -> rusqlite::Result<(u64, Option<DateTime<Utc>>)> {
    connection
        .prepare_cached("SELECT count(*), max(closed_us) FROM trades WHERE bot_id = ?1 AND account_id = ?2")?
        .query_row([bot, account], |row| {
            let (count, newest): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
            Ok((u64::try_from(count).unwrap_or_default(), newest.and_then(DateTime::from_timestamp_micros)))
        })
}

/// Keeps trades, each under the account that it names, or else under `account`. One that is there already stays as it
/// is: the bot's own sequence number within the account is the key.
///
/// A trade that names no account and is kept under the name of another one, the same in every word, is that one's: it is
/// not kept twice. One that was kept under no name before is there no more once it is kept under a name. Returns the
/// numbers of those that are new and under no name.
pub(super) fn insert_trades(
    connection: &Connection,
    bot: &str,
    account: &str,
    trades: &[Trade],
) -> Result<Vec<u64>, StoreAbort> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO trades(bot_id, account_id, seq, symbol, closed_us, body)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut find = connection.prepare_cached(
        "SELECT 1 FROM trades WHERE bot_id = ?1 AND account_id = ?2 AND seq = ?3 AND body = ?4",
    )?;
    let mut forget = connection.prepare_cached(
        "DELETE FROM trades WHERE bot_id = ?1 AND account_id = '' AND seq = ?2 AND body = ?3",
    )?;
    let mut others = trade_accounts(connection, bot)?;
    let has_unnamed = others.iter().any(String::is_empty);
    others.retain(|other| !other.is_empty() && other != account);
    let mut unnamed = Vec::new();
    for trade in trades {
        let body = body_of(trade)?;
        let seq = i64::try_from(trade.seq).unwrap_or(i64::MAX);
        if trade.account_id.is_none() && is_kept_of(&mut find, bot, &others, seq, &body)? {
            continue;
        }
        let closed_us = trade.closed_at.timestamp_micros();
        let own = trade.account_id.as_deref().unwrap_or(account);
        let added = insert.execute(params![bot, own, seq, trade.symbol, closed_us, body])?;
        if own.is_empty() {
            unnamed.extend((added > 0).then_some(trade.seq));
        } else if has_unnamed {
            let without_name = body_of(&Trade { account_id: None, ..trade.clone() })?;
            forget.execute(params![bot, seq, without_name])?;
        }
    }
    Ok(unnamed)
}

/// Whether one of these accounts has this very trade.
fn is_kept_of(
    find: &mut Statement<'_>,
    bot: &str,
    accounts: &[String],
    seq: i64,
    body: &str,
) -> rusqlite::Result<bool> {
    for account in accounts {
        if find.exists(params![bot, account, seq, body])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes trades out of those under no name that an older botops kept under a name as well, the same in every word.
pub(super) fn delete_unnamed_copies(connection: &Connection, bot: &str) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM trades WHERE bot_id = ?1 AND account_id = ''
         AND (seq, body) IN (SELECT seq, body FROM trades WHERE bot_id = ?1 AND account_id > '')",
        [bot],
    )
}

/// Puts kept trades without the name of an account, by the first and last of their numbers, under this one.
pub(super) fn name_trades(
    connection: &Connection,
    bot: &str,
    account: &str,
    unnamed: &[(u64, u64)],
) -> Result<(), StoreAbort> {
    let mut statement = connection.prepare_cached(
        "UPDATE OR IGNORE trades SET account_id = ?2
         WHERE bot_id = ?1 AND account_id = '' AND seq BETWEEN ?3 AND ?4",
    )?;
    for (first, last) in unnamed {
        let number = |number: &u64| i64::try_from(*number).unwrap_or(i64::MAX);
        statement.execute(params![bot, account, number(first), number(last)])?;
    }
    Ok(())
}

fn body_of(trade: &Trade) -> Result<String, Error> {
    serde_json::to_string(trade).map_err(|error| Error::new(Code::Internal).caused_by(error))
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

/// How many trades of an account closed in a range, of one symbol or of all, and their net profit as far as it has a sum.
pub(super) fn sum_trades(
    connection: &Connection,
    (bot, account): (&str, &str),
    range: TradeRange,
    symbol: Option<&str>,
) -> rusqlite::Result<(u64, Option<Decimal>)> {
    let micros = |bound: Option<DateTime<Utc>>, open: i64| bound.map_or(open, |at| at.timestamp_micros());
    let (from, to) = (micros(range.from, i64::MIN), micros(range.to, i64::MAX));
    let mut statement = connection.prepare_cached(
        "SELECT net_pl, symbol FROM trades INDEXED BY trades_by_close
         WHERE bot_id = ?1 AND account_id = ?2 AND closed_us >= ?3 AND closed_us < ?4",
    )?;
    let mut rows = statement.query(params![bot, account, from, to])?;
    let (mut count, mut sum) = (0, None);
    while let Some(row) = rows.next()? {
        if let Some(symbol) = symbol
            && !is_same_symbol(row.get_ref(1)?.as_str().unwrap_or_default(), symbol)
        {
            continue;
        }
        count += 1;
        let net = row.get_ref(0)?.as_str().ok().and_then(|text| Decimal::from_str_exact(text).ok());
        if let Some(more) = net.and_then(|net| add_exactly(sum.unwrap_or_default(), net)) {
            sum = Some(more);
        }
    }
    Ok((count, sum))
}

/// Whether two texts name one symbol: upper and lower case are the same, in every script.
pub(super) fn is_same_symbol(one: &str, two: &str) -> bool {
    one == two || one.to_lowercase() == two.to_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trade(seq: u64, account: Option<&str>) -> Trade {
        let text = json!({"seq": seq, "symbol": "SPY", "net_pl": "1", "account_id": account,
            "closed_at": "2026-03-02T15:00:00Z"});
        serde_json::from_value(text).unwrap()
    }

    fn table() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let columns = "bot_id TEXT, account_id TEXT, seq INTEGER, symbol TEXT, closed_us INTEGER, body TEXT";
        connection
            .execute_batch(&format!("CREATE TABLE trades({columns}, PRIMARY KEY (bot_id, account_id, seq))"))
            .unwrap();
        connection
    }

    fn kept(connection: &Connection) -> Vec<(String, u64)> {
        let mut rows =
            connection.prepare("SELECT account_id, seq FROM trades ORDER BY account_id, seq").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)?.into()))).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    fn of(account: &str, numbers: &[u64]) -> Vec<(String, u64)> {
        numbers.iter().map(|number| (account.to_owned(), *number)).collect()
    }

    #[test]
    fn a_trade_is_of_one_account_and_no_longer_of_none_once_it_has_a_name() {
        let connection = table();
        let unnamed = [trade(1, None), trade(2, None)];
        assert_eq!(insert_trades(&connection, "b", "", &unnamed).unwrap(), [1, 2]);
        assert_eq!(
            insert_trades(&connection, "b", "", &unnamed).unwrap(),
            Vec::<u64>::new(),
            "they are known"
        );
        // Named by the state, or by itself.
        assert!(insert_trades(&connection, "b", "one", &unnamed[..1]).unwrap().is_empty());
        insert_trades(&connection, "b", "one", &[trade(2, Some("two"))]).unwrap();
        assert_eq!(kept(&connection), [of("one", &[1]), of("two", &[2])].concat());
        // The first one is known of that account: it is no other's, and none's.
        insert_trades(&connection, "b", "three", &unnamed[..1]).unwrap();
        assert!(insert_trades(&connection, "b", "", &unnamed[..1]).unwrap().is_empty());
        assert_eq!(kept(&connection), [of("one", &[1]), of("two", &[2])].concat());
        // Another trade with that number is another trade.
        let other = Trade { symbol: "QQQ".to_owned(), ..trade(1, None) };
        insert_trades(&connection, "b", "three", &[other]).unwrap();
        assert_eq!(kept(&connection), [of("one", &[1]), of("three", &[1]), of("two", &[2])].concat());
    }

    #[test]
    fn what_gets_a_name_never_takes_the_place_of_another_trade() {
        let connection = table();
        insert_trades(&connection, "b", "one", &[trade(2, None)]).unwrap();
        let others: Vec<Trade> =
            (1..=5).map(|seq| Trade { symbol: "QQQ".to_owned(), ..trade(seq, None) }).collect();
        insert_trades(&connection, "b", "", &others).unwrap();
        name_trades(&connection, "b", "one", &[(1, 2), (4, 4)]).unwrap();
        assert_eq!(kept(&connection), [of("", &[2, 3, 5]), of("one", &[1, 2, 4])].concat());
        let of_two: String = connection
            .query_row("SELECT symbol FROM trades WHERE account_id = 'one' AND seq = 2", [], |row| row.get(0))
            .unwrap();
        assert_eq!(of_two, "SPY");
    }

    #[test]
    fn copies_of_an_older_botops_are_taken_out() {
        let connection = table();
        let all: Vec<Trade> = (1..=3).map(|seq| trade(seq, None)).collect();
        insert_trades(&connection, "b", "", &all).unwrap();
        insert_trades(&connection, "other", "one", &all).unwrap();
        connection
            .execute(
                "INSERT INTO trades(bot_id, account_id, seq, symbol, closed_us, body)
                 SELECT bot_id, 'one', seq, symbol, closed_us, body FROM trades WHERE bot_id = 'b' AND seq < 3",
                [],
            )
            .unwrap();
        assert_eq!(delete_unnamed_copies(&connection, "b").unwrap(), 2);
        let left =
            connection.query_row("SELECT COUNT(*) FROM trades WHERE bot_id = 'b'", [], |row| row.get(0));
        assert_eq!(left, Ok(3_u32), "one under no name and two under theirs");
    }
}
