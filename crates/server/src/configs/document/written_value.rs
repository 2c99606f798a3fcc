//! JSON as it was written: read strictly, and with the digits of every number kept.
//!
//! A float would make `-0.10` into `-0.1`, and lose what is beyond its 17 digits; so a number is held as its text. What is
//! kept, sent and shown is written from this; rules and schema see the plain value.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use utoipa::ToSchema;

/// Begins each text that stands for something else than itself; a character of private use.
const MARK: char = '\u{e000}';

/// After the mark: the digits of a number follow.
const NUMBER: char = 'n';

/// After the mark: a text follows that itself begins with the mark.
const TEXT: char = 't';

/// A JSON value with its numbers as they were written. An object in which a key stands twice is refused when it is
/// read, since nobody could say which one counts.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(value_type = Object)]
pub struct WrittenValue(Value);

impl WrittenValue {
    /// A value that was never a text: its numbers are written the usual way.
    pub fn of_plain(value: &Value) -> Self {
        Self(encode(value))
    }

    /// The value with numbers that programs compute with.
    pub(crate) fn plain(&self) -> Value {
        decode(&self.0)
    }

    /// A member of an object.
    pub(crate) fn member(&self, name: &str) -> Option<Self> {
        self.0.get(name).cloned().map(Self)
    }

    /// Merges a patch into it: RFC 7396.
    pub(super) fn merge(&mut self, patch: &Self) {
        json_patch::merge(&mut self.0, &patch.0);
    }

    /// Its numbers as marked texts, which operations of a JSON Patch take for any other text.
    pub(super) fn marked(&self) -> &Value {
        &self.0
    }

    /// From what [`Self::marked`] gave, patched or not.
    pub(super) fn of_marked(value: Value) -> Self {
        Self(value)
    }
}

fn encode(value: &Value) -> Value {
    match value {
        Value::Number(number) => mark_number(&number.to_string()),
        Value::String(text) => mark_text(text.clone()),
        Value::Array(items) => items.iter().map(encode).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, member)| (name.clone(), encode(member))).collect())
        }
        other => other.clone(),
    }
}

/// The plain value of a marked one.
pub(super) fn decode(value: &Value) -> Value {
    match value {
        Value::String(text) => match marked_part(text) {
            Some((NUMBER, digits)) => serde_json::from_str(digits).map_or(Value::Null, Value::Number),
            Some((_, text)) => Value::String(text.to_owned()),
            None => value.clone(),
        },
        Value::Array(items) => items.iter().map(decode).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, member)| (name.clone(), decode(member))).collect())
        }
        other => other.clone(),
    }
}

fn mark_number(digits: &str) -> Value {
    Value::String(format!("{MARK}{NUMBER}{digits}"))
}

fn mark_text(text: String) -> Value {
    Value::String(if text.starts_with(MARK) { format!("{MARK}{TEXT}{text}") } else { text })
}

/// What kind of marked text it is, and what follows the mark.
fn marked_part(text: &str) -> Option<(char, &str)> {
    let mut rest = text.strip_prefix(MARK)?.chars();
    Some((rest.next()?, rest.as_str()))
}

impl Serialize for WrittenValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Marked(&self.0).serialize(to)
    }
}

/// A marked value, to be written as what it stands for.
struct Marked<'a>(&'a Value);

impl Serialize for Marked<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => match marked_part(text) {
                Some((NUMBER, digits)) => {
                    RawValue::from_string(digits.to_owned()).map_err(S::Error::custom)?.serialize(to)
                }
                Some((_, text)) => to.serialize_str(text),
                None => to.serialize_str(text),
            },
            Value::Array(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Marked(item))?;
                }
                list.end()
            }
            Value::Object(members) => {
                let mut object = to.serialize_map(Some(members.len()))?;
                for (name, member) in members {
                    object.serialize_entry(name, &Marked(member))?;
                }
                object.end()
            }
            other => other.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for WrittenValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        read_marked(&raw).map(Self).map_err(de::Error::custom)
    }
}

/// Reads a text that is known to be JSON.
fn read_marked(raw: &RawValue) -> Result<Value, serde_json::Error> {
    let text = raw.get();
    match text.bytes().next() {
        Some(b'{') => serde_json::from_str::<StrictObject>(text).map(|object| Value::Object(object.0)),
        Some(b'[') => serde_json::from_str::<StrictList>(text).map(|list| Value::Array(list.0)),
        Some(b'-' | b'0'..=b'9') => {
            // A number beyond what a float holds is refused, as everywhere.
            serde_json::from_str::<Number>(text).map(|_| mark_number(text))
        }
        Some(b'"') => serde_json::from_str::<String>(text).map(mark_text),
        _ => serde_json::from_str(text),
    }
}

struct StrictObject(Map<String, Value>);

struct StrictList(Vec<Value>);

impl<'de> Deserialize<'de> for StrictObject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(StrictVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for StrictList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ListVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON in which no key stands twice")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                let key = botops_core::text::clean(&key, 60);
                return Err(de::Error::custom(format!("the key `{key}` stands twice")));
            }
            let member = members.next_value::<&RawValue>()?;
            object.insert(key, read_marked(member).map_err(de::Error::custom)?);
        }
        Ok(object)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<&RawValue>()? {
            list.push(read_marked(item).map_err(de::Error::custom)?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":[{"b":1,"b":1}]}"#] {
            let error = serde_json::from_str::<WrittenValue>(text).unwrap_err();
            assert!(error.to_string().contains("stands twice"), "{error}");
        }
        let value = serde_json::from_str::<WrittenValue>(r#"{"a":[1,null]}"#).unwrap();
        assert_eq!(value.plain(), json!({"a": [1, null]}));
    }

    #[test]
    fn what_was_written_is_written_again() {
        for text in [
            r#"{"a":-0.10,"b":[1.0,2e1,12345678901234567890.123456789],"c":"5.00","d":{"e":null,"f":true}}"#,
            "[]",
            "{}",
            "1.50",
            r#""text""#,
            "\"\u{e000}n5\"",
            "{\"\u{e000}n5\":[\"\u{e000}\",\"\u{e000}t\"]}",
        ] {
            let value = serde_json::from_str::<WrittenValue>(text).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
            assert_eq!(value.plain(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        let plain = json!({"a": [1.5, "\u{e000}n1"], "b": null});
        assert_eq!(WrittenValue::of_plain(&plain).plain(), plain);
    }

    #[test]
    fn a_number_that_no_float_holds_is_refused() {
        assert!(serde_json::from_str::<WrittenValue>("[1e999]").is_err());
    }
}
