//! Routes of the performance history.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::history::PerformanceHistory;
use super::measure::{TradeMeasures, cents};
use super::window::{PerformanceWindow, TradeGrouping, TradeRange, lower_bound, upper_bound};
use botops_contract::TradingMode;
use botops_core::error::{Code, Error, NextAction};
use botops_http::{FeatureRoutes, Query, json, routes};

/// Groups in one answer; older ones are counted in `omitted` and named in `omitted_parts`.
const GROUPS: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct PerformanceQuery {
    /// `day`, `week`, `month`, `year` or `all`: the calendar window that now lies in, by New York's clock [month].
    window: Option<String>,
    /// First day (`2026-03-02`), month (`2026-03`) or instant; replaces `window`.
    from: Option<String>,
    /// Last day, month (both included) or instant (not included).
    to: Option<String>,
    /// Break the answer down by `day`, `week`, `month` or `symbol`.
    by: Option<String>,
    /// Only trades of this symbol; upper and lower case are the same.
    symbol: Option<String>,
}

/// How trading went in a range.
#[derive(Debug, Serialize, ToSchema)]
struct PerformanceView {
    /// Paper, live or backtest, by the last report; `null` while no report was ever received.
    mode: Option<TradingMode>,
    /// `day`, `week`, `month`, `year` or `all`; `range` when `from` or `to` was given.
    #[schema(example = "month")]
    window: String,
    /// The first instant of the range; `null` for no bound.
    from: Option<DateTime<Utc>>,
    /// The end of the range, not included; `null` for no bound.
    to: Option<DateTime<Utc>>,
    /// The symbol asked for, in capitals; `null` for all symbols.
    symbol: Option<String>,
    /// The measures of all closed trades in the range.
    #[serde(flatten)]
    measures: TradeMeasures,
    /// Profit and loss of positions that are open now; `null` for a range that has ended, or when it is unknown.
    unrealized_pnl: Option<Decimal>,
    /// Realized plus unrealized; `null` when unrealized is.
    total_pnl: Option<Decimal>,
    /// When the first trade of the range closed; `null` without a trade.
    first_trade_at: Option<DateTime<Utc>>,
    /// When the last trade of the range closed; `null` without a trade.
    last_trade_at: Option<DateTime<Utc>>,
    /// The groups asked for with `by`, in order of their key.
    groups: Vec<PerformanceGroupView>,
    /// How many groups were left out: those whose keys sort first, the oldest ones unless `by=symbol`.
    omitted: usize,
    /// What was left out, with the call that returns it; empty when nothing was.
    omitted_parts: Vec<OmittedPartView>,
    /// Where the numbers come from: the bot's trade journal, copied here.
    source: &'static str,
    /// When the copy last held every trade of the bot's journal; `null` when the bot was not reached since botops
    /// started.
    as_of: Option<DateTime<Utc>>,
    /// When this answer was made (UTC).
    generated_at: DateTime<Utc>,
}

/// One group of trades.
#[derive(Debug, Serialize, ToSchema)]
struct PerformanceGroupView {
    /// `2026-03-02`, `2026-W10`, `2026-03`, or a symbol.
    key: String,
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
    FeatureRoutes::new([routes!(get_performance.refuses(StoreUnavailable))])
}

/// How trading went
///
/// Closed trades by window (`day`, `week`, `month`, `year`, `all`) or range, as a whole and by day, week, month or
/// symbol. The trading day is New York's; in a replay, now is the market's time.
///
/// - `realized_pnl` = Σ net profit of closed trades (after commission); money is summed exactly, rounded to cents
///   half to even at the end.
/// - `win_rate` = wins ÷ closed trades; breakeven counts as closed. 0 to 1.
/// - `profit_factor` = Σ wins ÷ |Σ losses|. `expectancy` = Σ net ÷ closed trades.
/// - `avg_risk_reward_ratio` = mean of (target − entry) ÷ (entry − stop) over trades with both and a risk above zero.
/// - `current_streak`: wins or losses in a row, newest backwards, breakeven passed over.
/// - `max_drawdown` = lowest (cumulative − running peak) of net profit in time order, the peak starting at 0.
#[utoipa::path(get, path = "/api/v1/performance", tag = "performance", security(("api_key" = ["read"])),
    params(PerformanceQuery),
    responses((status = 200, description = "The measures", body = PerformanceView, example = json!({
            "mode": "paper", "window": "month", "from": "2026-03-01T05:00:00Z", "to": null, "symbol": null,
            "total_trades": 5, "total_wins": 2, "total_losses": 2, "total_breakeven": 1, "win_rate": 0.4,
            "realized_pnl": "4.00", "gross_pnl": "4.00", "commission": "0.00", "avg_profit_per_win": "8.00",
            "avg_loss_per_loss": "-6.00", "profit_factor": 1.333333, "expectancy": "0.80",
            "avg_risk_reward_ratio": 2.0, "current_streak": 1, "streak_type": "WIN", "max_drawdown": "-12.00",
            "best_trade": "10.00", "worst_trade": "-8.00", "unrealized_pnl": "1.20", "total_pnl": "5.20",
            "first_trade_at": "2026-03-02T15:00:00Z", "last_trade_at": "2026-03-06T19:30:00Z", "groups": [],
            "omitted": 0, "omitted_parts": [], "source": "trade journal of the bot", "as_of": "2026-03-07T12:00:00Z",
            "generated_at": "2026-03-07T12:00:01Z"}))))]
async fn get_performance(
    State(history): State<PerformanceHistory>,
    Query(query): Query<PerformanceQuery>,
) -> Result<Response, Error> {
    let seen = history.bots().snapshot();
    let report = seen.report.as_deref();
    let market_now =
        report.filter(|report| report.market.source == "replay").and_then(|report| report.market.market_time);
    let now = market_now.unwrap_or_else(Utc::now);
    let (name, range) = asked_range(&query, now)?;
    let by = query.by.as_deref().map(|text| parse_choice("by", text, TradeGrouping::NAMES)).transpose()?;
    let symbol = query.symbol.as_deref().map(str::to_ascii_uppercase);
    let mut breakdown = history.measure(range, symbol.clone(), by).await?;
    let is_open_ended = range.to.is_none_or(|to| to > now);
    let unrealized = report.filter(|_| is_open_ended).and_then(|report| {
        let of_symbol =
            report.positions.iter().filter(|p| symbol.as_ref().is_none_or(|symbol| p.symbol == *symbol));
        // One unknown price makes the sum unknown.
        of_symbol.map(|position| position.unrealized_pl).sum::<Option<Decimal>>().map(cents)
    });
    let beyond = breakdown.groups.len().saturating_sub(GROUPS);
    // The newest groups are kept: keys sort by time.
    breakdown.groups.drain(..beyond);
    let view = PerformanceView {
        mode: report.map(|report| report.mode),
        window: name.to_owned(),
        from: range.from,
        to: range.to,
        symbol,
        unrealized_pnl: unrealized,
        total_pnl: unrealized.map(|unrealized| unrealized + breakdown.whole.realized_pnl),
        measures: breakdown.whole,
        first_trade_at: breakdown.first,
        last_trade_at: breakdown.last,
        groups: breakdown
            .groups
            .into_iter()
            .map(|group| PerformanceGroupView { key: group.key, measures: group.measures })
            .collect(),
        omitted: beyond,
        omitted_parts: omitted_parts(beyond),
        source: "trade journal of the bot",
        as_of: history.level_at(),
        generated_at: Utc::now(),
    };
    Ok(json(&view))
}

fn asked_range(query: &PerformanceQuery, now: DateTime<Utc>) -> Result<(&'static str, TradeRange), Error> {
    if query.from.is_none() && query.to.is_none() {
        let window = query.window.as_deref().unwrap_or("month");
        let window: PerformanceWindow = parse_choice("window", window, PerformanceWindow::NAMES)?;
        return Ok((window.as_str(), window.range(now)));
    }
    let bound = |name: &str, text: &Option<String>, read: fn(&str) -> Option<DateTime<Utc>>| {
        let Some(text) = text else { return Ok(None) };
        read(text).map(Some).ok_or_else(|| {
            invalid_argument(name, text, "a day (2026-03-02), a month (2026-03) or an RFC 3339 time")
        })
    };
    let range = TradeRange {
        from: bound("from", &query.from, lower_bound)?,
        to: bound("to", &query.to, upper_bound)?,
    };
    let is_backwards = range.from.zip(range.to).is_some_and(|(from, to)| from >= to);
    if is_backwards {
        return Err(invalid_argument(
            "from",
            query.from.as_deref().unwrap_or_default(),
            "a time before `to`",
        ));
    }
    Ok(("range", range))
}

fn parse_choice<T: std::str::FromStr>(name: &str, text: &str, names: &str) -> Result<T, Error> {
    text.parse().map_err(|_| invalid_argument(name, text, names))
}

fn invalid_argument(name: &str, text: &str, expected: &str) -> Error {
    let got = botops_core::text::clean(text, 60);
    Error::new(Code::ArgumentInvalid)
        .detail(format!("`{name}` takes {expected}"))
        .field(format!("?{name}"), got, expected)
        .next("get_performance", "GET", "/api/v1/performance", None, Some("read"))
}

fn omitted_parts(beyond: usize) -> Vec<OmittedPartView> {
    if beyond == 0 {
        return Vec::new();
    }
    vec![OmittedPartView {
        what: "older groups".to_owned(),
        count: beyond,
        call: NextAction {
            operation: "get_performance".to_owned(),
            method: "GET".to_owned(),
            path: "/api/v1/performance?window=all&by=month".to_owned(),
            body: None,
            scope: Some("read".to_owned()),
        },
    }]
}
