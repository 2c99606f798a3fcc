//! A word of the text, with its possible meanings and the value read from it.

use super::concept::WordConcept;

/// The word that stands between two parts of a text.
pub(super) const BOUNDARY: &str = "|";

/// The kinds of values (slots) that are read from words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotKind {
    Symbol,
    Period,
    Zone,
    Code,
    SignInCode,
    Key,
    Value,
    Workflow,
    Duration,
    Component,
    Id,
    Version,
    Count,
}

/// A word of the text, or several words that form one phrase.
#[derive(Debug, Clone)]
pub(super) struct AskWord {
    /// The word as it was written.
    pub(super) raw: String,
    /// The word in lower case.
    pub(super) lower: String,
    /// Concepts that it may mean; empty for an unknown word.
    pub(super) concepts: Vec<WordConcept>,
    /// 1 for a known spelling, less for a corrected one.
    pub(super) certainty: f64,
    /// How much a rule's score loses when the rule does not explain the word.
    pub(super) weight: f64,
    /// Whether it belongs to what is asked or ordered, and not only to what is said beside it.
    pub(super) is_wished: bool,
    /// The kind of value that was read from it; such a word is not scored by its concepts.
    pub(super) slot: Option<SlotKind>,
}

impl AskWord {
    pub(super) fn is(&self, concept: WordConcept) -> bool {
        self.concepts.contains(&concept)
    }

    /// Whether it means something here, or a value was read from it.
    pub(super) fn is_known(&self) -> bool {
        !self.concepts.is_empty() || self.slot.is_some()
    }
}

/// Records that a value was read from the word at this position, so that it is not scored by its concepts.
pub(super) fn mark_slot(words: &mut [AskWord], at: usize, slot: SlotKind) {
    if let Some(word) = words.get_mut(at) {
        word.slot = Some(slot);
        word.weight = 0.6;
        word.certainty = 1.0;
    }
}
