//! JSON as its sender wrote it.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

/// Significant digits that every float keeps.
const KEPT_BY_A_FLOAT: usize = 15;

/// A JSON value of any form with the digits of its numbers as they were written: a float would keep 17 of them.
///
/// It is read from JSON alone, since no other reader gives the text of a number.
#[derive(Debug, Clone)]
pub struct VerbatimJson(Box<RawValue>);

impl VerbatimJson {
    /// The text of the value.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The value of a text; `None` when it is not JSON.
    pub fn parse(text: String) -> Option<Self> {
        RawValue::from_string(text).ok().map(Self)
    }
}

impl Default for VerbatimJson {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl From<&Value> for VerbatimJson {
    fn from(value: &Value) -> Self {
        Self::parse(value.to_string()).unwrap_or_default()
    }
}

/// Reads JSON as a value. A number of which a float would keep another one becomes the text of its digits.
///
/// # Errors
/// When it is not JSON, or nests too deeply.
pub fn read_exact_json(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let value: Value = serde_json::from_slice(bytes)?;
    // Most answers have no such number: they are read once.
    if !may_have_changed_number(bytes) {
        return Ok(value);
    }
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    exact_value(text)
}

/// A member of any form: see [`read_exact_json`].
pub(crate) fn exact_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    read_exact_json(raw.get().as_bytes()).map_err(D::Error::custom)
}

/// Whether there may be a number that a float changes: one of more digits than it keeps, or so near to zero that it has
/// none. What looks so within a text counts, too.
fn may_have_changed_number(bytes: &[u8]) -> bool {
    let mut digits = 0;
    let has_many_digits = bytes.iter().any(|byte| {
        digits = match byte {
            b'0'..=b'9' => digits + 1,
            b'.' => digits,
            _ => 0,
        };
        digits > KEPT_BY_A_FLOAT
    });
    has_many_digits || bytes.windows(3).any(|at| matches!(at, [b'0'..=b'9', b'e' | b'E', b'-']))
}

/// The text was read as a value before, so it nests no deeper than that allows.
fn exact_value(text: &str) -> Result<Value, serde_json::Error> {
    match text.trim_start().bytes().next() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            let members = members.into_iter().map(|(name, member)| Ok((name, exact_value(member.get())?)));
            members.collect::<Result<_, _>>().map(Value::Object)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            items.into_iter().map(|item| exact_value(item.get())).collect::<Result<_, _>>().map(Value::Array)
        }
        Some(b'-' | b'0'..=b'9') => {
            let number: Number = serde_json::from_str(text)?;
            let text = text.trim();
            let is_kept = significant_digits(text) == significant_digits(&number.to_string());
            Ok(if is_kept { Value::Number(number) } else { Value::String(text.to_owned()) })
        }
        _ => serde_json::from_str(text),
    }
}

/// The digits of a number without zeros around them. What a float makes of a number is near it: with the same digits it is
/// the same.
fn significant_digits(number: &str) -> String {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

impl PartialEq for VerbatimJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for VerbatimJson {}

impl Serialize for VerbatimJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for VerbatimJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EchoedConfig;

    #[test]
    fn a_number_that_a_float_would_change_is_a_text_in_a_value() {
        let text = r#"{"a": [0.1234567890123456789012, 1e-30, 0.30000000000000004, 1234567890123456789],
            "b": {"c": -98765432109876543210987654321, "d": "0.1234567890123456789012"}, "e": 100000000000000000000.0}"#;
        let read = read_exact_json(text.as_bytes()).unwrap();
        let expected = serde_json::json!({
            "a": ["0.1234567890123456789012", 1e-30, 0.300_000_000_000_000_04, 1_234_567_890_123_456_789_u64],
            "b": {"c": "-98765432109876543210987654321", "d": "0.1234567890123456789012"},
            "e": 1e20,
        });
        assert_eq!(read, expected);
        assert_eq!(read_exact_json(b"[1e-400, 5e-1]").unwrap(), serde_json::json!(["1e-400", 0.5]));
        assert!(read_exact_json(b"{").is_err());
        let event = r#"{"seq": 1, "data": {"price": 0.1234567890123456789012}, "error": {"context": [12345678901234567.25]}}"#;
        let event: crate::BotEvent = serde_json::from_str(event).unwrap();
        assert_eq!(event.data["price"], "0.1234567890123456789012");
        assert_eq!(event.error.unwrap().context[0], "12345678901234567.25");
    }

    #[test]
    fn what_was_written_is_written_again() {
        let text =
            r#"{"reason":"","proof":"","as_of":null,"values":{"a":[5.00,1e-30,0.1234567890123456789012]}}"#;
        let read: EchoedConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!(serde_json::from_str::<EchoedConfig>("{}").unwrap().values, VerbatimJson::default());
        assert_eq!(VerbatimJson::from(&serde_json::json!({"a": 1.5})).as_str(), r#"{"a":1.5}"#);
        assert_eq!(VerbatimJson::parse("{".to_owned()), None);
    }
}
