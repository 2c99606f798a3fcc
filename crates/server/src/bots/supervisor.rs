//! Starting the bot again: the drivers `spawn`, `systemd` and `command`, chosen in the settings alone.
//!
//! A bot outlives botops: `spawn` starts it in a process group of its own and finds it again, after a restart of
//! botops, by its pid file and the kernel's start time of that pid, and by a variable that every process of a start
//! inherits. A process whose start time differs is somebody else's and is never signalled. There is never a second
//! bot: nothing is started while a process of an earlier start lives. Nothing a request carries ever reaches a command
//! line. A bot that ended by itself is not restarted here: whether that is wanted is decided by a workflow or a health
//! rule.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::process::{self, ProcessId, START_VARIABLE};
use super::unproven_starts::{self, StartDeaths, UnprovenStarts};
use botops_core::durable_file;
use botops_core::error::{Code, Error};
use botops_core::regular_file::{open_regular, read_regular_text};

/// How long a helper command (`systemctl`, the configured one) may take.
const HELPER_LIMIT: Duration = Duration::from_secs(60);

/// How long the processes of a unit may outlive the report that it is stopped.
const UNIT_LIMIT: Duration = Duration::from_secs(5);

/// How the bot is started and stopped, as the settings say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisorDriver {
    /// No supervisor: a restart is refused before anything is stopped.
    None,
    /// botops starts the process itself.
    Spawn {
        /// Program and arguments of the bot; no shell reads them.
        argv: Vec<String>,
        /// Where the bot writes `{pid, start_time, boot_epoch}`.
        pid_file: PathBuf,
        /// File that the bot's stdout and stderr are written to.
        output: PathBuf,
    },
    /// A service manager starts and stops it: `systemctl` with this unit.
    Systemd {
        /// Name of the unit.
        unit: String,
        /// True for a unit of the user's own manager (`systemctl --user`).
        user: bool,
    },
    /// A configured command starts it.
    Command {
        /// Program and arguments, run without a shell; nothing of a request is added.
        argv: Vec<String>,
    },
}

/// A living process that the supervisor knows to be the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisedProcess {
    /// Its number and start time; together they name one process.
    pub process: ProcessId,
    /// The `boot_epoch` in its pid file; `None` when the file names none.
    pub boot_epoch: Option<String>,
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
    driver: Arc<SupervisorDriver>,
    /// What `spawn` started last: bridges the moment until the bot writes its own pid file.
    record: Arc<PathBuf>,
    /// All that what it starts has in its environment: botops' own holds keys that are not the bot's.
    environment: Arc<BTreeMap<String, SecretString>>,
    starts: Arc<UnprovenStarts>,
}

impl Supervisor {
    /// A supervisor that keeps its record in `folder`. Starts nothing.
    ///
    /// What it starts later gets these variables and no other.
    pub fn new(driver: SupervisorDriver, folder: &Path, environment: BTreeMap<String, SecretString>) -> Self {
        let record = folder.join("supervised.json");
        // A start's mark names this path, whatever folder the next botops is started in.
        let record = std::path::absolute(&record).unwrap_or(record);
        Self {
            driver: Arc::new(driver),
            record: Arc::new(record),
            environment: Arc::new(environment),
            starts: Arc::default(),
        }
    }

    /// The driver's name, as settings and messages give it.
    pub fn driver(&self) -> &'static str {
        match *self.driver {
            SupervisorDriver::None => "none",
            SupervisorDriver::Spawn { .. } => "spawn",
            SupervisorDriver::Systemd { .. } => "systemd",
            SupervisorDriver::Command { .. } => "command",
        }
    }

    /// Whether a bot that stops can be started again.
    pub fn can_start(&self) -> bool {
        *self.driver != SupervisorDriver::None
    }

    /// Whether [`Supervisor::adopt`] can tell if the bot's process lives.
    pub fn sees_process(&self) -> bool {
        matches!(*self.driver, SupervisorDriver::Spawn { .. })
    }

    /// The running bot, if this supervisor (or its predecessor) started it and it still lives.
    pub fn adopt(&self) -> Option<SupervisedProcess> {
        let SupervisorDriver::Spawn { pid_file, .. } = &*self.driver else { return None };
        read_pid_file(pid_file).or_else(|| read_pid_file(&self.record))
    }

    /// Every living process that a start of this supervisor left, whatever became of the one that it started.
    pub fn started_processes(&self) -> Vec<ProcessId> {
        let mut all = process::find_marked(|mark| self.is_own(mark));
        all.extend(self.adopt().map(|alive| alive.process));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What the supervisor itself says, where it knows: `Some(true)` when the bot does not run. Takes as long as its
    /// manager takes to answer.
    pub async fn says_stopped(&self) -> Option<bool> {
        match &*self.driver {
            SupervisorDriver::None | SupervisorDriver::Command { .. } => None,
            // Whatever was started without this supervisor is not known to it.
            SupervisorDriver::Spawn { .. } if !self.record.exists() => None,
            SupervisorDriver::Spawn { .. } => Some(self.started_processes().is_empty()),
            SupervisorDriver::Systemd { unit, user } => {
                let state = self
                    .read_output(&systemctl(*user, "show", &["--property=ActiveState", "--value"], unit))
                    .await?;
                match state.trim() {
                    "inactive" | "failed" => Some(true),
                    "" => None,
                    _ => Some(false),
                }
            }
        }
    }

    /// Starts the bot; returns its pid where that is known. A bot that an earlier start left running is that bot.
    ///
    /// # Errors
    /// [`Code::SupervisorMissing`], [`Code::BotNotStarted`].
    pub async fn start(&self) -> Result<Option<u32>, Error> {
        if let Some(running) = self.started_processes().first() {
            return Ok(Some(running.pid));
        }
        let started = match &*self.driver {
            SupervisorDriver::None => return Err(Error::new(Code::SupervisorMissing)),
            SupervisorDriver::Spawn { argv, output, .. } => self.spawn(argv, output).map(Some),
            SupervisorDriver::Systemd { unit, user } => {
                self.run_helper(&systemctl(*user, "start", &[], unit), None).await.map(|()| None)
            }
            SupervisorDriver::Command { argv } => {
                self.run_helper(argv, Some(&self.new_mark())).await.map(|()| None)
            }
        };
        if started.is_ok() {
            self.starts.count_start();
        }
        started
    }

    /// Notes that the bot answers.
    pub(super) fn note_answer(&self) {
        self.starts.note_answer();
    }

    /// Notes that the bot runs and is told to end: it did not die at its start.
    pub(crate) fn note_wanted_end(&self) {
        self.starts.forget();
    }

    /// Whether the bot was started and nothing is proven of it yet.
    pub(super) fn has_unproven_start(&self) -> bool {
        self.starts.count() > 0
    }

    /// How often in a row the bot ended by itself after it was started here; `None` where it did not, or that cannot be
    /// seen. Takes as long as its manager takes to answer.
    pub(super) async fn find_start_deaths(&self) -> Option<StartDeaths> {
        let started = self.starts.count();
        let last_ended = match &*self.driver {
            _ if started == 0 => return None,
            SupervisorDriver::Systemd { .. } => self.says_stopped().await?,
            _ => self.started_processes().is_empty(),
        };
        let count = if last_ended { started } else { started - 1 };
        let last_line = self.last_output_line().await;
        (count > 0).then(|| StartDeaths { count, output: self.output_place(), last_line })
    }

    /// Where what the bot writes to its terminal can be read, for people; `None` where it goes nowhere.
    fn output_place(&self) -> Option<String> {
        match &*self.driver {
            SupervisorDriver::None | SupervisorDriver::Command { .. } => None,
            SupervisorDriver::Spawn { output, .. } => {
                let output = std::path::absolute(output).unwrap_or_else(|_| output.clone());
                Some(output.display().to_string())
            }
            SupervisorDriver::Systemd { unit, user } => {
                Some(format!("`journalctl{} -u {unit}`", if *user { " --user" } else { "" }))
            }
        }
    }

    /// That the bot ended right after its start, with what it wrote last (a text of the bot), as the end of a sentence.
    pub(crate) async fn describe_early_end(&self) -> String {
        let wrote = match (self.output_place(), self.last_output_line().await) {
            (None, _) => "its own log says why".to_owned(),
            (Some(place), None) => format!("its output is in {place}"),
            (Some(place), Some(line)) => format!("its output is in {place}, the last line: {line}"),
        };
        format!("ended again at its start; {wrote}")
    }

    /// The last line that the bot wrote to its terminal, without secrets; `None` where it cannot be read here.
    async fn last_output_line(&self) -> Option<String> {
        let SupervisorDriver::Spawn { output, .. } = &*self.driver else { return None };
        let output = output.clone();
        tokio::task::spawn_blocking(move || unproven_starts::last_line(&output)).await.ok().flatten()
    }

    /// Ends what this supervisor started and these processes of the bot: asks (SIGTERM, or the service manager), and
    /// after `grace` ends them (SIGKILL). True when all of them are gone.
    ///
    /// # Errors
    /// [`Code::SupervisorMissing`] where there is no supervisor; [`Code::BotNotStarted`] when its manager fails.
    pub async fn stop(&self, bot: &[ProcessId], grace: Duration) -> Result<bool, Error> {
        if !bot.is_empty() {
            self.note_wanted_end();
        }
        match &*self.driver {
            SupervisorDriver::None => Err(Error::new(Code::SupervisorMissing)),
            SupervisorDriver::Spawn { .. } | SupervisorDriver::Command { .. } => {
                Ok(process::end_processes(bot, grace).await.is_empty())
            }
            SupervisorDriver::Systemd { unit, user } => {
                self.run_helper(&systemctl(*user, "stop", &[], unit), None).await?;
                // What outlives its unit was not started by it: it is left alone, and nothing is started beside it.
                Ok(process::wait_for_end(bot, UNIT_LIMIT).await.is_empty())
            }
        }
    }

    /// A mark begins with the record's path, which only one botops has, and ends with a part of its own for each
    /// start.
    fn new_mark(&self) -> String {
        format!("{}#{}", self.record.display(), uuid::Uuid::now_v7())
    }

    fn is_own(&self, mark: &str) -> bool {
        mark.rsplit_once('#').is_some_and(|(record, _)| record == self.record.to_string_lossy())
    }

    fn spawn(&self, argv: &[String], output: &Path) -> Result<u32, Error> {
        let failed = |what: String| Error::new(Code::BotNotStarted).detail(what);
        let (program, arguments) =
            argv.split_first().ok_or_else(|| failed("no command is configured".to_owned()))?;
        let log = append_to(output)
            .and_then(|log| Ok((log.try_clone()?, log)))
            .map_err(|error| failed(format!("its output file cannot be written ({})", error.kind())))?;
        let mut command = Command::new(program);
        self.set_environment(&mut command);
        command.args(arguments).stdin(Stdio::null()).stdout(log.0).stderr(log.1);
        // A group of its own: what a terminal sends to botops does not reach the bot.
        command.process_group(0).kill_on_drop(false).env(START_VARIABLE, self.new_mark());
        let child = command
            .spawn()
            .map_err(|error| failed(format!("its program cannot be started ({})", error.kind())))?;
        // Dropped, the child is reaped by the runtime when it ends; nothing here waits for it.
        let pid = child.id().ok_or_else(|| failed("it ended at once".to_owned()))?;
        let start_time = ProcessId::of(pid).map(|process| process.started);
        let record = PidFile { pid, start_time, boot_epoch: None };
        if let Err(error) = replace_record(&self.record, &record) {
            tracing::warn!(
                "the supervisor's record was not written ({error}); the bot's own pid file serves"
            );
        }
        tracing::info!(bot.pid = pid, "the bot was started as process {pid}");
        Ok(pid)
    }

    fn set_environment(&self, command: &mut Command) {
        command.env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value.expose_secret())));
    }

    fn build_command(&self, argv: &[String]) -> Result<Command, Error> {
        let Some((program, arguments)) = argv.split_first() else {
            return Err(Error::new(Code::BotNotStarted).detail("no command is configured"));
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        self.set_environment(&mut command);
        Ok(command)
    }

    /// Runs a fixed command to its end. With a mark it starts a bot: then it runs in a group of its own, and is not ended
    /// when it takes too long, because it may have become the bot.
    async fn run_helper(&self, argv: &[String], mark: Option<&str>) -> Result<(), Error> {
        let failed = |what: String| Error::new(Code::BotNotStarted).detail(what);
        let mut command = self.build_command(argv)?;
        command.stdout(Stdio::null()).kill_on_drop(mark.is_none());
        if let Some(mark) = mark {
            command.process_group(0).env(START_VARIABLE, mark);
        }
        let mut child = command.spawn().map_err(|error| {
            failed(format!("the supervisor's command cannot be started ({})", error.kind()))
        })?;
        let ended = tokio::time::timeout(HELPER_LIMIT, child.wait())
            .await
            .map_err(|_| failed(format!("the supervisor's command did not end within {HELPER_LIMIT:?}")))?;
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(format!("the supervisor's command ended with {status}"))),
            Err(error) => {
                Err(failed(format!("the supervisor's command cannot be waited for ({})", error.kind())))
            }
        }
    }

    /// What a fixed command prints; `None` when it cannot be run or fails.
    async fn read_output(&self, argv: &[String]) -> Option<String> {
        let mut command = self.build_command(argv).ok()?;
        let printed =
            tokio::time::timeout(HELPER_LIMIT, command.kill_on_drop(true).output()).await.ok()?.ok()?;
        printed.status.success().then(|| String::from_utf8_lossy(&printed.stdout).into_owned())
    }
}

fn systemctl(user: bool, verb: &str, options: &[&str], unit: &str) -> Vec<String> {
    let scope = user.then_some("--user");
    let words = ["systemctl"].into_iter().chain(scope).chain(["--no-ask-password", verb]);
    words.chain(options.iter().copied()).chain(["--", unit]).map(str::to_owned).collect()
}

/// The process a pid file names, if it is still that process.
fn read_pid_file(pid_file: &Path) -> Option<SupervisedProcess> {
    let text = read_regular_text(pid_file).ok()?;
    let PidFile { pid, start_time, boot_epoch } = serde_json::from_str(&text).ok()?;
    let process = ProcessId { pid, started: start_time? };
    process.lives().then_some(SupervisedProcess { process, boot_epoch })
}

fn append_to(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    open_regular(path, OpenOptions::new().create(true).append(true).mode(0o600))
}

fn replace_record(path: &Path, record: &PidFile) -> io::Result<()> {
    durable_file::replace(path, &serde_json::to_vec(record)?, durable_file::PRIVATE, "supervised")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, SecretString> {
        ["PATH", "HOME"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?.into())))
            .collect()
    }

    fn supervisor(folder: &Path, argv: &[&str]) -> Supervisor {
        let driver = SupervisorDriver::Spawn {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            pid_file: folder.join("bot.pid"),
            output: folder.join("bot.out"),
        };
        Supervisor::new(driver, folder, environment())
    }

    #[tokio::test]
    async fn a_started_process_is_found_again_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let pid = supervisor(folder.path(), &["sleep", "60"]).start().await.unwrap().unwrap();
        // Another supervisor, as after a restart of botops.
        let later = supervisor(folder.path(), &["sleep", "60"]);
        assert_eq!(later.adopt().unwrap().process.pid, pid);
        assert_eq!(later.start().await.unwrap(), Some(pid), "it is not started twice");
        assert!(later.stop(&later.started_processes(), Duration::from_secs(5)).await.unwrap());
        assert_eq!(later.adopt(), None);
    }

    #[tokio::test]
    async fn a_bot_gets_the_named_variables_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let own = supervisor(folder.path(), &["env"]);
        own.start().await.unwrap();
        let output = folder.path().join("bot.out");
        let printed = loop {
            let text = std::fs::read_to_string(&output).unwrap_or_default();
            if text.ends_with('\n') && own.started_processes().is_empty() {
                break text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let mut names: Vec<_> = printed.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.sort_unstable();
        let mut named: Vec<_> = environment().into_keys().chain([START_VARIABLE.to_owned()]).collect();
        named.sort_unstable();
        assert_eq!(names, named);
    }

    #[tokio::test]
    async fn a_process_with_another_start_time_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let own = supervisor(folder.path(), &["sleep", "60"]);
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let text = format!(r#"{{"pid": {}, "start_time": 1}}"#, stranger.id());
        std::fs::write(folder.path().join("bot.pid"), text).unwrap();
        assert_eq!(own.adopt(), None);
        assert!(own.stop(&own.started_processes(), Duration::ZERO).await.unwrap());
        assert!(stranger.try_wait().unwrap().is_none(), "it still runs");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = supervisor(folder.path(), &["/nowhere/bot"]).start().await.unwrap_err();
        assert_eq!(error.code(), Code::BotNotStarted);
        let none = Supervisor::new(SupervisorDriver::None, folder.path(), environment());
        assert_eq!(none.start().await.unwrap_err().code(), Code::SupervisorMissing);
    }
}
