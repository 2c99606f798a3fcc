//! Collects, while a bot does not answer, what shows whether it is dead: processes, CPU time, log folder, supervisor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::bot_link::BotLink;
use crate::bots::presence::{Presence, ProcessState};
use crate::bots::restart_proof::{DeathEvidence, HUNG_AFTER, LogActivity, UnaskedRestart};
use crate::bots::snapshot::{BotSnapshot, LoopAge};
use crate::bots::unproven_starts::StartDeaths;
use botops_contract::Hello;

/// How often the log folder and the supervisor are asked while the bot is silent.
const OUTSIDE_EVERY: Duration = Duration::from_secs(2);

/// Files of a log folder that are read; a folder with more has its newest ones among any so many.
const LOG_FILES_MAX: usize = 2_000;

/// What only the machine shows: the log folder, and what the supervisor says.
#[derive(Debug, Clone)]
struct OutsideEvidence {
    at: Instant,
    supervisor_says_stopped: Option<bool>,
    newest_log: Option<SystemTime>,
    start_deaths: Option<StartDeaths>,
}

/// CPU time (kernel ticks) of the bot's processes, since when it has not moved, and whether it did before.
#[derive(Debug, Clone, Copy)]
struct CpuWatch {
    ticks: u64,
    since: Instant,
    moved: bool,
}

type PendingEvidence = Pin<Box<dyn Future<Output = OutsideEvidence> + Send>>;

/// The evidence on one bot. It starts afresh when the bot answers.
pub(super) struct DeathWatch {
    link: Arc<BotLink>,
    cpu: Option<CpuWatch>,
    pending: Option<PendingEvidence>,
    outside: Option<OutsideEvidence>,
    /// Silence before the first answer counts from here.
    started_at: Instant,
}

impl DeathWatch {
    pub(super) fn new(link: Arc<BotLink>) -> Self {
        Self { link, cpu: None, pending: None, outside: None, started_at: Instant::now() }
    }

    /// Resolves when evidence from outside has come; never while none is collected.
    pub(super) async fn wait_for_evidence(&mut self) {
        let Some(pending) = &mut self.pending else { return std::future::pending().await };
        self.outside = Some(pending.await);
        self.pending = None;
    }

    /// Collects what is known of a bot that does not answer, and decides whether it is proven dead.
    pub(super) fn decide(&mut self, snapshot: &BotSnapshot, answers: bool) -> UnaskedRestart {
        let (presence, hello) = (snapshot.presence, snapshot.hello.as_deref());
        if answers {
            (self.cpu, self.pending, self.outside) = (None, None, None);
        }
        let processes = self.link.current_processes();
        let process = if answers { ProcessState::Alive } else { processes.state() };
        let lives = !answers && matches!(process, ProcessState::Alive | ProcessState::Stopped);
        let (idle_for, cpu_moved) =
            if lives { self.watch_cpu(processes.cpu_ticks()) } else { (Duration::ZERO, false) };
        let silent_for = self.link.last_contact().unwrap_or(self.started_at).elapsed();
        if !answers {
            self.collect_outside(hello, process, silent_for);
        }
        let supervisor = &self.link.options.supervisor;
        let log = match &self.outside {
            None => LogActivity::NotRead,
            Some(OutsideEvidence { newest_log: None, .. }) => LogActivity::Invisible,
            Some(OutsideEvidence { newest_log: Some(at), .. }) => {
                LogActivity::Wrote(at.elapsed().unwrap_or_default())
            }
        };
        let evidence = DeathEvidence {
            answers,
            // A report of a bot that does not answer says nothing of its loop now.
            loop_stands_still: presence.answers()
                && snapshot.loop_age().is_some_and(|age| LoopAge::stands_still(&age)),
            ever_seen: hello.is_some(),
            is_restarting: presence == Presence::Reloading,
            driver: supervisor.driver(),
            can_start: supervisor.can_start(),
            process,
            pid: processes.known.first().map(|process| process.pid),
            claimed: processes.claimed_living().map(|process| process.pid),
            supervisor_says_stopped: self
                .outside
                .as_ref()
                .and_then(|outside| outside.supervisor_says_stopped),
            silent_for,
            idle_for,
            cpu_moved,
            log,
            tells_starts_apart: hello.is_none_or(|hello| hello.pid.is_some() || hello.boot_epoch.is_some()),
            names_boot_epoch: snapshot.report.as_ref().is_none_or(|report| report.boot_epoch.is_some()),
            address: &self.link.options.address.to_string(),
        };
        evidence.decide()
    }

    /// How often in a row the bot ended by itself after it was started; `None` where it did not.
    pub(super) fn start_deaths(&self) -> Option<&StartDeaths> {
        self.outside.as_ref()?.start_deaths.as_ref()
    }

    /// Since when the CPU time of the bot's processes has not moved, and whether it ever did while it was watched.
    fn watch_cpu(&mut self, ticks: u64) -> (Duration, bool) {
        let watch = self.cpu.get_or_insert(CpuWatch { ticks, since: Instant::now(), moved: false });
        if watch.ticks != ticks {
            *watch = CpuWatch { ticks, since: Instant::now(), moved: true };
        }
        (watch.since.elapsed(), watch.moved)
    }

    /// Begins to read the log folder and to ask the supervisor where the answer can matter. A folder on a disk that hangs
    /// keeps this task, not the poll.
    fn collect_outside(&mut self, hello: Option<&Hello>, process: ProcessState, silent_for: Duration) {
        let is_recent = self.outside.as_ref().is_some_and(|outside| outside.at.elapsed() < OUTSIDE_EVERY);
        let unseen = process == ProcessState::Unknown;
        let may_be_hung = process != ProcessState::Gone && silent_for + OUTSIDE_EVERY * 2 >= HUNG_AFTER;
        let supervisor = self.link.options.supervisor.clone();
        let may_have_died = supervisor.has_unproven_start();
        if self.pending.is_some() || is_recent || !(unseen || may_be_hung || may_have_died) {
            return;
        }
        let folder = hello.and_then(|hello| hello.log_dir.clone());
        self.pending = Some(Box::pin(async move {
            let newest_log = match folder {
                Some(folder) => tokio::task::spawn_blocking(move || newest_log(&folder)).await.ok().flatten(),
                None => None,
            };
            let supervisor_says_stopped = if unseen { supervisor.says_stopped().await } else { None };
            let start_deaths = supervisor.find_start_deaths().await;
            OutsideEvidence { at: Instant::now(), supervisor_says_stopped, newest_log, start_deaths }
        }));
    }
}

/// Files that botops writes: in a folder that both log to they are no sign of the bot.
const OWN_LOGS: &[&str] = &["botops", "workflow_execution_log"];

/// When the newest file of the bot's log folder was written.
fn newest_log(folder: &str) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).take(LOG_FILES_MAX);
    let is_own = |name: &str| OWN_LOGS.iter().any(|own| name.starts_with(own));
    let of_the_bot = entries.filter(|entry| !is_own(&entry.file_name().to_string_lossy()));
    let files = of_the_bot.filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file);
    files.filter_map(|file| file.modified().ok()).max()
}
