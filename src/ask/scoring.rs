//! Scores intents: how well each rule explains the whole text.
//!
//! A rule's score is the share of the text's weight that it explains by the concepts it needs and the values it takes.
//! Words that it does not explain lower the score, so a rule that explains more wins, and unknown words around a known
//! one make a rule less certain: little where the known one names the subject of a read, more where it says little or does harm. The same text always gives the same scores.

use super::concept::WordConcept;
use super::intents::{IntentRule, RULES};
use super::parsed_text::ParsedText;
use super::word::{AskWord, SlotKind};

/// Score from which a match is acted on.
pub(super) const SURE: f64 = 0.62;

/// Score from which a read or a harmless change is taken that no other meaning is near; what it does not use is named.
pub(super) const SURE_OF_LONE_READ: f64 = 0.54;

/// How far the next meaning of a text is from such a read.
pub(super) const LONE: f64 = 0.15;

/// Score from which something is taken that stops the bot's trading, starts it, or cancels something.
pub(super) const SURE_OF_DANGER: f64 = 0.7;

/// Score from which a match is offered as an option.
pub(super) const POSSIBLE: f64 = 0.42;

/// Difference of scores below which two matches count as equally good.
pub(super) const MARGIN: f64 = 0.05;

/// A rule that matches a text, with its score.
#[derive(Debug, Clone, Copy)]
pub(super) struct IntentMatch {
    pub(super) rule: &'static IntentRule,
    pub(super) score: f64,
}

/// Every match, best first, one per intent.
pub(super) fn match_intents(asked: &ParsedText) -> Vec<IntentMatch> {
    let mut match_intents: Vec<IntentMatch> = Vec::new();
    for rule in RULES {
        let Some(score) = score_rule(rule, asked) else { continue };
        match match_intents.iter_mut().find(|known| known.rule.intent == rule.intent) {
            Some(known) if known.score < score => *known = IntentMatch { rule, score },
            Some(_) => {}
            None => match_intents.push(IntentMatch { rule, score }),
        }
    }
    // A stable sort: equal scores keep the order of the rules.
    match_intents.sort_by(|a, b| b.score.total_cmp(&a.score));
    match_intents
}

/// Concepts that fit into any rule.
const ANYWHERE: &[WordConcept] = &[
    WordConcept::Show,
    WordConcept::Bot,
    WordConcept::All,
    WordConcept::Last,
    WordConcept::Now,
    WordConcept::Past,
    WordConcept::New,
    WordConcept::Active,
    WordConcept::Filler,
];

/// Values that say which part of an answer is wanted.
const NAMED_IF_UNUSED: &[SlotKind] = &[SlotKind::Period, SlotKind::Zone, SlotKind::Count, SlotKind::Symbol];

fn score_rule(rule: &IntentRule, asked: &ParsedText) -> Option<f64> {
    if rule.never.iter().any(|concept| is_ruled_out(asked, *concept, rule)) || !(rule.when)(asked) {
        return None;
    }
    if !groups_hold(rule.needs, asked) || rule.is_dangerous() && is_denied(rule, asked) {
        return None;
    }
    let mut explained = 0.0;
    let (mut missed, mut unknown) = (0.0, 0.0);
    // The heaviest word that this rule itself is about.
    let mut head: f64 = 0.0;
    for word in &asked.words {
        // A zone is taken where times are.
        let takes = |slot: SlotKind| match slot {
            SlotKind::Zone => [SlotKind::Period, SlotKind::Duration].iter().any(|of| rule.slots.contains(of)),
            slot => rule.slots.contains(&slot),
        };
        let by_slot = word.slot.is_some_and(takes);
        let by_need = rule.needs.iter().any(|group| group.iter().any(|concept| word.is(*concept)));
        let by_also = rule.also.iter().any(|concept| word.is(*concept));
        let anywhere = word.concepts.iter().any(|concept| ANYWHERE.contains(concept));
        let share = if by_slot || by_need {
            head = head.max(word.weight);
            word.certainty
        } else if by_also {
            // A concept that the rule merely allows counts a little less than one that it needs.
            word.certainty * 0.9
        } else if word.slot.is_some_and(|slot| NAMED_IF_UNUSED.contains(&slot)) {
            // The answer says that it is not used, so that the rest of the text can still be answered.
            0.6
        } else if anywhere {
            (word.weight.min(0.1) + (word.weight - 0.1).max(0.0) * 0.5) / word.weight.max(0.01)
        } else if word.is_known() {
            0.0
        } else {
            unknown += if word.is_wished { word.weight } else { word.weight * 0.3 };
            continue;
        };
        explained += word.weight * share;
        missed += word.weight * (1.0 - share);
    }
    let total = explained + missed + weight_of_unknown(rule, unknown, head);
    if explained < EVIDENCE {
        return None;
    }
    let slots_taken =
        asked.words.iter().filter_map(|word| word.slot).filter(|slot| rule.slots.contains(slot)).count();
    let groups = f64::from(u8::try_from(rule.needs.len().min(3)).unwrap_or(3));
    let values = if slots_taken > 0 { 0.03 } else { 0.0 };
    Some((explained / total + groups * 0.03 + values - 0.03).max(0.0))
}

/// Whether a rule takes a word by one of its meanings.
pub(super) fn explains(rule: &IntentRule, word: &AskWord) -> bool {
    let by_need = rule.needs.iter().any(|group| group.iter().any(|concept| word.is(*concept)));
    by_need || word.concepts.iter().any(|concept| rule.also.contains(concept) || ANYWHERE.contains(concept))
}

/// How many words before it a denial holds for a verb: "do not ever cancel".
const DENIAL_REACH: usize = 2;

/// "Don't cancel my orders": whether what the rule would do is denied.
fn is_denied(rule: &IntentRule, asked: &ParsedText) -> bool {
    let is_need =
        |word: &AskWord| rule.needs.iter().any(|group| group.iter().any(|concept| word.is(*concept)));
    asked.words.iter().enumerate().any(|(at, word)| {
        matches!(word.lower.as_str(), "not" | "never")
            && asked.words.iter().skip(at + 1).take(DENIAL_REACH).any(is_need)
    })
}

/// The least that a rule must explain of a text.
const EVIDENCE: f64 = 0.3;

/// Weight of a word that names what a text is about beyond doubt.
const HEAD: f64 = 0.75;

/// What words that nobody knows weigh against a rule: little beside the name of what is asked for, more beside a word that
/// says little, and in full where something would be stopped, started or cancelled.
fn weight_of_unknown(rule: &IntentRule, unknown: f64, head: f64) -> f64 {
    if rule.is_dangerous() {
        unknown * 0.8
    } else if head < HEAD {
        (unknown * 0.6).min(1.2)
    } else if rule.acts() {
        (unknown * 0.3).min(0.6)
    } else {
        (unknown * 0.15).min(0.4)
    }
}

/// Whether a word with this concept rules the intent out. A word that the rule itself needs does not.
fn is_ruled_out(asked: &ParsedText, concept: WordConcept, rule: &IntentRule) -> bool {
    asked.words.iter().any(|word| {
        let is_needed = rule.needs.iter().any(|group| group.iter().any(|wanted| word.is(*wanted)));
        let is_value = word.slot.is_some_and(|slot| rule.slots.contains(&slot));
        word.is(concept) && word.is_wished && !is_needed && !is_value
    })
}

/// Whether every group matches a word that no other group uses.
fn groups_hold(groups: &[&[WordConcept]], asked: &ParsedText) -> bool {
    fn hold(groups: &[&[WordConcept]], words: &[AskWord], used: &mut Vec<usize>) -> bool {
        let Some((group, rest)) = groups.split_first() else { return true };
        for (at, word) in words.iter().enumerate() {
            let is_value =
                word.slot.is_some_and(|slot| slot != SlotKind::Workflow && slot != SlotKind::Component);
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
    hold(groups, &asked.words, &mut Vec::new())
}
