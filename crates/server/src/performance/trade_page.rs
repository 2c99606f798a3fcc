//! Pages of the list of closed trades: which of them a reader wants, and how they are read.

use std::cmp::Reverse;

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use rust_decimal::Decimal;

use super::config_names::ConfigNames;
use super::exit_kind::exit_kind;
use super::trade_rows::is_same_symbol;
use super::window::TradeRange;
use botops_contract::Trade;

/// More that match beyond a page are counted up to this.
const COUNTED: usize = 100;

/// Symbols and reasons of which one account is looked through at most.
const MOST_NAMES: usize = 2_000;

/// Values whose rows are walked one by one at most; with more, all trades are.
const MOST_WALKS: usize = 64;

/// Which of several criteria is the rarest is decided by this many trades of each.
const COUNTED_FOR_CHOICE: usize = 2_000;

/// Which closed trades a reader wants: those for which everything named here holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TradeFilter {
    /// Only these symbols, in whatever case; all of them when empty.
    pub symbols: Vec<String>,
    /// `BUY` or `SELL`.
    pub side: Option<&'static str>,
    /// Only trades whose reason of the exit has these words, whatever its numbers are.
    pub reason: Option<String>,
    /// The SHA-256 of the config document under which it was opened.
    pub config_sha256: Option<String>,
    /// `win`, `loss` or `breakeven`.
    pub result: Option<&'static str>,
    pub range: Option<TradeRange>,
}

/// From where a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TradeCursor {
    /// Newest first; those before the trade with this number.
    Before(Option<u64>),
    /// Oldest first, those after the trade with this number.
    After(u64),
    /// By their net profit, the largest loss first.
    Worst,
    /// By their net profit, the largest profit first.
    Best,
}

impl TradeCursor {
    /// Whether the page is ordered by net profit, and no other follows it.
    pub(super) fn is_by_profit(self) -> bool {
        matches!(self, Self::Worst | Self::Best)
    }
}

/// A page of closed trades.
#[derive(Debug, Clone, Default)]
pub(super) struct TradePage {
    pub trades: Vec<Trade>,
    /// How many more match beyond it, counted up to 100.
    pub omitted: usize,
    /// Trades that an older botops kept and that cannot be read any more.
    pub unreadable: u64,
    /// The number of the last trade of the page, whether it can be read or not.
    pub last: Option<u64>,
    /// The number of the newest trade of the account, whatever is asked for.
    pub newest: Option<u64>,
    /// The account has more symbols or reasons than are looked through.
    pub names_cut: bool,
    /// Of a page by net profit: trades of which it is not known, or no number that can be compared.
    pub without_profit: u64,
    /// Of a page by net profit: more trades match than are compared.
    pub is_profit_cut: bool,
}

/// Trades that are compared for a page by net profit at most, the newest ones.
pub(super) const MOST_COMPARED: usize = 20_000;

/// Reads a page of the closed trades of an account.
pub(super) fn read_page(
    connection: &Connection,
    of: (&str, &str),
    wanted: &TradeFilter,
    cursor: TradeCursor,
    limit: usize,
) -> rusqlite::Result<TradePage> {
    let (bot, account) = of;
    let query = "SELECT seq FROM trades INDEXED BY trades_by_close WHERE bot_id = ?1 AND account_id = ?2
         ORDER BY closed_us DESC, seq DESC LIMIT 1";
    let newest =
        connection.prepare_cached(query)?.query_row([bot, account], |row| row.get::<_, i64>(0)).optional()?;
    let mut page = TradePage { newest: newest.map(i64::unsigned_abs), ..TradePage::default() };
    let (criteria, is_cut) = criteria_of(connection, of, wanted)?;
    page.names_cut = is_cut;
    let span = Span::of(connection, of, wanted, cursor)?;
    let mut found = if cursor.is_by_profit() {
        let mut found = find_trades(connection, of, &criteria, &span, MOST_COMPARED + 1)?;
        page.is_profit_cut = found.len() > MOST_COMPARED;
        found.truncate(MOST_COMPARED);
        let compared = found.len();
        let mut found = by_profit(connection, of, found, cursor)?;
        page.without_profit = compared.saturating_sub(found.len()) as u64;
        found.truncate(limit + COUNTED);
        found
    } else {
        find_trades(connection, of, &criteria, &span, limit + COUNTED)?
    };
    page.omitted = found.len().saturating_sub(limit);
    found.truncate(limit);
    page.last = found.last().map(|(_, seq)| seq.unsigned_abs());
    let mut body = connection
        .prepare_cached("SELECT body FROM trades WHERE bot_id = ?1 AND account_id = ?2 AND seq = ?3")?;
    for (_, seq) in found {
        let body: String = body.query_row(params![bot, account, seq], |row| row.get(0))?;
        match serde_json::from_str(&body) {
            Ok(trade) => page.trades.push(trade),
            Err(_) => page.unreadable += 1,
        }
    }
    Ok(page)
}

/// Those of the trades that have a net profit, in the order of it; of the same, the newest first.
fn by_profit(
    connection: &Connection,
    (bot, account): (&str, &str),
    found: Vec<(i64, i64)>,
    order: TradeCursor,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    // The index has the net profit, so the trades themselves are not read.
    let mut net_of = connection.prepare_cached(
        "SELECT net_pl FROM trades INDEXED BY trades_by_close
         WHERE bot_id = ?1 AND account_id = ?2 AND closed_us = ?3 AND seq = ?4",
    )?;
    let mut known: Vec<(Decimal, i64, i64)> = Vec::new();
    for (at, seq) in found {
        let net = net_of.query_row(params![bot, account, at, seq], |row| {
            let net = row.get_ref(0)?.as_str().ok().and_then(|text| Decimal::from_str_exact(text).ok());
            Ok(net)
        })?;
        known.extend(net.map(|net| (net, at, seq)));
    }
    // They come newest first, and the sort keeps that order where profits are the same.
    match order {
        TradeCursor::Best => known.sort_by_key(|(net, ..)| Reverse(*net)),
        _ => known.sort_by_key(|(net, ..)| *net),
    }
    Ok(known.into_iter().map(|(_, at, seq)| (at, seq)).collect())
}

/// A column, the index that begins with it, and the values of it that are wanted.
struct Criterion {
    column: &'static str,
    index: &'static str,
    values: Vec<String>,
}

/// What is looked for by column, and whether an account has too many names to look through all of them.
fn criteria_of(
    connection: &Connection,
    of: (&str, &str),
    wanted: &TradeFilter,
) -> rusqlite::Result<(Vec<Criterion>, bool)> {
    let one = |column, index, value: &str| Criterion { column, index, values: vec![value.to_owned()] };
    let (mut criteria, mut is_cut) = (Vec::new(), false);
    criteria.extend(wanted.side.map(|side| one("side", "trades_by_side", side)));
    criteria.extend(wanted.result.map(|result| one("result", "trades_by_result", result)));
    criteria
        .extend(wanted.config_sha256.as_ref().map(|sha256| one("config_sha256", "trades_by_config", sha256)));
    if let Some(reason) = &wanted.reason {
        let words = exit_kind(reason).to_lowercase();
        let mut values = names_of(connection, of, "exit_kind", "trades_by_exit")?;
        is_cut = values.len() >= MOST_NAMES;
        values.retain(|kind| kind.to_lowercase().contains(words.trim()));
        criteria.push(Criterion { column: "exit_kind", index: "trades_by_exit", values });
    }
    if !wanted.symbols.is_empty() {
        let mut values = names_of(connection, of, "symbol", "trades_by_symbol")?;
        is_cut |= values.len() >= MOST_NAMES;
        values.retain(|known| wanted.symbols.iter().any(|one| is_same_symbol(one, known)));
        criteria.push(Criterion { column: "symbol", index: "trades_by_symbol", values });
    }
    Ok((criteria, is_cut))
}

/// The different values of a column, each found by one step in its index; the first [`MOST_NAMES`] of them.
fn names_of(
    connection: &Connection,
    (bot, account): (&str, &str),
    column: &str,
    index: &str,
) -> rusqlite::Result<Vec<String>> {
    let query =
        format!("SELECT min({column}) FROM trades INDEXED BY {index} WHERE bot_id = ?1 AND account_id = ?2");
    let mut next = connection.prepare_cached(&format!("{query} AND {column} > ?3"))?;
    let mut found: Option<String> =
        connection.prepare_cached(&query)?.query_row([bot, account], |row| row.get(0))?;
    let mut names = Vec::new();
    while let Some(name) = found.filter(|_| names.len() < MOST_NAMES) {
        found = next.query_row([bot, account, &name], |row| row.get(0))?;
        names.push(name);
    }
    Ok(names)
}

/// The stretch of the list that is read: a range of time, and what lies behind the cursor.
struct Span {
    conditions: String,
    order: &'static str,
    is_newest_first: bool,
}

impl Span {
    fn of(
        connection: &Connection,
        (bot, account): (&str, &str),
        wanted: &TradeFilter,
        cursor: TradeCursor,
    ) -> rusqlite::Result<Self> {
        let mut conditions = String::new();
        let range = wanted.range.unwrap_or(TradeRange { from: None, to: None });
        for (bound, comparison) in [(range.from, ">="), (range.to, "<")] {
            if let Some(at) = bound {
                conditions += &format!(" AND closed_us {comparison} {}", at.timestamp_micros());
            }
        }
        let is_newest_first = !matches!(cursor, TradeCursor::After(_));
        let order = if is_newest_first { "closed_us DESC, seq DESC" } else { "closed_us, seq" };
        // The trade that the cursor names, or else the one that stands nearest to where it would stand.
        let (number, comparison, nearest) = match cursor {
            TradeCursor::Before(None) | TradeCursor::After(0) | TradeCursor::Worst | TradeCursor::Best => {
                return Ok(Self { conditions, order, is_newest_first });
            }
            TradeCursor::Before(Some(number)) => (number, "<", "seq >= ?3 ORDER BY seq"),
            TradeCursor::After(number) => (number, ">", "seq <= ?3 ORDER BY seq DESC"),
        };
        let query = format!(
            "SELECT closed_us FROM trades WHERE bot_id = ?1 AND account_id = ?2 AND {nearest} LIMIT 1"
        );
        let seq = i64::try_from(number).unwrap_or(i64::MAX);
        let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let at = connection.prepare_cached(&query)?.query_row(params![bot, account, seq], read).optional()?;
        if let Some(at) = at {
            conditions += &format!(" AND (closed_us, seq) {comparison} ({at}, {seq})");
        }
        Ok(Self { conditions, order, is_newest_first })
    }
}

/// The trades that are wanted, in the order of the list, as (time, number).
///
/// The index of the rarest thing that is asked for is walked, once for each value of it.
fn find_trades(
    connection: &Connection,
    of: (&str, &str),
    criteria: &[Criterion],
    span: &Span,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    if criteria.iter().any(|criterion| criterion.values.is_empty()) {
        return Ok(Vec::new());
    }
    let walked = rarest(connection, of, criteria)?;
    let mut found = Vec::new();
    match walked.and_then(|place| criteria.get(place)) {
        Some(walked) if walked.values.len() <= MOST_WALKS => {
            let others: Vec<&Criterion> = criteria.iter().filter(|one| one.column != walked.column).collect();
            for value in &walked.values {
                let own = Some((walked.column, value.as_str()));
                found.extend(walk(connection, of, walked.index, own, &others, span, limit)?);
            }
        }
        _ => {
            let all: Vec<&Criterion> = criteria.iter().collect();
            found.extend(walk(connection, of, "trades_by_close", None, &all, span, limit)?);
        }
    }
    found.sort_unstable();
    if span.is_newest_first {
        found.reverse();
    }
    found.truncate(limit);
    Ok(found)
}

/// The place of the criterion that the fewest trades fulfil, counted up to [`COUNTED_FOR_CHOICE`].
fn rarest(
    connection: &Connection,
    (bot, account): (&str, &str),
    criteria: &[Criterion],
) -> rusqlite::Result<Option<usize>> {
    let mut rarest: Option<(i64, usize)> = None;
    for (place, Criterion { column, index, values }) in criteria.iter().enumerate() {
        let query = format!(
            "SELECT count(*) FROM (SELECT 1 FROM trades INDEXED BY {index} WHERE bot_id = ?1 AND account_id = ?2
             AND {column} = ?3 LIMIT {COUNTED_FOR_CHOICE})"
        );
        let mut statement = connection.prepare_cached(&query)?;
        let mut count = 0;
        for value in values.iter().take(if criteria.len() > 1 { MOST_WALKS } else { 0 }) {
            count += statement.query_row([bot, account, value], |row| row.get::<_, i64>(0))?;
        }
        if rarest.is_none_or(|(known, _)| count < known) {
            rarest = Some((count, place));
        }
    }
    Ok(rarest.map(|(_, place)| place))
}

/// Walks one index, from the end at which the list begins.
fn walk(
    connection: &Connection,
    (bot, account): (&str, &str),
    index: &str,
    own: Option<(&str, &str)>,
    others: &[&Criterion],
    span: &Span,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut values: Vec<&str> = vec![bot, account];
    let mut conditions = "bot_id = ?1 AND account_id = ?2".to_owned();
    if let Some((column, value)) = own {
        values.push(value);
        conditions += &format!(" AND {column} = ?3");
    }
    for Criterion { column, values: wanted, .. } in others {
        let first = values.len() + 1;
        let places: Vec<String> = (first..first + wanted.len()).map(|place| format!("?{place}")).collect();
        values.extend(wanted.iter().map(String::as_str));
        // The unary plus keeps the planner from another index.
        conditions += &format!(" AND +{column} IN ({})", places.join(", "));
    }
    let Span { conditions: stretch, order, .. } = span;
    let query = format!(
        "SELECT closed_us, seq FROM trades INDEXED BY {index} WHERE {conditions}{stretch} ORDER BY {order} LIMIT {limit}"
    );
    let mut statement = connection.prepare(&query)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// What is asked of the list.
#[derive(Debug, Clone)]
pub(super) struct TradeQuestion {
    /// `None`: the account that the bot trades now.
    pub account: Option<String>,
    /// The name of a config version: `v15`, `15` or a SHA-256.
    pub version: Option<String>,
    pub filter: TradeFilter,
    pub cursor: TradeCursor,
    pub limit: usize,
}

/// A page of one account, and the names that are needed to show it.
#[derive(Debug, Clone)]
pub(super) struct AccountPage {
    pub account: String,
    pub accounts: Vec<String>,
    pub page: TradePage,
    pub names: ConfigNames,
    /// Whether any trade of the account is kept.
    pub has_any: bool,
}
