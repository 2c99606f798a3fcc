//! The window of an answer in words, and what lies outside of it. A sum over a month looks like an answer to "how did it
//! do" and is none where most trades closed before.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::window::{PerformanceWindow, TradeRange};
use botops_core::error::NextAction;

/// What lies outside of the range.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OutsideView {
    /// Trades that closed before it; `null` when there are none.
    pub before: Option<OutsidePartView>,
    /// Trades that closed after it; `null` when there are none.
    pub after: Option<OutsidePartView>,
}

/// Trades on one side of the range.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OutsidePartView {
    /// How many there are.
    pub total_trades: u64,
    /// Their net profit; `null` when it has no sum.
    pub realized_pnl: Option<Decimal>,
    /// The call that measures them.
    pub call: NextAction,
}

/// Which range it is, since when and until when, on the clocks of the zone.
pub(super) fn window_text(name: &str, was_asked_for: bool, range: TradeRange, zone: Tz) -> String {
    let window = name.parse().map_or("the range asked for", PerformanceWindow::words);
    let asked = if was_asked_for { "" } else { " (no window was named)" };
    if range.from.is_none() && range.to.is_none() {
        return format!("{window}{asked}");
    }
    let at = |at: DateTime<Utc>| at.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string();
    let since = range.from.map(|from| format!(", since {}", at(from))).unwrap_or_default();
    let until = range.to.map(|to| format!(", until {}", at(to))).unwrap_or_default();
    format!("{window}{asked}{since}{until} ({})", zone.name())
}

/// What closed outside of a range: how many trades, and their net profit. `filter` is the rest of the query, from its `&`.
pub(super) fn outside_of(
    filter: &str,
    range: TradeRange,
    before: (u64, Option<Decimal>),
    after: (u64, Option<Decimal>),
) -> Option<OutsideView> {
    let part =
        |(total_trades, realized_pnl): (u64, Option<Decimal>), name: &str, bound: Option<DateTime<Utc>>| {
            let bound = bound.filter(|_| total_trades > 0)?;
            let bound = bound.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            let call = read_call("get_performance", format!("/api/v1/performance?{name}={bound}{filter}"));
            Some(OutsidePartView { total_trades, realized_pnl, call })
        };
    let view = OutsideView { before: part(before, "to", range.from), after: part(after, "from", range.to) };
    (range.from.is_some() || range.to.is_some()).then_some(view)
}

/// A call that reads.
pub(super) fn read_call(operation: &str, path: String) -> NextAction {
    NextAction {
        operation: operation.to_owned(),
        method: "GET".to_owned(),
        path,
        body: None,
        scope: Some("read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use chrono_tz::America::New_York;

    use super::*;

    #[test]
    fn a_window_says_which_it_is_and_what_lies_outside() {
        let from = Utc.with_ymd_and_hms(2026, 3, 1, 5, 0, 0).unwrap();
        let range = TradeRange { from: Some(from), to: None };
        let text = window_text("month", false, range, New_York);
        assert_eq!(
            text,
            "this calendar month (no window was named), since 2026-03-01 00:00 (America/New_York)"
        );
        let outside = outside_of("&symbol=SPY", range, (3, Some(Decimal::new(-450, 2))), (0, None)).unwrap();
        let before = outside.before.unwrap();
        assert_eq!((before.total_trades, before.realized_pnl.unwrap().to_string()), (3, "-4.50".to_owned()));
        assert_eq!(before.call.path, "/api/v1/performance?to=2026-03-01T05:00:00Z&symbol=SPY");
        assert!(outside.after.is_none());
        let all = TradeRange { from: None, to: None };
        assert_eq!(window_text("all", true, all, New_York), "all trades that are kept");
        assert!(outside_of("", all, (0, None), (0, None)).is_none());
        let until = TradeRange { from: None, to: Some(from) };
        let text = window_text("range", true, until, New_York);
        assert_eq!(text, "the range asked for, until 2026-03-01 00:00 (America/New_York)");
    }
}
