//! A config that is tried and reverted: what runs afterwards is what ran before.

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::config_rules::read_config;
use super::findings::ConformanceFinding;
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

/// Tries the document and takes it back; what was found, and a note on what was done.
pub(super) async fn try_config(
    connection: &BotConnection,
    document: &str,
) -> (Vec<ConformanceFinding>, String) {
    let mut found = Vec::new();
    let Some(before) = read_config(connection, &mut found).await else {
        return (found, "not tried: what runs now could not be read".to_owned());
    };
    if before.trial.is_some() {
        return (found, "not tried: another trial runs".to_owned());
    }
    let Ok(config) = serde_json::from_str(document) else {
        return (found, "not tried: the document is no JSON".to_owned());
    };
    let verdict: Option<CheckVerdict> =
        post(connection, CHECK, "config/check", &CheckConfigRequest { config }, &mut found).await.answer();
    let Some(mut verdict) = verdict else { return (found, "not tried: the check failed".to_owned()) };
    sanitise::verdict(&mut verdict);
    if !verdict.ok {
        let why = verdict.violations.first().map(|violation| violation.message.clone()).unwrap_or_default();
        return (found, format!("not tried: the bot does not take this document ({why})"));
    }
    run_trial(connection, document, &before, &mut found).await;
    (found, "a config was tried and reverted".to_owned())
}

async fn run_trial(
    connection: &BotConnection,
    document: &str,
    before: &ConfigState,
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
    let activated: TrialAnswer<ConfigAck> =
        post(connection, ACTIVATE, "config/activate", &request, found).await;
    if matches!(activated, TrialAnswer::Refused) {
        return;
    }
    if let TrialAnswer::Read(ack) = &activated
        && ack.running != candidate
    {
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
    let end = EndTrialRequest { txn: txn.clone(), generation: before.generation };
    let _: TrialAnswer<ConfigAck> = post(connection, REVERT, "config/revert", &end, found).await;
    let Some(after) = read_config(connection, found).await else { return };
    if after.running != before.running || after.trial.is_some() {
        let remedy = format!(
            "After `revert` the bot runs another config than before. Its trial ends by itself within {} s; if it does not, start it anew.",
            TRIAL_MS / 1000
        );
        found.push(ConformanceFinding::fault("trial_not_reverted", REVERT, &remedy).at("/running"));
    }
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
