//! The rules of the config: what a document must hold by itself, and against the account as it is now.

use rust_decimal::Decimal;

use super::document::BotConfig;
use super::violations::ViolationList;
use botops_contract::ConfigViolation;

/// The bot's facts at one moment, against which a document is checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckFacts {
    /// Symbols with prices, and those that the running document already names as targets.
    pub symbols: Vec<String>,
    /// Open positions: symbol and cost in account currency.
    pub positions: Vec<(String, Decimal)>,
    pub equity: Decimal,
    /// Today's profit and loss as the breaker counts it: without what was lost before its last reset.
    pub daily_pl_since_reset: Decimal,
    /// The same as a part of the equity with which the day began.
    pub day_part: Decimal,
    /// Fall from the highest equity, as a part of it.
    pub drawdown: Decimal,
    /// Trades in a row that lost money.
    pub losses_in_a_row: u32,
}

impl BotConfig {
    /// Every rule that the document breaks at this moment.
    pub(crate) fn violations(&self, facts: &CheckFacts) -> Vec<ConfigViolation> {
        let mut found = ViolationList::default();
        self.check_mode_and_hours(&mut found);
        self.check_ranges(&mut found);
        self.check_against_account(facts, &mut found);
        self.check_targets(facts, &mut found);
        found.into_violations()
    }

    fn check_mode_and_hours(&self, found: &mut ViolationList) {
        found.require(
            self.mode == "paper",
            "/mode",
            "mode_fixed",
            "this bot trades on paper only".to_owned(),
            "use \"paper\"",
        );
        let hours = &self.trading.hours;
        found.require(
            hours.start_time < hours.end_time,
            "/trading/hours/start_time",
            "hours_reversed",
            format!("trading would start at {} and end at {}", hours.start_time, hours.end_time),
            "let start_time be before end_time, on the same day",
        );
        found.require(
            self.risk_management.risk_reward_ratio > Decimal::ONE,
            "/risk_management/risk_reward_ratio",
            "stop_beyond_target",
            "the target would lie no farther from the entry than the stop".to_owned(),
            "use a ratio above 1, such as 2.0",
        );
    }

    /// Finds limits that today's loss or an open position already exceeds.
    fn check_against_account(&self, facts: &CheckFacts, found: &mut ViolationList) {
        let risk = &self.risk_management;
        let (zero, hundred) = (Decimal::ZERO, Decimal::ONE_HUNDRED);
        found.require(
            risk.daily_loss_limit >= zero || facts.daily_pl_since_reset > risk.daily_loss_limit,
            "/risk_management/daily_loss_limit",
            "would_trip_breaker",
            format!(
                "the profit and loss that counts today is {} already: the breaker would open at once",
                facts.daily_pl_since_reset
            ),
            "use a lower limit, or wait for the next trading day",
        );
        self.check_against_losses(facts, found);
        let fix = "use a larger limit, or close the position first";
        for (symbol, cost) in &facts.positions {
            found.require(
                *cost <= risk.max_position_size,
                "/risk_management/max_position_size",
                "below_open_position",
                format!("the open position in {symbol} cost {}", cost.round_dp(2)),
                fix,
            );
            let share = if facts.equity > zero { cost * hundred / facts.equity } else { zero };
            found.require(
                share <= risk.max_position_pct * Decimal::new(11, 1),
                "/risk_management/max_position_pct",
                "below_open_position",
                format!("the open position in {symbol} is {} % of the equity", share.round_dp(2)),
                fix,
            );
        }
    }

    /// The limits on losses other than the amount of a day, by the numbers that the breaker itself counts.
    fn check_against_losses(&self, facts: &CheckFacts, found: &mut ViolationList) {
        let (risk, thresholds) = (&self.risk_management, &self.circuit_breaker_thresholds);
        let zero = Decimal::ZERO;
        let percent = |part: Decimal| (part * Decimal::ONE_HUNDRED).round_dp(2);
        let day_limit = -risk.max_daily_loss_pct / Decimal::ONE_HUNDRED;
        let opens = |counted: Decimal, limit: Decimal| counted < zero && counted <= limit;
        let of_day = format!(
            "the day stands at {} % of the equity: the breaker would open at once",
            percent(facts.day_part)
        );
        let wait = "use a wider limit, or wait for the next trading day";
        for (limit, pointer) in [
            (day_limit, "/risk_management/max_daily_loss_pct"),
            (thresholds.daily_loss, "/circuit_breaker_thresholds/daily_loss"),
        ] {
            found.require(!opens(facts.day_part, limit), pointer, "would_trip_breaker", of_day.clone(), wait);
        }
        found.require(
            !opens(facts.drawdown, thresholds.max_drawdown),
            "/circuit_breaker_thresholds/max_drawdown",
            "would_trip_breaker",
            format!(
                "the equity is {} % below its peak already: the breaker would open at once",
                percent(facts.drawdown.abs())
            ),
            "use a wider limit",
        );
        found.require(
            facts.losses_in_a_row == 0 || facts.losses_in_a_row < risk.max_consecutive_losses,
            "/risk_management/max_consecutive_losses",
            "would_trip_breaker",
            format!("{} trades in a row lost money: the breaker would open at once", facts.losses_in_a_row),
            "use a higher number, or wait for a trade that wins",
        );
    }

    /// What it may be wise to look at again, although the bot would run it.
    pub(crate) fn warnings(&self) -> Vec<ConfigViolation> {
        let mut found = ViolationList::default();
        let risk = &self.risk_management;
        let day = risk.max_daily_loss_pct;
        found.require(
            risk.risk_per_trade.checked_mul(Decimal::ONE_HUNDRED).is_some_and(|part| part <= day),
            "/risk_management/risk_per_trade",
            "one_trade_above_day",
            format!("one losing trade may cost more than {day} % of the equity, the loss of a whole day"),
            "one losing trade alone would end the day; lower risk_per_trade",
        );
        found.into_violations()
    }

    fn check_targets(&self, facts: &CheckFacts, found: &mut ViolationList) {
        for (index, target) in self.targets.iter().enumerate() {
            found.require(
                facts.symbols.contains(&target.symbol),
                &format!("/targets/{index}/symbol"),
                "unknown_symbol",
                format!(
                    "there are no prices for `{}`",
                    botops_core::text::clean(&target.symbol, botops_core::text::SYMBOL_MAX)
                ),
                &format!("use one of {}", facts.symbols.join(", ")),
            );
            found.require(
                target.weight >= Decimal::ZERO && target.weight <= Decimal::ONE,
                &format!("/targets/{index}/weight"),
                "out_of_range",
                format!("{} is no part of the equity", target.weight),
                "use a number from 0 to 1",
            );
            found.require(
                !self.targets.iter().take(index).any(|earlier| earlier.symbol == target.symbol),
                &format!("/targets/{index}/symbol"),
                "duplicate_symbol",
                "the symbol stands twice".to_owned(),
                "keep one of them",
            );
        }
        let sum: Decimal = self.targets.iter().map(|target| target.weight).sum();
        found.require(
            sum <= Decimal::ONE,
            "/targets",
            "weights_above_one",
            format!("the weights add up to {sum}"),
            "let the weights add up to at most 1",
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::document::BUILT_IN;

    fn facts() -> CheckFacts {
        let symbols = ["SPY", "QQQ", "AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META"];
        CheckFacts {
            symbols: symbols.map(str::to_owned).to_vec(),
            equity: Decimal::from(100_000),
            ..CheckFacts::default()
        }
    }

    #[track_caller]
    fn check(pointer: &str, value: Value, expected: &[(&str, &str)]) {
        let mut document: Value = serde_json::from_str(BUILT_IN).unwrap();
        *document.pointer_mut(pointer).unwrap() = value;
        let settings = BotConfig::parse(&document.to_string()).unwrap();
        let found = settings.violations(&facts());
        let found: Vec<_> = found.iter().map(|v| (v.path.as_str(), v.code.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_built_in_document_is_good() {
        check("/mode", json!("paper"), &[]);
    }

    #[test]
    fn each_rule_names_its_field() {
        check("/mode", json!("live"), &[("/mode", "mode_fixed")]);
        check("/trading/hours/end_time", json!("00:00"), &[("/trading/hours/start_time", "hours_reversed")]);
        let ratio = "/risk_management/risk_reward_ratio";
        check(ratio, json!(0.9), &[(ratio, "stop_beyond_target")]);
        let part = "/risk_management/risk_per_trade";
        check(part, json!("79228162514264337593543950335"), &[(part, "out_of_range")]);
        let mut huge = BotConfig::parse(BUILT_IN).unwrap();
        huge.risk_management.risk_per_trade = Decimal::MAX;
        assert_eq!(huge.warnings().len(), 1);
        check("/targets/1/symbol", json!("SPY"), &[("/targets/1/symbol", "duplicate_symbol")]);
        check("/targets/0/symbol", json!("ZZZ"), &[("/targets/0/symbol", "unknown_symbol")]);
        check("/targets/0/weight", json!(0.9), &[("/targets", "weights_above_one")]);
        let limit = "/risk_management/daily_loss_limit";
        check(limit, json!("5"), &[(limit, "out_of_range")]);
    }

    #[test]
    fn a_document_must_fit_what_is_open_now() {
        let settings = BotConfig::parse(BUILT_IN).unwrap();
        let mut facts = facts();
        facts.positions.push(("SPY".to_owned(), Decimal::from(6_000)));
        facts.daily_pl_since_reset = Decimal::from(-600);
        let codes: Vec<String> = settings.violations(&facts).into_iter().map(|v| v.code).collect();
        assert_eq!(codes, ["would_trip_breaker", "below_open_position", "below_open_position"]);
    }
}
