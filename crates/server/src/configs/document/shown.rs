//! A document as it is shown: its digits as they were written, its secrets masked.

use botops_core::redact::MASK;
use serde_json::Value;

use super::nodes::mask_value;
use super::schema::ConfigSchema;
use super::written_value::WrittenValue;

/// A document with the secrets that its schema names masked.
pub(crate) fn mask_document(schema: &ConfigSchema, document: &WrittenValue) -> WrittenValue {
    let mask = |_: &Value| Value::String(MASK.to_owned());
    WrittenValue::of_marked(mask_value(schema.root(), document.marked(), &mask))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand_and_what_has_no_place_too() {
        let schema = ConfigSchema::compile(
            &json!({
                "type": "object", "additionalProperties": false,
                "properties": {
                    "size": {"type": "number"},
                    "venues": {"type": "array", "x-list-key": "name", "items": {"properties": {
                        "name": {"type": "string"}, "key": {"type": "string", "x-secret": true}}}},
                    "keys": {"type": "object", "additionalProperties": {"type": "string", "x-secret": true}},
                },
            })
            .to_string(),
        )
        .unwrap();
        let document: WrittenValue = serde_json::from_str(
            r#"{"size": 1.50, "venues": [{"name": "a", "key": "hunter2"}], "keys": {"x": "hunter3"}, "old": "hunter4"}"#,
        )
        .unwrap();
        let shown = serde_json::to_string(&mask_document(&schema, &document)).unwrap();
        assert_eq!(
            shown,
            r#"{"keys":{"x":"*****"},"old":"*****","size":1.50,"venues":[{"key":"*****","name":"a"}]}"#
        );
        let nothing = mask_document(&ConfigSchema::without_fields(false), &document);
        assert!(!serde_json::to_string(&nothing).unwrap().contains("hunter"));
    }
}
