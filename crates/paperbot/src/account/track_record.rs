//! Performance as running sums over closed trades, so that reading it costs the same however long the history is.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::day_table::DayTable;
use botops_contract::{Amount, Performance, StreakType, Trade, TradeOutcome, amount_value};

/// Running sums over closed trades.
#[derive(Debug, Default)]
pub(crate) struct TrackRecord {
    closed: u32,
    wins: u32,
    /// The sum of reward by risk over `ratio_count` trades; a trade whose ratio has no place in a decimal is in neither.
    ratios: Decimal,
    ratio_count: u32,
    cumulative: Decimal,
    peak: Decimal,
    drawdown: Decimal,
    streak: Option<(TradeOutcome, u32)>,
    /// Trades that closed on each trading day.
    days: DayTable<u32>,
    losses_in_a_row: u32,
    boot_epochs: BTreeSet<String>,
}

impl TrackRecord {
    /// Adds a closed trade; `day` is the trading day it was closed on.
    pub(crate) fn add(&mut self, trade: &Trade, day: NaiveDate) {
        self.closed = self.closed.saturating_add(1);
        self.boot_epochs.insert(trade.boot_epoch.clone());
        // paperbot's own trades have every amount.
        let amount = |amount: &Option<Amount>| amount_value(amount.as_ref());
        let entry = amount(&trade.entry_price).unwrap_or_default();
        let net = amount(&trade.net_pl).unwrap_or_default();
        if let Some(cumulative) = self.cumulative.checked_add(net) {
            self.cumulative = cumulative;
        } else {
            tracing::error!("trade {} is in no sum: its net result is {net}", trade.id);
        }
        self.peak = self.peak.max(self.cumulative);
        let below_peak = self.cumulative.checked_sub(self.peak).unwrap_or(Decimal::MIN);
        self.drawdown = self.drawdown.min(below_peak);
        let ratio = reward_by_risk(entry, amount(&trade.stop_price), amount(&trade.target_price));
        if let Some(sum) = ratio.and_then(|ratio| self.ratios.checked_add(ratio)) {
            self.ratios = sum;
            self.ratio_count = self.ratio_count.saturating_add(1);
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
        self.days.insert(day, self.days.get(day).unwrap_or(0).saturating_add(1));
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
            part.checked_div(Decimal::from(whole)).and_then(|ratio| ratio.round_dp(4).to_f64())
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
            trades_today: Some(self.days.get(today).unwrap_or(0)),
            session_count: Some(u32::try_from(self.boot_epochs.len()).unwrap_or(u32::MAX)),
            max_drawdown: Some(self.drawdown.into()),
            as_of: Some(as_of),
        }
    }
}

/// (target − entry) ÷ (entry − stop); `None` without a risk, and when a decimal does not hold it.
fn reward_by_risk(entry: Decimal, stop: Option<Decimal>, target: Option<Decimal>) -> Option<Decimal> {
    target?.checked_sub(entry)?.checked_div(entry.checked_sub(stop?)?)
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
    fn no_amount_stops_the_measures() {
        let mut track = TrackRecord::default();
        let of = |stop: &str, target: &str, net: &str| {
            let amount = |text: &str| text.parse().ok();
            Trade { stop_price: amount(stop), target_price: amount(target), net_pl: amount(net), ..trade(1) }
        };
        let most = "79228162514264337593543950335";
        let just_below = "99.99999999999999999999999999";
        for net in [most, most, "-79228162514264337593543950335", "-79228162514264337593543950335", "1"] {
            track.add(&of("98", "104", net), NaiveDate::default());
            track.add(&of(just_below, most, net), NaiveDate::default());
            track.add(&of(just_below, "104", net), NaiveDate::default());
            track.add(&of("100", "104", net), NaiveDate::default());
        }
        let report = track.report(NaiveDate::default(), DateTime::UNIX_EPOCH);
        assert_eq!(report.trades_today, Some(20));
        assert!(report.avg_risk_reward.is_some_and(f64::is_finite) && report.win_rate == Some(1.0));
        assert!(report.total_realized_pl.is_some() && report.max_drawdown.is_some());
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
