//! botops in a process of its own, as people run it: its log, its memory and its threads can be looked at.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::app::{KEY, answer, command};
use super::{Process, install_tls, wait_until};

/// How long botops may take to start or to stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A botops process with its data in `botops-data` of a folder.
pub(crate) struct BotopsProcess {
    process: Process,
    log: PathBuf,
    pub address: SocketAddr,
    client: reqwest::Client,
}

impl BotopsProcess {
    /// Starts it and waits until it serves.
    pub(crate) fn start(folder: &Path, more: &[(&str, &str)]) -> Self {
        install_tls();
        let log = folder.join("botops-data/logs/botops.log");
        let starts = |text: &str| text.matches("botops serves on ").count();
        let before = starts(&std::fs::read_to_string(&log).unwrap_or_default());
        let mut botops = command(&["serve", "--port", "0"]);
        botops.current_dir(folder).env("BOT_API_AUTH_TOKEN", KEY).env("BOT_API_RATE_LIMIT", "1000000");
        botops.envs(more.iter().copied());
        botops.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let process = Process::spawn(&mut botops);
        let mut text = String::new();
        wait_until("botops serves", PATIENCE, || {
            text = std::fs::read_to_string(&log).unwrap_or_default();
            starts(&text) > before
        });
        let last = text.rsplit("botops serves on ").next().expect("just seen");
        let address = last.split(['"', ' ']).next().and_then(|text| text.parse().ok()).expect("an address");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client without options");
        Self { process, log, address, client }
    }

    /// A request with the operator's key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).header("x-api-key", KEY)
    }

    /// `GET`: status and JSON body, whatever the status is.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    /// A request with a JSON body: status and JSON body of the answer.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(method, path).json(body)).await
    }

    /// Memory that is resident now, in KiB.
    pub(crate) fn resident_kb(&self) -> u64 {
        self.status_line("VmRSS:")
    }

    /// The most memory that was ever resident, in KiB.
    pub(crate) fn peak_kb(&self) -> u64 {
        self.status_line("VmHWM:")
    }

    fn status_line(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// How many of its threads have this name.
    pub(crate) fn threads_named(&self, name: &str) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.pid())).expect("it runs");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|found| found.trim() == name).count()
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) {
        self.process.terminate();
        self.process.wait(PATIENCE);
    }

    /// Ends it in order; returns its log.
    pub(crate) fn stop_and_read_log(mut self) -> String {
        self.process.terminate();
        self.process.wait(PATIENCE);
        std::fs::read_to_string(&self.log).expect("it has a log")
    }
}
