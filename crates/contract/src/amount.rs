//! Decimal numbers, digit for digit as their sender gave them.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The longest text that is taken for a number.
const LONGEST: usize = 128;

/// Zeros that an exponent may add; beyond that a number stays as it was written.
const LARGEST_EXPONENT: u32 = 64;

/// An amount of money, a price or a quantity: value and scale as given, never rounded.
///
/// On the wire it is a text; a bare JSON number is taken as well, by its digits and not by a binary fraction of them.
/// Exponents are expanded (`1e-8` is `0.00000001`). A number that a decimal of 28 digits cannot hold stays the text
/// that it came as: it is shown, and takes part in no sum ([`Amount::value`] is `None`).
///
/// It is read from JSON alone, since no other reader gives the text of a number; also not inside of a `flatten`, an
/// `untagged` or a tagged enum of serde, which are buffered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Amount(Digits);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Digits {
    Exact(Decimal),
    Long(Box<str>),
}

impl Amount {
    /// The number for arithmetic; `None` when it has more digits than a decimal holds.
    pub fn value(&self) -> Option<Decimal> {
        match &self.0 {
            Digits::Exact(value) => Some(*value),
            Digits::Long(_) => None,
        }
    }
}

/// The number behind an optional amount: `None` when there is none, and when it has more digits than a decimal holds.
pub fn amount_value(amount: Option<&Amount>) -> Option<Decimal> {
    amount.and_then(Amount::value)
}

/// The sum of two numbers; `None` when it would lose a digit, or has no place in a decimal.
///
/// The addition of the decimal itself rounds without saying so once the digits of both, written under each other, are
/// more than it holds.
pub fn add_exactly(one: Decimal, two: Decimal) -> Option<Decimal> {
    let sum = one.checked_add(two)?;
    let needed = one.normalize().scale().max(two.normalize().scale());
    (sum.scale() >= needed).then_some(sum)
}

/// The difference of two numbers; `None` as in [`add_exactly`].
pub fn subtract_exactly(one: Decimal, two: Decimal) -> Option<Decimal> {
    add_exactly(one, -two)
}

/// The product of two numbers; `None` when it would lose a digit, or has no place in a decimal.
///
/// The multiplication of the decimal itself rounds without saying so, as its addition does.
pub fn multiply_exactly(one: Decimal, two: Decimal) -> Option<Decimal> {
    let product = one.checked_mul(two)?;
    let needed = one.normalize().scale() + two.normalize().scale();
    (product.scale() >= needed || one.is_zero() || two.is_zero()).then_some(product)
}

impl From<Decimal> for Amount {
    fn from(value: Decimal) -> Self {
        Self(Digits::Exact(value))
    }
}

/// A text that is not a decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAmount;

impl fmt::Display for NotAnAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a decimal number")
    }
}

impl std::error::Error for NotAnAmount {}

impl FromStr for Amount {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let number = WrittenNumber::parse(text).ok_or(NotAnAmount)?;
        let exact = number.expanded().and_then(|plain| Decimal::from_str_exact(&plain).ok());
        Ok(Self(exact.map_or_else(|| Digits::Long(text.into()), Digits::Exact)))
    }
}

/// A decimal number as it is written, in its parts.
struct WrittenNumber<'t> {
    negative: bool,
    whole: &'t str,
    fraction: &'t str,
    /// `None`: it is too large for any number that is meant.
    exponent: Option<i32>,
}

impl<'t> WrittenNumber<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
                if digits.is_empty() || !are_digits(digits) {
                    return None;
                }
                (mantissa, exponent.parse().ok())
            }
            None => (unsigned, Some(0)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number =
            (!whole.is_empty() || !fraction.is_empty()) && are_digits(whole) && are_digits(fraction);
        is_number.then_some(Self { negative: text.starts_with('-'), whole, fraction, exponent })
    }

    /// The same number without an exponent.
    fn expanded(&self) -> Option<String> {
        let exponent = self.exponent.filter(|exponent| exponent.unsigned_abs() <= LARGEST_EXPONENT)?;
        let zeros = "0".repeat(usize::try_from(exponent.unsigned_abs()).ok()?);
        let (whole, fraction) = if exponent < 0 {
            let digits = format!("{zeros}{}", self.whole);
            let (whole, moved) = digits.split_at(self.whole.len());
            (whole.to_owned(), format!("{moved}{}", self.fraction))
        } else {
            let digits = format!("{}{zeros}", self.fraction);
            let (moved, _) = digits.split_at(zeros.len());
            let fraction = self.fraction.get(zeros.len()..).unwrap_or_default();
            (format!("{}{moved}", self.whole), fraction.to_owned())
        };
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let is_zero = whole == "0" && fraction.bytes().all(|digit| digit == b'0');
        let sign = if self.negative && !is_zero { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        Some(format!("{sign}{whole}{point}{fraction}"))
    }
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Digits::Exact(value) => value.fmt(f),
            Digits::Long(text) => f.write_str(text),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A number is read by its text: a binary fraction would change its digits.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let written = raw.get();
        let parsed = if written.starts_with('"') {
            serde_json::from_str::<String>(written).ok().and_then(|text| text.parse().ok())
        } else {
            written.parse().ok()
        };
        parsed.ok_or_else(|| {
            let kind = match written.bytes().next() {
                Some(b'"') => "text",
                Some(b'{') => "object",
                Some(b'[') => "list",
                _ => "value",
            };
            serde::de::Error::custom(format!(
                "invalid {kind}, expected a decimal number as text, such as \"12.50\""
            ))
        })
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Amount {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String).into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Amount {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shown(json: &str) -> String {
        serde_json::from_str::<Amount>(json).unwrap().to_string()
    }

    #[test]
    fn value_and_scale_stay_as_they_were_given() {
        for text in ["0.01234567", "1.50", "-100", "0.00004321", "0", "0.10", "1234567890.12345678"] {
            assert_eq!(shown(text), text);
            assert_eq!(shown(&format!("\"{text}\"")), text);
        }
        // A binary fraction has other digits.
        assert_eq!(shown("0.1000000000000000055"), "0.1000000000000000055");
        assert_eq!(shown("\"+5\""), "5");
        assert_eq!(shown("-0.00"), "0.00");
    }

    #[test]
    fn exponents_are_expanded() {
        for (given, plain) in [
            ("1e-8", "0.00000001"),
            ("1.50E3", "1500"),
            ("1.2345e2", "123.45"),
            ("12.5e-3", "0.0125"),
            ("-2E+2", "-200"),
            ("100e-2", "1.00"),
        ] {
            assert_eq!(shown(given), plain);
        }
    }

    #[test]
    fn what_a_decimal_cannot_hold_stays_a_text_and_counts_in_no_sum() {
        for text in [
            "12345678901234567890123456789012",
            "0.1234567890123456789012345678901",
            "1e400",
            "1e-2147483648",
            "1e2147483647",
        ] {
            let amount: Amount = serde_json::from_str(text).unwrap();
            assert_eq!((amount.to_string().as_str(), amount.value()), (text, None));
        }
    }

    #[test]
    fn a_sum_that_would_lose_a_digit_is_none() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        for (one, two, sum) in [
            ("1.50", "2.25", "3.75"),
            ("1.50", "-1.50", "0"),
            ("0", "0.00000001", "0.00000001"),
            ("0.00", "7", "7"),
            ("79228162514264337593543950334", "1", "79228162514264337593543950335"),
            // Zeros at the end are no digits that could be lost.
            ("12345678901234567890", "1.00000000000000000000", "12345678901234567891"),
        ] {
            assert_eq!(add_exactly(number(one), number(two)), Some(number(sum)), "{one} and {two}");
        }
        for (one, two) in [
            // 20 digits before the point and 20 after it: each fits, the sum does not.
            ("12345678901234567890", "0.00000000000000000001"),
            ("0.00000000000000000001", "-12345678901234567890"),
            ("79228162514264337593543950335", "1"),
            ("79228162514264337593543950335", "0.4"),
        ] {
            assert_eq!(add_exactly(number(one), number(two)), None, "{one} and {two}");
        }
        assert_eq!(subtract_exactly(number("1"), number("-2.5")), Some(number("3.5")));
    }

    #[test]
    fn a_product_that_would_lose_a_digit_is_none() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        for (one, two, product) in [
            ("1.50", "-2.5", "-3.75"),
            ("0", "0.0000000000000000000000000001", "0"),
            ("100000000000000", "0.00000000000001", "1"),
            ("0.00000000000001", "0.00000000000001", "0.0000000000000000000000000001"),
        ] {
            assert_eq!(multiply_exactly(number(one), number(two)), Some(number(product)), "{one} and {two}");
        }
        for (one, two) in [
            ("0.00000000000001", "0.000000000000015"),
            ("1.000000000000005", "1.000000000000005"),
            ("79228162514264337593543950335", "2"),
        ] {
            assert_eq!(multiply_exactly(number(one), number(two)), None, "{one} and {two}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let long = format!("\"{}\"", "9".repeat(200));
        for json in [
            "\"\"",
            "\"NaN\"",
            "\"1,5\"",
            "\"1.2.3\"",
            "\"0x10\"",
            "\"1e\"",
            "\".\"",
            "true",
            "{}",
            "[1]",
            &long,
        ] {
            let refused = serde_json::from_str::<Amount>(json).unwrap_err().to_string();
            assert!(refused.contains("expected a decimal number"), "{json}: {refused}");
        }
    }
}
