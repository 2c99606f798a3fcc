//! The value that a text wants a config field to have: read with its unit, brought into the field's.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde_json::{Number, Value, json};

use super::clock::read_clock;
use super::periods::read_number;
use super::relative_amounts::{direction, direction_behind, find_factors};
use super::values::{SlotValues, WOULD_BE_REFUSED, WantedValue};
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

impl SaidValue {
    /// What a change of a rate comes to for the time between two: "twice as often" is half of it.
    fn of_its_inverse(&self) -> Self {
        let inverse = |factor: Decimal| Decimal::ONE.checked_div(factor);
        let by_part = |amount: &GivenAmount, is_more: bool| {
            let part = amount.number.checked_div(Decimal::ONE_HUNDRED)?;
            let part = if is_more { part } else { -part };
            inverse(Decimal::ONE.checked_add(part)?)
        };
        match self {
            Self::Times(factor) => Self::Times(inverse(*factor).unwrap_or(*factor)),
            Self::By(amount, is_more) => {
                let factor = by_part(amount, *is_more).filter(|_| amount.unit == AmountUnit::Percent);
                factor.map_or_else(|| Self::By(amount.clone(), !is_more), Self::Times)
            }
            Self::Amount(amount) => Self::Amount(amount.clone()),
            Self::Word(word, after_to) => Self::Word(word.clone(), *after_to),
        }
    }
}

/// "The polling frequency", "twice as often": whether it is said how often something is, and not how long it takes.
fn speaks_of_a_rate(words: &[AskWord]) -> bool {
    let mut parts = words.iter().flat_map(|word| word.lower.split(' '));
    parts.any(|part| matches!(part, "rate" | "frequency" | "often" | "frequent" | "frequently"))
}

/// Reads the value, and what it comes to for each field that the text can mean.
pub(super) fn read_value(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    if slots.keys.is_empty() {
        return;
    }
    let Some((said, places)) = find_value(words, context, &slots.keys) else { return };
    let values_for = |keys: &[String]| -> Vec<WantedValue> {
        keys.iter().flat_map(|key| values_of_all(key, &said, context, words)).collect()
    };
    let mut wanted = values_for(&slots.keys);
    if wanted.is_empty() {
        return;
    }
    if wanted.iter().any(|wanted| wanted.fits) {
        // A unit tells fields apart: 5 % is for the one in percent and not for the one in dollars.
        wanted.retain(|wanted| wanted.fits);
    } else {
        // "Max daily loss to 1000 dollars": the one in dollars is offered beside it.
        let others = fields_of_the_same(&slots.keys, context);
        let fitting = values_for(&others).into_iter().filter(|wanted| wanted.fits);
        wanted = fitting.chain(wanted).collect();
        slots.keys = wanted.iter().map(|wanted| wanted.key.clone()).collect();
        slots.keys.dedup();
    }
    // 5000 is for the one in dollars where the one in percent goes to 100.
    let is_within = |wanted: &WantedValue| {
        let most = context.field_schema(&wanted.key).and_then(|field| field["maximum"].as_f64());
        wanted.value.as_f64().is_none_or(|number| most.is_none_or(|most| number <= most))
    };
    if slots.keys.len() > 1 && wanted.iter().any(|wanted| wanted.fits && is_within(wanted)) {
        wanted.retain(|wanted| !wanted.fits || is_within(wanted));
    }
    // Of two ways in which one field can be changed by an amount, only what the field takes.
    let is_relative = said.iter().all(|said| matches!(said, SaidValue::By(..) | SaidValue::Times(_)));
    let taken: Vec<String> =
        wanted.iter().filter(|wanted| !wanted.is_refused).map(|wanted| wanted.key.clone()).collect();
    wanted.retain(|wanted| !is_relative || !wanted.is_refused || !taken.contains(&wanted.key));
    slots.keys.retain(|key| wanted.iter().any(|wanted| wanted.key == *key));
    slots.value = wanted.first().map(|wanted| wanted.value.clone());
    slots.wanted = wanted;
    for at in places {
        mark_slot(words, at, SlotKind::Value);
    }
}

/// The other fields of the config that are about the same: their names have the same words beside units and measures.
fn fields_of_the_same(keys: &[String], context: &AskContext) -> Vec<String> {
    let subject = |path: &str| {
        let leaf = path.rsplit('.').next().unwrap_or(path);
        let is_subject = |part: &&str| {
            !WordList::KeyUnits.contains(part) && !WordList::KeyMeasures.contains(part) && *part != "target"
        };
        leaf.split('_').filter(is_subject).map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let subjects: Vec<BTreeSet<String>> = keys.iter().map(|key| subject(key)).collect();
    let is_other = |path: &&String| !keys.contains(path) && subjects.contains(&subject(path));
    context.config.iter().map(|(path, _)| path).filter(is_other).cloned().collect()
}

/// The value with the places of its words: the one after "to" where there is one, else the last. Several where the text
/// leaves it open.
fn find_value(
    words: &[AskWord],
    context: &AskContext,
    keys: &[String],
) -> Option<(Vec<SaidValue>, Vec<usize>)> {
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
    // "3x" is a ratio where the field is one.
    let is_ratio = keys.iter().any(|key| key.ends_with("ratio"));
    let factors = find_factors(words).filter(|found| {
        let is_x = found.places.first().is_some_and(|at| lower(*at).ends_with('x'));
        !(is_ratio && is_x) && found.places.iter().all(is_free)
    });
    let is_of_factor = |at: &usize| factors.as_ref().is_some_and(|found| found.places.contains(at));
    let amount_at = |at: usize| read_amount(words, at);
    let mut amounts: Vec<(usize, GivenAmount, usize)> = free
        .iter()
        .filter(|at| !is_of_factor(at))
        .filter_map(|at| amount_at(*at).map(|(amount, length)| (*at, amount, length)))
        .collect();
    amounts.sort_by_key(|(at, ..)| !after_to(*at));
    let is_relative = |(at, _, length): &&(usize, GivenAmount, usize)| {
        before(*at) == "by"
            || matches!(before(*at), "about" | "around" | "another")
                && at.checked_sub(2).is_some_and(|at| lower(at) == "by")
            || direction_behind(words, at + length).is_some() && !after_to(*at)
    };
    if let Some((at, amount, length)) = amounts.iter().find(|amount| !is_relative(amount)).cloned() {
        return Some((vec![SaidValue::Amount(amount)], (at..at + length).collect()));
    }
    if let Some(found) = factors {
        return Some((found.factors.into_iter().map(SaidValue::Times).collect(), found.places));
    }
    if let Some((at, amount, length)) = amounts.into_iter().next() {
        let behind = direction_behind(words, at + length);
        let length = length + usize::from(behind.is_some());
        let direction = behind.or_else(|| direction(words));
        let by = |is_more: bool| SaidValue::By(amount.clone(), is_more);
        let said = direction.map_or_else(|| vec![by(true), by(false)], |is_more| vec![by(is_more)]);
        return Some((said, (at..at + length).collect()));
    }
    let current = keys.first().and_then(|key| context.value_of(key));
    free.into_iter().find_map(|at| {
        let word = words.get(at)?;
        let is_word = is_switch(&word.lower, current, after_to(at))
            || (current.is_some_and(Value::is_string) && (after_to(at) || is_clock(&word.lower)));
        let said = SaidValue::Word(word.raw.trim_start_matches('=').to_owned(), after_to(at));
        is_word.then(|| (vec![said], vec![at]))
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
fn find_clock(words: &[AskWord], free: &[usize]) -> Option<(Vec<SaidValue>, Vec<usize>)> {
    let text = |at: usize| words.get(at).map_or("", |word| word.lower.as_str());
    let found = free.iter().find_map(|at| {
        let (time, length) = read_clock(text(*at), text(at + 1))?;
        let places = (*at..at + length).collect();
        Some((vec![SaidValue::Word(time.format("%H:%M").to_string(), true)], places))
    });
    // "25:00" is none, which the check of the change says.
    let is_like_one =
        |at: &&usize| text(**at).contains(':') && text(**at).starts_with(|c: char| c.is_ascii_digit());
    found.or_else(|| {
        let said = |at: usize| vec![SaidValue::Word(text(at).to_owned(), true)];
        free.iter().find(is_like_one).map(|at| (said(*at), vec![*at]))
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

/// What the text's values come to for one field, each with whether the field takes it.
fn values_of_all(key: &str, said: &[SaidValue], context: &AskContext, words: &[AskWord]) -> Vec<WantedValue> {
    let field = context.field_schema(key);
    let now = decimal_of(context.value_of(key));
    let is_rate = AmountUnit::of_field(key, field).is_of_time() && speaks_of_a_rate(words);
    let told = |said: &SaidValue| {
        let is_amount = matches!(said, SaidValue::Amount(_));
        let mut found = match said {
            said if is_rate => values_of(key, &said.of_its_inverse(), context),
            said => values_of(key, said, context),
        };
        for wanted in &mut found {
            if let (true, Some(against)) = (is_amount, goes_against(words, now, &wanted.value)) {
                wanted.why = format!("{}, which is {against} than now", wanted.why);
            }
            if let Some(takes) = not_taken(field, &wanted.value) {
                wanted.is_refused = true;
                wanted.why = format!("{}, which {WOULD_BE_REFUSED}: it takes {takes}", wanted.why);
            }
        }
        found
    };
    said.iter().flat_map(told).collect()
}

/// "Tighten the stop to 5" where it is 2: what the value is, which is not what the verb says.
fn goes_against(words: &[AskWord], now: Option<Decimal>, value: &Value) -> Option<&'static str> {
    let (now, wanted) = (now?.abs(), decimal_of(Some(value))?.abs());
    // "Up to 5" is a bound and no raise.
    let verbs: Vec<AskWord> =
        words.iter().filter(|word| !matches!(word.lower.as_str(), "up" | "down")).cloned().collect();
    match direction(&verbs)? {
        true if wanted < now => Some("less, and not more,"),
        false if wanted > now => Some("more, and not less,"),
        _ => None,
    }
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
        Some(WantedValue { key: key.to_owned(), value, why, fits, is_refused: false })
    };
    match said {
        SaidValue::Word(word, after_to) => {
            let value = switch(&word.to_lowercase())
                .filter(|_| *after_to || current.is_some_and(Value::is_boolean))
                .filter(|_| !current.is_some_and(Value::is_string))
                .map_or_else(|| json!(word), Value::Bool);
            let why = format!("{key}{in_unit} is {now} and would be {}", shown_value(&value));
            vec![WantedValue { key: key.to_owned(), value, why, fits: true, is_refused: false }]
        }
        SaidValue::Times(factor) => {
            let number = decimal_of(current).and_then(|now| now.checked_mul(*factor));
            let rounded = number.map(|number| rounded_for(field, number));
            let meant = (number.map(|number| number.normalize()) != rounded).then_some("rounded");
            rounded.and_then(|number| of(number, meant, true)).into_iter().collect()
        }
        SaidValue::By(amount, raises) => changed_by(current, amount, *raises, &unit, field)
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
    field: Option<&Value>,
) -> Vec<(Decimal, Option<String>)> {
    let Some(now) = decimal_of(current) else { return Vec::new() };
    // "Raise the loss limit" of -500 makes the loss larger.
    let outward = if raises == now.is_sign_negative() { -Decimal::ONE } else { Decimal::ONE };
    let by = |number: Decimal| number.checked_mul(outward).and_then(|change| now.checked_add(change));
    let relative = || {
        let part = now.abs().checked_mul(amount.number)?.checked_div(Decimal::ONE_HUNDRED)?;
        by(part).map(|number| rounded_for(field, number))
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
        (AmountUnit::PercentPoint, None) => Vec::new(),
        (AmountUnit::Percent, None) => relative().map(|number| (number, None)).into_iter().collect(),
        (_, Some(number)) => vec![(number, None)],
        (_, None) => Vec::new(),
    }
}

/// A number that was multiplied, in as many places as such a field has: none where it is whole.
fn rounded_for(field: Option<&Value>, number: Decimal) -> Decimal {
    let is_whole = field.is_some_and(|field| field["type"] == "integer");
    let rounded = match number.abs() {
        _ if is_whole => number.round(),
        size if size >= Decimal::ONE => number.round_dp(2),
        _ => number.round_dp(4),
    };
    rounded.normalize()
}

/// What the field takes, where it does not take this value.
fn not_taken(field: Option<&Value>, value: &Value) -> Option<String> {
    let field = field?;
    if let Some(known) = field["enum"].as_array() {
        let told: Vec<String> = known.iter().map(shown_value).collect();
        return (!known.contains(value)).then(|| told.join(", "));
    }
    let number = decimal_of(Some(value))?;
    let bound = |name: &str| decimal_of(field.get(name));
    let (least, most) = (bound("minimum"), bound("maximum"));
    let (above, below) = (bound("exclusiveMinimum"), bound("exclusiveMaximum"));
    let is_outside = least.is_some_and(|least| number < least)
        || most.is_some_and(|most| number > most)
        || above.is_some_and(|above| number <= above)
        || below.is_some_and(|below| number >= below);
    let lower = least.map(|least| least.normalize().to_string());
    let lower = lower.or_else(|| above.map(|above| format!("more than {}", above.normalize())));
    let upper = most.map(|most| most.normalize().to_string());
    let upper = upper.or_else(|| below.map(|below| format!("less than {}", below.normalize())));
    let bounds = match (lower, upper) {
        (Some(lower), Some(upper)) => format!("{lower} to {upper}"),
        (Some(lower), None) => format!("{lower} or more"),
        (None, Some(upper)) => format!("{upper} or less"),
        (None, None) => String::new(),
    };
    let is_broken = field["type"] == "integer" && !number.fract().is_zero();
    match (is_outside, is_broken) {
        (true, _) => Some(bounds),
        (false, true) => Some(format!("whole numbers {bounds}").trim_end().to_owned()),
        (false, false) => None,
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
