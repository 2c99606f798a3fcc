//! What cannot be read of all that a bot says, in one place: told once per change, and shown with the state.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bots::reading::{MOST_NAMED, UnreadablePart};
use crate::events::NewEvent;
use botops_contract::{BotId, EventKind, Severity};
use botops_core::error::{Code, Error};

/// A fault in single events or trades is forgotten when it was not seen for this long.
const ITEM_FAULT_KEPT: Duration = Duration::from_secs(3600);

/// A fault that was away for less than this was never over: what is wrong in every second answer is told once.
const FAULT_OVER_AFTER: Duration = Duration::from_secs(60);

/// Kinds of faults in single events or trades that are kept; more are told no more.
const MOST_ITEM_FAULTS: usize = 20;

/// What cannot be read of a bot, over all its calls.
#[derive(Debug, Default)]
pub(super) struct UnreadableLog {
    /// By call: what the newest answer lacks.
    answers: BTreeMap<&'static str, Vec<UnreadablePart>>,
    /// By kind: what was wrong in an event or a trade, and when that was seen last.
    items: BTreeMap<String, (UnreadablePart, Instant)>,
    /// The kinds that were told, and when each was there last.
    told: BTreeMap<String, Instant>,
}

impl UnreadableLog {
    /// The newest answer to a call lacks these.
    pub(super) fn replace_answer(&mut self, call: &'static str, parts: Vec<UnreadablePart>) {
        if parts.is_empty() {
            self.answers.remove(call);
        } else {
            self.answers.insert(call, parts);
        }
    }

    /// Something in a single event or trade cannot be read. The next one does not take that back.
    pub(super) fn add_items(&mut self, parts: &[UnreadablePart]) {
        for part in parts {
            let kind = part.kind();
            if self.items.len() < MOST_ITEM_FAULTS || self.items.contains_key(&kind) {
                self.items.insert(kind, (part.clone(), Instant::now()));
            }
        }
    }

    /// The bot was started again: what it sends now may be right.
    pub(super) fn forget_items(&mut self) {
        self.items.clear();
    }

    /// Everything that cannot be read, at most 50 parts; faults of whole answers come first.
    pub(super) fn parts(&mut self) -> Vec<UnreadablePart> {
        self.items.retain(|_, (_, seen)| seen.elapsed() < ITEM_FAULT_KEPT);
        let of_answers = self.answers.values().flatten();
        of_answers.chain(self.items.values().map(|(part, _)| part)).take(MOST_NAMED).cloned().collect()
    }

    /// The event to publish when something new cannot be read, or all can be read again. What is wrong in many items of a
    /// list is one fault.
    pub(super) fn change_to_tell(&mut self, id: &BotId) -> Option<NewEvent> {
        if self.answers.is_empty() && self.items.is_empty() && self.told.is_empty() {
            return None;
        }
        let parts = self.parts();
        let now = Instant::now();
        let mut new: Vec<&UnreadablePart> = Vec::new();
        for part in &parts {
            if self.told.insert(part.kind(), now).is_none() {
                new.push(part);
            }
        }
        self.told.retain(|_, seen| seen.elapsed() < FAULT_OVER_AFTER);
        if let Some(first) = new.first() {
            return Some(Self::fault_event(id, first, &new));
        }
        if !self.told.is_empty() {
            return None;
        }
        let message = format!("everything that bot {id} says can be read again");
        tracing::info!(bot.id = %id, "{message}");
        Some(NewEvent::own(EventKind::Lifecycle, Severity::Low, message, json!({ "bot_id": id })))
    }

    fn fault_event(id: &BotId, first: &UnreadablePart, new: &[&UnreadablePart]) -> NewEvent {
        let more = match new.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more kinds"),
        };
        let message = format!("bot {id}: cannot read {first}{more}");
        tracing::warn!(bot.id = %id, error.code = "BOT_006", "{message}");
        let kinds: Vec<String> = new.iter().take(MOST_ITEM_FAULTS).map(|part| part.kind()).collect();
        let error =
            Error::new(Code::BotPartUnreadable).detail(format!("{first}{more}")).context("parts", kinds);
        NewEvent { message, ..NewEvent::failure(&error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(call: &str, pointer: &str) -> UnreadablePart {
        UnreadablePart::new(call, pointer, "7", "a text")
    }

    #[test]
    fn a_fault_is_told_once_whoever_else_is_right_meanwhile() {
        let (mut log, id) = (UnreadableLog::default(), "b".parse().unwrap());
        assert!(log.change_to_tell(&id).is_none());
        log.add_items(&[part("GET events", "/at")]);
        assert!(log.change_to_tell(&id).unwrap().message.contains("/at of GET events"));
        // The state is read, which says nothing about events.
        log.replace_answer("GET state", Vec::new());
        assert!(log.change_to_tell(&id).is_none());
        log.add_items(&[part("GET events", "/at")]);
        assert!(log.change_to_tell(&id).is_none());
        log.replace_answer(
            "GET state",
            vec![part("GET state", "/orders/0/side"), part("GET state", "/orders/7/side")],
        );
        let told = log.change_to_tell(&id).unwrap().message;
        assert!(told.contains("/orders/0/side") && !told.contains("more kinds"), "{told}");
        // What is wrong in every second answer is one fault.
        log.replace_answer("GET state", Vec::new());
        assert!(log.change_to_tell(&id).is_none());
        log.replace_answer("GET state", vec![part("GET state", "/orders/3/side")]);
        assert!(log.change_to_tell(&id).is_none());
        let pointers: Vec<String> = log.parts().into_iter().map(|part| part.pointer).collect();
        assert_eq!(pointers, ["/orders/3/side", "/at"]);
        log.forget_items();
        assert_eq!(log.parts().len(), 1);
    }

    #[test]
    fn what_differs_in_each_item_is_bounded() {
        let mut log = UnreadableLog::default();
        for index in 0..1_000 {
            log.add_items(&[part("GET events", &format!("/data/x{index}"))]);
        }
        assert_eq!(log.parts().len(), MOST_ITEM_FAULTS);
    }
}
