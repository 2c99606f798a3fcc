//! Results, computed from the closed trades and the open positions: freqtrade's own figures count breakeven as won.

use botops_contract::{Amount, Performance, Position, UnknownWhy};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::unknown_fields::{UnknownFields, why_missing};
use crate::polling::UpstreamPicture;
use crate::trades::{AccountTally, add_amounts, entry_fees_of};
use crate::upstream::FreqtradeTrade;

/// Everything gained or lost for good: closed trades, and of open ones what partial exits brought and the fees of what is
/// still held, which are paid; `None` when such a fee is not known in the stake currency.
fn realized(tally: &AccountTally, open: &[FreqtradeTrade], stake: Option<&str>) -> Option<Decimal> {
    // The result of a closed trade has its partial exits in it already; an open one has them in `realized_profit`.
    open.iter().fold(tally.realized, |sum, trade| {
        let part = match &trade.realized_profit {
            None => sum,
            part => add_amounts(sum, part.as_ref()),
        };
        part?.checked_sub(entry_fees_of(trade, stake)?)
    })
}

fn unrealized(positions: &[Position]) -> Option<Decimal> {
    let mut known = positions.iter().filter(|position| position.unrealized_pl.is_some());
    known.try_fold(Decimal::ZERO, |sum, position| add_amounts(Some(sum), position.unrealized_pl.as_ref()))
}

/// Realized and unrealized together; `None` when a part is not known, a position without a price included.
fn total_result(realized: Option<Decimal>, positions: &[Position]) -> Option<Decimal> {
    let all_priced = positions.iter().all(|position| position.unrealized_pl.is_some());
    realized?.checked_add(unrealized(positions).filter(|_| all_priced)?)
}

/// What was counted outside of the picture.
#[derive(Clone, Copy)]
pub(super) struct PerformanceSums<'t> {
    /// `None` until freqtrade's closed trades were read.
    pub tally: Option<&'t AccountTally>,
    /// The total when the day began.
    pub day_base: Option<Decimal>,
    /// A trade is on its way from the open to the closed ones: no sum of both is known.
    pub is_between: bool,
}

/// The results.
pub(super) fn performance_of(
    picture: &UpstreamPicture,
    sums: PerformanceSums<'_>,
    positions: Option<&[Position]>,
    as_of: Option<DateTime<Utc>>,
    unknown: &mut UnknownFields,
) -> Performance {
    let open = picture.open_trades.value().map(|trades| trades.items.as_slice());
    let PerformanceSums { tally, day_base, is_between } = sums;
    let stake = picture.config.value().and_then(|config| config.stake_currency.as_deref());
    let summed = tally.filter(|_| !is_between);
    let realized = summed.zip(open).and_then(|(tally, open)| realized(tally, open, stake));
    let unrealized = positions.and_then(unrealized);
    let total = positions.and_then(|list| total_result(realized, list));
    let daily = total.zip(day_base).and_then(|(total, base)| total.checked_sub(base));
    let why = if summed.is_none() { UnknownWhy::NotYet } else { UnknownWhy::NotReported };
    let amount = |value: Option<Decimal>| value.map(|value| Amount::from(value.normalize()));
    let result = Performance {
        win_rate: tally.and_then(|tally| tally.win_rate),
        avg_risk_reward: None,
        total_realized_pl: amount(realized),
        total_unrealized_pl: amount(unrealized),
        total_pl: amount(total),
        daily_pl: amount(daily),
        current_streak: tally.map(|tally| tally.streak),
        streak_type: tally.and_then(|tally| tally.streak_type),
        streak_type_raw: None,
        trades_today: tally.map(|tally| tally.closed_today),
        session_count: None,
        max_drawdown: amount(tally.and_then(|tally| tally.max_drawdown)),
        as_of,
    };
    unknown.note("performance.total_realized_pl", result.total_realized_pl.as_ref(), why);
    unknown.note(
        "performance.total_unrealized_pl",
        result.total_unrealized_pl.as_ref(),
        why_missing(&picture.open_trades),
    );
    unknown.note("performance.total_pl", result.total_pl.as_ref(), why);
    // Known from the first midnight that the adapter sees.
    unknown.note("performance.daily_pl", result.daily_pl.as_ref(), UnknownWhy::NotYet);
    unknown.note("performance.win_rate", result.win_rate.as_ref(), UnknownWhy::NotYet);
    unknown.note("performance.max_drawdown", result.max_drawdown.as_ref(), why);
    unknown.note("performance.trades_today", result.trades_today.as_ref(), why);
    unknown.add("performance.avg_risk_reward", UnknownWhy::NotReported);
    unknown.add("performance.session_count", UnknownWhy::NotReported);
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn partial_exits_count_once() {
        let open: FreqtradeTrade =
            serde_json::from_str(r#"{"trade_id": 1, "pair": "A/B", "realized_profit": 1.5, "orders": []}"#)
                .unwrap();
        let tally = AccountTally { realized: Some(Decimal::from(10)), ..AccountTally::default() };
        let sum = realized(&tally, &[open], Some("B"));
        assert_eq!(sum.unwrap().to_string(), "11.5");
        let position: Position =
            serde_json::from_str(&json!({"symbol": "A/B", "unrealized_pl": "-0.5"}).to_string()).unwrap();
        assert_eq!(total_result(sum, &[position]).unwrap().to_string(), "11.0");
        let unpriced: Position = serde_json::from_str(r#"{"symbol": "A/B"}"#).unwrap();
        assert_eq!(total_result(sum, &[unpriced]), None);
    }

    #[test]
    fn a_fee_that_is_paid_counts_at_the_entry() {
        let open = |currency: &str| {
            let text =
                json!({"trade_id": 1, "pair": "A/B", "fee_open_cost": 0.25, "fee_open_currency": currency});
            serde_json::from_str::<FreqtradeTrade>(&text.to_string()).unwrap()
        };
        let tally = AccountTally { realized: Some(Decimal::from(10)), ..AccountTally::default() };
        assert_eq!(realized(&tally, &[open("B")], Some("B")).unwrap().to_string(), "9.75");
        assert_eq!(realized(&tally, &[open("A")], Some("B")), None);
    }
}
