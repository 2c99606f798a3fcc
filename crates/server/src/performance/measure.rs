//! The formulas: closed trades in, measures out. Pure.
//!
//! Money is summed exactly, and sums are not rounded. A mean is rounded (half to even) to as many decimals as the amounts
//! have, and to two at least.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;
use utoipa::ToSchema;

use botops_contract::{StreakType, Trade, TradeOutcome, add_exactly, amount_value, subtract_exactly};

/// How a set of closed trades went. Ratios are 0 to 1; what cannot be computed is `null`, and so is everything of a bot
/// that reports no trades.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct TradeMeasures {
    /// How many trades closed.
    pub total_trades: Option<u64>,
    /// Trades with a net profit above zero.
    pub total_wins: Option<u64>,
    /// Trades with a net profit below zero.
    pub total_losses: Option<u64>,
    /// Trades with a net profit of exactly zero.
    pub total_breakeven: Option<u64>,
    /// wins ÷ closed trades; breakeven counts as closed.
    pub win_rate: Option<f64>,
    /// Sum of net profit and loss (after commission).
    pub realized_pnl: Option<Decimal>,
    /// Sum of profit and loss before commission; `null` when a trade does not tell it.
    pub gross_pnl: Option<Decimal>,
    /// Sum of the commissions of these trades; `null` when a trade does not tell its own.
    pub commission: Option<Decimal>,
    /// Mean net profit of the wins.
    pub avg_profit_per_win: Option<Decimal>,
    /// Mean net loss of the losses; below zero.
    pub avg_loss_per_loss: Option<Decimal>,
    /// Sum of net wins ÷ |sum of net losses|; `null` without a loss.
    pub profit_factor: Option<f64>,
    /// Net profit per closed trade.
    pub expectancy: Option<Decimal>,
    /// Mean of (target − entry) ÷ (entry − stop) over trades with both and a risk above zero.
    pub avg_risk_reward_ratio: Option<f64>,
    /// Wins or losses in a row, newest backwards; breakeven trades are passed over.
    pub current_streak: Option<u32>,
    /// Which way the streak goes.
    pub streak_type: Option<StreakType>,
    /// Lowest (cumulative − running peak) of net profit in time order, the peak starting at 0; at most 0.
    pub max_drawdown: Option<Decimal>,
    /// Net profit of the best trade.
    pub best_trade: Option<Decimal>,
    /// Net profit of the worst trade.
    pub worst_trade: Option<Decimal>,
    /// Trades that count in `total_trades` alone: their net profit is not known, or has too many digits for a sum.
    pub unmeasured_trades: Option<u64>,
    /// The id of the first of these; told in words.
    #[serde(skip)]
    pub first_unmeasured: Option<String>,
}

/// Measures trades given in the order they closed.
pub(super) fn measure_trades<'t, I: Iterator<Item = &'t Trade>>(trades: I) -> TradeMeasures {
    let none = Some(Decimal::ZERO);
    let mut sums = TradeSums { gross: none, commission: none, ..TradeSums::default() };
    for trade in trades {
        sums.add(trade);
    }
    sums.finish()
}

#[derive(Default)]
struct TradeSums {
    trades: u64,
    unmeasured: u64,
    first_unmeasured: Option<String>,
    wins: u64,
    losses: u64,
    breakeven: u64,
    net: Decimal,
    /// Unlike the net sum these two are not known when one trade does not give them.
    gross: Option<Decimal>,
    commission: Option<Decimal>,
    won: Decimal,
    lost: Decimal,
    peak: Decimal,
    drawdown: Decimal,
    best: Option<Decimal>,
    worst: Option<Decimal>,
    risk_rewards: Vec<Decimal>,
    streak: u32,
    streak_type: Option<StreakType>,
    /// The most decimals that an amount had.
    scale: u32,
}

impl TradeSums {
    fn add(&mut self, trade: &Trade) {
        self.trades += 1;
        if self.add_measured(trade).is_none() {
            self.unmeasured += 1;
            self.first_unmeasured.get_or_insert_with(|| trade.id.clone());
        }
    }

    /// `None`, and nothing counted, when an amount is missing or a sum would lose a digit.
    fn add_measured(&mut self, trade: &Trade) -> Option<()> {
        let net = amount_value(trade.net_pl.as_ref())?;
        let (commission, gross) =
            (amount_value(trade.commission.as_ref()), amount_value(trade.gross_pl.as_ref()));
        let gross = gross.or_else(|| add_exactly(net, commission?));
        let commission = commission.or_else(|| subtract_exactly(gross?, net));
        let total = add_exactly(self.net, net)?;
        let peak = self.peak.max(total);
        let (won, lost) = match outcome_of(net) {
            TradeOutcome::Win => (add_exactly(self.won, net)?, self.lost),
            TradeOutcome::Loss => (self.won, add_exactly(self.lost, net)?),
            TradeOutcome::Breakeven | TradeOutcome::Other => (self.won, self.lost),
        };
        let below_peak = subtract_exactly(total, peak)?;
        let gross = self.gross.zip(gross).and_then(|(sum, gross)| add_exactly(sum, gross));
        let commission = self.commission.zip(commission).and_then(|(sum, one)| add_exactly(sum, one));
        (self.net, self.peak, self.won, self.lost) = (total, peak, won, lost);
        (self.gross, self.commission) = (gross, commission);
        self.drawdown = self.drawdown.min(below_peak);
        self.scale = self.scale.max(net.scale());
        self.best = Some(self.best.map_or(net, |best| best.max(net)));
        self.worst = Some(self.worst.map_or(net, |worst| worst.min(net)));
        self.risk_rewards.extend(risk_reward(trade));
        match outcome_of(net) {
            TradeOutcome::Win => {
                self.wins += 1;
                self.continue_streak(StreakType::Win);
            }
            TradeOutcome::Loss => {
                self.losses += 1;
                self.continue_streak(StreakType::Loss);
            }
            TradeOutcome::Breakeven | TradeOutcome::Other => self.breakeven += 1,
        }
        Some(())
    }

    fn continue_streak(&mut self, way: StreakType) {
        self.streak = if self.streak_type == Some(way) { self.streak + 1 } else { 1 };
        self.streak_type = Some(way);
    }

    fn finish(self) -> TradeMeasures {
        let measured = self.wins + self.losses + self.breakeven;
        let decimals = self.scale.max(2);
        // Trades of which no result is known add up to nothing that could be told.
        let is_known = measured > 0 || self.unmeasured == 0;
        let total_of = |sum: Decimal| is_known.then(|| plain_zero(sum));
        let mean = |sum: Decimal, count: u64| {
            let mean = sum.checked_div(Decimal::from(count))?;
            Some(plain_zero(mean.round_dp_with_strategy(decimals, RoundingStrategy::MidpointNearestEven)))
        };
        let ratio = |part: Decimal, whole: Decimal| part.checked_div(whole).and_then(float);
        let risk_reward = self.risk_rewards.iter().try_fold(Decimal::ZERO, |sum, one| sum.checked_add(*one));
        TradeMeasures {
            total_trades: Some(self.trades),
            total_wins: Some(self.wins),
            total_losses: Some(self.losses),
            total_breakeven: Some(self.breakeven),
            win_rate: ratio(Decimal::from(self.wins), Decimal::from(measured)),
            realized_pnl: total_of(self.net),
            gross_pnl: self.gross.and_then(total_of),
            commission: self.commission.and_then(total_of),
            avg_profit_per_win: mean(self.won, self.wins),
            avg_loss_per_loss: mean(self.lost, self.losses),
            profit_factor: ratio(self.won, self.lost.abs()),
            expectancy: mean(self.net, measured),
            avg_risk_reward_ratio: risk_reward
                .and_then(|sum| ratio(sum, Decimal::from(self.risk_rewards.len()))),
            current_streak: Some(self.streak),
            streak_type: Some(self.streak_type.unwrap_or(StreakType::None)),
            // None at all has as many decimals as the amounts.
            max_drawdown: Some(if self.drawdown.is_zero() {
                Decimal::new(0, self.scale)
            } else {
                self.drawdown
            }),
            best_trade: self.best,
            worst_trade: self.worst,
            unmeasured_trades: Some(self.unmeasured),
            first_unmeasured: self.first_unmeasured,
        }
    }
}

/// Decided by the amount, whatever the bot calls it.
fn outcome_of(net: Decimal) -> TradeOutcome {
    match net.cmp(&Decimal::ZERO) {
        std::cmp::Ordering::Greater => TradeOutcome::Win,
        std::cmp::Ordering::Less => TradeOutcome::Loss,
        std::cmp::Ordering::Equal => TradeOutcome::Breakeven,
    }
}

/// The largest ratio that is taken for one. A stop within a rounding of the entry gives any number, and would be the mean.
const LARGEST_RATIO: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

fn risk_reward(trade: &Trade) -> Option<Decimal> {
    let entry = amount_value(trade.entry_price.as_ref())?;
    let (stop, target) =
        (amount_value(trade.stop_price.as_ref())?, amount_value(trade.target_price.as_ref())?);
    let risk = entry.checked_sub(stop).filter(|risk| !risk.is_zero())?;
    target.checked_sub(entry)?.checked_div(risk).filter(|ratio| ratio.abs() <= LARGEST_RATIO)
}

/// Minus zero is shown as zero.
fn plain_zero(amount: Decimal) -> Decimal {
    if amount.is_zero() { amount.abs() } else { amount }
}

/// A ratio as a number, to six places: more would be noise.
fn float(ratio: Decimal) -> Option<f64> {
    ratio.round_dp(6).to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;
    use botops_contract::Side;

    fn trade(net: &str, entry: i64, stop: i64, target: i64) -> Trade {
        let at = Utc.with_ymd_and_hms(2026, 3, 2, 15, 0, 0).unwrap();
        let net: Decimal = net.parse().unwrap();
        Trade {
            seq: 1,
            id: "t".to_owned(),
            symbol: "SPY".to_owned(),
            account_id: None,
            side: Some(Side::Buy),
            side_raw: None,
            quantity: Some(Decimal::ONE.into()),
            entry_price: Some(Decimal::from(entry).into()),
            exit_price: None,
            opened_at: Some(at),
            closed_at: at,
            stop_price: Some(Decimal::from(stop).into()),
            target_price: Some(Decimal::from(target).into()),
            gross_pl: None,
            commission: None,
            net_pl: Some(net.into()),
            outcome: Some(TradeOutcome::Win),
            outcome_raw: None,
            entry_reason: String::new(),
            exit_reason: String::new(),
            boot_epoch: String::new(),
            config_sha256: String::new(),
        }
    }

    fn text(amount: Option<Decimal>) -> String {
        amount.map(|amount| amount.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_formulas_hold_on_a_worked_example() {
        let trades = [
            trade("10.00", 100, 95, 110),
            trade("-4.00", 100, 95, 110),
            trade("0.00", 100, 100, 110),
            trade("-8.00", 100, 90, 110),
            trade("6.00", 100, 98, 106),
        ];
        let measures = measure_trades(trades.iter());
        assert_eq!((measures.total_trades, measures.unmeasured_trades), (Some(5), Some(0)));
        let outcomes = (measures.total_wins, measures.total_losses, measures.total_breakeven);
        assert_eq!(outcomes, (Some(2), Some(2), Some(1)));
        assert_eq!(measures.win_rate, Some(0.4));
        assert_eq!(text(measures.realized_pnl), "4.00");
        assert_eq!(text(measures.avg_profit_per_win), "8.00");
        assert_eq!(text(measures.avg_loss_per_loss), "-6.00");
        assert_eq!(measures.profit_factor, Some(1.333_333));
        assert_eq!(text(measures.expectancy), "0.80");
        // 10/5, 10/5, (no risk), 10/10, 6/2
        assert_eq!(measures.avg_risk_reward_ratio, Some(2.0));
        assert_eq!((measures.current_streak, measures.streak_type), (Some(1), Some(StreakType::Win)));
        assert_eq!(text(measures.max_drawdown), "-12.00");
        assert_eq!(text(measures.worst_trade), "-8.00");
    }

    #[test]
    fn nothing_traded_is_null_and_not_zero_percent() {
        let measures = measure_trades([].iter());
        assert_eq!(measures.win_rate, None);
        assert_eq!(measures.profit_factor, None);
        assert_eq!(measures.expectancy, None);
        assert_eq!(text(measures.realized_pnl), "0");
        assert_eq!(measures.streak_type, Some(StreakType::None));
    }

    #[test]
    fn a_commission_that_one_trade_does_not_tell_is_not_known() {
        let amount = |text: &str| text.parse().ok();
        let told = Trade { commission: amount("0.20"), ..trade("9.80", 10, 9, 12) };
        let before = Trade { gross_pl: amount("5.00"), ..trade("4.90", 10, 9, 12) };
        let both = measure_trades([told.clone(), before].iter());
        assert_eq!((text(both.gross_pnl), text(both.commission)), ("15.00".to_owned(), "0.30".to_owned()));
        let silent = measure_trades([told, trade("1.00", 10, 9, 12)].iter());
        assert_eq!((silent.gross_pnl, silent.commission), (None, None));
        assert_eq!(text(silent.realized_pnl), "10.80");
    }

    #[test]
    fn a_streak_passes_over_breakeven() {
        let trades =
            [trade("1", 10, 9, 12), trade("-1", 10, 9, 12), trade("0", 10, 9, 12), trade("-2", 10, 9, 12)];
        let measures = measure_trades(trades.iter());
        assert_eq!((measures.current_streak, measures.streak_type), (Some(2), Some(StreakType::Loss)));
    }

    #[test]
    fn digits_are_kept_and_what_cannot_be_summed_is_counted() {
        let unknown = Trade { net_pl: None, ..trade("1", 10, 9, 12) };
        let long =
            Trade { net_pl: "12345678901234567890123456789012.5".parse().ok(), ..trade("1", 10, 9, 12) };
        let trades = [trade("0.00004321", 10, 9, 12), unknown, long, trade("0.00000001", 10, 9, 12)];
        let measures = measure_trades(trades.iter());
        assert_eq!(text(measures.realized_pnl), "0.00004322");
        assert_eq!(text(measures.expectancy), "0.00002161");
        assert_eq!((measures.total_trades, measures.unmeasured_trades), (Some(4), Some(2)));
        let huge = [trade("79228162514264337593543950335", 10, 9, 12), trade("1", 10, 9, 12)];
        assert_eq!(measure_trades(huge.iter()).unmeasured_trades, Some(1), "no sum overflows");
        let far_apart =
            [trade("12345678901234567890", 10, 9, 12), trade("0.00000000000000000001", 10, 9, 12)];
        let measures = measure_trades(far_apart.iter());
        assert_eq!(text(measures.realized_pnl), "12345678901234567890", "no digit is lost");
        assert_eq!(measures.unmeasured_trades, Some(1));
    }
}
