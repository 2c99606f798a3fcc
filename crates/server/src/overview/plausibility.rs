//! Contradictions within one report: each is a warning that names both numbers.
//!
//! The bot's numbers are shown as they are. A contradiction says that one of them is wrong, and that nobody should act on
//! either before knowing which.

use rust_decimal::Decimal;

use super::position_value::market_value;
use botops_contract::{Amount, BotReport, Order, Position, Side, amount_value};

/// Sums that differ by less than this part of the larger one agree: prices move while a report is made.
const TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 2);

/// Positions that are worth more than this many times the account, leverage taken off, are more than an account can
/// carry.
const MOST_EXPOSURE: u32 = 5;

/// A position is above its limit from this many times the limit on: it grows with its price.
const ABOVE_LIMIT: Decimal = Decimal::from_parts(11, 0, 0, false, 1);

/// What in the report contradicts something else in it.
pub(super) fn find_contradictions(report: &BotReport) -> Vec<String> {
    let checks = [
        unrealized_sum,
        total_profit,
        exposure,
        position_limit,
        pending_buys,
        win_rate,
        drawdown,
        overfilled,
    ];
    checks.into_iter().filter_map(|check| check(report)).collect()
}

fn value(amount: &Option<Amount>) -> Option<Decimal> {
    amount_value(amount.as_ref())
}

/// The sum of what is known; `None` when something is not, or the sum is too large.
fn sum(mut amounts: impl Iterator<Item = Option<Decimal>>) -> Option<Decimal> {
    amounts.try_fold(Decimal::ZERO, |sum, one| sum.checked_add(one?))
}

fn differ(one: Decimal, two: Decimal) -> bool {
    let Some(gap) = one.checked_sub(two) else { return true };
    let allowed = one.abs().max(two.abs()).checked_mul(TOLERANCE).unwrap_or(Decimal::MAX);
    gap.abs() > allowed.max(TOLERANCE)
}

fn unrealized_sum(report: &BotReport) -> Option<String> {
    let total = value(&report.performance.total_unrealized_pl)?;
    let positions = report.positions.as_ref()?;
    // Positions without a price are left out of the total; without any number there is nothing to compare.
    let known: Vec<Decimal> =
        positions.iter().filter_map(|position| value(&position.unrealized_pl)).collect();
    if known.is_empty() && !positions.is_empty() {
        return None;
    }
    let of_positions = sum(known.into_iter().map(Some))?;
    differ(total, of_positions).then(|| {
        format!("Contradiction: total_unrealized_pl is {total}, its positions add up to {of_positions}.")
    })
}

fn total_profit(report: &BotReport) -> Option<String> {
    let results = &report.performance;
    let total = value(&results.total_pl)?;
    let parts = value(&results.total_realized_pl)?.checked_add(value(&results.total_unrealized_pl)?)?;
    differ(total, parts)
        .then(|| format!("Contradiction: total_pl is {total}, realized and unrealized add up to {parts}."))
}

fn exposure(report: &BotReport) -> Option<String> {
    let balance = value(&report.account.account_balance).filter(|balance| *balance > Decimal::ZERO)?;
    let carried = |position: &Position| {
        let leverage = value(&position.leverage).filter(|leverage| *leverage >= Decimal::ONE);
        market_value(position)?.abs().checked_div(leverage.unwrap_or(Decimal::ONE))
    };
    let exposure = sum(report.position_list().iter().map(carried))?;
    let most = balance.checked_mul(Decimal::from(MOST_EXPOSURE))?;
    (exposure > most).then(|| {
        let times = exposure.checked_div(balance).unwrap_or_default().round();
        format!(
            "Implausible: positions are worth {}, {times} times the account of {balance}.",
            exposure.normalize()
        )
    })
}

fn position_limit(report: &BotReport) -> Option<String> {
    let balance = value(&report.account.account_balance).filter(|balance| *balance > Decimal::ZERO)?;
    let summary = &report.config.as_ref()?.summary;
    let limit_pct = summary.max_position_size_pct.filter(|limit| *limit > 0.0)?;
    let limit = Decimal::try_from(limit_pct / 100.0).ok()?.checked_mul(balance)?;
    let limit = limit.checked_mul(ABOVE_LIMIT)?;
    let positions = report.position_list();
    let is_beyond = |position: &&Position| market_value(position).is_some_and(|value| value.abs() > limit);
    let beyond = positions.iter().filter(is_beyond).count();
    (beyond > 0).then(|| {
        let count = positions.len();
        format!("Implausible: {beyond} of {count} positions are above max_position_size_pct ({limit_pct} %).")
    })
}

fn pending_buys(report: &BotReport) -> Option<String> {
    let power = value(&report.account.buying_power)?;
    let balance = value(&report.account.account_balance)?;
    let rest = |order: &Order| {
        let rest = value(&order.quantity)?.checked_sub(value(&order.filled_quantity).unwrap_or_default())?;
        rest.checked_mul(value(&order.limit_price)?)
    };
    let buys =
        report.order_list().iter().filter(|order| order.may_still_fill() && order.side == Some(Side::Buy));
    let pending = sum(buys.filter_map(rest).map(Some))?;
    (pending > power && pending > balance).then(|| {
        format!(
            "Implausible: open buy orders are worth {}, beside a buying power of {power} and an account of {balance}.",
            pending.normalize()
        )
    })
}

fn win_rate(report: &BotReport) -> Option<String> {
    let rate = report.performance.win_rate?;
    (!(0.0..=1.0).contains(&rate)).then(|| format!("Implausible: win_rate is {rate}; it is a part, 0 to 1."))
}

fn drawdown(report: &BotReport) -> Option<String> {
    let drawdown = value(&report.performance.max_drawdown)?;
    (drawdown > Decimal::ZERO).then(|| format!("Implausible: max_drawdown is {drawdown}; it is at most 0."))
}

fn overfilled(report: &BotReport) -> Option<String> {
    let is_overfilled = |order: &&Order| {
        value(&order.filled_quantity)
            .zip(value(&order.quantity))
            .is_some_and(|(filled, ordered)| filled > ordered)
    };
    let order = report.order_list().iter().find(is_overfilled)?;
    let (filled, ordered) = (value(&order.filled_quantity)?, value(&order.quantity)?);
    Some(format!("Contradiction: an order of {ordered} is filled with {filled} (order {}).", order.id))
}
