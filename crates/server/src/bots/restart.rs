//! One boot of the bot after another, never two at once: the old one is ended and seen to be gone before the next one
//! is started.
//!
//! Every part may be repeated after a crash of botops: each reads the process table first.

use std::time::Duration;

use super::handle::Bots;
use super::presence::ProcessState;
use super::process::{BotProcesses, ProcessId, wait_for_end};
use botops_core::error::{Code, Effect, Error};
use botops_core::failpoints;

/// What is left of one boot of the bot, and of newer ones that have not answered yet.
struct EpochProcesses {
    /// Whether the processes cannot be seen from here, so that nothing is known about them.
    is_unseen: bool,
    /// The living processes of this boot.
    living: Vec<ProcessId>,
    /// Living processes of a later start.
    newer: Vec<ProcessId>,
}

impl Bots {
    /// Whether a process of the boot `epoch` lives; where none can be seen, whether that boot answers.
    pub fn still_runs(&self, epoch: &str) -> bool {
        let processes = self.processes_of(epoch);
        if !processes.living.is_empty() {
            return true;
        }
        let snapshot = self.snapshot();
        let is_it =
            snapshot.report.as_ref().is_some_and(|report| report.boot_epoch.as_deref() == Some(epoch));
        processes.is_unseen && is_it && snapshot.presence.answers()
    }

    /// The process that listens for the bot, as the kernel says; `None` where it cannot be seen from here.
    pub fn pid(&self) -> Option<u32> {
        self.link.processes().known.first().map(|process| process.pid)
    }

    /// Refuses a restart that could end the wrong process, or leave the right one running. Nothing was done then.
    ///
    /// That is so when the bot names a process as its own that neither the kernel nor the supervisor shows to be the
    /// bot.
    ///
    /// # Errors
    /// [`Code::BotNotStarted`], with the numbers of both.
    pub fn check_identity(&self) -> Result<(), Error> {
        let processes = self.link.processes();
        let Some(claimed) = processes.claimed_living() else { return Ok(()) };
        let listens = processes.known.first().map_or_else(
            || "what listens on its socket cannot be seen".to_owned(),
            |listener| format!("process {} listens on its socket", listener.pid),
        );
        Err(Error::new(Code::BotNotStarted).effect(Effect::None).detail(format!(
            "the bot names process {} as its own, and {listens}: which one is the bot cannot be told, so nothing was \
             ended or started",
            claimed.pid
        )))
    }

    /// Waits until no process of the boot `epoch` is left, or the time is over.
    pub async fn wait_for_end(&self, epoch: &str, limit: Duration) {
        let processes = self.processes_of(epoch);
        if !processes.is_unseen {
            wait_for_end(&processes.living, limit).await;
            return;
        }
        let mut changes = self.watch();
        let ended = changes.wait_for(|snapshot| !snapshot.presence.answers());
        // Either way the caller checks again.
        let _ = tokio::time::timeout(limit, ended).await;
    }

    /// Ends what is left of the boot `old`, sees that it is gone, and starts the bot; returns the new process where it
    /// is known. A later boot that was started already is left to begin.
    ///
    /// # Errors
    /// [`Code::SupervisorMissing`]; [`Code::BotNotStarted`] when the old process does not end or cannot be seen to have
    /// ended (nothing is started then), or when the start fails.
    pub async fn replace_process(&self, old: &str, grace: Duration) -> Result<Option<u32>, Error> {
        self.check_identity()?;
        self.end_process(old, grace).await?;
        failpoints::point("bot.process.ended");
        if let Some(process) = self.processes_of(old).newer.first() {
            return Ok(Some(process.pid));
        }
        self.link.options.supervisor.start().await
    }

    async fn end_process(&self, old: &str, grace: Duration) -> Result<(), Error> {
        let supervisor = &self.link.options.supervisor;
        let refused = |what: String| Error::new(Code::BotNotStarted).detail(what).effect(Effect::Unknown);
        let processes = self.processes_of(old);
        if processes.is_unseen && processes.newer.is_empty() {
            if supervisor.says_stopped().await == Some(true) {
                return Ok(());
            }
            supervisor.stop(&[], grace).await?;
            if supervisor.says_stopped().await == Some(true) {
                return Ok(());
            }
            return Err(refused(format!(
                "whether the old process has ended cannot be seen from here, and the supervisor ({}) does not say so; \
                 nothing was started beside it",
                supervisor.driver()
            )));
        }
        if processes.living.is_empty() || supervisor.stop(&processes.living, grace).await? {
            return Ok(());
        }
        let left: Vec<String> =
            self.processes_of(old).living.iter().map(|left| left.pid.to_string()).collect();
        Err(refused(format!(
            "the old process ({}) does not end; nothing was started beside it",
            left.join(", ")
        )))
    }

    /// Reads the process table: the only place that sorts its processes by the boot that they belong to.
    fn processes_of(&self, epoch: &str) -> EpochProcesses {
        let supervisor = &self.link.options.supervisor;
        let snapshot = self.snapshot();
        let last = self.link.processes();
        // A later boot has answered since, so that this one is over unless a process of it is left.
        let is_over = snapshot.hello.as_ref().is_some_and(|hello| hello.boot_epoch.as_deref() != Some(epoch));
        let mut newer = if is_over { last.all_living() } else { Vec::new() };
        let mut old = if is_over { BotProcesses::default() } else { last };
        if let Some(adopted) =
            supervisor.adopt().filter(|adopted| adopted.boot_epoch.as_deref() == Some(epoch))
            && !old.known.contains(&adopted.process)
        {
            old.known.push(adopted.process);
        }
        let living = old.all_living();
        newer.extend(supervisor.started_processes());
        newer.extend(self.link.listener());
        newer.retain(|process| !living.contains(process));
        EpochProcesses { is_unseen: !is_over && old.state() == ProcessState::Unknown, living, newer }
    }
}
