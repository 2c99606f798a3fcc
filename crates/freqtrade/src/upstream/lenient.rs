//! Reading with tolerance: freqtrade's versions differ, and a part in another form counts as not given.

use botops_contract::Amount;
use botops_core::object_reader::read_json_text;
use botops_core::text::clean;
use chrono::{DateTime, Utc};
use rust_decimal::prelude::ToPrimitive;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The longest text that is kept of one field.
const LONGEST_TEXT: usize = 500;

/// A field that is `None` when it is missing, `null`, or not of its form.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(read_json_text::<Option<T>>(raw.get()).ok().flatten())
}

/// A text, cleaned and bounded; a number is taken as its digits.
pub(super) fn lenient_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let written = raw.get();
    let text = match written.bytes().next() {
        Some(b'"') => serde_json::from_str::<String>(written).ok(),
        Some(b'-' | b'0'..=b'9') => Some(written.to_owned()),
        _ => None,
    };
    Ok(text.map(|text| clean(&text, LONGEST_TEXT)))
}

/// A text that has to be there, cleaned and bounded.
pub(super) fn clean_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(clean(&String::deserialize(deserializer)?, LONGEST_TEXT))
}

/// A whole number, also where it is written as `5.0` or as a text.
pub(super) fn lenient_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let amount: Option<Amount> = lenient(deserializer)?;
    Ok(amount.as_ref().and_then(Amount::value).and_then(|value| value.trunc().to_i64()))
}

/// An instant in milliseconds since 1970.
pub(super) fn lenient_millis<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    Ok(lenient_whole(deserializer)?.filter(|at| *at > 0).and_then(DateTime::from_timestamp_millis))
}

/// An instant in seconds since 1970; freqtrade gives 0 for "never".
pub(super) fn lenient_seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    let at = lenient_whole(deserializer)?.filter(|at| *at > 0);
    Ok(at.and_then(|at| DateTime::from_timestamp(at, 0)))
}

/// A list of which each item is read by itself.
#[derive(Debug, Clone)]
pub(crate) struct ReadList<T> {
    /// The items that could be read, in their order.
    pub items: Vec<T>,
    /// How many could not; a count that is built on the list is wrong then.
    pub unreadable: usize,
}

impl<T> Default for ReadList<T> {
    fn default() -> Self {
        Self { items: Vec::new(), unreadable: 0 }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for ReadList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Option::<Vec<Box<RawValue>>>::deserialize(deserializer)?.unwrap_or_default();
        let mut list = Self { items: Vec::with_capacity(raw.len()), unreadable: 0 };
        for item in raw {
            match read_json_text(item.get()) {
                Ok(item) => list.items.push(item),
                Err(_) => list.unreadable += 1,
            }
        }
        Ok(list)
    }
}
