//! Shared by the tests: peers on real sockets, child processes, waiting for a condition.

pub(crate) mod app;
pub(crate) mod botops_process;
pub(crate) mod broker_stub;
pub(crate) mod full_disk;
pub(crate) mod paperbot;
pub(crate) mod plausible;
mod preload;
mod report_parts;
pub(crate) mod running_link;
pub(crate) mod scripted_bot;
pub(crate) mod scripted_config;
pub(crate) mod scripted_freqtrade;
pub(crate) mod wall_clock;

pub(crate) use report_parts::ReportParts;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Installs the TLS provider of the test process, without which `reqwest` builds no client.
pub(crate) fn install_tls() {
    botops_server::bots::install_tls_provider();
}

/// A temporary folder with a short path, because a socket path has at most 107 bytes.
///
/// It is in memory if there is room: a disk that stalls under other load would break time limits of tests, and no test
/// depends on data that survives a power failure.
pub(crate) fn folder() -> TempDir {
    let make = |place| tempfile::Builder::new().prefix("bo").tempdir_in(place);
    make("/dev/shm").or_else(|_| make("/tmp")).expect("/tmp can be written")
}

/// Checks `condition` every 5 ms until it holds; returns the time that took, and panics after `limit`.
#[track_caller]
pub(crate) fn wait_until(what: &str, limit: Duration, condition: impl FnMut() -> bool) -> Duration {
    let caller = std::panic::Location::caller();
    let mut condition = condition;
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?} ({caller})");
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}

/// The same inside a runtime: other tasks run meanwhile.
pub(crate) async fn until<F, W>(what: &str, limit: Duration, mut condition: F) -> Duration
where
    F: FnMut() -> W,
    W: Future<Output = bool>,
{
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

/// A client for one Unix socket.
pub(crate) fn socket_client(socket: &Path) -> reqwest::Client {
    install_tls();
    let client = reqwest::Client::builder().unix_socket(socket.to_owned()).no_proxy();
    client.redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(20)).build().unwrap()
}

/// The program of an example of the workspace. A run of all tests has built it already, with the same features.
pub(crate) fn built_example(name: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--quiet", "--message-format=json", "--example", name]);
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let told = String::from_utf8(built.stdout).unwrap();
    let mut messages = told.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program = messages.find_map(|message| {
        let is_it = message["target"]["name"] == name;
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    program.unwrap_or_else(|| panic!("{name} is no example: {told}"))
}

/// A child process that is killed with SIGKILL when it is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `program`; its standard input is a pipe that is closed when this value is dropped.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::spawn(&mut command)
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self { child: command.spawn().expect("the program starts") }
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGSTOP and waits until every thread stands still: the process exists, but does nothing.
    pub(crate) fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
        let stands_still = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|after| after.trim_start().starts_with(['T', 't', 'Z']))
        };
        let tasks = format!("/proc/{}/task", self.pid());
        while !std::fs::read_dir(&tasks).unwrap().all(stands_still) {
            std::thread::yield_now();
        }
    }

    /// Sends SIGCONT, which ends [`Process::freeze`].
    pub(crate) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Sends SIGTERM and does not wait.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the process to end by itself; panics after `limit`.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> std::process::ExitStatus {
        let mut status = None;
        wait_until("the process ends", limit, || {
            status = self.child.try_wait().expect("the child is ours");
            status.is_some()
        });
        status.expect("just seen")
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id fits");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id is not zero");
        rustix::process::kill_process(pid, signal).expect("the child is ours and lives");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Path of a program of this package.
pub(crate) fn program(name: &str) -> PathBuf {
    assert_cmd::cargo::cargo_bin(name)
}

/// Whether `BOTOPS_LONG` is set: then sweeps test every case instead of the few that fit into every run.
pub(crate) fn is_long_run() -> bool {
    std::env::var_os("BOTOPS_LONG").is_some()
}
