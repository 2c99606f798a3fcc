//! How single values of the config document are parsed.

use std::str::FromStr;

use botops_core::exact_number::whole_number;
use chrono::NaiveTime;
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// Parses a decimal that is written as a number or as a string.
pub(super) fn decimal<'de, D: Deserializer<'de>>(from: D) -> Result<Decimal, D::Error> {
    let text = match Value::deserialize(from)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => return Err(de::Error::custom("a number was expected")),
    };
    Decimal::from_str(&text)
        .or_else(|_| Decimal::from_scientific(&text))
        .map_err(|_| de::Error::custom("a number was expected"))
}

/// Parses a whole number, written `10` or `10.0`.
pub(super) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let wrong = || de::Error::custom("a whole number was expected");
    let Value::Number(number) = Value::deserialize(from)? else { return Err(wrong()) };
    whole_number(&number).and_then(|whole| u32::try_from(whole).ok()).ok_or_else(wrong)
}

/// Parses a time of day, `HH:MM`.
pub(super) fn time_of_day<'de, D: Deserializer<'de>>(from: D) -> Result<NaiveTime, D::Error> {
    let text = String::deserialize(from)?;
    NaiveTime::parse_from_str(&text, "%H:%M")
        .map_err(|_| de::Error::custom("a time such as 09:30 was expected"))
}

/// Parses the IANA name of a time zone.
pub(super) fn time_zone<'de, D: Deserializer<'de>>(from: D) -> Result<Tz, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| de::Error::custom("a time zone such as America/New_York was expected"))
}
