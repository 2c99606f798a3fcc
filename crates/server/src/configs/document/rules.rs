//! The rules that a schema cannot express (hours in order, weights that add up, nothing below an open position), and
//! the check of a document by schema and rules together.
//!
//! The rules are asked only about a document that fits the schema.

use std::str::FromStr;

use botops_core::exact_number::ExactNumber;
use chrono::Utc;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::finding::{ConfigFinding, ValidationLevel};
use super::schema::{ConfigSchema, MOST_FINDINGS, child_pointer, read_decimal};
use crate::bots::{BotSnapshot, ReportedDay};
use botops_contract::amount_value;

/// Everything that is wrong with a document by the schema, or else by the rules.
pub(crate) fn check_document(
    schema: &ConfigSchema,
    document: &Value,
    base: Option<&Value>,
    facts: &RuleFacts,
) -> Vec<ConfigFinding> {
    let mut findings = schema.structure(document);
    if findings.is_empty() {
        findings = broken_rules(schema, document, base, facts);
    }
    findings.truncate(MOST_FINDINGS);
    findings
}

/// What the rules compare a document with.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleFacts {
    /// Open positions: symbol and what it cost.
    pub positions: Vec<(String, Decimal)>,
    /// Profit and loss of today.
    pub daily_pl: Option<Decimal>,
}

impl RuleFacts {
    /// From the bot's last report; what is of a day that is over is nothing of today.
    pub(crate) fn of(seen: &BotSnapshot) -> Self {
        let Some(report) = seen.report.as_deref() else { return Self::default() };
        let is_over = ReportedDay::of(seen, Utc::now()).is_some_and(|day| day.is_over);
        // A position whose cost is not known is held to no limit here; the bot's own check knows it.
        let cost = |position: &botops_contract::Position| {
            let quantity = amount_value(position.quantity.as_ref()).filter(|quantity| !quantity.is_zero())?;
            let cost = quantity.checked_mul(amount_value(position.entry_price.as_ref())?)?;
            Some((position.symbol.clone(), cost.abs()))
        };
        Self {
            positions: report.position_list().iter().filter_map(cost).collect(),
            daily_pl: amount_value(report.performance.daily_pl.as_ref()).filter(|_| !is_over),
        }
    }
}

/// Everything that breaks a rule. The document is valid by the schema.
fn broken_rules(
    schema: &ConfigSchema,
    document: &Value,
    base: Option<&Value>,
    facts: &RuleFacts,
) -> Vec<ConfigFinding> {
    let mut rules = RuleCheck { schema, document, findings: Vec::new() };
    rules.amounts(schema.root(), document, "");
    rules.hours();
    rules.stop_and_target();
    rules.weights();
    rules.open_positions(base, facts);
    rules.findings
}

/// One check by the rules, with what it has found so far.
struct RuleCheck<'a> {
    schema: &'a ConfigSchema,
    document: &'a Value,
    findings: Vec<ConfigFinding>,
}

impl RuleCheck<'_> {
    fn add_finding(&mut self, pointer: &str, rule: &str, expected: String, fix: &str) {
        let value = self.document.pointer(pointer).unwrap_or(&Value::Null);
        self.findings.push(ConfigFinding {
            pointer: pointer.to_owned(),
            level: ValidationLevel::Semantic,
            rule: rule.to_owned(),
            got: self.schema.shown(pointer, value),
            expected,
            fix: fix.to_owned(),
        });
    }

    fn number(&self, pointer: &str) -> Option<Decimal> {
        self.document.pointer(pointer).and_then(read_decimal)
    }

    /// The range of an amount holds for text too.
    fn amounts(&mut self, node: &Value, value: &Value, pointer: &str) {
        if let Value::String(text) = value {
            let takes_numbers = node["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("number")));
            let Some(number) = Decimal::from_str(text).ok().filter(|_| takes_numbers) else { return };
            let low = node.get("minimum").and_then(read_decimal).is_some_and(|limit| number < limit);
            let high = node.get("maximum").and_then(read_decimal).is_some_and(|limit| number > limit);
            if low || high {
                let (expected, fix) = self.schema.wanted(pointer);
                self.add_finding(pointer, if low { "minimum" } else { "maximum" }, expected, &fix);
            }
            return;
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            self.amounts(&node["properties"][key], value, &child_pointer(pointer, key));
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
            self.add_finding(
                "/trading/hours/start_time",
                "hours_reversed",
                expected,
                "Let start_time be before end_time on the same day.",
            );
        }
        if !zone_is_known {
            let expected = "a name of the IANA time zone database".to_owned();
            self.add_finding(
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
            self.add_finding(pointer, "stop_beyond_target", expected, "Use a ratio above 1, such as 2.0.");
        }
    }

    fn weights(&mut self) {
        let targets: Vec<(String, Decimal)> = targets(self.document);
        let sum: Decimal = targets.iter().map(|(_, weight)| *weight).sum();
        if sum > Decimal::ONE {
            let expected = format!("weights that add up to at most 1; these add up to {sum}");
            self.add_finding("/targets", "weights_above_one", expected, "Lower some weights.");
        }
        for (index, (symbol, _)) in targets.iter().enumerate() {
            if targets.iter().take(index).any(|(earlier, _)| earlier == symbol) {
                let pointer = format!("/targets/{index}/symbol");
                let expected = format!("each symbol once; `{symbol}` stands above already");
                self.add_finding(&pointer, "symbol_twice", expected, "Keep one of the two.");
            }
        }
    }

    /// Rules against what the bot holds. They bind what the change touches: a limit that stays as it is does not
    /// keep an operator from changing another one.
    fn open_positions(&mut self, base: Option<&Value>, facts: &RuleFacts) {
        let number =
            |document: &Value, pointer: &str| document.pointer(pointer).and_then(ExactNumber::of_json);
        let touched =
            |pointer: &str| base.is_none_or(|base| number(base, pointer) != number(self.document, pointer));
        let (size, loss) = ("/risk_management/max_position_size", "/risk_management/daily_loss_limit");
        let size_limit = self.number(size).filter(|_| touched(size));
        let loss_limit = self.number(loss).filter(|_| touched(loss));
        let largest = facts.positions.iter().max_by_key(|(_, cost)| *cost);
        if let (Some(limit), Some((symbol, cost))) = (size_limit, largest)
            && *cost > limit
        {
            let expected =
                format!("at least {}, the cost of the open position in {symbol}", cost.round_dp(2));
            self.add_finding(
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
            self.add_finding(
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
                self.add_finding(
                    "/targets",
                    "positions_block",
                    expected,
                    &format!("Keep {symbol} with weight 0 until the position is closed."),
                );
            }
        }
    }
}

/// Symbols and their weights.
fn targets(document: &Value) -> Vec<(String, Decimal)> {
    let read = |target: &Value| {
        Some((target["symbol"].as_str()?.to_owned(), read_decimal(&target["weight"]).unwrap_or_default()))
    };
    document["targets"].as_array().into_iter().flatten().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::super::config_document::DEFAULT_DOCUMENT;
    use super::*;

    fn default_document() -> Value {
        serde_json::from_str(DEFAULT_DOCUMENT).unwrap()
    }

    #[track_caller]
    fn finds(change: impl FnOnce(&mut Value), pointer: &str, rule: &str) {
        let mut document = default_document();
        change(&mut document);
        let findings = check_document(
            &ConfigSchema::built_in(),
            &document,
            Some(&default_document()),
            &RuleFacts::default(),
        );
        assert!(
            findings.iter().any(|finding| finding.pointer == pointer && finding.rule == rule),
            "{findings:?}"
        );
    }

    #[test]
    fn the_default_document_is_valid() {
        let findings =
            check_document(&ConfigSchema::built_in(), &default_document(), None, &RuleFacts::default());
        assert_eq!(findings, vec![]);
    }

    #[test]
    fn every_kind_of_mistake_is_found_at_its_place() {
        finds(
            |d| d["risk_management"]["risk_per_trade"] = json!(0.5),
            "/risk_management/risk_per_trade",
            "maximum",
        );
        finds(
            |d| d["risk_management"]["risk_per_trade"] = json!("0.02"),
            "/risk_management/risk_per_trade",
            "type",
        );
        finds(
            |d| d["risk_management"]["daily_loss_limit"] = json!("-0.50"),
            "/risk_management/daily_loss_limit",
            "maximum",
        );
        finds(|d| d["risk_managment"] = json!({}), "/risk_managment", "additionalProperties");
        finds(|d| drop(d.as_object_mut().unwrap().remove("trading")), "/trading", "required");
        finds(
            |d| d["trading"]["hours"]["start_time"] = json!("23:59"),
            "/trading/hours/start_time",
            "hours_reversed",
        );
        finds(
            |d| d["trading"]["hours"]["timezone"] = json!("Mars/Olympus"),
            "/trading/hours/timezone",
            "zone_unknown",
        );
        finds(
            |d| d["risk_management"]["risk_reward_ratio"] = json!(0.9),
            "/risk_management/risk_reward_ratio",
            "stop_beyond_target",
        );
        finds(|d| d["targets"][0]["weight"] = json!(0.9), "/targets", "weights_above_one");
        finds(|d| d["targets"][1]["symbol"] = json!("SPY"), "/targets/1/symbol", "symbol_twice");
    }

    #[test]
    fn an_unknown_field_is_named_with_a_near_one_and_without_its_value() {
        let mut document = default_document();
        document["trading"]["max_trades_per_dya"] = json!("hunter2");
        let findings = check_document(&ConfigSchema::built_in(), &document, None, &RuleFacts::default());
        assert!(findings[0].fix.contains("max_trades_per_day"), "{findings:?}");
        assert!(!format!("{findings:?}").contains("hunter2"));
    }

    #[test]
    fn an_open_position_blocks_what_would_contradict_it() {
        let base = default_document();
        let mut document = base.clone();
        document["risk_management"]["max_position_size"] = json!("1000");
        document["targets"].as_array_mut().unwrap().remove(0);
        let facts = RuleFacts { positions: vec![("SPY".to_owned(), Decimal::from(4_900))], daily_pl: None };
        let findings = check_document(&ConfigSchema::built_in(), &document, Some(&base), &facts);
        let rules: Vec<_> = findings.iter().map(|finding| finding.rule.as_str()).collect();
        assert_eq!(rules, ["below_open_position", "positions_block"]);
        assert_eq!(check_document(&ConfigSchema::built_in(), &base, Some(&base), &facts), vec![]);
    }
}
