//! The vocabulary: which words and phrases have which concepts.
//!
//! A text becomes [`AskWord`]s, each with the concepts that it may have. Several spellings and phrases share a
//! concept; endings and typing errors are tolerated, more of them the longer the word. What a combination of concepts
//! asks for is decided in `intents`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use super::concept::WordConcept;
use super::concept::WordConcept as C;
use super::list_file::list_sections;
use super::spelling::stem;
use super::word::AskWord;
use super::word_lists::WordList;

/// The words and phrases. They are data, so that adding a spelling needs no code.
const VOCABULARY_FILE: &str = include_str!("vocabulary.txt");

/// Weight of an unknown word: two of them outweigh a known noun.
const UNKNOWN: f64 = 0.45;

/// The stems of a phrase, and its concepts.
type StemPhrase = (Vec<String>, Vec<WordConcept>);

struct AskVocabulary {
    words: BTreeMap<String, Vec<WordConcept>>,
    /// The concepts of `words`, by stem.
    stems: HashMap<String, Vec<WordConcept>>,
    /// Phrases by the stem of their first word, longest first.
    phrases: HashMap<String, Vec<StemPhrase>>,
    weights: HashMap<WordConcept, f64>,
    /// The stems of all words that phrases are made of.
    parts: BTreeSet<String>,
    not_slips: BTreeSet<String>,
}

static VOCABULARY: LazyLock<AskVocabulary> = LazyLock::new(load_vocabulary);

fn load_vocabulary() -> AskVocabulary {
    let mut vocabulary = AskVocabulary {
        words: BTreeMap::new(),
        stems: HashMap::new(),
        phrases: HashMap::new(),
        weights: HashMap::new(),
        parts: BTreeSet::new(),
        not_slips: BTreeSet::new(),
    };
    for (head, spellings) in list_sections(VOCABULARY_FILE) {
        let (name, weight) = head.split_once(' ').unwrap_or((head, "0"));
        let Some(concept) = WordConcept::named(name) else {
            // `NotSlips`: words that are never taken for a misspelling of a known one.
            vocabulary.not_slips.extend(spellings);
            continue;
        };
        vocabulary.weights.insert(concept, weight.parse().unwrap_or_default());
        for spelling in spellings {
            add_spelling(&mut vocabulary, spelling, concept);
        }
    }
    for (word, concepts) in &vocabulary.words {
        let known = vocabulary.stems.entry(stem(word)).or_default();
        for concept in concepts {
            if !known.contains(concept) {
                known.push(*concept);
            }
        }
    }
    for phrases in vocabulary.phrases.values_mut() {
        phrases.sort_by_key(|(stems, _)| std::cmp::Reverse(stems.len()));
    }
    vocabulary
}

fn add_spelling(vocabulary: &mut AskVocabulary, spelling: String, concept: WordConcept) {
    if !spelling.contains(' ') {
        let known = vocabulary.words.entry(spelling).or_default();
        if !known.contains(&concept) {
            known.push(concept);
        }
        return;
    }
    let stems: Vec<String> = spelling.split(' ').map(stem).collect();
    vocabulary.parts.extend(stems.iter().cloned());
    let first = stems.first().cloned().unwrap_or_default();
    let phrases = vocabulary.phrases.entry(first).or_default();
    match phrases.iter_mut().find(|(known, _)| *known == stems) {
        Some((_, concepts)) => concepts.push(concept),
        None => phrases.push((stems, vec![concept])),
    }
}

/// Looks up every piece; phrases before single words, the longest first.
pub(super) fn read_words(pieces: &[String]) -> Vec<AskWord> {
    let given: Vec<String> = pieces.iter().map(|piece| stem(&piece.to_lowercase())).collect();
    let stems: Vec<String> = pieces.iter().map(|piece| stem(&corrected(&piece.to_lowercase()))).collect();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        let given = given.get(at..).unwrap_or_default();
        let found = find_phrase(stems.get(at..).unwrap_or_default());
        // A corrected phrase that can do harm holds only where half of it or more stands as it is written.
        let found = found.filter(|(length, concepts)| {
            let as_written = stems.iter().skip(at).zip(given).take(*length).filter(|(a, b)| a == b).count();
            as_written * 2 > *length
                || as_written == *length
                || !concepts.iter().any(|concept| concept.is_dangerous())
                || as_written * 2 == *length && has_dangerous_word(given.get(..*length).unwrap_or_default())
        });
        if let Some((length, concepts)) = found {
            let raw = pieces.get(at..at + length).unwrap_or_default().join(" ");
            words.push(known_word(raw, concepts, 1.0));
            at += length;
            continue;
        }
        let lower = piece.to_lowercase();
        let (concepts, certainty) = look_up(&lower);
        // An adverb says how, which no call takes.
        let is_adverb = lower.len() >= 5 && lower.ends_with("ly");
        let (concepts, certainty) = if is_adverb && (certainty < 1.0 || concepts.is_empty()) {
            (vec![C::Filler], 1.0)
        } else {
            (concepts, certainty)
        };
        words.push(known_word(piece.clone(), concepts, certainty));
        at += 1;
    }
    join_particles(&mut words);
    join_restart(&mut words);
    words
}

/// Whether one of these stems, as it stands, means something that can do harm.
fn has_dangerous_word(stems: &[String]) -> bool {
    let concepts = stems.iter().filter_map(|stem| VOCABULARY.stems.get(stem)).flatten();
    concepts.into_iter().any(|concept| concept.is_dangerous())
}

/// Verbs whose particle may follow later in the text: "roll the config back".
const PARTICLES: &[(&str, &[&str], WordConcept)] = &[
    ("roll", &["back"], C::Undo),
    ("take", &["back"], C::Undo),
    ("put", &["back"], C::Undo),
    ("put", &["on hold"], C::Pause),
    ("go", &["back"], C::Undo),
    ("change", &["back"], C::Undo),
    ("shut", &["up"], C::Silence),
    ("shut", &["down", "off"], C::Shutdown),
    ("turn", &["off"], C::Shutdown),
    ("switch", &["off"], C::Shutdown),
    ("power", &["off", "down"], C::Shutdown),
    ("sign", &["in"], C::SignIn),
    ("log", &["in"], C::SignIn),
    ("get", &["flat"], C::Flatten),
    ("call", &["off"], C::Cancel),
    ("start", &["again", "over"], C::Restart),
    ("bring", &["back"], C::Restart),
    ("kick", &["off"], C::Run),
    ("take", &["off"], C::Cancel),
    ("pull", &["off"], C::Cancel),
    ("break", &["down"], C::Show),
    ("split", &["out", "up"], C::Show),
];

/// How many words after the verb its particle is looked for.
const REACH: usize = 5;

fn join_particles(words: &mut [AskWord]) {
    for first in 0..words.len() {
        let halves =
            PARTICLES.iter().filter(|(verb, ..)| words.get(first).is_some_and(|word| word.lower == *verb));
        let found = halves.into_iter().find_map(|(_, particles, concept)| {
            let mut within = first + 1..words.len().min(first + 1 + REACH);
            let is_half =
                |at: &usize| words.get(*at).is_some_and(|word| particles.contains(&word.lower.as_str()));
            within.find(is_half).map(|second| (second, concept))
        });
        let Some((second, concept)) = found else { continue };
        if let Some(verb) = words.get_mut(first) {
            *verb = known_word(verb.raw.clone(), vec![*concept], 1.0);
        }
        if let Some(particle) = words.get_mut(second) {
            *particle = known_word(particle.raw.clone(), vec![C::Filler], 1.0);
        }
    }
}

/// What a restart is called that is said as an end and a beginning.
pub(super) const OFF_AND_ON: &str = "off and on";

/// How many words after the end the beginning is looked for.
const RESTART_REACH: usize = 6;

/// "Turn it off and on again", "shut it down and bring it back up": one restart, and no end.
fn join_restart(words: &mut [AskWord]) {
    let ends = |word: &AskWord| word.is(C::Shutdown) || matches!(word.lower.as_str(), "stop" | "kill");
    let Some(first) = words.iter().position(ends) else { return };
    let within = || (first + 1)..words.len().min(first + 1 + RESTART_REACH);
    let is_joint = |word: &AskWord| matches!(word.lower.as_str(), "and" | "then" | "n" | "&");
    let Some(joint) = within().find(|at| words.get(*at).is_some_and(is_joint)) else { return };
    let begins = |word: &AskWord| {
        matches!(
            word.lower.as_str(),
            "on" | "back on" | "up" | "back up" | "start" | "restart" | "start again" | "relaunch" | "back"
        ) || word.is(C::Restart)
    };
    let Some(second) = within().find(|at| *at > joint && words.get(*at).is_some_and(begins)) else { return };
    // "Stop it and start trading" is no restart of the bot.
    if words.iter().skip(joint).any(|word| word.is(C::Trade) || word.is(C::Workflow)) {
        return;
    }
    let goes_on = |at: &usize| {
        words
            .get(*at)
            .is_some_and(|word| matches!(word.lower.as_str(), "on" | "up" | "again" | "over" | "it" | "back"))
    };
    let second = (second + 1..words.len()).take_while(goes_on).last().unwrap_or(second);
    for at in first..=second {
        let Some(word) = words.get_mut(at) else { continue };
        let (concept, lower) = if at == first { (C::Restart, OFF_AND_ON) } else { (C::Filler, "and") };
        if at == first || at >= joint {
            *word = known_word(word.raw.clone(), vec![concept], 1.0);
            word.lower = lower.to_owned();
        }
    }
}

fn known_word(raw: String, concepts: Vec<WordConcept>, certainty: f64) -> AskWord {
    let weight = concepts
        .iter()
        .map(|concept| VOCABULARY.weights.get(concept).copied().unwrap_or_default())
        .reduce(f64::max)
        .unwrap_or(UNKNOWN);
    AskWord { lower: raw.to_lowercase(), raw, concepts, certainty, weight, is_wished: true, slot: None }
}

/// The word itself when it is known; else the word of a phrase that it misspells, if there is one.
fn corrected(lower: &str) -> String {
    let is_known = VOCABULARY.words.contains_key(lower) || VOCABULARY.parts.contains(&stem(lower));
    let is_plain = lower.len() >= 5 && lower.chars().all(|c| c.is_ascii_alphabetic());
    if is_known || !is_plain || VOCABULARY.not_slips.contains(lower) {
        return lower.to_owned();
    }
    let is_slip_of = |part: &&String| {
        part.len() >= 3
            && part.chars().next() == lower.chars().next()
            && strsim::osa_distance(part, &stem(lower)) == 1
    };
    // The word itself is tried before its form in "ing".
    let near = VOCABULARY.parts.iter().find(is_slip_of).or_else(|| {
        let is_slip_of_ing =
            |part: &&String| part.len() >= 3 && strsim::osa_distance(&format!("{part}ing"), lower) == 1;
        VOCABULARY.parts.iter().find(is_slip_of_ing)
    });
    near.cloned().unwrap_or_else(|| lower.to_owned())
}

/// Whether an order may begin with this word; "stops" and "stopped" begin none.
pub(super) fn is_verb_of_an_order(lower: &str) -> bool {
    let is_base = !lower.ends_with("ed") && (!lower.ends_with('s') || lower.ends_with("ss"));
    if !is_base || !lower.chars().all(|c| c.is_ascii_alphabetic() || c == '-') {
        return false;
    }
    if WordList::OrderVerbs.contains(lower) {
        return true;
    }
    let (concepts, _) = look_up(lower);
    concepts.iter().any(|concept| concept.is_action())
}

fn find_phrase(stems: &[String]) -> Option<(usize, Vec<WordConcept>)> {
    let first = stems.first()?;
    let phrases = VOCABULARY.phrases.get(first)?;
    let (found, concepts) = phrases.iter().find(|(phrase, _)| {
        stems.len() >= phrase.len()
            && phrase.iter().zip(stems).all(|(wanted, given)| is_same_stem(wanted, given))
    })?;
    Some((found.len(), concepts.clone()))
}

/// Whether two stems are the same word; one typing error is tolerated from six letters on.
fn is_same_stem(wanted: &str, given: &str) -> bool {
    wanted == given || (wanted.len() >= 6 && strsim::osa_distance(wanted, given) <= 1)
}

fn look_up(lower: &str) -> (Vec<WordConcept>, f64) {
    if let Some(concepts) = VOCABULARY.words.get(lower) {
        return (concepts.clone(), 1.0);
    }
    if WordList::KnownTickers.contains(lower) {
        return (Vec::new(), 1.0);
    }
    if let Some(concepts) = VOCABULARY.stems.get(&stem(lower)) {
        return (concepts.clone(), 1.0);
    }
    find_slip(lower)
}

/// Whether this is a common word that means nothing here.
pub(super) fn is_common_word(lower: &str) -> bool {
    VOCABULARY.not_slips.contains(lower) || VOCABULARY.not_slips.contains(stem(lower).as_str())
}

/// The concepts of the nearest known spelling, if it is near enough for its length and no other is as near.
fn find_slip(lower: &str) -> (Vec<WordConcept>, f64) {
    let length = lower.chars().count();
    let allowed = match length {
        0..=3 => return (Vec::new(), 1.0),
        4..=8 => 1,
        _ => 2,
    };
    let plain = lower.chars().all(|c| c.is_ascii_alphabetic());
    if !plain || VOCABULARY.not_slips.contains(lower) || VOCABULARY.not_slips.contains(stem(lower).as_str()) {
        return (Vec::new(), 1.0);
    }
    let mut best: Option<(usize, Vec<WordConcept>)> = None;
    for (spelling, concepts) in &VOCABULARY.words {
        if spelling.len() < 4 || spelling.len().abs_diff(length) > allowed {
            continue;
        }
        // The first letter is rarely mistyped, and another one makes another word.
        let same_start = spelling.chars().next() == lower.chars().next();
        let swapped_start =
            spelling.chars().take(2).eq(lower.chars().take(2).collect::<Vec<_>>().into_iter().rev());
        if !same_start && !swapped_start {
            continue;
        }
        let distance = strsim::osa_distance(spelling, lower);
        let is_dangerous = concepts.iter().any(|concept| concept.is_dangerous());
        // "healt" is no "halt": a word that can do harm is long enough to be told from others, and is nearer than they are.
        let limit = match (is_dangerous, spelling.len()) {
            (true, 0..=4) => continue,
            (true, _) | (false, 0..=5) => 1,
            (false, _) => allowed,
        };
        let is_nearer = best.as_ref().is_none_or(|(known, known_concepts)| {
            let known_is_dangerous = known_concepts.iter().any(|concept| concept.is_dangerous());
            distance < *known || (distance == *known && known_is_dangerous && !is_dangerous)
        });
        if distance <= limit && is_nearer && (distance != 1 || is_likely_slip(spelling, lower)) {
            best = Some((distance, concepts.clone()));
        }
    }
    match best {
        Some((1, concepts)) => (concepts, 0.95),
        Some((_, concepts)) => (concepts, 0.85),
        None => (Vec::new(), 1.0),
    }
}

/// Rows of a keyboard: a finger that misses hits a neighbour.
const KEYS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];

/// Whether one change makes the one word of the other that fingers make: a letter too many, too few or in the wrong order, its
/// neighbour on the keyboard, or another vowel. "Present" is no slip of "prevent".
fn is_likely_slip(wanted: &str, given: &str) -> bool {
    if wanted.len() != given.len() {
        return true;
    }
    let pairs: Vec<(char, char)> = wanted.chars().zip(given.chars()).filter(|(a, b)| a != b).collect();
    let [(wanted, given)] = pairs.as_slice() else { return true };
    let is_vowel = |c: &char| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u');
    let place =
        |c: &char| KEYS.iter().enumerate().find_map(|(row, keys)| keys.find(*c).map(|column| (row, column)));
    let near = match (place(wanted), place(given)) {
        (Some((row, column)), Some((other_row, other_column))) => {
            row.abs_diff(other_row) <= 1 && column.abs_diff(other_column) <= 1
        }
        _ => false,
    };
    near || is_vowel(wanted) && is_vowel(given)
}

#[cfg(test)]
mod tests {
    use super::super::spelling::split_pieces;
    use super::*;

    fn concepts_of(text: &str) -> Vec<Vec<WordConcept>> {
        read_words(&split_pieces(text)).into_iter().map(|word| word.concepts).collect()
    }

    #[test]
    fn endings_and_slips_are_forgiven() {
        for spelling in ["positions", "position", "postions", "posiiton", "Positons"] {
            assert!(concepts_of(spelling)[0].contains(&WordConcept::Position), "{spelling}");
        }
        for spelling in ["workflow", "worklfow", "workflws"] {
            assert!(concepts_of(spelling)[0].contains(&WordConcept::Workflow), "{spelling}");
        }
    }

    #[test]
    fn other_words_stay_unknown() {
        for spelling in ["banana", "xyzzy", "horse", "balloon"] {
            assert!(concepts_of(spelling)[0].is_empty(), "{spelling}");
        }
    }

    #[test]
    fn phrases_count_as_one_word() {
        assert_eq!(concepts_of("circuit breaker").len(), 1);
        assert!(concepts_of("roll it back").len() == 3);
    }

    #[test]
    fn every_entry_of_the_word_file_is_a_concept() {
        for (head, spellings) in list_sections(VOCABULARY_FILE) {
            let name = head.split(' ').next().unwrap();
            assert!(name == "NotSlips" || WordConcept::named(name).is_some(), "{name}");
            assert!(!spellings.is_empty(), "{name}");
        }
    }
}
