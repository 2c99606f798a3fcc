//! Words of a difference that do not depend on where it stands.

use serde_json::Value;

/// The value that holds: what is written, or else the default of the schema, where the field has one.
pub(super) fn in_force<'v>(node: &'v Value, written: &'v Value) -> &'v Value {
    if written.is_null() { node.get("default").unwrap_or(written) } else { written }
}

/// What the distance of a stop or a target does, whichever way it changes; `None` for other fields.
pub(super) fn unclear_because(node: &Value) -> Option<&'static str> {
    match node["x-distance"].as_str()? {
        "stop" => Some(
            "it is not clear which way risk moves: a nearer stop loses less each time and fires sooner, at once where it is \
             nearer than the price usually moves",
        ),
        "target" => Some(
            "it is not clear which way risk moves: where the target is decides how often it is reached, and how long \
             positions are held",
        ),
        _ => None,
    }
}

/// A value as a sentence shows it.
pub(super) fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => botops_core::text::clean(text, 60),
        other => botops_core::text::clean(&other.to_string(), 120),
    }
}
