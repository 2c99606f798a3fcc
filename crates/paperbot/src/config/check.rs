//! Whether the bot would run a document, and which fields a change of documents would touch. Pure functions.

use serde_json::Value;

use super::document::{BotConfig, CheckFacts, restart_only};
use botops_contract::CheckVerdict;

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
    let waits = |pointer: &&str| booted.pointer(pointer) != running.pointer(pointer);
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
        (old, new) if old == new => {}
        _ => pointers.push(at.clone()),
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
}
