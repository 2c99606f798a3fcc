//! A parsed text: its words, its values, and whether it is a question or a request.

use chrono::NaiveDate;

use super::concept::WordConcept;
use super::context::AskContext;
use super::moods::{ClauseMood, clauses_by_mood};
use super::slots::{SlotValues, find_named_symbols, read_slots};
use super::spelling::split_pieces_around;
use super::vocabulary::read_words;
use super::word::{AskWord, BOUNDARY, SlotKind};
use super::word_lists::WordList;

/// A parsed text.
#[derive(Debug, Clone)]
pub(super) struct ParsedText {
    pub(super) text: String,
    /// What somebody said, of which `text` may be a part.
    pub(super) said: String,
    pub(super) words: Vec<AskWord>,
    pub(super) slots: SlotValues,
    pub(super) is_question: bool,
    pub(super) today: NaiveDate,
}

impl ParsedText {
    /// Parses a text. `today` is the day from which periods are counted.
    pub(super) fn parse(text: &str, context: &AskContext, today: NaiveDate) -> Self {
        let mut clauses = clauses_by_mood(text);
        // What is to stay as it is, and how it is to be told, narrows nothing.
        if clauses.first().is_some_and(|clause| clause.mood != ClauseMood::Excepts) {
            clauses.retain(|clause| clause.mood != ClauseMood::Excepts);
        }
        // Where nothing asks or orders, what is named is what is wished.
        let first = clauses.first().map_or(ClauseMood::States, |clause| clause.mood);
        let (mut words, mut named, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        let (mut wish, mut pieces_of_wish) = (String::new(), Vec::new());
        for clause in &clauses {
            let found = find_named_symbols(&clause.text, context);
            let places = found.iter().map(|named| (named.place.clone(), named.symbol.clone()));
            let pieces = split_pieces_around(&clause.text, places);
            if !words.is_empty() {
                // Nothing is read across the end of a part.
                words.extend(read_words(&[BOUNDARY.to_owned()]));
            }
            words.extend(read_words(&pieces));
            let share = if clause.mood == first { 1.0 } else { clause.mood.share() };
            shares.resize(words.len(), share);
            if share >= 1.0 {
                // An order that comes first stays one, whatever is asked behind it.
                if pieces_of_wish.is_empty() || !begins_with_an_action(&pieces_of_wish) {
                    wish = format!("{wish} {}", clause.text);
                }
                pieces_of_wish.extend(pieces);
            }
            named.extend(found);
        }
        let slots = read_slots(&mut words, &named, context, today);
        let is_question = is_question(&wish, &pieces_of_wish, &words);
        damp(&mut words, &shares);
        Self { text: text.to_owned(), said: text.to_owned(), words, slots, is_question, today }
    }

    /// Whether a word from which no value was read may have this concept.
    pub(super) fn has(&self, concept: WordConcept) -> bool {
        self.words.iter().any(|word| word.is(concept))
    }

    /// "is it …", "are we …": whether the text is a yes-or-no question.
    pub(super) fn opens_with_be(&self) -> bool {
        let first = self.words.first().map(|word| word.lower.as_str()).unwrap_or_default();
        let second = self.words.get(1).map(|word| word.lower.as_str()).unwrap_or_default();
        let asks_ability = matches!(first, "can" | "could") && matches!(second, "it" | "the" | "bot");
        asks_ability
            || matches!(first, "is" | "are" | "was" | "were" | "does" | "do" | "did" | "has" | "have" | "am")
    }

    /// "what …", "which …": whether the text opens as no request would.
    pub(super) fn asks_openly(&self) -> bool {
        let first = self
            .words
            .iter()
            .map(|word| word.lower.as_str())
            .find(|word| !matches!(*word, "and" | "so" | "ok" | "hey" | "then" | "but"));
        let first = first.and_then(|first| first.split(' ').next()).unwrap_or_default();
        WordList::OpenQuestionOpeners.contains(first)
            || (first == "how"
                && !self.words.iter().any(|word| matches!(word.lower.as_str(), "do" | "can" | "to")))
    }

    /// The `reason` for a change that the text asks for.
    pub(super) fn reason(&self) -> String {
        format!("asked: {}", botops_core::text::clean(self.said.trim(), 160))
    }
}

fn begins_with_an_action(pieces: &[String]) -> bool {
    let mut words = pieces.iter().map(|piece| piece.to_lowercase());
    let first = words.find(|word| !WordList::PoliteWords.contains(word)).unwrap_or_default();
    read_words(&[first]).iter().any(acts)
}

/// Weight from which a word names what a text is about.
const SUBJECT: f64 = 0.6;

/// The least share of what stands beside a wish that names nothing itself: "the breaker is open, what now".
const SHARE_WITHOUT_SUBJECT: f64 = 0.7;

/// Lowers the weight of the words that stand beside what is wished.
fn damp(words: &mut [AskWord], shares: &[f64]) {
    let has_subject = words
        .iter()
        .zip(shares)
        .any(|(word, share)| *share >= 1.0 && word.weight >= SUBJECT && word.is_known());
    for (word, share) in words.iter_mut().zip(shares) {
        word.is_wished = *share >= 1.0;
        // A code or an id is what a text is about, wherever it stands.
        if matches!(word.slot, Some(SlotKind::Code | SlotKind::Id)) {
            continue;
        }
        let share = if has_subject || *share == 0.0 { *share } else { share.max(SHARE_WITHOUT_SUBJECT) };
        word.weight *= share;
    }
}

/// Whether the text is a question and not a request. "Could you pause" and "how do I pause" are requests.
fn is_question(text: &str, pieces: &[String], words: &[AskWord]) -> bool {
    let lower: Vec<String> = pieces.iter().map(|piece| piece.to_lowercase()).collect();
    let mut rest = lower.iter().map(String::as_str).skip_while(|word| WordList::Greetings.contains(word));
    let first = rest.next().unwrap_or_default();
    let second = rest.next().unwrap_or_default();
    let third = rest.next().unwrap_or_default();
    if let Some(asks) = asks_by_opening(first, second, third, &lower) {
        return asks;
    }
    if WordList::QuestionOpeners.contains(first) {
        return true;
    }
    // Without a verb that acts it can only be a question.
    text.trim_end().ends_with('?') || !words.iter().any(acts)
}

/// Whether the text is a question, judged by its first three words; `None` when they leave it open.
fn asks_by_opening(first: &str, second: &str, third: &str, lower: &[String]) -> Option<bool> {
    if matches!(first, "can" | "could" | "would" | "will" | "shall" | "should" | "may") {
        let looks = WordList::LookVerbs.contains(third);
        return Some(
            (matches!(second, "you" | "we" | "i" | "u") && looks)
                || !matches!(second, "you" | "we" | "i" | "u" | "the"),
        );
    }
    if first == "how"
        && matches!(second, "do" | "can" | "to" | "would")
        && matches!(third, "i" | "we" | "you" | "pause" | "restart" | "run")
    {
        // "How do we look" is a question; "how do I restart it" wants the command.
        return Some(lower.iter().any(|word| matches!(word.as_str(), "look" | "stand" | "fare")));
    }
    if first == "get" && matches!(second, "rid" | "out") {
        return Some(false);
    }
    if first == "do" && matches!(second, "a" | "an" | "the" | "it" | "not") {
        return Some(false);
    }
    if matches!(first, "i" | "we") && matches!(second, "want" | "need" | "would") {
        return Some(
            lower.iter().any(|word| matches!(word.as_str(), "know" | "see" | "understand" | "hear")),
        );
    }
    None
}

/// Whether a word may ask for an action.
fn acts(word: &AskWord) -> bool {
    word.concepts.iter().any(|concept| concept.is_action())
}
