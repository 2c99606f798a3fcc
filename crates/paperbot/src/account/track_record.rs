//! Performance as running sums over closed trades, so that reading it costs the same however long the history is.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use botops_contract::{Amount, Performance, StreakType, Trade, TradeOutcome, amount_value};

/// Running sums over closed trades.
#[derive(Debug, Default)]
pub(crate) struct TrackRecord {
    closed: u32,
    wins: u32,
    ratios: Decimal,
    ratio_count: u32,
    cumulative: Decimal,
    peak: Decimal,
    drawdown: Decimal,
    streak: Option<(TradeOutcome, u32)>,
    day: Option<(NaiveDate, u32)>,
    losses_in_a_row: u32,
    boot_epochs: BTreeSet<String>,
}

impl TrackRecord {
    /// Adds a closed trade; `day` is the trading day it was closed on.
    pub(crate) fn add(&mut self, trade: &Trade, day: NaiveDate) {
        self.closed += 1;
        self.boot_epochs.insert(trade.boot_epoch.clone());
        // paperbot's own trades have every amount.
        let amount = |amount: &Option<Amount>| amount_value(amount.as_ref());
        let entry = amount(&trade.entry_price).unwrap_or_default();
        self.cumulative += amount(&trade.net_pl).unwrap_or_default();
        self.peak = self.peak.max(self.cumulative);
        self.drawdown = self.drawdown.min(self.cumulative - self.peak);
        if let (Some(stop), Some(target)) = (amount(&trade.stop_price), amount(&trade.target_price)) {
            let risk = entry - stop;
            if !risk.is_zero() {
                self.ratios += (target - entry) / risk;
                self.ratio_count += 1;
            }
        }
        let outcome = trade.outcome.unwrap_or_default();
        match outcome {
            TradeOutcome::Win => {
                self.wins += 1;
                self.losses_in_a_row = 0;
            }
            TradeOutcome::Loss => self.losses_in_a_row += 1,
            TradeOutcome::Breakeven | TradeOutcome::Other => {}
        }
        if matches!(outcome, TradeOutcome::Win | TradeOutcome::Loss) {
            let before = self.streak.filter(|(before, _)| *before == outcome);
            self.streak = Some((outcome, before.map_or(0, |(_, length)| length) + 1));
        }
        let before = self.day.filter(|(of, _)| *of == day).map_or(0, |(_, count)| count);
        self.day = Some((day, before + 1));
    }

    /// Losses in a row since the last win or [`TrackRecord::restart_loss_count`].
    pub(crate) fn losses_in_a_row(&self) -> u32 {
        self.losses_in_a_row
    }

    /// Starts the count for the risk breaker anew, as its reset does. The published streak goes on.
    pub(crate) fn restart_loss_count(&mut self) {
        self.losses_in_a_row = 0;
    }

    /// The numbers in the form of the contract, as if no position were open.
    pub(crate) fn report(&self, today: NaiveDate, as_of: DateTime<Utc>) -> Performance {
        let ratio = |part: Decimal, whole: u32| {
            if whole == 0 { None } else { (part / Decimal::from(whole)).round_dp(4).to_f64() }
        };
        let (streak_type, current_streak) = match self.streak {
            Some((TradeOutcome::Win, length)) => (StreakType::Win, length),
            Some((_, length)) => (StreakType::Loss, length),
            None => (StreakType::None, 0),
        };
        Performance {
            win_rate: ratio(Decimal::from(self.wins), self.closed),
            avg_risk_reward: ratio(self.ratios, self.ratio_count),
            total_realized_pl: Some(self.cumulative.into()),
            total_unrealized_pl: None,
            total_pl: None,
            daily_pl: None,
            current_streak: Some(current_streak),
            streak_type: Some(streak_type),
            streak_type_raw: None,
            trades_today: Some(self.day.filter(|(day, _)| *day == today).map_or(0, |(_, count)| count)),
            session_count: Some(u32::try_from(self.boot_epochs.len()).unwrap_or(u32::MAX)),
            max_drawdown: Some(self.drawdown.into()),
            as_of: Some(as_of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use botops_contract::Side;

    fn trade(net: i64) -> Trade {
        let outcome = match net {
            0 => TradeOutcome::Breakeven,
            net if net > 0 => TradeOutcome::Win,
            _ => TradeOutcome::Loss,
        };
        Trade {
            seq: 1,
            id: "t".to_owned(),
            symbol: "SPY".to_owned(),
            account_id: None,
            side: Some(Side::Buy),
            side_raw: None,
            quantity: Some(Decimal::ONE.into()),
            entry_price: Some(Decimal::from(100).into()),
            exit_price: Some(Decimal::from(100 + net).into()),
            opened_at: Some(DateTime::UNIX_EPOCH),
            closed_at: DateTime::UNIX_EPOCH,
            stop_price: Some(Decimal::from(98).into()),
            target_price: Some(Decimal::from(104).into()),
            gross_pl: Some(Decimal::from(net).into()),
            commission: Some(Decimal::ZERO.into()),
            net_pl: Some(Decimal::from(net).into()),
            outcome: Some(outcome),
            outcome_raw: None,
            entry_reason: String::new(),
            exit_reason: String::new(),
            boot_epoch: "a".to_owned(),
            config_sha256: String::new(),
        }
    }

    fn after(trades: &[i64]) -> Performance {
        let day = NaiveDate::default();
        let mut track = TrackRecord::default();
        trades.iter().for_each(|net| track.add(&trade(*net), day));
        track.report(day, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn nothing_is_claimed_before_the_first_trade() {
        let report = after(&[]);
        assert_eq!((report.win_rate, report.avg_risk_reward), (None, None));
        assert_eq!(report.streak_type, Some(StreakType::None));
    }

    #[test]
    fn drawdown_is_measured_from_the_peak_that_begins_at_zero() {
        assert_eq!(after(&[-5, 3]).max_drawdown, Some(Decimal::from(-5).into()));
        assert_eq!(after(&[10, -4, -3, 20]).max_drawdown, Some(Decimal::from(-7).into()));
    }

    #[test]
    fn breakeven_counts_as_closed_and_leaves_the_streak_alone() {
        let report = after(&[4, 5, 0, 0]);
        assert_eq!(report.win_rate, Some(0.5));
        assert_eq!((report.current_streak, report.streak_type), (Some(2), Some(StreakType::Win)));
        assert_eq!(report.avg_risk_reward, Some(2.0));
        assert_eq!(report.trades_today, Some(4));
    }
}
