//! What a bot's answer to a command proves.
//!
//! A refusal proves that nothing happened, and an answer that fits the question proves what it says. Everything else
//! (no answer, one that cannot be read, one that contradicts the question or itself, a refusal that only says that
//! the bot does not know) leaves the effect unknown. Nothing here guesses.

use crate::bots::call_error::{CallError, is_reason};
use crate::bots::sanitise;
use crate::bots::snapshot::BotSnapshot;
use botops_contract::{BotPhase, BreakerState, CommandOutcome, CommandRequest, CommandResult, Verb};
use botops_core::error::{Code, Effect, Error};

/// Characters of the sentence that names both sides of a contradiction.
const CONTRADICTION: usize = 400;

/// What is known after a call: `Ok` with what the bot did or why it did not, `Err` when the effect is unknown.
pub(in crate::bots) fn assess_answer(
    verb: Verb,
    request: &CommandRequest,
    snapshot: &BotSnapshot,
    answered: Result<CommandResult, CallError>,
) -> Result<Result<CommandResult, Error>, Error> {
    let result = match answered {
        Ok(mut result) => {
            // An id is compared as it came; what is shown of the rest is made harmless first.
            let command_id = std::mem::take(&mut result.command_id);
            sanitise::command_result(&mut result);
            CommandResult { command_id, ..result }
        }
        Err(error) if error.proves_nothing_done() => return Ok(Err(error.into())),
        Err(error) => return Err(error.into()),
    };
    if let Some(contradiction) = find_contradiction(verb, request, snapshot, &result) {
        let detail = botops_core::text::clean(&contradiction, CONTRADICTION);
        return Err(Error::new(Code::BotAnswerInvalid).detail(detail).effect(Effect::Unknown));
    }
    let doubt = |what: String| Error::new(Code::BotTimeout).detail(what).effect(Effect::Unknown);
    match result.outcome {
        CommandOutcome::Done | CommandOutcome::Predicted => Ok(Ok(result)),
        CommandOutcome::Unconfirmed => Err(doubt(format!(
            "it was answered `unconfirmed`, so whether it was carried out is not known yet: {}",
            result.message
        ))),
        CommandOutcome::Refused => {
            let reason_code = result.reason_code.unwrap_or_else(|| "unnamed".to_owned());
            if !is_reason(&reason_code) {
                let what = format!("the bot answered `{reason_code}`: {}", result.message);
                return Err(doubt(what).context("reason_code", reason_code));
            }
            let code = if reason_code == "not_capable" { Code::BotNotCapable } else { Code::BotRefused };
            Ok(Err(Error::new(code)
                .detail(format!("the bot says: {}", result.message))
                .context("reason_code", reason_code)
                .context("replayed", result.replayed)
                .context("trading_enabled", result.trading_enabled)))
        }
    }
}

/// What in an answer does not go together with the question; both facts are named.
fn find_contradiction(
    verb: Verb,
    request: &CommandRequest,
    snapshot: &BotSnapshot,
    result: &CommandResult,
) -> Option<String> {
    if result.command_id != request.command_id {
        return Some(format!(
            "the bot was asked to {verb} as command `{}` and answered for command `{}`",
            request.command_id, result.command_id
        ));
    }
    match (result.outcome, request.dry_run) {
        (CommandOutcome::Done, true) => {
            return Some(format!("the bot was asked what {verb} would do (`dry_run`) and answered `done`"));
        }
        (CommandOutcome::Predicted, false) => {
            return Some(format!("the bot was told to {verb} and answered `predicted`, as to a dry run"));
        }
        (CommandOutcome::Done, false) => {}
        _ => return None,
    }
    let closes = matches!(verb, Verb::Pause | Verb::Halt | Verb::Flatten);
    if closes && result.trading_enabled == Some(true) {
        return Some(format!("the bot answered `done` to {verb}, and `trading_enabled: true` beside it"));
    }
    let unexplained = verb == Verb::Resume
        && result.trading_enabled == Some(false)
        && result.reason_code.is_none()
        && matches!(result.phase, Some(BotPhase::Running | BotPhase::Paused))
        && !keeps_entries_closed(snapshot);
    unexplained.then(|| {
        let phase = if result.phase == Some(BotPhase::Paused) { "paused" } else { "running" };
        format!(
            "the bot answered `done` to resume, and `trading_enabled: false` beside it (phase {phase}); nothing says why"
        )
    })
}

/// Whether the last report explains that the bot opens nothing although it was resumed.
fn keeps_entries_closed(snapshot: &BotSnapshot) -> bool {
    snapshot.report.as_ref().is_some_and(|report| {
        report.breaker_state().is_some_and(|state| state != BreakerState::Closed)
            || report.session.as_ref().is_some_and(|session| session.is_healthy == Some(false))
            || report.no_entry_reasons.iter().flatten().any(|reason| reason != "paused")
    })
}
