//! Commands that change nothing: a verb that no bot has, and the fate of a command that was never sent.

use std::time::Duration;

use chrono::Utc;
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use super::findings::ConformanceFinding;
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{ask, check_pace, read_refusal, status_finding};
use crate::bots::calls::{COMMAND_DEADLINE, READ_DEADLINE};
use crate::bots::reading;
use crate::bots::transport::BotConnection;
use botops_contract::{CommandProgress, CommandRequest, CommandStatus};

const STATUS_CALL: &str = "GET commands/{command_id}";

/// A verb that no contract will have.
const NO_VERB: &str = "botops-check";

/// How long a command of a run is valid.
pub(super) const VALID_FOR: Duration = Duration::from_secs(8);

/// A command with an id of its own, as botops sends it.
pub(super) fn new_command(reason: &str, dry_run: bool) -> CommandRequest {
    CommandRequest {
        command_id: format!("bot-check-{}", Uuid::now_v7()),
        reason: reason.to_owned(),
        args: Value::Null,
        dry_run,
        valid_for_ms: u64::try_from(VALID_FOR.as_millis()).ok(),
        expires_at: Some(Utc::now() + VALID_FOR),
    }
}

/// Sends a verb that no bot has, as a dry run: the answer has to be a refusal in the contract's form.
pub(super) async fn check_unknown_verb(connection: &BotConnection) -> Vec<ConformanceFinding> {
    let call = format!("POST commands/{NO_VERB}");
    let request = connection.post(&format!("commands/{NO_VERB}")).json(&new_command("bot check", true));
    let answer = match ask(&call, request, COMMAND_DEADLINE).await {
        Ok(answer) => answer,
        Err(finding) => return vec![finding],
    };
    let mut found = check_pace(&call, &answer, false);
    let status = answer.answer.status;
    let got = |said: &str| format!("status {}{said}", status.as_u16());
    let remedy = "A verb that the bot does not know is a 404 with {\"code\": \"unknown_verb\", \"message\": \"…\"}: it says that nothing was done.";
    match read_refusal(&answer.answer) {
        _ if status.is_success() => {
            let remedy = format!("It takes any verb. {remedy}");
            found.push(ConformanceFinding::fault("takes_any_verb", &call, &remedy).got(&got("")));
        }
        _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            let remedy = format!("A 5xx leaves open what was done. {remedy}");
            found.push(ConformanceFinding::fault("raises", &call, &remedy).got(&got("")));
        }
        None => found.push(
            ConformanceFinding::fault("refusal_form", &call, remedy).got(&got(" without a refusal in it")),
        ),
        Some(refusal) if status != StatusCode::NOT_FOUND || refusal.code != "unknown_verb" => {
            let said = got(&format!(", {}", refusal.code));
            found.push(ConformanceFinding::warning("unknown_verb", &call, remedy).got(&said));
        }
        Some(_) => {}
    }
    found
}

/// Asks what became of a command that was never sent.
pub(super) async fn check_unsent_command(connection: &BotConnection) -> Vec<ConformanceFinding> {
    let id = format!("bot-check-{}", Uuid::now_v7());
    match read_command_status(connection, &id).await {
        Ok((status, mut found)) => {
            if status.progress != CommandProgress::Unknown {
                let remedy = "It was never sent: answer `{\"command_id\": …, \"standing\": \"unknown\"}`.";
                found.push(
                    ConformanceFinding::fault("knows_unsent_command", STATUS_CALL, remedy).at("/standing"),
                );
            }
            if status.command_id != id {
                let remedy = "Answer with the id of the path, decoded from its percent signs.";
                found.push(
                    ConformanceFinding::fault("other_command_id", STATUS_CALL, remedy).at("/command_id"),
                );
            }
            found
        }
        Err(found) => found,
    }
}

/// What the bot says became of a command, with what is wrong in the answer.
pub(super) async fn read_command_status(
    connection: &BotConnection,
    id: &str,
) -> Result<(CommandStatus, Vec<ConformanceFinding>), Vec<ConformanceFinding>> {
    let path = format!("commands/{}", botops_core::text::percent_encode(id));
    let answer =
        ask(STATUS_CALL, connection.get(&path), READ_DEADLINE).await.map_err(|finding| vec![finding])?;
    if let Some(finding) = status_finding(STATUS_CALL, &answer.answer) {
        return Err(vec![finding]);
    }
    let mut found = check_pace(STATUS_CALL, &answer, false);
    let read = reading::read_whole::<CommandStatus>(STATUS_CALL, &answer.answer.body, &[])
        .map_err(|why| faults_of_answer(STATUS_CALL, &why))?;
    found.extend(read.unreadable.iter().map(fault_of));
    Ok((read.value, found))
}
