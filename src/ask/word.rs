//! A word of the text, and what was read from it.

use super::concept::WordConcept;

/// The kinds of values that are read from words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotKind {
    Symbol,
    Period,
    Code,
    Key,
    Value,
    Workflow,
    Duration,
    Component,
    Id,
    Version,
}

/// A word of the text, or a phrase that stands for one thing.
#[derive(Debug, Clone)]
pub(super) struct AskWord {
    /// As it was written.
    pub(super) raw: String,
    /// Lower case.
    pub(super) lower: String,
    /// What it may stand for; empty when nobody knows.
    pub(super) concepts: Vec<WordConcept>,
    /// 1 for a known spelling, less for a forgiven one.
    pub(super) certainty: f64,
    /// How much is lost when it is ignored.
    pub(super) weight: f64,
    /// Set when a value was read from it.
    pub(super) slot: Option<SlotKind>,
}

impl AskWord {
    pub(super) fn is(&self, concept: WordConcept) -> bool {
        self.concepts.contains(&concept)
    }
}

/// Notes that a value was read from a word: it is not scored as a word again.
pub(super) fn mark_slot(words: &mut [AskWord], at: usize, slot: SlotKind) {
    if let Some(word) = words.get_mut(at) {
        word.slot = Some(slot);
        word.weight = 0.6;
        word.certainty = 1.0;
    }
}
