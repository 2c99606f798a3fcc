//! Values that are taken in more than one form, because bots write them so.
//!
//! An id may be a number, a whole number may be a text, and `null` says as little as what is left out. Ids are read
//! from JSON alone, since no other reader gives the digits of a number as they were written.

use std::str::FromStr;

use chrono::{DateTime, Datelike, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The years that a bot's time may lie in: RFC 3339 has four digits for them, and a time before 1900 is the zero of
/// some language. Further out, arithmetic on dates leaves what a date can hold.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=9999;

/// What is given as `null` says as little as what is left out.
pub(crate) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A text, or a number by the digits that it is written with; `null` is the empty text.
pub(crate) fn text_or_digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(optional_text_or_digits(deserializer)?.unwrap_or_default())
}

/// As [`text_or_digits`], for a member that has to be given.
pub(crate) fn text_or_digits_given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    optional_text_or_digits(deserializer)?.ok_or_else(|| D::Error::custom(EXPECTED_TEXT))
}

/// As [`text_or_digits`], for a member that may be absent.
pub(crate) fn optional_text_or_digits<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let written = raw.get();
    match written.bytes().next() {
        Some(b'"') => serde_json::from_str(written).map(Some).map_err(D::Error::custom),
        Some(b'-' | b'0'..=b'9') => Ok(Some(written.to_owned())),
        Some(b'n') => Ok(None),
        _ => Err(D::Error::custom(EXPECTED_TEXT)),
    }
}

/// A bot's name; a number is taken by its digits.
pub(crate) fn parsed_text_or_digits<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(
    deserializer: D,
) -> Result<T, D::Error> {
    text_or_digits_given(deserializer)?
        .parse()
        .map_err(|why| D::Error::custom(format!("expected a text: {why}")))
}

/// A whole number, or a text of its digits.
pub(crate) fn whole_number<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<T, D::Error> {
    optional_whole_number(deserializer)?.ok_or_else(|| D::Error::custom(EXPECTED_NUMBER))
}

/// As [`whole_number`], for a member that may be absent or `null`.
pub(crate) fn optional_whole_number<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let Some(text) = optional_text_or_digits(deserializer)? else { return Ok(None) };
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_digits { text.parse().ok() } else { None };
    number.map(Some).ok_or_else(|| D::Error::custom(EXPECTED_NUMBER))
}

/// The highest number of an event or a trade, 2^53: readers that hold numbers as floating point tell no higher ones apart,
/// and a cursor that stood beyond would pass all that follow.
pub const LARGEST_SEQ: u64 = 1 << 53;

/// The number of a trade.
pub(crate) fn sequence_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number: u64 = whole_number(deserializer)?;
    let too_high = || D::Error::custom(format!("expected a number up to {LARGEST_SEQ} (2^53)"));
    (number <= LARGEST_SEQ).then_some(number).ok_or_else(too_high)
}

const EXPECTED_TEXT: &str = "expected a text or a number";

const EXPECTED_NUMBER: &str = "expected a whole number, not below zero";

/// A time of the years 1900 to 9999.
pub(crate) fn plain_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let at = DateTime::<Utc>::deserialize(deserializer)?;
    if YEARS.contains(&at.year()) {
        return Ok(at);
    }
    Err(D::Error::custom("expected a time of the years 1900 to 9999, as RFC 3339 with its zone"))
}

/// As [`plain_time`], for a member that may be absent or `null`.
pub(crate) fn optional_plain_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    #[derive(Deserialize)]
    struct PlainTime(#[serde(deserialize_with = "plain_time")] DateTime<Utc>);
    Ok(Option::<PlainTime>::deserialize(deserializer)?.map(|PlainTime(at)| at))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{BotEvent, BotReport, Hello, Order, TradePage};

    #[test]
    fn an_id_that_is_a_number_keeps_its_digits() {
        let long = "123456789012345678901234567890";
        for (written, read) in
            [("12345", "12345"), (long, long), ("\"a-1\"", "a-1"), ("-7", "-7"), ("null", "")]
        {
            let order: Order = serde_json::from_str(&format!("{{\"id\": {written}}}")).unwrap();
            assert_eq!(order.id, read);
            let report: BotReport = serde_json::from_str(&format!("{{\"boot_epoch\": {written}}}")).unwrap();
            assert_eq!(report.boot_epoch.unwrap_or_default(), read);
        }
        for wrong in ["true", "[1]", "{}"] {
            let refused =
                serde_json::from_str::<Order>(&format!("{{\"id\": {wrong}}}")).unwrap_err().to_string();
            assert!(refused.contains("expected a text or a number"), "{refused}");
        }
        let hello: Hello =
            serde_json::from_value(json!({"contract": "2", "bot_id": 42, "pid": "7", "version": 3})).unwrap();
        assert_eq!((hello.bot_id.as_str(), hello.pid, hello.version.as_deref()), ("42", Some(7), Some("3")));
        assert_eq!(hello.contract, Some(2));
    }

    #[test]
    fn a_number_may_be_a_text_of_digits() {
        let page = r#"{"items": [{"seq": "17", "id": 5, "symbol": 7203, "closed_at": "2026-03-02T15:00:00Z"}], "next": "17"}"#;
        let page: TradePage = serde_json::from_str(page).unwrap();
        assert_eq!((page.items[0].seq, page.next, page.items[0].symbol.as_str()), (17, Some(17), "7203"));
        for wrong in ["\"-1\"", "\"\"", "1.5", "\"1e3\"", "\"99999999999999999999\"", "null"] {
            let refused =
                serde_json::from_str::<BotEvent>(&format!("{{\"seq\": {wrong}}}")).unwrap_err().to_string();
            assert!(refused.contains("expected a whole number"), "{wrong}: {refused}");
        }
    }

    #[test]
    fn a_time_beyond_what_a_date_can_hold_is_refused() {
        for absurd in [
            "+262142-12-31T23:59:59Z",
            "-0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "+10000-01-01T00:00:00Z",
        ] {
            let text = format!("{{\"as_of\": \"{absurd}\"}}");
            let refused = serde_json::from_str::<BotReport>(&text).unwrap_err().to_string();
            assert!(refused.contains("1900 to 9999"), "{absurd}: {refused}");
        }
        let read: BotReport =
            serde_json::from_str("{\"as_of\": null, \"last_trade_at\": \"1928-01-03T15:00:00Z\"}").unwrap();
        assert!(read.as_of.is_none() && read.last_trade_at.is_some());
    }
}
