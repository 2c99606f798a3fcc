//! Symbols of stocks.

use super::values::SlotValues;
use crate::ask::concept::WordConcept;
use crate::ask::context::AskContext;
use crate::ask::word::{AskWord, SlotKind, mark_slot};
use crate::ask::word_lists::WordList;

pub(super) fn read_symbols(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    for at in 0..words.len() {
        let Some(word) = words.get(at) else { continue };
        if word.slot.is_some() || word.raw.contains(' ') {
            continue;
        }
        let bare = word.raw.trim_start_matches('$').trim_end_matches("'s");
        let letters = bare.replace(['.', '-'], "");
        let is_short = (1..=6).contains(&letters.len()) && letters.chars().all(|c| c.is_ascii_alphabetic());
        if !is_short {
            continue;
        }
        let upper = bare.to_uppercase();
        let is_known = context.symbols.contains(&upper);
        let is_capital = bare == upper
            && letters.len() >= 2
            && letters.len() <= 5
            && !WordList::NoSymbols.contains(&upper);
        let shouted =
            words.iter().filter(|word| word.raw.len() > 1).all(|word| word.raw == word.raw.to_uppercase());
        let has_dollar = word.raw.starts_with('$');
        let after_hint = word.concepts.is_empty()
            && letters.len() <= 5
            && (at > 0
                && words.get(at - 1).is_some_and(|before| WordList::BeforeSymbol.contains(&before.lower)))
            && words.iter().any(|word| {
                word.is(WordConcept::Position)
                    || word.is(WordConcept::Order)
                    || word.is(WordConcept::Performance)
                    || word.is(WordConcept::Trade)
            });
        let knows = is_known && (word.concepts.is_empty() || bare == upper);
        if knows
            || has_dollar
            || (is_capital
                && !shouted
                && (word.concepts.is_empty() || word.concepts == [WordConcept::Filler]))
            || after_hint
        {
            slots.symbols.push(upper);
            mark_slot(words, at, SlotKind::Symbol);
        }
    }
}
