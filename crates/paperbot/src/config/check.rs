//! Whether the bot would run a document, and which fields a change of documents would touch. Pure functions.

use serde_json::Value;

use super::document::{BotConfig, CheckFacts, restart_only};
use botops_contract::CheckVerdict;
use botops_core::exact_number::ExactNumber;

/// Checks a document that is to replace the running one: its violations, and which changes would need a restart.
pub(crate) fn check_candidate(running: &Value, document: &str, facts: &CheckFacts) -> CheckVerdict {
    let violations = match BotConfig::parse(document) {
        Ok(config) => config.violations(facts),
        Err(violation) => vec![violation],
    };
    let candidate: Value = serde_json::from_str(document).unwrap_or(Value::Null);
    let changes = if violations.is_empty() { changed_pointers(running, &candidate) } else { Vec::new() };
    let (restart, hot) =
        changes.into_iter().partition(|pointer| restart_only().any(|restart| restart == pointer));
    CheckVerdict { ok: violations.is_empty(), violations, hot, restart }
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
