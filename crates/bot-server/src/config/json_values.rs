//! JSON values by what they mean, and by pointer.

use std::collections::HashSet;

use botops_core::exact_number::ExactNumber;
use serde_json::{Map, Value};

/// A JSON number by what it is worth; `None` for anything else, a text of digits included.
pub(super) fn exact_number(value: &Value) -> Option<ExactNumber> {
    value.is_number().then(|| ExactNumber::of_json(value)).flatten()
}

/// Whether two values mean the same: 1 and 1.0 do, 1 and true do not.
pub(super) fn is_same(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(_), Value::Number(_)) => match (exact_number(one), exact_number(two)) {
            (Some(one), Some(two)) => one == two,
            _ => one == two,
        },
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| is_same(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && one.iter().all(|(name, one)| two.get(name).is_some_and(|two| is_same(one, two)))
        }
        _ => one == two,
    }
}

/// Whether two of these values mean the same.
pub(super) fn has_repeated(items: &[Value]) -> bool {
    // Comparing each with each would take hours for a list of some length.
    let mut seen = HashSet::new();
    items.iter().any(|item| !seen.insert(identity(item)))
}

/// The same text for values that mean the same.
fn identity(value: &Value) -> String {
    match value {
        Value::Number(number) => {
            exact_number(value).map_or_else(|| number.to_string(), |one| one.to_string())
        }
        Value::Array(items) => format!("[{}]", items.iter().map(identity).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(name, member)| format!("{}:{}", Value::from(name.as_str()), identity(member)))
                .collect();
            members.sort_unstable();
            format!("{{{}}}", members.join(","))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string(),
    }
}

/// JSON pointers at which two documents differ; a list counts as one value.
pub(super) fn changed_pointers(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    add_changes(old, new, "", &mut found);
    found
}

fn add_changes(old: &Value, new: &Value, at: &str, found: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        if !is_same(old, new) {
            found.push(at.to_owned());
        }
        return;
    };
    for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
        let pointer = child_pointer(at, name);
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => add_changes(old, new, &pointer, found),
            _ => found.push(pointer),
        }
    }
}

/// The pointer of a member.
pub(super) fn child_pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The names that a pointer goes through.
pub(super) fn pointer_parts(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

/// Puts a value where a pointer of [`changed_pointers`] points, or with `None` takes it away.
pub(super) fn put_at(document: &mut Value, pointer: &str, wanted: Option<&Value>) {
    let parts: Vec<String> = pointer_parts(pointer).collect();
    let Some((last, parents)) = parts.split_last() else { return };
    let mut place = document;
    for part in parents {
        if !place.is_object() {
            return;
        }
        place = &mut place[part.as_str()];
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
    }
    let Some(members) = place.as_object_mut() else { return };
    match wanted {
        Some(wanted) => drop(members.insert(last.clone(), wanted.clone())),
        None => drop(members.remove(last)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_named_by_pointer_and_other_digits_are_none() {
        let old = json!({"a": {"b": 1, "c": [1]}, "d": 2, "f": 0.020});
        let new = json!({"a": {"b": 1.0, "c": [2]}, "e/f": 2, "f": 0.02});
        assert_eq!(changed_pointers(&old, &new), ["/a/c", "/d", "/e~1f"]);
        assert_eq!(changed_pointers(&json!({"a": "1"}), &json!({"a": 1})), ["/a"], "a text is no number");
        assert_eq!(changed_pointers(&json!({"a": true}), &json!({"a": 1})), ["/a"]);
    }

    #[test]
    fn a_value_is_put_back_where_it_was() {
        let old = json!({"a": {"b": 1}, "c": 2});
        let mut new = json!({"a": 5, "d": 3});
        for pointer in changed_pointers(&old, &new) {
            let before = old.pointer(&pointer).cloned();
            put_at(&mut new, &pointer, before.as_ref());
        }
        assert_eq!(new, old);
    }

    #[test]
    fn what_means_the_same_is_there_twice() {
        for pair in [
            json!([1, true]),
            json!([{"a": 1}, {"a": true}]),
            json!([[1], ["1"]]),
            json!([null, false, 0, ""]),
        ] {
            assert!(!has_repeated(pair.as_array().unwrap()), "{pair}");
        }
        for pair in [json!([1, 1.0]), json!([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]), json!([null, null])]
        {
            assert!(has_repeated(pair.as_array().unwrap()), "{pair}");
        }
        let many: Vec<Value> = (0..100_000).map(|number| json!(format!("item {number}"))).collect();
        assert!(!has_repeated(&many));
    }
}
