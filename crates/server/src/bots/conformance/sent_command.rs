//! One command that is sent for good: what became of it, and what is wrong with its answer.

use super::findings::ConformanceFinding;
use super::handler_failures::raised_in_command;
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{ask, check_pace, read_refusal};
use crate::bots::calls::{COMMAND_DEADLINE, READ_DEADLINE};
use crate::bots::reading;
use crate::bots::sanitise;
use crate::bots::transport::BotConnection;
use botops_contract::{BotReport, CommandOutcome, CommandRequest, CommandResult, Verb};

/// Why the bot is paused, as its records will say.
pub(super) const REASON: &str = "botops bot check";

/// The code of a 5xx that says that the bot may still be at it.
const NO_ANSWER: &str = "no_answer";

/// What became of a command that was sent.
pub(super) enum SentCommand {
    Answered(CommandResult),
    /// The bot said no, in a form that says that nothing was done.
    Refused,
    /// It failed: what it did is not known, and it does nothing more.
    Failed,
    /// Whether it was done is not known, or will yet be done.
    Doubtful,
}

pub(super) async fn send_command(
    connection: &BotConnection,
    verb: Verb,
    request: &CommandRequest,
    found: &mut Vec<ConformanceFinding>,
) -> SentCommand {
    let call = call_of(verb);
    let sent = connection.post(&format!("commands/{verb}")).json(request);
    let answer = match ask(&call, sent, COMMAND_DEADLINE).await {
        Ok(answer) => answer,
        Err(finding) => {
            found.push(finding);
            return SentCommand::Doubtful;
        }
    };
    found.extend(check_pace(&call, &answer, false));
    let status = answer.answer.status;
    if !status.is_success() {
        let refusal = read_refusal(&answer.answer);
        let is_refusal = status.is_client_error() && refusal.is_some();
        let may_act_yet = refusal.as_ref().is_some_and(|refusal| refusal.code == NO_ANSWER);
        let said =
            refusal.map_or_else(String::new, |refusal| format!(", {}: {}", refusal.code, refusal.message));
        let (rule, remedy) = match status.is_server_error() {
            true => (
                "raises",
                "An exception in the verb leaves open what was done: catch it, and answer 4xx with {code, message} when nothing was.",
            ),
            false if is_refusal => ("verb_refused", "`hello` lists this verb, and the bot refuses it."),
            false => (
                "refusal_form",
                "A refusal is a 4xx with {\"code\": …, \"message\": …}: without them nobody knows that nothing was done.",
            ),
        };
        let got = format!("status {}{said}", status.as_u16());
        found.push(ConformanceFinding::fault(rule, &call, remedy).got(&got));
        return match is_refusal {
            true => SentCommand::Refused,
            false if status.is_server_error() && !may_act_yet => SentCommand::Failed,
            false => SentCommand::Doubtful,
        };
    }
    match reading::read_whole::<CommandResult>(&call, &answer.answer.body, &[]) {
        Ok(read) => {
            found.extend(read.unreadable.iter().map(fault_of));
            let mut result = read.value;
            let came_id = result.command_id.clone();
            sanitise::command_result(&mut result);
            check_result(&call, verb, request, &came_id, &result, found);
            SentCommand::Answered(result)
        }
        Err(why) => {
            found.extend(faults_of_answer(&call, &why));
            SentCommand::Doubtful
        }
    }
}

/// What is wrong with an answer; `came_id` is the id in it as it came.
fn check_result(
    call: &str,
    verb: Verb,
    request: &CommandRequest,
    came_id: &str,
    result: &CommandResult,
    found: &mut Vec<ConformanceFinding>,
) {
    if came_id != request.command_id {
        let remedy = "Answer with the `command_id` of the request: botops takes an answer for another command for none.";
        found
            .push(ConformanceFinding::fault("other_command_id", call, remedy).at("/command_id").got(came_id));
    }
    let raised = raised_in_command(call, verb, result);
    let is_raised = raised.is_some();
    found.extend(raised);
    match result.outcome {
        CommandOutcome::Predicted if !request.dry_run => {
            let remedy = "`predicted` answers a dry run alone: this command was meant.";
            found.push(ConformanceFinding::fault("predicted_only", call, remedy).at("/outcome"));
        }
        CommandOutcome::Unconfirmed if !is_raised => {
            let remedy = "`unconfirmed` leaves the effect unknown: a person has to look. Answer `done` once the loop has taken it.";
            found.push(ConformanceFinding::warning("unconfirmed", call, remedy).at("/outcome"));
        }
        CommandOutcome::Refused => {
            let reason = result.reason_code.as_deref().unwrap_or("no reason_code");
            let remedy = "`hello` lists this verb, and the bot refuses it.";
            found.push(ConformanceFinding::warning("verb_refused", call, remedy).at("/outcome").got(reason));
        }
        CommandOutcome::Done | CommandOutcome::Predicted | CommandOutcome::Unconfirmed => {}
    }
    if result.exposure.is_none() && !request.dry_run && !is_raised {
        let remedy = "Without `exposure` botops says that it is not known what the command did to orders and positions. Answer with it: {\"orders_cancelled\": 0, \"positions_closing\": [], \"positions_left\": 2, \"orders_left\": 1}, each as far as it is known; in Python return `Done(message, orders_cancelled=0, …)`, in Rust `CommandReply::done(message).with_exposure(…)`.";
        found.push(ConformanceFinding::hint("no_exposure", call, remedy).at("/exposure"));
    }
}

pub(super) fn call_of(verb: Verb) -> String {
    format!("POST commands/{verb}")
}

/// The state of now; what is wrong in it was named before.
pub(super) async fn read_state(connection: &BotConnection) -> Option<BotReport> {
    let answer = ask("GET state", connection.poll("state"), READ_DEADLINE).await.ok()?;
    let read = reading::read_parts::<BotReport>("GET state", &answer.answer.body, &[]);
    Some(read.ok()?.value)
}
