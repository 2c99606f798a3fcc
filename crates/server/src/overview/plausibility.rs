//! Contradictions within one report: each is a warning that names both numbers.
//!
//! The bot's numbers are shown as they are. A contradiction says that one of them is wrong, and that nobody should act on
//! either before knowing which.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::position_value::{
    ExactTotal, exact_decimal as number, exact_market_value, exact_value, plain_market_value,
};
use botops_contract::{Amount, BotReport, Order, Position, Side};
use botops_core::exact_number::ExactNumber;

/// Sums that differ by less than this part of the larger one agree: prices move while a report is made.
const TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 2);

/// Positions that are worth more than this many times the account, leverage taken off, are more than an account can
/// carry.
const MOST_EXPOSURE: u32 = 5;

/// A position is above its limit from this many times the limit on: it grows with its price.
const ABOVE_LIMIT: Decimal = Decimal::from_parts(11, 0, 0, false, 1);

/// Leverages of one account that are told apart.
const MOST_LEVERAGES: usize = 64;

/// Beyond this many times the account nobody needs the number.
const MOST_TIMES: f64 = 1e15;

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

/// The number behind an amount; every digit of it counts.
fn value(amount: &Option<Amount>) -> Option<ExactNumber> {
    exact_value(amount.as_ref())
}

fn differ(one: &ExactNumber, two: &ExactNumber) -> bool {
    let allowed = one.clone().abs().max(two.clone().abs()).times(&number(TOLERANCE));
    one.minus(two).abs() > allowed.max(number(TOLERANCE))
}

fn unrealized_sum(report: &BotReport) -> Option<String> {
    let total = report.performance.total_unrealized_pl.as_ref()?;
    let positions = report.positions.as_ref()?;
    // Positions without a price are left out of the total; without any number there is nothing to compare.
    let mut of_positions = ExactTotal::default();
    let profits = positions.iter().filter_map(|position| position.unrealized_pl.as_ref());
    let known =
        profits.filter_map(|profit| of_positions.add(profit.value(), || exact_value(Some(profit)))).count();
    if known == 0 && !positions.is_empty() {
        return None;
    }
    let of_positions = of_positions.total();
    differ(&exact_value(Some(total))?, &of_positions).then(|| {
        format!("Contradiction: total_unrealized_pl is {total}, its positions add up to {of_positions}.")
    })
}

fn total_profit(report: &BotReport) -> Option<String> {
    let results = &report.performance;
    let total = results.total_pl.as_ref()?;
    let parts = value(&results.total_realized_pl)?.plus(&value(&results.total_unrealized_pl)?);
    differ(&exact_value(Some(total))?, &parts)
        .then(|| format!("Contradiction: total_pl is {total}, realized and unrealized add up to {parts}."))
}

fn exposure(report: &BotReport) -> Option<String> {
    let balance = positive_balance(report)?;
    let mut by_leverage: BTreeMap<ExactNumber, ExactTotal> = BTreeMap::new();
    let one = number(Decimal::ONE);
    for position in report.position_list() {
        let leverage = value(&position.leverage).filter(|leverage| *leverage > one);
        let worth = by_leverage.entry(leverage.unwrap_or_else(|| one.clone())).or_default();
        let plain = plain_market_value(position).map(|value| value.abs());
        worth.add(plain, || exact_market_value(position).map(ExactNumber::abs))?;
    }
    if by_leverage.len() > MOST_LEVERAGES {
        return None;
    }
    // A part of a leverage need not be a decimal number, so all is multiplied by the leverages instead.
    let (mut exposure, mut divisor) = (ExactNumber::default(), one);
    for (leverage, worth) in &by_leverage {
        exposure = exposure.times(leverage).plus(&worth.total().times(&divisor));
        divisor = divisor.times(leverage);
    }
    let most = balance.times(&number(Decimal::from(MOST_EXPOSURE))).times(&divisor);
    (exposure > most).then(|| {
        let worth = worth_without_leverage(&exposure, &divisor);
        let times = quotient(&exposure, &balance.times(&divisor));
        format!("Implausible: positions are worth {worth}, {times} times the account of {balance}.")
    })
}

/// What positions are worth, which may be no decimal number once leverage is taken off.
fn worth_without_leverage(worth: &ExactNumber, leverage: &ExactNumber) -> String {
    let plain = |number: &ExactNumber| Decimal::from_str_exact(&number.to_string()).ok();
    let divided = plain(worth).zip(plain(leverage)).and_then(|(worth, leverage)| worth.checked_div(leverage));
    let is_exact = |divided: &Decimal| number(*divided).times(leverage) == *worth;
    match divided.map(|divided| divided.normalize()) {
        Some(divided) if is_exact(&divided) => divided.to_string(),
        Some(divided) => format!("about {divided}"),
        None if *leverage == number(Decimal::ONE) => worth.to_string(),
        None => format!("about {}", quotient(worth, leverage)),
    }
}

/// About how many times a number has another in it, for people.
fn quotient(whole: &ExactNumber, part: &ExactNumber) -> String {
    let float = |number: &ExactNumber| number.to_string().parse::<f64>().unwrap_or(f64::INFINITY);
    let times = (float(whole) / float(part)).round();
    if times <= MOST_TIMES { format!("{times:.0}") } else { format!("more than {MOST_TIMES:.0}") }
}

fn positive_balance(report: &BotReport) -> Option<ExactNumber> {
    value(&report.account.account_balance).filter(|balance| *balance > ExactNumber::default())
}

fn position_limit(report: &BotReport) -> Option<String> {
    let balance = positive_balance(report)?;
    let summary = &report.config.as_ref()?.summary;
    let limit_pct = summary.max_position_size_pct.filter(|limit| *limit > 0.0)?;
    let part = ExactNumber::parse(&limit_pct.to_string())?.times(&number(Decimal::new(1, 2)));
    let limit = balance.times(&part).times(&number(ABOVE_LIMIT));
    let positions = report.position_list();
    // A limit that a decimal does not hold is compared digit by digit.
    let plain_limit = Decimal::from_str_exact(&limit.to_string()).ok();
    let is_beyond = |position: &&Position| match plain_market_value(position).zip(plain_limit) {
        Some((value, limit)) => value.abs() > limit,
        None => exact_market_value(position).is_some_and(|value| value.abs() > limit),
    };
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
        let rest = value(&order.quantity)?.minus(&value(&order.filled_quantity).unwrap_or_default());
        Some(rest.times(&value(&order.limit_price)?))
    };
    let buys =
        report.order_list().iter().filter(|order| order.may_still_fill() && order.side == Some(Side::Buy));
    let pending = buys.filter_map(rest).fold(ExactNumber::default(), |sum, one| sum.plus(&one));
    (pending > power && pending > balance).then(|| {
        format!(
            "Implausible: open buy orders are worth {pending}, beside a buying power of {power} and an account of {balance}."
        )
    })
}

fn win_rate(report: &BotReport) -> Option<String> {
    let rate = report.performance.win_rate?;
    (!(0.0..=1.0).contains(&rate)).then(|| format!("Implausible: win_rate is {rate}; it is a part, 0 to 1."))
}

fn drawdown(report: &BotReport) -> Option<String> {
    let drawdown = report.performance.max_drawdown.as_ref()?;
    (exact_value(Some(drawdown))? > ExactNumber::default())
        .then(|| format!("Implausible: max_drawdown is {drawdown}; it is at most 0."))
}

fn overfilled(report: &BotReport) -> Option<String> {
    let is_overfilled = |order: &&Order| {
        value(&order.filled_quantity)
            .zip(value(&order.quantity))
            .is_some_and(|(filled, ordered)| filled > ordered)
    };
    let order = report.order_list().iter().find(is_overfilled)?;
    let (filled, ordered) = (order.filled_quantity.as_ref()?, order.quantity.as_ref()?);
    Some(format!("Contradiction: an order of {ordered} is filled with {filled} (order {}).", order.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Option<Amount> {
        text.parse().ok()
    }

    fn position(quantity: &str, price: &str, profit: &str) -> Position {
        Position {
            quantity: amount(quantity),
            current_price: amount(price),
            unrealized_pl: amount(profit),
            ..Position::default()
        }
    }

    #[test]
    fn nothing_is_implausible_by_rounding_alone() {
        // Each is worth 0.00000000000000000000000000015: ten of them are exactly five times the account.
        let positions = vec![position("0.00000000000001", "0.000000000000015", "0"); 10];
        let mut report = BotReport { positions: Some(positions), ..BotReport::default() };
        report.account.account_balance = amount("0.0000000000000000000000000003");
        assert_eq!(find_contradictions(&report), Vec::<String>::new());
        report.positions = Some(vec![position("0.00000000000001", "0.000000000000015", "0"); 12]);
        let told = find_contradictions(&report);
        assert!(told.len() == 1 && told[0].contains(" 0.0000000000000000000000000018, 6 times"), "{told:?}");
    }

    #[test]
    fn nothing_implausible_is_hidden_by_its_digits() {
        let mut report = BotReport::default();
        let huge = "50000000000000000000000000000";
        report.positions = Some(vec![position(huge, "1", huge); 2]);
        report.account.account_balance = amount("100");
        report.account.buying_power = amount("100");
        report.performance.total_unrealized_pl = amount("7");
        report.performance.total_realized_pl = amount("12345678901234567890.00000000000000000001");
        report.performance.total_pl = amount("1");
        let order = Order {
            side: Some(Side::Buy),
            status: Some(botops_contract::OrderStatus::Pending),
            quantity: amount("100000000000000000000000000000001"),
            limit_price: amount("1.5"),
            ..Order::default()
        };
        report.orders = Some(vec![order]);
        let told = find_contradictions(&report);
        for expected in [
            "total_unrealized_pl is 7, its positions add up to 100000000000000000000000000000.",
            "total_pl is 1, realized and unrealized add up to 12345678901234567897.00000000000000000001.",
            "positions are worth 100000000000000000000000000000, more than 1000000000000000 times",
            "open buy orders are worth 150000000000000000000000000000001.5,",
        ] {
            assert!(told.iter().any(|told| told.contains(expected)), "{expected}: {told:#?}");
        }
    }

    #[test]
    fn leverage_is_taken_off_without_rounding() {
        let mut report = BotReport::default();
        // A third of 10 is no decimal number; three of them are, and no more than five times the account.
        let third = |quantity: &str| Position { leverage: amount("3"), ..position(quantity, "1", "0") };
        report.positions = Some(vec![third("10"), third("10"), third("10")]);
        report.account.account_balance = amount("2");
        assert_eq!(find_contradictions(&report), Vec::<String>::new());
        report.positions.as_mut().unwrap().push(third("0.0000000000000000000000000001"));
        let told = find_contradictions(&report);
        assert!(told.len() == 1 && told[0].contains("worth about 10, 5 times"), "{told:?}");
        report.positions = Some(vec![third("30"), third("3")]);
        let told = find_contradictions(&report);
        assert!(told.len() == 1 && told[0].contains("worth 11, 6 times"), "{told:?}");
    }
}
