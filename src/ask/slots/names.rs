//! Names of workflows and components.

use super::values::SlotValues;
use crate::ask::concept::WordConcept;
use crate::ask::context::AskContext;
use crate::ask::spelling::{is_same_word, stem};
use crate::ask::word::{AskWord, SlotKind, mark_slot};

/// Reads a workflow, given by its id or by the id's parts in order with fillers between: "restart the bot".
pub(super) fn read_workflow(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    for at in 0..words.len() {
        let lower = words.get(at).map(|word| word.lower.replace('_', "-")).unwrap_or_default();
        let near = |id: &&String| {
            ***id == lower || (lower.contains('-') && id.len() >= 8 && strsim::osa_distance(id, &lower) <= 2)
        };
        if let Some(id) = context.workflows.iter().find(near) {
            slots.workflow = Some(id.clone());
            slots.workflow_is_exact = true;
            mark_slot(words, at, SlotKind::Workflow);
            return;
        }
    }
    for id in &context.workflows {
        let parts: Vec<String> = id.split('-').map(stem).collect();
        // "The health check" is the check of the health.
        let reversed = || parts.iter().rev().cloned().collect::<Vec<_>>();
        let is_named = words.iter().any(|word| word.is(WordConcept::Workflow));
        let found = find_in_order(words, &parts);
        let found = found.or_else(|| is_named.then(|| find_in_order(words, &reversed())).flatten());
        if let Some(places) = found {
            slots.workflow = Some(id.clone());
            // The words keep their concepts, since "check health" may also just ask for health.
            for at in places {
                if let Some(word) = words.get_mut(at) {
                    word.slot = Some(SlotKind::Workflow);
                }
            }
            return;
        }
    }
}

/// Positions of the parts, if they occur in this order with nothing but fillers between them.
fn find_in_order(words: &[AskWord], parts: &[String]) -> Option<Vec<usize>> {
    // Other words for the same: "refresh the targets".
    let usual = |word: &str| match word {
        "refresh" | "renew" | "recalculate" | "recompute" => "update".to_owned(),
        word => word.replace(' ', "-"),
    };
    let texts: Vec<String> = words.iter().map(|word| stem(&usual(&word.lower))).collect();
    let first = parts.first()?;
    for start in 0..texts.len() {
        if !is_same_word(texts.get(start)?, first) {
            continue;
        }
        let mut places = vec![start];
        let mut at = start + 1;
        for part in parts.iter().skip(1) {
            while words.get(at).is_some_and(|word| {
                word.is(WordConcept::Filler) || word.is(WordConcept::All) || word.is(WordConcept::Bot)
            }) && !texts.get(at).is_some_and(|text| is_same_word(text, part))
            {
                at += 1;
            }
            if !texts.get(at).is_some_and(|text| is_same_word(text, part)) {
                break;
            }
            places.push(at);
            at += 1;
        }
        if places.len() == parts.len() {
            return Some(places);
        }
    }
    None
}

/// Everyday names of components, with the component's id.
const COMPONENT_NICKNAMES: &[(&str, &str)] = &[
    ("database", "database"),
    ("db", "database"),
    ("postgres", "database"),
    ("mem", "system_resources"),
    ("host", "system_resources"),
    ("box", "system_resources"),
    ("hard drive", "system_resources"),
    ("hard disk", "system_resources"),
    ("disk space", "system_resources"),
    ("processor", "system_resources"),
    ("postgres", "store"),
    ("storage", "store"),
    ("cpu", "system_resources"),
    ("memory", "system_resources"),
    ("ram", "system_resources"),
    ("disk", "system_resources"),
    ("database", "store"),
    ("db", "store"),
];

pub(super) fn read_component(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    for at in 0..words.len() {
        let called = COMPONENT_NICKNAMES.iter().find(|(name, id)| {
            words
                .get(at)
                .is_some_and(|word| word.lower == *name || word.lower.strip_suffix('s') == Some(*name))
                && context.components.iter().any(|known| known == id)
        });
        if let Some((_, id)) = called {
            slots.component = Some((*id).to_owned());
            mark_slot(words, at, SlotKind::Component);
            return;
        }
    }
    for id in &context.components {
        let parts: Vec<String> = id.split(['_', '-', '.', ':']).map(stem).collect();
        let whole = words.iter().position(|word| word.slot.is_none() && word.lower == *id);
        // "Trading" is a word of most texts.
        let whole = whole.filter(|at| {
            id != "trading"
                || words
                    .get(at + 1)
                    .is_some_and(|next| next.is(WordConcept::Component) || next.is(WordConcept::Health))
        });
        if let Some(at) = whole {
            slots.component = Some(id.clone());
            // "bot" and "api" are components, but also ordinary words in any text.
            if !matches!(id.as_str(), "bot" | "api") {
                mark_slot(words, at, SlotKind::Component);
            }
            return;
        }
        if parts.len() > 1
            && let Some(places) = find_in_order(words, &parts)
        {
            slots.component = Some(id.clone());
            for at in places {
                if let Some(word) = words.get_mut(at).filter(|word| word.slot.is_none()) {
                    word.slot = Some(SlotKind::Component);
                }
            }
            return;
        }
    }
    // The broker is a component where health is what the text is about.
    let has = |concept: WordConcept| words.iter().any(|word| word.is(concept));
    if (has(WordConcept::Health) || has(WordConcept::Component))
        && slots.component.is_none()
        && has(WordConcept::Session)
        && context.components.iter().any(|id| id == "broker_session")
    {
        slots.component = Some("broker_session".to_owned());
    }
}
