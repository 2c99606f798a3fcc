//! One run: from the first connection to the report.

use std::time::Duration;

use chrono::Utc;
use reqwest::{StatusCode, header};
use serde_json::Value;

use super::answer_form::notes_on_form;
use super::command_rules::{check_unknown_verb, check_unsent_command};
use super::config_rules::{SCHEMA, SchemaReader, check_config, check_own_schema, read_config};
use super::event_rules::{EventWatch, check_resume};
use super::exercise::{ExerciseOptions, exercise_bot};
use super::findings::{ConformanceFinding, FindingList, FindingWeight};
use super::gains::find_gains;
use super::hello_rules::{check_hello, compare_hellos};
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{GONE, POLL_LIMIT, ProbeAnswer, ask, check_pace, status_finding};
use super::report::{CallStanding, CheckedBot, CheckedCall, ConformanceReport};
use super::socket_rights::check_rights;
use super::state_rules::{StateSample, check_sample, compare_samples};
use super::trade_rules::check_trades;
use crate::bots::exchange::TransportFailure;
use crate::bots::reading;
use crate::bots::sanitise;
use crate::bots::transport::{self, BotAddress, BotConnection};
use botops_contract::{BotId, BotReport, COMMAND_STATUS, CONFIG_SCHEMA, Hello, TradingMode, Verb};

const HELLO: &str = "GET hello";
const STATE: &str = "GET state";
const EVENTS: &str = "GET events";
const TRADES: &str = "GET trades";
const CONFIG: &str = "GET config";
const STATUS: &str = "GET commands/{command_id}";
const VERBS: &str = "POST commands/{verb}";
const TRIAL: &str = "POST config/{verb}";

/// The calls in the order of the manual.
const ORDER: [&str; 9] = [HELLO, STATE, VERBS, STATUS, EVENTS, TRADES, CONFIG, SCHEMA, TRIAL];

/// How often the state is read after the first time, and the wait before each: together long enough to see a loop of
/// a second move, short enough to wait for.
const SAMPLES: usize = 4;
const SAMPLE_GAP: Duration = Duration::from_millis(600);

/// How long the event stream is watched while the state is asked for.
const STREAM_TIME: Duration = Duration::from_millis(2_400);

/// How long a stream that was come back to may send what it should not.
const RESUME_TIME: Duration = Duration::from_millis(800);

/// What a run needs.
#[derive(Debug, Clone)]
pub struct ConformanceOptions {
    /// Where the bot serves the contract.
    pub address: BotAddress,
    /// The id that it should have, as `BOT_ID` will name it.
    pub bot_id: Option<BotId>,
    /// Whether a bot that moves real money may be sent anything but reads.
    pub live: bool,
    /// Reads the schema of the bot's config.
    pub read_schema: SchemaReader,
}

/// Why there is nobody to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConformanceUnreachable {
    /// What was seen.
    pub reason: String,
    /// What to do.
    pub remedy: &'static str,
}

/// A run against one bot. Reads first, then, when asked for, what can be taken back.
#[derive(Debug)]
pub struct ConformanceCheck {
    options: ConformanceOptions,
    connection: BotConnection,
    found: FindingList,
    calls: Vec<CheckedCall>,
    hello: Option<Hello>,
    newest: Option<BotReport>,
    has_etag: bool,
}

impl ConformanceCheck {
    /// Connects, as botops would.
    ///
    /// # Errors
    /// When nobody can be asked there.
    pub async fn connect(options: ConformanceOptions) -> Result<Self, ConformanceUnreachable> {
        let connected = match options.address.endpoint() {
            Ok(endpoint) => transport::connect(&options.address, endpoint).await,
            Err(failure) => Err(failure),
        };
        let connection = connected.map_err(unreachable_because)?;
        let found = FindingList::default();
        Ok(Self { options, connection, found, calls: Vec::new(), hello: None, newest: None, has_etag: false })
    }

    /// Asks everything that changes nothing.
    pub async fn read_bot(&mut self) {
        if let Some(socket) = self.options.address.socket_file() {
            self.found.extend(check_rights(socket));
        }
        let Some(hello) = self.read_hello().await else {
            self.record(HELLO, String::new());
            return;
        };
        self.found.extend(check_hello(&hello, self.options.bot_id.as_ref(), self.connection.peer()));
        self.hello = Some(hello.clone());
        self.watch_state(&hello).await;
        if !self.found.has_rule(GONE)
            && let Some(again) = self.read_hello().await
        {
            self.found.extend(compare_hellos(&hello, &again));
        }
        self.record(HELLO, hello.name.clone().unwrap_or_default());
        // A bot that ended meanwhile has nothing more to say, and what it does not answer now is no fault of it.
        if self.found.has_rule(GONE) {
            return;
        }
        self.read_journals(&hello).await;
        self.ask_about_commands(&hello).await;
    }

    /// Sends what can be taken back: pauses and resumes the bot, and tries a config that is reverted.
    pub async fn exercise(&mut self, options: &ExerciseOptions) {
        let Some(hello) = self.hello.clone() else { return };
        let outcome = exercise_bot(&self.connection, &hello, options).await;
        self.found.extend(outcome.findings);
        for (call, note) in outcome.exercised {
            self.calls.retain(|known| known.call != call);
            self.record(&call, note);
        }
    }

    /// Who answered, and how its account is; `None` when it did not say.
    pub fn mode(&self) -> Option<TradingMode> {
        self.hello.as_ref().map(|hello| hello.mode)
    }

    /// What was seen so far.
    pub fn report(&self) -> ConformanceReport {
        let findings = self.found.sorted();
        let passed = findings.iter().all(|finding| finding.weight != FindingWeight::Fault);
        let bot = self.hello.as_ref().map(|hello| CheckedBot {
            bot_id: hello.bot_id.to_string(),
            version: hello.version.clone(),
            mode: hello.mode.to_string(),
            contract: hello.contract,
            adapter: hello.adapter.as_ref().map(|adapter| adapter.name.clone()),
        });
        let gains = self.hello.as_ref().map(|hello| find_gains(hello, self.newest.as_ref(), self.has_etag));
        ConformanceReport {
            address: self.options.address.to_string(),
            bot,
            passed: passed && self.hello.is_some(),
            calls: self.ordered_calls(),
            findings,
            gains: gains.unwrap_or_default(),
        }
    }

    fn ordered_calls(&self) -> Vec<CheckedCall> {
        let mut calls = self.calls.clone();
        calls.sort_by_key(|call| ORDER.iter().position(|known| *known == call.call));
        calls
    }

    /// Notes how a call was answered, by what was found in it.
    fn record(&mut self, call: &str, note: String) {
        let is_faulty = self.found.has_fault_in(call);
        let standing = if is_faulty { CallStanding::Faulty } else { CallStanding::Served };
        self.note_call(call, standing, note);
    }

    fn note_call(&mut self, call: &str, standing: CallStanding, note: String) {
        self.calls.push(CheckedCall { call: call.to_owned(), standing, note });
    }

    async fn read_hello(&mut self) -> Option<Hello> {
        let read = ask_hello(&self.connection).await;
        self.found.extend(read.findings);
        read.value
    }

    /// Reads the state several times, meanwhile the event stream is open, as it is beside botops.
    async fn watch_state(&mut self, hello: &Hello) {
        let first = ask_state(&self.connection, hello, true).await;
        self.found.extend(first.findings);
        let Some((sample, note)) = first.value else {
            self.record(STATE, String::new());
            self.watch_events_alone(hello).await;
            return;
        };
        self.has_etag = sample.etag.is_some();
        self.found.extend(check_etag(&self.connection, sample.etag.as_deref()).await);
        let stream = self.open_stream(hello).await;
        let mut samples = vec![sample];
        let sampled = sample_states(&self.connection, hello);
        let (later, stream) = match stream {
            Some(mut stream) => {
                let (later, ()) = tokio::join!(sampled, stream.watch(STREAM_TIME));
                (later, Some(stream))
            }
            None => (sampled.await, None),
        };
        let is_late = later.findings.iter().any(|finding| matches!(finding.rule, "hung" | "slow" | "cut"));
        if is_late && stream.is_some() && !self.found.has_fault_in(STATE) {
            let remedy = "The state is answered late as soon as the event stream is open, and botops holds it open all the time: serve each connection on a thread of its own.";
            self.found.add(ConformanceFinding::fault("blocked_by_stream", STATE, remedy));
        }
        self.found.extend(later.findings);
        samples.extend(later.value.unwrap_or_default());
        self.found.extend(compare_samples(&samples));
        self.newest = samples.pop().map(|sample| sample.report);
        self.record(STATE, note);
        if self.found.has_rule(GONE) {
            return;
        }
        self.close_stream(stream).await;
    }

    async fn watch_events_alone(&mut self, hello: &Hello) {
        let mut stream = self.open_stream(hello).await;
        if let Some(stream) = &mut stream {
            stream.watch(STREAM_TIME).await;
        }
        self.close_stream(stream).await;
    }

    async fn open_stream(&mut self, hello: &Hello) -> Option<EventWatch> {
        if !hello.offers("events") {
            self.note_call(EVENTS, CallStanding::NotOffered, String::new());
            return None;
        }
        match EventWatch::open(&self.connection, None).await {
            Ok(stream) => Some(stream),
            Err(finding) => {
                self.found.add(finding);
                self.record(EVENTS, String::new());
                None
            }
        }
    }

    async fn close_stream(&mut self, stream: Option<EventWatch>) {
        let Some(mut stream) = stream else { return };
        stream.check_order();
        let found = std::mem::take(&mut stream.findings);
        self.found.extend(found);
        self.found.extend(check_resume(&self.connection, &stream, RESUME_TIME).await);
        let note = match stream.events.len() {
            0 => "no event while it was watched, so what events say was not seen".to_owned(),
            count => format!("{count} events"),
        };
        self.record(EVENTS, note);
    }

    async fn read_journals(&mut self, hello: &Hello) {
        if hello.offers("trades") {
            let mut found = Vec::new();
            let answer = check_trades(&self.connection, &mut found).await;
            self.found.extend(found);
            self.record(TRADES, answer.map(|answer| pace_note(&answer)).unwrap_or_default());
        } else {
            self.note_call(TRADES, CallStanding::NotOffered, String::new());
        }
        if hello.offers("config") {
            let mut found = Vec::new();
            let state = read_config(&self.connection, &mut found).await;
            self.found.extend(found);
            if let Some(state) = &state {
                self.found.extend(check_config(state, hello));
            }
            self.record(
                CONFIG,
                state.map(|state| format!("version {} runs", state.running.version)).unwrap_or_default(),
            );
            self.note_call(TRIAL, CallStanding::NotTried, "with --exercise and --config FILE".to_owned());
        } else {
            self.note_call(CONFIG, CallStanding::NotOffered, String::new());
        }
        if hello.offers(CONFIG_SCHEMA) {
            let mut found = Vec::new();
            check_own_schema(&self.connection, self.options.read_schema, &mut found).await;
            self.found.extend(found);
            self.record(SCHEMA, String::new());
        } else {
            self.note_call(SCHEMA, CallStanding::NotOffered, String::new());
        }
    }

    async fn ask_about_commands(&mut self, hello: &Hello) {
        let verbs: Vec<&str> =
            Verb::ALL.map(Verb::as_str).into_iter().filter(|verb| hello.offers(verb)).collect();
        let may_send = self.options.live || matches!(hello.mode, TradingMode::Paper | TradingMode::Backtest);
        if verbs.is_empty() {
            self.note_call(VERBS, CallStanding::NotOffered, String::new());
        } else {
            if may_send {
                self.found.extend(check_unknown_verb(&self.connection).await);
            }
            self.note_call(
                VERBS,
                CallStanding::NotTried,
                format!("{}; tried with --exercise", verbs.join(" ")),
            );
        }
        if hello.offers(COMMAND_STATUS) {
            self.found.extend(check_unsent_command(&self.connection).await);
            self.record(STATUS, String::new());
        } else {
            self.note_call(STATUS, CallStanding::NotOffered, String::new());
        }
    }
}

fn unreachable_because(failure: TransportFailure) -> ConformanceUnreachable {
    let (reason, remedy) = match failure {
        TransportFailure::Away(reason) => {
            let remedy = if reason.contains("another user") {
                "botops uses only a socket of its own user: run the bot and botops (and this check) as one user."
            } else if reason.contains("nobody listens") {
                "The file is left over from a bot that ended: start the bot."
            } else if reason.contains("may not") {
                "Run this check as the user who runs the bot."
            } else {
                "Start the bot, or name the socket that it serves."
            };
            (reason, remedy)
        }
        TransportFailure::Late => (
            "somebody listens on the socket, and does not accept connections".to_owned(),
            "The bot's process hangs, or its server does not accept: look at it, or start it anew.",
        ),
        TransportFailure::Cut => {
            ("the connection was closed at once".to_owned(), "Look at the output of the bot.")
        }
        TransportFailure::Nonsense(reason)
        | TransportFailure::AnotherBot(reason)
        | TransportFailure::Upstream(_, reason) => (reason, "Look at the output of the bot."),
    };
    ConformanceUnreachable { reason: botops_core::text::clean(&reason, 300), remedy }
}

/// What was read of an answer, with what was found in it.
struct ReadOutcome<T> {
    value: Option<T>,
    findings: Vec<ConformanceFinding>,
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

async fn ask_hello(connection: &BotConnection) -> ReadOutcome<Hello> {
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
async fn ask_state(
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

async fn sample_states(connection: &BotConnection, hello: &Hello) -> ReadOutcome<Vec<StateSample>> {
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
async fn check_etag(connection: &BotConnection, etag: Option<&str>) -> Vec<ConformanceFinding> {
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

fn notes_of<T: serde::Serialize>(call: &str, body: &[u8], read: &T) -> Vec<ConformanceFinding> {
    let (Ok(came), Ok(read)) = (serde_json::from_slice::<Value>(body), serde_json::to_value(read)) else {
        // What is not quite JSON was named already.
        return Vec::new();
    };
    notes_on_form(call, &came, &read)
}

fn pace_note(answer: &ProbeAnswer) -> String {
    format!("{} ms, {} bytes", answer.took.as_millis(), answer.answer.body.len())
}
