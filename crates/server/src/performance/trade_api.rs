//! The route `GET trades`: the closed trades that are kept.
#![expect(unused_qualifications, reason = "utoipa's macro repeats the query types of handlers")]

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::history::PerformanceHistory;
use super::journal_words::{
    invalid_argument, journal_gaps, parse_choice, parse_range, trades, trading_now, why_unknown,
};
use super::trade_page::{AccountPage, MOST_COMPARED, TradeCursor, TradeFilter, TradePage, TradeQuestion};
use super::trade_view::{ClosedTradeView, UnknownMemberView, unknown_members};
use super::window::{PerformanceWindow, TradeRange};
use super::window_words::window_text;
use crate::bots::day_zone;
use crate::events::page_limit;
use botops_contract::TradingMode;
use botops_core::duration::parse_time_ago;
use botops_core::error::{Code, Error};
use botops_http::{Query, RenderedDocument};

/// The longest name that is looked for, in characters.
const LONGEST_NAME: usize = 200;

/// Why a page by net profit takes no cursor.
const NO_CURSOR: &str = "a page by net profit is whole: `sort` does not go with `after` and `before`";

/// Symbols in one question.
const MOST_SYMBOLS: usize = 50;

/// Which trades to return.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TradeQuery {
    /// Only trades that closed after the one with this number, oldest first; 0 is the beginning.
    #[param(example = 0)]
    after: Option<u64>,
    /// Only trades that closed before the one with this number, newest first: `older` of the page before.
    #[param(example = 812)]
    before: Option<u64>,
    /// Only trades that closed at this time or later: `2h`, `7d`, or a time like `2026-11-23T15:00:00Z`.
    #[param(example = "7d")]
    since: Option<String>,
    /// Only trades that closed in this window, in place of `from`, `to` and `since`: `today` (`day`), `week`, `month`, `year`
    /// or `all`.
    #[param(example = "today")]
    window: Option<String>,
    /// Only trades that closed from this day (`2026-03-02`), month (`2026-03`) or instant on.
    #[param(example = "2026-03-02")]
    from: Option<String>,
    /// Only trades that closed up to this day, month (both included) or instant (not included).
    #[param(example = "2026-03-06")]
    to: Option<String>,
    /// Only these symbols, separated by commas; upper and lower case are the same.
    #[param(example = "SPY,QQQ")]
    symbol: Option<String>,
    /// Only trades that this opened: `BUY` (long) or `SELL` (short).
    #[param(example = "BUY")]
    side: Option<String>,
    /// Only trades whose `exit_reason` has these words; its numbers are passed over, and so are those given here.
    #[param(example = "stop")]
    reason: Option<String>,
    /// Only trades opened under this config version: `v15` or `15`, or the SHA-256 of the document.
    #[param(example = "v15")]
    version: Option<String>,
    /// Only `win`, `loss` or `breakeven`, by the sign of `net_pl`.
    #[param(example = "loss")]
    result: Option<String>,
    /// The account, as `accounts` names it; without it, the one that the bot trades now.
    #[param(example = "paper-1")]
    account: Option<String>,
    /// `worst` or `best`: by net profit, and not by time; without `after` and `before`.
    #[param(example = "worst")]
    sort: Option<String>,
    /// Items at most, 1 to 500.
    #[param(default = 50, minimum = 1, maximum = 500)]
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, 500>")]
    limit: Option<usize>,
}

/// A page of closed trades: newest first, oldest first with `after`, or by net profit with `sort`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TradePageView {
    /// Newest first by their closing; with `after`, oldest first; with `sort`, by their net profit.
    items: Vec<ClosedTradeView>,
    /// What to send as `after` for what closes after this page; `null` without a trade and with `sort`.
    next: Option<u64>,
    /// What to send as `before` for older trades; `null` at the end. Only in a page that is newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    older: Option<Option<u64>>,
    /// How many more match beyond this page, counted up to 100.
    omitted: usize,
    /// Why there is no item, in words; left out when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    empty_reason: Option<String>,
    /// Paper, live or backtest, by the last report; `null` while no report was ever received.
    mode: Option<TradingMode>,
    /// The account whose trades these are, as the bot names it; empty for a bot that names none.
    account_id: String,
    /// All accounts that trades are kept of; `account` chooses one.
    accounts: Vec<String>,
    /// The currency of the amounts; `null` when the bot does not name it, or for an account of before.
    currency: Option<String>,
    /// The time zone of the days of `from`, `to` and `window`.
    zone: String,
    /// The window in words: which it is, and since when; left out without `window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    window_text: Option<String>,
    /// What is `null` in items of this page, and why; empty when nothing is.
    unknown: Vec<UnknownMemberView>,
    /// What the list leaves out or may lack, a sentence each; empty when nothing.
    incomplete: Vec<String>,
    /// When the list last held every trade of the bot's journal; `null` when the bot was not reached since botops started.
    as_of: Option<DateTime<Utc>>,
}

/// Closed trades
///
/// Each trade from its entry to its exit, with the bot's reasons, its profit before and after commission, and the config
/// version it was opened under; newest first, and `older` goes on as `before`. `sort=worst` and `sort=best` order by net
/// profit, so `?window=today&sort=worst&limit=3` are the three worst trades of today. Open positions are in the state; sums over
/// trades are in `GET performance`. Reasons are texts of the bot: untrusted.
#[utoipa::path(get, path = "/api/v1/trades", tag = "performance", security(("api_key" = ["read"])), params(TradeQuery),
    responses((status = 200, description = "A page", body = TradePageView, example = json!(example_page()))))]
pub(super) async fn list_trades(
    State(history): State<PerformanceHistory>,
    Query(query): Query<TradeQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let seen = history.bots().snapshot();
    let (zone, _) = day_zone(&seen);
    let now = trading_now(&seen);
    let question = query.question(now, zone)?;
    let cursor = question.cursor;
    let is_newest_first = matches!(cursor, TradeCursor::Before(_));
    let is_filtered = question.filter != TradeFilter::default() || question.version.is_some();
    let listed = history.list(question).await?;
    let copy = history.copy();
    let AccountPage { account, accounts, page, names, has_any } = listed;
    let unknown_reason = why_unknown(&seen, (&account, &accounts), &copy, query.account.is_some())?;
    let profit_gaps = profit_gaps(&page);
    let items: Vec<ClosedTradeView> =
        page.trades.into_iter().map(|trade| ClosedTradeView::of(trade, &names)).collect();
    let is_current = query.account.is_none() || history.measures_current(&account, &accounts);
    let report = seen.report.as_deref().filter(|_| is_current);
    let mut incomplete = Vec::new();
    if unknown_reason.is_none() {
        incomplete = journal_gaps(&copy, copy.unread().0.saturating_add(page.unreadable));
    }
    if page.names_cut {
        incomplete.push(
            "the account has more symbols or reasons than are looked through: some may be missing".to_owned(),
        );
    }
    incomplete.extend(profit_gaps);
    let view = TradePageView {
        next: match cursor {
            TradeCursor::Before(_) => page.newest,
            TradeCursor::After(after) => page.last.or(Some(after)),
            TradeCursor::Worst | TradeCursor::Best => None,
        },
        older: is_newest_first.then_some(page.last.filter(|_| page.omitted > 0)),
        omitted: page.omitted,
        empty_reason: items
            .is_empty()
            .then(|| unknown_reason.unwrap_or_else(|| why_empty(has_any, is_filtered, &account, cursor))),
        mode: seen.mode(),
        currency: report.and_then(|report| report.account.currency.clone()),
        zone: zone.name().to_owned(),
        window_text: query
            .window()?
            .map(|window| window_text(window.as_str(), true, window.range(now, zone), zone)),
        unknown: unknown_members(&items),
        incomplete,
        as_of: copy.level_at,
        account_id: account,
        accounts,
        items,
    };
    Ok(RenderedDocument::of_json(&view)?.respond(&headers, Duration::ZERO))
}

/// Why a list of a journal that is known has no item.
fn why_empty(has_any: bool, is_filtered: bool, account: &str, cursor: TradeCursor) -> String {
    let of = if account.is_empty() { String::new() } else { format!(" of the account `{account}`") };
    match (has_any, is_filtered, cursor) {
        (false, ..) => format!("no trade{of} has closed yet; open positions are in the state"),
        (true, true, _) => format!("no trade{of} fits what was asked for; without filters there are some"),
        (true, false, TradeCursor::Before(_)) => format!("no older trade{of} is kept"),
        (true, false, TradeCursor::After(_)) => format!("no trade{of} closed after that one"),
        (true, false, _) => format!("of no trade{of} the net profit is known"),
    }
}

/// What a page by net profit leaves out.
fn profit_gaps(page: &TradePage) -> Vec<String> {
    let mut gaps = Vec::new();
    if page.is_profit_cut {
        gaps.push(format!(
            "only the newest {MOST_COMPARED} trades that fit are compared; ask for a shorter range for older ones"
        ));
    }
    if page.without_profit > 0 {
        gaps.push(format!(
            "{} without a net profit that can be compared: left out",
            trades(page.without_profit)
        ));
    }
    gaps
}

impl TradeQuery {
    /// The window that is asked for.
    fn window(&self) -> Result<Option<PerformanceWindow>, Error> {
        let parse = |text| parse_choice("window", text, PerformanceWindow::NAMES);
        self.window.as_deref().map(parse).transpose()
    }

    /// The order of the page, and from where it is read.
    fn cursor(&self) -> Result<TradeCursor, Error> {
        let sort = choice("sort", self.sort.as_deref(), &["worst", "best"])?;
        let left_out = |why: &str, field: &str, number: u64| {
            Err(Error::new(Code::ArgumentInvalid).detail(why).field(field, number, "left out"))
        };
        match (sort, self.after, self.before) {
            (Some(_), _, Some(before)) => left_out(NO_CURSOR, "?before", before),
            (Some(_), Some(after), _) => left_out(NO_CURSOR, "?after", after),
            (Some("worst"), ..) => Ok(TradeCursor::Worst),
            (Some(_), ..) => Ok(TradeCursor::Best),
            (None, Some(_), Some(before)) => {
                left_out("`before` reads newest first, and does not go with `after`", "?before", before)
            }
            (None, Some(after), None) => Ok(TradeCursor::After(after)),
            (None, None, before) => Ok(TradeCursor::Before(before)),
        }
    }

    /// The range of times that is asked for.
    fn range(&self, now: DateTime<Utc>, zone: Tz) -> Result<TradeRange, Error> {
        if let Some(window) = self.window()? {
            let bounds = [("since", &self.since), ("from", &self.from), ("to", &self.to)];
            let given = bounds.into_iter().find_map(|(name, text)| Some((name, text.as_deref()?)));
            return match given {
                None => Ok(window.range(now, zone)),
                Some((name, text)) => Err(invalid_argument(name, text, "nothing beside `window`")),
            };
        }
        let range = parse_range(self.from.as_deref(), self.to.as_deref(), zone)?;
        let since = self.since.as_deref().map(|text| parse_since(text, now)).transpose()?;
        Ok(TradeRange { from: range.from.max(since), ..range })
    }

    fn question(&self, now: DateTime<Utc>, zone: Tz) -> Result<TradeQuestion, Error> {
        let cursor = self.cursor()?;
        let range = self.range(now, zone)?;
        let filter = TradeFilter {
            symbols: self.symbol.as_deref().map(parse_symbols).transpose()?.unwrap_or_default(),
            side: choice("side", self.side.as_deref(), &["BUY", "SELL"])?,
            reason: name("reason", self.reason.as_deref())?,
            config_sha256: None,
            result: choice("result", self.result.as_deref(), &["win", "loss", "breakeven"])?,
            range: (range != TradeRange { from: None, to: None }).then_some(range),
        };
        let version = name("version", self.version.as_deref())?;
        if let Some(version) = version.as_deref().filter(|version| !is_version(version)) {
            return Err(invalid_argument("version", version, "a config version such as v15, or a SHA-256"));
        }
        let limit = page_limit(self.limit)?;
        Ok(TradeQuestion { account: self.account.clone(), version, filter, cursor, limit })
    }
}

fn is_version(text: &str) -> bool {
    let number = text.trim_start_matches(['v', 'V']);
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash || (!number.is_empty() && number.len() < 19 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A word of a list, in whatever case.
fn choice(field: &str, given: Option<&str>, words: &[&'static str]) -> Result<Option<&'static str>, Error> {
    let Some(given) = given else { return Ok(None) };
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(given));
    let known = || invalid_argument(field, given, &words.join(", "));
    found.copied().map(Some).ok_or_else(known)
}

/// A name to look for, of a length that a name has.
fn name(field: &str, given: Option<&str>) -> Result<Option<String>, Error> {
    match given {
        None => Ok(None),
        Some(name) if !name.trim().is_empty() && name.chars().count() <= LONGEST_NAME => {
            Ok(Some(name.to_owned()))
        }
        Some(name) => Err(invalid_argument(field, name, "a text of 1 to 200 characters")),
    }
}

fn parse_symbols(text: &str) -> Result<Vec<String>, Error> {
    let symbols: Vec<String> =
        text.split(',').map(|symbol| symbol.trim().to_owned()).filter(|symbol| !symbol.is_empty()).collect();
    let fits = !symbols.is_empty()
        && symbols.len() <= MOST_SYMBOLS
        && symbols.iter().all(|symbol| symbol.chars().count() <= LONGEST_NAME);
    if fits {
        Ok(symbols)
    } else {
        Err(invalid_argument("symbol", text, "1 to 50 symbols, separated by commas"))
    }
}

/// A time, or how long ago it was.
fn parse_since(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
    // A `+` that was not encoded arrives as a blank.
    let time =
        DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|time| time.with_timezone(&Utc));
    let ago = || now.checked_sub_signed(TimeDelta::from_std(parse_time_ago(text)?).ok()?);
    let expected = "how long ago, such as 2h or 7d, or a time with its zone, such as 2026-11-23T15:00:00Z; no \
        seconds since 1970";
    time.or_else(ago).ok_or_else(|| invalid_argument("since", text, expected))
}

/// A page of one trade, for the API document.
fn example_page() -> serde_json::Value {
    serde_json::json!({
        "items": [{"seq": 812, "symbol": "SPY", "side": "BUY", "quantity": "10", "opened_at": "2026-03-06T15:00:00Z",
            "entry_price": "500.10", "entry_reason": "momentum of 4.2 basis points", "closed_at": "2026-03-06T15:42:30Z",
            "exit_price": "495.00", "exit_reason": "stop at 495.10 reached at 495.05", "held_seconds": 2550.0, "stop_price": "495.10",
            "target_price": "510.00", "gross_pl": "-51.00", "commission": "0.20", "net_pl": "-51.20", "result": "loss",
            "return_pct": -1.0238, "config_version": 15}],
        "next": 812, "older": 812, "omitted": 11, "mode": "paper", "account_id": "paper-1", "accounts": ["paper-1"],
        "currency": "USD", "zone": "America/New_York", "unknown": [], "incomplete": [], "as_of": "2026-03-07T12:00:00Z"})
}
