//! Numbers by what they are worth: neither scale (`-500.00`) nor form (`5e2`, a text) counts, and nothing is rounded.
//!
//! A float has 17 digits and a decimal of the usual kind 28. Whether two amounts are the same, and which one is larger,
//! is decided here on all the digits that were written.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Powers of ten beyond this are no amount of anything.
const LARGEST_POWER: i64 = 100_000;

/// A decimal number of any length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactNumber {
    is_negative: bool,
    /// The digits from the first one that is not zero to the last one; empty for zero.
    digits: String,
    /// The power of ten of the first digit; 0 for zero.
    power: i64,
}

impl ExactNumber {
    /// Reads a number as JSON writes it; a leading `+`, leading zeros and a missing whole part are taken too.
    ///
    /// `None` for what is no number.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let exponent: i64 = exponent.parse().ok()?;
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let written = format!("{whole}{part}");
        if written.is_empty() || !written.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let digits = written.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits: String::new(), power: 0 });
        }
        let leading_zeros = i64::try_from(written.len() - digits.len()).ok()?;
        let power = i64::try_from(whole.len()).ok()? - 1 - leading_zeros
            + exponent.clamp(-LARGEST_POWER, LARGEST_POWER);
        let digits = digits.trim_end_matches('0').to_owned();
        (power.abs() < LARGEST_POWER).then_some(Self { is_negative, digits, power })
    }

    /// Reads a JSON number, or a text that is a number.
    pub fn of_json(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Self::parse(&number.to_string()),
            Value::String(text) => Self::parse(text),
            _ => None,
        }
    }

    /// How the absolute values of two numbers compare.
    fn cmp_sizes(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // Digits begin at the same power, and no number ends in zeros: the order of texts is that of the numbers.
            (false, false) => self.power.cmp(&other.power).then_with(|| self.digits.cmp(&other.digits)),
        }
    }
}

impl Ord for ExactNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.cmp_sizes(other),
            (true, true) => other.cmp_sizes(self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

impl PartialOrd for ExactNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The whole number that a JSON number is, whether it is written `10` or `10.0`: JSON Schema calls both an integer.
///
/// `None` for a part, and for what a float no longer holds exactly.
pub fn whole_number(number: &Number) -> Option<i64> {
    /// Above this, neighbouring whole numbers are the same float.
    const EXACT_UP_TO: f64 = 9_007_199_254_740_992.0;
    if let Some(whole) = number.as_i64() {
        return Some(whole);
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT_UP_TO)?;
    format!("{float:.0}").parse().ok()
}

/// Writes `10.0` as `10` where the schema wants an integer: JSON Schema calls both one.
pub fn write_integers(schema: &Value, value: &mut Value) {
    match value {
        Value::Number(number) if schema["type"] == "integer" => {
            if let Some(whole) = whole_number(number) {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| write_integers(&schema["items"], item)),
        Value::Object(members) => {
            for (name, member) in members {
                write_integers(&schema["properties"][name], member);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, order: Ordering) {
        let (one, other) = (ExactNumber::parse(a).unwrap(), ExactNumber::parse(b).unwrap());
        assert_eq!((one.cmp(&other), one == other), (order, order == Ordering::Equal), "{a} and {b}");
        assert_eq!(other.cmp(&one), order.reverse(), "{b} and {a}");
    }

    #[test]
    fn scale_and_form_do_not_count() {
        for same in ["-500", "-500.00", "-5e2", "-0.5E3", "-0500.", "-5.00e+2"] {
            check(same, "-500", Ordering::Equal);
        }
        for zero in ["0", "-0", "0.00", "-0e9", ".0", "000"] {
            check(zero, "0", Ordering::Equal);
        }
        check("0.1", "1e-1", Ordering::Equal);
    }

    #[test]
    fn every_digit_counts() {
        check("1.00000000000000000000000000000001", "1", Ordering::Greater);
        check("-1.00000000000000000000000000000001", "-1", Ordering::Less);
        check("79228162514264337593543950336", "79228162514264337593543950335", Ordering::Greater);
        check("9", "10", Ordering::Less);
        check("0.09", "0.1", Ordering::Less);
        check("-2", "1", Ordering::Less);
        check("0", "-0.0001", Ordering::Greater);
        check("0", "0.0001", Ordering::Less);
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "1.2.3", "1e", "0x1", "1_000", "NaN", "١", "1e9999999", " 1"] {
            assert_eq!(ExactNumber::parse(text), None, "{text}");
        }
        assert_eq!(ExactNumber::of_json(&json!(true)), None);
        assert_eq!(ExactNumber::of_json(&json!("5.0")), ExactNumber::of_json(&json!(5)));
    }

    #[test]
    fn a_whole_float_is_a_whole_number() {
        for (value, whole) in [
            (json!(10), Some(10)),
            (json!(10.0), Some(10)),
            (json!(-3.0), Some(-3)),
            (json!(10.5), None),
            (json!(1e300), None),
        ] {
            assert_eq!(value.as_number().and_then(whole_number), whole, "{value}");
        }
    }

    #[test]
    fn integers_are_written_as_such_where_the_schema_wants_them() {
        let schema = json!({"properties": {"n": {"type": "integer"}, "part": {"type": "number"},
            "list": {"items": {"properties": {"n": {"type": "integer"}}}}}});
        let mut value = json!({"n": 2.0, "part": 2.0, "list": [{"n": 3.0}, {"n": 3.5}], "other": 4.0});
        write_integers(&schema, &mut value);
        assert_eq!(value, json!({"n": 2, "part": 2.0, "list": [{"n": 3}, {"n": 3.5}], "other": 4.0}));
    }
}
