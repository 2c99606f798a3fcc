//! Starting the bot again: the drivers `spawn`, `systemd` and `command`, chosen in the settings alone.
//!
//! A bot outlives botops: `spawn` starts it in a process group of its own and finds it again, after a restart of
//! botops, by its pid file and the kernel's start time of that pid. A process whose start time differs is somebody
//! else's and is never signalled; the signal goes through a pid descriptor, so the number cannot be reused between
//! the look and the signal. Nothing a request carries ever reaches a command line. Deliberately absent: restarting a
//! bot that ended by itself. Whether that is wanted is a decision, which a workflow or a health rule makes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::error::{Code, Error};

/// How long a helper command (`systemctl`, the configured one) may take.
const HELPER_LIMIT: Duration = Duration::from_secs(60);

/// How often a process that should end is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What the bot must not inherit: the operator's key, and where a test lets botops die.
const NOT_INHERITED: &[&str] = &["BOT_API_AUTH_TOKEN", "BOT_API_KEYS_FILE", "KILL_AT", "FAIL_IN"];

/// Who brings the bot back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// Nobody: a restart is refused before anything is stopped.
    None,
    /// botops starts the process itself.
    Spawn {
        /// The bot's command line.
        argv: Vec<String>,
        /// Where the bot writes `{pid, start_time, boot_epoch}`.
        pid_file: PathBuf,
        /// Where its output goes.
        output: PathBuf,
    },
    /// A service manager does.
    Systemd {
        /// The unit.
        unit: String,
        /// A unit of the user's own manager.
        user: bool,
    },
    /// A fixed command does.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// A process that is the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since the machine did.
    pub start_time: u64,
    /// Its life, if its pid file says so.
    pub boot_epoch: Option<String>,
}

impl Alive {
    /// Whether that very process lives.
    pub fn lives(&self) -> bool {
        process(self.pid) == Some(self.start_time)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct PidFile {
    pid: u32,
    start_time: Option<u64>,
    #[serde(default)]
    boot_epoch: Option<String>,
}

/// Handle to the supervisor; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Supervisor {
    driver: Arc<Driver>,
    /// What `spawn` started last: bridges the moment until the bot writes its own pid file.
    record: Arc<PathBuf>,
}

impl Supervisor {
    /// A supervisor that keeps its record in `folder`. Starts nothing.
    pub fn new(driver: Driver, folder: &Path) -> Self {
        Self { driver: Arc::new(driver), record: Arc::new(folder.join("supervised.json")) }
    }

    /// The driver's name.
    pub fn driver(&self) -> &'static str {
        match *self.driver {
            Driver::None => "none",
            Driver::Spawn { .. } => "spawn",
            Driver::Systemd { .. } => "systemd",
            Driver::Command { .. } => "command",
        }
    }

    /// Whether a bot that stops can be started again.
    pub fn can_start(&self) -> bool {
        *self.driver != Driver::None
    }

    /// Whether [`Supervisor::adopt`] can tell if the bot's process lives.
    pub fn sees_process(&self) -> bool {
        matches!(*self.driver, Driver::Spawn { .. })
    }

    /// The running bot, if this supervisor (or its predecessor) started it and it still lives.
    pub fn adopt(&self) -> Option<Alive> {
        let Driver::Spawn { pid_file, .. } = &*self.driver else { return None };
        living(pid_file).or_else(|| living(&self.record))
    }

    /// Starts the bot unless it runs; returns its pid where that is known.
    ///
    /// # Errors
    /// [`Code::SupervisorMissing`], [`Code::BotNotStarted`].
    pub async fn start(&self) -> Result<Option<u32>, Error> {
        match &*self.driver {
            Driver::None => Err(Error::new(Code::SupervisorMissing)),
            Driver::Spawn { argv, output, .. } => {
                if let Some(alive) = self.adopt() {
                    return Ok(Some(alive.pid));
                }
                self.spawn(argv, output).map(Some)
            }
            Driver::Systemd { unit, user } => helper(&systemctl(*user, "start", unit)).await.map(|()| None),
            Driver::Command { argv } => helper(argv).await.map(|()| None),
        }
    }

    /// Ends the bot's process: asks it (SIGTERM), and after `grace` ends it (SIGKILL). True when it is gone.
    ///
    /// # Errors
    /// [`Code::SupervisorMissing`] where this driver cannot end a process.
    pub async fn stop(&self, grace: Duration) -> Result<bool, Error> {
        match &*self.driver {
            Driver::Spawn { .. } => {
                let Some(alive) = self.adopt() else { return Ok(true) };
                signal(&alive, Signal::TERM);
                if gone(&alive, grace).await {
                    return Ok(true);
                }
                tracing::warn!(
                    bot.pid = alive.pid,
                    "the bot did not end within {grace:?} of SIGTERM; it is killed"
                );
                signal(&alive, Signal::KILL);
                Ok(gone(&alive, Duration::from_secs(5)).await)
            }
            Driver::Systemd { unit, user } => helper(&systemctl(*user, "stop", unit)).await.map(|()| true),
            Driver::None | Driver::Command { .. } => Err(Error::new(Code::SupervisorMissing)
                .detail(format!("the driver `{}` cannot end the bot's process", self.driver()))),
        }
    }

    fn spawn(&self, argv: &[String], output: &Path) -> Result<u32, Error> {
        let failed = |what: String| Error::new(Code::BotNotStarted).detail(what);
        let (program, arguments) =
            argv.split_first().ok_or_else(|| failed("no command is configured".to_owned()))?;
        let log = append_to(output)
            .and_then(|log| Ok((log.try_clone()?, log)))
            .map_err(|error| failed(format!("its output file cannot be written ({})", error.kind())))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.0).stderr(log.1);
        // A group of its own: what a terminal sends to botops does not reach the bot.
        command.process_group(0).kill_on_drop(false);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        let child = command
            .spawn()
            .map_err(|error| failed(format!("its program cannot be started ({})", error.kind())))?;
        // Dropped, the child is reaped by the runtime when it ends; nothing here waits for it.
        let pid = child.id().ok_or_else(|| failed("it ended at once".to_owned()))?;
        let record = PidFile { pid, start_time: process(pid), boot_epoch: None };
        if let Err(error) = replace(&self.record, &record) {
            tracing::warn!(
                "the supervisor's record was not written ({error}); the bot's own pid file serves"
            );
        }
        tracing::info!(bot.pid = pid, "the bot was started as process {pid}");
        Ok(pid)
    }
}

fn systemctl(user: bool, verb: &str, unit: &str) -> Vec<String> {
    let scope = user.then_some("--user");
    let words = ["systemctl"].into_iter().chain(scope).chain(["--no-ask-password", verb, "--", unit]);
    words.map(str::to_owned).collect()
}

/// Runs a fixed command to its end.
async fn helper(argv: &[String]) -> Result<(), Error> {
    let failed = |what: String| Error::new(Code::BotNotStarted).detail(what);
    let (program, arguments) =
        argv.split_first().ok_or_else(|| failed("no command is configured".to_owned()))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    let ended = tokio::time::timeout(HELPER_LIMIT, command.status())
        .await
        .map_err(|_| failed(format!("the supervisor's command did not end within {HELPER_LIMIT:?}")))?;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("the supervisor's command ended with {status}"))),
        Err(error) => Err(failed(format!("the supervisor's command cannot be started ({})", error.kind()))),
    }
}

/// The process a pid file names, if it is still that process.
fn living(pid_file: &Path) -> Option<Alive> {
    let text = std::fs::read_to_string(pid_file).ok()?;
    let PidFile { pid, start_time, boot_epoch } = serde_json::from_str(&text).ok()?;
    let start_time = start_time?;
    (process(pid) == Some(start_time)).then_some(Alive { pid, start_time, boot_epoch })
}

/// When this process started; `None` when there is none, or only its remains.
fn process(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, so fields are counted after it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // Field 22 of the whole line.
    let start_time = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start_time)
}

fn signal(alive: &Alive, signal: Signal) {
    let pid = i32::try_from(alive.pid).ok().and_then(rustix::process::Pid::from_raw);
    let Some(descriptor) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    // The descriptor is bound to one process; if that is the right one now, it stays so.
    if alive.lives() {
        // It may have ended meanwhile, which is what is wanted.
        let _ = pidfd_send_signal(&descriptor, signal);
    }
}

async fn gone(alive: &Alive, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    while alive.lives() {
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

fn append_to(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn replace(path: &Path, record: &PidFile) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
    serde_json::to_writer(&mut file, record)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor(folder: &Path, argv: &[&str]) -> Supervisor {
        let driver = Driver::Spawn {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            pid_file: folder.join("bot.pid"),
            output: folder.join("bot.out"),
        };
        Supervisor::new(driver, folder)
    }

    #[tokio::test]
    async fn a_started_process_is_found_again_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let pid = supervisor(folder.path(), &["sleep", "60"]).start().await.unwrap().unwrap();
        // Another supervisor, as after a restart of botops.
        let later = supervisor(folder.path(), &["sleep", "60"]);
        assert_eq!(later.adopt().unwrap().pid, pid);
        assert_eq!(later.start().await.unwrap(), Some(pid), "it is not started twice");
        assert!(later.stop(Duration::from_secs(5)).await.unwrap());
        assert_eq!(later.adopt(), None);
    }

    #[tokio::test]
    async fn a_process_with_another_start_time_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let own = supervisor(folder.path(), &["sleep", "60"]);
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let text = format!(r#"{{"pid": {}, "start_time": 1}}"#, stranger.id());
        std::fs::write(folder.path().join("bot.pid"), text).unwrap();
        assert_eq!(own.adopt(), None);
        assert!(own.stop(Duration::ZERO).await.unwrap());
        assert!(stranger.try_wait().unwrap().is_none(), "it still runs");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = supervisor(folder.path(), &["/nowhere/bot"]).start().await.unwrap_err();
        assert_eq!(error.code(), Code::BotNotStarted);
        let none = Supervisor::new(Driver::None, folder.path());
        assert_eq!(none.start().await.unwrap_err().code(), Code::SupervisorMissing);
    }
}
