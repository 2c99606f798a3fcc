//! Routes of the performance history.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::breakdown::{TradeGroup, share_pct};
use super::history::{AccountMeasures, MeasureQuestion, PerformanceHistory};
use super::journal_words::{journal_gaps, parse_choice, parse_range, trades, trading_now, why_unknown};
use super::measure::TradeMeasures;
use super::trade_api::{__path_list_trades, list_trades};
use super::trade_grouping::TradeGrouping;
use super::trade_rows::is_same_symbol;
use super::window::{PerformanceWindow, TradeRange};
use super::window_words::{OutsideView, outside_of, read_call, window_text};
use crate::bots::{BotSnapshot, ReportedDay, day_zone, open_profit};
use botops_contract::{Amount, BotReport, TradingMode, add_exactly};
use botops_core::error::{Error, NextAction};
use botops_core::text::{clean, percent_encode};
use botops_http::{FeatureRoutes, Query, json, routes};

/// What is said of an amount that is in no sum.
const TOO_MANY_DIGITS: &str = "more digits than an exact sum holds";

/// The name of a window that is none of the named ones.
const RANGE: &str = "range";

/// Groups in one answer; older ones are counted in `omitted` and named in `omitted_parts`.
const GROUPS: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct PerformanceQuery {
    /// `day`, `week`, `month`, `year` or `all`: the calendar window that now lies in, by the bot's day [month].
    window: Option<String>,
    /// First day (`2026-03-02`), month (`2026-03`) or instant; replaces `window`.
    from: Option<String>,
    /// Last day, month (both included) or instant (not included).
    to: Option<String>,
    /// Break the answer down by `day`, `week`, `month`, `symbol`, `version` (of the config at entry), `reason` (of the
    /// exit, whatever its numbers are) or `hour` (of the closing), or by several of them: `symbol,reason`.
    by: Option<String>,
    /// Only trades of this symbol; upper and lower case are the same.
    symbol: Option<String>,
    /// The account, as `accounts` names it; without it, the one that the bot trades now.
    account: Option<String>,
}

/// How trading went in a range.
#[derive(Debug, Serialize, ToSchema)]
struct PerformanceView {
    /// Paper, live or backtest, by the last report; `null` while no report was ever received.
    mode: Option<TradingMode>,
    /// The account whose trades these are, as the bot names it; empty for a bot that names none.
    account_id: String,
    /// All accounts that trades are kept of. Their results are never added up.
    accounts: Vec<String>,
    /// The currency of the account; `null` when the bot does not name it, or for an account of before.
    currency: Option<String>,
    /// What the profits below are: `realized`, the net profit of trades that closed in the range. The `daily_pnl` of
    /// the summary is the change of equity since the day began, which is another number.
    pnl_basis: &'static str,
    /// The time zone whose days these are.
    zone: String,
    /// `bot` when the bot names that zone; `default` when it names none: New York for a bot of contract 1, else UTC.
    zone_source: &'static str,
    /// `day`, `week`, `month`, `year` or `all`; `range` when `from` or `to` was given.
    #[schema(example = "month")]
    window: String,
    /// The window in words: which it is, since when, and in which zone its days are.
    window_text: String,
    /// What closed before and after the range, with the call for it; left out where the range has no bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    outside: Option<OutsideView>,
    /// The first instant of the range; `null` for no bound.
    from: Option<DateTime<Utc>>,
    /// The end of the range, not included; `null` for no bound.
    to: Option<DateTime<Utc>>,
    /// The symbol asked for; `null` for all symbols.
    symbol: Option<String>,
    /// The measures of all closed trades in the range.
    #[serde(flatten)]
    measures: TradeMeasures,
    /// Profit and loss of the open positions; `null` for a range that has ended, or when it is unknown.
    unrealized_pnl: Option<Decimal>,
    /// When the bot knew those positions; `null` when `unrealized_pnl` is, and when the bot does not say.
    unrealized_as_of: Option<DateTime<Utc>>,
    /// Realized plus unrealized; `null` when unrealized is.
    total_pnl: Option<Decimal>,
    /// When the first trade of the range closed; `null` without a trade.
    first_trade_at: Option<DateTime<Utc>>,
    /// When the last trade of the range closed; `null` without a trade.
    last_trade_at: Option<DateTime<Utc>>,
    /// The groups asked for with `by`: days, weeks and months in their order, all others by their net profit, the best
    /// first.
    groups: Vec<PerformanceGroupView>,
    /// How many groups were left out: of days, weeks and months the oldest, of others those between the best and the worst.
    omitted: usize,
    /// What was left out, with the call that returns it; empty when nothing was.
    omitted_parts: Vec<OmittedPartView>,
    /// Where the numbers come from: the bot's trade journal, copied here; `null` when there is none.
    source: Option<&'static str>,
    /// Why there are no numbers; `null` when there are.
    unknown_reason: Option<String>,
    /// Trades of the bot's journal that could not be read, of whatever account and time; they count nowhere.
    unread_trades: u64,
    /// What these numbers leave out or may lack, a sentence each; empty when nothing.
    incomplete: Vec<String>,
    /// When the copy last held every trade of the bot's journal; `null` when the bot was not reached since botops
    /// started.
    as_of: Option<DateTime<Utc>>,
    /// When this answer was made (UTC).
    generated_at: DateTime<Utc>,
}

/// One group of trades.
#[derive(Debug, Serialize, ToSchema)]
struct PerformanceGroupView {
    /// `2026-03-02`, `2026-W10`, `2026-03`, a symbol, `v15`, a reason with `…` for its numbers, `14:00`; several by ` / `.
    key: String,
    /// Each part of the key by its name; left out where `by` names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    keys: Option<BTreeMap<&'static str, String>>,
    /// `realized_pnl` of the group in percent of that of all; `null` when that is zero or either is not known. Where some
    /// groups lost, others have more than 100.
    share_of_realized_pct: Option<f64>,
    /// Its trades in percent of all.
    share_of_trades_pct: Option<f64>,
    /// The measures of the group; streak and drawdown count within it.
    #[serde(flatten)]
    measures: TradeMeasures,
}

/// A part of the answer that was left out because there were too many items.
#[derive(Debug, Serialize, ToSchema)]
struct OmittedPartView {
    /// Which items were left out.
    what: String,
    /// How many items were left out.
    count: usize,
    /// A call that returns them.
    call: NextAction,
}

/// The routes of the performance history.
pub fn routes() -> FeatureRoutes<PerformanceHistory> {
    FeatureRoutes::new([
        routes!(get_performance.refuses(StoreUnavailable)),
        routes!(list_trades.refuses(StoreUnavailable)),
    ])
}

/// How trading went
///
/// Closed trades by window (`day`, `week`, `month`, `year`, `all`) or range, as a whole and by day, week, month, symbol,
/// config version, reason or hour. Without a window it is the calendar month: `window_text` says which range it is, and
/// `outside` what it leaves out. The day is the bot's (`zone`); in a replay, now is the market's time. Each account is
/// measured for itself. `GET trades` lists the trades.
///
/// - `realized_pnl` = Σ net profit of closed trades (after commission). Sums are exact; a mean has as many decimals as
///   the amounts, and two at least.
/// - `win_rate` = wins ÷ closed trades; breakeven counts as closed. 0 to 1.
/// - `profit_factor` = Σ wins ÷ |Σ losses|. `expectancy` = Σ net ÷ closed trades.
/// - `avg_risk_reward_ratio` = mean of (target − entry) ÷ (entry − stop) over trades with both and a risk above zero.
/// - `current_streak`: wins or losses in a row, newest backwards, breakeven passed over.
/// - `max_drawdown` = lowest (cumulative − running peak) of net profit in time order, the peak starting at 0.
#[utoipa::path(get, path = "/api/v1/performance", tag = "performance", security(("api_key" = ["read"])),
    params(PerformanceQuery),
    responses((status = 200, description = "The measures", body = PerformanceView, example = json!(example_view()))))]
async fn get_performance(
    State(history): State<PerformanceHistory>,
    Query(query): Query<PerformanceQuery>,
) -> Result<Response, Error> {
    let seen = history.bots().snapshot();
    let report = seen.report.as_deref();
    let now = trading_now(&seen);
    let (zone, zone_source) = day_zone(&seen);
    let (name, range) = asked_range(&query, now, zone)?;
    let by = parse_groupings(query.by.as_deref())?;
    let symbol = query.symbol.clone();
    let question = MeasureQuestion {
        account: query.account.clone(),
        range,
        symbol: symbol.clone(),
        by: by.clone(),
        zone,
    };
    let measured = history.measure(question).await?;
    let copy = history.copy();
    let unknown_reason =
        why_unknown(&seen, (&measured.account, &measured.accounts), &copy, query.account.is_some())?;
    let AccountMeasures { account, accounts, mut breakdown, before, after, unreadable_rows } = measured;
    let is_current = query.account.is_none() || history.measures_current(&account, &accounts);
    let is_open_ended = range.to.is_none_or(|to| to > now);
    let open = report.filter(|_| is_open_ended && is_current);
    let open = OpenProfit::of(open, &seen, symbol.as_deref(), &breakdown.whole);
    let unread_trades = copy.unread().0.saturating_add(unreadable_rows);
    let mut incomplete = Vec::new();
    if unknown_reason.is_none() {
        incomplete = journal_gaps(&copy, unread_trades);
        incomplete.extend(unmeasured_gap(&breakdown.whole));
        incomplete.extend(open.gap);
        incomplete.extend(open.closed_parts);
        incomplete.extend(old_positions_gap(&seen, open.unrealized));
    }
    let are_of_time = by.iter().all(|by| by.is_of_time());
    let beyond = breakdown.keep(GROUPS, are_of_time);
    let whole = (breakdown.whole.realized_pnl, breakdown.whole.total_trades.map(Decimal::from));
    let view = PerformanceView {
        mode: seen.mode(),
        account_id: account,
        accounts,
        currency: report.filter(|_| is_current).and_then(|report| report.account.currency.clone()),
        pnl_basis: "realized",
        zone: zone.name().to_owned(),
        zone_source,
        window: name.to_owned(),
        window_text: window_text(name, query.window.is_some() || name == RANGE, range, zone),
        outside: outside_of(&outside_filter(&query), range, before, after),
        from: range.from,
        to: range.to,
        symbol,
        unrealized_pnl: open.unrealized,
        unrealized_as_of: report.and_then(|report| report.as_of).filter(|_| open.unrealized.is_some()),
        total_pnl: open.total.filter(|_| unknown_reason.is_none()),
        measures: if unknown_reason.is_none() { breakdown.whole } else { TradeMeasures::default() },
        first_trade_at: breakdown.first,
        last_trade_at: breakdown.last,
        groups: breakdown.groups.into_iter().map(|group| group_view(group, &by, whole)).collect(),
        omitted: beyond,
        omitted_parts: omitted_parts(beyond, are_of_time),
        source: unknown_reason.is_none().then_some("trade journal of the bot"),
        unknown_reason,
        unread_trades,
        incomplete,
        as_of: copy.level_at,
        generated_at: Utc::now(),
    };
    Ok(json(&view))
}

/// That the open positions are not those of now: the bot is away, or what it knows is of a day that is over.
fn old_positions_gap(seen: &BotSnapshot, unrealized: Option<Decimal>) -> Option<String> {
    let is_over = ReportedDay::of(seen, Utc::now()).is_some_and(|day| day.is_over);
    let is_old = unrealized.is_some() && (is_over || !seen.presence.answers());
    let known = seen.report.as_ref().and_then(|report| report.as_of);
    let known = known.map_or_else(
        || "unrealized_pnl is of a time that the bot does not name".to_owned(),
        |at| format!("unrealized_pnl is of {}", at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
    );
    is_old.then(|| {
        format!("{known}, and so is its part of total_pnl: nothing newer is known of the open positions")
    })
}

/// Characters of a trade's id in a sentence.
const ID_SHOWN: usize = 60;

fn unmeasured_gap(whole: &TradeMeasures) -> Option<String> {
    let unmeasured = whole.unmeasured_trades.filter(|count| *count > 0)?;
    let count = if unmeasured == 1 { "counts" } else { "count" };
    let named = whole.first_unmeasured.as_deref().filter(|id| !id.is_empty());
    let named = named.map(|id| match unmeasured {
        1 => format!(" (`{}`)", clean(id, ID_SHOWN)),
        _ => format!(" (the first: `{}`)", clean(id, ID_SHOWN)),
    });
    Some(format!(
        "{}{} {count} in total_trades alone: the net profit is not known, or has {TOO_MANY_DIGITS}",
        trades(unmeasured),
        named.unwrap_or_default()
    ))
}

/// What is won or lost on the positions that are open now.
struct OpenProfit {
    unrealized: Option<Decimal>,
    /// With what closed trades brought.
    total: Option<Decimal>,
    /// Why one of them is not there, where a reader would expect it.
    gap: Option<String>,
    /// What parts of them that were closed have brought, which is in no closed trade.
    closed_parts: Option<String>,
}

impl OpenProfit {
    fn of(
        report: Option<&BotReport>,
        seen: &BotSnapshot,
        symbol: Option<&str>,
        whole: &TradeMeasures,
    ) -> Self {
        let nothing = Self { unrealized: None, total: None, gap: None, closed_parts: None };
        let Some(report) = report else { return nothing };
        let nothing = Self { closed_parts: closed_parts(report, symbol), ..nothing };
        let unrealized = match unrealized_sum(report, seen, symbol) {
            Ok(sum) => sum,
            Err(why) => return Self { gap: Some(why.to_owned()), ..nothing },
        };
        let parts = unrealized.zip(whole.realized_pnl);
        let total = parts.and_then(|(unrealized, realized)| add_exactly(unrealized, realized));
        let is_lost = parts.is_some() && total.is_none();
        let gap = is_lost.then(|| format!("total_pnl is left out: it has {TOO_MANY_DIGITS}"));
        Self { unrealized, total, gap, ..nothing }
    }
}

/// What the closing of parts of positions brought that are still open; `None` where the bot tells of none.
fn closed_parts(report: &BotReport, symbol: Option<&str>) -> Option<String> {
    let parts: Vec<&Amount> = report
        .positions
        .iter()
        .flatten()
        .filter(|position| symbol.is_none_or(|symbol| is_same_symbol(&position.symbol, symbol)))
        .filter_map(|position| position.realized_pl.as_ref())
        .collect();
    let sum = parts.iter().try_fold(Decimal::ZERO, |sum, part| add_exactly(sum, part.value()?));
    let brought = sum.map_or_else(|| "an amount that has no exact sum".to_owned(), |sum| sum.to_string());
    let of = if parts.len() == 1 {
        "1 open position".to_owned()
    } else {
        format!("{} open positions", parts.len())
    };
    (!parts.is_empty()).then(|| {
        format!(
            "the closed parts of {of} brought {brought}: in no number here until the whole trade is closed"
        )
    })
}

/// The profit and loss of the open positions; `None` for a bot that reports none.
///
/// # Errors
/// Why it has no sum: a position or its profit is not known, or the sum would lose a digit.
fn unrealized_sum(
    report: &BotReport,
    seen: &BotSnapshot,
    symbol: Option<&str>,
) -> Result<Option<Decimal>, &'static str> {
    let Some(positions) = &report.positions else { return Ok(None) };
    if seen.dropped.positions + seen.dropped.unread_positions > 0 {
        return Err("unrealized_pnl is not known: not all open positions could be read");
    }
    let of_symbol = positions
        .iter()
        .filter(|position| symbol.is_none_or(|symbol| is_same_symbol(&position.symbol, symbol)));
    let mut sum = Decimal::ZERO;
    for position in of_symbol {
        let Some(profit) = open_profit(position) else {
            return Err(
                "unrealized_pnl is not known: the bot gives neither profit nor current price of all open positions",
            );
        };
        let added = profit.value().and_then(|profit| add_exactly(sum, profit));
        sum = added.ok_or(
            "unrealized_pnl is left out: the profit of the open positions has more digits than a sum holds",
        )?;
    }
    Ok(Some(sum))
}

fn asked_range(
    query: &PerformanceQuery,
    now: DateTime<Utc>,
    zone: Tz,
) -> Result<(&'static str, TradeRange), Error> {
    if query.from.is_none() && query.to.is_none() {
        let window = query.window.as_deref().unwrap_or("month");
        let window: PerformanceWindow = parse_choice("window", window, PerformanceWindow::NAMES)?;
        return Ok((window.as_str(), window.range(now, zone)));
    }
    let range = parse_range(query.from.as_deref(), query.to.as_deref(), zone)?;
    Ok((RANGE, range))
}

/// The members of the query that narrow which trades count, whatever the range is.
fn outside_filter(query: &PerformanceQuery) -> String {
    let named = [("symbol", &query.symbol), ("account", &query.account), ("by", &query.by)];
    let given = named.iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    given.map(|(name, value)| format!("&{name}={}", percent_encode(value))).collect()
}

fn parse_groupings(text: Option<&str>) -> Result<Vec<TradeGrouping>, Error> {
    let mut by: Vec<TradeGrouping> = Vec::new();
    for word in text.into_iter().flat_map(|text| text.split(',')) {
        let one = parse_choice("by", word, TradeGrouping::NAMES)?;
        if !by.contains(&one) {
            by.push(one);
        }
    }
    Ok(by)
}

fn group_view(
    group: TradeGroup,
    by: &[TradeGrouping],
    (realized, trades): (Option<Decimal>, Option<Decimal>),
) -> PerformanceGroupView {
    let TradeGroup { keys, measures } = group;
    PerformanceGroupView {
        key: keys.join(" / "),
        share_of_realized_pct: share_pct(measures.realized_pnl, realized),
        share_of_trades_pct: share_pct(measures.total_trades.map(Decimal::from), trades),
        keys: (by.len() > 1).then(|| by.iter().map(|by| by.as_str()).zip(keys).collect()),
        measures,
    }
}

fn omitted_parts(beyond: usize, are_of_time: bool) -> Vec<OmittedPartView> {
    if beyond == 0 {
        return Vec::new();
    }
    let (what, operation, path) = if are_of_time {
        ("older groups", "get_performance", "/api/v1/performance?window=all&by=month")
    } else {
        ("groups between the best and the worst", "list_trades", "/api/v1/trades")
    };
    let call = read_call(operation, path.to_owned());
    vec![OmittedPartView { what: what.to_owned(), count: beyond, call }]
}

/// The answer that the API document shows as an example.
fn example_view() -> serde_json::Value {
    let mut view = serde_json::json!({
            "mode": "paper", "account_id": "", "accounts": [""], "currency": "USD", "pnl_basis": "realized",
            "zone": "America/New_York", "zone_source": "bot", "window": "month",
            "from": "2026-03-01T05:00:00Z", "to": null, "symbol": null,
            "total_trades": 5, "total_wins": 2, "total_losses": 2, "total_breakeven": 1, "win_rate": 0.4,
            "realized_pnl": "4.00", "gross_pnl": "4.00", "commission": "0.00", "avg_profit_per_win": "8.00",
            "avg_loss_per_loss": "-6.00", "profit_factor": 1.333333, "expectancy": "0.80",
            "avg_risk_reward_ratio": 2.0, "current_streak": 1, "streak_type": "WIN", "max_drawdown": "-12.00",
            "best_trade": "10.00", "worst_trade": "-8.00", "unmeasured_trades": 0, "unrealized_pnl": "1.20", "total_pnl": "5.20",
            "first_trade_at": "2026-03-02T15:00:00Z", "last_trade_at": "2026-03-06T19:30:00Z", "groups": [],
            "omitted": 0, "omitted_parts": [], "source": "trade journal of the bot", "unknown_reason": null,
            "as_of": "2026-03-07T12:00:00Z",
            "generated_at": "2026-03-07T12:00:01Z"});
    view["unrealized_as_of"] = "2026-03-07T12:00:00Z".into();
    view["window_text"] =
        "this calendar month (no window was named), since 2026-03-01 00:00 (America/New_York)".into();
    view["unread_trades"] = 0.into();
    view["incomplete"] = serde_json::Value::Array(Vec::new());
    view
}
