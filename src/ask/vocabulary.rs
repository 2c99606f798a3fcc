//! Words and what they mean: the only place that knows spelling.
//!
//! A text becomes [`Word`]s, each with the concepts it may stand for. Several spellings and phrases stand for one
//! concept; endings and small slips are forgiven, the more the longer the word. Deliberately absent: sentences. What
//! a combination of concepts asks for is decided in `intents.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

macro_rules! concepts {
    ($($name:ident)*) => {
        /// What a word is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) enum Concept {
            $($name,)*
        }

        impl Concept {
            fn named(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

concepts! {
    // What is to be done.
    Show Why Explain Change Undo Validate Compare Run Cancel Stop Pause Resume Restart Flatten Close SignIn Probe Reset
    Silence Acknowledge Confirm Export Shutdown
    // What it is about.
    Summary Doing Okay Alive Health Component Bot Position Order Account Performance Trade Entry Fill Error Codes Config
    Version History Audit Schema Trial Workflow Execution Progress Metric Event Alert Session Breaker Market Mode Help
    Permission Logs Recovery Target Program Age
    // How it is said; fillers are articles, pronouns and politeness, without weight.
    Not All Last Now Past Who Best Worst PerSymbol New Active Filler
}

use Concept as C;

/// The words themselves: data, so that a spelling is added without touching code.
const WORDS: &str = include_str!("words.txt");

/// A word of the text, or a phrase that stands for one thing.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// As it was written.
    pub raw: String,
    /// Lower case.
    pub lower: String,
    /// What it may stand for; empty when nobody knows.
    pub concepts: Vec<Concept>,
    /// 1 for a known spelling, less for a forgiven one.
    pub certainty: f64,
    /// How much is lost when it is ignored.
    pub weight: f64,
    /// Set when a value was read from it.
    pub slot: Option<super::slots::Slot>,
}

impl Word {
    pub(super) fn is(&self, concept: Concept) -> bool {
        self.concepts.contains(&concept)
    }
}

/// What an unknown word costs: two of them outweigh one known noun.
const UNKNOWN: f64 = 0.45;

/// The stems of a phrase and what it stands for.
type Phrase = (Vec<String>, Vec<Concept>);

struct Vocabulary {
    words: BTreeMap<String, Vec<Concept>>,
    /// The same by stem.
    stems: HashMap<String, Vec<Concept>>,
    /// Phrases by their first word's stem, longest first.
    phrases: HashMap<String, Vec<Phrase>>,
    weights: HashMap<Concept, f64>,
    /// The stems of all words that phrases are made of.
    parts: BTreeSet<String>,
    not_slips: BTreeSet<String>,
}

/// The entries of the word file: name, weight, spellings. A spelling may go on in the next line.
fn entries() -> Vec<(&'static str, f64, Vec<String>)> {
    let mut entries: Vec<(&str, f64, String)> = Vec::new();
    for line in WORDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(": ").filter(|_| !line.starts_with(' ')) {
            Some((head, spellings)) => {
                let (name, weight) = head.split_once(' ').unwrap_or((head, "0"));
                entries.push((name, weight.parse().unwrap_or_default(), spellings.to_owned()));
            }
            None => {
                if let Some((.., known)) = entries.last_mut() {
                    known.push(' ');
                    known.push_str(line.trim());
                }
            }
        }
    }
    let split = |text: String| text.split(',').map(|spelling| spelling.trim().to_owned()).collect();
    entries.into_iter().map(|(name, weight, text)| (name, weight, split(text))).collect()
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let mut vocabulary = Vocabulary {
        words: BTreeMap::new(),
        stems: HashMap::new(),
        phrases: HashMap::new(),
        weights: HashMap::new(),
        parts: BTreeSet::new(),
        not_slips: BTreeSet::new(),
    };
    for (name, weight, spellings) in entries() {
        let Some(concept) = Concept::named(name) else {
            // Words that are none of ours, however near they come.
            vocabulary.not_slips.extend(spellings);
            continue;
        };
        vocabulary.weights.insert(concept, weight);
        for spelling in spellings {
            if !spelling.contains(' ') {
                let known = vocabulary.words.entry(spelling).or_default();
                if !known.contains(&concept) {
                    known.push(concept);
                }
                continue;
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
});

/// The pieces of a text, as written, before their meaning is looked up.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let mut text = text.replace(['\u{2018}', '\u{2019}', '`'], "'");
    for (short, long) in [
        ("can't", "can not"),
        ("won't", "will not"),
        ("n't", " not"),
        ("what's", "what is"),
        ("what're", "what are"),
        ("how's", "how is"),
        ("where's", "where is"),
        ("who's", "who is"),
        ("it's", "it is"),
        ("let's", "let us"),
        ("i'm", "i am"),
        ("we're", "we are"),
        ("that's", "that is"),
        ("there's", "there is"),
        ("why's", "why is"),
        ("we've", "we have"),
        ("'s", " "),
        ("cannot", "can not"),
        ("isnt", "is not"),
        ("didnt", "did not"),
        ("doesnt", "does not"),
        ("wasnt", "was not"),
        ("arent", "are not"),
        ("dont", "do not"),
        ("hasnt", "has not"),
        ("whats", "what is"),
        ("hows", "how is"),
        ("tl;dr", "tldr"),
        ("2day", "today"),
        ("todays", "today"),
        ("yesterdays", "yesterday"),
    ] {
        text = replace_caseless(&text, short, long);
    }
    let mut pieces = Vec::new();
    for part in text.split(|c: char| {
        c.is_whitespace() || matches!(c, '?' | '!' | ';' | '(' | ')' | '"' | '[' | ']' | '{' | '}')
    }) {
        let part = part.trim_matches(|c: char| matches!(c, ',' | '.' | ':' | '\'' | '…' | '-'));
        for piece in part.split(',') {
            let piece = piece.trim_matches(|c: char| matches!(c, '.' | ':' | '\''));
            if !piece.is_empty() {
                pieces.push(piece.to_owned());
            }
        }
    }
    pieces
}

fn replace_caseless(text: &str, from: &str, to: &str) -> String {
    // ASCII alone changes length under lower-casing here, so byte offsets agree.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower.get(at..).and_then(|rest| rest.find(from)) {
        let start = at + found;
        let end = start + from.len();
        let whole_word = from.starts_with('\'') || from.starts_with("n't") || boundary(&lower, start, end);
        out.push_str(text.get(at..start).unwrap_or_default());
        out.push_str(if whole_word { to } else { text.get(start..end).unwrap_or_default() });
        at = end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

fn boundary(text: &str, start: usize, end: usize) -> bool {
    let before = text.get(..start).and_then(|head| head.chars().next_back());
    let after = text.get(end..).and_then(|tail| tail.chars().next());
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

/// Looks every piece up; phrases first, longest first.
pub(super) fn words(pieces: &[String]) -> Vec<Word> {
    let stems: Vec<String> = pieces.iter().map(|piece| stem(&corrected(&piece.to_lowercase()))).collect();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        if let Some((length, concepts)) = phrase(stems.get(at..).unwrap_or_default()) {
            let raw = pieces.get(at..at + length).unwrap_or_default().join(" ");
            words.push(word(raw, concepts, 1.0));
            at += length;
            continue;
        }
        let (concepts, certainty) = look_up(&piece.to_lowercase());
        words.push(word(piece.clone(), concepts, certainty));
        at += 1;
    }
    join_particles(&mut words);
    words
}

/// Verbs whose second half may stand further on: "roll the config back".
const PARTICLES: &[(&str, &[&str], Concept)] = &[
    ("roll", &["back"], C::Undo),
    ("take", &["back"], C::Undo),
    ("put", &["back"], C::Undo),
    ("put", &["on hold"], C::Pause),
    ("go", &["back"], C::Undo),
    ("change", &["back"], C::Undo),
    ("shut", &["down", "off"], C::Shutdown),
    ("turn", &["off", "down"], C::Shutdown),
    ("switch", &["off"], C::Shutdown),
    ("power", &["off", "down"], C::Shutdown),
    ("sign", &["in"], C::SignIn),
    ("log", &["in"], C::SignIn),
    ("get", &["flat"], C::Flatten),
    ("call", &["off"], C::Cancel),
    ("start", &["again", "over"], C::Restart),
    ("bring", &["back"], C::Restart),
    ("kick", &["off"], C::Run),
];

/// How far apart the halves may stand.
const REACH: usize = 5;

fn join_particles(words: &mut [Word]) {
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
            *verb = word(verb.raw.clone(), vec![*concept], 1.0);
        }
        if let Some(particle) = words.get_mut(second) {
            *particle = word(particle.raw.clone(), vec![C::Filler], 1.0);
        }
    }
}

fn word(raw: String, concepts: Vec<Concept>, certainty: f64) -> Word {
    let weight = concepts
        .iter()
        .map(|concept| VOCABULARY.weights.get(concept).copied().unwrap_or_default())
        .reduce(f64::max)
        .unwrap_or(UNKNOWN);
    Word { lower: raw.to_lowercase(), raw, concepts, certainty, weight, slot: None }
}

/// The word itself when it is known, else the word of some phrase it is a slip of.
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
    // A slip of the word itself before a slip of its form in "ing".
    let near = VOCABULARY.parts.iter().find(is_slip_of).or_else(|| {
        let is_slip_of_ing =
            |part: &&String| part.len() >= 3 && strsim::osa_distance(&format!("{part}ing"), lower) == 1;
        VOCABULARY.parts.iter().find(is_slip_of_ing)
    });
    near.cloned().unwrap_or_else(|| lower.to_owned())
}

fn phrase(stems: &[String]) -> Option<(usize, Vec<Concept>)> {
    let first = stems.first()?;
    let phrases = VOCABULARY.phrases.get(first)?;
    let (found, concepts) = phrases.iter().find(|(phrase, _)| {
        stems.len() >= phrase.len() && phrase.iter().zip(stems).all(|(wanted, given)| alike(wanted, given))
    })?;
    Some((found.len(), concepts.clone()))
}

/// Whether two stems are the same word, a slip in a long one forgiven.
fn alike(wanted: &str, given: &str) -> bool {
    wanted == given || (wanted.len() >= 6 && strsim::osa_distance(wanted, given) <= 1)
}

fn look_up(lower: &str) -> (Vec<Concept>, f64) {
    if let Some(concepts) = VOCABULARY.words.get(lower) {
        return (concepts.clone(), 1.0);
    }
    if let Some(concepts) = VOCABULARY.stems.get(&stem(lower)) {
        return (concepts.clone(), 1.0);
    }
    slip(lower)
}

/// The nearest known spelling, when it is near enough for its length and nothing else is as near.
fn slip(lower: &str) -> (Vec<Concept>, f64) {
    let length = lower.chars().count();
    let allowed = match length {
        0..=3 => return (Vec::new(), 1.0),
        4..=5 => 1,
        _ => 2,
    };
    let plain = lower.chars().all(|c| c.is_ascii_alphabetic());
    if !plain || VOCABULARY.not_slips.contains(lower) || VOCABULARY.not_slips.contains(stem(lower).as_str()) {
        return (Vec::new(), 1.0);
    }
    let mut best: Option<(usize, Vec<Concept>)> = None;
    for (spelling, concepts) in &VOCABULARY.words {
        if spelling.len() < 4 || spelling.len().abs_diff(length) > allowed {
            continue;
        }
        // People rarely miss the first letter, and a wrong one makes another word.
        let same_start = spelling.chars().next() == lower.chars().next();
        let swapped_start =
            spelling.chars().take(2).eq(lower.chars().take(2).collect::<Vec<_>>().into_iter().rev());
        if !same_start && !swapped_start {
            continue;
        }
        let distance = strsim::osa_distance(spelling, lower);
        let limit = if spelling.len() <= 5 { 1 } else { allowed };
        if distance <= limit && best.as_ref().is_none_or(|(known, _)| distance < *known) {
            best = Some((distance, concepts.clone()));
        }
    }
    match best {
        Some((1, concepts)) => (concepts, 0.95),
        Some((_, concepts)) => (concepts, 0.85),
        None => (Vec::new(), 1.0),
    }
}

/// A word without its ending. Crude on purpose: both sides go through it.
pub(super) fn stem(word: &str) -> String {
    let mut stem = word.to_owned();
    if let Some(rest) = stem.strip_suffix("ies").filter(|rest| rest.len() >= 3) {
        stem = format!("{rest}y");
    } else if !["ss", "us", "is"].iter().any(|ending| stem.ends_with(ending))
        && let Some(rest) = stem.strip_suffix('s').filter(|rest| rest.len() >= 3)
    {
        stem = rest.to_owned();
    }
    for ending in ["ing", "ed"] {
        if let Some(rest) = stem.strip_suffix(ending).filter(|rest| rest.len() >= 4) {
            let mut rest = rest.to_owned();
            let doubled = rest.chars().rev().take(2).collect::<Vec<_>>();
            if let [a, b] = doubled.as_slice()
                && a == b
                && !matches!(a, 'l' | 's' | 'e' | 'o')
            {
                rest.pop();
            }
            stem = rest;
            break;
        }
    }
    if stem.len() >= 4
        && let Some(rest) = stem.strip_suffix('e')
    {
        stem = rest.to_owned();
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concepts_of(text: &str) -> Vec<Vec<Concept>> {
        words(&pieces(text)).into_iter().map(|word| word.concepts).collect()
    }

    #[test]
    fn endings_and_slips_are_forgiven() {
        for spelling in ["positions", "position", "postions", "posiiton", "Positons"] {
            assert!(concepts_of(spelling)[0].contains(&Concept::Position), "{spelling}");
        }
        for spelling in ["workflow", "worklfow", "workflws"] {
            assert!(concepts_of(spelling)[0].contains(&Concept::Workflow), "{spelling}");
        }
    }

    #[test]
    fn other_words_stay_unknown() {
        for spelling in ["banana", "weather", "xyzzy", "horse", "poem"] {
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
        for (name, _, spellings) in entries() {
            assert!(name == "NotSlips" || Concept::named(name).is_some(), "{name}");
            assert!(!spellings.is_empty(), "{name}");
        }
    }

    #[test]
    fn contractions_are_taken_apart() {
        assert_eq!(pieces("What's wrong, why isn't it?"), ["what", "is", "wrong", "why", "is", "not", "it"]);
    }
}
