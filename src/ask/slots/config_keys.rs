//! Config keys: which fields the words of a text can mean.

use std::sync::LazyLock;

use super::values::SlotValues;
use crate::ask::concept::WordConcept;
use crate::ask::context::AskContext;
use crate::ask::list_file::list_sections;
use crate::ask::spelling::{is_same_word, stem};
use crate::ask::word::{AskWord, BOUNDARY, SlotKind, mark_slot};
use crate::ask::word_lists::WordList;

/// The names of settings. They are data, so that adding one needs no code.
const NAMES_FILE: &str = include_str!("../setting_names.txt");

/// What people call a setting.
struct SettingName {
    /// With what the last part of its path begins.
    leaf: &'static str,
    /// The stems of the words.
    words: Vec<String>,
    /// Whether these words mean other things too.
    is_weak: bool,
    /// Whether they name it only where the text speaks of a time of day.
    is_of_time: bool,
}

static NAMES: LazyLock<Vec<SettingName>> = LazyLock::new(|| {
    let name = |leaf: &'static str, text: &str| {
        let bare = text.trim_start_matches(['~', '@']);
        let words = bare.split([' ', '-']).map(normalize_word).collect();
        SettingName { leaf, words, is_weak: text.contains('~'), is_of_time: text.contains('@') }
    };
    let sections = list_sections(NAMES_FILE).into_iter();
    sections.flat_map(|(leaf, names)| names.iter().map(|text| name(leaf, text)).collect::<Vec<_>>()).collect()
});

/// How many other words may stand between two of a long name: "lose at most 2 % a day". Fewer in a short one.
const BETWEEN: usize = 4;

/// The places of a name's words, in their order and near each other.
fn places_of_name(name: &SettingName, given: &[(usize, String)]) -> Option<Vec<usize>> {
    let between = match name.words.len() {
        _ if name.is_of_time => 1,
        0..=2 => 2,
        _ => BETWEEN,
    };
    let starts = given.iter().enumerate().filter(|(_, (_, part))| Some(part) == name.words.first());
    starts.into_iter().find_map(|(first, (place, _))| {
        let mut places = vec![*place];
        let mut from = first + 1;
        for wanted in name.words.iter().skip(1) {
            let near = given.get(from..(from + between + 1).min(given.len()))?;
            let near = near.iter().take_while(|(_, part)| part != BOUNDARY);
            let at = near.into_iter().position(|(_, part)| part == wanted)?;
            places.push(given.get(from + at)?.0);
            from += at + 1;
        }
        Some(places)
    })
}

/// The setting of this path by one of its names; a longer name tells more.
fn named_candidate(path: &str, given: &[(usize, String)], allows_weak: bool) -> Option<KeyCandidate> {
    let leaf = path.rsplit('.').next().unwrap_or(path);
    let speaks_of_time = given.iter().any(|(_, part)| {
        WordList::TimeOfDayWords.contains(part)
            || part.contains(':') && part.starts_with(|c: char| c.is_ascii_digit())
            || ["am", "pm"]
                .iter()
                .any(|half| part.strip_suffix(half).is_some_and(|hour| hour.parse::<u32>().is_ok()))
    }) && !given.iter().any(|(_, part)| part == "again");
    let named = NAMES.iter().filter(|name| {
        leaf.starts_with(name.leaf) && (allows_weak || !name.is_weak) && (speaks_of_time || !name.is_of_time)
    });
    let found = named.filter_map(|name| {
        let places = places_of_name(name, given)?;
        // A weak name gives way to any other.
        let score = if name.is_weak { name.words.len() } else { name.words.len() * 2 + 1 };
        Some(KeyCandidate { score, path: path.to_owned(), places })
    });
    found.max_by_key(|candidate| candidate.score)
}

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
            || (given.contains('.')
                && !given.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '%' | '$' | '-' | '+')));
        let is_amount = given.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '$' | '-' | '+'));
        if word.slot.is_some() || !looks_like_key || is_amount || context.components.contains(&word.lower) {
            continue;
        }
        // `poll_interval_s` is what somebody calls `poll_interval_seconds`.
        let ends = |path: &str| {
            let leaf = path.rsplit('.').next().unwrap_or(path);
            path == given
                || path.ends_with(&format!(".{given}"))
                || given.len() >= 8 && leaf.starts_with(&given)
        };
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

/// A field that the words of a text can mean.
struct KeyCandidate {
    score: usize,
    path: String,
    places: Vec<usize>,
}

fn read_key_by_words(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    let mut given: Vec<(usize, String)> = Vec::new();
    // "Stop paging me" names no stop.
    let is_other = |word: &AskWord| {
        [WordConcept::Silence, WordConcept::Shutdown, WordConcept::Flatten]
            .iter()
            .any(|concept| word.is(*concept))
    };
    for (at, word) in words.iter().enumerate().filter(|(_, word)| word.slot.is_none() && !is_other(word)) {
        let parts = word.lower.split([' ', '-']).filter(|part| !part.is_empty());
        given.extend(parts.map(|part| (at, normalize_word(part))));
    }
    // "The 3 largest positions" are positions.
    let counts = words.windows(2).any(|pair| {
        matches!(pair, [count, size] if count.lower.parse::<u32>().is_ok()
            && matches!(size.lower.as_str(), "largest" | "biggest" | "smallest"))
    });
    if counts {
        return;
    }
    // "Tighten the stop" is about the stop loss: nobody tightens an order to stop.
    let stop = given.iter().find(|(_, part)| part == "stop").map(|(at, _)| *at);
    let changes = words.first().is_some_and(|word| word.is(WordConcept::Change))
        || words.iter().any(|word| WordList::DistanceVerbs.contains(&word.lower));
    if let Some(at) = stop.filter(|_| changes && !given.iter().any(|(_, part)| part == "loss")) {
        given.push((at, "loss".to_owned()));
    }
    let speaks_of_config =
        words.iter().any(|word| word.is(WordConcept::Change) || word.is(WordConcept::Config));
    let looks = speaks_of_config || words.iter().any(gives_weight_to_a_name);
    let fits = |(path, _): &(String, _)| {
        let by_path = candidate(path, &given, speaks_of_config);
        let by_name = named_candidate(path, &given, looks);
        by_path.into_iter().chain(by_name).max_by_key(|candidate| candidate.score)
    };
    let mut candidates: Vec<KeyCandidate> = context.config.iter().filter_map(fits).collect();
    let Some(top) = candidates.iter().map(|candidate| candidate.score).max() else { return };
    candidates.retain(|candidate| candidate.score == top);
    for candidate in candidates {
        slots.keys.push(candidate.path);
        for at in candidate.places {
            mark_slot(words, at, SlotKind::Key);
        }
    }
}

/// Whether this word makes a setting of what could be something else: it checks or asks for bounds, or is an amount.
fn gives_weight_to_a_name(word: &AskWord) -> bool {
    let is_amount = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(['%', 'x'])
            || text.contains(':') && text.len() > 3
    };
    let units = ["%", "percent", "pct", "bps"];
    [WordConcept::Validate, WordConcept::Schema, WordConcept::History].iter().any(|concept| word.is(*concept))
        || is_amount(&word.lower)
        || word.lower.split(' ').any(|part| WordList::BoundWords.contains(part))
        || units.contains(&word.lower.as_str())
}

/// Whether the words name this field. Its unit, a bound ("max") and a measure ("size") need not be said; said, they tell it
/// from others.
fn candidate(path: &str, given: &[(usize, String)], speaks_of_config: bool) -> Option<KeyCandidate> {
    let leaf = path.rsplit('.').next().unwrap_or(path);
    let place =
        |wanted: &String| given.iter().find(|(_, given)| is_same_word(given, wanted)).map(|(at, _)| *at);
    let is_optional = |part: &&str| WordList::KeyUnits.contains(part) || WordList::KeyMeasures.contains(part);
    let needed: Vec<String> = leaf.split('_').filter(|part| !is_optional(part)).map(normalize_word).collect();
    let optional = leaf.split('_').filter(is_optional).map(normalize_word);
    if needed.is_empty() {
        return None;
    }
    let mut places = needed.iter().map(place).collect::<Option<Vec<usize>>>()?;
    let said: Vec<usize> = optional.filter_map(|part| place(&part)).collect();
    let parents = path.split('.').rev().skip(1).flat_map(|part| part.split('_')).map(normalize_word);
    let parents: Vec<usize> = parents.filter_map(|part| place(&part)).collect();
    // A single common word names a key only together with its group, or when the text mentions a change or the config.
    // "Max drawdown" is a result as well, which is what most people ask for.
    let says_enough = match said.len() {
        0 => false,
        1 => !needed.iter().any(|word| word == "drawdown"),
        _ => true,
    };
    if needed.len() == 1 && parents.is_empty() && !speaks_of_config && !says_enough {
        return None;
    }
    let score = (needed.len() + said.len()) * 2 + parents.len().min(1);
    places.extend(said);
    places.extend(parents);
    Some(KeyCandidate { score, path: path.to_owned(), places })
}
