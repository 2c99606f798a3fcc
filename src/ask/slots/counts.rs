//! How many of something a text asks for: "the last 5 trades".

use super::periods::{read_number, unit_seconds};
use super::values::SlotValues;
use crate::ask::concept::WordConcept;
use crate::ask::word::{AskWord, SlotKind, mark_slot};
use crate::ask::word_lists::WordList;

/// Most items that a text can ask for; what the lists of the API give at once.
const COUNT_MAX: u32 = 500;

/// Things that can be counted in a list.
const LISTED: &[WordConcept] = &[
    WordConcept::Event,
    WordConcept::Trade,
    WordConcept::Fill,
    WordConcept::Order,
    WordConcept::Error,
    WordConcept::Alert,
    WordConcept::Position,
    WordConcept::Execution,
    WordConcept::Version,
    WordConcept::Incident,
    WordConcept::Audit,
];

/// Reads a count: a number beside "last", "top" and the like, or before the name of what is listed.
pub(super) fn read_count(words: &mut [AskWord], slots: &mut SlotValues) {
    if !slots.keys.is_empty() {
        return;
    }
    for at in 0..words.len() {
        let lower = |at: usize| words.get(at).map_or("", |word| word.lower.as_str());
        let is_free = words.get(at).is_some_and(|word| word.slot.is_none());
        let Some(count) = read_number(lower(at)).filter(|count| (1..=COUNT_MAX).contains(count)) else {
            continue;
        };
        let is_article = matches!(lower(at), "a" | "an" | "one" | "zero");
        // "Larger than 100 shares" is a size.
        let is_size = at.checked_sub(1).is_some_and(|before| {
            matches!(
                lower(before),
                "than" | "over" | "above" | "below" | "under" | "least" | "exceeding" | "worth" | "by"
            )
        });
        let is_time = unit_seconds(lower(at + 1)).is_some() || lower(at + 1) == "of";
        if !is_free || is_article || is_time || is_size {
            continue;
        }
        let before = at.checked_sub(1).map_or("", lower);
        let two_before = at.checked_sub(2).map_or("", lower);
        let is_option = before == "n" && two_before == "tail" || matches!(before, "tail" | "head" | "limit");
        let near =
            is_option || [before, lower(at + 1)].iter().any(|word| WordList::BesideCount.contains(word));
        // "3 losing trades": one word may stand between the number and the thing.
        let listed = (at + 1..=at + 2)
            .any(|at| words.get(at).is_some_and(|word| LISTED.iter().any(|concept| word.is(*concept))));
        let is_version = words.get(at.wrapping_sub(1)).is_some_and(|word| word.is(WordConcept::Version));
        if (near || listed) && !is_version {
            slots.count = usize::try_from(count).ok();
            mark_slot(words, at, SlotKind::Count);
            return;
        }
    }
}

/// Things that are asked for one at a time by their names in the singular.
const SINGULAR: &[&str] = &[
    "error",
    "exception",
    "failure",
    "order",
    "trade",
    "fill",
    "execution",
    "event",
    "alert",
    "incident",
    "alarm",
    "outage",
    "entry",
    "round trip",
];

/// "The last error": one.
pub(super) fn read_single(words: &mut [AskWord], slots: &mut SlotValues) {
    if slots.count.is_some() || !slots.keys.is_empty() || slots.id.is_some() {
        return;
    }
    let lower = |at: usize| words.get(at).map_or("", |word| word.lower.as_str());
    let found = (0..words.len()).find(|at| {
        matches!(lower(*at), "last" | "latest" | "most recent" | "newest")
            && words.get(*at).is_some_and(|word| word.slot.is_none())
            && (at + 1..at + 4).any(|at| SINGULAR.contains(&lower(at)))
            && !(at + 1..at + 4)
                .any(|at| words.get(at).is_some_and(|word| matches!(word.slot, Some(SlotKind::Period))))
    });
    if let Some(at) = found {
        slots.count = Some(1);
        mark_slot(words, at, SlotKind::Count);
    }
}
