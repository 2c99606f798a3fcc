//! How a command of unknown effect ended: by what the bot says of it, or by what its state shows.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::answer::assess_answer;
use super::model::OpenCommand;
use crate::bots::call_error::is_reason;
use crate::bots::snapshot::BotSnapshot;
use botops_contract::{BreakerState, CommandProgress, CommandRequest, CommandResult, CommandStatus, Verb};
use botops_core::error::{Code, Problem};

/// Clocks are read at different moments on both sides.
const EXPIRY_MARGIN: TimeDelta = TimeDelta::seconds(1);
/// How long the state of a bot that cannot be asked is watched for what was wanted.
const STATE_WATCH: Duration = Duration::from_secs(20);
/// Why a command stays unknown when the bot has no capability to tell.
const NOT_CAPABLE: &str = "this bot cannot be asked what became of a command";

/// Why a command stays unknown that a later start of the bot does not know.
const STARTED_AGAIN: &str = "the bot was started again since, and that this start does not know the command does not \
     prove that the one before it did nothing";

/// Why a command stays unknown that the bot answered, and does not know later.
const ANSWERED_BEFORE: &str = "the bot answered it, so it got it, and says now that it does not know it: that it does not \
     know it proves nothing then";

/// How an open command ended.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::bots) enum CommandEnding {
    Done(Box<CommandResult>),
    /// Somebody sent it again, and the bot did it then.
    DoneNow(Box<CommandResult>),
    /// Not done, with code and sentence.
    Refused(String, String),
    /// It did not arrive, and can have no effect any more.
    NotReceived,
    /// A person has to look; why, and what the state shows.
    StillUnknown(String, Value),
}

/// The ending that the bot itself reports; `None` while it does not know.
pub(super) fn ending_by_status(
    snapshot: &BotSnapshot,
    command: &OpenCommand,
    age: Duration,
    status: CommandStatus,
) -> Option<CommandEnding> {
    if status.command_id != command.sent_id {
        return None;
    }
    match (status.progress, status.result, status.refusal) {
        (CommandProgress::Answered, Some(result), _) => {
            let request = CommandRequest {
                command_id: command.sent_id.clone(),
                reason: String::new(),
                args: Value::Null,
                dry_run: false,
                valid_for_ms: None,
                expires_at: None,
            };
            match assess_answer(command.verb, &request, snapshot, Ok(result)) {
                Ok(Ok(result)) => Some(CommandEnding::Done(Box::new(result))),
                Ok(Err(error)) => {
                    let problem = error.problem("", Utc::now());
                    let code = problem
                        .context
                        .get("reason_code")
                        .and_then(Value::as_str)
                        .unwrap_or("unnamed")
                        .to_owned();
                    Some(CommandEnding::Refused(code, problem.cause))
                }
                // Asking again would bring the same: it is what the bot keeps.
                Err(error) if error.code() == Code::BotAnswerInvalid => {
                    let why = error.problem("", Utc::now()).cause;
                    Some(CommandEnding::StillUnknown(why, state_shows(snapshot, command)))
                }
                Err(_) => None,
            }
        }
        (CommandProgress::Answered, None, Some(refusal)) if is_reason(&refusal.code) => {
            let text = |text: &str, most| botops_core::text::clean(text, most);
            Some(CommandEnding::Refused(text(&refusal.code, 64), text(&refusal.message, 500)))
        }
        (CommandProgress::Unknown, ..) if is_expired(command, age) => {
            let doubt = if is_of_an_earlier_start(snapshot, command) {
                Some(STARTED_AGAIN)
            } else {
                command.was_answered.then_some(ANSWERED_BEFORE)
            };
            Some(doubt.map_or(CommandEnding::NotReceived, |why| {
                CommandEnding::StillUnknown(why.to_owned(), state_shows(snapshot, command))
            }))
        }
        _ => None,
    }
}

/// Whether no bot would begin it any more: by the wall clock, which the bot goes by, and by the time that has really passed,
/// since a wall clock that was set forth may be set back.
fn is_expired(command: &OpenCommand, age: Duration) -> bool {
    let valid = (command.expires_at - command.given_at).to_std().unwrap_or_default();
    let margin = EXPIRY_MARGIN.to_std().unwrap_or_default();
    age > valid.saturating_add(margin) && Utc::now() > command.expires_at + EXPIRY_MARGIN
}

/// Whether the bot was started again since it was given the command: it may have carried the command out and ended before
/// that was written. An adapter is not started again with its bot.
fn is_of_an_earlier_start(snapshot: &BotSnapshot, command: &OpenCommand) -> bool {
    let hello = snapshot.hello.as_deref().filter(|hello| hello.adapter.is_none());
    let now = hello.and_then(|hello| hello.boot_epoch.as_ref());
    command.boot_epoch.as_ref().zip(now).is_some_and(|(then, now)| then != now)
}

/// The bot's own code for a refusal.
pub(super) fn reason_code_of(problem: &Problem) -> String {
    problem.context.get("reason_code").and_then(Value::as_str).unwrap_or("unnamed").to_owned()
}

/// The end for a bot that cannot be asked: once its state shows what was wanted, or was watched long enough.
pub(super) fn ending_by_state(
    snapshot: &BotSnapshot,
    command: &OpenCommand,
    followed_since: Instant,
    age: Duration,
    late: bool,
) -> Option<CommandEnding> {
    let fresh = snapshot.presence.answers() && snapshot.received.is_some_and(|at| at > followed_since);
    let shown = state_shows(snapshot, command);
    let watched = age > STATE_WATCH;
    let enough = late || (fresh && (watched || shown["as_asked"] == true));
    enough.then(|| CommandEnding::StillUnknown(NOT_CAPABLE.to_owned(), shown))
}

/// What the bot's last report says about it: facts, and whether they are as they would be after the command.
pub(super) fn state_shows(snapshot: &BotSnapshot, command: &OpenCommand) -> Value {
    let Some(report) = &snapshot.report else { return Value::Null };
    let resting = snapshot.open_order_count();
    let breaker_open = report.breaker_state().map(|state| state != BreakerState::Closed);
    let closed_to_entries = report.trading_enabled.map(|enabled| !enabled);
    let positions = snapshot.position_count();
    let as_asked = match command.verb {
        Verb::Pause => closed_to_entries,
        Verb::Resume => report.trading_enabled,
        Verb::CancelOrders => resting.map(|resting| resting == 0),
        Verb::Flatten => positions.zip(closed_to_entries).map(|(positions, closed)| positions == 0 && closed),
        Verb::ResetBreaker => breaker_open.map(|open| !open),
        Verb::Halt => breaker_open.zip(closed_to_entries).map(|(open, closed)| open && closed),
        Verb::Shutdown => {
            command.boot_epoch.as_ref().zip(report.boot_epoch.as_ref()).map(|(old, now)| old != now)
        }
        Verb::ProbeSession | Verb::Reauth => None,
    };
    json!({
        "as_asked": as_asked, "trading_enabled": report.trading_enabled, "phase": report.phase,
        "open_positions": positions, "resting_orders": resting,
        "circuit_breaker": report.breaker_state(), "as_of": report.as_of,
    })
}
