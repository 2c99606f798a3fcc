//! A config document as it is sent, patched and stored.
//!
//! Kept from users: strict reading (a key that stands twice is an error, not a choice), patches that cannot grow
//! without bound, and the one text of a document whose SHA-256 names it. Deliberately absent: rules about values.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use botops_contract::VersionRef;
use botops_core::error::{Code, Error};

/// A document, patched or not, may have this many bytes; the bot's own is about 1 KiB.
pub(super) const LARGEST: usize = 256 * 1024;

/// Operations of one JSON Patch; a document has fewer fields.
const PATCH_OPERATIONS: usize = 500;

/// JSON read strictly: an object in which a key stands twice is refused, since nobody could say which one counts.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(value_type = Object)]
pub struct StrictValue(pub Value);

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Strict).map(Self)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON in which no key stands twice")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(StrictValue(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                let key = botops_core::text::clean(&key, 60);
                return Err(de::Error::custom(format!("the key `{key}` stands twice")));
            }
            let StrictValue(value) = members.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// A document with its one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The value.
    pub value: Value,
    /// The exact bytes that are stored and sent.
    pub text: String,
    /// SHA-256 of the text, lower-case hex.
    pub sha256: String,
}

impl Document {
    /// The document for a value, in the form that is stored.
    pub(super) fn of(value: Value) -> Self {
        let mut text = serde_json::to_string_pretty(&value).expect("a JSON value is JSON");
        text.push('\n');
        let sha256 = sha256(text.as_bytes());
        Self { value, text, sha256 }
    }

    /// Reads a stored text.
    pub(super) fn read(text: String) -> Result<Self, String> {
        let StrictValue(value) = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let sha256 = sha256(text.as_bytes());
        Ok(Self { value, text, sha256 })
    }

    /// The reference of this document as a version.
    pub(super) fn as_version(&self, version: u64) -> VersionRef {
        VersionRef { version, sha256: self.sha256.clone() }
    }
}

/// A change of the config, as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The whole new document.
    Config(Value),
    /// RFC 7396: members to replace; `null` removes.
    MergePatch(Value),
    /// RFC 6902: operations in order, all or none; `test` guards them.
    JsonPatch(Value),
    /// An earlier version, by number.
    Version(u64),
}

/// What a patch makes of a document.
pub(super) fn patched(base: &Value, change: &Change) -> Result<Value, Error> {
    match change {
        Change::Config(value) => Ok(value.clone()),
        Change::MergePatch(patch) => {
            let mut value = base.clone();
            json_patch::merge(&mut value, patch);
            Ok(value)
        }
        Change::JsonPatch(patch) => json_patched(base, patch),
        Change::Version(version) => Err(Error::new(Code::ConfigVersionUnknown)
            .detail(format!("version {version} is not a patch"))
            .context("version", *version)),
    }
}

fn json_patched(base: &Value, patch: &Value) -> Result<Value, Error> {
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
        json_patch::patch(&mut value, std::slice::from_ref(operation)).map_err(|error| {
            let what = botops_core::text::clean(&error.kind.to_string(), 120);
            invalid(format!("operation {index} does not apply: {what}"), pointer.clone(), Value::Null)
        })?;
        // `copy` can double a document each time: stop while it is small.
        if size(&value) > LARGEST {
            return Err(invalid(
                format!("after operation {index} the document has more than {LARGEST} bytes"),
                pointer,
                Value::Null,
            ));
        }
    }
    Ok(value)
}

/// About how many bytes a value takes as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(members) => members.iter().map(|(key, value)| key.len() + 4 + size(value)).sum(),
    }
}

/// Lower-case hex of a SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":[{"b":1,"b":1}]}"#] {
            let error = serde_json::from_str::<StrictValue>(text).unwrap_err();
            assert!(error.to_string().contains("stands twice"), "{error}");
        }
        assert_eq!(
            serde_json::from_str::<StrictValue>(r#"{"a":[1,null]}"#).unwrap().0,
            json!({"a": [1, null]})
        );
    }

    #[test]
    fn a_patch_that_doubles_the_document_is_stopped() {
        let copies: Vec<_> =
            (0..60).map(|n| json!({"op": "copy", "from": "", "path": format!("/x{n}")})).collect();
        let error = patched(&json!({"a": "b"}), &Change::JsonPatch(Value::Array(copies))).unwrap_err();
        assert_eq!(error.code(), Code::ConfigPatchInvalid);
    }

    #[test]
    fn a_patch_is_all_or_nothing() {
        let patch =
            json!([{"op": "replace", "path": "/a", "value": 2}, {"op": "test", "path": "/b", "value": 9}]);
        assert!(patched(&json!({"a": 1, "b": 1}), &Change::JsonPatch(patch)).is_err());
        let merged = patched(&json!({"a": 1, "b": 1}), &Change::MergePatch(json!({"b": null}))).unwrap();
        assert_eq!(merged, json!({"a": 1}));
    }
}
