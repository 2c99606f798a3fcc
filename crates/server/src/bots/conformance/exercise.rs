//! What can be taken back: a pause that is resumed, and a config that is tried and reverted.

use serde_json::Value;

use super::command_rules::{new_command, read_command_status};
use super::config_trial::try_config;
use super::findings::ConformanceFinding;
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{ask, check_pace, read_refusal};
use crate::bots::calls::{COMMAND_DEADLINE, READ_DEADLINE};
use crate::bots::reading;
use crate::bots::sanitise;
use crate::bots::transport::BotConnection;
use botops_contract::{
    BotPhase, BotReport, COMMAND_STATUS, CommandOutcome, CommandProgress, CommandRequest, CommandResult,
    EXPIRED, Hello, Verb,
};

const VERBS: &str = "POST commands/{verb}";

/// Why the bot is paused, as its records will say.
const REASON: &str = "botops bot check";

/// What an exercise may use.
#[derive(Debug, Clone, Default)]
pub struct ExerciseOptions {
    /// A config document to be tried and reverted; without one no trial is made.
    pub config_document: Option<String>,
}

/// What an exercise brought.
#[derive(Debug, Default)]
pub(super) struct ExerciseOutcome {
    pub findings: Vec<ConformanceFinding>,
    /// The calls that were sent, each with a note.
    pub exercised: Vec<(String, String)>,
}

/// Exercises what the bot offers, and leaves it as it was.
pub(super) async fn exercise_bot(
    connection: &BotConnection,
    hello: &Hello,
    options: &ExerciseOptions,
) -> ExerciseOutcome {
    let mut outcome = ExerciseOutcome::default();
    let (pause, resume) = (hello.offers(Verb::Pause.as_str()), hello.offers(Verb::Resume.as_str()));
    if pause && resume {
        exercise_pause(connection, hello, &mut outcome).await;
    } else if pause {
        let remedy = "It is not paused, since it offers no `resume` to take it back.";
        outcome.findings.push(ConformanceFinding::hint("exercise_left_out", VERBS, remedy));
    }
    if hello.offers("config")
        && let Some(document) = &options.config_document
    {
        let (findings, note) = try_config(connection, document).await;
        outcome.findings.extend(findings);
        outcome.exercised.push(("POST config/{verb}".to_owned(), note));
    }
    outcome
}

async fn exercise_pause(connection: &BotConnection, hello: &Hello, outcome: &mut ExerciseOutcome) {
    let Some(before) = read_state(connection).await else { return };
    if matches!(before.phase, BotPhase::Paused | BotPhase::Stopped | BotPhase::Stopping) {
        let remedy = format!("It is {} now, so it is left as it is: resume it first.", before.phase);
        outcome.findings.push(ConformanceFinding::hint("exercise_left_out", VERBS, &remedy));
        return;
    }
    let found = &mut outcome.findings;
    check_dry_run(connection, &before, found).await;
    let request = new_command(REASON, false);
    let paused = send_command(connection, Verb::Pause, &request, found).await;
    // Only a refusal says that nothing was done: in every other case it is resumed.
    if !matches!(&paused, SentCommand::Refused) {
        if let SentCommand::Answered(first) = &paused {
            check_paused(connection, hello, &request, first, found).await;
        }
        resume_again(connection, found).await;
    }
    outcome.exercised.push((VERBS.to_owned(), "pause and resume were exercised".to_owned()));
}

/// A dry run says what would happen, and nothing does.
async fn check_dry_run(connection: &BotConnection, before: &BotReport, found: &mut Vec<ConformanceFinding>) {
    let sent = send_command(connection, Verb::Pause, &new_command(REASON, true), found).await;
    let SentCommand::Answered(result) = sent else { return };
    let after = read_state(connection).await;
    let was_done =
        after.is_some_and(|after| after.phase == BotPhase::Paused && before.phase != BotPhase::Paused);
    if was_done || result.outcome == CommandOutcome::Done {
        let remedy = "With `dry_run: true` say what would happen, with the outcome `predicted`, and do nothing: botops asks so before it acts.";
        found
            .push(ConformanceFinding::fault("dry_run_ignored", &call_of(Verb::Pause), remedy).at("/outcome"));
    }
}

async fn check_paused(
    connection: &BotConnection,
    hello: &Hello,
    request: &CommandRequest,
    first: &CommandResult,
    found: &mut Vec<ConformanceFinding>,
) {
    let call = call_of(Verb::Pause);
    if first.outcome == CommandOutcome::Unconfirmed {
        // It may become another answer yet, so nothing of it can be compared.
        found.extend(check_unfinished(connection, hello, request).await);
        return;
    }
    if first.outcome == CommandOutcome::Done {
        let shown = read_state(connection).await;
        let is_shown = shown
            .is_some_and(|state| state.phase == BotPhase::Paused || state.trading_enabled == Some(false));
        if !is_shown {
            let remedy = "`pause` was answered with `done`, and the next state shows neither phase `paused` nor `trading_enabled: false`: answer when it holds.";
            found.push(ConformanceFinding::fault("pause_without_effect", &call, remedy));
        }
    }
    if let SentCommand::Answered(again) = send_command(connection, Verb::Pause, request, found).await {
        let is_same = (again.outcome, again.at, &again.message) == (first.outcome, first.at, &first.message);
        if !is_same || !again.replayed {
            let remedy = "The same `command_id` again is the same command: give the first answer with `replayed: true`, and do nothing a second time.";
            found.push(ConformanceFinding::fault("not_idempotent", &call, remedy).at("/replayed"));
        }
    }
    if hello.offers(COMMAND_STATUS) {
        check_memory(connection, request, found).await;
        check_expiry(connection, found).await;
    }
}

/// Whether a command that was answered without its effect is still under way: then it is its handler that hangs.
async fn check_unfinished(
    connection: &BotConnection,
    hello: &Hello,
    request: &CommandRequest,
) -> Vec<ConformanceFinding> {
    if !hello.offers(COMMAND_STATUS) {
        return Vec::new();
    }
    match read_command_status(connection, &request.command_id).await {
        Ok((status, mut found)) => {
            if status.progress == CommandProgress::Pending {
                let remedy = "The bot began it and has not finished it: its handler hangs, or does in one go what takes longer than anybody waits. Let it note what is wanted and return, and let the loop do the rest.";
                let got = "`unconfirmed`, and `pending` when asked what became of it";
                found.push(ConformanceFinding::fault("verb_hangs", &call_of(Verb::Pause), remedy).got(got));
            }
            found
        }
        Err(found) => found,
    }
}

/// What the bot says became of the command that it has just answered.
async fn check_memory(
    connection: &BotConnection,
    request: &CommandRequest,
    found: &mut Vec<ConformanceFinding>,
) {
    match read_command_status(connection, &request.command_id).await {
        Ok((status, more)) => {
            found.extend(more);
            if status.progress != CommandProgress::Answered
                || (status.result.is_none() && status.refusal.is_none())
            {
                let remedy = "It answered this command a moment ago: `standing` is `answered`, with the `result` that it gave.";
                let call = "GET commands/{command_id}";
                found.push(ConformanceFinding::fault("forgets_commands", call, remedy).at("/standing"));
            }
        }
        Err(more) => found.extend(more),
    }
}

/// A command that is over before it arrives is never begun; the bot is paused meanwhile, so that nothing depends on it.
async fn check_expiry(connection: &BotConnection, found: &mut Vec<ConformanceFinding>) {
    let mut request = new_command(REASON, false);
    request.valid_for_ms = Some(0);
    request.expires_at = request.expires_at.map(|_| chrono::Utc::now() - chrono::TimeDelta::seconds(1));
    let call = call_of(Verb::Pause);
    let sent = connection.post("commands/pause").json(&request);
    let answer = match ask(&call, sent, COMMAND_DEADLINE).await {
        Ok(answer) => answer,
        Err(finding) => return found.push(finding),
    };
    let value: Value = serde_json::from_slice(&answer.answer.body).unwrap_or_default();
    let code = value.get("reason_code").or_else(|| value.get("code")).and_then(Value::as_str);
    if code != Some(EXPIRED) {
        let remedy = "A command with `valid_for_ms: 0` is over: answer `refused` with `reason_code: expired`, and never do it. `command-status` promises that.";
        found.push(
            ConformanceFinding::fault("expiry_ignored", &call, remedy).got(code.unwrap_or("no reason_code")),
        );
    }
}

/// Takes the pause back; a second try with an id of its own, then a person has to.
async fn resume_again(connection: &BotConnection, found: &mut Vec<ConformanceFinding>) {
    for _ in 0..2 {
        let sent = send_command(connection, Verb::Resume, &new_command(REASON, false), found).await;
        let is_done =
            matches!(&sent, SentCommand::Answered(result) if result.outcome == CommandOutcome::Done);
        let state = read_state(connection).await;
        if state.is_some_and(|state| state.phase != BotPhase::Paused) {
            return;
        }
        if is_done {
            let remedy = "`resume` was answered with `done`, and the next state still shows phase `paused`: answer when it holds.";
            found.push(ConformanceFinding::fault("resume_without_effect", &call_of(Verb::Resume), remedy));
        }
    }
    let remedy =
        "The check paused the bot and could not resume it: it is paused now. Resume it by its own means.";
    found.push(ConformanceFinding::fault("left_paused", &call_of(Verb::Resume), remedy));
}

/// What became of a command that was sent.
enum SentCommand {
    Answered(CommandResult),
    /// The bot said no, in a form that says that nothing was done.
    Refused,
    /// Whether it was done is not known.
    Doubtful,
}

async fn send_command(
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
        return if is_refusal { SentCommand::Refused } else { SentCommand::Doubtful };
    }
    match reading::read_whole::<CommandResult>(&call, &answer.answer.body, &[]) {
        Ok(read) => {
            found.extend(read.unreadable.iter().map(fault_of));
            let mut result = read.value;
            check_result(&call, request, &result, found);
            sanitise::command_result(&mut result);
            SentCommand::Answered(result)
        }
        Err(why) => {
            found.extend(faults_of_answer(&call, &why));
            SentCommand::Doubtful
        }
    }
}

fn check_result(
    call: &str,
    request: &CommandRequest,
    result: &CommandResult,
    found: &mut Vec<ConformanceFinding>,
) {
    if result.command_id != request.command_id {
        let remedy = "Answer with the `command_id` of the request: botops takes an answer for another command for none.";
        found.push(
            ConformanceFinding::fault("other_command_id", call, remedy)
                .at("/command_id")
                .got(&result.command_id),
        );
    }
    match result.outcome {
        CommandOutcome::Predicted if !request.dry_run => {
            let remedy = "`predicted` answers a dry run alone: this command was meant.";
            found.push(ConformanceFinding::fault("predicted_only", call, remedy).at("/outcome"));
        }
        CommandOutcome::Unconfirmed => {
            let remedy = "`unconfirmed` leaves the effect unknown: a person has to look. Answer `done` once the loop has taken it.";
            found.push(ConformanceFinding::warning("unconfirmed", call, remedy).at("/outcome"));
        }
        CommandOutcome::Refused => {
            let reason = result.reason_code.as_deref().unwrap_or("no reason_code");
            let remedy = "`hello` lists this verb, and the bot refuses it.";
            found.push(ConformanceFinding::warning("verb_refused", call, remedy).at("/outcome").got(reason));
        }
        CommandOutcome::Done | CommandOutcome::Predicted => {}
    }
    if result.exposure.is_none() && !request.dry_run {
        let remedy = "Without `exposure` botops says that it is not known what the command did to orders and positions.";
        found.push(ConformanceFinding::hint("no_exposure", call, remedy).at("/exposure"));
    }
}

fn call_of(verb: Verb) -> String {
    format!("POST commands/{verb}")
}

/// The state of now; what is wrong in it was named before.
async fn read_state(connection: &BotConnection) -> Option<BotReport> {
    let answer = ask("GET state", connection.poll("state"), READ_DEADLINE).await.ok()?;
    let read = reading::read_parts::<BotReport>("GET state", &answer.answer.body, &[]);
    Some(read.ok()?.value)
}
