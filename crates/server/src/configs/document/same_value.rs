//! Whether two values of a field mean the same, whatever their scale or form.
//!
//! A number is what it is worth: `10`, `10.0` and `1e1` are one. A text is an amount only in a field that takes numbers
//! as well; elsewhere (a name, a version) `"1.0"` and `"1"` are two texts.

use botops_core::exact_number::ExactNumber;
use serde_json::Value;

use super::nodes::member_node;

/// Whether two values of the field that `node` of the schema describes mean the same.
pub(crate) fn same_value(node: &Value, one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(members), Value::Object(others)) => {
            members.len() == others.len()
                && members.iter().all(|(name, value)| {
                    others.get(name).is_some_and(|other| same_value(member_node(node, name), value, other))
                })
        }
        (Value::Array(items), Value::Array(others)) => match node["x-list-key"].as_str() {
            Some(key) => same_keyed_items(&node["items"], key, items, others),
            None => {
                items.len() == others.len()
                    && items.iter().zip(others).all(|(item, other)| same_value(&node["items"], item, other))
            }
        },
        (Value::Number(_), Value::Number(_)) => same_amount(one, other),
        (Value::Number(_) | Value::String(_), Value::Number(_) | Value::String(_)) => {
            one == other || (takes_amounts(node) && same_amount(one, other))
        }
        _ => one == other,
    }
}

/// The place of the item with this key, in a list whose items are matched by it.
pub(super) fn find_keyed(item_node: &Value, key: &str, items: &[Value], wanted: &Value) -> Option<usize> {
    let node = member_node(item_node, key);
    items.iter().position(|item| same_value(node, &item[key], wanted))
}

/// The order of the items means nothing; each has a partner of the same meaning.
fn same_keyed_items(item_node: &Value, key: &str, items: &[Value], others: &[Value]) -> bool {
    items.len() == others.len()
        && items.iter().all(|item| {
            find_keyed(item_node, key, others, &item[key])
                .and_then(|at| others.get(at))
                .is_some_and(|other| same_value(item_node, item, other))
        })
}

fn same_amount(one: &Value, other: &Value) -> bool {
    match (ExactNumber::of_json(one), ExactNumber::of_json(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Whether the field takes an amount both as a number and as a text.
fn takes_amounts(node: &Value) -> bool {
    let takes = |kind: &str| node["type"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind));
    takes("string") && (takes("number") || takes("integer"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(node: &Value, one: &Value, other: &Value, same: bool) {
        assert_eq!(same_value(node, one, other), same, "{one} and {other}");
        assert_eq!(same_value(node, other, one), same, "{other} and {one}");
    }

    #[test]
    fn an_amount_is_the_same_in_every_form() {
        let amount = json!({"type": ["number", "string"]});
        check(&amount, &json!("-500.00"), &json!("-500"), true);
        check(&amount, &json!("-500.00"), &json!(-500), true);
        check(&amount, &json!(-500.0), &json!(-500), true);
        check(&amount, &json!("-500.00"), &json!("-500.01"), false);
        check(&amount, &json!("0.1000000000000000000000000000001"), &json!("0.1"), false);
        check(&amount, &json!("none"), &json!("0"), false);
        check(&json!({"type": "integer"}), &json!(10.0), &json!(10), true);
        // A field that the schema does not know: numbers are numbers there too.
        check(&Value::Null, &json!({"a": [1.0]}), &json!({"a": [1]}), true);
    }

    #[test]
    fn a_text_that_is_no_amount_is_its_letters() {
        check(&json!({"type": "string"}), &json!("1.0"), &json!("1"), false);
        check(&json!({"type": "number"}), &json!("1"), &json!(1), false);
        check(&json!({"enum": ["1", "1.0"]}), &json!("1"), &json!("1.0"), false);
        check(&Value::Null, &json!("1.0"), &json!("1"), false);
    }

    #[test]
    fn lists_are_compared_item_by_item_and_keyed_ones_by_their_key() {
        let list = json!({"items": {"type": ["number", "string"]}});
        check(&list, &json!(["1.0", 2]), &json!([1, "2.00"]), true);
        check(&list, &json!([1, 2]), &json!([2, 1]), false);
        check(&list, &json!([1]), &json!([1, 1]), false);
        let keyed = json!({"x-list-key": "id", "items": {"properties": {"id": {"type": "integer"}}}});
        check(
            &keyed,
            &json!([{"id": 1, "x": 5}, {"id": 2}]),
            &json!([{"id": 2.0}, {"id": 1.0, "x": 5.0}]),
            true,
        );
        check(&keyed, &json!([{"id": 1}]), &json!([{"id": 2}]), false);
    }
}
