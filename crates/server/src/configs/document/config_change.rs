//! A change of the config as it is asked for, and the document that a patch makes of another.
//!
//! A patch cannot grow a document without bound, and applies as a whole or not at all.

use serde_json::Value;

use super::config_document::MOST_DOCUMENT_BYTES;
use super::nodes::{has_secret, is_secret, restore_masked};
use super::same_value::same_value;
use super::schema::ConfigSchema;
use super::written_value::{WrittenValue, decode};
use botops_core::error::{Code, Error};

/// Operations of one JSON Patch; a document has fewer fields.
const PATCH_OPERATIONS: usize = 500;

/// A change of the config, as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigChange {
    /// The whole new document.
    Config(WrittenValue),
    /// RFC 7396: members to replace; `null` removes.
    MergePatch(WrittenValue),
    /// RFC 6902: operations in order, all or none; `test` guards them.
    JsonPatch(WrittenValue),
    /// An earlier version, by number.
    Version(u64),
}

impl ConfigChange {
    /// A JSON Patch that a program made: RFC 6902.
    pub fn json_patch(operations: &Value) -> Self {
        Self::JsonPatch(WrittenValue::of_plain(operations))
    }
}

/// What a patch makes of a document. The schema says which texts are amounts, for what a `test` compares, and which
/// values are secret: one that is sent masked stays as it is.
pub(crate) fn apply_change(
    schema: &ConfigSchema,
    base: &WrittenValue,
    change: &ConfigChange,
) -> Result<WrittenValue, Error> {
    let changed = match change {
        ConfigChange::Config(value) => value.clone(),
        ConfigChange::MergePatch(patch) => {
            let mut value = base.clone();
            value.merge(patch);
            value
        }
        ConfigChange::JsonPatch(patch) => apply_json_patch(schema, base.marked(), patch.marked())?,
        ConfigChange::Version(version) => {
            return Err(Error::new(Code::ConfigVersionUnknown)
                .detail(format!("version {version} is not a patch"))
                .context("version", *version));
        }
    };
    let mut marked = changed.marked().clone();
    restore_masked(schema.root(), base.marked(), &mut marked);
    Ok(WrittenValue::of_marked(marked))
}

/// Base and patch have their numbers as marked texts.
fn apply_json_patch(schema: &ConfigSchema, base: &Value, patch: &Value) -> Result<WrittenValue, Error> {
    let invalid = |detail: String, pointer: String, got: Value| {
        Error::new(Code::ConfigPatchInvalid).detail(detail).field(
            pointer,
            got,
            "RFC 6902 operations that fit the current document",
        )
    };
    let operations: json_patch::Patch = serde_json::from_value(patch.clone()).map_err(|_| {
        invalid(
            "the patch is not a list of RFC 6902 operations".to_owned(),
            "/json_patch".to_owned(),
            Value::Null,
        )
    })?;
    if operations.0.len() > PATCH_OPERATIONS {
        let count = operations.0.len();
        return Err(invalid(
            format!("{count} operations; {PATCH_OPERATIONS} is the most"),
            "/json_patch".to_owned(),
            count.into(),
        ));
    }
    let mut value = base.clone();
    for (index, operation) in operations.0.iter().enumerate() {
        let pointer = format!("/json_patch/{index}");
        apply_operation(schema, &mut value, operation).map_err(|what| {
            let what = botops_core::text::clean(&what, 120);
            invalid(format!("operation {index} does not apply: {what}"), pointer.clone(), Value::Null)
        })?;
        // `copy` can double a document each time: stop while it is small.
        if json_size(&value) > MOST_DOCUMENT_BYTES {
            return Err(invalid(
                format!("after operation {index} the document has more than {MOST_DOCUMENT_BYTES} bytes"),
                pointer,
                Value::Null,
            ));
        }
    }
    Ok(WrittenValue::of_marked(value))
}

/// Applies one operation. A `test` compares what values mean: `10.0` is `10`, and an amount `"-500"` is `"-500.00"`.
fn apply_operation(
    schema: &ConfigSchema,
    document: &mut Value,
    operation: &json_patch::PatchOperation,
) -> Result<(), String> {
    let source = match operation {
        json_patch::PatchOperation::Copy(copy) => Some(copy.from.as_str()),
        json_patch::PatchOperation::Move(from) => Some(from.from.as_str()),
        _ => None,
    };
    if source.is_some_and(|source| reads_secret(schema, document, source)) {
        return Err(
            "what it would copy or move holds a secret, which would be shown at the other place".to_owned()
        );
    }
    let json_patch::PatchOperation::Test(test) = operation else {
        return json_patch::patch(document, std::slice::from_ref(operation))
            .map_err(|error| error.kind.to_string());
    };
    let path = test.path.as_str();
    let found = document.pointer(path).ok_or("there is nothing at its path")?;
    let node = schema.at(path).unwrap_or(&Value::Null);
    if same_value(node, &decode(found), &decode(&test.value)) {
        return Ok(());
    }
    Err("another value is there".to_owned())
}

/// Whether there is a secret at a place, below it or around it.
fn reads_secret(schema: &ConfigSchema, document: &Value, pointer: &str) -> bool {
    let ends = pointer.match_indices('/').map(|(end, _)| end).chain([pointer.len()]);
    let around = ends.filter_map(|end| schema.at(pointer.get(..end)?)).any(is_secret);
    let node = schema.at(pointer).unwrap_or(&Value::Null);
    around || document.pointer(pointer).is_some_and(|value| has_secret(node, value))
}

/// About how many bytes a value takes as JSON.
fn json_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => items.iter().map(json_size).sum::<usize>() + 2,
        Value::Object(members) => members.iter().map(|(key, value)| key.len() + 4 + json_size(value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::paperbot_config::paperbot_schema;
    use super::*;

    fn written(value: &Value) -> WrittenValue {
        WrittenValue::of_plain(value)
    }

    fn change(base: &Value, change: &ConfigChange) -> Result<Value, Error> {
        apply_change(&paperbot_schema(), &written(base), change).map(|value| value.plain())
    }

    fn secret_schema() -> ConfigSchema {
        let schema = json!({"type": "object", "properties": {
            "key": {"type": "string", "x-secret": true}, "note": {"type": "string"},
            "venues": {"type": "array", "x-list-key": "name", "items": {"properties": {
                "name": {"type": "string"}, "key": {"type": "string", "x-secret": true}}}}}});
        ConfigSchema::compile(&schema.to_string()).unwrap()
    }

    #[test]
    fn a_secret_that_comes_back_masked_stays_as_it_is() {
        let base = json!({"key": "hunter2", "note": "x", "venues": [{"name": "a", "key": "hunter3"}]});
        let sent = json!({"key": "*****", "note": "*****",
            "venues": [{"name": "b", "key": "*****"}, {"name": "a", "key": "*****"}]});
        let schema = secret_schema();
        let changed = apply_change(&schema, &written(&base), &ConfigChange::Config(written(&sent))).unwrap();
        let expected = json!({"key": "hunter2", "note": "*****",
            "venues": [{"name": "b", "key": "*****"}, {"name": "a", "key": "hunter3"}]});
        assert_eq!(changed.plain(), expected);
        let findings = schema.check(&changed.plain());
        assert_eq!((findings[0].pointer.as_str(), findings[0].rule.as_str()), ("/venues/0/key", "masked"));
    }

    #[test]
    fn a_patch_does_not_carry_a_secret_to_where_it_is_shown() {
        let base = written(&json!({"key": "hunter2", "venues": [{"name": "a", "key": "hunter3"}]}));
        for from in ["/key", "", "/venues", "/venues/0", "/venues/0/key"] {
            for op in ["copy", "move"] {
                let patch = written(&json!([{"op": op, "from": from, "path": "/note"}]));
                let change = apply_change(&secret_schema(), &base, &ConfigChange::JsonPatch(patch));
                assert_eq!(change.unwrap_err().code(), Code::ConfigPatchInvalid, "{op} {from}");
            }
        }
    }

    #[test]
    fn a_patch_that_doubles_the_document_is_stopped() {
        let copies: Vec<_> =
            (0..60).map(|n| json!({"op": "copy", "from": "", "path": format!("/x{n}")})).collect();
        let error =
            change(&json!({"a": "b"}), &ConfigChange::JsonPatch(written(&Value::Array(copies)))).unwrap_err();
        assert_eq!(error.code(), Code::ConfigPatchInvalid);
    }

    #[test]
    fn a_patch_is_all_or_nothing() {
        let patch =
            json!([{"op": "replace", "path": "/a", "value": 2}, {"op": "test", "path": "/b", "value": 9}]);
        let base = json!({"a": 1, "b": 1});
        assert!(change(&base, &ConfigChange::JsonPatch(written(&patch))).is_err());
        let merged = change(&base, &ConfigChange::MergePatch(written(&json!({"b": null})))).unwrap();
        assert_eq!(merged, json!({"a": 1}));
    }
}
