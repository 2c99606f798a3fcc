//! paperbot under test: the real program in its own process, with its own folder and socket.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use botops_contract::{BotReport, CommandRequest, CommandResult, Hello, Verb};
use reqwest::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use super::{Process, folder, program, socket_client, until};

/// A paperbot, killed when it is dropped. The folder stays over kills and restarts.
pub(crate) struct Paperbot {
    pub folder: TempDir,
    pub process: Option<Process>,
    pub client: Client,
    arguments: Vec<String>,
}

impl Paperbot {
    /// Makes the folder of a bot with these arguments; nothing is started.
    pub(crate) fn prepare(arguments: &[&str]) -> Self {
        let folder = folder();
        let client = socket_client(&folder.path().join("bot.sock"));
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { folder, process: None, client, arguments }
    }

    /// Adds arguments for the next launch.
    pub(crate) fn arguments(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }

    /// Takes other arguments for the next launch.
    pub(crate) fn replace_arguments(&mut self, arguments: &[&str]) {
        self.arguments.clear();
        self.arguments(arguments);
    }

    /// Starts a bot and waits for its first answer.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut bot = Self::prepare(arguments);
        bot.launch().await;
        bot
    }

    /// Starts the process, again after a kill, and waits for its first answer.
    pub(crate) async fn launch(&mut self) -> Hello {
        self.process = Some(Process::spawn(&mut self.command()));
        let hello = || async { self.get::<Hello>("hello").await.is_some() };
        until("paperbot answers", Duration::from_secs(20), hello).await;
        self.get("hello").await.expect("it just answered")
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(program("paperbot"));
        command.arg("--socket").arg(self.socket()).arg("--data-dir").arg(self.data());
        command.args(&self.arguments).env("FAIL_IN", self.faults());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("bot.sock")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder whose files name the failpoints at which a thread waits.
    pub(crate) fn faults(&self) -> PathBuf {
        self.folder.path().join("faults")
    }

    /// Stops a part of the bot at a failpoint: `paperbot.loop` between two requests, `paperbot.request` while it
    /// handles one that it took out of its inbox.
    pub(crate) fn stall(&self, place: &str) {
        std::fs::create_dir_all(self.faults()).unwrap();
        std::fs::write(self.faults().join(place), "").unwrap();
    }

    /// Waits until that part has stopped.
    pub(crate) async fn stands(&self, place: &str) {
        let mark = self.faults().join(format!("{place}.stands"));
        until("it stands still", Duration::from_secs(20), || async { mark.exists() }).await;
    }

    /// Lets that part continue.
    pub(crate) fn go_on(&self, place: &str) {
        std::fs::remove_file(self.faults().join(place)).unwrap();
    }

    /// `GET` of a path of the contract; `None` while there is no well-formed answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        self.client.get(url(path)).send().await.ok()?.json().await.ok()
    }

    /// The state of a bot that is known to answer.
    pub(crate) async fn state(&self) -> BotReport {
        self.get("state").await.expect("the bot answers with its state")
    }

    /// Waits until the state fulfils the condition, and returns that state, since a moment later it may be another.
    ///
    /// A failure prints the last state.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&BotReport) -> bool) -> BotReport {
        let last = std::sync::Mutex::new(None);
        let seen = || async {
            let report: Option<BotReport> = self.get("state").await;
            let fits = report.as_ref().is_some_and(&condition);
            *last.lock().unwrap() = report;
            fits
        };
        if tokio::time::timeout(Duration::from_secs(30), until(what, Duration::MAX, seen)).await.is_err() {
            panic!("{what}: not within 30 s; last seen: {:#?}", last.lock().unwrap());
        }
        last.into_inner().unwrap().expect("it was as wished")
    }

    /// Waits until new positions may be opened, which needs the first check of the session.
    pub(crate) async fn trades(&self) {
        self.until("new positions may be opened", |report| report.trading_enabled == Some(true)).await;
    }

    /// `POST`: status and JSON body of the answer.
    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> (u16, Value) {
        let answer = self.client.post(url(path)).json(body).send().await.expect("the bot answers");
        (answer.status().as_u16(), answer.json().await.expect("it answers with JSON"))
    }

    /// Sends a command that must be answered with a result.
    pub(crate) async fn command_with(&self, verb: Verb, request: &CommandRequest) -> CommandResult {
        let (status, body) = self.post(&format!("commands/{verb}"), request).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value(body).expect("the contract's form")
    }

    /// Sends a command with this id.
    pub(crate) async fn command_as(&self, verb: Verb, command_id: &str) -> CommandResult {
        let request = CommandRequest {
            command_id: command_id.to_owned(),
            reason: "a test".to_owned(),
            args: Value::Null,
            dry_run: false,
            valid_for_ms: None,
            expires_at: None,
        };
        self.command_with(verb, &request).await
    }
}

/// The URL of a path of the contract.
pub(crate) fn url(path: &str) -> String {
    format!("http://bot/ipc/v1/{path}")
}

/// The lines of a JSONL file, without an incomplete last one.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).expect("a line end is a boundary"));
    whole.lines().map(|line| serde_json::from_str(line).expect("a whole line is JSON")).collect()
}
