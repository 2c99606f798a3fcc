//! The rules a schema cannot say: hours in order, weights that add up, nothing below an open position.
//!
//! Deliberately absent: what the schema says already. A document gets here only when it fits the schema.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::schema::{Facts, Finding, Level, Schema, child, decimal, targets};

/// Everything that breaks a rule. The document is valid by the schema.
pub(super) fn broken(schema: &Schema, document: &Value, base: Option<&Value>, facts: &Facts) -> Vec<Finding> {
    let mut rules = Rules { schema, document, findings: Vec::new() };
    rules.amounts(schema.root(), document, "");
    rules.hours();
    rules.stop_and_target();
    rules.weights();
    rules.open_positions(base, facts);
    rules.findings
}

/// The rules between fields, and what they found so far.
struct Rules<'a> {
    schema: &'a Schema,
    document: &'a Value,
    findings: Vec<Finding>,
}

impl Rules<'_> {
    fn broken(&mut self, pointer: &str, rule: &str, expected: String, fix: &str) {
        let value = self.document.pointer(pointer).unwrap_or(&Value::Null);
        self.findings.push(Finding {
            pointer: pointer.to_owned(),
            level: Level::Semantic,
            rule: rule.to_owned(),
            got: self.schema.shown(pointer, value),
            expected,
            fix: fix.to_owned(),
        });
    }

    fn number(&self, pointer: &str) -> Option<Decimal> {
        self.document.pointer(pointer).and_then(decimal)
    }

    /// The range of an amount holds for text too.
    fn amounts(&mut self, node: &Value, value: &Value, pointer: &str) {
        if let Value::String(text) = value {
            let takes_numbers = node["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("number")));
            let Some(number) = Decimal::from_str(text).ok().filter(|_| takes_numbers) else { return };
            let low = node.get("minimum").and_then(decimal).is_some_and(|limit| number < limit);
            let high = node.get("maximum").and_then(decimal).is_some_and(|limit| number > limit);
            if low || high {
                let (expected, fix) = self.schema.wanted(pointer);
                self.broken(pointer, if low { "minimum" } else { "maximum" }, expected, &fix);
            }
            return;
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            self.amounts(&node["properties"][key], value, &child(pointer, key));
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            self.amounts(&node["items"], value, &format!("{pointer}/{index}"));
        }
    }

    fn hours(&mut self) {
        let text = |pointer: &str| self.document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        // HH:MM compares as text.
        let (start, end) = (text("/trading/hours/start_time"), text("/trading/hours/end_time"));
        let zone = text("/trading/hours/timezone");
        let zone_is_known = chrono_tz::Tz::from_str(zone).is_ok();
        if start >= end {
            let expected = format!("a time before end_time, {end}");
            self.broken(
                "/trading/hours/start_time",
                "hours_reversed",
                expected,
                "Let start_time be before end_time on the same day.",
            );
        }
        if !zone_is_known {
            let expected = "a name of the IANA time zone database".to_owned();
            self.broken(
                "/trading/hours/timezone",
                "zone_unknown",
                expected,
                "Use a name such as America/New_York.",
            );
        }
    }

    fn stop_and_target(&mut self) {
        let pointer = "/risk_management/risk_reward_ratio";
        if self.number(pointer).is_some_and(|ratio| ratio <= Decimal::ONE) {
            let expected = "more than 1: the target lies farther from the entry than the stop".to_owned();
            self.broken(pointer, "stop_beyond_target", expected, "Use a ratio above 1, such as 2.0.");
        }
    }

    fn weights(&mut self) {
        let targets: Vec<(String, Decimal)> = targets(self.document);
        let sum: Decimal = targets.iter().map(|(_, weight)| *weight).sum();
        if sum > Decimal::ONE {
            let expected = format!("weights that add up to at most 1; these add up to {sum}");
            self.broken("/targets", "weights_above_one", expected, "Lower some weights.");
        }
        for (index, (symbol, _)) in targets.iter().enumerate() {
            if targets.iter().take(index).any(|(earlier, _)| earlier == symbol) {
                let pointer = format!("/targets/{index}/symbol");
                let expected = format!("each symbol once; `{symbol}` stands above already");
                self.broken(&pointer, "symbol_twice", expected, "Keep one of the two.");
            }
        }
    }

    /// Rules against what the bot holds. They bind what the change touches: a limit that stays as it is does not
    /// keep an operator from changing another one.
    fn open_positions(&mut self, base: Option<&Value>, facts: &Facts) {
        let touched = |pointer: &str| {
            base.is_none_or(|base| {
                base.pointer(pointer).and_then(decimal) != self.document.pointer(pointer).and_then(decimal)
            })
        };
        let (size, loss) = ("/risk_management/max_position_size", "/risk_management/daily_loss_limit");
        let size_limit = self.number(size).filter(|_| touched(size));
        let loss_limit = self.number(loss).filter(|_| touched(loss));
        let largest = facts.positions.iter().max_by_key(|(_, cost)| *cost);
        if let (Some(limit), Some((symbol, cost))) = (size_limit, largest)
            && *cost > limit
        {
            let expected =
                format!("at least {}, the cost of the open position in {symbol}", cost.round_dp(2));
            self.broken(
                size,
                "below_open_position",
                expected,
                "Use a larger limit, or close the position first.",
            );
        }
        if let (Some(limit), Some(today)) = (loss_limit, facts.daily_pl)
            && today <= limit
        {
            let expected = format!("less than {today}, the result of today");
            self.broken(
                loss,
                "would_trip_breaker",
                expected,
                "Use a lower limit, or wait for the next trading day.",
            );
        }
        let Some(base) = base else { return };
        let kept = targets(self.document);
        for (symbol, _) in targets(base) {
            let is_open = facts.positions.iter().any(|(held, _)| *held == symbol);
            if is_open && !kept.iter().any(|(target, _)| *target == symbol) {
                let expected = format!("a target for {symbol}, which has an open position");
                self.broken(
                    "/targets",
                    "positions_block",
                    expected,
                    &format!("Keep {symbol} with weight 0 until the position is closed."),
                );
            }
        }
    }
}
