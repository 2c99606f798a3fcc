//! botops under test: inside the test process, or in its own process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use botops::app::App;
use botops::settings::{SettingSources, Settings};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// The operator's key in tests. It is also a canary: it must not appear in any log or answer.
pub(crate) const KEY: &str = "operator-canary-key-0123456789";

/// botops inside this process, on a free port.
pub(crate) struct Running {
    pub app: App,
    pub base: String,
    pub client: reqwest::Client,
}

impl Running {
    /// Starts botops on a folder with a socket in it and [`KEY`]; `more` adds or replaces settings.
    pub(crate) async fn start(folder: &Path, more: &[(&str, &str)]) -> Self {
        let mut values = vec![
            ("BOT_API_AUTH_TOKEN".to_owned(), KEY.to_owned()),
            ("BOT_API_PORT".to_owned(), "0".to_owned()),
            ("BOT_API_RATE_LIMIT".to_owned(), "1000000".to_owned()),
            ("BOT_POLL_INTERVAL".to_owned(), "100ms".to_owned()),
            ("BOT_DATA_DIR".to_owned(), folder.join("data").display().to_string()),
            ("BOT_IPC_SOCKET".to_owned(), folder.join("bot.sock").display().to_string()),
        ];
        values.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let settings = Settings::check(&SettingSources::of(values)).expect("the test's settings can be used");
        let app = App::start(settings, Vec::new()).await.expect("botops starts");
        let base = format!("http://{}", app.address());
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { app, base, client: client.build().unwrap() }
    }

    /// A request with the operator's key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header("x-api-key", KEY)
    }

    /// `GET`: status and JSON body, whatever the status is.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    /// A request with a JSON body: status and JSON body of the answer.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(method, path).json(body)).await
    }

    pub(crate) async fn stop(self) {
        self.app.stop().await;
    }
}

/// Sends a request: status and JSON body of the answer.
pub(crate) async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("botops answers");
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    let value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (status, value)
}

/// A command of the botops binary with these arguments and without this process's own settings.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_botops"));
    let foreign =
        |name: &str| name.starts_with("BOT_") || name.starts_with("PAPERBOT_") || name == "RUST_LOG";
    for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads a child's standard output until a line satisfies `wanted`; returns the lines read, that one included.
pub(crate) fn read_until(child: &mut Child, limit: Duration, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let (lines, inbox) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                // Keep draining, so that the child never blocks on a full pipe.
            }
        }
    });
    let end = std::time::Instant::now() + limit;
    let mut seen = Vec::new();
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        let line =
            inbox.recv_timeout(left).unwrap_or_else(|_| panic!("no such line within {limit:?}: {seen:#?}"));
        let found = wanted(&line);
        seen.push(line);
        if found {
            return seen;
        }
    }
}
