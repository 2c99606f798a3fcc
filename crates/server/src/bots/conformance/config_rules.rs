//! The config that the bot says it runs.

use super::findings::ConformanceFinding;
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{ask, check_pace, status_finding};
use crate::bots::calls::READ_DEADLINE;
use crate::bots::reading;
use crate::bots::sanitise;
use crate::bots::transport::BotConnection;
use botops_contract::{ConfigState, Hello, VersionRef};

const CALL: &str = "GET config";

/// Reads what the bot runs.
pub(super) async fn read_config(
    connection: &BotConnection,
    found: &mut Vec<ConformanceFinding>,
) -> Option<ConfigState> {
    let answered = ask(CALL, connection.get("config"), READ_DEADLINE).await;
    let answer = answered.map_err(|finding| found.push(finding)).ok()?;
    if let Some(finding) = status_finding(CALL, &answer.answer) {
        found.push(finding);
        return None;
    }
    found.extend(check_pace(CALL, &answer, false));
    match reading::read_whole::<ConfigState>(CALL, &answer.answer.body, &[]) {
        Ok(read) => {
            found.extend(read.unreadable.iter().map(fault_of));
            let mut state = read.value;
            sanitise::config_state(&mut state);
            Some(state)
        }
        Err(why) => {
            found.extend(faults_of_answer(CALL, &why));
            None
        }
    }
}

/// What is wrong with a config state that was read.
pub(super) fn check_config(state: &ConfigState, hello: &Hello) -> Vec<ConformanceFinding> {
    let mut found = Vec::new();
    if hello.boot_epoch.as_ref().is_some_and(|epoch| *epoch != state.boot_epoch) {
        let remedy = "Name the boot epoch of `hello` here as well: a trial belongs to a start of the bot.";
        found.push(ConformanceFinding::fault("boot_epoch_differs", CALL, remedy).at("/boot_epoch"));
    }
    let is_hash = |version: &VersionRef| {
        version.sha256.len() == 64
            && version.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    for (version, place) in [(&state.running, "/running/sha256"), (&state.committed, "/committed/sha256")] {
        if !is_hash(version) {
            let remedy = "Give the SHA-256 of the document's exact bytes, as 64 lower-case hexadecimal digits: by it botops knows what runs.";
            found.push(ConformanceFinding::fault("sha256_form", CALL, remedy).at(place).got(&version.sha256));
        }
    }
    found
}
