//! Units: the unit in which somebody gives an amount, the unit that a config field has by its schema, and what the one is
//! in the other.
//!
//! Nothing is guessed: an amount that could mean two things comes back as both, and one that cannot be brought into the
//! field's unit comes back with the reason.

use rust_decimal::Decimal;
use serde_json::Value;

/// A unit of an amount or of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AmountUnit {
    /// None is given.
    Plain,
    Percent,
    /// A percent of the whole, where a percent could be one of the present value.
    PercentPoint,
    /// 1 is the whole.
    Part,
    BasisPoints,
    /// A currency, in capitals; `$` for one that is not named.
    Money(String),
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
    /// A word that is no unit known here: `trades`, `levels`.
    Named(String),
    /// Any of several, as another field says.
    AnyOf(Vec<AmountUnit>),
}

/// What kind of thing a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitDimension {
    Fraction,
    Time,
    Money,
    Other,
}

/// An amount as somebody gave it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GivenAmount {
    pub(super) number: Decimal,
    pub(super) unit: AmountUnit,
}

/// A given amount in the unit of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ConvertedAmount {
    Exact(Decimal),
    /// It can mean each of these; with what it would mean.
    Either(Vec<(Decimal, String)>),
    /// It cannot be brought into the unit of the field.
    Unfit,
}

impl AmountUnit {
    /// The unit that a word names; `None` when it names none.
    pub(super) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "%" | "percent" | "pct" | "percentage" | "per cent" => Self::Percent,
            "percentage points" | "percentage point" | "percent points" | "points" | "point" | "pp" => {
                Self::PercentPoint
            }
            "bps" | "bp" | "basis points" | "basis point" => Self::BasisPoints,
            "$" | "dollar" | "dollars" | "bucks" => Self::Money("$".to_owned()),
            "usd" | "usdt" | "usdc" | "eur" | "gbp" | "chf" | "jpy" | "btc" | "eth" => {
                Self::Money(word.to_uppercase())
            }
            "euro" | "euros" | "€" => Self::Money("EUR".to_owned()),
            "ms" | "millisecond" | "milliseconds" | "millis" => Self::Milliseconds,
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Seconds,
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Minutes,
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Hours,
            "d" | "day" | "days" => Self::Days,
            _ => return None,
        })
    }

    /// The unit of a field: what its schema says, else what the end of its name says.
    pub(super) fn of_field(path: &str, schema: Option<&Value>) -> Self {
        if let Some(unit) = schema.and_then(|node| node["x-unit"].as_str()) {
            return Self::in_schema(unit);
        }
        match path.rsplit(['.', '_']).next().unwrap_or_default() {
            "pct" | "percent" => Self::Percent,
            "bps" => Self::BasisPoints,
            "ms" => Self::Milliseconds,
            "s" | "sec" | "secs" | "seconds" => Self::Seconds,
            "minutes" => Self::Minutes,
            "hours" => Self::Hours,
            "days" => Self::Days,
            "usd" => Self::Money("USD".to_owned()),
            _ => Self::Plain,
        }
    }

    fn in_schema(unit: &str) -> Self {
        let lower = unit.trim().to_lowercase();
        if lower.contains(" or ") {
            return Self::AnyOf(lower.split(" or ").map(Self::in_schema).collect());
        }
        let is_part = ["part of", "part", "fraction", "ratio", "share of"]
            .iter()
            .any(|word| lower == *word || lower.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')));
        if is_part {
            return Self::Part;
        }
        let of_percent = lower.strip_prefix("% of ").or_else(|| lower.strip_prefix("percent of "));
        if of_percent.is_some() {
            return Self::Percent;
        }
        let is_currency = (3..=4).contains(&unit.len()) && unit.chars().all(|c| c.is_ascii_uppercase());
        if is_currency {
            return Self::Money(unit.to_owned());
        }
        Self::named(&lower).unwrap_or(Self::Named(unit.to_owned()))
    }

    /// The unit for people: `%`, `part of the whole`, `USD`.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Plain => "no unit".to_owned(),
            Self::Percent => "%".to_owned(),
            Self::PercentPoint => "points of percent".to_owned(),
            Self::Part => "a part, where 1 is the whole".to_owned(),
            Self::BasisPoints => "bps".to_owned(),
            Self::Money(code) | Self::Named(code) => code.clone(),
            Self::Milliseconds => "ms".to_owned(),
            Self::Seconds => "s".to_owned(),
            Self::Minutes => "minutes".to_owned(),
            Self::Hours => "hours".to_owned(),
            Self::Days => "days".to_owned(),
            Self::AnyOf(units) => units.iter().map(Self::shown).collect::<Vec<_>>().join(" or "),
        }
    }

    /// Whether it measures a time.
    pub(super) fn is_of_time(&self) -> bool {
        self.size().0 == UnitDimension::Time
    }

    /// The dimension, and how much one of it is of the dimension's smallest unit.
    fn size(&self) -> (UnitDimension, Decimal) {
        use UnitDimension as D;
        match self {
            Self::BasisPoints => (D::Fraction, Decimal::ONE),
            Self::Percent | Self::PercentPoint => (D::Fraction, Decimal::ONE_HUNDRED),
            Self::Part => (D::Fraction, Decimal::from(10_000)),
            Self::Milliseconds => (D::Time, Decimal::ONE),
            Self::Seconds => (D::Time, Decimal::ONE_THOUSAND),
            Self::Minutes => (D::Time, Decimal::from(60_000)),
            Self::Hours => (D::Time, Decimal::from(3_600_000)),
            Self::Days => (D::Time, Decimal::from(86_400_000)),
            Self::Money(_) => (D::Money, Decimal::ONE),
            Self::Plain | Self::Named(_) | Self::AnyOf(_) => (D::Other, Decimal::ONE),
        }
    }
}

impl GivenAmount {
    /// This amount in the unit of a field.
    pub(super) fn in_unit(&self, field: &AmountUnit) -> ConvertedAmount {
        let number = self.number;
        if let AmountUnit::AnyOf(units) = field {
            return self.in_any_of(units);
        }
        let ((given, given_size), (wanted, wanted_size)) = (self.unit.size(), field.size());
        match (&self.unit, field) {
            (AmountUnit::Plain, AmountUnit::Part) if number.abs() >= Decimal::ONE => {
                ConvertedAmount::Either(both_forms(number))
            }
            (AmountUnit::Plain, _) => ConvertedAmount::Exact(number),
            (AmountUnit::Money(given), AmountUnit::Money(wanted)) if given != "$" && given != wanted => {
                ConvertedAmount::Unfit
            }
            (given, wanted) if is_same_name(given, wanted) => ConvertedAmount::Exact(number),
            (_, AmountUnit::Plain) if given == UnitDimension::Fraction => {
                ConvertedAmount::Either(both_forms_of_plain(number, &self.unit, given_size))
            }
            _ if given == wanted && given != UnitDimension::Other => number
                .checked_mul(given_size)
                .and_then(|number| number.checked_div(wanted_size))
                .map_or(ConvertedAmount::Unfit, |number| ConvertedAmount::Exact(number.normalize())),
            _ => ConvertedAmount::Unfit,
        }
    }

    fn in_any_of(&self, units: &[AmountUnit]) -> ConvertedAmount {
        if self.unit == AmountUnit::Plain {
            return ConvertedAmount::Exact(self.number);
        }
        let fits = units.iter().map(|unit| self.in_unit(unit));
        fits.into_iter().find(|fit| *fit != ConvertedAmount::Unfit).unwrap_or(ConvertedAmount::Unfit)
    }

    /// The amount for people: `1 %`, `30 s`, `5`.
    pub(super) fn shown(&self) -> String {
        match &self.unit {
            AmountUnit::Plain => self.number.normalize().to_string(),
            unit => format!("{} {}", self.number.normalize(), unit.shown()),
        }
    }
}

/// "trades" and "trade": whether both are the same word that is no unit known here.
fn is_same_name(given: &AmountUnit, wanted: &AmountUnit) -> bool {
    let name = |unit: &AmountUnit| match unit {
        AmountUnit::Named(name) => Some(name.to_lowercase().trim_end_matches('s').to_owned()),
        _ => None,
    };
    name(given).is_some_and(|given| Some(given) == name(wanted))
}

/// A bare number of 1 or more for a field that is a part: percent, or the number itself.
fn both_forms(number: Decimal) -> Vec<(Decimal, String)> {
    let of = |factor: Decimal| number.checked_mul(factor).unwrap_or(number).normalize();
    let part = number.checked_div(Decimal::ONE_HUNDRED).unwrap_or(number).normalize();
    vec![
        (part, format!("{} % of the whole", number.normalize())),
        (number, format!("the number itself, which is {} % of the whole", of(Decimal::ONE_HUNDRED))),
    ]
}

/// A share for a field of which nobody says that it is one.
fn both_forms_of_plain(number: Decimal, unit: &AmountUnit, size: Decimal) -> Vec<(Decimal, String)> {
    let part = number.checked_mul(size).and_then(|bps| bps.checked_div(Decimal::from(10_000)));
    let part = part.unwrap_or(number).normalize();
    let given = format!("{} {}", number.normalize(), unit.shown());
    vec![
        (number, format!("{given} as the number itself; the schema names no unit")),
        (part, format!("{given} as a part, where 1 is the whole; the schema names no unit")),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn amount(number: &str, unit: AmountUnit) -> GivenAmount {
        GivenAmount { number: number.parse().unwrap(), unit }
    }

    #[track_caller]
    fn check(given: &GivenAmount, field: &str, expected: &str) {
        let field = AmountUnit::of_field("x", Some(&json!({"x-unit": field})));
        assert_eq!(given.in_unit(&field), ConvertedAmount::Exact(expected.parse().unwrap()));
    }

    #[test]
    fn an_amount_comes_in_the_unit_of_its_field() {
        use AmountUnit as U;
        check(&amount("1", U::Percent), "part of equity", "0.01");
        check(&amount("1", U::Percent), "%", "1");
        check(&amount("50", U::BasisPoints), "%", "0.5");
        check(&amount("100", U::BasisPoints), "part of the price", "0.01");
        check(&amount("2", U::Minutes), "s", "120");
        check(&amount("1500", U::Milliseconds), "s", "1.5");
        check(&amount("500", U::Money("$".to_owned())), "USD", "500");
        check(&amount("0.02", U::Plain), "part of equity", "0.02");
        check(&amount("4", U::Named("trades".to_owned())), "trades", "4");
        check(&amount("0.2", U::Percent), "bps or USD", "20");
    }

    #[test]
    fn what_is_open_comes_back_as_both_and_what_does_not_fit_as_neither() {
        let part = AmountUnit::of_field("x", Some(&json!({"x-unit": "part of equity"})));
        let ConvertedAmount::Either(forms) = amount("1", AmountUnit::Plain).in_unit(&part) else {
            panic!("1 is 1 % or all of it");
        };
        assert_eq!(forms.iter().map(|(form, _)| form.to_string()).collect::<Vec<_>>(), ["0.01", "1"]);
        let money = AmountUnit::Money("USDT".to_owned());
        assert_eq!(amount("5", AmountUnit::Percent).in_unit(&money), ConvertedAmount::Unfit);
        assert_eq!(amount("5", AmountUnit::Money("EUR".to_owned())).in_unit(&money), ConvertedAmount::Unfit);
        assert_eq!(AmountUnit::of_field("a.max_loss_pct", None), AmountUnit::Percent);
    }
}
