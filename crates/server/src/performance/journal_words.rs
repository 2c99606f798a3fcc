//! The words of what is asked for and of what is not known of the journal, the same for the list of trades and its measures.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::history::JournalCopy;
use super::window::{TradeRange, lower_bound, upper_bound};
use crate::bots::BotSnapshot;
use botops_core::error::{Code, Error};

/// Now, as the bot's trades count it: in a replay, the market's time.
pub(super) fn trading_now(seen: &BotSnapshot) -> DateTime<Utc> {
    let market = seen.report.as_deref().map(|report| &report.market);
    let replayed = market.filter(|market| market.source.as_deref() == Some("replay"));
    replayed.and_then(|market| market.market_time).unwrap_or_else(Utc::now)
}

/// The range of `from` and `to`, by the days of a zone.
pub(super) fn parse_range(from: Option<&str>, to: Option<&str>, zone: Tz) -> Result<TradeRange, Error> {
    let bound = |name: &str, text: Option<&str>, read: fn(&str, Tz) -> Option<DateTime<Utc>>| {
        let Some(text) = text else { return Ok(None) };
        read(text, zone).map(Some).ok_or_else(|| {
            invalid_argument(name, text, "a day (2026-03-02), a month (2026-03) or an RFC 3339 time")
        })
    };
    let range = TradeRange { from: bound("from", from, lower_bound)?, to: bound("to", to, upper_bound)? };
    if range.from.zip(range.to).is_some_and(|(from, to)| from >= to) {
        return Err(invalid_argument("from", from.unwrap_or_default(), "a time before `to`"));
    }
    Ok(range)
}

/// Why there are no numbers for an account: the bot has no journal, was never seen, or its journal cannot be read.
pub(super) fn why_unknown(
    seen: &BotSnapshot,
    (account, accounts): (&str, &[String]),
    copy: &JournalCopy,
    was_named: bool,
) -> Result<Option<String>, Error> {
    if accounts.iter().any(|known| known == account) {
        return Ok(None);
    }
    let known = accounts.join(", ");
    if was_named {
        let known = if accounts.is_empty() { "none".to_owned() } else { known };
        return Err(invalid_argument(
            "account",
            account,
            &format!("one of the accounts that trades are kept of: {known}"),
        ));
    }
    Ok(match seen.hello.as_deref() {
        None => Some("the bot was never seen, so nothing is known of its trades".to_owned()),
        Some(hello) if !hello.offers("trades") => {
            Some("the bot does not report its closed trades (capability `trades`)".to_owned())
        }
        Some(_) if account.is_empty() && !accounts.is_empty() => Some(format!(
            "the bot does not say which account it trades, and its trades are of several: ask with account= for one of \
             {known}"
        )),
        Some(_) => why_unread(copy, account),
    })
}

/// Why nothing is known of a journal of which no trade is kept; `None` when it was read and has none.
fn why_unread(copy: &JournalCopy, account: &str) -> Option<String> {
    let (unread, first) = copy.unread();
    if copy.failure.is_none() && !copy.is_of(account) {
        return Some(format!("the bot's journal of trades was not read yet for the account `{account}`"));
    }
    match (&copy.failure, copy.level_at) {
        (Some(failure), None) => {
            Some(format!("the bot's journal of trades cannot be read (`GET trades`): {failure}"))
        }
        (None, None) => Some("the bot's journal of trades was not read yet".to_owned()),
        (_, Some(_)) if unread > 0 => Some(format!(
            "{unread} trades of the bot's journal cannot be read, and none of this account is kept; the first: {}",
            first.unwrap_or("its form is not known")
        )),
        (_, Some(_)) => None,
    }
}

/// What the copy of the journal lacks, or may lack.
pub(super) fn journal_gaps(copy: &JournalCopy, unread: u64) -> Vec<String> {
    let mut gaps = Vec::new();
    if unread > 0 {
        let first = copy.unread().1.map(|first| format!("; the first: {first}")).unwrap_or_default();
        gaps.push(format!(
            "{} of the bot's journal could not be read, left out of every number{first}",
            trades(unread)
        ));
    }
    if let Some(failure) = &copy.failure {
        let since = copy.level_at.map_or_else(
            || "the journal was not read since botops started".to_owned(),
            |at| {
                format!(
                    "these are the trades as of {}",
                    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
                )
            },
        );
        gaps.push(format!("`GET trades` failed ({failure}): {since}"));
    }
    gaps
}

/// A number of trades, in words.
pub(super) fn trades(count: u64) -> String {
    if count == 1 { "1 trade".to_owned() } else { format!("{count} trades") }
}

/// A choice among `names`.
pub(super) fn parse_choice<T: std::str::FromStr>(name: &str, text: &str, names: &str) -> Result<T, Error> {
    text.parse().map_err(|_| invalid_argument(name, text, names))
}

/// An argument of the query that cannot be used.
pub(super) fn invalid_argument(name: &str, text: &str, expected: &str) -> Error {
    let got = botops_core::text::clean(text, 60);
    Error::new(Code::ArgumentInvalid).detail(format!("`{name}` takes {expected}")).field(
        format!("?{name}"),
        got,
        expected,
    )
}
