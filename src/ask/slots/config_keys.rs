//! Config keys, and the values that the text wants them to have.

use serde_json::{Number, Value, json};

use super::values::SlotValues;
use crate::ask::concept::WordConcept;
use crate::ask::context::AskContext;
use crate::ask::spelling::{is_same_word, stem};
use crate::ask::word::{AskWord, SlotKind, mark_slot};
use crate::ask::word_lists::WordList;

/// A word in the form that config keys use: `max` for "maximum".
fn normalize_word(word: &str) -> String {
    match word {
        "maximum" | "maximal" | "largest" | "biggest" | "most" => "max".to_owned(),
        "minimum" | "minimal" | "smallest" => "min".to_owned(),
        "percentage" | "percent" => "pct".to_owned(),
        "stoploss" => "stop".to_owned(),
        "ratio" => "ratio".to_owned(),
        other => stem(other),
    }
}

/// Reads a config key, given as its path, the end of its path, or its words.
pub(super) fn read_key(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    for at in 0..words.len() {
        let Some(word) = words.get(at) else { continue };
        let given = word.lower.trim_start_matches('/').replace('/', ".");
        let looks_like_key = given.contains('_')
            || (given.contains('.') && !given.chars().all(|c| c.is_ascii_digit() || c == '.'));
        if word.slot.is_some() || !looks_like_key || context.components.contains(&word.lower) {
            continue;
        }
        let ends = |path: &str| path == given || path.ends_with(&format!(".{given}"));
        let mut found: Vec<String> =
            context.config.iter().filter(|(path, _)| ends(path)).map(|(path, _)| path.clone()).collect();
        if found.is_empty() {
            let near = |path: &str| {
                let leaf = path.rsplit('.').next().unwrap_or(path);
                let limit = if given.len() >= 8 { 2 } else { 1 };
                strsim::osa_distance(path, &given).min(strsim::osa_distance(leaf, &given)) <= limit
            };
            found =
                context.config.iter().filter(|(path, _)| near(path)).map(|(path, _)| path.clone()).collect();
        }
        if found.is_empty() && given.contains('_') {
            // An unknown key: the check of the change will refuse it and name similar ones.
            found = vec![given.clone()];
        }
        if !found.is_empty() {
            slots.keys = found;
            mark_slot(words, at, SlotKind::Key);
            return;
        }
    }
    read_key_by_words(words, context, slots);
}

fn read_key_by_words(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    let mut given: Vec<(usize, String)> = Vec::new();
    for (at, word) in words.iter().enumerate().filter(|(_, word)| word.slot.is_none()) {
        let parts = word.lower.split([' ', '-']).filter(|part| !part.is_empty());
        given.extend(parts.map(|part| (at, normalize_word(part))));
    }
    let mut best: Vec<(usize, String, Vec<usize>)> = Vec::new();
    for (path, _) in &context.config {
        let leaf = path.rsplit('.').next().unwrap_or(path);
        let leaf_words: Vec<String> =
            leaf.split('_').filter(|part| !WordList::KeyUnits.contains(part)).map(normalize_word).collect();
        if leaf_words.is_empty() {
            continue;
        }
        let place =
            |wanted: &String| given.iter().find(|(_, given)| is_same_word(given, wanted)).map(|(at, _)| *at);
        let places: Option<Vec<usize>> = leaf_words.iter().map(place).collect();
        let Some(mut places) = places else { continue };
        let parents = path.split('.').rev().skip(1).flat_map(|part| part.split('_')).map(normalize_word);
        let more: Vec<usize> = parents.filter_map(|part| place(&part)).collect();
        let score = leaf_words.len() * 2 + more.len().min(1);
        // A single common word names a key only together with its group, or when the text mentions a change or the
        // config.
        let speaks_of_config =
            words.iter().any(|word| word.is(WordConcept::Change) || word.is(WordConcept::Config));
        if leaf_words.len() == 1 && more.is_empty() && !speaks_of_config {
            continue;
        }
        places.extend(more);
        best.push((score, path.clone(), places));
    }
    let Some(top) = best.iter().map(|(score, ..)| *score).max() else { return };
    best.retain(|(score, ..)| *score == top);
    for (_, path, places) in best {
        slots.keys.push(path);
        for at in places {
            mark_slot(words, at, SlotKind::Key);
        }
    }
}

pub(super) fn read_value(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    let Some(key) = slots.keys.first() else { return };
    let current = context.config.iter().find(|(path, _)| path == key).map(|(_, value)| value);
    for at in (0..words.len()).rev() {
        let Some(word) = words.get(at) else { continue };
        let is_taken = word
            .slot
            .is_some_and(|slot| !matches!(slot, SlotKind::Duration | SlotKind::Period | SlotKind::Symbol));
        let after_by = at > 0 && words.get(at - 1).is_some_and(|before| before.lower == "by");
        if is_taken || after_by {
            continue;
        }
        let after_to = at > 0
            && words.get(at - 1).is_some_and(|before| {
                matches!(before.lower.as_str(), "to" | "=" | "as" | "at" | "with" | "equals")
            });
        if let Some(value) = parse_value(&word.raw, current, after_to) {
            slots.value = Some(value);
            mark_slot(words, at, SlotKind::Value);
            return;
        }
    }
}

/// The value that a word gives, converted to the type of the key's current value.
fn parse_value(raw: &str, current: Option<&Value>, after_to: bool) -> Option<Value> {
    let raw = raw.trim_start_matches('=');
    let lower = raw.to_lowercase();
    let wants_bool = current.is_some_and(Value::is_boolean);
    match lower.as_str() {
        "true" | "on" | "yes" | "enabled" | "enable" if wants_bool || after_to => return Some(json!(true)),
        "false" | "off" | "no" | "disabled" | "disable" if wants_bool || after_to => {
            return Some(json!(false));
        }
        _ => {}
    }
    let bare = lower.trim_start_matches('$').trim_end_matches('%').replace('_', "");
    let (bare, factor) = match bare.strip_suffix('k') {
        Some(rest) => (rest.to_owned(), 1_000_i64),
        None => (bare, 1),
    };
    let is_number = bare.chars().any(|c| c.is_ascii_digit())
        && bare.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'));
    if is_number {
        if let Ok(whole) = bare.parse::<i64>() {
            let whole = whole.checked_mul(factor)?;
            return Some(if current.is_some_and(Value::is_string) {
                json!(whole.to_string())
            } else {
                json!(whole)
            });
        }
        let number: f64 = bare.parse().ok()?;
        if current.is_some_and(Value::is_string) {
            return Some(json!(bare));
        }
        return Number::from_f64(number).map(Value::Number);
    }
    let is_clock = lower.len() == 5 && lower.as_bytes().get(2) == Some(&b':');
    (current.is_some_and(Value::is_string) && (after_to || is_clock)).then(|| json!(raw))
}
