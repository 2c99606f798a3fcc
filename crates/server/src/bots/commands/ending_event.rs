//! The journal's events on commands of unknown effect.

use serde_json::{Value, json};

use super::ending::CommandEnding;
use super::model::OpenCommand;
use crate::events::NewEvent;
use botops_contract::{EventKind, Severity};

/// The event that says how a command ended.
pub(super) fn ending_event(command: &OpenCommand, ending: &CommandEnding) -> NewEvent {
    let (verb, actor) = (command.verb, &command.asker.actor);
    let given = command.given_at.format("%H:%M:%S");
    let what = format!("{verb} of {actor}, given at {given} UTC without a clear answer");
    let (outcome, severity, message) = match ending {
        CommandEnding::Done(result) => {
            ("done", Severity::Medium, format!("{what}: the bot carried it out: {}", result.message))
        }
        CommandEnding::DoneNow(result) => (
            "done",
            Severity::Medium,
            format!("{what}: it was sent again, and the bot carried it out then: {}", result.message),
        ),
        CommandEnding::Refused(code, text) => {
            ("refused", Severity::Medium, format!("{what}: it was not carried out ({code}): {text}"))
        }
        CommandEnding::NotReceived => (
            "not_received",
            Severity::Medium,
            format!("{what}: the bot never got it, and it expired: nothing happened"),
        ),
        CommandEnding::StillUnknown(why, state) => {
            let shown = match state["as_asked"].as_bool() {
                Some(true) => "the bot's state is as it would be after it, which proves nothing",
                Some(false) => "the bot's state does not show it",
                None => "the bot's state says nothing about it",
            };
            let severity = if state["as_asked"] == true { Severity::Medium } else { Severity::High };
            let text = format!(
                "{what}: what became of it is still unknown ({why}); {shown}. A person has to look at the bot, \
                 and gives the command with a new Idempotency-Key if it is still wanted then"
            );
            ("still_unknown", severity, text)
        }
    };
    let (result, reason_code, state) = match ending {
        CommandEnding::Done(result) | CommandEnding::DoneNow(result) => {
            (Some(result), result.reason_code.as_deref(), Value::Null)
        }
        CommandEnding::Refused(code, _) => (None, Some(code.as_str()), Value::Null),
        CommandEnding::NotReceived => (None, None, Value::Null),
        CommandEnding::StillUnknown(_, state) => (None, None, state.clone()),
    };
    let data = json!({
        "verb": verb, "outcome": outcome, "follow_up": true, "dry_run": false,
        "command_id": command.asker.command_id, "reason": command.reason, "actor": actor,
        "run_id": command.asker.run_id, "step": command.asker.step, "given_at": command.given_at,
        "reason_code": reason_code, "exposure": result.map(|result| &result.exposure),
        "carried_out_at": result.map(|result| result.at), "state_shows": state,
    });
    NewEvent::own(EventKind::Control, severity, message, data)
}

/// The event on a command whose request ended before the answer: its time was over, or botops stopped.
pub(super) fn abandoned_event(command: &OpenCommand) -> NewEvent {
    let (verb, actor) = (command.verb, &command.asker.actor);
    let message = format!(
        "{actor} told the bot to {verb}, and the request ended before it answered; what it did is not known yet ({})",
        command.reason
    );
    let data = json!({
        "verb": verb, "outcome": "unknown", "dry_run": false, "command_id": command.asker.command_id,
        "reason": command.reason, "actor": actor, "run_id": command.asker.run_id, "step": command.asker.step,
    });
    NewEvent::own(EventKind::Control, Severity::Medium, message, data)
}
