//! One run: from the first connection to the report.

use std::time::Duration;

use super::command_rules::{check_unknown_verb, check_unsent_command};
use super::config_rules::{SCHEMA, SchemaReader, check_config, check_own_schema, read_config};
use super::event_rules::{EventWatch, check_resume};
use super::exercise::{ExerciseOptions, ExerciseOutcome, exercise_bot, exercise_config};
use super::findings::{ConformanceFinding, FindingList, FindingWeight};
use super::gains::find_gains;
use super::hello_rules::{check_hello, compare_hellos};
use super::open_changes::OpenChanges;
use super::probe::GONE;
use super::read_answers::{ask_hello, ask_state, check_etag, pace_note, sample_states};
use super::report::{CallStanding, CheckedBot, CheckedCall, ConformanceReport};
use super::restore::Restoration;
use super::socket_rights::check_rights;
use super::state_rules::compare_samples;
use super::trade_rules::check_trades;
use crate::bots::exchange::TransportFailure;
use crate::bots::transport::{self, BotAddress, BotConnection};
use botops_contract::{BotId, BotReport, COMMAND_STATUS, CONFIG_SCHEMA, Hello, TradingMode, Verb};
use botops_core::signals::{SignalRequest, Signals};

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
    ///
    /// A signal that asks to stop ends it early: `on_interrupt` is called, and what was begun is taken back as at every
    /// other ending. A second one ends that as well, and what is then left behind is told.
    pub async fn exercise(&mut self, options: &ExerciseOptions, signals: &mut Signals, on_interrupt: fn()) {
        let Some(hello) = self.hello.clone() else { return };
        let (open, mut outcome) = (OpenChanges::default(), ExerciseOutcome::default());
        let restoration = Restoration {
            address: &self.options.address,
            connection: &self.connection,
            hello: &hello,
            token_file: options.token_file.clone(),
            wait: options.wait,
        };
        let is_interrupted = tokio::select! {
            () = exercise_and_restore(&restoration, options, &open, &mut outcome) => false,
            () = stop_asked(signals) => true,
        };
        if is_interrupted {
            on_interrupt();
            let is_left = tokio::select! {
                () = restoration.restore(&open, &mut outcome.findings) => false,
                () = stop_asked(signals) => true,
            };
            if is_left {
                outcome.findings.extend(restoration.leave_open(&open));
            }
            let remedy =
                "The run was ended by a signal: what was not exercised is not known to work. Run it again.";
            outcome.findings.push(ConformanceFinding::fault("interrupted", VERBS, remedy));
        }
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
            process: self.connection.peer().map(|peer| peer.pid),
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

/// Does what can be taken back, and takes it back, one change after the other.
async fn exercise_and_restore(
    restoration: &Restoration<'_>,
    options: &ExerciseOptions,
    open: &OpenChanges,
    outcome: &mut ExerciseOutcome,
) {
    let (connection, hello) = (restoration.connection, restoration.hello);
    exercise_bot(connection, hello, open, outcome).await;
    restoration.restore(open, &mut outcome.findings).await;
    exercise_config(connection, hello, options, open, outcome).await;
    restoration.restore(open, &mut outcome.findings).await;
}

/// Resolves when a signal asks the process to stop.
async fn stop_asked(signals: &mut Signals) {
    while signals.next().await != SignalRequest::Stop {}
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
