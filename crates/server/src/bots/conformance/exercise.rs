//! What can be taken back: a pause that is resumed, and a config that is tried and reverted.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::command_rules::{new_command, read_command_status};
use super::config_trial::try_config;
use super::findings::ConformanceFinding;
use super::handler_failures::raised_in_command;
use super::open_changes::OpenChanges;
use super::probe::ask;
use super::sent_command::{REASON, SentCommand, call_of, read_state, send_command};
use crate::bots::calls::COMMAND_DEADLINE;
use crate::bots::transport::BotConnection;
use botops_contract::{
    BotPhase, BotReport, COMMAND_STATUS, CommandOutcome, CommandProgress, CommandRequest, CommandResult,
    EXPIRED, Hello, Verb,
};

const VERBS: &str = "POST commands/{verb}";

/// What an exercise may use.
#[derive(Debug, Clone, Default)]
pub struct ExerciseOptions {
    /// A config document to be tried and reverted; without one no trial is made.
    pub config_document: Option<String>,
    /// How long the end of what was begun is waited for, before it is told as open.
    pub wait: Duration,
    /// The file with the bot's token, as the command that mends what was left behind names it.
    pub token_file: Option<PathBuf>,
}

/// What an exercise brought.
#[derive(Debug, Default)]
pub(super) struct ExerciseOutcome {
    pub findings: Vec<ConformanceFinding>,
    /// The calls that were sent, each with a note.
    pub exercised: Vec<(String, String)>,
}

/// Exercises what the bot offers. What it begins is noted in `open`, and stays there until somebody takes it back.
pub(super) async fn exercise_bot(
    connection: &BotConnection,
    hello: &Hello,
    open: &OpenChanges,
    outcome: &mut ExerciseOutcome,
) {
    let (pause, resume) = (hello.offers(Verb::Pause.as_str()), hello.offers(Verb::Resume.as_str()));
    if pause && resume {
        exercise_pause(connection, hello, open, outcome).await;
    } else if pause {
        let remedy = "It is not paused, since it offers no `resume` to take it back.";
        outcome.findings.push(ConformanceFinding::hint("exercise_left_out", VERBS, remedy));
    }
}

/// Tries a config, where there is one to be tried. It comes after the pause was taken back.
pub(super) async fn exercise_config(
    connection: &BotConnection,
    hello: &Hello,
    options: &ExerciseOptions,
    open: &OpenChanges,
    outcome: &mut ExerciseOutcome,
) {
    if hello.offers("config")
        && let Some(document) = &options.config_document
    {
        let note = try_config(connection, document, open, &mut outcome.findings).await;
        outcome.exercised.push(("POST config/{verb}".to_owned(), note));
    }
}

async fn exercise_pause(
    connection: &BotConnection,
    hello: &Hello,
    open: &OpenChanges,
    outcome: &mut ExerciseOutcome,
) {
    let Some(before) = read_state(connection).await else { return };
    if matches!(before.phase, BotPhase::Paused | BotPhase::Stopped | BotPhase::Stopping) {
        let remedy = format!("It is {} now, so it is left as it is: resume it first.", before.phase);
        outcome.findings.push(ConformanceFinding::hint("exercise_left_out", VERBS, &remedy));
        return;
    }
    if before.trading_enabled == Some(false) {
        let remedy = "It lets no new position in now (`trading_enabled: false`), so it is left as it is: a `resume` would let them in.";
        outcome.findings.push(ConformanceFinding::hint("exercise_left_out", VERBS, remedy));
        return;
    }
    outcome.exercised.push((VERBS.to_owned(), "pause and resume were exercised".to_owned()));
    let found = &mut outcome.findings;
    check_dry_run(connection, &before, open, found).await;
    let request = new_command(REASON, false);
    open.note_pause(&request.command_id, &before);
    match send_command(connection, Verb::Pause, &request, found).await {
        SentCommand::Answered(first) => {
            let is_over =
                first.outcome == CommandOutcome::Done || raised_in_command("", Verb::Pause, &first).is_some();
            if is_over {
                open.note_answer_to_pause();
            }
            check_paused(connection, hello, &request, &first, found).await;
        }
        // Only a refusal says that nothing was done: in every other case it is taken back.
        SentCommand::Refused => open.close_pause(),
        SentCommand::Failed => open.note_answer_to_pause(),
        SentCommand::Doubtful => {}
    }
}

/// A dry run says what would happen, and nothing does.
async fn check_dry_run(
    connection: &BotConnection,
    before: &BotReport,
    open: &OpenChanges,
    found: &mut Vec<ConformanceFinding>,
) {
    let request = new_command(REASON, true);
    // A bot that ignores that it is one is paused by it.
    open.note_pause(&request.command_id, before);
    let sent = send_command(connection, Verb::Pause, &request, found).await;
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
