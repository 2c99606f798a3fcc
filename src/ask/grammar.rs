//! From words to intents: how well each rule explains the whole text.
//!
//! A rule's score is the share of the text's weight that it explains: concepts it asks for, values it takes. What it
//! cannot explain counts against it, so a longer rule that explains more wins over a shorter one, and gibberish
//! around a known word makes everything less certain. The same text gives the same scores, always.

use chrono::NaiveDate;

use super::intents::{RULES, Rule};
use super::slots::{self, Slots, World};
use super::vocabulary::{self, Concept, Word};

/// From here on a reading is taken.
pub(super) const SURE: f64 = 0.62;

/// From here on a reading is offered.
pub(super) const POSSIBLE: f64 = 0.42;

/// Readings this close to each other cannot be told apart.
pub(super) const MARGIN: f64 = 0.05;

/// A text, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub text: String,
    pub words: Vec<Word>,
    pub slots: Slots,
    pub is_question: bool,
    pub today: NaiveDate,
}

impl Heard {
    /// Takes a text apart.
    pub(super) fn of(text: &str, world: &World, today: NaiveDate) -> Self {
        let pieces = vocabulary::pieces(text);
        let mut words = vocabulary::words(&pieces);
        let slots = slots::read(&mut words, world, today);
        let is_question = is_question(text, &pieces, &words);
        Self { text: text.to_owned(), words, slots, is_question, today }
    }

    /// Whether a word that is no value may stand for the concept.
    pub(super) fn has(&self, concept: Concept) -> bool {
        self.words.iter().any(|word| word.is(concept))
    }

    /// "is it …", "are we …": a question for yes or no.
    pub(super) fn opens_with_be(&self) -> bool {
        let first = self.words.first().map(|word| word.lower.as_str()).unwrap_or_default();
        let second = self.words.get(1).map(|word| word.lower.as_str()).unwrap_or_default();
        let asks_ability = matches!(first, "can" | "could") && matches!(second, "it" | "the" | "bot");
        asks_ability
            || matches!(first, "is" | "are" | "was" | "were" | "does" | "do" | "did" | "has" | "have" | "am")
    }

    /// "what …", "which …": a question that no order would open with.
    pub(super) fn asks_openly(&self) -> bool {
        let first = self
            .words
            .iter()
            .map(|word| word.lower.as_str())
            .find(|word| !matches!(*word, "and" | "so" | "ok" | "hey" | "then" | "but"));
        let first = first.and_then(|first| first.split(' ').next()).unwrap_or_default();
        matches!(
            first,
            "what"
                | "which"
                | "why"
                | "who"
                | "when"
                | "where"
                | "show"
                | "list"
                | "did"
                | "was"
                | "were"
                | "has"
                | "have"
                | "is"
                | "are"
                | "does"
        ) || (first == "how"
            && !self.words.iter().any(|word| matches!(word.lower.as_str(), "do" | "can" | "to")))
    }
}

/// Whether the text asks rather than tells. "Could you pause" tells; so does "how do I pause".
fn is_question(text: &str, pieces: &[String], words: &[Word]) -> bool {
    let lower: Vec<String> = pieces.iter().map(|piece| piece.to_lowercase()).collect();
    let mut rest = lower.iter().map(String::as_str).skip_while(|word| {
        matches!(
            *word,
            "please"
                | "hey"
                | "hi"
                | "hello"
                | "ok"
                | "okay"
                | "so"
                | "and"
                | "now"
                | "then"
                | "but"
                | "well"
                | "bot"
                | "pls"
                | "quick"
                | "just"
        )
    });
    let first = rest.next().unwrap_or_default();
    let second = rest.next().unwrap_or_default();
    let third = rest.next().unwrap_or_default();
    if matches!(first, "can" | "could" | "would" | "will" | "shall" | "should" | "may") {
        let looks = matches!(
            third,
            "show"
                | "list"
                | "tell"
                | "give"
                | "see"
                | "explain"
                | "check"
                | "get"
                | "display"
                | "look"
                | "describe"
        );
        return (matches!(second, "you" | "we" | "i" | "u") && looks)
            || !matches!(second, "you" | "we" | "i" | "u" | "the");
    }
    if first == "how"
        && matches!(second, "do" | "can" | "to" | "would")
        && matches!(third, "i" | "we" | "you" | "pause" | "restart" | "run")
    {
        // "How do we look" asks; "how do I restart it" wants the way to do it.
        return lower.iter().any(|word| matches!(word.as_str(), "look" | "stand" | "fare"));
    }
    if first == "do" && matches!(second, "a" | "an" | "the" | "it" | "not") {
        return false;
    }
    if matches!(first, "i" | "we") && matches!(second, "want" | "need" | "would") {
        return lower.iter().any(|word| matches!(word.as_str(), "know" | "see" | "understand" | "hear"));
    }
    let asks = matches!(
        first,
        "what"
            | "which"
            | "why"
            | "who"
            | "when"
            | "where"
            | "how"
            | "is"
            | "are"
            | "was"
            | "were"
            | "did"
            | "does"
            | "do"
            | "has"
            | "have"
            | "had"
            | "any"
            | "am"
            | "show"
            | "list"
            | "tell"
            | "give"
            | "display"
            | "explain"
            | "describe"
            | "see"
            | "view"
            | "get"
            | "check"
            | "whoami"
            | "summarize"
            | "summarise"
            | "print"
            | "read"
            | "fetch"
            | "look"
            | "report"
            | "find"
            | "compare"
            | "diff"
    );
    if asks {
        return true;
    }
    // Without a verb that acts it can only be a look.
    text.trim_end().ends_with('?') || !words.iter().any(acts)
}

/// Whether a word tells to do something.
fn acts(word: &Word) -> bool {
    use Concept as C;
    const ACTS: &[Concept] = &[
        C::Change,
        C::Undo,
        C::Run,
        C::Cancel,
        C::Stop,
        C::Pause,
        C::Resume,
        C::Restart,
        C::Flatten,
        C::Close,
        C::SignIn,
        C::Reset,
        C::Silence,
        C::Acknowledge,
        C::Confirm,
        C::Export,
        C::Shutdown,
        C::Probe,
    ];
    word.concepts.iter().any(|concept| ACTS.contains(concept))
}

/// One reading of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub rule: &'static Rule,
    pub score: f64,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.intent)
    }
}

/// Every reading that is possible, best first, one per intent.
pub(super) fn readings(heard: &Heard) -> Vec<Reading> {
    let mut readings: Vec<Reading> = Vec::new();
    for rule in RULES {
        let Some(score) = score(rule, heard) else { continue };
        match readings.iter_mut().find(|known| known.rule.intent == rule.intent) {
            Some(known) if known.score < score => *known = Reading { rule, score },
            Some(_) => {}
            None => readings.push(Reading { rule, score }),
        }
    }
    // Stable: equal scores keep the order of the page.
    readings.sort_by(|a, b| b.score.total_cmp(&a.score));
    readings
}

/// Words that fit into any rule.
const ANYWHERE: &[Concept] = &[
    Concept::Show,
    Concept::Bot,
    Concept::All,
    Concept::Last,
    Concept::Now,
    Concept::Past,
    Concept::New,
    Concept::Active,
    Concept::Filler,
];

fn score(rule: &Rule, heard: &Heard) -> Option<f64> {
    if rule.never.iter().any(|concept| never(heard, *concept, rule)) || !(rule.when)(heard) {
        return None;
    }
    if !groups_hold(rule.needs, heard) {
        return None;
    }
    let mut explained = 0.0;
    let mut total = 0.0;
    let mut counted = 0;
    for word in &heard.words {
        total += word.weight;
        counted += usize::from(word.weight > 0.3);
        let by_slot = word.slot.is_some_and(|slot| rule.slots.contains(&slot));
        let by_need = rule.needs.iter().any(|group| group.iter().any(|concept| word.is(*concept)));
        let by_also = rule.also.iter().any(|concept| word.is(*concept));
        let anywhere = word.concepts.iter().any(|concept| ANYWHERE.contains(concept));
        if by_slot || by_need {
            explained += word.weight * word.certainty;
        } else if by_also {
            // What merely fits in counts a little less than what was asked for.
            explained += word.weight * word.certainty * 0.9;
        } else if anywhere {
            explained += word.weight.min(0.1) + (word.weight - 0.1).max(0.0) * 0.5;
        }
    }
    if total <= 0.0 || counted == 0 {
        return None;
    }
    let slots_taken =
        heard.words.iter().filter_map(|word| word.slot).filter(|slot| rule.slots.contains(slot)).count();
    let groups = f64::from(u8::try_from(rule.needs.len().min(3)).unwrap_or(3));
    let values = if slots_taken > 0 { 0.03 } else { 0.0 };
    Some((explained / total + groups * 0.03 + values - 0.03).max(0.0))
}

/// A word that rules an intent out, unless the rule itself asked for that word.
fn never(heard: &Heard, concept: Concept, rule: &Rule) -> bool {
    heard.words.iter().any(|word| {
        let is_needed = rule.needs.iter().any(|group| group.iter().any(|wanted| word.is(*wanted)));
        let is_value = word.slot.is_some_and(|slot| rule.slots.contains(&slot));
        word.is(concept) && !is_needed && !is_value
    })
}

/// Whether every group finds a word of its own.
fn groups_hold(groups: &[&[Concept]], heard: &Heard) -> bool {
    fn hold(groups: &[&[Concept]], words: &[Word], used: &mut Vec<usize>) -> bool {
        let Some((group, rest)) = groups.split_first() else { return true };
        for (at, word) in words.iter().enumerate() {
            let is_value =
                word.slot.is_some_and(|slot| slot != slots::Slot::Workflow && slot != slots::Slot::Component);
            if used.contains(&at) || is_value || !group.iter().any(|concept| word.is(*concept)) {
                continue;
            }
            used.push(at);
            if hold(rest, words, used) {
                return true;
            }
            used.pop();
        }
        false
    }
    hold(groups, &heard.words, &mut Vec::new())
}
