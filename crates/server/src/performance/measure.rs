//! The formulas: closed trades in, measures out. Pure.
//!
//! Money is summed exactly and rounded to cents (half to even) at the end only.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;
use utoipa::ToSchema;

use botops_contract::{StreakType, Trade, TradeOutcome};

/// How a set of closed trades went. Ratios are 0 to 1; what cannot be computed is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct TradeMeasures {
    /// How many trades closed.
    pub total_trades: u64,
    /// Trades with a net profit above zero.
    pub total_wins: u64,
    /// Trades with a net profit below zero.
    pub total_losses: u64,
    /// Trades with a net profit of exactly zero.
    pub total_breakeven: u64,
    /// wins ÷ closed trades; breakeven counts as closed.
    pub win_rate: Option<f64>,
    /// Sum of net profit and loss (after commission).
    pub realized_pnl: Decimal,
    /// Sum of profit and loss before commission.
    pub gross_pnl: Decimal,
    /// Sum of the commissions of these trades.
    pub commission: Decimal,
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
    pub current_streak: u32,
    /// Which way the streak goes.
    pub streak_type: StreakType,
    /// Lowest (cumulative − running peak) of net profit in time order, the peak starting at 0; at most 0.
    pub max_drawdown: Decimal,
    /// Net profit of the best trade.
    pub best_trade: Option<Decimal>,
    /// Net profit of the worst trade.
    pub worst_trade: Option<Decimal>,
}

/// Measures trades given in the order they closed.
pub(super) fn measure_trades<'t, I: Iterator<Item = &'t Trade>>(trades: I) -> TradeMeasures {
    let mut sums = TradeSums::default();
    for trade in trades {
        sums.add(trade);
    }
    sums.finish()
}

#[derive(Default)]
struct TradeSums {
    wins: u64,
    losses: u64,
    breakeven: u64,
    net: Decimal,
    gross: Decimal,
    commission: Decimal,
    won: Decimal,
    lost: Decimal,
    peak: Decimal,
    drawdown: Decimal,
    best: Option<Decimal>,
    worst: Option<Decimal>,
    risk_rewards: Vec<Decimal>,
    streak: u32,
    streak_type: Option<StreakType>,
}

impl TradeSums {
    fn add(&mut self, trade: &Trade) {
        let net = trade.net_pl;
        self.net += net;
        self.gross += trade.gross_pl;
        self.commission += trade.commission;
        self.peak = self.peak.max(self.net);
        self.drawdown = self.drawdown.min(self.net - self.peak);
        self.best = Some(self.best.map_or(net, |best| best.max(net)));
        self.worst = Some(self.worst.map_or(net, |worst| worst.min(net)));
        self.risk_rewards.extend(risk_reward(trade));
        match outcome_of(net) {
            TradeOutcome::Win => {
                self.wins += 1;
                self.won += net;
                self.continue_streak(StreakType::Win);
            }
            TradeOutcome::Loss => {
                self.losses += 1;
                self.lost += net;
                self.continue_streak(StreakType::Loss);
            }
            TradeOutcome::Breakeven => self.breakeven += 1,
        }
    }

    fn continue_streak(&mut self, way: StreakType) {
        self.streak = if self.streak_type == Some(way) { self.streak + 1 } else { 1 };
        self.streak_type = Some(way);
    }

    fn finish(self) -> TradeMeasures {
        let total = self.wins + self.losses + self.breakeven;
        let mean = |sum: Decimal, count: u64| (count > 0).then(|| cents(sum / Decimal::from(count)));
        let ratio = |part: Decimal, whole: Decimal| (!whole.is_zero()).then(|| float(part / whole)).flatten();
        let risk_reward: Decimal = self.risk_rewards.iter().sum();
        TradeMeasures {
            total_trades: total,
            total_wins: self.wins,
            total_losses: self.losses,
            total_breakeven: self.breakeven,
            win_rate: ratio(Decimal::from(self.wins), Decimal::from(total)),
            realized_pnl: cents(self.net),
            gross_pnl: cents(self.gross),
            commission: cents(self.commission),
            avg_profit_per_win: mean(self.won, self.wins),
            avg_loss_per_loss: mean(self.lost, self.losses),
            profit_factor: ratio(self.won, self.lost.abs()),
            expectancy: mean(self.net, total),
            avg_risk_reward_ratio: ratio(risk_reward, Decimal::from(self.risk_rewards.len())),
            current_streak: self.streak,
            streak_type: self.streak_type.unwrap_or(StreakType::None),
            max_drawdown: cents(self.drawdown),
            best_trade: self.best.map(cents),
            worst_trade: self.worst.map(cents),
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

fn risk_reward(trade: &Trade) -> Option<Decimal> {
    let (stop, target) = (trade.stop_price?, trade.target_price?);
    let risk = trade.entry_price - stop;
    (!risk.is_zero()).then(|| (target - trade.entry_price) / risk)
}

/// Rounds to cents, half to even.
pub(super) fn cents(amount: Decimal) -> Decimal {
    let mut rounded = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven);
    rounded.rescale(2);
    // Minus zero is shown as zero.
    if rounded.is_zero() { Decimal::new(0, 2) } else { rounded }
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
            side: Side::Buy,
            quantity: Decimal::ONE,
            entry_price: Decimal::from(entry),
            exit_price: Decimal::from(entry) + net,
            opened_at: at,
            closed_at: at,
            stop_price: Some(Decimal::from(stop)),
            target_price: Some(Decimal::from(target)),
            gross_pl: net,
            commission: Decimal::ZERO,
            net_pl: net,
            outcome: TradeOutcome::Win,
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
        assert_eq!(measures.total_trades, 5);
        assert_eq!((measures.total_wins, measures.total_losses, measures.total_breakeven), (2, 2, 1));
        assert_eq!(measures.win_rate, Some(0.4));
        assert_eq!(measures.realized_pnl.to_string(), "4.00");
        assert_eq!(text(measures.avg_profit_per_win), "8.00");
        assert_eq!(text(measures.avg_loss_per_loss), "-6.00");
        assert_eq!(measures.profit_factor, Some(1.333_333));
        assert_eq!(text(measures.expectancy), "0.80");
        // 10/5, 10/5, (no risk), 10/10, 6/2
        assert_eq!(measures.avg_risk_reward_ratio, Some(2.0));
        assert_eq!((measures.current_streak, measures.streak_type), (1, StreakType::Win));
        assert_eq!(measures.max_drawdown.to_string(), "-12.00");
        assert_eq!(text(measures.worst_trade), "-8.00");
    }

    #[test]
    fn nothing_traded_is_null_and_not_zero_percent() {
        let measures = measure_trades([].iter());
        assert_eq!(measures.win_rate, None);
        assert_eq!(measures.profit_factor, None);
        assert_eq!(measures.expectancy, None);
        assert_eq!(measures.realized_pnl.to_string(), "0.00");
        assert_eq!(measures.streak_type, StreakType::None);
    }

    #[test]
    fn a_streak_passes_over_breakeven() {
        let trades =
            [trade("1", 10, 9, 12), trade("-1", 10, 9, 12), trade("0", 10, 9, 12), trade("-2", 10, 9, 12)];
        let measures = measure_trades(trades.iter());
        assert_eq!((measures.current_streak, measures.streak_type), (2, StreakType::Loss));
    }
}
