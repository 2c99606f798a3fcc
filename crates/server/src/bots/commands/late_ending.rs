//! How a command of unknown effect ended, as the record of its idempotency key is completed with it.

use chrono::Utc;

use super::ending::CommandEnding;
use super::model::OpenCommand;
use crate::bots::control_view::ControlView;
use crate::change_keys::LateEnding;
use botops_contract::{CommandOutcome, CommandResult};
use botops_core::error::{Code, Effect, Error};
use botops_http::KeptAnswer;

/// What the key of this command says from now on.
pub(super) fn late_ending(command: &OpenCommand, ending: &CommandEnding) -> LateEnding {
    match ending {
        CommandEnding::Done(result) | CommandEnding::DoneNow(result) => {
            LateEnding::Done(done_answer(command, result))
        }
        CommandEnding::Refused(code, _) => {
            let what = nothing_done_because(ending);
            LateEnding::NothingDone(nothing_done(command, &what, code, "refused"))
        }
        CommandEnding::NotReceived => {
            let what = nothing_done_because(ending);
            LateEnding::NothingDone(nothing_done(command, &what, "expired", "not_received"))
        }
        CommandEnding::StillUnknown(why, _) => LateEnding::StillUnknown(format!(
            "it was followed up, and since {} nothing more can be found out ({why})",
            Utc::now().format("%F %H:%M:%S UTC")
        )),
    }
}

/// Why it is known that a command did nothing, without a full stop; of an ending that says so.
pub(super) fn nothing_done_because(ending: &CommandEnding) -> String {
    match ending {
        CommandEnding::Refused(code, text) => {
            format!("it was not carried out ({code}): {}", text.trim_end_matches('.'))
        }
        _ => "the bot never got it, and it expired: nothing happened".to_owned(),
    }
}

/// The operation of a verb, by which its key is known.
pub(super) fn operation_of(command: &OpenCommand) -> String {
    command.verb.as_str().replace('-', "_")
}

fn done_answer(command: &OpenCommand, result: &CommandResult) -> KeptAnswer {
    let view = ControlView {
        verb: command.verb,
        command_id: command.asker.command_id.clone(),
        outcome: CommandOutcome::Done,
        dry_run: false,
        replayed: true,
        message: result.message.clone(),
        exposure: result.exposure.clone(),
        phase: result.phase,
        phase_raw: result.phase_raw.clone(),
        trading_enabled: result.trading_enabled,
        mode: command.mode,
        key_kept: Some(true),
        reason: command.reason.clone(),
        at: result.at,
        known_since: Some(Utc::now()),
    };
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    KeptAnswer { status: 200, headers, body: serde_json::to_vec(&view).unwrap_or_default().into() }
}

fn nothing_done(command: &OpenCommand, what: &str, reason_code: &str, outcome: &str) -> Error {
    let (verb, known_since) = (command.verb, Utc::now());
    Error::new(Code::BotRefused)
        .detail(format!(
            "{verb}, given at {} without a clear answer: {what}; this is known since {}",
            command.given_at.format("%F %H:%M:%S UTC"),
            known_since.format("%F %H:%M:%S UTC")
        ))
        .remedy(
            "Read the state. This key never acts again within 24 hours: if the command is still wanted, give it with a new \
             `Idempotency-Key`.",
        )
        .effect(Effect::None)
        .context("reason_code", reason_code)
        .context("outcome", outcome)
        .context("known_since", known_since.to_rfc3339())
        .context("verb", verb.as_str())
        .context("command_id", command.asker.command_id.clone())
}
