//! What the closed trades of one account add up to.

use botops_contract::{Amount, StreakType, Trade, TradeOutcome, amount_value};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

/// Results of the closed trades of one account.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AccountTally {
    /// How many are closed.
    pub closed: u32,
    /// Wins ÷ closed; `None` without a closed trade, and when the result of one is not known.
    pub win_rate: Option<f64>,
    /// Sum of the net results; `None` when one is not known.
    pub realized: Option<Decimal>,
    /// Wins or losses in a row, from the newest backwards; breakeven ends none and counts as none.
    pub streak: u32,
    pub streak_type: Option<StreakType>,
    /// Closed since the day began.
    pub closed_today: u32,
    /// Lowest value of (cumulated result − its highest value before); at most 0.
    pub max_drawdown: Option<Decimal>,
}

impl AccountTally {
    /// Adds up the trades of an account, in the order in which they were closed.
    pub(crate) fn of<'t, I: Iterator<Item = &'t Trade>>(trades: I, day_began: DateTime<Utc>) -> Self {
        let mut tally =
            Self { realized: Some(Decimal::ZERO), max_drawdown: Some(Decimal::ZERO), ..Self::default() };
        let (mut wins, mut unknown, mut highest) = (0_u32, false, Decimal::ZERO);
        for trade in trades {
            tally.closed += 1;
            tally.closed_today += u32::from(trade.closed_at >= day_began);
            unknown |= trade.outcome.is_none();
            wins += u32::from(trade.outcome == Some(TradeOutcome::Win));
            tally.count_streak(trade.outcome);
            tally.realized = add_amounts(tally.realized, trade.net_pl.as_ref());
            tally.max_drawdown = tally.max_drawdown.zip(tally.realized).and_then(|(lowest, sum)| {
                highest = highest.max(sum);
                Some(lowest.min(sum.checked_sub(highest)?))
            });
        }
        let known = tally.closed > 0 && !unknown;
        tally.win_rate = known.then(|| f64::from(wins) / f64::from(tally.closed));
        tally.streak_type.get_or_insert(StreakType::None);
        tally
    }

    fn count_streak(&mut self, outcome: Option<TradeOutcome>) {
        let kind = match outcome {
            Some(TradeOutcome::Win) => StreakType::Win,
            Some(TradeOutcome::Loss) => StreakType::Loss,
            _ => return,
        };
        self.streak = if self.streak_type == Some(kind) { self.streak + 1 } else { 1 };
        self.streak_type = Some(kind);
    }
}

/// The sum, unless a part of it is not known.
pub(crate) fn add_amounts(sum: Option<Decimal>, part: Option<&Amount>) -> Option<Decimal> {
    sum?.checked_add(amount_value(part)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trade(seconds: i64, net: Option<&str>) -> Trade {
        let outcome = net.map(|net| match net.parse::<Decimal>().unwrap() {
            net if net > Decimal::ZERO => "win",
            net if net < Decimal::ZERO => "loss",
            _ => "breakeven",
        });
        let at = DateTime::from_timestamp(seconds, 0).unwrap();
        let trade = json!({"seq": 1, "symbol": "A/B", "closed_at": at, "net_pl": net, "outcome": outcome});
        serde_json::from_str(&trade.to_string()).unwrap()
    }

    fn tally(nets: &[Option<&str>]) -> AccountTally {
        let trades: Vec<Trade> = (100..).zip(nets).map(|(at, net)| trade(at, *net)).collect();
        AccountTally::of(trades.iter(), DateTime::from_timestamp(102, 0).unwrap())
    }

    #[test]
    fn results_add_up_digit_for_digit() {
        let tally = tally(&[Some("0.1"), Some("0.2"), Some("-0.5"), Some("0"), Some("-0.05")]);
        assert_eq!(tally.realized.unwrap().to_string(), "-0.25");
        assert_eq!(tally.max_drawdown.unwrap().to_string(), "-0.55");
        assert_eq!((tally.closed, tally.closed_today), (5, 3));
        assert_eq!((tally.streak, tally.streak_type), (2, Some(StreakType::Loss)));
        assert!((tally.win_rate.unwrap() - 0.4).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_known_of_one_is_not_known_of_all() {
        let tally = tally(&[Some("1"), None]);
        assert_eq!((tally.realized, tally.win_rate, tally.max_drawdown), (None, None, None));
    }

    #[test]
    fn without_a_trade_nothing_was_won_or_lost() {
        let tally = tally(&[]);
        assert_eq!((tally.realized, tally.win_rate), (Some(Decimal::ZERO), None));
        assert_eq!(tally.streak_type, Some(StreakType::None));
    }
}
