//! Which parts of a text ask or order, and which only say how things are: "stops are too tight, widen them to 3 %".
//!
//! What asks or orders comes first and counts in full; the rest stands behind it and counts for little, but its values hold.

use super::list_file::folded;
use super::vocabulary::is_verb_of_an_order;
use super::word_lists::WordList;

/// How a part of a text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClauseMood {
    /// A question or an order.
    Wishes,
    /// Names something without a verb: "open positions".
    Names,
    /// Says how things are, or why somebody asks.
    States,
    /// Says what is to stay as it is.
    Excepts,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MoodClause {
    pub(super) text: String,
    pub(super) mood: ClauseMood,
}

impl ClauseMood {
    /// How much the words of such a part count beside one that asks or orders.
    pub(super) fn share(self) -> f64 {
        match self {
            Self::Wishes => 1.0,
            Self::Names => 0.6,
            Self::States => 0.3,
            Self::Excepts => 0.0,
        }
    }
}

/// Fewest words of a part after a comma that stands for itself.
const CLAUSE_WORDS: usize = 2;

/// The parts of a text, those that ask or order first, each without the words around its wish.
pub(super) fn clauses_by_mood(text: &str) -> Vec<MoodClause> {
    let parts = split(text);
    let count = parts.len();
    let read = |(at, part): (usize, &Part)| {
        let others_follow = at + 1 < count;
        read_mood(&part.text, part.is_asked, at > 0, others_follow && at == 0)
    };
    let mut clauses: Vec<MoodClause> = parts.iter().enumerate().flat_map(read).collect();
    clauses.retain(|clause| !clause.text.is_empty());
    clauses.sort_by_key(|clause| clause.mood);
    clauses
}

#[derive(Debug)]
struct Part {
    text: String,
    is_asked: bool,
}

/// Splits at the ends of sentences, and at commas and joints behind which something of its own begins.
fn split(text: &str) -> Vec<Part> {
    let text = folded(text).replace("tl;dr", "tldr").replace("TL;DR", "tldr");
    let mut sentences: Vec<Part> = Vec::new();
    let mut from = 0;
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        let (Some(sign), next) = (bytes.get(at).copied(), bytes.get(at + 1).copied()) else { continue };
        let ends = next.is_none_or(|next| next.is_ascii_whitespace());
        let is_end = match sign {
            b'.' | b'!' | b'?' | b':' => ends,
            b';' | b'\n' => true,
            b'-' => ends && at > 0 && bytes.get(at - 1).is_some_and(u8::is_ascii_whitespace),
            _ => false,
        };
        if is_end {
            push_part(&mut sentences, text.get(from..at).unwrap_or_default(), sign == b'?');
            from = at + 1;
        }
    }
    push_part(&mut sentences, text.get(from..).unwrap_or_default(), false);
    sentences.iter().flat_map(split_sentence).collect()
}

fn push_part(parts: &mut Vec<Part>, text: &str, is_asked: bool) {
    let text = text.trim();
    if !text.is_empty() {
        parts.push(Part { text: text.to_owned(), is_asked });
    } else if let Some(last) = parts.last_mut() {
        last.is_asked |= is_asked;
    }
}

fn split_sentence(sentence: &Part) -> Vec<Part> {
    let mut pieces: Vec<String> = sentence.text.split(", ").map(str::to_owned).collect();
    for joint in WordList::ClauseJoints.phrases().iter().chain(WordList::WishJoints.phrases()) {
        let cut = |piece: String| {
            // What joins them begins what follows.
            let rests =
                words_of(&piece).first().is_some_and(|first| WordList::SubordinateOpeners.contains(first));
            let needs_rest = WordList::WishJoints.contains(joint);
            match piece.to_ascii_lowercase().find(joint.as_str()).filter(|_| rests || !needs_rest) {
                Some(at) => {
                    let (head, tail) = piece.split_at(at);
                    vec![head.to_owned(), tail.to_owned()]
                }
                None => vec![piece],
            }
        };
        pieces = pieces.into_iter().flat_map(cut).collect();
    }
    pieces = pieces.into_iter().flat_map(cut_before_an_order).collect();
    let mut parts: Vec<Part> = Vec::new();
    for piece in pieces {
        let words = words_of(&piece);
        let stands = words.len() >= CLAUSE_WORDS && begins_a_clause(&words);
        match parts.last_mut() {
            Some(last) if !stands => {
                // A joint begins with a blank, and no comma stood before it.
                last.text.push_str(if piece.starts_with(' ') { " " } else { ", " });
                last.text.push_str(piece.trim());
            }
            _ => push_part(&mut parts, &piece, false),
        }
    }
    // The question mark is of the last part that can be one.
    if sentence.is_asked
        && let Some(last) = parts.last_mut()
    {
        last.is_asked = true;
    }
    parts
}

/// "The broker kicked us out and log back in": the order behind "and".
fn cut_before_an_order(piece: String) -> Vec<String> {
    let words = words_of(&piece);
    let states = words.first().is_some_and(|first| WordList::StateOpeners.contains(first) || first == "be");
    let lower = piece.to_ascii_lowercase();
    let found = lower.match_indices(" and ").find(|(at, joint)| {
        let behind = words_of(lower.get(at + joint.len()..).unwrap_or_default());
        behind.len() >= CLAUSE_WORDS && behind.first().is_some_and(|first| is_verb_of_an_order(first))
    });
    match found.filter(|_| states) {
        Some((at, _)) => {
            let (head, tail) = piece.split_at(at);
            vec![head.to_owned(), tail.to_owned()]
        }
        None => vec![piece],
    }
}

fn words_of(text: &str) -> Vec<String> {
    let trimmed = |word: &str| word.trim_matches([',', '(', ')', '"', '…', '!']).to_lowercase();
    text.split_whitespace().map(trimmed).filter(|word| !word.is_empty()).collect()
}

/// Whether something of its own begins here, and no item of a list.
fn begins_a_clause(words: &[String]) -> bool {
    let rest = without_connectives(words);
    let Some(first) = rest.first() else { return false };
    // "If any", "if so": no part of its own.
    let is_aside = first == "if" && rest.len() <= 3
        || first == "that" && !rest.get(1).is_some_and(|word| matches!(word.as_str(), "is" | "was"));
    // "Which seems odd" tells more of what stands before.
    let tells_more = first == "which"
        && rest.get(1).is_some_and(|word| {
            matches!(
                word.as_str(),
                "seems"
                    | "seem"
                    | "looks"
                    | "is"
                    | "was"
                    | "means"
                    | "makes"
                    | "made"
                    | "feels"
                    | "sounds"
                    | "i"
                    | "we"
                    | "surprises"
                    | "worries"
            )
        });
    if is_aside || tells_more {
        return false;
    }
    first == "whether"
        || WordList::ClauseOpeners.contains(first)
        || WordList::StateOpeners.contains(first)
        || WordList::SubordinateOpeners.contains(first)
        || WordList::PlainPolite.contains(first)
        || is_question_word(first)
        || starts_with_any(rest, WordList::Exceptions)
        || starts_with_any(rest, WordList::Manners)
        || starts_with_any(words, WordList::Manners)
        || starts_with_any(words, WordList::Purposes)
        || prefix_of(rest, WordList::WishOpeners) >= CLAUSE_WORDS
        || is_verb_of_an_order(first)
}

fn without_connectives(words: &[String]) -> &[String] {
    let skipped = words.iter().take_while(|word| WordList::Connectives.contains(word)).count();
    words.get(skipped..).unwrap_or_default()
}

fn is_question_word(word: &str) -> bool {
    let bare = word.trim_end_matches("'s").trim_end_matches("'d").trim_end_matches("'re");
    WordList::MoodQuestionOpeners.contains(bare) || WordList::MoodQuestionOpeners.contains(word)
}

/// How many words of this list's longest phrase the words begin with.
fn prefix_of(words: &[String], list: WordList) -> usize {
    let fits = |phrase: &&String| {
        let mut rest = words.iter();
        phrase.split(' ').all(|part| rest.next().is_some_and(|word| word == part))
    };
    let lengths = list.phrases().iter().filter(fits).map(|phrase| phrase.split(' ').count());
    lengths.max().unwrap_or(0)
}

fn starts_with_any(words: &[String], list: WordList) -> bool {
    prefix_of(words, list) > 0
}

/// How far from the beginning what somebody wants may be named: "my user on the other line wants to know".
const MARKER_REACH: usize = 11;

/// Words that name who asks: "my user has asked".
const ASKER_WORDS: usize = 6;

/// Where a phrase of the list ends that stands near the beginning.
fn marker_end(words: &[String], list: WordList) -> Option<usize> {
    (0..words.len().min(MARKER_REACH)).find_map(|at| {
        let length = prefix_of(words.get(at..)?, list);
        (length > 0).then_some(at + length)
    })
}

fn read_mood(text: &str, is_asked: bool, stands_beside: bool, may_be_subordinate: bool) -> Vec<MoodClause> {
    use ClauseMood as M;
    let mark = if is_asked { "?" } else { "" };
    let all = words_of(text);
    let of = |text: String, mood: ClauseMood| vec![MoodClause { text, mood }];
    let as_is = |mood: ClauseMood| of(format!("{text}{mark}"), mood);
    let rest = without_connectives(&all);
    let tells_how = starts_with_any(rest, WordList::Manners) || starts_with_any(&all, WordList::Manners);
    if tells_how && all.len() <= 6
        || starts_with_any(rest, WordList::Exceptions)
        || starts_with_any(&all, WordList::Exceptions)
    {
        return as_is(M::Excepts);
    }
    let Some(first) = rest.first() else { return as_is(M::States) };
    let is_purpose = prefix_of(rest, WordList::Purposes).max(prefix_of(&all, WordList::Purposes)) > 0;
    if is_purpose && stands_beside && !is_asked {
        return as_is(M::States);
    }
    let second = rest.get(1).map(String::as_str).unwrap_or_default();
    let asks_when = first == "when" && WordList::Auxiliaries.contains(second);
    if may_be_subordinate
        && !is_asked
        && !asks_when
        && WordList::SubordinateOpeners.contains(first)
        && marker_end(rest, WordList::AskMarkers).is_none()
    {
        return as_is(M::States);
    }
    // The text from this word on, as it was written.
    let tail = |skipped: usize| {
        let from = all.len() - rest.len() + skipped;
        text.split_whitespace()
            .filter(|word| !words_of(word).is_empty())
            .skip(from)
            .collect::<Vec<_>>()
            .join(" ")
    };
    // "So the breaker can be set back": what follows from the rest is what is wished.
    let follows = !is_asked
        && all.first().is_some_and(|word| matches!(word.as_str(), "so" | "hence" | "therefore" | "thus"))
        && all.len() > 2;
    let speaks = |at: usize| {
        at == 0 || WordList::StateOpeners.contains(first) || WordList::SubordinateOpeners.contains(first)
    };
    let order = marker_end(rest, WordList::OrderMarkers).filter(|_| speaks(1));
    if let Some(end) = order {
        let wish = tail(end);
        // "I'd rather we didn't open anything".
        let wish = ["didn't ", "did not ", "didnt "]
            .iter()
            .find_map(|start| wish.strip_prefix(start))
            .map_or(wish.clone(), |rest| format!("do not {rest}"));
        return of(wish, M::Wishes);
    }
    let at_once = prefix_of(rest, WordList::AskMarkers) > 0;
    let asked_for = marker_end(rest, WordList::AskMarkers)
        .filter(|end| *end < rest.len() && speaks(usize::from(!at_once)));
    if let Some(end) = asked_for {
        let head = text.split_whitespace().filter(|word| !words_of(word).is_empty()).take(end);
        let mut found = vec![indirect(rest.get(end..).unwrap_or_default(), &tail, end)];
        // What stands before it is more than who asks.
        if end > ASKER_WORDS {
            found.push(MoodClause { text: head.collect::<Vec<_>>().join(" "), mood: M::States });
        }
        return found;
    }
    // "Verify whether": behind such a verb stands a question; "verify the audit" is an order.
    let verb = prefix_of(rest, WordList::AskVerbs);
    let behind =
        if verb > 0 && rest.get(verb).is_some_and(|word| matches!(word.as_str(), "me" | "us" | "for")) {
            verb + 1
        } else {
            verb
        };
    let asks = rest
        .get(behind)
        .is_some_and(|word| is_question_word(word) || matches!(word.as_str(), "whether" | "if" | "how"));
    if verb > 0 && asks {
        return vec![indirect(rest.get(behind..).unwrap_or_default(), &tail, behind)];
    }
    if first == "whether" {
        return vec![indirect(rest, &tail, 0)];
    }
    let length = prefix_of(rest, WordList::OrderPrefixes);
    if length > 0 {
        return of(tail(length), M::Wishes);
    }
    if follows
        || is_question_word(first)
        || is_asked
        || is_verb_of_an_order(first)
        || starts_with_any(rest, WordList::WishOpeners)
    {
        return as_is(M::Wishes);
    }
    if all.iter().any(|word| WordList::PlainPolite.contains(word)) {
        return as_is(M::Wishes);
    }
    // "Fed is over".
    if WordList::StateOpeners.contains(first)
        || WordList::SubordinateOpeners.contains(first)
        || WordList::Auxiliaries.contains(second)
    {
        return as_is(M::States);
    }
    as_is(M::Names)
}

/// What stands behind "I was wondering": a question, a thing, or "whether you could …", which is a request.
fn indirect(rest: &[String], tail: &dyn Fn(usize) -> String, end: usize) -> MoodClause {
    let of = |text: String| MoodClause { text, mood: ClauseMood::Wishes };
    let is_if = rest.first().is_some_and(|word| matches!(word.as_str(), "whether" | "if"));
    let skipped = usize::from(is_if);
    let inner = rest.get(skipped..).unwrap_or_default();
    let asked_to = prefix_of(inner, WordList::IndirectOrders);
    if asked_to > 0 {
        return of(tail(end + skipped + asked_to));
    }
    if is_if {
        return of(format!("does {}", tail(end + skipped)));
    }
    match rest.first() {
        Some(word) if is_question_word(word) => of(tail(end)),
        _ => of(format!("show {}", tail(end))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, ClauseMood)]) {
        let found = clauses_by_mood(text);
        let found: Vec<(&str, ClauseMood)> =
            found.iter().map(|clause| (clause.text.as_str(), clause.mood)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn what_is_wished_comes_first() {
        use ClauseMood as M;
        check(
            "Stops are too tight, widen them to 3 %",
            &[("widen them to 3 %", M::Wishes), ("Stops are too tight", M::States)],
        );
        check(
            "I deployed my patch at noon. What has the bot been up to?",
            &[("What has the bot been up to?", M::Wishes), ("I deployed my patch at noon", M::States)],
        );
        check("my user wants to know why it stopped", &[("why it stopped", M::Wishes)]);
        check("I was wondering whether you could pause the bot", &[("pause the bot", M::Wishes)]);
        check("I was wondering if it trades", &[("does it trades", M::Wishes)]);
        check("positions in SPY, TSLA and NVDA", &[("positions in SPY, TSLA and NVDA", M::Names)]);
    }
}
