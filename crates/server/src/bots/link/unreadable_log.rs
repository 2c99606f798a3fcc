//! Tells once per change what cannot be read of a bot's answers.

use std::collections::BTreeSet;

use serde_json::json;

use super::bot_link::BotLink;
use crate::bots::reading::UnreadablePart;
use crate::events::NewEvent;
use botops_contract::{EventKind, Severity};
use botops_core::error::{Code, Error};

/// The kinds of unreadable parts that were told last.
#[derive(Debug, Default)]
pub(super) struct UnreadableLog {
    told: BTreeSet<String>,
}

impl UnreadableLog {
    /// Publishes an event when other parts than before cannot be read, or all can be read again. What is wrong in many
    /// items of a list is one fault.
    pub(super) fn publish_change(&mut self, link: &BotLink, unreadable: &[UnreadablePart]) {
        if unreadable.is_empty() && self.told.is_empty() {
            return;
        }
        let kinds: BTreeSet<String> = unreadable.iter().map(UnreadablePart::kind).collect();
        if kinds == self.told {
            return;
        }
        self.told = kinds;
        let id = &link.options.id;
        let Some(first) = unreadable.first() else {
            tracing::info!(bot.id = %id, "everything that bot {id} says can be read again");
            let message = format!("everything that bot {id} says can be read again");
            let event = NewEvent::own(EventKind::Lifecycle, Severity::Low, message, json!({ "bot_id": id }));
            link.events.publish(event);
            return;
        };
        let more = match self.told.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more kinds"),
        };
        let message = format!("bot {id}: cannot read {first}{more}");
        tracing::warn!(bot.id = %id, error.code = "BOT_006", "{message}");
        let error = Error::new(Code::BotPartUnreadable)
            .detail(format!("{first}{more}"))
            .context("parts", self.told.iter().take(20).cloned().collect::<Vec<_>>());
        link.events.publish(NewEvent { message, ..NewEvent::failure(&error) });
    }
}
