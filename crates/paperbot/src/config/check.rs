//! Whether the bot would run a document, and which fields a change of documents would touch. Pure functions.

use std::str::FromStr;

use serde_json::Value;

use super::document::{BotConfig, restart_only};
use super::rules::CheckFacts;
use botops_contract::{CheckVerdict, ConfigViolation};
use botops_core::exact_number::ExactNumber;

/// Checks a document that is to replace the running one: its violations, and which changes would need a restart.
pub(crate) fn check_candidate(running: &Value, document: &str, facts: &CheckFacts) -> CheckVerdict {
    let candidate: Value = serde_json::from_str(document).unwrap_or(Value::Null);
    let (mut violations, warnings) = match BotConfig::parse(document) {
        Ok(config) => (config.violations(facts), config.warnings()),
        Err(violation) => (vec![unknown_zone(&candidate).unwrap_or(violation)], Vec::new()),
    };
    violations.retain(|violation| binds(violation, running, &candidate));
    violations.extend(lost_targets(running, &candidate, facts));
    let changes = if violations.is_empty() { changed_pointers(running, &candidate) } else { Vec::new() };
    let (restart, hot) =
        changes.into_iter().partition(|pointer| restart_only().any(|restart| restart == pointer));
    CheckVerdict { ok: violations.is_empty(), violations, warnings, hot, restart }
}

/// A time zone that nobody knows, named with its place.
fn unknown_zone(candidate: &Value) -> Option<ConfigViolation> {
    let pointer = "/trading/hours/timezone";
    let zone = candidate.pointer(pointer)?.as_str()?;
    chrono_tz::Tz::from_str(zone).is_err().then(|| ConfigViolation {
        path: pointer.to_owned(),
        code: "zone_unknown".to_owned(),
        message: "the time zone database has no such zone".to_owned(),
        fix: Some("use a name such as America/New_York".to_owned()),
    })
}

/// Rules against the account bind what the change touches: a limit that stays as it is does not keep an operator from
/// changing another one.
fn binds(violation: &ConfigViolation, running: &Value, candidate: &Value) -> bool {
    let is_about_the_account =
        matches!(violation.code.as_str(), "would_trip_breaker" | "below_open_position");
    let is_untouched = match (running.pointer(&violation.path), candidate.pointer(&violation.path)) {
        (Some(old), Some(new)) => same_value(old, new),
        _ => false,
    };
    !(is_about_the_account && is_untouched)
}

/// Targets that the change would take away while a position in them is open.
fn lost_targets(running: &Value, candidate: &Value, facts: &CheckFacts) -> Vec<ConfigViolation> {
    let symbols = |document: &Value| -> Vec<String> {
        let targets = document["targets"].as_array().into_iter().flatten();
        targets.filter_map(|target| target["symbol"].as_str().map(str::to_owned)).collect()
    };
    let kept = symbols(candidate);
    let lost = symbols(running)
        .into_iter()
        .filter(|symbol| facts.positions.iter().any(|(held, _)| held == symbol) && !kept.contains(symbol));
    let violation = |symbol: String| ConfigViolation {
        path: "/targets".to_owned(),
        code: "positions_block".to_owned(),
        message: format!("{symbol} has an open position and would be no target any more"),
        fix: Some(format!("keep {symbol} with weight 0 until the position is closed")),
    };
    lost.map(violation).collect()
}

/// Pointers of restart-only fields in which the running document differs from the one that the process booted.
pub(super) fn pending_restart(booted: &Value, running: &Value) -> Vec<String> {
    let waits = |pointer: &&str| match (booted.pointer(pointer), running.pointer(pointer)) {
        (Some(booted), Some(running)) => !same_value(booted, running),
        (booted, running) => booted != running,
    };
    restart_only().filter(waits).map(str::to_owned).collect()
}

/// JSON pointers at which two documents differ.
fn changed_pointers(old: &Value, new: &Value) -> Vec<String> {
    let mut pointers = Vec::new();
    collect_changes(old, new, &mut String::new(), &mut pointers);
    pointers
}

fn collect_changes(old: &Value, new: &Value, at: &mut String, pointers: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let length = at.len();
                at.push('/');
                at.push_str(&key.replace('~', "~0").replace('/', "~1"));
                let absent = Value::Null;
                let (old, new) = (old.get(key).unwrap_or(&absent), new.get(key).unwrap_or(&absent));
                collect_changes(old, new, at, pointers);
                at.truncate(length);
            }
        }
        (old, new) if same_value(old, new) => {}
        _ => pointers.push(at.clone()),
    }
}

/// Whether two values mean the same. Every text of the document that is a number is an amount.
fn same_value(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same_value(old, new))
        }
        (Value::Object(old), Value::Object(new)) => {
            old.len() == new.len()
                && old.iter().all(|(name, old)| new.get(name).is_some_and(|new| same_value(old, new)))
        }
        _ => match (ExactNumber::of_json(old), ExactNumber::of_json(new)) {
            (Some(old), Some(new)) => old == new,
            _ => old == new,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_named_by_pointer() {
        let old = json!({"a": {"b": 1, "c": [1]}, "d": 2});
        let new = json!({"a": {"b": 1, "c": [2]}, "e/f": 2});
        assert_eq!(changed_pointers(&old, &new), ["/a/c", "/d", "/e~1f"]);
    }

    #[test]
    fn other_digits_of_the_same_amount_are_no_change() {
        let old = json!({"a": "-500.00", "b": 10, "c": [{"d": 0.10}], "e": "09:30"});
        let new = json!({"a": -500, "b": 10.0, "c": [{"d": "0.1"}], "e": "09:30"});
        assert_eq!(changed_pointers(&old, &new), Vec::<String>::new());
    }

    #[test]
    fn rules_against_the_account_bind_what_a_change_touches() {
        let running: Value = serde_json::from_str(super::super::document::BUILT_IN).unwrap();
        let symbols = ["SPY", "QQQ", "AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META"];
        let facts = CheckFacts {
            symbols: symbols.map(str::to_owned).to_vec(),
            positions: vec![("SPY".to_owned(), rust_decimal::Decimal::from(6_000))],
            equity: rust_decimal::Decimal::from(100_000),
            daily_pl_since_reset: rust_decimal::Decimal::from(-600),
            day_part: rust_decimal::Decimal::new(-6, 3),
            drawdown: rust_decimal::Decimal::new(-15, 3),
            losses_in_a_row: 2,
        };
        let codes = |change: &dyn Fn(&mut Value)| -> Vec<String> {
            let mut document = running.clone();
            change(&mut document);
            let verdict = check_candidate(&running, &document.to_string(), &facts);
            verdict.violations.into_iter().map(|violation| violation.code).collect()
        };
        assert_eq!(codes(&|d| d["trading"]["max_trades_per_day"] = json!(7)), Vec::<String>::new());
        assert_eq!(
            codes(&|d| d["risk_management"]["max_position_size"] = json!("5000.0")),
            Vec::<String>::new()
        );
        assert_eq!(
            codes(&|d| d["risk_management"]["max_position_size"] = json!(4_000)),
            ["below_open_position"]
        );
        assert_eq!(
            codes(&|d| d["risk_management"]["daily_loss_limit"] = json!(-400)),
            ["would_trip_breaker"]
        );
        for (pointer, opens, holds) in [
            ("/circuit_breaker_thresholds/daily_loss", json!(-0.005), json!(-0.007)),
            ("/risk_management/max_daily_loss_pct", json!(0.6), json!(0.7)),
            ("/circuit_breaker_thresholds/max_drawdown", json!(-0.015), json!(-0.016)),
            ("/risk_management/max_consecutive_losses", json!(2), json!(3)),
        ] {
            let set = |value: &Value| codes(&|d| *d.pointer_mut(pointer).unwrap() = value.clone());
            assert_eq!(set(&opens), ["would_trip_breaker"], "{pointer}");
            assert_eq!(set(&holds), Vec::<String>::new(), "{pointer}");
        }
        assert_eq!(codes(&|d| drop(d["targets"].as_array_mut().unwrap().remove(0))), ["positions_block"]);
        let zone = |d: &mut Value| d["trading"]["hours"]["timezone"] = json!("Mars/Olympus");
        assert_eq!(codes(&zone), ["zone_unknown"]);
    }

    #[test]
    fn a_trade_that_risks_more_than_a_day_is_taken_with_a_warning() {
        let running: Value = serde_json::from_str(super::super::document::BUILT_IN).unwrap();
        let mut document = running.clone();
        document["risk_management"]["risk_per_trade"] = json!(0.04);
        document["targets"] = json!([]);
        let verdict = check_candidate(&running, &document.to_string(), &CheckFacts::default());
        assert!(verdict.ok, "{verdict:?}");
        assert_eq!(verdict.warnings[0].code, "one_trade_above_day");
    }

    #[test]
    fn a_whole_float_is_read_where_an_integer_is_wanted() {
        let mut document: Value = serde_json::from_str(super::super::document::BUILT_IN).unwrap();
        document["risk_management"]["max_consecutive_losses"] = json!(9.0);
        document["order_management"]["poll_interval_seconds"] = json!(15.0);
        document["trading"]["max_trades_per_day"] = json!(1e1);
        let config = BotConfig::parse(&document.to_string()).unwrap();
        assert_eq!(
            (config.risk_management.max_consecutive_losses, config.trading.max_trades_per_day),
            (9, 10)
        );
        let booted: Value = serde_json::from_str(super::super::document::BUILT_IN).unwrap();
        assert_eq!(pending_restart(&booted, &document), Vec::<String>::new());
        for wrong in [json!(9.5), json!(-1), json!("9"), json!(1e300)] {
            document["risk_management"]["max_consecutive_losses"] = wrong.clone();
            assert!(BotConfig::parse(&document.to_string()).is_err(), "{wrong}");
        }
    }
}
