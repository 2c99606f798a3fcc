//! The value that a text wants a config field to have: read with its unit, brought into the field's.

use rust_decimal::Decimal;
use serde_json::{Number, Value, json};

use super::clock::read_clock;
use super::periods::read_number;
use super::values::{SlotValues, WantedValue};
use crate::ask::concept::WordConcept;
use crate::ask::context::AskContext;
use crate::ask::units::{AmountUnit, ConvertedAmount, GivenAmount};
use crate::ask::word::{AskWord, SlotKind, mark_slot};
use crate::ask::word_lists::WordList;

/// What a text says of the value.
enum SaidValue {
    /// The value itself.
    Amount(GivenAmount),
    /// By how much it changes; `true` for more.
    By(GivenAmount, bool),
    /// By what it is multiplied.
    Times(Decimal),
    /// No number: a word, a switch, a time of day.
    Word(String, bool),
}

/// Reads the value, and what it comes to for each field that the text can mean.
pub(super) fn read_value(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    if slots.keys.is_empty() {
        return;
    }
    let Some((said, places)) = find_value(words, context, &slots.keys) else { return };
    let mut wanted: Vec<WantedValue> = Vec::new();
    for key in &slots.keys {
        wanted.extend(values_of(key, &said, context));
    }
    if wanted.is_empty() {
        return;
    }
    // A unit tells fields apart: 5 % is for the one in percent and not for the one in dollars.
    if wanted.iter().any(|wanted| wanted.fits) {
        wanted.retain(|wanted| wanted.fits);
        slots.keys.retain(|key| wanted.iter().any(|wanted| wanted.key == *key));
    }
    // 5000 is for the one in dollars where the one in percent goes to 100.
    let is_within = |wanted: &WantedValue| {
        let bound = |name: &str| context.field_schema(&wanted.key).and_then(|field| field[name].as_f64());
        let number = wanted.value.as_f64();
        number.is_none_or(|number| bound("maximum").is_none_or(|most| number <= most))
    };
    if slots.keys.len() > 1 && wanted.iter().any(is_within) {
        wanted.retain(is_within);
        slots.keys.retain(|key| wanted.iter().any(|wanted| wanted.key == *key));
    }
    slots.value = wanted.first().map(|wanted| wanted.value.clone());
    slots.wanted = wanted;
    for at in places {
        mark_slot(words, at, SlotKind::Value);
    }
}

/// The value with the places of its words: the one after "to" where there is one, else the last.
fn find_value(words: &[AskWord], context: &AskContext, keys: &[String]) -> Option<(SaidValue, Vec<usize>)> {
    let lower = |at: usize| words.get(at).map_or("", |word| word.lower.as_str());
    let before = |at: usize| at.checked_sub(1).map_or("", lower);
    let is_free = |at: &usize| {
        words.get(*at).is_some_and(|word| {
            word.slot.is_none_or(|slot| {
                matches!(slot, SlotKind::Duration | SlotKind::Period | SlotKind::Symbol | SlotKind::Count)
            })
        })
    };
    let after_to = |at: usize| {
        matches!(
            before(at),
            "to" | "="
                | "as"
                | "at"
                | "with"
                | "equals"
                | "of"
                | "than"
                | "every"
                | "exceed"
                | "over"
                | "above"
                | "below"
                | "under"
                | "after"
                | "only"
                | "most"
                | "max"
                | "it"
        )
    };
    let is_of_a_time = |at: &usize| words.get(*at).is_some_and(|word| word.slot == Some(SlotKind::Period));
    let free: Vec<usize> = (0..words.len())
        .rev()
        .filter(|at| is_free(at) && !is_rejected(words, *at) && (!is_of_a_time(at) || after_to(*at)))
        .collect();
    let takes_clock =
        |key: &String| context.field_schema(key).is_some_and(|field| field["x-unit"] == "HH:MM");
    if keys.iter().any(takes_clock) {
        return find_clock(words, &free);
    }
    let amount_at = |at: usize| read_amount(words, at);
    let mut amounts: Vec<(usize, GivenAmount, usize)> =
        free.iter().filter_map(|at| amount_at(*at).map(|(amount, length)| (*at, amount, length))).collect();
    amounts.sort_by_key(|(at, ..)| !after_to(*at));
    if let Some((at, amount, length)) = amounts.iter().find(|(at, ..)| before(*at) != "by").cloned() {
        return Some((SaidValue::Amount(amount), (at..at + length).collect()));
    }
    let raises = words.iter().any(|word| WordList::RaiseVerbs.contains(&word.lower));
    let lowers = words.iter().any(|word| WordList::LowerVerbs.contains(&word.lower));
    if let Some((at, amount, length)) = amounts.into_iter().next().filter(|_| raises != lowers) {
        return Some((SaidValue::By(amount, raises), (at..at + length).collect()));
    }
    let factor = words.iter().enumerate().find_map(|(at, word)| match word.lower.as_str() {
        "double" | "twice" => Some((at, Decimal::TWO)),
        "halve" | "half" => Some((at, Decimal::new(5, 1))),
        _ => None,
    });
    if let Some((at, factor)) = factor {
        return Some((SaidValue::Times(factor), vec![at]));
    }
    let current = keys.first().and_then(|key| context.value_of(key));
    free.into_iter().find_map(|at| {
        let word = words.get(at)?;
        let is_word = is_switch(&word.lower, current, after_to(at))
            || (current.is_some_and(Value::is_string) && (after_to(at) || is_clock(&word.lower)));
        is_word
            .then(|| (SaidValue::Word(word.raw.trim_start_matches('=').to_owned(), after_to(at)), vec![at]))
    })
}

/// Whether this is the value that is not wanted: "15:30 instead of 16:00", "from 2 % to 1 %", "not every 10".
fn is_rejected(words: &[AskWord], at: usize) -> bool {
    let lower = |back: usize| {
        at.checked_sub(back).and_then(|at| words.get(at)).map_or("", |word| word.lower.as_str())
    };
    match lower(1) {
        "from" | "not" | "currently" | "version" => true,
        "of" => matches!(lower(2), "instead" | "place"),
        "than" => {
            !matches!(
                lower(2),
                "more"
                    | "less"
                    | "higher"
                    | "lower"
                    | "greater"
                    | "fewer"
                    | "larger"
                    | "bigger"
                    | "smaller"
                    | "longer"
            ) && !lower(2).ends_with(" more")
        }
        _ => lower(2) == "not" && matches!(lower(1), "every" | "to" | "at" | "the"),
    }
}

/// The time of day that is wanted.
fn find_clock(words: &[AskWord], free: &[usize]) -> Option<(SaidValue, Vec<usize>)> {
    let text = |at: usize| words.get(at).map_or("", |word| word.lower.as_str());
    let found = free.iter().find_map(|at| {
        let (time, length) = read_clock(text(*at), text(at + 1))?;
        let places = (*at..at + length).collect();
        Some((SaidValue::Word(time.format("%H:%M").to_string(), true), places))
    });
    // "25:00" is none, which the check of the change says.
    let is_like_one =
        |at: &&usize| text(**at).contains(':') && text(**at).starts_with(|c: char| c.is_ascii_digit());
    found.or_else(|| {
        free.iter().find(is_like_one).map(|at| (SaidValue::Word(text(*at).to_owned(), true), vec![*at]))
    })
}

fn is_clock(lower: &str) -> bool {
    lower.len() == 5 && lower.as_bytes().get(2) == Some(&b':')
}

fn is_switch(lower: &str, current: Option<&Value>, after_to: bool) -> bool {
    switch(lower).is_some() && (after_to || current.is_some_and(Value::is_boolean))
}

fn switch(lower: &str) -> Option<bool> {
    match lower {
        "true" | "on" | "yes" | "enabled" | "enable" => Some(true),
        "false" | "off" | "no" | "disabled" | "disable" => Some(false),
        _ => None,
    }
}

/// An amount that begins with this word, and how many words it takes.
fn read_amount(words: &[AskWord], at: usize) -> Option<(GivenAmount, usize)> {
    let lower = words.get(at)?.lower.trim_start_matches('=').to_owned();
    let next = |ahead: usize| words.get(at + ahead).map_or("", |word| word.lower.as_str());
    if lower == "half" && matches!(next(1), "a" | "an") && next(2) == "per" && next(3) == "cent" {
        return Some((GivenAmount { number: Decimal::new(5, 1), unit: AmountUnit::Percent }, 4));
    }
    if lower == "half" && matches!(next(1), "a" | "an") && next(2) == "per cent" {
        return Some((GivenAmount { number: Decimal::new(5, 1), unit: AmountUnit::Percent }, 3));
    }
    if lower == "half" && matches!(next(1), "a" | "an") {
        let unit = AmountUnit::named(next(2))?;
        return Some((GivenAmount { number: Decimal::new(5, 1), unit }, 3));
    }
    // "Once a minute", "every hour".
    let each = match lower.as_str() {
        "once" if matches!(next(1), "a" | "an" | "per" | "every" | "each") => Some((Decimal::ONE, 2)),
        "twice" if matches!(next(1), "a" | "an" | "per" | "every" | "each") => Some((Decimal::new(5, 1), 2)),
        "every" | "each" => Some((Decimal::ONE, 1)),
        _ => None,
    };
    let of_time =
        |unit: &AmountUnit| matches!(unit, AmountUnit::Seconds | AmountUnit::Minutes | AmountUnit::Hours);
    if let Some((number, length)) = each {
        let unit = AmountUnit::named(next(length)).filter(of_time)?;
        return Some((GivenAmount { number, unit }, length + 1));
    }
    // "Four losses"; "a" and "one" are articles in most texts.
    if let Some(number) =
        read_number(&lower).filter(|_| lower.len() > 2 && lower.chars().all(char::is_alphabetic))
    {
        if matches!(lower.as_str(), "one" | "few" | "couple")
            && at.checked_sub(1).is_none_or(|before| words.get(before).is_none_or(|word| word.lower != "to"))
        {
            return None;
        }
        let (unit, length) = unit_after(words, at + 1);
        return Some((GivenAmount { number: number.into(), unit }, 1 + length));
    }
    let (sign, rest) = match lower.strip_prefix('-') {
        Some(rest) => (-Decimal::ONE, rest),
        None => (Decimal::ONE, lower.trim_start_matches('+')),
    };
    let (currency, rest) = match rest.strip_prefix('$') {
        Some(rest) => (Some("$"), rest),
        None => (rest.starts_with('€').then_some("€"), rest.trim_start_matches('€')),
    };
    let digits: String = rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | '_')).collect();
    let suffix = rest.get(digits.len()..)?;
    let number: Decimal = digits.replace('_', "").trim_end_matches('.').parse().ok()?;
    let number = number.checked_mul(sign)?;
    let (factor, suffix) = match suffix {
        "k" => (Decimal::ONE_THOUSAND, ""),
        "x" => (Decimal::ONE, ""),
        suffix => (Decimal::ONE, suffix),
    };
    let number = number.checked_mul(factor)?;
    if let Some(currency) = currency {
        return Some((GivenAmount { number, unit: AmountUnit::named(currency)? }, 1));
    }
    if !suffix.is_empty() {
        return Some((GivenAmount { number, unit: AmountUnit::named(suffix)? }, 1));
    }
    let (unit, length) = unit_after(words, at + 1);
    Some((GivenAmount { number, unit }, 1 + length))
}

/// The unit that stands at this place, and how many words it takes.
fn unit_after(words: &[AskWord], at: usize) -> (AmountUnit, usize) {
    let lower = |at: usize| words.get(at).map_or("", |word| word.lower.as_str());
    let two = format!("{} {}", lower(at), lower(at + 1));
    if let Some(unit) = AmountUnit::named(&two) {
        return (unit, 2);
    }
    if let Some(unit) = AmountUnit::named(lower(at)) {
        return (unit, 1);
    }
    let Some(word) = words.get(at) else { return (AmountUnit::Plain, 0) };
    let is_free = word.slot.is_none_or(|slot| matches!(slot, SlotKind::Duration | SlotKind::Period));
    let is_unit = (word.concepts.is_empty() && is_free || word.is(WordConcept::Trade))
        && word.lower.ends_with('s')
        && word.lower.chars().all(char::is_alphabetic);
    if is_unit { (AmountUnit::Named(word.lower.clone()), 1) } else { (AmountUnit::Plain, 0) }
}

/// What the text's value comes to for one field: one value, or each that it can mean.
fn values_of(key: &str, said: &SaidValue, context: &AskContext) -> Vec<WantedValue> {
    let current = context.value_of(key);
    let field = context.field_schema(key);
    let unit = AmountUnit::of_field(key, field);
    let now = current.map_or_else(|| "not known".to_owned(), shown_value);
    let in_unit = match &unit {
        AmountUnit::Plain => String::new(),
        AmountUnit::Part => match field.and_then(|field| field["x-unit"].as_str()) {
            Some(text) => format!(" ({text})"),
            None => format!(" ({})", unit.shown()),
        },
        unit => format!(" ({})", unit.shown()),
    };
    let is_negative = field.and_then(|field| field["maximum"].as_f64()).is_some_and(|most| most < 0.0);
    let of = |number: Decimal, meant: Option<&str>, fits: bool| {
        let number = if is_negative && number.is_sign_positive() { -number } else { number };
        let value = value_as(number, current)?;
        let meant = meant.map(|meant| format!(", that is {meant}")).unwrap_or_default();
        let why = format!("{key}{in_unit} is {now} and would be {}{meant}", shown_value(&value));
        Some(WantedValue { key: key.to_owned(), value, why, fits })
    };
    match said {
        SaidValue::Word(word, after_to) => {
            let value = switch(&word.to_lowercase())
                .filter(|_| *after_to || current.is_some_and(Value::is_boolean))
                .filter(|_| !current.is_some_and(Value::is_string))
                .map_or_else(|| json!(word), Value::Bool);
            let why = format!("{key}{in_unit} is {now} and would be {}", shown_value(&value));
            vec![WantedValue { key: key.to_owned(), value, why, fits: true }]
        }
        SaidValue::Times(factor) => {
            let number = decimal_of(current).and_then(|now| now.checked_mul(*factor));
            number.and_then(|number| of(number.normalize(), None, true)).into_iter().collect()
        }
        SaidValue::By(amount, raises) => changed_by(current, amount, *raises, &unit)
            .into_iter()
            .filter_map(|(number, meant)| of(number, meant.as_deref(), true))
            .collect(),
        SaidValue::Amount(amount) => match amount.in_unit(&unit) {
            ConvertedAmount::Exact(number) => {
                let is_same = number == amount.number;
                let meant = (!is_same).then(|| amount.shown());
                of(number, meant.as_deref(), true).into_iter().collect()
            }
            ConvertedAmount::Either(forms) => {
                forms.iter().filter_map(|(number, meant)| of(*number, Some(meant), true)).collect()
            }
            ConvertedAmount::Unfit => {
                let meant = format!("the bare number, since {} is not in {}", amount.shown(), unit.shown());
                of(amount.number, Some(&meant), false).into_iter().collect()
            }
        },
    }
}

/// The field's value after a change by an amount. A percentage of a field that is itself one can mean two things.
fn changed_by(
    current: Option<&Value>,
    amount: &GivenAmount,
    raises: bool,
    unit: &AmountUnit,
) -> Vec<(Decimal, Option<String>)> {
    let Some(now) = decimal_of(current) else { return Vec::new() };
    // "Raise the loss limit" of -500 makes the loss larger.
    let outward = if raises == now.is_sign_negative() { -Decimal::ONE } else { Decimal::ONE };
    let by = |number: Decimal| number.checked_mul(outward).and_then(|change| now.checked_add(change));
    let relative = || {
        let part = now.abs().checked_mul(amount.number)?.checked_div(Decimal::ONE_HUNDRED)?;
        by(part).map(|number| number.normalize())
    };
    let absolute = match amount.in_unit(unit) {
        ConvertedAmount::Exact(number) => by(number),
        ConvertedAmount::Either(_) | ConvertedAmount::Unfit => None,
    };
    let shown = amount.shown();
    match (&amount.unit, absolute) {
        (AmountUnit::Percent, Some(number)) => [
            Some((number, Some(format!("{shown} of the whole more or less")))),
            relative().map(|number| (number, Some(format!("{shown} of its present value more or less")))),
        ]
        .into_iter()
        .flatten()
        .collect(),
        (AmountUnit::Percent, None) => relative().map(|number| (number, None)).into_iter().collect(),
        (_, Some(number)) => vec![(number, None)],
        (_, None) => Vec::new(),
    }
}

fn decimal_of(value: Option<&Value>) -> Option<Decimal> {
    match value? {
        Value::Number(number) => number.to_string().parse().ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A value as people read it: an amount without the zeros at its end.
fn shown_value(value: &Value) -> String {
    match decimal_of(Some(value)) {
        Some(number) => number.normalize().to_string(),
        None => match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        },
    }
}

/// A number in the JSON type that the field has now.
fn value_as(number: Decimal, current: Option<&Value>) -> Option<Value> {
    let text = number.normalize().to_string();
    if current.is_some_and(Value::is_string) {
        return Some(json!(text));
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(json!(whole));
    }
    Number::from_f64(text.parse().ok()?).map(Value::Number)
}
