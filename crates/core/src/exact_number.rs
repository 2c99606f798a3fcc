//! Numbers by what they are worth: neither scale (`-500.00`) nor form (`5e2`, a text) counts, and nothing is rounded.
//!
//! A float has 17 digits and a decimal of the usual kind 28. Whether two amounts are the same, and which one is larger,
//! is decided here on all the digits that were written.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value};

pub use botops_contract::read_exact_json;

/// Powers of ten beyond this are no amount of anything.
const LARGEST_POWER: i64 = 100_000;

/// A decimal number of any length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

    /// Whether its digits lie within this many places before the point and after it: what further calculations with it cost
    /// is bounded then.
    pub fn is_within(&self, places: i64) -> bool {
        self.power.abs() <= places && self.lowest_power().abs() <= places
    }

    /// The number without its sign.
    #[must_use]
    pub fn abs(mut self) -> Self {
        self.is_negative = false;
        self
    }

    /// The sum, all digits kept.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        if self.digits.is_empty() || other.digits.is_empty() {
            return if self.digits.is_empty() { other.clone() } else { self.clone() };
        }
        let lowest = self.lowest_power().min(other.lowest_power());
        let (one, two) = (self.digits_down_to(lowest), other.digits_down_to(lowest));
        if self.is_negative == other.is_negative {
            return Self::of_digits(self.is_negative, &add_digits(&one, &two), lowest);
        }
        match self.cmp_sizes(other) {
            Ordering::Equal => Self::default(),
            Ordering::Greater => Self::of_digits(self.is_negative, &subtract_digits(&one, &two), lowest),
            Ordering::Less => Self::of_digits(other.is_negative, &subtract_digits(&two, &one), lowest),
        }
    }

    /// The difference, all digits kept.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let negated = Self { is_negative: !other.is_negative && !other.digits.is_empty(), ..other.clone() };
        self.plus(&negated)
    }

    /// The product, all digits kept.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        let (one, two) =
            (self.digits_down_to(self.lowest_power()), other.digits_down_to(other.lowest_power()));
        let mut product = vec![0_u32; one.len() + two.len()];
        for (at, digit) in one.iter().enumerate() {
            let mut carry = 0;
            for (place, by) in product.iter_mut().skip(at).zip(two.iter().chain(std::iter::repeat(&0))) {
                let whole = *place + digit * by + carry;
                (*place, carry) = (whole % 10, whole / 10);
            }
        }
        Self::of_digits(
            self.is_negative != other.is_negative,
            &product,
            self.lowest_power() + other.lowest_power(),
        )
    }

    /// The power of ten of the last digit; 0 for zero.
    fn lowest_power(&self) -> i64 {
        let digits = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        if digits == 0 { 0 } else { self.power - (digits - 1) }
    }

    /// The digits from the power `lowest` upwards, the smallest first.
    fn digits_down_to(&self, lowest: i64) -> Vec<u32> {
        let zeros = usize::try_from(self.lowest_power() - lowest).unwrap_or(0);
        let digits = self.digits.bytes().rev().map(|digit| u32::from(digit - b'0'));
        std::iter::repeat_n(0, zeros).chain(digits).collect()
    }

    /// The number of these digits, the smallest first, which is of the power `lowest`.
    fn of_digits(is_negative: bool, digits: &[u32], lowest: i64) -> Self {
        let written: String = digits.iter().rev().filter_map(|digit| char::from_digit(*digit, 10)).collect();
        let significant = written.trim_start_matches('0');
        if significant.is_empty() {
            return Self::default();
        }
        let power = lowest + i64::try_from(significant.len()).unwrap_or(i64::MAX) - 1;
        Self { is_negative, digits: significant.trim_end_matches('0').to_owned(), power }
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

/// The sum of two rows of digits, the smallest first.
fn add_digits(one: &[u32], two: &[u32]) -> Vec<u32> {
    let places = one.len().max(two.len()) + 1;
    let mut carry = 0;
    let at = |digits: &[u32], place: usize| digits.get(place).copied().unwrap_or(0);
    (0..places)
        .map(|place| {
            let whole = at(one, place) + at(two, place) + carry;
            carry = whole / 10;
            whole % 10
        })
        .collect()
}

/// What is left of a row of digits without a smaller one.
fn subtract_digits(larger: &[u32], smaller: &[u32]) -> Vec<u32> {
    let mut borrowed = 0;
    let taken = |place: usize| smaller.get(place).copied().unwrap_or(0);
    larger
        .iter()
        .enumerate()
        .map(|(place, digit)| {
            let whole = digit + 10 - taken(place) - borrowed;
            borrowed = u32::from(whole < 10);
            whole % 10
        })
        .collect()
}

impl fmt::Display for ExactNumber {
    /// The number without an exponent, and without zeros that add nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
        let sign = if self.is_negative { "-" } else { "" };
        if self.power < 0 {
            return write!(f, "{sign}0.{}{}", zeros(-self.power - 1), self.digits);
        }
        let whole = usize::try_from(self.power).unwrap_or(usize::MAX).saturating_add(1);
        match self.digits.split_at_checked(whole) {
            Some((whole, part)) if !part.is_empty() => write!(f, "{sign}{whole}.{part}"),
            _ => write!(f, "{sign}{}{}", self.digits, zeros(self.lowest_power())),
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
    fn sums_and_products_keep_every_digit() {
        let number = |text: &str| ExactNumber::parse(text).unwrap();
        for (one, two, sum, difference, product) in [
            ("1.50", "2.25", "3.75", "-0.75", "3.375"),
            ("-1.5", "1.5", "0", "-3", "-2.25"),
            ("0", "-7", "-7", "7", "0"),
            ("999", "1", "1000", "998", "999"),
            ("1000", "-1", "999", "1001", "-1000"),
            (
                "1e30",
                "1e-3",
                "1000000000000000000000000000000.001",
                "999999999999999999999999999999.999",
                "1000000000000000000000000000",
            ),
            (
                "-0.00000000000000000001",
                "12345678901234567890",
                "12345678901234567889.99999999999999999999",
                "-12345678901234567890.00000000000000000001",
                "-0.1234567890123456789",
            ),
            (
                "99999999999999999999999999999999",
                "99999999999999999999999999999999",
                "199999999999999999999999999999998",
                "0",
                "9999999999999999999999999999999800000000000000000000000000000001",
            ),
        ] {
            let (one, two) = (number(one), number(two));
            let told = [one.plus(&two), one.minus(&two), one.times(&two)].map(|told| told.to_string());
            assert_eq!(told, [sum, difference, product], "{one} and {two}");
            assert_eq!([two.plus(&one), two.times(&one)].map(|told| told.to_string()), [sum, product]);
            for told in told {
                assert_eq!(number(&told).to_string(), told, "it is read again as it is written");
            }
        }
    }

    #[test]
    fn digits_far_from_the_point_are_known_as_such() {
        for (text, is_near) in
            [("0", true), ("12.5", true), ("1e20", true), ("1e21", false), ("1e-21", false)]
        {
            assert_eq!(ExactNumber::parse(text).unwrap().is_within(20), is_near, "{text}");
        }
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
