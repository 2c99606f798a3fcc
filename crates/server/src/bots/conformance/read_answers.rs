//! Answers to `GET hello` and `GET state`: asked for, read as botops reads them, with what is wrong in them.

use std::time::Duration;

use chrono::Utc;
use reqwest::{StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer_form::notes_on_form;
use super::findings::ConformanceFinding;
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{POLL_LIMIT, ProbeAnswer, ask, check_pace, status_finding};
use super::state_rules::{StateSample, check_sample};
use crate::bots::reading;
use crate::bots::sanitise;
use crate::bots::transport::BotConnection;
use botops_contract::{BotReport, Hello};

const HELLO: &str = "GET hello";
const STATE: &str = "GET state";

/// How often the state is read after the first time, and the wait before each: together long enough to see a loop of
/// a second move, short enough to wait for.
const SAMPLES: usize = 4;
const SAMPLE_GAP: Duration = Duration::from_millis(600);

/// What was read of an answer, with what was found in it.
pub(super) struct ReadOutcome<T> {
    pub value: Option<T>,
    pub findings: Vec<ConformanceFinding>,
}

impl<T> ReadOutcome<T> {
    fn failed(findings: Vec<ConformanceFinding>) -> Self {
        Self { value: None, findings }
    }
}

async fn ask_answer(
    connection: &BotConnection,
    call: &str,
    path: &str,
) -> Result<ProbeAnswer, ConformanceFinding> {
    let answer = ask(call, connection.poll(path), POLL_LIMIT).await?;
    match status_finding(call, &answer.answer) {
        Some(finding) => Err(finding),
        None => Ok(answer),
    }
}

pub(super) async fn ask_hello(connection: &BotConnection) -> ReadOutcome<Hello> {
    let answer = match ask_answer(connection, HELLO, "hello").await {
        Ok(answer) => answer,
        Err(finding) => return ReadOutcome::failed(vec![finding]),
    };
    let mut findings = check_pace(HELLO, &answer, true);
    let body = &answer.answer.body;
    match reading::read_whole::<Hello>(HELLO, body, &Hello::REQUIRED) {
        Ok(read) => {
            findings.extend(read.unreadable.iter().map(fault_of));
            let mut hello = read.value;
            findings.extend(notes_of(HELLO, body, &hello));
            sanitise::hello(&mut hello);
            ReadOutcome { value: Some(hello), findings }
        }
        Err(why) => {
            findings.extend(faults_of_answer(HELLO, &why));
            ReadOutcome::failed(findings)
        }
    }
}

/// One answer of the state; with `whole`, also what its form says.
pub(super) async fn ask_state(
    connection: &BotConnection,
    hello: &Hello,
    whole: bool,
) -> ReadOutcome<(StateSample, String)> {
    let answer = match ask_answer(connection, STATE, "state").await {
        Ok(answer) => answer,
        Err(finding) => return ReadOutcome::failed(vec![finding]),
    };
    let received_at = Utc::now();
    let mut findings = check_pace(STATE, &answer, true);
    let body = &answer.answer.body;
    let read = match reading::read_parts::<BotReport>(STATE, body, &BotReport::REQUIRED) {
        Ok(read) if read.value != BotReport::default() => read,
        Ok(_) => {
            let remedy = "Nothing in the answer is of the contract: the manual shows the smallest state.";
            findings.push(ConformanceFinding::fault("nothing_known", STATE, remedy));
            return ReadOutcome::failed(findings);
        }
        Err(why) => {
            findings.extend(faults_of_answer(STATE, &why));
            return ReadOutcome::failed(findings);
        }
    };
    let (mut report, mut unreadable) = (read.value, read.unreadable);
    if whole {
        findings.extend(notes_of(STATE, body, &report));
    }
    sanitise::report(&mut report, &mut unreadable);
    findings.extend(unreadable.iter().map(fault_of));
    let note = pace_note(&answer);
    let sample = StateSample { report, etag: answer.answer.etag, received_at };
    findings.extend(check_sample(&sample, hello));
    ReadOutcome { value: Some((sample, note)), findings }
}

pub(super) async fn sample_states(
    connection: &BotConnection,
    hello: &Hello,
) -> ReadOutcome<Vec<StateSample>> {
    let (mut samples, mut findings) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        tokio::time::sleep(SAMPLE_GAP).await;
        let read = ask_state(connection, hello, false).await;
        findings.extend(read.findings);
        match read.value {
            Some((sample, _)) => samples.push(sample),
            // A bot that does not answer is not asked again and again.
            None => break,
        }
    }
    ReadOutcome { value: Some(samples), findings }
}

/// Whether an unchanged state is a 304, and a changed one is not.
pub(super) async fn check_etag(connection: &BotConnection, etag: Option<&str>) -> Vec<ConformanceFinding> {
    let Some(etag) = etag else { return Vec::new() };
    let mut found = Vec::new();
    let with_tag = |tag: &str| connection.poll("state").header(header::IF_NONE_MATCH, tag);
    match ask(STATE, with_tag(etag), POLL_LIMIT).await {
        Ok(again) if again.answer.status == StatusCode::OK && again.answer.etag.as_deref() == Some(etag) => {
            let remedy = "If-None-Match is ignored: answer 304 without a body while the ETag is the same.";
            found.push(ConformanceFinding::warning("etag_ignored", STATE, remedy).got(etag));
        }
        Ok(again) if again.answer.status != StatusCode::NOT_MODIFIED => {
            found.extend(status_finding(STATE, &again.answer));
        }
        Ok(_) => {}
        Err(finding) => found.push(finding),
    }
    if let Ok(other) = ask(STATE, with_tag("\"bot-check\""), POLL_LIMIT).await
        && other.answer.status == StatusCode::NOT_MODIFIED
    {
        let remedy = "It answers 304 to an ETag that it never gave, so botops would never see a change: compare If-None-Match with the ETag of now.";
        found.push(ConformanceFinding::fault("always_304", STATE, remedy));
    }
    found
}

fn notes_of<T: Serialize + DeserializeOwned>(call: &str, body: &[u8], read: &T) -> Vec<ConformanceFinding> {
    let (Ok(came), Ok(read)) = (serde_json::from_slice::<Value>(body), serde_json::to_value(read)) else {
        // What is not quite JSON was named already.
        return Vec::new();
    };
    notes_on_form(call, &came, &read, reading::allowed_words::<T>)
}

pub(super) fn pace_note(answer: &ProbeAnswer) -> String {
    format!("{} ms, {} bytes", answer.took.as_millis(), answer.answer.body.len())
}
