//! Places in an expanded schema: what describes a member, and what is never shown.

use serde_json::{Map, Value};

/// The JSON pointer of a member of `parent`.
pub(super) fn child_pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The node of a member: that of its name, or that of every member without one. `null` when nothing describes it.
pub(super) fn member_node<'a>(node: &'a Value, name: &str) -> &'a Value {
    match (node["properties"].get(name), &node["additionalProperties"]) {
        (Some(field), _) => field,
        (None, any @ Value::Object(_)) => any,
        (None, _) => &Value::Null,
    }
}

/// Whether the values of a field are never shown.
pub(super) fn is_secret(node: &Value) -> bool {
    node["x-secret"].as_bool().unwrap_or_default()
}

/// Whether a member has no place here: the node describes all that there is, and not this.
pub(super) fn is_foreign(node: &Value, name: &str) -> bool {
    member_node(node, name).is_null() && node["additionalProperties"] == Value::Bool(false)
}

/// A value with its secrets replaced by what `mask` makes of them. So is a member that has no place in the schema:
/// it may be a secret of an earlier one.
pub(super) fn mask_value(node: &Value, value: &Value, mask: &dyn Fn(&Value) -> Value) -> Value {
    if is_secret(node) {
        return if value.is_null() { Value::Null } else { mask(value) };
    }
    match value {
        Value::Object(members) => {
            let mut shown = Map::new();
            for (name, member) in members {
                let masked = if is_foreign(node, name) {
                    mask(member)
                } else {
                    mask_value(member_node(node, name), member, mask)
                };
                shown.insert(name.clone(), masked);
            }
            Value::Object(shown)
        }
        Value::Array(items) => items.iter().map(|item| mask_value(&node["items"], item, mask)).collect(),
        other => other.clone(),
    }
}

/// Whether anything in a value would be masked.
pub(super) fn has_secret(node: &Value, value: &Value) -> bool {
    is_secret(node)
        || match value {
            Value::Object(members) => members
                .iter()
                .any(|(name, member)| is_foreign(node, name) || has_secret(member_node(node, name), member)),
            Value::Array(items) => items.iter().any(|item| has_secret(&node["items"], item)),
            _ => false,
        }
}

/// Puts back what a mask stands for: a secret that was read masked and sent back so stays as it is in `base`.
pub(super) fn restore_masked(node: &Value, base: &Value, value: &mut Value) {
    if is_secret(node) {
        if value.as_str() == Some(botops_core::redact::MASK) && !base.is_null() {
            value.clone_from(base);
        }
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                restore_masked(member_node(node, name), &base[name.as_str()], member);
            }
        }
        Value::Array(items) => {
            let key = node["x-list-key"].as_str();
            for (index, item) in items.iter_mut().enumerate() {
                let before = match key {
                    Some(key) => base.as_array().into_iter().flatten().find(|old| old[key] == item[key]),
                    None => base.get(index),
                };
                restore_masked(&node["items"], before.unwrap_or(&Value::Null), item);
            }
        }
        _ => {}
    }
}
