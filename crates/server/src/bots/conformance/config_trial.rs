//! A config that is tried and reverted: what runs afterwards is what ran before.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::config_rules::read_config;
use super::findings::ConformanceFinding;
use super::handler_failures::{raised_in_check, raised_in_config};
use super::open_changes::{OpenChanges, OpenTrial};
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{ask, check_pace, read_refusal};
use crate::bots::calls::COMMAND_DEADLINE;
use crate::bots::reading;
use crate::bots::sanitise;
use crate::bots::transport::BotConnection;
use botops_contract::{
    ActivateConfigRequest, CheckConfigRequest, CheckVerdict, ConfigAck, ConfigState, EndTrialRequest,
    VersionRef,
};

const CHECK: &str = "POST config/check";
const ACTIVATE: &str = "POST config/activate";
const REVERT: &str = "POST config/revert";

/// After this time the bot takes the trial back by itself, should the run end in the middle of it.
const TRIAL_MS: u64 = 20_000;

/// Tries the document and takes it back; a note on what was done. A trial whose end was not seen stays in `open`.
pub(super) async fn try_config(
    connection: &BotConnection,
    document: &str,
    open: &OpenChanges,
    found: &mut Vec<ConformanceFinding>,
) -> String {
    let Some(before) = read_config(connection, found).await else {
        return "not tried: what runs now could not be read".to_owned();
    };
    if before.trial.is_some() {
        return "not tried: another trial runs".to_owned();
    }
    let Ok(config) = serde_json::from_str(document) else {
        return "not tried: the document is no JSON".to_owned();
    };
    let verdict: Option<CheckVerdict> =
        post(connection, CHECK, "config/check", &CheckConfigRequest { config }, found).await.answer();
    let Some(mut verdict) = verdict else { return "not tried: the check failed".to_owned() };
    sanitise::verdict(&mut verdict);
    if !verdict.ok {
        if let Some(raised) = raised_in_check(CHECK, &verdict) {
            found.push(raised);
            return "not tried: the bot's check raised".to_owned();
        }
        let why = verdict.violations.first().map(|violation| violation.message.clone()).unwrap_or_default();
        return format!("not tried: the bot does not take this document ({why})");
    }
    run_trial(connection, document, &before, open, found).await;
    "a config was tried and reverted".to_owned()
}

async fn run_trial(
    connection: &BotConnection,
    document: &str,
    before: &ConfigState,
    open: &OpenChanges,
    found: &mut Vec<ConformanceFinding>,
) {
    let txn = format!("bot-check-{}", Uuid::now_v7());
    let candidate = VersionRef {
        version: before.running.version.max(before.committed.version).saturating_add(1),
        sha256: botops_core::text::sha256_hex(document),
    };
    let request = ActivateConfigRequest {
        txn: txn.clone(),
        generation: before.generation,
        base: before.running.clone(),
        candidate: candidate.clone(),
        document: document.to_owned(),
        ttl_ms: TRIAL_MS,
        boot_once: false,
    };
    let trial = OpenTrial {
        txn: txn.clone(),
        generation: before.generation,
        before: before.running.clone(),
        was_answered: false,
        time_to_live: Duration::from_millis(TRIAL_MS),
    };
    open.note_trial(trial.clone());
    let activated: TrialAnswer<ConfigAck> =
        post(connection, ACTIVATE, "config/activate", &request, found).await;
    let ack = match activated {
        TrialAnswer::Read(ack) => ack,
        TrialAnswer::Refused => return open.close_trial(),
        // It may begin yet, so that there is nothing to revert now.
        TrialAnswer::Doubtful => return,
    };
    open.note_trial_began();
    if ack.running != candidate {
        let remedy = "`running` is the version in force after the request: during a trial the candidate, by its version and sha256.";
        found.push(ConformanceFinding::fault("trial_not_running", ACTIVATE, remedy).at("/running"));
    }
    if let Some(during) = read_config(connection, found).await
        && during.trial.as_ref().is_none_or(|trial| trial.txn != txn)
    {
        let remedy =
            "While a trial runs, `trial` names its transaction, its candidate and the time that is left.";
        found.push(ConformanceFinding::fault("trial_not_shown", "GET config", remedy).at("/trial"));
    }
    revert_trial(connection, &trial, found).await;
    let Some(after) = read_config(connection, found).await else { return };
    if after.running == before.running && after.trial.is_none() {
        open.close_trial();
    }
}

/// Asks the bot to run again what ran before this trial.
pub(super) async fn revert_trial(
    connection: &BotConnection,
    trial: &OpenTrial,
    found: &mut Vec<ConformanceFinding>,
) {
    let end = EndTrialRequest { txn: trial.txn.clone(), generation: trial.generation };
    let _: TrialAnswer<ConfigAck> = post(connection, REVERT, "config/revert", &end, found).await;
}

/// What became of a call of the trial.
enum TrialAnswer<T> {
    Read(T),
    /// A refusal in the contract's form: nothing was done.
    Refused,
    /// Whether it was done is not known.
    Doubtful,
}

impl<T> TrialAnswer<T> {
    fn answer(self) -> Option<T> {
        match self {
            Self::Read(answer) => Some(answer),
            Self::Refused | Self::Doubtful => None,
        }
    }
}

async fn post<B: Serialize + Sync, T: DeserializeOwned>(
    connection: &BotConnection,
    call: &str,
    path: &str,
    body: &B,
    found: &mut Vec<ConformanceFinding>,
) -> TrialAnswer<T> {
    let answer = match ask(call, connection.post(path).json(body), COMMAND_DEADLINE).await {
        Ok(answer) => answer,
        Err(finding) => {
            found.push(finding);
            return TrialAnswer::Doubtful;
        }
    };
    found.extend(check_pace(call, &answer, false));
    let status = answer.answer.status;
    if !status.is_success() {
        let refusal = read_refusal(&answer.answer);
        let is_refused = status.is_client_error() && refusal.is_some();
        let raised = refusal.as_ref().and_then(|refusal| raised_in_config(call, refusal));
        if let Some(raised) = raised {
            found.push(raised);
            return if is_refused { TrialAnswer::Refused } else { TrialAnswer::Doubtful };
        }
        let said =
            refusal.map_or_else(String::new, |refusal| format!(", {}: {}", refusal.code, refusal.message));
        let remedy =
            "`hello` lists `config`: take the document that the check took, and answer as the manual shows.";
        let got = format!("status {}{said}", status.as_u16());
        let rule = if status.is_server_error() { "raises" } else { "trial_refused" };
        found.push(ConformanceFinding::fault(rule, call, remedy).got(&got));
        return if is_refused { TrialAnswer::Refused } else { TrialAnswer::Doubtful };
    }
    match reading::read_whole::<T>(call, &answer.answer.body, &[]) {
        Ok(read) => {
            found.extend(read.unreadable.iter().map(fault_of));
            TrialAnswer::Read(read.value)
        }
        Err(why) => {
            found.extend(faults_of_answer(call, &why));
            TrialAnswer::Doubtful
        }
    }
}
