//! A handler of the bot that raised: told with what it raised, as the bot reported it, and what to do about it.

use super::findings::ConformanceFinding;
use botops_contract::{CheckVerdict, CommandOutcome, CommandResult, ContractRefusal, Verb};
use botops_core::redact;

/// The `reason_code` of an `unconfirmed` whose handler raised, and of a `predicted` whose preview did.
const HANDLER_RAISED: &str = "handler_raised";
const PREVIEW_RAISED: &str = "preview_raised";

const CHECK_RAISED: &str = "The bot's check of a config raised this, so that no change can be applied: mend it (the bot's own log has the traceback). A document that the bot does not take is a violation that the check returns (in Python also a ValueError).";
const APPLY_RAISED: &str = "What takes the config over in the bot (`apply`) raised this: mend it (the bot's own log has the traceback). What cannot be run is for the check to say, before.";

/// What a handler raised, by type and message; `None` where the text is about something else. The SDKs say it so:
/// `the bot's handler of pause raised KeyError: 'x'; it may have acted`.
pub(super) fn raised_in(text: &str) -> Option<&str> {
    let (_, said) = text.split_once("the bot's ")?;
    let (_, raised) = said.split_once(" raised ")?;
    Some(raised.strip_suffix("; it may have acted").unwrap_or(raised))
}

/// The fault behind an answer to a command whose handler, or whose preview, raised.
pub(super) fn raised_in_command(
    call: &str,
    verb: Verb,
    result: &CommandResult,
) -> Option<ConformanceFinding> {
    let code = result.reason_code.as_deref();
    let raised = raised_in(&result.message);
    let shown = raised.unwrap_or(&result.message);
    match result.outcome {
        CommandOutcome::Unconfirmed if raised.is_some() || code == Some(HANDLER_RAISED) => {
            let remedy = format!(
                "The handler of `{verb}` raised this, so nobody knows what it did: mend it (the bot's own log has the traceback). Where nothing was done let it refuse (in Python `command.refuse(code, message)`), and raise `Unconfirmed` only where it acted and cannot tell."
            );
            Some(fault_of_raised(HANDLER_RAISED, call, &remedy, shown))
        }
        CommandOutcome::Predicted if raised.is_some() || code == Some(PREVIEW_RAISED) => {
            let remedy = format!(
                "The preview of `{verb}` raised this, so what the verb would do is not predicted: mend it (the bot's own log has the traceback)."
            );
            Some(fault_of_raised(PREVIEW_RAISED, call, &remedy, shown))
        }
        _ => None,
    }
}

/// The fault behind a verdict that came about because the bot's own check raised.
pub(super) fn raised_in_check(call: &str, verdict: &CheckVerdict) -> Option<ConformanceFinding> {
    let raised = verdict.violations.iter().find_map(|violation| raised_in(&violation.message))?;
    Some(fault_of_raised(HANDLER_RAISED, call, CHECK_RAISED, raised))
}

/// The fault behind a refusal that came about because a handler of the config raised.
pub(super) fn raised_in_config(call: &str, refusal: &ContractRefusal) -> Option<ConformanceFinding> {
    let raised = raised_in(&refusal.message)?;
    let remedy = if call.ends_with("/check") { CHECK_RAISED } else { APPLY_RAISED };
    Some(fault_of_raised(HANDLER_RAISED, call, remedy, raised))
}

fn fault_of_raised(rule: &'static str, call: &str, remedy: &str, raised: &str) -> ConformanceFinding {
    ConformanceFinding::fault(rule, call, remedy).got(&redact::line(raised))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_raised_is_found_in_the_words_of_the_sdks_alone() {
        for (text, raised) in [
            ("the bot's handler of pause raised KeyError: 'x'; it may have acted", Some("KeyError: 'x'")),
            ("the bot's apply raised ValueError: a; b", Some("ValueError: a; b")),
            ("the bot's check raised RuntimeError: no route", Some("RuntimeError: no route")),
            ("the exchange raised the margin; it may have acted", None),
            ("not yet", None),
        ] {
            assert_eq!(raised_in(text), raised, "{text}");
        }
    }
}
